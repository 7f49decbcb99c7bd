//! The format of a sample, shared by the service that writes it and the page that reads it.
//!
//! The crate has types only, without I/O, clock and runtime, so it compiles to wasm unchanged. JSON
//! keeps the order of the fields; `cpu` and `ram` come first by contract. Values that could not be
//! read are absent, never zero. Only columns contain null.

mod alert;
mod container;
mod history;
mod host;
mod summary;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use alert::{Alert, Event, EventKind, Events, State, Subject, TopHistory, TopProcess, Unit};
pub use container::{Container, Task, TaskContainer};
pub use history::{CoreHistory, History, Series};
pub use host::{
    Core, Disk, Filesystem, Memory, Network, Pressure, Process, Processes, Processors, Shares,
    Stall, Stalls, Top, Traffic,
};
pub use summary::{Minute, Summary, SummaryDisk, SummaryLimits, SummaryNetwork, SummaryPressure};

/// One tick of the sampler: metrics of the interval that ended at `time_unix_ms`.
///
/// A value with a missing or invalid source is absent; the rest of the sample is valid.
/// [`Scope::kind`] is the scope of `cpu` and `ram`; every other field documents its own scope.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// CPU use in percent of the CPU time available to the scope, 0 to 100.
    ///
    /// Host: all modes of `/proc/stat` (`proc(5)`) except `idle` and `iowait`. Container and task:
    /// percent of the tightest limit, or of the host's processors without a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Memory in use, in percent of the memory available to the scope, 0 to 100.
    ///
    /// Host: `MemTotal - MemAvailable` of `/proc/meminfo`, without the cache of ZFS. Container and
    /// task: memory without cache that the kernel can reclaim, in percent of the tightest limit, or
    /// of the host's memory without a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ram: Option<f64>,
    /// Time of the sample, milliseconds since the Unix epoch.
    pub time_unix_ms: u64,
    /// Time since the previous reading, milliseconds. All rates except those in `task` and `top`
    /// cover this interval.
    pub interval_ms: u64,
    /// ID of the process that took the sample: 16 hexadecimal digits, new at every start. In an ECS
    /// task, the task ID is in front of them.
    pub instance: String,
    /// Number of the sample in this process, from 1, without gaps.
    pub sequence: u64,
    /// The host's name, only when the service is configured to expose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The measurement scope of `cpu` and `ram`.
    pub scope: Scope,
    /// Time since the kernel started, seconds (`/proc/uptime`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime_seconds: Option<f64>,
    /// The host's load averages over 1, 5 and 15 minutes (`/proc/loadavg`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<[f64; 3]>,
    /// The host's processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processors: Option<Processors>,
    /// The host's memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// Pressure stall information of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
    /// The host's disks, in the kernel's order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<Disk>,
    /// The network interfaces that the service sees, by name, without loopback.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Network>,
    /// Owner of the interfaces in `networks`: the host, or the container that the service runs in.
    /// Absent if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_scope: Option<ScopeKind>,
    /// The filesystems that the service sees, in mount order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filesystems: Vec<Filesystem>,
    /// Owner of the mounts in `filesystems`: the host, or the container that the service runs in.
    /// Absent if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mounts_scope: Option<ScopeKind>,
    /// The host's processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<Processes>,
    /// The control group that the service runs in. Absent for the root group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// The ECS task that the service is part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// The processes with the highest use, only when the service is configured to expose them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top: Option<Top>,
    /// Labels of the operator (`STATS_LABELS`), and in an ECS task those of ECS.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The overall state: that of the worst alert. Absent if alerts are off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Start of the current state, milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_unix_ms: Option<u64>,
    /// The active alerts, worst first, then oldest; at most 32.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
    /// Events during the interval.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
}

/// The measurement scope of `cpu` and `ram`, and the reason for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scope {
    /// The kind of the scope.
    pub kind: ScopeKind,
    /// The reason as a readable sentence.
    pub reason: String,
}

/// The reference of `cpu` and `ram`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScopeKind {
    /// All resources of the kernel.
    #[default]
    Host,
    /// The limits of the control group that the service runs in.
    Container,
    /// The limits of the ECS task that the service is part of.
    Task,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_and_ram_come_first_and_absent_figures_are_left_out() {
        let sample = Sample { cpu: Some(12.5), ram: Some(34.0), ..Sample::default() };
        let text = serde_json::to_string(&sample).unwrap();
        assert!(text.starts_with(r#"{"cpu":12.5,"ram":34.0,"time_unix_ms":"#), "{text}");
        assert!(!text.contains("null") && !text.contains("[]"), "{text}");
    }

    #[test]
    fn a_reader_accepts_fields_it_does_not_know_and_misses_none_it_needs() {
        let sample: Sample = serde_json::from_str(r#"{"ram":1.5,"from_the_future":{}}"#).unwrap();
        assert_eq!(sample, Sample { ram: Some(1.5), ..Sample::default() });
    }
}
