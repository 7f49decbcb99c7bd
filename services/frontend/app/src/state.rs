//! State of the page, as a reducer over events without browser and clock. Times are parameters, in
//! milliseconds of the browser's monotonic clock unless a name says otherwise.

mod event;

pub(crate) use event::{Event, Link};

use crate::alerts::{Alert, Annotation, Level, MAX_ANNOTATIONS};
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
const SWITCH_AFTER_MS: f64 = 10_000.0;

/// Longest time without a sample between two polls that is not shown as a gap.
const POLL_GAP_MS: f64 = 6_000.0;

/// Time for which a list in use stands still: long enough to read it, and limited because a touch
/// leaves the focus in the list, and a mouse can rest there.
const LIST_PAUSE_MS: f64 = 60_000.0;

/// Shortest window. A shorter one has too few rows for a line.
const MIN_WINDOW_MS: f64 = 5_000.0;

/// State of the page for one instance.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dashboard {
    /// State of the connection.
    pub(crate) link: Link,
    /// Reason why there is no connection.
    pub(crate) failure: Option<Failure>,
    /// Latest sample.
    pub(crate) latest: Option<Reading>,
    /// Permission for notifications, see [`crate::browser::permission`].
    pub(crate) permission: String,
    /// Time of the last event.
    pub(crate) now_ms: f64,
    /// View state in the address.
    pub(crate) view: ViewState,
    /// Settings in the browser's storage.
    pub(crate) settings: Settings,
    /// Index of the threshold whose last input was invalid.
    pub(crate) invalid_threshold: Option<usize>,
    /// Window of a paused or zoomed view, which replaces the live window.
    pub(crate) paused: Option<(f64, f64)>,
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
    pub(crate) annotations: Vec<Annotation>,
    /// Whether the page is a wall display: there are only tiles, and no links to panels.
    pub(crate) is_kiosk: bool,
    /// Reason why the history is missing.
    pub(crate) history_failure: Option<Failure>,
    /// Whether the history of the last minutes is missing although the service responds.
    pub(crate) needs_history: bool,
    /// Whether the tab is hidden.
    pub(crate) is_hidden: bool,
    /// Level of each tile by the viewer's thresholds, and the time at which it began.
    pub(crate) own_levels: [Option<(Level, f64)>; TILES.len()],
    /// Snapshot of the tables while the pointer or the focus is in one.
    table_snapshot: Option<Vec<Vec<Vec<Cell>>>>,
    /// Time at which the pointer or the focus last moved in a list.
    in_table_ms: f64,
    /// Time at which the latest sample arrived.
    received_ms: f64,
    /// Time at which the instance changed.
    changed_ms: Option<f64>,
    /// Time at which the early sample arrived, as long as it is the latest one. Behind a load balancer,
    /// the stream may be that of another instance.
    early_ms: Option<f64>,
    live: Timeline,
    /// Rows of a longer range or of a paused view.
    range_rows: Option<Vec<Row>>,
}

