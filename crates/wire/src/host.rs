//! Metrics of the host from `/proc`, independent of the limits of the service.

use serde::{Deserialize, Serialize};

/// The host's processors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Processors {
    /// Processors that were online when the sample was taken.
    pub online: u32,
    /// Where the time of all processors went; absent when no tick went by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<Shares>,
    /// Where the time of each went, by number; a processor that came online during the interval
    /// has its first figures in the next sample.
    pub cores: Vec<Core>,
}

/// One processor's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Core {
    /// The kernel's number of it; numbers have gaps where processors are offline.
    pub id: u32,
    /// Where its time went.
    #[serde(flatten)]
    pub shares: Shares,
}

/// Where processor time went, percent of the interval, 0 to 100 (`/proc/stat`, `proc(5)`).
///
/// `busy` is the sum of `user`, `nice`, `system`, `irq` and `steal`; with `iowait` and `idle` the
/// whole is 100. Guest time is inside `user` and `nice`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shares {
    /// Everything but `iowait` and `idle`.
    pub busy: f64,
    /// Programs of ordinary priority.
    pub user: f64,
    /// Programs of low priority.
    pub nice: f64,
    /// The kernel on behalf of programs.
    pub system: f64,
    /// Interrupts, hard and soft.
    pub irq: f64,
    /// Time that the hypervisor gave to others.
    pub steal: f64,
    /// Idle while a disk request was pending.
    pub iowait: f64,
    /// Idle for no such reason.
    pub idle: f64,
}

/// The host's memory, bytes (`/proc/meminfo`, `proc(5)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// `MemTotal`.
    pub total_bytes: u64,
    /// `MemAvailable`: what programs could still get without swapping.
    pub available_bytes: u64,
    /// `total_bytes - available_bytes`.
    pub used_bytes: u64,
    /// `MemFree`: used for nothing at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// `Buffers`: cached blocks of devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffers_bytes: Option<u64>,
    /// `Cached`: cached contents of files, shared memory included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_bytes: Option<u64>,
    /// `SReclaimable`: what the kernel's own caches would give back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slab_reclaimable_bytes: Option<u64>,
    /// `SwapTotal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_total_bytes: Option<u64>,
    /// `SwapTotal - SwapFree`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_used_bytes: Option<u64>,
}

/// Pressure stall information (`/proc/pressure`, Documentation/accounting/psi.rst): how long work
/// waited for a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pressure {
    /// Waiting for a processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Stalls>,
    /// Waiting for memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Stalls>,
    /// Waiting for disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io: Option<Stalls>,
}

/// The pressure on one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stalls {
    /// At least one task waited.
    pub some: Stall,
    /// All tasks waited at once; older kernels do not report it for processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full: Option<Stall>,
}

/// Share of time that was lost to waiting, percent, over three windows.
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

/// One disk (`/proc/diskstats`, Documentation/admin-guide/iostats.rst); partitions, loop devices
/// and memory disks are left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Disk {
    /// The kernel's name of it.
    pub name: String,
    /// Whether it is made of other disks of the list: sums leave it out. Absent when not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stacked: bool,
    /// Bytes read per second.
    pub read_bytes_per_second: f64,
    /// Bytes written per second.
    pub write_bytes_per_second: f64,
    /// Read requests completed per second.
    pub reads_per_second: f64,
    /// Write requests completed per second.
    pub writes_per_second: f64,
    /// Share of the interval with at least one request under way, percent, 0 to 100.
    pub utilisation: f64,
}

/// One network interface of the service's network namespace (`/proc/net/dev`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// The interface's name.
    pub name: String,
    /// Whether what it carries goes through another interface of the list as well (bridges,
    /// tunnels, the ends of containers): sums leave it out. Absent when not.
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
    /// Faulty packets per second.
    pub errors_per_second: f64,
    /// Dropped packets per second.
    pub drops_per_second: f64,
}

/// One mounted filesystem with storage behind it (`statvfs(3)`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filesystem {
    /// Where it is mounted.
    pub mount: String,
    /// Its type, such as `ext4`.
    pub kind: String,
    /// The mounted device, only when the service is configured to expose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Its size, bytes.
    pub total_bytes: u64,
    /// Bytes available to programs without privileges.
    pub available_bytes: u64,
    /// Bytes in use; with `available_bytes` less than the size where some is reserved.
    pub used_bytes: u64,
}

/// The host's processes (`/proc/stat`, `/proc/loadavg`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Processes {
    /// Threads that run or could run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<u64>,
    /// Threads that wait for a disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<u64>,
    /// Processes and threads that exist: the kernel's scheduling entities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Context switches per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_switches_per_second: Option<f64>,
    /// Processes and threads made, per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forks_per_second: Option<f64>,
}

/// The processes that use most, each list in falling order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Top {
    /// By processor time.
    pub by_cpu: Vec<Process>,
    /// By resident memory.
    pub by_memory: Vec<Process>,
}

/// One process (`/proc/PID/stat`). Never its arguments nor its environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Its number, in the service's process namespace.
    pub pid: u32,
    /// The file name of its program, cut to 15 bytes by the kernel.
    pub name: String,
    /// Processors it kept busy since the scan before; 1 is one whole processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_cores: Option<f64>,
    /// Resident memory, bytes.
    pub memory_bytes: u64,
}
