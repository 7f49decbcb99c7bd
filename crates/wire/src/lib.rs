//! What a sample is, for the service that writes it and the page that reads it.
//!
//! Types and nothing else: no I/O, no clock, no runtime, so that the crate compiles to wasm as it
//! is. JSON keeps the order of the fields; `cpu` and `ram` come first by contract.

use serde::{Deserialize, Serialize};

/// One tick of the sampler: the machine's figures over the interval that ended at `time_unix_ms`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Busy share of all processors over the interval, percent, 0 to 100.
    ///
    /// Busy is everything but `idle` and `iowait` of the first line of `/proc/stat` (`proc(5)`).
    pub cpu: f64,
    /// Share of memory that is not available to programs, percent, 0 to 100.
    ///
    /// `MemTotal - MemAvailable` of `/proc/meminfo`, so reclaimable cache does not count as used.
    pub ram: f64,
    /// Which process took the sample: 16 hexadecimal digits, new at every start.
    pub instance: String,
    /// Counts the samples of this instance from 1, without gaps.
    pub sequence: u64,
    /// When the sample was taken, milliseconds since the Unix epoch.
    pub time_unix_ms: u64,
    /// Time since the previous sample, milliseconds; the rates above cover exactly this long.
    pub interval_ms: u64,
    /// Processors that were online at the time of the sample.
    pub cpu_count: u32,
    /// `MemTotal` of `/proc/meminfo`, bytes.
    pub memory_total_bytes: u64,
    /// `MemTotal - MemAvailable`, bytes.
    pub memory_used_bytes: u64,
    /// Load averages over 1, 5 and 15 minutes (`/proc/loadavg`); absent where it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<[f64; 3]>,
    /// Time since boot, seconds (`/proc/uptime`); absent where it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_seconds: Option<f64>,
}
