//! Controller of the fleet page. One tab of a browser holds the merged stream for all of them.

use std::cell::{Cell, RefCell};

use js_sys::Function;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{
    BroadcastChannel, Document, Element, HtmlElement, MessageEvent, Performance, Window,
};

use super::member::{STATUSES, Status};
use super::query::Query;
use super::state::Fleet;
use super::text::{csv, status_labels, title};
use super::view::{Presentation, View};
use crate::browser;
use crate::event_source::EventSource;
use crate::fetch;
use crate::fields::Fields;
use crate::number::Format;
use crate::preferences::Settings;
use crate::state::Link;

/// Interval at which connections and ages are checked.
const TICK_MS: i32 = 1_000;

/// Additional rows above and below the viewport, for scrolling that is faster than a frame.
const SPARE_ROWS: usize = 3;

/// Maximum number of drawn rows: a wall of four screens.
const MAX_ROWS: usize = 240;

/// Number of drawn rows before the height of a row is known.
const FIRST_ROWS: usize = 40;

/// Number of drawn rows on paper: all members, and all groups.
const PRINTED_ROWS: usize = 2_000;

const USER_EVENTS: [&str; 8] = [
    "visibilitychange",
    "click",
    "input",
    "change",
    "pointermove",
    "focusin",
    browser::OPEN_TABLE,
    browser::CLOSE_TABLE,
];
const WINDOW_EVENTS: [&str; 6] =
    ["scroll", "resize", "online", "storage", "beforeprint", "afterprint"];

/// Stream, listeners and state of the fleet page.
pub(crate) struct FleetController {
    pub(super) window: Window,
    pub(super) document: Document,
    pub(super) clock: Performance,
    pub(super) backend: String,
    pub(super) fleet: RefCell<Fleet>,
    settings: RefCell<Settings>,
    point: char,
    is_kiosk: bool,
    view: RefCell<Option<View>>,
    is_open: Cell<bool>,
    /// Copy of the state in the history entry, for a return to the table by a link.
    saved_view: RefCell<String>,
    /// First drawn line, number of drawn lines, and height of a line in pixels (0: unknown).
    rows: Cell<(usize, usize, f64)>,
    pub(super) source: RefCell<Option<EventSource>>,
    pub(super) channel: Option<BroadcastChannel>,
    /// Random number of this tab. Of two tabs with a stream, the one with the smaller number keeps
    /// it.
    pub(super) id: f64,
    pub(super) is_leader: Cell<bool>,
    /// Time of the last message of a tab without a stream.
    pub(super) follower_ms: Cell<f64>,
    /// Time of another tab's last heartbeat or data.
    pub(super) leader_ms: Cell<f64>,
    pub(super) last_bytes_ms: Cell<f64>,
    pub(super) attempt: Cell<u32>,
    /// Time of the next connection attempt.
    pub(super) retry_ms: Cell<f64>,
    pub(super) on_tick: RefCell<Option<Function>>,
}

