//! Disks: `/proc/diskstats` (Documentation/admin-guide/iostats.rst).

use std::collections::HashSet;

use super::ParseError;

/// Unit of the sector counters, independent of the disk's own sector size.
const SECTOR_BYTES: u64 = 512;

/// Counters of one disk since boot.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Disk {
    /// Kernel name.
    pub(crate) name: String,
    /// Completed read requests.
    pub(crate) reads: u64,
    /// Bytes read.
    pub(crate) read_bytes: u64,
    /// Completed write requests.
    pub(crate) writes: u64,
    /// Bytes written.
    pub(crate) write_bytes: u64,
    /// Time with at least one request in flight, milliseconds.
    pub(crate) busy_ms: u64,
    /// Time of all requests, milliseconds. `None` while one is in flight, because the kernel adds its
    /// time when it ends, and if the driver counts no times.
    pub(crate) request_ms: Option<u64>,
    /// Whether the disk consists of other disks in the list (`dm-`, `md`); sums exclude it.
    pub(crate) stacked: bool,
}

/// Parses the text of `/proc/diskstats`, without partitions, loop devices and RAM disks. Invalid
/// lines are skipped.
///
/// The procfs crate is not used: one invalid line would make it reject the whole file.
pub(crate) fn parse(text: &str) -> Result<Vec<Disk>, ParseError> {
    let names: HashSet<&str> = text.lines().filter_map(name_of).collect();
    if names.is_empty() && !text.trim_ascii().is_empty() {
        return Err(ParseError::Missing("device name"));
    }
    // On Xen, a partition can exist without its disk, so a name is a partition only if its disk is
    // listed.
    let is_partition = |name| disk_of(name).is_some_and(|disk| names.contains(disk));
    let whole = text
        .lines()
        .filter(|line| name_of(line).is_some_and(|name| !is_excluded(name) && !is_partition(name)));
    let disks = whole.filter_map(disk).filter(|disk| !is_unused_network_disk(disk));
    Ok(deduplicate_multipath(disks.collect()))
}

