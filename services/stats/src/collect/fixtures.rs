//! Tests of the parsers with whole trees of /proc (`fixtures/README.md` describes each).

#![cfg(test)]

use std::path::Path;

use super::cpu::{Stat, Times};
use super::disk::Disk;
use super::load::Load;
use super::memory::Memory;
use super::network::{Counters, Interface};
use super::pressure::{Stall, Stalls};
use super::process::Process;
use super::{cpu, disk, filesystem, load, memory, network, pressure, process, uptime};
use crate::glob::Selection;

const RECORDED: &str = "linux-6.18-2-cores";
const OLD: &str = "linux-4.4-1-core";
const CONTAINER: &str = "linux-4.14-amazon";
const LARGE: &str = "linux-5.10-64-cores";
const SMALL: &str = "linux-6.1-2-cores";
const UNPLUGGED: &str = "linux-6.1-unplugged";

const TREES: [&str; 6] = [RECORDED, OLD, CONTAINER, LARGE, SMALL, UNPLUGGED];

/// One file of a tree; `None` if that kernel does not have it.
fn read(tree: &str, file: &str) -> Option<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(tree);
    std::fs::read_to_string(folder.join("proc").join(file)).ok()
}

/// All files of all trees that have a parser here.
pub(super) fn all() -> Vec<String> {
    let files = "1/stat 2/stat 77/stat 4242/stat 4243/stat 32481/stat diskstats loadavg meminfo \
                 net/dev pressure/cpu pressure/io pressure/memory self/mountinfo stat uptime";
    let texts = |tree| files.split(' ').filter_map(move |file| read(tree, file));
    TREES.into_iter().flat_map(texts).collect()
}

fn stat(tree: &str) -> Stat {
    cpu::parse(&read(tree, "stat").unwrap()).unwrap()
}

fn memory(tree: &str) -> Memory {
    memory::parse(&read(tree, "meminfo").unwrap()).unwrap()
}

fn disks(tree: &str) -> Vec<Disk> {
    disk::parse(&read(tree, "diskstats").unwrap()).unwrap()
}

fn networks(tree: &str) -> Vec<Interface> {
    network::parse(&read(tree, "net/dev").unwrap()).unwrap()
}

fn load_and_uptime(tree: &str) -> (Load, f64) {
    let load = load::parse(&read(tree, "loadavg").unwrap()).unwrap();
    (load, uptime::parse(&read(tree, "uptime").unwrap()).unwrap())
}

fn filesystems(tree: &str) -> Vec<String> {
    let mounts = filesystem::parse(read(tree, "self/mountinfo").unwrap().as_bytes()).unwrap();
    let listed = filesystem::with_storage(&mounts, &Selection::default(), |_| true).into_iter();
    listed.map(|mount| format!("{} {} {}", mount.point, mount.kind, mount.source)).collect()
}

fn stalls(tree: &str, resource: &str) -> Option<Stalls> {
    read(tree, &format!("pressure/{resource}")).map(|text| pressure::parse(&text).unwrap())
}

fn process(tree: &str, pid: u32) -> Process {
    process::parse(&read(tree, &format!("{pid}/stat")).unwrap()).unwrap()
}

fn times(ticks: [u64; 8]) -> Times {
    let [user, nice, system, idle, iowait, irq, softirq, steal] = ticks;
    Times { user, nice, system, idle, iowait, irq, softirq, steal, ..Times::default() }
}

fn kib(kibibytes: u64) -> u64 {
    kibibytes * 1024
}

