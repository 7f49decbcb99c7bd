//! Busy time of single processors in the last 10 minutes, for the heat map of a new viewer.
//!
//! A row per second of 512 processors would take 0.3 MB, so a row is the mean of 10 seconds: 60 rows
//! of 4 bytes per processor, 0.12 MB for 512. A history file does not contain them.

use std::collections::VecDeque;

use super::{end_of_row, push_bounded, within};

/// Length of a row, seconds.
const STEP_SECONDS: u32 = 10;

const STEP_MS: u64 = 10_000;

/// Maximum number of rows: 10 minutes and the incomplete row.
const MAX_ROWS: usize = 61;

/// Rows, oldest first.
#[derive(Debug, Default)]
pub(super) struct CoreLog {
    rows: VecDeque<Row>,
}

#[derive(Debug)]
struct Row {
    /// End of the row, a multiple of its length. The row includes its end.
    end_unix_ms: u64,
    /// Sum of the samples' percentages for each processor, in the order of the samples.
    sums: Vec<f32>,
    samples: u16,
}

impl CoreLog {
    /// Adds the newest sample.
    #[expect(clippy::cast_possible_truncation, reason = "0 to 100")]
    pub(super) fn push(&mut self, sample: &wire::Sample) {
        let end_unix_ms = end_of_row(sample.time_unix_ms, STEP_MS);
        let cores = sample.processors.as_ref().map_or(&[][..], |processors| &processors.cores);
        let busy = cores.iter().map(|core| core.shares.busy as f32);
        // After the clock was set back, rows of the future are dropped. If a processor went offline
        // or came online, the row begins again.
        while self.rows.back().is_some_and(|row| {
            row.end_unix_ms > end_unix_ms
                || (row.end_unix_ms == end_unix_ms && row.sums.len() != cores.len())
        }) {
            self.rows.pop_back();
        }
        match self.rows.back_mut() {
            Some(row) if row.end_unix_ms == end_unix_ms => {
                row.sums.iter_mut().zip(busy).for_each(|(sum, busy)| *sum += busy);
                row.samples = row.samples.saturating_add(1);
            }
            _ => {
                let row = Row { end_unix_ms, sums: busy.collect(), samples: 1 };
                push_bounded(&mut self.rows, row, MAX_ROWS);
            }
        }
    }

    /// Rows of the last `seconds` before `newest_unix_ms`; `None` without any processor.
    pub(super) fn last(&self, seconds: u32, newest_unix_ms: u64) -> Option<wire::CoreHistory> {
        let newest_end = end_of_row(newest_unix_ms, STEP_MS);
        let rows = || {
            let is_recent = |row: &&Row| within(row.end_unix_ms, newest_end, seconds);
            self.rows.iter().filter(|row| !row.sums.is_empty()).filter(is_recent)
        };
        rows().next()?;
        Some(wire::CoreHistory {
            step_seconds: STEP_SECONDS,
            time_unix_ms: rows().map(|row| row.end_unix_ms.min(newest_unix_ms)).collect(),
            busy: rows().map(Row::means).collect(),
        })
    }
}

impl Row {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100")]
    fn means(&self) -> Vec<u8> {
        let mean = |sum: &f32| (sum / f32::from(self.samples)).round() as u8;
        self.sums.iter().map(mean).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(samples: &[(u64, &[f64])]) -> CoreLog {
        let mut log = CoreLog::default();
        for &(seconds, busy) in samples {
            let core = |&busy: &f64| {
                let shares = wire::Shares { busy, ..wire::Shares::default() };
                wire::Core { shares, ..wire::Core::default() }
            };
            let cores = busy.iter().map(core).collect();
            let processors = Some(wire::Processors { cores, ..wire::Processors::default() });
            let time_unix_ms = seconds * 1000;
            log.push(&wire::Sample { processors, time_unix_ms, ..wire::Sample::default() });
        }
        log
    }

    #[test]
    fn a_row_is_the_mean_of_ten_seconds() {
        let log = log(&[(11, &[0.0, 100.0]), (20, &[5.0, 90.0]), (21, &[7.4, 0.0])]);
        let rows = log.last(600, 21_000).unwrap();
        assert_eq!(rows.step_seconds, 10);
        assert_eq!(rows.time_unix_ms, [20_000, 21_000]);
        assert_eq!(rows.busy, [[3, 95], [7, 0]]);
    }

    #[test]
    fn a_changed_number_of_processors_begins_the_row_again() {
        let log = log(&[(11, &[100.0, 100.0]), (12, &[10.0]), (13, &[20.0])]);
        assert_eq!(log.last(600, 13_000).unwrap().busy, [[15]]);
    }

    #[test]
    fn a_clock_that_is_set_back_drops_the_rows_of_the_future() {
        let log = log(&[(11, &[1.0]), (40, &[2.0]), (12, &[3.0])]);
        let rows = log.last(600, 12_000).unwrap();
        assert_eq!((rows.time_unix_ms, rows.busy), (vec![12_000], vec![vec![2]]));
    }

    #[test]
    fn only_recent_rows_are_returned_and_no_more_are_stored() {
        let samples: Vec<(u64, &[f64])> = (1..=2000).map(|second| (second, &[1.0][..])).collect();
        let log = log(&samples);
        assert_eq!(log.rows.len(), 61);
        assert_eq!(log.last(600, 2_000_000).unwrap().busy.len(), 60);
        assert_eq!(log.last(60, 2_000_000).unwrap().busy.len(), 6);
        assert_eq!(log.last(60, 3_000_000), None);
    }

    #[test]
    fn without_processors_there_is_nothing() {
        assert_eq!(log(&[(1, &[])]).last(600, 1000), None);
        assert_eq!(CoreLog::default().last(600, 0), None);
    }
}
