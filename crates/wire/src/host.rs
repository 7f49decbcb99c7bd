//! Metrics of the host from `/proc`, independent of the limits of the service.

use serde::{Deserialize, Serialize};

/// The host's processors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Processors {
    /// Processors that were online when the sample was taken.
    pub online: u32,
    /// CPU time of all processors by mode. Absent if no tick has passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<Shares>,
    /// CPU time of each processor by mode, in order of its number. A processor that came online
    /// during the interval appears in the next sample.
    pub cores: Vec<Core>,
}

/// CPU time of one processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Core {
    /// Number of the processor in the kernel. The numbers have gaps if processors are offline.
    pub id: u32,
    /// CPU time by mode.
    #[serde(flatten)]
    pub shares: Shares,
}

/// CPU time by mode, percent of the interval, 0 to 100 (`/proc/stat`, `proc(5)`).
///
/// `busy` is the sum of `user`, `nice`, `system`, `irq` and `steal`; with `iowait` and `idle` it
/// adds up to 100. `user` and `nice` include guest time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shares {
    /// All modes except `iowait` and `idle`.
    pub busy: f64,
    /// User mode, normal priority.
    pub user: f64,
    /// User mode, low priority.
    pub nice: f64,
    /// Kernel mode.
    pub system: f64,
    /// Hardware and software interrupts.
    pub irq: f64,
    /// Time that the hypervisor used for other guests.
    pub steal: f64,
    /// Idle time with a pending disk request.
    pub iowait: f64,
    /// Other idle time.
    pub idle: f64,
}

/// The host's memory, bytes (`/proc/meminfo`, `proc(5)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// `MemTotal`.
    pub total_bytes: u64,
    /// `MemAvailable` and `zfs_reclaimable_bytes`: memory available to programs without swapping.
    pub available_bytes: u64,
    /// `total_bytes - available_bytes`.
    pub used_bytes: u64,
    /// `MemFree`: unused memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// `Buffers`: cached blocks of devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffers_bytes: Option<u64>,
    /// `Cached`: page cache, including shared memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_bytes: Option<u64>,
    /// `SReclaimable`: reclaimable kernel caches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slab_reclaimable_bytes: Option<u64>,
    /// Cache of ZFS (ARC) that can be freed: `size - c_min` of `/proc/spl/kstat/zfs/arcstats`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zfs_reclaimable_bytes: Option<u64>,
    /// `SwapTotal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_total_bytes: Option<u64>,
    /// `SwapTotal - SwapFree`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_used_bytes: Option<u64>,
}

/// Pressure stall information: time in which tasks waited for a resource (`/proc/pressure`,
/// Documentation/accounting/psi.rst).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pressure {
    /// CPU pressure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Stalls>,
    /// Memory pressure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Stalls>,
    /// I/O pressure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io: Option<Stalls>,
}

/// The pressure on one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stalls {
    /// Time in which at least one task waited.
    pub some: Stall,
    /// Time in which all tasks waited at once. Older kernels do not report it for CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full: Option<Stall>,
}

/// Stalled time, percent, averaged over three windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stall {
    /// Over the last 10 seconds.
    pub avg10: f64,
    /// Over the last 60 seconds.
    pub avg60: f64,
    /// Over the last 300 seconds.
    pub avg300: f64,
}

/// One disk (`/proc/diskstats`, Documentation/admin-guide/iostats.rst). Partitions, loop devices
/// and RAM disks are excluded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Disk {
    /// The device name in the kernel.
    pub name: String,
    /// Whether the disk consists of other disks in the list; sums exclude it. Absent if false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stacked: bool,
    /// Bytes read per second.
    pub read_bytes_per_second: f64,
    /// Bytes written per second.
    pub write_bytes_per_second: f64,
    /// Completed read requests per second.
    pub reads_per_second: f64,
    /// Completed write requests per second.
    pub writes_per_second: f64,
    /// Share of the interval with at least one request in flight, percent, 0 to 100.
    pub utilisation: f64,
}

/// One network interface of the service's network namespace (`/proc/net/dev`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// The interface's name.
    pub name: String,
    /// Whether another interface in the list carries the same traffic (bridges, tunnels, virtual
    /// interfaces of containers); sums exclude this one. Absent if false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stacked: bool,
    /// Received traffic.
    pub receive: Traffic,
    /// Sent traffic.
    pub transmit: Traffic,
}

/// One direction of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Bytes per second.
    pub bytes_per_second: f64,
    /// Packets per second.
    pub packets_per_second: f64,
    /// Errors per second.
    pub errors_per_second: f64,
    /// Dropped packets per second.
    pub drops_per_second: f64,
}

/// One mounted filesystem with its own storage (`statvfs(3)`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filesystem {
    /// Mount point.
    pub mount: String,
    /// Filesystem type, such as `ext4`.
    pub kind: String,
    /// The mounted device, only when the service is configured to expose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Size of the filesystem, bytes.
    pub total_bytes: u64,
    /// Space available without privileges, bytes.
    pub available_bytes: u64,
    /// Used space, bytes. With `available_bytes` it is less than the size if some space is
    /// reserved.
    pub used_bytes: u64,
}

/// The host's processes (`/proc/stat`, `/proc/loadavg`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Processes {
    /// Runnable threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<u64>,
    /// Threads blocked on I/O.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<u64>,
    /// Processes and threads: the scheduling entities of the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Context switches per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_switches_per_second: Option<f64>,
    /// Created processes and threads per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forks_per_second: Option<f64>,
}

/// The processes with the highest use, each list in descending order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Top {
    /// Processes by CPU time.
    pub by_cpu: Vec<Process>,
    /// Processes by resident memory.
    pub by_memory: Vec<Process>,
}

/// One process (`/proc/PID/stat`), without arguments and environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Process ID in the PID namespace of the service.
    pub pid: u32,
    /// The file name of the program, which the kernel cuts to 15 bytes.
    pub name: String,
    /// CPU use in cores since the previous process scan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_cores: Option<f64>,
    /// Resident memory, bytes.
    pub memory_bytes: u64,
}
