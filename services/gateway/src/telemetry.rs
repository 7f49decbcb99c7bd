//! Telemetry: the access log and counters. [`crate::admin`] serves the counters.

pub(crate) mod access_log;
pub(crate) mod counters;
