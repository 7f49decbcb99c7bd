//! A client's connection. It reads whole requests strictly, keeps what comes behind them for the
//! next one, and shows Pingora exactly one request at a time, in the shape that it wants.
//!
//! Pingora's own stream gets its buffers only from Pingora's own listener, takes a megabyte of
//! head, waits anew with every byte, and keeps what it has read of the next request to itself.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use crate::gate::{self, Body, Length, Progress, Refused};
use crate::policy::trust::Scheme;
use crate::problem::Problem;
use crate::socket::Socket;

/// Bytes of one read. A request's usual head fits.
const READ_BYTES: usize = 8 * 1024;

/// Bytes that are collected before the kernel gets them: an answer's head and a small body.
const WRITE_BYTES: usize = 16 * 1024;

/// Bytes of further requests that are taken in while one is answered.
const AHEAD_BYTES: usize = 32 * 1024;

/// How long a client may take nothing of what is sent to it.
pub(crate) const TAKES_NOTHING: Duration = Duration::from_secs(30);

/// How long to read on after a refusal, so that the client is not reset before it has read why
/// (RFC 9112, section 9.6).
const LINGER_TIME: Duration = Duration::from_secs(1);

/// An accepted connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: Socket,
    peer: SocketAddr,
    digest: Arc<SocketDigest>,
    /// What has come and belongs to no request yet.
    inbox: BytesMut,
    /// The request that Pingora is to read.
    replay: Bytes,
    /// What is to be written.
    outbox: Vec<u8>,
    /// The client will send no more.
    has_closed: bool,
}

/// Why there is no request.
#[derive(Debug)]
pub(crate) enum Lost {
    /// It must not be answered otherwise than by this, and the connection ends.
    Refused(Refused),
    /// The client has left.
    Left,
}

impl From<Refused> for Lost {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl Client {
    /// The connection with `peer`.
    pub(crate) fn new(stream: Socket, peer: SocketAddr) -> Self {
        let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
        // A new cell takes its first value.
        let _ = digest.peer_addr.set(Some(PeerAddress::Inet(peer)));
        Self {
            stream,
            peer,
            digest: Arc::new(digest),
            inbox: BytesMut::new(),
            replay: Bytes::new(),
            outbox: Vec::new(),
            has_closed: false,
        }
    }

    /// The other end.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// How it came.
    pub(crate) fn scheme(&self) -> Scheme {
        self.stream.scheme()
    }

    /// Waits for the first byte of a request, without a buffer. False when the client has closed.
    pub(crate) fn poll_speaks(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        if self.inbox.is_empty() {
            self.inbox = BytesMut::new();
            self.outbox = Vec::new();
            let read = ready!(self.poll_more(context));
            return Poll::Ready(read.is_ok_and(|count| count > 0));
        }
        Poll::Ready(true)
    }

