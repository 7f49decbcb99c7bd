//! Reader of the process's control groups.

use std::path::{Path, PathBuf};

use super::bounded_reader::SourceState;
use super::source::Source;
use crate::collect::ParseError;
use crate::collect::cgroup::{self, Container, ControllerPath, UsageInLimit, Version};
use crate::collect::{cpu, filesystem};

/// Readings between two searches for the groups. A process is rarely moved, and a controller rarely
/// enabled; a search costs about forty system calls.
const READS_PER_SEARCH: u32 = 60;

/// Control groups of the process.
pub(crate) struct CgroupReader {
    /// Root of the mount points.
    root: PathBuf,
    membership: Source,
    mountinfo: Source,
    stat: PathBuf,
    layout: Layout,
    /// Number of the layout, which increases with each change.
    layouts: u32,
    files: [Option<Resource>; RESOURCES.len()],
    reads_left: u32,
}

impl CgroupReader {
    /// Finds the groups of the process in the proc filesystem at `proc_root`; their mount points
    /// are below `root`.
    pub(crate) fn find(proc_root: &Path, root: &Path) -> Self {
        let mut groups = Self {
            root: root.to_owned(),
            membership: Source::at(proc_root.join("self/cgroup")),
            mountinfo: Source::at(proc_root.join("self/mountinfo")),
            stat: proc_root.join("stat"),
            layout: Layout::default(),
            layouts: 0,
            files: Default::default(),
            reads_left: 0,
        };
        groups.search();
        groups
    }

    /// Current values of the group; `None` in the root group.
    pub(crate) fn read(&mut self) -> Option<Container> {
        if self.reads_left == 0 {
            self.search();
        }
        let (container, complete) = self.read_files();
        // A file that existed and cannot be read means that the group was removed.
        self.reads_left = if complete { self.reads_left - 1 } else { 0 };
        let container =
            Container { cpuset_cores: self.cpuset(container.cpuset_cores), ..container };
        let empty = Container { version: container.version, ..Container::default() };
        let groups = (self.layouts, container.groups.1);
        (container != empty).then_some(Container { groups, ..container })
    }

    /// State of the last search for the groups.
    pub(crate) fn state(&self) -> SourceState {
        match (self.membership.state(), self.mountinfo.state()) {
            (SourceState::Down, _) | (_, SourceState::Down) => SourceState::Down,
            _ => SourceState::Absent,
        }
    }

    /// Processors of the cpuset, if fewer than the host has online.
    fn cpuset(&self, cores: Option<u32>) -> Option<u32> {
        cores.filter(|&cores| cores > 0 && self.layout.online.is_some_and(|online| cores < online))
    }

    fn search(&mut self) {
        self.reads_left = READS_PER_SEARCH;
        let layout = self.layout();
        // Files in the same places stay open, and their faults are not logged again.
        if layout != self.layout {
            self.files =
                layout.resources.each_ref().map(|layout| layout.as_ref().map(Resource::of));
            self.layout = layout;
            self.layouts = self.layouts.wrapping_add(1);
        }
    }

    fn layout(&mut self) -> Layout {
        // Kernels without control groups do not have this file.
        let Some(membership) = self.membership.read(|text| Ok(text.to_owned())) else {
            return Layout::default();
        };
        let mounts = self.mountinfo.read_bytes(filesystem::parse).unwrap_or_default();
        let resources = RESOURCES.each_ref().map(|names| {
            let path = cgroup::controller_path(names.controller, &membership, &mounts)?;
            ResourceLayout::of(&self.root, path, names)
        });
        let online =
            Source::at(self.root.join("sys/devices/system/cpu/online")).read(cgroup::processors);
        // In a container, lxcfs reports the processors of the cpuset as online, while the other
        // files have those of the host.
        let listed = Source::at(self.stat.clone()).read(|text| Ok(cpu::parse(text)?.cores.len()));
        let listed = listed.and_then(|cores| u32::try_from(cores).ok());
        Layout { resources, online: online.max(listed) }
    }

