//! Response bodies.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};

use crate::message::body::Frame;
use crate::upstream::{Connection, Stream};

/// Bytes of one read.
const PIECE_BYTES: usize = 16 * 1024;

/// A response body in transfer.
#[derive(Debug)]
pub(crate) struct Body {
    connection: Connection,
    buffer: BytesMut,
    frame: Frame,
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

    /// Returns the available data; `None` at the end of the body, and before [`Body::poll_more`].
    ///
    /// # Errors
    /// Returns the fault if the framing is malformed.
    pub(crate) fn take(&mut self) -> Result<Option<Bytes>, &'static str> {
        self.frame.take(&mut self.buffer)
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
            && match self.frame {
                Frame::Chunked(chunks) => chunks.is_at_boundary(),
                Frame::Known(_) => false,
                Frame::UntilClosed | Frame::Done => true,
            }
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
