//! Connection acceptor with a limit of open connections; accept errors do not end the service.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

/// Delay of the next attempt when the process has no file descriptor left (`accept(2)`, EMFILE).
const NO_FILES_PAUSE: Duration = Duration::from_millis(100);

/// How long to wait for a permit before more room is made.
const NO_PLACE_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections up to a limit; further connections wait in the kernel's backlog.
pub struct Acceptor {
    listener: TcpListener,
    permits: Permits,
}

/// The permits of an [`Acceptor`], which outlive its listener.
#[derive(Clone)]
pub struct Permits {
    semaphore: Arc<Semaphore>,
    all: u32,
}

/// The permit of a connection; it is free again when this is dropped.
pub struct Permit {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Acceptor {
    /// An acceptor of at most `connections` at once.
    pub fn new(listener: TcpListener, connections: u32) -> Self {
        let semaphore = Arc::new(Semaphore::new(connections as usize));
        Self { listener, permits: Permits { semaphore, all: connections } }
    }

    /// Where to ask how many connections are open, now and when the acceptor is gone.
    pub fn permits(&self) -> Permits {
        self.permits.clone()
    }

    /// The next connection, when there is a permit for it. Its small answers go out at once instead
    /// of waiting for the client's acknowledgement (`TCP_NODELAY`).
    pub async fn accept(&self) -> (TcpStream, SocketAddr, Permit) {
        // The semaphore is never closed, so there always is a permit in the end.
        let permit = Permit { _permit: self.permits.semaphore.clone().acquire_owned().await.ok() };
        let (stream, peer) = self.next().await;
        (stream, peer, permit)
    }

    /// Like [`Acceptor::accept`], but a connection that finds no permit has room made for it:
    /// `make_room` is called until there is a permit. One connection more than there are places is
    /// held meanwhile.
    pub async fn accept_making_room(
        &self,
        make_room: impl Fn(),
    ) -> (TcpStream, SocketAddr, Permit) {
        let (stream, peer) = self.next().await;
        let semaphore = &self.permits.semaphore;
        if let Ok(permit) = semaphore.clone().try_acquire_owned() {
            return (stream, peer, Permit { _permit: Some(permit) });
        }
        loop {
            make_room();
            if let Ok(permit) = timeout(NO_PLACE_PAUSE, semaphore.clone().acquire_owned()).await {
                return (stream, peer, Permit { _permit: permit.ok() });
            }
        }
    }

    async fn next(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                // An error of the option means that the peer is gone already.
                Ok((stream, peer)) if stream.set_nodelay(true).is_ok() => return (stream, peer),
                Ok(_) => {}
                Err(error) => pause_after(&error).await,
            }
        }
    }
}

impl Permits {
    /// Connections that are open.
    pub fn taken(&self) -> usize {
        self.all as usize - self.semaphore.available_permits()
    }

    /// Waits until no connection is open.
    pub async fn all_free(&self) {
        // An error would mean that the semaphore was closed, which does not happen.
        let _ = self.semaphore.acquire_many(self.all).await;
    }
}

/// A connection that was reset before it was accepted is no fault of the service; without file
/// descriptors the same error would come back at once and burn a core.
async fn pause_after(error: &io::Error) {
    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) {
        return;
    }
    tracing::warn!(%error, "cannot accept a connection");
    sleep(NO_FILES_PAUSE).await;
}
