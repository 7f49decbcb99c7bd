//! Event stream with the samples, and its reconnection.
//!
//! Requests take over whenever samples are late, so that a proxy that buffers the stream costs only
//! freshness. A stream that is refused, or silent twice, is suspended for minutes.

use std::cell::{Cell, RefCell};

use wasm_bindgen::JsValue;

use super::Controller;
use crate::backoff::delay_ms;
use crate::browser;
use crate::decode::{self, Reading};
use crate::event_source::{EventSource, Message, Signal};
use crate::fetch::{self, Failure};
use crate::fields::Fields;
use crate::number::contains;
use crate::router::Router;
use crate::state::{Event, Link};

/// Silence after which a connection counts as dead and is replaced: a pulled cable does not close
/// it. It is twice the time after which values are shown as stale.
pub(super) const DEAD_AFTER_MS: f64 = 10_000.0;

/// Consecutive silent connections after which the stream is suspended.
const MAX_SILENT: u32 = 2;

/// Duration of a suspension of the stream.
const SUSPENSION_MS: f64 = 300_000.0;

/// Consecutive samples in time after which the stream counts as reliable again.
const STEADY: u32 = 3;

/// Time after which a sample is late, unless the sampler's interval is longer.
const LATE_MS: f64 = 2_500.0;

/// Interval of requests while samples are late, and while bytes of the stream still arrive. In that
/// case the connection is slow, and half as many requests leave it to the stream.
const POLL_MS: [f64; 2] = [2_000.0, 4_000.0];

/// Time after which a hidden tab closes its stream: a browser opens six connections to an origin,
/// and each stream uses one.
const CLOSE_HIDDEN_AFTER_MS: f64 = 10_000.0;

/// Interval of requests for the title of a hidden tab.
const HIDDEN_POLL_MS: f64 = 10_000.0;

/// Maximum number of immediate retries to reach the instance of the page: behind a load balancer,
/// other instances respond too.
pub(super) const MAX_MISROUTED: u32 = 3;

/// State of the connection.
#[derive(Default)]
pub(super) struct Connection {
    base: String,
    router: Option<&'static Router>,
    /// Whether requests use the gateway's path to the instance of the page.
    pub(super) is_pinned: Cell<bool>,
    /// Consecutive responses of other instances to requests for the stream.
    misrouted: Cell<u32>,
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
    last_bytes_ms: Cell<f64>,
    /// Time at which a sample last arrived.
    sample_ms: Cell<f64>,
    suspended_until_ms: Cell<f64>,
    pub(super) retry_at_ms: Cell<f64>,
    hidden_ms: Cell<Option<f64>>,
    pub(super) is_polling: Cell<bool>,
    pub(super) polled_ms: Cell<f64>,
    pub(super) history_at_ms: Cell<f64>,
    pub(super) range_due_ms: Cell<f64>,
    pub(super) range_attempt: Cell<u32>,
    /// Index of the range that is being fetched.
    pub(super) pending_range: Cell<usize>,
    /// Whether the events of the instance have to be fetched.
    needs_events: Cell<bool>,
}

impl Connection {
    pub(super) fn new(base: &str, router: &'static Router) -> Self {
        Self { base: base.to_owned(), router: Some(router), ..Self::default() }
    }

    /// Whether this tab uses the stream of another tab instead of its own.
    pub(super) fn yields(&self, is_other_first: bool) -> bool {
        self.source.borrow().is_none() || (is_other_first && !self.is_fresh.get())
    }

    pub(super) fn set_last_event_id(&self, id: &str) {
        id.clone_into(&mut self.last_event_id.borrow_mut());
    }
}

