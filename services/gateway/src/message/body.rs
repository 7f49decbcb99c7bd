//! Framing of bodies (RFC 9112, sections 6 and 7.1): one decoder for requests, responses and tunnels.
//! The gateway frames a body again for the next hop, so no peer sees the chunks of the other side.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderName;

/// Maximum bytes of the line with a chunk's size in a request.
const REQUEST_LINE_BYTES: u16 = 256;

/// The same in a response.
const RESPONSE_LINE_BYTES: u16 = 4 * 1024;

/// Maximum digits of a chunk's size in a request: four gigabytes.
const REQUEST_DIGITS: u16 = 8;

/// Maximum bytes of all trailer fields, and of all chunk extensions of a request. They are discarded.
const DROPPED_BYTES: u16 = 4 * 1024;

/// Framing of a body, and the decoder's position in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Frame {
    /// Number of remaining bytes, at least one.
    Known(u64),
    /// Until the connection closes.
    UntilClosed,
    /// Chunked.
    Chunked(Chunks),
    /// The body is complete.
    Done,
}

impl Frame {
    /// A body of this length.
    pub(crate) const fn known(length: u64) -> Self {
        if length == 0 { Self::Done } else { Self::Known(length) }
    }

    /// Decodes a piece of the body from the front of `buffer`; `None` if there is none.
    ///
    /// # Errors
    /// Returns the fault if the chunks are malformed.
    pub(crate) fn take(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, &'static str> {
        let count = match self {
            Self::Done => 0,
            Self::UntilClosed => buffer.len(),
            Self::Known(left) => {
                let count = at_most(buffer.len(), *left);
                // The end is detected together with the last piece.
                *self = Self::known(*left - count as u64);
                count
            }
            Self::Chunked(chunks) => {
                let (framing, data) = chunks.advance(buffer)?;
                buffer.advance(framing);
                if chunks.is_complete() {
                    *self = Self::Done;
                }
                data
            }
        };
        Ok((count > 0).then(|| buffer.split_to(count).freeze()))
    }

    /// Bytes of data that are known to follow.
    pub(crate) const fn left(&self) -> u64 {
        match self {
            Self::Known(left) | Self::Chunked(Chunks { at: At::Data(left), .. }) => *left,
            _ => 0,
        }
    }
}

/// Position within a chunked body, without its data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Chunks {
    at: At,
    /// The line feed before this position is still to come.
    needs_line_feed: bool,
    is_request: bool,
    /// Bytes of the current line with a size.
    line_bytes: u16,
    dropped_bytes: u16,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    /// Digits of a chunk's size.
    Size(u64),
    /// White space after them.
    Blank(u64),
    Extension(u64),
    /// Remaining bytes of a chunk.
    Data(u64),
    /// Line end after a chunk.
    DataEnd,
    /// Before a trailer field, or the empty line that ends the body.
    TrailerBegin,
    TrailerName,
    TrailerValue,
    Complete,
    Unknown,
}

impl Chunks {
    /// The beginning of the body of a request, or of a response.
    pub(crate) const fn new(is_request: bool) -> Self {
        let (line_bytes, dropped_bytes) = (0, 0);
        Self { at: At::Size(0), needs_line_feed: false, is_request, line_bytes, dropped_bytes }
    }

