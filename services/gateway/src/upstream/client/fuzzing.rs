//! Reads the bytes of an upstream for the fuzz targets.

use bytes::BytesMut;
use http::{Method, StatusCode};

use super::body::Frame;
use super::response_head;
use crate::fields::Fields;

/// A response: its status, its body as far as it came, and where in the body the bytes end.
type Read = (StatusCode, Vec<u8>, Frame);

/// Reads a response that comes in pieces of that size; none if it is refused or its head is not
/// complete.
pub(crate) fn read(bytes: &[u8], piece: usize) -> Option<Read> {
    let mut held = BytesMut::new();
    let mut response: Option<Read> = None;
    for part in bytes.chunks(piece.min(bytes.len()).max(1)) {
        held.extend_from_slice(part);
        if response.is_none()
            && let Some(head) = response_head::take(&mut held).ok()?
        {
            let frame = head.frame(&Method::GET)?;
            response = Some((head.status, Vec::new(), frame));
        }
        if let Some((_, body, frame)) = &mut response {
            while let Some(piece) = frame.take(&mut held).ok()? {
                assert!(!piece.is_empty(), "an empty piece");
                body.extend_from_slice(&piece);
            }
        }
    }
    response
}

/// Takes the head of a response.
pub(crate) fn head(bytes: &mut BytesMut) -> Option<(StatusCode, Fields)> {
    let head = response_head::take(bytes).ok()??;
    Some((head.status, head.fields))
}
