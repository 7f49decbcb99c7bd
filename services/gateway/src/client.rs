//! A client's connection, in the shape in which pingora wants it.
//!
//! Pingora's own stream gets its buffers only from pingora's own listener; without them every
//! header and every piece of a body is a system call. This one also tells when a first byte has
//! come, so that an idle connection costs no request's memory; bounds a request's head; and gives
//! the gateway's own answer where pingora could not read the head.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufStream, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Sleep, sleep};

use crate::forwarded;
use crate::problem::Problem;

/// Bytes buffered each way: a request's usual head and a small answer fit. Measured with all else
/// that a connection needs, an idle client holds some 21 KiB, and one in the middle of the largest
/// head some 50 KiB: `GATEWAY_MAX_CONNECTIONS` times that is what the memory must have.
const BUFFER_BYTES: usize = 8 * 1024;

/// Bytes after which a request's head must be complete. Browsers send less than one KiB, and
/// cookies of other services on the same host some more. Pingora would take 1 MiB.
const HEAD_BYTES: usize = 16 * 1024;

/// How long to read on after refusing a head, so that the client is not reset before it has read
/// why (RFC 9112, section 9.6).
const LINGER_TIME: Duration = Duration::from_secs(1);

/// One request and its answer, as the accept loop, the connection and the rules see it together.
/// Goes with each request as pingora's connection context, because pingora hands that over at
/// exactly the moment when the head is complete.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exchange(Arc<State>);

#[derive(Debug, Default)]
struct State {
    head_read: AtomicBool,
    /// The answer is an event stream.
    events: Notify,
    /// ... and chunked.
    chunked: AtomicBool,
    /// It is to end now.
    ending: AtomicBool,
}

impl Exchange {
    /// The head is complete.
    pub(crate) fn head_is_read(&self) {
        self.0.head_read.store(true, Ordering::Relaxed);
    }

    /// Whether the head is complete.
    pub(crate) fn has_head(&self) -> bool {
        self.0.head_read.load(Ordering::Relaxed)
    }

    /// The answer is an event stream, whose end the client takes for a break.
    pub(crate) fn answers_with_events(&self, chunked: bool) {
        self.0.chunked.store(chunked, Ordering::Relaxed);
        self.0.events.notify_one();
    }

    /// Waits until the answer is known to be an event stream.
    pub(crate) async fn events(&self) {
        self.0.events.notified().await;
    }

    /// The connection is about to be dropped in the middle of an event stream.
    pub(crate) fn end_events(&self) {
        self.0.ending.store(true, Ordering::Relaxed);
    }
}

/// An accepted connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: BufStream<TcpStream>,
    peer: SocketAddr,
    digest: Arc<SocketDigest>,
    exchange: Exchange,
    /// Bytes read of a head that is not complete.
    head_bytes: usize,
    /// What to say instead of pingora's own words.
    refusal: Option<Problem>,
    farewell: Option<Farewell>,
    /// Something written is not yet with the kernel.
    unflushed: bool,
}

impl Client {
    /// The connection with `peer`.
    pub(crate) fn new(stream: TcpStream, peer: SocketAddr) -> Self {
        let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
        // A new cell takes its first value.
        let _ = digest.peer_addr.set(Some(PeerAddress::Inet(peer)));
        Self {
            stream: BufStream::with_capacity(BUFFER_BYTES, BUFFER_BYTES, stream),
            peer,
            digest: Arc::new(digest),
            exchange: Exchange::default(),
            head_bytes: 0,
            refusal: None,
            farewell: None,
            unflushed: false,
        }
    }

    /// Begins anew, with the next request.
    pub(crate) fn begin(&mut self) -> Exchange {
        self.exchange = Exchange::default();
        self.head_bytes = 0;
        self.exchange.clone()
    }

    /// Waits until there is something to read. False when the client has closed.
    pub(crate) async fn speaks(&mut self) -> bool {
        self.stream.fill_buf().await.is_ok_and(|bytes| !bytes.is_empty())
    }