    /// Advances over framing and the data after it. Returns the number of bytes of each.
    fn advance(&mut self, bytes: &[u8]) -> Result<(usize, usize), &'static str> {
        for (framing, &byte) in bytes.iter().enumerate() {
            match self.at {
                _ if self.needs_line_feed => {
                    if byte != b'\n' {
                        return Err("a line between chunks does not end with CR and LF");
                    }
                    self.needs_line_feed = false;
                }
                At::Complete => return Ok((framing, 0)),
                At::Data(left) => {
                    let data = at_most(bytes.len() - framing, left);
                    let left = left - data as u64;
                    self.at = if left == 0 { At::DataEnd } else { At::Data(left) };
                    return Ok((framing, data));
                }
                _ => self.at = self.next(byte)?,
            }
        }
        Ok((bytes.len(), 0))
    }

    /// Advances over the next bytes of a body that is forwarded with its framing. After malformed
    /// framing, the position is unknown.
    pub(crate) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.is_complete() {
            let Ok((framing, data)) = self.advance(bytes) else {
                self.at = At::Unknown;
                return;
            };
            bytes = &bytes[framing + data..];
        }
    }

    /// The position after a byte of framing.
    fn next(&mut self, byte: u8) -> Result<At, &'static str> {
        let is_blank = matches!(byte, b' ' | b'\t');
        Ok(match self.at {
            At::Size(size) | At::Blank(size) | At::Extension(size)
                if byte == b'\r' && self.line_bytes > 0 =>
            {
                (self.needs_line_feed, self.line_bytes) = (true, 0);
                if size == 0 { At::TrailerBegin } else { At::Data(size) }
            }
            At::Size(size) if let Some(digit) = char::from(byte).to_digit(16) => {
                self.count_line()?;
                let is_long = self.is_request && self.line_bytes > REQUEST_DIGITS;
                let size = size.checked_mul(16).filter(|_| !is_long);
                At::Size(size.ok_or("the size of a chunk has too many digits")? | u64::from(digit))
            }
            At::Size(size) | At::Blank(size) if self.line_bytes > 0 && byte == b';' => {
                self.extension(size)?
            }
            // Some servers write white space after the size.
            At::Size(size) | At::Blank(size)
                if self.line_bytes > 0 && is_blank && !self.is_request =>
            {
                self.count_line()?;
                At::Blank(size)
            }
            At::Extension(size)
                if matches!(byte, b' '..=b'~')
                    || (!self.is_request && matches!(byte, b'\t' | 0x80..)) =>
            {
                self.extension(size)?
            }
            At::DataEnd if byte == b'\r' => {
                self.needs_line_feed = true;
                At::Size(0)
            }
            At::TrailerBegin | At::TrailerName | At::TrailerValue => self.trailer(byte)?,
            At::DataEnd => return Err("the length of a chunk differs from its size"),
            _ => return Err("the line with the size of a chunk is malformed"),
        })
    }

    fn extension(&mut self, size: u64) -> Result<At, &'static str> {
        self.count_line()?;
        if self.is_request {
            self.count_dropped()?;
        }
        Ok(At::Extension(size))
    }

    fn trailer(&mut self, byte: u8) -> Result<At, &'static str> {
        self.count_dropped()?;
        self.needs_line_feed = byte == b'\r';
        Ok(match (self.at, byte) {
            (At::TrailerBegin, b'\r') => At::Complete,
            (At::TrailerValue, b'\r') => At::TrailerBegin,
            (At::TrailerName, b':') | (At::TrailerValue, b'\t' | b' '..=b'~' | 0x80..) => {
                At::TrailerValue
            }
            (At::TrailerBegin | At::TrailerName, _) if HeaderName::from_bytes(&[byte]).is_ok() => {
                At::TrailerName
            }
            // The client gets no trailers, so those of a response need no name.
            (At::TrailerName, b'\r') if !self.is_request => At::TrailerBegin,
            (_, b'\t' | b' '..=b'~' | 0x80..) if !self.is_request => At::TrailerValue,
            _ => return Err("malformed trailer field"),
        })
    }

    fn count_line(&mut self) -> Result<(), &'static str> {
        self.line_bytes += 1;
        let most = if self.is_request { REQUEST_LINE_BYTES } else { RESPONSE_LINE_BYTES };
        if self.line_bytes > most { Err("a chunk line is too long") } else { Ok(()) }
    }

    fn count_dropped(&mut self) -> Result<(), &'static str> {
        self.dropped_bytes += 1;
        if self.dropped_bytes > DROPPED_BYTES {
            return Err("chunk extensions and trailers are too large");
        }
        Ok(())
    }

    /// Whether a chunk may begin here.
    pub(crate) fn is_at_boundary(self) -> bool {
        self.at == At::Size(0) && self.line_bytes == 0 && !self.needs_line_feed
    }

    /// Whether the body has ended.
    pub(crate) fn is_complete(self) -> bool {
        self.at == At::Complete && !self.needs_line_feed
    }
}

