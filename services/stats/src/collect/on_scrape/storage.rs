//! All counters of `/proc/diskstats`, software RAID, and the cache of ZFS.

use super::{Collector, Kind, Source, Texts, Value, Writer, is_name, kind, per_item, single};
use crate::collect::disk;

/// Disks: `/proc/diskstats` (Documentation/admin-guide/iostats.rst).
pub(super) const DISKSTATS: Collector =
    Collector { name: "diskstats", source: Source::Proc(&["diskstats"]), write: diskstats };

/// Software RAID: `/proc/mdstat` (Documentation/admin-guide/md.rst).
pub(super) const MDADM: Collector =
    Collector { name: "mdadm", source: Source::Proc(&["mdstat"]), write: mdstat };

/// Cache of ZFS: `/proc/spl/kstat/zfs/arcstats` (`OpenZFS`).
pub(super) const ZFS: Collector =
    Collector { name: "zfs", source: Source::Proc(&[ARCSTATS]), write: arcstats };

const ARCSTATS: &str = "spl/kstat/zfs/arcstats";

const MILLI: u32 = 1000;
const SECTOR_BYTES: u64 = 512;

/// Families of the columns after the name, in the order of the file; a counter ends in `_total`. Time
/// is in milliseconds, and bytes are in sectors.
const COLUMNS: [(&str, &str); 17] = [
    ("reads_completed_total", "Reads completed."),
    ("reads_merged_total", "Reads merged with others."),
    ("read_bytes_total", "Bytes read."),
    ("read_time_seconds_total", "Time of all reads."),
    ("writes_completed_total", "Writes completed."),
    ("writes_merged_total", "Writes merged with others."),
    ("written_bytes_total", "Bytes written."),
    ("write_time_seconds_total", "Time of all writes."),
    ("io_now", "Requests in flight."),
    ("io_time_seconds_total", "Time with at least one request in flight."),
    ("io_time_weighted_seconds_total", "Time with requests in flight, weighted by their number."),
    ("discards_completed_total", "Discards completed."),
    ("discards_merged_total", "Discards merged with others."),
    ("discarded_sectors_total", "Sectors discarded."),
    ("discard_time_seconds_total", "Time of all discards."),
    ("flush_requests_total", "Flushes completed."),
    ("flush_requests_time_seconds_total", "Time of all flushes."),
];

/// Name of a disk, its major and minor number, and the following columns.
type Row<'a> = (&'a str, [&'a str; 2], Vec<Option<u64>>);

fn diskstats(texts: &Texts, writer: &mut Writer) {
    let Some(text) = texts.get("diskstats") else { return };
    // The disks are those of the sample, so that both are consistent.
    let Ok(shown) = disk::parse(text) else { return };
    let rows: Vec<Row<'_>> = text
        .lines()
        .filter_map(|line| {
            let mut columns = line.split_ascii_whitespace();
            let (major, minor, name) = (columns.next()?, columns.next()?, columns.next()?);
            shown.iter().any(|disk| disk.name == name).then(|| {
                (name, [major, minor], columns.map(|column| column.parse().ok()).collect())
            })
        })
        .collect();
    let information = rows.iter().map(|(name, [major, minor], _)| {
        ([("device", *name), ("major", *major), ("minor", *minor)], Value::from(1))
    });
    per_item(writer, "node_disk_info", Kind::Gauge, "Numbers of the disk, always 1.", information);
    for (index, (name, help)) in COLUMNS.into_iter().enumerate() {
        let items = rows.iter().map(|(device, _, columns)| {
            let number = columns.get(index).copied().flatten();
            // Older kernels can count fewer than zero requests in flight, in 32 bits.
            let number = number.filter(|&number| name != "io_now" || i32::try_from(number).is_ok());
            let value = if name.ends_with("_seconds_total") {
                Value::seconds(number, MILLI)
            } else if name.ends_with("_bytes_total") {
                number.map(|sectors| sectors.saturating_mul(SECTOR_BYTES)).into()
            } else {
                number.into()
            };
            ([("device", *device)], value)
        });
        per_item(writer, &format!("node_disk_{name}"), kind(name), help, items);
    }
}

/// One RAID array.
struct Array<'a> {
    name: &'a str,
    /// One of [`STATES`].
    state: &'static str,
    required: u64,
    active: u64,
    failed: u64,
    spare: u64,
}

