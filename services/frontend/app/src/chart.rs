//! Conversion of rows to the paths of a chart, in a box of [`WIDTH`] by [`HEIGHT`] units.
//! Coordinates are integers: the box has a higher resolution than any screen.

use crate::decode::Row;
use crate::metrics::Metric;
use crate::number::push_integer;
use crate::unit::Unit;

/// Units from the left edge (start of the window) to the right edge (end of the window).
pub(crate) const WIDTH: i64 = 6_000;
/// Units from zero (bottom) to the upper bound of the scale.
pub(crate) const HEIGHT: i64 = 1_000;

/// Maximum number of points of a line: on most screens, a chart has about as many pixels.
const MAX_POINTS: usize = 400;

/// Paths of a chart and its scale.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Drawing {
    /// Path of each series. In a stack, it is an area down to the bottom; areas are drawn from the
    /// last to the first, each over the one above it.
    pub(crate) paths: Vec<String>,
    /// Areas between minimum and maximum of each series. In a stack, one line for the highest sum.
    pub(crate) bands: Vec<String>,
    /// Value at the top.
    pub(crate) top: f64,
    /// Round values from 0 on, for the grid.
    pub(crate) ticks: Vec<f64>,
    /// Minimum, mean and maximum of each series in the window.
    pub(crate) totals: Vec<[f64; 3]>,
    /// Whether all values are unknown.
    pub(crate) is_empty: bool,
}

/// Input of a chart.
pub(crate) struct ChartInput<'a> {
    /// Rows, oldest first.
    pub(crate) rows: &'a [Row],
    /// Start and end of the window, by the clock of the rows.
    pub(crate) window: (f64, f64),
    /// Series, from the bottom of the stack.
    pub(crate) series: &'a [Metric],
    /// Function that returns the value of a row.
    pub(crate) value: &'a dyn Fn(&Row, Metric) -> f64,
    /// Whether the series are stacked.
    pub(crate) stacked: bool,
    /// Unit of the values.
    pub(crate) unit: Unit,
    /// Whether units of bytes are multiples of 1,000.
    pub(crate) decimal: bool,
    /// Minimum for the upper bound of the scale.
    pub(crate) min_scale: f64,
    /// Upper limit of the values, such as the total memory; NaN if there is none.
    pub(crate) limit: f64,
}

/// Mean, minimum and maximum of a series in a row.
type Value = [f64; 3];

/// Draws a chart. Unknown values and gaps interrupt the stroke.
pub(crate) fn draw(input: &ChartInput) -> Drawing {
    let (begin, end) = input.window;
    // One row on each side extends the lines to the edges.
    let first = input.rows.partition_point(|row| row.time_ms < begin).saturating_sub(1);
    let last = input.rows.partition_point(|row| row.time_ms <= end) + 1;
    let rows = input.rows.get(first..last.min(input.rows.len())).unwrap_or_default();

    let lines = lines(input, rows);
    let values = lines.iter().flatten();
    let maximum = values.clone().map(|value| value[2]).fold(input.min_scale, f64::max);
    let is_empty = values.clone().all(|value| value[0].is_nan());
    let spans = spans(rows);
    let (top, ticks) = scale(maximum, input);
    let x = |span: &Span| to_integer((span.end_ms - begin) / (end - begin).max(1.0) * WIDTH as f64);
    let y =
        |value: f64| (!value.is_nan()).then(|| HEIGHT - to_integer(value / top * HEIGHT as f64));
    let folded: Vec<Vec<Value>> =
        lines.iter().map(|line| spans.iter().map(|span| fold(line, span)).collect()).collect();
    let points = |line: &[Value], side: usize| -> Vec<Point> {
        let point = |(span, value): (&Span, &Value)| Point {
            x: x(span),
            y: y(value[side]),
            follows_gap: span.follows_gap,
        };
        spans.iter().zip(line).map(point).collect()
    };
    let bands = if input.stacked {
        let peaks = folded.last().map(|line| path(points(line, 2), false));
        peaks.filter(|_| rows.iter().any(|row| row.bounds.is_some())).into_iter().collect()
    } else {
        folded.iter().map(|line| band(&points(line, 1), &points(line, 2))).collect()
    };
    Drawing {
        paths: folded.iter().map(|line| path(points(line, 0), input.stacked)).collect(),
        bands,
        top,
        ticks,
        totals: totals(input, rows),
        is_empty,
    }
}

