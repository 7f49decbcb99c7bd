//! The fleet page in the browser: which view is shown, the merged stream, and the one tab of a
//! browser that holds it for all.

use std::cell::{Cell, Ref, RefCell};

use js_sys::Function;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{BroadcastChannel, Document, Element, MessageEvent, Performance, Window};

use super::member::{STATUSES, Status};
use super::query::Query;
use super::state::Fleet;
use super::text::status_labels;
use super::text::{csv, title};
use super::view::{Look, View};
use crate::browser;
use crate::decode::Fields;
use crate::event_source::EventSource;
use crate::fetch::{self, Failure};
use crate::number::Format;
use crate::preferences::Settings;
use crate::state::Link;

/// How often connections and ages are looked at.
const TICK_MS: i32 = 1_000;

/// How often a page of one member asks whether there are more.
const ASK_MS: f64 = 60_000.0;

/// Rows above and below the window that are drawn, for a scroll that is quicker than a frame.
const SPARE_ROWS: usize = 3;

/// Rows that are drawn at most: a wall of four screens.
const MAX_ROWS: usize = 240;

/// Rows that are drawn before the height of a row is known.
const FIRST_ROWS: usize = 40;

const USER_EVENTS: [&str; 6] =
    ["visibilitychange", "click", "input", "change", "pointermove", "focusin"];
const WINDOW_EVENTS: [&str; 4] = ["popstate", "scroll", "resize", "online"];

/// What is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The page of the service behind this address, as without a fleet.
    Own,
    /// The table.
    Table,
    /// The page of one member, by the gateway's path to it.
    Member(String),
}

/// The fleet's stream, its listeners and its state.
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
    place: RefCell<Place>,
    /// Members of the gateway's list while the page of one is shown; 0 where there is no fleet.
    listed: Cell<usize>,
    /// Whether asking again makes sense: a gateway without a fleet has none later.
    asks: Cell<bool>,
    asked_ms: Cell<f64>,
    /// What the entry of the history would say, for a way back by a link.
    remembered: RefCell<String>,
    /// First drawn line, number of lines, and the height of one in pixels (0: not known yet).
    rows: Cell<(usize, usize, f64)>,
    pub(super) source: RefCell<Option<EventSource>>,
    pub(super) channel: Option<BroadcastChannel>,
    /// Number of this tab; the smallest of two that both hold a stream keeps it.
    pub(super) id: f64,
    pub(super) is_leader: Cell<bool>,
    /// When a tab without a stream last said that it is there.
    pub(super) followed_ms: Cell<f64>,
    /// When another tab last sent a beat or data.
    pub(super) led_ms: Cell<f64>,
    pub(super) heard_ms: Cell<f64>,
    pub(super) attempt: Cell<u32>,
    /// When to connect again.
    pub(super) retry_ms: Cell<f64>,
    show: Box<dyn Fn()>,
    pub(super) on_tick: RefCell<Option<Function>>,
}

