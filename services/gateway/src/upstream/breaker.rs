//! The circuit breaker of one address, fed by what becomes of requests. Pure: time and chance are
//! parameters.
//!
//! ```text
//!            too many failures              backoff is over
//!   closed ────────────────────► open ───────────────────────► half-open: one request
//!      ▲                           ▲     failed: doubled backoff    │        tries it
//!      │                           └────────────────────────────────┤
//!      └────────────────────────────────────────────────────────────┘ succeeded
//! ```
//!
//! While all are used in spite of being open (see `health`), any success closes it.

use std::time::{Duration, Instant};

use super::Failure;

/// For so long a breaker must stay closed to count as steady. One that opens sooner was closed too
/// early, and is held open for a growing while: half of the requests may succeed on a bad address,
/// and each of them must not close it.
const STEADY: Duration = Duration::from_secs(10);

/// A probe without an outcome after so long is given up, and another one may go: it may be a
/// request whose answer never ends. As long as the longest backoff.
const PROBE_TIME: Duration = Duration::from_secs(30);

/// When requests give an address up, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BreakerSettings {
    /// So many failures without a success between them open it. Answers with a bad status do not
    /// count here: a client that finds one URL that fails could shut off an address with it.
    pub(crate) failures_in_a_row: u32,
    /// So many of the requests in `window` failing, bad statuses included, open it too.
    pub(crate) failure_percent: u8,
    /// But only of so many requests: two of three are no ratio.
    pub(crate) requests_at_least: u32,
    /// The time in which that share is counted.
    pub(crate) window: Duration,
    /// The first backoff.
    pub(crate) shortest_backoff: Duration,
    /// What doubling ends at.
    pub(crate) longest_backoff: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failures_in_a_row: 5,
            failure_percent: 50,
            requests_at_least: 20,
            window: Duration::from_secs(10),
            shortest_backoff: Duration::from_secs(1),
            longest_backoff: Duration::from_secs(30),
        }
    }
}

/// When a request went out: what is known since must not be judged by what was known before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Attempt {
    /// The breaker's era at that time.
    pub(super) generation: u32,
    /// Set if this request is what the half-open breaker waits for.
    pub(super) probe: Option<u32>,
}

/// Whether a breaker is open in this era: each change begins another one, and the first is 0.
pub(super) const fn is_open_in(generation: u32) -> bool {
    generation % 2 == 1
}

/// The breaker of one address.
#[derive(Debug)]
pub(super) struct Breaker {
    state: State,
    generation: u32,
    /// Failures since the last success.
    in_a_row: u32,
    window: Option<Window>,
    /// How often the backoff is doubled.
    doublings: u32,
    /// How often it opened again soon after it had closed.
    relapses: u32,
    closed_at: Option<Instant>,
    /// Probes so far: the name of the next one.
    probes: u32,
}

#[derive(Debug)]
enum State {
    Closed,
    Open {
        /// From then on one request at a time may try.
        probe_at: Instant,
        /// No success closes it before.
        held_until: Instant,
        /// The one that tries, and when it is given up.
        probe: Option<(u32, Instant)>,
    },
}

/// Requests since a first failure.
#[derive(Debug)]
struct Window {
    since: Instant,
    failures: u64,
    successes: u64,
}

impl Breaker {
    /// A closed one: nothing is known against the address.
    pub(super) const fn new() -> Self {
        Self {
            state: State::Closed,
            generation: 0,
            in_a_row: 0,
            window: None,
            doublings: 0,
            relapses: 0,
            closed_at: None,
            probes: 0,
        }
    }

    /// The number of changes so far.
    pub(super) const fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether requests may go.
    pub(super) const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether one request may go, or has gone and is waited for.
    pub(super) fn is_half_open(&self, now: Instant) -> bool {
        match self.state {
            State::Closed => false,
            State::Open { probe_at, probe, .. } => probe.is_some() || now >= probe_at,
        }
    }

