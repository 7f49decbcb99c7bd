//! Scope of `cpu` and `ram` in a sample: the tightest effective limit, unless configured. Pure.

use wire::{Scope, ScopeKind};

use crate::rounding::percent;

/// Setting `STATS_SCOPE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ScopePreference {
    /// The task if it has a limit, else the container if it has a limit, else the host.
    #[default]
    Auto,
    Host,
    Container,
    Task,
}

impl ScopePreference {
    /// Expected values of the setting.
    pub(crate) const EXPECTED: &str = "one of auto, host, container, task";

    /// Parses the setting.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "auto" => Self::Auto,
            "host" => Self::Host,
            "container" => Self::Container,
            "task" => Self::Task,
            _ => return None,
        })
    }
}

/// Capacity and use of the host: the values of the host scope, and the upper bound of every limit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Capacity {
    /// Busy share of all processors, percent.
    pub(crate) cpu: Option<f64>,
    pub(crate) processors: Option<u32>,
    pub(crate) memory_used_bytes: Option<u64>,
    pub(crate) memory_bytes: Option<u64>,
}

/// Use of a scope, percent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Utilization {
    pub(crate) cpu: Option<f64>,
    pub(crate) ram: Option<f64>,
}

/// Scopes that could not be read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unknown {
    /// A task exists whose first metrics may still arrive.
    pub(crate) task_is_pending: bool,
    /// A task exists whose endpoint has not responded.
    pub(crate) task: bool,
    /// A control group may exist.
    pub(crate) container: bool,
}

/// Selects the effective scope and its values.
pub(crate) fn select(
    preference: ScopePreference,
    host: Capacity,
    container: Option<&wire::Container>,
    task: Option<&wire::Task>,
    unknown: Unknown,
) -> (Scope, Utilization) {
    let container = container.map(|container| Resources {
        cpu_limit_cores: container.cpu_limit_cores,
        cpu_used_cores: container.cpu_used_cores,
        memory_limit_bytes: container.memory_limit_bytes,
        memory_used_bytes: container.memory_used_bytes,
    });
    let task = task.map(|task| Resources {
        cpu_limit_cores: task.cpu_limit_cores,
        cpu_used_cores: task.cpu_used_cores,
        memory_limit_bytes: task.memory_limit_bytes,
        memory_used_bytes: task.memory_used_bytes,
    });
    let limited = |resources: &Resources| resources.limits(host).is_some();
    match preference {
        ScopePreference::Auto | ScopePreference::Task if unknown.task_is_pending => {
            (pending_task(), Utilization::default())
        }
        ScopePreference::Auto => {
            if let Some(task) = task.filter(limited) {
                of(ScopeKind::Task, "the ECS task", task, host)
            } else if let Some(container) = container.filter(limited) {
                of(ScopeKind::Container, "the control group", container, host)
            } else {
                of_host(no_limit(unknown), host)
            }
        }
        ScopePreference::Host => of_host(CONFIGURED, host),
        ScopePreference::Container => {
            configured(ScopeKind::Container, "the control group", container, host)
        }
        ScopePreference::Task => configured(ScopeKind::Task, "the ECS task", task, host),
    }
}

/// Reason for the host scope, without claims about scopes that could not be read.
fn no_limit(unknown: Unknown) -> &'static str {
    match (unknown.task, unknown.container) {
        (false, false) => "neither a task nor a control group has a limit below the host's",
        (true, false) => {
            "the task metadata endpoint does not answer; no control group has a limit below the host's"
        }
        (false, true) => "the control group cannot be read",
        (true, true) => {
            "the task metadata endpoint does not answer and the control group cannot be read"
        }
    }
}

const CONFIGURED: &str = "configured by STATS_SCOPE";

/// Limits and use of a part of the host.
#[derive(Clone, Copy)]
struct Resources {
    cpu_limit_cores: Option<f64>,
    cpu_used_cores: Option<f64>,
    memory_limit_bytes: Option<u64>,
    memory_used_bytes: Option<u64>,
}

impl Resources {
    /// Use divided by the limit; without a limit, by the host's capacity.
    fn utilization(&self, host: Capacity) -> Utilization {
        let processors = host.processors.map(f64::from);
        let cores = [self.cpu_limit_cores, processors].into_iter().flatten().reduce(f64::min);
        let bytes = [self.memory_limit_bytes, host.memory_bytes].into_iter().flatten().min();
        let cpu = self.cpu_used_cores.zip(cores);
        let ram = self.memory_used_bytes.zip(bytes);
        Utilization {
            cpu: cpu.and_then(|(used, limit)| percent(used, limit)),
            ram: ram.and_then(|(used, limit)| percent(used as f64, limit as f64)),
        }
    }

