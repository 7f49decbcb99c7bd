//! Top consumer among processes or containers of a task, which an alert reports as its cause.

use wire::{Sample, Subject};

/// Minimum share of the CPU time in use for a process to be reported.
const CPU_SHARE: f64 = 0.25;

/// Minimum share of the memory in use, lower because many processes share it.
const MEMORY_SHARE: f64 = 0.1;

/// Minimum use of a process that keeps one processor busy, in processors.
const ONE_CORE: f64 = 0.8;

/// Causes in one sample.
#[derive(Debug, Default)]
pub(super) struct Causes {
    cpu: Option<String>,
    core: Option<String>,
    memory: Option<String>,
}

impl Causes {
    /// Causes in a sample; none if neither processes nor containers are exposed.
    pub(super) fn of(sample: &Sample) -> Self {
        match (&sample.top, &sample.task) {
            (Some(top), _) => Self::of_processes(sample, top),
            (None, Some(task)) => Self::of_containers(task),
            (None, None) => Self::default(),
        }
    }

    fn of_processes(sample: &Sample, top: &wire::Top) -> Self {
        let name = |process: &wire::Process| format!("{} ({})", process.name, process.pid);
        let first = top.by_cpu.first().and_then(|process| Some((process, process.cpu_cores?)));
        let busy = sample
            .processors
            .as_ref()
            .and_then(|all| Some(all.total?.busy / 100.0 * f64::from(all.online)));
        let used = sample.memory.map(|memory| memory.used_bytes as f64);
        let by_cpu = |least: f64| {
            first
                .filter(|(_, cores)| *cores > 0.0 && *cores >= least)
                .map(|(process, _)| name(process))
        };
        let memory = top.by_memory.first();
        Self {
            cpu: busy.and_then(|busy| by_cpu(busy * CPU_SHARE)),
            core: by_cpu(ONE_CORE),
            memory: memory
                .zip(used)
                .filter(|(process, used)| process.memory_bytes as f64 >= used * MEMORY_SHARE)
                .map(|(process, _)| name(process)),
        }
    }

    fn of_containers(task: &wire::Task) -> Self {
        let cpu = task
            .containers
            .iter()
            .filter_map(|container| Some((container, container.cpu_used_cores?)));
        let memory = task
            .containers
            .iter()
            .filter_map(|container| Some((container, container.memory_used_bytes?)));
        let cpu = cpu
            .max_by(|(_, a), (_, b)| a.total_cmp(b))
            .map(|(container, _)| container.name.clone());
        let memory =
            memory.max_by_key(|(_, bytes)| *bytes).map(|(container, _)| container.name.clone());
        Self { core: cpu.clone(), cpu, memory }
    }

    /// Cause of an alert about this subject.
    pub(super) fn of_subject(&self, subject: Subject) -> Option<String> {
        match subject {
            Subject::Cpu | Subject::Load | Subject::PressureCpu | Subject::Throttling => {
                self.cpu.clone()
            }
            Subject::Core => self.core.clone(),
            Subject::Memory | Subject::Swap | Subject::PressureMemory | Subject::Oom => {
                self.memory.clone()
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(cores: f64, bytes: u64) -> Sample {
        let process = wire::Process {
            pid: 812,
            name: "postgres".to_owned(),
            cpu_cores: Some(cores),
            memory_bytes: bytes,
        };
        let total = wire::Shares { busy: 50.0, ..wire::Shares::default() };
        Sample {
            processors: Some(wire::Processors { online: 4, total: Some(total), cores: vec![] }),
            memory: Some(wire::Memory { used_bytes: 1000, ..wire::Memory::default() }),
            top: Some(wire::Top { by_cpu: vec![process.clone()], by_memory: vec![process] }),
            ..Sample::default()
        }
    }

    #[test]
    fn a_process_is_reported_if_its_share_is_large() {
        let causes = Causes::of(&sample(0.5, 100));
        assert_eq!(causes.of_subject(Subject::Cpu).as_deref(), Some("postgres (812)"));
        assert_eq!(causes.of_subject(Subject::Memory).as_deref(), Some("postgres (812)"));
        assert_eq!(causes.of_subject(Subject::Core), None);
        assert_eq!(causes.of_subject(Subject::Disk), None);
        let causes = Causes::of(&sample(0.4, 99));
        assert_eq!(causes.of_subject(Subject::Cpu), None);
        assert_eq!(causes.of_subject(Subject::Memory), None);
        assert!(Causes::of(&sample(1.0, 0)).of_subject(Subject::Core).is_some());
    }

    #[test]
    fn in_a_task_the_container_is_reported() {
        let container = |name: &str, cores, bytes| wire::TaskContainer {
            name: name.to_owned(),
            cpu_used_cores: Some(cores),
            memory_used_bytes: Some(bytes),
            ..wire::TaskContainer::default()
        };
        let task = wire::Task {
            containers: vec![container("app", 0.5, 10), container("stats", 0.1, 20)],
            ..wire::Task::default()
        };
        let causes = Causes::of(&Sample { task: Some(task), ..Sample::default() });
        assert_eq!(causes.of_subject(Subject::Cpu).as_deref(), Some("app"));
        assert_eq!(causes.of_subject(Subject::Oom).as_deref(), Some("stats"));
        assert_eq!(Causes::of(&Sample::default()).of_subject(Subject::Cpu), None);
    }
}