/// A number of bytes, at most `most`.
fn at_most(bytes: usize, most: u64) -> usize {
    bytes.min(usize::try_from(most).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunked(is_request: bool) -> Frame {
        Frame::Chunked(Chunks::new(is_request))
    }

    /// The decoded bytes for input in pieces of this size, the bytes that are left, and the final
    /// position.
    fn read(
        mut frame: Frame,
        bytes: &[u8],
        piece: usize,
    ) -> Result<(Vec<u8>, Vec<u8>, Frame), &'static str> {
        let (mut buffer, mut out) = (BytesMut::new(), Vec::new());
        for part in bytes.chunks(piece) {
            buffer.extend_from_slice(part);
            while let Some(piece) = frame.take(&mut buffer)? {
                assert!(!piece.is_empty());
                out.extend_from_slice(&piece);
            }
        }
        Ok((out, buffer.to_vec(), frame))
    }

    #[test]
    fn a_body_ends_in_the_same_place_however_the_bytes_are_split() {
        let chunks = b"5\r\nhello\r\nA;x=b\r\n0123456789\r\n0\r\nDate: now\r\n\r\nGET";
        let two = b"3\r\nabc\r\n2;ext=1\r\nlo\r\n0\r\nX: y\r\n\r\nGET";
        for piece in 1..=chunks.len() {
            let whole = |data: &[u8]| Ok((data.to_vec(), b"GET".to_vec(), Frame::Done));
            assert_eq!(read(chunked(false), chunks, piece), whole(b"hello0123456789"), "{piece}");
            assert_eq!(read(chunked(true), two, piece), whole(b"abclo"), "{piece}");
            assert_eq!(read(Frame::known(5), b"helloGET", piece), whole(b"hello"), "{piece}");
            let (data, rest, frame) = read(Frame::UntilClosed, b"hello", piece).unwrap();
            assert_eq!(
                (&data[..], &rest[..], frame),
                (&b"hello"[..], &b""[..], Frame::UntilClosed)
            );
        }
    }

    #[test]
    fn a_truncated_body_is_not_complete() {
        let chunks = b"5\r\nhello\r\n0\r\n\r\n";
        for cut in 0..chunks.len() {
            let (.., frame) = read(chunked(false), &chunks[..cut], 3).unwrap();
            assert_ne!(frame, Frame::Done, "{cut}");
        }
        assert_eq!(read(Frame::known(6), b"hello", 9).unwrap().2, Frame::Known(1));
    }

    #[test]
    fn chunks_are_framed_exactly() {
        for sent in [
            &b"x\r\n"[..],
            b"3\nabc\r\n0\r\n\r\n",
            b"3\r\nhello\r\n0\r\n\r\n",
            b"5\r\nabc\r\n0\r\n\r\n00",
            b"0x3\r\nabc\r\n0\r\n\r\n",
            b"+3\r\nabc\r\n0\r\n\r\n",
            b" 3\r\nabc\r\n0\r\n\r\n",
            b"\r\nabc\r\n0\r\n\r\n",
            b"10000000000000000\r\n",
            b"ffffffffffffffff3\r\nabc\r\n0\r\n\r\n",
            b"3\r\nhel0\r\n\r\n",
            b"3;\nx\r\nabc\r\n0\r\n\r\n",
            b"3;\rx\r\nabc\r\n0\r\n\r\n",
            b"3 3\r\nabc\r\n0\r\n\r\n",
            b"0 5\r\n\r\nhello",
            b"3 x=1\r\nabc\r\n0\r\n\r\n",
            b"0\r\na: b\nc: d\r\n\r\n",
            b"0\r\na: b\rc: d\r\n\r\n",
        ] {
            for is_request in [true, false] {
                let read = read(chunked(is_request), sent, 1000);
                assert!(read.is_err(), "{is_request} {}", sent.escape_ascii());
            }
        }
        for (is_request, zeros) in [(true, 9), (false, 4097)] {
            let zeros = "0".repeat(zeros);
            assert!(read(chunked(is_request), zeros.as_bytes(), 100).is_err());
            assert!(read(chunked(is_request), &zeros.as_bytes()[1..], 100).is_ok());
        }
        let long = [b"3;", &[b'x'; 280][..]].concat();
        assert!(read(chunked(true), &long, 1000).is_err());
        for (repeated, last) in [("1;aaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n", ""), ("", "X: y\r\n")] {
            let sent = format!("{}0\r\n{}", repeated.repeat(200), last.repeat(900));
            assert!(read(chunked(true), sent.as_bytes(), 1000).is_err());
            // Extensions of a response have no common limit.
            assert_eq!(read(chunked(false), sent.as_bytes(), 1000).is_ok(), last.is_empty());
        }
    }

    #[test]
    fn some_forms_are_accepted_of_upstreams_only() {
        for sent in [
            &b"3 \r\nabc\r\n0\r\n\r\n"[..],
            b"3 \t;x\r\nabc\r\n0\r\n\r\n",
            b"000000003\r\nabc\r\n0\r\n\r\n",
            b"3;a=\"\xc3\xa9\"\r\nabc\r\n0\r\n\r\n",
            b"3\r\nabc\r\n0\r\nX-Sum : 1\r\n\r\n",
            b"3\r\nabc\r\n0\r\nX: 1\r\n more\r\n\r\n",
            b"3\r\nabc\r\n0\r\nbad trailer\r\n\r\n",
            b"3\r\nabc\r\n0\r\n: x\r\n\r\n",
            b"3\r\nabc\r\n0\r\nname\r\n\r\n",
        ] {
            assert!(read(chunked(true), sent, 1000).is_err(), "{}", sent.escape_ascii());
            let read = read(chunked(false), sent, 1000);
            assert_eq!(
                read,
                Ok((b"abc".to_vec(), Vec::new(), Frame::Done)),
                "{}",
                sent.escape_ascii()
            );
        }
    }

    #[test]
    fn boundaries_and_the_end_are_detected_in_a_forwarded_body() {
        let text = b"5\r\nhello\r\na;x=b\r\n0123456789\r\n";
        for end in ["0\r\n\r\n", "0;x\r\n\r\n", "00\r\nA: 0\r\nB: 1\r\n\r\n"] {
            let body = [&text[..], end.as_bytes()].concat();
            for (cut, piece) in (0..=body.len()).flat_map(|cut| [(cut, 1), (cut, 3), (cut, 100)]) {
                let mut chunks = Chunks::new(false);
                body[..cut].chunks(piece).for_each(|piece| chunks.follow(piece));
                assert_eq!(chunks.is_at_boundary(), [0, 10, text.len()].contains(&cut), "{cut}");
                assert_eq!(chunks.is_complete(), cut == body.len(), "{cut} {end}");
            }
        }
        let mut chunks = Chunks::new(false);
        chunks.follow(b"x\r\n0\r\n\r\n");
        assert!(!chunks.is_at_boundary() && !chunks.is_complete());
    }

    proptest! {
        #[test]
        fn chunked_data_is_decoded_unchanged(parts: Vec<u8>, piece in 1_usize..9, is_request: bool) {
            let mut sent = Vec::new();
            for part in parts.chunks(7) {
                sent.extend(format!("{:x}\r\n", part.len()).into_bytes());
                sent.extend(part);
                sent.extend(b"\r\n");
            }
            sent.extend(b"0\r\n\r\nrest");
            let read = read(chunked(is_request), &sent, piece);
            prop_assert_eq!(read, Ok((parts, b"rest".to_vec(), Frame::Done)));
        }

        #[test]
        fn no_input_causes_a_panic(bytes: Vec<u8>, is_request: bool) {
            let _ = read(chunked(is_request), &bytes, 3);
        }
    }
}
