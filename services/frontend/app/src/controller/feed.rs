//! Samples and history: the event stream, and requests when the stream does not deliver them.
//!
//! Requests take over whenever samples are late, so that a proxy that buffers the stream costs only
//! freshness. A stream that is refused, or silent twice, is suspended for minutes.

use std::cell::{Cell, RefCell};

use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;

use super::{Controller, function};
use crate::alerts::Mark;
use crate::backoff::delay_ms;
use crate::decode::{self, Reading};
use crate::event_source::{EventSource, Message, Signal};
use crate::fetch::{self, Failure};
use crate::fields::Fields;
use crate::number::{contains, push_whole};
use crate::places::Places;
use crate::preferences::RANGES;
use crate::state::{Event, Link};

/// Silence after which a connection counts as dead and is replaced: a pulled cable does not close
/// it. It is twice the time after which values are shown as stale.
const DEAD_AFTER_MS: f64 = 10_000.0;

/// Consecutive silent connections after which the stream is suspended.
const MOST_SILENT: u32 = 2;

/// Duration of a suspension of the stream.
const BLOCKED_MS: f64 = 300_000.0;

/// Consecutive samples in time after which the stream counts as reliable again.
const STEADY: u32 = 3;

/// Time after which a sample is late, unless the sampler's interval is longer.
const LATE_MS: f64 = 2_500.0;

/// Interval of requests while samples are late, and while bytes of the stream still arrive. In that
/// case the connection is slow, and half as many requests leave it to the stream.
const POLL_MS: [f64; 2] = [2_000.0, 4_000.0];

/// Time after which a hidden tab closes its stream: a browser opens six connections to an origin,
/// and each stream uses one.
const RELEASE_AFTER_MS: f64 = 10_000.0;

/// Interval of requests for the title of a hidden tab.
const HIDDEN_POLL_MS: f64 = 10_000.0;

/// Interval at which the history of a longer range is fetched again; its rows cover a minute each.
const PAST_MS: f64 = 60_000.0;

/// Interval of the check for a different version of the page.
const VERSION_MS: f64 = 600_000.0;

/// Maximum number of immediate retries to reach the instance of the page: behind a load balancer,
/// other instances respond too.
const MOST_STRAYS: u32 = 3;

/// Path of the events of one hour; a service does not keep them longer.
const MARKS_PATH: &str = "/stats/events?seconds=3600";

/// Kind of request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Request {
    /// One sample.
    Sample,
    /// The history of the last minutes.
    History,
    /// The history of a longer range, by its index.
    Past(usize),
    /// The events of the instance.
    Marks,
    /// The page itself.
    Page,
}

/// State of the connection.
#[derive(Default)]
pub(super) struct Feed {
    base: String,
    places: Option<&'static Places>,
    /// Whether requests use the gateway's path to the instance of the page.
    is_pinned: Cell<bool>,
    /// Consecutive responses of other instances to requests for the stream.
    strays: Cell<u32>,
    /// Whether the stream has not delivered an event yet.
    is_fresh: Cell<bool>,
    source: RefCell<Option<EventSource>>,
    last_event_id: RefCell<String>,
    /// Failures since the last sample.
    attempt: Cell<u32>,
    /// Consecutive silent connections.
    silent: Cell<u32>,
    /// Consecutive samples that arrived in time.
    steady: Cell<u32>,
    /// Time at which bytes of the stream last arrived.
    heard_ms: Cell<f64>,
    /// Time at which a sample last arrived.
    sample_ms: Cell<f64>,
    blocked_until_ms: Cell<f64>,
    retry_at_ms: Cell<f64>,
    hidden_ms: Cell<Option<f64>>,
    is_polling: Cell<bool>,
    polled_ms: Cell<f64>,
    history_at_ms: Cell<f64>,
    past_at_ms: Cell<f64>,
    past_attempt: Cell<u32>,
    /// Index of the range that is being fetched.
    past_range: Cell<usize>,
    version_ms: Cell<f64>,
    /// Whether the events of the instance have to be fetched.
    wants_marks: Cell<bool>,
}

impl Feed {
    pub(super) fn new(base: &str, places: &'static Places) -> Self {
        Self { base: base.to_owned(), places: Some(places), ..Self::default() }
    }

    /// Whether this tab uses the stream of another tab instead of its own.
    pub(super) fn yields(&self, is_other_first: bool) -> bool {
        self.source.borrow().is_none() || (is_other_first && !self.is_fresh.get())
    }

    pub(super) fn remember(&self, id: &str) {
        id.clone_into(&mut self.last_event_id.borrow_mut());
    }
}

