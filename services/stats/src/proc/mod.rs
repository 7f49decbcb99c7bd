//! Text of /proc to counters: pure, one file per source, no I/O and no clock.

pub(crate) mod cpu;
pub(crate) mod load;
pub(crate) mod memory;
pub(crate) mod uptime;

/// Why a file of /proc could not be understood.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum ParseError {
    /// A line or a field is not there.
    #[error("field {0} is missing")]
    Missing(&'static str),
    /// The text is not of the form that `proc(5)` gives.
    #[error("{0}")]
    Odd(String),
}

impl From<procfs::ProcError> for ParseError {
    fn from(error: procfs::ProcError) -> Self {
        Self::Odd(error.to_string())
    }
}
