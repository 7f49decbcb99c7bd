//! Requests for samples and histories that the event stream does not deliver.

use wasm_bindgen_futures::spawn_local;

use super::Controller;
use super::connection::{DEAD_AFTER_MS, MAX_MISROUTED};
use crate::alerts::Annotation;
use crate::backoff::delay_ms;
use crate::decode;
use crate::fetch::{self, Failure};
use crate::fields::Fields;
use crate::number::push_integer;
use crate::preferences::RANGES;
use crate::state::{Event, Link};

/// Interval at which the history of a longer range is fetched again; its rows cover a minute each.
const RANGE_POLL_MS: f64 = 60_000.0;

/// Path of the events of one hour; a service does not keep them longer.
const EVENTS_PATH: &str = "/stats/events?seconds=3600";

/// Kind of request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Request {
    /// One sample.
    Sample,
    /// The history of the last minutes.
    History,
    /// The history of a longer range, by its index.
    RangeHistory(usize),
    /// The events of the instance.
    Events,
}

impl Controller {
    /// Requests one sample. Its failure shows why a stream was refused: 503 means that the service
    /// has no sample yet.
    pub(super) fn poll(&self) {
        if self.connection.is_polling.replace(true) {
            return;
        }
        self.connection.polled_ms.set(self.clock.now());
        self.request(Request::Sample, 0);
    }

    /// Requests the history of the last minutes, which the stream would have sent.
    pub(super) fn fetch_history(&self) {
        self.connection.history_at_ms.set(self.clock.now() + DEAD_AFTER_MS);
        self.request(Request::History, 0);
    }

    /// Requests the history of a longer range, if it is due.
    pub(super) fn fetch_range(&self) {
        let connection = &self.connection;
        let now = self.clock.now();
        let (range, needs_range, is_paused) = {
            let dashboard = self.dashboard.borrow();
            (dashboard.view.range, dashboard.needs_range(), dashboard.paused.is_some())
        };
        if range == 0 {
            return;
        }
        let is_due = now >= connection.range_due_ms.get() && !self.document.hidden() && !is_paused;
        // A new range or instance is fetched at once.
        let is_changed = needs_range
            && connection.range_attempt.get() == 0
            && connection.pending_range.get() == 0;
        if !(is_due || is_changed || (needs_range && connection.pending_range.get() != range)) {
            return;
        }
        connection.range_due_ms.set(now + RANGE_POLL_MS);
        connection.pending_range.set(range);
        self.request(Request::RangeHistory(range), 0);
    }

    /// Requests the events of the instance. An older service, which sends no state, has none.
    pub(super) fn fetch_events(&self) {
        let has_states = {
            let dashboard = self.dashboard.borrow();
            dashboard.latest.as_ref().is_some_and(|latest| latest.state.is_some())
        };
        if has_states {
            self.request(Request::Events, 0);
        }
    }

    fn url_of(&self, request: Request) -> String {
        match request {
            Request::Sample => self.url("/stats"),
            Request::History => self.url("/stats/history"),
            Request::RangeHistory(range) => {
                let mut url = self.url("/stats/history?step=60&seconds=");
                push_integer(&mut url, RANGES.get(range).map_or(0, |range| i64::from(range.2)));
                url
            }
            Request::Events => self.url(EVENTS_PATH),
        }
    }

    /// Sends a request. All requests share this function, because each future is 1 kB of code.
    fn request(&self, request: Request, misrouted: u32) {
        let (weak_self, window) = (self.weak_self.clone(), self.window.clone());
        let url = self.url_of(request);
        spawn_local(async move {
            let response = fetch::text(&window, &url).await;
            if let Some(controller) = weak_self.upgrade() {
                controller.on_response(request, misrouted, response);
            }
        });
    }

    fn on_response(&self, request: Request, misrouted: u32, response: Result<String, Failure>) {
        let connection = &self.connection;
        let response = response.and_then(|text| fetch::parse(&text).ok_or(Failure::Unreadable));
        let is_other_instance = match &response {
            Ok(value) => self.is_other_instance(value),
            Err(_) => connection.is_pinned.get(),
        };
        if is_other_instance && misrouted < MAX_MISROUTED {
            connection.is_pinned.set(false);
            if response.is_ok() {
                self.pin();
            }
            return self.request(request, misrouted + 1);
        }
        match request {
            Request::Sample => {
                connection.is_polling.set(false);
                let was_live = self.dashboard.borrow().link == Link::Live;
                let reading =
                    response.and_then(|value| decode::reading(&value).ok_or(Failure::Unreadable));
                let is_available = reading.is_ok();
                self.apply(match reading {
                    Ok(reading) => Event::Polled(reading),
                    Err(Failure::Status(503)) => Event::Starting,
                    Err(failure) => Event::Lost(failure),
                });
                // The service is available again, so the stream is retried at once.
                if is_available && !was_live && connection.retry_at_ms.get().is_finite() {
                    self.retry_after(0);
                }
            }
            Request::RangeHistory(range) => {
                if connection.pending_range.get() != range {
                    return;
                }
                connection.pending_range.set(0);
                let history =
                    response.and_then(|value| decode::history(&value).ok_or(Failure::Unreadable));
                self.apply(match history {
                    Ok(history) => Event::RangeHistory(range, history),
                    Err(failure) => Event::HistoryFailed(failure),
                });
                let is_failed = self.dashboard.borrow().history_failure.is_some();
                let attempt =
                    if is_failed { connection.range_attempt.get().saturating_add(1) } else { 0 };
                connection.range_attempt.set(attempt);
                if is_failed {
                    // The first delay is one second.
                    let delay_ms = f64::from(delay_ms(attempt, 1.0));
                    connection.range_due_ms.set(self.clock.now() + delay_ms);
                }
            }
            Request::History => {
                let history =
                    response.and_then(|value| decode::history(&value).ok_or(Failure::Unreadable));
                self.apply(match history {
                    Ok(_) if is_other_instance => Event::HistoryFailed(Failure::OtherInstance),
                    Ok(history) => Event::History(history),
                    Err(failure) => Event::HistoryFailed(failure),
                });
            }
            Request::Events => {
                if let Ok(value) = response {
                    self.apply(Event::Annotations(
                        value.text_at("instance"),
                        Annotation::list(&value),
                    ));
                }
            }
        }
    }
}