    /// When the next probe may go; `None` when it is closed.
    pub(super) const fn probe_due(&self) -> Option<Instant> {
        match self.state {
            State::Closed => None,
            State::Open { probe: Some((_, given_up_at)), .. } => Some(given_up_at),
            State::Open { probe: None, probe_at, .. } => Some(probe_at),
        }
    }

    /// Takes the one place that a half-open breaker has. It is free again after an outcome,
    /// `abandoned`, or too long a time.
    pub(super) fn try_probe(&mut self, now: Instant) -> Option<Attempt> {
        if now < self.probe_due()? {
            return None;
        }
        let State::Open { probe, .. } = &mut self.state else { return None };
        let name = self.probes;
        self.probes = name.wrapping_add(1);
        *probe = Some((name, now + PROBE_TIME));
        Some(Attempt { generation: self.generation, probe: Some(name) })
    }

    /// A request was answered. Only worth a call while open; a caller that counts successes of a
    /// closed breaker tells them with the next failure. Returns whether this closed it.
    pub(super) fn succeeded(&mut self, tried: Attempt, now: Instant) -> bool {
        tried.generation == self.generation && self.close(now)
    }

    /// A check found the address well. Returns whether this closed the breaker.
    pub(super) fn checked(&mut self, now: Instant) -> bool {
        self.close(now)
    }

    /// A request failed, `successes` after the last one that did. Returns for how long the address
    /// is left alone, if this opened it.
    pub(super) fn failed(
        &mut self,
        tried: Attempt,
        failure: Failure,
        successes: u64,
        settings: &BreakerSettings,
        now: Instant,
        chance: u8,
    ) -> Option<Duration> {
        if tried.generation != self.generation {
            return None;
        }
        match &mut self.state {
            State::Closed => {
                let too_many = self.count(failure, successes, settings, now);
                too_many.then(|| self.open(settings, now, chance))
            }
            State::Open { probe_at, probe, .. } => {
                let awaited = match *probe {
                    Some((name, _)) => tried.probe == Some(name),
                    None => now >= *probe_at,
                };
                if awaited {
                    self.doublings = self.doublings.saturating_add(1);
                    *probe = None;
                    *probe_at = now + backoff(settings, self.doublings, chance);
                }
                None
            }
        }
    }

    /// A request ended without telling anything about the address.
    pub(super) fn abandoned(&mut self, tried: Attempt) {
        if let State::Open { probe, .. } = &mut self.state
            && tried.generation == self.generation
        {
            probe.take_if(|(name, _)| tried.probe == Some(*name));
        }
    }

    fn close(&mut self, now: Instant) -> bool {
        let closes = matches!(self.state, State::Open { held_until, .. } if now >= held_until);
        if closes {
            self.state = State::Closed;
            self.generation = self.generation.wrapping_add(1);
            self.in_a_row = 0;
            self.window = None;
            self.closed_at = Some(now);
        }
        closes
    }

    /// Returns whether it is too much now.
    fn count(
        &mut self,
        failure: Failure,
        successes: u64,
        settings: &BreakerSettings,
        now: Instant,
    ) -> bool {
        if successes > 0 {
            self.in_a_row = 0;
        }
        if !matches!(failure, Failure::Status(_)) {
            self.in_a_row = self.in_a_row.saturating_add(1);
        }
        let window = match &mut self.window {
            Some(window) if now.saturating_duration_since(window.since) < settings.window => {
                window.successes = window.successes.saturating_add(successes);
                window
            }
            // The successes before were at any time, so they do not count.
            over => over.insert(Window { since: now, failures: 0, successes: 0 }),
        };
        window.failures = window.failures.saturating_add(1);
        let requests = window.failures.saturating_add(window.successes);
        let many_in_share = requests >= u64::from(settings.requests_at_least)
            && window.failures.saturating_mul(100)
                >= requests.saturating_mul(u64::from(settings.failure_percent));
        self.in_a_row >= settings.failures_in_a_row || many_in_share
    }