impl FleetController {
    /// Begins; `show` is called whenever there is something new to see.
    pub(crate) fn start(
        window: Window,
        backend: &str,
        is_kiosk: bool,
        show: impl Fn() + 'static,
    ) -> Option<&'static Self> {
        let (document, clock) = (window.document()?, window.performance()?);
        // It lives as long as the page, of which it is a part.
        let controller: &'static Self = Box::leak(Box::new(Self {
            document,
            clock,
            backend: backend.to_owned(),
            fleet: RefCell::default(),
            settings: RefCell::default(),
            point: browser::decimal_point(),
            is_kiosk,
            view: RefCell::default(),
            place: RefCell::new(Place::Own),
            listed: Cell::default(),
            asks: Cell::new(true),
            asked_ms: Cell::default(),
            remembered: RefCell::default(),
            rows: Cell::new((0, FIRST_ROWS, 0.0)),
            source: RefCell::default(),
            channel: BroadcastChannel::new(&["system-stats-fleet ", backend].concat()).ok(),
            id: js_sys::Math::random(),
            is_leader: Cell::default(),
            followed_ms: Cell::new(f64::NEG_INFINITY),
            led_ms: Cell::new(f64::NEG_INFINITY),
            heard_ms: Cell::default(),
            attempt: Cell::default(),
            retry_ms: Cell::new(f64::INFINITY),
            show: Box::new(show),
            on_tick: RefCell::default(),
            window,
        }));
        let on_event: Box<dyn Fn(web_sys::Event)> = Box::new(|what| controller.on_event(&what));
        let on_tick: Box<dyn Fn()> = Box::new(|| controller.on_tick());
        let listener: Function = Closure::wrap(on_event).into_js_value().unchecked_into();
        let tick: Function = Closure::wrap(on_tick).into_js_value().unchecked_into();
        for name in USER_EVENTS {
            let _ = controller.document.add_event_listener_with_callback(name, &listener);
        }
        for name in WINDOW_EVENTS {
            let _ = controller.window.add_event_listener_with_callback(name, &listener);
        }
        if let Some(channel) = &controller.channel {
            channel.set_onmessage(Some(&listener));
        }
        let _ = controller
            .window
            .set_interval_with_callback_and_timeout_and_arguments_0(&tick, TICK_MS);
        *controller.on_tick.borrow_mut() = Some(tick);
        controller.look_at_address();
        if *controller.place.borrow() == Place::Own {
            controller.ask();
        }
        Some(controller)
    }

    /// What is shown.
    pub(crate) fn place(&self) -> Ref<'_, Place> {
        self.place.borrow()
    }

    /// The name of the member at an address, where it is known.
    pub(crate) fn title_of(&self, address: &str) -> String {
        let fleet = self.fleet.borrow();
        let known = fleet.members.iter().find(|member| member.address == address);
        known.map_or(address, |member| member.title()).to_owned()
    }

    /// Members of the gateway's list, where this is the page of one.
    pub(crate) fn listed(&self) -> usize {
        self.listed.get()
    }

    /// Address of the service whose page is shown.
    pub(crate) fn base(&self) -> String {
        match &*self.place.borrow() {
            Place::Member(path) => [self.backend.as_str(), path].concat(),
            _ => self.backend.clone(),
        }
    }

    /// Draws the table, where it is what is shown.
    fn update(&self) {
        if *self.place.borrow() != Place::Table {
            return;
        }
        let (fleet, settings) = (self.fleet.borrow(), self.settings.borrow());
        let format = Format { point: self.point, decimal: settings.decimal };
        let mut look = Look {
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
        view.update(&fleet, look);
        if look.rows.2 == 0.0 {
            let Some(row) = self.element("[data-key]") else { return };
            look.rows.2 = row.get_bounding_client_rect().height();
            // The space above and below is known now.
            view.update(&fleet, look);
            self.rows.set(look.rows);
        } else {
            return;
        }
        drop(holder);
        drop((fleet, settings));
        self.look_at_window();
    }

    /// Chooses the view that the address names.
    fn look_at_address(&'static self) {
        let search = self.window.location().search().unwrap_or_default();
        let member = search.trim_start_matches('?').split('&').find_map(|pair| {
            let id = pair.strip_prefix("member=")?;
            let id = String::from(js_sys::decode_uri_component(id).ok()?);
            // An address or an instance; anything else would be another path of the gateway.
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b":.-_[]".contains(&byte);
            let is_id = id.bytes().all(is_plain) && id.bytes().any(|byte| byte != b'.');
            (is_id && id.len() < 300).then(|| ["/fleet/", &id].concat())
        });
        match member {
            Some(path) => self.go(Place::Member(path)),
            // Without a list of members there is no table to go back to.
            None if *self.place.borrow() != Place::Own => self.open_table(),
            None => {}
        }
    }

    fn go(&self, place: Place) {
        if place != Place::Table {
            self.resign();
            self.view.take();
        }
        *self.place.borrow_mut() = place;
        (self.show)();
    }

    /// Shows the table with what the entry of the history says.
    fn open_table(&'static self) {
        if let Some(text) = browser::stored(&self.window) {
            *self.settings.borrow_mut() = Settings::parse(&text);
        }
        let state = self.window.history().and_then(|history| history.state());
        let state = state.ok().and_then(|state| state.as_string());
        let state = state.unwrap_or_else(|| self.remembered.borrow().clone());
        let (y, query) = state.split_once('\n').unwrap_or_default();
        let mut fleet = self.fleet.borrow_mut();
        fleet.thresholds = self.settings.borrow().thresholds.to_vec();
        fleet.ask(Query::parse(query));
        fleet.lose();
        drop(fleet);
        self.view.take();
        self.rows.set((0, FIRST_ROWS, 0.0));
        self.greet();
        self.go(Place::Table);
        self.update();
        if let Some(y) = crate::number::parse(y) {
            self.window.scroll_to_with_x_and_y(0.0, y);
        }
        self.look_at_window();
    }

    /// Writes down what is seen, for the way back.
    fn remember(&self) {
        let mut text = String::new();
        let y = crate::number::scaled(self.window.scroll_y().unwrap_or_default(), 1.0);
        crate::number::push_whole(&mut text, y.cast_signed());
        text.push('\n');
        text.push_str(&self.fleet.borrow().query.text());
        if let Ok(history) = self.window.history() {
            let _ = history.replace_state(&text.as_str().into(), "");
        }
        *self.remembered.borrow_mut() = text;
    }

    /// Asks the gateway for its list of members.
    fn ask(&'static self) {
        self.asked_ms.set(self.clock.now());
        let url = [&self.backend, "/fleet"].concat();
        spawn_local(async move {
            match fetch::text(&self.window, &url, false).await {
                Ok(text) => {
                    let members = fetch::parse(&text).and_then(|value| value.get("members"));
                    self.on_list(members.map_or(0, |list| list.list().len()));
                }
                Err(failure) => self.asks.set(failure != Failure::Status(404)),
            }
        });
    }

    fn on_list(&'static self, members: usize) {
        let is_first = self.listed.replace(members) == 0;
        if *self.place.borrow() != Place::Own || members < 2 {
            return;
        }
        // Later the viewer is in the middle of something: a link is offered instead.
        if is_first && self.clock.now() < ASK_MS {
            self.open_table();
        } else {
            (self.show)();
        }
    }

    fn on_event(&'static self, event: &web_sys::Event) {
        let is_table = *self.place.borrow() == Place::Table;
        match &*event.type_() {
            "click" => self.on_click(event),
            "popstate" => self.look_at_address(),
            _ if !is_table => {}
            "message" => {
                if let Some(message) = event.dyn_ref::<MessageEvent>() {
                    self.on_message(&message.data());
                }
            }
            "visibilitychange" => self.on_visibility(),
            "online" => self.retry_ms.set(0.0),
            "input" | "change" => self.on_input(event),
            "pointermove" | "focusin" => {
                if browser::near(event, "tbody").is_some() {
                    self.fleet.borrow_mut().hold(self.clock.now());
                }
            }
            "resize" => {
                let (first, count, _) = self.rows.get();
                self.rows.set((first, count, 0.0));
                self.update();
                self.look_at_window();
            }
            _ => self.look_at_window(),
        }
    }

    fn on_click(&'static self, event: &web_sys::Event) {
        let fields: &JsValue = event.as_ref();
        let holds = |name: &str| fields.get(name).is_some_and(|key| key.is_truthy());
        if let Some(link) = browser::near(event, "a[data-place]") {
            // A new tab or window is the browser's.
            if holds("ctrlKey") || holds("metaKey") || holds("shiftKey") || holds("altKey") {
                return;
            }
            event.prevent_default();
            let Ok(history) = self.window.history() else { return };
            let is_table = *self.place.borrow() == Place::Table;
            if is_table {
                self.remember();
            }
            let href = link.get_attribute("href").unwrap_or_default();
            let _ = history.push_state_with_url(&JsValue::NULL, "", Some(&href));
            if is_table {
                self.look_at_address();
                self.window.scroll_to_with_x_and_y(0.0, 0.0);
            } else {
                self.open_table();
            }
            return;
        }
        if *self.place.borrow() != Place::Table {
            return;
        }
        let Some(action) = browser::action(event) else { return };
        let mut query = self.fleet.borrow().query.clone();
        if action == "download-csv" {
            browser::download(&self.document, "fleet.csv", &csv(&self.fleet.borrow()));
        } else if action == "theme" {
            self.settings.borrow_mut().next_theme();
            browser::store(&self.window, &self.settings.borrow().text());
            self.update();
        } else if let Some(column) = action.strip_prefix("sort-") {
            query.sort_by(column);
            self.query(query);
        } else if let Some(status) = action.strip_prefix("state-") {
            let is_it = |one: &Status| status_labels(*one).0 == status;
            if let Some(place) = STATUSES.iter().position(is_it) {
                query.toggle(place);
                self.query(query);
            }
        }
    }

    fn on_input(&self, event: &web_sys::Event) {
        let Some(field) = browser::near(event, "[data-field]") else { return };
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
        fleet.ask(query);
        drop(fleet);
        self.remember();
        self.update();
        self.look_at_window();
    }

    /// Draws the rows that are in the window.
    fn look_at_window(&self) {
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
        if *self.place.borrow() != Place::Table {
            if self.asks.get() && is_visible && now - self.asked_ms.get() > ASK_MS {
                self.ask();
            }
            return;
        }
        self.lead(now, is_visible);
        if self.fleet.borrow_mut().tick(now, js_sys::Date::now()) {
            self.draw();
        }
    }

    /// The title and the icon are seen in a hidden tab too.
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
                Status::Normal => "--normal",
                Status::Critical => "--critical",
                Status::Unknown => "--muted",
                _ => "--warning",
            };
            browser::set_icon(&self.document, shape, &browser::color(&self.window, color));
        }
        drop(fleet);
        if !self.document.hidden() {
            self.update();
        }
    }

    fn element(&self, selector: &str) -> Option<Element> {
        self.document.query_selector(selector).ok()?
    }
}
