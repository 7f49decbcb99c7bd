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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mount(kind: &str, root: &str, point: &str, options: &str) -> Mount {
        let [kind, root, point, options] = [kind, root, point, options].map(str::to_owned);
        Mount { root, point, kind, options, ..Mount::default() }
    }

    /// None without folders.
    fn at(version: Version, folders: &[&str]) -> Option<Place> {
        let folders: Vec<String> = folders.iter().map(|&folder| folder.to_owned()).collect();
        (!folders.is_empty()).then_some(Place { version, folders })
    }

    #[test]
    fn a_container_of_version_one_sees_its_group_at_the_mount_point() {
        let membership = "4:memory:/docker/5ed8\n1:cpu,cpuacct:/docker/5ed8\n0::/docker/5ed8\n";
        let mounts = [
            mount("tmpfs", "/", "/sys/fs/cgroup", "rw,mode=755"),
            mount("cgroup", "/docker/5ed8", "/sys/fs/cgroup/cpu,cpuacct", "rw,cpu,cpuacct"),
            mount("cgroup", "/docker/5ed8", "/sys/fs/cgroup/memory", "rw,memory"),
        ];
        let places = places(membership, &mounts);
        assert_eq!(places.cpu, at(Version::One, &["/sys/fs/cgroup/cpu,cpuacct"]));
        assert_eq!(places.cpuacct, places.cpu);
        assert_eq!(places.memory, at(Version::One, &["/sys/fs/cgroup/memory"]));
        // No line of version 1 names it, and version 2 is not mounted.
        assert_eq!(places.pids, None);
    }

    #[test]
    fn a_group_inside_the_container_comes_before_the_container() {
        let mounts = [mount("cgroup", "/docker/5ed8", "/sys/fs/cgroup/memory", "rw,memory")];
        let places = places("4:memory:/docker/5ed8/a/b\n", &mounts);
        let folders =
            ["/sys/fs/cgroup/memory/a/b", "/sys/fs/cgroup/memory/a", "/sys/fs/cgroup/memory"];
        assert_eq!(places.memory, at(Version::One, &folders));
    }

    #[test]
    fn a_namespace_of_version_two_shows_its_root_at_the_mount_point() {
        let places = places("0::/\n", &[mount("cgroup2", "/", "/sys/fs/cgroup", "rw")]);
        assert_eq!(places.cpu, at(Version::Two, &["/sys/fs/cgroup"]));
        assert_eq!(places.cpuacct, None);
        assert_eq!([places.memory, places.pids], [places.cpu.clone(), places.cpu.clone()]);
        assert_eq!(places.cpuset, places.cpu);
    }

    #[test]
    fn a_service_of_systemd_is_inside_its_slices() {
        let membership = "0::/system.slice/stats.service\n";
        let places = places(membership, &[mount("cgroup2", "/", "/sys/fs/cgroup", "rw")]);
        let folders = [
            "/sys/fs/cgroup/system.slice/stats.service",
            "/sys/fs/cgroup/system.slice",
            "/sys/fs/cgroup",
        ];
        assert_eq!(places.memory, at(Version::Two, &folders));
    }

    #[test]
    fn a_hybrid_host_is_read_where_each_controller_is_bound() {
        let membership = "4:memory:/app\n1:name=systemd:/app\n0::/app\n";
        let mounts = [
            mount("cgroup", "/", "/sys/fs/cgroup/systemd", "rw,name=systemd"),
            mount("cgroup", "/", "/sys/fs/cgroup/memory", "rw,memory"),
            mount("cgroup2", "/", "/sys/fs/cgroup/unified", "rw"),
        ];
        let places = places(membership, &mounts);
        let memory = ["/sys/fs/cgroup/memory/app", "/sys/fs/cgroup/memory"];
        assert_eq!(places.memory, at(Version::One, &memory));
        let rest = ["/sys/fs/cgroup/unified/app", "/sys/fs/cgroup/unified"];
        assert_eq!(places.cpu, at(Version::Two, &rest));
    }

    #[test]
    fn a_group_outside_of_the_namespace_or_the_mount_has_no_place() {
        let mounts = |root| [mount("cgroup2", root, "/sys/fs/cgroup", "rw")];
        assert_eq!(places("0::/../..\n", &mounts("/")).cpu, None);
        assert_eq!(places("0::/../other\n", &mounts("/")).cpu, None);
        assert_eq!(places("0::/dock\n", &mounts("/do")).cpu, None);
        assert_eq!(places("0::/\n", &mounts("/docker/5ed8")).cpu, None);
        // The mount and the group were made outside, and the mount shows the group.
        let seen = places("0::/../other\n", &mounts("/..")).cpu;
        assert_eq!(seen, at(Version::Two, &["/sys/fs/cgroup/other", "/sys/fs/cgroup"]));
    }

    #[test]
    fn of_several_mounts_the_one_that_shows_most_groups_counts() {
        let mounts = [
            mount("cgroup2", "/docker/5ed8", "/sys/fs/cgroup", "rw"),
            mount("cgroup2", "/", "/host/cgroup", "rw"),
        ];
        let places = places("0::/docker/5ed8\n", &mounts);
        let folders = ["/host/cgroup/docker/5ed8", "/host/cgroup/docker", "/host/cgroup"];
        assert_eq!(places.cpu, at(Version::Two, &folders));
    }

    #[test]
    fn a_path_may_hold_colons_and_be_as_deep_as_it_likes() {
        let mounts = [mount("cgroup2", "/", "/sys/fs/cgroup", "rw")];
        let places_of = |path: &str| places(&format!("0::{path}\n"), &mounts).cpu.unwrap().folders;
        assert_eq!(places_of("/a:b")[0], "/sys/fs/cgroup/a:b");
        let folders = places_of(&"/a".repeat(2000));
        assert_eq!(folders.len(), DEPTH);
        assert_eq!(folders[0], format!("/sys/fs/cgroup{}", "/a".repeat(2000)));
        assert_eq!(places_of(&"/a".repeat(DEPTH - 1)).last().unwrap(), "/sys/fs/cgroup");
    }

    #[test]
    fn a_quota_over_a_period_is_a_number_of_processors() {
        assert_eq!(cpu_max("max 100000\n"), Ok(None));
        assert_eq!(cpu_max("50000 100000\n"), Ok(Some(0.5)));
        assert_eq!(cpu_max("250000 100000"), Ok(Some(2.5)));
        assert_eq!(cpu_max("50000 0"), Ok(None));
        assert!(cpu_max("").is_err() && cpu_max("max").is_err() && cpu_max("x 1").is_err());
        assert_eq!(limit("-1\n").map(|quota| cores(quota, 100_000)), Ok(None));
        assert_eq!(limit("150000\n").map(|quota| cores(quota, 100_000)), Ok(Some(1.5)));
    }

    #[test]
    fn the_largest_limit_is_none_whatever_the_size_of_pages() {
        for page_bytes in [1_u64, 4096, 16 << 10, 64 << 10, 256 << 10] {
            let largest = (u64::MAX / 2) / page_bytes * page_bytes;
            assert_eq!(limit(&format!("{largest}\n")), Ok(None), "{page_bytes}");
        }
        assert_eq!(limit("9223372036854771712\n"), Ok(None));
        assert_eq!(limit("18446744073709551615\n"), Ok(None));
        assert_eq!(limit("max\n"), Ok(None));
        assert_eq!(limit("67108864\n"), Ok(Some(64 << 20)));
        assert_eq!(limit("0\n"), Ok(Some(0)));
        assert!(limit("").is_err() && limit("64M").is_err() && limit("1e9").is_err());
    }

    #[test]
    fn both_versions_of_cpu_stat_give_microseconds() {
        let two = "usage_usec 5000\nuser_usec 3000\nsystem_usec 2000\nnr_periods 10\n\
                   nr_throttled 4\nthrottled_usec 700\nnr_bursts 0\nburst_usec 0\n";
        let expected = CpuStat {
            usage_us: Some(5000),
            user_us: Some(3000),
            system_us: Some(2000),
            periods: Some(10),
            throttled_periods: Some(4),
            throttled_us: Some(700),
        };
        assert_eq!(cpu_stat(two), expected);
        let one = "nr_periods 10\nnr_throttled 4\nthrottled_time 700999\n";
        let expected = CpuStat { usage_us: None, system_us: None, user_us: None, ..expected };
        assert_eq!(cpu_stat(one), expected);
        assert_eq!(cpuacct_stat("user 12\nsystem 3\n"), [Some(120_000), Some(30_000)]);
        assert_eq!(cpu_stat("usage_usec x\nuser_usec\n"), CpuStat::default());
    }

    #[test]
    fn version_one_counts_the_memory_of_groups_inside() {
        let one = "cache 1\nrss 2\nswap 3\ninactive_file 4\nhierarchical_memory_limit 67108864\n\
                   total_cache 10\ntotal_rss 20\ntotal_swap 30\ntotal_inactive_file 40\n";
        let expected = MemoryStat {
            inactive_file_bytes: Some(40),
            cache_bytes: Some(10),
            rss_bytes: Some(20),
            swap_bytes: Some(30),
            limit_bytes: Some(64 << 20),
        };
        assert_eq!(memory_stat(one), expected);
        let unlimited = "cache 1\nhierarchical_memory_limit 9223372036854771712\n";
        let expected = MemoryStat { cache_bytes: Some(1), ..MemoryStat::default() };
        assert_eq!(memory_stat(unlimited), expected);
    }

    #[test]
    fn version_two_names_the_parts_of_memory_differently() {
        let expected = MemoryStat {
            inactive_file_bytes: Some(5),
            cache_bytes: Some(8),
            rss_bytes: Some(7),
            ..MemoryStat::default()
        };
        assert_eq!(memory_stat("anon 7\nfile 8\nshmem 1\ninactive_file 5\n"), expected);
    }

    #[test]
    fn kills_are_counted_in_both_versions_and_absent_on_old_kernels() {
        assert_eq!(oom_kills("low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\n"), Some(1));
        assert_eq!(oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"), Some(2));
        assert_eq!(oom_kills("oom_kill_disable 0\nunder_oom 0\n"), None);
    }

    #[test]
    fn lists_of_processors_are_counted() {
        assert_eq!(processors("0-3,7\n"), Ok(5));
        assert_eq!(processors("0\n"), Ok(1));
        assert_eq!(processors("\n"), Ok(0));
        assert_eq!(processors("0-4294967295,1"), Ok(u32::MAX));
        assert!(processors("3-1").is_err() && processors("a").is_err());
        assert!(processors("0-").is_err() && processors("-1").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in any::<String>(), path in "[/.a:]{0,20}") {
            let _ = (number(&text), limit(&text), cpu_max(&text), processors(&text));
            let _ = (cpu_stat(&text), cpuacct_stat(&text), memory_stat(&text), oom_kills(&text));
            let mounts = [mount("cgroup2", &path, &text, "rw"), mount("cgroup", &text, &path, "cpu")];
            let _ = places(&text, &mounts);
            let places = places(&format!("0::{path}\n1:cpu:{text}\n"), &mounts);
            for place in [places.cpu, places.memory].into_iter().flatten() {
                prop_assert!(!place.folders.is_empty());
            }
        }

        #[test]
        fn odd_values_of_fields_do_not_panic(value in "[0-9+. -]{0,24}") {
            let text = format!("throttled_time {value}\nuser {value}\nsystem {value}\n\
                hierarchical_memory_limit {value}\noom_kill {value}\n");
            let _ = (cpu_stat(&text), cpuacct_stat(&text), memory_stat(&text), oom_kills(&text));
            let _ = (number(&value), limit(&value), cpu_max(&value), processors(&value));
        }

        #[test]
        fn what_the_kernel_writes_comes_back(
            value in 0..UNREACHABLE,
            period_us in 1_u64..1_000_000,
            sizes in proptest::collection::vec(1_u32..100, 1..20),
        ) {
            prop_assert_eq!(number(&format!("{value}\n")), Ok(value));
            prop_assert_eq!(limit(&format!("{value}\n")), Ok(Some(value)));
            let cores = value as f64 / period_us as f64;
            prop_assert_eq!(cpu_max(&format!("{value} {period_us}\n")), Ok(Some(cores)));
            prop_assert_eq!(oom_kills(&format!("oom 9\noom_kill {value}\n")), Some(value));
            let mut first = 0;
            let mut ranges = Vec::new();
            for size in &sizes {
                ranges.push(format!("{first}-{}", first + size - 1));
                first += size + 1;
            }
            let list = ranges.join(",") + "\n";
            prop_assert_eq!(processors(&list), Ok(sizes.iter().sum::<u32>()));
        }

        #[test]
        fn a_place_has_every_group_up_to_the_mount(parts in proptest::collection::vec("[a-z.]{1,8}x", 0..20)) {
            let group = parts.iter().fold(String::new(), |path, part| path + "/" + part);
            let membership = format!("0::{}\n", if group.is_empty() { "/" } else { &group });
            let mounts = [mount("cgroup2", "/", "/cgroup", "rw")];
            let folders = places(&membership, &mounts).cpu.unwrap().folders;
            prop_assert_eq!(folders.len(), parts.len() + 1);
            prop_assert_eq!(&folders[0], &format!("/cgroup{group}"));
            prop_assert_eq!(folders.last().unwrap(), "/cgroup");
        }
    }
}
