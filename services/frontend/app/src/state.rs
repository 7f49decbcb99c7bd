//! What the page knows, as a reducer over events: no browser, no clock. Times are parameters,
//! milliseconds of the browser's own clock unless a name says otherwise.

use crate::decode::{History, Reading, Row};
use crate::metrics::Metric;
use crate::panels::{PANELS, TILES, Tile, Unit};
use crate::preferences::{RANGES, Settings, THEMES, ViewState};

/// Rows kept of one instance: ten minutes at one a second, and room for two clocks that differ.
const RING: usize = 660;

/// The shortest time that a row of the ring covers: samples that come faster share one.
const ROW_MS: f64 = 1_000.0;

/// The ring's window.
const LIVE_MS: f64 = 600_000.0;

/// Silence after which figures are old, unless the sampler's own interval is longer: five ticks of
/// one second, so that one late packet does not grey the page.
const STALE_AFTER_MS: f64 = 5_000.0;

/// How long it is said that another instance answers: long enough to be read after a look away.
const NOTICE_MS: f64 = 60_000.0;

/// Everything that is shown. One instance today; a fleet is many of these by their instance.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dashboard {
    /// How the stream is doing.
    pub(crate) link: Link,
    /// The newest sample.
    pub(crate) latest: Option<Reading>,
    /// The time of the last event.
    pub(crate) now_ms: f64,
    /// What the address says.
    pub(crate) view: ViewState,
    /// What the browser's storage says.
    pub(crate) settings: Settings,
    /// What is looked at instead of the last minutes up to now.
    pub(crate) frozen: Option<(f64, f64)>,
    /// The time under the pointer, by the machine's clock.
    pub(crate) hover: Option<f64>,
    /// Where a drag began, by the machine's clock.
    pub(crate) drag: Option<f64>,
    /// Whether each panel's table is open.
    pub(crate) tables: [bool; PANELS.len()],
    /// When the newest sample came in.
    received_ms: f64,
    /// When another instance took over.
    changed_ms: Option<f64>,
    /// The last minutes, oldest first.
    live: Vec<Row>,
    /// What is shown instead of them: a longer time, or what was there when it was paused.
    past: Option<Vec<Row>>,
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
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// A sample came in.
    Sample(Reading),
    /// The last minutes came in.
    History(History),
    /// A longer time came in, for that range.
    Past(usize, History),
    /// The service said that it is still starting.
    Starting,
    /// The connection failed or ended.
    Lost,
    /// Time went by.
    Tick,
    /// The address changed.
    View(ViewState),
    /// A button was pressed.
    Press(String),
    /// A threshold was set, by its place.
    Threshold(usize, String),
    /// The pointer is at that share of a chart's width, or at none.
    Point(Option<f64>),
    /// A drag began at that share of a chart's width.
    Grab(f64),
    /// The drag ended.
    Drop,
    /// A key was pressed on a chart.
    Key(String),
}

impl Dashboard {
    /// Takes one event in; says whether there is something new to see.
    pub(crate) fn apply(&mut self, event: Event, now_ms: f64) -> bool {
        self.now_ms = now_ms;
        match event {
            Event::Sample(reading) => {
                if self.take(reading) {
                    self.link = Link::Live;
                }
            }
            Event::History(history) => self.remember(history),
            Event::Past(range, history) => {
                if self.view.range == range && self.frozen.is_none() {
                    self.past = Some(history.rows);
                }
            }
            Event::Starting => self.link = Link::Starting,
            Event::Lost => self.link = Link::Reconnecting,
            Event::Tick => {
                // While samples come in, they are the clock.
                if self.link == Link::Live {
                    if !self.is_stale() {
                        return false;
                    }
                    self.link = Link::Reconnecting;
                }
            }
            Event::View(view) => {
                if view.range != self.view.range {
                    self.resume();
                    self.past = None;
                }
                self.view = view;
            }
            Event::Press(button) => self.press(&button),
            Event::Threshold(place, number) => self.settings.set_threshold(place, &number),
            Event::Point(share) => {
                let hover = share.map(|share| self.time_at(share));
                if hover == self.hover {
                    return false;
                }
                self.hover = hover;
            }
            Event::Grab(share) => {
                self.drag = Some(self.time_at(share));
                self.freeze();
            }
            Event::Drop => return self.end_drag(),
            Event::Key(key) => return self.key(&key),
        }
        true
    }