impl Controller {
    /// Opens a connection that replaces the current one.
    pub(super) fn connect(&self) {
        self.disconnect();
        let now = self.clock.now();
        self.feed.heard_ms.set(now);
        self.feed.steady.set(0);
        self.feed.is_fresh.set(true);
        let me = self.me.clone();
        let emit = move |signal| {
            if let Some(controller) = me.upgrade() {
                controller.on_signal(signal);
            }
        };
        let url = self.url("/stats/stream");
        let id = self.feed.last_event_id.borrow().clone();
        let source = EventSource::open(&self.window, &url, &id, Box::new(emit));
        *self.feed.source.borrow_mut() = source;
    }

    pub(super) fn disconnect(&self) {
        self.feed.retry_at_ms.set(f64::INFINITY);
        self.feed.source.take();
    }

    /// Address of a path of the service, or of the pinned instance.
    fn url(&self, path: &str) -> String {
        let dashboard = self.dashboard.borrow();
        match &dashboard.latest {
            Some(latest) if self.feed.is_pinned.get() => {
                [&self.feed.base, "/fleet/", &latest.instance, path].concat()
            }
            _ => [&self.feed.base, path].concat(),
        }
    }

    /// Pins the next requests to the instance, if the gateway has a path to it.
    fn pin(&self) {
        let is_listed = self.feed.places.is_some_and(|places| places.listed() > 1);
        self.feed.is_pinned.set(is_listed && !contains(&self.feed.base, "/fleet/"));
    }

    /// Whether a value belongs to an instance other than that of the page.
    pub(super) fn is_stray(&self, value: &JsValue) -> bool {
        let dashboard = self.dashboard.borrow();
        let latest = dashboard.latest.as_ref();
        latest.is_some_and(|latest| latest.instance != value.text_at("instance"))
    }

    fn on_signal(&self, signal: Signal) {
        match signal {
            Signal::Bytes => self.feed.heard_ms.set(self.clock.now()),
            Signal::Event(message) => self.on_message(&message),
            Signal::Closed(failure) => self.on_closed(failure),
        }
    }

    fn on_message(&self, message: &Message) {
        // Malformed data is ignored; the age of the values shows the problem.
        let Some(value) = fetch::parse(&message.data) else { return };
        let strays = self.feed.strays.get();
        if self.feed.is_fresh.replace(false) && strays < MOST_STRAYS && self.is_stray(&value) {
            self.feed.strays.set(strays + 1);
            self.pin();
            return self.connect();
        }
        match message.name.as_str() {
            "sample" => {
                let Some(reading) = decode::reading(&value) else { return };
                self.on_sample(&reading);
                self.feed.remember(&message.id);
                self.apply(Event::Sample(reading));
                self.share(message);
                if self.feed.wants_marks.replace(false) {
                    self.fetch_marks();
                }
            }
            "history" => {
                let Some(history) = decode::history(&value) else { return };
                let is_again = !self.feed.last_event_id.borrow().is_empty();
                self.apply(Event::History(history));
                if is_again {
                    self.check_version();
                }
                self.feed.wants_marks.set(true);
            }
            _ => {}
        }
    }

    /// Tracks the reliability of the stream.
    pub(super) fn on_sample(&self, reading: &Reading) {
        let feed = &self.feed;
        let now = self.clock.now();
        let gap = (now - feed.sample_ms.replace(now)) / reading.interval_ms;
        // A proxy that buffers the stream delivers several samples at once.
        let is_steady = gap > 0.3 && gap < 3.0;
        feed.steady.set(if is_steady { feed.steady.get() + 1 } else { 0 });
        if feed.steady.get() >= STEADY {
            feed.silent.set(0);
            feed.blocked_until_ms.set(0.0);
        }
        feed.attempt.set(0);
        feed.strays.set(0);
    }

    fn on_closed(&self, failure: Failure) {
        self.disconnect();
        let now = self.clock.now();
        // The pinned instance is gone, or the gateway has no path to it.
        let was_pinned = self.feed.is_pinned.replace(false);
        let is_refused = match failure {
            _ if was_pinned => false,
            Failure::Status(status) => (400..500).contains(&status) && status != 429,
            Failure::Unreadable => true,
            _ => false,
        };
        if is_refused {
            self.feed.blocked_until_ms.set(now + BLOCKED_MS);
        }
        if failure == Failure::SignedOut {
            self.apply(Event::Lost(failure));
        }
        let attempt = self.feed.attempt.get();
        self.feed.attempt.set(attempt.saturating_add(1));
        self.retry_after(delay_ms(attempt, js_sys::Math::random()));
        self.poll();
    }

