//! Connection acceptor with a limit of open connections; accept errors do not end the service.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

/// Delay of the next attempt after an error, such as no free file descriptor (`accept(2)`, EMFILE).
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// The same after a connection has begun to close, which takes its thread about a millisecond.
const CLOSE_PAUSE: Duration = Duration::from_millis(10);

/// Minimum interval of log lines about errors: without free file descriptors, there is one for each
/// pause.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Wait for a permit before `make_room` is called again.
const PERMIT_WAIT: Duration = Duration::from_millis(50);

/// Accepts connections up to a limit. Further connections wait in the kernel's backlog.
pub struct Acceptor {
    listener: TcpListener,
    permits: Permits,
    errors: Mutex<Errors>,
}

/// Errors of accept, for the log.
#[derive(Default)]
struct Errors {
    /// Time of the last log line.
    logged: Option<Instant>,
    /// Errors since that line.
    count: u64,
}

/// The permits of an [`Acceptor`], which outlive its listener.
#[derive(Clone)]
pub struct Permits {
    semaphore: Arc<Semaphore>,
    all: u32,
}

/// The permit of a connection, which is released on drop.
pub struct Permit {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Acceptor {
    /// An acceptor for at most `connections` simultaneous connections.
    pub fn new(listener: TcpListener, connections: u32) -> Self {
        let semaphore = Arc::new(Semaphore::new(connections as usize));
        let permits = Permits { semaphore, all: connections };
        Self { listener, permits, errors: Mutex::default() }
    }

    /// A handle to the permits that counts open connections, also after the acceptor is dropped.
    pub fn permits(&self) -> Permits {
        self.permits.clone()
    }

    /// Accepts the next connection after a permit is available. `TCP_NODELAY` is set, so small
    /// responses do not wait for the client's acknowledgement.
    pub async fn accept(&self) -> (TcpStream, SocketAddr, Permit) {
        // The semaphore is never closed, so a permit eventually becomes available.
        let permit = Permit { _permit: self.permits.semaphore.clone().acquire_owned().await.ok() };
        let (stream, peer) = self.next(|| false).await;
        (stream, peer, permit)
    }

    /// Like [`Acceptor::accept`], but accepts the connection first. Without a permit or a free file
    /// descriptor, `make_room` is called until there is one; meanwhile one connection above the
    /// limit is open. It returns whether a connection closes.
    pub async fn accept_making_room(
        &self,
        make_room: impl Fn() -> bool,
    ) -> (TcpStream, SocketAddr, Permit) {
        let (stream, peer) = self.next(&make_room).await;
        let semaphore = &self.permits.semaphore;
        if let Ok(permit) = semaphore.clone().try_acquire_owned() {
            return (stream, peer, Permit { _permit: Some(permit) });
        }
        loop {
            make_room();
            if let Ok(permit) = timeout(PERMIT_WAIT, semaphore.clone().acquire_owned()).await {
                return (stream, peer, Permit { _permit: permit.ok() });
            }
        }
    }

    async fn next(&self, make_room: impl Fn() -> bool) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                // An error of the option means that the peer has already disconnected.
                Ok((stream, peer)) if stream.set_nodelay(true).is_ok() => return (stream, peer),
                Ok(_) => {}
                // A connection that was reset before it was accepted is not a fault of the service.
                Err(error) if is_of_peer(&error) => {}
                Err(error) => {
                    self.log(&error);
                    // Without free file descriptors, the same error would repeat at once and keep a
                    // core busy.
                    sleep(if make_room() { CLOSE_PAUSE } else { ERROR_PAUSE }).await;
                }
            }
        }
    }

    fn log(&self, error: &io::Error) {
        // The state is consistent between any two operations, so a poisoned lock is usable.
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(errors) = errors.add(Instant::now()) {
            tracing::warn!(%error, errors, "cannot accept a connection");
        }
    }
}

impl Errors {
    /// Adds an error. Returns the number of errors since the last log line if another one is due.
    fn add(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        if self.logged.is_some_and(|logged| now.duration_since(logged) < LOG_INTERVAL) {
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

impl Permits {
    /// Number of open connections.
    pub fn taken(&self) -> usize {
        self.all as usize - self.semaphore.available_permits()
    }

    /// Waits until no connection is open.
    pub async fn all_free(&self) {
        // The semaphore is never closed, so there is no error.
        let _ = self.semaphore.acquire_many(self.all).await;
    }
}

/// Whether the peer has reset the connection.
fn is_of_peer(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lasting_error_is_logged_once_in_ten_seconds_with_the_number_of_errors() {
        let (mut errors, begun) = (Errors::default(), Instant::now());
        let logged: Vec<_> = (0..=200)
            .filter_map(|pause| Some((pause, errors.add(begun + ERROR_PAUSE * pause)?)))
            .collect();
        assert_eq!(logged, [(0, 1), (100, 100), (200, 100)]);
    }
}