    /// How old the figures are, or `None` while there are none.
    pub(crate) fn age_ms(&self) -> Option<f64> {
        self.latest.as_ref()?;
        Some((self.now_ms - self.received_ms).max(0.0))
    }

    /// The figure as it is now, NaN where it is not known.
    pub(crate) fn figure(&self, figure: Metric) -> f64 {
        self.latest.as_ref().map_or(f64::NAN, |latest| latest.figure(figure))
    }

    /// The large figure of a tile as it is now; `None` where it is not known.
    pub(crate) fn value(&self, tile: &Tile) -> Option<f64> {
        together(tile, |figure| self.figure(figure))
    }

    /// What a tile's figure means to an operator.
    pub(crate) fn level(&self, place: usize) -> Option<Level> {
        let tile = TILES.get(place)?;
        let [warning, critical] = *self.settings.thresholds.get(place)?;
        let level_from =
            tile.level_from.iter().map(|&figure| self.figure(figure)).fold(f64::NAN, f64::max);
        self.value(tile)?;
        Some(if level_from >= critical {
            Level::Critical
        } else if level_from >= warning {
            Level::Warning
        } else {
            Level::Normal
        })
    }

    /// The highest level of all tiles.
    pub(crate) fn worst(&self) -> Level {
        (0..TILES.len()).filter_map(|place| self.level(place)).max().unwrap_or(Level::Normal)
    }

    /// Whether a tile's figure rises or falls: the last ten seconds against the twenty before.
    pub(crate) fn trend(&self, tile: &Tile) -> i8 {
        let end = self.live.last().map_or(0.0, |row| row.time_ms);
        let mean = |from_ms: f64, to_ms: f64| {
            let (mut sum, mut count) = (0.0, 0.0);
            for row in self.live.iter().rev().take(60) {
                let age = end - row.time_ms;
                let value = together(tile, |figure| row.value(figure));
                if let Some(value) = value.filter(|_| (from_ms..to_ms).contains(&age)) {
                    sum += value;
                    count += 1.0;
                }
            }
            sum / count
        };
        let (now, before) = (mean(0.0, 10_000.0), mean(10_000.0, 30_000.0));
        // What moves by less is noise.
        let noise = match tile.unit {
            Unit::Percent => 2.0,
            Unit::Rate => 4_096.0_f64.max(before * 0.2),
            _ => 0.1_f64.max(before * 0.1),
        };
        i8::from(now > before + noise) - i8::from(now < before - noise)
    }

    /// Whether the service is known to run in no container.
    pub(crate) fn is_outside(&self) -> bool {
        let (cpu, memory) = (Metric::ContainerCpu, Metric::ContainerMemory);
        self.latest.is_some() && self.figure(cpu).is_nan() && self.figure(memory).is_nan()
    }

    /// Whether another instance took over a short time ago.
    pub(crate) fn is_changed(&self) -> bool {
        self.changed_ms.is_some_and(|changed| self.now_ms - changed < NOTICE_MS)
    }

    /// The rows of the last minutes, whatever is shown.
    pub(crate) fn live(&self) -> &[Row] {
        &self.live
    }

    /// The rows that the charts show; `None` while they are fetched.
    pub(crate) fn rows(&self) -> Option<&[Row]> {
        match &self.past {
            Some(rows) => Some(rows),
            None => (self.view.range == 0).then_some(&self.live),
        }
    }

    /// Now, by the clock of the machine that is looked at. While samples come in, it is the newest
    /// of them, so that lines do not tremble by the time they spend on their way.
    pub(crate) fn end_ms(&self) -> f64 {
        let Some(latest) = &self.latest else {
            return self.live.last().map_or(0.0, |row| row.time_ms);
        };
        let age = self.age_ms().unwrap_or_default();
        latest.time_ms + if age > latest.interval_ms * 2.0 { age } else { 0.0 }
    }

