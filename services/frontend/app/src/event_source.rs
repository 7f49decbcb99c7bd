//! A connection to an event stream.

use js_sys::Function;
use web_sys::EventSource as Source;

/// Events of the stream, and of the connection.
const EVENTS: [&str; 4] = ["sample", "history", "open", "error"];

/// An open connection; dropping it closes it.
pub(crate) struct EventSource {
    source: Source,
    listener: Function,
}

impl EventSource {
    /// Connects; `None` where the browser refuses the address.
    pub(crate) fn open(url: &str, listener: &Function) -> Option<Self> {
        let source = Source::new(url).ok()?;
        for name in EVENTS {
            let _ = source.add_event_listener_with_callback(name, listener);
        }
        Some(Self { source, listener: listener.clone() })
    }

    /// Whether the browser is connecting again by itself.
    pub(crate) fn is_connecting(&self) -> bool {
        self.source.ready_state() == Source::CONNECTING
    }
}

impl Drop for EventSource {
    fn drop(&mut self) {
        for name in EVENTS {
            let _ = self.source.remove_event_listener_with_callback(name, &self.listener);
        }
        self.source.close();
    }
}
