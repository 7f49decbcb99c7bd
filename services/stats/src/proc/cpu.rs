//! Processor time: `/proc/stat` (`proc(5)`).

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
///
/// Not by procfs: its parser wants fields that are not used here (`ctxt`, `btime`, `processes`),
/// and would lose the processors for one of them.
pub(crate) fn parse(text: &str) -> Result<Cpu, ParseError> {
    let mut lines = text.lines();
    let total =
        lines.find_map(|line| line.strip_prefix("cpu ")).ok_or(ParseError::Missing("cpu"))?;
    // user, nice, system, idle, iowait, irq, softirq, steal; kernels before 2.6.11 end sooner.
    // Guest time follows, but is already inside user time; adding it would count twice.
    let mut ticks = [0; 8];
    let mut columns = 0;
    for (tick, column) in ticks.iter_mut().zip(total.split_ascii_whitespace()) {
        *tick = column.parse().map_err(|_| ParseError::Odd(format!("cpu has {column:?}")))?;
        columns += 1;
    }
    if columns < 4 {
        return Err(ParseError::Missing("idle"));
    }
    let [user, nice, system, idle, iowait, irq, softirq, steal] = ticks;
    let work: [u64; 6] = [user, nice, system, irq, softirq, steal];
    let online = lines
        .take_while(|line| line.starts_with("cpu"))
        .fold(0, |count: u32, _| count.saturating_add(1));
    Ok(Cpu {
        busy: work.into_iter().fold(0, u64::saturating_add),
        idle: idle.saturating_add(iowait),
        online,
    })
}

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
    fn fields_that_are_not_used_need_not_be_there() {
        let cpu = parse("cpu  1 2 3 4\ncpu0 1 2 3 4\nprocs_running many\n");
        assert_eq!(cpu, Ok(Cpu { busy: 6, idle: 4, online: 1 }));
    }

    #[test]
    fn text_that_is_not_stat_is_an_error_and_no_panic() {
        for text in ["", "cpu", "cpu  1 2 3", "cpu  a b c d\n", "cpu  1 2 3 -4\n", "\u{1F980}"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
