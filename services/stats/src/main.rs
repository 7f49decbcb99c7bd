//! The stats service: a table of contents of `stats::run`.

use std::process::ExitCode;

// One thread is enough beside the sampler: a request is a copied pointer.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    stats::run().await
}
