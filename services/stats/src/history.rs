//! History of the metrics. Pure: no clock and no files.
//!
//! It has every sample of the last 10 minutes, and the minimum, mean and maximum of every minute of
//! the last 24 hours. The memory is reserved once and never grows: 600 rows of 112 bytes and 1440
//! rows of 376 bytes, 608,640 bytes in total. An unused row takes only address space. The rows of
//! single processors come in addition (`cores.rs`).
//!
//! Rows are always sorted by time. Queries select them by time, counted back from the newest row,
//! and never by index: after a pause, old rows are not reported as recent ones.

mod cores;
pub(crate) mod format;
mod metrics;
pub(crate) mod persistence;

use std::collections::VecDeque;

use self::cores::CoreLog;
use self::metrics::{COUNT, METRICS};

pub(crate) use self::metrics::{outer_networks, whole_disks};

/// Maximum number of samples: 10 minutes at one per second.
const SECOND_ROWS: usize = 600;

/// Maximum age of returned samples, seconds.
const RETENTION_SECONDS: u32 = 600;

/// Maximum number of minutes: 24 hours.
const MINUTE_ROWS: usize = 1440;

/// Maximum age of returned minutes, seconds.
const DAY_SECONDS: u32 = 86_400;

/// Number of samples for which newer rows of an earlier process are kept: five minutes, enough for a
/// time server to set a clock that has no battery and starts in the past.
const SETTLING_SAMPLES: u64 = 300;

const MINUTE_SECONDS: u32 = 60;

const MINUTE_MS: u64 = 60_000;

/// Stored samples and minutes.
#[derive(Debug)]
pub(crate) struct History {
    /// Instance that took the newest sample.
    instance: String,
    /// Version of the service that saved the loaded rows.
    previous_version: Option<String>,
    /// Sequence number of the newest sample.
    sequence: u64,
    /// At most [`SECOND_ROWS`].
    seconds: VecDeque<Second>,
    /// At most [`MINUTE_ROWS`]; the newest is incomplete and contains the newest sample.
    minutes: VecDeque<Row>,
    cores: CoreLog,
}

/// One sample.
#[derive(Clone, Debug)]
struct Second {
    time_unix_ms: u64,
    /// Sequence number; 0 if an earlier process took the sample.
    sequence: u64,
    /// In the order of [`METRICS`]; NaN is unknown.
    values: [f32; COUNT],
}

/// Aggregate of the samples of a time span.
#[derive(Clone, Debug)]
struct Row {
    /// End of the time span, a multiple of its length. The span includes its end.
    end_unix_ms: u64,
    /// In the order of [`METRICS`].
    values: [Summary; COUNT],
}

/// Aggregate of one metric.
#[derive(Clone, Copy, Debug, Default)]
struct Summary {
    minimum: f32,
    mean: f32,
    maximum: f32,
    /// Number of samples with a known value; if 0, the other fields have no meaning.
    count: u32,
}

impl History {
    /// Empty history that reserves all of its memory.
    pub(crate) fn new() -> Self {
        Self {
            instance: String::new(),
            previous_version: None,
            sequence: 0,
            seconds: VecDeque::with_capacity(SECOND_ROWS),
            minutes: VecDeque::with_capacity(MINUTE_ROWS),
            cores: CoreLog::default(),
        }
    }

    /// Version of the service that saved the loaded rows, if any.
    pub(crate) fn previous_version(&self) -> Option<&str> {
        self.previous_version.as_deref()
    }

    /// Adds the newest sample.
    ///
    /// If it is not newer than the last row, the system clock was set back. The rows that are now
    /// in the future are dropped. After a start, the clock may not be set yet, and the sample is
    /// left out instead.
    pub(crate) fn push(&mut self, sample: &wire::Sample) {
        self.instance.clone_from(&sample.instance);
        self.sequence = sample.sequence;
        let is_newer_and_loaded =
            |newest: &Second| newest.sequence == 0 && newest.time_unix_ms >= sample.time_unix_ms;
        if sample.sequence <= SETTLING_SAMPLES
            && self.seconds.back().is_some_and(is_newer_and_loaded)
        {
            return;
        }
        self.drop_from(sample.time_unix_ms);
        self.cores.push(sample);
        let second = Second {
            time_unix_ms: sample.time_unix_ms,
            sequence: sample.sequence,
            values: std::array::from_fn(|index| METRICS[index].of(sample)),
        };
        add_to_minutes(&mut self.minutes, &second);
        push_bounded(&mut self.seconds, second, SECOND_ROWS);
    }

