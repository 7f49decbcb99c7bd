use proptest::prelude::*;

use super::*;

fn mount(kind: &str, root: &str, point: &str, options: &str) -> Mount {
    let [kind, root, point, options] = [kind, root, point, options].map(str::to_owned);
    Mount { root, point, kind, options, ..Mount::default() }
}

/// Expected path; `None` without folders.
fn at(version: Version, folders: &[&str]) -> Option<ControllerPath> {
    let folders: Vec<String> = folders.iter().map(|&folder| folder.to_owned()).collect();
    (!folders.is_empty()).then_some(ControllerPath { version, folders })
}

#[test]
fn a_version_one_container_sees_its_group_at_the_mount_point() {
    let membership = "4:memory:/docker/5ed8\n1:cpu,cpuacct:/docker/5ed8\n0::/docker/5ed8\n";
    let mounts = [
        mount("tmpfs", "/", "/sys/fs/cgroup", "rw,mode=755"),
        mount("cgroup", "/docker/5ed8", "/sys/fs/cgroup/cpu,cpuacct", "rw,cpu,cpuacct"),
        mount("cgroup", "/docker/5ed8", "/sys/fs/cgroup/memory", "rw,memory"),
    ];
    let path = |controller| controller_path(controller, membership, &mounts);
    assert_eq!(path("cpu"), at(Version::V1, &["/sys/fs/cgroup/cpu,cpuacct"]));
    assert_eq!(path("cpuacct"), path("cpu"));
    assert_eq!(path("memory"), at(Version::V1, &["/sys/fs/cgroup/memory"]));
    // No version 1 line lists it, and version 2 is not mounted.
    assert_eq!(path("pids"), None);
}

#[test]
fn a_group_inside_the_container_precedes_the_container() {
    let mounts = [mount("cgroup", "/docker/5ed8", "/sys/fs/cgroup/memory", "rw,memory")];
    let path = controller_path("memory", "4:memory:/docker/5ed8/a/b\n", &mounts);
    let folders = ["/sys/fs/cgroup/memory/a/b", "/sys/fs/cgroup/memory/a", "/sys/fs/cgroup/memory"];
    assert_eq!(path, at(Version::V1, &folders));
}

#[test]
fn a_version_two_namespace_shows_its_root_at_the_mount_point() {
    let mounts = [mount("cgroup2", "/", "/sys/fs/cgroup", "rw")];
    for controller in ["cpu", "memory", "pids", "cpuset"] {
        let path = controller_path(controller, "0::/\n", &mounts);
        assert_eq!(path, at(Version::V2, &["/sys/fs/cgroup"]), "{controller}");
    }
}

#[test]
fn a_systemd_service_is_inside_its_slices() {
    let membership = "0::/system.slice/stats.service\n";
    let mounts = [mount("cgroup2", "/", "/sys/fs/cgroup", "rw")];
    let folders = [
        "/sys/fs/cgroup/system.slice/stats.service",
        "/sys/fs/cgroup/system.slice",
        "/sys/fs/cgroup",
    ];
    assert_eq!(controller_path("memory", membership, &mounts), at(Version::V2, &folders));
}

#[test]
fn in_a_hybrid_setup_each_controller_is_read_from_its_hierarchy() {
    let membership = "4:memory:/app\n1:name=systemd:/app\n0::/app\n";
    let mounts = [
        mount("cgroup", "/", "/sys/fs/cgroup/systemd", "rw,name=systemd"),
        mount("cgroup", "/", "/sys/fs/cgroup/memory", "rw,memory"),
        mount("cgroup2", "/", "/sys/fs/cgroup/unified", "rw"),
    ];
    let path = |controller| controller_path(controller, membership, &mounts);
    let memory = ["/sys/fs/cgroup/memory/app", "/sys/fs/cgroup/memory"];
    assert_eq!(path("memory"), at(Version::V1, &memory));
    let rest = ["/sys/fs/cgroup/unified/app", "/sys/fs/cgroup/unified"];
    assert_eq!(path("cpu"), at(Version::V2, &rest));
}

#[test]
fn a_group_outside_of_the_namespace_or_the_mount_has_no_path() {
    let mounts = |root| [mount("cgroup2", root, "/sys/fs/cgroup", "rw")];
    assert_eq!(controller_path("cpu", "0::/../..\n", &mounts("/")), None);
    assert_eq!(controller_path("cpu", "0::/../other\n", &mounts("/")), None);
    assert_eq!(controller_path("cpu", "0::/dock\n", &mounts("/do")), None);
    assert_eq!(controller_path("cpu", "0::/\n", &mounts("/docker/5ed8")), None);
    // The mount and the group were created outside, and the mount shows the group.
    let seen = controller_path("cpu", "0::/../other\n", &mounts("/.."));
    assert_eq!(seen, at(Version::V2, &["/sys/fs/cgroup/other", "/sys/fs/cgroup"]));
}