    /// The beginning and the end of what the charts show, by the machine's clock.
    pub(crate) fn window(&self) -> (f64, f64) {
        let range_ms = RANGES.get(self.view.range).map_or(0, |range| range.2);
        let end = self.end_ms();
        self.frozen.unwrap_or((end - f64::from(range_ms) * 1_000.0, end))
    }

    /// The row at the time under the pointer, or the newest.
    pub(crate) fn row_in_hand(&self) -> Option<&Row> {
        let rows = self.rows()?;
        let Some(hover) = self.hover else { return rows.last() };
        rows.iter().find(|row| row.begun_ms < hover && hover <= row.time_ms)
    }

    /// Whether the newest sample should have been followed by another long ago.
    fn is_stale(&self) -> bool {
        let interval_ms = self.latest.as_ref().map_or(0.0, |latest| latest.interval_ms);
        self.age_ms().is_some_and(|age| age > STALE_AFTER_MS.max(interval_ms * 3.0))
    }

    /// Adds a sample; says whether it was news.
    fn take(&mut self, reading: Reading) -> bool {
        let before = self.latest.as_ref();
        if before.is_some_and(|latest| latest.instance != reading.instance) {
            self.start_anew();
        } else if let Some(latest) = before {
            // A connection that was lost and found may repeat what is known already.
            if reading.sequence <= latest.sequence {
                return false;
            }
            // The other machine's clock was set back: its old times mean nothing any more.
            if reading.time_ms <= latest.time_ms {
                self.live.clear();
            }
        }
        self.push(reading.row());
        self.received_ms = self.now_ms;
        self.latest = Some(reading);
        true
    }

    /// Takes the service's memory in place of the own; what only the page knows stays.
    fn remember(&mut self, history: History) {
        if self.latest.as_ref().is_some_and(|latest| latest.instance != history.instance) {
            self.start_anew();
            self.latest = None;
        }
        let mut rows = history.rows;
        for row in &mut rows {
            let known = self.live.iter_mut().find(|known| known.time_ms >= row.time_ms);
            if let Some(known) = known.filter(|known| known.begun_ms < row.time_ms) {
                row.cores = std::mem::take(&mut known.cores);
            }
        }
        self.live.clear();
        for row in rows {
            self.push(row);
        }
    }

    fn push(&mut self, mut row: Row) {
        if let Some(last) = self.live.last_mut() {
            // A history holds the newest sample, which follows it; a fast sampler's share a row.
            if row.time_ms <= last.time_ms || row.time_ms - last.begun_ms <= ROW_MS {
                row.begun_ms = last.begun_ms.min(row.begun_ms);
                row.time_ms = last.time_ms.max(row.time_ms);
                *last = row;
                return;
            }
        }
        let horizon = row.time_ms - LIVE_MS;
        let old = self.live.iter().take_while(|row| row.time_ms < horizon).count();
        // The row before the window lets the line enter at its edge.
        let old = old.saturating_sub(1).max((self.live.len() + 1).saturating_sub(RING));
        self.live.drain(..old);
        self.live.push(row);
    }

    fn start_anew(&mut self) {
        self.live.clear();
        self.past = None;
        self.frozen = None;
        self.changed_ms = Some(self.now_ms);
    }

    fn press(&mut self, button: &str) {
        match button {
            "pause" if self.frozen.is_some() => self.resume(),
            "pause" => self.freeze(),
            "theme" => self.settings.theme = (self.settings.theme + 1) % THEMES.len(),
            "units" => self.settings.decimal = !self.settings.decimal,
            "reset" => self.settings.thresholds = Settings::default().thresholds,
            _ => {
                let panel = button.strip_prefix("table-");
                let place = PANELS.iter().position(|one| Some(one.id) == panel);
                if let Some(open) = place.and_then(|place| self.tables.get_mut(place)) {
                    *open = !*open;
                }
            }
        }
    }

