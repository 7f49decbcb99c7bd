//! Past events that some values need: kills, clock steps, and filesystems that were writable.

use std::collections::{BTreeMap, VecDeque};

use super::Moment;
use crate::collect::filesystem::Mount;
use crate::reading::{Filesystem, Reading};

/// Time for which a kill or a clock step counts. Both are momentary, and no rule would detect them
/// otherwise.
const RETENTION_MS: u64 = 5 * 60 * 1000;

/// Minimum difference between two clocks that counts as a step or a suspension, milliseconds. A
/// clock that is slewed moves by half a millisecond per second, and a slow source delays a reading
/// by less than a second.
const STEP_MS: u64 = 1000;

/// Maximum number of filesystems recorded as writable.
const MAX_FILESYSTEMS: usize = 1024;

/// Maximum number of recorded kills, one entry per tick.
const MAX_KILLS: usize = 300;

/// Recent events.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    before: Option<Moment>,
    /// Time since boot at the previous tick, including suspended time.
    uptime_seconds: Option<f64>,
    kills_before: Kills,
    /// Whether the number of kills is known.
    has_kill_counter: bool,
    kills: VecDeque<(u64, u64)>,
    new_kills: u64,
    /// Kills since the start of the service.
    all_kills: u64,
    step: Option<(u64, i64)>,
    new_step_ms: Option<i64>,
    /// Devices of the filesystems that were writable, by mount point.
    writable: BTreeMap<Box<str>, Box<str>>,
}

/// Counters of processes that the OOM killer has killed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Kills {
    machine: Option<u64>,
    /// Number of the layout of the control groups, and their counter.
    group: Option<(u32, u64)>,
}

impl Signals {
    /// Updates the events from the readings of one tick.
    pub(crate) fn update(&mut self, reading: &Reading, now: Moment) {
        self.update_kills(reading, now.monotonic_ms);
        self.update_clock(now, reading.uptime_seconds);
        for filesystem in reading.filesystems.iter().filter(|filesystem| !filesystem.read_only) {
            let Mount { point, device, .. } = &*filesystem.mount;
            let known = self.writable.get(point.as_str());
            let has_room = known.is_some() || self.writable.len() < MAX_FILESYSTEMS;
            if has_room && known.is_none_or(|known| **known != **device) {
                self.writable.insert(point.as_str().into(), device.as_str().into());
            }
        }
    }

    /// Number of kills in this tick.
    pub(crate) fn new_oom_kills(&self) -> u64 {
        self.new_kills
    }

    /// Number of kills since the start of the service.
    pub(crate) fn all_oom_kills(&self) -> u64 {
        self.all_kills
    }

    /// Clock step in this tick, milliseconds; negative if the clock was set back.
    pub(crate) fn new_clock_step_ms(&self) -> Option<i64> {
        self.new_step_ms
    }

    /// Kills of the last five minutes; `None` if the kernel does not count them.
    pub(super) fn oom_kills(&self) -> Option<f64> {
        let sum: u64 = self.kills.iter().map(|(_, count)| count).sum();
        self.has_kill_counter.then_some(sum as f64)
    }

    /// Size of the last clock step, or 0 if there was none in the last five minutes.
    pub(super) fn clock_step_seconds(&self) -> Option<f64> {
        self.before?;
        Some(self.step.map_or(0.0, |(_, step)| step.unsigned_abs() as f64 / 1000.0))
    }

    /// Whether the filesystem was writable earlier and no longer is, or the kernel shut it down.
    pub(super) fn became_read_only(&self, filesystem: &Filesystem) -> bool {
        let Mount { point, device, options, .. } = &*filesystem.mount;
        let was_shut_down = options.split(',').any(|option| option == "emergency_ro");
        // Another disk can be mounted read-only at the same point.
        let known = self.writable.get(point.as_str());
        let was_writable = known.is_some_and(|known| **known == **device);
        was_shut_down || filesystem.read_only && was_writable
    }

