use std::sync::Arc;

use super::*;
use crate::collect::filesystem::Mount;

fn stat(cores: &[(u32, u64, u64)]) -> Stat {
    let times = |user, idle| Times { user, idle, ..Times::default() };
    let all = cores.iter().fold((0, 0), |all, core| (all.0 + core.1, all.1 + core.2));
    Stat {
        total: times(all.0, all.1),
        cores: cores.iter().map(|&(id, user, idle)| (id, times(user, idle))).collect(),
        ..Stat::default()
    }
}

fn busy(before: &[(u32, u64, u64)], after: &[(u32, u64, u64)]) -> Option<f64> {
    Some(processors(Some(&stat(before)), Some(&stat(after)), 1.0)?.total?.busy)
}

#[test]
fn one_busy_processor_of_two_is_50_percent() {
    let before = [(0, 1000, 0), (1, 0, 1000)];
    let after = [(0, 1100, 0), (1, 0, 1100)];
    assert_eq!(busy(&before, &after), Some(50.0));
    let cores = processors(Some(&stat(&before)), Some(&stat(&after)), 1.0).unwrap().cores;
    let busy: Vec<_> = cores.iter().map(|core| (core.id, core.shares.busy)).collect();
    assert_eq!(busy, [(0, 100.0), (1, 0.0)]);
}

#[test]
fn all_modes_add_up_to_100_percent() {
    let after = Times {
        user: 10,
        nice: 20,
        system: 5,
        idle: 30,
        iowait: 15,
        irq: 4,
        softirq: 6,
        steal: 10,
        guest: 10,
        guest_nice: 20,
        ..Times::default()
    };
    let ticks = Ticks::between(&Times::default(), &after, 1.0);
    let shares = ticks.unwrap().shares().unwrap();
    let parts = [shares.busy, shares.irq, shares.iowait, shares.idle];
    assert_eq!(Some(parts), Some([55.0, 10.0, 15.0, 30.0]));
}

#[test]
fn an_unplugged_processor_is_left_out_and_a_new_one_needs_two_readings() {
    let before = [(0, 0, 0), (1, 500, 500), (2, 0, 0)];
    let after = [(0, 50, 50), (2, 100, 0), (3, 9, 9)];
    let processors = processors(Some(&stat(&before)), Some(&stat(&after)), 1.0).unwrap();
    let ids: Vec<_> = processors.cores.iter().map(|core| core.id).collect();
    assert_eq!((processors.online, ids), (3, vec![0, 2]));
}

#[test]
fn a_processor_that_goes_offline_and_returns_affects_no_other_value() {
    // Four processors have a load of 5 %. The total line loses 268 s of idle time and regains
    // them, and the counters of the processor start again.
    let line = |cores: &[(u32, u64, u64)], idle| {
        let mut stat = stat(cores);
        stat.total.idle = idle;
        stat
    };
    let core = |id, second: u64| (id, 5 * second, 26_800 + 95 * second);
    let all = |second| [core(0, second), core(1, second), core(2, second), core(3, second)];
    let readings = [
        line(&all(1), 107_580),
        line(&all(2)[..3], 81_060),
        line(&all(3)[..3], 81_345),
        line(&[core(0, 4), core(1, 4), core(2, 4), (3, 20, 95)], 108_240),
        line(&[core(0, 5), core(1, 5), core(2, 5), (3, 25, 190)], 108_620),
    ];
    for pair in readings.windows(2) {
        let processors = processors(Some(&pair[0]), Some(&pair[1]), 1.0).unwrap();
        assert_eq!(processors.total.unwrap().busy.to_bits(), 5.0_f64.to_bits());
    }
}

#[test]
fn idle_time_that_decreases_is_derived_from_the_clock() {
    let mut readings = [(0, 0, 1000), (0, 5, 990), (0, 10, 1085)].map(|core| stat(&[core]));
    for later in 1..3 {
        let (before, after) = readings.split_at_mut(later);
        after[0].clamp_monotonic(&before[later - 1]);
        let shares = processors(Some(&before[later - 1]), Some(&after[0]), 1.0).unwrap();
        let busy = shares.total.unwrap().busy;
        assert!((4.9..6.0).contains(&busy), "{busy}");
    }
}