#[test]
fn the_recorded_machine_has_the_expected_values() {
    let expected = Stat {
        total: times([65100, 2854, 14532, 416_960, 1065, 0, 341, 62]),
        cores: vec![
            (0, times([29592, 1563, 6622, 212_310, 150, 0, 160, 25])),
            (1, times([35507, 1291, 7910, 204_650, 915, 0, 180, 37])),
        ],
        boot_time_unix_seconds: Some(1_795_487_074),
        context_switches: Some(1_240_897),
        forks: Some(32479),
        running: Some(3),
        blocked: Some(0),
    };
    assert_eq!(stat(RECORDED), expected);
    let memory = memory(RECORDED);
    assert_eq!(
        (memory.total_bytes, memory.available_bytes, memory.cached_bytes),
        (kib(24_684_092), kib(23_955_872), Some(kib(1_981_288)))
    );
    assert!(memory.shared_bytes.is_some(), "{memory:?}");
    let (load, uptime) = load_and_uptime(RECORDED);
    assert_eq!(load, Load { averages: [1.53, 0.72, 0.53], total: 135 });
    assert!((uptime - 2514.84).abs() < 1e-9, "{uptime}");
    let vda = Disk {
        name: "vda".to_owned(),
        reads: 82471,
        read_bytes: 11_393_970 * 512,
        writes: 21062,
        write_bytes: 12_112_224 * 512,
        busy_ms: 18216,
        request_ms: Some(58992 + 82026 + 2041 + 90),
        stacked: false,
    };
    assert_eq!(disks(RECORDED), [vda]);
    let networks = networks(RECORDED);
    let names: Vec<&str> = networks.iter().map(|network| network.name.as_str()).collect();
    assert_eq!(names, ["docker0", "eth0", "ifb0", "ifb1"]);
    assert_eq!(networks[0].transmit, Counters { bytes: 746, packets: 7, errors: 0, drops: 4 });
    let received = Counters { bytes: 1_163_043_836, packets: 46574, errors: 0, drops: 0 };
    assert_eq!(networks[1].receive, received);
    let some = Stall { avg10: 30.57, avg60: 17.87, avg300: 7.25, total_us: 94_221_369 };
    let expected = Stalls { some, full: Some(Stall::default()) };
    assert_eq!(stalls(RECORDED, "cpu"), Some(expected));
    assert_eq!(filesystems(RECORDED), ["/ ext4 /dev/vda"]);
    let cat = Process {
        state: 'R',
        threads: 1,
        pid: 32481,
        name: "cat".to_owned(),
        ticks: 0,
        started: 251_484,
        resident_pages: 390,
    };
    assert_eq!(process(RECORDED, 32481), cat);
    let kernel_thread = process(RECORDED, 2);
    assert_eq!((kernel_thread.name.as_str(), kernel_thread.resident_pages), ("kthreadd", 0));
}

#[test]
fn an_old_kernel_has_no_pressure_and_its_available_memory_is_estimated() {
    let stat = stat(OLD);
    assert_eq!(stat.total, times([191_205, 1204, 60311, 8_123_457, 40210, 3, 1877, 5120]));
    assert_eq!(stat.cores, [(0, stat.total)]);
    let memory = memory(OLD);
    assert_eq!(memory.available_bytes, kib(85120 + 96304 + 541_212 + 70456 - 15432));
    assert_eq!(
        (memory.swap_total_bytes, memory.swap_free_bytes),
        (Some(kib(524_284)), Some(kib(523_900)))
    );
    assert_eq!(stalls(OLD, "cpu"), None);
    let (load, uptime) = load_and_uptime(OLD);
    assert_eq!(load, Load { averages: [0.08, 0.03, 0.05], total: 142 });
    assert!((uptime - 84236.12).abs() < 1e-9, "{uptime}");
    let eth0 = Interface {
        name: "eth0".to_owned(),
        stacked: false,
        receive: Counters { bytes: 4_829_384_712, packets: 3_920_113, errors: 0, drops: 2 },
        transmit: Counters { bytes: 981_237_411, packets: 1_820_034, errors: 0, drops: 0 },
    };
    assert_eq!(networks(OLD), [eth0]);
}

#[test]
fn on_xen_a_partition_can_be_the_disk() {
    let disks = disks(OLD);
    let names: Vec<&str> = disks.iter().map(|disk| disk.name.as_str()).collect();
    assert_eq!(names, ["xvda1", "xvdf"]);
    assert_eq!((disks[0].read_bytes, disks[0].busy_ms), (1_210_338 * 512, 90112));
    assert_eq!(filesystems(OLD), ["/ ext4 /dev/xvda1", "/mnt/backup 2016 ext4 /dev/xvdf"]);
}

#[test]
fn in_a_container_mounted_files_are_not_filesystems() {
    let expected = ["/ overlay overlay", "/data xfs /dev/nvme0n1p1"];
    assert_eq!(filesystems(CONTAINER), expected);
    let mounts = filesystem::parse(read(CONTAINER, "self/mountinfo").unwrap().as_bytes()).unwrap();
    let group = mounts.iter().find(|mount| mount.kind == "cgroup").unwrap();
    assert_eq!((group.root.as_str(), group.options.as_str()), ("/ecs/0123/4567", "rw,memory"));
}

#[test]
fn a_disk_with_14_columns_is_supported() {
    let nvme = Disk {
        name: "nvme0n1".to_owned(),
        reads: 101_233,
        read_bytes: 4_820_114 * 512,
        writes: 1_820_334,
        write_bytes: 60_112_048 * 512,
        busy_ms: 820_114,
        request_ms: None,
        stacked: false,
    };
    assert_eq!(disks(CONTAINER), [nvme]);
    let stat = stat(CONTAINER);
    assert_eq!((stat.cores.len(), stat.running, stat.blocked), (2, Some(2), Some(1)));
    assert_eq!(memory(CONTAINER).available_bytes, kib(2_610_332));
    let names: Vec<String> = networks(CONTAINER).into_iter().map(|network| network.name).collect();
    assert_eq!(names, ["eth0", "eth1"]);
    let stats = process(CONTAINER, 1);
    assert_eq!((stats.name.as_str(), stats.ticks, stats.resident_pages), ("stats", 2084, 512));
}

