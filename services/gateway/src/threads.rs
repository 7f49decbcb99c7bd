//! The worker threads.

use std::future::Future;
use std::process::ExitCode;

use tokio::runtime::Builder;

/// Runs `main` on `count` threads and leaves without waiting for what it left behind.
pub(crate) fn run(count: usize, main: impl Future<Output = ExitCode>) -> ExitCode {
    let threads = Builder::new_multi_thread().worker_threads(count).enable_all().build();
    match threads {
        Ok(threads) => {
            let code = threads.block_on(main);
            // A lookup that hangs in the resolver must not hold the process.
            threads.shutdown_background();
            code
        }
        Err(error) => {
            tracing::error!(%error, "cannot start the worker threads");
            runtime::exit::FAILURE.into()
        }
    }
}
