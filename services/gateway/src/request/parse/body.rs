//! Request body decoder (RFC 9112, sections 6 and 7.1). Pure: bytes in, body data out. The gateway
//! frames the body again for the upstream, so the upstream never sees the client's chunks.

use bytes::{Buf, Bytes, BytesMut};

use super::{Length, Refused, malformed};
use crate::message::problem::Problem;

/// Maximum size of a line between chunks in bytes: a size and possibly an extension, which is
/// ignored.
const LINE_BYTES: usize = 256;

/// Maximum bytes of all chunk extensions and trailer fields of a body together; they are discarded.
const DROPPED_BYTES: usize = 4 * 1024;

/// Decoder of one body.
#[derive(Debug)]
pub(crate) struct Body {
    /// Decoded bytes.
    taken_bytes: usize,
    most: usize,
    state: State,
    /// Bytes of extensions and trailer fields.
    dropped_bytes: usize,
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

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Remaining bytes of a body or, if `chunked`, of a chunk.
    Data {
        left: u64,
        chunked: bool,
    },
    /// Line end after a chunk.
    AfterChunk,
    /// Line with a chunk's size.
    Size,
    /// Fields after the last chunk.
    Trailer,
    Done,
}

impl Body {
    /// Creates a decoder for a body.
    ///
    /// # Errors
    /// Returns 413 if the length exceeds `most` bytes.
    pub(crate) fn new(length: Length, most: usize) -> Result<Self, Refused> {
        let state = match length {
            Length::Known(0) => State::Done,
            Length::Known(left) if left > most as u64 => return Err(Problem::too_large(most)),
            Length::Known(left) => State::Data { left, chunked: false },
            Length::Chunked => State::Size,
        };
        Ok(Self { taken_bytes: 0, most, state, dropped_bytes: 0 })
    }

    /// Decodes the next part of the body from the front of `bytes`.
    ///
    /// # Errors
    /// Returns an error if the chunks are malformed, or the body exceeds the limit.
    pub(crate) fn take(&mut self, bytes: &mut BytesMut) -> Result<Progress, Refused> {
        loop {
            match self.state {
                State::Done => return Ok(Progress::Complete),
                State::Data { left: 0, chunked } => {
                    self.state = if chunked { State::AfterChunk } else { State::Done };
                }
                State::Data { left, chunked } => {
                    let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    if count == 0 {
                        return Ok(Progress::More);
                    }
                    self.taken_bytes += count;
                    let left = left - count as u64;
                    self.state = match (left, chunked) {
                        // A body of known length is complete together with its last data.
                        (0, false) => State::Done,
                        _ => State::Data { left, chunked },
                    };
                    return Ok(Progress::Data(bytes.split_to(count).freeze()));
                }
                State::AfterChunk => match bytes.get(..2) {
                    Some(b"\r\n") => {
                        bytes.advance(2);
                        self.state = State::Size;
                    }
                    None if matches!(bytes.first(), None | Some(b'\r')) => {
                        return Ok(Progress::More);
                    }
                    _ => return Err(malformed("the length of a chunk differs from its size")),
                },
                State::Size => {
                    let Some(line) = take_line(bytes, LINE_BYTES)? else {
                        return Ok(Progress::More);
                    };
                    let (size, extension_bytes) = chunk_size(&line)?;
                    self.drop_bytes(extension_bytes)?;
                    if size > (self.most - self.taken_bytes) as u64 {
                        return Err(Problem::too_large(self.most));
                    }
                    self.state = match size {
                        0 => State::Trailer,
                        left => State::Data { left, chunked: true },
                    };
                }
                State::Trailer => {
                    let Some(line) = take_line(bytes, DROPPED_BYTES)? else {
                        return Ok(Progress::More);
                    };
                    self.drop_bytes(line.len() + 2)?;
                    if line.is_empty() {
                        self.state = State::Done;
                    } else {
                        trailer_field(&line)?;
                    }
                }
            }
        }
    }

    /// Counts discarded bytes.
    fn drop_bytes(&mut self, count: usize) -> Result<(), Refused> {
        self.dropped_bytes += count;
        if self.dropped_bytes > DROPPED_BYTES {
            return Err(malformed("chunk extensions and trailers are too large"));
        }
        Ok(())
    }
}

/// Splits off a line and removes its line end; `None` if the line is incomplete.
fn take_line(bytes: &mut BytesMut, most: usize) -> Result<Option<Bytes>, Refused> {
    match memchr::memchr(b'\n', bytes) {
        Some(end) if end > 0 && bytes[end - 1] == b'\r' && end <= most => {
            let mut line = bytes.split_to(end + 1).freeze();
            line.truncate(end - 1);
            Ok(Some(line))
        }
        Some(_) => Err(malformed("a chunk line is too long or does not end with CR and LF")),
        None if bytes.len() > most => Err(malformed("a chunk line is too long")),
        None => Ok(None),
    }
}