    /// Holds what is seen, together with its rows: the ring goes on without it.
    fn freeze(&mut self) {
        if self.frozen.is_none() {
            self.frozen = Some(self.window());
            self.past = self.rows().map(<[Row]>::to_vec);
        }
    }

    fn resume(&mut self) {
        self.frozen = None;
        self.drag = None;
        if self.view.range == 0 {
            self.past = None;
        }
    }

    /// Shows what was dragged over. A drag of nothing was a click.
    fn end_drag(&mut self) -> bool {
        let Some(from) = self.drag.take() else { return false };
        let to = self.hover.unwrap_or(from);
        let (begin, end) = self.window();
        // A hand that clicks may move by some pixels.
        if (to - from).abs() * 50.0 > end - begin {
            self.frozen = Some((from.min(to), from.max(to)));
        } else if end - begin > f64::from(RANGES[self.view.range].2) * 999.0 {
            self.resume();
        }
        true
    }

    fn key(&mut self, key: &str) -> bool {
        let (begin, end) = self.window();
        let middle = self.hover.unwrap_or(end);
        let step = (end - begin) / 60.0;
        match key {
            "ArrowLeft" => self.hover = Some((middle - step).max(begin)),
            "ArrowRight" => self.hover = Some((middle + step).min(end)),
            "Home" => self.hover = Some(begin),
            "End" => self.hover = Some(end),
            "+" => {
                self.freeze();
                let half = (end - begin) / 4.0;
                let middle = middle.max(begin + half).min(end - half);
                self.frozen = Some((middle - half, middle + half));
            }
            "-" | "Escape" => {
                self.hover = None;
                self.resume();
            }
            _ => return false,
        }
        true
    }

    fn time_at(&self, share: f64) -> f64 {
        let (begin, end) = self.window();
        begin + (end - begin) * share.clamp(0.0, 1.0)
    }
}

impl Row {
    /// The charted figure, NaN where it is not known.
    pub(crate) fn value(&self, figure: Metric) -> f64 {
        self.values.get(figure as usize).map_or(f64::NAN, |&value| f64::from(value))
    }

    /// Whether something is missing between `before` and this row: their times do not touch.
    pub(crate) fn follows_a_gap(&self, before: &Self) -> bool {
        // Timers are late by fractions of a tick; half a tick is no missing sample.
        self.begun_ms - (self.time_ms - self.begun_ms) / 2.0 > before.time_ms
    }
}

/// What a figure means to an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Nothing to do.
    Normal,
    /// Worth a look.
    Warning,
    /// Somebody should act.
    Critical,
}

