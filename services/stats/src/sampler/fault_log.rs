//! Rate limit for log lines of a persistent fault: one when it begins, one per interval, and one
//! when it ends.

use std::time::{Duration, Instant};

/// Interval between two log lines about the same fault.
const REPEAT: Duration = Duration::from_mins(10);

/// Fault state of one source.
#[derive(Debug, Default)]
pub(super) struct FaultLog {
    /// Time of the last log line; `None` without a fault.
    logged: Option<Instant>,
}

impl FaultLog {
    /// Whether a current fault must be logged now.
    pub(super) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.logged.is_none_or(|logged| now - logged >= REPEAT);
        if due {
            self.logged = Some(now);
        }
        due
    }

    /// Whether a fault has just ended.
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
    fn a_persistent_fault_is_logged_every_ten_minutes() {
        let mut log = FaultLog::default();
        assert!(log.is_due() && !log.is_due());
        log.age(REPEAT);
        assert!(log.is_due() && !log.is_due());
        assert!(log.has_ended() && !log.has_ended());
        assert!(log.is_due());
    }
}
