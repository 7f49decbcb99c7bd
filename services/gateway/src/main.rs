//! Gateway process.

use std::process::ExitCode;

/// The allocator of musl uses one lock for all threads, and every request allocates.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    gateway::run()
}
