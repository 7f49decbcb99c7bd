//! What the page knows, as a reducer over events: no browser, no clock. Times are parameters,
//! milliseconds of the browser's own clock unless a name says otherwise.

use std::collections::VecDeque;

use wire::Sample;

/// How long the small charts look back.
pub(crate) const WINDOW_MS: u64 = 60_000;

/// Samples kept of one instance. One a second fills the window; the rest is room for a sampler
/// that ticks faster, and a bound for one that runs wild.
const RING: usize = 600;

/// Silence after which figures are old, unless the sampler's own interval is longer: five ticks of
/// one second, so that one late packet does not grey the page.
const STALE_AFTER_MS: f64 = 5_000.0;

/// Everything that is shown. One instance today; a fleet is a map of [`Instance`] by its id.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Dashboard {
    /// How the stream is doing.
    pub(crate) link: Link,
    /// Whose figures these are, once there was a sample.
    pub(crate) instance: Option<Instance>,
    /// The time of the last event.
    pub(crate) now_ms: f64,
}

/// How the stream is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Link {
    /// The first connection is on its way.
    #[default]
    Connecting,
    /// The service answers, but has no sample yet (503).
    Starting,
    /// Samples come in.
    Live,
    /// There is no connection, or it is silent; another try is under way.
    Reconnecting,
}

/// What happened.
#[expect(clippy::large_enum_variant, reason = "one at a time, once a second")]
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// A sample came in.
    Sample(Sample),
    /// The service said that it is still starting.
    Starting,
    /// The connection failed or ended.
    Lost,
    /// Time went by.
    Tick,
}

/// One sampler's figures.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Instance {
    /// The newest sample; its `instance` is the id.
    pub(crate) latest: Sample,
    /// When the newest sample came in.
    pub(crate) received_ms: f64,
    /// The window's samples, oldest first, the newest included.
    history: VecDeque<Point>,
}

/// What the charts keep of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    /// When it was taken, by the clock of the machine that took it.
    pub(crate) time_unix_ms: u64,
    /// How long before that its interval began.
    pub(crate) interval_ms: u64,
    /// Percent, 0 to 100; absent where the machine does not tell.
    pub(crate) cpu: Option<f64>,
    /// Percent, 0 to 100; absent where the machine does not tell.
    pub(crate) ram: Option<f64>,
}

impl Dashboard {
    /// Takes one event in.
    pub(crate) fn apply(&mut self, event: Event, now_ms: f64) {
        self.now_ms = now_ms;
        match event {
            Event::Sample(sample) => {
                if self.take(sample) {
                    self.link = Link::Live;
                }
            }
            Event::Starting => self.link = Link::Starting,
            Event::Lost => self.link = Link::Reconnecting,
            Event::Tick => {
                if self.link == Link::Live && self.is_stale() {
                    self.link = Link::Reconnecting;
                }
            }
        }
    }

    /// How old the figures are, or `None` while there are none.
    pub(crate) fn age_ms(&self) -> Option<f64> {
        let instance = self.instance.as_ref()?;
        Some((self.now_ms - instance.received_ms).max(0.0))
    }

    /// Whether the newest sample should have been followed by another long ago.
    fn is_stale(&self) -> bool {
        let Some(instance) = &self.instance else {
            return false;
        };
        let patience = STALE_AFTER_MS.max(instance.latest.interval_ms as f64 * 3.0);
        self.age_ms().is_some_and(|age| age > patience)
    }

    /// Adds a sample; says whether it was news.
    fn take(&mut self, sample: Sample) -> bool {
        match &mut self.instance {
            Some(instance) if instance.latest.instance == sample.instance => {
                instance.push(sample, self.now_ms)
            }
            _ => {
                self.instance = Some(Instance::new(sample, self.now_ms));
                true
            }
        }
    }
}

impl Instance {
    fn new(latest: Sample, received_ms: f64) -> Self {
        let history = VecDeque::from([Point::of(&latest)]);
        Self { latest, received_ms, history }
    }

