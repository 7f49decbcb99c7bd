//! Serialization of message heads.

use std::io::Write;

use bytes::Bytes;
use http::StatusCode;

use crate::fields::Fields;

/// Capacity for a typical head, so that its buffer does not grow line by line.
const USUAL_HEAD_BYTES: usize = 1024;

/// A complete response.
pub(crate) struct FullResponse {
    /// Status line and fields, without the final empty line.
    pub(crate) head: Vec<u8>,
    /// Body.
    pub(crate) body: Bytes,
}

/// Writes the status line and these fields.
pub(crate) fn begin_head(text: &mut Vec<u8>, status: StatusCode, fields: &Fields) {
    text.reserve(USUAL_HEAD_BYTES);
    status_line(text, status);
    for (name, value) in fields.iter() {
        field(text, name.as_str(), value.as_bytes());
    }
}

/// Writes the status line.
pub(crate) fn status_line(text: &mut Vec<u8>, status: StatusCode) {
    text.extend_from_slice(b"HTTP/1.1 ");
    text.extend_from_slice(status.as_str().as_bytes());
    text.push(b' ');
    text.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    text.extend_from_slice(b"\r\n");
}

/// Writes a field line.
pub(crate) fn field(text: &mut Vec<u8>, name: &str, value: &[u8]) {
    // One reservation for the whole line.
    text.reserve(name.len() + value.len() + 4);
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b": ");
    text.extend_from_slice(value);
    text.extend_from_slice(b"\r\n");
}

/// Writes the first line of a chunk (RFC 9112, section 7.1).
pub(crate) fn push_size(out: &mut Vec<u8>, size: usize) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{size:x}\r\n");
}
