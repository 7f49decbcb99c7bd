//! Connects the event stream, timers and user events to the state of the page.

mod connection;
mod downloads;
mod notifications;
mod requests;
mod tabs;

use std::cell::{Cell, Ref, RefCell};
use std::rc::{Rc, Weak};

use wasm_bindgen::closure::Closure;
use wasm_bindgen::{Clamped, JsCast, JsValue};
use web_sys::{
    BroadcastChannel, CanvasRenderingContext2d, Document, Element, HtmlCanvasElement, HtmlElement,
    ImageData, Performance, Window,
};

use crate::alerts::Level;
use crate::browser;
use crate::controller::connection::Connection;
use crate::decode;
use crate::fetch;
use crate::fields::Fields;
use crate::heatmap;
use crate::labels::{level_labels, title};
use crate::number::{cut, plain};
use crate::preferences::{Settings, ViewState};
use crate::router::Router;
use crate::state::{Dashboard, Event};

/// Interval at which the connection and the age of the values are checked.
const TICK_MS: i32 = 1_000;

/// Time for which selected text pauses updates: long enough to copy it, and limited so that a
/// forgotten selection does not stop them forever.
const SELECTION_PAUSE_MS: f64 = 60_000.0;

/// Maximum age of a sample that was fetched before the program started.
const EARLY_MS: f64 = 60_000.0;

/// Time after which the colors of the heat map and of the tab's icon are read again, because the
/// system theme may change.
const COLORS_MS: f64 = 5_000.0;

/// User events, with one listener for the whole page.
const USER_EVENTS: [&str; 12] = [
    "visibilitychange",
    "selectionchange",
    "click",
    "change",
    "input",
    "keydown",
    "focusin",
    "pointerdown",
    "pointermove",
    "pointerup",
    "pointerout",
    "pointercancel",
];

/// Events of the window.
const WINDOW_EVENTS: [&str; 6] = ["online", "hashchange", "range", "storage", "blur", "early"];

/// Connection and listeners of the page. Dropping it closes the connection and removes the
/// listeners.
pub(crate) struct Controller {
    window: Window,
    document: Document,
    /// Monotonic clock: changes of the system time do not affect it.
    clock: Performance,
    dashboard: RefCell<Dashboard>,
    redraw: Box<dyn Fn()>,
    connection: Connection,
    /// Channel to the other tabs; `None` if the browser does not support it.
    channel: Option<BroadcastChannel>,
    /// Random number of this tab. Of two tabs with a stream, the one with the smaller number keeps
    /// it.
    tab: f64,
    /// Decimal separator of the viewer.
    point: char,
    /// Colors of the heat map, and the time at which they were read.
    colors: Cell<[[u8; 3]; 2]>,
    colors_ms: Cell<f64>,
    /// Whether text may be selected. To ask the browser costs a layout of the page.
    may_be_selected: Cell<bool>,
    /// Time at which text was selected; a selection pauses updates.
    selected_ms: Cell<Option<f64>>,
    /// Level of the tab's icon, and the time at which it was drawn.
    icon: Cell<Option<(Level, f64)>>,
    /// Whether the address changed to a panel that may be outside of the viewport.
    needs_scroll: Cell<bool>,
    ticker: Cell<Option<i32>>,
    on_event: Closure<dyn Fn(web_sys::Event)>,
    on_tick: Closure<dyn Fn()>,
    /// The browser frees it: a timer may call it after the controller is dropped.
    on_retry: js_sys::Function,
    weak_self: Weak<Self>,
}

