//! Mounted filesystems: `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`).

use std::collections::HashMap;

use super::ParseError;

/// Filesystems with storage of their own on this machine; images that are read-only are always full.
const LOCAL_KINDS: [&str; 16] = [
    "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "nilfs2", "ntfs", "ntfs3",
    "reiserfs", "ubifs", "vfat", "xfs", "zfs",
];

/// Filesystems whose storage is another's or memory: worth telling only where programs see nothing
/// else, as the root.
const BORROWED_KINDS: [&str; 3] = ["aufs", "overlay", "tmpfs"];

/// Folders below which no data is mounted, but single files are.
const SYSTEM_FOLDERS: [&str; 9] =
    ["/bin/", "/dev/", "/etc/", "/proc/", "/sbin/", "/sys/", "/usr/bin/", "/usr/lib", "/usr/sbin/"];

/// Files that container engines mount elsewhere.
const SYSTEM_FILES: [&str; 3] = ["/.dockerenv", "/run/.containerenv", "/run/podman-init"];

/// More than these nobody looks at, and each costs a call of the kernel.
const MAXIMUM: usize = 64;

/// One mount.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Mount {
    /// Major and minor number of the filesystem's device, as text: equal for the same filesystem.
    pub(crate) device: String,
    /// The folder of the filesystem that is mounted.
    pub(crate) root: String,
    /// Where it is mounted; octal escapes are resolved.
    pub(crate) point: String,
    /// The filesystem's type.
    pub(crate) kind: String,
    /// What is mounted; a device, or a word.
    pub(crate) source: String,
    /// The options of the filesystem itself, separated by commas; of a version 1 control group
    /// its controllers.
    pub(crate) options: String,
}

/// Parses the text of `/proc/self/mountinfo`, in its order. A line that cannot be understood is
/// left out.
pub(crate) fn parse(text: &str) -> Result<Vec<Mount>, ParseError> {
    let mounts: Vec<Mount> = text.lines().filter_map(mount).collect();
    if mounts.is_empty() && !text.trim_ascii().is_empty() {
        return Err(ParseError::Missing("mount point"));
    }
    Ok(mounts)
}

/// The mounts whose use of storage is worth telling: with storage of their own, local (asking a
/// server that is gone would hang), each filesystem once, whole folders only.
pub(crate) fn with_storage(mounts: &[Mount]) -> Vec<&Mount> {
    // What was mounted last on a folder hides what was there; asking for the one tells the other.
    let top: HashMap<&str, usize> =
        mounts.iter().enumerate().map(|(index, mount)| (mount.point.as_str(), index)).collect();
    let candidates = || {
        let all = mounts.iter().enumerate();
        all.filter(|(index, mount)| top.get(mount.point.as_str()) == Some(index))
            .filter(|(_, mount)| is_local_storage(mount) && !is_system_file(&mount.point))
    };
    let mut shortest: HashMap<&str, usize> = HashMap::new();
    for (index, mount) in candidates() {
        let best = shortest.entry(&mount.device).or_insert(index);
        if mounts.get(*best).is_some_and(|other| mount.point.len() < other.point.len()) {
            *best = index;
        }
    }
    candidates()
        .filter(|(index, mount)| shortest.get(mount.device.as_str()) == Some(index))
        .map(|(_, mount)| mount)
        .take(MAXIMUM)
        .collect()
}

fn is_local_storage(mount: &Mount) -> bool {
    let kind = mount.kind.as_str();
    LOCAL_KINDS.contains(&kind) || (BORROWED_KINDS.contains(&kind) && mount.point == "/")
}

/// Whether container engines mount single files there: names, secrets, logs, programs. A file's
/// filesystem is some folder of the host, which says nothing about the container.
fn is_system_file(path: &str) -> bool {
    SYSTEM_FOLDERS.into_iter().any(|folder| path.starts_with(folder))
        || SYSTEM_FILES.contains(&path)
}

fn mount(line: &str) -> Option<Mount> {
    // Before the separator come fields of any number, none of which is a lone hyphen; after it
    // three, of which the second can be empty.
    let (place, filesystem) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(2);
    let device = place.next().filter(|device| is_device(device))?;
    let (root, point) = (place.next()?, place.next()?);
    let mut filesystem = filesystem.splitn(3, ' ');
    let (kind, source) = (filesystem.next()?, filesystem.next()?);
    Some(Mount {
        device: device.to_owned(),
        root: unescaped(root),
        point: unescaped(point),
        kind: unescaped(kind),
        source: unescaped(source),
        options: filesystem.next().unwrap_or_default().to_owned(),
    })
}

fn is_device(text: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once(':').is_some_and(|(major, minor)| is_number(major) && is_number(minor))
}

