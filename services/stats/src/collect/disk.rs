//! Disks: `/proc/diskstats` (Documentation/admin-guide/iostats.rst).

use std::collections::HashSet;

use super::ParseError;

/// Whatever the disk's own sectors are.
const SECTOR_BYTES: u64 = 512;

/// One disk's counters since boot.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Disk {
    /// The kernel's name of it.
    pub(crate) name: String,
    /// Read requests completed.
    pub(crate) reads: u64,
    /// Bytes read.
    pub(crate) read_bytes: u64,
    /// Write requests completed.
    pub(crate) writes: u64,
    /// Bytes written.
    pub(crate) write_bytes: u64,
    /// Time with at least one request under way, milliseconds.
    pub(crate) busy_ms: u64,
    /// Whether it is made of other disks of the list (`dm-`, `md`): sums leave it out.
    pub(crate) stacked: bool,
}

/// Parses the text of `/proc/diskstats`, without partitions, loop devices and memory disks. A line
/// that cannot be understood is left out.
///
/// Not by procfs: one odd line would cost all disks.
pub(crate) fn parse(text: &str) -> Result<Vec<Disk>, ParseError> {
    let names: HashSet<&str> = text.lines().filter_map(name_of).collect();
    if names.is_empty() && !text.trim_ascii().is_empty() {
        return Err(ParseError::Missing("device name"));
    }
    // On Xen a partition can be all there is of a disk, so only its disk's presence tells it.
    let is_partition = |name| disk_of(name).is_some_and(|disk| names.contains(disk));
    let whole = text
        .lines()
        .filter(|line| name_of(line).is_some_and(|name| !is_left_out(name) && !is_partition(name)));
    let disks = whole.filter_map(disk).filter(|disk| !is_unused_network_disk(disk));
    Ok(paths_or_heads(disks.collect()))
}

/// An `NVMe` disk with several paths (`nvme3c33n1`) has its counters in its head (`nvme3n1`), since
/// Linux 6.4 or so; before that the head's stay 0, and the paths have them.
fn paths_or_heads(mut disks: Vec<Disk>) -> Vec<Disk> {
    let is_active = |disk: &Disk| disk.reads > 0 || disk.writes > 0;
    let active_heads: HashSet<String> = disks
        .iter()
        .filter(|disk| is_active(disk) && head_of(&disk.name).is_none())
        .map(|disk| disk.name.clone())
        .collect();
    let active_paths: HashSet<String> = disks
        .iter()
        .filter(|disk| is_active(disk))
        .filter_map(|disk| head_of(&disk.name))
        .collect();
    disks.retain(|disk| match head_of(&disk.name) {
        Some(head) => is_active(disk) && !active_heads.contains(&head),
        None => is_active(disk) || !active_paths.contains(&disk.name),
    });
    disks
}

/// The head of a path by its name.
fn head_of(name: &str) -> Option<String> {
    let (controller, rest) = name.strip_prefix("nvme")?.split_once('c')?;
    let (_, namespace) = rest.split_once('n')?;
    Some(format!("nvme{controller}n{namespace}"))
}

fn name_of(line: &str) -> Option<&str> {
    line.split_ascii_whitespace().nth(2)
}

/// The name of the disk that a partition of this name is on: `sda` of `sda1`, `nvme0n1` of
/// `nvme0n1p1`.
fn disk_of(name: &str) -> Option<&str> {
    let start = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    if start.len() == name.len() {
        return None;
    }
    let before_p = start.strip_suffix('p');
    let numbered = before_p.filter(|disk| disk.ends_with(|letter: char| letter.is_ascii_digit()));
    Some(numbered.unwrap_or(start))
}

/// Memory, files and removable media, and areas of a card that are no storage.
fn is_left_out(name: &str) -> bool {
    let numbered = |start: &str| name.strip_prefix(start).is_some_and(is_number);
    let is_area = name.starts_with("mmcblk") && (name.contains("boot") || name.contains("rpmb"));
    is_area || ["ram", "loop", "fd", "zram", "sr"].into_iter().any(numbered)
}

/// Network block devices come in sixteens, in use or not.
fn is_unused_network_disk(disk: &Disk) -> bool {
    disk.name.starts_with("nbd") && disk.reads == 0 && disk.writes == 0
}

