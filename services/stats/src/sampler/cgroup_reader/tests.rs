use std::fs;

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn container(name: &str) -> Option<Container> {
    let root = fixture(name);
    CgroupReader::find(&root.join("proc"), &root).read()
}

#[test]
fn version_one_with_limits() {
    let expected = Container {
        version: 1,
        groups: (1, 0),
        cpu_limit_cores: Some(0.5),
        cpuset_cores: Some(1),
        cpu_us: Some(123_091),
        cpu_user_us: Some(110_000),
        cpu_system_us: Some(0),
        periods: Some(4),
        throttled_periods: Some(0),
        throttled_us: Some(0),
        memory_limit_bytes: Some(64 << 20),
        memory_usage_bytes: Some(3_092_480),
        memory_inactive_file_bytes: Some(348_160),
        memory_reclaimable_bytes: Some(1_982_464),
        memory_cache_bytes: Some(1_982_464),
        memory_rss_bytes: Some(110_592),
        swap_bytes: Some(0),
        oom_kills: Some(0),
        pids: Some(2),
        pids_limit: Some(32),
        ..Container::default()
    };
    assert_eq!(container("cgroup-v1-limited"), Some(expected));
}

#[test]
fn a_namespace_root_is_distinguished_from_the_root_group_by_its_files() {
    let container = container("cgroup-v1-namespace").unwrap();
    assert_eq!(container.cpu_limit_cores, Some(0.25));
    assert_eq!(container.memory_limit_bytes, Some(32 << 20));
    assert!(container.cpu_us.is_some() && container.pids.is_some());
}

#[test]
fn version_two_with_limits() {
    let expected = Container {
        version: 2,
        groups: (1, 0),
        cpu_limit_cores: Some(1.5),
        cpuset_cores: Some(2),
        cpu_us: Some(2_500_000),
        cpu_user_us: Some(1_800_000),
        cpu_system_us: Some(700_000),
        periods: Some(250),
        throttled_periods: Some(40),
        throttled_us: Some(1_234_567),
        memory_limit_bytes: Some(128 << 20),
        memory_usage_bytes: Some(9_437_184),
        memory_inactive_file_bytes: Some(2_097_152),
        memory_reclaimable_bytes: Some(3_482_520),
        memory_cache_bytes: Some(3_145_728),
        memory_rss_bytes: Some(4_194_304),
        swap_bytes: Some(8192),
        oom_kills: Some(2),
        pids: Some(3),
        pids_limit: Some(64),
        ..Container::default()
    };
    assert_eq!(container("cgroup-v2-limited"), Some(expected));
}

#[test]
fn containers_without_limits_have_counters() {
    for (name, version) in [("cgroup-v1-unlimited", 1), ("cgroup-v2-unlimited", 2)] {
        let container = container(name).unwrap();
        assert_eq!(container.version, version);
        assert_eq!((container.cpu_limit_cores, container.cpuset_cores), (None, None));
        assert_eq!((container.memory_limit_bytes, container.pids_limit), (None, None));
        assert!(container.cpu_us.is_some() && container.memory_usage_bytes.is_some());
        assert!(container.pids.is_some() && container.oom_kills == Some(0));
    }
}

#[test]
fn the_limits_of_ancestors_apply_and_only_their_throttling_counts() {
    let container = container("cgroup-v2-nested").unwrap();
    assert_eq!(container.cpu_limit_cores, Some(2.0));
    assert_eq!(container.memory_limit_bytes, Some(256 << 20));
    assert_eq!(container.pids_limit, Some(1024));
    assert_eq!(container.cpu_us, Some(2_500_000));
    assert_eq!(container.memory_usage_bytes, Some(9_437_184));
    let throttling = (container.periods, container.throttled_periods, container.throttled_us);
    assert_eq!(throttling, (Some(5000), Some(100), Some(2_000_000)));
}

