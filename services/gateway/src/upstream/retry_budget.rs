//! Retry budget. Without it, retries would double the load on an upstream that fails because of
//! overload.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::lock::lock;

/// One retry, in units of the budget.
const RETRY_TOKENS: u64 = 1000;

/// Deposit of a request: one retry per five requests.
const TOKENS_PER_REQUEST: u64 = RETRY_TOKENS / 5;

/// Deposit per millisecond: three retries per second, so that upstreams with few requests can retry
/// as well.
const TOKENS_PER_MILLISECOND: u64 = 3 * RETRY_TOKENS / 1000;

/// Maximum balance: if one of two replicas fails under a thousand busy clients, all of its requests
/// can be retried.
const MAX_TOKENS: u64 = 500 * RETRY_TOKENS;

/// Token bucket that requests and time fill and retries drain. In any period, retries are limited
/// to a fifth of the requests, plus three per second, plus the initial balance.
#[derive(Debug)]
pub(super) struct RetryBudget {
    tokens: AtomicU64,
    /// Time up to which deposits are counted. Only retries take this lock.
    refilled_at: Mutex<Instant>,
}

impl RetryBudget {
    /// A full budget.
    pub(super) fn new(now: Instant) -> Self {
        Self { tokens: AtomicU64::new(MAX_TOKENS), refilled_at: Mutex::new(now) }
    }

    /// Counts a request. Without failures the bucket is full, and this call only reads.
    pub(super) fn deposit(&self) {
        if self.tokens.load(Ordering::Relaxed) < MAX_TOKENS {
            self.tokens.fetch_add(TOKENS_PER_REQUEST, Ordering::Relaxed);
        }
    }

    /// Withdraws one retry, if available.
    pub(super) fn withdraw(&self, now: Instant) -> bool {
        let mut refilled_at = lock(&self.refilled_at);
        let since = now.saturating_duration_since(*refilled_at).as_millis();
        if since > 0 {
            *refilled_at = now;
            let earned = u64::try_from(since)
                .map_or(MAX_TOKENS, |ms| ms.saturating_mul(TOKENS_PER_MILLISECOND).min(MAX_TOKENS));
            let room = MAX_TOKENS.saturating_sub(self.tokens.load(Ordering::Relaxed));
            self.tokens.fetch_add(earned.min(room), Ordering::Relaxed);
        }
        // No other task withdraws while the lock is held, so the balance cannot become negative.
        let enough = self.tokens.load(Ordering::Relaxed) >= RETRY_TOKENS;
        if enough {
            self.tokens.fetch_sub(RETRY_TOKENS, Ordering::Relaxed);
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn empty(now: Instant) -> RetryBudget {
        let budget = RetryBudget::new(now);
        while budget.withdraw(now) {}
        budget
    }

    fn granted(budget: &RetryBudget, now: Instant) -> usize {
        (0..10_000).take_while(|_| budget.withdraw(now)).count()
    }

    #[test]
    fn five_requests_earn_one_retry() {
        let now = Instant::now();
        let budget = empty(now);
        (0..4).for_each(|_| budget.deposit());
        assert!(!budget.withdraw(now));
        budget.deposit();
        assert!(budget.withdraw(now));
        assert!(!budget.withdraw(now));
    }

    #[test]
    fn time_earns_a_few_retries() {
        let now = Instant::now();
        let budget = empty(now);
        assert_eq!(granted(&budget, now + Duration::from_secs(2)), 6);
    }

    #[test]
    fn a_long_idle_time_earns_no_more_than_the_maximum() {
        let now = Instant::now();
        let budget = empty(now);
        (0..1_000_000).for_each(|_| budget.deposit());
        assert_eq!(granted(&budget, now + Duration::from_hours(24)), 500);
    }

    #[test]
    fn a_clock_that_moves_backward_withdraws_nothing() {
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
