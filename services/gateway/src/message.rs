//! Parts of HTTP messages that all layers share: serialized heads, framing of bodies, problem details,
//! and the client interface of one request.

pub(crate) mod body;
pub(crate) mod client;
pub(crate) mod head;
pub(crate) mod problem;

/// Whether a media type, with or without parameters, is that of event streams.
pub(crate) fn is_event_stream_type(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("text/event-stream")
}
