//! Circuit breaker of one address, driven by request outcomes. Pure: time and randomness are
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
//! In panic mode, when requests use open addresses too (see `health`), any success closes it.

use std::time::{Duration, Instant};

use super::Failure;

/// Minimum time that a breaker stays closed to count as stable. One that reopens sooner is held
/// open for an increasing time: half of the requests to a bad address may succeed, and a single
/// success must not close it each time.
const STABLE_TIME: Duration = Duration::from_secs(10);

/// Timeout of a probe, after which another one may start: the request may have an endless response.
/// Equal to the maximum backoff.
const PROBE_TIME: Duration = Duration::from_secs(30);

/// Settings of the circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BreakerSettings {
    /// Consecutive failures that open it. Error statuses do not count here: otherwise a client that
    /// finds one failing URL could take an address out of service.
    pub(crate) consecutive_failures: u32,
    /// Failure percentage within `window`, error statuses included, that also opens it.
    pub(crate) failure_percent: u8,
    /// Minimum requests in the window for that: two of three are no meaningful ratio.
    pub(crate) min_requests: u32,
    /// Window for the failure percentage.
    pub(crate) window: Duration,
    /// First backoff.
    pub(crate) min_backoff: Duration,
    /// Maximum backoff.
    pub(crate) max_backoff: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            failure_percent: 50,
            min_requests: 20,
            window: Duration::from_secs(10),
            min_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(30),
        }
    }
}

/// State of the breaker when a request starts; an old request must not affect a newer state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Attempt {
    /// The breaker's generation at that time.
    pub(super) generation: u32,
    /// Id of the probe, if this request is the half-open breaker's probe.
    pub(super) probe: Option<u32>,
}

/// Whether a breaker is open in this generation: each transition increments it, and the first one
/// is 0.
pub(super) const fn is_open_in(generation: u32) -> bool {
    generation % 2 == 1
}

/// Circuit breaker of one address; closed at first.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: State,
    generation: u32,
    /// Failures since the last success.
    consecutive_failures: u32,
    window: Option<Window>,
    /// Number of doublings of the backoff.
    doublings: u32,
    /// Number of times that it reopened soon after it closed.
    relapses: u32,
    closed_at: Option<Instant>,
    /// Number of probes; the id of the next one.
    probes: u32,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    Open {
        /// From then on, one probe at a time may start.
        probe_at: Instant,
        /// A success does not close it before.
        held_until: Instant,
        /// The probe in flight, and its timeout.
        probe: Option<(u32, Instant)>,
    },
}

/// Request counts since a first failure.
#[derive(Debug)]
struct Window {
    since: Instant,
    failures: u64,
    successes: u64,
}

impl Breaker {
    /// Number of transitions.
    pub(super) const fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether requests may pass.
    pub(super) const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether a probe may start, or is in flight.
    pub(super) fn is_half_open(&self, now: Instant) -> bool {
        match self.state {
            State::Closed => false,
            State::Open { probe_at, probe, .. } => probe.is_some() || now >= probe_at,
        }
    }

    /// Time at which the next probe may start; `None` if the breaker is closed.
    pub(super) const fn probe_due(&self) -> Option<Instant> {
        match self.state {
            State::Closed => None,
            State::Open { probe: Some((_, given_up_at)), .. } => Some(given_up_at),
            State::Open { probe: None, probe_at, .. } => Some(probe_at),
        }
    }

    /// Starts the single probe of a half-open breaker. The next one may start after an outcome,
    /// `abandoned`, or a timeout.
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

    /// Reports a successful request; only needed while the breaker is open, because a failure
    /// reports earlier successes. Returns whether the breaker closes.
    pub(super) fn succeeded(&mut self, attempt: Attempt, now: Instant) -> bool {
        attempt.generation == self.generation && self.close(now)
    }

    /// Reports a successful health check. Returns whether the breaker closes.
    pub(super) fn checked(&mut self, now: Instant) -> bool {
        self.close(now)
    }

