mod reader;

use std::sync::Arc;

use proptest::prelude::*;

pub(super) use reader::check_form;
use reader::series;

use super::*;
use crate::collect::cgroup::Container;
use crate::collect::ecs_task::{self, Task, Usage};
use crate::collect::filesystem::Mount;
use crate::collect::network::Counters;
use crate::collect::pressure::Stall;
use crate::reading::TaskReading;

const OPEN: Exposure = Exposure { hostname: true, mounts: true, processes: true };
pub(super) const HIDDEN: Exposure = Exposure { hostname: false, mounts: false, processes: false };

/// Complete response to a scraper, except for the data that is collected during a scrape.
pub(super) fn render(
    reading: &Reading,
    sample: &wire::Sample,
    format: Format,
    exposed: Exposure,
) -> String {
    let mut text = service(sample.sequence, 0.25, None, format);
    text.push_str(&super::render(reading, sample, format, exposed));
    end(&mut text, format);
    text
}

fn times() -> Times {
    Times {
        user: 12_345,
        nice: 0,
        system: 250,
        idle: 100_000,
        iowait: 7,
        irq: 1,
        softirq: 2,
        steal: 3,
        guest: 40,
        guest_nice: 5,
        ..Times::default()
    }
}

fn filesystem(mount: &str, source: &str) -> Filesystem {
    Filesystem {
        mount: Arc::new(Mount {
            point: mount.to_owned(),
            kind: "ext4".to_owned(),
            source: source.to_owned(),
            ..Mount::default()
        }),
        read_only: false,
        size_bytes: 1000,
        available_bytes: 400,
        free_bytes: 500,
        files: 60,
        files_free: 50,
    }
}

pub(super) fn sample() -> wire::Sample {
    wire::Sample {
        cpu: Some(12.5),
        ram: Some(50.0),
        time_unix_ms: 1_795_000_000_250,
        sequence: 7,
        ..wire::Sample::default()
    }
}

fn small() -> Reading {
    Reading {
        stat: Some(Stat {
            cores: vec![(3, times())],
            boot_time_unix_seconds: Some(1_794_000_000),
            forks: Some(u64::MAX),
            ..Stat::default()
        }),
        filesystems: vec![filesystem("/", "/dev/vda")],
        ..Reading::default()
    }
}

pub(super) fn group() -> Container {
    Container {
        version: 2,
        cpu_limit_cores: Some(0.5),
        cpuset_cores: None,
        cpu_us: Some(3_500_000),
        cpu_user_us: Some(2_000_000),
        cpu_system_us: Some(1_500_000),
        periods: Some(100),
        throttled_periods: Some(10),
        throttled_us: Some(123_456),
        memory_limit_bytes: Some(1 << 30),
        memory_usage_bytes: Some(5000),
        memory_inactive_file_bytes: Some(4000),
        memory_reclaimable_bytes: Some(4500),
        memory_cache_bytes: Some(6000),
        memory_rss_bytes: Some(100),
        swap_bytes: Some(0),
        oom_kills: Some(1),
        pids: Some(4),
        pids_limit: Some(64),
        ..Container::default()
    }
}

fn counters() -> Counters {
    Counters { bytes: 1, packets: 2, errors: 3, drops: 4 }
}

pub(super) fn usage(id: &str) -> Usage {
    Usage {
        id: id.to_owned(),
        cpu_ns: Some(1_500_000_001),
        memory_used_bytes: Some(1024),
        working_set_bytes: Some(2048),
        receive: Some(counters()),
        transmit: Some(counters()),
        read_bytes: Some(5),
        write_bytes: Some(6),
        ..Usage::default()
    }
}

pub(super) fn member(id: &str, name: &str) -> ecs_task::Container {
    ecs_task::Container {
        id: id.to_owned(),
        name: name.to_owned(),
        memory_limit_bytes: Some(4096),
        ..ecs_task::Container::default()
    }
}

pub(super) fn task_reading(members: Vec<ecs_task::Container>, usage: Vec<Usage>) -> TaskReading {
    TaskReading {
        task: Arc::new(Task { containers: members, ..Task::default() }),
        usage: Arc::new(usage),
        usage_before: Arc::default(),
        age_ms: 0,
    }
}

