//! Everything that is read of the machine at a tick.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::statvfs;
use tokio::sync::watch;

use super::cgroup_reader::CgroupReader;
use super::metadata::Answers;
use super::scan::Scanner;
use super::source::Source;
use crate::collect::filesystem::Mount;
use crate::collect::{cpu, disk, filesystem, load, memory, network, pressure, uptime};
use crate::rates::Exposure;
use crate::reading::{Filesystem, Pressure, Reading, TaskReading};

/// Where the machine's files are.
#[derive(Clone, Debug)]
pub(crate) struct Roots {
    /// The mount point of a proc filesystem.
    pub(crate) proc: PathBuf,
    /// What the paths in its mount table begin at.
    pub(crate) root: PathBuf,
}

/// The answers of the task metadata endpoint, in an ECS task.
pub(crate) type Metadata = Option<watch::Receiver<Option<Answers>>>;

/// How long after the start the endpoint's first answer is waited for: it comes about a second
/// after a container's start.
const METADATA_PATIENCE: Duration = Duration::from_secs(3);

/// Older answers are not shown as if they were of now.
const METADATA_AGE: Duration = Duration::from_secs(10);

/// Ticks between looks at the mount table: a node of a cluster has thousands of lines in it.
const MOUNTS_TICKS: u32 = 10;

/// The sources of a reading.
pub(super) struct Machine {
    started: Instant,
    stat: Source,
    meminfo: Source,
    loadavg: Source,
    uptime: Source,
    pressure: [Source; 3],
    diskstats: Source,
    net_dev: Source,
    mountinfo: Source,
    mounts: Vec<Mount>,
    /// Ticks since the mount table was read.
    mounts_age: u32,
    proc: PathBuf,
    root: PathBuf,
    groups: CgroupReader,
    metadata: Metadata,
    scanner: Option<Scanner>,
}

impl Machine {
    pub(super) fn new(roots: &Roots, metadata: Metadata, exposed: Exposure) -> Self {
        let source = |name| Source::at(roots.proc.join(name));
        Self {
            started: Instant::now(),
            stat: source("stat"),
            meminfo: source("meminfo"),
            loadavg: source("loadavg"),
            uptime: source("uptime"),
            pressure: ["pressure/cpu", "pressure/memory", "pressure/io"].map(source),
            diskstats: source("diskstats"),
            net_dev: source("net/dev"),
            mountinfo: source("self/mountinfo"),
            mounts: Vec::new(),
            mounts_age: 0,
            proc: roots.proc.clone(),
            root: roots.root.clone(),
            groups: CgroupReader::find(&roots.proc, &roots.root),
            metadata,
            scanner: exposed.processes.then(|| Scanner::start(&roots.proc)),
        }
    }

    pub(super) fn read(&mut self) -> Reading {
        let [cpu, memory, io] = &mut self.pressure;
        let task = self.metadata.as_ref().and_then(newest_answers);
        Reading {
            stat: self.stat.read(cpu::parse),
            memory: self.meminfo.read(memory::parse),
            load: self.loadavg.read(load::parse),
            uptime_seconds: self.uptime.read(uptime::parse),
            pressure: Pressure {
                cpu: cpu.read_optional(pressure::parse),
                memory: memory.read_optional(pressure::parse),
                io: io.read_optional(pressure::parse),
            },
            disks: self.diskstats.read_optional(disk::parse).unwrap_or_default(),
            networks: self.net_dev.read_optional(network::parse).unwrap_or_default(),
            filesystems: self.filesystems(),
            container: self.groups.read(),
            task_is_awaited: self.metadata.as_ref().is_some_and(|answers| {
                answers.borrow().is_none() && self.started.elapsed() < METADATA_PATIENCE
            }),
            task,
            processes: self.scanner.as_ref().and_then(Scanner::newest),
        }
    }

    /// The host's name, as the service's namespace knows it.
    pub(super) fn hostname(&self) -> Option<String> {
        let mut hostname = Source::at(self.proc.join("sys/kernel/hostname"));
        hostname.read(|text| Ok(text.trim_end().to_owned()))
    }

    fn filesystems(&mut self) -> Vec<Filesystem> {
        if self.mounts_age == 0 {
            let mounts = self.mountinfo.read_optional(filesystem::parse).unwrap_or_default();
            self.mounts = filesystem::with_storage(&mounts).into_iter().cloned().collect();
        }
        self.mounts_age = (self.mounts_age + 1) % MOUNTS_TICKS;
        let sizes = |mount: &Mount| {
            let path = self.root.join(mount.point.trim_start_matches('/'));
            // One that may not be asked is not seen.
            let sizes = statvfs(&path).ok()?;
            (sizes.f_blocks > 0).then(|| Filesystem {
                mount: mount.clone(),
                size_bytes: sizes.f_blocks.saturating_mul(sizes.f_frsize),
                available_bytes: sizes.f_bavail.saturating_mul(sizes.f_frsize),
                free_bytes: sizes.f_bfree.saturating_mul(sizes.f_frsize),
                files: sizes.f_files,
                files_free: sizes.f_ffree,
            })
        };
        self.mounts.iter().filter_map(sizes).collect()
    }
}

fn newest_answers(answers: &watch::Receiver<Option<Answers>>) -> Option<TaskReading> {
    let answers = answers.borrow();
    let answers = answers.as_ref()?;
    let age = answers.received.elapsed();
    (age <= METADATA_AGE).then(|| TaskReading {
        task: answers.task.clone(),
        usage: answers.usage.clone(),
        usage_before: answers.usage_before.clone(),
        age_ms: super::milliseconds(age),
    })
}
