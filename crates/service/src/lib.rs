//! Bootstrap of a service's process: configuration from the environment with all faults reported
//! at once, logs, signals, a listening socket and the health probe.
//!
//! [`launch`] is the first line of each `main`; what it returns is ready to serve.

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
pub use probe::{ProbeError, probe};
pub use secret::Secret;
pub use signal::{Termination, termination};

/// Exit codes of the process; the numbers are those of `sysexits(3)` where it has one.
pub mod exit {
    /// A fault of the system underneath: a taken port, a socket that cannot be made.
    pub const FAILURE: u8 = 1;
    /// A wrong argument or a wrong environment variable (`EX_USAGE`).
    pub const USAGE: u8 = 64;
}