    fn update_kills(&mut self, reading: &Reading, now_ms: u64) {
        let kills = Kills {
            machine: reading.oom_kills,
            group: reading
                .container
                .as_ref()
                .and_then(|group| Some((group.groups.0, group.oom_kills?))),
        };
        let machine = kills.machine.zip(self.kills_before.machine);
        let machine = machine.map_or(0, |(now, before)| now.saturating_sub(before));
        // After a move to another group, the counter has that group's past.
        let group = kills.group.zip(self.kills_before.group).filter(|(now, old)| now.0 == old.0);
        let group = group.map_or(0, |(now, before)| now.1.saturating_sub(before.1));
        // The machine's counter, if available, includes kills in the group.
        self.new_kills = machine.max(group);
        self.all_kills = self.all_kills.saturating_add(self.new_kills);
        self.has_kill_counter |= kills != Kills::default();
        self.kills_before = Kills {
            machine: kills.machine.or(self.kills_before.machine),
            group: kills.group.or(self.kills_before.group),
        };
        while self.kills.len() >= MAX_KILLS
            || self.kills.front().is_some_and(|(at, _)| now_ms.saturating_sub(*at) >= RETENTION_MS)
        {
            self.kills.pop_front();
        }
        if self.new_kills > 0 {
            self.kills.push_back((now_ms, self.new_kills));
        }
    }

