//! Processor time: `/proc/stat` (`proc(5)`).

use procfs::{CpuTime, ExplicitSystemInfo, FromBufReadSI, KernelStats};

use super::ParseError;

/// Time all processors have spent since boot, in kernel ticks, and how many are online.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cpu {
    /// Ticks of work: user, nice, system, irq, softirq and steal.
    pub(crate) busy: u64,
    /// Ticks without work: idle and iowait, which is idleness with a reason.
    pub(crate) idle: u64,
    /// Processors that are online.
    pub(crate) online: u32,
}

/// Parses the text of `/proc/stat`.
pub(crate) fn parse(text: &str) -> Result<Cpu, ParseError> {
    let stats = KernelStats::from_buf_read(text.as_bytes(), &TICKS_ONLY)?;
    let online = u32::try_from(stats.cpu_time.len()).unwrap_or(u32::MAX);
    let CpuTime { user, nice, system, idle, iowait, irq, softirq, steal, .. } = stats.total;
    // Guest time is already inside user time; adding it would count twice.
    let work = [Some(user), Some(nice), Some(system), irq, softirq, steal];
    Ok(Cpu {
        busy: work.into_iter().flatten().fold(0, u64::saturating_add),
        idle: idle.saturating_add(iowait.unwrap_or(0)),
        online,
    })
}

/// What procfs wants to know of the system; only ratios of ticks are used here, so the values do
/// not matter.
const TICKS_ONLY: ExplicitSystemInfo = ExplicitSystemInfo {
    boot_time_secs: 0,
    ticks_per_second: 100,
    page_size: 4096,
    is_little_endian: true,
};

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "ctxt 1\nbtime 1\nprocesses 1\n";

    #[test]
    fn busy_and_idle_add_up_and_processors_are_counted() {
        let text = format!(
            "cpu  100 20 30 4000 50 6 7 8 0 0\ncpu0 50 10 15 2000 25 3 3 4 0 0\n\
             cpu3 50 10 15 2000 25 3 4 4 0 0\nintr 5 1 2\n{REST}"
        );
        assert_eq!(parse(&text), Ok(Cpu { busy: 171, idle: 4050, online: 2 }));
    }

    #[test]
    fn guest_time_is_not_counted_twice() {
        let text =
            format!("cpu  100 0 0 100 0 0 0 0 90 10\ncpu0 100 0 0 100 0 0 0 0 90 10\n{REST}");
        assert_eq!(parse(&text), Ok(Cpu { busy: 100, idle: 100, online: 1 }));
    }

    #[test]
    fn an_old_kernel_with_four_columns_is_understood() {
        let text = format!("cpu  1 2 3 4\ncpu0 1 2 3 4\n{REST}");
        assert_eq!(parse(&text), Ok(Cpu { busy: 6, idle: 4, online: 1 }));
    }

    #[test]
    fn text_that_is_not_stat_is_an_error_and_no_panic() {
        for text in ["", "cpu", "cpu  1 2", "cpu  a b c d\n", "\u{1F980}"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
