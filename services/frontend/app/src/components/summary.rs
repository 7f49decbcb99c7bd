//! Summary of the state, and the events.

use super::markup::{Page, shape};
use super::table;
use crate::alerts::{Alert, Level};
use crate::browser::{full_text, minute_text};
use crate::labels::level_labels;
use crate::number::{Format, plain};
use crate::panels::PANELS;
use crate::preferences::ViewState;
use crate::state::Dashboard;

/// Maximum number of listed events.
const MAX_EVENTS: usize = 20;

const DAY_MS: f64 = 86_400_000.0;

/// Renders the most severe alert as a sentence, and the others below it.
pub(super) fn summary(page: &mut Page, dashboard: &Dashboard, format: Format) {
    let worst = dashboard.worst();
    let (level, name, mark) = level_labels(worst);
    let alerts = &dashboard.alerts;
    let calm = if worst == Level::Normal { "All normal" } else { name };
    page.maybe(dashboard.latest.is_some().then_some(level));
    shape(page, "mark", mark, "");
    match (alerts.first(), &dashboard.latest) {
        (Some(alert), _) => state(page, dashboard, alert, format),
        (None, Some(latest)) => {
            page.add(calm);
            since(page, dashboard, latest.since_ms);
            page.fill("{}{}");
        }
        (None, None) => page.fill(r#"<span class="blank">All normal</span>"#),
    }
    others(page, dashboard, format);
    // The text for screen readers has no value, so it changes only with the state.
    page.put(match alerts.first() {
        Some(alert) => [name, ": ", &alert.subject, " ", &alert.target].concat(),
        // Without it, the end of the last alert would not be announced.
        None if dashboard.latest.is_some() => calm.to_owned(),
        None => String::new(),
    });
    // A `<p>` cannot contain the list of the others.
    page.fill(
        r#"<section class="summary" aria-label="State" data-level=?><div class="state" data-testid="state">{}{}{}</div><p class="unseen" role="status">{}</p></section>"#,
    );
}

/// Renders the other alerts behind their count, so that the page below does not move when one
/// begins or ends.
fn others(page: &mut Page, dashboard: &Dashboard, format: Format) {
    let others = dashboard.alerts.get(1..).unwrap_or_default();
    if others.is_empty() {
        return page.skip();
    }
    page.join(&["and ", &plain(others.len() as f64), " more"]);
    let begin = page.begin();
    for alert in others {
        let (level, _, mark) = level_labels(alert.level);
        page.add(level);
        shape(page, "mark", mark, "");
        state(page, dashboard, alert, format);
        page.fill("<li data-level=?>{}{}</li>");
    }
    page.list(begin);
    page.fill(
        r#"<details class="others" name="sheet" data-testid="others"><summary>{}</summary><ul class="sheet">{}</ul></details>"#,
    );
}

/// Renders an alert: sentence, start time and cause.
fn state(page: &mut Page, dashboard: &Dashboard, alert: &Alert, format: Format) {
    let begin = page.begin();
    let link_target = link(dashboard, alert.panel(), alert.since_ms);
    let is_link = link_target.is_some();
    page.maybe_put(link_target);
    page.put(alert.sentence(format));
    page.fill(if is_link { "<strong><a href=?>{}</a></strong>" } else { "<strong>{}{}</strong>" });
    since(page, dashboard, alert.since_ms);
    if !alert.cause.is_empty() {
        page.put(alert.cause.clone());
        page.fill(r#"<span class="cause">{}</span>"#);
    }
    page.list(begin);
}

fn since(page: &mut Page, dashboard: &Dashboard, since_ms: f64) {
    match since_text(dashboard, since_ms) {
        Some(since) => {
            page.put(since);
            page.fill(r#"<span class="since">{}</span>"#);
        }
        None => page.skip(),
    }
}

/// Formats a start time: "since 12:41", with the date after 12 hours.
pub(super) fn since_text(dashboard: &Dashboard, since_ms: f64) -> Option<String> {
    if since_ms.is_nan() {
        return None;
    }
    let is_old = dashboard.end_ms() - since_ms > DAY_MS / 2.0;
    let time = if is_old { full_text(since_ms) } else { minute_text(since_ms) };
    (!time.is_empty()).then(|| ["since ", &time].concat())
}

/// Link to a panel, with a range that includes a time. A wall display has no panels.
pub(super) fn link(dashboard: &Dashboard, panel: &str, since_ms: f64) -> Option<String> {
    if dashboard.is_kiosk {
        return None;
    }
    let index = PANELS.iter().position(|candidate| candidate.id == panel)?;
    let minutes = (dashboard.end_ms() - since_ms) / 60_000.0;
    let range = if minutes.is_nan() {
        dashboard.view.range
    } else {
        usize::from(minutes > 9.0) + usize::from(minutes > 55.0)
    };
    Some(ViewState { range, panel: Some(index) }.hash())
}

/// Renders the panel of the events, newest first.
pub(super) fn events(page: &mut Page, dashboard: &Dashboard) {
    if dashboard.annotations.is_empty() {
        return page.skip();
    }
    table::begin(page, "Events", &[("Time", true), ("Event", true)]);
    let begin = page.begin();
    for annotation in dashboard.annotations.iter().rev().take(MAX_EVENTS) {
        page.put(full_text(annotation.time_ms));
        page.put(annotation.text.clone());
        page.fill(r#"<tr><th scope="row" class="name">{}</th><td class="name">{}</td></tr>"#);
    }
    page.list(begin);
    table::end(page);
    page.fill(
        r#"<section class="panel" data-panel="events" aria-labelledby="events-panel"><h2 id="events-panel">Events</h2>{}</section>"#,
    );
}
