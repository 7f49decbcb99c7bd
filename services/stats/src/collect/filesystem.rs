//! Mounted filesystems: `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`).

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::ParseError;
use crate::glob::Selection;

/// Filesystems with storage on this machine, or shared by the machines of a cluster. Read-only
/// images are not listed, because they are always full.
const LOCAL_KINDS: [&str; 20] = [
    "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuseblk", "gfs2", "hfsplus",
    "jfs", "nilfs2", "ntfs", "ntfs3", "ocfs2", "reiserfs", "ubifs", "vfat", "xfs", "zfs",
];

/// Filesystems whose storage belongs to another filesystem, memory or a server. They are reported
/// only as the root, where processes have no other one.
const ROOT_KINDS: [&str; 9] =
    ["9p", "aufs", "fuse.fuse-overlayfs", "nfs", "nfs4", "overlay", "ramfs", "tmpfs", "virtiofs"];

/// Folders below which container engines mount single files, but no data.
const SYSTEM_FOLDERS: [&str; 9] =
    ["/bin/", "/dev/", "/etc/", "/proc/", "/sbin/", "/sys/", "/usr/bin/", "/usr/lib", "/usr/sbin/"];

/// Files that container engines mount outside of these folders.
const SYSTEM_FILES: [&str; 3] = ["/.dockerenv", "/run/.containerenv", "/run/podman-init"];

/// Maximum number of filesystems, more than any real host has; limits memory use.
pub(crate) const MAX_FILESYSTEMS: usize = 1024;

/// One mount.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Mount {
    /// Mount ID, unique on the machine during the lifetime of the mount.
    pub(crate) id: u64,
    /// ID of the mount that it is mounted on.
    pub(crate) parent: u64,
    /// Major and minor number of the device, as text; equal for the same filesystem.
    pub(crate) device: String,
    /// Folder of the filesystem that is mounted.
    pub(crate) root: String,
    /// Mount point, as text.
    pub(crate) point: String,
    /// Mount point as exact bytes, for system calls.
    pub(crate) path: PathBuf,
    /// Type of the filesystem.
    pub(crate) kind: String,
    /// Device, or a word.
    pub(crate) source: String,
    /// Options of this mount, separated by commas.
    pub(crate) own_options: String,
    /// Options of the filesystem, separated by commas; for a version 1 control group they include
    /// its controllers.
    pub(crate) options: String,
}

impl Mount {
    /// Whether the filesystem itself is read-only: since its first mount, or because the kernel
    /// remounted it after errors.
    pub(crate) fn filesystem_is_read_only(&self) -> bool {
        has_option(&self.options, "ro")
    }

    /// Whether this mount is read-only.
    pub(crate) fn is_read_only(&self) -> bool {
        has_option(&self.own_options, "ro") || self.filesystem_is_read_only()
    }
}

fn has_option(options: &str, name: &str) -> bool {
    options.split(',').any(|option| option == name)
}

/// Parses the text of `/proc/PID/mountinfo`, in its order. Invalid lines are skipped. Paths are
/// bytes, which may not be UTF-8.
pub(crate) fn parse(text: &[u8]) -> Result<Vec<Mount>, ParseError> {
    let mounts: Vec<Mount> = text.split(|byte| *byte == b'\n').filter_map(mount).collect();
    if mounts.is_empty() && !text.trim_ascii().is_empty() {
        return Err(ParseError::Missing("mount point"));
    }
    Ok(mounts)
}

/// Mounts below a folder, as seen by a system with this folder as its root. Mount points are
/// relative to the folder; paths do not change. The filesystem that contains the folder is mounted
/// at the root.
pub(crate) fn below(mounts: Vec<Mount>, folder: &Path) -> Vec<Mount> {
    // The last mount at a path hides the earlier ones.
    let covers = |(index, mount): &(usize, &Mount)| (mount.path.as_os_str().len(), *index);
    let covering = mounts
        .iter()
        .enumerate()
        .filter(|(_, mount)| folder.starts_with(&mount.path))
        .max_by_key(covers)
        .map(|(index, _)| index);
    let visible = |(index, mut mount): (usize, Mount)| {
        let inside = if Some(index) == covering {
            folder.clone_into(&mut mount.path);
            Path::new("")
        } else {
            mount.path.strip_prefix(folder).ok().filter(|inside| !inside.as_os_str().is_empty())?
        };
        mount.point = Path::new("/").join(inside).to_string_lossy().into_owned();
        Some(mount)
    };
    mounts.into_iter().enumerate().filter_map(visible).collect()
}

