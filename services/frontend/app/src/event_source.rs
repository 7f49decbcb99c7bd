//! Event stream (HTML Standard, section 9.2), read with `fetch`. The browser's own `EventSource`
//! hides the status of an error response and the bytes of an incomplete event.

use std::cell::Cell;
use std::rc::Rc;

use js_sys::Uint8Array;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{AbortController, ReadableStreamDefaultReader, Window};

use crate::fetch::{self, Failure};
use crate::fields::Fields;
use crate::number::cut;

/// Maximum size of an event in bytes. Ten minutes of history take 90 kB, so a larger event does not
/// come from the service.
const MAX_EVENT_BYTES: usize = 4 << 20;

/// Signal of an event stream.
pub(crate) enum Signal {
    /// Bytes arrived.
    Bytes,
    /// An event is complete.
    Event(Message),
    /// The stream ended or could not be opened.
    Closed(Failure),
}

/// Event of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// Name of the event.
    pub(crate) name: String,
    /// Data of the event; several lines are joined by line feeds.
    pub(crate) data: String,
    /// ID of the event.
    pub(crate) id: String,
}

/// Open connection. Dropping it closes the connection.
pub(crate) struct EventSource {
    is_open: Rc<Cell<bool>>,
    abort: AbortController,
}

impl EventSource {
    /// Connects. The ID is sent only to the page's own origin: a cross-origin request with it would
    /// need a preflight.
    pub(crate) fn open(
        window: &Window,
        url: &str,
        last_event_id: &str,
        emit: Box<dyn Fn(Signal)>,
    ) -> Option<Self> {
        let abort = AbortController::new().ok()?;
        let is_open = Rc::new(Cell::new(true));
        let (window, url, id) = (window.clone(), url.to_owned(), last_event_id.to_owned());
        let (signal, is_still_open) = (abort.signal(), Rc::clone(&is_open));
        spawn_local(async move {
            let emit = |signal| {
                let is_open = is_still_open.get();
                if is_open {
                    emit(signal);
                }
                is_open
            };
            let accept = ("accept", "text/event-stream");
            let headers = [accept, ("last-event-id", &id)];
            let count = if id.is_empty() || !url.starts_with('/') { 1 } else { 2 };
            let failure = match fetch::request(&window, &url, &headers[..count], &signal).await {
                Ok(response) => match response.body() {
                    Some(body) => read(body.get_reader().unchecked_into(), &emit).await,
                    None => Failure::Unreadable,
                },
                Err(failure) => failure,
            };
            emit(Signal::Closed(failure));
        });
        Some(Self { is_open, abort })
    }
}

impl Drop for EventSource {
    fn drop(&mut self) {
        self.is_open.set(false);
        self.abort.abort();
    }
}

async fn read(reader: ReadableStreamDefaultReader, emit: &impl Fn(Signal) -> bool) -> Failure {
    let mut parser = Parser::default();
    loop {
        let Ok(chunk) = JsFuture::from(reader.read()).await else { return Failure::Network };
        let Some(bytes) = chunk.get("value") else { return Failure::Network };
        let bytes = bytes.unchecked_into::<Uint8Array>().to_vec();
        if !emit(Signal::Bytes) {
            return Failure::Network;
        }
        for message in parser.push(&bytes) {
            emit(Signal::Event(message));
        }
        if parser.len() > MAX_EVENT_BYTES {
            return Failure::Unreadable;
        }
    }
}

/// Parser that splits bytes into events.
#[derive(Default)]
struct Parser {
    line: Vec<u8>,
    message: Message,
}

impl Parser {
    /// Returns the events that these bytes complete.
    fn push(&mut self, bytes: &[u8]) -> Vec<Message> {
        let mut complete = Vec::new();
        let mut parts = bytes.split(|&byte| byte == b'\n');
        let mut part = parts.next().unwrap_or_default();
        for next in parts {
            self.line.extend_from_slice(part);
            part = next;
            // A line that is not UTF-8 does not come from the service.
            let line = String::from_utf8(std::mem::take(&mut self.line)).unwrap_or_default();
            complete.extend(self.line(line.strip_suffix('\r').unwrap_or(&line)));
        }
        self.line.extend_from_slice(part);
        complete
    }

    fn line(&mut self, line: &str) -> Option<Message> {
        if line.is_empty() {
            let id = self.message.id.clone();
            let message =
                std::mem::replace(&mut self.message, Message { id, ..Message::default() });
            return (!message.data.is_empty()).then_some(message);
        }
        let (name, value) = cut(line, b':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => {
                if !self.message.data.is_empty() {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
            }
            "event" => value.clone_into(&mut self.message.name),
            "id" => value.clone_into(&mut self.message.id),
            _ => {}
        }
        None
    }

    fn len(&self) -> usize {
        self.line.len() + self.message.data.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "retry: 300\n\nid: a-1\r\nevent: sample\r\ndata: {\"a\":\ndata:1}\r\n\n: alive\n\n";

    #[test]
    fn events_are_split_at_any_byte() {
        let expected = Message {
            name: "sample".to_owned(),
            data: "{\"a\":\n1}".to_owned(),
            id: "a-1".to_owned(),
        };
        for index in 0..TEXT.len() {
            let mut parser = Parser::default();
            let mut found = parser.push(&TEXT.as_bytes()[..index]);
            found.extend(parser.push(&TEXT.as_bytes()[index..]));
            assert_eq!(found, std::slice::from_ref(&expected), "{index}");
        }
    }

    #[test]
    fn an_unterminated_line_counts_toward_the_length() {
        let mut parser = Parser::default();
        assert!(parser.push(&[b'x'; 1_000]).is_empty());
        assert_eq!(parser.len(), 1_000);
    }

    #[test]
    fn invalid_utf8_is_not_an_event() {
        assert!(Parser::default().push(b"data: \xff\n\n").is_empty());
    }
}
