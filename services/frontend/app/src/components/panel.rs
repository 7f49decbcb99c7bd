//! A panel: a chart with its legend, and what is known besides.

use super::controls::drawing;
use super::markup::{Html, all, literal, tag, text};
use super::table;
use crate::browser::{full_text, time_text};
use crate::chart::{Drawing, HEIGHT, WIDTH};
use crate::decode::Row;
use crate::heatmap::COLUMNS;
use crate::labels::{container_facts, failure_text, level_labels, scope_label};
use crate::metrics::Metric;
use crate::number::{Format, UNKNOWN, plain, push_whole};
use crate::panels::{CORES, PANELS, Panel, Shape, TABLES, Unit};
use crate::preferences::ViewState;
use crate::state::Dashboard;
use wire::ScopeKind;

const SERIES: [&str; 6] = ["s0", "s1", "s2", "s3", "s4", "s5"];
/// A label of the axis and its place: 0 is the left end, 1 the right one.
pub(super) type Time = (f64, String);

/// What stands above figures that are not the host's.
const OF_CONTAINER: &str = "Of the stats container, not of the host";

/// The panel at that place; nothing where there is nothing that it could ever show.
pub(super) fn panel(dashboard: &Dashboard, place: usize, format: Format, times: &[Time]) -> Html {
    let panel = &PANELS[place];
    let latest = dashboard.latest.as_ref();
    let tables: Vec<usize> = (0..TABLES.len())
        .filter(|&table| TABLES[table].panel == panel.id && !dashboard.table(table).is_empty())
        .collect();
    // What does not exist has no panel.
    let exists = match panel.id {
        "container" => latest.is_some_and(|latest| latest.has_container),
        "swap" => dashboard.figure(Metric::SwapTotal) > 0.0,
        _ => true,
    };
    let is_chart = !panel.series.is_empty() || place == CORES;
    let has_reason = !panel.missing.is_empty() && latest.is_some();
    if !exists || (!is_chart && tables.is_empty() && !has_reason) {
        return Html::default();
    }
    let is_focus = dashboard.view.panel == Some(place);
    let there = ViewState { panel: (!is_focus).then_some(place), ..dashboard.view };
    let id = [panel.id, "-panel"].concat();
    let level = dashboard.alerts.iter().filter(|alert| alert.panel() == panel.id);
    let level = level.map(|alert| alert.level).max();
    let scope = latest.map(|latest| latest.scope_of(panel.id));
    let mut parts = vec![tag!(div "class" = "head";
        tag!(h2 "id" = id.clone(); tag!(a "href" = there.hash(); literal(panel.title))),
        match scope {
            Some(scope) => tag!(span "class" = "tag"; literal(scope_label(scope))),
            None => Html::default(),
        },
    )];
    let is_host = latest.is_some_and(|latest| latest.scope == ScopeKind::Host);
    if is_host && scope == Some(ScopeKind::Container) {
        parts.push(tag!(p "class" = "small"; literal(OF_CONTAINER)));
    }
    if is_chart {
        chart(&mut parts, dashboard, place, format, times);
    } else if tables.is_empty() {
        parts.push(missing(panel.missing));
    }
    if panel.id == "container" {
        parts.push(facts(dashboard, format));
    }
    if !is_chart || dashboard.tables[place] {
        parts.extend(tables.into_iter().map(|table| table::list(dashboard, table, format)));
    }
    tag!(section
        "class" = "panel",
        "data-panel" = panel.id,
        "data-focus" = is_focus.then_some(""),
        "data-level" = level.map(|level| level_labels(level).0),
        "aria-labelledby" = id;
        all(parts)
    )
}

fn facts(dashboard: &Dashboard, format: Format) -> Html {
    let facts = dashboard.latest.iter().flat_map(|latest| container_facts(latest, format));
    let fact = |(name, value, share): (&'static str, String, f64)| {
        let mut parts = vec![tag!(dt; literal(name)), tag!(dd; text(value))];
        if !share.is_nan() {
            parts.push(tag!(dd; text(format.text(share, Unit::Percent))));
            parts.push(tag!(dd "class" = "meter"; table::bar(share)));
        }
        tag!(div; all(parts))
    };
    tag!(dl "class" = "facts"; all(facts.map(fact).collect()))
}

fn missing(why: &'static str) -> Html {
    tag!(p "class" = "missing"; literal(why))
}