/// The kernel writes space, tab, line feed and backslash as a backslash and three octal digits.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut bytes = Vec::with_capacity(text.len());
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let (byte, rest) = octal(part.as_bytes()).unwrap_or((b'\\', part.as_bytes()));
        bytes.push(byte);
        bytes.extend_from_slice(rest);
    }
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
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

    fn told(text: &str) -> Vec<String> {
        let mounts = parse(text).unwrap();
        with_storage(&mounts).into_iter().map(|mount| mount.point.clone()).collect()
    }

    #[test]
    fn every_field_has_its_place_whatever_optional_fields_there_are() {
        let expected = Mount {
            device: "98:0".to_owned(),
            root: "/mnt1".to_owned(),
            point: "/mnt2".to_owned(),
            kind: "ext3".to_owned(),
            source: "/dev/root".to_owned(),
            options: "rw,errors=continue".to_owned(),
        };
        for optional in ["", " master:1", " shared:7 master:1 propagate_from:2 unbindable"] {
            let text = format!(
                "36 35 98:0 /mnt1 /mnt2 rw,noatime{optional} - ext3 /dev/root rw,errors=continue\n"
            );
            assert_eq!(parse(&text), Ok(vec![expected.clone()]), "{text}");
        }
    }

    #[test]
    fn escapes_are_resolved_and_what_is_no_escape_is_kept() {
        assert_eq!(unescaped(r"/a\040b\011c\134d\012e"), "/a b\tc\\d\ne");
        assert_eq!(unescaped(r"/\303\274"), "/\u{fc}");
        assert_eq!(unescaped(r"/\04"), r"/\04");
        assert_eq!(unescaped(r"/\089\777\"), r"/\089\777\");
        assert_eq!(unescaped(r"/\377"), "/\u{FFFD}");
        assert_eq!(unescaped("/\\\u{fc}\u{fc}"), "/\\\u{fc}\u{fc}");
    }

    #[test]
    fn a_source_may_be_empty() {
        let mounts = parse("1 0 0:5 / /x rw - tmpfs  rw,size=1k\n").unwrap();
        assert_eq!((mounts[0].source.as_str(), mounts[0].options.as_str()), ("", "rw,size=1k"));
    }

    #[test]
    fn an_odd_line_is_left_out_and_other_text_is_an_error() {
        let text = "36 35 98:0 /mnt1\nnothing\n1 0 x / / rw - ext4 /dev/sda rw\n\
                    1 0 8:1 / / rw - ext4\n1 0 8:1 / /x rw - ext4 /dev/sda1 rw\n";
        assert_eq!(told(text), ["/x"]);
        assert_eq!(parse(""), Ok(Vec::new()));
        assert!(parse("nothing\n").is_err());
    }

    #[test]
    fn only_local_filesystems_with_storage_of_their_own_are_told() {
        let text = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:5 / /run rw - tmpfs tmpfs rw\n\
                    3 1 0:6 / /proc rw - proc proc rw\n4 1 0:7 / /nfs rw - nfs4 server:/ rw\n\
                    5 1 0:8 / /fuse rw - fuse.sshfs host: rw\n6 1 7:1 / /snap/x ro - squashfs x ro\n\
                    7 1 0:9 / /var/lib/docker/overlay2/1/merged rw - overlay overlay rw\n\
                    8 1 8:2 / /data rw - xfs /dev/sda2 rw\n";
        assert_eq!(told(text), ["/", "/data"]);
    }

    #[test]
    fn a_root_in_memory_or_of_layers_is_told() {
        assert_eq!(told("1 0 0:5 / / rw - tmpfs tmpfs rw\n"), ["/"]);
        assert_eq!(told("1 0 0:5 / / rw - overlay overlay rw,lowerdir=/a\n"), ["/"]);
    }

    #[test]
    fn each_device_is_told_once_where_its_path_is_shortest_and_in_order() {
        let text = "1 0 8:1 /a /long/path rw - ext4 /dev/sda1 rw\n\
                    2 0 8:2 / /data rw - ext4 /dev/sda2 rw\n3 0 8:1 / /short rw - ext4 /dev/sda1 rw\n\
                    4 0 8:1 /b /other rw - ext4 /dev/sda1 rw\n";
        assert_eq!(told(text), ["/data", "/short"]);
    }

    #[test]
    fn what_is_hidden_by_a_later_mount_is_not_asked_for() {
        let text = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:2 / /data rw - ext4 /dev/sda2 rw\n\
                    3 2 0:7 / /data rw - nfs4 server:/ rw\n";
        assert_eq!(told(text), ["/"]);
    }

    #[test]
    fn single_files_that_container_engines_mount_are_left_out() {
        let files = [
            "/etc/hosts",
            "/etc/hostname",
            "/etc/resolv.conf",
            "/run/.containerenv",
            "/.dockerenv",
            "/dev/termination-log",
            "/usr/bin/nvidia-smi",
            "/sbin/docker-init",
        ];
        let file = |path| format!("2 1 259:1 /x {path} rw - xfs /dev/nvme0n1p1 rw\n");
        let text: String = files.into_iter().map(file).collect();
        assert_eq!(told(&text), [""; 0]);
        assert_eq!(told(&format!("{text}{}", file("/data"))), ["/data"]);
    }

    #[test]
    fn there_are_at_most_64() {
        let line = |number| format!("1 0 8:{number} / /data{number} rw - ext4 /dev/sda rw\n");
        let text: String = (0..1000).map(line).collect();
        assert_eq!(told(&text).len(), 64);
    }
}
