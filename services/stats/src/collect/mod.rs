//! Parsers from text to counters. Pure: one file per source, no I/O and no clock.

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
mod tests;

/// Parse error of a file in /proc.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum ParseError {
    /// A line or a field is missing.
    #[error("field {0} is missing")]
    Missing(&'static str),
    /// The text does not have the documented format.
    #[error("{0}")]
    Invalid(String),
}

impl From<procfs::ProcError> for ParseError {
    fn from(error: procfs::ProcError) -> Self {
        match error {
            // The full text contains a path from the build machine.
            procfs::ProcError::InternalError(internal) => Self::Invalid(internal.msg),
            other => Self::Invalid(other.to_string()),
        }
    }
}