impl Controller {
    /// Starts the controller. `redraw` is called when the page must be drawn again. `base` is the
    /// address of the service, empty for the page's own origin.
    pub(crate) fn start(
        window: Window,
        base: &str,
        router: &'static Router,
        redraw: impl Fn() + 'static,
    ) -> Option<Rc<Self>> {
        let (document, clock) = (window.document()?, window.performance()?);
        // Callbacks hold weak references because the controller may already be dropped.
        let controller = Rc::new_cyclic(|weak_self: &Weak<Self>| {
            let (event, tick, retry) = (weak_self.clone(), weak_self.clone(), weak_self.clone());
            Self {
                document,
                clock,
                dashboard: RefCell::default(),
                redraw: Box::new(redraw),
                connection: Connection::new(base, router),
                channel: BroadcastChannel::new(&["system-stats ", base].concat()).ok(),
                tab: js_sys::Math::random(),
                point: browser::decimal_point(),
                colors: Cell::default(),
                colors_ms: Cell::new(f64::NEG_INFINITY),
                may_be_selected: Cell::default(),
                selected_ms: Cell::default(),
                icon: Cell::default(),
                needs_scroll: Cell::default(),
                ticker: Cell::default(),
                on_event: Closure::new(move |what| {
                    if let Some(controller) = event.upgrade() {
                        controller.on_event(&what);
                    }
                }),
                on_tick: Closure::new(move || {
                    if let Some(controller) = tick.upgrade() {
                        controller.on_tick();
                    }
                }),
                on_retry: Closure::<dyn Fn()>::new(move || {
                    if let Some(controller) = retry.upgrade() {
                        controller.on_retry();
                    }
                })
                .into_js_value()
                .unchecked_into(),
                weak_self: weak_self.clone(),
                window,
            }
        });
        controller.dashboard.borrow_mut().is_kiosk = browser::page_options().1;
        controller.read_permission();
        controller.load_settings();
        controller.read_address(false);
        controller.read_early(base);
        controller.connect();
        // A tab that was opened in the background has no event for it.
        if controller.document.hidden() {
            controller.on_wake();
        }
        controller.ticker.set(
            controller
                .window
                .set_interval_with_callback_and_timeout_and_arguments_0(
                    function(&controller.on_tick),
                    TICK_MS,
                )
                .ok(),
        );
        let listener = function(&controller.on_event);
        for name in USER_EVENTS {
            let _ = controller.document.add_event_listener_with_callback(name, listener);
        }
        for name in WINDOW_EVENTS {
            let _ = controller.window.add_event_listener_with_callback(name, listener);
        }
        if let Some(channel) = &controller.channel {
            fetch::set(channel, "onmessage", listener);
        }
        Some(controller)
    }

    fn on_event(&self, event: &web_sys::Event) {
        let kind = JsValue::from(event).text_at("type");
        match kind.as_str() {
            "message" => self.on_shared(&JsValue::from(event).get("data").unwrap_or_default()),
            "visibilitychange" | "online" => self.on_wake(),
            "selectionchange" => {
                self.may_be_selected.set(true);
                if self.selected_ms.get().is_some() && !self.is_selected() {
                    self.draw();
                }
            }
            "early" => self.read_early(&self.url("")),
            "hashchange" | "range" => self.read_address(kind == "hashchange"),
            "storage" => {
                self.read_permission();
                self.load_settings();
                self.show_thresholds();
            }
            "click" => {
                // The settings may be about to open.
                self.read_permission();
                if let Some(action) = browser::action(event) {
                    self.press(action);
                } else if browser::closest(event, "details").is_none() {
                    self.close_settings();
                }
            }
            _ => {
                if kind == "keydown" && JsValue::from(event).text_at("key") == "Escape" {
                    self.close_settings();
                }
                if kind == "pointermove" {
                    self.apply(Event::InTable(browser::is_in_table(event)));
                }
                let event = browser::to_event(event, &kind);
                let is_threshold = matches!(event, Some(Event::Threshold(..)));
                if let Some(event) = event {
                    self.apply(event);
                }
                if is_threshold {
                    self.store();
                }
            }
        }
    }

    fn press(&self, action: String) {
        if let Some((act @ ("copy" | "download"), what)) = cut(&action, b'-') {
            return self.export(act, what);
        }
        // Only settings are stored, so that the ones of another tab are not overwritten.
        let is_setting = matches!(action.as_str(), "theme" | "units" | "reset" | "notify" | "mute");
        let requests_permission = action == "notify";
        self.colors_ms.set(f64::NEG_INFINITY);
        self.icon.set(None);
        self.apply(Event::Press(action));
        if is_setting {
            self.store();
        }
        if requests_permission {
            let _ = browser::call("askToNotify", &[]);
        }
    }

