//! HTTP/1 client connection: strict parsing of requests, and buffered, nonblocking writes of
//! responses, so that the caller can make progress elsewhere meanwhile.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderValue;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use crate::message::client::BodyFault;
use crate::message::head::push_size;
use crate::message::problem::Problem;
use crate::request::client_info::Scheme;
use crate::request::parse::{self, Body, Progress, Refused};
use crate::transport::socket::{self, Socket};

/// Bytes of one read. A typical request head fits.
const READ_BYTES: usize = 8 * 1024;

/// Bytes that are buffered before a write: a response head and a small body.
const WRITE_BYTES: usize = 16 * 1024;

/// Bytes of a typical response head, and of a body that is buffered with it.
const HEAD_BYTES: usize = 1024;
const SMALL_BYTES: usize = 8 * 1024;

/// Maximum bytes of pipelined requests that are buffered while a request is handled.
const AHEAD_BYTES: usize = 32 * 1024;

/// Timeout of a request head from its first byte, and of the TLS handshake; it limits slow clients
/// (slowloris).
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(10);

/// Idle timeout of a connection, also before its first request. Longer than the 60 s of AWS's load
/// balancer, which returns 502 when it reuses a connection that is just closing.
pub(crate) const IDLE_TIME: Duration = Duration::from_secs(75);

/// Lingering close after an error response, so that the client can read it before a reset (RFC
/// 9112, section 9.6): the maximum pause between reads, and the total time.
const LINGER_PAUSE: Duration = Duration::from_secs(1);
const LINGER_TIME: Duration = Duration::from_secs(10);

/// Accepted client connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Socket,
    peer: SocketAddr,
    /// Received bytes that are not parsed yet.
    read_buffer: BytesMut,
    /// Pending output, in this order: buffered bytes, a piece too large to be copied, and the end
    /// of that piece's chunk.
    write_buffer: Vec<u8>,
    tail: Bytes,
    tail_end: &'static [u8],
    /// The client has closed its write side.
    is_read_closed: bool,
}

impl Connection {
    /// Creates a connection.
    pub(crate) fn new(stream: Socket, peer: SocketAddr) -> Self {
        Self {
            stream,
            peer,
            read_buffer: BytesMut::new(),
            write_buffer: Vec::new(),
            tail: Bytes::new(),
            tail_end: b"",
            is_read_closed: false,
        }
    }

    /// Address of the peer.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Scheme of the client's URL.
    pub(crate) fn scheme(&self) -> Scheme {
        socket::scheme(&self.stream)
    }

    /// Waits for the first byte of a request, without a buffer. `may_skip` allows an empty line
    /// before the request (RFC 9112, section 2.2). Returns false if the client has closed the
    /// connection.
    pub(crate) fn poll_readable(
        &mut self,
        context: &mut Context<'_>,
        may_skip: &mut bool,
    ) -> Poll<bool> {
        loop {
            if *may_skip && self.read_buffer[..] == *b"\r\n" {
                // Some clients send an empty line after a body. It does not start the timeout of
                // the head.
                *may_skip = false;
                self.read_buffer.clear();
            }
            if !self.read_buffer.is_empty() {
                return Poll::Ready(true);
            }
            self.read_buffer = BytesMut::new();
            self.write_buffer = Vec::new();
            let read = ready!(self.poll_more(context));
            if !read.is_ok_and(|count| count > 0) {
                return Poll::Ready(false);
            }
        }
    }

    /// Whether bytes of another request are buffered.
    pub(crate) fn has_more(&self) -> bool {
        !self.read_buffer.is_empty()
    }

    /// Whether only line ends are buffered.
    pub(crate) fn has_received_nothing(&self) -> bool {
        self.read_buffer.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
    }

    /// Takes a request head that is complete; its end is not in the first `seen` bytes.
    pub(crate) fn take_head(&mut self, seen: usize) -> Result<Option<Bytes>, Refused> {
        let Some(end) = parse::end_of_head(&self.read_buffer, seen)? else { return Ok(None) };
        // A split-off part shares its memory with the rest.
        let is_all = end == self.read_buffer.len();
        let head = if is_all {
            std::mem::take(&mut self.read_buffer)
        } else {
            self.read_buffer.split_to(end)
        };
        Ok(Some(head.freeze()))
    }

    /// Reads a complete request head. The error is `None` if the client has disconnected.
    pub(crate) async fn head(&mut self) -> Result<Bytes, Option<Refused>> {
        let mut seen = 0;
        loop {
            if let Some(head) = self.take_head(seen)? {
                return Ok(head);
            }
            seen = self.read_buffer.len();
            match poll_fn(|context| self.poll_more(context)).await {
                Ok(count) if count > 0 => {}
                // A client that closed its write side within a head may still read the response.
                _ if !self.has_received_nothing() => {
                    let detail = "the connection was closed within the head";
                    return Err(Problem::bad_request(detail).into());
                }
                _ => return Err(None),
            }
        }
    }

    /// Reads the next piece of a request body; `None` at its end.
    pub(crate) fn poll_body(
        &mut self,
        context: &mut Context<'_>,
        body: &mut Body,
    ) -> Poll<Result<Option<Bytes>, BodyFault>> {
        loop {
            match body.take(&mut self.read_buffer).map_err(BodyFault::Refused)? {
                Progress::Data(data) => return Poll::Ready(Ok(Some(data))),
                Progress::Complete => return Poll::Ready(Ok(None)),
                Progress::More => match ready!(self.poll_more(context)) {
                    Ok(count) if count > 0 => {}
                    _ => {
                        let detail = "the connection was closed within the body";
                        return Poll::Ready(Err(BodyFault::Refused(Problem::bad_request(detail))));
                    }
                },
            }
        }
    }

