//! The figures of the container or task that the service runs in.

use serde::{Deserialize, Serialize};

use crate::host::Traffic;

/// The control group that the service runs in (Documentation/admin-guide/cgroup-v2.rst and
/// cgroup-v1/). Each limit is the tightest of the group's and those of the groups around it, and the
/// use beside it is that of the group which has the limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// 1 or 2.
    pub cgroup_version: u8,
    /// Processors it may use; 0.5 is half of one. Absent without a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit_cores: Option<f64>,
    /// Processors it kept busy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_used_cores: Option<f64>,
    /// Share of the limit's periods in which it was held up, percent, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled: Option<f64>,
    /// Memory it may use, bytes. Absent without a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    /// Memory it uses, without the file cache that would be given back first, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used_bytes: Option<u64>,
    /// Processes killed because memory ran out, since the group was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_kills: Option<u64>,
    /// Processes and threads in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// Processes and threads it may have. Absent without a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids_limit: Option<u64>,
}

/// The ECS task that the service is part of (task metadata endpoint, version 4).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Task {
    /// The name of its definition.
    pub family: String,
    /// The revision of its definition.
    pub revision: String,
    /// Processors that it may use, of the task's own limit. Absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit_cores: Option<f64>,
    /// Processors that its containers kept busy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_used_cores: Option<f64>,
    /// Memory that it may use, bytes. Absent without a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    /// Memory that its containers use, without the cache that would be given back first, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used_bytes: Option<u64>,
    /// The size of its ephemeral storage, bytes (Fargate).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage_bytes: Option<u64>,
    /// Ephemeral storage in use, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage_used_bytes: Option<u64>,
    /// Received over the interfaces that its containers share (network mode awsvpc).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive: Option<Traffic>,
    /// Sent over the interfaces that its containers share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transmit: Option<Traffic>,
    /// How old the figures are: the endpoint renews them about once a second, milliseconds.
    pub age_ms: u64,
    /// Its containers, by name.
    pub containers: Vec<TaskContainer>,
}

/// One container of the task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskContainer {
    /// Its name in the task definition.
    pub name: String,
    /// Its state in ECS, such as `RUNNING`.
    pub status: String,
    /// Processors that it may use, of its own limit. Absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit_cores: Option<f64>,
    /// Processors that it kept busy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_used_cores: Option<f64>,
    /// Memory that it may use, bytes. Absent without a limit of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    /// Memory that it uses, without the cache that would be given back first, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used_bytes: Option<u64>,
    /// Received over all its interfaces. Absent where they are the task's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive: Option<Traffic>,
    /// Sent over all its interfaces. Absent where they are the task's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transmit: Option<Traffic>,
    /// Bytes read from block devices per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_bytes_per_second: Option<f64>,
    /// Bytes written to block devices per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_bytes_per_second: Option<f64>,
}