impl Dashboard {
    /// Applies an event. Returns whether the page must be drawn again.
    pub(crate) fn apply(&mut self, event: Event, now_ms: f64) -> bool {
        self.now_ms = now_ms;
        match event {
            // The stream may have been faster.
            Event::Early(_) if self.latest.is_some() => return false,
            Event::Early(reading) => {
                self.early_ms = Some(now_ms);
                self.show(reading);
            }
            Event::Sample(reading) => self.add_sample(reading, false),
            Event::Polled(reading) => self.add_sample(reading, true),
            Event::History(history) => self.replace_history(history),
            Event::RangeHistory(range, history) => {
                if self.view.range != range || self.paused.is_some() {
                    return false;
                }
                if self.instance().is_some_and(|instance| instance != history.instance) {
                    self.history_failure = Some(Failure::OtherInstance);
                    return true;
                }
                self.range_rows = Some(history.rows);
                self.history_failure = None;
            }
            Event::HistoryFailed(failure) => self.history_failure = Some(failure),
            Event::Annotations(instance, annotations) => {
                if self.instance() == Some(&instance) {
                    self.annotations = annotations;
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
            Event::View(view) => {
                // The current range ends a zoom, too.
                if view.range != self.view.range || self.paused.is_some() && view == self.view {
                    self.resume();
                    self.range_rows = None;
                    self.history_failure = None;
                }
                self.view = view;
            }
            Event::Settings(settings) => {
                self.settings = settings;
                self.update_alerts();
            }
            Event::Press(button) => self.press(&button),
            Event::Threshold(index, number) => {
                let is_set = self.settings.set_threshold(index, &number);
                self.invalid_threshold = (!is_set).then_some(index);
                self.update_alerts();
            }
            Event::Search(table, text) => {
                if let Some(search) = self.searches.get_mut(table) {
                    *search = text;
                }
            }
            Event::InTable(is_inside) => {
                self.in_table_ms = now_ms;
                if is_inside == self.table_snapshot.is_some() {
                    return false;
                }
                let tables = self.latest.as_ref().map(|latest| latest.tables.clone());
                self.table_snapshot = tables.filter(|_| is_inside);
            }
            Event::PointerMove(share) => {
                let hover = share.map(|share| self.time_at(share));
                if hover == self.hover {
                    return false;
                }
                self.hover = hover;
            }
            Event::DragStart(share) => {
                self.drag = Some(self.time_at(share));
                self.pause();
            }
            Event::DragEnd => return self.end_drag(),
            Event::DragCancel => {
                if self.hover.take().is_none() && self.drag.is_none() {
                    return false;
                }
                self.end_drag();
            }
            Event::Key(key) => return self.key(&key),
        }
        true
    }

    /// Instance of the page; `None` before its first sample.
    pub(crate) fn instance(&self) -> Option<&str> {
        self.latest
            .as_ref()
            .filter(|_| self.early_ms.is_none())
            .map(|latest| latest.instance.as_str())
    }

    /// Age of the latest sample; `None` if there is none.
    pub(crate) fn age_ms(&self) -> Option<f64> {
        self.latest.as_ref()?;
        Some((self.now_ms - self.received_ms).max(0.0))
    }

    /// Latest value of a metric, NaN if it is unknown.
    pub(crate) fn metric(&self, metric: Metric) -> f64 {
        self.latest.as_ref().map_or(f64::NAN, |latest| latest.metric(metric))
    }

    /// Value of a row. Memory adds up: shared memory is no cache, and no used memory is free.
    pub(crate) fn value(&self, row: &Row, metric: Metric) -> f64 {
        let value = row.value(metric);
        let unused = self.metric(Metric::MemoryTotal) - row.value(Metric::MemoryUsed);
        let rest = unused - row.value(Metric::MemoryFree);
        match metric {
            Metric::MemoryFree if unused < value => unused.max(0.0),
            Metric::MemoryCached if !(value + rest).is_nan() => rest.max(0.0),
            _ => value,
        }
    }

    /// Rows of a table: the snapshot while the viewer points at one, otherwise the latest.
    pub(crate) fn table(&self, index: usize) -> &[Vec<Cell>] {
        let latest = self.latest.as_ref().map(|latest| &latest.tables);
        let rows = self.table_snapshot.as_ref().or(latest).and_then(|tables| tables.get(index));
        rows.map_or(&[], Vec::as_slice)
    }

    /// Whether the instance changed recently.
    pub(crate) fn is_changed(&self) -> bool {
        self.changed_ms.is_some_and(|changed| self.now_ms - changed < NOTICE_MS)
    }

    /// Whether the charts show a longer range whose history is missing.
    pub(crate) fn needs_range(&self) -> bool {
        self.view.range > 0 && self.paused.is_none() && self.range_rows.is_none()
    }

    /// Rows of the last minutes, independent of the view.
    pub(crate) fn live(&self) -> &[Row] {
        self.live.rows()
    }

    /// Rows that the charts show; `None` while they are being fetched.
    pub(crate) fn rows(&self) -> Option<&[Row]> {
        match &self.range_rows {
            Some(rows) => Some(rows),
            None => (self.view.range == 0 && self.early_ms.is_none()).then_some(self.live.rows()),
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
        self.paused.unwrap_or((end - f64::from(range_ms) * 1_000.0, end))
    }

    /// Row at the time under the pointer; the latest row if there is no pointer.
    pub(crate) fn hovered_row(&self) -> Option<&Row> {
        let rows = self.rows()?;
        let Some(hover) = self.hover else { return rows.last() };
        rows.iter().find(|row| row.start_ms < hover && hover <= row.time_ms)
    }

    /// Whether the next sample is long overdue.
    pub(crate) fn is_stale(&self) -> bool {
        let interval_ms = self.latest.as_ref().map_or(0.0, |latest| latest.interval_ms);
        let timeout_ms = if self.is_hidden { HIDDEN_STALE_AFTER_MS } else { STALE_AFTER_MS };
        self.age_ms().is_some_and(|age| age > timeout_ms.max(interval_ms * 3.0))
    }

    /// Adds a sample.
    fn add_sample(&mut self, mut reading: Reading, is_polled: bool) {
        let mut row = reading.row();
        if self.early_ms.take().is_some() {
            self.latest = None;
        }
        let before = self.latest.as_ref();
        if before.is_some_and(|latest| latest.instance != reading.instance) {
            if is_polled && self.age_ms().is_some_and(|age| age < SWITCH_AFTER_MS) {
                self.failure = Some(Failure::OtherInstance);
                return;
            }
            self.reset();
        } else if let Some(latest) = before {
            // After a reconnect, the stream may repeat samples.
            if reading.sequence <= latest.sequence {
                return;
            }
            let ahead = reading.time_ms - latest.time_ms;
            if ahead <= 0.0 {
                // The machine's clock was set back, so earlier times are invalid.
                self.live.clear();
                self.needs_history = true;
            } else if is_polled && ahead < POLL_GAP_MS.max(reading.interval_ms * 3.0) {
                row.start_ms = row.start_ms.min(latest.time_ms);
            }
            let kills = reading.metric(Metric::OomKills) - latest.metric(Metric::OomKills);
            // An older service sends only the count.
            if kills > 0.0 && reading.state.is_none() {
                reading.annotations.push(Annotation {
                    time_ms: reading.time_ms,
                    kind: "oom_kill".to_owned(),
                    text: "Out of memory: a process was killed".to_owned(),
                });
            }
        }
        self.needs_history |= is_polled && self.live.rows().is_empty();
        self.live.push(row);
        self.annotations.append(&mut reading.annotations);
        let excess = self.annotations.len().saturating_sub(MAX_ANNOTATIONS);
        self.annotations.drain(..excess);
        self.link = Link::Live;
        self.failure = None;
        self.show(reading);
    }

    /// Makes a sample the latest one.
    fn show(&mut self, reading: Reading) {
        self.received_ms = self.now_ms;
        self.latest = Some(reading);
        self.update_alerts();
        if self.now_ms - self.in_table_ms > LIST_PAUSE_MS {
            self.table_snapshot = None;
        }
        // The crosshair of a pointer at rest leaves the window, where no row has values for it.
        let (begin, end) = self.window();
        self.hover = self.hover.filter(|&hover| hover >= begin - (end - begin) / 60.0);
    }

    /// Replaces the rows of the page by the service's history.
    fn replace_history(&mut self, history: History) {
        if self.instance().is_some_and(|instance| instance != history.instance) {
            self.reset();
            self.latest = None;
        }
        self.needs_history = false;
        self.history_failure = None;
        self.live.replace(history);
    }

    /// Resets the state for another instance. A paused view is kept.
    fn reset(&mut self) {
        self.live.clear();
        self.annotations.clear();
        self.own_levels = Default::default();
        if self.paused.is_none() {
            self.range_rows = None;
        }
        self.changed_ms = Some(self.now_ms);
    }

    fn press(&mut self, button: &str) {
        match button {
            "pause" if self.paused.is_some() => self.resume(),
            "pause" => self.pause(),
            "theme" => self.settings.next_theme(),
            "units" => self.settings.decimal = !self.settings.decimal,
            "notify" | "mute" => self.settings.notifies = button == "notify",
            "reset" => {
                self.settings.thresholds = Settings::default().thresholds;
                self.invalid_threshold = None;
                self.update_alerts();
            }
            _ => {
                let panel = button.strip_prefix("table-");
                let index = PANELS.iter().position(|candidate| Some(candidate.id) == panel);
                if let Some(open) = index.and_then(|index| self.tables.get_mut(index)) {
                    *open = !*open;
                }
            }
        }
    }

    /// Pauses the view with a copy of its rows, because the timeline advances.
    fn pause(&mut self) {
        if self.paused.is_none() {
            self.paused = Some(self.window());
            self.range_rows = self.rows().map(<[Row]>::to_vec);
        }
    }

    fn resume(&mut self) {
        self.paused = None;
        self.drag = None;
        // The rows of a paused view may belong to another instance.
        if self.view.range == 0 || self.is_changed() {
            self.range_rows = None;
        }
    }

    /// Zooms to the range of the drag. A drag without distance is a click.
    fn end_drag(&mut self) -> bool {
        let Some(from) = self.drag.take() else { return false };
        let to = self.hover.unwrap_or(from);
        let (begin, end) = self.window();
        // The pointer may move by a few pixels during a click.
        if (to - from).abs() * 50.0 > end - begin {
            let missing = (MIN_WINDOW_MS - (to - from).abs()).max(0.0) / 2.0;
            self.paused = Some((from.min(to) - missing, from.max(to) + missing));
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
            "+" if end - begin > MIN_WINDOW_MS => {
                self.pause();
                let half = ((end - begin) / 4.0).max(MIN_WINDOW_MS / 2.0);
                let middle = middle.max(begin + half).min(end - half);
                self.paused = Some((middle - half, middle + half));
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
