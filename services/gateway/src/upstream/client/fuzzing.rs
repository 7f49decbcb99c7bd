//! Response parsers for the fuzz targets.

use bytes::BytesMut;
use http::{Method, StatusCode};

use super::response_head;
use crate::fields::Fields;
use crate::message::body::Frame;

/// A response: status, decoded body, and final position in the body.
type Read = (StatusCode, Vec<u8>, Frame);

/// Parses a response in pieces of this size; `None` if it is invalid or its head is incomplete.
pub(crate) fn read(bytes: &[u8], piece: usize) -> Option<Read> {
    let mut buffer = BytesMut::new();
    let mut response: Option<Read> = None;
    for part in bytes.chunks(piece.min(bytes.len()).max(1)) {
        buffer.extend_from_slice(part);
        if response.is_none()
            && let Some(head) = response_head::take(&mut buffer).ok()?
        {
            let frame = head.frame(&Method::GET)?;
            response = Some((head.status, Vec::new(), frame));
        }
        if let Some((_, body, frame)) = &mut response {
            while let Some(piece) = frame.take(&mut buffer).ok()? {
                assert!(!piece.is_empty(), "an empty piece");
                body.extend_from_slice(&piece);
            }
        }
    }
    response
}

/// Parses a response head.
pub(crate) fn head(bytes: &mut BytesMut) -> Option<(StatusCode, Fields)> {
    let head = response_head::take(bytes).ok()??;
    Some((head.status, head.fields))
}