/// What is made of disks that are in the list too: device mapper, RAID, DRBD, bcache, volumes of
/// ZFS. Network disks are not: their storage is elsewhere.
fn is_stacked(name: &str) -> bool {
    let numbered = |start: &str| name.strip_prefix(start).is_some_and(is_number);
    name.starts_with("md_d") || ["dm-", "md", "drbd", "bcache", "zd"].into_iter().any(numbered)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn disk(line: &str) -> Option<Disk> {
    let mut columns = line.split_ascii_whitespace();
    // Before the name come the major and the minor number.
    let numbers = [columns.next()?, columns.next()?];
    let name = columns.next()?;
    // After these, kernels since 4.18 tell discards and those since 5.5 flushes.
    let mut figures = [0_u64; 11];
    for figure in &mut figures {
        *figure = columns.next()?.parse().ok()?;
    }
    let [reads, _, read_sectors, _, writes, _, written_sectors, _, _, busy, _] = figures;
    numbers.into_iter().all(is_number).then(|| Disk {
        name: name.to_owned(),
        reads,
        read_bytes: read_sectors.saturating_mul(SECTOR_BYTES),
        writes,
        write_bytes: written_sectors.saturating_mul(SECTOR_BYTES),
        busy_ms: busy,
        stacked: is_stacked(name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        parse(text).unwrap().into_iter().map(|disk| disk.name).collect()
    }

    /// Lines of disks of these names, with something read.
    fn lines(names: &[&str]) -> String {
        let line = |name| format!("8 0 {name} 1 0 8 1 0 0 0 0 0 1 1\n");
        names.iter().map(line).collect::<Vec<_>>().concat()
    }

    #[test]
    fn every_column_has_its_place_and_a_sector_is_512_bytes() {
        let expected = Disk {
            name: "sda".to_owned(),
            reads: 1,
            read_bytes: 3 * 512,
            writes: 5,
            write_bytes: 7 * 512,
            busy_ms: 10,
            stacked: false,
        };
        // Kernels before 4.18, before 5.5, and later ones.
        for more in ["", " 12 13 14 15", " 12 13 14 15 16 17", " 12 13 14 15 16 17 18 19 20"] {
            let text = format!("   8       0 sda 1 2 3 4 5 6 7 8 9 10 11{more}\n");
            assert_eq!(parse(&text), Ok(vec![expected.clone()]), "{text}");
        }
    }

    #[test]
    fn partitions_are_left_out() {
        let text = lines(&[
            "sda",
            "sda1",
            "sda15",
            "sdp",
            "sdp1",
            "vda",
            "vda1",
            "nvme0n1",
            "nvme0n1p1",
            "nvme0n1p128",
            "nvme0n2",
            "mmcblk0",
            "mmcblk0p2",
            "md0",
            "md0p1",
            "xvda",
            "xvda1",
        ]);
        let expected = ["sda", "sdp", "vda", "nvme0n1", "nvme0n2", "mmcblk0", "md0", "xvda"];
        assert_eq!(names(&text), expected);
    }

    #[test]
    fn a_partition_without_its_disk_is_a_disk() {
        assert_eq!(names(&lines(&["xvda1", "xvdb", "xvdb1"])), ["xvda1", "xvdb"]);
    }

    #[test]
    fn the_paths_of_a_disk_are_told_where_its_head_does_not_count() {
        let idle = "259 0 nvme3n1 0 0 0 0 0 0 0 0 0 0 0\n";
        let path = |name| format!("259 1 {name} 5 0 8 1 0 0 0 0 0 1 1\n");
        let both = [path("nvme3c33n1"), path("nvme3c34n1")].concat();
        assert_eq!(names(&format!("{idle}{both}")), ["nvme3c33n1", "nvme3c34n1"]);
        assert_eq!(names(&format!("{}{both}", path("nvme3n1"))), ["nvme3n1"]);
        let unused = "259 1 nvme3c33n1 0 0 0 0 0 0 0 0 0 0 0\n";
        assert_eq!(names(&format!("{idle}{unused}")), ["nvme3n1"]);
    }

    #[test]
    fn what_is_no_disk_is_left_out() {
        let text = lines(&[
            "ram0",
            "loop7",
            "fd0",
            "zram0",
            "sr0",
            "mmcblk0",
            "mmcblk0boot0",
            "mmcblk0rpmb",
            "nvme0c1n1",
            "nvme0n1",
            "loop7p1",
        ]);
        assert_eq!(names(&text), ["mmcblk0", "nvme0n1"]);
    }

    #[test]
    fn a_network_disk_is_told_when_it_is_in_use() {
        let text = format!("{}43 0 nbd1 0 0 0 0 0 0 0 0 0 0 0\n", lines(&["nbd0"]));
        assert_eq!(names(&text), ["nbd0"]);
    }

    #[test]
    fn disks_that_are_made_of_others_are_marked() {
        let stacked = ["dm-0", "md127", "md_d1", "drbd1", "bcache0", "zd16"];
        assert!(parse(&lines(&stacked)).unwrap().iter().all(|disk| disk.stacked));
        let alone = ["sda", "nvme0n1", "rbd0", "nbd0", "pmem0", "mmcblk0"];
        assert!(!parse(&lines(&alone)).unwrap().iter().any(|disk| disk.stacked));
    }

    #[test]
    fn an_odd_line_is_left_out_and_the_others_stand() {
        let text = "8 0 sda 1 2 3\n8 16 sdb 1 2 x 4 5 6 7 8 9 10 11\nx 0 sdc 1 2 3 4 5 6 7 8 9 1 1\n\
                    8 16 sdd 1 2 -3 4 5 6 7 8 9 10 11\n8\n\n";
        assert_eq!(names(&format!("{text}{}", lines(&["sde"]))), ["sde"]);
    }

    #[test]
    fn no_text_is_no_disk_and_other_text_is_an_error() {
        assert_eq!(parse(""), Ok(Vec::new()));
        assert_eq!(parse("\n"), Ok(Vec::new()));
        assert!(parse("nothing\nhere\n").is_err());
    }

    #[test]
    fn more_sectors_than_bytes_can_be_counted_are_no_overflow() {
        let text = format!("8 0 sda 1 2 {0} 4 5 6 {0} 8 9 10 11\n", u64::MAX);
        assert_eq!(parse(&text).unwrap()[0].read_bytes, u64::MAX);
    }
}