/// Rates add up; of anything else the largest counts.
fn together(tile: &Tile, value: impl Fn(Metric) -> f64) -> Option<f64> {
    let known = tile.figures.iter().map(|&figure| value(figure)).filter(|value| !value.is_nan());
    match tile.unit {
        Unit::Rate => known.reduce(|sum, value| sum + value),
        _ => known.reduce(f64::max),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::decode::reading;
    use crate::decode::tests::a_sample;
    use crate::metrics::CHARTED;

    /// A row of one second that ends at that second, with that much user and no system time.
    pub(crate) fn row(second: u32, user: f32) -> Row {
        let mut values = [f32::NAN; CHARTED];
        values[Metric::CpuUser as usize] = user;
        values[Metric::CpuSystem as usize] = 0.0;
        let time_ms = f64::from(second) * 1_000.0;
        Row { begun_ms: time_ms - 1_000.0, time_ms, values, cores: Vec::new() }
    }

    /// The `sequence`th sample of an instance that ticks once a second.
    fn sample(instance: &str, sequence: u64) -> Event {
        let value = serde_json::to_value(a_sample(instance, sequence)).unwrap();
        Event::Sample(reading(&value).unwrap())
    }

    fn live(samples: impl IntoIterator<Item = u64>) -> Dashboard {
        let mut dashboard = Dashboard::default();
        for sequence in samples {
            dashboard.apply(sample("a", sequence), sequence as f64 * 1_000.0);
        }
        dashboard
    }

    fn press(dashboard: &mut Dashboard, button: &str) {
        dashboard.apply(Event::Press(button.to_owned()), 0.0);
    }

    #[test]
    fn the_first_sample_makes_the_page_live() {
        let mut dashboard = Dashboard::default();
        assert_eq!((dashboard.link, dashboard.age_ms()), (Link::Connecting, None));
        dashboard.apply(Event::Starting, 1.0);
        assert_eq!(dashboard.link, Link::Starting);
        dashboard.apply(sample("a", 1), 5.0);
        assert_eq!((dashboard.link, dashboard.age_ms()), (Link::Live, Some(0.0)));
    }

    #[test]
    fn a_lost_connection_keeps_the_figures_and_counts_their_age() {
        let mut dashboard = live(1..=3);
        dashboard.apply(Event::Lost, 4_000.0);
        dashboard.apply(Event::Tick, 15_000.0);
        assert_eq!(dashboard.link, Link::Reconnecting);
        assert_eq!(dashboard.age_ms(), Some(12_000.0));
    }

    #[test]
    fn silence_on_an_open_stream_is_noticed() {
        let mut dashboard = live(1..=1);
        assert!(!dashboard.apply(Event::Tick, 6_000.0), "nothing new");
        assert!(dashboard.apply(Event::Tick, 6_001.0));
        assert_eq!(dashboard.link, Link::Reconnecting);
    }

    #[test]
    fn what_is_known_already_is_no_news() {
        let mut dashboard = live(1..=5);
        dashboard.apply(Event::Lost, 6_000.0);
        dashboard.apply(sample("a", 5), 7_000.0);
        assert_eq!(dashboard.link, Link::Reconnecting);
        assert_eq!(dashboard.live().len(), 5);
    }

    #[test]
    fn another_instance_starts_the_charts_anew_and_it_is_said() {
        let mut dashboard = live(1..=5);
        assert!(!dashboard.is_changed());
        dashboard.apply(sample("b", 1), 6_000.0);
        assert_eq!(dashboard.live().len(), 1);
        assert!(dashboard.is_changed());
        dashboard.apply(Event::Tick, 70_000.0);
        assert!(!dashboard.is_changed());
    }

    #[test]
    fn a_history_fills_the_charts_and_the_sample_after_it_is_not_drawn_twice() {
        let mut dashboard = Dashboard::default();
        let rows: Vec<_> = (1..=600).map(|second| row(1_700_000_000 + second, 1.0)).collect();
        dashboard.apply(Event::History(History { instance: "a".to_owned(), rows }), 0.0);
        assert_eq!(dashboard.live().len(), 600);
        dashboard.apply(sample("a", 600), 0.0);
        assert_eq!(dashboard.live().len(), 600);
        dashboard.apply(sample("a", 601), 0.0);
        assert_eq!(dashboard.live().len(), 601);
    }

    #[test]
    fn a_history_keeps_what_only_the_page_knows_of_the_cores() {
        let mut dashboard = live(1..=3);
        let rows = (1..=4).map(|second| row(1_700_000_000 + second, 1.0)).collect();
        dashboard.apply(Event::History(History { instance: "a".to_owned(), rows }), 0.0);
        let cores: Vec<_> = dashboard.live().iter().map(|row| row.cores.len()).collect();
        assert_eq!(cores, [2, 2, 2, 0]);
    }

    #[test]
    fn the_ring_is_bounded_however_fast_the_sampler_is() {
        assert!(live(1..=2_000).live().len() <= RING);
        let mut dashboard = Dashboard::default();
        for tick in 0..50 {
            let mut fast = row(1_000, 1.0);
            fast.time_ms += f64::from(tick) * 100.0;
            fast.begun_ms = fast.time_ms - 100.0;
            dashboard.push(fast);
        }
        assert_eq!(dashboard.live().len(), 5, "a row a second");
    }

    #[test]
    fn a_clock_that_was_set_back_starts_the_ring_anew() {
        let mut dashboard = live(1..=5);
        let mut earlier = a_sample("a", 6);
        earlier.time_unix_ms = 1_000;
        let earlier = reading(&serde_json::to_value(earlier).unwrap()).unwrap();
        dashboard.apply(Event::Sample(earlier), 6_000.0);
        assert_eq!(dashboard.live().len(), 1);
    }

    #[test]
    fn a_pause_holds_what_is_seen() {
        let mut dashboard = live(1..=5);
        let window = dashboard.window();
        press(&mut dashboard, "pause");
        dashboard.apply(sample("a", 6), 6_000.0);
        assert_eq!(dashboard.window(), window);
        assert_eq!(dashboard.rows().unwrap().len(), 5);
        press(&mut dashboard, "pause");
        assert_eq!(dashboard.rows().unwrap().len(), 6);
    }

    #[test]
    fn a_drag_zooms_and_a_click_does_not() {
        let mut dashboard = live(1..=5);
        let (begin, end) = dashboard.window();
        dashboard.apply(Event::Grab(0.25), 5_000.0);
        dashboard.apply(Event::Point(Some(0.75)), 5_000.0);
        dashboard.apply(Event::Drop, 5_000.0);
        let quarter = (end - begin) / 4.0;
        assert_eq!(dashboard.window(), (begin + quarter, end - quarter));
        dashboard.apply(Event::Key("Escape".to_owned()), 5_000.0);
        assert_eq!(dashboard.window(), (begin, end));
        dashboard.apply(Event::Grab(0.5), 5_000.0);
        dashboard.apply(Event::Drop, 5_000.0);
        assert_eq!((dashboard.window(), dashboard.frozen), ((begin, end), None));
    }

    #[test]
    fn keys_move_the_crosshair_within_the_window() {
        let mut dashboard = live(1..=5);
        let (begin, end) = dashboard.window();
        let mut key = |key: &str| {
            dashboard.apply(Event::Key(key.to_owned()), 5_000.0);
            dashboard.hover
        };
        assert_eq!(key("ArrowRight"), Some(end));
        assert_eq!(key("ArrowLeft"), Some(end - 10_000.0));
        assert_eq!(key("Home"), Some(begin));
        assert_eq!(key("Escape"), None);
    }

    #[test]
    fn a_longer_time_is_shown_once_it_is_there() {
        let mut dashboard = live(1..=5);
        dashboard.apply(Event::View(ViewState { range: 2, panel: None }), 0.0);
        assert_eq!(dashboard.rows(), None);
        let history = History { instance: "a".to_owned(), rows: vec![row(60, 1.0)] };
        dashboard.apply(Event::Past(1, history.clone()), 0.0);
        assert_eq!(dashboard.rows(), None, "it was asked for before");
        dashboard.apply(Event::Past(2, history), 0.0);
        assert_eq!(dashboard.rows().unwrap().len(), 1);
    }

    #[test]
    fn levels_begin_at_their_thresholds() {
        let mut dashboard = live(1..=1);
        assert_eq!(dashboard.level(0), Some(Level::Normal));
        dashboard.apply(Event::Threshold(0, "12.5".to_owned()), 0.0);
        assert_eq!(dashboard.level(0), Some(Level::Warning));
        dashboard.apply(Event::Threshold(1, "12".to_owned()), 0.0);
        assert_eq!(
            (dashboard.level(0), dashboard.worst()),
            (Some(Level::Critical), Level::Critical)
        );
        press(&mut dashboard, "reset");
        assert_eq!(dashboard.worst(), Level::Normal);
    }

    #[test]
    fn a_figure_that_is_not_known_has_no_level() {
        let mut dashboard = Dashboard::default();
        assert_eq!(dashboard.level(0), None);
        let value = serde_json::json!(
            {"instance": "a", "sequence": 1, "time_unix_ms": 1, "interval_ms": 1}
        );
        dashboard.apply(Event::Sample(reading(&value).unwrap()), 0.0);
        assert_eq!((dashboard.level(0), dashboard.worst()), (None, Level::Normal));
    }
}