#[test]
fn a_version_one_limit_of_an_ancestor_is_throttled_there() {
    let tree = Tree::of("throttled-v1");
    tree.write("proc/self/cgroup", "4:cpu,cpuacct:/pod/own\n");
    let mount = "31 23 0:28 / /cpu ro - cgroup cgroup rw,cpu,cpuacct\n";
    tree.write("proc/self/mountinfo", mount);
    for (group, quota, throttled) in [("pod", 200_000, 7), ("pod/own", -1, 0)] {
        tree.write(&format!("cpu/{group}/cpu.cfs_quota_us"), &format!("{quota}\n"));
        tree.write(&format!("cpu/{group}/cpu.cfs_period_us"), "100000\n");
        let stat = format!("nr_periods 9\nnr_throttled {throttled}\nthrottled_time 5000\n");
        tree.write(&format!("cpu/{group}/cpu.stat"), &stat);
    }
    let container = tree.groups().read().unwrap();
    assert_eq!((container.cpu_limit_cores, container.throttled_periods), (Some(2.0), Some(7)));
}

#[test]
fn a_cpuset_is_compared_with_the_processors_of_the_host() {
    // https://github.com/lxc/lxcfs/issues/628
    let tree = Tree::of("cpuset");
    tree.write("cgroup/cpuset.cpus.effective", "0-1\n");
    tree.write("sys/devices/system/cpu/online", "0-1\n");
    assert_eq!(tree.groups().read().unwrap().cpuset_cores, None);
    tree.write("proc/stat", "cpu0 1 1 1 1\ncpu1 1 1 1 1\ncpu2 1 1 1 1\n");
    assert_eq!(tree.groups().read().unwrap().cpuset_cores, Some(2));
}

#[test]
fn a_systemd_service_has_its_own_counters() {
    let container = container("cgroup-v2-systemd").unwrap();
    assert_eq!(container.memory_usage_bytes, Some(9_437_184));
    assert_eq!((container.cpu_limit_cores, container.memory_limit_bytes), (None, None));
    assert_eq!(container.pids_limit, Some(9445));
}

#[test]
fn on_a_hybrid_host_only_groups_below_a_root_count() {
    let container = container("cgroup-hybrid").unwrap();
    let expected = Container {
        version: 1,
        groups: (1, 0),
        memory_limit_bytes: Some(1 << 30),
        // The limit belongs to a group that is not visible.
        memory_bytes_in_limit: UsageInLimit::Ancestor(None),
        memory_usage_bytes: container.memory_usage_bytes,
        memory_inactive_file_bytes: container.memory_inactive_file_bytes,
        memory_reclaimable_bytes: container.memory_reclaimable_bytes,
        memory_cache_bytes: container.memory_cache_bytes,
        memory_rss_bytes: container.memory_rss_bytes,
        swap_bytes: Some(0),
        oom_kills: Some(0),
        ..Container::default()
    };
    assert_eq!(container, expected);
    assert!(container.memory_usage_bytes.is_some_and(|bytes| bytes < 1 << 30));
}

#[test]
fn the_root_group_and_a_missing_tree_are_not_containers() {
    assert_eq!(container("cgroup-v2-root"), None);
    assert_eq!(container("no-such-tree"), None);
}

/// Tree that is removed at the end of the test.
struct Tree(PathBuf);

