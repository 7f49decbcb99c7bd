//! SIGTERM and SIGINT. PID 1 of a container has no default action for either: a process that does
//! not handle them is killed after the grace period instead (`signal(7)`, `pid_namespaces(7)`).

use std::fmt;
use std::future::Future;
use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// The signal that ends the process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Termination {
    /// SIGTERM: `docker stop`, ECS, systemd.
    Terminate,
    /// SIGINT: Ctrl-C.
    Interrupt,
}

impl fmt::Display for Termination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        })
    }
}

/// Returns a future that resolves at the first SIGTERM or SIGINT. The handlers are installed by the
/// call, before the first poll.
///
/// # Errors
/// The handlers cannot be installed.
pub fn termination() -> io::Result<impl Future<Output = Termination>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => Termination::Terminate,
            _ = interrupt.recv() => Termination::Interrupt,
        }
    })
}
