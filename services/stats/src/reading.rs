//! What one look at the machine gave, as counters: the raw material of samples and of metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use wire::ScopeKind;

use crate::collect::cgroup::Container;
use crate::collect::cpu::Stat;
use crate::collect::disk::Disk;
use crate::collect::ecs_task::{Task, Usage};
use crate::collect::filesystem::Mount;
use crate::collect::load::Load;
use crate::collect::memory::Memory;
use crate::collect::network::Interface;
use crate::collect::on_scrape::Texts;
use crate::collect::pressure::Stalls;
use crate::collect::process::Process;
use crate::glob::Selection;

/// One look; absent or empty is what could not be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reading {
    pub(crate) stat: Option<Stat>,
    pub(crate) memory: Option<Memory>,
    pub(crate) load: Option<Load>,
    pub(crate) uptime_seconds: Option<f64>,
    pub(crate) pressure: Pressure,
    /// Processes killed because memory ran out, since boot; none where the kernel does not count.
    pub(crate) oom_kills: Option<u64>,
    pub(crate) disks: Vec<Disk>,
    pub(crate) networks: Vec<Interface>,
    /// Whose interfaces they are, where that is known.
    pub(crate) network_scope: Option<ScopeKind>,
    pub(crate) filesystems: Vec<Filesystem>,
    /// Whose mounts they are, where that is known.
    pub(crate) mounts_scope: Option<ScopeKind>,
    /// Mounts whose filesystem gave no sizes: an error, or no answer in time.
    pub(crate) faulty_filesystems: Vec<Arc<Mount>>,
    /// When counters were read that rates are made of.
    pub(crate) times: Times,
    /// The sources that the system has, and whether each could be read.
    pub(crate) sources: Vec<(Arc<str>, bool)>,
    /// None outside of a control group below the root.
    pub(crate) container: Option<Container>,
    /// Whether there may be a control group that could not be read.
    pub(crate) container_is_unknown: bool,
    /// None outside of ECS, and before the endpoint's first answer.
    pub(crate) task: Option<TaskReading>,
    /// Whether that first answer may still come.
    pub(crate) task_is_awaited: bool,
    /// Whether there is a task whose endpoint has not answered at all.
    pub(crate) task_is_unknown: bool,
    /// None unless processes are shown; the newest scan, which several readings share.
    pub(crate) processes: Option<Arc<Scan>>,
}

impl Reading {
    /// Leaves out interfaces and disks that are not wanted. One that the operator names counts in
    /// sums, unless it is made of others that are there as well.
    pub(crate) fn select(&mut self, interfaces: &Selection, disks: &Selection) {
        if !interfaces.is_empty() {
            self.networks.retain(|interface| interfaces.contains(&interface.name));
            if self.networks.iter().all(|interface| interface.stacked) {
                self.networks.iter_mut().for_each(|interface| interface.stacked = false);
            }
        }
        if !disks.is_empty() {
            self.disks.retain(|disk| disks.contains(&disk.name));
            if self.disks.iter().all(|disk| disk.stacked) {
                self.disks.iter_mut().for_each(|disk| disk.stacked = false);
            }
        }
    }
}

/// `/proc/pressure`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Pressure {
    pub(crate) cpu: Option<Stalls>,
    pub(crate) memory: Option<Stalls>,
    pub(crate) io: Option<Stalls>,
}

/// When counters were read, seconds since the start of the sampler; none where they were not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Times {
    pub(crate) stat: Option<f64>,
    pub(crate) disks: Option<f64>,
    pub(crate) networks: Option<f64>,
    pub(crate) container: Option<f64>,
}

/// A mount and its sizes (`statvfs(3)`).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Filesystem {
    pub(crate) mount: Arc<Mount>,
    /// Whether nothing can be written.
    pub(crate) read_only: bool,
    pub(crate) size_bytes: u64,
    /// Free for everybody.
    pub(crate) available_bytes: u64,
    /// Free for root, what is reserved included.
    pub(crate) free_bytes: u64,
    pub(crate) files: u64,
    pub(crate) files_free: u64,
}

/// The newest answers of the task metadata endpoint.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TaskReading {
    pub(crate) task: Arc<Task>,
    /// The newest answer of `/task/stats`.
    pub(crate) usage: Arc<Vec<Usage>>,
    /// The one before it.
    pub(crate) usage_before: Arc<Vec<Usage>>,
    /// How old the newest answer was when this reading was taken.
    pub(crate) age_ms: u64,
}

/// What was read for one scrape, by the place of the subject.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Scrape {
    pub(crate) collected: BTreeMap<usize, Collected>,
}

/// The files of one subject.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Collected {
    pub(crate) name: &'static str,
    /// Whether there was anything to read.
    pub(crate) is_up: bool,
    /// How long it took; none when it did not end in time.
    pub(crate) seconds: Option<f64>,
    pub(crate) texts: Texts,
}

/// One scan of all processes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Scan {
    /// Processes that there were.
    pub(crate) processes: Vec<Process>,
    /// The scan before, for rates.
    pub(crate) before: Vec<Process>,
    /// Bytes of a page of memory.
    pub(crate) page_bytes: u64,
    /// The time between the two, milliseconds.
    pub(crate) interval_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wanted_is_left_out_and_a_bridge_alone_counts() {
        let interface = |name: &str, stacked| Interface {
            name: name.to_owned(),
            stacked,
            ..Interface::default()
        };
        let disk = |name: &str| Disk { name: name.to_owned(), ..Disk::default() };
        let reading = Reading {
            networks: vec![interface("br0", true), interface("eth0", false)],
            disks: vec![disk("sda"), disk("sdb")],
            ..Reading::default()
        };
        let selected = |interfaces: &str, disks: &str| {
            let mut reading = reading.clone();
            let parse = |text| Selection::parse(text).unwrap();
            reading.select(&parse(interfaces), &parse(disks));
            let networks: Vec<_> =
                reading.networks.into_iter().map(|one| (one.name, one.stacked)).collect();
            let disks: Vec<_> = reading.disks.into_iter().map(|one| one.name).collect();
            (networks, disks)
        };
        let (networks, disks) = selected("br*", "!sda");
        assert_eq!(networks, [("br0".to_owned(), false)]);
        assert_eq!(disks, ["sdb"]);
        let (networks, disks) = selected("", "");
        assert_eq!(networks, [("br0".to_owned(), true), ("eth0".to_owned(), false)]);
        assert_eq!(disks.len(), 2);
    }
}