    pub(super) fn retry_after(&self, delay_ms: i32) {
        let until_ms = self.clock.now() + f64::from(delay_ms);
        self.feed.retry_at_ms.set(until_ms.max(self.feed.blocked_until_ms.get()));
        // The ticker would trigger the retry up to a second later.
        let _ = self.window.set_timeout_with_callback_and_timeout_and_arguments_0(
            function(&self.on_retry),
            delay_ms,
        );
    }

    /// Opens a connection if a retry is due and the tab is visible.
    pub(super) fn on_retry(&self) {
        let is_due = self.clock.now() + 1.0 >= self.feed.retry_at_ms.get();
        if is_due && self.feed.source.borrow().is_none() && !self.document.hidden() {
            self.connect();
        }
    }

    /// Handles a change of the tab's visibility, and the return of the network.
    pub(super) fn on_wake(&self) {
        let is_hidden = self.document.hidden();
        self.feed.hidden_ms.set(is_hidden.then(|| self.clock.now()));
        self.apply(Event::Hidden(is_hidden));
        if is_hidden {
            return;
        }
        let now = self.clock.now();
        let is_blocked = now < self.feed.blocked_until_ms.get();
        let link = self.dashboard.borrow().link;
        // The samples of another tab arrive.
        let is_following =
            self.feed.retry_at_ms.get().is_finite() && now - self.feed.sample_ms.get() < LATE_MS;
        let is_closed = self.feed.source.borrow().is_none() && !is_following;
        if !is_blocked && (link != Link::Live || is_closed) {
            self.feed.attempt.set(0);
            self.connect();
        }
        self.apply(Event::Tick);
        self.draw();
    }

    pub(super) fn on_tick(&self) {
        let feed = &self.feed;
        let now = self.clock.now();
        let (link, interval_ms, wants_history, has_range) = {
            let dashboard = self.dashboard.borrow();
            let interval_ms = dashboard.latest.as_ref().map_or(0.0, |latest| latest.interval_ms);
            (dashboard.link, interval_ms, dashboard.wants_history, dashboard.view.range > 0)
        };
        let silence_ms = now - feed.heard_ms.get();
        let is_open = feed.source.borrow().is_some();
        if is_open && silence_ms > DEAD_AFTER_MS.max(interval_ms * 4.0) {
            feed.silent.set(feed.silent.get() + 1);
            if feed.silent.get() >= MOST_SILENT && link == Link::Live {
                feed.blocked_until_ms.set(now + BLOCKED_MS);
                self.disconnect();
                self.retry_after(0);
            } else {
                self.connect();
            }
        }
        self.on_retry();
        let hidden_ms = feed.hidden_ms.get().map_or(0.0, |since| now - since);
        if is_open && hidden_ms > RELEASE_AFTER_MS {
            self.disconnect();
        }
        let is_late = now - feed.sample_ms.get() > LATE_MS.max(interval_ms * 2.5);
        let pause_ms = if hidden_ms > 0.0 {
            HIDDEN_POLL_MS
        } else {
            POLL_MS[usize::from(is_open && silence_ms < POLL_MS[0])]
        };
        // The ticker is not exact, so there is a tolerance.
        if is_late && now - feed.polled_ms.get() > pause_ms - 100.0 {
            self.poll();
        }
        if wants_history && now >= feed.history_at_ms.get() {
            self.fetch_history();
        }
        if has_range {
            self.fetch_past();
        }
        if now - feed.version_ms.get() > VERSION_MS && hidden_ms <= 0.0 {
            if feed.version_ms.get() > 0.0 {
                self.check_version();
            }
            feed.version_ms.set(now);
        }
        self.apply(Event::Tick);
    }

    /// Requests one sample. Its failure shows why a stream was refused: 503 means that the service
    /// has no sample yet.
    fn poll(&self) {
        if self.feed.is_polling.replace(true) {
            return;
        }
        self.feed.polled_ms.set(self.clock.now());
        self.request(Request::Sample, 0);
    }

    /// Requests the history of the last minutes, which the stream would have sent.
    fn fetch_history(&self) {
        self.feed.history_at_ms.set(self.clock.now() + DEAD_AFTER_MS);
        self.request(Request::History, 0);
    }

    /// Requests the history of a longer range, if it is due.
    pub(super) fn fetch_past(&self) {
        let feed = &self.feed;
        let now = self.clock.now();
        let (range, wants_past, is_frozen) = {
            let dashboard = self.dashboard.borrow();
            (dashboard.view.range, dashboard.wants_past(), dashboard.frozen.is_some())
        };
        if range == 0 {
            return;
        }
        let is_due = now >= feed.past_at_ms.get() && !self.document.hidden() && !is_frozen;
        // A new range or instance is fetched at once.
        let is_new = wants_past && feed.past_attempt.get() == 0 && feed.past_range.get() == 0;
        if !(is_due || is_new || (wants_past && feed.past_range.get() != range)) {
            return;
        }
        feed.past_at_ms.set(now + PAST_MS);
        feed.past_range.set(range);
        self.request(Request::Past(range), 0);
    }

