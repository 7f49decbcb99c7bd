//! Entry points of the fuzz targets (`fuzz/`), one per parser. Compiled with the feature `fuzzing`,
//! and for the property tests.

use crate::alerts::Rules;
use crate::collect::{
    cgroup, cpu, disk, ecs_task, filesystem, load, memory, network, pressure, process, uptime,
    vmstat,
};
use crate::glob::Selection;

macro_rules! targets {
    ($all:ident($input:ty): $($name:ident, $source:literal: $($parse:path),+;)+) => {
        $(
            #[doc = concat!("Parses ", $source, ".")]
            pub fn $name(input: &$input) {
                $(let _ = $parse(input);)+
            }
        )+

        /// Runs all of these parsers.
        pub fn $all(input: &$input) {
            $($name(input);)+
        }
    };
}

targets! {
    texts(str):
    cpu, "`/proc/stat`": cpu::parse;
    disk, "`/proc/diskstats`": disk::parse;
    load, "`/proc/loadavg`": load::parse;
    memory, "`/proc/meminfo` and the statistics of ZFS": memory::parse, memory::zfs_reclaimable;
    network, "`/proc/net/dev`": network::parse;
    pressure, "a file of `/proc/pressure`": pressure::parse;
    process, "`/proc/PID/stat`": process::parse;
    uptime, "`/proc/uptime`": uptime::parse;
    vmstat, "`/proc/vmstat`": vmstat::oom_kills;
    alerts, "the setting `STATS_ALERTS`": Rules::parse;
    group, "every file of a control group":
        cgroup::number, cgroup::limit, cgroup::cpu_max, cgroup::cpu_stat, cgroup::cpuacct_stat,
        cgroup::memory_stat, cgroup::oom_kills, cgroup::processors;
}

targets! {
    responses([u8]):
    task, "the response of `/task`": ecs_task::parse;
    task_stats, "the response of `/task/stats`": ecs_task::parse_stats;
}

/// Parses `/proc/PID/mountinfo` and selects the filesystems.
pub fn filesystem(text: &str) {
    if let Ok(mounts) = filesystem::parse(text.as_bytes()) {
        let _ = filesystem::with_storage(&mounts, &Selection::default(), |_| true);
    }
}

/// Locates control groups and parses their files. The part before an empty line is
/// `/proc/self/cgroup`, the part after it mountinfo. The whole text is also the content of every
/// file of a group.
pub fn cgroup(text: &str) {
    let (membership, mounts) = text.split_once("\n\n").unwrap_or((text, ""));
    if let Ok(mounts) = filesystem::parse(mounts.as_bytes()) {
        for controller in ["cpu", "cpuacct"] {
            let _ = cgroup::controller_path(controller, membership, &mounts);
        }
    }
    group(text);
}
