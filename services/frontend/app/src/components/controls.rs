//! Controls of the page: time range, pause, exports and settings.

use super::markup::Page;
use crate::panels::TILES;
use crate::preferences::{RANGES, ViewState};
use crate::state::Dashboard;

const CONTROLS: &str = r#"<div class="controls"><nav class="ranges" aria-label="Time">{}</nav>{}<details class="settings" name="sheet" data-testid="settings"><summary>Settings</summary><div class="sheet"><div class="row">{}{}{}</div>{}<div class="row">{}{}{}{}</div></div></details></div>"#;

/// Renders the bar above the charts.
pub(super) fn controls(page: &mut Page, dashboard: &Dashboard) {
    let settings = &dashboard.settings;
    let begin = page.begin();
    for (range, (id, name, _)) in RANGES.into_iter().enumerate() {
        page.put(ViewState { range, ..dashboard.view }.hash());
        page.join(&["range-", id]);
        page.maybe((range == dashboard.view.range).then_some("true"));
        page.add(name);
        page.fill("<a href=? data-testid=? aria-current=?>{}</a>");
    }
    page.list(begin);
    button(page, "pause", if dashboard.paused.is_some() { "Resume" } else { "Pause" });
    let theme = match settings.theme_name() {
        "light" => "Theme: light",
        "dark" => "Theme: dark",
        _ => "Theme: system",
    };
    button(page, "theme", theme);
    let units = if settings.decimal { "Units: decimal (kB)" } else { "Units: binary (KiB)" };
    button(page, "units", units);
    match dashboard.permission.as_str() {
        "" | "denied" => page.skip(),
        "granted" if settings.notifies => button(page, "mute", "Notifications: on"),
        _ => button(page, "notify", "Notifications: off"),
    }
    thresholds(page, dashboard);
    for (action, name) in [
        ("copy-json", "Copy"),
        ("download-json", "JSON"),
        ("download-csv", "CSV"),
        ("download-html", "HTML"),
    ] {
        button(page, action, name);
    }
    page.fill(CONTROLS);
}

/// Renders a button; the page handles its `data-action`.
pub(super) fn button(page: &mut Page, id: &'static str, name: &'static str) {
    page.add(id);
    page.add(name);
    page.fill(r#"<button type="button" data-action=?>{}</button>"#);
}

/// Renders the thresholds, unless the service sets its own.
fn thresholds(page: &mut Page, dashboard: &Dashboard) {
    if dashboard.latest.as_ref().is_some_and(|latest| latest.state.is_some()) {
        return page.fill(r#"<p class="small">The service sets the thresholds.</p>"#);
    }
    let begin = page.begin();
    for (index, tile) in TILES.iter().enumerate() {
        page.add(tile.level_label);
        for (side, name) in [", warning", ", critical"].into_iter().enumerate() {
            page.join(&[tile.level_label, name]);
            page.number((index * 2 + side) as f64);
            page.maybe((dashboard.invalid_threshold == Some(index * 2 + side)).then_some("true"));
            page.number(dashboard.settings.thresholds[index][side]);
            page.fill(
                r#"<td><input type="number" min="0" step="any" aria-label=? data-threshold=? aria-invalid=? value=?/></td>"#,
            );
        }
        page.fill(r#"<tr><th scope="row">{}</th>{}{}</tr>"#);
    }
    page.list(begin);
    page.add(match dashboard.invalid_threshold {
        Some(_) => "Not a number from 0 on: the threshold stays.",
        None => "",
    });
    button(page, "reset", "Reset thresholds");
    page.fill(
        r#"<table><thead><tr><th scope="col">Level of</th><th scope="col">Warning</th><th scope="col">Critical</th></tr></thead><tbody>{}</tbody></table><p class="refused" role="alert">{}</p><div class="row">{}</div>"#,
    );
}