/// Reading with everything that exists outside of a task.
fn whole() -> Reading {
    let stall = Stall { total_us: 1_000_001, ..Stall::default() };
    let stalls = Some(Stalls { some: stall, full: Some(stall) });
    Reading {
        stat: Some(Stat {
            cores: vec![(0, times()), (1, times())],
            boot_time_unix_seconds: Some(1),
            context_switches: Some(2),
            forks: Some(3),
            running: Some(4),
            blocked: Some(5),
            ..Stat::default()
        }),
        load: Some(crate::collect::load::Load { averages: [0.25, 1.5, 2.0], total: 9 }),
        pressure: Pressure { cpu: stalls, memory: stalls, io: stalls },
        filesystems: vec![filesystem("/", "/dev/vda"), filesystem("/mnt", "/dev/vdb")],
        container: Some(group()),
        ..Reading::default()
    }
}

const SMALL: &str = r#"# HELP stats_build_info The version of the service, always 1.
# TYPE stats_build_info gauge
stats_build_info{revision="unknown",version="VERSION"} 1
# HELP stats_samples_total Samples that the service has taken.
# TYPE stats_samples_total counter
stats_samples_total 7
# HELP stats_sample_age_seconds Age of the newest sample.
# TYPE stats_sample_age_seconds gauge
stats_sample_age_seconds 0.25
# HELP stats_scope_cpu_ratio Processor time used of what the scope may use.
# TYPE stats_scope_cpu_ratio gauge
stats_scope_cpu_ratio{scope="host"} 0.125
# HELP stats_scope_memory_ratio Memory in use of what the scope may use.
# TYPE stats_scope_memory_ratio gauge
stats_scope_memory_ratio{scope="host"} 0.5
# HELP node_time_seconds When the figures were read, Unix time.
# TYPE node_time_seconds gauge
node_time_seconds 1795000000.25
# HELP node_cpu_seconds_total Time that processors spent in each mode; guests count as user and nice.
# TYPE node_cpu_seconds_total counter
node_cpu_seconds_total{cpu="3",mode="user"} 123.45
node_cpu_seconds_total{cpu="3",mode="nice"} 0
node_cpu_seconds_total{cpu="3",mode="system"} 2.5
node_cpu_seconds_total{cpu="3",mode="idle"} 1000
node_cpu_seconds_total{cpu="3",mode="iowait"} 0.07
node_cpu_seconds_total{cpu="3",mode="irq"} 0.01
node_cpu_seconds_total{cpu="3",mode="softirq"} 0.02
node_cpu_seconds_total{cpu="3",mode="steal"} 0.03
# HELP node_cpu_guest_seconds_total Time that processors spent in guests.
# TYPE node_cpu_guest_seconds_total counter
node_cpu_guest_seconds_total{cpu="3",mode="user"} 0.4
node_cpu_guest_seconds_total{cpu="3",mode="nice"} 0.05
# HELP node_boot_time_seconds When the kernel started, Unix time.
# TYPE node_boot_time_seconds gauge
node_boot_time_seconds 1794000000
# HELP node_forks_total Processes and threads made.
# TYPE node_forks_total counter
node_forks_total 18446744073709551615
# HELP node_filesystem_readonly Whether nothing can be written.
# TYPE node_filesystem_readonly gauge
node_filesystem_readonly{device="/dev/vda",fstype="ext4",mountpoint="/"} 0
# HELP node_filesystem_size_bytes Size of the filesystem.
# TYPE node_filesystem_size_bytes gauge
node_filesystem_size_bytes{device="/dev/vda",fstype="ext4",mountpoint="/"} 1000
# HELP node_filesystem_free_bytes Free space, what is kept for root included.
# TYPE node_filesystem_free_bytes gauge
node_filesystem_free_bytes{device="/dev/vda",fstype="ext4",mountpoint="/"} 500
# HELP node_filesystem_avail_bytes Free space for everybody.
# TYPE node_filesystem_avail_bytes gauge
node_filesystem_avail_bytes{device="/dev/vda",fstype="ext4",mountpoint="/"} 400
# HELP node_filesystem_files Files that fit.
# TYPE node_filesystem_files gauge
node_filesystem_files{device="/dev/vda",fstype="ext4",mountpoint="/"} 60
# HELP node_filesystem_files_free Files that still fit.
# TYPE node_filesystem_files_free gauge
node_filesystem_files_free{device="/dev/vda",fstype="ext4",mountpoint="/"} 50
# HELP node_filesystem_device_error Whether the filesystem gave no sizes: an error, or no answer in time.
# TYPE node_filesystem_device_error gauge
node_filesystem_device_error{device="/dev/vda",fstype="ext4",mountpoint="/"} 0
"#;

#[test]
fn a_small_reading_in_the_text_format() {
    let expected = SMALL.replace("VERSION", env!("CARGO_PKG_VERSION"));
    assert_eq!(render(&small(), &sample(), Format::Text, OPEN), expected);
}

