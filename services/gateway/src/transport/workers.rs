//! Threads: the first one accepts connections and manages the upstreams; each worker serves its own
//! connections from the first byte to the last. A request never moves between threads, which would
//! cost more than handling most requests.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::transport::free_memory::{prevent_huge_pages, return_free_memory};

/// Time after which a read of files is reported. Even a file system of the network responds within a
/// second.
const SLOW_READ: Duration = Duration::from_secs(5);

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// Number of the current worker; 0 on any other thread.
pub(crate) fn number() -> usize {
    NUMBER.get()
}

/// Runs `main` on this thread, and returns without waiting for background tasks.
pub(crate) fn run(main: impl Future<Output = ExitCode>) -> ExitCode {
    match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(main);
            // A DNS lookup that hangs in the resolver must not delay the exit.
            runtime.shutdown_background();
            code
        }
        Err(error) => cannot_start(&error),
    }
}

/// Reads files on a thread of its own: a file system that hangs must not stop the first thread, which
/// accepts connections. `None` at the end of the process.
pub(crate) async fn read_files<T: Send + 'static>(
    read: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let mut task = spawn_blocking(read);
    if let Ok(done) = timeout(SLOW_READ, &mut task).await {
        return done.ok();
    }
    tracing::warn!("reading the files of the configuration takes long; keeping the current ones");
    task.await.ok()
}

/// Logs the error and returns the exit code.
pub(crate) fn cannot_start(error: &io::Error) -> ExitCode {
    tracing::error!(%error, "cannot start the worker threads");
    service::exit::FAILURE.into()
}

/// Worker threads.
pub(crate) struct Workers(Vec<Worker>);

struct Worker {
    handle: Handle,
    /// Number of its connections.
    connections: Arc<AtomicUsize>,
}

/// Registration of a connection with a worker.
pub(crate) struct WorkerGuard(Arc<AtomicUsize>);

impl Workers {
    /// Starts this number of workers; they end with the process.
    ///
    /// # Errors
    /// Returns the error if a thread cannot be created.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        prevent_huge_pages();
        let start = |number| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let handle = runtime.handle().clone();
            thread::Builder::new().name(format!("worker {number}")).spawn(move || {
                NUMBER.set(number);
                runtime.block_on(return_free_memory());
            })?;
            Ok(Worker { handle, connections: Arc::default() })
        };
        (0..count).map(start).collect::<io::Result<_>>().map(Self)
    }

    /// Assigns a connection to the worker with the fewest. `WorkerGuard` marks the connection as
    /// active until it is dropped; a wrapper around the connection's future would store that future
    /// twice.
    pub(crate) fn serve<F>(&self, connection: impl FnOnce(WorkerGuard) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let count = |worker: &&Worker| worker.connections.load(Ordering::Relaxed);
        let Some(worker) = self.0.iter().min_by_key(count) else { return };
        worker.connections.fetch_add(1, Ordering::Relaxed);
        worker.handle.spawn(connection(WorkerGuard(worker.connections.clone())));
    }
}

impl Drop for WorkerGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
