//! Values of a sample that rules evaluate.

use wire::{Sample, ScopeKind, Subject};

use super::Quantity;
use super::signals::Signals;
use crate::history::{outer_networks, whole_disks};
use crate::reading::Reading;

/// Target of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target<'a> {
    /// The subject has only one target.
    Only,
    Name(&'a str),
    Number(u32),
}

/// One value of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Measurement<'a> {
    pub(super) subject: Subject,
    pub(super) quantity: Quantity,
    pub(super) target: Target<'a>,
    pub(super) value: f64,
}

/// Visits every known value; absent values are skipped.
pub(super) fn visit<'a>(
    sample: &'a Sample,
    reading: &'a Reading,
    signals: &'a Signals,
    mut visit: impl FnMut(Measurement<'a>),
) {
    let mut add = |subject, target, value: Option<f64>| {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            visit(Measurement { subject, quantity: Quantity::Main, target, value });
        }
    };
    let mut only = |subject, value| add(subject, Target::Only, value);
    only(Subject::Cpu, sample.cpu);
    only(Subject::Memory, sample.ram);
    let swap = sample.memory.and_then(|memory| {
        let total = memory.swap_total_bytes.filter(|&total| total > 0)?;
        Some(memory.swap_used_bytes? as f64 / total as f64 * 100.0)
    });
    only(Subject::Swap, swap);
    let online = sample.processors.as_ref().map(|all| all.online).filter(|&online| online > 0);
    let load = sample.load.zip(online);
    only(Subject::Load, load.map(|([one, ..], online)| one / f64::from(online) * 100.0));
    let pressure = sample.pressure.unwrap_or_default();
    for (subject, stalls) in [
        (Subject::PressureCpu, pressure.cpu),
        (Subject::PressureMemory, pressure.memory),
        (Subject::PressureIo, pressure.io),
    ] {
        only(subject, stalls.map(|stalls| stalls.some.avg10));
    }
    let total = sample.processors.as_ref().and_then(|processors| processors.total);
    only(Subject::Steal, total.map(|total| total.steal));
    let group = sample.container.as_ref();
    only(Subject::Throttling, group.and_then(|group| group.throttled));
    only(Subject::Oom, signals.oom_kills());
    only(Subject::Forks, sample.processes.and_then(|all| all.forks_per_second));
    only(Subject::Clock, signals.clock_step_seconds());
    cores(sample, &mut add);
    filesystems(reading, signals, &mut add);
    ephemeral_storage(sample, &mut add);
    containers(sample, &mut add);
    for (source, is_up) in &reading.sources {
        add(Subject::Source, Target::Name(source), Some(if *is_up { 0.0 } else { 1.0 }));
    }
    devices(sample, &mut visit);
}

/// Visits the processors, unless there is only one, where `cpu` has the same value.
fn cores<'a>(sample: &'a Sample, add: &mut impl FnMut(Subject, Target<'a>, Option<f64>)) {
    let Some(processors) = sample.processors.as_ref().filter(|all| all.online > 1) else { return };
    for core in &processors.cores {
        add(Subject::Core, Target::Number(core.id), Some(core.shares.busy));
    }
}

/// Visits the state, space and inodes of each filesystem. Used space is computed as by `df`: as a
/// share of the space that unprivileged processes can use.
fn filesystems<'a>(
    reading: &'a Reading,
    signals: &Signals,
    add: &mut impl FnMut(Subject, Target<'a>, Option<f64>),
) {
    for filesystem in &reading.filesystems {
        let point = filesystem.mount.point.as_str();
        let share = |used: u64, free: u64| {
            let all = used.saturating_add(free);
            (all > 0).then(|| used as f64 / all as f64 * 100.0)
        };
        let became_read_only = signals.became_read_only(filesystem);
        let became = f64::from(u8::from(became_read_only));
        add(Subject::Readonly, Target::Name(point), Some(became));
        // An image is always full.
        if filesystem.read_only && !became_read_only {
            continue;
        }
        let used = filesystem.size_bytes.saturating_sub(filesystem.free_bytes);
        let space = share(used, filesystem.available_bytes);
        add(Subject::Filesystem, Target::Name(point), space);
        let inodes = filesystem.files.saturating_sub(filesystem.files_free);
        add(Subject::Inodes, Target::Name(point), share(inodes, filesystem.files_free));
    }
}

