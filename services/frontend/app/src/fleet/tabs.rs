//! Merged stream, which one tab of a browser holds for all of them: a browser opens six connections
//! to an origin, and each stream uses one.

use wasm_bindgen::JsValue;

use super::controller::FleetController;
use crate::backoff::delay_ms;
use crate::event_source::{EventSource, Signal};

/// Time for which a tab waits for a response of the tab that holds the stream; messages between
/// tabs take a millisecond.
const LEADER_RESPONSE_MS: i32 = 150;

/// Silence after which the tab that holds the stream counts as closed: three of its heartbeats.
const LEADER_LOST_MS: f64 = 3_000.0;

/// Silence after which the connection is replaced.
const DEAD_AFTER_MS: f64 = 10_000.0;

/// Message to the other tabs that this tab has closed its stream.
const LEADER_CLOSED: f64 = -1.0;

impl FleetController {
    /// Sends the leader's heartbeat. A visible tab without a leader takes the lead; other tabs
    /// announce that they follow.
    pub(super) fn update_leadership(&'static self, now: f64, is_visible: bool) {
        if self.is_leader.get() {
            self.post(&self.id.into());
            let is_dead = now - self.last_bytes_ms.get() > DEAD_AFTER_MS;
            if is_dead && self.source.borrow().is_some() || now > self.retry_ms.get() {
                self.connect();
            }
        } else if is_visible && now - self.leader_ms.get() > LEADER_LOST_MS {
            self.is_leader.set(true);
            self.connect();
        } else {
            self.post(&JsValue::TRUE);
        }
    }

    pub(super) fn connect(&'static self) {
        let url = [&self.backend, "/fleet/stream"].concat();
        self.retry_ms.set(f64::INFINITY);
        self.last_bytes_ms.set(self.clock.now());
        // The previous connection is closed first.
        self.source.take();
        let source =
            EventSource::open(&self.window, &url, "", Box::new(|signal| self.on_signal(signal)));
        *self.source.borrow_mut() = source;
    }

    fn on_closed(&self) {
        self.fleet.borrow_mut().set_disconnected();
        self.draw();
        self.source.take();
        let attempt = self.attempt.get();
        self.attempt.set(attempt.saturating_add(1));
        let delay = f64::from(delay_ms(attempt, js_sys::Math::random()));
        self.retry_ms.set(self.clock.now() + delay);
    }

    fn on_signal(&self, signal: Signal) {
        match signal {
            Signal::Bytes => self.last_bytes_ms.set(self.clock.now()),
            Signal::Event(message) => {
                self.attempt.set(0);
                self.merge(&message.data);
                // Sending half a megabyte takes a millisecond even without a receiver.
                if self.clock.now() - self.follower_ms.get() < LEADER_LOST_MS {
                    self.post(&message.data.into());
                }
            }
            Signal::Closed(_) => self.on_closed(),
        }
    }

    /// Requests the stream from the tab that holds it.
    pub(super) fn request_stream(&'static self) {
        self.post(&JsValue::NULL);
        // Without a response in time, the next tick takes the lead.
        self.leader_ms.set(if self.channel.is_some() {
            self.clock.now() + f64::from(LEADER_RESPONSE_MS) - LEADER_LOST_MS - 50.0
        } else {
            f64::NEG_INFINITY
        });
        if let Some(tick) = &*self.on_tick.borrow() {
            let _ = self
                .window
                .set_timeout_with_callback_and_timeout_and_arguments_0(tick, LEADER_RESPONSE_MS);
        }
    }

    /// Handles a message: `null` requests the stream, `true` announces a follower, a number is the
    /// heartbeat of the leader, a text is its data.
    pub(super) fn on_message(&'static self, message: &JsValue) {
        let is_leader = self.is_leader.get();
        if let Some(text) = message.as_string() {
            if !is_leader {
                self.leader_ms.set(self.clock.now());
                self.merge(&text);
            }
        } else if let Some(id) = message.as_f64() {
            if id < 0.0 {
                self.leader_ms.set(f64::NEG_INFINITY);
                self.on_tick();
            } else if !is_leader || id < self.id {
                self.leader_ms.set(self.clock.now());
                self.is_leader.set(false);
                self.source.take();
            }
        } else if is_leader {
            self.follower_ms.set(self.clock.now());
            if message.is_null() {
                self.post(&self.id.into());
                // A new stream begins with the complete state, which the new tab needs.
                self.connect();
            }
        }
    }

    fn post(&self, message: &JsValue) {
        if let Some(channel) = &self.channel {
            let _ = channel.post_message(message);
        }
    }

    /// Closes the stream, so that another tab takes the lead.
    pub(super) fn release_leadership(&self) {
        if self.is_leader.replace(false) {
            self.source.take();
            self.post(&LEADER_CLOSED.into());
        }
    }

    pub(super) fn on_visibility(&'static self) {
        if self.document.hidden() {
            self.release_leadership();
        } else {
            self.request_stream();
            self.draw();
        }
    }
}
