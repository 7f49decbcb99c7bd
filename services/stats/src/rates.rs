//! Derivation of a sample from two readings and the time between them. Pure.

mod container;
mod host;
mod task;

pub(crate) use host::remove_resets;

use crate::reading::Reading;
use crate::rounding::{hundredths, ten_thousandths};
use crate::scope::{self, Capacity, ScopePreference, Unknown};

/// Optional content of a sample (`STATS_EXPOSE`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exposure {
    /// Host name.
    pub(crate) hostname: bool,
    /// Source of each mount, in addition to its mount point.
    pub(crate) mounts: bool,
    /// Process names.
    pub(crate) processes: bool,
}

/// Derives the metrics of a sample from two readings that are `seconds` apart. The sampler adds
/// instance, time and sequence number.
pub(crate) fn sample(
    before: &Reading,
    after: &Reading,
    seconds: f64,
    scope_preference: ScopePreference,
    exposed: Exposure,
) -> wire::Sample {
    let stat_seconds = elapsed_seconds(before.times.stat, after.times.stat, seconds);
    let processors = host::processors(before.stat.as_ref(), after.stat.as_ref(), stat_seconds);
    let memory = after.memory.as_ref();
    let memory = memory.map(|memory| host::memory(memory, after.zfs_reclaimable_bytes));
    let capacity = Capacity {
        cpu: processors.as_ref().and_then(|all| Some(all.total?.busy)),
        // Without lines of single processors, their number is unknown.
        processors: processors.as_ref().map(|all| all.online).filter(|&online| online > 0),
        memory_used_bytes: memory.map(|memory| memory.used_bytes),
        memory_bytes: memory.map(|memory| memory.total_bytes),
    };
    let container = after.container.as_ref().map(|now| {
        let seconds = elapsed_seconds(before.times.container, after.times.container, seconds);
        container::container(before.container.as_ref(), now, seconds, capacity.processors)
    });
    let task = after.task.as_ref().map(|reading| task::task(reading, capacity.processors));
    let unknown = Unknown {
        task_is_pending: after.task_is_pending,
        task: after.task_is_unknown,
        container: after.container_is_unknown,
    };
    let (scope, utilization) =
        scope::select(scope_preference, capacity, container.as_ref(), task.as_ref(), unknown);
    wire::Sample {
        cpu: utilization.cpu,
        ram: utilization.ram,
        scope,
        uptime_seconds: after.uptime_seconds,
        load: after.load.map(|load| load.averages),
        processes: host::processes(before, after, stat_seconds),
        processors,
        memory,
        pressure: host::pressure(after.pressure),
        disks: host::disks(
            &before.disks,
            &after.disks,
            elapsed_seconds(before.times.disks, after.times.disks, seconds),
        ),
        networks: host::networks(
            &before.networks,
            &after.networks,
            elapsed_seconds(before.times.networks, after.times.networks, seconds),
        ),
        network_scope: after.network_scope,
        mounts_scope: after.mounts_scope,
        filesystems: after
            .filesystems
            .iter()
            .map(|filesystem| host::filesystem(filesystem, exposed))
            .collect(),
        container,
        task,
        top: after
            .processes
            .as_deref()
            .filter(|_| exposed.processes)
            .map(|scan| host::top(scan, capacity.processors)),
        ..wire::Sample::default()
    }
}

/// Time between two reads of the same source. It can differ from the time between the readings,
/// because a slow source delays the ones after it.
fn elapsed_seconds(before: Option<f64>, after: Option<f64>, readings: f64) -> f64 {
    let difference = after.zip(before).map(|(after, before)| after - before);
    difference.filter(|&seconds| seconds > 0.0).unwrap_or(readings)
}

/// Maximum rate of a counter. No interface or disk moves a terabyte per second, but the counters of
/// faulty drivers jump.
const MAX_PER_SECOND: f64 = 1e12;

/// Increase of a counter per second, with two decimals; `None` after a counter reset or a jump.
fn per_second(before: u64, after: u64, seconds: f64) -> Option<f64> {
    let rate = hundredths(after.checked_sub(before)? as f64 / seconds);
    (rate < MAX_PER_SECOND).then_some(rate)
}

/// Processors used between two values of a counter of CPU time; `None` after a counter reset or a
/// jump. On some hypervisors, the kernel adds up the times of the processors while they change. The
/// limit has room for a delay between a read and its time.
fn cores_used(
    [before, after]: [u64; 2],
    per_second: f64,
    seconds: f64,
    processors: Option<u32>,
) -> Option<f64> {
    let cores = ten_thousandths(after.checked_sub(before)? as f64 / per_second / seconds);
    processors.is_none_or(|all| cores <= 2.0 * f64::from(all)).then_some(cores)
}

