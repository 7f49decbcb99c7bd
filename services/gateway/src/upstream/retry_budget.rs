//! How many requests may be tried again. Without a bound, an upstream that fails under its load
//! gets twice the load.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// One retry, in the unit that is counted.
const RETRY: u64 = 1000;

/// What a request brings in: one retry for five requests.
const PER_REQUEST: u64 = RETRY / 5;

/// What a millisecond brings in: three retries a second, so that an upstream with few requests
/// has some too.
const PER_MILLISECOND: u64 = 3 * RETRY / 1000;

/// What is saved at most: when one of two replicas dies under a thousand busy clients, all of its
/// requests find the other one.
const AT_MOST: u64 = 500 * RETRY;

/// A bucket that requests and time fill and retries empty. Over any time there are at most a fifth
/// as many retries as requests, and three a second, and what had been saved.
#[derive(Debug)]
pub(super) struct Budget {
    saved: AtomicU64,
    /// Up to when time has been counted. Only retries take this lock.
    counted: Mutex<Instant>,
}

impl Budget {
    /// A full one.
    pub(super) fn new(now: Instant) -> Self {
        Self { saved: AtomicU64::new(AT_MOST), counted: Mutex::new(now) }
    }

    /// Counts a request. While nothing fails, the bucket is full and this only reads.
    pub(super) fn deposit(&self) {
        if self.saved.load(Ordering::Relaxed) < AT_MOST {
            self.saved.fetch_add(PER_REQUEST, Ordering::Relaxed);
        }
    }

    /// Takes one retry out, if there is one.
    pub(super) fn withdraw(&self, now: Instant) -> bool {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now.saturating_duration_since(*counted).as_millis();
        if since > 0 {
            *counted = now;
            let earned = u64::try_from(since)
                .map_or(AT_MOST, |ms| ms.saturating_mul(PER_MILLISECOND).min(AT_MOST));
            let room = AT_MOST.saturating_sub(self.saved.load(Ordering::Relaxed));
            self.saved.fetch_add(earned.min(room), Ordering::Relaxed);
        }
        // No other task withdraws while the lock is held, so it cannot fall below zero.
        let enough = self.saved.load(Ordering::Relaxed) >= RETRY;
        if enough {
            self.saved.fetch_sub(RETRY, Ordering::Relaxed);
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn empty(now: Instant) -> Budget {
        let budget = Budget::new(now);
        while budget.withdraw(now) {}
        budget
    }

    fn granted(budget: &Budget, now: Instant) -> usize {
        (0..10_000).take_while(|_| budget.withdraw(now)).count()
    }

    #[test]
    fn five_requests_pay_for_one_retry() {
        let now = Instant::now();
        let budget = empty(now);
        (0..4).for_each(|_| budget.deposit());
        assert!(!budget.withdraw(now));
        budget.deposit();
        assert!(budget.withdraw(now));
        assert!(!budget.withdraw(now));
    }

    #[test]
    fn time_pays_for_a_few_retries() {
        let now = Instant::now();
        let budget = empty(now);
        assert_eq!(granted(&budget, now + Duration::from_secs(2)), 6);
    }

    #[test]
    fn a_long_quiet_time_saves_no_more_than_the_bucket_holds() {
        let now = Instant::now();
        let budget = empty(now);
        (0..1_000_000).for_each(|_| budget.deposit());
        assert_eq!(granted(&budget, now + Duration::from_hours(24)), 500);
    }

    #[test]
    fn a_clock_that_goes_back_takes_nothing_away() {
        let now = Instant::now();
        let budget = empty(now + Duration::from_secs(5));
        budget.withdraw(now);
        (0..5).for_each(|_| budget.deposit());
        assert!(budget.withdraw(now));
    }

    proptest! {
        #[test]
        fn retries_stay_within_their_share(
            steps in proptest::collection::vec((0_u64..3000, 0_u64..500, 0_u64..500), 1..50),
        ) {
            let start = Instant::now();
            let budget = empty(start);
            let (mut now, mut requests, mut retries) = (start, 0, 0);
            for (milliseconds, asked, wanted) in steps {
                now += Duration::from_millis(milliseconds);
                (0..asked).for_each(|_| budget.deposit());
                requests += asked;
                retries += (0..wanted).filter(|_| budget.withdraw(now)).count() as u64;
                let elapsed = u64::try_from((now - start).as_millis()).unwrap();
                prop_assert!(retries * 1000 <= requests * 200 + elapsed * 3);
            }
        }
    }
}
