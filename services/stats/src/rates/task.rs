//! Metrics of the ECS task that the service is part of.

use super::host::traffic;
use super::{cores_used, per_second};
use crate::collect::ecs_task::{Container, Usage};
use crate::collect::network::Counters;
use crate::reading::TaskReading;
use crate::rounding::ten_thousandths;

/// Maximum time between two readings of the endpoint, milliseconds. They are a second apart, unless
/// requests failed or the endpoint's clock was set.
const MAX_INTERVAL_MS: u64 = 30_000;

/// Metrics of the task. Rates use the times of the endpoint's own two readings.
pub(super) fn task(reading: &TaskReading, processors: Option<u32>) -> wire::Task {
    let mut containers: Vec<_> = reading
        .task
        .containers
        .iter()
        .map(|container| container_metrics(container, reading, processors))
        .collect();
    // With a shared network, each container counts the traffic of all; the first one that reports
    // any counts as the task's.
    let shared = |direction: fn(&wire::TaskContainer) -> Option<wire::Traffic>| {
        reading.task.shares_network.then(|| containers.iter().find_map(direction)).flatten()
    };
    let (receive, transmit) =
        (shared(|container| container.receive), shared(|container| container.transmit));
    if reading.task.shares_network {
        for container in &mut containers {
            (container.receive, container.transmit) = (None, None);
        }
    }
    // A container that runs and has no rate yet is missing in the sum. The last counters of one that
    // has stopped can remain.
    let is_missing = |(container, metrics): (&Container, &wire::TaskContainer)| {
        let counts = |usage: &Usage| usage.id == container.id && usage.cpu_ns.is_some();
        let runs = container.status != "STOPPED" && reading.usage.iter().any(counts);
        runs && metrics.cpu_used_cores.is_none()
    };
    let is_complete = !reading.task.containers.iter().zip(&containers).any(is_missing);
    let cpu_used = containers.iter().filter_map(|container| container.cpu_used_cores);
    let memory_used = containers.iter().filter_map(|container| container.memory_used_bytes);
    wire::Task {
        receive,
        transmit,
        family: reading.task.family.clone(),
        revision: reading.task.revision.clone(),
        cpu_limit_cores: reading.task.cpu_limit_cores,
        cpu_used_cores: cpu_used.reduce(|a, b| a + b).filter(|_| is_complete).map(ten_thousandths),
        memory_limit_bytes: reading.task.memory_limit_bytes,
        memory_used_bytes: memory_used.reduce(u64::saturating_add),
        ephemeral_storage_bytes: reading.task.storage_bytes,
        ephemeral_storage_used_bytes: reading.task.storage_used_bytes,
        age_ms: reading.age_ms,
        containers,
    }
}