    /// A connection that was lost and found may repeat what is known already; that is no news.
    fn push(&mut self, sample: Sample, now_ms: f64) -> bool {
        if sample.sequence <= self.latest.sequence {
            return false;
        }
        let point = Point::of(&sample);
        // The other machine's clock was set back: its old times mean nothing any more.
        if sample.time_unix_ms <= self.latest.time_unix_ms {
            self.history.clear();
        }
        let horizon = point.time_unix_ms.saturating_sub(WINDOW_MS);
        while self.history.len() >= RING
            || self.history.get(1).is_some_and(|second| second.time_unix_ms < horizon)
        {
            self.history.pop_front();
        }
        self.history.push_back(point);
        self.latest = sample;
        self.received_ms = now_ms;
        true
    }

    /// The window's points, oldest first.
    pub(crate) fn history(&self) -> impl Iterator<Item = &Point> {
        self.history.iter()
    }
}

impl Point {
    fn of(sample: &Sample) -> Self {
        Self {
            time_unix_ms: sample.time_unix_ms,
            interval_ms: sample.interval_ms,
            cpu: sample.cpu.map(percent),
            ram: sample.ram.map(percent),
        }
    }

    /// Whether something is missing between `before` and this point: their intervals do not touch.
    pub(crate) fn follows_a_gap(&self, before: &Self) -> bool {
        // Timers are late by fractions of a tick; half a tick is no missing sample.
        let slack = self.interval_ms / 2;
        self.time_unix_ms.saturating_sub(self.interval_ms).saturating_sub(slack)
            > before.time_unix_ms
    }
}

/// A percentage that can be drawn, whatever came over the wire.
pub(crate) fn percent(value: f64) -> f64 {
    if value.is_finite() { value.clamp(0.0, 100.0) } else { 0.0 }
}

/// What a percentage means to an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Below 75 percent.
    Normal,
    /// From 75 percent.
    Warning,
    /// From 90 percent.
    Critical,
}

