//! History in columns, which is compact and simple to plot.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The stored history: one row per step, all columns of the same length.
///
/// Rows are in order of time. There are no rows for the time in which the service did not run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// The instance of the service. With a history file, rows can be older than its start.
    pub instance: String,
    /// Number of the newest sample in the rows.
    pub sequence: u64,
    /// Length of a row, seconds.
    pub step_seconds: u32,
    /// The end of each row, milliseconds since the Unix epoch.
    pub time_unix_ms: Vec<u64>,
    /// The metrics by name, in the unit of the sample's field.
    pub series: BTreeMap<String, Series>,
    /// Busy time of each processor; absent unless the rows are samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<CoreHistory>,
}

/// Busy time of each processor in the last 10 minutes, in rows of their own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CoreHistory {
    /// Length of a row, seconds.
    pub step_seconds: u32,
    /// End of each row, milliseconds since the Unix epoch.
    pub time_unix_ms: Vec<u64>,
    /// For each row the mean of each processor, percent, in the order of a sample's `cores`.
    pub busy: Vec<Vec<u8>>,
}

/// One metric over the rows. Unknown values are null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Series {
    /// The mean of the samples of each row.
    pub mean: Vec<Option<f32>>,
    /// The minimum of the samples of each row. Absent if a row is one sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum: Option<Vec<Option<f32>>>,
    /// The maximum of the samples of each row. Absent if a row is one sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum: Option<Vec<Option<f32>>>,
}
