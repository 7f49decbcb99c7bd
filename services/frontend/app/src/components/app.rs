//! The page as a whole. Its markup before the first sample is also written in `index.html`, where
//! it is seen while the program is on its way: whoever changes one changes the other.

use std::rc::Rc;

use yew::{Component, Context, Properties};

use super::controls::{button, controls};
use super::fleet;
use super::markup::{Html, all, finish, literal, tag, text};
use super::panel::panel;
use super::summary::{events, summary};
use super::tile::tile;
use crate::axis::{Label, Tick, ticks};
use crate::browser::{day_text, minute_text, offset_ms, time_text};
use crate::controller::Controller;
use crate::fleet::{FleetController, Place};
use crate::labels::{age_text, failure_text, link_name, link_text, scope_text, uptime_text};
use crate::metrics::Metric;
use crate::number::{Format, plain};
use crate::panels::{PANELS, TILES};
use crate::state::{Dashboard, Link};

/// Where the figures come from, and how they are shown.
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct AppProps {
    /// The address of the service, empty for the page's own.
    pub(crate) backend: String,
    /// Only the large figures, for a wall.
    pub(crate) kiosk: bool,
}

/// The page as a whole.
pub(crate) struct App {
    controller: Option<Rc<Controller>>,
    /// Address of the service that the controller is of.
    base: String,
    fleet: Option<&'static FleetController>,
}

impl Component for App {
    type Message = ();
    type Properties = AppProps;

    fn create(context: &Context<Self>) -> Self {
        let link = context.link().clone();
        let fleet = web_sys::window().and_then(|window| {
            let props = context.props();
            FleetController::start(window, &props.backend, props.kiosk, move || {
                link.send_message(());
            })
        });
        let mut app = Self { controller: None, base: String::new(), fleet };
        app.update(context, ());
        app
    }

    /// Connects to the service whose page is shown, to none while the table is.
    fn update(&mut self, context: &Context<Self>, (): ()) -> bool {
        let Some(fleet) = &self.fleet else { return false };
        let base = fleet.base();
        if *fleet.place() == Place::Table {
            self.controller = None;
        } else if self.controller.is_none() || self.base != base {
            // The one before ends first.
            self.controller = None;
            let link = context.link().clone();
            self.controller = web_sys::window()
                .and_then(|window| Controller::start(window, &base, move || link.send_message(())));
            self.base = base;
        }
        true
    }

    fn view(&self, context: &Context<Self>) -> yew::Html {
        match (&self.controller, &self.fleet) {
            (Some(controller), Some(fleet)) => {
                finish(page(controller, &self.base, fleet, context.props()))
            }
            _ => yew::Html::default(),
        }
    }

    fn rendered(&mut self, _: &Context<Self>, is_first: bool) {
        if let Some(controller) = &self.controller {
            controller.paint();
            controller.scroll_to_panel(is_first);
        }
    }
}

fn page(controller: &Controller, base: &str, fleet: &FleetController, props: &AppProps) -> Html {
    let dashboard = &*controller.dashboard();
    let format = Format { point: controller.point(), decimal: dashboard.settings.decimal };
    let latest = dashboard.latest.as_ref();
    let scope = match latest {
        Some(latest) => text(scope_text(latest, format)),
        None => tag!(span "class" = "blank"; literal("The host, 2 cores, 24 GiB")),
    };
    let instance = match latest {
        Some(latest) => {
            let uptime = latest.figure(Metric::Uptime);
            let uptime = if uptime.is_nan() { String::new() } else { uptime_text(uptime) };
            all(vec![
                literal("Instance "),
                tag!(code "data-testid" = "instance"; text(latest.instance.clone())),
                tag!(span "class" = "uptime"; text(uptime)),
            ])
        }
        None => tag!(span "class" = "blank"; literal("Instance 0000000000000000")),
    };
    tag!(div
        "class" = "page",
        "data-state" = link_name(dashboard.link),
        "data-sequence" = latest.map(|latest| plain(latest.sequence)),
        "data-theme" = dashboard.settings.theme_name(),
        "data-kiosk" = props.kiosk.then_some("");
        tag!(header "class" = "top";
            tag!(h1; literal("System stats")),
            fleet::way_to_table(fleet, props),
            tag!(p
                "class" = "scope",
                "data-testid" = "scope",
                "title" = latest.map(|latest| latest.reason.clone());
                scope
            ),
            status(dashboard),
        ),
        tag!(main;
            summary(dashboard, format),
            tag!(section "class" = "tiles", "aria-label" = "Now";
                all((0..TILES.len()).map(|place| tile(dashboard, place, format)).collect())
            ),
            // On a wall, what is not seen is not made.
            if props.kiosk { Html::default() } else { controls(dashboard) },
            if props.kiosk { Html::default() } else { panels(dashboard, format) },
        ),
        tag!(footer;
            tag!(p; instance),
            tag!(a "href" = [base, "/stats"].concat(); literal("Raw figures")),
        ),
    )
}

fn panels(dashboard: &Dashboard, format: Format) -> Html {
    let (begin, end) = dashboard.window();
    // One axis for all charts: a label costs a call of the browser.
    let time = |tick: &Tick| {
        let label = match tick.label {
            Label::Second => time_text(tick.time_ms),
            Label::Minute => minute_text(tick.time_ms),
            Label::Day => day_text(tick.time_ms),
        };
        ((tick.time_ms - begin) / (end - begin), label)
    };
    let times: Vec<_> = ticks((begin, end), offset_ms).iter().map(time).collect();
    let panel = |place| panel(dashboard, place, format, &times);
    tag!(div "class" = "panels";
        all((0..PANELS.len()).map(panel).collect()),
        events(dashboard),
    )
}

/// State of the connection. The state is a live region and changes rarely; the age changes every
/// second and is not in it.
fn status(dashboard: &Dashboard) -> Html {
    let age = dashboard.age_ms().filter(|_| dashboard.link != Link::Live);
    let changed = if dashboard.is_changed() {
        ", now from another instance: charts started anew"
    } else {
        ""
    };
    let failure = match (dashboard.link, dashboard.failure) {
        (Link::Reconnecting, Some(failure)) => [": ", &failure_text(failure)].concat(),
        _ => String::new(),
    };
    tag!(div "class" = "status";
        tag!(svg "class" = "lamp", "viewBox" = "0 0 12 12", "aria-hidden" = "true";
            tag!(circle "cx" = "6", "cy" = "6", "r" = "4")
        ),
        tag!(p "role" = "status", "data-testid" = "status";
            literal(link_text(dashboard.link)),
            text(failure),
            literal(changed),
        ),
        match age {
            Some(age) => tag!(p "class" = "age", "data-testid" = "age"; text(age_text(age))),
            None => Html::default(),
        },
        match (dashboard.link, dashboard.is_outdated) {
            (Link::SignedOut, _) => button("reload", "Sign in"),
            (_, true) => button("reload", "New version: reload"),
            _ => Html::default(),
        },
    )
}
