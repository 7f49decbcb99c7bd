//! The past of the figures: pure, no clock and no files.
//!
//! Every sample of the last 10 minutes, and every minute of the last 24 hours as minimum, mean and
//! maximum. The memory is reserved once and never grows: 600 rows of 112 bytes and 1440 rows of
//! 376 bytes, 608,640 bytes in all; a row that was not used yet costs address space only.
//!
//! Rows are in the order of time, always. They are chosen by their time, counted back from the
//! newest, never by their number: after a pause, old rows do not pass for recent ones.

mod figures;
pub(crate) mod format;
pub(crate) mod persistence;

use std::collections::VecDeque;

use self::figures::{COUNT, FIGURES};

/// Samples that are kept, at one a second 10 minutes.
const SECOND_ROWS: usize = 600;

/// The furthest back that samples are given out, seconds.
const SECONDS_KEPT: u32 = 600;

/// Minutes that are kept: 24 hours.
const MINUTE_ROWS: usize = 1440;

/// The furthest back that minutes are given out, seconds.
const DAY_SECONDS: u32 = 86_400;

const MINUTE_SECONDS: u32 = 60;

const MINUTE_MS: u64 = 60_000;

/// What the service remembers.
#[derive(Debug)]
pub(crate) struct History {
    /// Who took the newest sample.
    instance: String,
    /// The number of the newest sample.
    sequence: u64,
    /// Never longer than [`SECOND_ROWS`].
    seconds: VecDeque<Second>,
    /// Never longer than [`MINUTE_ROWS`]; the newest is under way and holds the newest second.
    minutes: VecDeque<Row>,
}

/// One sample.
#[derive(Clone, Debug)]
struct Second {
    time_unix_ms: u64,
    /// Its number; 0 when a former process took it.
    sequence: u64,
    /// In the order of [`FIGURES`]; NaN is not known.
    values: [f32; COUNT],
}

/// The samples of some time, together.
#[derive(Clone, Debug)]
struct Row {
    /// The end of its time, a multiple of its length; that moment belongs to it.
    end_unix_ms: u64,
    /// In the order of [`FIGURES`].
    values: [Summary; COUNT],
}

/// One figure of some samples.
#[derive(Clone, Copy, Debug, Default)]
struct Summary {
    minimum: f32,
    mean: f32,
    maximum: f32,
    /// The samples in which it was known; without any, the rest means nothing.
    count: u32,
}

impl History {
    /// A history of nothing, with the memory for all that is to come.
    pub(crate) fn new() -> Self {
        Self {
            instance: String::new(),
            sequence: 0,
            seconds: VecDeque::with_capacity(SECOND_ROWS),
            minutes: VecDeque::with_capacity(MINUTE_ROWS),
        }
    }

    /// Adds the newest sample.
    ///
    /// When it is not newer than the rows, the machine's clock was set back: the rows that are in
    /// the future now are dropped.
    pub(crate) fn push(&mut self, sample: &wire::Sample) {
        self.instance.clone_from(&sample.instance);
        self.sequence = sample.sequence;
        self.drop_from(sample.time_unix_ms);
        let second = Second {
            time_unix_ms: sample.time_unix_ms,
            sequence: sample.sequence,
            values: std::array::from_fn(|index| FIGURES[index].of(sample)),
        };
        add_to_minutes(&mut self.minutes, &second);
        push_bounded(&mut self.seconds, second, SECOND_ROWS);
    }

    /// The last `seconds`, in rows of `step` seconds that end at multiples of it; the newest row
    /// ends at the newest sample.
    ///
    /// Up to 10 minutes in steps below a minute are made of samples, and step 1 is the samples
    /// themselves. Everything else is made of minutes, its step rounded up to whole minutes.
    pub(crate) fn rows(&self, seconds: u32, step: u32) -> wire::History {
        let step = step.clamp(1, DAY_SECONDS);
        if step >= MINUTE_SECONDS || seconds > SECONDS_KEPT {
            let step = step.next_multiple_of(MINUTE_SECONDS);
            self.summed_up(self.minutes.iter().cloned(), seconds.min(DAY_SECONDS), step)
        } else if step > 1 {
            self.summed_up(self.seconds.iter().map(Second::as_row), seconds, step)
        } else {
            self.samples(self.seconds.len(), seconds, self.sequence)
        }
    }

    /// The samples of the last 10 minutes that were taken before the one with this number: what a
    /// viewer needs who gets that one next.
    pub(crate) fn before(&self, sequence: u64) -> wire::History {
        let later = self.seconds.iter().rev().take_while(|row| row.sequence >= sequence).count();
        let count = self.seconds.len() - later;
        let newest = count.checked_sub(1).map_or(0, |index| self.seconds[index].sequence);
        self.samples(count, SECONDS_KEPT, newest)
    }

