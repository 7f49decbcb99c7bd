//! State of the page, as a reducer over events without browser and clock. Times are parameters, in
//! milliseconds of the browser's monotonic clock unless a name says otherwise.

use crate::alerts::{Alert, Level, MOST_MARKS, Mark};
use crate::decode::{History, Reading, Row};
use crate::fetch::Failure;
use crate::metrics::Metric;
use crate::number::Cell;
use crate::panels::{PANELS, TABLES, TILES};
use crate::preferences::{RANGES, Settings, ViewState};
use crate::timeline::Timeline;

/// Time without a sample after which values are stale, unless the sampler's own interval is longer:
/// five ticks of one second, so that one late packet does not gray out the page.
const STALE_AFTER_MS: f64 = 5_000.0;

/// The same for a hidden tab, where browsers limit timers to one run per minute.
const HIDDEN_STALE_AFTER_MS: f64 = 90_000.0;

/// Duration of the notice that the instance changed: long enough for a viewer who looks away.
const NOTICE_MS: f64 = 60_000.0;

/// Time after which polled samples of another instance are accepted. Two replicas behind one
/// address respond in turn, and their values must not be mixed.
const OTHER_AFTER_MS: f64 = 10_000.0;

/// Longest time without a sample between two polls that is not shown as a gap.
const POLL_GAP_MS: f64 = 6_000.0;

/// Shortest window. A shorter one has too few rows for a line.
const SHORTEST_MS: f64 = 5_000.0;

/// State of the page for one instance.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dashboard {
    /// State of the connection.
    pub(crate) link: Link,
    /// Reason why there is no connection.
    pub(crate) failure: Option<Failure>,
    /// Latest sample.
    pub(crate) latest: Option<Reading>,
    /// CPU and memory that the script in `index.html` has fetched before the module starts, NaN if
    /// it has none.
    pub(crate) early: [f64; 2],
    /// Time of the last event.
    pub(crate) now_ms: f64,
    /// View state in the address.
    pub(crate) view: ViewState,
    /// Settings in the browser's storage.
    pub(crate) settings: Settings,
    /// Index of the threshold whose last input was invalid.
    pub(crate) refused: Option<usize>,
    /// Window of a paused or zoomed view, which replaces the live window.
    pub(crate) frozen: Option<(f64, f64)>,
    /// Time under the pointer, by the machine's clock.
    pub(crate) hover: Option<f64>,
    /// Time at which a drag began, by the machine's clock.
    pub(crate) drag: Option<f64>,
    /// Whether each panel's table is open.
    pub(crate) tables: [bool; PANELS.len()],
    /// Search text for the names in each table.
    pub(crate) searches: [String; TABLES.len()],
    /// Alerts, most severe first.
    pub(crate) alerts: Vec<Alert>,
    /// Events of this instance, oldest first.
    pub(crate) marks: Vec<Mark>,
    /// Whether the server has a different version of the page.
    pub(crate) is_outdated: bool,
    /// Reason why the history is missing.
    pub(crate) past_failure: Option<Failure>,
    /// Whether the history of the last minutes is missing although the service responds.
    pub(crate) wants_history: bool,
    /// Whether the tab is hidden.
    pub(crate) is_hidden: bool,
    /// Level of each tile by the viewer's thresholds, and the time at which it began.
    pub(crate) own_levels: [Option<(Level, f64)>; TILES.len()],
    /// Snapshot of the tables while the pointer or the focus is in one.
    held: Option<Vec<Vec<Vec<Cell>>>>,
    /// Time at which the latest sample arrived.
    received_ms: f64,
    /// Time at which the instance changed.
    changed_ms: Option<f64>,
    live: Timeline,
    /// Rows of a longer range or of a paused view.
    past: Option<Vec<Row>>,
}

/// State of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Link {
    /// The first connection is being opened.
    #[default]
    Connecting,
    /// The service responds with 503: it has no sample yet.
    Starting,
    /// Samples arrive.
    Live,
    /// The connection has failed or is silent; the page reconnects.
    Reconnecting,
    /// The service requires a sign-in.
    SignedOut,
}

