//! Reader of all sources at a tick.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::statvfs;
use tokio::sync::watch;

use super::Sampling;
use super::bounded_reader::{BoundedReader, Bounds, Outcome, SourceState, Unit, UnitId};
use super::cgroup_reader::CgroupReader;
use super::fault_log::FaultLog;
use super::links;
use super::metadata::MetadataResponses;
use super::scan::Scanner;
use super::source::Source;
use super::view::{MountTable, Network, View};
use crate::collect::filesystem::{Mount, free_blocks};
use crate::collect::network::{Interface, Links};
use crate::collect::{ParseError, cpu, disk, load, memory, network, pressure, uptime, vmstat};
use crate::glob::Selections;
use crate::reading::{Filesystem, Reading, TaskReading};

/// Responses of the task metadata endpoint, in an ECS task.
pub(crate) type Metadata = Option<watch::Receiver<Option<MetadataResponses>>>;

/// Maximum time after the start to wait for the endpoint's first response, which arrives about a
/// second after the start of a container.
const METADATA_WAIT: Duration = Duration::from_secs(3);

/// Maximum age of responses that are reported as current.
const MAX_METADATA_AGE: Duration = Duration::from_secs(10);

/// Bounds for files. A read takes microseconds, but a fully loaded machine delays a thread by tens
/// of milliseconds. Together with the filesystems, a reading ends within a second.
const SOURCES: Bounds = Bounds {
    unit: Duration::from_millis(300),
    all: Duration::from_millis(300),
    // Higher than the number of sources.
    hanging: 64,
};

/// Bounds for filesystems. A hanging thread takes about 16 KiB of memory.
const FILESYSTEMS: Bounds =
    Bounds { unit: Duration::from_millis(200), all: Duration::from_millis(100), hanging: 32 };

/// Maximum number of `statvfs(3)` calls per tick; with more filesystems, each one is read less
/// often.
const FILESYSTEMS_PER_TICK: usize = 64;

/// Sources of a reading.
pub(super) struct Machine {
    started: Instant,
    sources: BoundedReader<SourceResults>,
    cgroup: UnitId,
    filesystems: BoundedReader<BTreeMap<u64, Filesystem>>,
    /// Filesystems in the order of their mounts, each with the key of its result.
    mounts: Vec<(Arc<Mount>, UnitId, u64)>,
    next_key: u64,
    metadata: Metadata,
    scanner: Option<Scanner>,
    selections: Selections,
}

/// Results of the sources.
#[derive(Default)]
struct SourceResults {
    reading: Reading,
    /// Mount table, if it was read.
    mounts: Option<Vec<Mount>>,
}

impl Machine {
    pub(super) fn new(sampling: &Sampling, metadata: Metadata) -> Self {
        let Sampling { roots, exposed, selections, .. } = sampling;
        let started = Instant::now();
        let mut sources = BoundedReader::new("sources", SOURCES, started);
        let proc = &roots.proc;
        add_files(&mut sources, proc);
        sources.add(ARCSTATS, zfs(proc));
        let view = Arc::new(View::new(roots));
        sources.add("net/dev", network(view.clone()));
        let cgroup = sources.add("cgroup", cgroup(view.clone()));
        sources.add("mountinfo", mounts(MountTable::new(view, selections.mounts.clone())));
        Self {
            started,
            sources,
            cgroup,
            filesystems: BoundedReader::new("filesystems", FILESYSTEMS, started),
            mounts: Vec::new(),
            next_key: 0,
            metadata,
            scanner: exposed.processes.then(|| Scanner::start(proc)),
            selections: selections.clone(),
        }
    }

