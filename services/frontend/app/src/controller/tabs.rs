//! One stream for all tabs of a browser: it opens six connections to an origin, and each stream
//! uses one. A tab with a stream forwards its samples. If none arrives in time, another tab opens a
//! stream. Samples of other instances are ignored.

use js_sys::Array;
use wasm_bindgen::JsValue;

use super::Controller;
use crate::decode;
use crate::event_source::Message;
use crate::fetch;
use crate::fields::Fields;
use crate::state::Event;

impl Controller {
    /// Forwards a sample of this tab's stream to the other tabs.
    pub(super) fn share(&self, message: &Message) {
        if let Some(channel) = &self.channel {
            let [id, data] = [&message.id, &message.data].map(|text| text.as_str().into());
            let _ = channel.post_message(&Array::of3(&self.tab.into(), &id, &data));
        }
    }

    /// Handles a sample of another tab's stream.
    pub(super) fn on_shared(&self, message: &JsValue) {
        let Some(value) = fetch::parse(&message.text_at("2")) else { return };
        let Some(reading) = decode::reading(&value) else { return };
        if self.is_other_instance(&value) {
            return;
        }
        self.on_sample(&reading);
        // Of two tabs with a stream and its history, one closes its stream.
        let is_other = message.number_at("0") < Some(self.tab);
        if self.connection.yields(is_other) {
            self.disconnect();
            // The delay is random, so that the other tabs receive a sample of the first one that
            // connects.
            let share = 1.5 + js_sys::Math::random() / 4.0;
            let delay_ms = crate::number::scaled(reading.interval_ms, share);
            self.retry_after(delay_ms.try_into().unwrap_or(i32::MAX));
        }
        self.connection.set_last_event_id(&message.text_at("1"));
        let is_first = self.dashboard.borrow().instance().is_none();
        self.apply(if is_first { Event::Polled(reading) } else { Event::Sample(reading) });
    }
}
