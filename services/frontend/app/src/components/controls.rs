//! What the viewer can do: choose the time, pause, take the figures away, and the settings.

use yew::Html;

use super::markup::{all, literal, tag};
use crate::chart::{Drawing, Plan, draw};
use crate::export;
use crate::metrics::Metric;
use crate::number::{Format, plain};
use crate::panels::{PANELS, TILES, Unit};
use crate::preferences::{RANGES, ViewState};
use crate::state::Dashboard;

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
                tag!(table;
                    tag!(thead; tag!(tr; head("Level of"), head("Warning"), head("Critical"))),
                    tag!(tbody;
                        all((0..TILES.len()).map(|place| thresholds(dashboard, place)).collect())
                    ),
                ),
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
pub(super) fn head(name: &'static str) -> Html {
    tag!(th "scope" = "col"; literal(name))
}

/// From where on a tile's figure is too high.
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

/// The drawing of the panel at that place, of what is shown.
pub(super) fn drawing(dashboard: &Dashboard, place: usize) -> Drawing {
    let panel = &PANELS[place];
    let series: Vec<Metric> = panel.series.iter().map(|(figure, _)| *figure).collect();
    let total = dashboard.figure(Metric::MemoryTotal);
    draw(&Plan {
        rows: dashboard.rows().unwrap_or_default(),
        window: dashboard.window(),
        series: &series,
        stacked: panel.stacked,
        unit: panel.unit,
        min_scale: if panel.unit == Unit::Bytes {
            panel.min_scale.max(total)
        } else {
            panel.min_scale
        },
    })
}

/// What is taken away: `json`, `csv`, or `svg-` and a panel's name.
pub(crate) fn text_of(dashboard: &Dashboard, what: &str) -> String {
    let (begin, end) = dashboard.window();
    let rows = dashboard.rows().unwrap_or_default();
    let first = rows.partition_point(|row| row.time_ms < begin);
    let last = rows.partition_point(|row| row.time_ms <= end);
    let rows = rows.get(first..last).unwrap_or_default();
    let panel = what.strip_prefix("svg-");
    if let Some(place) = PANELS.iter().position(|one| Some(one.id) == panel) {
        let drawing = drawing(dashboard, place);
        let format = Format { point: '.', decimal: dashboard.settings.decimal };
        return export::svg(
            &PANELS[place],
            &drawing,
            &format.text(drawing.top, PANELS[place].unit),
        );
    }
    match what {
        "csv" => export::csv(rows),
        _ => export::json(dashboard.latest.as_ref().map_or("", |latest| &latest.instance), rows),
    }
}
