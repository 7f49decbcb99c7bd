//! Telemetry: the access log and metrics. [`crate::admin`] serves the metrics.

pub(crate) mod access_log;
pub(crate) mod counters;