/// Visits the task's ephemeral storage, which its containers share, as a filesystem.
fn ephemeral_storage<'a>(
    sample: &'a Sample,
    add: &mut impl FnMut(Subject, Target<'a>, Option<f64>),
) {
    let task = sample.task.as_ref();
    let storage = task
        .and_then(|task| task.ephemeral_storage_used_bytes.zip(task.ephemeral_storage_bytes))
        .filter(|(_, size)| *size > 0);
    let share = storage.map(|(used, size)| used as f64 / size as f64 * 100.0);
    add(Subject::Filesystem, Target::Name("ephemeral storage"), share);
}

/// Visits the memory of the task's containers with own limits; without a task the control group, if
/// `cpu` and `ram` have another scope.
fn containers<'a>(sample: &'a Sample, add: &mut impl FnMut(Subject, Target<'a>, Option<f64>)) {
    let mut add_shares =
        |target, cpu: (Option<f64>, Option<f64>), memory: (Option<u64>, Option<u64>)| {
            let percent = |used: f64, limit: f64| (limit > 0.0).then(|| used / limit * 100.0);
            let cpu = cpu.0.zip(cpu.1).and_then(|(used, limit)| percent(used, limit));
            add(Subject::ContainerCpu, target, cpu);
            let memory = memory.0.zip(memory.1);
            let memory = memory.and_then(|(used, limit)| percent(used as f64, limit as f64));
            add(Subject::ContainerMemory, target, memory);
        };
    if let Some(task) = &sample.task {
        for container in &task.containers {
            // CPU units of a container are a share, which it may exceed up to the task's limit.
            add_shares(
                Target::Name(&container.name),
                (None, None),
                (container.memory_used_bytes, container.memory_limit_bytes),
            );
        }
    } else if let Some(group) = &sample.container
        && sample.scope.kind != ScopeKind::Container
    {
        add_shares(
            Target::Only,
            (group.cpu_used_cores, group.cpu_limit_cores),
            (group.memory_used_bytes, group.memory_limit_bytes),
        );
    }
}

fn devices<'a>(sample: &'a Sample, visit: &mut impl FnMut(Measurement<'a>)) {
    for disk in whole_disks(sample) {
        let mut add = |quantity, value| {
            visit(Measurement {
                subject: Subject::Disk,
                quantity,
                target: Target::Name(&disk.name),
                value,
            });
        };
        add(Quantity::Main, disk.utilisation);
        add(Quantity::Throughput, disk.read_bytes_per_second + disk.write_bytes_per_second);
    }
    for network in outer_networks(sample) {
        let target = Target::Name(&network.name);
        let mut add = |quantity, value| {
            visit(Measurement { subject: Subject::Interface, quantity, target, value });
        };
        let (receive, transmit) = (network.receive, network.transmit);
        let faults = [receive, transmit]
            .map(|direction| direction.errors_per_second + direction.drops_per_second);
        add(Quantity::Main, faults.into_iter().sum());
        add(Quantity::Throughput, receive.bytes_per_second.max(transmit.bytes_per_second));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_units_of_a_container_of_a_task_are_no_limit() {
        let container = wire::TaskContainer {
            name: "app".to_owned(),
            cpu_limit_cores: Some(0.25),
            cpu_used_cores: Some(0.5),
            memory_limit_bytes: Some(100),
            memory_used_bytes: Some(80),
            ..wire::TaskContainer::default()
        };
        let task = wire::Task { containers: vec![container], ..wire::Task::default() };
        let sample = Sample { task: Some(task), ..Sample::default() };
        let (reading, signals) = (Reading::default(), Signals::default());
        let mut found = Vec::new();
        visit(&sample, &reading, &signals, |value| {
            if value.target == Target::Name("app") {
                found.push((value.subject, value.value));
            }
        });
        assert_eq!(found, [(Subject::ContainerMemory, 80.0)]);
    }
}