    /// Reads the permission for notifications, which the viewer can change in the browser's settings.
    /// The browser answers from another process, too slowly to be asked for each sample.
    fn read_permission(&self) {
        let permission = browser::permission();
        self.dashboard.borrow_mut().permission = permission;
    }

    fn load_settings(&self) {
        if let Some(text) = browser::read_storage() {
            self.apply(Event::Settings(Settings::parse(&text)));
        }
    }

    fn store(&self) {
        browser::write_storage(&self.dashboard.borrow().settings.text());
        self.show_thresholds();
    }

    /// Writes the current thresholds to the input fields. An edited field ignores its attribute.
    fn show_thresholds(&self) {
        let dashboard = self.dashboard.borrow();
        for (index, limit) in dashboard.settings.thresholds.as_flattened().iter().enumerate() {
            let name = ["[data-threshold=\"", &plain(index as f64), "\"]"].concat();
            if let Some(field) = self.element(&name) {
                fetch::set(&field, "value", &plain(*limit).into());
            }
        }
    }

    fn close_settings(&self) {
        let Some(sheet) = self.element("details[open]") else { return };
        // Closing the settings would lose a focus inside of them.
        if self.element("details[open] :focus").is_some()
            && let Some(summary) = self.element("details[open] > summary")
        {
            let _ = summary.unchecked_into::<HtmlElement>().focus();
        }
        let _ = sheet.remove_attribute("open");
    }

    /// Reads the view. A link to a panel leads to it also if it is the current one; ranges move nothing.
    fn read_address(&self, may_scroll: bool) {
        let view = ViewState::parse(&browser::global().text_at("location.hash"));
        let panel = view.panel.or(self.dashboard.borrow().view.panel);
        self.needs_scroll.set(may_scroll && panel.is_some());
        self.apply(Event::View(view));
        self.fetch_range();
    }

    /// Shows the sample that the page's script has fetched, if it is of this service.
    fn read_early(&self, base: &str) {
        let page = browser::global();
        let early = page.get("early").filter(|early| early.text_at("from") == base);
        fetch::set(&page, "early", &JsValue::NULL);
        let Some(early) = early else { return };
        if let Some(reading) = early.get("sample").and_then(|sample| decode::reading(&sample)) {
            let at_ms = early.number_at("at").unwrap_or_default();
            // It arrived after an earlier start of the program, whose page was left since.
            if self.clock.now() - at_ms > EARLY_MS {
                return;
            }
            self.dashboard.borrow_mut().apply(Event::Early(reading), at_ms);
            // It may be old by now.
            self.apply(Event::Tick);
        }
    }

    fn apply(&self, event: Event) {
        // User actions are drawn at once; data waits while text is selected.
        let is_data = matches!(
            event,
            Event::Sample(_)
                | Event::Polled(_)
                | Event::History(_)
                | Event::Tick
                | Event::RangeHistory(..)
        );
        let is_changed = self.dashboard.borrow_mut().apply(event, self.clock.now());
        if is_data {
            self.notify();
        }
        if is_changed && !(is_data && self.is_selected()) {
            self.draw();
        } else if is_changed {
            self.draw_title();
        }
    }

    /// Whether text of the page is selected. Drawing would clear the selection.
    fn is_selected(&self) -> bool {
        if !self.may_be_selected.get() {
            return false;
        }
        let selection = browser::call("getSelection", &[]).unwrap_or_default();
        let is_range = selection.text_at("type") == "Range";
        if !is_range || self.element("input:focus").is_some() {
            self.may_be_selected.set(is_range);
            self.selected_ms.set(None);
            self.mark_paused(false);
            return false;
        }
        let now = self.clock.now();
        let since = self.selected_ms.get().unwrap_or(now);
        self.selected_ms.set(Some(since));
        let is_paused = now - since < SELECTION_PAUSE_MS;
        self.mark_paused(is_paused);
        is_paused
    }

