//! A bound on waits that costs next to nothing while it holds: the timer stays set from wait to
//! wait, and only when it goes off is it looked whether the time is up.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep};

/// The timer of one task, for one wait after the other.
#[derive(Debug)]
pub(crate) struct Timer {
    timer: Pin<Box<Sleep>>,
    until: Instant,
}

impl Timer {
    /// For waits of mostly about `usual`.
    pub(crate) fn new(usual: Duration) -> Self {
        Self { timer: Box::pin(sleep(usual)), until: Instant::now() + usual }
    }

    /// Begins a wait of at most `bound`.
    pub(crate) fn set(&mut self, bound: Duration) {
        self.until = Instant::now() + bound;
        if self.timer.deadline().into_std() > self.until {
            self.timer.as_mut().reset(self.until.into());
        }
    }

    /// Ready when the wait is over.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            if self.until <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.until.into());
        }
    }

    /// What comes of `what` within the bound; none when it takes longer.
    pub(crate) async fn within<T>(
        &mut self,
        bound: Duration,
        what: impl Future<Output = T>,
    ) -> Option<T> {
        let mut what = pin!(what);
        let mut waits = false;
        poll_fn(|context| {
            if let Poll::Ready(got) = what.as_mut().poll(context) {
                return Poll::Ready(Some(got));
            }
            if !waits {
                // What is there at once needs no clock.
                self.set(bound);
                waits = true;
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
    async fn each_wait_has_its_own_bound() {
        let begun = tokio::time::Instant::now();
        let mut timer = Timer::new(Duration::from_secs(7));
        assert_eq!(timer.within(Duration::from_secs(1), ready(7)).await, Some(7));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_bound_holds_whatever_the_timer_was_set_to() {
        for usual in [1, 60_000] {
            let mut timer = Timer::new(Duration::from_millis(usual));
            let begun = Instant::now();
            assert_eq!(timer.within(Duration::from_millis(50), pending::<()>()).await, None);
            let took = begun.elapsed().as_millis();
            assert!((50..5000).contains(&took), "{took} ms");
            // And again, with the timer that has gone off.
            let begun = Instant::now();
            assert_eq!(timer.within(Duration::from_millis(50), pending::<()>()).await, None);
            assert!(begun.elapsed().as_millis() >= 50);
        }
    }
}
