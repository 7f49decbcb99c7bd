//! Selection of the measured system: the one that the process sees, or the one whose proc
//! filesystem and root are mounted for the service.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wire::ScopeKind;

use super::bounded_reader::SourceState;
use super::source::Source;
use crate::collect::ParseError;
use crate::collect::filesystem::{self, Mount};
use crate::glob::Selection;

/// Readings between two reads of a mount table that has not changed. It has thousands of lines on a
/// node of a cluster.
const READS_PER_REFRESH: u32 = 10;

/// Name of the initial PID namespace, which containers do not have (`include/linux/proc_ns.h`).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Locations of the machine's files.
#[derive(Clone, Debug)]
pub(crate) struct Roots {
    /// Mount point of a proc filesystem.
    pub(crate) proc: PathBuf,
    /// Root folder of the measured system.
    pub(crate) root: PathBuf,
}

/// Host name. If the host's root is mounted, its file is used, because a container has its own
/// name; otherwise the name of the service's namespace. May block.
pub(super) fn hostname(roots: &Roots) -> Option<String> {
    let name: fn(&str) -> Result<String, ParseError> = |text| Ok(text.trim().to_owned());
    let mounted = || {
        let mut file = Source::at(roots.root.join("etc/hostname"));
        file.read(name).filter(|name| !name.is_empty() && !name.contains('\n'))
    };
    let is_mounted = roots.root != Path::new("/");
    is_mounted
        .then(mounted)
        .flatten()
        .or_else(|| Source::required(roots.proc.join("sys/kernel/hostname")).read(name))
}

/// Interfaces of a network namespace.
pub(super) struct Network {
    /// Path of `net/dev`.
    pub(super) file: PathBuf,
    /// Folder with a subfolder for each interface.
    pub(super) devices: PathBuf,
    pub(super) scope: Option<ScopeKind>,
}

/// Paths of files. Each method may block.
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

    /// Whether this is a proc filesystem, where `self` is a link to a number, and not a recorded
    /// tree.
    fn is_real(&self) -> bool {
        fs::read_link(self.proc.join("self")).is_ok_and(|target| {
            target.as_os_str().as_encoded_bytes().iter().all(u8::is_ascii_digit)
        })
    }

    /// Folder that the paths in the process's own mount table are relative to.
    pub(super) fn own_root(&self) -> &Path {
        if self.is_real() { Path::new("/") } else { &self.root }
    }

    /// Interfaces to read, and their scope. A proc filesystem other than `/proc` is mounted to
    /// measure another system; the first process there is in that system's network namespace. If
    /// its file is not readable, the process's own interfaces are used.
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

    /// Determines the scope by settings that exist only in the host's network namespace, or in all
    /// of them.
    pub(super) fn own_network_scope(&self) -> Option<ScopeKind> {
        let settings = self.proc.join("sys/net/core");
        if settings.join("netdev_max_backlog").exists() {
            Some(ScopeKind::Host)
        } else {
            settings.join("somaxconn").exists().then_some(ScopeKind::Container)
        }
    }

    /// Scope of the process's own mounts. In the initial PID namespace, the first process has the
    /// host's mount table.
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

/// Mount table, read at intervals.
pub(super) struct MountTable {
    view: Arc<View>,
    /// Mount points that are reported.
    selected: Selection,
    source: Source,
    /// Readings since the last read of the table.
    age: u32,
    scope: Option<ScopeKind>,
    scope_is_found: bool,
}

impl MountTable {
    pub(super) fn new(view: Arc<View>, selected: Selection) -> Self {
        let source = Source::at(view.proc.join("self/mountinfo"));
        Self { view, selected, source, age: 0, scope: None, scope_is_found: false }
    }

    /// State after the last read of the table.
    pub(super) fn state(&self) -> SourceState {
        self.source.state()
    }

    /// Scope of the mounts, if known.
    pub(super) fn scope(&self) -> Option<ScopeKind> {
        self.scope
    }

    /// Selected mounts with storage, if the table was read.
    pub(super) fn read(&mut self) -> Option<Vec<Mount>> {
        // The path of a filesystem that was unmounted leads to the one below it, and `statvfs(3)`
        // returns its size.
        let is_due = self.source.has_changed() || self.age == 0;
        self.age = (self.age + 1) % READS_PER_REFRESH;
        if !is_due {
            return None;
        }
        let mut mounts = self.source.read_bytes(filesystem::parse).unwrap_or_default();
        let is_real = self.view.is_real();
        if is_real && self.view.root != Path::new("/") {
            // The process's own table lists the mounts that are visible below the folder. For a
            // disk that the host mounted later, `statvfs(3)` would return the size of another
            // filesystem.
            mounts = filesystem::below(mounts, &self.view.root);
            for mount in &mut mounts {
                // The folder is mounted read-only for the process, while the host may be able to
                // write.
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
        let shown = filesystem::with_storage(&mounts, &self.selected, is_folder);
        Some(shown.into_iter().cloned().collect())
    }
}