    fn mark_paused(&self, is_paused: bool) {
        let Some(page) = self.element(".page") else { return };
        let is_marked = page.get_attribute("data-held").is_some();
        if is_paused && !is_marked {
            let _ = page.set_attribute("data-held", "");
        } else if is_marked && !is_paused {
            let _ = page.remove_attribute("data-held");
        }
    }

    /// Draws the page if the tab is visible.
    fn draw(&self) {
        self.draw_title();
        if !self.document.hidden() {
            (self.redraw)();
        }
    }

    /// The title and the icon are visible in a hidden tab too, so they are always updated.
    fn draw_title(&self) {
        let dashboard = self.dashboard.borrow();
        let title = title(&dashboard, self.point);
        let document: &JsValue = self.document.as_ref();
        if document.text_at("title") != title {
            fetch::set(document, "title", &title.into());
        }
        self.set_icon(dashboard.worst());
    }

    fn set_icon(&self, level: Level) {
        let now = self.clock.now();
        let is_current = |(drawn, time)| drawn == level && now - time < COLORS_MS;
        if self.icon.get().is_some_and(is_current) {
            return;
        }
        self.icon.set(Some((level, now)));
        let (name, _, shape) = level_labels(level);
        let _ = browser::call("setIcon", &[shape, name]);
    }

    fn element(&self, selector: &str) -> Option<Element> {
        self.document.query_selector(selector).ok()?
    }

    /// State of the page.
    pub(crate) fn dashboard(&self) -> Ref<'_, Dashboard> {
        self.dashboard.borrow()
    }

    /// Decimal separator of the viewer.
    pub(crate) fn point(&self) -> char {
        self.point
    }

    /// Paints the heat map of the cores, which markup cannot express.
    pub(crate) fn paint(&self) -> Option<()> {
        let canvas: HtmlCanvasElement = self.element("canvas")?.unchecked_into();
        let context: CanvasRenderingContext2d = canvas.get_context("2d").ok()??.unchecked_into();
        let dashboard = self.dashboard.borrow();
        let cores = dashboard.latest.as_ref()?.cores.len();
        let rows = dashboard.rows().filter(|_| dashboard.paused.is_some());
        let rows = rows.unwrap_or(dashboard.live());
        let now = self.clock.now();
        // Reading a color makes the browser compute all styles.
        if now - self.colors_ms.get() > COLORS_MS {
            let color = |name| heatmap::parts(&browser::color(name));
            self.colors.set([color("--s0"), color("--critical")]);
            self.colors_ms.set(now);
        }
        let colors = self.colors.get();
        let pixels = heatmap::pixels(rows, dashboard.window(), cores, colors);
        let image =
            ImageData::new_with_u8_clamped_array(Clamped(&pixels), heatmap::COLUMNS).ok()?;
        context.put_image_data(&image, 0.0, 0.0).ok()
    }

    /// Scrolls to the panel that the address names, once per address. A panel that is no longer
    /// named leaves the top of the page, with the focus in it.
    pub(crate) fn scroll_to_panel(&self) {
        if self.needs_scroll.replace(false)
            && let Some(panel) =
                self.element("[data-focus]").or_else(|| self.element(".panel:has(:focus)"))
        {
            panel.scroll_into_view();
        }
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.disconnect();
        if let Some(channel) = &self.channel {
            channel.close();
        }
        if let Some(ticker) = self.ticker.take() {
            self.window.clear_interval_with_handle(ticker);
        }
        let listener = function(&self.on_event);
        for name in USER_EVENTS {
            let _ = self.document.remove_event_listener_with_callback(name, listener);
        }
        for name in WINDOW_EVENTS {
            let _ = self.window.remove_event_listener_with_callback(name, listener);
        }
    }
}

fn function<T: ?Sized>(closure: &Closure<T>) -> &js_sys::Function {
    closure.as_ref().unchecked_ref()
}
