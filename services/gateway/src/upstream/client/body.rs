//! Decoder for HTTP/1.1 response bodies (RFC 9112, section 6). The gateway frames the body again
//! for the client.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};

use crate::upstream::{Connection, Stream};

/// Bytes of one read.
const PIECE_BYTES: usize = 16 * 1024;

/// Maximum bytes of a line between chunks, and of all trailer fields together, which are discarded.
const LINE_BYTES: usize = 4 * 1024;

/// A response body in transfer.
#[derive(Debug)]
pub(crate) struct Body {
    connection: Connection,
    buffer: BytesMut,
    frame: Frame,
}

/// Framing of a body, and the decoder's position in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Frame {
    /// Number of remaining bytes.
    Known(u64),
    /// Until the connection closes.
    UntilClosed,
    /// Line with a chunk's size.
    Size,
    /// Number of remaining bytes of a chunk.
    Chunk(u64),
    /// Line end after a chunk.
    AfterChunk,
    /// Fields after the last chunk; the number of bytes discarded before.
    Trailer(usize),
    /// The body is complete.
    Done,
}

/// Available data of a body.
#[derive(Debug)]
pub(crate) enum Data {
    /// A piece of the body.
    Some(Bytes),
    /// No data yet: see [`Body::poll_more`].
    None,
    /// The body is complete.
    End,
}

impl Body {
    /// Body of a response on this connection; `buffer` are bytes that were already received.
    pub(super) fn new(connection: Connection, buffer: BytesMut, frame: Frame) -> Self {
        Self { connection, buffer, frame }
    }

    /// Current position.
    pub(crate) const fn frame(&self) -> Frame {
        self.frame
    }

    /// Returns the available data.
    ///
    /// # Errors
    /// Returns an error if the framing is malformed.
    pub(crate) fn take(&mut self) -> io::Result<Data> {
        Ok(match self.frame.take(&mut self.buffer)? {
            Some(piece) => Data::Some(piece),
            None if self.frame == Frame::Done => Data::End,
            None => Data::None,
        })
    }

    /// Waits for more data. It is cancel-safe.
    ///
    /// # Errors
    /// Returns an error if the body is truncated.
    pub(crate) fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.buffer.is_empty() {
            // An idle body owns no buffer.
            self.buffer = BytesMut::new();
        }
        let Self { connection, buffer, .. } = self;
        if ready!(poll_some(&mut connection.stream, context, buffer))? > 0 {
            return Poll::Ready(Ok(()));
        }
        if self.frame != Frame::UntilClosed {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.frame = Frame::Done;
        Poll::Ready(Ok(()))
    }

    /// The connection, to send the rest of the request.
    pub(crate) fn stream(&mut self) -> &mut Stream {
        &mut self.connection.stream
    }

    /// Whether the stream may end here without a truncated piece.
    pub(crate) fn is_at_boundary(&self) -> bool {
        self.buffer.is_empty()
            && matches!(self.frame, Frame::Size | Frame::UntilClosed | Frame::Done)
    }

    /// The connection, for reuse; `None` unless the body is complete and no bytes follow it.
    pub(crate) fn into_connection(self) -> Option<Connection> {
        (self.frame == Frame::Done && self.buffer.is_empty()).then_some(self.connection)
    }

    /// The connection and the bytes already received, for a tunnel.
    pub(crate) fn into_parts(self) -> (Stream, BytesMut) {
        (self.connection.stream, self.buffer)
    }
}

/// Reads available bytes into `bytes`, and allocates its capacity only when there are any.
pub(super) fn poll_some(
    stream: &mut (impl AsyncRead + Unpin),
    context: &mut Context<'_>,
    bytes: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    let mut piece = [const { MaybeUninit::uninit() }; PIECE_BYTES];
    let mut piece = ReadBuf::uninit(&mut piece);
    ready!(Pin::new(stream).poll_read(context, &mut piece))?;
    bytes.extend_from_slice(piece.filled());
    Poll::Ready(Ok(piece.filled().len()))
}

