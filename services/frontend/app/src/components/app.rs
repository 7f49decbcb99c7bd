//! The page as a whole. The markup before the first sample is also in `index.html`, where it is
//! visible while the module loads. Changes must be made in both places.

use std::rc::Rc;

use yew::{Component, Context};

use super::controls::{button, controls};
use super::fleet;
use super::markup::Page;
use super::panel::panel;
use super::summary::{events, summary};
use super::tile::tile;
use crate::axis::{Label, Tick, ticks};
use crate::browser::{day_text, minute_text, offset_ms, time_text};
use crate::controller::Controller;
use crate::labels::{age_text, failure_text, link_name, link_text, scope_text, uptime_text};
use crate::metrics::Metric;
use crate::number::{Format, plain};
use crate::panels::{PANELS, TILES};
use crate::router::{Route, Router};
use crate::state::{Dashboard, Link};

/// Root component of the page.
pub(crate) struct App {
    controller: Option<Rc<Controller>>,
    /// Address of the controller's service.
    base: String,
    router: Option<&'static Router>,
}

impl Component for App {
    type Message = ();
    type Properties = ();

    fn create(context: &Context<Self>) -> Self {
        let link = context.link().clone();
        let router = web_sys::window()
            .and_then(|window| Router::start(window, move || link.send_message(())));
        let mut app = Self { controller: None, base: String::new(), router };
        app.update(context, ());
        app
    }

    /// Connects to the service whose page is shown, and to none while the table is shown.
    fn update(&mut self, context: &Context<Self>, (): ()) -> bool {
        let Some(router) = &self.router else { return false };
        let base = router.base();
        if *router.route() == Route::Table {
            self.controller = None;
        } else if self.controller.is_none() || self.base != base {
            // The previous controller is dropped first.
            self.controller = None;
            let link = context.link().clone();
            let show = move || link.send_message(());
            self.controller =
                web_sys::window().and_then(|window| Controller::start(window, &base, router, show));
            self.base = base;
        }
        true
    }

    fn view(&self, _: &Context<Self>) -> yew::Html {
        match (&self.controller, &self.router) {
            (Some(controller), Some(router)) => {
                let mut page = Page::default();
                draw(&mut page, controller, &self.base, router);
                page.finish()
            }
            _ => yew::Html::default(),
        }
    }

    fn rendered(&mut self, _: &Context<Self>, _: bool) {
        if let Some(controller) = &self.controller {
            controller.paint();
            controller.scroll_to_panel();
        }
    }
}

const PAGE: &str = r#"<div class="page" data-state=? data-sequence=? data-theme=? data-kiosk=?><header class="top"><h1>System stats</h1>{}<p class="scope" data-testid="scope" title=?>{}</p>{}</header><main>{}<section class="tiles" aria-label="Now">{}</section>{}</main><footer><p>{}</p><a href=?>Raw figures</a></footer></div>"#;

const INSTANCE: &str =
    r#"Instance <code data-testid="instance">{}</code> <span class="uptime">{}</span>"#;

const STATUS: &str = r#"<div class="status"><svg class="lamp" viewBox="0 0 12 12" aria-hidden="true"><circle cx="6" cy="6" r="4"/></svg><p role="status" data-testid="status">{}{}{}</p>{}{}<button type="button" class="new" data-action="reload">New version: reload</button></div>"#;

fn draw(page: &mut Page, controller: &Controller, base: &str, router: &Router) {
    let dashboard = &*controller.dashboard();
    let format = Format { point: controller.point(), decimal: dashboard.settings.decimal };
    let latest = dashboard.latest.as_ref();
    page.add(link_name(dashboard.link));
    page.maybe_put(latest.map(|latest| plain(latest.sequence)));
    page.maybe(Some(dashboard.settings.theme_name()));
    page.flag(dashboard.is_kiosk);
    fleet::fleet_link(page, router, dashboard.is_kiosk);
    page.maybe_put(latest.map(|latest| latest.reason.clone()));
    match latest {
        Some(latest) => page.put(scope_text(latest, format)),
        None => page.fill(r#"<span class="blank">The host, 2 cores, 24 GiB</span>"#),
    }
    status(page, dashboard);
    summary(page, dashboard, format);
    let begin = page.begin();
    for index in 0..TILES.len() {
        tile(page, dashboard, index, format);
    }
    page.list(begin);
    let begin = page.begin();
    // In kiosk mode, hidden parts are not rendered.
    if !dashboard.is_kiosk {
        controls(page, dashboard);
        panels(page, dashboard, format);
    }
    page.list(begin);
    match latest {
        Some(latest) => {
            let uptime = latest.metric(Metric::Uptime);
            page.put(latest.instance.clone());
            page.put(if uptime.is_nan() { String::new() } else { uptime_text(uptime) });
            page.fill(INSTANCE);
        }
        None => page.fill(r#"<span class="blank">Instance 0000000000000000</span>"#),
    }
    page.join(&[base, "/stats"]);
    page.fill(PAGE);
}

fn panels(page: &mut Page, dashboard: &Dashboard, format: Format) {
    let (begin, end) = dashboard.window();
    // All charts share one axis, because each label is a call into the browser.
    let time = |tick: &Tick| {
        let label = match tick.label {
            Label::Second => time_text(tick.time_ms),
            Label::Minute => minute_text(tick.time_ms),
            Label::Day => day_text(tick.time_ms),
        };
        ((tick.time_ms - begin) / (end - begin), label, tick.label == Label::Day)
    };
    let times: Vec<_> = ticks((begin, end), offset_ms).iter().map(time).collect();
    let begin = page.begin();
    for index in 0..PANELS.len() {
        panel(page, dashboard, index, format, &times);
    }
    events(page, dashboard);
    page.list(begin);
    page.fill(r#"<div class="panels">{}</div>"#);
}

/// State of the connection. The state is a live region and changes rarely. The age changes every
/// second and is outside of the live region.
fn status(page: &mut Page, dashboard: &Dashboard) {
    page.add(link_text(dashboard.link));
    page.put(match (dashboard.link, dashboard.failure) {
        (Link::Reconnecting, Some(failure)) => [": ", &failure_text(failure)].concat(),
        _ => String::new(),
    });
    page.put(match dashboard.history_failure.filter(|_| dashboard.needs_history) {
        _ if dashboard.is_changed() => {
            ", now from another instance: charts started anew".to_owned()
        }
        Some(failure) => [", earlier minutes are missing: ", &failure_text(failure)].concat(),
        None => String::new(),
    });
    let has_age = match dashboard.link {
        Link::Live => false,
        // The early sample.
        Link::Connecting => dashboard.is_stale(),
        _ => true,
    };
    match dashboard.age_ms().filter(|_| has_age) {
        Some(age) => {
            page.put(age_text(age));
            page.fill(r#"<p class="age" data-testid="age">{}</p>"#);
        }
        None => page.skip(),
    }
    match dashboard.link {
        Link::SignedOut => button(page, "reload", "Sign in"),
        _ => page.skip(),
    }
    page.fill(STATUS);
}