/// Removes duplicates of multipath `NVMe` disks. Since about Linux 6.4, the counters of the paths
/// (`nvme3c33n1`) are also in the head (`nvme3n1`); in earlier kernels, the head's counters stay 0.
fn deduplicate_multipath(mut disks: Vec<Disk>) -> Vec<Disk> {
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

/// Name of the head of a path.
fn head_of(name: &str) -> Option<String> {
    let (controller, rest) = name.strip_prefix("nvme")?.split_once('c')?;
    let (_, namespace) = rest.split_once('n')?;
    Some(format!("nvme{controller}n{namespace}"))
}

fn name_of(line: &str) -> Option<&str> {
    line.split_ascii_whitespace().nth(2)
}

/// Name of the disk that a partition with this name would be on: `sda` for `sda1`, `nvme0n1` for
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

/// RAM disks, loop devices, removable media, and areas of a card that are not storage.
fn is_excluded(name: &str) -> bool {
    let numbered = |start: &str| name.strip_prefix(start).is_some_and(is_number);
    let is_area = name.starts_with("mmcblk") && (name.contains("boot") || name.contains("rpmb"));
    is_area || ["ram", "loop", "zloop", "fd", "zram", "sr"].into_iter().any(numbered)
}

/// The kernel creates 16 network block devices in advance, used or not.
fn is_unused_network_disk(disk: &Disk) -> bool {
    disk.name.starts_with("nbd") && disk.reads == 0 && disk.writes == 0
}

/// Devices that consist of other listed disks: device mapper, RAID (also with a name of its own),
/// DRBD, bcache, Open CAS (`cas1-1`), volumes of ZFS, images of Virtuozzo, disks of `PowerPath` and
/// Veritas. Network disks are not among them: their storage is elsewhere. The arrays of Unraid have
/// the names of partitions.
fn is_stacked(name: &str) -> bool {
    let numbered = |start: &str| {
        name.strip_prefix(start).is_some_and(|rest| rest.split(['p', '-']).all(is_number))
    };
    ["md_", "emcpower"].into_iter().any(|start| name.starts_with(start))
        || ["dm-", "md", "drbd", "bcache", "cas", "zd", "ploop", "VxVM", "VxDMP"]
            .into_iter()
            .any(numbered)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn disk(line: &str) -> Option<Disk> {
    let mut columns = line.split_ascii_whitespace();
    // The major and minor number precede the name.
    let numbers = [columns.next()?, columns.next()?];
    let name = columns.next()?;
    // Later columns are discards (since Linux 4.18) and flushes (since 5.5).
    let mut values = [0_u64; 11];
    for value in &mut values {
        *value = columns.next()?.parse().ok()?;
    }
    let [reads, _, read_sectors, read_ms, writes, _, written_sectors, write_ms, in_flight, busy, _] =
        values;
    let mut later = columns.map(|column| column.parse().unwrap_or(0));
    // The fourth column of discards and the second one of flushes are times.
    let times = [Some(read_ms), Some(write_ms), later.nth(3), later.nth(1)];
    let request_ms = times.into_iter().flatten().fold(0, u64::saturating_add);
    numbers.into_iter().all(is_number).then(|| Disk {
        name: name.to_owned(),
        reads,
        read_bytes: read_sectors.saturating_mul(SECTOR_BYTES),
        writes,
        write_bytes: written_sectors.saturating_mul(SECTOR_BYTES),
        busy_ms: busy,
        request_ms: Some(request_ms).filter(|&time| in_flight == 0 && time > 0),
        stacked: is_stacked(name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        parse(text).unwrap().into_iter().map(|disk| disk.name).collect()
    }

    /// Lines of disks with these names that have been read from.
    fn lines(names: &str) -> String {
        let line = |name| format!("8 0 {name} 1 0 8 1 0 0 0 0 0 1 1\n");
        names.split_whitespace().map(line).collect()
    }

    #[test]
    fn every_column_is_assigned_to_its_field_and_a_sector_is_512_bytes() {
        let expected = Disk {
            name: "sda".to_owned(),
            reads: 1,
            read_bytes: 3 * 512,
            writes: 5,
            write_bytes: 7 * 512,
            busy_ms: 10,
            request_ms: None,
            stacked: false,
        };
        // Columns before Linux 4.18, before 5.5, and later.
        for more in ["", " 12 13 14 15", " 12 13 14 15 16 17", " 12 13 14 15 16 17 18 19 20"] {
            let text = format!("   8       0 sda 1 2 3 4 5 6 7 8 9 10 11{more}\n");
            assert_eq!(parse(&text), Ok(vec![expected.clone()]), "{text}");
        }
    }

    #[test]
    fn the_times_of_requests_are_added_if_none_is_in_flight() {
        let time = |later: &str| {
            let text = format!("8 0 sda 1 2 3 40 5 6 7 80 0 10 11{later}\n");
            parse(&text).unwrap()[0].request_ms
        };
        assert_eq!(time(""), Some(120));
        assert_eq!(time(" 12 13 14 15"), Some(135));
        assert_eq!(time(" 12 13 14 15 16 17"), Some(152));
        assert_eq!(parse("8 0 sda 1 2 3 0 5 6 7 0 0 10 11\n").unwrap()[0].request_ms, None);
    }

    #[test]
    fn partitions_are_left_out() {
        let text = lines(
            "sda sda1 sda15 sdp sdp1 vda vda1 nvme0n1 nvme0n1p1 nvme0n1p128 nvme0n2 mmcblk0 \
             mmcblk0p2 md0 md0p1 xvda xvda1",
        );
        let expected = ["sda", "sdp", "vda", "nvme0n1", "nvme0n2", "mmcblk0", "md0", "xvda"];
        assert_eq!(names(&text), expected);
    }

    #[test]
    fn a_partition_without_its_disk_is_a_disk() {
        assert_eq!(names(&lines("xvda1 xvdb xvdb1")), ["xvda1", "xvdb"]);
    }

    #[test]
    fn the_paths_of_a_disk_are_listed_if_its_head_has_no_counts() {
        let idle = "259 0 nvme3n1 0 0 0 0 0 0 0 0 0 0 0\n";
        let path = |name| format!("259 1 {name} 5 0 8 1 0 0 0 0 0 1 1\n");
        let both = [path("nvme3c33n1"), path("nvme3c34n1")].concat();
        assert_eq!(names(&format!("{idle}{both}")), ["nvme3c33n1", "nvme3c34n1"]);
        assert_eq!(names(&format!("{}{both}", path("nvme3n1"))), ["nvme3n1"]);
        let unused = "259 1 nvme3c33n1 0 0 0 0 0 0 0 0 0 0 0\n";
        assert_eq!(names(&format!("{idle}{unused}")), ["nvme3n1"]);
    }

    #[test]
    fn devices_that_are_not_disks_are_left_out() {
        let text = lines(
            "ram0 loop7 fd0 zram0 sr0 mmcblk0 mmcblk0boot0 mmcblk0rpmb nvme0c1n1 nvme0n1 loop7p1 \
             zloop0",
        );
        assert_eq!(names(&text), ["mmcblk0", "nvme0n1"]);
    }

    #[test]
    fn an_unused_network_disk_is_left_out() {
        let text = format!("{}43 0 nbd1 0 0 0 0 0 0 0 0 0 0 0\n", lines("nbd0"));
        assert_eq!(names(&text), ["nbd0"]);
    }

    #[test]
    fn disks_that_consist_of_others_are_marked() {
        let stacked = "dm-0 md127 md_d1 md_home drbd1 bcache0 zd16 ploop14243 emcpowera md1p1 \
                       VxVM5000 VxDMP1 cas1-1";
        assert!(parse(&lines(stacked)).unwrap().iter().all(|disk| disk.stacked));
        let alone = "sda nvme0n1 rbd0 nbd0 pmem0 mmcblk0";
        assert!(!parse(&lines(alone)).unwrap().iter().any(|disk| disk.stacked));
    }

    #[test]
    fn an_invalid_line_is_skipped() {
        let text = "8 0 sda 1 2 3\n8 16 sdb 1 2 x 4 5 6 7 8 9 10 11\nx 0 sdc 1 2 3 4 5 6 7 8 9 1 1\n\
                    8 16 sdd 1 2 -3 4 5 6 7 8 9 10 11\n8\n\n";
        assert_eq!(names(&format!("{text}{}", lines("sde"))), ["sde"]);
    }

    #[test]
    fn empty_text_has_no_disks_and_other_text_is_an_error() {
        assert_eq!(parse(""), Ok(Vec::new()));
        assert_eq!(parse("\n"), Ok(Vec::new()));
        assert!(parse("nothing\nhere\n").is_err());
    }

    #[test]
    fn byte_counts_do_not_overflow() {
        let text = format!("8 0 sda 1 2 {0} 4 5 6 {0} 8 9 10 11\n", u64::MAX);
        assert_eq!(parse(&text).unwrap()[0].read_bytes, u64::MAX);
    }
}