    /// Reads all sources once, in less than a second even if some of them hang.
    pub(super) fn read(&mut self) -> Reading {
        let SourceResults { mut reading, mounts } = self.sources.read();
        reading.select(&self.selections.interfaces, &self.selections.disks);
        reading.container_is_unknown = self.sources.state(self.cgroup) == SourceState::Down;
        let availability = |(name, state): (&Arc<str>, SourceState)| match state {
            SourceState::Absent => None,
            state => Some((Arc::clone(name), state == SourceState::Up)),
        };
        reading.sources = self.sources.states().filter_map(availability).collect();
        if let Some(mounts) = mounts {
            self.update_mounts(mounts);
        }
        self.read_filesystems(&mut reading);
        reading.task = self.metadata.as_ref().and_then(newest_responses);
        let has_no_response =
            self.metadata.as_ref().is_some_and(|responses| responses.borrow().is_none());
        reading.task_is_pending = has_no_response && self.started.elapsed() < METADATA_WAIT;
        reading.task_is_unknown = has_no_response && !reading.task_is_pending;
        reading.processes = self.scanner.as_ref().and_then(Scanner::newest);
        reading
    }

    /// Updates the list of filesystems from the mount table.
    fn update_mounts(&mut self, mounts: Vec<Mount>) {
        if self.mounts.iter().map(|(mount, ..)| &**mount).eq(&mounts) {
            return;
        }
        let period = mounts.len().div_ceil(FILESYSTEMS_PER_TICK);
        let mut before = std::mem::take(&mut self.mounts);
        for mount in mounts {
            let known = before.iter().position(|(known, ..)| **known == mount);
            let added = || {
                let key = self.next_key;
                self.next_key += 1;
                let mount = Arc::new(mount);
                let name = format!("filesystem at {}", mount.path.display());
                let unit = FilesystemUnit::new(mount.clone(), key, period);
                (mount, self.filesystems.add(&name, unit.into_unit()), key)
            };
            let entry = known.map_or_else(added, |known| before.swap_remove(known));
            self.mounts.push(entry);
        }
        for (_, id, _) in before {
            self.filesystems.remove(id);
        }
    }

    fn read_filesystems(&mut self, reading: &mut Reading) {
        let mut read = self.filesystems.read();
        for (mount, id, key) in &self.mounts {
            if let Some(filesystem) = read.remove(key) {
                reading.filesystems.push(filesystem);
            } else if self.filesystems.state(*id) == SourceState::Down {
                reading.faulty_filesystems.push(mount.clone());
            }
        }
    }
}

/// Adds the files with fixed paths.
fn add_files(sources: &mut BoundedReader<SourceResults>, proc: &Path) {
    let mut files = Files { sources, proc };
    files.add("stat", Source::required, cpu::parse, |reading, stat, at| {
        reading.stat = Some(stat);
        reading.times.stat = Some(at);
    });
    files.add("meminfo", Source::required, memory::parse, |reading, memory, _| {
        reading.memory = Some(memory);
    });
    // gVisor reports no tasks, and averages of zero.
    files.add("loadavg", Source::required, load::parse, |reading, load, _| {
        reading.load = Some(load).filter(|load| load.total > 0);
    });
    files.add("uptime", Source::required, uptime::parse, |reading, uptime, _| {
        reading.uptime_seconds = Some(uptime);
    });
    files.add("pressure/cpu", Source::at, pressure::parse, |reading, stalls, _| {
        reading.pressure.cpu = Some(stalls);
    });
    files.add("pressure/memory", Source::at, pressure::parse, |reading, stalls, _| {
        reading.pressure.memory = Some(stalls);
    });
    files.add("pressure/io", Source::at, pressure::parse, |reading, stalls, _| {
        reading.pressure.io = Some(stalls);
    });
    files.add("vmstat", Source::at, vmstat::oom_kills, |reading, oom_kills, _| {
        reading.oom_kills = oom_kills;
    });
    files.add("diskstats", Source::at, disk::parse, |reading, disks, at| {
        reading.disks = disks;
        reading.times.disks = Some(at);
    });
}

struct Files<'a> {
    sources: &'a mut BoundedReader<SourceResults>,
    proc: &'a Path,
}

