//! Metrics of the host.

use std::cmp::Ordering;

use super::{Exposure, advance_32_bits, cores_used, per_second};
use crate::collect::cpu::{Stat, Times};
use crate::collect::disk::Disk;
use crate::collect::memory::Memory;
use crate::collect::network::{Counters, Interface};
use crate::collect::pressure::{Stall, Stalls};
use crate::collect::process::Process;
use crate::reading::{Filesystem, Pressure, Reading, Scan};
use crate::rounding::percent;

/// Value of `USER_HZ`, which is the same on all Linux architectures of Rust except Alpha.
const TICKS_PER_SECOND: f64 = 100.0;

/// Maximum ticks beyond the clock that a processor can advance by. A processor without a timer tick
/// is accounted for late, but not by an hour.
const MAX_LATE_TICKS: u64 = 60 * 60 * 100;

/// Idle time of ages, which some versions of lxcfs report: 10,000 processors have less in a century.
const IMPLAUSIBLE_TICKS: u64 = 1 << 52;

/// Number of entries in each list of top processes.
const TOP_ENTRIES: usize = 10;

/// CPU time by mode between two readings that are `seconds` apart.
pub(super) fn processors(
    before: Option<&Stat>,
    after: Option<&Stat>,
    seconds: f64,
) -> Option<wire::Processors> {
    let after = after?;
    let mut sum = Ticks::default();
    let mut cores = Vec::new();
    if let Some(before) = before {
        for ((_, before), (id, after)) in
            merge_join(&before.cores, &after.cores, |(a, _), (b, _)| a.cmp(b))
        {
            let Some(ticks) = Ticks::between(before, after, seconds) else { continue };
            sum.add(&ticks);
            cores.extend(ticks.shares().map(|shares| wire::Core { id: *id, shares }));
        }
    }
    // The total line decreases when a processor goes offline and increases when it returns, because
    // it includes the time of offline processors. It is used only if the file has no lines of
    // single processors.
    let total = if after.cores.is_empty() {
        before.and_then(|before| Ticks::between(&before.total, &after.total, seconds))
    } else {
        Some(sum)
    };
    Some(wire::Processors {
        online: u32::try_from(after.cores.len()).unwrap_or(u32::MAX),
        total: total.and_then(|total| total.shares()),
        cores,
    })
}

/// CPU ticks by mode between two readings.
#[derive(Default)]
struct Ticks {
    user: u64,
    nice: u64,
    system: u64,
    irq: u64,
    steal: u64,
    iowait: u64,
    idle: u64,
}

impl Ticks {
    /// Ticks between two readings; `None` for a processor that restarted, or whose counters jumped,
    /// as `steal` does after some migrations of virtual machines, and `idle` in versions of lxcfs.
    /// `idle` and `iowait` can decrease slightly (`proc(5)`) and are clamped then, and the idle time
    /// of lxcfs can stand still. Elapsed time that the counters do not include counts as idle then.
    fn between(before: &Times, after: &Times, seconds: f64) -> Option<Self> {
        if after.has_restarted_since(before) {
            return None;
        }
        let advance = |counter: fn(&Times) -> u64| counter(after).saturating_sub(counter(before));
        let mut ticks = Self {
            // User time already includes guest time.
            user: advance(|times| times.user),
            nice: advance(|times| times.nice),
            system: advance(|times| times.system),
            irq: advance(|times| times.irq).saturating_add(advance(|times| times.softirq)),
            steal: advance(|times| times.steal),
            iowait: advance(|times| times.iowait),
            idle: advance(|times| times.idle),
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let clock = (seconds * TICKS_PER_SECOND).round() as u64;
        let not_idle = ticks.busy().saturating_add(ticks.iowait);
        if not_idle.saturating_add(ticks.idle) > clock.saturating_add(MAX_LATE_TICKS) {
            return None;
        }
        // Only for a value that no uptime explains: in a starved virtual machine, ticks are lost.
        let stands_still = before.idle > IMPLAUSIBLE_TICKS && ticks.idle == 0;
        if after.idle_was_clamped
            || after.idle < before.idle
            || after.iowait < before.iowait
            || stands_still
        {
            ticks.idle = ticks.idle.max(clock.saturating_sub(not_idle));
        }
        Some(ticks)
    }

    fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.user, other.user),
            (&mut self.nice, other.nice),
            (&mut self.system, other.system),
            (&mut self.irq, other.irq),
            (&mut self.steal, other.steal),
            (&mut self.iowait, other.iowait),
            (&mut self.idle, other.idle),
        ];
        for (sum, other) in pairs {
            *sum = sum.saturating_add(other);
        }
    }

    fn busy(&self) -> u64 {
        let parts = [self.user, self.nice, self.system, self.irq, self.steal];
        parts.into_iter().fold(0, u64::saturating_add)
    }

    /// Shares of the modes; `None` if no tick has passed.
    fn shares(&self) -> Option<wire::Shares> {
        let all = self.busy().saturating_add(self.iowait).saturating_add(self.idle) as f64;
        let share = |ticks: u64| percent(ticks as f64, all);
        Some(wire::Shares {
            busy: share(self.busy())?,
            user: share(self.user)?,
            nice: share(self.nice)?,
            system: share(self.system)?,
            irq: share(self.irq)?,
            steal: share(self.steal)?,
            iowait: share(self.iowait)?,
            idle: share(self.idle)?,
        })
    }
}

