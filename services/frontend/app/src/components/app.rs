//! The page as a whole. Its markup before the first sample is also written in `index.html`, where
//! it is seen while the program is on its way: whoever changes one changes the other.

use std::rc::Rc;

use yew::{Component, Context, Html, Properties};

use super::controls::controls;
use super::markup::{all, literal, tag, text};
use super::panel::panel;
use super::tile::tile;
use crate::browser::decimal_point;
use crate::controller::Controller;
use crate::labels::{age_text, link_name, link_text, scope_text, uptime_text};
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
    point: char,
}

impl Component for App {
    type Message = ();
    type Properties = AppProps;

    fn create(context: &Context<Self>) -> Self {
        let link = context.link().clone();
        let controller = web_sys::window().and_then(|window| {
            Controller::start(window, &context.props().backend, move || link.send_message(()))
        });
        Self { controller, point: decimal_point() }
    }

    fn view(&self, context: &Context<Self>) -> Html {
        match &self.controller {
            Some(controller) => page(&controller.dashboard(), context.props(), self.point),
            None => Html::default(),
        }
    }

    fn rendered(&mut self, _: &Context<Self>, is_first: bool) {
        if let Some(controller) = &self.controller {
            controller.paint();
            if is_first {
                controller.scroll_to_panel();
            }
        }
    }
}

fn page(dashboard: &Dashboard, props: &AppProps, point: char) -> Html {
    let format = Format { point, decimal: dashboard.settings.decimal };
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
            tag!(p
                "class" = "scope",
                "data-testid" = "scope",
                "title" = latest.map(|latest| latest.reason.clone());
                scope
            ),
            status(dashboard),
        ),
        tag!(main;
            tag!(section "class" = "tiles", "aria-label" = "Now";
                all((0..TILES.len()).map(|place| tile(dashboard, place, format)).collect())
            ),
            controls(dashboard),
            tag!(div "class" = "panels";
                all((0..PANELS.len()).map(|place| panel(dashboard, place, format)).collect())
            ),
        ),
        tag!(footer;
            tag!(p; instance),
            tag!(a "href" = [&props.backend, "/stats"].concat(); literal("Raw figures")),
        ),
    )
}

/// How the stream is doing. The state is a live region and changes rarely; the age changes every
/// second and is not in it.
fn status(dashboard: &Dashboard) -> Html {
    let age = dashboard.age_ms().filter(|_| dashboard.link != Link::Live);
    let changed = if dashboard.is_changed() {
        ", now from another instance: charts started anew"
    } else {
        ""
    };
    tag!(div "class" = "status";
        tag!(svg "class" = "lamp", "viewBox" = "0 0 12 12", "aria-hidden" = "true";
            tag!(circle "cx" = "6", "cy" = "6", "r" = "4")
        ),
        tag!(p "role" = "status", "data-testid" = "status";
            literal(link_text(dashboard.link)),
            literal(changed),
        ),
        age.map_or_else(Html::default, |age| {
            tag!(p "class" = "age", "data-testid" = "age"; text(age_text(age)))
        }),
    )
}
