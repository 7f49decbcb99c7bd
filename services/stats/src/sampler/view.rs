//! Which system is measured: the one that the process itself sees, or the one whose proc filesystem
//! and root are mounted for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wire::ScopeKind;

use super::bounded_reader::SourceState;
use super::source::Source;
use crate::collect::filesystem::{self, Mount};

/// Readings between two looks at the mount table: a node of a cluster has thousands of lines in it.
const READS_PER_LOOK: u32 = 10;

/// The name of the initial process namespace, which no container has (`include/linux/proc_ns.h`).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Where the machine's files are.
#[derive(Clone, Debug)]
pub(crate) struct Roots {
    /// The mount point of a proc filesystem.
    pub(crate) proc: PathBuf,
    /// The folder that is the root of the system to be measured.
    pub(crate) root: PathBuf,
}

/// The interfaces of a network namespace.
pub(super) struct Network {
    /// `net/dev`.
    pub(super) file: PathBuf,
    /// A folder for each interface.
    pub(super) devices: PathBuf,
    pub(super) scope: Option<ScopeKind>,
}

/// Places of files. Each method may block.
pub(super) struct View {
    proc: PathBuf,
    root: PathBuf,
}

impl View {
    pub(super) fn new(roots: &Roots) -> Self {
        Self { proc: roots.proc.clone(), root: roots.root.clone() }
    }

    pub(super) fn proc(&self) -> &Path {
        &self.proc
    }

    /// Whether it is a proc filesystem and not a recorded tree: there `self` leads to a number.
    fn is_real(&self) -> bool {
        fs::read_link(self.proc.join("self")).is_ok_and(|target| {
            target.as_os_str().as_encoded_bytes().iter().all(u8::is_ascii_digit)
        })
    }

    /// The folder at which the paths of the process's own mount table begin.
    pub(super) fn own_root(&self) -> &Path {
        if self.is_real() { Path::new("/") } else { &self.root }
    }

    /// The interfaces to read, and whose they are. A proc filesystem other than the process's own
    /// was mounted for it to measure that system, whose first process has its network. Where that
    /// cannot be read, the process's own is what there is.
    pub(super) fn network(&self) -> Network {
        let first = self.proc.join("1/net/dev");
        if self.proc != Path::new("/proc") && fs::read(&first).is_ok() {
            let scope = self.is_real().then_some(ScopeKind::Host);
            return Network { file: first, devices: self.root.join("sys/class/net"), scope };
        }
        Network {
            file: self.proc.join("net/dev"),
            devices: self.own_root().join("sys/class/net"),
            scope: self.own_network_scope(),
        }
    }

    /// Some settings of the network exist in the host's namespace only, others in each.
    fn own_network_scope(&self) -> Option<ScopeKind> {
        let settings = self.proc.join("sys/net/core");
        if settings.join("netdev_max_backlog").exists() {
            Some(ScopeKind::Host)
        } else {
            settings.join("somaxconn").exists().then_some(ScopeKind::Container)
        }
    }

    /// Whose the process's own mounts are. The mount table of the host's first process is the host's.
    fn own_mounts_scope(&self, own: &[Mount]) -> Option<ScopeKind> {
        let namespace = fs::read_link(self.proc.join("self/ns/pid")).ok()?;
        if namespace != Path::new(INITIAL_PID_NAMESPACE) {
            return Some(ScopeKind::Container);
        }
        let first = filesystem::parse(&fs::read(self.proc.join("1/mountinfo")).ok()?).ok()?;
        let root = |mounts: &[Mount]| {
            mounts.iter().find(|mount| mount.path == Path::new("/")).map(|mount| mount.id)
        };
        (root(own).is_some() && root(own) == root(&first)).then_some(ScopeKind::Host)
    }
}

/// The mount table, read now and then.
pub(super) struct MountTable {
    view: Arc<View>,
    source: Source,
    /// Readings since the table was read.
    age: u32,
    scope: Option<ScopeKind>,
    scope_is_found: bool,
}

impl MountTable {
    pub(super) fn new(view: Arc<View>) -> Self {
        let source = Source::at(view.proc.join("self/mountinfo"));
        Self { view, source, age: 0, scope: None, scope_is_found: false }
    }

    /// What the last read of the table found.
    pub(super) fn state(&self) -> SourceState {
        self.source.state()
    }

    /// Whose mounts they are, where that is known.
    pub(super) fn scope(&self) -> Option<ScopeKind> {
        self.scope
    }

    /// The mounts with storage, when the table was read.
    pub(super) fn read(&mut self) -> Option<Vec<Mount>> {
        let is_due = self.age == 0;
        self.age = (self.age + 1) % READS_PER_LOOK;
        if !is_due {
            return None;
        }
        let mut mounts = self.source.read_optional_bytes(filesystem::parse).unwrap_or_default();
        let is_real = self.view.is_real();
        if is_real && self.view.root != Path::new("/") {
            // The process's own table has what is mounted below the folder, and nothing else can be
            // asked for its size: a disk that the host mounted later would show another's.
            mounts = filesystem::below(mounts, &self.view.root);
            for mount in &mut mounts {
                // The folder was mounted read-only for the process; the host may write.
                if !mount.filesystem_is_read_only() {
                    "rw".clone_into(&mut mount.own_options);
                }
            }
            self.scope = Some(ScopeKind::Host);
        } else if is_real {
            if !std::mem::replace(&mut self.scope_is_found, true) {
                self.scope = self.view.own_mounts_scope(&mounts);
            }
        } else {
            for mount in &mut mounts {
                let relative = mount.path.strip_prefix("/").unwrap_or(&mount.path);
                mount.path = self.view.root.join(relative);
            }
        }
        let is_folder =
            |mount: &Mount| fs::metadata(&mount.path).is_ok_and(|metadata| metadata.is_dir());
        let shown = filesystem::with_storage(&mounts, is_folder);
        Some(shown.into_iter().cloned().collect())
    }
}
