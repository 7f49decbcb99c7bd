//! Tunnels for endless responses on bare connections: an event stream costs two sockets and a few
//! hundred bytes of task state, and an upgraded connection two sockets and their buffers.

use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::io::{InspectReader, InspectWriter};

use crate::deadline::Timer;
use crate::message::body::Chunks;
use crate::message::client::SEND_TIMEOUT;
use crate::transport::socket::{self, Socket};
use crate::upstream::Stream;
use crate::upstream::client::Body;

/// Bytes that are forwarded at once: about ten events.
const PIECE_BYTES: usize = 8 * 1024;

/// Idle timeout of an upgraded connection in both directions. WebSocket peers that keep a
/// connection open send pings at least every minute.
const IDLE_TIME: Duration = Duration::from_mins(10);

/// TCP keepalive: idle time before the first probe, the interval between probes, and their number.
/// A vanished peer is detected after two minutes.
const PROBE_AFTER: Duration = Duration::from_mins(1);
const PROBE_EVERY: Duration = Duration::from_secs(15);
const PROBES: u32 = 4;

/// End of a chunked body (RFC 9112, section 7.1).
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Tunnel between an upstream and a client.
pub(crate) struct Tunnel {
    from: Stream,
    to: Socket,
    /// Bytes that were already received.
    held: BytesMut,
    chunks: Option<Chunks>,
}

/// Statistics of a tunnel.
#[derive(Debug, PartialEq)]
pub(crate) struct TunnelResult {
    /// Bytes to the client.
    pub(crate) bytes: u64,
    /// Reason for an end that neither side requested.
    pub(crate) error: Option<&'static str>,
}

/// Reason for the end of a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ended {
    /// The upstream or the client closed it.
    Closed,
    /// The gateway shuts down.
    Closing,
    /// The client stopped reading.
    ClientSilent,
    /// The upstream stopped sending.
    UpstreamSilent,
}

impl Tunnel {
    /// Creates a tunnel for a response whose head has been sent to the client, chunked or not.
    pub(crate) fn new(body: Body, is_chunked: bool, to: Socket) -> Self {
        let (from, held) = body.into_parts();
        // Without keepalive, a vanished client would hold the connection until the idle timeout;
        // the other limits apply anyway. Connections to upstreams have keepalive already.
        let _ = enable_keepalive(socket::tcp(&to));
        Self { from, to, held, chunks: is_chunked.then(|| Chunks::new(false)) }
    }

    /// Forwards data until the upstream ends, the client disconnects, one side is silent for too
    /// long, or `closing` resolves. In the last case a chunked body is ended properly if it is
    /// between two chunks.
    pub(crate) async fn relay_stream(
        self,
        silence: Duration,
        closing: impl Future<Output = ()>,
    ) -> TunnelResult {
        let Self { from, to, held, chunks } = self;
        let mut relay =
            Relay { from, to, held: held.freeze(), needs_flush: false, chunks, passed: 0 };
        if let Some(chunks) = &mut relay.chunks {
            chunks.follow(&relay.held);
        }
        relay.passed = relay.held.len() as u64;
        let ended = relay.run(silence, closing).await;
        let Relay { mut to, held, needs_flush, chunks, passed, .. } = relay;
        let is_level = held.is_empty() && !needs_flush;
        if ended == Ended::Closing && is_level && chunks.is_some_and(Chunks::is_at_boundary) {
            // A single attempt: the client also detects the end by the missing last chunk.
            poll_fn(|context| {
                let _ = Pin::new(&mut to).poll_write(context, LAST_CHUNK);
                Poll::Ready(())
            })
            .await;
        }
        let is_silent = matches!(ended, Ended::ClientSilent | Ended::UpstreamSilent);
        if is_silent && chunks.is_none() {
            // A close would look like the end of the response.
            socket::reset_on_close(&to);
        } else {
            let _ = timeout(Duration::from_secs(1), to.shutdown()).await;
        }
        let error = match ended {
            Ended::ClientSilent => Some("the client takes nothing"),
            Ended::UpstreamSilent => Some("the upstream stopped sending during its response"),
            Ended::Closed | Ended::Closing => None,
        };
        TunnelResult { bytes: passed, error }
    }

