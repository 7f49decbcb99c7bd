//! Text to counters: pure, one file per source, no I/O and no clock.

pub(crate) mod cgroup;
pub(crate) mod cpu;
pub(crate) mod disk;
pub(crate) mod load;
pub(crate) mod memory;

pub(crate) mod ecs_task;
pub(crate) mod filesystem;
pub(crate) mod network;
pub(crate) mod on_scrape;
pub(crate) mod pressure;
pub(crate) mod process;
pub(crate) mod uptime;
pub(crate) mod vmstat;

mod fixtures;
mod properties;

/// Why a file of /proc could not be understood.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum ParseError {
    /// A line or a field is not there.
    #[error("field {0} is missing")]
    Missing(&'static str),
    /// The text is not of the form that its documentation gives.
    #[error("{0}")]
    Odd(String),
}

impl From<procfs::ProcError> for ParseError {
    fn from(error: procfs::ProcError) -> Self {
        match error {
            // Its full text names a source file of the machine that compiled the program.
            procfs::ProcError::InternalError(internal) => Self::Odd(internal.msg),
            other => Self::Odd(other.to_string()),
        }
    }
}