#[test]
fn openmetrics_has_other_counter_names_and_ends_with_eof() {
    let mut expected = String::new();
    for line in SMALL.replace("VERSION", env!("CARGO_PKG_VERSION")).lines() {
        match line.strip_prefix('#') {
            Some(comment) => {
                expected += "#";
                expected += &comment.replace("_total ", " ");
            }
            None => expected += line,
        }
        expected += "\n";
    }
    expected += "# EOF\n";
    assert_eq!(render(&small(), &sample(), Format::OpenMetrics, OPEN), expected);
}

#[test]
fn an_empty_reading_is_valid() {
    let text = render(&Reading::default(), &wire::Sample::default(), Format::Text, HIDDEN);
    let names: Vec<_> = series(&text).into_iter().map(|series| series.name).collect();
    let expected = [
        "stats_build_info",
        "stats_samples_total",
        "stats_sample_age_seconds",
        "node_time_seconds",
    ];
    assert_eq!(names, expected);
}

#[test]
fn hidden_sources_have_an_empty_label_and_hide_nothing_else() {
    let text = render(&small(), &sample(), Format::Text, HIDDEN);
    assert!(!text.contains("/dev/vda"), "{text}");
    let expected = SMALL.replace("VERSION", env!("CARGO_PKG_VERSION")).replace("/dev/vda", "");
    assert_eq!(text, expected);
}

#[test]
fn a_filesystem_without_a_size_is_an_error_and_a_read_only_one_is_reported() {
    let mut reading = small();
    reading.filesystems[0].read_only = true;
    let hung = Mount { point: "/hung".to_owned(), kind: "ext4".to_owned(), ..Mount::default() };
    reading.faulty_filesystems = vec![Arc::new(hung)];
    let text = render(&reading, &sample(), Format::Text, HIDDEN);
    let labels = |mount| format!("{{device=\"\",fstype=\"ext4\",mountpoint=\"{mount}\"}}");
    let expected = [format!("node_filesystem_readonly{} 1", labels("/"))];
    assert_eq!(lines_of(&text, "node_filesystem_readonly"), expected);
    let expected = [
        format!("node_filesystem_device_error{} 0", labels("/")),
        format!("node_filesystem_device_error{} 1", labels("/hung")),
    ];
    assert_eq!(lines_of(&text, "node_filesystem_device_error"), expected);
}

#[test]
fn every_collector_is_well_formed_and_reports_its_success() {
    let mut scrape = Scrape::default();
    for (index, collector) in COLLECTORS.iter().enumerate() {
        let file = ("meminfo".to_owned(), "MemTotal: 1 kB\nDirty: 2 kB\n".to_owned());
        let texts = crate::collect::on_scrape::Texts([file].into());
        let (name, seconds) = (collector.name, Some(0.5));
        let collected = crate::reading::Collected { name, is_up: index != 1, seconds, texts };
        scrape.collected.insert(index, collected);
    }
    for format in [Format::Text, Format::OpenMetrics] {
        let mut text = on_scrape(&scrape, format);
        end(&mut text, format);
        check_form(&text, format);
        assert!(text.contains("node_memory_Dirty_bytes 2048\n"), "{text}");
        assert!(text.contains("node_scrape_collector_success{collector=\"vmstat\"} 0\n"));
        assert!(text.contains("node_scrape_collector_success{collector=\"arp\"} 1\n"));
    }
}

#[test]
fn mounts_at_the_same_point_are_one_series() {
    let mut reading = small();
    reading.filesystems = vec![filesystem("/a", "x"), filesystem("/a", "y")];
    let count = |shown| {
        let text = render(&reading, &sample(), Format::Text, shown);
        text.matches("\nnode_filesystem_size_bytes{").count()
    };
    assert_eq!((count(HIDDEN), count(OPEN)), (1, 2));
}

#[test]
fn every_family_of_a_full_reading_is_well_formed() {
    for format in [Format::Text, Format::OpenMetrics] {
        check_form(&render(&whole(), &sample(), format, OPEN), format);
    }
}

/// Lines of samples whose names start with `start`.
pub(super) fn lines_of<'t>(text: &'t str, start: &str) -> Vec<&'t str> {
    text.lines().filter(|line| line.starts_with(start)).collect()
}