/// Event that the reducer applies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// A sample of the event stream.
    Sample(Reading),
    /// A polled sample. There are no samples between two polls.
    Polled(Reading),
    /// The history of the last minutes.
    History(History),
    /// The history of a longer range, with the index of the range.
    Past(usize, History),
    /// A history could not be fetched.
    PastFailed(Failure),
    /// The events of an instance.
    Marks(String, Vec<Mark>),
    /// The service has no sample yet.
    Starting,
    /// The connection failed or ended.
    Lost(Failure),
    /// Periodic timer event.
    Tick,
    /// The tab was hidden or shown.
    Hidden(bool),
    /// The server has a different version of the page.
    Outdated,
    /// The address changed.
    View(ViewState),
    /// The settings were changed in another tab.
    Settings(Settings),
    /// A button with this action was pressed.
    Press(String),
    /// A threshold was entered, with its index.
    Threshold(usize, String),
    /// A search text was entered, with the index of the table.
    Search(usize, String),
    /// The pointer or the focus entered or left a list.
    InTable(bool),
    /// The pointer is at this fraction of a chart's width; `None` outside of charts.
    Point(Option<f64>),
    /// A drag began at this fraction of a chart's width.
    Grab(f64),
    /// The drag ended.
    Drop,
    /// The browser canceled the drag, or the pointer left the page.
    Cancel,
    /// A key was pressed on a chart.
    Key(String),
}

impl Dashboard {
    /// Applies an event. Returns whether the page must be drawn again.
    pub(crate) fn apply(&mut self, event: Event, now_ms: f64) -> bool {
        self.now_ms = now_ms;
        match event {
            Event::Sample(reading) => self.take(reading, false),
            Event::Polled(reading) => self.take(reading, true),
            Event::History(history) => self.remember(history),
            Event::Past(range, history) => {
                if self.view.range != range || self.frozen.is_some() {
                    return false;
                }
                let instance = self.latest.as_ref().map(|latest| &latest.instance);
                if instance.is_some_and(|instance| *instance != history.instance) {
                    self.past_failure = Some(Failure::OtherInstance);
                    return true;
                }
                self.past = Some(history.rows);
                self.past_failure = None;
            }
            Event::PastFailed(failure) => self.past_failure = Some(failure),
            Event::Marks(instance, marks) => {
                if self.latest.as_ref().is_some_and(|latest| latest.instance == instance) {
                    self.marks = marks;
                }
            }
            Event::Starting => self.link = Link::Starting,
            Event::Lost(failure) => {
                let is_signed_out = failure == Failure::SignedOut;
                self.link = if is_signed_out { Link::SignedOut } else { Link::Reconnecting };
                self.failure = Some(failure);
            }
            Event::Tick => {
                // While samples arrive, they drive the clock.
                if self.link == Link::Live {
                    if !self.is_stale() {
                        return false;
                    }
                    self.link = Link::Reconnecting;
                    self.failure = None;
                }
            }
            Event::Hidden(is_hidden) => self.is_hidden = is_hidden,
            Event::Outdated => self.is_outdated = true,
            Event::View(view) => {
                if view.range != self.view.range {
                    self.resume();
                    self.past = None;
                    self.past_failure = None;
                }
                self.view = view;
            }
            Event::Settings(settings) => {
                self.settings = settings;
                self.judge();
            }
            Event::Press(button) => self.press(&button),
            Event::Threshold(place, number) => {
                let is_set = self.settings.set_threshold(place, &number);
                self.refused = (!is_set).then_some(place);
                self.judge();
            }
            Event::Search(table, text) => {
                if let Some(search) = self.searches.get_mut(table) {
                    *search = text;
                }
            }
            Event::InTable(is_in) => {
                if is_in == self.held.is_some() {
                    return false;
                }
                let tables = self.latest.as_ref().map(|latest| latest.tables.clone());
                self.held = tables.filter(|_| is_in);
            }
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
            Event::Cancel => {
                if self.hover.take().is_none() && self.drag.is_none() {
                    return false;
                }
                self.end_drag();
            }
            Event::Key(key) => return self.key(&key),
        }
        true
    }