#[test]
fn idle_time_that_stands_still_or_jumps_is_not_busy_time() {
    // Values of lxcfs: https://github.com/lxc/lxcfs/issues/311
    let stuck = 8_317_131_874_320_235_395;
    assert_eq!(busy(&[(0, 100, stuck)], &[(0, 105, stuck)]), Some(5.0));
    assert_eq!(busy(&[(0, 100, 0)], &[(0, 105, stuck)]), None);
    assert_eq!(busy(&[(0, 100, stuck)], &[(0, 105, 1000)]), None);
    // A processor that is busy has no idle time, nor has one whose virtual machine is starved.
    assert_eq!(busy(&[(0, 100, 1000)], &[(0, 105, 1000)]), Some(100.0));
    assert_eq!(busy(&[(0, 100, 1000)], &[(0, 198, 1000)]), Some(100.0));
    assert_eq!(busy(&[(0, 100, 1000)], &[(0, 150, 1000)]), Some(100.0));
    // Neither counts: the sandbox of gVisor.
    assert_eq!(busy(&[(0, 0, 0)], &[(0, 0, 0)]), None);
}

#[test]
fn a_processor_whose_stolen_time_jumps_is_left_out() {
    let core = |id, steal| (id, Times { user: 10, idle: 90, steal, ..Times::default() });
    let before = Stat { cores: vec![(0, Times::default()), core(1, 0)], ..Stat::default() };
    let jump = u64::MAX / 10_000_000;
    let after = Stat { cores: vec![core(0, 0), core(1, jump)], ..Stat::default() };
    let processors = processors(Some(&before), Some(&after), 1.0).unwrap();
    assert_eq!(processors.total.map(|total| total.busy), Some(10.0));
    assert_eq!(processors.cores.len(), 1);
}

#[test]
fn a_counter_reset_has_no_rate() {
    let interface = |bytes| Interface {
        name: "eth0".to_owned(),
        receive: Counters { bytes, ..Counters::default() },
        ..Interface::default()
    };
    assert_eq!(networks(&[interface(3_500_000_000)], &[interface(1500)], 1.0), []);
    let disk = |reads, busy_ms| Disk { reads, busy_ms, ..Disk::default() };
    assert_eq!(disks(&[disk(10, 0)], &[disk(3, 0)], 1.0), []);
    let wrapped = disks(&[disk(1, u64::from(u32::MAX))], &[disk(1, 249)], 1.0);
    assert_eq!(wrapped[0].utilisation.to_bits(), 25.0_f64.to_bits());
}

#[test]
fn without_a_tick_or_an_earlier_reading_there_is_no_share() {
    let now = [(0, 1, 1)];
    assert_eq!(busy(&now, &now), None);
    let first = processors(None, Some(&stat(&now)), 1.0).unwrap();
    assert_eq!((first.total, first.online), (None, 1));
    assert_eq!(processors(Some(&stat(&now)), None, 1.0), None);
}

#[test]
fn reordered_added_and_removed_disks_keep_their_rates() {
    let disk = |name: &str, reads| Disk { name: name.to_owned(), reads, ..Disk::default() };
    let before = [disk("a", 0), disk("b", 100), disk("gone", 5)];
    let after = [disk("b", 110), disk("new", 7), disk("a", 30)];
    let rates = disks(&before, &after, 2.0);
    let rates: Vec<_> = rates.iter().map(|d| (&*d.name, d.reads_per_second)).collect();
    assert_eq!(rates, [("b", 5.0), ("a", 15.0)]);
}

#[test]
fn a_disk_that_is_always_busy_is_at_100_percent() {
    let disk = |busy_ms| Disk { busy_ms, ..Disk::default() };
    let utilisation = |busy_ms| disks(&[disk(10)], &[disk(busy_ms)], 1.0)[0].utilisation;
    assert_eq!(Some([utilisation(260), utilisation(1013)]), Some([25.0, 100.0]));
}