    /// Requests the events of the instance. An older service, which sends no state, has none.
    fn fetch_marks(&self) {
        let has_states = {
            let dashboard = self.dashboard.borrow();
            dashboard.latest.as_ref().is_some_and(|latest| latest.state.is_some())
        };
        if has_states {
            self.request(Request::Marks, 0);
        }
    }

    /// Checks for a different version of the page.
    fn check_version(&self) {
        self.request(Request::Page, 0);
    }

    fn url_of(&self, request: Request) -> String {
        match request {
            Request::Sample => self.url("/stats"),
            Request::History => self.url("/stats/history"),
            Request::Past(range) => {
                let mut url = self.url("/stats/history?step=60&seconds=");
                push_whole(&mut url, RANGES.get(range).map_or(0, |range| i64::from(range.2)));
                url
            }
            Request::Marks => self.url(MARKS_PATH),
            Request::Page => self.window.location().pathname().unwrap_or_default(),
        }
    }

    /// Sends a request. All requests share this function, because each future is 1 kB of code.
    fn request(&self, request: Request, strays: u32) {
        let (me, window) = (self.me.clone(), self.window.clone());
        let url = self.url_of(request);
        spawn_local(async move {
            let answer = fetch::text(&window, &url, request == Request::Page).await;
            if let Some(controller) = me.upgrade() {
                controller.on_answer(request, strays, answer);
            }
        });
    }

    fn on_answer(&self, request: Request, strays: u32, answer: Result<String, Failure>) {
        let feed = &self.feed;
        if request == Request::Page {
            let own = self.element("link[rel=modulepreload]");
            let own = own.and_then(|own| own.get_attribute("href"));
            // A sign-in page is not a version of the page.
            if let (Ok(text), Some(own)) = (answer, own)
                && contains(&text, "backend-service-url")
                && !contains(&text, &own)
            {
                self.apply(Event::Outdated);
            }
            return;
        }
        let answer = answer.and_then(|text| fetch::parse(&text).ok_or(Failure::Unreadable));
        let is_stray = match &answer {
            Ok(value) => self.is_stray(value),
            Err(_) => feed.is_pinned.get(),
        };
        if is_stray && strays < MOST_STRAYS {
            feed.is_pinned.set(false);
            if answer.is_ok() {
                self.pin();
            }
            return self.request(request, strays + 1);
        }
        match request {
            Request::Sample => {
                feed.is_polling.set(false);
                let was_live = self.dashboard.borrow().link == Link::Live;
                let reading =
                    answer.and_then(|value| decode::reading(&value).ok_or(Failure::Unreadable));
                let is_there = reading.is_ok();
                self.apply(match reading {
                    Ok(reading) => Event::Polled(reading),
                    Err(Failure::Status(503)) => Event::Starting,
                    Err(failure) => Event::Lost(failure),
                });
                // The service is available again, so the stream is retried at once.
                if is_there && !was_live && feed.retry_at_ms.get().is_finite() {
                    self.retry_after(0);
                }
            }
            Request::Past(range) => {
                if feed.past_range.get() != range {
                    return;
                }
                feed.past_range.set(0);
                let history =
                    answer.and_then(|value| decode::history(&value).ok_or(Failure::Unreadable));
                self.apply(match history {
                    Ok(history) => Event::Past(range, history),
                    Err(failure) => Event::PastFailed(failure),
                });
                let is_failed = self.dashboard.borrow().past_failure.is_some();
                let attempt = if is_failed { feed.past_attempt.get().saturating_add(1) } else { 0 };
                feed.past_attempt.set(attempt);
                if is_failed {
                    // The first delay is one second.
                    let delay_ms = f64::from(delay_ms(attempt, 1.0));
                    feed.past_at_ms.set(self.clock.now() + delay_ms);
                }
            }
            Request::History => {
                let history =
                    answer.and_then(|value| decode::history(&value).ok_or(Failure::Unreadable));
                self.apply(match history {
                    Ok(_) if is_stray => Event::PastFailed(Failure::OtherInstance),
                    Ok(history) => Event::History(history),
                    Err(failure) => Event::PastFailed(failure),
                });
            }
            _ => {
                if let Ok(value) = answer {
                    self.apply(Event::Marks(value.text_at("instance"), Mark::list(&value)));
                }
            }
        }
    }
}