/// Memory figures; the cache of ZFS counts as available.
pub(super) fn memory(memory: &Memory, zfs_reclaimable_bytes: Option<u64>) -> wire::Memory {
    let swap_used = memory.swap_total_bytes.zip(memory.swap_free_bytes);
    let unavailable = memory.total_bytes.saturating_sub(memory.available_bytes);
    // The memory of programs is in use, whatever the cache reports: the kernel already counts a part
    // of the cache as available. A cache larger than the memory belongs to another system.
    let of_programs = [memory.anonymous_bytes, memory.shared_bytes].into_iter().flatten();
    let most = of_programs.fold(unavailable, u64::saturating_sub);
    let zfs_reclaimable_bytes = zfs_reclaimable_bytes
        .filter(|&bytes| bytes <= memory.total_bytes)
        .map(|bytes| bytes.min(most));
    let used_bytes = unavailable - zfs_reclaimable_bytes.unwrap_or_default();
    wire::Memory {
        total_bytes: memory.total_bytes,
        available_bytes: memory.total_bytes.saturating_sub(used_bytes),
        used_bytes,
        free_bytes: memory.free_bytes,
        buffers_bytes: memory.buffers_bytes,
        cached_bytes: memory.cached_bytes,
        slab_reclaimable_bytes: memory.slab_reclaimable_bytes,
        zfs_reclaimable_bytes,
        swap_total_bytes: memory.swap_total_bytes,
        swap_used_bytes: swap_used.and_then(|(total, free)| total.checked_sub(free)),
    }
}

/// Pressure, if the kernel reports it.
pub(super) fn pressure(pressure: Pressure) -> Option<wire::Pressure> {
    let pressure = wire::Pressure {
        cpu: pressure.cpu.map(stalls),
        memory: pressure.memory.map(stalls),
        io: pressure.io.map(stalls),
    };
    (pressure != wire::Pressure::default()).then_some(pressure)
}

fn stalls(stalls: Stalls) -> wire::Stalls {
    let stall = |Stall { avg10, avg60, avg300, .. }| wire::Stall { avg10, avg60, avg300 };
    wire::Stalls { some: stall(stalls.some), full: stalls.full.map(stall) }
}

/// Rates of the disks in both readings, in the order of the later one.
pub(super) fn disks(before: &[Disk], after: &[Disk], seconds: f64) -> Vec<wire::Disk> {
    let earlier = by_name(before, |disk| &disk.name);
    after.iter().filter_map(|after| disk(earlier(&after.name)?, after, seconds)).collect()
}

/// Rates of a disk; `None` after a counter reset.
fn disk(before: &Disk, after: &Disk, seconds: f64) -> Option<wire::Disk> {
    let busy_ms = advance_32_bits(before.busy_ms, after.busy_ms)?;
    // From Linux 5.0 to 6.9, a short request counts as a whole tick of the kernel, up to 10 ms.
    // No disk is busy for longer than its requests take together.
    let requests = before.request_ms.zip(after.request_ms);
    let request_ms = requests.and_then(|(before, after)| after.checked_sub(before));
    let busy_ms = request_ms.map_or(busy_ms, |time| time.min(busy_ms));
    Some(wire::Disk {
        name: after.name.clone(),
        stacked: after.stacked,
        read_bytes_per_second: per_second(before.read_bytes, after.read_bytes, seconds)?,
        write_bytes_per_second: per_second(before.write_bytes, after.write_bytes, seconds)?,
        reads_per_second: per_second(before.reads, after.reads, seconds)?,
        writes_per_second: per_second(before.writes, after.writes, seconds)?,
        utilisation: percent(busy_ms as f64, seconds * 1000.0)?,
    })
}

/// Removes disks and interfaces with a counter below its earlier value, so that their rates start
/// again. Some drivers report zeros once, and the return to the earlier values is no traffic.
pub(crate) fn remove_resets(before: &Reading, after: &mut Reading) {
    let earlier = by_name(&before.disks, |disk| &disk.name);
    let advances =
        |after: &Disk| earlier(&after.name).is_none_or(|before| disk(before, after, 1.0).is_some());
    after.disks.retain(advances);
    let earlier = by_name(&before.networks, |interface| &interface.name);
    let advances = |after: &Interface| {
        let rates = |before: &Interface| {
            traffic(&before.receive, &after.receive, 1.0)?;
            traffic(&before.transmit, &after.transmit, 1.0)
        };
        earlier(&after.name).is_none_or(|before| rates(before).is_some())
    };
    after.networks.retain(advances);
}

/// Rates of the interfaces in both readings.
pub(super) fn networks(
    before: &[Interface],
    after: &[Interface],
    seconds: f64,
) -> Vec<wire::Network> {
    let earlier = by_name(before, |interface| &interface.name);
    let rates = |after: &Interface| {
        let before = earlier(&after.name)?;
        Some(wire::Network {
            name: after.name.clone(),
            stacked: after.stacked,
            receive: traffic(&before.receive, &after.receive, seconds)?,
            transmit: traffic(&before.transmit, &after.transmit, seconds)?,
        })
    };
    after.iter().filter_map(rates).collect()
}