fn chart(
    parts: &mut Vec<Html>,
    dashboard: &Dashboard,
    place: usize,
    format: Format,
    times: &[Time],
) {
    let panel = &PANELS[place];
    let is_heat = place == CORES;
    let (shape, mut drawing) = drawing(dashboard, place);
    let cores = dashboard.latest.as_ref().map_or(0, |latest| latest.cores.len());
    let is_missing =
        dashboard.latest.is_some() && if is_heat { cores == 0 } else { drawing.is_empty };
    let (begin, end) = dashboard.window();
    let row = dashboard.row_in_hand();
    let x = |time: f64| (time - begin) / (end - begin).max(1.0) * WIDTH as f64;
    let cross = dashboard.hover.map(|hover| vertical(x(hover)));
    let dragged = dashboard.drag.zip(dashboard.hover).map(|(from, to)| between(x(from), x(to)));
    let marks = dashboard.marks.iter().filter(|mark| (begin..=end).contains(&mark.time_ms));
    let marks: Vec<String> = marks.map(|mark| vertical(x(mark.time_ms))).collect();
    let ground = if dashboard.rows().is_none() {
        match dashboard.past_failure {
            Some(failure) => {
                let reason = ["History: ", &failure_text(failure), ". Trying again."].concat();
                tag!(p "class" = "missing"; text(reason))
            }
            None => missing("Fetching\u{2026}"),
        }
    } else if is_missing {
        missing(panel.missing)
    } else if is_heat {
        tag!(canvas
            "width" = plain(f64::from(COLUMNS)),
            "height" = plain(cores as f64),
            "aria-hidden" = "true"
        )
    } else {
        Html::default()
    };
    let class = if shape.stacked { "area " } else { "line " };
    let band_class = if shape.stacked { "peak " } else { "band " };
    let path = |class: &'static str, place: usize, d: String| tag!(path "class" = [class, SERIES[place % SERIES.len()]].concat(), "d" = d);
    let bands = std::mem::take(&mut drawing.bands).into_iter().enumerate();
    let paths = std::mem::take(&mut drawing.paths).into_iter().enumerate().rev();
    let is_shown = !is_missing && !is_heat && dashboard.rows().is_some();
    let is_open = dashboard.tables[place];

    parts.push(if is_heat { busiest(row, format) } else { legend(dashboard, &shape, row, format) });
    parts.push(tag!(div
        "class" = "plot",
        "role" = "slider",
        "tabindex" = "0",
        "aria-label" = [panel.title, " over time"].concat(),
        "aria-valuemin" = "0",
        "aria-valuemax" = "100",
        "aria-valuenow" = plain(dashboard.hover.map_or(100.0, |hover| x(hover) * 100.0 / WIDTH as f64)),
        // A reader would read new figures every second.
        "aria-valuetext" = match dashboard.hover {
            Some(_) => spoken(dashboard, &shape, row, format),
            None => "now".to_owned(),
        };
        ground,
        tag!(svg "viewBox" = "0 0 6000 1000", "preserveAspectRatio" = "none", "aria-hidden" = "true";
            tag!(path "class" = "grid", "d" = if is_shown { grid(&drawing) } else { String::new() }),
            all(bands.map(|(place, d)| path(band_class, place, d)).collect()),
            all(paths.map(|(place, d)| path(class, place, d)).collect()),
            tag!(path "class" = "limit", "d" = if is_shown { limit(dashboard, panel, &shape, &drawing) } else { None }),
            tag!(path "class" = "event", "d" = marks.concat()),
            tag!(path "class" = "dragged", "d" = dragged),
            tag!(path "class" = "cross", "d" = cross),
        ),
        if is_shown { scale(&drawing, &shape, format) } else { Html::default() },
    ));
    parts.push(axis(dashboard, times));
    if is_heat {
        parts.push(tag!(p "class" = "small"; literal("Kept since this page was opened")));
        return;
    }
    let aside = match (table::highest(dashboard, panel.id, format), drawing.totals.as_slice()) {
        (Some(highest), _) => highest,
        (None, &[[least, mean, most]]) if !mean.is_nan() => {
            let value = |value| format.text(value, shape.unit);
            let parts = ["min ", &value(least), ", mean ", &value(mean), ", max ", &value(most)];
            parts.concat()
        }
        _ => String::new(),
    };
    parts.push(tag!(div "class" = "row";
        tag!(span "class" = "aside", "title" = aside.clone(); text(aside)),
        tag!(button
            "type" = "button",
            "data-action" = ["table-", panel.id].concat(),
            "aria-expanded" = if is_open { "true" } else { "false" };
            literal("Table")
        ),
        tag!(button "type" = "button", "data-action" = ["download-svg-", panel.id].concat();
            literal("SVG")
        ),
    ));
    if is_open {
        parts.push(table::of_chart(dashboard, panel.title, &shape, &drawing.totals, format));
    }
}

/// Horizontal lines at the ticks.
fn grid(drawing: &Drawing) -> String {
    let mut path = String::new();
    for tick in &drawing.ticks {
        path.push_str("M0 ");
        push_place(&mut path, HEIGHT as f64 * (1.0 - tick / drawing.top));
        path.push_str("H6000");
    }
    path
}

