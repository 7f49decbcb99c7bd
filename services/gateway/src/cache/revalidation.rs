//! Revalidation of a stale stored response (RFC 9111, section 4.3): the conditional request to the
//! upstream, and the update of the stored response with a 304.

use http::HeaderValue;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, VARY,
};

use super::entry::{CacheEntry, Head, NOT_STORED, nominated};
use crate::fields::Fields;

/// Fields of a 304 that do not replace the stored ones: they describe content that was not sent
/// (section 3.2), or select the stored response, which the gateway may have transformed.
const NOT_UPDATED: [HeaderName; 7] =
    [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED, VARY];

/// Whether the response has a validator.
pub(super) fn has_validator(stored: &CacheEntry) -> bool {
    stored.head().etag.is_some() || stored.head().last_modified.is_some()
}

/// Conditions that revalidate a stored response; a field without a value is removed from the
/// request.
pub(super) fn conditions(stored: &Head) -> [(HeaderName, Option<HeaderValue>); 2] {
    let tag = stored.etag.as_ref().map(|tag| match tag.as_bytes().strip_prefix(b"W/") {
        // Compression may have weakened the tag. An upstream that compares octets only knows the
        // original form.
        Some(strong) if stored.is_coded => {
            HeaderValue::from_bytes(&[tag.as_bytes(), b", ", strong].concat())
                .unwrap_or_else(|_| tag.clone())
        }
        _ => tag.clone(),
    });
    [(IF_NONE_MATCH, tag), (IF_MODIFIED_SINCE, stored.last_modified.clone())]
}

/// The stored fields updated with those of a 304 (RFC 9111, section 3.2).
pub(super) fn freshened(stored: &Head, update: &Fields) -> Fields {
    let mut fields = stored.fields();
    let nominated = nominated(update);
    // `Age` of the 304 applies to the new freshness.
    let is_stored = |name: &HeaderName| *name == http::header::AGE || !NOT_STORED.contains(name);
    for name in update.keys() {
        if !is_stored(name) || NOT_UPDATED.contains(name) || nominated.contains(name) {
            continue;
        }
        fields.remove(name);
        for value in update.get_all(name) {
            fields.append(name.clone(), value.clone());
        }
    }
    fields
}