#[test]
fn a_disk_is_not_busy_for_longer_than_its_requests_take() {
    let disk = |busy_ms, request_ms| Disk { busy_ms, request_ms, ..Disk::default() };
    let utilisation = |before, after| disks(&[before], &[after], 1.0)[0].utilisation;
    // 225 requests of 0.1 ms on a kernel with 250 ticks a second.
    let short = utilisation(disk(0, Some(500)), disk(900, Some(522)));
    let parallel = utilisation(disk(0, Some(500)), disk(900, Some(7500)));
    let in_flight = utilisation(disk(0, Some(500)), disk(900, None));
    let wrapped = utilisation(disk(0, Some(500)), disk(900, Some(3)));
    assert_eq!(Some([short, parallel, in_flight, wrapped]), Some([2.2, 90.0, 90.0, 90.0]));
}

#[test]
fn traffic_is_per_second_in_both_directions() {
    let interface = |received, sent| Interface {
        name: "eth0".to_owned(),
        stacked: false,
        receive: Counters { bytes: received, packets: 1, errors: 2, drops: 3 },
        transmit: Counters { bytes: sent, packets: 1, errors: 2, drops: 3 },
    };
    let rates = networks(&[interface(1000, 50)], &[interface(2500, 50)], 0.5);
    let directions = [rates[0].receive, rates[0].transmit];
    assert_eq!(Some(directions.map(|traffic| traffic.bytes_per_second)), Some([3000.0, 0.0]));
}

#[test]
fn the_source_of_a_mount_is_reported_only_if_exposed() {
    let mount = Arc::new(Mount { source: "/dev/secret".to_owned(), ..Mount::default() });
    let filesystem = Filesystem { mount, size_bytes: 100, free_bytes: 30, ..Filesystem::default() };
    let hidden = super::filesystem(&filesystem, Exposure::default());
    assert_eq!((hidden.source, hidden.used_bytes), (None, 70));
    let exposed = Exposure { mounts: true, ..Exposure::default() };
    let shown = super::filesystem(&filesystem, exposed);
    assert_eq!(shown.source.as_deref(), Some("/dev/secret"));
}

#[test]
fn the_cache_of_zfs_is_available_and_the_memory_of_programs_is_not() {
    let kernel = Memory {
        total_bytes: 100,
        available_bytes: 30,
        anonymous_bytes: Some(8),
        shared_bytes: Some(2),
        ..Memory::default()
    };
    let figures = |zfs| {
        let memory = memory(&kernel, zfs);
        (memory.used_bytes, memory.available_bytes, memory.zfs_reclaimable_bytes)
    };
    assert_eq!(figures(None), (70, 30, None));
    assert_eq!(figures(Some(50)), (20, 80, Some(50)));
    assert_eq!(figures(Some(60)), (10, 90, Some(60)));
    assert_eq!(figures(Some(100)), (10, 90, Some(60)));
    assert_eq!(figures(Some(101)), (70, 30, None));
}

#[test]
fn free_swap_above_the_total_has_no_use() {
    let swap = |total, free| {
        let (swap_total_bytes, swap_free_bytes) = (Some(total), Some(free));
        let swap = Memory { swap_total_bytes, swap_free_bytes, ..Memory::default() };
        memory(&swap, None).swap_used_bytes
    };
    assert_eq!((swap(100, 30), swap(0, 0), swap(100, 130)), (Some(70), Some(0), None));
}

#[test]
fn the_top_processes_are_sorted_by_use() {
    let process = |pid, ticks, started, resident_pages| Process {
        pid,
        name: format!("p{pid}"),
        ticks,
        started,
        resident_pages,
        ..Process::default()
    };
    let scan = Scan {
        page_bytes: 4096,
        before: vec![
            process(1, 0, 1, 0),
            process(2, 0, 1, 0),
            process(3, 1000, 1, 0),
            process(4, 0, 1, 0),
        ],
        // The third process is another program with a reused ID. The time of the fourth one jumps.
        processes: vec![
            process(1, 100, 1, 5),
            process(2, 250, 1, 1),
            process(3, 900, 9, 9),
            process(4, 9_000_000, 1, 0),
        ],
        interval_ms: 5000,
    };
    let top = top(&scan, Some(2));
    let by_cpu: Vec<_> = top.by_cpu.iter().map(|one| (one.pid, one.cpu_cores)).collect();
    assert_eq!(by_cpu, [(2, Some(0.5)), (1, Some(0.2)), (3, None), (4, None)]);
    let by_memory: Vec<_> = top.by_memory.iter().map(|one| one.memory_bytes / 4096).collect();
    assert_eq!(by_memory, [9, 5, 1, 0]);
}
