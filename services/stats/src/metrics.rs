//! A reading as metrics for scrapers: pure.
//!
//! Names, types, labels and units are those of `node_exporter` and, for the control group and the
//! containers of a task, of cAdvisor, so that dashboards made for these work. What is our own is
//! named `stats_`.

pub(crate) mod exposition;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use exposition::{Kind, Label, Value, Writer};

pub(crate) use exposition::{Format, end};

use crate::BUILD;
use crate::collect::cgroup::Container;
use crate::collect::cpu::{Stat, Times};
use crate::collect::ecs_task::Usage;
use crate::collect::filesystem::Mount;
use crate::collect::on_scrape::SUBJECTS;
use crate::collect::pressure::Stalls;
use crate::rates::Exposure;
use crate::reading::{Filesystem, Pressure, Reading, Scrape, TaskReading};

/// The newest reading, and what was made of it, in the given format.
pub(crate) fn render(
    reading: &Reading,
    sample: &wire::Sample,
    format: Format,
    exposed: Exposure,
) -> String {
    let mut writer = Writer::new(format, expected_length(reading));
    scope(&mut writer, sample);
    sources(&mut writer, reading);
    time(&mut writer, sample);
    if let Some(stat) = &reading.stat {
        processors(&mut writer, stat);
        kernel(&mut writer, stat);
    }
    if let Some(load) = reading.load {
        averages(&mut writer, load.averages);
    }
    pressure(&mut writer, reading.pressure);
    filesystems(&mut writer, reading, exposed);
    if let Some(reading) = &reading.task {
        task(&mut writer, reading);
    } else if let Some(group) = &reading.container {
        container(&mut writer, group);
    }
    writer.finish()
}

/// Enough for ordinary names, so that the text is not copied as it grows.
fn expected_length(reading: &Reading) -> usize {
    const OF_ALL_ELSE: usize = 16 << 10;
    let cores = reading.stat.as_ref().map_or(0, |stat| stat.cores.len());
    let containers = reading.task.as_ref().map_or(0, |reading| reading.task.containers.len());
    let lines = cores * 10
        + (reading.disks.len() + reading.networks.len() + reading.filesystems.len()) * 8
        + containers * 16;
    OF_ALL_ELSE + lines * 72
}

/// One family of a table, and where its values are.
struct Row<T> {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    value: fn(&T) -> Value,
}

const fn counter<T>(name: &'static str, help: &'static str, value: fn(&T) -> Value) -> Row<T> {
    Row { name, kind: Kind::Counter, help, value }
}

const fn gauge<T>(name: &'static str, help: &'static str, value: fn(&T) -> Value) -> Row<T> {
    Row { name, kind: Kind::Gauge, help, value }
}

/// Every row as a family with one sample per item.
// Inlined, it would be there once per table and not once per type.
#[inline(never)]
fn table<T, const N: usize>(writer: &mut Writer, rows: &[Row<T>], items: &[([Label; N], &T)]) {
    for row in rows {
        let mut samples = writer.family(row.name, row.kind, row.help);
        for (labels, item) in items {
            samples.add(labels, (row.value)(item));
        }
    }
}

const CENTI: u32 = 100;
const MILLI: u32 = 1000;
const MICRO: u32 = 1_000_000;
const NANO: u32 = 1_000_000_000;

/// The service and the age of its newest sample. It holds even when sampling has stalled.
pub(crate) fn service(sequence: u64, age_seconds: f64, format: Format) -> String {
    let mut writer = Writer::new(format, 1024);
    writer
        .family("stats_build_info", Kind::Gauge, "The version of the service, always 1.")
        .add(&[("revision", BUILD.commit()), ("version", BUILD.version)], 1.into());
    writer
        .family("stats_samples_total", Kind::Counter, "Samples that the service has taken.")
        .add(&[], sequence.into());
    writer
        .family("stats_sample_age_seconds", Kind::Gauge, "Age of the newest sample.")
        .add(&[], Value::real(Some(age_seconds)));
    writer.finish()
}