#[test]
fn the_cores_of_a_large_machine_add_up() {
    let stat = stat(LARGE);
    assert_eq!(stat.cores.len(), 64);
    let user: u64 = stat.cores.iter().map(|(_, times)| times.user).sum();
    let guest: u64 = stat.cores.iter().map(|(_, times)| times.guest).sum();
    assert_eq!((user, guest), (stat.total.user, stat.total.guest));
    assert_eq!((user, guest), (3_432_391_086, 3_067_024));
    assert_eq!(stat.context_switches, Some(98_123_049_112));
    let memory = memory(LARGE);
    assert_eq!(memory.slab_reclaimable_bytes, Some(kib(12_040_448)));
    assert_eq!(memory.shared_bytes, Some(kib(2_204_118)));
    let (load, _) = load_and_uptime(LARGE);
    assert_eq!(load, Load { averages: [64.12, 58.9, 60.01], total: 4120 });
}

#[test]
fn volumes_and_arrays_are_marked_as_stacked() {
    let disks = disks(LARGE);
    let listed: Vec<_> = disks.iter().map(|disk| (disk.name.as_str(), disk.stacked)).collect();
    assert_eq!(listed, [("nvme0n1", false), ("sda", false), ("dm-0", true), ("md127", true)]);
    let expected = ["/ xfs /dev/mapper/vg-root", "/boot/efi vfat /dev/nvme0n1p1"];
    let filesystems = filesystems(LARGE);
    assert_eq!(filesystems[..2], expected);
    assert_eq!(filesystems[2..], ["/srv/data btrfs /dev/sda"]);
    let names: Vec<String> = networks(LARGE).into_iter().map(|network| network.name).collect();
    assert_eq!(names, ["bond0.100", "docker0", "ens1f0"]);
    assert_eq!(process(LARGE, 4242).name, "tmux: server");
    let odd = process(LARGE, 4243);
    assert_eq!((odd.name.as_str(), odd.ticks, odd.resident_pages), ("a) S 1 (b", 12240, 1204));
}

#[test]
fn before_5_13_cpu_has_no_full_pressure() {
    let some = Stall { avg10: 12.4, avg60: 10.02, avg300: 9.88, total_us: 812_044_822_011 };
    assert_eq!(stalls(LARGE, "cpu"), Some(Stalls { some, full: None }));
    let full = Stall { avg10: 1.1, avg60: 0.9, avg300: 1.04, total_us: 44_220_448_112 };
    assert_eq!(stalls(LARGE, "io").unwrap().full, Some(full));
    assert_eq!(stalls(SMALL, "cpu").unwrap().full, Some(Stall::default()));
}

#[test]
fn a_small_recent_machine_has_the_expected_values() {
    let stat = stat(SMALL);
    assert_eq!(stat.total, times([238_668, 400, 79668, 118_340_896, 4214, 0, 1644, 1750]));
    let memory = memory(SMALL);
    assert_eq!(
        (memory.total_bytes, memory.available_bytes, memory.free_bytes),
        (kib(8_006_220), kib(7_040_220), Some(kib(5_120_448)))
    );
    let disks = disks(SMALL);
    assert_eq!(disks.len(), 1);
    assert_eq!((disks[0].writes, disks[0].write_bytes), (40220, 2_204_482 * 512));
    let expected = ["/ xfs /dev/nvme0n1p1", "/boot/efi vfat /dev/nvme0n1p128"];
    assert_eq!(filesystems(SMALL), expected);
    let sent = Counters { bytes: 120_448_220, packets: 440_220, errors: 0, drops: 0 };
    assert_eq!(networks(SMALL)[0].transmit, sent);
}

#[test]
fn an_unplugged_processor_leaves_a_gap_and_stays_in_the_total() {
    let stat = stat(UNPLUGGED);
    let numbers: Vec<u32> = stat.cores.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [0, 2, 3]);
    let idle: u64 = stat.cores.iter().map(|(_, times)| times.idle).sum();
    assert_eq!(stat.total.idle - idle, 9_220_448);
}

#[test]
fn a_machine_with_512_cores_and_a_long_interrupt_line_is_parsed() {
    use std::fmt::Write as _;

    let mut text = "cpu  51200 0 5120 512000 0 0 0 0 0 0\n".to_owned();
    for number in 0..512 {
        writeln!(text, "cpu{number} 100 0 10 {} 0 0 0 0 0 0", 1000 + number).unwrap();
    }
    writeln!(text, "intr 1{}\nctxt 7", " 0".repeat(20_000)).unwrap();
    let stat = cpu::parse(&text).unwrap();
    assert_eq!((stat.cores.len(), stat.context_switches), (512, Some(7)));
    assert_eq!(stat.cores[511], (511, times([100, 0, 10, 1511, 0, 0, 0, 0])));
}