impl Level {
    /// The level of a percentage.
    pub(crate) fn of(percent: f64) -> Self {
        if percent >= 90.0 {
            Self::Critical
        } else if percent >= 75.0 {
            Self::Warning
        } else {
            Self::Normal
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use wire::{Memory, Processors};

    /// The `sequence`th sample of an instance that ticks once a second.
    pub(crate) fn sample(instance: &str, sequence: u64) -> Sample {
        Sample {
            cpu: Some(12.5),
            ram: Some(34.0),
            instance: instance.to_owned(),
            sequence,
            time_unix_ms: 1_700_000_000_000 + sequence * 1_000,
            interval_ms: 1_000,
            processors: Some(Processors { online: 2, ..Processors::default() }),
            memory: Some(Memory {
                total_bytes: 24 << 30,
                used_bytes: 8 << 30,
                ..Memory::default()
            }),
            load: Some([0.42, 0.3, 0.21]),
            uptime_seconds: Some(11_520.0),
            ..Sample::default()
        }
    }

    fn live(samples: impl IntoIterator<Item = u64>) -> Dashboard {
        let mut dashboard = Dashboard::default();
        for sequence in samples {
            dashboard.apply(Event::Sample(sample("a", sequence)), sequence as f64 * 1_000.0);
        }
        dashboard
    }

    fn length(dashboard: &Dashboard) -> usize {
        dashboard.instance.as_ref().unwrap().history().count()
    }

    #[test]
    fn the_first_sample_makes_the_page_live() {
        let mut dashboard = Dashboard::default();
        assert_eq!(dashboard.link, Link::Connecting);
        assert_eq!(dashboard.age_ms(), None);
        dashboard.apply(Event::Sample(sample("a", 1)), 5.0);
        assert_eq!(dashboard.link, Link::Live);
        assert_eq!(dashboard.age_ms(), Some(0.0));
    }

    #[test]
    fn a_service_without_samples_is_starting_and_then_live() {
        let mut dashboard = Dashboard::default();
        dashboard.apply(Event::Starting, 1.0);
        assert_eq!(dashboard.link, Link::Starting);
        dashboard.apply(Event::Sample(sample("a", 1)), 2.0);
        assert_eq!(dashboard.link, Link::Live);
    }

    #[test]
    fn a_lost_connection_keeps_the_figures_and_counts_their_age() {
        let mut dashboard = live(1..=3);
        dashboard.apply(Event::Lost, 4_000.0);
        dashboard.apply(Event::Tick, 15_000.0);
        assert_eq!(dashboard.link, Link::Reconnecting);
        assert_eq!(dashboard.age_ms(), Some(12_000.0));
        assert_eq!(dashboard.instance.unwrap().latest.sequence, 3);
    }

    #[test]
    fn silence_on_an_open_stream_is_noticed() {
        let mut dashboard = live(1..=1);
        dashboard.apply(Event::Tick, 6_000.0);
        assert_eq!(dashboard.link, Link::Live);
        dashboard.apply(Event::Tick, 6_001.0);
        assert_eq!(dashboard.link, Link::Reconnecting);
    }

    #[test]
    fn a_slow_sampler_is_given_three_of_its_own_intervals() {
        let mut dashboard = Dashboard::default();
        let mut slow = sample("a", 1);
        slow.interval_ms = 10_000;
        dashboard.apply(Event::Sample(slow), 0.0);
        dashboard.apply(Event::Tick, 30_000.0);
        assert_eq!(dashboard.link, Link::Live);
        dashboard.apply(Event::Tick, 30_001.0);
        assert_eq!(dashboard.link, Link::Reconnecting);
    }

    #[test]
    fn what_is_known_already_is_no_news() {
        let mut dashboard = live(1..=5);
        dashboard.apply(Event::Lost, 6_000.0);
        dashboard.apply(Event::Sample(sample("a", 5)), 7_000.0);
        assert_eq!(dashboard.link, Link::Reconnecting);
        assert_eq!(length(&dashboard), 5);
        assert_eq!(dashboard.age_ms(), Some(2_000.0));
    }

    #[test]
    fn another_instance_starts_the_ring_anew() {
        let mut dashboard = live(1..=5);
        dashboard.apply(Event::Sample(sample("b", 1)), 6_000.0);
        assert_eq!(length(&dashboard), 1);
        assert_eq!(dashboard.instance.unwrap().latest.instance, "b");
    }

    #[test]
    fn the_ring_holds_the_window_and_one_point_before_it() {
        let dashboard = live(1..=500);
        let count = length(&dashboard);
        // The point before the window lets the line enter at its left edge.
        assert_eq!(count, 62);
    }

    #[test]
    fn a_sampler_that_runs_wild_cannot_fill_the_memory() {
        let mut dashboard = Dashboard::default();
        for sequence in 1..5_000 {
            let mut fast = sample("a", sequence);
            fast.time_unix_ms = 1_700_000_000_000 + sequence;
            dashboard.apply(Event::Sample(fast), 0.0);
        }
        assert_eq!(length(&dashboard), RING);
    }

    #[test]
    fn a_clock_that_was_set_back_starts_the_ring_anew() {
        let mut dashboard = live(1..=5);
        let mut earlier = sample("a", 6);
        earlier.time_unix_ms = 1_000;
        dashboard.apply(Event::Sample(earlier), 6_000.0);
        assert_eq!(length(&dashboard), 1);
    }

    #[test]
    fn a_missing_sample_is_a_gap_and_a_late_one_is_not() {
        let first = Point::of(&sample("a", 1));
        assert!(!Point::of(&sample("a", 2)).follows_a_gap(&first));
        assert!(Point::of(&sample("a", 3)).follows_a_gap(&first));
        let mut late = sample("a", 2);
        late.time_unix_ms += 400;
        late.interval_ms = 1_400;
        assert!(!Point::of(&late).follows_a_gap(&first));
    }

    #[test]
    fn absurd_values_can_be_drawn() {
        assert!((percent(-3.0) - 0.0).abs() < f64::EPSILON);
        assert!((percent(1e300) - 100.0).abs() < f64::EPSILON);
        assert!((percent(f64::NAN) - 0.0).abs() < f64::EPSILON);
    }

    #[test]
    fn levels_begin_at_75_and_90() {
        assert_eq!(Level::of(74.9), Level::Normal);
        assert_eq!(Level::of(75.0), Level::Warning);
        assert_eq!(Level::of(89.9), Level::Warning);
        assert_eq!(Level::of(90.0), Level::Critical);
    }
}
