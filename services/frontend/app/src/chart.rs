//! From points to the two paths of a small chart, in a box of [`WIDTH`] by [`HEIGHT`] units.
//! Coordinates are whole numbers: the box is finer than any screen shows it.

use std::fmt::Write;

use crate::state::{Point, WINDOW_MS};

/// Units from the left edge (the window's beginning) to the right (now).
pub(crate) const WIDTH: u32 = 6_000;
/// Units from 0 percent (at the bottom) to 100.
pub(crate) const HEIGHT: u32 = 1_000;

/// What is drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Paths {
    /// The line through the points, a new stroke after each gap.
    pub(crate) line: String,
    /// The area under it.
    pub(crate) area: String,
}

/// The paths of `value` over the window that ends at `end_unix_ms`. Nothing is drawn where there
/// is no sample: a gap ends the stroke, and a point alone becomes a dot.
pub(crate) fn paths<'a>(
    points: impl Iterator<Item = &'a Point>,
    value: impl Fn(&Point) -> Option<f64>,
    end_unix_ms: u64,
) -> Paths {
    let mut paths = Paths::default();
    let mut stroke: Vec<(i64, i64)> = Vec::new();
    let mut before: Option<&Point> = None;
    for point in points {
        let value = value(point);
        if value.is_none() || before.is_some_and(|before| point.follows_a_gap(before)) {
            paths.add(&stroke);
            stroke.clear();
        }
        if let Some(value) = value {
            stroke.push((x(point.time_unix_ms, end_unix_ms), y(value)));
        }
        before = Some(point);
    }
    paths.add(&stroke);
    paths
}

impl Paths {
    fn add(&mut self, stroke: &[(i64, i64)]) {
        let (Some(&(first, _)), Some(&(last, bottom))) = (stroke.first(), stroke.last()) else {
            return;
        };
        if last < 0 {
            return;
        }
        let mut command = 'M';
        for (x, y) in stroke {
            // Writing to a string cannot fail.
            let _ = write!(self.line, "{command}{x} {y}");
            command = 'L';
        }
        if stroke.len() == 1 {
            // With round caps a line to where it is already is a dot.
            let _ = write!(self.line, "L{last} {bottom}");
            return;
        }
        let _ = write!(self.area, "M{first} {HEIGHT}");
        for (x, y) in stroke {
            let _ = write!(self.area, "L{x} {y}");
        }
        let _ = write!(self.area, "L{last} {HEIGHT}Z");
    }
}

/// What lies before the window has a negative place, and the box cuts it off.
fn x(time_unix_ms: u64, end_unix_ms: u64) -> i64 {
    let age = end_unix_ms.saturating_sub(time_unix_ms).min(WINDOW_MS * 10);
    let width = i64::from(WIDTH);
    width - age.cast_signed() * width / WINDOW_MS.cast_signed()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a percentage times ten is far from the limits of an integer"
)]
fn y(percent: f64) -> i64 {
    i64::from(HEIGHT) - (percent * f64::from(HEIGHT) / 100.0) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: u64 = 1_700_000_000_000;

    /// A point so many seconds before the end.
    fn point(seconds: u64, cpu: f64) -> Point {
        Point { time_unix_ms: END - seconds * 1_000, interval_ms: 1_000, cpu: Some(cpu), ram: None }
    }

    fn drawn(points: &[Point]) -> Paths {
        paths(points.iter(), |point| point.cpu, END)
    }

    #[test]
    fn now_is_at_the_right_edge_and_full_at_the_top() {
        let paths = drawn(&[point(1, 0.0), point(0, 100.0)]);
        assert_eq!(paths.line, "M5900 1000L6000 0");
        assert_eq!(paths.area, "M5900 1000L5900 1000L6000 0L6000 1000Z");
    }

    #[test]
    fn a_gap_begins_a_new_stroke() {
        let paths = drawn(&[point(5, 50.0), point(4, 50.0), point(1, 50.0), point(0, 50.0)]);
        assert_eq!(paths.line, "M5500 500L5600 500M5900 500L6000 500");
        assert_eq!(paths.area.matches('Z').count(), 2);
    }

    #[test]
    fn a_point_without_the_figure_is_a_gap() {
        let mut points = [4, 3, 2, 1, 0].map(|seconds| point(seconds, 50.0));
        points[2].cpu = None;
        assert_eq!(drawn(&points).line, "M5600 500L5700 500M5900 500L6000 500");
    }

    #[test]
    fn a_point_alone_is_a_dot_without_an_area() {
        let paths = drawn(&[point(0, 50.0)]);
        assert_eq!(paths.line, "M6000 500L6000 500");
        assert_eq!(paths.area, "");
    }

    #[test]
    fn what_left_the_window_is_not_drawn() {
        assert_eq!(drawn(&[point(90, 50.0), point(89, 50.0)]), Paths::default());
        assert_eq!(drawn(&[]), Paths::default());
    }
}