/// Increase of a counter that wraps at 32 bits (the milliseconds of `/proc/diskstats`). A decrease
/// from the last quarter of the range to the first one is a wrap; any other decrease is a counter
/// reset, which yields `None`.
fn advance_32_bits(before: u64, after: u64) -> Option<u64> {
    const RANGE: u64 = 1 << 32;
    match after.checked_sub(before) {
        None if (RANGE / 4 * 3..RANGE).contains(&before) && after < RANGE / 4 => {
            Some(after + RANGE - before)
        }
        difference => difference,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::cgroup::Container;
    use crate::collect::cpu::{self, Stat};
    use crate::collect::disk::Disk;
    use crate::collect::network::{Counters, Interface};
    use crate::reading::Times;

    #[test]
    fn a_counter_reset_or_jump_has_no_rate_and_a_32_bit_counter_wraps() {
        assert_eq!(per_second(100, 150, 2.0), Some(25.0));
        assert_eq!(per_second(3_500_000_000, 1500, 1.0), None);
        assert_eq!(per_second(1500, 1500 + (1 << 40), 1.0), None);
        assert_eq!(per_second(0, 100_000_000_000, 1.0), Some(1e11));
        assert_eq!(advance_32_bits(100, 150), Some(50));
        assert_eq!(advance_32_bits(100, 90), None);
        assert_eq!(advance_32_bits((1 << 32) - 10, 20), Some(30));
        assert_eq!(advance_32_bits((1 << 32) + 10, 20), None);
        assert_eq!(advance_32_bits(u64::MAX, 0), None);
    }

    #[test]
    fn cpu_time_that_the_processors_cannot_provide_is_unknown() {
        // https://github.com/livekit/agents/pull/7113
        let used = |after, processors| cores_used([1_000_000, after], 1e6, 0.5, processors);
        assert_eq!(used(1_250_000, Some(2)), Some(0.5));
        assert_eq!(used(1_002_100, Some(2)), Some(0.0042));
        assert_eq!(used(3_000_000, Some(2)), Some(4.0));
        assert_eq!(used(3_100_000, Some(2)), None);
        assert_eq!(used(3_100_000, None), Some(4.2));
        assert_eq!(used(900_000, Some(2)), None);
    }

    #[test]
    fn a_rate_refers_to_the_time_between_the_reads_of_its_source() {
        let reading = |at, count| Reading {
            stat: Some(Stat { context_switches: Some(count), ..Stat::default() }),
            times: Times { stat: Some(at), ..Times::default() },
            ..Reading::default()
        };
        // Another source delayed the second reading.
        let (preference, exposed) = (ScopePreference::Auto, Exposure::default());
        let sample = sample(&reading(1.0, 0), &reading(2.0, 500), 1.25, preference, exposed);
        assert_eq!(sample.processes.unwrap().context_switches_per_second, Some(500.0));
    }

    #[test]
    fn the_return_of_a_counter_after_a_reset_is_no_traffic() {
        // https://github.com/netdata/netdata/issues/6077
        let reading = |bytes, writes| Reading {
            networks: vec![Interface {
                name: "eth0".to_owned(),
                transmit: Counters { bytes, ..Counters::default() },
                ..Interface::default()
            }],
            disks: vec![Disk { name: "sda".to_owned(), writes, ..Disk::default() }],
            ..Reading::default()
        };
        let readings = [(5000, 70), (0, 0), (5100, 72), (5300, 75), (5300, 74), (5300, 74)];
        let mut before = Reading::default();
        let rates = readings.map(|(bytes, writes)| {
            let mut after = reading(bytes, writes);
            remove_resets(&before, &mut after);
            let (preference, exposed) = (ScopePreference::Auto, Exposure::default());
            let sample = sample(&before, &after, 1.0, preference, exposed);
            before = after;
            let sent = sample.networks.first().map(|one| one.transmit.bytes_per_second);
            (sent, sample.disks.first().map(|one| one.writes_per_second))
        });
        let absent = (None, None);
        let (busy, written_off) = ((Some(200.0), Some(3.0)), (Some(0.0), None));
        assert_eq!(rates, [absent, absent, absent, busy, written_off, written_off]);
    }

    #[test]
    fn a_limit_applies_if_the_number_of_processors_is_unknown() {
        let reading = |ticks, cpu_us| Reading {
            stat: Some(Stat {
                total: cpu::Times { idle: ticks, ..cpu::Times::default() },
                ..Stat::default()
            }),
            container: Some(Container {
                cpu_limit_cores: Some(2.0),
                cpu_us: Some(cpu_us),
                ..Container::default()
            }),
            ..Reading::default()
        };
        let (preference, exposed) = (ScopePreference::Auto, Exposure::default());
        let sample = sample(&reading(0, 0), &reading(100, 500_000), 1.0, preference, exposed);
        assert_eq!((sample.scope.kind, sample.cpu), (wire::ScopeKind::Container, Some(25.0)));
    }

    #[test]
    fn a_sample_of_empty_readings_has_only_a_scope() {
        let nothing = Reading::default();
        let sample = sample(&nothing, &nothing, 1.0, ScopePreference::Auto, Exposure::default());
        let scope = sample.scope.clone();
        assert_eq!(scope.kind, wire::ScopeKind::Host);
        assert_eq!(sample, wire::Sample { scope, ..wire::Sample::default() });
    }
}