/// Rates of one direction; `None` after a counter reset.
pub(super) fn traffic(before: &Counters, after: &Counters, seconds: f64) -> Option<wire::Traffic> {
    Some(wire::Traffic {
        bytes_per_second: per_second(before.bytes, after.bytes, seconds)?,
        packets_per_second: per_second(before.packets, after.packets, seconds)?,
        errors_per_second: per_second(before.errors, after.errors, seconds)?,
        drops_per_second: per_second(before.drops, after.drops, seconds)?,
    })
}

pub(super) fn filesystem(filesystem: &Filesystem, exposed: Exposure) -> wire::Filesystem {
    wire::Filesystem {
        mount: filesystem.mount.point.clone(),
        kind: filesystem.mount.kind.clone(),
        source: exposed.mounts.then(|| filesystem.mount.source.clone()),
        total_bytes: filesystem.size_bytes,
        available_bytes: filesystem.available_bytes,
        used_bytes: filesystem.size_bytes.saturating_sub(filesystem.free_bytes),
    }
}

pub(super) fn processes(
    before: &Reading,
    after: &Reading,
    seconds: f64,
) -> Option<wire::Processes> {
    let rate = |counter: fn(&Stat) -> Option<u64>| {
        let before = before.stat.as_ref().and_then(counter)?;
        let after = after.stat.as_ref().and_then(counter)?;
        per_second(before, after, seconds)
    };
    let processes = wire::Processes {
        running: after.stat.as_ref().and_then(|stat| stat.running),
        blocked: after.stat.as_ref().and_then(|stat| stat.blocked),
        total: after.load.map(|load| load.total),
        context_switches_per_second: rate(|stat| stat.context_switches),
        forks_per_second: rate(|stat| stat.forks),
    };
    (processes != wire::Processes::default()).then_some(processes)
}

/// Top processes of a scan.
pub(super) fn top(scan: &Scan, processors: Option<u32>) -> wire::Top {
    let cpu_cores = |process: &Process| {
        // A reused process ID has another start time.
        let earlier = scan.before.binary_search_by_key(&process.pid, |earlier| earlier.pid);
        let earlier = earlier.ok().and_then(|index| scan.before.get(index));
        let ticks = earlier.filter(|earlier| earlier.started == process.started)?.ticks;
        let seconds = scan.interval_ms as f64 / 1000.0;
        let used = cores_used([ticks, process.ticks], TICKS_PER_SECOND, seconds, processors);
        used.filter(|_| seconds > 0.0)
    };
    let mut all: Vec<_> =
        scan.processes.iter().map(|process| (process, cpu_cores(process))).collect();
    let mut first = |compare: fn(&ProcessUsage, &ProcessUsage) -> Ordering| {
        all.sort_by(compare);
        let named = |(process, cpu_cores): &ProcessUsage| wire::Process {
            pid: process.pid,
            name: process.name.clone(),
            cpu_cores: *cpu_cores,
            memory_bytes: process.resident_pages.saturating_mul(scan.page_bytes),
        };
        all.iter().take(TOP_ENTRIES).map(named).collect()
    };
    wire::Top {
        by_cpu: first(|(a, a_cores), (b, b_cores)| {
            let by_cores = b_cores.unwrap_or(-1.0).total_cmp(&a_cores.unwrap_or(-1.0));
            by_cores.then(a.pid.cmp(&b.pid))
        }),
        by_memory: first(|(a, _), (b, _)| {
            b.resident_pages.cmp(&a.resident_pages).then(a.pid.cmp(&b.pid))
        }),
    }
}

/// A process and its CPU use, in processors.
type ProcessUsage<'a> = (&'a Process, Option<f64>);

/// Returns a lookup by name in the earlier reading. Devices keep their order, so each search starts
/// where the last one ended, and all searches together are linear.
fn by_name<'a, T>(
    earlier: &'a [T],
    name: fn(&T) -> &String,
) -> impl Fn(&str) -> Option<&'a T> + 'a {
    let next = std::cell::Cell::new(0);
    move |expected| {
        let (first, rest) = earlier.split_at(next.get().min(earlier.len()));
        let found = rest.iter().chain(first).position(|one| name(one) == expected)?;
        let index = (first.len() + found) % earlier.len();
        next.set(index + 1);
        earlier.get(index)
    }
}

/// Pairs of the elements in both of two sorted lists.
fn merge_join<'a, T>(
    before: &'a [T],
    after: &'a [T],
    compare: fn(&T, &T) -> Ordering,
) -> impl Iterator<Item = (&'a T, &'a T)> {
    let mut before = before.iter().peekable();
    after.iter().filter_map(move |after| {
        while before.next_if(|before| compare(before, after) == Ordering::Less).is_some() {}
        Some((before.next_if(|before| compare(before, after) == Ordering::Equal)?, after))
    })
}

#[cfg(test)]
mod tests;
