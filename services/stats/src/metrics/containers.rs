//! Control group of the service, and containers of its task.

use std::collections::BTreeSet;

use super::{MICRO, NANO, Row, counter, gauge, table};
use crate::collect::cgroup::Container;
use crate::collect::ecs_task::Usage;
use crate::exposition::{Kind, Label, Value, Writer};
use crate::reading::TaskReading;

/// Writes the service's own control group with the ID of the root.
pub(super) fn container(writer: &mut Writer, group: &Container) {
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
        gauge(WORKING_SET.0, WORKING_SET.1, |group| group.working_set_bytes().into()),
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

/// Writes the containers of the task that have metrics, by name.
pub(super) fn task(writer: &mut Writer, reading: &TaskReading) {
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
        gauge(WORKING_SET.0, WORKING_SET.1, |usage| usage.working_set_bytes.into()),
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
            // The usage is sorted by ID.
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
    for (name, help, bytes) in [
        (
            "ecs_task_ephemeral_storage_allocated_bytes",
            "Size of the task's ephemeral storage.",
            reading.task.storage_bytes,
        ),
        (
            "ecs_task_ephemeral_storage_used_bytes",
            "Ephemeral storage that the task uses.",
            reading.task.storage_used_bytes,
        ),
    ] {
        writer.family(name, Kind::Gauge, help).add(&[], bytes.into());
    }
    if reading.task.shares_network {
        // All containers report the same interfaces, so the task has one series.
        let newest = items.iter().filter(|(_, usage)| usage.receive.is_some());
        let newest = newest.max_by_key(|(_, usage)| usage.read_unix_ms);
        let items: Vec<_> = newest.map(|(_, usage)| ([("id", "/")], *usage)).into_iter().collect();
        table(writer, &NETWORK, &items);
    } else {
        table(writer, &NETWORK, &items);
    }
}

/// Families that groups and tasks share.
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

/// Default CFS period of the kernel. The reading has only quota divided by period, which is also
/// all that dashboards use.
const PERIOD_US: u64 = 100_000;

fn quota(limit_cores: Option<f64>) -> Value {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    limit_cores.map(|cores| (cores * PERIOD_US as f64).round() as u64).into()
}

#[cfg(test)]
mod tests;
