//! The threads: the first accepts connections and looks after the upstreams, and each of the others
//! has connections of its own from their first byte to their last. Nothing of a request is handed
//! from one to another, which costs more than most requests.

use std::cell::Cell;
use std::future::{Future, pending};
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, Handle};

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// Which of the workers this is; 0 on any other thread.
pub(crate) fn number() -> usize {
    NUMBER.get()
}

/// Runs `main` on this thread and leaves without waiting for what it left behind.
pub(crate) fn run(main: impl Future<Output = ExitCode>) -> ExitCode {
    match Builder::new_current_thread().enable_all().build() {
        Ok(threads) => {
            let code = threads.block_on(main);
            // A lookup that hangs in the resolver must not hold the process.
            threads.shutdown_background();
            code
        }
        Err(error) => cannot_start(&error),
    }
}

/// Says so, and gives the exit code.
pub(crate) fn cannot_start(error: &io::Error) -> ExitCode {
    tracing::error!(%error, "cannot start the worker threads");
    service::exit::FAILURE.into()
}

/// The threads that serve connections.
pub(crate) struct Workers(Vec<Worker>);

struct Worker {
    handle: Handle,
    /// Connections that it has.
    busy: Arc<AtomicUsize>,
}

/// A connection's place on a worker.
pub(crate) struct Place(Arc<AtomicUsize>);

impl Workers {
    /// Starts so many; they end with the process.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let start = |number| {
            let threads = Builder::new_current_thread().enable_all().build()?;
            let handle = threads.handle().clone();
            thread::Builder::new().name(format!("worker {number}")).spawn(move || {
                NUMBER.set(number);
                threads.block_on(pending::<()>());
            })?;
            Ok(Worker { handle, busy: Arc::default() })
        };
        (0..count).map(start).collect::<io::Result<_>>().map(Self)
    }

    /// Gives a connection to the one that has the fewest. It has the connection until the place is
    /// dropped: a future around the connection's would hold that twice.
    pub(crate) fn serve<F>(&self, connection: impl FnOnce(Place) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let count = |worker: &&Worker| worker.busy.load(Ordering::Relaxed);
        let Some(worker) = self.0.iter().min_by_key(count) else { return };
        worker.busy.fetch_add(1, Ordering::Relaxed);
        worker.handle.spawn(connection(Place(worker.busy.clone())));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
