//! Properties of the parsers for arbitrary text: none panics, and text in the kernel's format is
//! parsed exactly.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use proptest::prelude::*;

use super::cpu::Times;
use super::network::Counters;
use super::pressure::Stall;
use super::{cpu, disk, filesystem, fixtures, load, memory, network, pressure, process, uptime};
use crate::glob::Selection;

/// Number of cases: enough to reach every branch, and few enough to run with every test.
const CASES: u32 = 500;

/// Runs every parser on one text.
fn parse_with_all(text: &str) {
    crate::fuzzing::texts(text);
    if let Ok(mounts) = filesystem::parse(text.as_bytes()) {
        let listed = filesystem::with_storage(&mounts, &Selection::default(), |_| true);
        assert!(listed.len() <= filesystem::MAX_FILESYSTEMS);
    }
}

/// Arbitrary text: letters of all alphabets, control characters, line breaks.
fn any_text() -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<char>(), 0..200).prop_map(String::from_iter)
}

/// Keywords of the parsers and numbers of all sizes, in any order.
fn likely_text() -> impl Strategy<Value = String> {
    let words = "cpu cpu0 intr ctxt MemTotal: MemFree: kB some full avg10= avg60=1.00 avg300= total=5 \
                 sda sda1 nvme0n1p1 lo: eth0: |bytes ( ) - / 8:1 ext4 overlay \\040 \\ : NaN inf -1 0.5 \
                 1/2 18446744073709551615 18446744073709551616";
    let words = words.split(' ').chain(["\n", "\n", " ", "  "]);
    let words = proptest::sample::select(words.collect::<Vec<_>>());
    let word = prop_oneof![
        3 => words.prop_map(str::to_owned),
        1 => any::<u64>().prop_map(|number| number.to_string()),
        1 => Just(" ".to_owned()),
    ];
    proptest::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

/// A file of a tree, with some bytes replaced, and truncated.
fn changed_fixture() -> impl Strategy<Value = String> {
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8);
    let file = proptest::sample::select(fixtures::all());
    (file, changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(file, changes, end, is_cut)| {
            let mut bytes = file.into_bytes();
            for (index, byte) in changes {
                let index = index.index(bytes.len());
                bytes[index] = byte;
            }
            if is_cut {
                bytes.truncate(end.index(bytes.len()));
            }
            String::from_utf8_lossy(&bytes).into_owned()
        },
    )
}

fn any_times() -> impl Strategy<Value = Times> {
    any::<[u64; 10]>().prop_map(Times::new)
}

fn written(times: &Times) -> String {
    let Times { user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice, .. } =
        times;
    format!("{user} {nice} {system} {idle} {iowait} {irq} {softirq} {steal} {guest} {guest_nice}")
}

/// Formats an average like the kernel, with two decimals.
fn hundredths(value: u32) -> String {
    format!("{}.{:02}", value / 100, value % 100)
}

fn same(one: f64, other: u32) -> bool {
    (one - f64::from(other) / 100.0).abs() < 1e-9
}

