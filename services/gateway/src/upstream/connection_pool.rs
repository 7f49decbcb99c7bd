//! Idle connections to one address.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
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
use crate::transport::workers;

/// The services close connections after 30 s of idle time; a connection that is about to close must
/// not carry a request.
const IDLE_TIME: Duration = Duration::from_secs(15);

/// Maximum idle connections per thread. Sized for the number of busy clients at peak: with fewer, a
/// burst opens and closes a connection for each request.
const MOST_IDLE: usize = 512;

/// Number of lists; with more threads than that, some share one.
const LISTS: usize = 16;

/// TCP keepalive: idle time before the first probe, the interval between probes, and their number.
/// A vanished upstream is detected after two minutes.
const PROBE_AFTER: Duration = Duration::from_mins(1);
const PROBE_EVERY: Duration = Duration::from_secs(15);
const PROBES: usize = 4;

/// Pingora's connector. Its connection pool is not used: see [`Connections`].
static CONNECTOR: LazyLock<TransportConnector> =
    LazyLock::new(|| TransportConnector::new(Some(ConnectorOptions::new(1))));

/// Connection to an upstream, idle or in use.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Byte stream.
    pub(crate) stream: Stream,
    /// The connection has carried a response before. If it closes before the next one, the upstream
    /// may just have reached its idle timeout.
    pub(crate) is_used: bool,
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
            _ => Failure::Reset,
        })?;
        let stream = match tls {
            Some(tls) => tls.secure(address, stream).await?,
            None => stream,
        };
        Ok(Self { stream, is_used: false })
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

/// Idle connections, in lists per thread, because waking another thread costs more than the
/// request.
#[derive(Debug, Default)]
pub(super) struct Connections([List; LISTS]);

/// Aligned to a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct List(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// The most recently used connection is at the end and is reused first, so that surplus ones
    /// expire.
    idle: Vec<(Instant, Connection)>,
    /// A task that closes expired connections is running.
    is_watched: bool,
}

impl Connections {
    /// Takes a usable connection, idle for less than `idle_time` if given.
    pub(super) fn take(&self, idle_time: Option<Duration>) -> Option<Connection> {
        let mut waiting = self.list().waiting();
        if let Some(bound) = idle_time
            && waiting.idle.last().is_some_and(|(since, _)| since.elapsed() >= bound)
        {
            // All others have been idle for longer.
            return None;
        }
        while let Some((since, mut connection)) = waiting.idle.pop() {
            if since.elapsed() < IDLE_TIME && connection.is_silent() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose response is complete. Must be called inside a runtime.
    pub(super) fn keep(self: &Arc<Self>, mut connection: Connection) {
        connection.is_used = true;
        let mut waiting = self.list().waiting();
        if waiting.idle.len() >= MOST_IDLE {
            return;
        }
        waiting.idle.push((Instant::now(), connection));
        if !waiting.is_watched {
            waiting.is_watched = true;
            tokio::spawn(let_go(Arc::downgrade(self), workers::number()));
        }
    }

    /// Number of idle connections.
    pub(super) fn count(&self) -> usize {
        self.0.iter().map(|list| list.waiting().idle.len()).sum()
    }

    /// The list of this thread.
    fn list(&self) -> &List {
        &self.0[workers::number() % LISTS]
    }
}

impl List {
    /// The list is consistent between any two operations, so a poisoned lock is usable.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes expired connections, until none is left.
async fn let_go(connections: Weak<Connections>, number: usize) {
    loop {
        sleep(IDLE_TIME / 3).await;
        let Some(connections) = connections.upgrade() else { return };
        let mut waiting = connections.0[number % LISTS].waiting();
        let old = waiting.idle.partition_point(|(since, _)| since.elapsed() >= IDLE_TIME);
        waiting.idle.drain(..old);
        if waiting.idle.is_empty() {
            waiting.is_watched = false;
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
        let kept = Arc::new(Connections::default());
        assert!(kept.take(None).is_none());
        let (connection, _other) = pair().await;
        assert!(!connection.is_used);
        kept.keep(connection);
        assert_eq!(kept.count(), 1);
        let again = kept.take(None).unwrap();
        assert!(again.is_used);
        assert!(kept.take(None).is_none());
        kept.keep(again);
        assert!(kept.take(Some(Duration::ZERO)).is_none(), "it has been idle for too long");
        assert!(kept.take(Some(IDLE_TIME)).is_some());
    }

    #[tokio::test]
    async fn closed_connections_and_those_with_unexpected_bytes_are_not_reused() {
        for says in [&b""[..], b"HTTP/1.1 408 Too Late\r\n\r\n"] {
            let kept = Arc::new(Connections::default());
            let (connection, mut other) = pair().await;
            kept.keep(connection);
            other.write_all(says).await.unwrap();
            other.shutdown().await.unwrap();
            let bound = Instant::now() + Duration::from_secs(5);
            while kept.count() > 0 {
                assert!(Instant::now() < bound, "{says:?} goes unnoticed");
                let given = kept.take(None);
                // The event takes a moment to arrive.
                if let Some(connection) = given {
                    kept.keep(connection);
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_idle_connections_is_limited() {
        let kept = Arc::new(Connections::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut others = Vec::new();
        for _ in 0..MOST_IDLE + 3 {
            kept.keep(Connection::open(address, None).await.unwrap());
            others.push(listener.accept().await.unwrap());
        }
        assert_eq!(kept.count(), MOST_IDLE);
    }
}