/// States of an array in `node_exporter`.
const STATES: [&str; 5] = ["active", "inactive", "recovering", "resync", "check"];

fn mdstat(texts: &Texts, writer: &mut Writer) {
    let arrays = texts.get("mdstat").map(arrays).unwrap_or_default();
    let states = arrays.iter().flat_map(|array| {
        STATES.map(|state| ([("device", array.name), ("state", state)], state == array.state))
    });
    per_item(
        writer,
        "node_md_state",
        Kind::Gauge,
        "Whether the array is in the state.",
        states.map(|(labels, holds)| (labels, u64::from(holds).into())),
    );
    per_item(
        writer,
        "node_md_disks_required",
        Kind::Gauge,
        "Disks that the array has when whole.",
        arrays.iter().map(|array| ([("device", array.name)], array.required.into())),
    );
    let disks = arrays.iter().flat_map(|array| {
        [("active", array.active), ("failed", array.failed), ("spare", array.spare)]
            .map(|(state, number)| ([("device", array.name), ("state", state)], number.into()))
    });
    per_item(writer, "node_md_disks", Kind::Gauge, "Disks of the array in the state.", disks);
}

fn arcstats(texts: &Texts, writer: &mut Writer) {
    for line in texts.get(ARCSTATS).into_iter().flat_map(str::lines) {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        // The types are unsigned and signed numbers of 64 bits.
        if let [name, "3" | "4", value] = columns[..]
            && is_name(name)
        {
            let family = format!("node_zfs_arc_{name}");
            let value = value.parse::<u64>().ok().into();
            single(writer, &family, Kind::Untyped, "The field of arcstats.", value);
        }
    }
}

fn arrays(text: &str) -> Vec<Array<'_>> {
    let mut arrays: Vec<Array> = Vec::new();
    for line in text.lines() {
        if let Some((name, rest)) = line.split_once(" : ")
            && name.starts_with("md")
        {
            let members = rest.split_ascii_whitespace().filter(|word| word.contains('['));
            let flagged = |flag: &str| {
                let count = members.clone().filter(|member| member.ends_with(flag)).count();
                u64::try_from(count).unwrap_or_default()
            };
            let (failed, spare) = (flagged("(F)"), flagged("(S)"));
            let all = flagged("");
            arrays.push(Array {
                name,
                state: if rest.starts_with("active") { "active" } else { "inactive" },
                required: all - failed - spare,
                active: all - failed - spare,
                failed,
                spare,
            });
        } else if let Some(array) = arrays.last_mut() {
            // The line contains `[3/2]`: required and active disks.
            let counts = line.split_ascii_whitespace().find_map(|word| {
                let (required, active) =
                    word.strip_prefix('[')?.strip_suffix(']')?.split_once('/')?;
                Some((required.parse().ok()?, active.parse().ok()?))
            });
            if let Some((required, active)) = counts {
                (array.required, array.active) = (required, active);
            }
            // The line contains `check = 8.5%`, or `resync=DELAYED` for any work that waits.
            for (word, state) in
                [("recovery", "recovering"), ("resync", "resync"), ("check", "check")]
            {
                if line.split(['=', ' ', '\t']).any(|part| part == word) {
                    array.state = state;
                }
            }
        }
    }
    arrays
}

#[cfg(test)]
mod tests {
    use super::super::tests::written;
    use super::*;

