//! Control groups: `/proc/self/cgroup` (`cgroups(7)`) and the files of a group
//! (Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/).

use super::ParseError;
use super::filesystem::Mount;

/// What one look at the group's files gave. Limits are the tightest over the group and the groups
/// around it; counters are the group's own.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Container {
    /// 1 or 2.
    pub(crate) version: u8,
    /// Processors it may use (quota over period).
    pub(crate) cpu_limit_cores: Option<f64>,
    /// Processors it may run on (`cpuset`), where fewer than the host has online.
    pub(crate) cpuset_cores: Option<u32>,
    /// Processor time used in the group that has that limit, microseconds.
    pub(crate) cpu_us_in_limit: InLimit,
    /// Processor time used, microseconds.
    pub(crate) cpu_us: Option<u64>,
    /// The part of it in programs, microseconds.
    pub(crate) cpu_user_us: Option<u64>,
    /// The part of it in the kernel, microseconds.
    pub(crate) cpu_system_us: Option<u64>,
    /// Periods of the limit that went by with work to do.
    pub(crate) periods: Option<u64>,
    /// Periods of them in which it was held up.
    pub(crate) throttled_periods: Option<u64>,
    /// Time for which it was held up, microseconds.
    pub(crate) throttled_us: Option<u64>,
    /// Memory it may use, bytes.
    pub(crate) memory_limit_bytes: Option<u64>,
    /// Memory in use in the group that has that limit, without what would be given back first, bytes.
    pub(crate) memory_bytes_in_limit: InLimit,
    /// Memory as the kernel charges it, file cache included, bytes.
    pub(crate) memory_usage_bytes: Option<u64>,
    /// The part of it that would be given back first (`inactive_file`), bytes.
    pub(crate) memory_inactive_file_bytes: Option<u64>,
    /// File cache, bytes.
    pub(crate) memory_cache_bytes: Option<u64>,
    /// Anonymous memory, bytes.
    pub(crate) memory_rss_bytes: Option<u64>,
    /// Swap in use, bytes.
    pub(crate) swap_bytes: Option<u64>,
    /// Processes killed for want of memory.
    pub(crate) oom_kills: Option<u64>,
    /// Processes and threads in it.
    pub(crate) pids: Option<u64>,
    /// Processes and threads it may have.
    pub(crate) pids_limit: Option<u64>,
    /// Processes and threads in the group that has that limit.
    pub(crate) pids_in_limit: InLimit,
}

/// The use of the group whose limit is the tightest: only that can be compared with it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum InLimit {
    /// It is the process's own group, or there is no limit.
    #[default]
    Own,
    /// It is a group around it, with this use, where that can be read.
    Around(Option<u64>),
}

impl InLimit {
    /// The use to be compared with the limit, where `own` is that of the process's own group.
    pub(crate) fn or_own(self, own: Option<u64>) -> Option<u64> {
        match self {
            Self::Own => own,
            Self::Around(used) => used,
        }
    }
}

/// Where the files of the process's groups are; none where there are none to be seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Places {
    pub(crate) cpu: Option<Place>,
    /// Version 1 only: in version 2 `cpu` tells it.
    pub(crate) cpuacct: Option<Place>,
    pub(crate) memory: Option<Place>,
    pub(crate) pids: Option<Place>,
    pub(crate) cpuset: Option<Place>,
}

/// Where the files of one resource are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) version: Version,
    /// The process's own group, then the groups around it up to the mount point; never empty.
    pub(crate) folders: Vec<String>,
}

/// Which interface a hierarchy of groups has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

/// The processor time of `cpu.stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct CpuStat {
    pub(crate) usage_us: Option<u64>,
    pub(crate) user_us: Option<u64>,
    pub(crate) system_us: Option<u64>,
    pub(crate) periods: Option<u64>,
    pub(crate) throttled_periods: Option<u64>,
    pub(crate) throttled_us: Option<u64>,
}