    /// Age of the latest sample; `None` if there is none.
    pub(crate) fn age_ms(&self) -> Option<f64> {
        self.latest.as_ref()?;
        Some((self.now_ms - self.received_ms).max(0.0))
    }

    /// Latest value of a metric, NaN if it is unknown.
    pub(crate) fn figure(&self, metric: Metric) -> f64 {
        self.latest.as_ref().map_or(f64::NAN, |latest| latest.figure(metric))
    }

    /// Value of a row. Cached memory is the part that is neither used nor free, so that the stack
    /// adds up: the kernel counts shared memory as cache too.
    pub(crate) fn value(&self, row: &Row, metric: Metric) -> f64 {
        let value = row.value(metric);
        if metric != Metric::MemoryCached || value.is_nan() {
            return value;
        }
        let used = row.value(Metric::MemoryUsed) + row.value(Metric::MemoryFree);
        let rest = self.figure(Metric::MemoryTotal) - used;
        if rest.is_nan() { value } else { rest.max(0.0) }
    }

    /// Rows of a table: the snapshot while the viewer points at one, otherwise the latest.
    pub(crate) fn table(&self, place: usize) -> &[Vec<Cell>] {
        let latest = self.latest.as_ref().map(|latest| &latest.tables);
        let rows = self.held.as_ref().or(latest).and_then(|tables| tables.get(place));
        rows.map_or(&[], Vec::as_slice)
    }

    /// Whether the instance changed recently.
    pub(crate) fn is_changed(&self) -> bool {
        self.changed_ms.is_some_and(|changed| self.now_ms - changed < NOTICE_MS)
    }

    /// Whether the charts show a longer range whose history is missing.
    pub(crate) fn wants_past(&self) -> bool {
        self.view.range > 0 && self.frozen.is_none() && self.past.is_none()
    }

    /// Rows of the last minutes, independent of the view.
    pub(crate) fn live(&self) -> &[Row] {
        self.live.rows()
    }

    /// Rows that the charts show; `None` while they are being fetched.
    pub(crate) fn rows(&self) -> Option<&[Row]> {
        match &self.past {
            Some(rows) => Some(rows),
            None => (self.view.range == 0).then_some(self.live.rows()),
        }
    }

    /// Current time by the clock of the monitored machine. While samples arrive, it is the time of
    /// the latest one, so that network delays do not make the lines jitter.
    pub(crate) fn end_ms(&self) -> f64 {
        let Some(latest) = &self.latest else {
            return self.live.rows().last().map_or(0.0, |row| row.time_ms);
        };
        let age = self.age_ms().unwrap_or_default();
        latest.time_ms + if age > latest.interval_ms * 2.0 { age } else { 0.0 }
    }

    /// Start and end of the charts, by the machine's clock.
    pub(crate) fn window(&self) -> (f64, f64) {
        let range_ms = RANGES.get(self.view.range).map_or(0, |range| range.2);
        let end = self.end_ms();
        self.frozen.unwrap_or((end - f64::from(range_ms) * 1_000.0, end))
    }

    /// Row at the time under the pointer; the latest row if there is no pointer.
    pub(crate) fn row_in_hand(&self) -> Option<&Row> {
        let rows = self.rows()?;
        let Some(hover) = self.hover else { return rows.last() };
        rows.iter().find(|row| row.begun_ms < hover && hover <= row.time_ms)
    }

    /// Whether the next sample is long overdue.
    fn is_stale(&self) -> bool {
        let interval_ms = self.latest.as_ref().map_or(0.0, |latest| latest.interval_ms);
        let patience = if self.is_hidden { HIDDEN_STALE_AFTER_MS } else { STALE_AFTER_MS };
        self.age_ms().is_some_and(|age| age > patience.max(interval_ms * 3.0))
    }

