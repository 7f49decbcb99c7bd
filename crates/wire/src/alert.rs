//! States, alerts and events.

use serde::{Deserialize, Serialize};

/// Severity of the worst active alert, or of one alert.
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

/// A value outside its limit for at least the duration of its rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Alert {
    /// The measured quantity.
    pub subject: Subject,
    /// The affected mount point, device, processor, container or source, if there are several.
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
    /// Time when the value went outside its limit, milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
    /// The process or container with the highest use of the resource. Absent if unknown or not
    /// exposed.
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
    /// Load average over one minute, relative to the number of processors.
    Load,
    /// CPU pressure.
    PressureCpu,
    /// Memory pressure.
    PressureMemory,
    /// I/O pressure.
    PressureIo,
    /// CPU time that the hypervisor used for other guests.
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
    /// CPU use of a container, relative to its own limit.
    ContainerCpu,
    /// Memory use of a container, relative to its own limit.
    ContainerMemory,
    /// Share of periods in which the CPU limit throttled the control group.
    Throttling,
    /// Processes that the OOM killer killed.
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

    /// The name in JSON, settings and metrics.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// The unit of a measured value and its threshold.
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
    /// 1 while the condition holds.
    Boolean,
}

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// Time of detection, milliseconds since the Unix epoch.
    pub time_unix_ms: u64,
    /// The kind of the event.
    pub kind: EventKind,
    /// The affected target, if there are several.
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
    /// The OOM killer killed a process.
    OomKill,
    /// The CPU limit of the control group started to throttle it.
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

/// The response of `/stats/events`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Events {
    /// The instance of the service.
    pub instance: String,
    /// The events, oldest first.
    pub events: Vec<Event>,
}

/// The response of `/stats/top`: the top processes, or containers of an ECS task, in each second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TopHistory {
    /// The instance of the service.
    pub instance: String,
    /// All processes or containers in `cpu` and `memory`.
    pub processes: Vec<TopProcess>,
    /// The end of each second, milliseconds since the Unix epoch.
    pub times_unix_ms: Vec<u64>,
    /// Up to three pairs for each second: index in `processes`, and CPU time in percent of all CPU
    /// time of the machine (for containers: of the task).
    pub cpu: Vec<Vec<(u32, f64)>>,
    /// Up to three pairs for each second: index in `processes`, and memory in bytes (for processes:
    /// resident memory).
    pub memory: Vec<Vec<(u32, u64)>>,
}

/// A process, or a container of an ECS task.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct TopProcess {
    /// Process ID. Absent for containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Name of the process or container.
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
