//! When a fault that lasts is logged: when it begins, once in a while, and when it ends.

use std::time::{Duration, Instant};

/// The time between two log lines about the same fault.
const REPEAT: Duration = Duration::from_mins(10);

/// The log of one source.
#[derive(Debug, Default)]
pub(super) struct FaultLog {
    /// When the fault was logged last; none without a fault.
    logged: Option<Instant>,
}

impl FaultLog {
    /// Whether a fault that is there now is to be logged.
    pub(super) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.logged.is_none_or(|logged| now - logged >= REPEAT);
        if due {
            self.logged = Some(now);
        }
        due
    }

    /// Whether there was a fault until now.
    pub(super) fn has_ended(&mut self) -> bool {
        self.logged.take().is_some()
    }

    /// Whether there is a fault.
    #[cfg(test)]
    pub(super) fn is_faulty(&self) -> bool {
        self.logged.is_some()
    }

    #[cfg(test)]
    pub(super) fn age(&mut self, by: Duration) {
        self.logged = self.logged.and_then(|logged| logged.checked_sub(by));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_that_lasts_is_logged_again_every_ten_minutes() {
        let mut log = FaultLog::default();
        assert!(log.is_due() && !log.is_due());
        log.age(REPEAT);
        assert!(log.is_due() && !log.is_due());
        assert!(log.has_ended() && !log.has_ended());
        assert!(log.is_due());
    }
}