/// Values of each series; in a stack, each one includes the series below it.
fn lines(input: &ChartInput, rows: &[Row]) -> Vec<Vec<Value>> {
    let limit = if input.stacked { input.limit } else { f64::NAN };
    let mut lines: Vec<Vec<Value>> = Vec::new();
    for &metric in input.series {
        let below = if input.stacked { lines.last() } else { None };
        let value = |(index, row): (usize, &Row)| {
            let [mean, minimum, maximum] = bounded(input, row, metric);
            let below = below.and_then(|line| line.get(index)).copied();
            match below {
                // In a sum, an unknown value counts as zero.
                Some(below) if mean.is_nan() => below,
                // The peaks of two series can occur at different times, so only the higher one
                // counts.
                Some(below) if !below[0].is_nan() => {
                    let sum = below[0] + mean;
                    let peak = (below[2] + mean).max(below[0] + maximum);
                    [sum.min(limit), sum.min(limit), peak.min(limit)]
                }
                _ => [mean, minimum, maximum],
            }
        };
        lines.push(rows.iter().enumerate().map(value).collect());
    }
    lines
}

/// Value of a metric in a row.
fn bounded(input: &ChartInput, row: &Row, metric: Metric) -> Value {
    let mean = (input.value)(row, metric);
    // Cached memory is computed from other values and has no bounds of its own.
    if row.value(metric).to_bits() == mean.to_bits() {
        let (minimum, maximum) = row.bounds(metric);
        [mean, minimum, maximum]
    } else {
        [mean; 3]
    }
}

/// Minimum, mean and maximum of each series on its own.
fn totals(input: &ChartInput, rows: &[Row]) -> Vec<[f64; 3]> {
    let total = |&metric: &Metric| {
        let (mut minimum, mut sum, mut maximum, mut count) = (f64::NAN, 0.0, f64::NAN, 0.0);
        for row in rows {
            let [mean, low, high] = bounded(input, row, metric);
            if !mean.is_nan() {
                minimum = low.min(minimum);
                maximum = high.max(maximum);
                sum += mean;
                count += 1.0;
            }
        }
        [minimum, sum / count, maximum]
    };
    input.series.iter().map(total).collect()
}

/// Combines the values of a span.
fn fold(line: &[Value], span: &Span) -> Value {
    let (mut sum, mut count) = (0.0, 0.0);
    let mut bounds = [f64::NAN; 2];
    for value in line.get(span.first..span.last).unwrap_or_default() {
        if !value[0].is_nan() {
            sum += value[0];
            count += 1.0;
            bounds = [bounds[0].min(value[1]), bounds[1].max(value[2])];
        }
    }
    [sum / count, bounds[0], bounds[1]]
}

/// Rows that share a point.
struct Span {
    first: usize,
    last: usize,
    end_ms: f64,
    follows_gap: bool,
}

struct Point {
    x: i64,
    y: Option<i64>,
    follows_gap: bool,
}

/// Groups adjacent rows into points. The groups are aligned to the clock, so that a line does not
/// jitter as it moves.
fn spans(rows: &[Row]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let step_ms = rows.last().map_or(1.0, |row| row.time_ms - row.start_ms);
    let width_ms = step_ms * rows.len().div_ceil(MAX_POINTS) as f64;
    let (mut before, mut slot): (Option<&Row>, f64) = (None, 0.0);
    for (index, row) in rows.iter().enumerate() {
        let slot_index = (row.time_ms / width_ms).floor();
        let follows_gap = before.is_some_and(|before| row.follows_gap(before));
        match spans.last_mut().filter(|_| slot_index <= slot && !follows_gap) {
            Some(span) if rows.len() > MAX_POINTS => {
                span.last = index + 1;
                span.end_ms = row.time_ms;
            }
            _ => {
                spans.push(Span {
                    first: index,
                    last: index + 1,
                    end_ms: row.time_ms,
                    follows_gap,
                });
            }
        }
        (before, slot) = (Some(row), slot_index);
    }
    spans
}