impl Tree {
    fn of(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("stats-{name}-{}", std::process::id()));
        let tree = Self(root);
        tree.write("proc/self/cgroup", "0::/\n");
        let mount = "617 616 0:27 / /cgroup ro - cgroup2 cgroup rw\n";
        tree.write("proc/self/mountinfo", mount);
        tree.write("cgroup/cgroup.events", "populated 1\n");
        tree.write("cgroup/memory.max", "1000\n");
        tree.write("cgroup/memory.current", "500\n");
        tree
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn groups(&self) -> CgroupReader {
        CgroupReader::find(&self.0.join("proc"), &self.0)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_limit_of_the_pod_is_compared_with_the_use_of_the_pod() {
    let tree = Tree::of("pod");
    tree.write("proc/self/cgroup", "0::/pod/own\n");
    for (group, limit, usage) in [("pod", "268435456", "262144000"), ("pod/own", "max", "10")] {
        tree.write(&format!("cgroup/{group}/cgroup.events"), "populated 1\n");
        tree.write(&format!("cgroup/{group}/memory.max"), limit);
        tree.write(&format!("cgroup/{group}/memory.current"), usage);
        let stat = "inactive_file 2000000\nactive_file 100000\nslab_reclaimable 44000\n";
        tree.write(&format!("cgroup/{group}/memory.stat"), stat);
    }
    tree.write("cgroup/memory.max", "max\n");
    tree.write("cgroup/pod/cpu.max", "200000 100000\n");
    tree.write("cgroup/pod/cpu.stat", "usage_usec 77\n");
    let container = tree.groups().read().unwrap();
    assert_eq!(container.memory_limit_bytes, Some(268_435_456));
    assert_eq!(container.memory_bytes_in_limit, UsageInLimit::Ancestor(Some(260_000_000)));
    assert_eq!(container.memory_usage_bytes, Some(10));
    assert_eq!(container.cpu_limit_cores, Some(2.0));
    assert_eq!(container.cpu_us_in_limit, UsageInLimit::Ancestor(Some(77)));
    assert_eq!(container.groups, (1, 1));
}

#[test]
fn a_child_without_the_memory_controller_has_the_limit_and_the_use_of_its_parent() {
    let tree = Tree::of("threaded");
    tree.write("proc/self/cgroup", "0::/domain/threads\n");
    tree.write("cgroup/memory.max", "max\n");
    tree.write("cgroup/domain/memory.max", "1000\n");
    tree.write("cgroup/domain/memory.current", "900\n");
    tree.write("cgroup/domain/memory.stat", "inactive_file 100\n");
    tree.write("cgroup/domain/threads/cgroup.type", "threaded\n");
    tree.write("cgroup/domain/threads/cgroup.events", "populated 1\n");
    let container = tree.groups().read().unwrap();
    assert_eq!(container.memory_limit_bytes, Some(1000));
    assert_eq!(container.memory_bytes_in_limit, UsageInLimit::Ancestor(Some(800)));
    assert_eq!(container.memory_usage_bytes, None);
}

#[test]
fn a_small_parent_whose_cache_exceeds_its_use_has_its_anonymous_memory() {
    let tree = Tree::of("small-parent");
    tree.write("proc/self/cgroup", "0::/pod/own\n");
    tree.write("cgroup/memory.max", "max\n");
    tree.write("cgroup/pod/memory.max", "1000\n");
    tree.write("cgroup/pod/memory.current", "500\n");
    tree.write("cgroup/pod/memory.stat", "anon 40\ninactive_file 600\n");
    tree.write("cgroup/pod/own/cgroup.events", "populated 1\n");
    let container = tree.groups().read().unwrap();
    assert_eq!(container.memory_bytes_in_limit, UsageInLimit::Ancestor(Some(40)));
}

#[test]
fn changed_limits_apply_immediately() {
    let tree = Tree::of("limits");
    let mut groups = tree.groups();
    assert_eq!(groups.read().unwrap().memory_limit_bytes, Some(1000));
    tree.write("cgroup/memory.max", "max\n");
    assert_eq!(groups.read().unwrap().memory_limit_bytes, None);
    tree.write("cgroup/memory.max", "2000\n");
    assert_eq!(groups.read().unwrap().memory_limit_bytes, Some(2000));
}

#[test]
fn an_enabled_controller_is_found_within_a_minute() {
    let tree = Tree::of("controller");
    let mut groups = tree.groups();
    tree.write("cgroup/pids.current", "7\n");
    for _ in 0..READS_PER_SEARCH {
        assert_eq!(groups.read().unwrap().pids, None);
    }
    assert_eq!(groups.read().unwrap().pids, Some(7));
}

#[test]
fn a_removed_group_is_searched_for_at_the_next_reading() {
    let tree = Tree::of("vanishes");
    let mut groups = tree.groups();
    assert_eq!(groups.read().unwrap().memory_usage_bytes, Some(500));
    tree.write("proc/self/cgroup", "0::/moved\n");
    tree.write("cgroup/moved/cgroup.events", "populated 1\n");
    tree.write("cgroup/moved/memory.current", "600\n");
    // On an ordinary filesystem, open files stay readable, unlike in a control group.
    tree.write("cgroup/memory.current", "");
    assert_eq!(groups.read().unwrap().memory_usage_bytes, None);
    let moved = groups.read().unwrap();
    assert_eq!((moved.memory_usage_bytes, moved.memory_limit_bytes), (Some(600), Some(1000)));
    assert_eq!(moved.groups, (2, 0));
}
