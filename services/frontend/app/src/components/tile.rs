//! Tile: a large value with its details.

use std::cmp::Ordering;

use super::markup::{Page, shape};
use super::summary::{link, since_text};
use crate::alerts::Alert;
use crate::chart::{ChartInput, draw};
use crate::decode::Row;
use crate::labels::{level_labels, tile_details};
use crate::number::Format;
use crate::panels::TILES;
use crate::state::Dashboard;
use crate::unit::Unit;

/// Duration of the sparkline.
const WINDOW_MS: f64 = 60_000.0;

// A group instead of a section: a panel may have the same name, and landmarks need unique names.
const TILE: &str = r#"<div class="tile" role="group" data-tile=? data-level=? data-other=? aria-labelledby=?><div class="head"><h2 id=?><a href=?>{}</a></h2>{}</div><p class="figure">{}</p><p class="words">{}</p><svg class="spark" viewBox="0 0 6000 1000" preserveAspectRatio="none" aria-hidden="true">{}</svg></div>"#;

/// Renders a tile, by its index, with name, level, value, trend and sparkline.
pub(super) fn tile(page: &mut Page, dashboard: &Dashboard, index: usize, format: Format) {
    let tile = &TILES[index];
    let value = dashboard.tile_value(tile);
    let end = dashboard.end_ms();
    let alert = dashboard.alert_of(tile.id);
    let since_ms = alert.map_or(f64::NAN, |alert| alert.since_ms);
    let level = dashboard.level(index).map(level_labels);
    let panel = if tile.id == "ram" { "memory" } else { tile.id };
    let heading = [tile.id, "-tile"].concat();
    page.add(tile.id);
    page.maybe(level.map(|level| level.0));
    page.flag(alert.is_some_and(|alert| !alert.is_about_tile_value()));
    page.twice(heading);
    page.maybe_put(link(dashboard, alert.map_or(panel, Alert::panel), since_ms));
    page.add(tile.name);
    match level {
        Some((_, name, mark)) => {
            shape(page, "mark", mark, "");
            page.add(name);
            page.fill(r#"<p class="level">{}{}</p>"#);
        }
        None => page.skip(),
    }
    let is_loading = dashboard.latest.is_none();
    let begin = page.begin();
    if is_loading {
        page.fill(r#"<span class="blank">00.0</span>"#);
    } else {
        let (number, unit) = format.parts(value.unwrap_or(f64::NAN), tile.unit);
        page.add(tile.id);
        page.put(number);
        page.fill("<span data-testid=?>{}</span>");
        page.add(unit);
        page.fill(r#"<span class="unit">{}</span>"#);
        match dashboard.trend(tile).filter(|_| value.is_some()) {
            Some(Ordering::Greater) => shape(page, "arrow", "M2 10 6 3l4 7z", "rising"),
            Some(Ordering::Equal) => shape(page, "arrow", "M2 5h8v2H2z", "steady"),
            Some(Ordering::Less) => shape(page, "arrow", "M2 2 6 9l4-7z", "falling"),
            None => page.skip(),
        }
    }
    page.list(begin);
    let words = match alert {
        // The start time and the cause of an alert replace the details, so that the height stays.
        Some(alert) if !alert.since_ms.is_nan() || !alert.cause.is_empty() => {
            let since = since_text(dashboard, since_ms).unwrap_or_default();
            vec![alert.sentence(format), since, alert.cause.clone()]
        }
        _ if value.is_none() && !is_loading => Vec::new(),
        _ => tile_details(dashboard, tile, format),
    };
    let begin = page.begin();
    if value.is_none() && !is_loading && words.is_empty() {
        page.add("not available");
    }
    for part in words {
        page.put(part);
        // A copied text needs the space.
        page.fill(r#"<span class="part">{}</span> "#);
    }
    page.list(begin);
    let line = draw(&ChartInput {
        rows: dashboard.live(),
        window: (end - WINDOW_MS, end),
        series: tile.metrics,
        value: &Row::value,
        decimal: false,
        limit: f64::NAN,
        stacked: tile.unit == Unit::Rate,
        unit: tile.unit,
        min_scale: tile.min_scale,
    });
    let begin = page.begin();
    for path in line.paths.into_iter().rev() {
        page.add(if tile.unit == Unit::Rate { "area" } else { "line" });
        page.put(path);
        page.fill("<path class=? d=?/>");
    }
    page.list(begin);
    page.fill(TILE);
}
