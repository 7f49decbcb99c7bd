//! The summary of a sample, for a list of many machines.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Alert, ScopeKind, State};

/// One tick in about 250 bytes; unknown values are absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// ID of the process that took the sample.
    pub instance: String,
    /// The host's name, only if the service exposes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The labels of the sample.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The reference of `cpu` and `ram`.
    pub scope: ScopeKind,
    /// The overall state; absent if alerts are off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Start of the current state, milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_unix_ms: Option<u64>,
    /// The worst active alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<Alert>,
    /// Time of the sample, milliseconds since the Unix epoch.
    pub time_unix_ms: u64,
    /// The number of the sample.
    pub sequence: u64,
    /// `cpu` of the sample, percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// `ram` of the sample, percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ram: Option<f64>,
    /// Load average over one minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<f64>,
    /// Share of the last 10 seconds in which at least one task waited, percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure: Option<SummaryPressure>,
    /// Traffic of all interfaces that are not stacked, or of the ECS task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<SummaryNetwork>,
    /// Traffic of all disks that are not stacked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<SummaryDisk>,
    /// The resources available to the scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<SummaryLimits>,
    /// Time since the kernel started, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime_seconds: Option<u64>,
    /// The version of the service.
    pub version: String,
}

/// Pressure, percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SummaryPressure {
    /// CPU pressure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Memory pressure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<f64>,
    /// I/O pressure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io: Option<f64>,
}

/// Traffic of the network, bytes per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SummaryNetwork {
    /// Received traffic.
    pub received: f64,
    /// Sent traffic.
    pub sent: f64,
}

/// Traffic of the disks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SummaryDisk {
    /// Read traffic, bytes per second.
    pub read: f64,
    /// Written traffic, bytes per second.
    pub written: f64,
    /// Utilization of the busiest disk, percent.
    pub busy: f64,
}

/// The resources available to the scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SummaryLimits {
    /// Number of processors; 0.5 is half of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Memory, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// The last minute in columns. Unknown values are null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Minute {
    /// ID of the process that took the samples.
    pub instance: String,
    /// Time of each sample, milliseconds since the Unix epoch.
    pub times_unix_ms: Vec<u64>,
    /// `cpu` of each sample, percent.
    pub cpu: Vec<Option<f32>>,
    /// `ram` of each sample, percent.
    pub ram: Vec<Option<f32>>,
}
