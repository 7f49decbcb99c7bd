//! Views of the page and navigation between them. The address selects the page of this service, the
//! page of a fleet member, or the table of all members. The table is a separate WebAssembly module
//! that is loaded when the table is first shown.

use std::cell::{Cell, Ref, RefCell};

use js_sys::{Function, Promise};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{Document, Event, Performance, Window};

use crate::browser;
use crate::fetch::{self, Failure};
use crate::fields::Fields;
use crate::number::parts;

/// Interval of the check for the next request.
const TICK_MS: i32 = 1_000;

/// Interval of requests for the list of members, while the table is not shown.
const POLL_MS: f64 = 60_000.0;

/// View of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Page of the service at the backend's address, as without a fleet.
    Service,
    /// Table of all members.
    Table,
    /// Page of one member, with the gateway's path to it.
    Member(String),
}

/// Current view, and navigation to another one.
pub(crate) struct Router {
    window: Window,
    document: Document,
    clock: Performance,
    backend: String,
    route: RefCell<Route>,
    /// Path and name of the member that was last selected in the table.
    selected: RefCell<(String, String)>,
    /// Number of members in the gateway's list; 0 without a fleet.
    member_count: Cell<usize>,
    /// Whether further requests are useful. A gateway without a fleet responds with 404 and does
    /// not get a fleet later.
    is_polling: Cell<bool>,
    polled_ms: Cell<f64>,
    /// Whether the table's module could not be loaded. The browser caches the failure until a
    /// reload.
    has_failed: Cell<bool>,
    redraw: Box<dyn Fn()>,
}