/// Mounts whose storage use is reported: selected folders with their own storage, each filesystem
/// once, at its shortest path that can be written. `is_folder` is called for mounts that may be
/// single files.
pub(crate) fn with_storage<'a>(
    mounts: &'a [Mount],
    selected: &Selection,
    is_folder: impl Fn(&Mount) -> bool,
) -> Vec<&'a Mount> {
    // The last mount on a folder hides the earlier ones, and `statvfs(3)` would return its size.
    let top: HashMap<&Path, usize> =
        mounts.iter().enumerate().map(|(index, mount)| (mount.path.as_path(), index)).collect();
    // So does a mount on a folder above it in the same parent: the path leads into that mount.
    let is_hidden = |mount: &Mount| {
        let folders = mount.path.ancestors().skip(1);
        let mut above = folders.filter_map(|folder| mounts.get(*top.get(folder)?));
        // The root is its own parent on a system that runs from its initial RAM disk.
        above.any(|other| other.parent == mount.parent && other.id != mount.parent)
    };
    let is_candidate = |(index, mount): &(usize, &Mount)| {
        top.get(mount.path.as_path()) == Some(index)
            && selected.contains(&mount.point)
            && is_local_storage(mount)
            && !is_hidden(mount)
            && !is_system_file(&mount.point)
            // The root of a filesystem is a folder.
            && (mount.root == "/" || is_folder(mount))
    };
    let candidates: Vec<_> = mounts.iter().enumerate().filter(is_candidate).collect();
    let mut shortest: HashMap<&str, usize> = HashMap::new();
    for (index, mount) in &candidates {
        let best = shortest.entry(&mount.device).or_insert(*index);
        // The root of a system with transactional updates is a read-only folder of a filesystem
        // that can fill up.
        let order = |mount: &Mount| (mount.is_read_only(), mount.point.len());
        if mounts.get(*best).is_some_and(|other| order(mount) < order(other)) {
            *best = *index;
        }
    }
    candidates
        .into_iter()
        .filter(|(index, mount)| shortest.get(mount.device.as_str()) == Some(index))
        .map(|(_, mount)| mount)
        .take(MAX_FILESYSTEMS)
        .collect()
}

/// Free blocks of a filesystem that has `all` blocks. A number below zero wraps around, as it does on
/// some filesystems that are full, and others report more free blocks than they have.
pub(crate) fn free_blocks(free: u64, all: u64) -> u64 {
    if i64::try_from(free).is_ok() { free.min(all) } else { 0 }
}

fn is_local_storage(mount: &Mount) -> bool {
    let kind = mount.kind.as_str();
    // The overlay of composefs has the size of the image with the names of its files.
    let is_image = kind == "overlay" && mount.filesystem_is_read_only();
    // ZFS mounts a snapshot below `.zfs` when a process opens it. It has no free space.
    let is_snapshot = kind == "zfs" && mount.source.contains('@');
    (LOCAL_KINDS.contains(&kind) && !is_snapshot)
        || (ROOT_KINDS.contains(&kind) && mount.point == "/" && !is_image)
}

/// Whether container engines mount single files at the path: names, secrets, logs, programs. The
/// filesystem of such a file is a folder of the host, which is not storage of the container.
fn is_system_file(path: &str) -> bool {
    SYSTEM_FOLDERS.into_iter().any(|folder| path.starts_with(folder))
        || SYSTEM_FILES.contains(&path)
}

