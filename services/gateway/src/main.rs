//! The process of the gateway.

use std::process::ExitCode;

/// musl's own allocator takes one lock for all threads, and every request allocates.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    gateway::run()
}
