//! Alert rules and their state. Pure: time is a parameter.
//!
//! [`rules`] parses `STATS_ALERTS`, [`signals`] keeps the past that some values need (OOM kills of
//! the last minutes), [`values`] extracts the values from a sample, and [`evaluator`] holds the
//! state of each rule and target.

mod defaults;
mod evaluator;
mod rules;
mod signals;
mod values;

pub(crate) use evaluator::{Change, Evaluator, MAX_ALERTS};
pub(crate) use rules::Rules;
pub(crate) use signals::Signals;

/// Time on two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Monotonic clock, milliseconds: for durations.
    pub(crate) monotonic_ms: u64,
    /// Time since the Unix epoch, milliseconds: for display.
    pub(crate) unix_ms: u64,
}

/// A time in tests, by its second.
#[cfg(test)]
pub(crate) fn at(second: u64) -> Moment {
    Moment { monotonic_ms: second * 1000, unix_ms: 1_795_000_000_000 + second * 1000 }
}

/// Quantity of a subject that has several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantity {
    /// Main quantity of the subject.
    Main,
    /// Bytes per second, for disks and interfaces.
    Throughput,
}

/// Unit of a quantity.
fn unit(subject: wire::Subject, quantity: Quantity) -> wire::Unit {
    use wire::Subject as S;
    use wire::Unit;
    match (subject, quantity) {
        (_, Quantity::Throughput) => Unit::BytesPerSecond,
        (S::Interface | S::Oom | S::Forks, _) => Unit::Count,
        (S::Clock, _) => Unit::Seconds,
        (S::Readonly | S::Source, _) => Unit::Boolean,
        _ => Unit::Percent,
    }
}