/// The figures of the scope.
fn scope(writer: &mut Writer, sample: &wire::Sample) {
    let scope = match sample.scope.kind {
        wire::ScopeKind::Host => "host",
        wire::ScopeKind::Container => "container",
        wire::ScopeKind::Task => "task",
    };
    let ratio = |percent: Option<f64>| Value::real(percent.map(|percent| percent / 100.0));
    writer
        .family(
            "stats_scope_cpu_ratio",
            Kind::Gauge,
            "Processor time used of what the scope may use.",
        )
        .add(&[("scope", scope)], ratio(sample.cpu));
    writer
        .family("stats_scope_memory_ratio", Kind::Gauge, "Memory in use of what the scope may use.")
        .add(&[("scope", scope)], ratio(sample.ram));
}

fn sources(writer: &mut Writer, reading: &Reading) {
    let mut samples = writer.family(
        "stats_source_up",
        Kind::Gauge,
        "Whether the source could be read: 0 also when a read does not return.",
    );
    for (source, is_up) in &reading.sources {
        samples.add(&[("source", source)], u64::from(*is_up).into());
    }
}

/// When the sample was taken.
fn time(writer: &mut Writer, sample: &wire::Sample) {
    writer
        .family("node_time_seconds", Kind::Gauge, "When the figures were read, Unix time.")
        .add(&[], Value::seconds(sample.time_unix_ms, MILLI));
}

fn processors(writer: &mut Writer, stat: &Stat) {
    per_processor(
        writer,
        "node_cpu_seconds_total",
        "Time that processors spent in each mode; guests count as user and nice.",
        stat,
        |times| {
            [
                ("user", times.user),
                ("nice", times.nice),
                ("system", times.system),
                ("idle", times.idle),
                ("iowait", times.iowait),
                ("irq", times.irq),
                ("softirq", times.softirq),
                ("steal", times.steal),
            ]
        },
    );
    per_processor(
        writer,
        "node_cpu_guest_seconds_total",
        "Time that processors spent in guests.",
        stat,
        |times| [("user", times.guest), ("nice", times.guest_nice)],
    );
}

