//! CPU time: `/proc/stat` (`proc(5)`).

use super::ParseError;

/// Counters of `/proc/stat` since boot; a counter that the kernel does not report is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Stat {
    /// All processors combined.
    pub(crate) total: Times,
    /// Online processors, by number.
    pub(crate) cores: Vec<(u32, Times)>,
    /// Boot time, seconds since the Unix epoch.
    pub(crate) boot_time_unix_seconds: Option<u64>,
    /// Context switches.
    pub(crate) context_switches: Option<u64>,
    /// Processes and threads created.
    pub(crate) forks: Option<u64>,
    /// Runnable threads.
    pub(crate) running: Option<u64>,
    /// Threads blocked on I/O.
    pub(crate) blocked: Option<u64>,
}

/// CPU time by mode, in ticks of 1/100 s (`USER_HZ`).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Times {
    pub(crate) user: u64,
    pub(crate) nice: u64,
    pub(crate) system: u64,
    pub(crate) idle: u64,
    pub(crate) iowait: u64,
    pub(crate) irq: u64,
    pub(crate) softirq: u64,
    pub(crate) steal: u64,
    /// Included in `user`.
    pub(crate) guest: u64,
    /// Included in `nice`.
    pub(crate) guest_nice: u64,
    /// Whether `idle` or `iowait` decreased and was clamped.
    pub(crate) idle_was_clamped: bool,
}

impl Stat {
    /// Keeps counters from decreasing slightly against an earlier reading, as `idle` and `iowait`
    /// do (`proc(5)`). Scrapers would interpret a decrease as a counter reset.
    pub(crate) fn clamp_monotonic(&mut self, before: &Self) {
        self.total.clamp_monotonic(&before.total);
        let mut earlier = before.cores.iter().peekable();
        for (id, times) in &mut self.cores {
            while earlier.next_if(|(earlier_id, _)| earlier_id < id).is_some() {}
            if let Some((_, before)) = earlier.next_if(|(earlier_id, _)| earlier_id == id) {
                times.clamp_monotonic(before);
            }
        }
    }
}

/// Minimum decrease of idle time that means a processor was taken offline and online again. Other
/// decreases are smaller.
const RESTART_TICKS: u64 = 300;

impl Times {
    /// The columns of a line, in their order (`proc_stat(5)`).
    pub(super) const fn new(columns: [u64; 10]) -> Self {
        let [user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice] = columns;
        let idle_was_clamped = false;
        Self {
            user,
            nice,
            system,
            idle,
            iowait,
            irq,
            softirq,
            steal,
            guest,
            guest_nice,
            idle_was_clamped,
        }
    }

    /// Whether the processor was taken offline and online again.
    pub(crate) fn has_restarted_since(&self, before: &Self) -> bool {
        before.idle.saturating_sub(self.idle) >= RESTART_TICKS
    }

    fn clamp_monotonic(&mut self, before: &Self) {
        if self.has_restarted_since(before) {
            return;
        }
        self.idle_was_clamped = self.idle < before.idle || self.iowait < before.iowait;
        for (now, before) in [
            (&mut self.user, before.user),
            (&mut self.nice, before.nice),
            (&mut self.system, before.system),
            (&mut self.idle, before.idle),
            (&mut self.iowait, before.iowait),
            (&mut self.irq, before.irq),
            (&mut self.softirq, before.softirq),
            (&mut self.steal, before.steal),
            (&mut self.guest, before.guest),
            (&mut self.guest_nice, before.guest_nice),
        ] {
            *now = before.max(*now);
        }
    }
}

/// Parses the text of `/proc/stat`.
///
/// The procfs crate is not used: its parser requires fields that some kernels do not have, and
/// would reject the whole file.
pub(crate) fn parse(text: &str) -> Result<Stat, ParseError> {
    let mut stat = Stat::default();
    let mut total = None;
    for line in text.lines() {
        // The `intr` line can have thousands of columns; only the first word of a line is split
        // off.
        let Some((key, rest)) = line.split_once(' ') else { continue };
        match key {
            // A later valid line, or the lines of the single processors, can replace an invalid
            // one.
            "cpu" if !matches!(total, Some(Ok(_))) => total = Some(times(rest)),
            "ctxt" => stat.context_switches = positive(rest),
            "btime" => stat.boot_time_unix_seconds = positive(rest),
            "processes" => stat.forks = positive(rest),
            "procs_running" => stat.running = positive(rest),
            "procs_blocked" => stat.blocked = counter(rest),
            _ => {
                let Some(number) = key.strip_prefix("cpu") else { continue };
                // An invalid line affects only its processor.
                if let (Ok(number), Ok(times)) = (number.parse(), times(rest)) {
                    stat.cores.push((number, times));
                }
            }
        }
    }
    match total {
        Some(Ok(times)) => stat.total = times,
        Some(Err(error)) if stat.cores.is_empty() => return Err(error),
        None if stat.cores.is_empty() => return Err(ParseError::Missing("cpu")),
        _ => {}
    }
    // The kernel writes processors in order; lookups rely on it.
    stat.cores.sort_by_key(|(number, _)| *number);
    stat.cores.dedup_by_key(|(number, _)| *number);
    Ok(stat)
}

fn times(columns: &str) -> Result<Times, ParseError> {
    // Kernels before 2.6.11 have no `steal`, those before 2.6.33 no `guest_nice`.
    let mut ticks = [0; 10];
    let mut known = 0;
    for (tick, column) in ticks.iter_mut().zip(columns.split_ascii_whitespace()) {
        *tick = column.parse().map_err(|_| {
            let start: String = column.chars().take(20).collect();
            ParseError::Invalid(format!("cpu has {start:?}"))
        })?;
        known += 1;
    }
    if known < 4 {
        return Err(ParseError::Missing("idle"));
    }
    Ok(Times::new(ticks))
}