    #[test]
    fn every_column_of_every_kernel_is_written() {
        let text = "8 0 sda 1 2 3 4000 5 6 7 8 9 10 11 12 13 14 15 16 17\n8 1 sda1 1 2 3 4 5 6 7 8 9 10 11\n";
        let written_all = written(&DISKSTATS, &[("diskstats", text)]);
        assert_eq!(written_all.lines().count(), 18, "{written_all}");
        for line in [
            "node_disk_info{device=\"sda\",major=\"8\",minor=\"0\"} 1\n",
            "node_disk_read_bytes_total{device=\"sda\"} 1536\n",
            "node_disk_read_time_seconds_total{device=\"sda\"} 4\n",
            "node_disk_io_time_weighted_seconds_total{device=\"sda\"} 0.011\n",
            "node_disk_flush_requests_time_seconds_total{device=\"sda\"} 0.017\n",
        ] {
            assert!(written_all.contains(line), "{written_all}");
        }
        let old = "8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n";
        assert_eq!(written(&DISKSTATS, &[("diskstats", old)]).lines().count(), 12);
    }

    #[test]
    fn a_number_of_requests_below_zero_is_unknown() {
        let text = "8 0 sda 1 2 3 4 5 6 7 8 4294967295 10 11\n8 16 sdb 1 2 3 4 5 6 7 8 2 10 11\n";
        let written = written(&DISKSTATS, &[("diskstats", text)]);
        let lines: Vec<_> = written.lines().filter(|line| line.contains("io_now")).collect();
        assert_eq!(lines, ["node_disk_io_now{device=\"sdb\"} 2"]);
    }

    #[test]
    fn the_statistics_of_the_cache_of_zfs_have_node_exporter_names() {
        let text = "13 1 0x01 147 39984 4403 97695\nname type data\nhits 4 9\nsize  4  500\n\
                    memory_available_bytes 3 -5\nname 7 text\nodd-name 4 1\n";
        let expected = "node_zfs_arc_hits 9\nnode_zfs_arc_size 500\n";
        assert_eq!(written(&ZFS, &[(ARCSTATS, text)]), expected);
    }

    #[test]
    fn an_array_that_is_checked_or_synchronized_is_in_that_state() {
        let text = "md0 : active raid1 sdb1[1] sda1[0]\n      10 blocks [2/2] [UU]\n      \
                    [=>...]  check =  8.5% (1/2) finish=1.0min speed=1K/sec\n\n\
                    md1 : active raid1 sdb2[1] sda2[0]\n      10 blocks [2/2] [UU]\n      \
                    \tresync=DELAYED\n\n\
                    md2 : active raid1 sdb3[1] sda3[0]\n      10 blocks [2/2] [UU]\n      \
                    [=>...]  resync =  8.5% (1/2)\n";
        let text = written(&MDADM, &[("mdstat", text)]);
        let holding: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("node_md_state") && line.ends_with(" 1"))
            .collect();
        assert_eq!(
            holding,
            [
                "node_md_state{device=\"md0\",state=\"check\"} 1",
                "node_md_state{device=\"md1\",state=\"resync\"} 1",
                "node_md_state{device=\"md2\",state=\"resync\"} 1",
            ]
        );
    }

    #[test]
    fn a_degraded_array_is_distinguished_from_a_complete_one() {
        let text = "Personalities : [raid1] [raid5]\n\
                    md0 : active raid1 sdb1[1] sda1[0]\n      10 blocks [2/2] [UU]\n\n\
                    md1 : active raid5 sdc1[2] sdd1[3](F) sde1[4](S) sda2[0]\n      \
                    20 blocks level 5 [3/2] [U_U]\n      [=>...]  recovery =  8.5% (1/2)\n\n\
                    md127 : inactive sdf[0](S)\nunused devices: <none>\n";
        let text = written(&MDADM, &[("mdstat", text)]);
        for line in [
            "node_md_state{device=\"md0\",state=\"active\"} 1\n",
            "node_md_state{device=\"md1\",state=\"recovering\"} 1\n",
            "node_md_state{device=\"md127\",state=\"inactive\"} 1\n",
            "node_md_disks_required{device=\"md1\"} 3\n",
            "node_md_disks{device=\"md1\",state=\"active\"} 2\n",
            "node_md_disks{device=\"md1\",state=\"failed\"} 1\n",
            "node_md_disks{device=\"md127\",state=\"spare\"} 1\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
