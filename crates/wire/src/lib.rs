//! What a sample is, for the service that writes it and the page that reads it.
//!
//! Types and nothing else: no I/O, no clock, no runtime, so that the crate compiles to wasm as it
//! is. JSON keeps the order of the fields; `cpu` and `ram` come first by contract.

use serde::{Deserialize, Serialize};

/// One tick of the sampler: the machine's figures over the interval that ended at `time_unix_ms`.
///
/// A figure whose source is missing or odd is absent; the rest of the sample stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// Busy share of all processors over the interval, percent, 0 to 100.
    ///
    /// Busy is everything but `idle` and `iowait` of the first line of `/proc/stat` (`proc(5)`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Share of memory that is not available to programs, percent, 0 to 100.
    ///
    /// `MemTotal - MemAvailable` of `/proc/meminfo`, so reclaimable cache does not count as used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ram: Option<f64>,
    /// Which process took the sample: 16 hexadecimal digits, new at every start.
    pub instance: String,
    /// Counts the samples of this instance from 1, without gaps.
    pub sequence: u64,
    /// When the sample was taken, milliseconds since the Unix epoch.
    pub time_unix_ms: u64,
    /// Time since the previous reading, milliseconds; `cpu` covers exactly this long.
    pub interval_ms: u64,
    /// Processors that were online when the sample was taken (`/proc/stat`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_count: Option<u32>,
    /// `MemTotal` of `/proc/meminfo`, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_total_bytes: Option<u64>,
    /// `MemTotal - MemAvailable` of `/proc/meminfo`, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used_bytes: Option<u64>,
    /// Load averages over 1, 5 and 15 minutes (`/proc/loadavg`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<[f64; 3]>,
    /// Time since boot, seconds (`/proc/uptime`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime_seconds: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_and_ram_come_first_and_absent_figures_are_left_out() {
        let sample = Sample { cpu: Some(12.5), ram: Some(34.0), ..Sample::default() };
        let text = serde_json::to_string(&sample).unwrap();
        assert!(text.starts_with(r#"{"cpu":12.5,"ram":34.0,"instance":"#), "{text}");
        assert!(!text.contains("null"), "{text}");
    }

    #[test]
    fn a_reader_accepts_fields_it_does_not_know_and_misses_none_it_needs() {
        let sample: Sample = serde_json::from_str(r#"{"ram":1.5,"from_the_future":{}}"#).unwrap();
        assert_eq!(sample, Sample { ram: Some(1.5), ..Sample::default() });
    }
}
