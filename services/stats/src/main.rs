//! Stats process.

use std::io::Write as _;
use std::process::ExitCode;

use tokio::runtime::Builder;

fn main() -> ExitCode {
    // One thread is enough besides the sampler: a request copies a pointer.
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "stats: {error}");
            return service::exit::FAILURE.into();
        }
    };
    let code = runtime.block_on(stats::run());
    // A name server or a log driver that does not respond must not delay the exit.
    runtime.shutdown_background();
    code
}