    /// Adds a sample.
    fn take(&mut self, mut reading: Reading, is_polled: bool) {
        let mut row = reading.row();
        let before = self.latest.as_ref();
        if before.is_some_and(|latest| latest.instance != reading.instance) {
            if is_polled && self.age_ms().is_some_and(|age| age < OTHER_AFTER_MS) {
                self.failure = Some(Failure::OtherInstance);
                return;
            }
            self.start_anew();
        } else if let Some(latest) = before {
            // After a reconnect, the stream may repeat samples.
            if reading.sequence <= latest.sequence {
                return;
            }
            let ahead = reading.time_ms - latest.time_ms;
            if ahead <= 0.0 {
                // The machine's clock was set back, so earlier times are invalid.
                self.live.clear();
                self.wants_history = true;
            } else if is_polled && ahead < POLL_GAP_MS.max(reading.interval_ms * 3.0) {
                row.begun_ms = row.begun_ms.min(latest.time_ms);
            }
            let kills = reading.figure(Metric::OomKills) - latest.figure(Metric::OomKills);
            // An older service sends only the count.
            if kills > 0.0 && reading.state.is_none() {
                reading.marks.push(Mark {
                    time_ms: reading.time_ms,
                    kind: "oom_kill".to_owned(),
                    text: "Out of memory: a process was killed".to_owned(),
                });
            }
        }
        self.wants_history |= is_polled && self.live.rows().is_empty();
        self.live.push(row);
        self.marks.append(&mut reading.marks);
        let surplus = self.marks.len().saturating_sub(MOST_MARKS);
        self.marks.drain(..surplus);
        self.received_ms = self.now_ms;
        self.latest = Some(reading);
        self.link = Link::Live;
        self.failure = None;
        self.judge();
    }

    /// Replaces the rows of the page by the service's history.
    fn remember(&mut self, history: History) {
        if self.latest.as_ref().is_some_and(|latest| latest.instance != history.instance) {
            self.start_anew();
            self.latest = None;
        }
        self.wants_history = false;
        self.past_failure = None;
        self.live.replace(history);
    }

    /// Resets the state for another instance. A paused view is kept.
    fn start_anew(&mut self) {
        self.live.clear();
        self.marks.clear();
        self.own_levels = Default::default();
        if self.frozen.is_none() {
            self.past = None;
        }
        self.changed_ms = Some(self.now_ms);
    }

    fn press(&mut self, button: &str) {
        match button {
            "pause" if self.frozen.is_some() => self.resume(),
            "pause" => self.freeze(),
            "theme" => self.settings.next_theme(),
            "units" => self.settings.decimal = !self.settings.decimal,
            "notify" | "mute" => self.settings.notifies = button == "notify",
            "reset" => {
                self.settings.thresholds = Settings::default().thresholds;
                self.refused = None;
                self.judge();
            }
            _ => {
                let panel = button.strip_prefix("table-");
                let place = PANELS.iter().position(|one| Some(one.id) == panel);
                if let Some(open) = place.and_then(|place| self.tables.get_mut(place)) {
                    *open = !*open;
                }
            }
        }
    }

    /// Pauses the view with a copy of its rows, because the timeline advances.
    fn freeze(&mut self) {
        if self.frozen.is_none() {
            self.frozen = Some(self.window());
            self.past = self.rows().map(<[Row]>::to_vec);
        }
    }

    fn resume(&mut self) {
        self.frozen = None;
        self.drag = None;
        // The rows of a paused view may belong to another instance.
        if self.view.range == 0 || self.is_changed() {
            self.past = None;
        }
    }

    /// Zooms to the range of the drag. A drag without distance is a click.
    fn end_drag(&mut self) -> bool {
        let Some(from) = self.drag.take() else { return false };
        let to = self.hover.unwrap_or(from);
        let (begin, end) = self.window();
        // The pointer may move by a few pixels during a click.
        if (to - from).abs() * 50.0 > end - begin {
            let missing = (SHORTEST_MS - (to - from).abs()).max(0.0) / 2.0;
            self.frozen = Some((from.min(to) - missing, from.max(to) + missing));
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
            "+" if end - begin > SHORTEST_MS => {
                self.freeze();
                let half = ((end - begin) / 4.0).max(SHORTEST_MS / 2.0);
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

#[cfg(test)]
pub(crate) mod tests;
