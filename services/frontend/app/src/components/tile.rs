//! One large figure with everything that belongs to it.

use super::markup::{Html, all, literal, tag, text};
use super::summary::{link, since_text};
use crate::alerts::Alert;
use crate::chart::{Plan, draw};
use crate::decode::Row;
use crate::labels::{level_labels, tile_details};
use crate::number::Format;
use crate::panels::{TILES, Unit};
use crate::state::Dashboard;

/// How far the small line looks back.
const WINDOW_MS: f64 = 60_000.0;

/// The tile at that place, with name, level, figure, trend and the line of the last minute.
pub(super) fn tile(dashboard: &Dashboard, place: usize, format: Format) -> Html {
    let tile = &TILES[place];
    let value = dashboard.tile_value(tile);
    let level = dashboard.level(place).map(level_labels);
    let end = dashboard.end_ms();
    let line = draw(&Plan {
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
    let (trend, arrow) = match dashboard.trend(tile) {
        1 => ("rising", "M2 10 6 3l4 7z"),
        -1 => ("falling", "M2 2 6 9l4-7z"),
        _ => ("steady", "M2 5h8v2H2z"),
    };
    let is_loading = dashboard.latest.is_none();
    let (number, unit) = format.parts(value.unwrap_or(f64::NAN), tile.unit);
    let figure = if is_loading {
        tag!(span "class" = "blank"; literal("00.0"))
    } else {
        all(vec![
            tag!(span "data-testid" = tile.id; text(number)),
            tag!(span "class" = "unit"; literal(unit)),
            match value {
                Some(_) => shape("arrow", arrow, trend),
                None => Html::default(),
            },
        ])
    };
    let part = |words| tag!(span "class" = "part"; text(words));
    let about = if value.is_none() && !is_loading {
        literal("not available")
    } else {
        all(tile_details(dashboard, tile, format).into_iter().map(part).collect())
    };
    // Since when and why, in place of the details: the height stays.
    let alert = dashboard.alert_of(tile.id);
    let since_ms = alert.map_or(f64::NAN, |alert| alert.since_ms);
    let about = match alert {
        Some(alert) if !alert.since_ms.is_nan() || !alert.cause.is_empty() => {
            let since = since_text(dashboard, since_ms).unwrap_or_default();
            all(vec![part(alert.sentence(format)), part(since), part(alert.cause.clone())])
        }
        _ => about,
    };
    let panel = if tile.id == "ram" { "memory" } else { tile.id };
    let panel = alert.map_or(panel, Alert::panel);
    let class = if tile.unit == Unit::Rate { "area" } else { "line" };
    let heading = [tile.id, "-tile"].concat();
    // A group and not a section: a panel may have the same name, and landmarks must differ.
    tag!(div
        "class" = "tile",
        "role" = "group",
        "data-tile" = tile.id,
        "data-level" = level.map(|level| level.0),
        "data-other" = alert.is_some_and(|alert| !alert.is_of_figure()).then_some(""),
        "aria-labelledby" = heading.clone();
        tag!(div "class" = "head";
            tag!(h2 "id" = heading;
                tag!(a "href" = link(dashboard, panel, since_ms); literal(tile.name))
            ),
            match level {
                Some((_, name, mark)) => {
                    tag!(p "class" = "level"; shape("mark", mark, ""), literal(name))
                }
                None => Html::default(),
            },
        ),
        tag!(p "class" = "figure"; figure),
        tag!(p "class" = "words"; about),
        tag!(svg
            "class" = "spark",
            "viewBox" = "0 0 6000 1000",
            "preserveAspectRatio" = "none",
            "aria-hidden" = "true";
            all(line.paths.into_iter().rev().map(|d| tag!(path "class" = class, "d" = d)).collect())
        ),
    )
}

/// A shape in a box of twelve; without a name it only repeats what a word says.
pub(super) fn shape(class: &'static str, path: &'static str, name: &'static str) -> Html {
    let is_named = !name.is_empty();
    tag!(svg
        "class" = class,
        "viewBox" = "0 0 12 12",
        "role" = is_named.then_some("img"),
        "aria-label" = is_named.then_some(name),
        "aria-hidden" = (!is_named).then_some("true");
        tag!(path "d" = path)
    )
}
