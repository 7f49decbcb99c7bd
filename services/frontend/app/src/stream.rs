//! The browser's side of a sample's way: an `EventSource` that is kept alive, and everything that
//! has to be cleaned up after it.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use js_sys::Reflect;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{Document, EventSource, MessageEvent, Performance, Response, Window};
use wire::Sample;
use yew::{hook, use_effect_with, use_state};

use crate::backoff::delay_ms;
use crate::reading::{self, Fields};
use crate::state::{Dashboard, Event, Link};
use crate::words::title;

/// How often the age of the figures is looked at.
const TICK_MS: i32 = 1_000;

/// Silence after which a connection is taken for dead and replaced: a cable that was pulled says
/// nothing, and comments that keep a stream alive do not reach a page. Twice the time after which
/// figures are shown as old.
const DEAD_AFTER_MS: f64 = 10_000.0;

/// What is sent while the stream is well, and what says that it is not.
const STREAM_EVENTS: [&str; 3] = ["sample", "open", "error"];

/// The figures of the service at `backend` (empty: where the page came from), as they come in.
#[hook]
pub(crate) fn use_stream(backend: &str) -> Rc<Dashboard> {
    let shown = use_state(|| Rc::new(Dashboard::default()));
    let setter = shown.setter();
    use_effect_with(backend.to_owned(), move |backend| {
        let stream = web_sys::window()
            .and_then(|window| Stream::start(window, backend, move |now| setter.set(Rc::new(now))));
        move || drop(stream)
    });
    (*shown).clone()
}

/// A stream and all that listens to it; dropping it ends both.
struct Stream {
    window: Window,
    document: Document,
    /// Counts up whatever happens to the time of day.
    clock: Performance,
    snapshot_url: String,
    events_url: String,
    dashboard: RefCell<Dashboard>,
    show: Box<dyn Fn(Dashboard)>,
    source: RefCell<Option<EventSource>>,
    /// Tries since the last sample.
    attempt: Cell<u32>,
    /// When the connection last gave a sign of life.
    heard_ms: Cell<f64>,
    ticker: Cell<Option<i32>>,
    retry: Cell<Option<i32>>,
    on_event: Closure<dyn Fn(web_sys::Event)>,
    on_tick: Closure<dyn Fn()>,
    on_retry: Closure<dyn Fn()>,
    me: Weak<Self>,
}

impl Stream {
    fn start(
        window: Window,
        backend: &str,
        show: impl Fn(Dashboard) + 'static,
    ) -> Option<Rc<Self>> {
        let (document, clock) = (window.document()?, window.performance()?);
        // Whoever calls back holds the stream weakly: it may be gone by then.
        let stream = Rc::new_cyclic(|me: &Weak<Self>| {
            let (event, tick, retry) = (me.clone(), me.clone(), me.clone());
            Self {
                document,
                clock,
                snapshot_url: [backend, "/stats"].concat(),
                events_url: [backend, "/stats/stream"].concat(),
                dashboard: RefCell::default(),
                show: Box::new(show),
                source: RefCell::default(),
                attempt: Cell::default(),
                heard_ms: Cell::default(),
                ticker: Cell::default(),
                retry: Cell::default(),
                on_event: Closure::new(move |what| {
                    if let Some(stream) = event.upgrade() {
                        stream.on_event(&what);
                    }
                }),
                on_tick: Closure::new(move || {
                    if let Some(stream) = tick.upgrade() {
                        stream.on_tick();
                    }
                }),
                on_retry: Closure::new(move || {
                    if let Some(stream) = retry.upgrade() {
                        stream.connect();
                    }
                }),
                me: me.clone(),
                window,
            }
        });
        stream.connect();
        stream.ticker.set(
            stream
                .window
                .set_interval_with_callback_and_timeout_and_arguments_0(
                    function(&stream.on_tick),
                    TICK_MS,
                )
                .ok(),
        );
        // To come back to the page or to the network is a reason to try at once.
        let wake = function(&stream.on_event);
        let _ = stream.document.add_event_listener_with_callback("visibilitychange", wake);
        let _ = stream.window.add_event_listener_with_callback("online", wake);
        Some(stream)
    }

    /// Opens a new connection in place of the one there is.
    fn connect(&self) {
        self.disconnect();
        self.heard_ms.set(self.clock.now());
        // The address was checked when the server started; what the browser still refuses would be
        // refused for ever, and is shown as a connection that does not come about.
        let Ok(source) = EventSource::new(&self.events_url) else {
            self.apply(Event::Lost);
            return;
        };
        for name in STREAM_EVENTS {
            let _ = source.add_event_listener_with_callback(name, function(&self.on_event));
        }
        *self.source.borrow_mut() = Some(source);
    }

    fn disconnect(&self) {
        if let Some(retry) = self.retry.take() {
            self.window.clear_timeout_with_handle(retry);
        }
        if let Some(source) = self.source.take() {
            for name in STREAM_EVENTS {
                let _ = source.remove_event_listener_with_callback(name, function(&self.on_event));
            }
            source.close();
        }
    }

    fn on_event(&self, event: &web_sys::Event) {
        match event.type_().as_str() {
            "sample" => {
                let data = event.dyn_ref::<MessageEvent>().map(MessageEvent::data);
                // What cannot be read is no sample; the age of the figures will tell.
                if let Some(sample) = data.as_ref().and_then(sample_of) {
                    self.heard_ms.set(self.clock.now());
                    self.attempt.set(0);
                    self.apply(Event::Sample(sample));
                }
            }
            "open" => self.heard_ms.set(self.clock.now()),
            "error" => self.on_error(),
            _ => self.on_wake(),
        }
    }