impl Files<'_> {
    /// Adds a file, its parser, and the setter of its values.
    fn add<T: Send + 'static>(
        &mut self,
        name: &str,
        source: fn(PathBuf) -> Source,
        parse: fn(&str) -> Result<T, ParseError>,
        store: fn(&mut Reading, T, f64),
    ) {
        let mut source = source(self.proc.join(name));
        let unit = move || {
            let value = source.read(parse);
            Outcome::new(source.state(), move |results: &mut SourceResults, at| {
                if let Some(value) = value {
                    store(&mut results.reading, value, at);
                }
            })
        };
        self.sources.add(name, Box::new(unit));
    }
}

/// Statistics of the cache of ZFS.
const ARCSTATS: &str = "spl/kstat/zfs/arcstats";

/// Cache of ZFS.
fn zfs(proc: &Path) -> Unit<SourceResults> {
    let (mut source, meminfo) = (Source::at(proc.join(ARCSTATS)), proc.join("meminfo"));
    Box::new(move || {
        let bytes = source.read(memory::zfs_reclaimable);
        // The cache is the machine's, but in a container, lxcfs mounts its own `meminfo`.
        let device = |path: &Path| fs::metadata(path).ok().map(|file| file.dev());
        let bytes = bytes.filter(|_| device(&meminfo) == device(source.path()));
        Outcome::new(source.state(), move |results: &mut SourceResults, _| {
            results.reading.zfs_reclaimable_bytes = bytes;
        })
    })
}

struct NetworkNamespace {
    source: Source,
    devices: PathBuf,
    scope: Option<wire::ScopeKind>,
    links: HashMap<String, Links>,
    /// Readings since the links were read.
    age: u32,
}

/// Readings between two reads of the interfaces' links, unless interfaces are added.
const READS_PER_LINK_REFRESH: u32 = 60;

/// Interfaces of the network namespace that the view selects.
fn network(view: Arc<View>) -> Unit<SourceResults> {
    let mut namespace = None;
    Box::new(move || {
        let namespace = namespace.get_or_insert_with(|| {
            let Network { file, devices, scope } = view.network();
            let (source, links) = (Source::at(file), HashMap::new());
            NetworkNamespace { source, devices, scope, links, age: 0 }
        });
        let mut networks = namespace.source.read(network::parse);
        if let Some(networks) = &mut networks {
            namespace.update_links(networks);
            network::mark_stacked(networks, &namespace.links);
        }
        let scope = namespace.scope;
        Outcome::new(namespace.source.state(), move |results: &mut SourceResults, at| {
            if let Some(networks) = networks {
                results.reading.networks = networks;
                results.reading.network_scope = scope;
                results.reading.times.networks = Some(at);
            }
        })
    })
}

impl NetworkNamespace {
    /// Reads the links of the interfaces, if interfaces were added or the last read is too old.
    fn update_links(&mut self, interfaces: &[Interface]) {
        let is_known = |interface: &Interface| self.links.contains_key(&interface.name);
        self.age = (self.age + 1) % READS_PER_LINK_REFRESH;
        if self.age != 0 && !self.links.is_empty() && interfaces.iter().all(is_known) {
            return;
        }
        let before = std::mem::take(&mut self.links);
        for interface in interfaces {
            let folder = self.devices.join(&interface.name);
            if let Some(links) = links::read(&folder, before.get(&interface.name)) {
                self.links.insert(interface.name.clone(), links);
            }
        }
    }
}

/// Control groups of the process.
fn cgroup(view: Arc<View>) -> Unit<SourceResults> {
    let mut reader = None;
    Box::new(move || {
        // The search is not done at the start, because it can hang as well.
        let reader = reader.get_or_insert_with(|| CgroupReader::find(view.proc(), view.own_root()));
        let container = reader.read();
        let state = container.map_or_else(|| reader.state(), |_| SourceState::Up);
        Outcome::new(state, move |results: &mut SourceResults, at| {
            results.reading.container = container;
            results.reading.times.container = Some(at);
        })
    })
}

/// Mount table.
fn mounts(mut table: MountTable) -> Unit<SourceResults> {
    Box::new(move || {
        let (mounts, scope) = (table.read(), table.scope());
        Outcome::new(table.state(), move |results: &mut SourceResults, _| {
            results.mounts = mounts;
            results.reading.mounts_scope = scope;
        })
    })
}