#[test]
fn there_are_fixtures_to_change() {
    assert!(fixtures::all().len() > 60);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(CASES) })]

    #[test]
    fn no_text_makes_a_parser_panic(text in any_text()) {
        parse_with_all(&text);
    }

    #[test]
    fn no_order_of_keywords_makes_a_parser_panic(text in likely_text()) {
        parse_with_all(&text);
    }

    #[test]
    fn no_change_to_a_real_file_makes_a_parser_panic(text in changed_fixture()) {
        parse_with_all(&text);
    }

    #[test]
    fn formatted_processor_times_are_parsed_exactly(
        total in any_times(),
        cores in proptest::collection::btree_map(any::<u32>(), any_times(), 0..20),
        counters in proptest::array::uniform5(1..=u64::MAX),
    ) {
        let [switches, boot, forks, running, blocked] = counters;
        let mut text = format!("cpu  {}\n", written(&total));
        for (number, times) in &cores {
            writeln!(text, "cpu{number} {}", written(times)).unwrap();
        }
        write!(
            text,
            "intr 1 2 3\nctxt {switches}\nbtime {boot}\nprocesses {forks}\n\
             procs_running {running}\nprocs_blocked {blocked}\n"
        ).unwrap();
        let stat = cpu::parse(&text).unwrap();
        prop_assert_eq!(stat.total, total);
        prop_assert_eq!(stat.cores.into_iter().collect::<BTreeMap<_, _>>(), cores);
        prop_assert_eq!(stat.context_switches, Some(switches));
        prop_assert_eq!(stat.boot_time_unix_seconds, Some(boot));
        prop_assert_eq!(stat.forks, Some(forks));
        prop_assert_eq!((stat.running, stat.blocked), (Some(running), Some(blocked)));
    }

    #[test]
    fn formatted_memory_is_parsed_exactly_and_available_is_within_the_total(
        total in 1..1_u64 << 52,
        available in proptest::option::of(0..u64::MAX / 1024),
        free in 0..1_u64 << 52,
        cached in 0..1_u64 << 52,
    ) {
        let available = available.map(|kib| format!("MemAvailable: {kib} kB\n")).unwrap_or_default();
        let text = format!(
            "MemTotal:       {total} kB\nMemFree: {free} kB\n{available}Cached: {cached} kB\n"
        );
        let memory = memory::parse(&text).unwrap();
        prop_assert_eq!(memory.total_bytes, total * 1024);
        prop_assert_eq!(memory.free_bytes, Some(free * 1024));
        prop_assert_eq!(memory.cached_bytes, Some(cached * 1024));
        prop_assert!(memory.available_bytes <= memory.total_bytes);
    }

    #[test]
    fn formatted_load_and_uptime_are_parsed_exactly(
        averages in proptest::array::uniform3(0..10_000_000_u32),
        total in any::<u32>(),
        up in any::<u32>(),
    ) {
        let [one, five, fifteen] = averages.map(hundredths);
        let load = load::parse(&format!("{one} {five} {fifteen} 1/{total} 5678\n")).unwrap();
        prop_assert_eq!(load.total, u64::from(total));
        for (read, written) in load.averages.into_iter().zip(averages) {
            prop_assert!(same(read, written), "{read} {written}");
        }
        let uptime = uptime::parse(&format!("{} 1.00\n", hundredths(up))).unwrap();
        prop_assert!(same(uptime, up), "{uptime} {up}");
    }

    #[test]
    fn formatted_pressure_is_parsed_exactly(
        shares in proptest::array::uniform3(0..=10_000_u32),
        total in any::<u64>(),
        has_full in any::<bool>(),
    ) {
        let [ten, sixty, longest] = shares.map(hundredths);
        let line = format!("avg10={ten} avg60={sixty} avg300={longest} total={total}\n");
        let full = if has_full { format!("full {line}") } else { String::new() };
        let stalls = pressure::parse(&format!("some {line}{full}")).unwrap();
        let Stall { avg10, avg60, avg300, total_us } = stalls.some;
        prop_assert_eq!(total_us, total);
        for (read, written) in [avg10, avg60, avg300].into_iter().zip(shares) {
            prop_assert!(same(read, written), "{read} {written}");
        }
        prop_assert_eq!(stalls.full, has_full.then_some(stalls.some));
    }

    #[test]
    fn formatted_disks_are_parsed_exactly_for_every_kernel(
        figures in proptest::collection::vec(any::<[u32; 11]>(), 0..8),
        more in 0..8_usize,
    ) {
        let mut text = String::new();
        for (letter, figures) in ('a'..).zip(&figures) {
            let columns = figures.map(|figure| figure.to_string()).join(" ");
            writeln!(text, "   8       0 sd{letter} {columns}{}", " 9".repeat(more)).unwrap();
            writeln!(text, "   8       1 sd{letter}1 {columns}{}", " 9".repeat(more)).unwrap();
        }
        let disks = disk::parse(&text).unwrap();
        prop_assert_eq!(disks.len(), figures.len());
        for (disk, figures) in disks.iter().zip(figures) {
            let read = [disk.reads, disk.read_bytes / 512, disk.writes, disk.write_bytes / 512, disk.busy_ms];
            let [reads, _, sectors, _, writes, _, written, _, _, busy, _] = figures;
            let expected = [reads, sectors, writes, written, busy];
            prop_assert_eq!(read, expected.map(u64::from));
        }
    }

    #[test]
    fn formatted_interfaces_are_parsed_exactly_and_sorted_by_name(
        interfaces in proptest::collection::btree_map("e[a-z0-9@-]{2,14}", any::<[u64; 8]>(), 0..8),
    ) {
        let mut text = "Inter-|   Receive\n face |bytes packets|bytes packets\n".to_owned();
        // Written in reverse, so that the parser must sort.
        for (name, [a, b, c, d, e, f, g, h]) in interfaces.iter().rev() {
            writeln!(text, "{name:>6}:{a:8} {b} {c} {d} 0 0 0 0 {e} {f} {g} {h} 0 0 0 0").unwrap();
        }
        let read = network::parse(&text).unwrap();
        let expected: Vec<_> = interfaces.into_iter().map(|(name, [a, b, c, d, e, f, g, h])| {
            let receive = Counters { bytes: a, packets: b, errors: c, drops: d };
            let transmit = Counters { bytes: e, packets: f, errors: g, drops: h };
            network::Interface { name, stacked: false, receive, transmit }
        }).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn any_process_name_is_parsed_with_its_fields(
        name in "[^\\p{Cc}]{0,15}",
        pid in any::<u32>(),
        ticks in any::<[u32; 2]>(),
        started in any::<u64>(),
        resident in any::<i64>(),
    ) {
        let [user, system] = ticks;
        let text = format!(
            "{pid} ({name}) S 0 1 1 0 -1 4 5 6 7 8 {user} {system} 9 8 20 0 1 0 {started} 50 {resident} 1\n"
        );
        let process = process::parse(&text).unwrap();
        prop_assert_eq!((process.pid, process.name, process.started), (pid, name, started));
        prop_assert_eq!(process.ticks, u64::from(user) + u64::from(system));
        prop_assert_eq!(process.resident_pages, u64::try_from(resident).unwrap_or(0));
    }

    #[test]
    fn any_escaped_mount_point_is_parsed_exactly(
        points in proptest::collection::vec("/[^\\p{Cc}\u{85}\u{2028}]{0,20}", 1..8),
    ) {
        let escaped = |point: &str| {
            // Escapes like the kernel's `seq_path`.
            let point = point.replace('\\', r"\134").replace(' ', r"\040");
            point.replace('\t', r"\011").replace('\n', r"\012")
        };
        let mut text = String::new();
        for (minor, point) in points.iter().enumerate() {
            writeln!(text, "1 0 8:{minor} / {} rw shared:1 - ext4 /dev/sda rw", escaped(point)).unwrap();
        }
        let mounts = filesystem::parse(text.as_bytes()).unwrap();
        let read: Vec<&str> = mounts.iter().map(|mount| mount.point.as_str()).collect();
        prop_assert_eq!(&read, &points);
        let listed = filesystem::with_storage(&mounts, &Selection::default(), |_| true);
        let devices: BTreeSet<&str> = listed.iter().map(|mount| mount.device.as_str()).collect();
        prop_assert_eq!(devices.len(), listed.len());
    }
}
