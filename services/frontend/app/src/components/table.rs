//! Tables: lists of things, and the rows behind a chart.

use yew::Html;

use super::controls::head;
use super::markup::{all, literal, tag, text};
use crate::browser::time_text;
use crate::decode::{Cell, Row};
use crate::number::{Format, plain};
use crate::panels::{Column, Panel, Table, Unit};

/// Rows of a chart that are shown as a table: more would be read by nobody, and all can be
/// downloaded.
const MOST_ROWS: usize = 30;

/// A list of things; a share has a bar.
pub(super) fn list(table: &Table, rows: &[Vec<Cell>], format: Format) -> Html {
    let cell = |(column, cell): (&Column, &Cell)| {
        let bar = match cell {
            Cell::Number(share) if column.unit == Unit::Bar => bar(*share),
            _ => Html::default(),
        };
        let class = (column.unit == Unit::Text).then_some("name");
        tag!(td "class" = class; bar, text(format.cell(cell, column.unit)))
    };
    let row = |cells: &Vec<Cell>| table.columns.iter().zip(cells).map(cell).collect();
    let heads = table.columns.iter().map(|column| head(column.title)).collect();
    whole(table.title, heads, rows.iter().map(row).collect())
}

/// The rows of a chart, newest first, evenly picked.
pub(super) fn of_chart(panel: &Panel, rows: &[Row], format: Format) -> Html {
    let every = rows.len().div_ceil(MOST_ROWS).max(1);
    let row = |row: &Row| {
        let mut cells = vec![tag!(td "class" = "name"; text(time_text(row.time_ms)))];
        for (figure, _) in panel.series {
            cells.push(tag!(td; text(format.text(row.value(*figure), panel.unit))));
        }
        cells
    };
    let mut heads = vec![head("Time")];
    heads.extend(panel.series.iter().map(|(_, name)| head(name)));
    whole(panel.title, heads, rows.iter().rev().step_by(every).map(row).collect())
}

/// A bar from 0 to 100. Its size is an attribute of SVG: the page's policy allows no inline style.
pub(super) fn bar(share: f64) -> Html {
    let share = if share.is_nan() { 0.0 } else { share.min(100.0) };
    tag!(svg "class" = "bar", "aria-hidden" = "true";
        tag!(rect "class" = "track", "width" = "100%", "height" = "100%"),
        tag!(rect "class" = "fill", "width" = plain(share) + "%", "height" = "100%"),
    )
}

fn whole(title: &'static str, heads: Vec<Html>, rows: Vec<Vec<Html>>) -> Html {
    // What is wider than the page can be scrolled, by keys too.
    tag!(div "class" = "scroll", "tabindex" = "0", "role" = "group", "aria-label" = title;
        tag!(table;
            tag!(caption; literal(title)),
            tag!(thead; tag!(tr; all(heads))),
            tag!(tbody; all(rows.into_iter().map(|row| tag!(tr; all(row))).collect())),
        )
    )
}