    /// Reports a failed request, with the number of `successes` since the previous failure. Returns
    /// the backoff, if the breaker opens.
    pub(super) fn failed(
        &mut self,
        attempt: Attempt,
        failure: Failure,
        successes: u64,
        settings: &BreakerSettings,
        now: Instant,
        jitter: u8,
    ) -> Option<Duration> {
        if attempt.generation != self.generation {
            return None;
        }
        match &mut self.state {
            State::Closed => {
                let too_many = self.count(failure, successes, settings, now);
                too_many.then(|| self.open(settings, now, jitter))
            }
            State::Open { probe_at, probe, .. } => {
                let awaited = match *probe {
                    Some((name, _)) => attempt.probe == Some(name),
                    None => now >= *probe_at,
                };
                if awaited {
                    self.doublings = self.doublings.saturating_add(1);
                    *probe = None;
                    *probe_at = now + backoff(settings, self.doublings, jitter);
                }
                None
            }
        }
    }

    /// Reports a request that ended without a result for the address.
    pub(super) fn abandoned(&mut self, attempt: Attempt) {
        if let State::Open { probe, .. } = &mut self.state
            && attempt.generation == self.generation
        {
            probe.take_if(|(name, _)| attempt.probe == Some(*name));
        }
    }

    fn close(&mut self, now: Instant) -> bool {
        let closes = matches!(self.state, State::Open { held_until, .. } if now >= held_until);
        if closes {
            self.state = State::Closed;
            self.generation = self.generation.wrapping_add(1);
            self.consecutive_failures = 0;
            self.window = None;
            self.closed_at = Some(now);
        }
        closes
    }

    /// Counts a failure; returns whether a threshold is reached.
    fn count(
        &mut self,
        failure: Failure,
        successes: u64,
        settings: &BreakerSettings,
        now: Instant,
    ) -> bool {
        if successes > 0 {
            self.consecutive_failures = 0;
        }
        if !matches!(failure, Failure::Status(_)) {
            self.consecutive_failures = self.consecutive_failures.saturating_add(1);
        }
        let window = match &mut self.window {
            Some(window) if now.saturating_duration_since(window.since) < settings.window => {
                window.successes = window.successes.saturating_add(successes);
                window
            }
            // The earlier successes have no known time, so they are not counted.
            over => over.insert(Window { since: now, failures: 0, successes: 0 }),
        };
        window.failures = window.failures.saturating_add(1);
        let requests = window.failures.saturating_add(window.successes);
        let many_in_share = requests >= u64::from(settings.min_requests)
            && window.failures.saturating_mul(100)
                >= requests.saturating_mul(u64::from(settings.failure_percent));
        self.consecutive_failures >= settings.consecutive_failures || many_in_share
    }

    fn open(&mut self, settings: &BreakerSettings, now: Instant, jitter: u8) -> Duration {
        let relapsed =
            self.closed_at.is_some_and(|at| now.saturating_duration_since(at) < STABLE_TIME);
        self.relapses = if relapsed { self.relapses.saturating_add(1) } else { 0 };
        self.doublings = self.relapses;
        let backoff = backoff(settings, self.doublings, jitter);
        let probe_at = now + backoff;
        let held_until = if relapsed { probe_at } else { now };
        self.state = State::Open { probe_at, held_until, probe: None };
        self.generation = self.generation.wrapping_add(1);
        backoff
    }
}

