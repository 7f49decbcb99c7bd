//! Tables: lists, and the rows of a chart.

use super::markup::Page;
use crate::browser::{full_text, time_text};
use crate::number::Cell;
use crate::number::{Format, contains, plain};
use crate::panels::{Column, Shape, TABLES};
use crate::state::Dashboard;
use crate::unit::Unit;

/// Maximum number of a chart's rows in its table. Exports contain all rows.
const MAX_ROWS: usize = 30;

/// Maximum number of a list's rows. A search finds the others.
const MAX_LIST_ROWS: usize = 20;

const SEARCH: &str = r#"<div class="row"><input type="search" placeholder="Search" aria-label=? data-search=? value=?/><span class="small" role="status">{}</span></div>"#;

/// Percentages from which a bar shows warning and critical.
const BAR_THRESHOLDS: [f64; 2] = [90.0, 95.0];

/// Renders a list. Values with [`Unit::Bar`] have a bar.
pub(super) fn list(page: &mut Page, dashboard: &Dashboard, index: usize, format: Format) {
    let table = &TABLES[index];
    let rows = dashboard.table(index);
    let search = dashboard.searches[index].to_ascii_lowercase();
    let is_found = |row: &&Vec<Cell>| match row.first() {
        Some(Cell::Text(name)) if !search.is_empty() => {
            contains(&name.to_ascii_lowercase(), &search)
        }
        _ => true,
    };
    let found = rows.iter().filter(is_found).take(MAX_LIST_ROWS);
    // A search that filters the list is visible, also if the list has become short.
    if rows.len() > MAX_LIST_ROWS || !search.is_empty() {
        page.join(&["Search ", table.title]);
        page.number(index as f64);
        page.put(dashboard.searches[index].clone());
        page.join(&[&plain(found.clone().count() as f64), " of ", &plain(rows.len() as f64)]);
        page.fill(SEARCH);
    } else {
        page.skip();
    }
    let head = |column: &Column| (column.title, column.unit == Unit::Text);
    begin(page, table.title, &table.columns.iter().map(head).collect::<Vec<_>>());
    let begin = page.begin();
    for row in found {
        let begin = page.begin();
        for (place, (column, cell)) in table.columns.iter().zip(row).enumerate() {
            let content = format.cell(cell, column.unit);
            if column.unit == Unit::Text {
                page.twice(content);
                page.fill(if place == 0 {
                    r#"<th scope="row" class="name" title=?>{}</th>"#
                } else {
                    r#"<td class="name" title=?>{}</td>"#
                });
                continue;
            }
            match cell {
                Cell::Number(share) if column.unit == Unit::Bar => bar(page, *share),
                _ => page.skip(),
            }
            page.put(content);
            page.fill("<td>{}{}</td>");
        }
        page.list(begin);
        page.fill("<tr>{}</tr>");
    }
    page.list(begin);
    end(page);
    page.fill(r#"<div class="things">{}{}</div>"#);
}

/// Name and value of the busiest of several entries.
pub(super) fn highest(dashboard: &Dashboard, panel: &str, format: Format) -> Option<String> {
    let index = TABLES.iter().position(|table| table.panel == panel)?;
    let (table, rows) = (&TABLES[index], dashboard.table(index));
    let Some([Cell::Text(name), rest @ ..]) = rows.first().map(Vec::as_slice) else { return None };
    let cell = rest.get(table.sort.first()?.checked_sub(1)?)?;
    let unit = table.columns.get(*table.sort.first()?)?.unit;
    (rows.len() > 1).then(|| ["busiest: ", name, " ", &format.cell(cell, unit)].concat())
}

/// Renders rows of a chart at equal steps, newest first, below minimum, mean and maximum.
pub(super) fn chart_table(
    page: &mut Page,
    dashboard: &Dashboard,
    title: &'static str,
    chart: &Shape,
    totals: &[[f64; 3]],
    format: Format,
) {
    let rows = dashboard.rows().unwrap_or_default();
    let step = rows.len().div_ceil(MAX_ROWS).max(1);
    let mut heads = vec![("Time", true)];
    heads.extend(chart.series.iter().map(|(_, name)| (*name, false)));
    begin(page, title, &heads);
    let begin = page.begin();
    let mut line = |name: String, values: &mut dyn Iterator<Item = f64>| {
        page.put(name);
        let begin = page.begin();
        for value in values {
            page.put(format.text(value, chart.unit));
            page.fill("<td>{}</td>");
        }
        page.list(begin);
        page.fill(r#"<tr><th scope="row" class="name">{}</th>{}</tr>"#);
    };
    for (side, name) in ["Minimum", "Mean", "Maximum"].into_iter().enumerate() {
        line(name.to_owned(), &mut totals.iter().map(|total| total[side]));
    }
    for row in rows.iter().rev().step_by(step) {
        let values = chart.series.iter().map(|(metric, _)| dashboard.value(row, *metric));
        // The rows of a day are of two dates.
        let time = if dashboard.view.range > 1 { full_text } else { time_text };
        line(time(row.time_ms), &mut { values });
    }
    page.list(begin);
    end(page);
}

/// Renders a bar from 0 to 100. Its size is an SVG attribute, because the page's Content Security
/// Policy allows no inline style.
pub(super) fn bar(page: &mut Page, share: f64) {
    let share = if share.is_nan() { 0.0 } else { share.min(100.0) };
    let level = BAR_THRESHOLDS.iter().filter(|limit| share >= **limit).count();
    page.add(["fill", "fill warning", "fill critical"][level]);
    page.percent(share);
    page.fill(
        r#"<svg class="bar" aria-hidden="true"><rect class="track" width="100%" height="100%"/><rect class=? width=? height="100%"/></svg>"#,
    );
}

/// Header of a column, and whether the column contains texts.
type Head = (&'static str, bool);

/// Begins a table. Its rows follow as a list, and then [`end`].
pub(super) fn begin(page: &mut Page, title: &'static str, heads: &[Head]) {
    page.add(title);
    page.add(title);
    let begin = page.begin();
    for &(name, is_text) in heads {
        page.maybe(is_text.then_some("name"));
        page.add(name);
        page.fill(r#"<th scope="col" class=?>{}</th>"#);
    }
    page.list(begin);
}

/// Ends a table, in a box that scrolls with the keyboard too.
pub(super) fn end(page: &mut Page) {
    page.fill(
        r#"<div class="scroll" tabindex="0" role="group" aria-label=?><table><caption>{}</caption><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>"#,
    );
}
