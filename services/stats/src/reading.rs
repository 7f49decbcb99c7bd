//! Counters of one reading: the input of samples and of metrics.

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

/// One reading. A value that could not be read is absent or empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reading {
    pub(crate) stat: Option<Stat>,
    pub(crate) memory: Option<Memory>,
    /// Cache of ZFS that can be freed; `None` without ZFS, and if `memory` is not the kernel's.
    pub(crate) zfs_reclaimable_bytes: Option<u64>,
    pub(crate) load: Option<Load>,
    pub(crate) uptime_seconds: Option<f64>,
    pub(crate) pressure: Pressure,
    /// Processes killed by the OOM killer since boot; `None` if the kernel does not count them.
    pub(crate) oom_kills: Option<u64>,
    pub(crate) disks: Vec<Disk>,
    pub(crate) networks: Vec<Interface>,
    /// Scope of the interfaces, if known.
    pub(crate) network_scope: Option<ScopeKind>,
    pub(crate) filesystems: Vec<Filesystem>,
    /// Scope of the mounts, if known.
    pub(crate) mounts_scope: Option<ScopeKind>,
    /// Mounts whose filesystem returned an error instead of its size, or did not respond in time.
    pub(crate) faulty_filesystems: Vec<Arc<Mount>>,
    /// Times at which the counters of rates were read.
    pub(crate) times: Times,
    /// Sources that the system has, and whether each could be read.
    pub(crate) sources: Vec<(Arc<str>, bool)>,
    /// `None` in the root control group.
    pub(crate) container: Option<Container>,
    /// Whether a control group may exist that could not be read.
    pub(crate) container_is_unknown: bool,
    /// `None` outside of ECS, and before the endpoint's first response.
    pub(crate) task: Option<TaskReading>,
    /// Whether the first response may still arrive.
    pub(crate) task_is_pending: bool,
    /// Whether a task exists whose endpoint has never responded.
    pub(crate) task_is_unknown: bool,
    /// `None` unless processes are exposed; several readings share the newest scan.
    pub(crate) processes: Option<Arc<Scan>>,
}

impl Reading {
    /// Removes interfaces and disks that are not selected. If all remaining ones are stacked, their
    /// parts are not selected, so sums include the stacked ones.
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

/// Times at which counters were read, seconds since the start of the sampler; `None` if they were
/// not read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Times {
    pub(crate) stat: Option<f64>,
    pub(crate) disks: Option<f64>,
    pub(crate) networks: Option<f64>,
    pub(crate) container: Option<f64>,
}

/// A mount and its size (`statvfs(3)`).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Filesystem {
    pub(crate) mount: Arc<Mount>,
    /// Whether the filesystem is read-only.
    pub(crate) read_only: bool,
    pub(crate) size_bytes: u64,
    /// Space available to unprivileged users.
    pub(crate) available_bytes: u64,
    /// Free space, including the space reserved for root.
    pub(crate) free_bytes: u64,
    pub(crate) files: u64,
    pub(crate) files_free: u64,
}

/// Newest responses of the task metadata endpoint.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TaskReading {
    pub(crate) task: Arc<Task>,
    /// Newest response of `/task/stats`.
    pub(crate) usage: Arc<Vec<Usage>>,
    /// Previous response of `/task/stats`.
    pub(crate) usage_before: Arc<Vec<Usage>>,
    /// Age of the newest response at the time of this reading.
    pub(crate) age_ms: u64,
}

/// Data collected for one scrape, by the index of the collector.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Scrape {
    pub(crate) collected: BTreeMap<usize, Collected>,
}

/// Files of one collector.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Collected {
    pub(crate) name: &'static str,
    /// Whether any data could be read.
    pub(crate) is_up: bool,
    /// Duration of the read; `None` after a timeout.
    pub(crate) seconds: Option<f64>,
    pub(crate) texts: Texts,
}

/// One scan of all processes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Scan {
    /// Processes that exist.
    pub(crate) processes: Vec<Process>,
    /// Previous scan, for rates.
    pub(crate) before: Vec<Process>,
    /// Size of a memory page, bytes.
    pub(crate) page_bytes: u64,
    /// Time between the two scans, milliseconds.
    pub(crate) interval_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unselected_devices_are_left_out_and_a_bridge_alone_counts() {
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
