//! Telemetry: the access log, counters, their exposition, and the port that serves it.

pub(crate) mod access_log;
pub(crate) mod admin;
pub(crate) mod exposition;
