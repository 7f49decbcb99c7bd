//! Top three consumers of CPU and memory per second.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use wire::{Sample, TopHistory, TopProcess};

/// Number of seconds. With the names, a second has at most 700 bytes; the seconds between two
/// process scans share them. The total is 0.1 MB for processes, 0.3 MB for the containers of a
/// task, and nothing if neither is exposed.
const MAX_SECONDS: usize = 600;

/// Number of entries in each list.
const TOP_ENTRIES: usize = 3;

/// Maximum length of a name, bytes; names from the kernel have at most 15.
const MAX_NAME_BYTES: usize = 64;

/// Top consumers, oldest first.
#[derive(Debug, Default)]
pub(super) struct TopLog {
    seconds: VecDeque<(u64, Arc<Second>)>,
}

#[derive(Debug, Default, PartialEq)]
struct Second {
    cpu: Vec<(TopProcess, f64)>,
    memory: Vec<(TopProcess, u64)>,
}

impl TopLog {
    pub(super) fn push(&mut self, sample: &Sample) {
        let second = match (&sample.top, &sample.task) {
            (Some(top), _) => of_processes(sample, top),
            (None, Some(task)) => of_containers(sample, task),
            (None, None) => return,
        };
        // After the clock was set back, entries of the future are dropped.
        let time = sample.time_unix_ms;
        while self.seconds.back().is_some_and(|(newest, _)| *newest >= time) {
            self.seconds.pop_back();
        }
        if self.seconds.len() >= MAX_SECONDS {
            self.seconds.pop_front();
        }
        let second = match self.seconds.back() {
            Some((_, last)) if **last == second => last.clone(),
            _ => Arc::new(second),
        };
        self.seconds.push_back((time, second));
    }

    /// Entries of the last `seconds` before the newest one.
    pub(super) fn last(&self, seconds: u32) -> TopHistory {
        let newest = self.seconds.back().map_or(0, |(time, _)| *time);
        let is_shown = |time: u64| newest.saturating_sub(time) < u64::from(seconds) * 1000;
        let mut indexes = BTreeMap::new();
        let mut history = TopHistory::default();
        for (time, second) in self.seconds.iter().filter(|(time, _)| is_shown(*time)) {
            let mut index = |process: &'_ TopProcess| {
                *indexes.entry(process.clone()).or_insert_with(|| {
                    history.processes.push(process.clone());
                    u32::try_from(history.processes.len() - 1).unwrap_or(u32::MAX)
                })
            };
            let cpu = second.cpu.iter().map(|(process, share)| (index(process), *share)).collect();
            let memory =
                second.memory.iter().map(|(process, bytes)| (index(process), *bytes)).collect();
            history.times_unix_ms.push(*time);
            history.cpu.push(cpu);
            history.memory.push(memory);
        }
        history
    }
}

fn of_processes(sample: &Sample, top: &wire::Top) -> Second {
    let named = |process: &wire::Process| TopProcess {
        pid: Some(process.pid),
        name: truncated(&process.name),
    };
    let online = sample.processors.as_ref().map(|all| f64::from(all.online));
    let share = |process: &wire::Process| {
        let share = percent(process.cpu_cores?, online?)?;
        Some((named(process), share))
    };
    let memory = top.by_memory.iter().take(TOP_ENTRIES);
    Second {
        cpu: top.by_cpu.iter().filter_map(share).take(TOP_ENTRIES).collect(),
        memory: memory.map(|process| (named(process), process.memory_bytes)).collect(),
    }
}

fn of_containers(sample: &Sample, task: &wire::Task) -> Second {
    let named = |container: &wire::TaskContainer| TopProcess {
        pid: None,
        name: truncated(&container.name),
    };
    let online = sample.processors.as_ref().map(|all| f64::from(all.online));
    let all = [task.cpu_limit_cores, online].into_iter().flatten().reduce(f64::min);
    let share = |container: &wire::TaskContainer| {
        Some((named(container), percent(container.cpu_used_cores?, all?)?))
    };
    let mut cpu: Vec<_> = task.containers.iter().filter_map(share).collect();
    cpu.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    cpu.truncate(TOP_ENTRIES);
    let bytes =
        |container: &wire::TaskContainer| Some((named(container), container.memory_used_bytes?));
    let mut memory: Vec<_> = task.containers.iter().filter_map(bytes).collect();
    memory.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    memory.truncate(TOP_ENTRIES);
    Second { cpu, memory }
}

