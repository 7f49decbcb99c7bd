//! Bootstrap of a service's process: configuration from the environment, logs, signals, a listening
//! socket and the health probe. All configuration faults are reported at once.
//!
//! [`launch()`] is the first call of each `main`. Its result is ready to serve.

mod build;
mod command;
mod config;
mod launch;
mod listen;
mod logs;
mod probe;
mod rlimit;
mod secret;
mod signal;

pub use build::Build;
pub use config::{ConfigError, Settings};
pub use launch::{Launch, Process, ServiceInfo, launch, launch_or_explain, serve_until_terminated};
pub use listen::{ListenError, listen};
pub use logs::redirect_logs;
pub use probe::{ProbeError, probe};
pub use secret::Secret;
pub use signal::{Termination, termination};

/// Exit codes of the process, from `sysexits(3)` if it defines one.
pub mod exit {
    /// A system error: a port in use, a socket that cannot be created.
    pub const FAILURE: u8 = 1;
    /// An invalid argument or environment variable (`EX_USAGE`).
    pub const USAGE: u8 = 64;
}