impl FleetController {
    /// Starts the controller. The table is shown at [`browser::OPEN_TABLE`].
    pub(crate) fn start(window: Window) -> Option<&'static Self> {
        let (document, clock) = (window.document()?, window.performance()?);
        let (backend, is_kiosk) = browser::page_options();
        // It lives as long as the page.
        let controller: &'static Self = Box::leak(Box::new(Self {
            document,
            clock,
            fleet: RefCell::default(),
            settings: RefCell::default(),
            point: browser::decimal_point(),
            is_kiosk,
            view: RefCell::default(),
            is_open: Cell::default(),
            saved_view: RefCell::default(),
            rows: Cell::new((0, FIRST_ROWS, 0.0)),
            source: RefCell::default(),
            channel: BroadcastChannel::new(&["system-stats-fleet ", &backend].concat()).ok(),
            backend,
            id: js_sys::Math::random(),
            is_leader: Cell::default(),
            follower_ms: Cell::new(f64::NEG_INFINITY),
            leader_ms: Cell::new(f64::NEG_INFINITY),
            last_bytes_ms: Cell::default(),
            attempt: Cell::default(),
            retry_ms: Cell::new(f64::INFINITY),
            on_tick: RefCell::default(),
            window,
        }));
        let on_event: Box<dyn Fn(web_sys::Event)> = Box::new(|what| controller.on_event(&what));
        let on_tick: Box<dyn Fn()> = Box::new(|| controller.on_tick());
        let listener: Function = Closure::wrap(on_event).into_js_value().unchecked_into();
        let tick: Function = Closure::wrap(on_tick).into_js_value().unchecked_into();
        for name in USER_EVENTS {
            // The capture phase precedes the page's navigation, so that the view is saved first.
            let _ = controller
                .document
                .add_event_listener_with_callback_and_bool(name, &listener, true);
        }
        for name in WINDOW_EVENTS {
            let _ = controller.window.add_event_listener_with_callback(name, &listener);
        }
        if let Some(channel) = &controller.channel {
            fetch::set(channel, "onmessage", &listener);
        }
        let _ = controller
            .window
            .set_interval_with_callback_and_timeout_and_arguments_0(&tick, TICK_MS);
        *controller.on_tick.borrow_mut() = Some(tick);
        Some(controller)
    }

    /// Draws the table if it is shown.
    fn update(&self) {
        if !self.is_open.get() {
            return;
        }
        let (fleet, settings) = (self.fleet.borrow(), self.settings.borrow());
        let format = Format { point: self.point, decimal: settings.decimal };
        let mut presentation = Presentation {
            format,
            theme: settings.theme_name(),
            is_kiosk: self.is_kiosk,
            rows: self.rows.get(),
        };
        let mut holder = self.view.borrow_mut();
        if holder.is_none() {
            *holder = View::new(&self.document, &fleet);
        }
        let Some(view) = holder.as_mut() else { return };
        view.update(&fleet, presentation);
        if presentation.rows.2 == 0.0 {
            let Some(row) = self.element("[data-key]") else { return };
            presentation.rows.2 = row.get_bounding_client_rect().height();
            // The height of the space above and below is known now.
            view.update(&fleet, presentation);
            self.rows.set(presentation.rows);
        } else {
            return;
        }
        drop(holder);
        drop((fleet, settings));
        self.update_viewport();
    }

    fn close(&self) {
        self.is_open.set(false);
        self.release_leadership();
        self.view.take();
    }

    /// Shows the table with the view of the history entry.
    fn open(&'static self) {
        self.load_settings();
        let state = self.window.history().and_then(|history| history.state());
        let state = state.ok().and_then(|state| state.as_string());
        let state = state.unwrap_or_else(|| self.saved_view.borrow().clone());
        let (y, query) = state.split_once('\n').unwrap_or_default();
        let mut fleet = self.fleet.borrow_mut();
        fleet.set_query(Query::parse(query));
        fleet.set_disconnected();
        drop(fleet);
        self.view.take();
        self.rows.set((0, FIRST_ROWS, 0.0));
        self.request_stream();
        self.is_open.set(true);
        self.update();
        if let Some(y) = crate::number::parse(y) {
            self.window.scroll_to_with_x_and_y(0.0, y);
        }
        self.update_viewport();
    }

    /// Reads the settings, which the page of a member in another tab may have changed.
    fn load_settings(&self) {
        if let Some(text) = browser::read_storage() {
            *self.settings.borrow_mut() = Settings::parse(&text);
        }
        self.fleet.borrow_mut().thresholds = self.settings.borrow().thresholds.to_vec();
    }

    /// Saves the view in the history entry, for a return to the table.
    fn save_view(&self) {
        let mut text = String::new();
        let y = crate::number::scaled(self.window.scroll_y().unwrap_or_default(), 1.0);
        crate::number::push_integer(&mut text, y.cast_signed());
        text.push('\n');
        text.push_str(&self.fleet.borrow().query.text());
        if let Ok(history) = self.window.history() {
            let _ = history.replace_state(&text.as_str().into(), "");
        }
        *self.saved_view.borrow_mut() = text;
    }

    fn on_event(&'static self, event: &web_sys::Event) {
        match &*event.type_() {
            browser::OPEN_TABLE => self.open(),
            _ if !self.is_open.get() => {}
            browser::CLOSE_TABLE => self.close(),
            "click" => self.on_click(event),
            "message" => {
                if let Some(message) = event.dyn_ref::<MessageEvent>() {
                    self.on_message(&message.data());
                }
            }
            "visibilitychange" => self.on_visibility(),
            "online" => self.retry_ms.set(0.0),
            "storage" => {
                self.load_settings();
                self.update();
            }
            "input" | "change" => self.on_input(event),
            "pointermove" | "focusin" => {
                if browser::closest(event, "tbody").is_some() {
                    self.fleet.borrow_mut().hold_order(self.clock.now());
                }
            }
            "resize" => {
                // A phone resizes the viewport whenever the bar of its browser appears. The rows
                // keep their place unless their height has changed.
                let row = self.element("[data-key]");
                let height = row.map_or(0.0, |row| row.get_bounding_client_rect().height());
                let (first, count, _) = self.rows.get();
                self.rows.set((first, count, height));
                self.update();
                self.update_viewport();
            }
            "beforeprint" => {
                self.rows.set((0, PRINTED_ROWS, self.rows.get().2));
                self.update();
            }
            _ => self.update_viewport(),
        }
    }

    fn on_click(&self, event: &web_sys::Event) {
        if browser::closest(event, "a[data-place]").is_some() {
            self.save_view();
        }
        let Some(action) = browser::action(event) else { return };
        let mut query = self.fleet.borrow().query.clone();
        if action == "download-csv" {
            let text = csv(&self.fleet.borrow());
            let _ = browser::call("saveFile", &[&text, "fleet.csv"]);
        } else if action == "theme" {
            self.settings.borrow_mut().next_theme();
            browser::write_storage(&self.settings.borrow().text());
            self.update();
        } else if let Some(column) = action.strip_prefix("sort-") {
            query.sort_by(column);
            self.query(query);
        } else if let Some(status) = action.strip_prefix("state-") {
            let has_label = |candidate: &Status| status_labels(*candidate).0 == status;
            if let Some(index) = STATUSES.iter().position(has_label) {
                query.toggle(index);
                self.query(query);
            }
        }
    }

    fn on_input(&self, event: &web_sys::Event) {
        let Some(field) = browser::closest(event, "[data-field]") else { return };
        let value = event.target().map(JsValue::from).unwrap_or_default().text_at("value");
        let mut query = self.fleet.borrow().query.clone();
        match &*field.get_attribute("data-field").unwrap_or_default() {
            "search" => query.set_search(&value),
            "label" => query.label = value,
            _ => query.group = value,
        }
        self.query(query);
    }

    fn query(&self, query: Query) {
        let mut fleet = self.fleet.borrow_mut();
        if fleet.query == query {
            return;
        }
        fleet.set_query(query);
        drop(fleet);
        self.save_view();
        self.update();
        self.update_viewport();
    }

    /// Draws the rows in the viewport.
    fn update_viewport(&self) {
        let (first, count, height) = self.rows.get();
        if height <= 0.0 {
            return;
        }
        let Some(body) = self.element("tbody") else { return };
        let above = -body.get_bounding_client_rect().top() / height;
        let inner = self.window.inner_height().ok().and_then(|height| height.as_f64());
        let rows = |value: f64| usize::try_from(crate::number::scaled(value, 1.0)).unwrap_or(0);
        let now_first = rows(above.max(0.0)).saturating_sub(SPARE_ROWS);
        let now_count = (rows(inner.unwrap_or_default() / height) + 2 * SPARE_ROWS).min(MAX_ROWS);
        if (now_first, now_count) != (first, count) {
            self.rows.set((now_first, now_count, height));
            self.update();
        }
    }

    pub(super) fn merge(&self, data: &str) {
        self.fleet.borrow_mut().merge(data, self.clock.now(), js_sys::Date::now());
        self.draw();
    }

    pub(super) fn on_tick(&'static self) {
        let now = self.clock.now();
        let is_visible = !self.document.hidden();
        if !self.is_open.get() {
            return;
        }
        self.update_leadership(now, is_visible);
        if self.fleet.borrow_mut().tick(now, js_sys::Date::now()) {
            self.draw();
        }
    }

    /// Updates the page. The title and the icon are visible in a hidden tab too.
    pub(super) fn draw(&self) {
        let fleet = self.fleet.borrow();
        let title = if self.document.hidden() && fleet.link != Link::Live {
            "Paused".to_owned()
        } else {
            title(&fleet)
        };
        if self.document.title() != title {
            self.document.set_title(&title);
            let (_, _, shape) = status_labels(fleet.worst());
            let color = match fleet.worst() {
                Status::Normal => "normal",
                Status::Critical => "critical",
                Status::Unknown => "muted",
                _ => "warning",
            };
            let _ = browser::call("setIcon", &[shape, color]);
        }
        drop(fleet);
        if !self.document.hidden() {
            let focused = self.document.active_element();
            self.update();
            // The browser takes the focus from a row that moves.
            if focused != self.document.active_element()
                && let Some(element) = focused
            {
                let _ = element.unchecked_into::<HtmlElement>().focus();
            }
        }
    }

    fn element(&self, selector: &str) -> Option<Element> {
        self.document.query_selector(selector).ok()?
    }
}
