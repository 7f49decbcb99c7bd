//! A client's connection that speaks HTTP/1: strict reading of requests, and writing of answers
//! without a wait inside, so that the caller can do something else meanwhile.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderValue, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use crate::message::client::BodyFault;
use crate::message::head::push_size;
use crate::message::problem::Problem;
use crate::request::client_info::Scheme;
use crate::request::parse::{self, Body, Progress, Refused};
use crate::transport::socket::Socket;

/// Bytes of one read. A request's usual head fits.
const READ_BYTES: usize = 8 * 1024;

/// Bytes that are collected before the kernel gets them: an answer's head and a small body.
const WRITE_BYTES: usize = 16 * 1024;

/// Bytes that an answer's head mostly needs, and those of a body that is collected with it.
const HEAD_BYTES: usize = 1024;
const SMALL_BYTES: usize = 8 * 1024;

/// Bytes of further requests that are taken in while one is answered.
const AHEAD_BYTES: usize = 32 * 1024;

/// From a request's first byte to the end of its head, and for the handshake of TLS: a client that
/// trickles is cut off.
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(10);

/// How long a connection may be idle between requests, and before the first. Longer than the 60 s
/// of AWS's load balancer, which answers 502 when it uses a connection that is just closing.
pub(crate) const IDLE_TIME: Duration = Duration::from_secs(75);

/// Reading on after a refusal, so that the client is not reset before it has read why (RFC 9112,
/// section 9.6): the longest pause, and all in all.
const LINGER_PAUSE: Duration = Duration::from_secs(1);
const LINGER_TIME: Duration = Duration::from_secs(10);

/// An accepted connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Socket,
    peer: SocketAddr,
    /// Received bytes that belong to no request yet.
    inbox: BytesMut,
    /// Bytes to be written, in this order: collected ones, a piece too large to be copied, and the
    /// end of that piece's chunk.
    outbox: Vec<u8>,
    tail: Bytes,
    tail_end: &'static [u8],
    /// The client will send no more.
    has_closed: bool,
}

/// Reason why no request was read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// It must be answered by this alone, and the connection ends.
    Refused(Refused),
    /// The client has left.
    Left,
}

impl From<Refused> for ReadError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl Connection {
    /// The connection with `peer`.
    pub(crate) fn new(stream: Socket, peer: SocketAddr) -> Self {
        Self {
            stream,
            peer,
            inbox: BytesMut::new(),
            outbox: Vec::new(),
            tail: Bytes::new(),
            tail_end: b"",
            has_closed: false,
        }
    }

    /// The other end.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The scheme of the client's URL.
    pub(crate) fn scheme(&self) -> Scheme {
        self.stream.scheme()
    }

    /// Waits for the first byte of a request, without a buffer; `may_skip` is whether an empty line
    /// may come before it (RFC 9112, section 2.2). False when the client has closed.
    pub(crate) fn poll_speaks(
        &mut self,
        context: &mut Context<'_>,
        may_skip: &mut bool,
    ) -> Poll<bool> {
        loop {
            if *may_skip && self.inbox[..] == *b"\r\n" {
                // Some clients send one behind a body. It is no request that could be too slow.
                *may_skip = false;
                self.inbox.clear();
            }
            if !self.inbox.is_empty() {
                return Poll::Ready(true);
            }
            self.inbox = BytesMut::new();
            self.outbox = Vec::new();
            let read = ready!(self.poll_more(context));
            if !read.is_ok_and(|count| count > 0) {
                return Poll::Ready(false);
            }
        }
    }

