//! Metrics of the container or ECS task that the service runs in.

use serde::{Deserialize, Serialize};

use crate::host::Traffic;

/// The control group that the service runs in (Documentation/admin-guide/cgroup-v2.rst and
/// cgroup-v1/). Each limit is the tightest of the group and its ancestors, and the reported use is
/// that of the group with the limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// Version of the kernel's cgroup interface: 1 or 2.
    pub cgroup_version: u8,
    /// CPU limit in cores; 0.5 is half of one. Absent without a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit_cores: Option<f64>,
    /// CPU use in cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_used_cores: Option<f64>,
    /// Share of the periods of the CPU limit in which it held up work, percent, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled: Option<f64>,
    /// Memory limit, bytes. Absent without a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    /// Memory in use without cache that the kernel can reclaim, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used_bytes: Option<u64>,
    /// OOM kills since the group was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_kills: Option<u64>,
    /// Number of processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// Limit of processes and threads. Absent without a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids_limit: Option<u64>,
}

/// The ECS task that the service is part of (task metadata endpoint, version 4).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Task {
    /// The family of the task definition.
    pub family: String,
    /// The revision of the task definition.
    pub revision: String,
    /// CPU limit of the task in cores. Absent without a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit_cores: Option<f64>,
    /// CPU use of the containers in cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_used_cores: Option<f64>,
    /// Memory limit of the task, bytes. Absent without a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    /// Memory use of the containers without cache that the kernel can reclaim, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used_bytes: Option<u64>,
    /// The size of the ephemeral storage, bytes (Fargate).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage_bytes: Option<u64>,
    /// Ephemeral storage in use, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage_used_bytes: Option<u64>,
    /// Received traffic of the interfaces that the containers share (network mode awsvpc).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive: Option<Traffic>,
    /// Sent traffic of the interfaces that the containers share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transmit: Option<Traffic>,
    /// Age of the metrics, milliseconds. The endpoint refreshes them about once a second.
    pub age_ms: u64,
    /// The containers, by name.
    pub containers: Vec<TaskContainer>,
}

/// One container of the task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskContainer {
    /// The name in the task definition.
    pub name: String,
    /// The status in ECS, such as `RUNNING`.
    pub status: String,
    /// CPU limit of the container in cores. Absent without a limit of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit_cores: Option<f64>,
    /// CPU use in cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_used_cores: Option<f64>,
    /// Memory limit of the container, bytes. Absent without a limit of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    /// Memory in use without cache that the kernel can reclaim, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used_bytes: Option<u64>,
    /// Received traffic of all interfaces of the container. Absent if the containers share the
    /// interfaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive: Option<Traffic>,
    /// Sent traffic of all interfaces of the container. Absent if the containers share the
    /// interfaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transmit: Option<Traffic>,
    /// Bytes read from block devices per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_bytes_per_second: Option<f64>,
    /// Bytes written to block devices per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_bytes_per_second: Option<f64>,
}
