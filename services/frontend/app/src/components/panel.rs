//! Panel: a chart with its legend, and related values.

use super::markup::Page;
use super::table;
use crate::browser::{full_text, time_text};
use crate::chart::{Drawing, HEIGHT, WIDTH};
use crate::decode::Row;
use crate::drawing::drawing;
use crate::heatmap::COLUMNS;
use crate::labels::{container_facts, failure_text, level_labels, scope_label};
use crate::metrics::Metric;
use crate::number::{Format, UNKNOWN, plain, push_integer};
use crate::panels::{CORES, PANELS, Panel, Shape, TABLES};
use crate::preferences::ViewState;
use crate::state::Dashboard;
use crate::unit::Unit;
use wire::ScopeKind;

const SERIES: [&str; 6] = ["s0", "s1", "s2", "s3", "s4", "s5"];
/// Label of the axis, its position (0 is the left end, 1 the right one), and whether it is a date.
pub(super) type Time = (f64, String, bool);

/// Text above values that are not the host's.
const CONTAINER_SCOPE: &str = "Of the stats container, not of the host";

const PANEL: &str = r#"<section class="panel" data-panel=? data-focus=? data-level=? aria-labelledby=?><div class="head"><h2 id=?><a href=?>{}</a></h2>{}</div>{}</section>"#;

const PLOT: &str = r#"<div class=? role="slider" tabindex="0" aria-label=? aria-valuemin="0" aria-valuemax="100" aria-valuenow=? aria-valuetext=?>{}<svg viewBox="0 0 6000 1000" preserveAspectRatio="none" aria-hidden="true"><path class="grid" d=?/>{}{}<path class="limit" d=?/><path class="event" d=?/><path class="dragged" d=?/><path class="cross" d=?/></svg>{}</div>"#;

const FOOTER: &str = r#"<div class="row"><span class="aside" title=?>{}</span><button type="button" data-action=? aria-label=? aria-expanded=?>Table</button><button type="button" data-action=? aria-label=?>SVG</button></div>"#;

