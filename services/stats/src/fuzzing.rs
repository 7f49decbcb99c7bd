//! Entry points of the fuzz targets (`fuzz/`), one per parser. Compiled with the feature `fuzzing` only.

use crate::alerts::Rules;
use crate::collect::{
    cgroup, cpu, disk, ecs_task, filesystem, load, memory, network, pressure, process, uptime,
    vmstat,
};
use crate::glob::Selection;

/// Parses `/proc/stat`.
pub fn cpu(text: &str) {
    let _ = cpu::parse(text);
}

/// Parses `/proc/diskstats`.
pub fn disk(text: &str) {
    let _ = disk::parse(text);
}

/// Parses `/proc/loadavg`.
pub fn load(text: &str) {
    let _ = load::parse(text);
}

/// Parses `/proc/meminfo` and `/proc/spl/kstat/zfs/arcstats`.
pub fn memory(text: &str) {
    let _ = memory::parse(text);
    let _ = memory::zfs_reclaimable(text);
}

/// Parses `/proc/PID/mountinfo` and selects the filesystems.
pub fn filesystem(text: &str) {
    if let Ok(mounts) = filesystem::parse(text.as_bytes()) {
        let _ = filesystem::with_storage(&mounts, &Selection::default(), |_| true);
    }
}

/// Parses `/proc/net/dev`.
pub fn network(text: &str) {
    let _ = network::parse(text);
}

/// Parses a file of `/proc/pressure`.
pub fn pressure(text: &str) {
    let _ = pressure::parse(text);
}

/// Parses `/proc/PID/stat`.
pub fn process(text: &str) {
    let _ = process::parse(text);
}

/// Parses `/proc/uptime`.
pub fn uptime(text: &str) {
    let _ = uptime::parse(text);
}

/// Parses `/proc/vmstat`.
pub fn vmstat(text: &str) {
    let _ = vmstat::oom_kills(text);
}

/// Parses the setting `STATS_ALERTS`.
pub fn alerts(text: &str) {
    let _ = Rules::parse(text);
}

/// Parses the response of `/task`.
pub fn task(json: &[u8]) {
    let _ = ecs_task::parse(json);
}

/// Parses the response of `/task/stats`.
pub fn task_stats(json: &[u8]) {
    let _ = ecs_task::parse_stats(json);
}

/// Locates control groups and parses their files. The part before an empty line is
/// `/proc/self/cgroup`, the part after it mountinfo. The whole text is also the content of every
/// file of a group.
pub fn cgroup(text: &str) {
    let (membership, mounts) = text.split_once("\n\n").unwrap_or((text, ""));
    if let Ok(mounts) = filesystem::parse(mounts.as_bytes()) {
        let _ = cgroup::controller_paths(membership, &mounts);
    }
    let _ = cgroup::number(text);
    let _ = cgroup::limit(text);
    let _ = cgroup::cpu_max(text);
    let _ = cgroup::cpu_stat(text);
    let _ = cgroup::cpuacct_stat(text);
    let _ = cgroup::memory_stat(text);
    let _ = cgroup::oom_kills(text);
    let _ = cgroup::processors(text);
}
