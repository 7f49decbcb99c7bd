//! Metrics of the control group that the service runs in.

use super::cores_used;
use crate::collect::cgroup::Container;
use crate::rounding::percent;

/// Metrics of the group; its rates need an earlier reading.
pub(super) fn container(
    before: Option<&Container>,
    after: &Container,
    seconds: f64,
    processors: Option<u32>,
) -> wire::Container {
    let before = before.filter(|before| before.groups == after.groups);
    let advanced = |counter: fn(&Container) -> Option<u64>| {
        Some(counter(after)?.checked_sub(counter(before?)?)? as f64)
    };
    let periods = advanced(|container| container.periods);
    let throttled = advanced(|container| container.throttled_periods);
    let cpuset = after.cpuset_cores.map(f64::from);
    let limits = [after.cpu_limit_cores, cpuset];
    // The cpuset is the group's own; the quota may be that of an ancestor.
    let is_cpuset = cpuset.zip(after.cpu_limit_cores).is_some_and(|(set, quota)| set < quota);
    let cpu_us = |group: &Container| {
        if is_cpuset { group.cpu_us } else { group.cpu_us_in_limit.or_own(group.cpu_us) }
    };
    wire::Container {
        cgroup_version: after.version,
        cpu_limit_cores: limits.into_iter().flatten().reduce(f64::min),
        cpu_used_cores: before
            .and_then(cpu_us)
            .zip(cpu_us(after))
            .and_then(|(before, after)| cores_used([before, after], 1e6, seconds, processors)),
        throttled: periods
            .zip(throttled)
            .map(|(periods, throttled)| percent(throttled, periods).unwrap_or(0.0)),
        memory_limit_bytes: after.memory_limit_bytes,
        memory_used_bytes: after.memory_bytes_in_limit.or_own(after.memory_used_bytes()),
        oom_kills: after.oom_kills,
        pids: after.pids_in_limit.or_own(after.pids),
        pids_limit: after.pids_limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::cgroup::UsageInLimit;

    #[test]
    fn cpu_use_is_per_second_and_throttling_per_period() {
        let before = Container {
            cpu_us: Some(1_000_000),
            periods: Some(10),
            throttled_periods: Some(1),
            ..Container::default()
        };
        let after = Container {
            cpu_us: Some(1_250_000),
            periods: Some(20),
            throttled_periods: Some(4),
            ..before
        };
        let container = container(Some(&before), &after, 0.5, None);
        assert_eq!(container.cpu_used_cores, Some(0.5));
        assert_eq!(container.throttled, Some(30.0));
    }

    #[test]
    fn an_idle_group_was_not_throttled() {
        let still =
            Container { periods: Some(1), throttled_periods: Some(1), ..Container::default() };
        assert_eq!(container(Some(&still), &still, 1.0, None).throttled, Some(0.0));
        assert_eq!(container(None, &still, 1.0, None).throttled, None);
    }

    #[test]
    fn reclaimable_cache_is_not_in_use() {
        let group = Container {
            memory_usage_bytes: Some(100),
            memory_reclaimable_bytes: Some(30),
            ..Container::default()
        };
        assert_eq!(container(None, &group, 1.0, None).memory_used_bytes, Some(70));
        let late = Container { memory_reclaimable_bytes: Some(110), ..group };
        assert_eq!(container(None, &late, 1.0, None).memory_used_bytes, None);
        let late = Container { memory_rss_bytes: Some(60), ..late };
        assert_eq!(container(None, &late, 1.0, None).memory_used_bytes, Some(60));
    }

    #[test]
    fn a_limit_of_an_ancestor_is_compared_with_the_use_of_that_ancestor() {
        let group = |cpu_us| Container {
            cpu_limit_cores: Some(2.0),
            cpu_us: Some(0),
            cpu_us_in_limit: UsageInLimit::Ancestor(Some(cpu_us)),
            memory_limit_bytes: Some(256),
            memory_usage_bytes: Some(10),
            memory_bytes_in_limit: UsageInLimit::Ancestor(Some(250)),
            pids: Some(3),
            pids_in_limit: UsageInLimit::Ancestor(None),
            ..Container::default()
        };
        let container = container(Some(&group(0)), &group(1_900_000), 1.0, None);
        assert_eq!(container.cpu_used_cores, Some(1.9));
        assert_eq!((container.memory_used_bytes, container.pids), (Some(250), None));
    }

    #[test]
    fn counters_of_different_groups_are_not_compared() {
        let own = Container {
            cpu_us: Some(1_000_000),
            periods: Some(10),
            throttled_periods: Some(1),
            ..Container::default()
        };
        let moved = Container { groups: (1, 0), cpu_us: Some(9_000_000_000), ..own };
        assert_eq!(container(Some(&own), &moved, 1.0, None).cpu_used_cores, None);
        assert_eq!(container(Some(&own), &moved, 1.0, None).throttled, None);
        // A limit was set for a parent, which has used more.
        let limited = Container {
            groups: (0, 1),
            cpu_limit_cores: Some(2.0),
            cpu_us_in_limit: UsageInLimit::Ancestor(Some(9_000_000_000)),
            ..own
        };
        assert_eq!(container(Some(&own), &limited, 1.0, None).cpu_used_cores, None);
        assert_eq!(container(Some(&limited), &limited, 1.0, None).cpu_used_cores, Some(0.0));
    }

    #[test]
    fn the_tighter_of_quota_and_cpuset_applies() {
        let group =
            Container { cpu_limit_cores: Some(1.5), cpuset_cores: Some(1), ..Container::default() };
        assert_eq!(container(None, &group, 1.0, None).cpu_limit_cores, Some(1.0));
    }

    #[test]
    fn a_cpuset_that_is_tighter_than_the_limit_of_an_ancestor_is_compared_with_the_own_use() {
        let group = |cpu_us, of_slice| Container {
            cpu_limit_cores: Some(4.0),
            cpuset_cores: Some(1),
            cpu_us: Some(cpu_us),
            cpu_us_in_limit: UsageInLimit::Ancestor(Some(of_slice)),
            ..Container::default()
        };
        let used = |before, after| container(Some(&before), &after, 1.0, None).cpu_used_cores;
        assert_eq!(used(group(0, 0), group(100_000, 3_500_000)), Some(0.1));
        let wide =
            |cpu_us, of_slice| Container { cpuset_cores: Some(6), ..group(cpu_us, of_slice) };
        assert_eq!(used(wide(0, 0), wide(100_000, 3_500_000)), Some(3.5));
    }
}
