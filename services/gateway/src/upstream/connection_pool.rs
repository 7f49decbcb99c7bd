//! Connections to one address that wait for the next request.

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

/// The services close connections that were idle for 30 s; one that is about to be closed must not
/// carry a request.
const IDLE_TIME: Duration = Duration::from_secs(15);

/// Of one thread. As many as busy clients on a large day: with fewer, a burst opens and closes a
/// connection for each request.
const MOST_IDLE: usize = 512;

/// More threads than that share lists.
const LISTS: usize = 16;

/// Silence after which the kernel asks whether an upstream is there still, the time between two
/// such probes, and how many of them may fail: one that vanished is noticed after two minutes.
const PROBE_AFTER: Duration = Duration::from_mins(1);
const PROBE_EVERY: Duration = Duration::from_secs(15);
const PROBES: usize = 4;

/// Pingora's connector. Of its own pool nothing is used: see [`Connections`].
static CONNECTOR: LazyLock<TransportConnector> =
    LazyLock::new(|| TransportConnector::new(Some(ConnectorOptions::new(1))));

/// A connection to an upstream, between two requests or in one.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The bytes.
    pub(crate) stream: Stream,
    /// An answer has come on it before. That it ends without one then may only mean that the
    /// upstream was about to close it.
    pub(crate) is_used: bool,
}

impl Connection {
    /// A new one. The caller bounds the time: Pingora would start a thread that wakes up a hundred
    /// times a second for it.
    ///
    /// # Errors
    /// When the connection is refused, or TLS fails.
    pub(crate) async fn open(
        address: SocketAddr,
        tls: Option<&UpstreamTls>,
    ) -> Result<Self, Failure> {
        // From an address alone: given a name, Pingora resolves it here and now, and panics when
        // there is none.
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

    /// Whether nothing has come on it since: neither an end nor unexpected bytes. The reactor
    /// knows, so this asks the kernel only when something did.
    fn is_silent(&mut self) -> bool {
        let mut byte = [0];
        let mut byte = ReadBuf::new(&mut byte);
        // It must not be taken for silent because the task has had its turn.
        let read = unconstrained(poll_fn(|context| {
            Pin::new(&mut self.stream).poll_read(context, &mut byte)
        }));
        pin!(read).poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }
}

/// Those that wait, by the thread that waits for what comes on them: to tell another costs more
/// than the request.
#[derive(Debug, Default)]
pub(super) struct Connections([List; LISTS]);

/// On a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct List(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// The one that was used last is at the end, and goes first: the others grow old and go.
    idle: Vec<(Instant, Connection)>,
    /// A task closes those that grow old.
    is_watched: bool,
}

impl Connections {
    /// One that is good still, and has been idle for less than `idle_time` if there is one.
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

    /// Keeps one whose answer is complete. Must be called inside a runtime.
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

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.iter().map(|list| list.waiting().idle.len()).sum()
    }

    /// That of this thread.
    fn list(&self) -> &List {
        &self.0[workers::number() % LISTS]
    }
}

impl List {
    /// Whole between any two steps, whatever became of the thread that had it.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes what has grown old, until there is none left.
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

    /// A connection and its other end.
    async fn pair() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connection = Connection::open(listener.local_addr().unwrap(), None).await.unwrap();
        (connection, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn what_was_kept_is_given_again_once() {
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
    async fn one_that_was_closed_or_speaks_unasked_is_not_given() {
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
                // The news is a moment on its way.
                if let Some(connection) = given {
                    kept.keep(connection);
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_never_too_many() {
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
