//! What is out of its limits, and since when: pure, with the time given.
//!
//! [`rules`] parses `STATS_ALERTS`, [`signals`] keeps what a value needs of the past (the OOM kills
//! of the last minutes), [`values`] takes the values out of a sample, and [`evaluator`] holds the
//! state of each rule and target.

mod defaults;
mod evaluator;
mod rules;
mod signals;
mod values;

pub(crate) use evaluator::{Change, Evaluator};
pub(crate) use rules::Rules;
pub(crate) use signals::Signals;

/// A moment on two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Of a clock that never steps, milliseconds: durations are measured with it.
    pub(crate) monotonic_ms: u64,
    /// Since the Unix epoch, milliseconds: what is shown.
    pub(crate) unix_ms: u64,
}

/// What is measured of a subject that has several quantities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantity {
    /// The one that the subject is known for.
    Main,
    /// Bytes per second, of disks and interfaces.
    Throughput,
}

/// The unit of a quantity.
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