    /// Description of the effective limits, which are those below the host's capacity.
    fn limits(&self, host: Capacity) -> Option<String> {
        let cores = self
            .cpu_limit_cores
            .filter(|&limit| host.processors.is_none_or(|all| limit < f64::from(all)))
            .map(|limit| format!("{} CPU", rounded(limit)));
        let bytes = self
            .memory_limit_bytes
            .filter(|&limit| host.memory_bytes.is_none_or(|all| limit < all))
            .map(format_bytes);
        match (cores, bytes) {
            (Some(cores), Some(bytes)) => Some(format!("{cores} and {bytes} of memory")),
            (Some(cores), None) => Some(cores),
            (None, Some(bytes)) => Some(format!("{bytes} of memory")),
            (None, None) => None,
        }
    }
}

fn of(kind: ScopeKind, name: &str, resources: Resources, host: Capacity) -> (Scope, Utilization) {
    let reason = match resources.limits(host) {
        Some(limits) => format!("{name} is limited to {limits}"),
        None => format!("{CONFIGURED}; {name} has no limit below the host's"),
    };
    (Scope { kind, reason }, resources.utilization(host))
}

fn of_host(reason: &str, host: Capacity) -> (Scope, Utilization) {
    let ram = host.memory_used_bytes.zip(host.memory_bytes);
    let utilization = Utilization {
        cpu: host.cpu,
        ram: ram.and_then(|(used, all)| percent(used as f64, all as f64)),
    };
    (Scope { kind: ScopeKind::Host, reason: reason.to_owned() }, utilization)
}

/// A configured scope that does not exist has no values, because those of another scope would be
/// mistaken for its own.
fn configured(
    kind: ScopeKind,
    name: &str,
    resources: Option<Resources>,
    host: Capacity,
) -> (Scope, Utilization) {
    let Some(resources) = resources else {
        let reason = format!("{CONFIGURED}, but {name} of this process cannot be read");
        return (Scope { kind, reason }, Utilization::default());
    };
    of(kind, name, resources, host)
}

fn pending_task() -> Scope {
    let reason = "the task's metadata endpoint has not answered yet".to_owned();
    Scope { kind: ScopeKind::Task, reason }
}

/// Size in the largest binary unit, with one decimal.
fn format_bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = UNITS.into_iter().find(|(_, size)| bytes >= *size);
    unit.map_or_else(
        || format!("{bytes} bytes"),
        |(name, size)| format!("{} {name}", (bytes as f64 / size as f64 * 10.0).round() / 10.0),
    )
}

