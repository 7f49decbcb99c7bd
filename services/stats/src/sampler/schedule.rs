//! Times of attempts that can fail.

use std::time::{Duration, Instant};

use super::fault_log::FaultLog;

/// Time of the next attempt.
#[derive(Default)]
pub(super) struct Schedule {
    pub(super) next: Option<Instant>,
    pub(super) failures: u32,
    pub(super) log: FaultLog,
}

impl Schedule {
    pub(super) fn is_due(&self) -> bool {
        self.next.is_none_or(|next| next <= Instant::now())
    }

    /// Sets the next attempt to `delay` after a success.
    pub(super) fn succeeded(&mut self, delay: Duration) {
        (self.failures, self.next) = (0, Some(Instant::now() + delay));
    }

    /// Doubles the delay after each failure in a row, from 1 s to at most `maximum`.
    pub(super) fn failed(&mut self, maximum: Duration) {
        let delay = Duration::from_secs(1 << self.failures.min(5)).min(maximum);
        self.failures = self.failures.saturating_add(1);
        self.next = Some(Instant::now() + delay);
    }
}
