//! The body of an upstream's answer, out of the frame that HTTP/1.1 gave it (RFC 9112, section 6):
//! clients get one of the gateway's own.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};

use crate::upstream::{Connection, Stream};

/// Bytes of one read.
const PIECE_BYTES: usize = 16 * 1024;

/// Bytes of a line between chunks, and of all trailer fields together, which are dropped.
const LINE_BYTES: usize = 4 * 1024;

/// A body that is on its way.
#[derive(Debug)]
pub(crate) struct Body {
    connection: Connection,
    held: BytesMut,
    frame: Frame,
}

/// How the end of a body is known, and where in it the reader is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Frame {
    /// So many bytes are left.
    Known(u64),
    /// All that comes.
    UntilClosed,
    /// The line with a chunk's size.
    Size,
    /// So many bytes of a chunk are left.
    Chunk(u64),
    /// The line end behind a chunk.
    AfterChunk,
    /// The fields behind the last chunk; so many bytes of them were dropped.
    Trailer(usize),
    /// There is no more.
    Done,
}

/// What is there of a body.
#[derive(Debug)]
pub(crate) enum Data {
    /// Some of it.
    Some(Bytes),
    /// Nothing yet: see [`Body::poll_more`].
    None,
    /// It was complete before.
    End,
}

impl Body {
    /// Of an answer on that connection; some of it is held already.
    pub(super) fn new(connection: Connection, held: BytesMut, frame: Frame) -> Self {
        Self { connection, held, frame }
    }

    /// Where in it the reader is.
    pub(crate) const fn frame(&self) -> Frame {
        self.frame
    }

    /// What is there of it.
    ///
    /// # Errors
    /// When it is not framed as it must be.
    pub(crate) fn take(&mut self) -> io::Result<Data> {
        Ok(match self.frame.take(&mut self.held)? {
            Some(piece) => Data::Some(piece),
            None if self.frame == Frame::Done => Data::End,
            None => Data::None,
        })
    }

    /// Waits for more. Nothing is lost when it is not waited for to the end.
    ///
    /// # Errors
    /// When the body ends before its end.
    pub(crate) fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            // While nothing is on its way, there is no buffer.
            self.held = BytesMut::new();
        }
        let Self { connection, held, .. } = self;
        if ready!(poll_some(&mut connection.stream, context, held))? > 0 {
            return Poll::Ready(Ok(()));
        }
        if self.frame != Frame::UntilClosed {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.frame = Frame::Done;
        Poll::Ready(Ok(()))
    }

    /// The connection, for the rest of the request.
    pub(crate) fn stream(&mut self) -> &mut Stream {
        &mut self.connection.stream
    }

    /// Whether it could end here for one who only sees pieces.
    pub(crate) fn is_between(&self) -> bool {
        self.held.is_empty() && matches!(self.frame, Frame::Size | Frame::UntilClosed | Frame::Done)
    }

    /// The connection, for another request; none unless the body is complete and nothing came
    /// behind it.
    pub(crate) fn into_connection(self) -> Option<Connection> {
        (self.frame == Frame::Done && self.held.is_empty()).then_some(self.connection)
    }

    /// The connection and what came on it, for what is passed on as it comes.
    pub(crate) fn into_parts(self) -> (Stream, BytesMut) {
        (self.connection.stream, self.held)
    }
}

/// Reads what is there to the end of `bytes`, whose room is made when it is.
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
    /// Takes a piece of the body from the front of `held`; none when there is none in it.
    pub(super) fn take(&mut self, held: &mut BytesMut) -> io::Result<Option<Bytes>> {
        loop {
            match *self {
                Self::Done => return Ok(None),
                Self::UntilClosed if held.is_empty() => return Ok(None),
                Self::UntilClosed => return Ok(Some(held.split().freeze())),
                Self::Known(0) => *self = Self::Done,
                Self::Chunk(0) => *self = Self::AfterChunk,
                Self::Known(left) | Self::Chunk(left) => {
                    let count = held.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    if count == 0 {
                        return Ok(None);
                    }
                    let left = left - count as u64;
                    *self = match self {
                        Self::Known(_) => Self::Known(left),
                        _ => Self::Chunk(left),
                    };
                    if left == 0 {
                        // Goes on at once, so that the end is seen with the last piece.
                        let piece = held.split_to(count).freeze();
                        if *self == Self::Known(0) {
                            *self = Self::Done;
                        }
                        return Ok(Some(piece));
                    }
                    return Ok(Some(held.split_to(count).freeze()));
                }
                Self::AfterChunk => {
                    let Some(line) = take_line(held)? else { return Ok(None) };
                    if !line.is_empty() {
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                    *self = Self::Size;
                }
                Self::Size => {
                    let Some(line) = take_line(held)? else { return Ok(None) };
                    *self = match size(&line)? {
                        0 => Self::Trailer(0),
                        size => Self::Chunk(size),
                    };
                }
                Self::Trailer(dropped) => {
                    let Some(line) = take_line(held)? else { return Ok(None) };
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

/// The next line without its end, if it is there.
fn take_line(held: &mut BytesMut) -> io::Result<Option<Bytes>> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let Some(end) = memchr::memchr(b'\n', held) else {
        return if held.len() > LINE_BYTES { Err(invalid()) } else { Ok(None) };
    };
    let line = held.split_to(end).freeze();
    held.advance(1);
    let line_end = line.len().checked_sub(1).filter(|&last| line.get(last) == Some(&b'\r'));
    line_end.map(|last| Some(line.slice(..last))).ok_or_else(invalid)
}

/// The size of a chunk; an extension behind it means nothing (RFC 9112, section 7.1.1).
fn size(line: &[u8]) -> io::Result<u64> {
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii_end();
    // `from_str_radix` takes a sign as well.
    let is_plain = digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_plain);
    let size = text.and_then(|text| u64::from_str_radix(text, 16).ok());
    size.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out when the bytes come in pieces of this size, and where it ends.
    fn unframed(frame: Frame, bytes: &[u8], piece: usize) -> io::Result<(Vec<u8>, Frame)> {
        let (mut frame, mut held, mut out) = (frame, BytesMut::new(), Vec::new());
        for part in bytes.chunks(piece) {
            held.extend_from_slice(part);
            while let Some(piece) = frame.take(&mut held)? {
                out.extend_from_slice(&piece);
            }
        }
        Ok((out, frame))
    }

    #[test]
    fn a_body_is_the_same_however_its_bytes_come() {
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
    fn half_a_body_is_not_taken_for_a_whole_one() {
        let chunks = b"5\r\nhello\r\n0\r\n\r\n";
        for cut in 0..chunks.len() {
            let (_, frame) = unframed(Frame::Size, &chunks[..cut], 3).unwrap();
            assert_ne!(frame, Frame::Done, "{cut}");
        }
        assert_eq!(unframed(Frame::Known(6), b"hello", 9).unwrap().1, Frame::Known(1));
    }

    #[test]
    fn chunks_that_are_none_are_refused() {
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
