//! Parts of HTTP messages that every layer shares: heads as text, problem details, and the client of
//! one request.

pub(crate) mod client;
pub(crate) mod head;
pub(crate) mod problem;

/// Whether a media type, with parameters or not, is that of event streams.
pub(crate) fn names_events(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("text/event-stream")
}
