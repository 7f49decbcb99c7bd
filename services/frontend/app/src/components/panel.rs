//! A panel: a chart with its legend, and what is known besides.

use yew::Html;

use super::controls::drawing;
use super::markup::{all, literal, tag, text};
use super::table;
use crate::browser::time_text;
use crate::chart::{HEIGHT, WIDTH};
use crate::decode::Row;
use crate::heatmap::COLUMNS;
use crate::labels::container_facts;
use crate::metrics::Metric;
use crate::number::{Format, UNKNOWN, plain, push_whole};
use crate::panels::{CORES, PANELS, Panel, TABLES, Unit};
use crate::preferences::ViewState;
use crate::state::Dashboard;

const SERIES: [&str; 6] = ["s0", "s1", "s2", "s3", "s4", "s5"];
/// What stands above figures that are not the host's.
const OF_CONTAINER: &str = "Of the stats container, not of the host";

/// The panel at that place; nothing where there is nothing that it could ever show.
pub(super) fn panel(dashboard: &Dashboard, place: usize, format: Format) -> Html {
    let panel = &PANELS[place];
    let lists = lists(dashboard, panel, format);
    // Outside of a container there is nothing to draw, and there will not be.
    let is_outside = panel.id == "container" && dashboard.is_outside();
    let is_chart = (!panel.series.is_empty() || place == CORES) && !is_outside;
    let is_known = panel.missing.is_empty() || dashboard.latest.is_none();
    if !is_chart && lists.is_empty() && is_known {
        return Html::default();
    }
    let is_focus = dashboard.view.panel == Some(place);
    let there = ViewState { panel: (!is_focus).then_some(place), ..dashboard.view };
    let id = [panel.id, "-panel"].concat();
    let mut parts =
        vec![tag!(h2 "id" = id.clone(); tag!(a "href" = there.hash(); literal(panel.title)))];
    let latest = dashboard.latest.as_ref();
    if latest.is_some_and(|latest| latest.of_container.contains(&panel.id)) {
        parts.push(tag!(p "class" = "small"; literal(OF_CONTAINER)));
    }
    if is_chart {
        chart(&mut parts, dashboard, place, format);
    } else if lists.is_empty() {
        parts.push(missing(panel.missing));
    }
    if panel.id == "container" {
        parts.push(facts(dashboard, format));
    }
    if !is_chart || dashboard.tables[place] {
        parts.extend(lists);
    }
    tag!(section
        "class" = "panel",
        "data-panel" = panel.id,
        "data-focus" = is_focus.then_some(""),
        "aria-labelledby" = id;
        all(parts)
    )
}

fn lists(dashboard: &Dashboard, panel: &Panel, format: Format) -> Vec<Html> {
    let tables = dashboard.latest.iter().flat_map(|latest| TABLES.iter().zip(&latest.tables));
    tables
        .filter(|(table, rows)| table.panel == panel.id && !rows.is_empty())
        .map(|(table, rows)| table::list(table, rows, format))
        .collect()
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

fn chart(parts: &mut Vec<Html>, dashboard: &Dashboard, place: usize, format: Format) {
    let panel = &PANELS[place];
    let is_heat = place == CORES;
    let drawing = drawing(dashboard, place);
    let cores = dashboard.latest.as_ref().map_or(0, |latest| latest.cores.len());
    let is_missing =
        dashboard.latest.is_some() && if is_heat { cores == 0 } else { drawing.is_empty };
    let (begin, end) = dashboard.window();
    let row = dashboard.row_in_hand();
    let x = |time: f64| (time - begin) / (end - begin).max(1.0) * WIDTH as f64;
    let cross = dashboard.hover.map(|hover| vertical(x(hover)));
    let dragged = dashboard.drag.zip(dashboard.hover).map(|(from, to)| between(x(from), x(to)));
    let ground = if dashboard.rows().is_none() {
        missing("Fetching\u{2026}")
    } else if is_missing {
        missing(panel.missing)
    } else if is_heat {
        tag!(canvas
            "width" = plain(f64::from(COLUMNS)),
            "height" = plain(cores as f64),
            "aria-hidden" = "true"
        )
    } else {
        tag!(span "class" = "most"; text(format.text(drawing.top, panel.unit)))
    };
    let class = if panel.stacked { "area " } else { "line " };
    let path = |(place, d): (usize, String)| tag!(path "class" = [class, SERIES[place % SERIES.len()]].concat(), "d" = d);
    let paths = drawing.paths.into_iter().enumerate().rev().map(path).collect();
    let time = |time: Option<f64>| text(time.map(time_text).unwrap_or_default());
    let is_open = dashboard.tables[place];

    parts.push(if is_heat { busiest(row, format) } else { legend(panel, row, format) });
    parts.push(tag!(div
        "class" = "plot",
        "role" = "slider",
        "tabindex" = "0",
        "aria-label" = [panel.title, " over time"].concat(),
        "aria-valuemin" = "0",
        "aria-valuemax" = "100",
        "aria-valuenow" = plain(dashboard.hover.map_or(100.0, |hover| x(hover) * 100.0 / WIDTH as f64)),
        "aria-valuetext" = spoken(panel, row, format);
        ground,
        tag!(svg "viewBox" = "0 0 6000 1000", "preserveAspectRatio" = "none", "aria-hidden" = "true";
            tag!(path "class" = "grid", "d" = "M0 250H6000M0 500H6000M0 750H6000"),
            all(paths),
            tag!(path "class" = "dragged", "d" = dragged),
            tag!(path "class" = "cross", "d" = cross),
        ),
    ));
    parts.push(tag!(div "class" = "axis";
        tag!(span; time(dashboard.latest.as_ref().map(|_| begin))),
        tag!(span "class" = "hovered"; time(dashboard.hover)),
        tag!(span; match dashboard.frozen {
            Some((_, end)) => time(Some(end)),
            None => literal("now"),
        }),
    ));
    if is_heat {
        parts.push(tag!(p "class" = "small"; literal("Kept since this page was opened")));
        return;
    }
    parts.push(tag!(div "class" = "row";
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
        parts.push(table::of_chart(panel, dashboard.rows().unwrap_or_default(), format));
    }
}

/// The names of the series with their values at the time under the pointer, or now.
fn legend(panel: &Panel, row: Option<&Row>, format: Format) -> Html {
    let entry = |(class, (figure, name)): (&&'static str, &(Metric, &'static str))| {
        let value = row.map_or(f64::NAN, |row| row.value(*figure));
        tag!(li "class" = *class;
            literal(name),
            tag!(b; text(format.text(value, panel.unit))),
        )
    };
    tag!(ul "class" = "legend"; all(SERIES.iter().zip(panel.series).map(entry).collect()))
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

/// What the chart says where the crosshair is.
fn spoken(panel: &Panel, row: Option<&Row>, format: Format) -> String {
    let Some(row) = row else { return "no data".to_owned() };
    let mut text = time_text(row.time_ms);
    for (figure, name) in panel.series {
        for part in [", ", name, " ", &format.text(row.value(*figure), panel.unit)] {
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