    /// Forwards data in both directions until both sides have closed, both are silent for too long,
    /// or one is silent for `silence` after the other has closed. `ahead` are the first bytes from
    /// the client.
    pub(crate) async fn relay_both(
        self,
        ahead: &[u8],
        silence: Duration,
        closing: impl Future<Output = ()>,
    ) -> TunnelResult {
        let Self { mut from, mut to, held, .. } = self;
        let begun = async {
            to.write_all(&held).await?;
            to.flush().await?;
            from.write_all(ahead).await
        };
        if !matches!(timeout(SEND_TIMEOUT, begun).await, Ok(Ok(()))) {
            return TunnelResult { bytes: 0, error: Some("the tunnel broke off") };
        }
        let activity = Activity::default();
        let read = |bytes: &[u8]| activity.read(bytes);
        let to = InspectWriter::new(to, |bytes| activity.written_to_client(bytes));
        let from = InspectWriter::new(from, |bytes| activity.written(bytes));
        let (mut to, mut from) = (InspectReader::new(to, read), InspectReader::new(from, read));
        let mut copied = pin!(copy_bidirectional(&mut to, &mut from));
        let mut closing = pin!(closing);
        let (mut before, mut quiet_since) = (0, Instant::now());
        let error = loop {
            tokio::select! {
                biased;
                () = &mut closing => break None,
                // A reset ends the tunnel like a close.
                _ = &mut copied => break None,
                // A timer per piece would cost more than the piece.
                () = sleep(silence.min(IDLE_TIME)) => {}
            }
            let moved = activity.moved.load(Ordering::Relaxed);
            if moved != before {
                (before, quiet_since) = (moved, Instant::now());
                continue;
            }
            let is_half = activity.is_half_closed.load(Ordering::Relaxed);
            if quiet_since.elapsed() >= if is_half { silence } else { IDLE_TIME } {
                break Some("the tunnel was silent for too long");
            }
        };
        let bytes = held.len() as u64 + activity.to_client.load(Ordering::Relaxed);
        TunnelResult { bytes, error }
    }
}

/// Enables TCP keepalive.
fn enable_keepalive(stream: &TcpStream) -> rustix::io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, PROBE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, PROBE_EVERY)?;
    sockopt::set_tcp_keepcnt(stream, PROBES)
}

/// Activity of a tunnel.
#[derive(Debug, Default)]
struct Activity {
    /// Bytes in both directions, and those to the client.
    moved: AtomicU64,
    to_client: AtomicU64,
    /// One side has closed.
    is_half_closed: AtomicBool,
}

impl Activity {
    fn read(&self, bytes: &[u8]) {
        self.moved.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.is_half_closed.fetch_or(bytes.is_empty(), Ordering::Relaxed);
    }

    fn written(&self, bytes: &[u8]) {
        self.moved.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }

    fn written_to_client(&self, bytes: &[u8]) {
        self.written(bytes);
        self.to_client.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }
}

/// One direction, which owns no buffer while it is idle.
struct Relay {
    from: Stream,
    to: Socket,
    /// Data that the client has not accepted yet.
    held: Bytes,
    /// TLS has buffered data that is not sent to the client yet.
    needs_flush: bool,
    chunks: Option<Chunks>,
    passed: u64,
}

impl Relay {
    async fn run(&mut self, silence: Duration, closing: impl Future<Output = ()>) -> Ended {
        let mut closing = pin!(closing);
        let mut timer = Timer::new(silence);
        let (mut before, mut since) = (None, Instant::now());
        poll_fn(|context| {
            if closing.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ended::Closing);
            }
            if self.poll(context).is_ready() {
                return Poll::Ready(Ended::Closed);
            }
            let state = Some((self.passed, self.held.len()));
            if before != state {
                (before, since) = (state, Instant::now());
            }
            let waits = self.needs_flush || !self.held.is_empty();
            let (bound, ended) = if waits {
                (SEND_TIMEOUT, Ended::ClientSilent)
            } else {
                (silence, Ended::UpstreamSilent)
            };
            timer.set_until(since + bound);
            timer.poll(context).map(|()| ended)
        })
        .await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Data from a viewer after its request is ignored; a close is not.
        let mut discarded = [MaybeUninit::uninit(); 256];
        loop {
            let mut discarded = ReadBuf::uninit(&mut discarded);
            match Pin::new(&mut self.to).poll_read(context, &mut discarded) {
                Poll::Ready(Ok(())) if !discarded.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => break,
            }
        }
        loop {
            while !self.held.is_empty() {
                let count = ready!(Pin::new(&mut self.to).poll_write(context, &self.held))?;
                self.held.advance(count);
            }
            self.needs_flush = true;
            ready!(Pin::new(&mut self.to).poll_flush(context))?;
            self.needs_flush = false;
            // The slice kept its buffer alive.
            self.held = Bytes::new();
            if self.chunks.is_some_and(Chunks::is_complete) {
                // The upstream may keep its connection open for another request.
                return Poll::Ready(Ok(()));
            }
            let mut piece = [const { MaybeUninit::uninit() }; PIECE_BYTES];
            let mut piece = ReadBuf::uninit(&mut piece);
            ready!(Pin::new(&mut self.from).poll_read(context, &mut piece))?;
            let piece = piece.filled();
            if piece.is_empty() {
                // Closes like the upstream, so the client can detect a truncated response.
                return Poll::Ready(Ok(()));
            }
            if let Some(chunks) = &mut self.chunks {
                chunks.follow(piece);
            }
            self.passed += piece.len() as u64;
            match Pin::new(&mut self.to).poll_write(context, piece)? {
                Poll::Ready(count) => {
                    self.held = Bytes::copy_from_slice(piece.get(count..).unwrap_or_default());
                }
                Poll::Pending => self.held = Bytes::copy_from_slice(piece),
            }
        }
    }
}