fn container_metrics(
    container: &Container,
    reading: &TaskReading,
    processors: Option<u32>,
) -> wire::TaskContainer {
    let usage_in = |usages: &[Usage]| usages.iter().find(|usage| usage.id == container.id).cloned();
    let now = usage_in(&reading.usage);
    let pair = usage_in(&reading.usage_before).zip(now.clone()).and_then(|(before, now)| {
        let ms = now.read_unix_ms.checked_sub(before.read_unix_ms)?;
        let ms = Some(ms).filter(|ms| (1..=MAX_INTERVAL_MS).contains(ms))?;
        Some((before, now, ms as f64 / 1000.0))
    });
    let rate = |counter: fn(&Usage) -> Option<u64>| {
        let (before, now, seconds) = pair.as_ref()?;
        per_second(counter(before)?, counter(now)?, *seconds)
    };
    let direction = |counters: fn(&Usage) -> Option<Counters>| {
        let (before, now, seconds) = pair.as_ref()?;
        traffic(&counters(before)?, &counters(now)?, *seconds)
    };
    wire::TaskContainer {
        name: container.name.clone(),
        status: container.status.clone(),
        cpu_limit_cores: container.cpu_limit_cores,
        cpu_used_cores: pair.as_ref().and_then(|(before, now, seconds)| {
            cores_used([before.cpu_ns?, now.cpu_ns?], 1e9, *seconds, processors)
        }),
        memory_limit_bytes: container.memory_limit_bytes,
        memory_used_bytes: now.and_then(|now| now.memory_used_bytes),
        receive: direction(|usage| usage.receive),
        transmit: direction(|usage| usage.transmit),
        read_bytes_per_second: rate(|usage| usage.read_bytes),
        write_bytes_per_second: rate(|usage| usage.write_bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::collect::ecs_task::Task;

    fn usage(id: &str, read_unix_ms: u64, cpu_ns: u64) -> Usage {
        Usage {
            id: id.to_owned(),
            read_unix_ms,
            cpu_ns: Some(cpu_ns),
            memory_used_bytes: Some(1000),
            read_bytes: Some(cpu_ns),
            ..Usage::default()
        }
    }

    fn reading(before: Vec<Usage>, now: Vec<Usage>) -> TaskReading {
        let container = |id: &str| Container {
            id: id.to_owned(),
            name: format!("name of {id}"),
            ..Container::default()
        };
        TaskReading {
            task: Arc::new(Task {
                cpu_limit_cores: Some(0.25),
                containers: vec![container("a"), container("b")],
                ..Task::default()
            }),
            usage: Arc::new(now),
            usage_before: Arc::new(before),
            age_ms: 12,
        }
    }

    #[test]
    fn rates_use_the_endpoints_times_and_sums_include_all_containers() {
        let before = vec![usage("b", 500, 0), usage("a", 1000, 0)];
        let now = vec![usage("a", 2000, 100_000_000), usage("b", 2500, 100_000_000)];
        let task = task(&reading(before, now), None);
        let used: Vec<_> =
            task.containers.iter().map(|container| container.cpu_used_cores).collect();
        assert_eq!(used, [Some(0.1), Some(0.05)]);
        assert_eq!((task.cpu_used_cores, task.memory_used_bytes), (Some(0.15), Some(2000)));
        assert_eq!(task.containers[0].read_bytes_per_second, Some(1e8));
    }

    #[test]
    fn a_shared_network_is_counted_once() {
        let with_bytes = |id: &str, read_unix_ms, bytes| Usage {
            receive: Some(Counters { bytes, ..Counters::default() }),
            transmit: Some(Counters::default()),
            ..usage(id, read_unix_ms, 0)
        };
        let at = |time, bytes| vec![with_bytes("a", time, bytes), with_bytes("b", time, bytes)];
        let mut reading = reading(at(1000, 0), at(2000, 500));
        assert!(
            task(&reading, None).containers.iter().all(|container| container.receive.is_some())
        );
        let own = Task { shares_network: true, ..(*reading.task).clone() };
        reading.task = Arc::new(own);
        let task = task(&reading, None);
        assert_eq!(task.receive.unwrap().bytes_per_second.to_bits(), 500.0_f64.to_bits());
        assert!(
            task.containers
                .iter()
                .all(|container| container.receive.is_none() && container.transmit.is_none())
        );
    }

    #[test]
    fn there_is_no_rate_over_a_step_of_the_endpoints_clock() {
        let over = |ms: u64| {
            let before = vec![usage("a", 1_000_000, 0)];
            let now = vec![usage("a", 1_000_000 + ms, 500_000_000)];
            task(&reading(before, now), None).cpu_used_cores
        };
        assert_eq!((over(1000), over(10_000)), (Some(0.5), Some(0.05)));
        assert_eq!((over(0), over(3_601_000)), (None, None));
    }

    #[test]
    fn a_container_that_has_just_started_has_no_rate() {
        let task = task(&reading(vec![], vec![usage("a", 2000, 5)]), None);
        assert_eq!(task.containers[0].cpu_used_cores, None);
        assert_eq!(task.containers[0].memory_used_bytes, Some(1000));
        assert_eq!(task.containers[1].memory_used_bytes, None);
        assert_eq!(task.cpu_used_cores, None);
    }

    #[test]
    fn the_sum_is_unknown_while_a_container_that_runs_has_no_rate() {
        let before = || vec![usage("a", 1000, 0), usage("b", 1000, 900)];
        let used = |b: Usage| {
            let now = vec![usage("a", 2000, 100_000_000), b];
            let task = task(&reading(before(), now), Some(2));
            (task.containers[0].cpu_used_cores, task.cpu_used_cores)
        };
        assert_eq!(used(usage("b", 2000, 900)), (Some(0.1), Some(0.1)));
        // Its counter was reset, and it jumps.
        assert_eq!(used(usage("b", 2000, 5)), (Some(0.1), None));
        assert_eq!(used(usage("b", 2000, 9_000_000_000_000)), (Some(0.1), None));
        let without = Usage { cpu_ns: None, ..usage("b", 2000, 0) };
        assert_eq!(used(without), (Some(0.1), Some(0.1)));
    }

    #[test]
    fn the_last_counters_of_a_stopped_container_do_not_make_the_sum_unknown() {
        let now = vec![usage("a", 2000, 100_000_000), usage("b", 1000, 900)];
        let mut reading = reading(vec![usage("a", 1000, 0)], now);
        assert_eq!(task(&reading, None).cpu_used_cores, None);
        let mut stopped = (*reading.task).clone();
        stopped.containers[1].status = "STOPPED".to_owned();
        reading.task = Arc::new(stopped);
        assert_eq!(task(&reading, None).cpu_used_cores, Some(0.1));
    }
}
