//! Control groups: `/proc/self/cgroup` (`cgroups(7)`) and the files of a group
//! (Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/).

use super::ParseError;
use super::filesystem::Mount;

/// Values of one reading of the group's files. Limits are the tightest ones of the group and its
/// ancestors; counters are the group's own, except those of the CPU limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Container {
    /// cgroup version, 1 or 2.
    pub(crate) version: u8,
    /// Groups that the counters belong to: the number of their layout, and the index of the group
    /// that has the CPU limit. Counters of different groups cannot be compared.
    pub(crate) groups: (u32, usize),
    /// CPU limit in processors (quota divided by period).
    pub(crate) cpu_limit_cores: Option<f64>,
    /// Number of allowed processors (`cpuset`), if fewer than the host has online.
    pub(crate) cpuset_cores: Option<u32>,
    /// CPU time of the group that has the CPU limit, microseconds.
    pub(crate) cpu_us_in_limit: UsageInLimit,
    /// CPU time, microseconds.
    pub(crate) cpu_us: Option<u64>,
    /// User part of the CPU time, microseconds.
    pub(crate) cpu_user_us: Option<u64>,
    /// System part of the CPU time, microseconds.
    pub(crate) cpu_system_us: Option<u64>,
    /// Enforcement periods with runnable tasks, of the group that has the CPU limit.
    pub(crate) periods: Option<u64>,
    /// Throttled periods of that group.
    pub(crate) throttled_periods: Option<u64>,
    /// Throttled time of that group, microseconds.
    pub(crate) throttled_us: Option<u64>,
    /// Memory limit, bytes.
    pub(crate) memory_limit_bytes: Option<u64>,
    /// Memory use of the group that has the memory limit, without what is reclaimable, bytes.
    pub(crate) memory_bytes_in_limit: UsageInLimit,
    /// Memory charged by the kernel, including page cache, bytes.
    pub(crate) memory_usage_bytes: Option<u64>,
    /// Page cache that the kernel reclaims first (`inactive_file`), bytes.
    pub(crate) memory_inactive_file_bytes: Option<u64>,
    /// All page cache of files and other cache that the kernel can reclaim, bytes.
    pub(crate) memory_reclaimable_bytes: Option<u64>,
    /// Page cache, bytes.
    pub(crate) memory_cache_bytes: Option<u64>,
    /// Anonymous memory, bytes.
    pub(crate) memory_rss_bytes: Option<u64>,
    /// Swap in use, bytes.
    pub(crate) swap_bytes: Option<u64>,
    /// Processes killed by the OOM killer.
    pub(crate) oom_kills: Option<u64>,
    /// Number of processes and threads.
    pub(crate) pids: Option<u64>,
    /// Limit of processes and threads.
    pub(crate) pids_limit: Option<u64>,
    /// Number of processes and threads in the group that has the limit.
    pub(crate) pids_in_limit: UsageInLimit,
}

impl Container {
    /// Memory use of the group itself, without cache that the kernel can reclaim, bytes.
    pub(crate) fn memory_used_bytes(&self) -> Option<u64> {
        let cache = self.memory_reclaimable_bytes;
        memory_used(self.memory_usage_bytes, cache, self.memory_rss_bytes)
    }

    /// Memory use as in cAdvisor: without the cache that the kernel reclaims first, bytes.
    pub(crate) fn working_set_bytes(&self) -> Option<u64> {
        let cache = self.memory_inactive_file_bytes;
        memory_used(self.memory_usage_bytes, cache, self.memory_rss_bytes)
    }
}

/// Memory use without cache that the kernel can reclaim. The kernel does not update both
/// together; in a small group, the cache can exceed the use, and anonymous memory remains.
pub(crate) fn memory_used(
    usage: Option<u64>,
    cache: Option<u64>,
    anonymous: Option<u64>,
) -> Option<u64> {
    usage?.checked_sub(cache.unwrap_or_default()).or(anonymous)
}

/// Use of the group that has the tightest limit; only this use is comparable with the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum UsageInLimit {
    /// The process's own group has the limit, or there is no limit.
    #[default]
    Own,
    /// An ancestor has the limit; contains its use, if readable.
    Ancestor(Option<u64>),
}

impl UsageInLimit {
    /// Use to compare with the limit; `own` is the use of the process's own group.
    pub(crate) fn or_own(self, own: Option<u64>) -> Option<u64> {
        match self {
            Self::Own => own,
            Self::Ancestor(used) => used,
        }
    }
}

/// Folders of one controller.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ControllerPath {
    pub(crate) version: Version,
    /// The process's own group, then its ancestors up to the mount point; never empty.
    pub(crate) folders: Vec<String>,
}