    fn update_clock(&mut self, now: Moment, uptime_seconds: Option<f64>) {
        let uptime_before = std::mem::replace(&mut self.uptime_seconds, uptime_seconds);
        let up_seconds =
            uptime_seconds.zip(uptime_before).map_or(0.0, |(now, before)| now - before);
        #[expect(clippy::cast_possible_truncation, reason = "saturates")]
        let up_ms = (up_seconds * 1000.0) as i64;
        self.new_step_ms = self.before.replace(now).and_then(|before| {
            let shown = i64::try_from(now.unix_ms).ok()? - i64::try_from(before.unix_ms).ok()?;
            let passed = i64::try_from(now.monotonic_ms.checked_sub(before.monotonic_ms)?).ok()?;
            let is_step = |difference: &i64| difference.unsigned_abs() >= STEP_MS;
            // The monotonic clock stands still while the machine is suspended.
            let suspended = Some(up_ms.saturating_sub(passed).max(0)).filter(is_step);
            Some(shown - passed - suspended.unwrap_or(0)).filter(is_step)
        });
        if let Some(step) = self.new_step_ms {
            self.step = Some((now.monotonic_ms, step));
        }
        let is_recent = |(at, _): &(u64, i64)| now.monotonic_ms.saturating_sub(*at) < RETENTION_MS;
        self.step = self.step.filter(is_recent);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::alerts::at;
    use crate::collect::cgroup::Container;

    fn kills(machine: u64, group: u64) -> Reading {
        let container = Container { oom_kills: Some(group), ..Container::default() };
        Reading { oom_kills: Some(machine), container: Some(container), ..Reading::default() }
    }

    #[test]
    fn kills_are_counted_once_and_expire_after_five_minutes() {
        let mut signals = Signals::default();
        signals.update(&Reading::default(), at(0));
        assert_eq!(signals.oom_kills(), None);
        signals.update(&kills(7, 2), at(1));
        assert_eq!((signals.oom_kills(), signals.new_oom_kills()), (Some(0.0), 0));
        signals.update(&kills(8, 3), at(2));
        assert_eq!((signals.oom_kills(), signals.new_oom_kills()), (Some(1.0), 1));
        // A reading without the counter changes nothing.
        signals.update(&Reading::default(), at(3));
        signals.update(&kills(10, 3), at(4));
        assert_eq!((signals.oom_kills(), signals.new_oom_kills()), (Some(3.0), 2));
        assert_eq!(signals.all_oom_kills(), 3);
        // A counter reset is not a kill.
        signals.update(&kills(0, 0), at(5));
        assert_eq!(signals.new_oom_kills(), 0);
        signals.update(&kills(0, 0), at(304));
        assert_eq!(signals.oom_kills(), Some(0.0));
    }

    #[test]
    fn kills_of_a_group_that_the_service_moves_to_are_not_new() {
        let group = |layout, oom_kills| {
            let container = Container {
                groups: (layout, 0),
                oom_kills: Some(oom_kills),
                ..Container::default()
            };
            Reading { container: Some(container), ..Reading::default() }
        };
        let mut signals = Signals::default();
        signals.update(&group(1, 0), at(0));
        signals.update(&group(2, 5), at(1));
        assert_eq!((signals.oom_kills(), signals.new_oom_kills()), (Some(0.0), 0));
        signals.update(&group(2, 6), at(2));
        assert_eq!((signals.oom_kills(), signals.new_oom_kills()), (Some(1.0), 1));
    }

    #[test]
    fn only_a_difference_between_the_clocks_is_a_step() {
        let mut signals = Signals::default();
        signals.update(&Reading::default(), at(0));
        // A stall affects both clocks.
        signals.update(&Reading::default(), at(90));
        assert_eq!((signals.new_clock_step_ms(), signals.clock_step_seconds()), (None, Some(0.0)));
        let back = Moment { unix_ms: at(91).unix_ms - 3_600_000, ..at(91) };
        signals.update(&Reading::default(), back);
        assert_eq!(signals.new_clock_step_ms(), Some(-3_600_000));
        let later = |second| Moment { unix_ms: at(second).unix_ms - 3_600_000, ..at(second) };
        signals.update(&Reading::default(), later(92));
        assert_eq!(signals.new_clock_step_ms(), None);
        assert_eq!(signals.clock_step_seconds(), Some(3600.0));
        signals.update(&Reading::default(), later(391));
        assert_eq!(signals.clock_step_seconds(), Some(0.0));
    }

    #[test]
    fn a_suspension_is_not_a_clock_step_and_a_step_during_it_is_one() {
        let up = |seconds| Reading { uptime_seconds: Some(seconds), ..Reading::default() };
        let after = |second, ms| Moment { unix_ms: at(second).unix_ms + ms, ..at(second) };
        let mut signals = Signals::default();
        signals.update(&up(500.0), at(0));
        signals.update(&up(501.4), at(1));
        assert_eq!(signals.new_clock_step_ms(), None);
        signals.update(&up(29_302.0), after(2, 28_800_000));
        assert_eq!(signals.new_clock_step_ms(), None);
        signals.update(&up(29_313.0), after(3, 28_870_000));
        assert_eq!(signals.new_clock_step_ms(), Some(60_000));
        // Without the uptime, the difference between the clocks decides.
        signals.update(&Reading::default(), after(4, 28_880_000));
        assert_eq!(signals.new_clock_step_ms(), Some(10_000));
        signals.update(&up(29_400.0), after(5, 28_880_000));
        assert_eq!(signals.new_clock_step_ms(), None);
    }

    #[test]
    fn a_filesystem_that_was_writable_became_read_only_but_an_image_did_not() {
        let filesystem = |point: &str, options: &str, read_only| Filesystem {
            mount: Arc::new(Mount {
                point: point.to_owned(),
                options: options.to_owned(),
                ..Mount::default()
            }),
            read_only,
            ..Filesystem::default()
        };
        let mut signals = Signals::default();
        let filesystems = vec![filesystem("/", "rw", false), filesystem("/iso", "ro", true)];
        signals.update(&Reading { filesystems, ..Reading::default() }, at(0));
        assert!(signals.became_read_only(&filesystem("/", "ro,errors=remount-ro", true)));
        assert!(!signals.became_read_only(&filesystem("/iso", "ro", true)));
        assert!(signals.became_read_only(&filesystem("/x", "rw,emergency_ro", false)));
        assert!(!signals.became_read_only(&filesystem("/", "rw", false)));
    }

    #[test]
    fn another_disk_that_is_mounted_read_only_did_not_become_read_only() {
        let filesystem = |device: &str, read_only| Filesystem {
            mount: Arc::new(Mount {
                point: "/media/usb".to_owned(),
                device: device.to_owned(),
                ..Mount::default()
            }),
            read_only,
            ..Filesystem::default()
        };
        let mut signals = Signals::default();
        for device in ["8:16", "8:32"] {
            let filesystems = vec![filesystem(device, false)];
            signals.update(&Reading { filesystems, ..Reading::default() }, at(0));
        }
        assert!(signals.became_read_only(&filesystem("8:32", true)));
        assert!(!signals.became_read_only(&filesystem("8:16", true)));
    }
}