/// The parts of `memory.stat`, the groups inside the group included.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[expect(clippy::struct_field_names, reason = "the unit is in the name")]
pub(crate) struct MemoryStat {
    pub(crate) inactive_file_bytes: Option<u64>,
    pub(crate) cache_bytes: Option<u64>,
    pub(crate) rss_bytes: Option<u64>,
    /// Version 1 only.
    pub(crate) swap_bytes: Option<u64>,
    /// Version 1 only: the tightest limit, of groups that cannot be seen too.
    pub(crate) limit_bytes: Option<u64>,
}

/// What no machine has (4 EiB): a limit as high is none.
const UNREACHABLE: u64 = 1 << 62;

/// The most groups around one another that are looked at; the kernel's paths allow 2000.
const DEPTH: usize = 64;

/// Where the groups of `/proc/self/cgroup` are in the mounts.
///
/// A controller is bound to one hierarchy at a time: where a line of version 1 names it, it is
/// read there and nowhere else, which decides in hybrid setups too.
pub(crate) fn places(membership: &str, mounts: &[Mount]) -> Places {
    let place = |controller| place(controller, membership, mounts);
    Places {
        cpu: place("cpu"),
        cpuacct: place("cpuacct").filter(|place| place.version == Version::One),
        memory: place("memory"),
        pids: place("pids"),
        cpuset: place("cpuset"),
    }
}

fn place(controller: &str, membership: &str, mounts: &[Mount]) -> Option<Place> {
    let names = |list: &str| list.split(',').any(|name| name == controller);
    let group_of = |wanted: &dyn Fn(&str) -> bool| {
        membership.lines().find_map(|line| {
            // Paths may hold colons.
            let (_, controllers_and_path) = line.split_once(':')?;
            let (controllers, path) = controllers_and_path.split_once(':')?;
            wanted(controllers).then_some(path)
        })
    };
    let (version, group) = match group_of(&names) {
        Some(group) => (Version::One, group),
        None => (Version::Two, group_of(&str::is_empty)?),
    };
    let (mount, inside) = mounts
        .iter()
        // Of mounts at one point the last hides the others.
        .rev()
        .filter(|mount| match version {
            Version::One => mount.kind == "cgroup" && names(&mount.options),
            Version::Two => mount.kind == "cgroup2",
        })
        .filter_map(|mount| Some((mount, inside(&mount.root, group)?)))
        // The one that shows most of the groups around.
        .min_by_key(|(mount, _)| mount.root.len())?;
    Some(Place { version, folders: folders(&mount.point, inside) })
}

/// The path of a group below the folder of the hierarchy that is mounted; none when it is not in
/// there: a group outside of the process's namespace starts with `/..`, as its mount may.
fn inside<'a>(mount_root: &str, group: &'a str) -> Option<&'a str> {
    let path = group.strip_prefix(mount_root.trim_end_matches('/'))?;
    let outside = path.split('/').any(|part| part == "..");
    (!outside && (path.is_empty() || path.starts_with('/'))).then_some(path)
}

