//! Header fields of responses.

use hyper::header::{self, HeaderMap, HeaderValue};

/// The media type of JSON.
pub(crate) const JSON: &str = "application/json";

/// The request's header fields that choose a representation.
pub(crate) const VARY: HeaderValue = HeaderValue::from_static("accept, accept-encoding");

/// The header fields of the newest sample, which are the same for all who ask.
pub(crate) fn fields_of_sample(etag: HeaderValue) -> HeaderMap {
    let mut fields = fields(JSON);
    fields.insert(header::ETAG, etag);
    // Whoever keeps it for himself asks whether it is the newest still. A cache in front of many may
    // give it to all who ask within a second: a sample is no older than that, and its age is in it.
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=0, s-maxage=1"));
    fields.insert(header::VARY, VARY);
    fields
}

/// The header fields of every response.
pub(crate) fn fields(content_type: &'static str) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(8);
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // Figures are old after a second, and the state of health at once.
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fields
}