/// The line of a limit that is not the top, as the container's processors.
fn limit(dashboard: &Dashboard, panel: &Panel, shape: &Shape, drawing: &Drawing) -> Option<String> {
    let most = panel.limit(dashboard);
    if shape.stacked || most.is_nan() || most > drawing.top {
        return None;
    }
    let mut path = String::from("M0 ");
    push_place(&mut path, HEIGHT as f64 * (1.0 - most / drawing.top));
    path.push_str("H6000");
    Some(path)
}

/// The values at the ticks. Percentages of SVG place them: the policy allows no inline style.
fn scale(drawing: &Drawing, shape: &Shape, format: Format) -> Html {
    let label = |tick: &f64| {
        let height = 1.0 - tick / drawing.top;
        // The label at the top hangs below its line.
        let is_top = height < 0.1;
        tag!(text
            "x" = "4",
            "y" = plain(height * 100.0) + "%",
            "dy" = if is_top { "11" } else { "-3" };
            text(format.tick(*tick, shape.unit))
        )
    };
    tag!(svg "class" = "scale", "aria-hidden" = "true"; all(drawing.ticks.iter().map(label).collect()))
}

/// Round times below a chart, or the time under the pointer and what happened there.
fn axis(dashboard: &Dashboard, times: &[Time]) -> Html {
    let (begin, end) = dashboard.window();
    let is_live = dashboard.frozen.is_none();
    if dashboard.latest.is_none() {
        return tag!(div "class" = "axis");
    }
    if let Some(hover) = dashboard.hover {
        let time = if dashboard.view.range > 1 { full_text(hover) } else { time_text(hover) };
        let near_ms = (end - begin) / 100.0;
        let marks = dashboard.marks.iter().filter(|mark| (mark.time_ms - hover).abs() < near_ms);
        let said: Vec<&str> = marks.flat_map(|mark| [", ", mark.text.as_str()]).collect();
        return tag!(div "class" = "axis";
            tag!(span "class" = "hovered"; text([time, said.concat()].concat()))
        );
    }
    let label = |(share, label): &Time| {
        // The right end has a word of its own.
        if *share > if is_live { 0.88 } else { 1.0 } {
            return Html::default();
        }
        let anchor = match share {
            ..0.06 => "start",
            0.94.. => "end",
            _ => "middle",
        };
        tag!(text "x" = plain(share * 100.0) + "%", "y" = "13", "text-anchor" = anchor; text(label.clone()))
    };
    tag!(div "class" = "axis";
        tag!(svg "class" = "times", "aria-hidden" = "true"; all(times.iter().map(label).collect())),
        if is_live { tag!(span; literal("now")) } else { Html::default() },
    )
}

/// The names of the series with their values at the time under the pointer, or now.
fn legend(dashboard: &Dashboard, shape: &Shape, row: Option<&Row>, format: Format) -> Html {
    let entry = |(class, (metric, name)): (&&'static str, &(Metric, &'static str))| {
        let value = row.map_or(f64::NAN, |row| dashboard.value(row, *metric));
        let bounds = row.filter(|row| row.bounds.is_some() && !shape.stacked);
        let bounds = bounds.map(|row| row.bounds(*metric)).filter(|bounds| !bounds.1.is_nan());
        tag!(li "class" = *class;
            literal(name),
            tag!(b; text(format.text(value, shape.unit))),
            match bounds {
                Some((least, most)) => {
                    let (least, _) = format.parts(least, shape.unit);
                    text([&least, "\u{2013}", &format.text(most, shape.unit)].concat())
                }
                None => Html::default(),
            },
        )
    };
    tag!(ul "class" = "legend"; all(SERIES.iter().zip(shape.series).map(entry).collect()))
}

fn busiest(row: Option<&Row>, format: Format) -> Html {
    let cores = row.map_or(&[][..], |row| &row.cores);
    let busiest = cores.iter().enumerate().max_by_key(|(_, busy)| **busy);
    let value = busiest.map_or_else(
        || UNKNOWN.to_owned(),
        |(core, busy)| {
            let busy = format.text(f64::from(*busy), Unit::Percent);
            ["core ", &plain(core as f64), ", ", &busy].concat()
        },
    );
    tag!(ul "class" = "legend"; tag!(li "class" = "s0"; literal("busiest"), tag!(b; text(value))))
}

/// Time and values under the crosshair, to be read aloud.
fn spoken(dashboard: &Dashboard, shape: &Shape, row: Option<&Row>, format: Format) -> String {
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
    push_place(&mut path, x);
    path.push_str(" 0V");
    push_whole(&mut path, HEIGHT);
    path
}

fn between(from: f64, to: f64) -> String {
    let mut path = vertical(from);
    path.push('H');
    push_place(&mut path, to);
    path.push_str("V0Z");
    path
}

#[expect(clippy::cast_possible_truncation, reason = "it saturates, and the box is clipped")]
fn push_place(path: &mut String, x: f64) {
    push_whole(path, x as i64);
}
