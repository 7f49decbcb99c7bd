//! Two readings and the time between them to a sample: pure.

use crate::proc::cpu::Cpu;
use crate::proc::memory::Memory;

/// What one look at /proc gave; absent is what could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Reading {
    pub(crate) cpu: Option<Cpu>,
    pub(crate) memory: Option<Memory>,
    pub(crate) load: Option<[f64; 3]>,
    pub(crate) uptime_seconds: Option<f64>,
}

/// The figures of a sample that follow from its readings; who, when and which number it is, the
/// sampler adds.
pub(crate) fn sample(before: &Reading, after: &Reading) -> wire::Sample {
    let used = after.memory.map(|memory| memory.total_bytes - memory.available_bytes);
    wire::Sample {
        cpu: before.cpu.zip(after.cpu).and_then(|(before, after)| busy_percent(before, after)),
        ram: after.memory.and_then(used_percent),
        cpu_count: after.cpu.map(|cpu| cpu.online),
        memory_total_bytes: after.memory.map(|memory| memory.total_bytes),
        memory_used_bytes: used,
        load: after.load,
        uptime_seconds: after.uptime_seconds,
        ..wire::Sample::default()
    }
}

/// Busy share of the ticks between two readings, percent; none when no tick went by.
///
/// Each counter may step back a little (iowait does, `proc(5)`; a processor that is taken offline
/// takes its share along); a step back counts as standing still.
fn busy_percent(before: Cpu, after: Cpu) -> Option<f64> {
    let busy = after.busy.saturating_sub(before.busy);
    let idle = after.idle.saturating_sub(before.idle);
    percent(busy, busy.saturating_add(idle))
}

fn used_percent(memory: Memory) -> Option<f64> {
    percent(memory.total_bytes - memory.available_bytes, memory.total_bytes)
}

/// With two decimals, which is finer than the kernel's ticks resolve.
fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (part as f64 / whole as f64 * 10_000.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(busy: u64, idle: u64) -> Reading {
        Reading { cpu: Some(Cpu { busy, idle, online: 2 }), ..Reading::default() }
    }

    #[test]
    fn one_busy_processor_of_two_is_fifty_percent() {
        assert_eq!(sample(&cpu(1000, 5000), &cpu(1100, 5100)).cpu, Some(50.0));
    }

    #[test]
    fn idle_is_zero_and_full_is_a_hundred() {
        assert_eq!(sample(&cpu(7, 0), &cpu(7, 200)).cpu, Some(0.0));
        assert_eq!(sample(&cpu(0, 7), &cpu(200, 7)).cpu, Some(100.0));
    }

    #[test]
    fn a_counter_that_steps_back_stands_still() {
        assert_eq!(sample(&cpu(100, 500), &cpu(150, 499)).cpu, Some(100.0));
        assert_eq!(sample(&cpu(100, 500), &cpu(90, 600)).cpu, Some(0.0));
    }

    #[test]
    fn without_a_tick_or_an_earlier_reading_there_is_no_figure() {
        assert_eq!(sample(&cpu(1, 1), &cpu(1, 1)).cpu, None);
        assert_eq!(sample(&Reading::default(), &cpu(1, 1)).cpu, None);
        assert_eq!(sample(&Reading::default(), &cpu(1, 1)).cpu_count, Some(2));
    }

    #[test]
    fn used_memory_is_what_is_not_available() {
        let memory = Memory { total_bytes: 4096, available_bytes: 1024 };
        let after = Reading { memory: Some(memory), ..Reading::default() };
        let sample = sample(&Reading::default(), &after);
        assert_eq!(sample.ram, Some(75.0));
        assert_eq!(sample.memory_used_bytes, Some(3072));
    }

    #[test]
    fn a_machine_without_memory_has_no_share_of_it() {
        assert_eq!(used_percent(Memory { total_bytes: 0, available_bytes: 0 }), None);
    }
}