    fn on_error(&self) {
        let state = self.source.borrow().as_ref().map(EventSource::ready_state);
        if state == Some(EventSource::CONNECTING) {
            // The browser tries again by itself, after the time that the server asked for.
            self.apply(Event::Lost);
        } else {
            // An answer that was no stream: the browser has given up and does not say why.
            self.ask_why();
            self.retry_later();
        }
    }

    fn on_wake(&self) {
        if self.document.hidden() {
            return;
        }
        let link = self.dashboard.borrow().link;
        if link != Link::Live {
            self.attempt.set(0);
            self.connect();
        }
        self.apply(Event::Tick);
        self.draw();
    }

    fn on_tick(&self) {
        let now = self.clock.now();
        let (link, interval) = {
            let dashboard = self.dashboard.borrow();
            let latest = dashboard.instance.as_ref().map(|instance| &instance.latest);
            (dashboard.link, latest.map_or(0.0, |sample| sample.interval_ms as f64))
        };
        let patience = DEAD_AFTER_MS.max(interval * 4.0);
        let silence_ms = now - self.heard_ms.get();
        let is_open = self.source.borrow().is_some();
        if is_open && silence_ms > patience {
            self.connect();
        }
        // A stream that opens and says nothing is a service that has not measured yet, or a proxy
        // that holds the stream back; the answer to an ordinary request tells which.
        if is_open && silence_ms > f64::from(TICK_MS) && link != Link::Live {
            self.ask_why();
        }
        self.apply(Event::Tick);
    }

    fn retry_later(&self) {
        self.disconnect();
        let attempt = self.attempt.get();
        self.attempt.set(attempt.saturating_add(1));
        self.retry.set(
            self.window
                .set_timeout_with_callback_and_timeout_and_arguments_0(
                    function(&self.on_retry),
                    delay_ms(attempt, js_sys::Math::random()),
                )
                .ok(),
        );
    }

    /// A stream that was refused does not say why, an ordinary request does: 503 means "not yet".
    /// A sample that comes instead is as good as any.
    fn ask_why(&self) {
        let (me, answer) = (self.me.clone(), self.window.fetch_with_str(&self.snapshot_url));
        spawn_local(async move {
            let event = event_of(JsFuture::from(answer).await).await;
            if let Some(stream) = me.upgrade() {
                stream.apply(event);
            }
        });
    }

    fn apply(&self, event: Event) {
        let quiet = {
            let mut dashboard = self.dashboard.borrow_mut();
            let is_tick = event == Event::Tick;
            let before = dashboard.link;
            dashboard.apply(event, self.clock.now());
            // While samples come in, they are the clock; the seconds between them change nothing.
            is_tick && before == Link::Live && dashboard.link == Link::Live
        };
        if !quiet {
            self.draw();
        }
    }

    /// The title is seen in a tab that is not, so it is always true; the page is drawn while it is
    /// seen.
    fn draw(&self) {
        let dashboard = self.dashboard.borrow();
        let title = title(&dashboard);
        if self.document.title() != title {
            self.document.set_title(&title);
        }
        if !self.document.hidden() {
            (self.show)(dashboard.clone());
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.disconnect();
        if let Some(ticker) = self.ticker.take() {
            self.window.clear_interval_with_handle(ticker);
        }
        let wake = function(&self.on_event);
        let _ = self.document.remove_event_listener_with_callback("visibilitychange", wake);
        let _ = self.window.remove_event_listener_with_callback("online", wake);
    }
}

/// What the answer to an ordinary request means.
async fn event_of(answer: Result<JsValue, JsValue>) -> Event {
    let Ok(Ok(response)) = answer.map(JsCast::dyn_into::<Response>) else {
        return Event::Lost;
    };
    if response.status() == 503 {
        return Event::Starting;
    }
    let Ok(text) = response.text() else {
        return Event::Lost;
    };
    match JsFuture::from(text).await {
        Ok(text) => sample_of(&text).map_or(Event::Lost, Event::Sample),
        Err(_) => Event::Lost,
    }
}

/// The browser's own JSON parser is there already; a second one would have to be loaded.
fn sample_of(text: &JsValue) -> Option<Sample> {
    let value = js_sys::JSON::parse(&text.as_string()?).ok()?;
    reading::sample(&value)
}

impl Fields for JsValue {
    fn object(&self, name: &str) -> Option<Self> {
        Reflect::get(self, &name.into()).ok().filter(Self::is_object)
    }

    fn number(&self, name: &str) -> Option<f64> {
        Reflect::get(self, &name.into()).ok()?.as_f64()
    }

    fn text(&self, name: &str) -> Option<String> {
        Reflect::get(self, &name.into()).ok()?.as_string()
    }

    fn number_at(&self, name: &str, place: u32) -> Option<f64> {
        let list = Reflect::get(self, &name.into()).ok()?;
        Reflect::get_u32(&list, place).ok()?.as_f64()
    }
}

fn function<T: ?Sized>(closure: &Closure<T>) -> &js_sys::Function {
    closure.as_ref().unchecked_ref()
}