impl Controller {
    /// Opens a connection that replaces the current one.
    pub(super) fn connect(&self) {
        self.disconnect();
        let now = self.clock.now();
        self.connection.last_bytes_ms.set(now);
        self.connection.steady.set(0);
        self.connection.is_fresh.set(true);
        let weak_self = self.weak_self.clone();
        let emit = move |signal| {
            if let Some(controller) = weak_self.upgrade() {
                controller.on_signal(signal);
            }
        };
        let url = self.url("/stats/stream");
        let id = self.connection.last_event_id.borrow().clone();
        let source = EventSource::open(&self.window, &url, &id, Box::new(emit));
        *self.connection.source.borrow_mut() = source;
    }

    pub(super) fn disconnect(&self) {
        self.connection.retry_at_ms.set(f64::INFINITY);
        self.connection.source.take();
    }

    /// Address of a path of the service, or of the pinned instance.
    pub(super) fn url(&self, path: &str) -> String {
        let dashboard = self.dashboard.borrow();
        match &dashboard.latest {
            Some(latest) if self.connection.is_pinned.get() => {
                [&self.connection.base, "/fleet/", &latest.instance, path].concat()
            }
            _ => [&self.connection.base, path].concat(),
        }
    }

    /// Pins the next requests to the instance, if the gateway has a path to it.
    pub(super) fn pin(&self) {
        let is_listed = self.connection.router.is_some_and(|router| router.member_count() > 1);
        self.connection.is_pinned.set(is_listed && !contains(&self.connection.base, "/fleet/"));
    }

    /// Whether a value belongs to an instance other than that of the page.
    pub(super) fn is_other_instance(&self, value: &JsValue) -> bool {
        let dashboard = self.dashboard.borrow();
        dashboard.instance().is_some_and(|instance| instance != value.text_at("instance"))
    }

    fn on_signal(&self, signal: Signal) {
        match signal {
            Signal::Bytes => self.connection.last_bytes_ms.set(self.clock.now()),
            Signal::Event(message) => self.on_message(&message),
            Signal::Closed(failure) => self.on_closed(failure),
        }
    }

    fn on_message(&self, message: &Message) {
        // Malformed data is ignored; the age of the values shows the problem.
        let Some(value) = fetch::parse(&message.data) else { return };
        let misrouted = self.connection.misrouted.get();
        if self.connection.is_fresh.replace(false)
            && misrouted < MAX_MISROUTED
            && self.is_other_instance(&value)
        {
            self.connection.misrouted.set(misrouted + 1);
            self.pin();
            return self.connect();
        }
        match message.name.as_str() {
            "sample" => {
                let Some(reading) = decode::reading(&value) else { return };
                self.on_sample(&reading);
                self.connection.set_last_event_id(&message.id);
                self.apply(Event::Sample(reading));
                self.share(message);
                if self.connection.needs_events.replace(false) {
                    self.fetch_events();
                }
            }
            "history" => {
                let Some(history) = decode::history(&value) else { return };
                let is_again = !self.connection.last_event_id.borrow().is_empty();
                self.apply(Event::History(history));
                if is_again {
                    let _ = browser::call("checkVersion", &[]);
                }
                self.connection.needs_events.set(true);
            }
            _ => {}
        }
    }

    /// Tracks the reliability of the stream.
    pub(super) fn on_sample(&self, reading: &Reading) {
        let connection = &self.connection;
        let now = self.clock.now();
        let gap = (now - connection.sample_ms.replace(now)) / reading.interval_ms;
        // A proxy that buffers the stream delivers several samples at once.
        let is_steady = gap > 0.3 && gap < 3.0;
        connection.steady.set(if is_steady { connection.steady.get() + 1 } else { 0 });
        if connection.steady.get() >= STEADY {
            connection.silent.set(0);
            connection.suspended_until_ms.set(0.0);
        }
        connection.attempt.set(0);
        connection.misrouted.set(0);
    }