    /// Values of the files, and whether all files could be read.
    fn read_files(&mut self) -> (Container, bool) {
        let mut container = Container { version: 2, ..Container::default() };
        let mut complete = true;
        for (resource, names) in self.files.iter_mut().zip(&RESOURCES) {
            let Some(resource) = resource else { continue };
            (names.read)(resource, &mut container);
            complete &= resource.was_complete();
            if resource.version == Version::V1 {
                container.version = 1;
            }
        }
        (container, complete)
    }
}

/// Names of the files of one resource, by version, and the function that reads them.
struct Names {
    controller: &'static str,
    v1: VersionNames,
    /// `None` if another controller of version 2 has the values.
    v2: Option<VersionNames>,
    read: fn(&mut Resource, &mut Container),
}

struct VersionNames {
    /// Files that are also read in the ancestors.
    limits: &'static [&'static str],
    /// Files that are read in the ancestor with the tightest limit.
    used: &'static [&'static str],
    /// Files that are read only in the process's own group.
    own: &'static [&'static str],
}

const QUOTA: &str = "cpu.cfs_quota_us";
const PERIOD: &str = "cpu.cfs_period_us";

/// All resources. The use of `cpuacct` replaces that of `cpu`, which has none in version 1.
const RESOURCES: [Names; 5] = [
    Names {
        controller: "cpu",
        v1: VersionNames { limits: &[QUOTA, PERIOD], used: &["cpu.stat"], own: &[] },
        v2: Some(VersionNames { limits: &["cpu.max"], used: &["cpu.stat"], own: &[] }),
        read: read_cpu,
    },
    Names {
        controller: "cpuacct",
        v1: VersionNames { limits: &[], used: &["cpuacct.usage"], own: &["cpuacct.stat"] },
        v2: None,
        read: read_cpuacct,
    },
    Names {
        controller: "memory",
        v1: VersionNames {
            limits: &["memory.limit_in_bytes"],
            used: &["memory.usage_in_bytes", "memory.stat"],
            own: &["memory.oom_control"],
        },
        v2: Some(VersionNames {
            limits: &["memory.max"],
            used: &["memory.current", "memory.stat"],
            own: &["memory.swap.current", "memory.events"],
        }),
        read: read_memory,
    },
    Names {
        controller: "pids",
        v1: VersionNames { limits: &["pids.max"], used: &["pids.current"], own: &[] },
        v2: Some(VersionNames { limits: &["pids.max"], used: &["pids.current"], own: &[] }),
        read: read_pids,
    },
    Names {
        controller: "cpuset",
        // A cpuset is always a subset of the ancestors' cpusets.
        v1: VersionNames { limits: &[], used: &[], own: &["cpuset.effective_cpus", "cpuset.cpus"] },
        v2: Some(VersionNames { limits: &[], used: &[], own: &["cpuset.cpus.effective"] }),
        read: read_cpuset,
    },
];

/// Existing files.
#[derive(Default, PartialEq)]
struct Layout {
    resources: [Option<ResourceLayout>; RESOURCES.len()],
    /// Online processors of the host.
    online: Option<u32>,
}

#[derive(PartialEq)]
struct ResourceLayout {
    version: Version,
    /// Files by group, the process's own group first.
    groups: Vec<Vec<(&'static str, PathBuf)>>,
}

impl ResourceLayout {
    fn of(root: &Path, path: ControllerPath, names: &Names) -> Option<Self> {
        let ControllerPath { version, folders } = path;
        let names = match version {
            Version::V1 => &names.v1,
            Version::V2 => names.v2.as_ref()?,
        };
        let mut folders =
            folders.into_iter().map(|folder| root.join(folder.trim_start_matches('/')));
        let own = folders.next().filter(|folder| is_below_root(folder, version))?;
        let files = |folder: &Path, names: &mut dyn Iterator<Item = &&'static str>| {
            names
                .map(|&name| (name, folder.join(name)))
                .filter(|(_, path)| path.exists())
                .collect::<Vec<_>>()
        };
        let mut groups =
            vec![files(&own, &mut names.limits.iter().chain(names.used).chain(names.own))];
        groups.extend(
            folders.map(|folder| files(&folder, &mut names.limits.iter().chain(names.used))),
        );
        Some(Self { version, groups })
    }
}