    /// Those of the first `count` samples that are of the last `seconds`.
    fn samples(&self, count: usize, seconds: u32, sequence: u64) -> wire::History {
        let newest = self.newest_unix_ms();
        let first = self.seconds.partition_point(|row| !within(row.time_unix_ms, newest, seconds));
        let rows = self.seconds.range(first.min(count)..count);
        let series = FIGURES.iter().enumerate().filter_map(|(index, figure)| {
            let known = |row: &Second| Some(row.values[index]).filter(|value| !value.is_nan());
            let mean: Vec<_> = rows.clone().map(known).collect();
            let any = mean.iter().any(Option::is_some);
            any.then(|| (figure.name.to_owned(), wire::Series { mean, ..wire::Series::default() }))
        });
        wire::History {
            instance: self.instance.clone(),
            sequence,
            step_seconds: 1,
            time_unix_ms: rows.clone().map(|row| row.time_unix_ms).collect(),
            series: series.collect(),
        }
    }

    /// The rows of the last `seconds`, put together to rows of `step` seconds.
    fn summed_up(&self, rows: impl Iterator<Item = Row>, seconds: u32, step: u32) -> wire::History {
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
        let series = FIGURES.iter().enumerate().filter_map(|(index, figure)| {
            let column = |value: fn(&Summary) -> f32| {
                let known = |row: &Row| {
                    Some(row.values[index]).filter(|sum| sum.count > 0).map(|sum| value(&sum))
                };
                sums.iter().map(known).collect::<Vec<_>>()
            };
            let mut mean = column(|sum| sum.mean);
            mean.iter_mut().flatten().for_each(|mean| *mean = figure.rounded((*mean).into()));
            mean.iter().any(Option::is_some).then(|| {
                let minimum = Some(column(|sum| sum.minimum));
                let maximum = Some(column(|sum| sum.maximum));
                (figure.name.to_owned(), wire::Series { mean, minimum, maximum })
            })
        });
        wire::History {
            instance: self.instance.clone(),
            sequence: self.sequence,
            step_seconds: step,
            // The newest row is under way: the rest of its time is still to come.
            time_unix_ms: sums.iter().map(|row| row.end_unix_ms.min(newest)).collect(),
            series: series.collect(),
        }
    }

    fn newest_unix_ms(&self) -> u64 {
        self.seconds.back().map_or(0, |row| row.time_unix_ms)
    }