    /// Output buffer for response heads.
    pub(crate) fn write_buffer(&mut self) -> &mut Vec<u8> {
        &mut self.write_buffer
    }

    /// Output buffer for a response head, with capacity for a small body of this length.
    pub(crate) fn write_buffer_for(&mut self, length: Option<&HeaderValue>) -> &mut Vec<u8> {
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let small = length.filter(|&length: &usize| length <= SMALL_BYTES).unwrap_or(0);
        self.write_buffer.reserve(HEAD_BYTES + small);
        &mut self.write_buffer
    }

    /// Appends a piece to the output, optionally framed as a chunk. The previous large piece must
    /// be sent: see [`Self::poll_ready`].
    pub(crate) fn push(&mut self, piece: Bytes, is_chunked: bool) {
        if is_chunked {
            push_size(&mut self.write_buffer, piece.len());
        }
        let end: &'static [u8] = if is_chunked { b"\r\n" } else { b"" };
        if self.write_buffer.len() + piece.len() <= WRITE_BYTES {
            self.write_buffer.extend_from_slice(&piece);
            self.write_buffer.extend_from_slice(end);
        } else {
            self.tail = piece;
            self.tail_end = end;
        }
    }

    /// Appends the end of a chunked body.
    pub(crate) fn push_end(&mut self) {
        if self.tail_end.is_empty() {
            self.write_buffer.extend_from_slice(b"0\r\n\r\n");
        } else {
            // After the chunk end of the pending piece.
            self.tail_end = b"\r\n0\r\n\r\n";
        }
    }

    /// Ready when the connection accepts another piece.
    pub(crate) fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.tail.is_empty() && self.tail_end.is_empty() && self.write_buffer.len() < WRITE_BYTES
        {
            return Poll::Ready(Ok(()));
        }
        self.poll_flush(context)
    }

    /// Ready when all output is written to the kernel.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut written = 0;
        let result = loop {
            let rest = self.write_buffer.get(written..).unwrap_or_default();
            if rest.is_empty() && self.tail.is_empty() && self.tail_end.is_empty() {
                break Pin::new(&mut self.stream).poll_flush(context);
            }
            let stream = Pin::new(&mut self.stream);
            let wrote = if self.tail.is_empty() && self.tail_end.is_empty() {
                stream.poll_write(context, rest)
            } else {
                let slices = [rest, &self.tail, self.tail_end].map(IoSlice::new);
                stream.poll_write_vectored(context, &slices)
            };
            let mut count = match wrote {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => count,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            };
            let of_rest = count.min(self.write_buffer.len() - written);
            written += of_rest;
            count -= of_rest;
            let of_tail = count.min(self.tail.len());
            self.tail.advance(of_tail);
            let of_end = (count - of_tail).min(self.tail_end.len());
            self.tail_end = self.tail_end.get(of_end..).unwrap_or_default();
        };
        self.write_buffer.drain(..written);
        if self.tail.is_empty() {
            // An empty slice would keep the original buffer alive.
            self.tail = Bytes::new();
        }
        result
    }

    /// Bytes that are not written to the kernel yet.
    pub(crate) fn unsent(&self) -> usize {
        self.write_buffer.len() + self.tail.len() + self.tail_end.len()
    }

    /// Buffers pipelined bytes while a request is handled. Ready on a reset. A half-closed client
    /// may still read, and a failed write reveals a client that does not. Reading stops at a limit,
    /// so a client that sends far ahead has to wait.
    pub(crate) fn poll_disconnect(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while !self.is_read_closed && self.read_buffer.len() < AHEAD_BYTES {
            match ready!(self.poll_more(context)) {
                Ok(_) => {}
                Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    /// Closes an idle connection in a single attempt. Over TLS, the client receives `close_notify`
    /// (RFC 8446, section 6.1).
    pub(crate) async fn close(&mut self) {
        poll_fn(|context| {
            // An error means that the client has disconnected.
            let _ = Pin::new(&mut self.stream).poll_shutdown(context);
            Poll::Ready(())
        })
        .await;
    }

    /// Lingering close: gives the client time to read the response.
    pub(crate) async fn lingering_close(&mut self) {
        let closed = async {
            self.stream.shutdown().await?;
            loop {
                let more = timeout(LINGER_PAUSE, poll_fn(|context| self.poll_more(context)));
                if more.await?? == 0 {
                    return io::Result::Ok(());
                }
                self.read_buffer.clear();
            }
        };
        // The connection ends in any case.
        let _ = timeout(LINGER_TIME, closed).await;
    }

    /// Resets the connection on drop, so that the client does not take a truncated response for a
    /// complete one.
    pub(crate) fn reset_on_close(&mut self) {
        socket::reset_on_close(&self.stream);
    }

    /// Splits into the socket and the bytes already received, for another protocol.
    pub(crate) fn into_parts(self) -> (Socket, BytesMut) {
        // A copy, which does not keep the buffer of the head alive.
        (self.stream, BytesMut::from(&self.read_buffer[..]))
    }

    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // On the stack, so that a waiting connection owns no buffer.
        let mut bytes = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut bytes = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut bytes))?;
        self.read_buffer.extend_from_slice(bytes.filled());
        self.is_read_closed |= bytes.filled().is_empty();
        Poll::Ready(Ok(bytes.filled().len()))
    }
}
