//! Header fields of responses.

use hyper::header::{self, HeaderMap, HeaderValue};

/// Media type of JSON.
pub(crate) const JSON: &str = "application/json";

/// Request header fields that select a representation.
pub(crate) const VARY: HeaderValue = HeaderValue::from_static("accept, accept-encoding");

/// Response header fields of the newest sample, which are identical for all clients.
pub(crate) fn fields_of_sample(etag: HeaderValue) -> HeaderMap {
    let mut fields = fields(JSON);
    fields.insert(header::ETAG, etag);
    // Private caches must revalidate. Shared caches may reuse the response for 1 s, the interval of
    // the samples; a sample contains its time.
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=0, s-maxage=1"));
    fields.insert(header::VARY, VARY);
    fields
}

/// Header fields of every response.
pub(crate) fn fields(content_type: &'static str) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(8);
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // Metrics are outdated after a second, and health immediately.
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fields
}
