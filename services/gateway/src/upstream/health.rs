//! Health of an address, derived from requests (circuit breaker) and health checks, and the panic
//! threshold. Pure: time and randomness are parameters.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Failure;
use super::breaker::{Attempt, Breaker, BreakerSettings};

/// Settings of active health checks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CheckSettings {
    /// Interval between the end of one check and the next, reduced by up to a quarter at random.
    pub(crate) every: Duration,
    /// Timeout for connection and response together.
    pub(crate) bound: Duration,
    /// Consecutive successes that make an unhealthy address healthy.
    pub(crate) healthy_threshold: u32,
    /// Consecutive failures that make a healthy address unhealthy.
    pub(crate) unhealthy_threshold: u32,
}

impl Default for CheckSettings {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(5),
            bound: Duration::from_secs(1),
            healthy_threshold: 1,
            unhealthy_threshold: 3,
        }
    }
}

/// Path of the health check, such as `/healthz`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CheckPath(Arc<str>);

impl std::fmt::Display for CheckPath {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl CheckPath {
    /// Parses a path with an optional query, as allowed in a request line.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        (text.starts_with('/') && visible && text.len() <= 1024).then(|| Self(text.into()))
    }
}

/// State of an address, for logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum State {
    /// Receives requests.
    Healthy,
    /// Ejected by consecutive failed checks.
    Unhealthy,
    /// Ejected by failed requests; the backoff is running.
    Open,
    /// The backoff is over: one probe request at a time.
    HalfOpen,
}

impl State {
    /// Name of the state: a label for metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// State change of an address, for the log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Change {
    /// Failed requests opened the breaker: the last failure and the backoff.
    Opened(Failure, Duration),
    /// A successful request or check closed the breaker.
    Closed,
    /// Too many checks failed; the last failure.
    Unhealthy(Failure),
    /// Enough checks succeeded.
    Healthy,
}

/// Health of one address.
#[derive(Debug)]
pub(super) struct Health {
    breaker: Breaker,
    /// False after too many failed checks, and never without checks: a new address receives traffic
    /// before the first request or check.
    healthy: bool,
    /// Consecutive checks that contradict `healthy`.
    opposite_checks: u32,
    last_failure: Option<(Failure, Instant)>,
}

impl Health {
    /// A healthy address without failures.
    pub(super) fn new() -> Self {
        Self { breaker: Breaker::default(), healthy: true, opposite_checks: 0, last_failure: None }
    }

    /// Whether requests may use the address. Does not change with time alone.
    pub(super) const fn is_healthy(&self) -> bool {
        self.healthy && self.breaker.is_closed()
    }

    /// The breaker's generation.
    pub(super) const fn generation(&self) -> u32 {
        self.breaker.generation()
    }

    /// Current state.
    pub(super) fn state(&self, now: Instant) -> State {
        if !self.healthy {
            State::Unhealthy
        } else if self.breaker.is_half_open(now) {
            State::HalfOpen
        } else if self.breaker.is_closed() {
            State::Healthy
        } else {
            State::Open
        }
    }

    /// The last failed request or check, and its time.
    pub(super) const fn last_failure(&self) -> Option<(Failure, Instant)> {
        self.last_failure
    }

    /// Time at which a request may probe it; `None` if no probe is necessary, or the checks must
    /// succeed first.
    pub(super) fn probe_due(&self) -> Option<Instant> {
        self.breaker.probe_due().filter(|_| self.healthy)
    }

    /// Starts the single probe.
    pub(super) fn try_probe(&mut self, now: Instant) -> Option<Attempt> {
        if self.healthy { self.breaker.try_probe(now) } else { None }
    }

    /// Reports a successful request; see [`Breaker::succeeded`].
    pub(super) fn succeeded(&mut self, attempt: Attempt, now: Instant) -> Option<Change> {
        self.breaker.succeeded(attempt, now).then_some(Change::Closed)
    }

    /// Reports a failed request; see [`Breaker::failed`].
    pub(super) fn failed(
        &mut self,
        attempt: Attempt,
        failure: Failure,
        successes: u64,
        settings: &BreakerSettings,
        now: Instant,
        jitter: u8,
    ) -> Option<Change> {
        self.last_failure = Some((failure, now));
        let backoff = self.breaker.failed(attempt, failure, successes, settings, now, jitter);
        backoff.map(|backoff| Change::Opened(failure, backoff))
    }

    /// Reports a request without a result.
    pub(super) fn abandoned(&mut self, attempt: Attempt) {
        self.breaker.abandoned(attempt);
    }

