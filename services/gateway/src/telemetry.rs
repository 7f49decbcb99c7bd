//! Telemetry: access log, metrics and their exposition, and the admin port.

pub(crate) mod access_log;
pub(crate) mod admin;
pub(crate) mod exposition;