    /// Whether what is written now is pingora's own answer to a head that it could not read.
    fn speaks_for_itself(&mut self) -> bool {
        let itself = !self.exchange.has_head();
        if itself && self.refusal.is_none() {
            let detail = "the request is not valid HTTP/1.1";
            self.refusal = Some(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        itself
    }
}

/// The answer to a request of which no head is known; it is in the log then.
fn refuse(problem: &Problem, peer: SocketAddr) -> Vec<u8> {
    let id = forwarded::new_request_id();
    let status = problem.status.as_u16();
    tracing::info!(%peer, status, request_id = id, error = problem.detail, "request");
    let reason = problem.status.canonical_reason().unwrap_or_default();
    let mut answer = format!("HTTP/1.1 {status} {reason}\r\nconnection: close\r\n").into_bytes();
    // It is made of nothing that could fail.
    if let Ok((head, body)) = problem.answer("", &id) {
        for (name, value) in &head.headers {
            answer.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        answer.extend_from_slice(b"\r\n");
        answer.extend_from_slice(&body);
    }
    answer
}

/// The last words to a client.
#[derive(Debug)]
struct Farewell {
    /// What is still to be written.
    words: Vec<u8>,
    until: Pin<Box<Sleep>>,
}

impl Farewell {
    /// Says them, and reads on for a moment.
    fn poll(
        &mut self,
        stream: &mut BufStream<TcpStream>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.until.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut stream = Pin::new(stream);
        while !self.words.is_empty() {
            let written = ready!(stream.as_mut().poll_write(context, &self.words))?;
            self.words.drain(..written);
        }
        ready!(stream.as_mut().poll_shutdown(context))?;
        let mut rest = [0; 1024];
        loop {
            let mut rest = ReadBuf::new(&mut rest);
            ready!(stream.as_mut().poll_read(context, &mut rest))?;
            if rest.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// Ends a chunked event stream in the way that it would have ended by itself. Only where nothing
/// is under way, and only if the kernel takes it at once: a break would be understood as well.
impl Drop for Client {
    fn drop(&mut self) {
        let state = &self.exchange.0;
        let ending = state.ending.load(Ordering::Relaxed) && state.chunked.load(Ordering::Relaxed);
        if ending && !self.unflushed {
            let _ = self.stream.get_ref().try_write(b"0\r\n\r\n");
        }
    }
}

impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.exchange.has_head() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        if self.head_bytes >= HEAD_BYTES {
            let detail = format!("the head has more than {HEAD_BYTES} bytes");
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            self.refusal = Some(Problem::new(status, detail));
            // After which pingora calls `shutdown`.
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.head_bytes += buffer.filled().len() - before;
        read
    }
}

impl AsyncWrite for Client {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.speaks_for_itself() {
            return Poll::Ready(Ok(bytes.len()));
        }
        self.unflushed = true;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.speaks_for_itself() {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        self.unflushed = true;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.unflushed &= !matches!(flushed, Poll::Ready(Ok(())));
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let client = &mut *self;
        if let Some(problem) = client.refusal.take() {
            let words = refuse(&problem, client.peer);
            client.farewell = Some(Farewell { words, until: Box::pin(sleep(LINGER_TIME)) });
        }
        match &mut client.farewell {
            Some(farewell) => farewell.poll(&mut client.stream, context),
            None => Pin::new(&mut client.stream).poll_shutdown(context),
        }
    }
}

#[async_trait]
impl Shutdown for Client {
    async fn shutdown(&mut self) {
        // It fails when the client was quicker.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Client {
    fn id(&self) -> UniqueIDType {
        self.stream.get_ref().as_raw_fd()
    }
}

impl GetSocketDigest for Client {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.digest.clone())
    }
}

impl GetTimingDigest for Client {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Client {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl Ssl for Client {}

impl Peek for Client {}
