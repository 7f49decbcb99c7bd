//! Tables: lists of things, and the rows behind a chart.

use super::markup::{Html, all, literal, tag, text};
use crate::browser::time_text;
use crate::decode::{Cell, Row};
use crate::metrics::Metric;
use crate::number::{Format, contains, plain};
use crate::panels::{Column, Shape, TABLES, Unit};
use crate::state::Dashboard;

/// Rows of a chart that are shown as a table: more would be read by nobody, and all can be
/// downloaded.
const MOST_ROWS: usize = 30;

/// Rows of a list that are shown: the highest, and the others by a search.
const MOST_THINGS: usize = 20;

/// Percent from which on a bar shows a warning, and a critical state.
const FULL: [f64; 2] = [90.0, 95.0];

/// A list of things; a share has a bar.
pub(super) fn list(dashboard: &Dashboard, place: usize, format: Format) -> Html {
    let table = &TABLES[place];
    let rows = dashboard.table(place);
    let search = dashboard.searches[place].to_ascii_lowercase();
    let cell = |(column, cell): (&Column, &Cell)| {
        let content = format.cell(cell, column.unit);
        if column.unit == Unit::Text {
            return tag!(td "class" = "name", "title" = content.clone(); text(content));
        }
        let bar = match cell {
            Cell::Number(share) if column.unit == Unit::Bar => bar(*share),
            _ => Html::default(),
        };
        tag!(td; bar, text(content))
    };
    let is_found = |row: &&Vec<Cell>| match row.first() {
        Some(Cell::Text(name)) if !search.is_empty() => {
            contains(&name.to_ascii_lowercase(), &search)
        }
        _ => true,
    };
    let row = |cells: &Vec<Cell>| table.columns.iter().zip(cells).map(cell).collect();
    let head = |column: &Column| (column.title, column.unit == Unit::Text);
    let heads = table.columns.iter().map(head).collect();
    let found = rows.iter().filter(is_found);
    let shown: Vec<_> = found.clone().take(MOST_THINGS).map(row).collect();
    if rows.len() <= MOST_THINGS {
        return tag!(div "class" = "things"; whole(table.title, heads, shown));
    }
    let count = [&plain(shown.len() as f64), " of ", &plain(rows.len() as f64)].concat();
    tag!(div "class" = "things";
        tag!(div "class" = "row";
            tag!(input
                "type" = "search",
                "placeholder" = "Search",
                "aria-label" = ["Search ", table.title].concat(),
                "data-search" = plain(place as f64)
            ),
            tag!(span "class" = "small"; text(count)),
        ),
        whole(table.title, heads, shown),
    )
}

/// The name and the figure of the highest of several things.
pub(super) fn highest(dashboard: &Dashboard, panel: &str, format: Format) -> Option<String> {
    let place = TABLES.iter().position(|table| table.panel == panel)?;
    let (table, rows) = (&TABLES[place], dashboard.table(place));
    let Some([Cell::Text(name), rest @ ..]) = rows.first().map(Vec::as_slice) else { return None };
    let cell = rest.get(table.sort.first()?.checked_sub(1)?)?;
    let unit = table.columns.get(*table.sort.first()?)?.unit;
    (rows.len() > 1).then(|| ["busiest: ", name, " ", &format.cell(cell, unit)].concat())
}

/// The rows of a chart, newest first, evenly picked, below minimum, mean and maximum.
pub(super) fn of_chart(
    dashboard: &Dashboard,
    title: &'static str,
    chart: &Shape,
    totals: &[[f64; 3]],
    format: Format,
) -> Html {
    let rows = dashboard.rows().unwrap_or_default();
    let every = rows.len().div_ceil(MOST_ROWS).max(1);
    let line = |name: String, values: Vec<f64>| {
        let mut cells = vec![tag!(td "class" = "name"; text(name))];
        let value = |value| tag!(td; text(format.text(value, chart.unit)));
        cells.extend(values.into_iter().map(value));
        cells
    };
    let total = |(side, name): (usize, &str)| {
        line(name.to_owned(), totals.iter().map(|total| total[side]).collect())
    };
    let row = |row: &Row| {
        let value = |(metric, _): &(Metric, &str)| dashboard.value(row, *metric);
        line(time_text(row.time_ms), chart.series.iter().map(value).collect())
    };
    let mut heads = vec![("Time", true)];
    heads.extend(chart.series.iter().map(|(_, name)| (*name, false)));
    let mut lines: Vec<_> =
        ["Minimum", "Mean", "Maximum"].into_iter().enumerate().map(total).collect();
    lines.extend(rows.iter().rev().step_by(every).map(row));
    whole(title, heads, lines)
}

/// A bar from 0 to 100. Its size is an attribute of SVG: the page's policy allows no inline style.
pub(super) fn bar(share: f64) -> Html {
    let share = if share.is_nan() { 0.0 } else { share.min(100.0) };
    let level = FULL.iter().filter(|limit| share >= **limit).count();
    tag!(svg "class" = "bar", "aria-hidden" = "true";
        tag!(rect "class" = "track", "width" = "100%", "height" = "100%"),
        tag!(rect "class" = ["fill", "fill warning", "fill critical"][level], "width" = plain(share) + "%", "height" = "100%"),
    )
}

/// The head of a column, and whether the column has texts.
pub(super) type Head = (&'static str, bool);

/// A table in a box that scrolls.
pub(super) fn whole(title: &'static str, heads: Vec<Head>, rows: Vec<Vec<Html>>) -> Html {
    let head = |(name, is_text): Head| tag!(th "scope" = "col", "class" = is_text.then_some("name"); literal(name));
    // What is wider than the page can be scrolled, by keys too.
    tag!(div "class" = "scroll", "tabindex" = "0", "role" = "group", "aria-label" = title;
        tag!(table;
            tag!(caption; literal(title)),
            tag!(thead; tag!(tr; all(heads.into_iter().map(head).collect()))),
            tag!(tbody; all(rows.into_iter().map(|row| tag!(tr; all(row))).collect())),
        )
    )
}