    fn open(&mut self, settings: &BreakerSettings, now: Instant, chance: u8) -> Duration {
        let relapsed = self.closed_at.is_some_and(|at| now.saturating_duration_since(at) < STEADY);
        self.relapses = if relapsed { self.relapses.saturating_add(1) } else { 0 };
        self.doublings = self.relapses;
        let backoff = backoff(settings, self.doublings, chance);
        let probe_at = now + backoff;
        let held_until = if relapsed { probe_at } else { now };
        self.state = State::Open { probe_at, held_until, probe: None };
        self.generation = self.generation.wrapping_add(1);
        backoff
    }
}

/// Up to a quarter shorter by chance, so that what failed together is not tried together.
fn backoff(settings: &BreakerSettings, doublings: u32, chance: u8) -> Duration {
    let doubled = settings.shortest_backoff.saturating_mul(1 << doublings.min(16));
    let whole = doubled.min(settings.longest_backoff);
    whole.saturating_sub(whole / 4 / 256 * u32::from(chance))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// One with the usual settings and no chance in it.
    struct Tester {
        breaker: Breaker,
        now: Instant,
    }

    impl Tester {
        fn new() -> Self {
            Self { breaker: Breaker::new(), now: Instant::now() }
        }

        fn tried(&self) -> Attempt {
            Attempt { generation: self.breaker.generation(), probe: None }
        }

        fn fail(&mut self, tried: Attempt, failure: Failure, successes: u64) -> Option<Duration> {
            let settings = BreakerSettings::default();
            self.breaker.failed(tried, failure, successes, &settings, self.now, 0)
        }

        fn refuse(&mut self, timeouts: u32) {
            (0..timeouts).for_each(|_| {
                self.fail(self.tried(), Failure::Refused, 0);
            });
        }

        fn succeed(&mut self) -> bool {
            self.breaker.succeeded(self.tried(), self.now)
        }

        fn probe(&mut self) -> Option<Attempt> {
            self.breaker.try_probe(self.now)
        }
    }

    #[test]
    fn five_failures_in_a_row_open_it() {
        let mut it = Tester::new();
        it.refuse(4);
        assert!(it.breaker.is_closed());
        assert_eq!(it.fail(it.tried(), Failure::Timeout, 0), Some(SECOND));
        assert!(!it.breaker.is_closed());
    }

    #[test]
    fn a_success_between_begins_the_row_anew() {
        let mut it = Tester::new();
        it.refuse(4);
        it.fail(it.tried(), Failure::Refused, 1);
        it.refuse(3);
        assert!(it.breaker.is_closed());
        it.refuse(1);
        assert!(!it.breaker.is_closed());
    }

    #[test]
    fn half_of_many_requests_open_it_and_half_of_few_do_not() {
        let mut it = Tester::new();
        for _ in 0..10 {
            assert!(it.breaker.is_closed());
            it.fail(it.tried(), Failure::Reset, 1);
        }
        // The first success was before the window.
        assert!(it.breaker.is_closed(), "19 requests");
        it.fail(it.tried(), Failure::Reset, 1);
        assert!(!it.breaker.is_closed());
    }

    #[test]
    fn a_few_failures_among_many_requests_do_not_open_it() {
        let mut it = Tester::new();
        for _ in 0..10_000 {
            it.now += Duration::from_millis(10);
            it.fail(it.tried(), Failure::Reset, 9);
        }
        assert!(it.breaker.is_closed());
    }

    #[test]
    fn bad_statuses_open_it_only_by_their_share() {
        let mut it = Tester::new();
        for _ in 0..19 {
            it.fail(it.tried(), Failure::Status(503), 0);
        }
        assert!(it.breaker.is_closed());
        it.fail(it.tried(), Failure::Status(503), 0);
        assert!(!it.breaker.is_closed());
    }

    #[test]
    fn failures_far_apart_are_no_share() {
        let mut it = Tester::new();
        for _ in 0..100 {
            it.now += SECOND;
            it.fail(it.tried(), Failure::Status(500), 0);
        }
        assert!(it.breaker.is_closed());
    }

    #[test]
    fn after_the_backoff_one_probe_at_a_time_may_go() {
        let mut it = Tester::new();
        it.refuse(5);
        assert_eq!(it.probe(), None);
        it.now += SECOND;
        let probe = it.probe().unwrap();
        assert_eq!(it.probe(), None);
        assert!(it.breaker.is_half_open(it.now));
        assert!(it.breaker.succeeded(probe, it.now));
        assert!(it.breaker.is_closed());
    }

    #[test]
    fn a_failed_probe_doubles_the_backoff_up_to_its_bound() {
        let mut it = Tester::new();
        it.refuse(5);
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            it.now += Duration::from_millis(seconds * 1000 - 1);
            assert_eq!(it.probe(), None, "before {seconds} s");
            it.now += Duration::from_millis(1);
            let probe = it.probe().unwrap();
            it.fail(probe, Failure::Refused, 0);
        }
    }

    #[test]
    fn a_probe_that_tells_nothing_makes_room_for_the_next() {
        let mut it = Tester::new();
        it.refuse(5);
        it.now += SECOND;
        let probe = it.probe().unwrap();
        it.breaker.abandoned(probe);
        let next = it.probe().unwrap();
        // Telling it twice must not free the next one's place.
        it.breaker.abandoned(probe);
        assert_eq!(it.probe(), None);
        assert_ne!(probe, next);
    }

    #[test]
    fn a_probe_that_never_ends_is_given_up() {
        let mut it = Tester::new();
        it.refuse(5);
        it.now += SECOND;
        let lost = it.probe().unwrap();
        it.now += PROBE_TIME;
        let next = it.probe().unwrap();
        it.fail(lost, Failure::Timeout, 0);
        it.now += PROBE_TIME.checked_sub(SECOND).unwrap();
        assert_eq!(it.probe(), None, "the next one is still out");
        assert!(it.breaker.succeeded(next, it.now));
    }

    #[test]
    fn what_went_out_before_it_opened_tells_nothing_any_more() {
        let mut it = Tester::new();
        let before = it.tried();
        it.refuse(5);
        assert!(!it.breaker.succeeded(before, it.now));
        it.now += SECOND;
        it.fail(before, Failure::Timeout, 0);
        assert!(it.probe().is_some(), "it was no failed probe");
    }

    #[test]
    fn an_outage_ends_with_the_first_success_however_long_it_was() {
        let mut it = Tester::new();
        it.refuse(5);
        for _ in 0..600 {
            it.now += SECOND / 10;
            it.refuse(1);
        }
        assert!(it.succeed());
    }

    #[test]
    fn one_that_relapses_is_held_open_for_longer_and_longer() {
        let mut it = Tester::new();
        it.refuse(5);
        assert!(it.succeed());
        for seconds in [2, 4, 8, 16, 30, 30] {
            it.refuse(5);
            it.now += Duration::from_millis(seconds * 1000 - 1);
            assert!(!it.succeed(), "before {seconds} s");
            assert!(!it.breaker.checked(it.now));
            it.now += Duration::from_millis(1);
            assert!(it.succeed(), "after {seconds} s");
        }
        it.now += STEADY;
        it.refuse(5);
        assert!(it.succeed(), "it had been steady");
    }

    #[test]
    fn a_good_check_closes_it() {
        let mut it = Tester::new();
        it.refuse(5);
        assert!(it.breaker.checked(it.now));
        assert!(!it.breaker.checked(it.now), "it was closed already");
    }

    #[test]
    fn chance_shortens_a_backoff_by_a_quarter_at_most() {
        let settings = BreakerSettings::default();
        for doublings in [0, 3, 5, u32::MAX] {
            let whole = backoff(&settings, doublings, 0);
            let shortest = backoff(&settings, doublings, u8::MAX);
            assert!(shortest < whole && shortest >= whole / 4 * 3);
            assert!(whole <= settings.longest_backoff);
        }
    }
}