    /// The last `seconds` in rows of `step` seconds, which end at multiples of the step. The newest
    /// row ends at the newest sample.
    ///
    /// For up to 10 minutes in steps below a minute, the rows are aggregated from samples; step 1
    /// returns the samples themselves. All other rows are aggregated from minutes, with the step
    /// rounded up to whole minutes.
    pub(crate) fn rows(&self, seconds: u32, step: u32) -> wire::History {
        let step = step.clamp(1, DAY_SECONDS);
        if step >= MINUTE_SECONDS || seconds > RETENTION_SECONDS {
            let step = step.next_multiple_of(MINUTE_SECONDS);
            self.aggregate(self.minutes.iter().cloned(), seconds.min(DAY_SECONDS), step)
        } else if step > 1 {
            self.aggregate(self.seconds.iter().map(Second::as_row), seconds, step)
        } else {
            self.samples(self.seconds.len(), seconds, self.sequence)
        }
    }

    /// Samples of the last 10 minutes before `sequence`, for a viewer that receives `sequence`
    /// next.
    pub(crate) fn before(&self, sequence: u64) -> wire::History {
        let later = self.seconds.iter().rev().take_while(|row| row.sequence >= sequence).count();
        let count = self.seconds.len() - later;
        let newest = count.checked_sub(1).map_or(0, |index| self.seconds[index].sequence);
        self.samples(count, RETENTION_SECONDS, newest)
    }

    /// `cpu` and `ram` of the last minute, from the samples before `sequence`.
    pub(crate) fn minute(&self, sequence: u64) -> wire::Minute {
        let newest = self.newest_unix_ms();
        let first =
            self.seconds.partition_point(|row| !within(row.time_unix_ms, newest, MINUTE_SECONDS));
        let mut minute =
            wire::Minute { instance: self.instance.clone(), ..wire::Minute::default() };
        for row in self.seconds.range(first..).take_while(|row| row.sequence < sequence) {
            let known = |metric: usize| Some(row.values[metric]).filter(|value| !value.is_nan());
            minute.times_unix_ms.push(row.time_unix_ms);
            minute.cpu.push(known(metrics::CPU));
            minute.ram.push(known(metrics::RAM));
        }
        minute
    }

    /// The samples of the last `seconds` among the first `count` ones.
    fn samples(&self, count: usize, seconds: u32, sequence: u64) -> wire::History {
        let newest = self.newest_unix_ms();
        let first = self.seconds.partition_point(|row| !within(row.time_unix_ms, newest, seconds));
        let rows = self.seconds.range(first.min(count)..count);
        let series = METRICS.iter().enumerate().filter_map(|(index, metric)| {
            let known = |row: &Second| Some(row.values[index]).filter(|value| !value.is_nan());
            let mean: Vec<_> = rows.clone().map(known).collect();
            let any = mean.iter().any(Option::is_some);
            any.then(|| (metric.name.to_owned(), wire::Series { mean, ..wire::Series::default() }))
        });
        wire::History {
            instance: self.instance.clone(),
            sequence,
            step_seconds: 1,
            time_unix_ms: rows.clone().map(|row| row.time_unix_ms).collect(),
            series: series.collect(),
            cores: self.cores.last(seconds, newest),
        }
    }