/// cgroup version of a hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// Counters in `cpu.stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct CpuStat {
    pub(crate) usage_us: Option<u64>,
    pub(crate) user_us: Option<u64>,
    pub(crate) system_us: Option<u64>,
    pub(crate) periods: Option<u64>,
    pub(crate) throttled_periods: Option<u64>,
    pub(crate) throttled_us: Option<u64>,
}

/// Fields of `memory.stat`, including descendant groups.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[expect(clippy::struct_field_names, reason = "the unit is in the name")]
pub(crate) struct MemoryStat {
    pub(crate) inactive_file_bytes: Option<u64>,
    /// Page cache of files, and objects of the kernel such as names of files. Shared memory is in
    /// `cache_bytes` only.
    pub(crate) reclaimable_bytes: Option<u64>,
    pub(crate) cache_bytes: Option<u64>,
    pub(crate) rss_bytes: Option<u64>,
    /// Version 1 only.
    pub(crate) swap_bytes: Option<u64>,
    /// Version 1 only: the tightest limit, including ancestors that are not visible.
    pub(crate) limit_bytes: Option<u64>,
}

/// Limits from 4 EiB mean that there is no limit, because no machine has as much.
pub(super) const UNLIMITED: u64 = 1 << 62;

/// Maximum number of ancestors that are read; the kernel's path lengths allow 2000.
const MAX_ANCESTORS: usize = 64;

/// Locates the groups of a controller in the mounts, from the text of `/proc/self/cgroup`; `None` if
/// no group is visible.
///
/// A controller belongs to one hierarchy at a time. If a version 1 line lists it, it is read only
/// there, also in hybrid setups.
pub(crate) fn controller_path(
    controller: &str,
    membership: &str,
    mounts: &[Mount],
) -> Option<ControllerPath> {
    let names = |list: &str| list.split(',').any(|name| name == controller);
    let group_of = |matches: &dyn Fn(&str) -> bool| {
        membership.lines().find_map(|line| {
            // Paths may contain colons.
            let (_, controllers_and_path) = line.split_once(':')?;
            let (controllers, path) = controllers_and_path.split_once(':')?;
            matches(controllers).then_some(path)
        })
    };
    let (version, group) = match group_of(&names) {
        Some(group) => (Version::V1, group),
        None => (Version::V2, group_of(&str::is_empty)?),
    };
    let (mount, inside) = mounts
        .iter()
        // A later mount at the same point hides the earlier ones.
        .rev()
        .filter(|mount| match version {
            Version::V1 => mount.kind == "cgroup" && names(&mount.options),
            Version::V2 => mount.kind == "cgroup2",
        })
        .filter_map(|mount| Some((mount, inside(&mount.root, group)?)))
        // Selects the mount that shows the most ancestors.
        .min_by_key(|(mount, _)| mount.root.len())?;
    Some(ControllerPath { version, folders: folders(&mount.point, inside) })
}

/// Path of a group relative to the mounted folder of the hierarchy; `None` if it is not below that
/// folder. The path of a group outside of the cgroup namespace begins with `/..`, and so can the
/// root of its mount.
fn inside<'a>(mount_root: &str, group: &'a str) -> Option<&'a str> {
    let path = group.strip_prefix(mount_root.trim_end_matches('/'))?;
    let outside = path.split('/').any(|part| part == "..");
    (!outside && (path.is_empty() || path.starts_with('/'))).then_some(path)
}

fn folders(mount: &str, inside: &str) -> Vec<String> {
    let mut folder = mount.trim_end_matches('/').to_owned();
    let parts: Vec<&str> = inside.split('/').filter(|part| !part.is_empty()).collect();
    let outermost = (parts.len() + 1).saturating_sub(MAX_ANCESTORS);
    let mut folders = Vec::with_capacity(parts.len() + 1 - outermost);
    for (depth, part) in parts.into_iter().enumerate() {
        if depth >= outermost {
            folders.push(folder.clone());
        }
        folder.push('/');
        folder.push_str(part);
    }
    folders.push(folder);
    folders.reverse();
    folders
}

/// Parses a file with one number, such as `memory.current` or `cpuacct.usage`.
pub(crate) fn number(text: &str) -> Result<u64, ParseError> {
    let text = text.trim();
    text.parse().map_err(|_| ParseError::Invalid(format!("{} is not a number", shortened(text))))
}

/// Parses a file with one limit; `None` is unlimited.
///
/// Unlimited is `max` in version 2, and -1 in `cpu.cfs_quota_us`. In `memory.limit_in_bytes` it is
/// the largest multiple of the page size, 9223372036854771712 for pages of 4 KiB. A limit that no
/// machine can reach is treated as unlimited for every page size.
pub(crate) fn limit(text: &str) -> Result<Option<u64>, ParseError> {
    let text = text.trim();
    if text == "max" || text.parse().is_ok_and(|value: i64| value < 0) {
        return Ok(None);
    }
    Ok(Some(number(text)?).filter(|&value| value < UNLIMITED))
}