    /// Reports the outcome of a check. A successful one also closes the breaker.
    pub(super) fn checked(
        &mut self,
        outcome: Result<(), Failure>,
        settings: &CheckSettings,
        now: Instant,
    ) -> Option<Change> {
        if let Err(failure) = outcome {
            self.last_failure = Some((failure, now));
        }
        if outcome.is_ok() == self.healthy {
            self.opposite_checks = 0;
        } else {
            self.opposite_checks = self.opposite_checks.saturating_add(1);
        }
        let needed =
            if self.healthy { settings.unhealthy_threshold } else { settings.healthy_threshold };
        let flips = self.opposite_checks >= needed.max(1);
        if flips {
            self.healthy = !self.healthy;
            self.opposite_checks = 0;
        }
        let closed = outcome.is_ok() && self.breaker.checked(now);
        match outcome {
            Err(failure) if flips => Some(Change::Unhealthy(failure)),
            Ok(()) if flips => Some(Change::Healthy),
            _ => closed.then_some(Change::Closed),
        }
    }
}

/// Whether the panic threshold is reached: see
/// [`PoolSettings::panic_below_percent`](super::PoolSettings::panic_below_percent).
pub(super) const fn is_panic(healthy: usize, all: usize, panic_below_percent: u8) -> bool {
    // No pool has 2^57 addresses, so this does not overflow.
    healthy * 100 < all * panic_below_percent as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LONGEST: Duration = Duration::from_secs(30);

    #[test]
    fn three_failed_checks_make_it_unhealthy_and_one_success_healthy_again() {
        let (settings, now) = (CheckSettings::default(), Instant::now());
        let mut it = Health::new();
        let bad = Err(Failure::Status(500));
        assert_eq!(it.checked(bad, &settings, now), None);
        assert_eq!(it.checked(bad, &settings, now), None);
        assert!(it.is_healthy());
        assert_eq!(it.checked(bad, &settings, now), Some(Change::Unhealthy(Failure::Status(500))));
        assert_eq!(it.state(now), State::Unhealthy);
        assert_eq!(it.checked(bad, &settings, now), None, "it is said once");
        assert_eq!(it.checked(Ok(()), &settings, now), Some(Change::Healthy));
        assert!(it.is_healthy());
    }

    #[test]
    fn a_successful_check_resets_the_count_of_failed_ones() {
        let (settings, now) = (CheckSettings::default(), Instant::now());
        let mut it = Health::new();
        for _ in 0..10 {
            for outcome in [Err(Failure::Timeout), Err(Failure::Timeout), Ok(())] {
                assert_eq!(it.checked(outcome, &settings, now), None);
            }
        }
        assert!(it.is_healthy());
    }

    #[test]
    fn a_successful_check_closes_an_open_breaker() {
        let now = Instant::now();
        let mut it = Health::new();
        refuse(&mut it, 5, now);
        assert_eq!(it.state(now), State::Open);
        assert_eq!(it.checked(Ok(()), &CheckSettings::default(), now), Some(Change::Closed));
        assert_eq!(it.state(now), State::Healthy);
    }

    #[test]
    fn an_unhealthy_address_gets_no_probe() {
        let now = Instant::now();
        let mut it = Health::new();
        refuse(&mut it, 5, now);
        for _ in 0..3 {
            it.checked(Err(Failure::Refused), &CheckSettings::default(), now);
        }
        assert_eq!(it.probe_due(), None);
        assert_eq!(it.try_probe(now + LONGEST), None);
    }

    #[test]
    fn panic_mode_begins_below_the_threshold() {
        assert!(!is_panic(1, 2, 50) && !is_panic(2, 4, 50) && !is_panic(2, 3, 50));
        assert!(is_panic(0, 1, 50) && is_panic(1, 3, 50) && is_panic(499, 1000, 50));
        assert!(!is_panic(0, 0, 50) && !is_panic(0, 5, 0) && is_panic(4, 5, 100));
    }

    fn refuse(it: &mut Health, timeouts: u32, now: Instant) {
        for _ in 0..timeouts {
            let attempt = Attempt { generation: it.generation(), probe: None };
            it.failed(attempt, Failure::Refused, 0, &BreakerSettings::default(), now, 0);
        }
    }

    /// Events of an address; numbers select a request in flight.
    #[derive(Clone, Debug)]
    enum Event {
        Wait(u64),
        Request,
        Probe,
        Succeeds(usize),
        Fails(usize, u64, bool),
        IsAbandoned(usize),
        Check(bool),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            2 => (0_u64..20_000).prop_map(Event::Wait),
            3 => Just(Event::Request),
            3 => Just(Event::Probe),
            1 => any::<usize>().prop_map(Event::Succeeds),
            6 => (any::<usize>(), 0_u64..3, any::<bool>())
                .prop_map(|(which, successes, hard)| Event::Fails(which, successes, hard)),
            1 => any::<usize>().prop_map(Event::IsAbandoned),
            2 => any::<bool>().prop_map(Event::Check),
        ]
    }

    /// An address and its requests in flight.
    struct World {
        it: Health,
        now: Instant,
        out: Vec<(Attempt, Instant)>,
        closed_by: Option<Change>,
    }

    impl World {
        fn new() -> Self {
            Self { it: Health::new(), now: Instant::now(), out: Vec::new(), closed_by: None }
        }

        fn take(&mut self, which: usize) -> Option<Attempt> {
            (!self.out.is_empty()).then(|| self.out.swap_remove(which % self.out.len()).0)
        }

        fn happens(&mut self, event: &Event, jitter: u8) {
            let (breaker, check) = (BreakerSettings::default(), CheckSettings::default());
            let now = self.now;
            match *event {
                Event::Wait(milliseconds) => self.now += Duration::from_millis(milliseconds),
                Event::Request => {
                    self.out.push((Attempt { generation: self.it.generation(), probe: None }, now));
                }
                Event::Probe => {
                    self.out.extend(self.it.try_probe(now).map(|attempt| (attempt, now)));
                }
                Event::Succeeds(which) => {
                    if let Some(attempt) = self.take(which) {
                        self.closed_by = self.it.succeeded(attempt, now);
                    }
                }
                Event::Fails(which, successes, hard) => {
                    let failure = if hard { Failure::Reset } else { Failure::Status(500) };
                    if let Some(attempt) = self.take(which) {
                        self.it.failed(attempt, failure, successes, &breaker, now, jitter);
                    }
                }
                Event::IsAbandoned(which) => {
                    if let Some(attempt) = self.take(which) {
                        self.it.abandoned(attempt);
                    }
                }
                Event::Check(good) => {
                    let outcome = if good { Ok(()) } else { Err(Failure::Timeout) };
                    self.it.checked(outcome, &check, now);
                }
            }
        }

        /// Probes of the current generation that have neither ended nor timed out.
        fn probes_out(&self) -> usize {
            let is_probe = |(attempt, since): &&(Attempt, Instant)| {
                attempt.probe.is_some()
                    && attempt.generation == self.it.generation()
                    && self.now < *since + LONGEST
            };
            self.out.iter().filter(is_probe).count()
        }
    }

    fn worlds() -> impl Strategy<Value = World> {
        proptest::collection::vec((event(), any::<u8>()), 0..60).prop_map(|events| {
            let mut world = World::new();
            for (event, jitter) in &events {
                world.happens(event, *jitter);
            }
            world
        })
    }

    impl std::fmt::Debug for World {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.it.fmt(f)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn there_is_never_more_than_one_probe(
            events in proptest::collection::vec((event(), any::<u8>()), 0..60),
        ) {
            let mut world = World::new();
            for (event, jitter) in &events {
                world.happens(event, *jitter);
                prop_assert!(world.probes_out() <= 1);
                let open = world.it.generation() % 2 == 1;
                prop_assert_eq!(world.it.is_healthy(), world.it.healthy && !open);
            }
        }

        #[test]
        fn no_address_stays_unusable(mut world in worlds()) {
            // A single successful check makes an unhealthy address healthy.
            world.happens(&Event::Check(true), 0);
            prop_assert!(world.it.healthy);
            // In any state, a probe may start after the maximum backoff, and a success closes the
            // breaker.
            world.now += LONGEST;
            if !world.it.is_healthy() {
                prop_assert_eq!(world.it.state(world.now), State::HalfOpen);
                let probe = world.it.try_probe(world.now);
                prop_assert!(probe.is_some());
                let change = world.it.succeeded(probe.unwrap(), world.now);
                prop_assert_eq!(change, Some(Change::Closed));
            }
            prop_assert!(world.it.is_healthy());
        }

        #[test]
        fn either_all_or_only_healthy_addresses_are_used_and_never_none(
            worlds in proptest::collection::vec(worlds(), 1..5),
            percent in 0_u8..=100,
        ) {
            let healthy = worlds.iter().filter(|world| world.it.is_healthy()).count();
            let panic = is_panic(healthy, worlds.len(), percent);
            let threshold = worlds.len() as f64 * f64::from(percent) / 100.0;
            prop_assert_eq!(panic, (healthy as f64) < threshold);
            prop_assert!(percent == 0 || panic || healthy > 0);
        }
    }
}