    /// Merges the rows of the last `seconds` into rows of `step` seconds.
    fn aggregate(&self, rows: impl Iterator<Item = Row>, seconds: u32, step: u32) -> wire::History {
        let step_ms = u64::from(step) * 1000;
        let newest = self.newest_unix_ms();
        let newest_end = end_of_row(newest, step_ms);
        let mut sums: Vec<Row> = Vec::new();
        for mut row in rows {
            row.end_unix_ms = end_of_row(row.end_unix_ms, step_ms);
            if within(row.end_unix_ms, newest_end, seconds) {
                match sums.last_mut() {
                    Some(last) if last.end_unix_ms == row.end_unix_ms => last.merge(&row.values),
                    _ => sums.push(row),
                }
            }
        }
        let series = METRICS.iter().enumerate().filter_map(|(index, metric)| {
            let column = |value: fn(&Summary) -> f32| {
                let known = |row: &Row| {
                    Some(row.values[index]).filter(|sum| sum.count > 0).map(|sum| value(&sum))
                };
                sums.iter().map(known).collect::<Vec<_>>()
            };
            let mut mean = column(|sum| sum.mean);
            mean.iter_mut().flatten().for_each(|mean| *mean = metric.rounded((*mean).into()));
            mean.iter().any(Option::is_some).then(|| {
                let minimum = Some(column(|sum| sum.minimum));
                let maximum = Some(column(|sum| sum.maximum));
                (metric.name.to_owned(), wire::Series { mean, minimum, maximum })
            })
        });
        wire::History {
            instance: self.instance.clone(),
            sequence: self.sequence,
            step_seconds: step,
            // The newest row is incomplete, so it ends at the newest sample.
            time_unix_ms: sums.iter().map(|row| row.end_unix_ms.min(newest)).collect(),
            series: series.collect(),
            cores: None,
        }
    }

    fn newest_unix_ms(&self) -> u64 {
        self.seconds.back().map_or(0, |row| row.time_unix_ms)
    }

    /// Drops the samples of this time and later, and the minutes that contain them.
    fn drop_from(&mut self, time_unix_ms: u64) {
        if self.seconds.back().is_none_or(|newest| newest.time_unix_ms < time_unix_ms) {
            return;
        }
        let minute = end_of_row(time_unix_ms, MINUTE_MS);
        self.seconds.truncate(self.seconds.partition_point(|row| row.time_unix_ms < time_unix_ms));
        self.minutes.truncate(self.minutes.partition_point(|row| row.end_unix_ms < minute));
        // A sum cannot be reverted, so the current minute is aggregated again.
        let in_minute = |row: &Second| end_of_row(row.time_unix_ms, MINUTE_MS) < minute;
        let first = self.seconds.partition_point(in_minute);
        self.seconds.range(first..).for_each(|row| add_to_minutes(&mut self.minutes, row));
    }
}

impl Second {
    fn as_row(&self) -> Row {
        Row { end_unix_ms: self.time_unix_ms, values: self.values.map(Summary::of) }
    }
}

impl Row {
    fn merge(&mut self, others: &[Summary; COUNT]) {
        self.values.iter_mut().zip(others).for_each(|(value, other)| value.merge(*other));
    }
}

impl Summary {
    fn of(value: f32) -> Self {
        if value.is_nan() {
            return Self::default();
        }
        Self { minimum: value, mean: value, maximum: value, count: 1 }
    }

    #[expect(clippy::cast_possible_truncation, reason = "it lies between two f32")]
    fn merge(&mut self, other: Self) {
        if self.count == 0 {
            *self = other;
        } else if other.count > 0 {
            let count = self.count.saturating_add(other.count);
            let difference = f64::from(other.mean) - f64::from(self.mean);
            let share = f64::from(other.count) / f64::from(count);
            self.mean = (f64::from(self.mean) + difference * share) as f32;
            self.minimum = self.minimum.min(other.minimum);
            self.maximum = self.maximum.max(other.maximum);
            self.count = count;
        }
    }
}

/// Adds a sample that is newer than all others.
fn add_to_minutes(minutes: &mut VecDeque<Row>, second: &Second) {
    let row = Row { end_unix_ms: end_of_row(second.time_unix_ms, MINUTE_MS), ..second.as_row() };
    match minutes.back_mut() {
        Some(newest) if newest.end_unix_ms == row.end_unix_ms => newest.merge(&row.values),
        _ => push_bounded(minutes, row, MINUTE_ROWS),
    }
}

fn push_bounded<T>(rows: &mut VecDeque<T>, row: T, most: usize) {
    if rows.len() >= most {
        rows.pop_front();
    }
    rows.push_back(row);
}

/// End of the row that contains a time. A sample covers the time before it, so a boundary between
/// two rows belongs to the earlier row.
fn end_of_row(time_unix_ms: u64, step_ms: u64) -> u64 {
    time_unix_ms.max(1).div_ceil(step_ms).saturating_mul(step_ms)
}

/// Whether a time is within the last `seconds` before the newest sample.
fn within(time_unix_ms: u64, newest_unix_ms: u64, seconds: u32) -> bool {
    newest_unix_ms.saturating_sub(time_unix_ms) < u64::from(seconds) * 1000
}

#[cfg(test)]
mod tests;