/// Whether a group is not the kernel's root group, whose values are those of the host. Inside and
/// outside of a namespace, only its files distinguish it.
fn is_below_root(folder: &Path, version: Version) -> bool {
    match version {
        Version::V1 => folder.exists() && !folder.join("release_agent").exists(),
        Version::V2 => ["cgroup.events", "memory.max", "cpu.max", "pids.max"]
            .into_iter()
            .any(|name| folder.join(name).exists()),
    }
}

fn read_cpu(cpu: &mut Resource, container: &mut Container) {
    let tightest = match cpu.version {
        Version::V1 => cpu.tightest(|group| {
            let quota_us = group.read(QUOTA, cgroup::limit)??;
            cgroup::cores(Some(quota_us), group.read(PERIOD, cgroup::number)?)
        }),
        Version::V2 => cpu.tightest(|group| group.read("cpu.max", cgroup::cpu_max)?),
    };
    container.cpu_limit_cores = tightest.map(|(_, limit)| limit);
    let group = tightest.map_or(0, |(group, _)| group);
    container.groups.1 = group;
    let limiting = cpu.in_group(group, "cpu.stat", |text| Ok(cgroup::cpu_stat(text)));
    let limiting = limiting.unwrap_or_default();
    container.cpu_us_in_limit = match (cpu.version, group) {
        (_, 0) => UsageInLimit::Own,
        // The use is in another hierarchy, `cpuacct`, which is usually mounted together with this
        // one.
        (Version::V1, ancestor) => {
            let folder = cpu.folder(ancestor);
            let usage = folder.map(|folder| Source::at(folder.join("cpuacct.usage")));
            let usage_ns = usage.and_then(|mut usage| usage.read(cgroup::number));
            UsageInLimit::Ancestor(usage_ns.map(|nanoseconds| nanoseconds / 1000))
        }
        (Version::V2, _) => UsageInLimit::Ancestor(limiting.usage_us),
    };
    let stat = match group {
        0 => limiting,
        _ => cpu.own("cpu.stat", |text| Ok(cgroup::cpu_stat(text))).unwrap_or_default(),
    };
    container.cpu_us = stat.usage_us;
    container.cpu_user_us = stat.user_us;
    container.cpu_system_us = stat.system_us;
    // A group without a limit counts no periods.
    container.periods = limiting.periods;
    container.throttled_periods = limiting.throttled_periods;
    container.throttled_us = limiting.throttled_us;
}

fn read_cpuacct(cpuacct: &mut Resource, container: &mut Container) {
    let usage_ns = cpuacct.own("cpuacct.usage", cgroup::number);
    container.cpu_us = usage_ns.map(|nanoseconds| nanoseconds / 1000);
    let times = cpuacct.own("cpuacct.stat", |text| Ok(cgroup::cpuacct_stat(text)));
    [container.cpu_user_us, container.cpu_system_us] = times.unwrap_or_default();
}

fn read_memory(memory: &mut Resource, container: &mut Container) {
    let (limit, usage, kills) = match memory.version {
        Version::V1 => ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.oom_control"),
        Version::V2 => ("memory.max", "memory.current", "memory.events"),
    };
    let stat = memory.own("memory.stat", |text| Ok(cgroup::memory_stat(text))).unwrap_or_default();
    let tightest = memory.tightest(|group| group.read(limit, cgroup::limit)?);
    let limit_bytes = tightest.map(|(_, limit)| limit);
    container.memory_limit_bytes = limit_bytes.into_iter().chain(stat.limit_bytes).min();
    container.memory_bytes_in_limit = match tightest {
        // A tighter limit belongs to an ancestor that is not visible, so its use is unknown.
        _ if container.memory_limit_bytes != limit_bytes => UsageInLimit::Ancestor(None),
        None | Some((0, _)) => UsageInLimit::Own,
        Some((ancestor, _)) => {
            let stat =
                memory.in_group(ancestor, "memory.stat", |text| Ok(cgroup::memory_stat(text)));
            let stat = stat.unwrap_or_default();
            let usage = memory.in_group(ancestor, usage, cgroup::number);
            let used = cgroup::memory_used(usage, stat.reclaimable_bytes, stat.rss_bytes);
            UsageInLimit::Ancestor(used)
        }
    };
    container.memory_usage_bytes = memory.own(usage, cgroup::number);
    container.memory_inactive_file_bytes = stat.inactive_file_bytes;
    container.memory_reclaimable_bytes = stat.reclaimable_bytes;
    container.memory_cache_bytes = stat.cache_bytes;
    container.memory_rss_bytes = stat.rss_bytes;
    container.swap_bytes = memory.own("memory.swap.current", cgroup::number).or(stat.swap_bytes);
    container.oom_kills = memory.own(kills, |text| Ok(cgroup::oom_kills(text))).flatten();
}

