//! The state in words, and the events behind it.

use super::markup::{Html, all, literal, tag, text};
use super::table;
use super::tile::shape;
use crate::alerts::Alert;
use crate::browser::{full_text, minute_text};
use crate::labels::level_labels;
use crate::number::{Format, plain};
use crate::panels::PANELS;
use crate::preferences::ViewState;
use crate::state::{Dashboard, Level};

/// Events that are listed.
const MOST_EVENTS: usize = 20;

const DAY_MS: f64 = 86_400_000.0;

/// The worst state as a sentence, and the next ones below it.
pub(super) fn summary(dashboard: &Dashboard, format: Format) -> Html {
    let worst = dashboard.worst();
    let (level, name, mark) = level_labels(worst);
    let alerts = &dashboard.alerts;
    let since_ms = dashboard.latest.as_ref().map_or(f64::NAN, |latest| latest.since_ms);
    let sentence = match (alerts.first(), &dashboard.latest) {
        (Some(alert), _) => state(dashboard, alert, format),
        (None, Some(_)) => {
            let normal = if worst == Level::Normal { "All normal" } else { name };
            all(vec![tag!(strong; literal(normal)), since(dashboard, since_ms)])
        }
        (None, None) => tag!(span "class" = "blank"; literal("All normal")),
    };
    // What is read aloud has no figure: it changes with the state alone.
    let spoken = match alerts.first() {
        Some(alert) => [name, ": ", &alert.subject, " ", &alert.target].concat(),
        None => String::new(),
    };
    tag!(section
        "class" = "summary",
        "aria-label" = "State",
        "data-level" = dashboard.latest.is_some().then_some(level);
        // A paragraph cannot hold the list of the others.
        tag!(div "class" = "state", "data-testid" = "state";
            shape("mark", mark, ""),
            sentence,
            others(dashboard, format),
        ),
        tag!(p "class" = "unseen", "role" = "status"; text(spoken)),
    )
}

/// The other states, behind their count: the page below keeps its place when one comes or goes.
fn others(dashboard: &Dashboard, format: Format) -> Html {
    let others = dashboard.alerts.get(1..).unwrap_or_default();
    if others.is_empty() {
        return Html::default();
    }
    let line = |alert: &Alert| {
        let (level, _, mark) = level_labels(alert.level);
        tag!(li "data-level" = level; shape("mark", mark, ""), state(dashboard, alert, format))
    };
    let lines = others.iter().map(line).collect();
    tag!(details "class" = "others", "data-testid" = "others";
        tag!(summary; text(["and ", &plain(others.len() as f64), " more"].concat())),
        tag!(ul "class" = "sheet"; all(lines)),
    )
}

/// A state: what, since when, and why.
fn state(dashboard: &Dashboard, alert: &Alert, format: Format) -> Html {
    let sentence = text(alert.sentence(format));
    let sentence = match link(dashboard, alert.panel(), alert.since_ms) {
        Some(there) => tag!(a "href" = there; sentence),
        None => sentence,
    };
    all(vec![
        tag!(strong; sentence),
        since(dashboard, alert.since_ms),
        if alert.cause.is_empty() {
            Html::default()
        } else {
            tag!(span "class" = "cause"; text(alert.cause.clone()))
        },
    ])
}

fn since(dashboard: &Dashboard, since_ms: f64) -> Html {
    match since_text(dashboard, since_ms) {
        Some(since) => tag!(span "class" = "since"; text(since)),
        None => Html::default(),
    }
}

/// "since 12:41", with the date of another day.
pub(super) fn since_text(dashboard: &Dashboard, since_ms: f64) -> Option<String> {
    if since_ms.is_nan() {
        return None;
    }
    let is_old = dashboard.end_ms() - since_ms > DAY_MS / 2.0;
    let time = if is_old { full_text(since_ms) } else { minute_text(since_ms) };
    (!time.is_empty()).then(|| ["since ", &time].concat())
}

/// The address of a panel, with a range that reaches back to a time.
pub(super) fn link(dashboard: &Dashboard, panel: &str, since_ms: f64) -> Option<String> {
    let place = PANELS.iter().position(|one| one.id == panel)?;
    let minutes = (dashboard.end_ms() - since_ms) / 60_000.0;
    let range = if minutes.is_nan() {
        dashboard.view.range
    } else {
        usize::from(minutes > 9.0) + usize::from(minutes > 55.0)
    };
    Some(ViewState { range, panel: Some(place) }.hash())
}

/// The panel of what happened, the newest first.
pub(super) fn events(dashboard: &Dashboard) -> Html {
    if dashboard.marks.is_empty() {
        return Html::default();
    }
    let row = |mark: &crate::alerts::Mark| {
        let cell = |content: String| tag!(td "class" = "name"; text(content));
        vec![cell(full_text(mark.time_ms)), cell(mark.text.clone())]
    };
    let rows = dashboard.marks.iter().rev().take(MOST_EVENTS).map(row).collect();
    tag!(section "class" = "panel", "data-panel" = "events", "aria-labelledby" = "events-panel";
        tag!(h2 "id" = "events-panel"; literal("Events")),
        table::whole("Events", vec![("Time", true), ("Event", true)], rows),
    )
}
