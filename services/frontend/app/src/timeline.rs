//! Rows of one instance for the last ten minutes.

use crate::decode::{History, Row};
use crate::metrics::Metric;

/// Maximum number of rows: ten minutes at one row per second, and a reserve for clocks that differ.
pub(crate) const MAX_ROWS: usize = 660;

/// Shortest duration of a row. Samples at a shorter interval share a row.
const ROW_MS: f64 = 1_000.0;

/// Duration of the timeline.
const LIVE_MS: f64 = 600_000.0;

/// Timeline of rows, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline {
    rows: Vec<Row>,
}

impl Timeline {
    /// Rows, oldest first.
    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Removes all rows.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
    }

    /// Replaces the rows by those of the service. Values of single cores are kept, because a
    /// history does not contain them.
    pub(crate) fn replace(&mut self, history: History) {
        let mut rows = history.rows;
        for row in &mut rows {
            let known = self.rows.iter_mut().find(|known| known.time_ms >= row.time_ms);
            if let Some(known) = known.filter(|known| known.start_ms < row.time_ms) {
                row.cores = std::mem::take(&mut known.cores);
            }
        }
        self.rows.clear();
        for row in rows {
            self.push(row);
        }
    }

    /// Appends the newest row.
    pub(crate) fn push(&mut self, mut row: Row) {
        if let Some(last) = self.rows.last_mut() {
            // A history contains the newest sample, which the stream sends again. Samples at a
            // short interval share a row.
            if row.time_ms <= last.time_ms || row.time_ms - last.start_ms <= ROW_MS {
                row.start_ms = last.start_ms.min(row.start_ms);
                row.time_ms = last.time_ms.max(row.time_ms);
                *last = row;
                return;
            }
        }
        let horizon = row.time_ms - LIVE_MS;
        let old = self.rows.iter().take_while(|row| row.time_ms < horizon).count();
        // The row before the window extends the line to the edge of the chart.
        let old = old.saturating_sub(1).max((self.rows.len() + 1).saturating_sub(MAX_ROWS));
        self.rows.drain(..old);
        self.rows.push(row);
    }
}

impl Row {
    /// Charted value, NaN if it is unknown.
    pub(crate) fn value(&self, metric: Metric) -> f64 {
        self.values.get(metric as usize).map_or(f64::NAN, |&value| f64::from(value))
    }

    /// Minimum and maximum of a metric in the time of the row.
    pub(crate) fn bounds(&self, metric: Metric) -> (f64, f64) {
        let mean = self.value(metric);
        let bound = |side: usize| {
            let bounds = self.bounds.as_ref()?;
            bounds[side].get(metric as usize).map(|&value| f64::from(value))
        };
        // The mean replaces a missing bound.
        (mean.min(bound(0).unwrap_or(mean)), mean.max(bound(1).unwrap_or(mean)))
    }

    /// Whether there is a gap between `before` and this row: their intervals do not touch.
    pub(crate) fn follows_gap(&self, before: &Self) -> bool {
        // Timers are late by fractions of a tick, so up to half a tick is not a gap.
        self.start_ms - (self.time_ms - self.start_ms) / 2.0 > before.time_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::row;

    #[test]
    fn the_timeline_is_bounded_at_any_sampling_rate() {
        let mut timeline = Timeline::default();
        for second in 0..2_000 {
            timeline.push(row(second, 1.0));
        }
        assert!(timeline.rows().len() <= MAX_ROWS);
        let mut timeline = Timeline::default();
        for tick in 0..50 {
            let mut fast = row(1_000, 1.0);
            fast.time_ms += f64::from(tick) * 100.0;
            fast.start_ms = fast.time_ms - 100.0;
            timeline.push(fast);
        }
        assert_eq!(timeline.rows().len(), 5, "a row a second");
    }

    #[test]
    fn bounds_include_the_mean() {
        let mut row = row(60, 50.0);
        assert_eq!(row.bounds(Metric::CpuUser), (50.0, 50.0));
        let mut bounds = Box::new([[f32::NAN; crate::metrics::CHARTED]; 2]);
        bounds[1][Metric::CpuUser as usize] = 100.0;
        row.bounds = Some(bounds);
        assert_eq!(row.bounds(Metric::CpuUser), (50.0, 100.0));
        assert!(row.bounds(Metric::Load1).0.is_nan());
    }
}