fn rounded(cores: f64) -> f64 {
    (cores * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWAITED: Unknown = Unknown { task_is_pending: true, task: false, container: false };

    const GIB: u64 = 1 << 30;
    const HOST: Capacity = Capacity {
        cpu: Some(40.0),
        processors: Some(4),
        memory_used_bytes: Some(2 * GIB),
        memory_bytes: Some(8 * GIB),
    };

    fn container(cpu_limit_cores: Option<f64>, memory_limit_bytes: Option<u64>) -> wire::Container {
        wire::Container {
            cpu_limit_cores,
            cpu_used_cores: Some(0.25),
            memory_limit_bytes,
            memory_used_bytes: Some(GIB / 4),
            ..wire::Container::default()
        }
    }

    fn task() -> wire::Task {
        wire::Task {
            cpu_limit_cores: Some(1.0),
            cpu_used_cores: Some(0.1),
            memory_limit_bytes: Some(GIB),
            memory_used_bytes: Some(GIB / 2),
            ..wire::Task::default()
        }
    }

    fn chosen(
        preference: ScopePreference,
        container: Option<&wire::Container>,
    ) -> (ScopeKind, Utilization, String) {
        let (scope, utilization) = select(preference, HOST, container, None, Unknown::default());
        (scope.kind, utilization, scope.reason)
    }

    fn utilization(cpu: f64, ram: f64) -> Utilization {
        Utilization { cpu: Some(cpu), ram: Some(ram) }
    }

    #[test]
    fn without_a_limit_the_scope_is_the_host() {
        let (kind, host, _) = chosen(ScopePreference::Auto, None);
        assert_eq!((kind, host), (ScopeKind::Host, utilization(40.0, 25.0)));
        let unlimited = container(None, None);
        assert_eq!(chosen(ScopePreference::Auto, Some(&unlimited)).0, ScopeKind::Host);
        let above_the_host = container(Some(4.0), Some(8 * GIB));
        assert_eq!(chosen(ScopePreference::Auto, Some(&above_the_host)).0, ScopeKind::Host);
    }

    #[test]
    fn a_limited_container_is_measured_against_its_limits() {
        let limited = container(Some(0.5), Some(GIB / 2));
        let (kind, used, reason) = chosen(ScopePreference::Auto, Some(&limited));
        assert_eq!((kind, used), (ScopeKind::Container, utilization(50.0, 50.0)));
        assert_eq!(reason, "the control group is limited to 0.5 CPU and 512 MiB of memory");
    }

    #[test]
    fn a_resource_without_a_limit_is_limited_by_the_host() {
        let (_, used, reason) = chosen(ScopePreference::Auto, Some(&container(Some(0.5), None)));
        assert_eq!(used, utilization(50.0, 3.13));
        assert_eq!(reason, "the control group is limited to 0.5 CPU");
        let (_, used, reason) = chosen(ScopePreference::Auto, Some(&container(None, Some(GIB))));
        assert_eq!(used, utilization(6.25, 25.0));
        assert_eq!(reason, "the control group is limited to 1 GiB of memory");
    }

    #[test]
    fn the_task_takes_precedence_over_the_container_and_is_awaited() {
        let limited = container(Some(0.5), None);
        let (scope, used) =
            select(ScopePreference::Auto, HOST, Some(&limited), Some(&task()), Unknown::default());
        assert_eq!((scope.kind, used), (ScopeKind::Task, utilization(10.0, 50.0)));
        let (scope, used) = select(ScopePreference::Auto, HOST, Some(&limited), None, AWAITED);
        assert_eq!((scope.kind, used), (ScopeKind::Task, Utilization::default()));
        let (scope, _) =
            select(ScopePreference::Auto, HOST, Some(&limited), None, Unknown::default());
        assert_eq!(scope.kind, ScopeKind::Container);
    }

    #[test]
    fn a_configured_scope_is_used_or_left_out_but_never_replaced() {
        let limited = container(Some(0.5), None);
        assert_eq!(chosen(ScopePreference::Host, Some(&limited)).0, ScopeKind::Host);
        let (kind, used, _) = chosen(ScopePreference::Container, Some(&container(None, None)));
        assert_eq!((kind, used), (ScopeKind::Container, utilization(6.25, 3.13)));
        let (kind, used, reason) = chosen(ScopePreference::Container, None);
        assert_eq!((kind, used), (ScopeKind::Container, Utilization::default()));
        assert!(reason.contains("cannot be read"), "{reason}");
        assert_eq!(chosen(ScopePreference::Task, Some(&limited)).1, Utilization::default());
    }

    #[test]
    fn the_reason_claims_nothing_about_unreadable_scopes() {
        let reason = |task, container| {
            let unknown = Unknown { task_is_pending: false, task, container };
            select(ScopePreference::Auto, HOST, None, None, unknown).0.reason
        };
        assert!(reason(false, false).starts_with("neither a task nor a control group has"));
        assert_eq!(reason(false, true), "the control group cannot be read");
        assert!(reason(true, false).starts_with("the task metadata endpoint does not answer; no"));
        assert!(!reason(true, true).contains("limit"));
    }

    #[test]
    fn a_task_without_metrics_keeps_its_scope() {
        let task = wire::Task { cpu_used_cores: None, memory_used_bytes: None, ..task() };
        let unknown = Unknown::default();
        let (scope, used) = select(ScopePreference::Auto, HOST, None, Some(&task), unknown);
        assert_eq!((scope.kind, used), (ScopeKind::Task, Utilization::default()));
    }

    #[test]
    fn use_above_the_limit_is_100_percent() {
        let mut burst = container(Some(0.2), None);
        burst.cpu_used_cores = Some(0.21);
        assert_eq!(chosen(ScopePreference::Auto, Some(&burst)).1.cpu, Some(100.0));
    }
}