/// Renders a panel, by its index. A panel that can never have data is omitted.
pub(super) fn panel(
    page: &mut Page,
    dashboard: &Dashboard,
    index: usize,
    format: Format,
    times: &[Time],
) {
    let panel = &PANELS[index];
    let latest = dashboard.latest.as_ref();
    let tables: Vec<usize> = (0..TABLES.len())
        .filter(|&table| TABLES[table].panel == panel.id && !dashboard.table(table).is_empty())
        .collect();
    // Without a container or swap, its panel is omitted.
    let exists = match panel.id {
        "container" => latest.is_some_and(|latest| latest.has_container),
        "swap" => dashboard.metric(Metric::SwapTotal) > 0.0,
        _ => true,
    };
    let is_chart = !panel.series.is_empty() || index == CORES;
    let has_reason = !panel.missing.is_empty() && latest.is_some();
    if !exists || (!is_chart && tables.is_empty() && !has_reason) {
        return page.skip();
    }
    let is_focus = dashboard.view.panel == Some(index);
    let link = ViewState { panel: (!is_focus).then_some(index), ..dashboard.view };
    let id = [panel.id, "-panel"].concat();
    let level = dashboard.alerts.iter().filter(|alert| alert.panel() == panel.id);
    let level = level.map(|alert| alert.level).max();
    let scope = latest.map(|latest| latest.scope_of(panel.id));
    page.add(panel.id);
    page.flag(is_focus);
    page.maybe(level.map(|level| level_labels(level).0));
    page.twice(id);
    page.put(link.hash());
    page.add(panel.title);
    match scope {
        Some(scope) => {
            page.add(scope_label(scope));
            page.fill(r#"<span class="tag">{}</span>"#);
        }
        None => page.skip(),
    }
    let begin = page.begin();
    let is_host = latest.is_some_and(|latest| latest.scope == ScopeKind::Host);
    if is_host && scope == Some(ScopeKind::Container) {
        page.add(CONTAINER_SCOPE);
        page.fill(r#"<p class="small">{}</p>"#);
    }
    if is_chart {
        chart(page, dashboard, index, format, times);
    } else if tables.is_empty() {
        missing(page, panel.missing);
    }
    if panel.id == "container" {
        facts(page, dashboard, format);
    }
    if !is_chart || dashboard.tables[index] {
        for table in tables {
            table::list(page, dashboard, table, format);
        }
    }
    page.list(begin);
    page.fill(PANEL);
}

fn facts(page: &mut Page, dashboard: &Dashboard, format: Format) {
    let Some(latest) = &dashboard.latest else { return };
    let begin = page.begin();
    for (name, value, share) in container_facts(latest, format) {
        page.add(name);
        page.put(value);
        if share.is_nan() {
            page.fill("<div><dt>{}</dt><dd>{}</dd></div>");
        } else {
            page.put(format.text(share, Unit::Percent));
            table::bar(page, share);
            page.fill(r#"<div><dt>{}</dt><dd>{}</dd><dd>{}</dd><dd class="meter">{}</dd></div>"#);
        }
    }
    page.list(begin);
    page.fill(r#"<dl class="facts">{}</dl>"#);
}

fn missing(page: &mut Page, message: &'static str) {
    page.add(message);
    page.fill(r#"<p class="missing">{}</p>"#);
}

fn chart(page: &mut Page, dashboard: &Dashboard, index: usize, format: Format, times: &[Time]) {
    let panel = &PANELS[index];
    let is_heat = index == CORES;
    let (shape, mut drawing) = drawing(dashboard, index);
    let cores = dashboard.latest.as_ref().map_or(0, |latest| latest.cores.len());
    let is_missing =
        dashboard.latest.is_some() && if is_heat { cores == 0 } else { drawing.is_empty };
    let (begin, end) = dashboard.window();
    let row = dashboard.hovered_row();
    let x = |time: f64| (time - begin) / (end - begin).max(1.0) * WIDTH as f64;
    let is_shown = !is_missing && !is_heat && dashboard.rows().is_some();
    let is_open = dashboard.tables[index];

    let busiest = if is_heat { busiest(dashboard, row, format) } else { String::new() };
    if is_heat {
        page.put(busiest.clone());
        page.fill(r#"<ul class="legend"><li class="s0">busiest<b>{}</b></li></ul>"#);
    } else {
        legend(page, dashboard, &shape, row, format);
    }
    let has_message = is_missing || dashboard.rows().is_none();
    page.add(if has_message { "plot" } else { "plot drawn" });
    page.join(&[panel.title, " over time"]);
    page.number(dashboard.hover.map_or(100.0, |hover| x(hover) * 100.0 / WIDTH as f64));
    // A screen reader would read new values every second.
    page.put(match dashboard.hover {
        Some(_) if is_heat => {
            [&value_text(dashboard, &shape, row, format), ", ", &busiest].concat()
        }
        Some(_) => value_text(dashboard, &shape, row, format),
        None => "now".to_owned(),
    });
    if dashboard.rows().is_none() {
        match dashboard.history_failure {
            Some(failure) => {
                page.join(&["History: ", &failure_text(failure), ". Trying again."]);
                page.fill(r#"<p class="missing">{}</p>"#);
            }
            None => missing(page, "Fetching\u{2026}"),
        }
    } else if is_missing {
        missing(page, panel.missing);
    } else if is_heat {
        page.number(f64::from(COLUMNS));
        page.number(cores as f64);
        page.fill(r#"<canvas width=? height=? aria-hidden="true"></canvas>"#);
    } else {
        page.skip();
    }
    page.put(if is_shown { grid(&drawing) } else { String::new() });
    let bands = std::mem::take(&mut drawing.bands).into_iter().enumerate();
    let paths = std::mem::take(&mut drawing.paths).into_iter().enumerate().rev();
    series(page, if shape.stacked { "peak " } else { "band " }, &mut { bands });
    series(page, if shape.stacked { "area " } else { "line " }, &mut { paths });
    page.maybe_put(limit(dashboard, panel, &shape, &drawing).filter(|_| is_shown));
    let annotations = dashboard
        .annotations
        .iter()
        .filter(|annotation| (begin..=end).contains(&annotation.time_ms));
    let mut events = String::new();
    for annotation in annotations {
        events.push_str(&vertical(x(annotation.time_ms)));
    }
    page.put(events);
    let dragged = dashboard.drag.zip(dashboard.hover);
    page.maybe_put(dragged.map(|(from, to)| between(x(from), x(to))));
    page.maybe_put(dashboard.hover.map(|hover| vertical(x(hover))));
    if is_shown {
        scale(page, &drawing, &shape, format);
    } else {
        page.skip();
    }
    page.fill(PLOT);
    axis(page, dashboard, times);
    if is_heat {
        return page.fill(r#"<p class="small">Last 10 min</p>"#);
    }
    let aside = match (table::highest(dashboard, panel.id, format), drawing.totals.as_slice()) {
        (Some(highest), _) => highest,
        (None, &[[minimum, mean, maximum]]) if !mean.is_nan() => {
            let value = |value| format.text(value, shape.unit);
            let parts =
                ["min ", &value(minimum), ", mean ", &value(mean), ", max ", &value(maximum)];
            parts.concat()
        }
        _ => String::new(),
    };
    page.twice(aside);
    page.join(&["table-", panel.id]);
    // Without the title, all panels would have buttons of the same names.
    page.join(&["Table: ", panel.title]);
    page.add(if is_open { "true" } else { "false" });
    page.join(&["download-svg-", panel.id]);
    page.join(&["SVG: ", panel.title]);
    page.fill(FOOTER);
    if is_open {
        table::chart_table(page, dashboard, panel.title, &shape, &drawing.totals, format);
    }
}

/// Renders the paths of one kind, by series.
fn series(page: &mut Page, kind: &str, paths: &mut dyn Iterator<Item = (usize, String)>) {
    let begin = page.begin();
    for (index, path) in paths {
        page.join(&[kind, SERIES[index % SERIES.len()]]);
        page.put(path);
        page.fill("<path class=? d=?/>");
    }
    page.list(begin);
}

/// Path of horizontal lines at the ticks.
fn grid(drawing: &Drawing) -> String {
    let mut path = String::new();
    for tick in &drawing.ticks {
        path.push_str("M0 ");
        push_coordinate(&mut path, HEIGHT as f64 * (1.0 - tick / drawing.top));
        path.push_str("H6000");
    }
    path
}

/// Path of a limit that is not above the scale, such as the CPU limit of the container.
fn limit(dashboard: &Dashboard, panel: &Panel, shape: &Shape, drawing: &Drawing) -> Option<String> {
    let maximum = dashboard.limit(panel);
    if shape.stacked || maximum.is_nan() || maximum > drawing.top {
        return None;
    }
    let mut path = String::from("M0 ");
    push_coordinate(&mut path, HEIGHT as f64 * (1.0 - maximum / drawing.top));
    path.push_str("H6000");
    Some(path)
}

/// Renders the values at the ticks. SVG attributes in percent position them, because the page's
/// Content Security Policy allows no inline style.
fn scale(page: &mut Page, drawing: &Drawing, shape: &Shape, format: Format) {
    let begin = page.begin();
    for tick in &drawing.ticks {
        let height = 1.0 - tick / drawing.top;
        page.percent(height * 100.0);
        // The topmost label is below its line.
        page.add(if height < 0.1 { "1em" } else { "-.3em" });
        page.put(format.tick(*tick, shape.unit));
        page.fill(r#"<text x="4" y=? dy=?>{}</text>"#);
    }
    page.list(begin);
    page.fill(r#"<svg class="scale" aria-hidden="true">{}</svg>"#);
}

/// Renders round times below a chart, or the time under the pointer and its events.
fn axis(page: &mut Page, dashboard: &Dashboard, times: &[Time]) {
    let (begin, end) = dashboard.window();
    let is_live = dashboard.paused.is_none();
    if dashboard.latest.is_none() {
        page.skip();
    } else if let Some(hover) = dashboard.hover {
        let time = if dashboard.view.range > 1 { full_text(hover) } else { time_text(hover) };
        let near_ms = (end - begin) / 100.0;
        let annotations = dashboard
            .annotations
            .iter()
            .filter(|annotation| (annotation.time_ms - hover).abs() < near_ms);
        let mut text = time;
        for annotation in annotations {
            text.push_str(", ");
            text.push_str(&annotation.text);
        }
        page.put(text);
        page.fill(r#"<span class="hovered">{}</span>"#);
    } else {
        let begin = page.begin();
        let mut now = String::from("now");
        for (share, label, is_date) in times {
            // The label of the right end is "now", with the date of a day that has just begun.
            if *share > if is_live { 0.88 } else { 1.0 } {
                if *is_date {
                    now = [label, ", now"].concat();
                }
                continue;
            }
            page.percent(share * 100.0);
            page.add(match share {
                ..0.06 => "start",
                0.94.. => "end",
                _ => "middle",
            });
            page.put(label.clone());
            page.fill(r#"<text x=? y="1.2em" text-anchor=?>{}</text>"#);
        }
        page.list(begin);
        page.maybe_put(is_live.then_some(now));
        page.fill(r#"<svg class="times" aria-hidden="true">{}</svg><span>{}</span>"#);
    }
    page.fill(r#"<div class="axis">{}</div>"#);
}

/// Renders the names of the series with their values at the time under the pointer, or now.
fn legend(
    page: &mut Page,
    dashboard: &Dashboard,
    shape: &Shape,
    row: Option<&Row>,
    format: Format,
) {
    let begin = page.begin();
    for (class, (metric, name)) in SERIES.into_iter().zip(shape.series) {
        let value = row.map_or(f64::NAN, |row| dashboard.value(row, *metric));
        let bounds = row.filter(|row| row.bounds.is_some() && !shape.stacked);
        let bounds = bounds.map(|row| row.bounds(*metric)).filter(|bounds| !bounds.1.is_nan());
        page.add(class);
        page.add(name);
        page.put(format.text(value, shape.unit));
        page.maybe_put(bounds.map(|(minimum, maximum)| {
            let (minimum, _) = format.parts(minimum, shape.unit);
            [&minimum, "\u{2013}", &format.text(maximum, shape.unit)].concat()
        }));
        page.fill("<li class=?>{}<b>{}</b>{}</li>");
    }
    page.list(begin);
    page.fill(r#"<ul class="legend">{}</ul>"#);
}

/// Names the busiest core at the time under the pointer, or now.
fn busiest(dashboard: &Dashboard, row: Option<&Row>, format: Format) -> String {
    let cores = row.map_or(&[][..], |row| &row.cores);
    let busiest = cores.iter().enumerate().max_by_key(|(_, busy)| **busy);
    let ids = dashboard.latest.as_ref().map_or(&[][..], |latest| &latest.core_ids);
    busiest.map_or_else(
        || UNKNOWN.to_owned(),
        |(core, busy)| {
            let busy = format.text(f64::from(*busy), Unit::Percent);
            let id = ids.get(core).copied().unwrap_or(core as f64);
            ["core ", &plain(id), ", ", &busy].concat()
        },
    )
}

/// Time and values under the crosshair, for screen readers.
fn value_text(dashboard: &Dashboard, shape: &Shape, row: Option<&Row>, format: Format) -> String {
    let Some(row) = row else { return "no data".to_owned() };
    let mut text = time_text(row.time_ms);
    for (metric, name) in shape.series {
        let value = dashboard.value(row, *metric);
        for part in [", ", name, " ", &format.text(value, shape.unit)] {
            text.push_str(part);
        }
    }
    text
}

fn vertical(x: f64) -> String {
    let mut path = String::from("M");
    push_coordinate(&mut path, x);
    path.push_str(" 0V");
    push_integer(&mut path, HEIGHT);
    path
}

fn between(from: f64, to: f64) -> String {
    let mut path = vertical(from);
    path.push('H');
    push_coordinate(&mut path, to);
    path.push_str("V0Z");
    path
}

#[expect(clippy::cast_possible_truncation, reason = "it saturates, and the box is clipped")]
fn push_coordinate(path: &mut String, x: f64) {
    push_integer(path, x as i64);
}