impl Router {
    /// Starts the navigation. `redraw` is called when the page must be drawn again.
    pub(crate) fn start(window: Window, redraw: impl Fn() + 'static) -> Option<&'static Self> {
        let (document, clock) = (window.document()?, window.performance()?);
        let (backend, _) = browser::page_options();
        // It lives as long as the page.
        let router: &'static Self = Box::leak(Box::new(Self {
            document,
            clock,
            backend,
            route: RefCell::new(Route::Service),
            selected: RefCell::default(),
            member_count: Cell::default(),
            is_polling: Cell::new(true),
            polled_ms: Cell::default(),
            has_failed: Cell::default(),
            redraw: Box::new(redraw),
            window,
        }));
        let on_event: Box<dyn Fn(Event)> = Box::new(|what| router.on_event(&what));
        let on_tick: Box<dyn Fn()> = Box::new(|| router.on_tick());
        let listener: Function = Closure::wrap(on_event).into_js_value().unchecked_into();
        let tick: Function = Closure::wrap(on_tick).into_js_value().unchecked_into();
        let _ = router.document.add_event_listener_with_callback("click", &listener);
        let _ = router.window.add_event_listener_with_callback("popstate", &listener);
        let _ =
            router.window.set_interval_with_callback_and_timeout_and_arguments_0(&tick, TICK_MS);
        router.apply_address();
        if *router.route.borrow() == Route::Service {
            router.fetch_members();
        }
        Some(router)
    }

    /// Current view.
    pub(crate) fn route(&self) -> Ref<'_, Route> {
        self.route.borrow()
    }

    /// Name of the member at an address; the address itself if the name is unknown.
    pub(crate) fn title_of(&self, address: &str) -> String {
        let selected = self.selected.borrow();
        let is_selected =
            selected.0.strip_prefix("/fleet/") == Some(address) && !selected.1.is_empty();
        if is_selected { selected.1.clone() } else { address.to_owned() }
    }

    /// Number of members in the gateway's list; 0 without a fleet.
    pub(crate) fn member_count(&self) -> usize {
        self.member_count.get()
    }

    /// Address of the service whose page is shown.
    pub(crate) fn base(&self) -> String {
        match &*self.route.borrow() {
            Route::Member(path) => [self.backend.as_str(), path].concat(),
            _ => self.backend.clone(),
        }
    }

    /// Path of the member that the address names.
    fn member() -> Option<String> {
        let search = browser::global().text_at("location.search");
        parts(search.get(1..).unwrap_or_default(), b'&').find_map(|pair| {
            let id = pair.strip_prefix("member=")?;
            let id = browser::call("decodeURIComponent", &[id]).ok()?.as_string()?;
            // Only an address or an instance is valid. Other values could be other paths of the
            // gateway.
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b":.-_[]".contains(&byte);
            let is_id = id.bytes().all(is_plain) && id.bytes().any(|byte| byte != b'.');
            (is_id && id.len() < 300).then(|| ["/fleet/", &id].concat())
        })
    }

    /// Switches to the view that the address names.
    fn apply_address(&'static self) {
        match Self::member() {
            Some(path) => {
                // The entry of the browser's history contains the name of the member.
                let name = browser::global().text_at("history.state");
                if !name.is_empty() {
                    *self.selected.borrow_mut() = (path.clone(), name);
                }
                if self.route.replace(Route::Member(path)) == Route::Table {
                    let _ = browser::call("tell", &[browser::CLOSE_TABLE]);
                }
                (self.redraw)();
            }
            // Without a member, the address names the page that is already shown.
            None if *self.route.borrow() != Route::Service => self.open_table(),
            None => {}
        }
    }

    /// Shows the table after its module is loaded.
    fn open_table(&'static self) {
        spawn_local(async move {
            let program = match browser::call("loadTable", &[]) {
                Ok(program) => JsFuture::from(program.unchecked_into::<Promise>()).await,
                failed => failed,
            };
            self.has_failed.set(program.is_err());
            // The viewer may have navigated in the meantime. Without the module, links load the
            // page again.
            if program.is_ok() && Self::member().is_none() {
                *self.route.borrow_mut() = Route::Table;
                let _ = browser::call("tell", &[browser::OPEN_TABLE]);
            }
            (self.redraw)();
        });
    }

    /// Requests the gateway's list of members.
    fn fetch_members(&'static self) {
        self.polled_ms.set(self.clock.now());
        let url = [&self.backend, "/fleet"].concat();
        spawn_local(async move {
            match fetch::text(&self.window, &url).await {
                Ok(text) => {
                    let members = fetch::parse(&text).and_then(|value| value.get("members"));
                    self.on_list(members.map_or(0, |list| list.list().len()));
                }
                Err(failure) => self.is_polling.set(failure != Failure::Status(404)),
            }
        });
    }

    fn on_list(&'static self, members: usize) {
        let is_first = self.member_count.replace(members) == 0;
        if *self.route.borrow() != Route::Service || members < 2 {
            return;
        }
        // After the first minute the viewer may be using the page, so it shows a link to the table
        // instead.
        if is_first && self.clock.now() < POLL_MS {
            self.open_table();
        } else {
            (self.redraw)();
        }
    }

    fn on_tick(&'static self) {
        let is_due = self.clock.now() - self.polled_ms.get() > POLL_MS;
        let is_table = *self.route.borrow() == Route::Table;
        if is_due && !is_table && self.is_polling.get() && !self.document.hidden() {
            self.fetch_members();
        }
    }

    fn on_event(&'static self, event: &Event) {
        let fields: &JsValue = event.as_ref();
        if fields.text_at("type") == "popstate" {
            return self.apply_address();
        }
        let Some(link) = browser::closest(event, "a[data-place]") else { return };
        let is_pressed = |name: &&str| fields.get(name).is_some_and(|key| key.is_truthy());
        // A click with a modifier key opens a new tab or window.
        let is_other = ["ctrlKey", "metaKey", "shiftKey", "altKey"].iter().any(is_pressed);
        if is_other || self.has_failed.get() {
            return;
        }
        event.prevent_default();
        let is_table = *self.route.borrow() == Route::Table;
        let link = JsValue::from(link);
        let name = if is_table { link.text_at("textContent") } else { String::new() };
        let _ = browser::call("go", &[&link.text_at("href"), &name]);
        if is_table {
            self.apply_address();
            let _ = browser::call("scrollTo", &["0", "0"]);
        } else {
            self.open_table();
        }
    }
}
