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

/// Wait for a free permit before `make_room` is called again.
const NO_PLACE_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections up to a limit; further connections wait in the kernel's backlog.
pub struct Acceptor {
    listener: TcpListener,
    places: Places,
}

/// The permits of an [`Acceptor`], which outlive its listener.
#[derive(Clone)]
pub struct Places {
    semaphore: Arc<Semaphore>,
    all: u32,
}

/// A connection's permit, released when dropped.
pub struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Acceptor {
    /// An acceptor of at most `connections` at once.
    pub fn new(listener: TcpListener, connections: u32) -> Self {
        let semaphore = Arc::new(Semaphore::new(connections as usize));
        Self { listener, places: Places { semaphore, all: connections } }
    }

    /// A handle to the number of open connections; it stays valid after the acceptor is dropped.
    pub fn places(&self) -> Places {
        self.places.clone()
    }

    /// The next connection, once a permit is free. Its small responses are sent at once instead
    /// of waiting for the client's acknowledgement (`TCP_NODELAY`).
    pub async fn accept(&self) -> (TcpStream, SocketAddr, Place) {
        // The semaphore is never closed, so a permit becomes free in the end.
        let place = Place { _permit: self.places.semaphore.clone().acquire_owned().await.ok() };
        let (stream, peer) = self.next().await;
        (stream, peer, place)
    }

    /// Like [`Acceptor::accept`], but calls `make_room` until a permit is free. Meanwhile one
    /// connection more than the limit is held.
    pub async fn accept_making_room(&self, make_room: impl Fn()) -> (TcpStream, SocketAddr, Place) {
        let (stream, peer) = self.next().await;
        let semaphore = &self.places.semaphore;
        if let Ok(permit) = semaphore.clone().try_acquire_owned() {
            return (stream, peer, Place { _permit: Some(permit) });
        }
        loop {
            make_room();
            if let Ok(permit) = timeout(NO_PLACE_PAUSE, semaphore.clone().acquire_owned()).await {
                return (stream, peer, Place { _permit: permit.ok() });
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

impl Places {
    /// Connections that are open.
    pub fn taken(&self) -> usize {
        self.all as usize - self.semaphore.available_permits()
    }

    /// Waits until no connection is open.
    pub async fn all_free(&self) {
        // An error would mean that the semaphore was closed, which never happens.
        let _ = self.semaphore.acquire_many(self.all).await;
    }
}

/// A connection that was reset before it was accepted is harmless; without file descriptors the
/// same error would return at once and keep a core busy.
async fn pause_after(error: &io::Error) {
    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) {
        return;
    }
    tracing::warn!(%error, "cannot accept a connection");
    sleep(NO_FILES_PAUSE).await;
}
