//! From rows to the paths of a chart, in a box of [`WIDTH`] by [`HEIGHT`] units. Coordinates are
//! whole numbers: the box is finer than any screen shows it.

use crate::decode::Row;
use crate::metrics::Metric;
use crate::number::push_whole;
use crate::panels::Unit;

/// Units from the left edge (the window's beginning) to the right (its end).
pub(crate) const WIDTH: i64 = 6_000;
/// Units from nothing (at the bottom) to the most.
pub(crate) const HEIGHT: i64 = 1_000;

/// Points of a line: more than a chart is wide on most screens are drawn by nobody.
const MOST_POINTS: usize = 400;

/// What is drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Drawing {
    /// A path for each series; of a stack the areas down to the bottom, to be drawn from the last
    /// to the first, each over the one above it.
    pub(crate) paths: Vec<String>,
    /// What the top stands for.
    pub(crate) top: f64,
    /// Whether there is anything to see.
    pub(crate) is_empty: bool,
}

/// What is to be drawn.
pub(crate) struct Plan<'a> {
    /// The rows, oldest first.
    pub(crate) rows: &'a [Row],
    /// The beginning and the end of the window, by the clock of the rows.
    pub(crate) window: (f64, f64),
    /// The series, the lowest first.
    pub(crate) series: &'a [Metric],
    /// Whether they add up.
    pub(crate) stacked: bool,
    /// In what they are counted.
    pub(crate) unit: Unit,
    /// The smallest value at the top of the scale.
    pub(crate) min_scale: f64,
}

/// Draws it. Nothing is drawn where nothing is known: a gap ends the stroke.
pub(crate) fn draw(plan: &Plan) -> Drawing {
    let (begin, end) = plan.window;
    // One row on each side lets the lines enter and leave at the edges.
    let first = plan.rows.partition_point(|row| row.time_ms < begin).saturating_sub(1);
    let last = plan.rows.partition_point(|row| row.time_ms <= end) + 1;
    let rows = plan.rows.get(first..last.min(plan.rows.len())).unwrap_or_default();

    let mut lines: Vec<Vec<f64>> = Vec::new();
    let mut most: f64 = 0.0;
    for &figure in plan.series {
        let below = if plan.stacked { lines.last() } else { None };
        let value = |(place, row): (usize, &Row)| {
            let value = row.value(figure);
            let below = below.and_then(|line| line.get(place)).copied();
            match below {
                // Of a sum, what is not known is nothing.
                Some(below) if value.is_nan() => below,
                Some(below) if !below.is_nan() => below + value,
                _ => value,
            }
        };
        let line: Vec<f64> = rows.iter().enumerate().map(value).collect();
        most = line.iter().fold(most, |most, &value| most.max(value));
        lines.push(line);
    }
    let is_empty = lines.iter().flatten().all(|value| value.is_nan());
    let spans = spans(rows);
    let top = nice(most.max(plan.min_scale), plan.unit);
    let draw = |line: &Vec<f64>| {
        let point = |span: &Span| {
            let x = to_whole((span.end_ms - begin) / (end - begin).max(1.0) * WIDTH as f64);
            let values = line.get(span.first..span.last).unwrap_or_default();
            // A peak must be seen, however far one looks back.
            let value = values.iter().copied().fold(f64::NAN, f64::max);
            let y = (!value.is_nan()).then(|| HEIGHT - to_whole(value / top * HEIGHT as f64));
            Point { x, y, follows_a_gap: span.follows_a_gap }
        };
        path(spans.iter().map(point).collect(), plan.stacked)
    };
    Drawing { paths: lines.iter().map(draw).collect(), top, is_empty }
}

/// Rows that share a point.
struct Span {
    first: usize,
    last: usize,
    end_ms: f64,
    follows_a_gap: bool,
}

struct Point {
    x: i64,
    y: Option<i64>,
    follows_a_gap: bool,
}

/// Neighbours that share a point do so by the clock, so that a line does not tremble as it moves.
fn spans(rows: &[Row]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let step_ms = rows.last().map_or(1.0, |row| row.time_ms - row.begun_ms);
    let width_ms = step_ms * rows.len().div_ceil(MOST_POINTS) as f64;
    let (mut before, mut slot): (Option<&Row>, f64) = (None, 0.0);
    for (place, row) in rows.iter().enumerate() {
        let own = (row.time_ms / width_ms).floor();
        let follows_a_gap = before.is_some_and(|before| row.follows_a_gap(before));
        match spans.last_mut().filter(|_| own <= slot && !follows_a_gap) {
            Some(span) if rows.len() > MOST_POINTS => {
                span.last = place + 1;
                span.end_ms = row.time_ms;
            }
            _ => spans.push(Span {
                first: place,
                last: place + 1,
                end_ms: row.time_ms,
                follows_a_gap,
            }),
        }
        (before, slot) = (Some(row), own);
    }
    spans
}

fn path(points: Vec<Point>, is_area: bool) -> String {
    let mut text = String::new();
    // Where the stroke began and where its pen is.
    let mut stroke: Option<(i64, i64, i64)> = None;
    for Point { x, y, follows_a_gap } in points {
        if y.is_none() || follows_a_gap {
            finish(&mut text, stroke.take(), is_area);
        }
        let Some(y) = y else { continue };
        let start = match stroke {
            Some((start, last_x, last_y)) => {
                push(&mut text, 'l', x - last_x, y - last_y);
                start
            }
            None if is_area => {
                push(&mut text, 'M', x, HEIGHT);
                push(&mut text, 'V', y, 0);
                x
            }
            None => {
                push(&mut text, 'M', x, y);
                x
            }
        };
        stroke = Some((start, x, y));
    }
    finish(&mut text, stroke, is_area);
    text
}

