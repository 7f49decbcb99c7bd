//! Idle connections to one address.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock, Mutex, Weak};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use pingora_core::ErrorType;
use pingora_core::connectors::{ConnectorOptions, TransportConnector};
use pingora_core::protocols::{Stream, TcpKeepalive};
use pingora_core::upstreams::peer::HttpPeer;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::coop::unconstrained;
use tokio::time::sleep;

use super::{Failure, UpstreamTls};
use crate::lock::lock;
use crate::transport::workers;

/// The services close connections after 30 s of idle time; a connection that is about to close must
/// not carry a request.
const IDLE_TIME: Duration = Duration::from_secs(15);

/// Maximum idle connections per thread. Sized for the number of busy clients at peak: with fewer, a
/// burst opens and closes a connection for each request.
const MAX_IDLE: usize = 512;

/// Number of shards; with more threads than that, some share one.
const SHARDS: usize = 16;

/// TCP keepalive: idle time before the first probe, the interval between probes, and their number.
/// A vanished upstream is detected after two minutes.
const PROBE_AFTER: Duration = Duration::from_mins(1);
const PROBE_EVERY: Duration = Duration::from_secs(15);
const PROBES: usize = 4;

/// Pingora's connector. Its connection pool is not used: see [`ConnectionPool`].
static CONNECTOR: LazyLock<TransportConnector> =
    LazyLock::new(|| TransportConnector::new(Some(ConnectorOptions::new(1))));

/// Connection to an upstream, idle or in use.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Byte stream.
    pub(crate) stream: Stream,
    /// The connection has carried a response before. If it closes before the next one, the upstream
    /// may just have reached its idle timeout.
    pub(crate) is_reused: bool,
}

impl Connection {
    /// Opens a connection. The caller limits the time: for its own timeouts, Pingora starts a
    /// thread that wakes up a hundred times per second.
    ///
    /// # Errors
    /// Returns an error if the connection is refused, or TLS fails.
    pub(crate) async fn open(
        address: SocketAddr,
        tls: Option<&UpstreamTls>,
    ) -> Result<Self, Failure> {
        // From an address only: given a name, Pingora resolves it synchronously, and panics if that
        // fails.
        let mut peer = HttpPeer::new(address, false, String::new());
        peer.options.connection_timeout = None;
        peer.options.total_connection_timeout = None;
        peer.options.tcp_keepalive = Some(TcpKeepalive {
            idle: PROBE_AFTER,
            interval: PROBE_EVERY,
            count: PROBES,
            #[cfg(target_os = "linux")]
            user_timeout: Duration::ZERO,
        });
        let stream = CONNECTOR.new_stream(&peer).await.map_err(|error| match error.etype() {
            ErrorType::ConnectRefused => Failure::Refused,
            ErrorType::ConnectTimedout => Failure::Timeout,
            ErrorType::ConnectNoRoute => Failure::Unreachable,
            // A lack of file descriptors has no type of its own.
            _ => error
                .root_cause()
                .downcast_ref::<std::io::Error>()
                .map_or(Failure::Reset, Failure::of),
        })?;
        let stream = match tls {
            Some(tls) => tls.secure(address, stream).await?,
            None => stream,
        };
        Ok(Self { stream, is_reused: false })
    }

    /// Whether the idle connection has received neither an end of stream nor unexpected bytes. It
    /// only makes a system call if the reactor has seen an event.
    fn is_silent(&mut self) -> bool {
        let mut byte = [0];
        let mut byte = ReadBuf::new(&mut byte);
        // An exhausted task budget must not make it appear silent.
        let read = unconstrained(poll_fn(|context| {
            Pin::new(&mut self.stream).poll_read(context, &mut byte)
        }));
        pin!(read).poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }
}

/// Idle connections, in shards per thread, because waking another thread costs more than the
/// request.
#[derive(Debug, Default)]
pub(super) struct ConnectionPool([Shard; SHARDS]);

/// Aligned to a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(Mutex<IdleConnections>);

