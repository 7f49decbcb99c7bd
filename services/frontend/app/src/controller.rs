//! Connects the event stream, timers and user events to the state of the page, and keeps the stream
//! alive.

use std::cell::{Cell, Ref, RefCell};
use std::rc::{Rc, Weak};

use wasm_bindgen::closure::Closure;
use wasm_bindgen::{Clamped, JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{
    CanvasRenderingContext2d, Document, Element, HtmlCanvasElement, HtmlElement, ImageData,
    MessageEvent, Performance, Response, Window,
};

use crate::backoff::delay_ms;
use crate::browser;
use crate::decode::{self, Fields};
use crate::event_source::EventSource;
use crate::heatmap;
use crate::labels::{level_labels, title};
use crate::preferences::{RANGES, Settings, ViewState};
use crate::state::{Dashboard, Event, Level, Link};

/// How often the age of the figures is looked at.
const TICK_MS: i32 = 1_000;

/// Silence after which a connection is taken for dead and replaced: a cable that was pulled says
/// nothing, and comments that keep a stream alive do not reach a page. Twice the time after which
/// figures are shown as old.
const DEAD_AFTER_MS: f64 = 10_000.0;

/// Failures in a row after which ordinary requests are made instead, every other tick, until a
/// stream comes about: some proxies let none through.
const POLL_AFTER: u32 = 3;

/// How often a longer time is fetched again: its rows are minutes.
const PAST_MS: f64 = 60_000.0;

/// Events of the user, with one listener for the whole page.
const USER_EVENTS: [&str; 7] =
    ["visibilitychange", "click", "change", "keydown", "pointerdown", "pointermove", "pointerup"];

/// What happens to the window: to come back to the network is a reason to try at once.
const WINDOW_EVENTS: [&str; 2] = ["online", "hashchange"];

/// The stream and its listeners; dropping it ends both.
pub(crate) struct Controller {
    window: Window,
    document: Document,
    /// Counts up whatever happens to the time of day.
    clock: Performance,
    snapshot_url: String,
    events_url: String,
    history_url: String,
    dashboard: RefCell<Dashboard>,
    show: Box<dyn Fn()>,
    /// When a longer time was last asked for.
    asked_ms: Cell<f64>,
    /// Counts the ticks.
    ticks: Cell<u32>,
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

impl Controller {
    /// Begins; `show` is called whenever there is something new to see.
    pub(crate) fn start(
        window: Window,
        backend: &str,
        show: impl Fn() + 'static,
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
                history_url: [backend, "/stats/history?step=60&seconds="].concat(),
                dashboard: RefCell::default(),
                asked_ms: Cell::default(),
                ticks: Cell::default(),
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
        if let Some(text) = browser::stored(&stream.window) {
            stream.dashboard.borrow_mut().settings = Settings::parse(&text);
        }
        stream.look_at_address();
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
        for name in USER_EVENTS {
            let _ =
                stream.document.add_event_listener_with_callback(name, function(&stream.on_event));
        }
        for name in WINDOW_EVENTS {
            let _ =
                stream.window.add_event_listener_with_callback(name, function(&stream.on_event));
        }
        Some(stream)
    }

    /// Opens a new connection in place of the one there is.
    fn connect(&self) {
        self.disconnect();
        self.heard_ms.set(self.clock.now());
        // The address was checked when the server started; what the browser still refuses would be
        // refused for ever, and is shown as a connection that does not come about.
        let source = EventSource::open(&self.events_url, function(&self.on_event));
        if source.is_none() {
            self.apply(Event::Lost);
        }
        *self.source.borrow_mut() = source;
    }

    fn disconnect(&self) {
        if let Some(retry) = self.retry.take() {
            self.window.clear_timeout_with_handle(retry);
        }
        self.source.take();
    }

    fn on_event(&self, event: &web_sys::Event) {
        let kind = event.type_();
        match kind.as_str() {
            "sample" | "history" => {
                let data = event.dyn_ref::<MessageEvent>().map(MessageEvent::data);
                // What cannot be read is nothing; the age of the figures will tell.
                let Some(value) = data.as_ref().and_then(parsed) else { return };
                let news = if kind == "sample" {
                    decode::reading(&value).map(Event::Sample)
                } else {
                    decode::history(&value).map(Event::History)
                };
                if let Some(news) = news {
                    self.heard_ms.set(self.clock.now());
                    self.attempt.set(0);
                    self.apply(news);
                }
            }
            "open" => self.heard_ms.set(self.clock.now()),
            "error" => self.on_error(),
            "visibilitychange" | "online" => self.on_wake(),
            "hashchange" => self.look_at_address(),
            "click" => {
                if let Some(action) = browser::action(event) {
                    self.press(action);
                }
            }
            _ => {
                let event = browser::to_event(event, &kind);
                let stores = matches!(event, Some(Event::Threshold(..)));
                if let Some(event) = event {
                    self.apply(event);
                }
                if stores {
                    self.store();
                }
            }
        }
    }

    fn press(&self, button: String) {
        if let Some(what) = button.strip_prefix("download-") {
            self.download(what);
        } else if button == "copy-json" {
            let navigator = self.window.navigator();
            // Browsers have a clipboard for pages over HTTPS alone.
            if navigator.get("clipboard").is_some() {
                let _ = navigator.clipboard().write_text(&self.text_of("json"));
            } else {
                self.download("json");
            }
        } else {
            self.apply(Event::Press(button));
            self.store();
        }
    }

    /// The browser saves what an address carries as if it had been fetched.
    fn download(&self, what: &str) {
        let text = self.text_of(what);
        let link = self.document.create_element("a").ok().and_then(|a| a.dyn_into().ok());
        let link: Option<HtmlElement> = link;
        let Some(link) = link else { return };
        let suffix = if what.starts_with("svg") { "svg" } else { what };
        let address = String::from(js_sys::encode_uri_component(&text));
        let _ = link.set_attribute("href", &["data:text/plain,", &address].concat());
        let _ = link.set_attribute("download", &["system-stats.", suffix].concat());
        link.click();
    }

    fn text_of(&self, what: &str) -> String {
        crate::components::text_of(&self.dashboard.borrow(), what)
    }

    fn store(&self) {
        browser::store(&self.window, &self.dashboard.borrow().settings.text());
    }

    fn look_at_address(&self) {
        let view = ViewState::parse(&self.window.location().hash().unwrap_or_default());
        self.apply(Event::View(view));
        self.ask_for_past();
    }

    /// Fetches the longer time that is looked at.
    fn ask_for_past(&self) {
        let range = self.dashboard.borrow().view.range;
        let Some((_, _, seconds)) = RANGES.get(range).filter(|_| range > 0) else { return };
        self.asked_ms.set(self.clock.now());
        let mut url = self.history_url.clone();
        crate::number::push_whole(&mut url, i64::from(*seconds));
        let (me, answer) = (self.me.clone(), self.window.fetch_with_str(&url));
        spawn_local(async move {
            let Ok(value) = value_of(JsFuture::from(answer).await).await else { return };
            if let (Some(stream), Some(history)) = (me.upgrade(), decode::history(&value)) {
                stream.apply(Event::Past(range, history));
            }
        });
    }

    fn on_error(&self) {
        if self.source.borrow().as_ref().is_some_and(EventSource::is_connecting) {
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
        let (link, interval_ms) = {
            let dashboard = self.dashboard.borrow();
            (dashboard.link, dashboard.latest.as_ref().map_or(0.0, |latest| latest.interval_ms))
        };
        let patience = DEAD_AFTER_MS.max(interval_ms * 4.0);
        let silence_ms = now - self.heard_ms.get();
        let is_open = self.source.borrow().is_some();
        if is_open && silence_ms > patience {
            self.attempt.set(self.attempt.get().saturating_add(1));
            self.connect();
        }
        self.ticks.set(self.ticks.get().wrapping_add(1));
        // A stream that opens and says nothing is a service that has not measured yet, or a proxy
        // that holds the stream back; the answer to an ordinary request tells which.
        let is_silent = is_open && silence_ms > f64::from(TICK_MS) && link != Link::Live;
        let polls = self.attempt.get() >= POLL_AFTER && self.ticks.get().is_multiple_of(2);
        if is_silent || polls {
            self.ask_why();
        }
        if now - self.asked_ms.get() > PAST_MS && !self.document.hidden() {
            self.ask_for_past();
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
        let is_new = self.dashboard.borrow_mut().apply(event, self.clock.now());
        if is_new {
            self.draw();
        }
    }

    /// The title and the icon are seen in a tab that is not, so they are always true; the page is
    /// drawn while it is seen.
    fn draw(&self) {
        let dashboard = self.dashboard.borrow();
        let title = title(&dashboard);
        if self.document.title() != title {
            self.document.set_title(&title);
            self.set_icon(dashboard.worst());
        }
        drop(dashboard);
        if !self.document.hidden() {
            (self.show)();
        }
    }

    fn set_icon(&self, level: Level) {
        let (_, _, shape) = level_labels(level);
        let colour = match level {
            Level::Normal => "%2318a58f",
            Level::Warning => "%23e39a1b",
            Level::Critical => "%23e5484d",
        };
        let icon = [
            "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 12 12'><path fill='",
            colour,
            "' d='",
            shape,
            "'/></svg>",
        ]
        .concat();
        if let Some(link) = self.element("link[rel=icon]") {
            let _ = link.set_attribute("href", &icon);
        }
    }

    fn element(&self, selector: &str) -> Option<Element> {
        self.document.query_selector(selector).ok()?
    }

    /// What there is to see.
    pub(crate) fn dashboard(&self) -> Ref<'_, Dashboard> {
        self.dashboard.borrow()
    }

    /// Fills in what markup cannot say: the picture of the cores.
    pub(crate) fn paint(&self) -> Option<()> {
        let canvas: HtmlCanvasElement = self.element("canvas")?.dyn_into().ok()?;
        let context: CanvasRenderingContext2d = canvas.get_context("2d").ok()??.dyn_into().ok()?;
        let dashboard = self.dashboard.borrow();
        let cores = dashboard.latest.as_ref()?.cores.len();
        let rows = dashboard.rows().filter(|_| dashboard.frozen.is_some());
        let rows = rows.unwrap_or(dashboard.live());
        let pixels = heatmap::pixels(rows, dashboard.window(), cores);
        let image =
            ImageData::new_with_u8_clamped_array(Clamped(&pixels), heatmap::COLUMNS).ok()?;
        context.put_image_data(&image, 0.0, 0.0).ok()
    }

    /// Brings the panel that the address names into view.
    pub(crate) fn scroll_to_panel(&self) {
        if let Some(panel) = self.element("[data-focus]") {
            panel.scroll_into_view();
        }
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.disconnect();
        if let Some(ticker) = self.ticker.take() {
            self.window.clear_interval_with_handle(ticker);
        }
        for name in USER_EVENTS {
            let _ =
                self.document.remove_event_listener_with_callback(name, function(&self.on_event));
        }
        for name in WINDOW_EVENTS {
            let _ = self.window.remove_event_listener_with_callback(name, function(&self.on_event));
        }
    }
}

/// What the answer to an ordinary request means.
async fn event_of(answer: Result<JsValue, JsValue>) -> Event {
    match value_of(answer).await {
        Ok(value) => decode::reading(&value).map_or(Event::Lost, Event::Sample),
        Err(503) => Event::Starting,
        Err(_) => Event::Lost,
    }
}

/// What an answer says, or its status; 0 where there was none.
async fn value_of(answer: Result<JsValue, JsValue>) -> Result<JsValue, u16> {
    let Ok(Ok(response)) = answer.map(JsCast::dyn_into::<Response>) else { return Err(0) };
    let status = response.status();
    let text = response.text().map_err(|_| 0_u16)?;
    let text = JsFuture::from(text).await.map_err(|_| 0_u16)?;
    parsed(&text).filter(|_| response.ok()).ok_or(status)
}

/// The browser's own JSON parser is there already; a second one would have to be loaded.
fn parsed(text: &JsValue) -> Option<JsValue> {
    js_sys::JSON::parse(&text.as_string()?).ok()
}

fn function<T: ?Sized>(closure: &Closure<T>) -> &js_sys::Function {
    closure.as_ref().unchecked_ref()
}
