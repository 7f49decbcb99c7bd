//! Stats process.

use std::process::ExitCode;

// One thread is enough besides the sampler: a request copies a pointer.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    stats::run().await
}