/// Areas between two lines; empty if the lines are equal.
fn band(low: &[Point], high: &[Point]) -> String {
    let mut text = String::new();
    if low.iter().zip(high).all(|(low, high)| low.y == high.y) {
        return text;
    }
    let mut first = 0;
    for end in 0..=high.len() {
        let is_break = high.get(end).is_none_or(|point| point.y.is_none() || point.follows_gap);
        if !is_break {
            continue;
        }
        let forth = high.get(first..end).unwrap_or_default().iter();
        let back = low.get(first..end).unwrap_or_default().iter().rev();
        let mut command = 'M';
        for point in forth.chain(back) {
            if let Some(y) = point.y {
                push(&mut text, command, point.x, y);
                command = 'L';
            }
        }
        first = end;
    }
    text
}

fn path(points: Vec<Point>, is_area: bool) -> String {
    let mut text = String::new();
    // The x coordinate where the stroke began, and the current position of its pen.
    let mut stroke: Option<(i64, i64, i64)> = None;
    for Point { x, y, follows_gap } in points {
        if y.is_none() || follows_gap {
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

/// Ends a stroke. An area is closed at the bottom; a single point becomes a dot because of round
/// line caps.
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
    push_integer(text, x);
    if command != 'V' {
        text.push(' ');
        push_integer(text, y);
    }
}

/// Upper bound of the scale and its ticks: at most five, at round values.
fn scale(maximum: f64, input: &ChartInput) -> (f64, Vec<f64>) {
    let is_binary = matches!(input.unit, Unit::Bytes | Unit::Rate) && !input.decimal;
    // In a stack, the limit ends the scale, such as the total memory or all CPU time.
    let fixed = if input.stacked { input.limit } else { f64::NAN };
    let maximum = if fixed.is_nan() { maximum } else { fixed };
    let (mut step, factors): (f64, &[f64]) =
        if is_binary { (1.0, &[2.0]) } else { (0.01, &[2.0, 1.25, 2.0, 2.0]) };
    // 400 steps exceed any number of bytes.
    for factor in factors.iter().cycle().take(400) {
        if step * 4.000_1 >= maximum {
            break;
        }
        step *= factor;
    }
    let top =
        if fixed.is_nan() { (maximum / step - 0.000_1).ceil().max(1.0) * step } else { fixed };
    let ticks = (0..5).map(|tick| f64::from(tick) * step);
    (top, ticks.filter(|tick| *tick <= top * 1.000_1).collect())
}

#[expect(clippy::cast_possible_truncation, reason = "it saturates, and the box is clipped")]
fn to_integer(value: f64) -> i64 {
    value.clamp(-1e6, 1e6) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::row;

    fn input(rows: &[Row]) -> ChartInput<'_> {
        ChartInput {
            rows,
            window: (0.0, 60_000.0),
            series: &[Metric::CpuUser, Metric::CpuSystem],
            value: &Row::value,
            stacked: false,
            unit: Unit::Percent,
            decimal: false,
            min_scale: 100.0,
            limit: f64::NAN,
        }
    }

    fn drawn(rows: &[Row], stacked: bool) -> Drawing {
        draw(&ChartInput { stacked, limit: 100.0, ..input(rows) })
    }

    #[test]
    fn the_end_is_at_the_right_edge_and_the_maximum_at_the_top() {
        let drawing = drawn(&[row(59, 0.0), row(60, 100.0)], false);
        assert_eq!(drawing.paths[0], "M5900 1000l100 -1000");
        assert!((drawing.top - 100.0).abs() < 0.01, "{}", drawing.top);
        assert!(!drawing.is_empty);
    }

    #[test]
    fn a_stack_adds_up_and_unknown_values_count_as_zero() {
        let mut rows = [row(59, 20.0), row(60, 20.0)];
        rows[1].values[Metric::CpuSystem as usize] = 30.0;
        let drawing = drawn(&rows, true);
        assert_eq!(drawing.paths[0], "M5900 1000V800l100 0V1000Z");
        assert_eq!(drawing.paths[1], "M5900 1000V800l100 -300V1000Z");
    }

    #[test]
    fn a_gap_begins_a_new_stroke_and_a_single_point_is_a_dot() {
        let rows = [row(55, 50.0), row(56, 50.0), row(59, 50.0)];
        assert_eq!(drawn(&rows, false).paths[0], "M5500 500l100 0M5900 500l0 0");
    }

    #[test]
    fn a_row_without_the_value_is_a_gap() {
        let mut rows = [56, 57, 58, 59, 60].map(|second| row(second, 50.0));
        rows[2].values[Metric::CpuUser as usize] = f32::NAN;
        assert_eq!(drawn(&rows, false).paths[0], "M5600 500l100 0M5900 500l100 0");
    }

    #[test]
    fn peaks_are_drawn_when_rows_are_grouped() {
        let mut rows: Vec<_> = (1..=900).map(|second| row(second, 10.0)).collect();
        rows[500].values[Metric::CpuUser as usize] = 90.0;
        assert_eq!(spans(&rows).len(), 301);
        assert_eq!(spans(&rows[..300]).len(), 300);
        let series = &[Metric::CpuUser];
        let input = ChartInput { window: (0.0, 900_000.0), series, ..input(&rows) };
        let band = draw(&input).bands.remove(0);
        assert!(band.contains(" 100L"), "{band}");
    }

    #[test]
    fn a_chart_without_known_values_is_empty() {
        assert!(drawn(&[], true).is_empty);
        let mut rows = [row(60, 0.0)];
        rows[0].values = [f32::NAN; crate::metrics::CHARTED];
        assert!(drawn(&rows, true).is_empty);
    }

    #[test]
    fn a_stack_never_exceeds_its_limit() {
        let mut rows = [row(59, 60.0), row(60, 60.0)];
        rows[1].values[Metric::CpuSystem as usize] = 40.1;
        let drawing = drawn(&rows, true);
        assert!((drawing.top - 100.0).abs() < 1e-9, "{}", drawing.top);
        assert!(drawing.paths[1].contains(" -400"), "{}", drawing.paths[1]);
    }

    #[test]
    fn a_short_peak_is_visible_in_a_long_window() {
        let mut peak = row(60, 11.3);
        let mut bounds = Box::new([[f32::NAN; crate::metrics::CHARTED]; 2]);
        bounds[1][Metric::CpuUser as usize] = 100.0;
        peak.bounds = Some(bounds);
        let drawing = drawn(&[row(59, 10.0), peak.clone()], false);
        assert!(drawing.bands[0].contains("L6000 0"), "{}", drawing.bands[0]);
        assert!((drawing.totals[0][2] - 100.0).abs() < 1e-9);
        let drawing = drawn(&[row(59, 10.0), peak], true);
        assert!(drawing.bands[0].ends_with("l100 -900"), "{}", drawing.bands[0]);
        assert!((drawing.totals[0][2] - 100.0).abs() < 1e-9, "also in a stack");
    }

    #[test]
    fn the_scale_has_round_ticks() {
        let scaled = |maximum: f64, unit, decimal| {
            let input = ChartInput { unit, decimal, min_scale: 0.0, ..input(&[]) };
            let (top, ticks) = scale(maximum, &input);
            assert!((3..=5).contains(&ticks.len()), "{maximum}: {ticks:?}");
            top
        };
        let near = |value: f64, wanted: f64| (value - wanted).abs() < 1e-6 * wanted;
        assert!(near(scaled(0.3, Unit::Number, false), 0.3));
        assert!(near(scaled(7.0, Unit::Percent, false), 8.0));
        assert!(near(scaled(100.0, Unit::Percent, false), 100.0));
        assert!(near(scaled(3_000.0, Unit::Rate, false), 3_072.0));
        assert!(near(scaled(16_800_000.0, Unit::Rate, true), 20_000_000.0));
        assert!(scaled(1e300, Unit::Rate, false).is_finite());
    }
}
