//! The header fields of responses, created when the server starts; a response has a copy of them.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::negotiation::Encoding;
use crate::page;

/// For a name that changes with the content: kept for a year, the longest that makes sense
/// (RFC 9111, section 5.2.2), and not even asked about on reload (RFC 8246).
pub(crate) const IMMUTABLE: &str = "max-age=31536000, immutable";

/// For a name that stays: kept, but asked about each time.
pub(crate) const REVALIDATE: &str = "no-cache";

/// The media type of documents.
pub(crate) const HTML: &str = "text/html; charset=utf-8";

/// On every response.
pub(crate) const COMMON: [(HeaderName, &str); 2] =
    [(header::X_CONTENT_TYPE_OPTIONS, "nosniff"), (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin")];

/// On every document, beside its policy.
pub(crate) const DOCUMENT: [(HeaderName, &str); 3] = [
    (header::REFERRER_POLICY, "no-referrer"),
    (CROSS_ORIGIN_OPENER_POLICY, "same-origin"),
    (PERMISSIONS_POLICY, "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
];

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");
const CROSS_ORIGIN_OPENER_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-opener-policy");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// Fields of a file in one encoding.
pub(crate) fn of_file(
    name: &str,
    encoding: Encoding,
    etag: &HeaderValue,
    policy: &HeaderValue,
) -> HeaderMap {
    let mut fields = with_type(page::content_type(name), policy);
    if encoding != Encoding::Identity {
        set(&mut fields, header::CONTENT_ENCODING, encoding.name());
    }
    set_caching(&mut fields, name, etag);
    fields
}

/// Fields of a 304 response (RFC 9110, section 15.4.5).
pub(crate) fn not_modified(name: &str, etag: &HeaderValue) -> HeaderMap {
    let mut fields = common();
    set_caching(&mut fields, name, etag);
    fields
}

/// Fields of a response that must not be stored.
pub(crate) fn of_text(content_type: &'static str, policy: &HeaderValue) -> HeaderMap {
    let mut fields = with_type(content_type, policy);
    set(&mut fields, header::CACHE_CONTROL, "no-store");
    fields
}

/// Sets a field to a value that is known beforehand.
pub(crate) fn set(fields: &mut HeaderMap, name: HeaderName, value: &'static str) {
    fields.insert(name, HeaderValue::from_static(value));
}

/// Security fields that restrict browsers to what the page needs.
fn with_type(content_type: &'static str, policy: &HeaderValue) -> HeaderMap {
    let mut fields = common();
    set(&mut fields, header::CONTENT_TYPE, content_type);
    if content_type == HTML {
        fields.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
        for (name, value) in DOCUMENT {
            set(&mut fields, name, value);
        }
    }
    fields
}

fn common() -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in COMMON {
        set(&mut fields, name, value);
    }
    fields
}

fn set_caching(fields: &mut HeaderMap, name: &str, etag: &HeaderValue) {
    let cache_control = if page::is_hashed(name) { IMMUTABLE } else { REVALIDATE };
    set(fields, header::CACHE_CONTROL, cache_control);
    set(fields, header::VARY, "accept-encoding");
    fields.insert(header::ETAG, etag.clone());
}