/// Parses the first line of a chunk into its size and the number of extension bytes. Extensions may
/// be discarded.
fn chunk_size(line: &[u8]) -> Result<(u64, usize), Refused> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, extension) = line.split_at(digits);
    // Eight digits allow four gigabytes.
    if !(1..=8).contains(&digits) {
        return Err(malformed("the size of a chunk is not a number of one to eight digits"));
    }
    let is_extension = extension.is_empty() || extension.starts_with(b";");
    if !is_extension || !extension.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
        return Err(malformed("malformed chunk extension"));
    }
    let size = std::str::from_utf8(size).ok().and_then(|size| u64::from_str_radix(size, 16).ok());
    let size = size.ok_or_else(|| malformed("the size of a chunk is not a number"))?;
    Ok((size, extension.len()))
}

fn trailer_field(line: &[u8]) -> Result<(), Refused> {
    let colon = memchr::memchr(b':', line).unwrap_or_default();
    let (name, value) = line.split_at(colon);
    let named = http::HeaderName::from_bytes(name).is_ok();
    let plain = value.iter().all(|&byte| (byte >= b' ' || byte == b'\t') && byte != 0x7f);
    if named && plain { Ok(()) } else { Err(malformed("malformed trailer field")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(length: Length, sent: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<u8>), u16> {
        let status = |problem: Refused| problem.status.as_u16();
        let mut body = Body::new(length, 100).map_err(status)?;
        let (mut bytes, mut out) = (BytesMut::new(), Vec::new());
        let mut is_complete = false;
        for part in sent.chunks(piece) {
            bytes.extend_from_slice(part);
            is_complete = loop {
                match body.take(&mut bytes).map_err(status)? {
                    Progress::Data(data) => out.extend_from_slice(&data),
                    progress => break progress == Progress::Complete,
                }
            };
        }
        if is_complete { Ok((out, bytes.to_vec())) } else { Err(0) }
    }

    #[test]
    fn bytes_after_a_body_belong_to_the_next_request() {
        for piece in [1, 3, 1000] {
            let read = taken(Length::Known(5), b"helloGET", piece).unwrap();
            assert_eq!(read, (b"hello".to_vec(), b"GET".to_vec()));
            let sent = b"3\r\nhel\r\n2;ext=1\r\nlo\r\n0\r\nX: y\r\n\r\nGET";
            let read = taken(Length::Chunked, sent, piece).unwrap();
            assert_eq!(read, (b"hello".to_vec(), b"GET".to_vec()));
        }
    }

    #[test]
    fn chunks_are_framed_exactly() {
        for sent in [
            &b"3\nhel\r\n0\r\n\r\n"[..],
            b"3\r\nhello\r\n0\r\n\r\n",
            b"5\r\nhel\r\n0\r\n\r\n00",
            b"0x3\r\nhel\r\n0\r\n\r\n",
            b"+3\r\nhel\r\n0\r\n\r\n",
            b" 3\r\nhel\r\n0\r\n\r\n",
            b"3 \r\nhel\r\n0\r\n\r\n",
            b"\r\nhel\r\n0\r\n\r\n",
            b"000000003\r\nhel\r\n0\r\n\r\n",
            b"ffffffffffffffff3\r\nhel\r\n0\r\n\r\n",
            b"3\r\nhel0\r\n\r\n",
            b"3;\nx\r\nhel\r\n0\r\n\r\n",
            b"0\r\nbad trailer\r\n\r\n",
            b"0\r\n: x\r\n\r\n",
        ] {
            assert_eq!(taken(Length::Chunked, sent, 1000), Err(400), "{}", sent.escape_ascii());
        }
        let long = [b"3;", &[b'x'; 300][..], b"\r\n"].concat();
        assert_eq!(taken(Length::Chunked, &long, 1000), Err(400));
        assert_eq!(taken(Length::Chunked, &long[..280], 1000), Err(400));
    }

    #[test]
    fn the_body_limit_applies_to_every_framing() {
        assert_eq!(taken(Length::Known(101), b"", 1), Err(413));
        assert_eq!(taken(Length::Known(u64::MAX), b"", 1), Err(413));
        assert_eq!(taken(Length::Chunked, b"65\r\n", 1), Err(413));
        let sent = [b"40\r\n", &[b'x'; 64][..], b"\r\n40\r\n"].concat();
        assert_eq!(taken(Length::Chunked, &sent, 1000), Err(413));
        let extensions =
            b"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n"
                .repeat(90);
        assert_eq!(taken(Length::Chunked, &extensions, 1000), Err(400));
        let trailers = [b"0\r\n", &b"X: y\r\n".repeat(800)[..], b"\r\n"].concat();
        assert_eq!(taken(Length::Chunked, &trailers, 1000), Err(400));
    }

    proptest::proptest! {
        #[test]
        fn chunked_data_is_decoded_unchanged(parts: Vec<u8>, piece in 1_usize..9) {
            let parts = &parts[..parts.len().min(100)];
            let mut sent = Vec::new();
            for part in parts.chunks(7) {
                sent.extend(format!("{:x}\r\n", part.len()).into_bytes());
                sent.extend(part);
                sent.extend(b"\r\n");
            }
            sent.extend(b"0\r\n\r\nrest");
            let read = taken(Length::Chunked, &sent, piece).unwrap();
            proptest::prop_assert_eq!(read, (parts.to_vec(), b"rest".to_vec()));
        }

        #[test]
        fn no_input_causes_a_panic(bytes: Vec<u8>) {
            let _ = taken(Length::Chunked, &bytes, 3);
        }
    }
}