    /// Whether bytes of another request are here already.
    pub(crate) fn has_more(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Whether nothing of a request is here but line ends.
    pub(crate) fn has_said_nothing(&self) -> bool {
        self.inbox.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
    }

    /// A whole head.
    pub(crate) async fn head(&mut self) -> Result<Bytes, ReadError> {
        let mut seen = 0;
        loop {
            if let Some(end) = parse::end_of_head(&self.inbox, seen)? {
                // What is split off shares its memory with what is left.
                let is_all = end == self.inbox.len();
                let head =
                    if is_all { std::mem::take(&mut self.inbox) } else { self.inbox.split_to(end) };
                return Ok(head.freeze());
            }
            seen = self.inbox.len();
            match poll_fn(|context| self.poll_more(context)).await {
                Ok(count) if count > 0 => {}
                // A client that closed in the middle of a head may still listen.
                _ if !self.has_said_nothing() => {
                    let detail = "the connection was closed within the head";
                    return Err(Problem::new(StatusCode::BAD_REQUEST, detail).into());
                }
                _ => return Err(ReadError::Left),
            }
        }
    }

    /// The next piece of a request's body; none when it is complete.
    pub(crate) fn poll_body(
        &mut self,
        context: &mut Context<'_>,
        body: &mut Body,
    ) -> Poll<Result<Option<Bytes>, BodyFault>> {
        loop {
            match body.take(&mut self.inbox).map_err(BodyFault::Refused)? {
                Progress::Data(data) => return Poll::Ready(Ok(Some(data))),
                Progress::Complete => return Poll::Ready(Ok(None)),
                Progress::More => match ready!(self.poll_more(context)) {
                    Ok(count) if count > 0 => {}
                    _ => {
                        let detail = "the connection was closed within the body";
                        let problem = Problem::new(StatusCode::BAD_REQUEST, detail);
                        return Poll::Ready(Err(BodyFault::Refused(problem)));
                    }
                },
            }
        }
    }

    /// Buffer for heads, to be appended to.
    pub(crate) fn outbox(&mut self) -> &mut Vec<u8> {
        &mut self.outbox
    }

    /// The same, with room for a small body of this length behind the head.
    pub(crate) fn outbox_before(&mut self, length: Option<&HeaderValue>) -> &mut Vec<u8> {
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let small = length.filter(|&length: &usize| length <= SMALL_BYTES).unwrap_or(0);
        self.outbox.reserve(HEAD_BYTES + small);
        &mut self.outbox
    }

    /// Adds a piece behind all that is to be written, as a chunk of its own or as it is. There must
    /// be none that is too large to be copied: see [`Self::poll_ready`].
    pub(crate) fn push(&mut self, piece: Bytes, is_chunked: bool) {
        if is_chunked {
            push_size(&mut self.outbox, piece.len());
        }
        let end: &'static [u8] = if is_chunked { b"\r\n" } else { b"" };
        if self.outbox.len() + piece.len() <= WRITE_BYTES {
            self.outbox.extend_from_slice(&piece);
            self.outbox.extend_from_slice(end);
        } else {
            self.tail = piece;
            self.tail_end = end;
        }
    }

    /// Adds the end of a body in chunks.
    pub(crate) fn push_end(&mut self) {
        if self.tail_end.is_empty() {
            self.outbox.extend_from_slice(b"0\r\n\r\n");
        } else {
            // Behind the end of the piece that waits.
            self.tail_end = b"\r\n0\r\n\r\n";
        }
    }

    /// Ready when another piece can be pushed.
    pub(crate) fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.tail.is_empty() && self.tail_end.is_empty() && self.outbox.len() < WRITE_BYTES {
            return Poll::Ready(Ok(()));
        }
        self.poll_flush(context)
    }

    /// Ready when everything has been handed to the kernel.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut written = 0;
        let result = loop {
            let rest = self.outbox.get(written..).unwrap_or_default();
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
            let of_rest = count.min(self.outbox.len() - written);
            written += of_rest;
            count -= of_rest;
            let of_tail = count.min(self.tail.len());
            self.tail.advance(of_tail);
            let of_end = (count - of_tail).min(self.tail_end.len());
            self.tail_end = self.tail_end.get(of_end..).unwrap_or_default();
        };
        self.outbox.drain(..written);
        if self.tail.is_empty() {
            // It would keep the buffer alive that it was a part of.
            self.tail = Bytes::new();
        }
        result
    }

    /// Bytes that the kernel has not taken yet.
    pub(crate) fn unsent(&self) -> usize {
        self.outbox.len() + self.tail.len() + self.tail_end.len()
    }

    /// Takes in what the client sends ahead. Ready when it was reset: a client that has closed its
    /// side may still listen, and if it does not, writing the answer shows it. A client that sends
    /// much ahead is not read until it is its turn.
    pub(crate) fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while !self.has_closed && self.inbox.len() < AHEAD_BYTES {
            match ready!(self.poll_more(context)) {
                Ok(_) => {}
                Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    /// Closes, after what was sent had a chance to be read.
    pub(crate) async fn part(&mut self) {
        let parted = async {
            self.stream.shutdown().await?;
            loop {
                let more = timeout(LINGER_PAUSE, poll_fn(|context| self.poll_more(context)));
                if more.await?? == 0 {
                    return io::Result::Ok(());
                }
                self.inbox.clear();
            }
        };
        // However it ends, it is over.
        let _ = timeout(LINGER_TIME, parted).await;
    }

    /// Has the connection reset when it is dropped, so that an answer that ends with it is not
    /// taken for a whole one.
    pub(crate) fn break_off(&mut self) {
        self.stream.reset_on_close();
    }

    /// The bare connection and what has come on it, for another protocol.
    pub(crate) fn into_parts(self) -> (Socket, BytesMut) {
        // A copy, which does not keep the memory of the head.
        (self.stream, BytesMut::from(&self.inbox[..]))
    }

    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // On the stack, so that a connection that waits has no buffer.
        let mut bytes = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut bytes = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut bytes))?;
        self.inbox.extend_from_slice(bytes.filled());
        self.has_closed |= bytes.filled().is_empty();
        Poll::Ready(Ok(bytes.filled().len()))
    }
}