fn counter(column: &str) -> Option<u64> {
    column.trim().parse().ok()
}

/// Counter that is never zero on Linux. gVisor reports zero for those that it does not count.
fn positive(column: &str) -> Option<u64> {
    counter(column).filter(|&count| count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_decrease_is_clamped_and_a_processor_that_returned_is_not() {
        let times = |idle, iowait| Times { idle, iowait, ..Times::default() };
        let before = Stat {
            cores: vec![(0, times(1000, 50)), (1, times(5000, 7)), (3, times(1, 1))],
            ..Stat::default()
        };
        let mut after = Stat {
            cores: vec![(0, times(1100, 40)), (1, times(10, 7)), (2, times(3, 3))],
            ..Stat::default()
        };
        after.clamp_monotonic(&before);
        let held = Times { idle_was_clamped: true, ..times(1100, 50) };
        assert_eq!(after.cores, [(0, held), (1, times(10, 7)), (2, times(3, 3))]);
    }

    #[test]
    fn an_invalid_total_line_is_skipped_and_the_first_valid_one_counts() {
        let stat = parse("cpu  1 2\ncpu  1 2 3 4\nctxt 5\n").unwrap();
        assert_eq!((stat.total.idle, stat.context_switches), (4, Some(5)));
        let stat = parse("cpu  x 2 3 4\ncpu0 1 2 3 4\n").unwrap();
        assert_eq!((stat.total, stat.cores.len()), (Times::default(), 1));
        assert_eq!(parse("cpu  1 2 3 4\ncpu  5 6 7 8\n").unwrap().total.user, 1);
        assert!(parse("cpu  1 2\n").is_err() && parse("ctxt 5\n").is_err());
    }

    const FOUR: Times = Times {
        user: 1,
        nice: 2,
        system: 3,
        idle: 4,
        iowait: 0,
        irq: 0,
        softirq: 0,
        steal: 0,
        guest: 0,
        guest_nice: 0,
        idle_was_clamped: false,
    };

    #[test]
    fn every_column_and_counter_is_assigned_to_its_field() {
        let text = "cpu  11 12 13 14 15 16 17 18 19 20\ncpu0 1 2 3 4 0 0 0 0 0 0\n\
                    intr 5 1 2\nctxt 21\nbtime 22\nprocesses 23\nprocs_running 24\n\
                    procs_blocked 25\nsoftirq 9 8 7\n";
        let total = Times {
            user: 11,
            nice: 12,
            system: 13,
            idle: 14,
            iowait: 15,
            irq: 16,
            softirq: 17,
            steal: 18,
            guest: 19,
            guest_nice: 20,
            ..Times::default()
        };
        let expected = Stat {
            total,
            cores: vec![(0, FOUR)],
            boot_time_unix_seconds: Some(22),
            context_switches: Some(21),
            forks: Some(23),
            running: Some(24),
            blocked: Some(25),
        };
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn an_old_kernel_with_four_columns_is_supported() {
        let stat = parse("cpu  1 2 3 4\ncpu0 1 2 3 4\n").unwrap();
        assert_eq!(stat, Stat { total: FOUR, cores: vec![(0, FOUR)], ..Stat::default() });
    }

    #[test]
    fn processor_numbers_may_have_gaps() {
        let stat = parse("cpu  1 2 3 4\ncpu0 1 2 3 4\ncpu3 1 2 3 4\nctxt 1\n").unwrap();
        assert_eq!(stat.cores, [(0, FOUR), (3, FOUR)]);
    }

    #[test]
    fn an_invalid_line_affects_only_its_processor() {
        let text = "cpu  1 2 3 4\ncpu0 1 2 3\ncpu1 1 x 3 4\ncpu2 1 2 3 4\ncpuX 1 2 3 4\n\
                    cpu99999999999 1 2 3 4\ncpu4\n";
        assert_eq!(parse(text).unwrap().cores, [(2, FOUR)]);
    }

    #[test]
    fn processors_are_sorted_and_unique() {
        let stat = parse("cpu  1 2 3 4\ncpu2 1 2 3 4\ncpu0 1 2 3 4\ncpu2 9 9 9 9\n").unwrap();
        assert_eq!(stat.cores, [(0, FOUR), (2, FOUR)]);
    }

    #[test]
    fn missing_and_invalid_fields_are_absent() {
        let stat = parse("cpu  1 2 3 4\nprocs_running many\nctxt\nbtime -1\n").unwrap();
        assert_eq!(stat, Stat { total: FOUR, ..Stat::default() });
    }

    #[test]
    fn counters_that_cannot_be_zero_are_absent() {
        let text = "cpu  0 0 0 0\nctxt 0\nbtime 7\nprocesses 0\nprocs_running 0\nprocs_blocked 0\n";
        let (boot_time_unix_seconds, blocked) = (Some(7), Some(0));
        let expected = Stat { boot_time_unix_seconds, blocked, ..Stat::default() };
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn text_in_another_format_is_an_error_without_panic() {
        for text in ["", "cpu", "cpu  1 2 3", "cpu  a b c d\n", "cpu  1 2 3 -4\n", "\u{1F980}"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_error_message_is_truncated() {
        let error = parse(&format!("cpu  {}", "x".repeat(100_000))).unwrap_err();
        assert_eq!(error.to_string(), r#"cpu has "xxxxxxxxxxxxxxxxxxxx""#);
    }
}