    /// Drops the samples of this moment and later, and the minutes that they are in.
    fn drop_from(&mut self, time_unix_ms: u64) {
        if self.seconds.back().is_none_or(|newest| newest.time_unix_ms < time_unix_ms) {
            return;
        }
        let minute = end_of_row(time_unix_ms, MINUTE_MS);
        self.seconds.truncate(self.seconds.partition_point(|row| row.time_unix_ms < time_unix_ms));
        self.minutes.truncate(self.minutes.partition_point(|row| row.end_unix_ms < minute));
        // A sum cannot be undone: the minute in which the clock is now is made anew.
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

/// The end of the row that a moment is in. A sample covers the time before it, so the moment at
/// which one row ends and another begins belongs to the one that ends.
fn end_of_row(time_unix_ms: u64, step_ms: u64) -> u64 {
    time_unix_ms.max(1).div_ceil(step_ms).saturating_mul(step_ms)
}

/// Whether a moment is one of the last `seconds`, seen from the newest.
fn within(time_unix_ms: u64, newest_unix_ms: u64, seconds: u32) -> bool {
    newest_unix_ms.saturating_sub(time_unix_ms) < u64::from(seconds) * 1000
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// A moment at which a minute, an hour and a day begin.
    const START: u64 = 1_700_006_400_000 / 86_400_000 * 86_400_000;

    fn sample(sequence: u64, time_unix_ms: u64, cpu: Option<f64>) -> wire::Sample {
        let instance = "this one".to_owned();
        wire::Sample { cpu, instance, sequence, time_unix_ms, ..wire::Sample::default() }
    }

    /// One sample a second; the first is that of the first second of a minute, and `cpu` is its
    /// number.
    fn seconds(count: u32) -> History {
        let mut history = History::new();
        for number in 1..=count {
            let time = START + u64::from(number) * 1000;
            history.push(&sample(number.into(), time, Some(number.into())));
        }
        history
    }

    fn cpu(history: &wire::History) -> &wire::Series {
        &history.series["cpu"]
    }

    fn some(values: &[f32]) -> Vec<Option<f32>> {
        values.iter().copied().map(Some).collect()
    }

    #[test]
    fn the_memory_is_what_the_documentation_says_and_never_grows() {
        assert_eq!((size_of::<Second>(), size_of::<Row>()), (112, 376));
        let mut history = History::new();
        let reserved = |history: &History| {
            history.seconds.capacity() * size_of::<Second>()
                + history.minutes.capacity() * size_of::<Row>()
        };
        assert_eq!(reserved(&history), 608_640);
        for number in 0..5000 {
            history.push(&sample(number, START + number * 60_000, Some(1.0)));
        }
        assert_eq!(reserved(&history), 608_640);
        assert_eq!((history.seconds.len(), history.minutes.len()), (600, 1440));
    }

    #[test]
    fn a_history_of_nothing_has_no_rows() {
        let history = History::new();
        for rows in [history.rows(600, 1), history.rows(600, 5), history.rows(86_400, 60)] {
            assert!(rows.time_unix_ms.is_empty() && rows.series.is_empty());
        }
        assert!(history.before(1).time_unix_ms.is_empty());
    }

    #[test]
    fn step_one_is_the_samples_themselves() {
        let rows = seconds(700).rows(3, 1);
        assert_eq!(rows.instance, "this one");
        assert_eq!((rows.sequence, rows.step_seconds), (700, 1));
        assert_eq!(rows.time_unix_ms, [698, 699, 700].map(|second| START + second * 1000));
        let mean = some(&[698.0, 699.0, 700.0]);
        assert_eq!(*cpu(&rows), wire::Series { mean, minimum: None, maximum: None });
        assert_eq!(rows.series.len(), 1, "what is never known is left out");
    }

    #[test]
    fn ten_minutes_are_600_samples() {
        let rows = seconds(700).rows(600, 1);
        assert_eq!(rows.time_unix_ms.len(), 600);
        assert_eq!(cpu(&rows).mean[0], Some(101.0));
        assert_eq!(seconds(700).rows(600, 0), rows);
    }

    #[test]
    fn samples_are_put_together_to_rows_that_end_at_multiples_of_the_step() {
        let rows = seconds(23).rows(30, 10);
        assert_eq!(rows.step_seconds, 10);
        assert_eq!(rows.time_unix_ms, [10, 20, 23].map(|second| START + second * 1000));
        assert_eq!(cpu(&rows).mean, some(&[5.5, 15.5, 22.0]));
        assert_eq!(cpu(&rows).minimum, Some(some(&[1.0, 11.0, 21.0])));
        assert_eq!(cpu(&rows).maximum, Some(some(&[10.0, 20.0, 23.0])));
        assert_eq!(seconds(23).rows(20, 10).time_unix_ms.len(), 2);
    }

    #[test]
    fn longer_than_ten_minutes_is_made_of_minutes_with_the_step_rounded_up() {
        let history = seconds(3630);
        for (asked, step, count) in [(1, 60, 61), (59, 60, 61), (61, 120, 31), (300, 300, 13)] {
            let rows = history.rows(86_400, asked);
            assert_eq!((rows.step_seconds, rows.time_unix_ms.len()), (step, count));
            assert_eq!(rows.time_unix_ms[0], START + u64::from(step) * 1000);
            assert_eq!(rows.time_unix_ms[count - 1], START + 3_630_000);
            assert_eq!(cpu(&rows).minimum.as_ref().unwrap()[0], Some(1.0));
            assert_eq!(cpu(&rows).maximum.as_ref().unwrap()[count - 1], Some(3630.0));
        }
        let rows = history.rows(600, 60);
        assert_eq!(rows.time_unix_ms.len(), 10);
        assert_eq!(cpu(&rows).mean[8], Some(3570.5));
    }

    #[test]
    fn odd_questions_have_bounded_answers() {
        let history = seconds(100);
        assert_eq!(history.rows(u32::MAX, u32::MAX).step_seconds, 86_400);
        assert_eq!(history.rows(u32::MAX, u32::MAX).time_unix_ms.len(), 1);
        assert!(history.rows(0, 0).time_unix_ms.is_empty());
        assert!(history.rows(0, 60).time_unix_ms.is_empty());
    }

    #[test]
    fn a_day_later_old_rows_are_neither_minutes_nor_samples() {
        let mut history = seconds(100);
        history.push(&sample(101, START + 2 * 86_400_000, Some(7.0)));
        for rows in [
            history.rows(600, 1),
            history.rows(600, 10),
            history.rows(86_400, 60),
            history.rows(u32::MAX, 60),
        ] {
            assert_eq!(rows.time_unix_ms, [START + 2 * 86_400_000]);
            assert_eq!(cpu(&rows).mean, some(&[7.0]));
        }
        assert!(history.before(101).time_unix_ms.is_empty());
    }

    #[test]
    fn the_time_in_which_nothing_was_recorded_has_no_rows() {
        let mut history = seconds(10);
        history.push(&sample(11, START + 100_000, Some(1.0)));
        let times = history.rows(600, 10).time_unix_ms;
        assert_eq!(times, [10, 100].map(|second| START + second * 1000));
        let times = history.rows(3600, 60).time_unix_ms;
        assert_eq!(times, [60, 100].map(|second| START + second * 1000));
    }

    #[test]
    fn a_figure_that_is_not_known_is_null_and_not_part_of_means() {
        let mut history = History::new();
        for (number, value) in [(1, Some(10.0)), (2, None), (3, Some(20.0)), (11, None)] {
            history.push(&sample(number, START + number * 1000, value));
        }
        let mean = &history.rows(600, 1).series["cpu"].mean;
        assert_eq!(*mean, [Some(10.0), None, Some(20.0), None]);
        let rows = history.rows(600, 10);
        assert_eq!(cpu(&rows).mean, [Some(15.0), None]);
        assert_eq!(cpu(&rows).minimum, Some(vec![Some(10.0), None]));
    }

    #[test]
    fn means_have_two_decimals() {
        let mut history = History::new();
        for (number, value) in [(1, 10.0), (2, 10.0), (3, 10.01)] {
            history.push(&sample(number, START + number * 1000, Some(value)));
        }
        let json = serde_json::to_string(&history.rows(600, 10).series).unwrap();
        assert_eq!(json, r#"{"cpu":{"mean":[10.0],"minimum":[10.0],"maximum":[10.01]}}"#);
    }

    #[test]
    fn a_clock_that_is_set_back_takes_the_rows_of_the_future_along() {
        let mut history = seconds(200);
        history.push(&sample(201, START + 90_500, Some(1000.0)));
        let rows = history.rows(600, 1);
        assert_eq!(rows.time_unix_ms.len(), 91);
        assert_eq!(rows.time_unix_ms[90], START + 90_500);
        // The second minute is made anew, of the 30 samples before and of the new one.
        let rows = history.rows(3600, 60);
        assert_eq!(rows.time_unix_ms, [START + 60_000, START + 90_500]);
        assert_eq!(cpu(&rows).mean[1], Some(105.32));
        assert_eq!(cpu(&rows).minimum.as_ref().unwrap()[1], Some(61.0));
    }

    #[test]
    fn a_sample_of_the_same_moment_takes_the_place_of_the_one_before() {
        let mut history = seconds(2);
        history.push(&sample(3, START + 2000, Some(50.0)));
        assert_eq!(history.rows(600, 1).series["cpu"].mean, some(&[1.0, 50.0]));
        assert_eq!(history.rows(600, 60).series["cpu"].mean, some(&[25.5]));
    }

    #[test]
    fn a_clock_that_is_wrong_for_a_moment_costs_nothing_but_that_moment() {
        let mut history = seconds(20);
        history.push(&sample(21, START * 2, Some(0.0)));
        history.push(&sample(22, START + 22_000, Some(22.0)));
        assert_eq!(history.rows(600, 1).time_unix_ms.len(), 21);
        assert_eq!(history.rows(3600, 60).time_unix_ms, [START + 22_000]);
    }

    #[test]
    fn what_is_before_a_sample_ends_with_the_one_before_it() {
        let history = seconds(700);
        let rows = history.before(699);
        assert_eq!((rows.sequence, rows.step_seconds), (698, 1));
        assert_eq!(rows.time_unix_ms.last(), Some(&(START + 698_000)));
        assert_eq!(cpu(&rows).mean.last(), Some(&Some(698.0)));
        assert_eq!(history.before(701), history.rows(600, 1));
        assert_eq!(history.before(1).time_unix_ms, Vec::<u64>::new());
        assert_eq!(history.before(1).sequence, 0);
    }

    /// What the history should say, from a plain list of samples.
    struct Model(Vec<(u64, Option<f64>)>);

    impl Model {
        fn push(&mut self, time: u64, value: Option<f64>) {
            self.0.retain(|(earlier, _)| *earlier < time);
            self.0.push((time, value));
        }

        /// Time, minimum, mean and maximum of each row.
        fn rows(&self, seconds: u32, step: u32) -> Vec<(u64, Option<[f64; 3]>)> {
            let step = u64::from(step) * 1000;
            let newest = self.0.last().map_or(0, |(time, _)| *time);
            let mut rows = BTreeMap::<u64, Vec<f64>>::new();
            for (time, value) in &self.0 {
                rows.entry((*time).max(1).div_ceil(step)).or_default().extend(value);
            }
            let last = rows.keys().next_back().copied().unwrap_or(0);
            rows.retain(|row, _| (last - row) * step < u64::from(seconds) * 1000);
            let summary = |values: &[f64]| {
                let minimum = values.iter().copied().reduce(f64::min)?;
                let maximum = values.iter().copied().reduce(f64::max)?;
                Some([minimum, values.iter().sum::<f64>() / values.len() as f64, maximum])
            };
            let row = |(row, values): (u64, Vec<f64>)| ((row * step).min(newest), summary(&values));
            rows.into_iter().map(row).collect()
        }
    }

    /// Steps of a clock that mostly goes on by a second, and values that are mostly known.
    fn ticks() -> impl Strategy<Value = Vec<(i64, Option<f64>)>> {
        let step = prop_oneof![
            20 => 900..1100_i64,
            2 => 1000..100_000_i64,
            1 => 0..90_000_000_i64,
            1 => -100_000..=0_i64,
        ];
        let value =
            proptest::option::weighted(0.8, (0..=10_000_i32).prop_map(|n| f64::from(n) / 100.0));
        proptest::collection::vec((step, value), 0..300)
    }

    /// Times and sequences without any sense.
    fn nonsense() -> impl Strategy<Value = Vec<(u64, u64, Option<f64>)>> {
        let time = prop_oneof![any::<u64>(), Just(0), Just(u64::MAX), 0..200_000_u64];
        proptest::collection::vec((any::<u64>(), time, any::<Option<f64>>()), 0..100)
    }

    fn assert_sound(rows: &wire::History) {
        assert!(rows.time_unix_ms.is_sorted_by(|before, after| before < after), "{rows:?}");
        let count = rows.time_unix_ms.len();
        for series in rows.series.values() {
            assert_eq!(series.mean.len(), count);
            assert_eq!(series.minimum.is_some(), rows.step_seconds > 1);
            assert_eq!(series.maximum.is_some(), rows.step_seconds > 1);
            for column in [&series.minimum, &series.maximum].into_iter().flatten() {
                assert_eq!(column.len(), count);
            }
            assert!(series.mean.iter().any(Option::is_some));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn rows_are_in_order_and_columns_equally_long_whatever_is_pushed(
            samples in nonsense(),
            asked in (any::<u32>(), any::<u32>()),
        ) {
            let mut history = History::new();
            for (sequence, time, value) in samples {
                history.push(&sample(sequence, time, value));
                assert_sound(&history.before(sequence));
            }
            assert_sound(&history.rows(asked.0, asked.1));
            for (seconds, step) in [(600, 1), (600, 7), (86_400, 60), (86_400, 1800)] {
                assert_sound(&history.rows(seconds, step));
            }
        }

        #[test]
        fn rows_are_those_of_a_plain_list_of_samples(
            ticks in ticks(),
            step in 2..60_u32,
            minutes in 1..60_u32,
        ) {
            let mut history = History::new();
            let mut model = Model(Vec::new());
            let mut time = START;
            for (number, (tick, value)) in (1..).zip(ticks) {
                time = time.saturating_add_signed(tick);
                history.push(&sample(number, time, value));
                model.push(time, value);
            }
            let coarse = minutes * 60;
            for (seconds, step) in [(600, step), (90, step), (86_400, coarse), (7200, coarse)] {
                let rows = history.rows(seconds, step);
                let expected = model.rows(seconds, step);
                let times: Vec<_> = expected.iter().map(|(time, _)| *time).collect();
                prop_assert_eq!(&rows.time_unix_ms, &times);
                let Some(series) = rows.series.get("cpu") else {
                    prop_assert!(expected.iter().all(|(_, summary)| summary.is_none()));
                    continue;
                };
                let (minimum, maximum) = (series.minimum.as_ref(), series.maximum.as_ref());
                for (index, (_, summary)) in expected.iter().enumerate() {
                    let columns = [minimum.unwrap(), &series.mean, maximum.unwrap()];
                    for (which, column) in columns.into_iter().enumerate() {
                        let (found, expected) = (column[index], summary.map(|s| s[which]));
                        prop_assert_eq!(found.is_some(), expected.is_some());
                        let difference = f64::from(found.unwrap_or(0.0)) - expected.unwrap_or(0.0);
                        prop_assert!(difference.abs() < 0.006, "{:?} {:?}", found, expected);
                    }
                }
            }
        }
    }
}