#[derive(Debug, Default)]
struct IdleConnections {
    /// The most recently used connection is at the end and is reused first, so that surplus ones
    /// expire.
    idle: Vec<(Instant, Connection)>,
    /// A task that closes expired connections is running.
    has_expiry_task: bool,
}

impl ConnectionPool {
    /// Takes a usable connection, idle for less than `idle_time` if given.
    pub(super) fn take(&self, idle_time: Option<Duration>) -> Option<Connection> {
        let mut shard_state = lock(self.shard());
        if let Some(bound) = idle_time
            && shard_state.idle.last().is_some_and(|(since, _)| since.elapsed() >= bound)
        {
            // All others have been idle for longer.
            return None;
        }
        while let Some((since, mut connection)) = shard_state.idle.pop() {
            if since.elapsed() < IDLE_TIME && connection.is_silent() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose response is complete. Must be called inside a runtime.
    pub(super) fn keep(self: &Arc<Self>, mut connection: Connection) {
        connection.is_reused = true;
        let mut shard_state = lock(self.shard());
        if shard_state.idle.len() >= MAX_IDLE {
            return;
        }
        shard_state.idle.push((Instant::now(), connection));
        if !shard_state.has_expiry_task {
            shard_state.has_expiry_task = true;
            tokio::spawn(close_expired(Arc::downgrade(self), workers::number()));
        }
    }

    /// Number of idle connections.
    pub(super) fn count(&self) -> usize {
        self.0.iter().map(|shard| lock(&shard.0).idle.len()).sum()
    }

    /// The shard of this thread.
    fn shard(&self) -> &Mutex<IdleConnections> {
        &self.0[workers::number() % SHARDS].0
    }
}

/// Closes expired connections, until none is left.
async fn close_expired(connections: Weak<ConnectionPool>, number: usize) {
    loop {
        sleep(IDLE_TIME / 3).await;
        let Some(connections) = connections.upgrade() else { return };
        let mut shard_state = lock(&connections.0[number % SHARDS].0);
        let old = shard_state.idle.partition_point(|(since, _)| since.elapsed() >= IDLE_TIME);
        shard_state.idle.drain(..old);
        if shard_state.idle.is_empty() {
            shard_state.has_expiry_task = false;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A connection and its peer.
    async fn pair() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connection = Connection::open(listener.local_addr().unwrap(), None).await.unwrap();
        (connection, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_kept_connection_is_reused_once() {
        let pool = Arc::new(ConnectionPool::default());
        assert!(pool.take(None).is_none());
        let (connection, _other) = pair().await;
        assert!(!connection.is_reused);
        pool.keep(connection);
        assert_eq!(pool.count(), 1);
        let again = pool.take(None).unwrap();
        assert!(again.is_reused);
        assert!(pool.take(None).is_none());
        pool.keep(again);
        assert!(pool.take(Some(Duration::ZERO)).is_none(), "it has been idle for too long");
        assert!(pool.take(Some(IDLE_TIME)).is_some());
    }

    #[tokio::test]
    async fn closed_connections_and_those_with_unexpected_bytes_are_not_reused() {
        for says in [&b""[..], b"HTTP/1.1 408 Too Late\r\n\r\n"] {
            let pool = Arc::new(ConnectionPool::default());
            let (connection, mut other) = pair().await;
            pool.keep(connection);
            other.write_all(says).await.unwrap();
            other.shutdown().await.unwrap();
            let bound = Instant::now() + Duration::from_secs(5);
            while pool.count() > 0 {
                assert!(Instant::now() < bound, "{says:?} goes unnoticed");
                let given = pool.take(None);
                // The event takes a moment to arrive.
                if let Some(connection) = given {
                    pool.keep(connection);
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_idle_connections_is_limited() {
        let pool = Arc::new(ConnectionPool::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut others = Vec::new();
        for _ in 0..MAX_IDLE + 3 {
            pool.keep(Connection::open(address, None).await.unwrap());
            others.push(listener.accept().await.unwrap());
        }
        assert_eq!(pool.count(), MAX_IDLE);
    }
}