/// Share in percent; `None` if nothing was used.
fn percent(cores: f64, all: f64) -> Option<f64> {
    (cores > 0.0 && all > 0.0).then(|| (cores / all * 10_000.0).round() / 100.0)
}

fn truncated(name: &str) -> String {
    name.char_indices()
        .take_while(|(at, character)| at + character.len_utf8() <= MAX_NAME_BYTES)
        .map(|(_, character)| character)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, cores: f64, memory_bytes: u64) -> wire::Process {
        wire::Process { pid, name: format!("p{pid}"), cpu_cores: Some(cores), memory_bytes }
    }

    fn sample(second: u64, by_cpu: Vec<wire::Process>) -> Sample {
        Sample {
            time_unix_ms: 1_795_000_000_000 + second * 1000,
            processors: Some(wire::Processors { online: 4, ..wire::Processors::default() }),
            top: Some(wire::Top { by_memory: by_cpu.clone(), by_cpu }),
            ..Sample::default()
        }
    }

    #[test]
    fn three_are_kept_as_indexes_into_the_list_of_names() {
        let mut log = TopLog::default();
        log.push(&sample(1, (1..=5).map(|pid| process(pid, 2.0, 10)).collect()));
        log.push(&sample(2, vec![process(9, 1.0, 7), process(2, 0.0, 5)]));
        let top = log.last(600);
        let pids: Vec<_> = top.processes.iter().map(|process| process.pid.unwrap()).collect();
        assert_eq!(pids, [1, 2, 3, 9]);
        assert_eq!(top.cpu, [vec![(0, 50.0), (1, 50.0), (2, 50.0)], vec![(3, 25.0)]]);
        assert_eq!(top.memory[1], [(3, 7), (1, 5)]);
        assert_eq!(top.times_unix_ms, [1_795_000_001_000, 1_795_000_002_000]);
        assert_eq!(log.last(1).times_unix_ms, [1_795_000_002_000]);
    }

    #[test]
    fn the_memory_is_bounded_and_the_seconds_of_a_scan_share_it() {
        let mut log = TopLog::default();
        for second in 0..2000 {
            log.push(&sample(second, vec![process(1, 1.0, second / 5)]));
        }
        assert_eq!(log.seconds.len(), MAX_SECONDS);
        let shared = log.seconds.iter().filter(|(_, second)| Arc::strong_count(second) == 5);
        assert_eq!(shared.count(), MAX_SECONDS);
        log.push(&sample(1990, vec![process(1, 1.0, 1)]));
        assert_eq!(log.last(1).times_unix_ms, [1_795_000_000_000 + 1_990_000]);
    }

    #[test]
    fn in_a_task_the_top_consumers_are_its_containers() {
        let container = |name: &str, cores, bytes| wire::TaskContainer {
            name: name.to_owned(),
            cpu_used_cores: Some(cores),
            memory_used_bytes: Some(bytes),
            ..wire::TaskContainer::default()
        };
        let task = wire::Task {
            cpu_limit_cores: Some(0.5),
            containers: vec![container("app", 0.1, 10), container(&"n".repeat(100), 0.25, 5)],
            ..wire::Task::default()
        };
        let mut log = TopLog::default();
        log.push(&Sample { task: Some(task), ..sample(1, vec![]) });
        assert!(log.last(600).cpu[0].is_empty(), "processes come first");
        let task = Sample { top: None, ..sample(2, vec![]) };
        let containers = vec![container("app", 0.1, 10), container(&"n".repeat(100), 0.25, 5)];
        let own = wire::Task { cpu_limit_cores: Some(0.5), containers, ..wire::Task::default() };
        log.push(&Sample { task: Some(own), ..task });
        let top = log.last(1);
        assert_eq!(top.cpu, [vec![(0, 50.0), (1, 20.0)]]);
        assert_eq!(top.memory, [vec![(1, 10), (0, 5)]]);
        assert_eq!((top.processes[0].name.len(), top.processes[0].pid), (MAX_NAME_BYTES, None));
    }
}