/// Parses `cpu.max`: the CPU limit in processors.
pub(crate) fn cpu_max(text: &str) -> Result<Option<f64>, ParseError> {
    let (quota, period) = text.trim().split_once(' ').ok_or(ParseError::Missing("period"))?;
    Ok(cores(limit(quota)?, number(period)?))
}

/// CPU limit in processors, from `cpu.cfs_quota_us` and `cpu.cfs_period_us`.
pub(crate) fn cores(quota_us: Option<u64>, period_us: u64) -> Option<f64> {
    let quota_us = quota_us.filter(|_| period_us > 0)?;
    Some(quota_us as f64 / period_us as f64)
}

/// Parses `cpu.stat` of either version. Version 2 without the controller has only CPU times.
pub(crate) fn cpu_stat(text: &str) -> CpuStat {
    let [usage_us, user_us, system_us, periods, throttled_periods, throttled_us, nanoseconds] =
        fields(
            text,
            [
                "usage_usec",
                "user_usec",
                "system_usec",
                "nr_periods",
                "nr_throttled",
                "throttled_usec",
                "throttled_time",
            ],
        );
    let throttled_us = throttled_us.or(nanoseconds.map(|nanoseconds| nanoseconds / 1000));
    CpuStat { usage_us, user_us, system_us, periods, throttled_periods, throttled_us }
}

/// Parses `cpuacct.stat` of version 1: user and system time, microseconds.
pub(crate) fn cpuacct_stat(text: &str) -> [Option<u64>; 2] {
    const TICK_US: u64 = 10_000;
    fields(text, ["user", "system"]).map(|ticks| ticks.map(|ticks| ticks.saturating_mul(TICK_US)))
}

/// Parses `memory.stat` of either version.
pub(crate) fn memory_stat(text: &str) -> MemoryStat {
    // In version 1, only the `total_` fields include descendant groups, as the memory use does.
    let [inactive_file, active_file, cache, rss, swap] = fields(
        text,
        ["total_inactive_file", "total_active_file", "total_cache", "total_rss", "total_swap"],
    );
    let [own_inactive_file, own_active_file, own_cache, own_rss, own_swap] =
        fields(text, ["inactive_file", "active_file", "cache", "rss", "swap"]);
    let [file, anonymous, slab, limit_bytes] =
        fields(text, ["file", "anon", "slab_reclaimable", "hierarchical_memory_limit"]);
    let inactive_file_bytes = inactive_file.or(own_inactive_file);
    let reclaimable = [inactive_file_bytes, active_file.or(own_active_file), slab];
    MemoryStat {
        inactive_file_bytes,
        reclaimable_bytes: reclaimable.into_iter().flatten().reduce(u64::saturating_add),
        cache_bytes: cache.or(own_cache).or(file),
        rss_bytes: rss.or(own_rss).or(anonymous),
        swap_bytes: swap.or(own_swap),
        limit_bytes: limit_bytes.filter(|&bytes| bytes < UNLIMITED),
    }
}

/// Parses the number of OOM kills from `memory.events` of version 2 or `memory.oom_control` of
/// version 1. Kernels before 4.13 do not count them.
pub(crate) fn oom_kills(text: &str) -> Option<u64> {
    let [kills] = fields(text, ["oom_kill"]);
    kills
}

/// Parses a list of processors, such as `0-3,7` in `cpuset.cpus.effective`; returns their number.
pub(crate) fn processors(text: &str) -> Result<u32, ParseError> {
    let mut count: u32 = 0;
    for range in text.trim().split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let odd = || ParseError::Invalid(format!("{} is not a range", shortened(range)));
        let first: u32 = first.parse().map_err(|_| odd())?;
        let last: u32 = last.parse().map_err(|_| odd())?;
        let more = last.checked_sub(first).ok_or_else(odd)?.saturating_add(1);
        count = count.saturating_add(more);
    }
    Ok(count)
}

/// Values of lines `name value`, in the order of the names.
fn fields<const COUNT: usize>(text: &str, names: [&str; COUNT]) -> [Option<u64>; COUNT] {
    let mut values = [None; COUNT];
    fill(text, &names, &mut values);
    values
}

/// Sets the values of the names. It is not generic, so the binary contains it once.
fn fill(text: &str, names: &[&str], values: &mut [Option<u64>]) {
    for line in text.lines() {
        let Some((name, value)) = line.split_once(' ') else { continue };
        let mut slots = names.iter().zip(&mut *values);
        if let Some((_, slot)) = slots.find(|(known, _)| **known == name) {
            *slot = value.trim().parse().ok();
        }
    }
}

/// Start of an invalid text, for an error.
fn shortened(text: &str) -> String {
    text.chars().take(32).collect()
}

#[cfg(test)]
mod tests;