    fn on_closed(&self, failure: Failure) {
        self.disconnect();
        let now = self.clock.now();
        // The pinned instance is gone, or the gateway has no path to it.
        let was_pinned = self.connection.is_pinned.replace(false);
        let is_refused = match failure {
            _ if was_pinned => false,
            Failure::Status(status) => (400..500).contains(&status) && status != 429,
            Failure::Unreadable => true,
            _ => false,
        };
        if is_refused {
            self.connection.suspended_until_ms.set(now + SUSPENSION_MS);
        }
        if failure == Failure::SignedOut {
            self.apply(Event::Lost(failure));
        }
        let attempt = self.connection.attempt.get();
        self.connection.attempt.set(attempt.saturating_add(1));
        self.retry_after(delay_ms(attempt, js_sys::Math::random()));
        self.poll();
    }

    pub(super) fn retry_after(&self, delay_ms: i32) {
        let until_ms = self.clock.now() + f64::from(delay_ms);
        self.connection.retry_at_ms.set(until_ms.max(self.connection.suspended_until_ms.get()));
        // The ticker would trigger the retry up to a second later.
        let _ = self
            .window
            .set_timeout_with_callback_and_timeout_and_arguments_0(&self.on_retry, delay_ms);
    }

    /// Opens a connection if a retry is due and the tab is visible.
    pub(super) fn on_retry(&self) {
        let is_due = self.clock.now() + 1.0 >= self.connection.retry_at_ms.get();
        if is_due && self.connection.source.borrow().is_none() && !self.document.hidden() {
            self.connect();
        }
    }

    /// Handles a change of the tab's visibility, and the return of the network.
    pub(super) fn on_wake(&self) {
        let is_hidden = self.document.hidden();
        self.connection.hidden_ms.set(is_hidden.then(|| self.clock.now()));
        self.apply(Event::Hidden(is_hidden));
        if is_hidden {
            return;
        }
        let now = self.clock.now();
        let is_suspended = now < self.connection.suspended_until_ms.get();
        let link = self.dashboard.borrow().link;
        // The samples of another tab arrive.
        let is_following = self.connection.retry_at_ms.get().is_finite()
            && now - self.connection.sample_ms.get() < LATE_MS;
        let is_closed = self.connection.source.borrow().is_none() && !is_following;
        if !is_suspended && (link != Link::Live || is_closed) {
            self.connection.attempt.set(0);
            self.connect();
        }
        self.apply(Event::Tick);
        self.draw();
    }

    pub(super) fn on_tick(&self) {
        let connection = &self.connection;
        let now = self.clock.now();
        let (link, interval_ms, needs_history, has_range) = {
            let dashboard = self.dashboard.borrow();
            let interval_ms = dashboard.latest.as_ref().map_or(0.0, |latest| latest.interval_ms);
            (dashboard.link, interval_ms, dashboard.needs_history, dashboard.view.range > 0)
        };
        let silence_ms = now - connection.last_bytes_ms.get();
        let is_open = connection.source.borrow().is_some();
        if is_open && silence_ms > DEAD_AFTER_MS.max(interval_ms * 4.0) {
            connection.silent.set(connection.silent.get() + 1);
            if connection.silent.get() >= MAX_SILENT && link == Link::Live {
                connection.suspended_until_ms.set(now + SUSPENSION_MS);
                self.disconnect();
                self.retry_after(0);
            } else {
                self.connect();
            }
        }
        self.on_retry();
        let hidden_ms = connection.hidden_ms.get().map_or(0.0, |since| now - since);
        if is_open && hidden_ms > CLOSE_HIDDEN_AFTER_MS {
            self.disconnect();
        }
        let is_late = now - connection.sample_ms.get() > LATE_MS.max(interval_ms * 2.5);
        let pause_ms = if hidden_ms > 0.0 {
            HIDDEN_POLL_MS
        } else {
            POLL_MS[usize::from(is_open && silence_ms < POLL_MS[0])]
        };
        // The ticker is not exact, so there is a tolerance.
        if is_late && now - connection.polled_ms.get() > pause_ms - 100.0 {
            self.poll();
        }
        if needs_history && now >= connection.history_at_ms.get() {
            self.fetch_history();
        }
        if has_range {
            self.fetch_range();
        }
        self.apply(Event::Tick);
    }
}
