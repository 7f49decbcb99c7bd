//! What the viewer can do: choose the time, pause, take the figures away, and the settings.

use super::markup::{Html, all, literal, tag};
use crate::browser::full_text;
use crate::chart::{Drawing, Plan, draw};
use crate::export::{self, Colors};
use crate::metrics::Metric;
use crate::number::{Format, plain};
use crate::panels::{PANELS, Shape, TILES};
use crate::preferences::{RANGES, ViewState};
use crate::state::Dashboard;
use wire::ScopeKind;

/// The bar above the charts.
pub(super) fn controls(dashboard: &Dashboard) -> Html {
    let settings = &dashboard.settings;
    let range = |range: usize| {
        let (id, name, _) = RANGES[range];
        tag!(a
            "href" = ViewState { range, ..dashboard.view }.hash(),
            "data-testid" = ["range-", id].concat(),
            "aria-current" = (range == dashboard.view.range).then_some("true");
            literal(name)
        )
    };
    let pause = if dashboard.frozen.is_some() { "Resume" } else { "Pause" };
    let units = if settings.decimal { "Units: decimal (kB)" } else { "Units: binary (KiB)" };
    let theme = match settings.theme_name() {
        "light" => "Theme: light",
        "dark" => "Theme: dark",
        _ => "Theme: system",
    };
    tag!(div "class" = "controls";
        tag!(nav "class" = "ranges", "aria-label" = "Time";
            all((0..RANGES.len()).map(range).collect())
        ),
        button("pause", pause),
        tag!(details "class" = "settings", "data-testid" = "settings";
            tag!(summary; literal("Settings")),
            tag!(div "class" = "sheet";
                tag!(div "class" = "row"; button("theme", theme), button("units", units)),
                limits(dashboard),
                tag!(div "class" = "row";
                    button("copy-json", "Copy"),
                    button("download-json", "JSON"),
                    button("download-csv", "CSV"),
                ),
            ),
        ),
    )
}

/// A button that the page hears by its name.
pub(super) fn button(id: &'static str, name: &'static str) -> Html {
    tag!(button "type" = "button", "data-action" = id; literal(name))
}

/// The head of a column.
fn head(name: &'static str) -> Html {
    tag!(th "scope" = "col"; literal(name))
}

/// The thresholds, unless the service judges by its own.
fn limits(dashboard: &Dashboard) -> Html {
    if dashboard.latest.as_ref().is_some_and(|latest| latest.state.is_some()) {
        return tag!(p "class" = "small"; literal("The service sets the thresholds."));
    }
    let rows = (0..TILES.len()).map(|place| thresholds(dashboard, place)).collect();
    let refused = dashboard.refused.map(|_| "Not a number from 0 on: the threshold stays.");
    all(vec![
        tag!(table;
            tag!(thead; tag!(tr; head("Level of"), head("Warning"), head("Critical"))),
            tag!(tbody; all(rows)),
        ),
        tag!(p "class" = "refused", "role" = "alert"; literal(refused.unwrap_or_default())),
        tag!(div "class" = "row"; button("reset", "Reset thresholds")),
    ])
}

/// The thresholds of a tile.
fn thresholds(dashboard: &Dashboard, place: usize) -> Html {
    let level_label = TILES[place].level_label;
    let input = |side: usize, name: &'static str| {
        tag!(td;
            tag!(input
                "type" = "number",
                "min" = "0",
                "step" = "any",
                "aria-label" = [level_label, name].concat(),
                "data-threshold" = plain((place * 2 + side) as f64),
                "aria-invalid" = (dashboard.refused == Some(place * 2 + side)).then_some("true"),
                "value" = plain(dashboard.settings.thresholds[place][side])
            )
        )
    };
    tag!(tr;
        tag!(th "scope" = "row"; literal(level_label)),
        input(0, ", warning"),
        input(1, ", critical"),
    )
}

/// The chart of the panel at that place, of what is shown.
pub(super) fn drawing(dashboard: &Dashboard, place: usize) -> (Shape, Drawing) {
    let panel = &PANELS[place];
    let scope = dashboard.latest.as_ref().map_or(ScopeKind::Host, |latest| latest.scope);
    let shape = panel.shape(scope);
    let series: Vec<Metric> = shape.series.iter().map(|(metric, _)| *metric).collect();
    // Shares of a limit end at all of it.
    let is_share = !std::ptr::eq(shape.series, panel.series);
    let limit = if is_share { f64::NAN } else { panel.limit(dashboard) };
    let drawing = draw(&Plan {
        rows: dashboard.rows().unwrap_or_default(),
        window: dashboard.window(),
        series: &series,
        value: &|row, metric| dashboard.value(row, metric),
        stacked: shape.stacked,
        unit: shape.unit,
        decimal: dashboard.settings.decimal,
        min_scale: shape.min_scale.max(limit),
        limit,
    });
    (shape, drawing)
}

/// Text to take away: `json`, `csv`, or `svg-` and a panel's name.
pub(crate) fn text_of(dashboard: &Dashboard, what: &str, colors: &Colors) -> String {
    let (begin, end) = dashboard.window();
    let rows = dashboard.rows().unwrap_or_default();
    let first = rows.partition_point(|row| row.time_ms < begin);
    let last = rows.partition_point(|row| row.time_ms <= end);
    let rows = rows.get(first..last).unwrap_or_default();
    let panel = what.strip_prefix("svg-");
    if let Some(place) = PANELS.iter().position(|one| Some(one.id) == panel) {
        let (shape, drawing) = drawing(dashboard, place);
        let format = Format { point: '.', decimal: dashboard.settings.decimal };
        let tick = |&tick: &f64| (tick, format.tick(tick, shape.unit));
        let ticks: Vec<_> = drawing.ticks.iter().map(tick).collect();
        let title = [PANELS[place].title, ", ", &full_text(begin), " \u{2013} ", &full_text(end)];
        return export::svg(&shape, &drawing, &title.concat(), &ticks, colors);
    }
    match what {
        "csv" => export::csv(rows),
        _ => export::json(dashboard.latest.as_ref().map_or("", |latest| &latest.instance), rows),
    }
}
