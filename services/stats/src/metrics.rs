//! A reading as metrics for scrapers. Pure.
//!
//! Names, types, labels and units are those of `node_exporter`, and those of cAdvisor for the
//! control group and the containers of a task, so that existing dashboards work. Metrics without a
//! counterpart there are named `stats_`.

mod containers;
mod processes;
mod state;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::exposition::{Kind, Label, Value, Writer};

pub(crate) use crate::exposition::{Format, end};

use crate::BUILD;
use crate::collect::cpu::{Stat, Times};
use crate::collect::filesystem::Mount;
use crate::collect::on_scrape::COLLECTORS;
use crate::collect::pressure::Stalls;
use crate::rates::Exposure;
use crate::reading::{Filesystem, Pressure, Reading, Scrape};

/// Renders the newest reading and its sample.
pub(crate) fn render(
    reading: &Reading,
    sample: &wire::Sample,
    format: Format,
    exposed: Exposure,
) -> String {
    let mut writer = Writer::new(format, expected_length(reading));
    scope(&mut writer, sample);
    state::state(&mut writer, sample);
    sources(&mut writer, reading);
    time(&mut writer, sample);
    if let Some(stat) = &reading.stat {
        processors(&mut writer, stat);
        kernel(&mut writer, stat);
    }
    if let Some(load) = reading.load {
        averages(&mut writer, load.averages);
    }
    if let Some(scan) = reading.processes.as_ref().filter(|_| exposed.processes) {
        processes::processes(&mut writer, scan);
    }
    pressure(&mut writer, reading.pressure);
    filesystems(&mut writer, reading, exposed);
    if let Some(reading) = &reading.task {
        containers::task(&mut writer, reading);
    } else if let Some(group) = &reading.container {
        containers::container(&mut writer, group);
    }
    writer.finish()
}

/// Estimated size for names of usual length, which avoids reallocations.
fn expected_length(reading: &Reading) -> usize {
    const BASE_BYTES: usize = 16 << 10;
    let cores = reading.stat.as_ref().map_or(0, |stat| stat.cores.len());
    let containers = reading.task.as_ref().map_or(0, |reading| reading.task.containers.len());
    let lines = cores * 10
        + (reading.disks.len() + reading.networks.len() + reading.filesystems.len()) * 8
        + containers * 16;
    BASE_BYTES + lines * 72
}

/// Row of a table: one metric family and the accessor of its value.
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

/// Writes each row as a family with one sample per item.
// Inlining would copy it for each table instead of each type.
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

/// The service, the age of its newest sample, and the numbers of announcements to gateways that
/// were accepted and that failed. Valid even if sampling has stalled.
pub(crate) fn service(
    sequence: u64,
    age_seconds: f64,
    announcements: Option<[u64; 2]>,
    format: Format,
) -> String {
    let mut writer = Writer::new(format, 1024);
    writer
        .family("stats_build_info", Kind::Gauge, "The version of the service, always 1.")
        .add(&[("revision", BUILD.commit()), ("version", BUILD.version)], 1.into());
    writer
        .family("stats_samples_total", Kind::Counter, "Samples that the service has taken.")
        .add(&[], sequence.into());
    writer
        .family("stats_sample_age_seconds", Kind::Gauge, "Age of the newest sample.")
        .add(&[], Value::float(Some(age_seconds)));
    if let Some([sent, failed]) = announcements {
        let help = "Announcements of this instance to gateways, by result.";
        let mut samples = writer.family("stats_announcements_total", Kind::Counter, help);
        samples.add(&[("result", "accepted")], sent.into());
        samples.add(&[("result", "failed")], failed.into());
    }
    writer.finish()
}

/// Metrics of the scope.
fn scope(writer: &mut Writer, sample: &wire::Sample) {
    let scope = match sample.scope.kind {
        wire::ScopeKind::Host => "host",
        wire::ScopeKind::Container => "container",
        wire::ScopeKind::Task => "task",
    };
    let ratio = |percent: Option<f64>| Value::float(percent.map(|percent| percent / 100.0));
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

/// Time of the sample.
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
        writer.family(name, Kind::Gauge, help).add(&[], Value::float(Some(average)));
    }
}

fn pressure(writer: &mut Writer, pressure: Pressure) {
    let waited =
        |stalls: Option<Stalls>| Value::seconds(stalls.map(|stalls| stalls.some.total_us), MICRO);
    let stalled = |stalls: Option<Stalls>| {
        Value::seconds(stalls.and_then(|stalls| stalls.full).map(|full| full.total_us), MICRO)
    };
    // CPU has no such family: for the whole system, the kernel does not account time in which all
    // tasks waited.
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
    // Two mounts at the same mount point would be a duplicate series, which scrapers reject.
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
    // An empty label keeps the label set of the series.
    let source = if exposed.mounts { mount.source.as_str() } else { "" };
    [("device", source), ("fstype", mount.kind.as_str()), ("mountpoint", mount.point.as_str())]
}

/// Metrics that are collected during a scrape, and the outcome of each collector.
pub(crate) fn on_scrape(scrape: &Scrape, format: Format) -> String {
    let mut writer = Writer::new(format, 64 << 10);
    for (index, collected) in &scrape.collected {
        if let Some(collector) = COLLECTORS.get(*index) {
            (collector.write)(&collected.texts, &mut writer);
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
        duration.add(&[("collector", collected.name)], Value::float(collected.seconds));
    }
    writer.finish()
}

#[cfg(test)]
mod tests;