fn per_processor<const N: usize>(
    writer: &mut Writer,
    name: &str,
    help: &'static str,
    stat: &Stat,
    modes: fn(&Times) -> [(&'static str, u64); N],
) {
    let mut samples = writer.family(name, Kind::Counter, help);
    let mut id = String::new();
    for (number, times) in &stat.cores {
        id.clear();
        let _ = write!(id, "{number}");
        for (mode, ticks) in modes(times) {
            samples.add(&[("cpu", &id), ("mode", mode)], Value::seconds(ticks, CENTI));
        }
    }
}

fn kernel(writer: &mut Writer, stat: &Stat) {
    const ROWS: [Row<Stat>; 5] = [
        gauge("node_boot_time_seconds", "When the kernel started, Unix time.", |stat| {
            stat.boot_time_unix_seconds.into()
        }),
        counter("node_context_switches_total", "Changes from one thread to another.", |stat| {
            stat.context_switches.into()
        }),
        counter("node_forks_total", "Processes and threads made.", |stat| stat.forks.into()),
        gauge("node_procs_running", "Threads that run or could run.", |stat| stat.running.into()),
        gauge("node_procs_blocked", "Threads that wait for a disk.", |stat| stat.blocked.into()),
    ];
    table(writer, &ROWS, &[([], stat)]);
}

fn averages(writer: &mut Writer, averages: [f64; 3]) {
    let families = [
        ("node_load1", "Load average over 1 minute."),
        ("node_load5", "Load average over 5 minutes."),
        ("node_load15", "Load average over 15 minutes."),
    ];
    for ((name, help), average) in families.into_iter().zip(averages) {
        writer.family(name, Kind::Gauge, help).add(&[], Value::real(Some(average)));
    }
}

fn pressure(writer: &mut Writer, pressure: Pressure) {
    let waited =
        |stalls: Option<Stalls>| Value::seconds(stalls.map(|stalls| stalls.some.total_us), MICRO);
    let stalled = |stalls: Option<Stalls>| {
        Value::seconds(stalls.and_then(|stalls| stalls.full).map(|full| full.total_us), MICRO)
    };
    // Not for processors: for the whole system the kernel counts no time in which all waited.
    let families = [
        (
            "node_pressure_cpu_waiting_seconds_total",
            "Time in which something waited for a processor.",
            waited(pressure.cpu),
        ),
        (
            "node_pressure_io_waiting_seconds_total",
            "Time in which something waited for disks.",
            waited(pressure.io),
        ),
        (
            "node_pressure_io_stalled_seconds_total",
            "Time in which everything waited for disks.",
            stalled(pressure.io),
        ),
        (
            "node_pressure_memory_waiting_seconds_total",
            "Time in which something waited for memory.",
            waited(pressure.memory),
        ),
        (
            "node_pressure_memory_stalled_seconds_total",
            "Time in which everything waited for memory.",
            stalled(pressure.memory),
        ),
    ];
    for (name, help, value) in families {
        writer.family(name, Kind::Counter, help).add(&[], value);
    }
}

fn filesystems(writer: &mut Writer, reading: &Reading, exposed: Exposure) {
    const ROWS: [Row<Filesystem>; 6] = [
        gauge("node_filesystem_readonly", "Whether nothing can be written.", |filesystem| {
            u64::from(filesystem.read_only).into()
        }),
        gauge("node_filesystem_size_bytes", "Size of the filesystem.", |filesystem| {
            filesystem.size_bytes.into()
        }),
        gauge(
            "node_filesystem_free_bytes",
            "Free space, what is kept for root included.",
            |filesystem| filesystem.free_bytes.into(),
        ),
        gauge("node_filesystem_avail_bytes", "Free space for everybody.", |filesystem| {
            filesystem.available_bytes.into()
        }),
        gauge("node_filesystem_files", "Files that fit.", |filesystem| filesystem.files.into()),
        gauge("node_filesystem_files_free", "Files that still fit.", |filesystem| {
            filesystem.files_free.into()
        }),
    ];
    // Two mounts on the same place would be the same series twice, which scrapers refuse.
    let mut seen = BTreeSet::new();
    let items: Vec<_> = reading
        .filesystems
        .iter()
        .map(|filesystem| (labels_of(&filesystem.mount, exposed), filesystem))
        .filter(|(labels, _)| seen.insert(*labels))
        .collect();
    table(writer, &ROWS, &items);
    let mut errors = writer.family(
        "node_filesystem_device_error",
        Kind::Gauge,
        "Whether the filesystem gave no sizes: an error, or no answer in time.",
    );
    for (labels, _) in &items {
        errors.add(labels, 0.into());
    }
    for mount in &reading.faulty_filesystems {
        let labels = labels_of(mount, exposed);
        if seen.insert(labels) {
            errors.add(&labels, 1.into());
        }
    }
}

fn labels_of(mount: &Mount, exposed: Exposure) -> [Label<'_>; 3] {
    // An empty label keeps the shape of the series.
    let source = if exposed.mounts { mount.source.as_str() } else { "" };
    [("device", source), ("fstype", mount.kind.as_str()), ("mountpoint", mount.point.as_str())]
}

/// The subjects that are read for a scrape, and how their reading went.
pub(crate) fn on_scrape(scrape: &Scrape, format: Format) -> String {
    let mut writer = Writer::new(format, 64 << 10);
    for (index, collected) in &scrape.collected {
        if let Some(subject) = SUBJECTS.get(*index) {
            (subject.write)(&collected.texts, &mut writer);
        }
    }
    let mut success = writer.family(
        "node_scrape_collector_success",
        Kind::Gauge,
        "Whether the subject had anything to read.",
    );
    for collected in scrape.collected.values() {
        success.add(&[("collector", collected.name)], u64::from(collected.is_up).into());
    }
    let help = "Time that reading the subject took.";
    let mut duration = writer.family("node_scrape_collector_duration_seconds", Kind::Gauge, help);
    for collected in scrape.collected.values() {
        duration.add(&[("collector", collected.name)], Value::real(collected.seconds));
    }
    writer.finish()
}

/// The service's own control group, as the one at the top.
fn container(writer: &mut Writer, group: &Container) {
    const ROWS: [Row<Container>; 16] = [
        counter("container_cpu_user_seconds_total", "Processor time used in programs.", |group| {
            Value::seconds(group.cpu_user_us, MICRO)
        }),
        counter(
            "container_cpu_system_seconds_total",
            "Processor time used in the kernel.",
            |group| Value::seconds(group.cpu_system_us, MICRO),
        ),
        counter(
            "container_cpu_cfs_periods_total",
            "Periods of the processor limit with work to do.",
            |group| group.periods.into(),
        ),
        counter(
            "container_cpu_cfs_throttled_periods_total",
            "Periods in which the processor limit held work up.",
            |group| group.throttled_periods.into(),
        ),
        counter(
            "container_cpu_cfs_throttled_seconds_total",
            "Time for which the processor limit held work up.",
            |group| Value::seconds(group.throttled_us, MICRO),
        ),
        gauge(
            "container_spec_cpu_quota",
            "Processor time that may be used per period, microseconds.",
            |group| quota(group.cpu_limit_cores),
        ),
        gauge(
            "container_spec_cpu_period",
            "Period of the processor limit, microseconds, taken as the usual one.",
            |group| group.cpu_limit_cores.map(|_| PERIOD_US).into(),
        ),
        gauge("container_memory_usage_bytes", "Memory in use, file cache included.", |group| {
            group.memory_usage_bytes.into()
        }),
        gauge(WORKING_SET.0, WORKING_SET.1, |group| {
            let parts = group.memory_usage_bytes.zip(group.memory_inactive_file_bytes);
            parts.map(|(usage, inactive)| usage.saturating_sub(inactive)).into()
        }),
        gauge("container_memory_cache", "File cache, bytes.", |group| {
            group.memory_cache_bytes.into()
        }),
        gauge("container_memory_rss", "Anonymous memory, bytes.", |group| {
            group.memory_rss_bytes.into()
        }),
        gauge("container_memory_swap", "Swap in use, bytes.", |group| group.swap_bytes.into()),
        gauge(MEMORY_LIMIT.0, MEMORY_LIMIT.1, |group| group.memory_limit_bytes.into()),
        counter("container_oom_events_total", "Processes killed for want of memory.", |group| {
            group.oom_kills.into()
        }),
        gauge("container_threads", "Processes and threads.", |group| group.pids.into()),
        gauge("container_threads_max", "Processes and threads that there may be.", |group| {
            group.pids_limit.into()
        }),
    ];
    let label = ("id", "/");
    cpu_usage(writer, &[(label, Value::seconds(group.cpu_us, MICRO))]);
    table(writer, &ROWS, &[([label], group)]);
}

/// The containers of the task, by name, as far as they have figures.
fn task(writer: &mut Writer, reading: &TaskReading) {
    const NETWORK: [Row<Usage>; 8] = [
        counter("container_network_receive_bytes_total", "Bytes received.", |usage| {
            usage.receive.map(|counters| counters.bytes).into()
        }),
        counter("container_network_receive_packets_total", "Packets received.", |usage| {
            usage.receive.map(|counters| counters.packets).into()
        }),
        counter("container_network_receive_errors_total", "Faulty packets received.", |usage| {
            usage.receive.map(|counters| counters.errors).into()
        }),
        counter(
            "container_network_receive_packets_dropped_total",
            "Packets dropped on receipt.",
            |usage| usage.receive.map(|counters| counters.drops).into(),
        ),
        counter("container_network_transmit_bytes_total", "Bytes sent.", |usage| {
            usage.transmit.map(|counters| counters.bytes).into()
        }),
        counter("container_network_transmit_packets_total", "Packets sent.", |usage| {
            usage.transmit.map(|counters| counters.packets).into()
        }),
        counter(
            "container_network_transmit_errors_total",
            "Packets that could not be sent.",
            |usage| usage.transmit.map(|counters| counters.errors).into(),
        ),
        counter(
            "container_network_transmit_packets_dropped_total",
            "Packets dropped before sending.",
            |usage| usage.transmit.map(|counters| counters.drops).into(),
        ),
    ];
    const ROWS: [Row<Usage>; 3] = [
        gauge(WORKING_SET.0, WORKING_SET.1, |usage| usage.memory_used_bytes.into()),
        counter("container_fs_reads_bytes_total", "Bytes read from disks.", |usage| {
            usage.read_bytes.into()
        }),
        counter("container_fs_writes_bytes_total", "Bytes written to disks.", |usage| {
            usage.write_bytes.into()
        }),
    ];
    let mut seen = BTreeSet::new();
    let members: Vec<_> = reading
        .task
        .containers
        .iter()
        .filter_map(|container| {
            let usage = &reading.usage;
            // The usage is in the order of the ids.
            let at = usage.binary_search_by(|usage| usage.id.cmp(&container.id)).ok()?;
            Some((("name", container.name.as_str()), container, usage.get(at)?))
        })
        .filter(|(label, ..)| seen.insert(*label))
        .collect();
    let used = members.iter().map(|(label, _, usage)| (*label, Value::seconds(usage.cpu_ns, NANO)));
    cpu_usage(writer, &used.collect::<Vec<_>>());
    let mut limits = writer.family(MEMORY_LIMIT.0, Kind::Gauge, MEMORY_LIMIT.1);
    for (label, container, _) in &members {
        limits.add(&[*label], container.memory_limit_bytes.into());
    }
    let items: Vec<_> = members.iter().map(|(label, _, usage)| ([*label], *usage)).collect();
    table(writer, &ROWS, &items);
    if reading.task.shares_network {
        // Every container counts the same interfaces: one series for the task.
        let newest = items.iter().filter(|(_, usage)| usage.receive.is_some());
        let newest = newest.max_by_key(|(_, usage)| usage.read_unix_ms);
        let items: Vec<_> = newest.map(|(_, usage)| ([("id", "/")], *usage)).into_iter().collect();
        table(writer, &NETWORK, &items);
    } else {
        table(writer, &NETWORK, &items);
    }
}

/// Families of groups and of tasks alike.
const WORKING_SET: (&str, &str) = (
    "container_memory_working_set_bytes",
    "Memory in use without the file cache that would be given back first.",
);
const MEMORY_LIMIT: (&str, &str) =
    ("container_spec_memory_limit_bytes", "Memory that may be used; left out without a limit.");

fn cpu_usage(writer: &mut Writer, used: &[(Label, Value)]) {
    let mut samples =
        writer.family("container_cpu_usage_seconds_total", Kind::Counter, "Processor time used.");
    for (label, value) in used {
        samples.add(&[("cpu", "total"), *label], *value);
    }
}

/// The kernel's usual period of the processor limit. The reading has quota over period only, and
/// dashboards take no more of the two than that.
const PERIOD_US: u64 = 100_000;

fn quota(limit_cores: Option<f64>) -> Value {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    limit_cores.map(|cores| (cores * PERIOD_US as f64).round() as u64).into()
}

#[cfg(test)]
mod tests;