    /// Whether bytes of another request are here already.
    pub(crate) fn has_more(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// A whole head.
    pub(crate) async fn head(&mut self) -> Result<Bytes, Lost> {
        let mut seen = 0;
        loop {
            if let Some(end) = gate::end_of_head(&self.inbox, seen)? {
                return Ok(self.inbox.split_to(end).freeze());
            }
            seen = self.inbox.len();
            match self.read_more().await {
                Ok(count) if count > 0 => {}
                // A client that closed in the middle of a head may still listen.
                _ if seen > 0 => {
                    let detail = "the connection was closed within the head";
                    return Err(Problem::new(StatusCode::BAD_REQUEST, detail).into());
                }
                _ => return Err(Lost::Left),
            }
        }
    }

    /// A whole body of at most so many bytes.
    pub(crate) async fn body(&mut self, length: Length, most: usize) -> Result<Bytes, Lost> {
        let mut body = Body::new(length, most)?;
        while body.take(&mut self.inbox)? == Progress::More {
            match self.read_more().await {
                Ok(count) if count > 0 => {}
                _ => {
                    let detail = "the connection was closed within the body";
                    return Err(Problem::new(StatusCode::BAD_REQUEST, detail).into());
                }
            }
        }
        Ok(body.into_bytes())
    }

    /// The client may send the body that it holds back (RFC 9110, section 10.1.1).
    pub(crate) async fn ask_for_body(&mut self) -> io::Result<()> {
        if self.inbox.is_empty() {
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n", &[]).await?;
        }
        Ok(())
    }

    /// Sends head and body in one piece if the kernel takes it.
    pub(crate) async fn send(&mut self, head: &[u8], body: &[u8]) -> io::Result<()> {
        self.outbox.extend_from_slice(head);
        let sent = timeout(TAKES_NOTHING, async {
            self.write_all(body).await?;
            self.flush().await
        });
        sent.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Where the head of an answer is put together.
    pub(crate) fn outbox(&mut self) -> &mut Vec<u8> {
        &mut self.outbox
    }

    /// Sends a part of an answer, or collects it where it is small.
    pub(crate) async fn put(&mut self, part: &[u8]) -> io::Result<()> {
        if self.outbox.len() + part.len() <= WRITE_BYTES {
            self.outbox.extend_from_slice(part);
            return Ok(());
        }
        let sent = timeout(TAKES_NOTHING, self.write_all(part));
        sent.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Sends what was collected.
    pub(crate) async fn send_out(&mut self) -> io::Result<()> {
        let sent = timeout(TAKES_NOTHING, self.flush());
        sent.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Takes in what the client sends ahead. Ready when it was reset: who has closed its side may
    /// still listen, and whoever does not shows when the answer is written. Who sends much ahead is
    /// not read until it is its turn.
    pub(crate) fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while !self.has_closed && self.inbox.len() < AHEAD_BYTES {
            match ready!(self.poll_more(context)) {
                Ok(count) => self.has_closed = count == 0,
                Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    /// Closes, after what was sent had a chance to be read.
    pub(crate) async fn part(mut self: Box<Self>) {
        let parted = async {
            self.stream.shutdown().await?;
            while self.read_more().await? > 0 {
                self.inbox.clear();
            }
            io::Result::Ok(())
        };
        // However it ends, it is over.
        let _ = timeout(LINGER_TIME, parted).await;
    }

    /// What Pingora reads next.
    pub(crate) fn show(&mut self, request: Bytes) {
        self.replay = request;
    }

    /// The bare connection and what has come on it, for another protocol.
    pub(crate) fn into_parts(self) -> (Socket, BytesMut) {
        (self.stream, self.inbox)
    }

    async fn read_more(&mut self) -> io::Result<usize> {
        poll_fn(|context| self.poll_more(context)).await
    }

    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // On the stack, so that a connection that waits has no buffer.
        let mut bytes = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut bytes = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut bytes))?;
        self.inbox.extend_from_slice(bytes.filled());
        Poll::Ready(Ok(bytes.filled().len()))
    }

    fn poll_outbox(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut written = 0;
        let result = loop {
            match self.outbox.get(written..) {
                None | Some([]) => break Pin::new(&mut self.stream).poll_flush(context),
                Some(rest) => match Pin::new(&mut self.stream).poll_write(context, rest) {
                    Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(count)) => written += count,
                    Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                    Poll::Pending => break Poll::Pending,
                },
            }
        };
        self.outbox.drain(..written);
        result
    }
}

/// What Pingora reads: the request that is shown to it. Behind that, it only waits for the client to
/// be reset.
impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.replay.is_empty() {
            let count = self.replay.len().min(buffer.remaining());
            buffer.put_slice(&self.replay[..count]);
            self.replay.advance(count);
            return Poll::Ready(Ok(()));
        }
        // Nobody wakes this otherwise.
        ready!(self.poll_left(context));
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }
}

impl AsyncWrite for Client {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.outbox.len() + bytes.len() <= WRITE_BYTES {
            self.outbox.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        let client = &mut *self;
        let slices = [io::IoSlice::new(&client.outbox), io::IoSlice::new(bytes)];
        let written = ready!(Pin::new(&mut client.stream).poll_write_vectored(context, &slices))?;
        let ours = written.min(client.outbox.len());
        client.outbox.drain(..ours);
        if written > ours {
            return Poll::Ready(Ok(written - ours));
        }
        // Only what was collected before has gone.
        ready!(client.poll_outbox(context))?;
        Pin::new(&mut client.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_outbox(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_outbox(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
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
        self.stream.as_raw_fd()
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