impl Frame {
    /// Decodes a piece of the body from the front of `buffer`; `None` if there is none.
    pub(super) fn take(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Bytes>> {
        loop {
            match *self {
                Self::Done => return Ok(None),
                Self::UntilClosed if buffer.is_empty() => return Ok(None),
                Self::UntilClosed => return Ok(Some(buffer.split().freeze())),
                Self::Known(0) => *self = Self::Done,
                Self::Chunk(0) => *self = Self::AfterChunk,
                Self::Known(left) | Self::Chunk(left) => {
                    let count = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    if count == 0 {
                        return Ok(None);
                    }
                    let left = left - count as u64;
                    *self = match self {
                        Self::Known(_) => Self::Known(left),
                        _ => Self::Chunk(left),
                    };
                    if left == 0 {
                        // Continues, so that the end is detected together with the last piece.
                        let piece = buffer.split_to(count).freeze();
                        if *self == Self::Known(0) {
                            *self = Self::Done;
                        }
                        return Ok(Some(piece));
                    }
                    return Ok(Some(buffer.split_to(count).freeze()));
                }
                Self::AfterChunk => {
                    let Some(line) = take_line(buffer)? else { return Ok(None) };
                    if !line.is_empty() {
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                    *self = Self::Size;
                }
                Self::Size => {
                    let Some(line) = take_line(buffer)? else { return Ok(None) };
                    *self = match size(&line)? {
                        0 => Self::Trailer(0),
                        size => Self::Chunk(size),
                    };
                }
                Self::Trailer(dropped) => {
                    let Some(line) = take_line(buffer)? else { return Ok(None) };
                    let dropped = dropped + line.len();
                    if dropped > LINE_BYTES {
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                    *self = if line.is_empty() { Self::Done } else { Self::Trailer(dropped) };
                }
            }
        }
    }
}

/// Splits off the next line and removes its line end; `None` if the line is incomplete.
fn take_line(buffer: &mut BytesMut) -> io::Result<Option<Bytes>> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let Some(end) = memchr::memchr(b'\n', buffer) else {
        return if buffer.len() > LINE_BYTES { Err(invalid()) } else { Ok(None) };
    };
    let line = buffer.split_to(end).freeze();
    buffer.advance(1);
    let line_end = line.len().checked_sub(1).filter(|&last| line.get(last) == Some(&b'\r'));
    line_end.map(|last| Some(line.slice(..last))).ok_or_else(invalid)
}

/// Parses the size of a chunk; extensions are ignored (RFC 9112, section 7.1.1).
fn size(line: &[u8]) -> io::Result<u64> {
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii_end();
    // `from_str_radix` also accepts a sign.
    let is_plain = digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_plain);
    let size = text.and_then(|text| u64::from_str_radix(text, 16).ok());
    size.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The decoded bytes for input in pieces of this size, and the final position.
    fn unframed(frame: Frame, bytes: &[u8], piece: usize) -> io::Result<(Vec<u8>, Frame)> {
        let (mut frame, mut buffer, mut out) = (frame, BytesMut::new(), Vec::new());
        for part in bytes.chunks(piece) {
            buffer.extend_from_slice(part);
            while let Some(piece) = frame.take(&mut buffer)? {
                out.extend_from_slice(&piece);
            }
        }
        Ok((out, frame))
    }

    #[test]
    fn a_body_does_not_depend_on_how_the_bytes_are_split() {
        let chunks = b"5\r\nhello\r\nA;x=b\r\n0123456789\r\n0\r\nDate: now\r\n\r\n";
        for piece in 1..=chunks.len() {
            let read = |frame, bytes| unframed(frame, bytes, piece).unwrap();
            let whole = (b"hello0123456789".to_vec(), Frame::Done);
            assert_eq!(read(Frame::Size, chunks), whole, "{piece}");
            assert_eq!(read(Frame::Known(5), b"hello"), (b"hello".to_vec(), Frame::Done));
            assert_eq!(read(Frame::UntilClosed, b"hello").0, b"hello");
        }
    }

    #[test]
    fn a_truncated_body_is_not_complete() {
        let chunks = b"5\r\nhello\r\n0\r\n\r\n";
        for cut in 0..chunks.len() {
            let (_, frame) = unframed(Frame::Size, &chunks[..cut], 3).unwrap();
            assert_ne!(frame, Frame::Done, "{cut}");
        }
        assert_eq!(unframed(Frame::Known(6), b"hello", 9).unwrap().1, Frame::Known(1));
    }

    #[test]
    fn malformed_chunks_are_rejected() {
        for chunks in [
            "x\r\n",
            "\r\n",
            "+5\r\nhello\r\n",
            "5\nhello\r\n",
            "5\r\nhello!\r\n",
            "10000000000000000\r\n",
            "0x5\r\nhello\r\n",
        ] {
            assert!(unframed(Frame::Size, chunks.as_bytes(), 100).is_err(), "{chunks:?}");
        }
        let endless = "0".repeat(2 * LINE_BYTES);
        assert!(unframed(Frame::Size, endless.as_bytes(), 100).is_err());
        let trailers = format!("0\r\n{}", "a: b\r\n".repeat(LINE_BYTES));
        assert!(unframed(Frame::Size, trailers.as_bytes(), 100).is_err());
    }
}
