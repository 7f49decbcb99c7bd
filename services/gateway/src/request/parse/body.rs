//! Request body decoder with a limit. Pure: bytes in, body data out.

use bytes::{Bytes, BytesMut};

use super::{Length, Refused, malformed};
use crate::message::body::{Chunks, Frame};
use crate::message::problem::Problem;

/// Decoder of one body.
#[derive(Debug)]
pub(crate) struct Body {
    frame: Frame,
    /// Bytes that may still follow.
    bytes_left: usize,
    most: usize,
}

/// Result of one decoding step.
#[derive(Debug, PartialEq)]
pub(crate) enum Progress {
    /// Body data, never empty.
    Data(Bytes),
    /// More bytes from the connection are required.
    More,
    /// The body is complete; the remaining bytes belong to the next request.
    Complete,
}

impl Body {
    /// Creates a decoder for a body.
    ///
    /// # Errors
    /// Returns 413 if the length exceeds `most` bytes.
    pub(crate) fn new(length: Length, most: usize) -> Result<Self, Refused> {
        let frame = match length {
            Length::Known(length) if length > most as u64 => return Err(Problem::too_large(most)),
            Length::Known(length) => Frame::known(length),
            Length::Chunked => Frame::Chunked(Chunks::new(true)),
        };
        Ok(Self { frame, bytes_left: most, most })
    }

    /// Decodes the next part of the body from the front of `bytes`.
    ///
    /// # Errors
    /// Returns an error if the chunks are malformed, or the body exceeds the limit.
    pub(crate) fn take(&mut self, bytes: &mut BytesMut) -> Result<Progress, Refused> {
        let piece = self.frame.take(bytes).map_err(malformed)?;
        let count = piece.as_ref().map_or(0, Bytes::len);
        if self.frame.left().saturating_add(count as u64) > self.bytes_left as u64 {
            return Err(Problem::too_large(self.most));
        }
        self.bytes_left -= count;
        Ok(match piece {
            Some(data) => Progress::Data(data),
            None if self.frame == Frame::Done => Progress::Complete,
            None => Progress::More,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_limit_applies_to_every_framing() {
        let taken = |length, sent: &[u8]| {
            let status = |problem: Refused| problem.status.as_u16();
            let mut body = Body::new(length, 100).map_err(status)?;
            let mut bytes = BytesMut::from(sent);
            loop {
                match body.take(&mut bytes).map_err(status)? {
                    Progress::Data(_) => {}
                    progress => return Ok(progress),
                }
            }
        };
        assert_eq!(taken(Length::Known(100), &[b'x'; 100]), Ok(Progress::Complete));
        assert_eq!(taken(Length::Known(101), b""), Err(413));
        assert_eq!(taken(Length::Known(u64::MAX), b""), Err(413));
        assert_eq!(taken(Length::Chunked, b"64\r\n"), Ok(Progress::More));
        assert_eq!(taken(Length::Chunked, b"65\r\n"), Err(413));
        assert_eq!(taken(Length::Chunked, b"65\r\nx"), Err(413));
        let sent = [b"40\r\n", &[b'x'; 64][..], b"\r\n40\r\n"].concat();
        assert_eq!(taken(Length::Chunked, &sent), Err(413));
        assert_eq!(taken(Length::Chunked, b"x\r\n"), Err(400));
    }
}
