//! States, alerts and events: what is wrong, where, and since when.

use serde::{Deserialize, Serialize};

/// How bad something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// No alert is active.
    #[default]
    Normal,
    /// The worst active alert is a warning.
    Warning,
    /// At least one critical alert is active.
    Critical,
}

/// A value outside of its limits, for longer than its rule tolerates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Alert {
    /// The measured quantity.
    pub subject: Subject,
    /// The target, where there are several: a mount point, a device, a processor, a container or a source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// `warning` or `critical`.
    pub state: State,
    /// The latest value.
    pub value: f64,
    /// The unit of `value` and `threshold`.
    pub unit: Unit,
    /// The limit of the rule.
    pub threshold: f64,
    /// When the value went out of its limits, milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
    /// The process or container that used most of it, where these are shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// The subject of an alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// `cpu` of the sample.
    #[default]
    Cpu,
    /// One processor.
    Core,
    /// `ram` of the sample.
    Memory,
    /// Swap in use.
    Swap,
    /// Load average over one minute, of the processors.
    Load,
    /// Time in which work waited for a processor.
    PressureCpu,
    /// Time in which work waited for memory.
    PressureMemory,
    /// Time in which work waited for disks.
    PressureIo,
    /// Processor time that the hypervisor gave to others.
    Steal,
    /// Space of a filesystem.
    Filesystem,
    /// Inodes of a filesystem.
    Inodes,
    /// A filesystem that became read-only.
    Readonly,
    /// A disk.
    Disk,
    /// A network interface.
    Interface,
    /// Processor time of a container, of its own limit.
    ContainerCpu,
    /// Memory of a container, of its own limit.
    ContainerMemory,
    /// Periods in which the processor limit of the control group held up work.
    Throttling,
    /// Processes killed because memory ran out.
    Oom,
    /// Processes created.
    Forks,
    /// Steps of the clock.
    Clock,
    /// A source of the service that cannot be read.
    Source,
}

impl Subject {
    /// Every subject with its name.
    pub const ALL: [(Self, &'static str); 21] = [
        (Self::Cpu, "cpu"),
        (Self::Core, "core"),
        (Self::Memory, "memory"),
        (Self::Swap, "swap"),
        (Self::Load, "load"),
        (Self::PressureCpu, "pressure_cpu"),
        (Self::PressureMemory, "pressure_memory"),
        (Self::PressureIo, "pressure_io"),
        (Self::Steal, "steal"),
        (Self::Filesystem, "filesystem"),
        (Self::Inodes, "inodes"),
        (Self::Readonly, "readonly"),
        (Self::Disk, "disk"),
        (Self::Interface, "interface"),
        (Self::ContainerCpu, "container_cpu"),
        (Self::ContainerMemory, "container_memory"),
        (Self::Throttling, "throttling"),
        (Self::Oom, "oom"),
        (Self::Forks, "forks"),
        (Self::Clock, "clock"),
        (Self::Source, "source"),
    ];

    /// Its name in JSON, settings and metrics.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// The unit of a value that alerts look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Percent.
    #[default]
    Percent,
    /// Bytes per second.
    BytesPerSecond,
    /// A count, or a count per second.
    Count,
    /// Seconds.
    Seconds,
    /// 1 while it is so.
    Boolean,
}

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// When it was noticed, milliseconds since the Unix epoch.
    pub time_unix_ms: u64,
    /// The kind of the event.
    pub kind: EventKind,
    /// The affected target, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// A readable description.
    pub text: String,
}

/// The kind of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The service started.
    #[default]
    Restart,
    /// The service started with another version.
    Deploy,
    /// The kernel killed a process because memory ran out.
    OomKill,
    /// The processor limit of the control group began to hold up work.
    Throttling,
    /// The clock was set.
    ClockStep,
    /// A limit, or the size of the machine, changed.
    Limit,
    /// A source of the service can no longer be read.
    SourceLost,
    /// A source of the service can be read again.
    SourceBack,
    /// An alert was raised, changed its severity or ended.
    Alert,
}

/// The answer of `/stats/events`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Events {
    /// The process that answers.
    pub instance: String,
    /// The events, oldest first.
    pub events: Vec<Event>,
}

/// The answer of `/stats/top`: the processes that used most, second by second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TopHistory {
    /// The process that answers.
    pub instance: String,
    /// Every process, or container, that is among them at some time.
    pub processes: Vec<TopProcess>,
    /// The end of each second, milliseconds since the Unix epoch.
    pub times_unix_ms: Vec<u64>,
    /// For each second up to three: place in `processes`, and processor time in percent of all that
    /// the machine (for containers: the task) has.
    pub cpu: Vec<Vec<(u32, f64)>>,
    /// For each second up to three: place in `processes`, and resident memory in bytes.
    pub memory: Vec<Vec<(u32, u64)>>,
}

/// A process, or a container of an ECS task.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct TopProcess {
    /// Its number; absent for containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its name.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_has_the_same_name_everywhere() {
        for (place, (subject, name)) in Subject::ALL.into_iter().enumerate() {
            assert_eq!(subject as usize, place);
            assert_eq!(subject.name(), name);
            assert_eq!(serde_json::to_string(&subject).unwrap(), format!("\"{name}\""));
        }
    }

    #[test]
    fn states_are_ordered_by_severity() {
        assert!(State::Normal < State::Warning && State::Warning < State::Critical);
    }
}