#[test]
fn pressure_has_the_families_of_node_exporter() {
    let stall = |total_us| Stall { total_us, ..Stall::default() };
    let stalls = |some, full| Some(Stalls { some: stall(some), full: Some(stall(full)) });
    let pressure = Pressure {
        cpu: stalls(1_000_000, 9),
        memory: stalls(2_500_000, 3),
        io: stalls(4_000_000, 500_000),
    };
    let reading = Reading { pressure, ..Reading::default() };
    let text = render(&reading, &sample(), Format::Text, HIDDEN);
    let expected = [
        "node_pressure_cpu_waiting_seconds_total 1",
        "node_pressure_io_waiting_seconds_total 4",
        "node_pressure_io_stalled_seconds_total 0.5",
        "node_pressure_memory_waiting_seconds_total 2.5",
        "node_pressure_memory_stalled_seconds_total 0.000003",
    ];
    assert_eq!(lines_of(&text, "node_pressure_"), expected);
}

#[test]
fn the_kernel_metrics_are_in_their_families() {
    let text = render(&whole(), &sample(), Format::Text, HIDDEN);
    for line in [
        "node_boot_time_seconds 1",
        "node_context_switches_total 2",
        "node_forks_total 3",
        "node_procs_running 4",
        "node_procs_blocked 5",
        "node_load1 0.25",
        "node_load5 1.5",
        "node_load15 2",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line}");
    }
}

#[test]
fn values_that_are_not_numbers_are_left_out() {
    let reading = Reading {
        load: Some(crate::collect::load::Load {
            averages: [f64::NAN, f64::INFINITY, 1.0],
            total: 0,
        }),
        ..Reading::default()
    };
    let sample = wire::Sample { cpu: Some(f64::NAN), ram: None, ..sample() };
    let text = render(&reading, &sample, Format::Text, HIDDEN);
    assert!(!text.contains("node_load1 ") && !text.contains("node_load5"), "{text}");
    assert!(text.contains("node_load15 1\n") && !text.contains("_ratio"), "{text}");
}

#[test]
fn the_metrics_of_512_processors_fit_the_reserved_capacity() {
    let mut reading = whole();
    let cores = (0..512).map(|number| (number, times())).collect();
    reading.stat = Some(Stat { cores, ..Stat::default() });
    for format in [Format::Text, Format::OpenMetrics] {
        let text = render(&reading, &sample(), format, OPEN);
        assert_eq!(text.matches("\nnode_cpu_seconds_total{").count(), 512 * 8);
        assert_eq!(text.matches("\nnode_cpu_guest_seconds_total{").count(), 512 * 2);
        let room = expected_length(&reading);
        assert!((room / 2..=room).contains(&text.len()), "{} of {room}", text.len());
        check_form(&text, format);
    }
}

proptest! {
    #[test]
    fn any_label_value_is_read_back_exactly(
        mount in any::<String>(),
        source in "[\\\\\"\nnx]{0,12}",
        name in any::<String>(),
    ) {
        let mut reading = whole();
        reading.filesystems = vec![filesystem(&mount, &source)];
        reading.task = Some(task_reading(vec![member("1", &name)], vec![usage("1")]));
        for format in [Format::Text, Format::OpenMetrics] {
            let text = render(&reading, &sample(), format, OPEN);
            check_form(&text, format);
            let all = series(&text);
            let values = |metric: &str, label: &str| -> Vec<String> {
                let found = all.iter().filter(|series| series.name == metric);
                let labels = found.flat_map(|series| &series.labels);
                labels.filter(|(name, _)| name == label).map(|(_, value)| value.clone()).collect()
            };
            prop_assert_eq!(values("node_filesystem_files", "mountpoint"), [mount.clone()]);
            prop_assert_eq!(values("node_filesystem_files", "device"), [source.clone()]);
            prop_assert_eq!(values("container_fs_reads_bytes_total", "name"), [name.clone()]);
        }
    }

    #[test]
    fn any_counter_is_written_exactly(ticks in any::<u64>(), bytes in any::<u64>()) {
        let mut reading = small();
        reading.stat = Some(Stat {
            cores: vec![(0, Times { user: ticks, ..Times::default() })],
            context_switches: Some(bytes),
            ..Stat::default()
        });
        let all = series(&render(&reading, &sample(), Format::Text, HIDDEN));
        let value = |metric: &str| {
            all.iter().find(|series| series.name == metric).map(|series| series.value.as_str())
        };
        let bytes = bytes.to_string();
        prop_assert_eq!(value("node_context_switches_total"), Some(bytes.as_str()));
        let seconds = format!("{}.{:02}", ticks / 100, ticks % 100);
        let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
        prop_assert_eq!(value("node_cpu_seconds_total"), Some(seconds));
    }
}