/// Size of one filesystem.
struct FilesystemUnit {
    mount: Arc<Mount>,
    key: u64,
    /// Ticks between two `statvfs(3)` calls, and ticks since the last one.
    period: usize,
    age: usize,
    last: Option<Filesystem>,
    log: FaultLog,
}

impl FilesystemUnit {
    fn new(mount: Arc<Mount>, key: u64, period: usize) -> Self {
        // Spreads the filesystems over the ticks.
        let age = usize::try_from(key).unwrap_or_default() % period.max(1);
        Self { mount, key, period, age, last: None, log: FaultLog::default() }
    }

    fn refresh(&mut self) -> Result<(), SourceState> {
        let sizes = statvfs(&self.mount.path).map_err(|error| {
            self.last = None;
            if self.log.is_due() {
                let path = self.mount.path.display();
                tracing::warn!(%path, %error, "filesystem values absent");
            }
            SourceState::Down
        })?;
        if self.log.has_ended() {
            tracing::info!(path = %self.mount.path.display(), "filesystem readable again");
        }
        let read_only = self.mount.is_read_only();
        let free_bytes = |free| free_blocks(free, sizes.f_blocks).saturating_mul(sizes.f_frsize);
        self.last = (sizes.f_blocks > 0).then(|| Filesystem {
            mount: self.mount.clone(),
            size_bytes: sizes.f_blocks.saturating_mul(sizes.f_frsize),
            available_bytes: free_bytes(sizes.f_bavail),
            free_bytes: free_bytes(sizes.f_bfree),
            files: sizes.f_files,
            files_free: sizes.f_ffree,
            read_only,
        });
        Ok(())
    }

    fn into_unit(mut self) -> Unit<BTreeMap<u64, Filesystem>> {
        Box::new(move || {
            let is_due = self.last.is_none() || self.age + 1 >= self.period;
            self.age = if is_due { 0 } else { self.age + 1 };
            let state = if is_due { self.refresh().err() } else { None };
            let (key, filesystem) = (self.key, self.last.clone());
            let update = move |all: &mut BTreeMap<u64, Filesystem>, _: f64| {
                all.extend(filesystem.map(|filesystem| (key, filesystem)));
            };
            Outcome::new(state.unwrap_or(SourceState::Up), update)
        })
    }
}

fn newest_responses(responses: &watch::Receiver<Option<MetadataResponses>>) -> Option<TaskReading> {
    let responses = responses.borrow();
    let responses = responses.as_ref()?;
    let age = responses.changed.elapsed();
    // The task stays, without metrics; those of the host would be mistaken for its own.
    let is_fresh = age <= MAX_METADATA_AGE;
    let fresh = |usage: &Arc<_>| if is_fresh { Arc::clone(usage) } else { Arc::default() };
    Some(TaskReading {
        task: responses.task.clone(),
        usage: fresh(&responses.usage),
        usage_before: fresh(&responses.usage_before),
        age_ms: super::milliseconds(age),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::ecs_task::Usage;

    fn responses(age: Duration) -> watch::Receiver<Option<MetadataResponses>> {
        let usage = Arc::new(vec![Usage::default()]);
        let changed = Instant::now().checked_sub(age).unwrap();
        let responses = MetadataResponses {
            task: Arc::default(),
            usage: usage.clone(),
            usage_before: usage,
            changed,
        };
        watch::channel(Some(responses)).1
    }

    #[test]
    fn metrics_that_did_not_change_for_ten_seconds_are_absent_and_the_task_remains() {
        let fresh = newest_responses(&responses(Duration::from_secs(9))).unwrap();
        assert_eq!(fresh.usage.len(), 1);
        assert!(fresh.age_ms >= 9000);
        let old = newest_responses(&responses(Duration::from_secs(11))).unwrap();
        assert!(old.usage.is_empty() && old.usage_before.is_empty());
        assert!(old.age_ms >= 11_000);
    }
}