/// Ends a stroke: an area goes down to the bottom; a point alone becomes a dot under round caps.
fn finish(text: &mut String, stroke: Option<(i64, i64, i64)>, is_area: bool) {
    match stroke {
        Some(_) if is_area => {
            push(text, 'V', HEIGHT, 0);
            text.push('Z');
        }
        Some((start, x, _)) if start == x => push(text, 'l', 0, 0),
        _ => {}
    }
}

fn push(text: &mut String, command: char, x: i64, y: i64) {
    text.push(command);
    push_whole(text, x);
    if command != 'V' {
        text.push(' ');
        push_whole(text, y);
    }
}

/// The next 1, 2 or 5 with zeros behind it; rates of bytes go by powers of two, and memory ends
/// where there is no more.
fn nice(most: f64, unit: Unit) -> f64 {
    let (mut top, steps): (f64, &[f64]) = match unit {
        Unit::Bytes => return most,
        Unit::Rate => (1_024.0, &[2.0]),
        _ => (0.1, &[2.0, 2.5, 2.0]),
    };
    // Two hundred doublings are more than there are bytes.
    for step in steps.iter().cycle().take(200) {
        if top * 1.000_1 >= most {
            break;
        }
        top *= step;
    }
    top
}

#[expect(clippy::cast_possible_truncation, reason = "it saturates, and the box is clipped")]
fn to_whole(value: f64) -> i64 {
    value.clamp(-1e6, 1e6) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::row;

    fn drawn(rows: &[Row], stacked: bool) -> Drawing {
        let series = [Metric::CpuUser, Metric::CpuSystem];
        let plan = Plan {
            rows,
            window: (0.0, 60_000.0),
            series: &series,
            stacked,
            unit: Unit::Percent,
            min_scale: 100.0,
        };
        draw(&plan)
    }

    #[test]
    fn the_end_is_at_the_right_edge_and_the_most_at_the_top() {
        let drawing = drawn(&[row(59, 0.0), row(60, 100.0)], false);
        assert_eq!(drawing.paths[0], "M5900 1000l100 -1000");
        assert!((drawing.top - 100.0).abs() < 0.01, "{}", drawing.top);
        assert!(!drawing.is_empty);
    }

    #[test]
    fn a_stack_adds_up_and_what_is_not_known_of_it_is_nothing() {
        let mut rows = [row(59, 20.0), row(60, 20.0)];
        rows[1].values[Metric::CpuSystem as usize] = 30.0;
        let drawing = drawn(&rows, true);
        assert_eq!(drawing.paths[0], "M5900 1000V800l100 0V1000Z");
        assert_eq!(drawing.paths[1], "M5900 1000V800l100 -300V1000Z");
    }

    #[test]
    fn a_gap_begins_a_new_stroke_and_a_point_alone_is_a_dot() {
        let rows = [row(55, 50.0), row(56, 50.0), row(59, 50.0)];
        assert_eq!(drawn(&rows, false).paths[0], "M5500 500l100 0M5900 500l0 0");
    }

    #[test]
    fn a_row_without_the_figure_is_a_gap() {
        let mut rows = [56, 57, 58, 59, 60].map(|second| row(second, 50.0));
        rows[2].values[Metric::CpuUser as usize] = f32::NAN;
        assert_eq!(drawn(&rows, false).paths[0], "M5600 500l100 0M5900 500l100 0");
    }

    #[test]
    fn of_many_rows_the_peaks_are_drawn() {
        let mut rows: Vec<_> = (1..=900).map(|second| row(second, 10.0)).collect();
        rows[500].values[Metric::CpuUser as usize] = 90.0;
        assert_eq!(spans(&rows).len(), 301);
        assert_eq!(spans(&rows[..300]).len(), 300);
        let plan = Plan {
            rows: &rows,
            window: (0.0, 900_000.0),
            series: &[Metric::CpuUser],
            stacked: false,
            unit: Unit::Percent,
            min_scale: 100.0,
        };
        let path = draw(&plan).paths.remove(0);
        assert!(path.contains(" -800l") && path.contains(" 800l"), "{path}");
    }

    #[test]
    fn what_is_not_known_at_all_is_empty() {
        assert!(drawn(&[], true).is_empty);
        let mut rows = [row(60, 0.0)];
        rows[0].values = [f32::NAN; crate::metrics::CHARTED];
        assert!(drawn(&rows, true).is_empty);
    }

    #[test]
    fn the_top_is_a_round_number() {
        let near = |value: f64, wanted: f64| (value - wanted).abs() < 1e-6 * wanted;
        assert!(near(nice(0.3, Unit::Number), 0.5));
        assert!(near(nice(7.0, Unit::Percent), 10.0));
        assert!(near(nice(3_000.0, Unit::Rate), 4_096.0));
        assert!(near(nice(24.5, Unit::Bytes), 24.5));
        assert!(nice(1e300, Unit::Rate).is_finite());
    }
}