fn folders(mount: &str, inside: &str) -> Vec<String> {
    let mut folder = mount.trim_end_matches('/').to_owned();
    let parts: Vec<&str> = inside.split('/').filter(|part| !part.is_empty()).collect();
    let outermost = (parts.len() + 1).saturating_sub(DEPTH);
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

/// Parses a file of one number, such as `memory.current` and `cpuacct.usage`.
pub(crate) fn number(text: &str) -> Result<u64, ParseError> {
    let text = text.trim();
    text.parse().map_err(|_| ParseError::Odd(format!("{} is not a number", shortened(text))))
}

/// Parses a file of one limit; none is no limit.
///
/// That is `max` in version 2 and -1 for `cpu.cfs_quota_us`. `memory.limit_in_bytes` then has the
/// largest whole number of pages, 9223372036854771712 where they have 4 KiB: whatever the size of
/// pages, what no machine has is no limit.
pub(crate) fn limit(text: &str) -> Result<Option<u64>, ParseError> {
    let text = text.trim();
    if text == "max" || text.parse().is_ok_and(|value: i64| value < 0) {
        return Ok(None);
    }
    Ok(Some(number(text)?).filter(|&value| value < UNREACHABLE))
}

/// Parses `cpu.max`: the processors that a group may use.
pub(crate) fn cpu_max(text: &str) -> Result<Option<f64>, ParseError> {
    let (quota, period) = text.trim().split_once(' ').ok_or(ParseError::Missing("period"))?;
    Ok(cores(limit(quota)?, number(period)?))
}

/// The processors that a quota gives, of `cpu.cfs_quota_us` and `cpu.cfs_period_us`.
pub(crate) fn cores(quota_us: Option<u64>, period_us: u64) -> Option<f64> {
    let quota_us = quota_us.filter(|_| period_us > 0)?;
    Some(quota_us as f64 / period_us as f64)
}

/// Parses `cpu.stat` of either version. Version 2 without the controller has times only.
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

/// Parses `cpuacct.stat` of version 1: time in programs and in the kernel, microseconds.
pub(crate) fn cpuacct_stat(text: &str) -> [Option<u64>; 2] {
    const TICK_US: u64 = 10_000;
    fields(text, ["user", "system"]).map(|ticks| ticks.map(|ticks| ticks.saturating_mul(TICK_US)))
}

/// Parses `memory.stat` of either version.
pub(crate) fn memory_stat(text: &str) -> MemoryStat {
    // The group's own part of version 1 leaves out the groups inside it, which its use includes.
    let [inactive_file, cache, rss, swap] =
        fields(text, ["total_inactive_file", "total_cache", "total_rss", "total_swap"]);
    let [own_inactive_file, own_cache, own_rss, own_swap, file, anonymous, limit_bytes] = fields(
        text,
        ["inactive_file", "cache", "rss", "swap", "file", "anon", "hierarchical_memory_limit"],
    );
    MemoryStat {
        inactive_file_bytes: inactive_file.or(own_inactive_file),
        cache_bytes: cache.or(own_cache).or(file),
        rss_bytes: rss.or(own_rss).or(anonymous),
        swap_bytes: swap.or(own_swap),
        limit_bytes: limit_bytes.filter(|&bytes| bytes < UNREACHABLE),
    }
}

/// Parses `memory.events` of version 2 and `memory.oom_control` of version 1: the processes that
/// were killed, where the kernel counts them (4.13).
pub(crate) fn oom_kills(text: &str) -> Option<u64> {
    let [kills] = fields(text, ["oom_kill"]);
    kills
}

/// Parses a list of processors, such as `0-3,7` of `cpuset.cpus.effective`: how many they are.
pub(crate) fn processors(text: &str) -> Result<u32, ParseError> {
    let mut count: u32 = 0;
    for range in text.trim().split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let odd = || ParseError::Odd(format!("{} is not a range", shortened(range)));
        let first: u32 = first.parse().map_err(|_| odd())?;
        let last: u32 = last.parse().map_err(|_| odd())?;
        let more = last.checked_sub(first).ok_or_else(odd)?.saturating_add(1);
        count = count.saturating_add(more);
    }
    Ok(count)
}

/// The values of lines `name value`, in the order of the names.
fn fields<const COUNT: usize>(text: &str, names: [&str; COUNT]) -> [Option<u64>; COUNT] {
    let mut values = [None; COUNT];
    for line in text.lines() {
        let Some((name, value)) = line.split_once(' ') else { continue };
        if let Some(index) = names.iter().position(|&wanted| wanted == name) {
            values[index] = value.trim().parse().ok();
        }
    }
    values
}

/// What an error shows of an odd text.
fn shortened(text: &str) -> String {
    text.chars().take(32).collect()
}

#[cfg(test)]
mod tests;