#[test]
fn the_mount_that_shows_the_most_groups_is_selected() {
    let mounts = [
        mount("cgroup2", "/docker/5ed8", "/sys/fs/cgroup", "rw"),
        mount("cgroup2", "/", "/host/cgroup", "rw"),
    ];
    let path = controller_path("cpu", "0::/docker/5ed8\n", &mounts);
    let folders = ["/host/cgroup/docker/5ed8", "/host/cgroup/docker", "/host/cgroup"];
    assert_eq!(path, at(Version::V2, &folders));
}

#[test]
fn a_path_may_contain_colons_and_have_any_depth() {
    let mounts = [mount("cgroup2", "/", "/sys/fs/cgroup", "rw")];
    let paths_of =
        |path: &str| controller_path("cpu", &format!("0::{path}\n"), &mounts).unwrap().folders;
    assert_eq!(paths_of("/a:b")[0], "/sys/fs/cgroup/a:b");
    let folders = paths_of(&"/a".repeat(2000));
    assert_eq!(folders.len(), MAX_ANCESTORS);
    assert_eq!(folders[0], format!("/sys/fs/cgroup{}", "/a".repeat(2000)));
    assert_eq!(paths_of(&"/a".repeat(MAX_ANCESTORS - 1)).last().unwrap(), "/sys/fs/cgroup");
}

#[test]
fn a_quota_divided_by_a_period_is_a_number_of_processors() {
    assert_eq!(cpu_max("max 100000\n"), Ok(None));
    assert_eq!(cpu_max("50000 100000\n"), Ok(Some(0.5)));
    assert_eq!(cpu_max("250000 100000"), Ok(Some(2.5)));
    assert_eq!(cpu_max("50000 0"), Ok(None));
    assert!(cpu_max("").is_err() && cpu_max("max").is_err() && cpu_max("x 1").is_err());
    assert_eq!(limit("-1\n").map(|quota| cores(quota, 100_000)), Ok(None));
    assert_eq!(limit("150000\n").map(|quota| cores(quota, 100_000)), Ok(Some(1.5)));
}

#[test]
fn the_maximum_limit_means_unlimited_for_every_page_size() {
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
fn both_versions_of_cpu_stat_yield_microseconds() {
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
fn version_one_includes_the_memory_of_descendants() {
    let one = "cache 1\nrss 2\nswap 3\ninactive_file 4\nhierarchical_memory_limit 67108864\n\
               total_cache 10\ntotal_rss 20\ntotal_swap 30\ntotal_inactive_file 40\n\
               active_file 5\ntotal_active_file 50\n";
    let expected = MemoryStat {
        inactive_file_bytes: Some(40),
        reclaimable_bytes: Some(90),
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
fn version_two_has_other_field_names_for_memory() {
    let expected = MemoryStat {
        inactive_file_bytes: Some(5),
        reclaimable_bytes: Some(18),
        cache_bytes: Some(8),
        rss_bytes: Some(7),
        ..MemoryStat::default()
    };
    let text = "anon 7\nfile 8\nshmem 1\ninactive_file 5\nactive_file 6\nslab_reclaimable 7\n";
    assert_eq!(memory_stat(text), expected);
}

#[test]
fn kills_are_counted_in_both_versions_and_absent_on_old_kernels() {
    assert_eq!(oom_kills("low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\n"), Some(1));
    assert_eq!(oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"), Some(2));
    assert_eq!(oom_kills("oom_kill_disable 0\nunder_oom 0\n"), None);
}

#[test]
fn processors_in_lists_are_counted() {
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
        crate::fuzzing::cgroup(&text);
        let mounts = [mount("cgroup2", &path, &text, "rw"), mount("cgroup", &text, &path, "cpu")];
        let membership = format!("0::{path}\n1:cpu:{text}\n");
        for controller in ["cpu", "memory"] {
            let _ = controller_path(controller, &text, &mounts);
            let path = controller_path(controller, &membership, &mounts);
            prop_assert!(path.is_none_or(|path| !path.folders.is_empty()));
        }
    }

    #[test]
    fn invalid_field_values_do_not_panic(value in "[0-9+. -]{0,24}") {
        let text = format!("throttled_time {value}\nuser {value}\nsystem {value}\n\
            hierarchical_memory_limit {value}\noom_kill {value}\n");
        crate::fuzzing::group(&text);
        crate::fuzzing::group(&value);
    }

    #[test]
    fn values_in_the_kernels_format_are_parsed_exactly(
        value in 0..UNLIMITED,
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
    fn a_controller_path_has_every_group_up_to_the_mount(parts in proptest::collection::vec("[a-z.]{1,8}x", 0..20)) {
        let group = parts.iter().fold(String::new(), |path, part| path + "/" + part);
        let membership = format!("0::{}\n", if group.is_empty() { "/" } else { &group });
        let mounts = [mount("cgroup2", "/", "/cgroup", "rw")];
        let folders = controller_path("cpu", &membership, &mounts).unwrap().folders;
        prop_assert_eq!(folders.len(), parts.len() + 1);
        prop_assert_eq!(&folders[0], &format!("/cgroup{group}"));
        prop_assert_eq!(folders.last().unwrap(), "/cgroup");
    }
}