fn mount(line: &[u8]) -> Option<Mount> {
    // A variable number of fields precedes the separator, and none of them is a single hyphen.
    // Three fields follow it. The second one can be empty.
    let separator = line.windows(3).position(|window| window == b" - ")?;
    let (mount_fields, filesystem_fields) = (line.get(..separator)?, line.get(separator + 3..)?);
    let mut mount_fields = mount_fields.split(|byte| *byte == b' ');
    let id = text(mount_fields.next()?).parse().ok()?;
    let parent = text(mount_fields.next()?).parse().ok()?;
    let device = mount_fields.next().map(text).filter(|device| is_device(device))?;
    let (root, point) = (mount_fields.next()?, mount_fields.next()?);
    let own_options = mount_fields.next().map(text).unwrap_or_default();
    let mut filesystem_fields = filesystem_fields.splitn(3, |byte| *byte == b' ');
    let (kind, source) = (filesystem_fields.next()?, filesystem_fields.next()?);
    let path = unescaped(point);
    Some(Mount {
        id,
        parent,
        device,
        root: text(&unescaped(root)),
        point: text(&path),
        path: PathBuf::from(OsString::from_vec(path)),
        kind: text(&unescaped(kind)),
        source: text(&unescaped(source)),
        own_options,
        options: filesystem_fields.next().map(text).unwrap_or_default(),
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn is_device(text: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once(':').is_some_and(|(major, minor)| is_number(major) && is_number(minor))
}

/// Resolves escapes: the kernel writes space, tab, line feed and backslash as a backslash with
/// three octal digits.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut parts = text.split(|byte| *byte == b'\\');
    let mut bytes = parts.next().unwrap_or_default().to_vec();
    for part in parts {
        let (byte, rest) = octal(part).unwrap_or((b'\\', part));
        bytes.push(byte);
        bytes.extend_from_slice(rest);
    }
    bytes
}

fn octal(text: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, rest) = text.split_first_chunk::<3>()?;
    let byte = digits.iter().try_fold(0_u8, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
        value.checked_mul(8)?.checked_add(digit)
    })?;
    Some((byte, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> Vec<String> {
        listed_of(&parse(text.as_bytes()).unwrap())
    }

    fn listed_of(mounts: &[Mount]) -> Vec<String> {
        with_storage(mounts, &Selection::default(), |_| true)
            .into_iter()
            .map(|mount| mount.point.clone())
            .collect()
    }

    #[test]
    fn every_field_is_parsed_regardless_of_optional_fields() {
        let expected = Mount {
            id: 36,
            parent: 35,
            device: "98:0".to_owned(),
            root: "/mnt1".to_owned(),
            point: "/mnt2".to_owned(),
            path: PathBuf::from("/mnt2"),
            kind: "ext3".to_owned(),
            source: "/dev/root".to_owned(),
            own_options: "rw,noatime".to_owned(),
            options: "rw,errors=continue".to_owned(),
        };
        for optional in ["", " master:1", " shared:7 master:1 propagate_from:2 unbindable"] {
            let text = format!(
                "36 35 98:0 /mnt1 /mnt2 rw,noatime{optional} - ext3 /dev/root rw,errors=continue\n"
            );
            assert_eq!(parse(text.as_bytes()), Ok(vec![expected.clone()]), "{text}");
        }
    }

    #[test]
    fn escapes_are_resolved_and_other_backslashes_are_kept() {
        assert_eq!(unescaped(br"/a\040b\011c\134d\012e"), b"/a b\tc\\d\ne");
        assert_eq!(unescaped(br"/\303\274"), "/\u{fc}".as_bytes());
        assert_eq!(unescaped(br"/\04"), br"/\04");
        assert_eq!(unescaped(br"/\089\777\"), br"/\089\777\");
        assert_eq!(unescaped(br"/\377"), b"/\xff");
        assert_eq!(unescaped(b"/\\\xff\xff"), b"/\\\xff\xff");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_kept_and_affect_no_other_line() {
        let text = b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
                     2 1 8:2 / /media/user/M\xfcller rw - vfat /dev/sdb1 rw\n";
        let mounts = parse(text).unwrap();
        assert_eq!(mounts[1].path.as_os_str().as_encoded_bytes(), b"/media/user/M\xfcller");
        assert_eq!(listed_of(&mounts), ["/", "/media/user/M\u{fffd}ller"]);
    }

    #[test]
    fn folders_of_a_filesystem_are_listed_and_single_files_are_not() {
        let text = b"1 0 8:1 /v/pg.conf /pg.conf rw - ext4 /dev/sda1 rw\n\
                     2 0 8:1 /v/data /var/lib/postgresql/data rw - ext4 /dev/sda1 rw\n\
                     3 0 8:2 /c /app/config.yaml ro - ext4 /dev/sdb1 rw\n";
        let mounts = parse(text).unwrap();
        let all = Selection::default();
        let listed = with_storage(&mounts, &all, |mount| mount.point.ends_with("data"));
        assert_eq!(listed, [&mounts[1]]);
    }

    #[test]
    fn filesystems_of_clusters_blocks_and_virtual_machines_are_listed() {
        for kind in ["fuseblk", "hfsplus", "gfs2", "ocfs2"] {
            assert_eq!(listed(&format!("1 0 8:1 / /data rw - {kind} /dev/sda1 rw\n")), ["/data"]);
        }
        for kind in ["9p", "virtiofs", "nfs4"] {
            assert_eq!(listed(&format!("1 0 0:21 / / rw - {kind} share rw\n")), ["/"], "{kind}");
            assert_eq!(listed(&format!("1 0 0:21 / /x rw - {kind} share rw\n")), [""; 0], "{kind}");
        }
    }

    #[test]
    fn below_a_folder_mount_points_are_those_of_the_host() {
        let text = b"1 0 0:50 / / ro - overlay overlay rw\n\
                     2 1 254:0 / /host ro - ext4 /dev/vda rw\n\
                     3 2 254:16 / /host/data rw - xfs /dev/vdb rw\n\
                     4 1 254:0 /etc/hosts /etc/hosts rw - ext4 /dev/vda rw\n\
                     5 1 254:0 /x /hostile rw - ext4 /dev/vda rw\n";
        let mounts = below(parse(text).unwrap(), Path::new("/host"));
        let points: Vec<_> =
            mounts.iter().map(|mount| (mount.point.as_str(), mount.path.clone())).collect();
        assert_eq!(points, [("/", "/host".into()), ("/data", "/host/data".into())]);
        let covered = below(parse(text).unwrap(), Path::new("/host/srv"));
        assert_eq!((covered[0].point.as_str(), covered.len()), ("/", 1));
        assert_eq!(covered[0].path, Path::new("/host/srv"));
    }

    #[test]
    fn a_filesystem_that_the_kernel_remounted_after_errors_is_read_only() {
        let mounts = parse(
            b"1 0 8:1 / /a rw - ext4 /dev/a ro,errors=remount-ro\n\
              2 0 8:2 / /b ro,relatime - ext4 /dev/b rw\n3 0 8:3 / /c rw - ext4 /dev/c rw,x=ro\n",
        );
        let read_only = |mount: &Mount| (mount.filesystem_is_read_only(), mount.is_read_only());
        let listed: Vec<_> = mounts.unwrap().iter().map(read_only).collect();
        assert_eq!(listed, [(true, true), (false, true), (false, false)]);
    }

    #[test]
    fn a_source_may_be_empty() {
        let mounts = parse(b"1 0 0:5 / /x rw - tmpfs  rw,size=1k\n").unwrap();
        assert_eq!((mounts[0].source.as_str(), mounts[0].options.as_str()), ("", "rw,size=1k"));
    }

    #[test]
    fn an_invalid_line_is_skipped_and_other_text_is_an_error() {
        let text = "36 35 98:0 /mnt1\nnothing\n1 0 x / / rw - ext4 /dev/sda rw\n\
                    1 0 8:1 / / rw - ext4\n1 0 8:1 / /x rw - ext4 /dev/sda1 rw\n";
        assert_eq!(listed(text), ["/x"]);
        assert_eq!(parse(b""), Ok(Vec::new()));
        assert!(parse(b"nothing\n").is_err());
    }

    #[test]
    fn only_local_filesystems_with_their_own_storage_are_listed() {
        let text = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:5 / /run rw - tmpfs tmpfs rw\n\
                    3 1 0:6 / /proc rw - proc proc rw\n4 1 0:7 / /nfs rw - nfs4 server:/ rw\n\
                    5 1 0:8 / /fuse rw - fuse.sshfs host: rw\n6 1 7:1 / /snap/x ro - squashfs x ro\n\
                    7 1 0:9 / /var/lib/docker/overlay2/1/merged rw - overlay overlay rw\n\
                    8 1 8:2 / /data rw - xfs /dev/sda2 rw\n";
        assert_eq!(listed(text), ["/", "/data"]);
    }

    #[test]
    fn a_root_in_memory_or_on_overlayfs_is_listed() {
        assert_eq!(listed("1 0 0:5 / / rw - tmpfs tmpfs rw\n"), ["/"]);
        assert_eq!(listed("1 0 0:5 / / rw - overlay overlay rw,lowerdir=/a\n"), ["/"]);
    }

    #[test]
    fn free_blocks_are_between_zero_and_all() {
        assert_eq!(
            [free_blocks(0, 100), free_blocks(30, 100), free_blocks(130, 100)],
            [0, 30, 100]
        );
        assert_eq!([free_blocks(u64::MAX, 100), free_blocks(u64::MAX - 500, 100)], [0, 0]);
    }

    #[test]
    fn a_root_that_is_an_image_is_left_out() {
        let text = "1 0 0:30 / / ro - overlay composefs ro,lowerdir+=/run/ostree/.private/cfsroot\n\
                    2 1 8:4 / /sysroot ro - xfs /dev/sda4 rw\n\
                    3 1 8:4 /ostree/deploy/fedora/var /var rw - xfs /dev/sda4 rw\n";
        assert_eq!(listed(text), ["/var"]);
        // A container whose root is mounted read-only has the storage of its engine.
        let container = "1 0 0:30 / / ro - overlay overlay rw,lowerdir=/a,upperdir=/b,workdir=/c\n";
        assert_eq!(listed(container), ["/"]);
    }

    #[test]
    fn snapshots_of_zfs_are_left_out() {
        let text = "1 0 0:30 / /tank rw - zfs tank rw,xattr\n\
                    2 1 0:31 / /tank/a@b rw - zfs tank/a rw,xattr\n\
                    3 2 0:32 / /tank/.zfs/snapshot/daily ro - zfs tank@daily ro,xattr\n";
        assert_eq!(listed(text), ["/tank", "/tank/a@b"]);
    }

    #[test]
    fn each_device_is_listed_once_at_its_shortest_path_and_in_order() {
        let text = "1 0 8:1 /a /long/path rw - ext4 /dev/sda1 rw\n\
                    2 0 8:2 / /data rw - ext4 /dev/sda2 rw\n3 0 8:1 / /short rw - ext4 /dev/sda1 rw\n\
                    4 0 8:1 /b /other rw - ext4 /dev/sda1 rw\n";
        assert_eq!(listed(text), ["/data", "/short"]);
    }

    #[test]
    fn a_path_that_can_be_written_is_preferred() {
        let text = "1 0 0:31 /@/.snapshots/2/snapshot / ro,relatime - btrfs /dev/sda2 rw\n\
                    2 1 0:31 /@/home /home rw,relatime - btrfs /dev/sda2 rw\n\
                    3 1 0:31 /@/var /var rw,relatime - btrfs /dev/sda2 rw\n";
        assert_eq!(listed(text), ["/var"]);
        assert_eq!(listed(&text.replace(" rw", " ro")), ["/"]);
    }

    #[test]
    fn a_mount_hidden_by_a_later_one_is_left_out() {
        let text = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:2 / /data rw - ext4 /dev/sda2 rw\n\
                    3 2 0:7 / /data rw - nfs4 server:/ rw\n";
        assert_eq!(listed(text), ["/"]);
    }

    #[test]
    fn a_mount_below_a_later_one_on_a_folder_above_is_left_out() {
        let text = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:2 / /mnt/data rw - xfs /dev/sdb rw\n\
                    3 1 8:3 / /mnt rw - ext4 /dev/sdc rw\n4 3 8:4 / /mnt/new rw - ext4 /dev/sdd rw\n";
        assert_eq!(listed(text), ["/", "/mnt", "/mnt/new"]);
        let text = "1 1 0:2 / / rw - tmpfs rootfs rw\n2 1 8:1 / /data rw - ext4 /dev/sda1 rw\n";
        assert_eq!(listed(text), ["/", "/data"]);
    }

    #[test]
    fn a_filesystem_is_listed_at_the_shortest_path_that_is_selected() {
        let text = "1 0 0:31 /@ / rw - btrfs /dev/sda rw\n\
                    2 1 0:31 /@home /home rw - btrfs /dev/sda rw\n\
                    3 1 0:31 /@home/a /home/a rw - btrfs /dev/sda rw\n";
        let mounts = parse(text.as_bytes()).unwrap();
        let selected = Selection::parse("/home*").unwrap();
        assert_eq!(with_storage(&mounts, &selected, |_| true), [&mounts[1]]);
    }

    #[test]
    fn single_files_that_container_engines_mount_are_left_out() {
        let files = "/etc/hosts /etc/hostname /etc/resolv.conf /run/.containerenv /.dockerenv \
                     /dev/termination-log /usr/bin/nvidia-smi /sbin/docker-init";
        let file = |path| format!("2 1 259:1 /x {path} rw - xfs /dev/nvme0n1p1 rw\n");
        let text: String = files.split(' ').map(file).collect();
        assert_eq!(listed(&text), [""; 0]);
        assert_eq!(listed(&format!("{text}{}", file("/data"))), ["/data"]);
    }

    #[test]
    fn the_number_of_filesystems_is_limited() {
        let line = |number| format!("1 0 8:{number} / /data{number} rw - ext4 /dev/sda rw\n");
        let text: String = (0..1800).map(line).collect();
        assert_eq!(listed(&text).len(), MAX_FILESYSTEMS);
    }
}
