//! Timeouts with negligible cost in the normal case: the timer stays armed across waits, and the
//! deadline is checked only when it fires.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep};

/// Timer of one task, for sequential waits.
#[derive(Debug)]
pub(crate) struct Timer {
    timer: Pin<Box<Sleep>>,
    until: Instant,
}

impl Timer {
    /// Creates a timer for waits of typically `usual`.
    pub(crate) fn new(usual: Duration) -> Self {
        Self { timer: Box::pin(sleep(usual)), until: Instant::now() + usual }
    }

    /// Starts a wait of at most `bound`.
    pub(crate) fn set(&mut self, bound: Duration) {
        self.set_until(Instant::now() + bound);
    }

    /// Starts a wait until this time.
    pub(crate) fn set_until(&mut self, until: Instant) {
        self.until = until;
        if self.timer.deadline().into_std() > self.until {
            self.timer.as_mut().reset(self.until.into());
        }
    }

    /// Ready when the wait has timed out.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            if self.until <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.until.into());
        }
    }

    /// Output of `future`, or `None` after a timeout.
    pub(crate) async fn within<T>(
        &mut self,
        bound: Duration,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        let mut future = pin!(future);
        let mut is_armed = false;
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            if !is_armed {
                // A future that is immediately ready needs no clock.
                self.set(bound);
                is_armed = true;
            }
            self.poll(context).map(|()| None)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_wait_has_its_own_timeout() {
        let begun = tokio::time::Instant::now();
        let mut timer = Timer::new(Duration::from_secs(7));
        assert_eq!(timer.within(Duration::from_secs(1), ready(7)).await, Some(7));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_timeout_holds_for_any_previous_timer() {
        for usual in [1, 60_000] {
            let mut timer = Timer::new(Duration::from_millis(usual));
            let begun = Instant::now();
            assert_eq!(timer.within(Duration::from_millis(50), pending::<()>()).await, None);
            let took = begun.elapsed().as_millis();
            assert!((50..5000).contains(&took), "{took} ms");
            // Again, with a timer that has already fired.
            let begun = Instant::now();
            assert_eq!(timer.within(Duration::from_millis(50), pending::<()>()).await, None);
            assert!(begun.elapsed().as_millis() >= 50);
        }
    }
}
