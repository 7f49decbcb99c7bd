//! History in columns: small to send, easy to draw.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The stored history: one row per step, all columns of the same length.
///
/// Rows are in the order of time and need not touch: where the service did not run, there is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// The instance of the service; rows may be older than its start when it keeps a history file.
    pub instance: String,
    /// The newest sample that is in the rows.
    pub sequence: u64,
    /// The time that a row covers, seconds.
    pub step_seconds: u32,
    /// The end of each row's time, milliseconds since the Unix epoch.
    pub time_unix_ms: Vec<u64>,
    /// The figures, by name; each has the unit in its name or that of the sample's field.
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

/// One figure over the rows; null where it was not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Series {
    /// The mean of the row's samples.
    pub mean: Vec<Option<f32>>,
    /// The smallest of the row's samples; left out where a row is one sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum: Option<Vec<Option<f32>>>,
    /// The largest of the row's samples; left out where a row is one sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum: Option<Vec<Option<f32>>>,
}