fn read_pids(pids: &mut Resource, container: &mut Container) {
    container.pids = pids.own("pids.current", cgroup::number);
    let tightest = pids.tightest(|group| group.read("pids.max", cgroup::limit)?);
    container.pids_limit = tightest.map(|(_, limit)| limit);
    if let Some((ancestor @ 1.., _)) = tightest {
        container.pids_in_limit =
            UsageInLimit::Ancestor(pids.in_group(ancestor, "pids.current", cgroup::number));
    }
}

fn read_cpuset(cpuset: &mut Resource, container: &mut Container) {
    let names = ["cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"];
    container.cpuset_cores =
        names.into_iter().find_map(|name| cpuset.own(name, cgroup::processors));
}

/// Files of one resource.
struct Resource {
    version: Version,
    /// Groups, the process's own group first.
    groups: Vec<Group>,
}

impl Resource {
    fn of(layout: &ResourceLayout) -> Self {
        let group = |files: &Vec<(&'static str, PathBuf)>| Group {
            files: files.iter().map(|(name, path)| (*name, Source::at(path.clone()))).collect(),
            complete: true,
        };
        let groups = layout.groups.iter().map(group).collect();
        Self { version: layout.version, groups }
    }

    /// Whether all files could be read since the last call.
    fn was_complete(&mut self) -> bool {
        let mut complete = true;
        for group in &mut self.groups {
            complete &= std::mem::replace(&mut group.complete, true);
        }
        complete
    }

    /// Value of a file in the process's own group.
    fn own<T>(&mut self, name: &str, parse: fn(&str) -> Result<T, ParseError>) -> Option<T> {
        self.in_group(0, name, parse)
    }

    /// Value of a file in one of the groups.
    fn in_group<T>(
        &mut self,
        group: usize,
        name: &str,
        parse: fn(&str) -> Result<T, ParseError>,
    ) -> Option<T> {
        self.groups.get_mut(group)?.read(name, parse)
    }

    /// Folder of one of the groups.
    fn folder(&self, group: usize) -> Option<&Path> {
        self.groups.get(group)?.files.first()?.1.path().parent()
    }

    /// Minimum over the groups, and the innermost group that has it.
    fn tightest<T: PartialOrd>(
        &mut self,
        mut read: impl FnMut(&mut Group) -> Option<T>,
    ) -> Option<(usize, T)> {
        let values = self.groups.iter_mut().enumerate();
        values
            .filter_map(|(index, group)| Some((index, read(group)?)))
            .reduce(|a, b| if b.1 < a.1 { b } else { a })
    }
}

/// Files of one group.
struct Group {
    files: Vec<(&'static str, Source)>,
    /// Whether all files could be read since the last query.
    complete: bool,
}

impl Group {
    /// Value of a file; `None` if the file does not exist.
    fn read<T>(&mut self, name: &str, parse: fn(&str) -> Result<T, ParseError>) -> Option<T> {
        let (_, source) = self.files.iter_mut().find(|(known, _)| *known == name)?;
        let value = source.read(parse);
        self.complete &= value.is_some();
        value
    }
}

#[cfg(test)]
mod tests;