/// Backoff, reduced by up to a quarter at random, which spreads the probes of addresses.
fn backoff(settings: &BreakerSettings, doublings: u32, jitter: u8) -> Duration {
    let doubled = settings.min_backoff.saturating_mul(1 << doublings.min(16));
    let whole = doubled.min(settings.max_backoff);
    whole.saturating_sub(whole / 4 / 256 * u32::from(jitter))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A breaker with default settings and no randomness.
    struct Tester {
        breaker: Breaker,
        now: Instant,
    }

    impl Tester {
        fn new() -> Self {
            Self { breaker: Breaker::default(), now: Instant::now() }
        }

        fn attempt(&self) -> Attempt {
            Attempt { generation: self.breaker.generation(), probe: None }
        }

        fn fail(&mut self, attempt: Attempt, failure: Failure, successes: u64) -> Option<Duration> {
            let settings = BreakerSettings::default();
            self.breaker.failed(attempt, failure, successes, &settings, self.now, 0)
        }

        fn refuse(&mut self, timeouts: u32) {
            (0..timeouts).for_each(|_| {
                self.fail(self.attempt(), Failure::Refused, 0);
            });
        }

        fn succeed(&mut self) -> bool {
            self.breaker.succeeded(self.attempt(), self.now)
        }

        fn probe(&mut self) -> Option<Attempt> {
            self.breaker.try_probe(self.now)
        }
    }

    #[test]
    fn five_consecutive_failures_open_it() {
        let mut it = Tester::new();
        it.refuse(4);
        assert!(it.breaker.is_closed());
        assert_eq!(it.fail(it.attempt(), Failure::Timeout, 0), Some(SECOND));
        assert!(!it.breaker.is_closed());
    }

    #[test]
    fn a_success_resets_the_consecutive_failures() {
        let mut it = Tester::new();
        it.refuse(4);
        it.fail(it.attempt(), Failure::Refused, 1);
        it.refuse(3);
        assert!(it.breaker.is_closed());
        it.refuse(1);
        assert!(!it.breaker.is_closed());
    }

    #[test]
    fn a_failure_rate_of_half_opens_it_only_with_enough_requests() {
        let mut it = Tester::new();
        for _ in 0..10 {
            assert!(it.breaker.is_closed());
            it.fail(it.attempt(), Failure::Reset, 1);
        }
        // The first success was before the window.
        assert!(it.breaker.is_closed(), "19 requests");
        it.fail(it.attempt(), Failure::Reset, 1);
        assert!(!it.breaker.is_closed());
    }

    #[test]
    fn a_few_failures_among_many_requests_do_not_open_it() {
        let mut it = Tester::new();
        for _ in 0..10_000 {
            it.now += Duration::from_millis(10);
            it.fail(it.attempt(), Failure::Reset, 9);
        }
        assert!(it.breaker.is_closed());
    }

    #[test]
    fn error_statuses_open_it_only_by_their_rate() {
        let mut it = Tester::new();
        for _ in 0..19 {
            it.fail(it.attempt(), Failure::Status(503), 0);
        }
        assert!(it.breaker.is_closed());
        it.fail(it.attempt(), Failure::Status(503), 0);
        assert!(!it.breaker.is_closed());
    }

    #[test]
    fn failures_in_different_windows_do_not_add_up() {
        let mut it = Tester::new();
        for _ in 0..100 {
            it.now += SECOND;
            it.fail(it.attempt(), Failure::Status(500), 0);
        }
        assert!(it.breaker.is_closed());
    }

    #[test]
    fn after_the_backoff_one_probe_at_a_time_may_start() {
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
    fn a_failed_probe_doubles_the_backoff_up_to_its_maximum() {
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
    fn an_abandoned_probe_allows_the_next() {
        let mut it = Tester::new();
        it.refuse(5);
        it.now += SECOND;
        let probe = it.probe().unwrap();
        it.breaker.abandoned(probe);
        let next = it.probe().unwrap();
        // A second report must not free the next probe's slot.
        it.breaker.abandoned(probe);
        assert_eq!(it.probe(), None);
        assert_ne!(probe, next);
    }

    #[test]
    fn a_probe_that_never_ends_times_out() {
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
    fn requests_from_before_a_transition_have_no_effect() {
        let mut it = Tester::new();
        let before = it.attempt();
        it.refuse(5);
        assert!(!it.breaker.succeeded(before, it.now));
        it.now += SECOND;
        it.fail(before, Failure::Timeout, 0);
        assert!(it.probe().is_some(), "it was no failed probe");
    }

    #[test]
    fn the_first_success_ends_an_outage_of_any_length() {
        let mut it = Tester::new();
        it.refuse(5);
        for _ in 0..600 {
            it.now += SECOND / 10;
            it.refuse(1);
        }
        assert!(it.succeed());
    }

    #[test]
    fn a_flapping_breaker_is_held_open_for_increasing_times() {
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
        it.now += STABLE_TIME;
        it.refuse(5);
        assert!(it.succeed(), "it had been steady");
    }

    #[test]
    fn a_successful_check_closes_it() {
        let mut it = Tester::new();
        it.refuse(5);
        assert!(it.breaker.checked(it.now));
        assert!(!it.breaker.checked(it.now), "it was closed already");
    }

    #[test]
    fn jitter_shortens_a_backoff_by_a_quarter_at_most() {
        let settings = BreakerSettings::default();
        for doublings in [0, 3, 5, u32::MAX] {
            let whole = backoff(&settings, doublings, 0);
            let shortest = backoff(&settings, doublings, u8::MAX);
            assert!(shortest < whole && shortest >= whole / 4 * 3);
            assert!(whole <= settings.max_backoff);
        }
    }
}
