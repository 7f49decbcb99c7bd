//! One stream for all tabs of a browser: it opens six connections to an origin, and each stream holds
//! one. A tab with a stream passes its samples on, and they are its signs of life, too: where none
//! comes in time, another tab opens a stream. Tabs with other instances are left to themselves.

use js_sys::Array;
use wasm_bindgen::JsValue;

use super::Controller;
use crate::decode;
use crate::event_source::Message;
use crate::fetch;
use crate::fields::Fields;
use crate::state::Event;

impl Controller {
    /// Passes a sample of this tab's stream on.
    pub(super) fn share(&self, message: &Message) {
        if let Some(channel) = &self.channel {
            let [id, data] = [&message.id, &message.data].map(|text| text.as_str().into());
            let _ = channel.post_message(&Array::of3(&self.tab.into(), &id, &data));
        }
    }

    /// Takes a sample of another tab's stream.
    pub(super) fn on_shared(&self, message: &JsValue) {
        let Some(value) = fetch::parse(&message.text_at("2")) else { return };
        let Some(reading) = decode::reading(&value) else { return };
        if self.is_stray(&value) {
            return;
        }
        self.on_sample(&reading);
        // Of two tabs that have a stream and its history, one goes on.
        let is_other = message.number_at("0") < Some(self.tab);
        if self.feed.yields(is_other) {
            self.disconnect();
            // Not all others at the same time; the second one is told before it connects.
            let share = 1.5 + js_sys::Math::random() / 4.0;
            let delay_ms = crate::number::scaled(reading.interval_ms, share);
            self.retry_after(delay_ms.try_into().unwrap_or(i32::MAX));
        }
        self.feed.remember(&message.text_at("1"));
        let is_first = self.dashboard.borrow().latest.is_none();
        self.apply(if is_first { Event::Polled(reading) } else { Event::Sample(reading) });
    }
}
