//! Values of the current view, as a chart or as text for exports.

use wire::ScopeKind;

use crate::browser::full_text;
use crate::chart::{ChartInput, Drawing, draw};
use crate::export::{self, Colors};
use crate::metrics::Metric;
use crate::number::Format;
use crate::panels::{PANELS, Shape};
use crate::state::Dashboard;

/// Draws the chart of a panel, by its index.
pub(crate) fn drawing(dashboard: &Dashboard, index: usize) -> (Shape, Drawing) {
    let panel = &PANELS[index];
    let scope = dashboard.latest.as_ref().map_or(ScopeKind::Host, |latest| latest.scope);
    let shape = panel.shape(scope);
    let series: Vec<Metric> = shape.series.iter().map(|(metric, _)| *metric).collect();
    // The scale of shares already ends at the limit.
    let is_share = !std::ptr::eq(shape.series, panel.series);
    let limit = if is_share { f64::NAN } else { dashboard.limit(panel) };
    let drawing = draw(&ChartInput {
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

/// Formats an export: `json`, `csv`, or `svg-` and the identifier of a panel.
pub(crate) fn export_text(dashboard: &Dashboard, format_name: &str, colors: &Colors) -> String {
    let (begin, end) = dashboard.window();
    let rows = dashboard.rows().unwrap_or_default();
    let first = rows.partition_point(|row| row.time_ms < begin);
    let last = rows.partition_point(|row| row.time_ms <= end);
    let rows = rows.get(first..last).unwrap_or_default();
    let panel = format_name.strip_prefix("svg-");
    if let Some(index) = PANELS.iter().position(|candidate| Some(candidate.id) == panel) {
        let (shape, drawing) = drawing(dashboard, index);
        let format = Format { point: '.', decimal: dashboard.settings.decimal };
        let tick = |&tick: &f64| (tick, format.tick(tick, shape.unit));
        let ticks: Vec<_> = drawing.ticks.iter().map(tick).collect();
        let title = [PANELS[index].title, ", ", &full_text(begin), " \u{2013} ", &full_text(end)];
        return export::svg(&shape, &drawing, &title.concat(), &ticks, colors);
    }
    match format_name {
        "csv" => export::csv(rows),
        _ => export::json(dashboard.latest.as_ref().map_or("", |latest| &latest.instance), rows),
    }
}
