use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A time at which a minute, an hour and a day begin.
const START: u64 = 1_700_006_400_000 / 86_400_000 * 86_400_000;

fn sample(sequence: u64, time_unix_ms: u64, cpu: Option<f64>) -> wire::Sample {
    let instance = "this one".to_owned();
    wire::Sample { cpu, instance, sequence, time_unix_ms, ..wire::Sample::default() }
}

/// History of one sample per second, from the first second of a minute. The value of `cpu` is the
/// number of the sample.
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
fn the_memory_use_is_as_documented_and_constant() {
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
fn an_empty_history_has_no_rows() {
    let history = History::new();
    for rows in [history.rows(600, 1), history.rows(600, 5), history.rows(86_400, 60)] {
        assert!(rows.time_unix_ms.is_empty() && rows.series.is_empty());
    }
    assert!(history.before(1).time_unix_ms.is_empty());
}

#[test]
fn step_one_returns_the_samples() {
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
fn samples_are_merged_into_rows_that_end_at_multiples_of_the_step() {
    let rows = seconds(23).rows(30, 10);
    assert_eq!(rows.step_seconds, 10);
    assert_eq!(rows.time_unix_ms, [10, 20, 23].map(|second| START + second * 1000));
    assert_eq!(cpu(&rows).mean, some(&[5.5, 15.5, 22.0]));
    assert_eq!(cpu(&rows).minimum, Some(some(&[1.0, 11.0, 21.0])));
    assert_eq!(cpu(&rows).maximum, Some(some(&[10.0, 20.0, 23.0])));
    assert_eq!(seconds(23).rows(20, 10).time_unix_ms.len(), 2);
}

#[test]
fn more_than_ten_minutes_consist_of_minutes_with_the_step_rounded_up() {
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
fn extreme_queries_have_bounded_results() {
    let history = seconds(100);
    assert_eq!(history.rows(u32::MAX, u32::MAX).step_seconds, 86_400);
    assert_eq!(history.rows(u32::MAX, u32::MAX).time_unix_ms.len(), 1);
    assert!(history.rows(0, 0).time_unix_ms.is_empty());
    assert!(history.rows(0, 60).time_unix_ms.is_empty());
}

#[test]
fn a_day_later_old_rows_are_not_returned() {
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
fn a_gap_in_the_recording_has_no_rows() {
    let mut history = seconds(10);
    history.push(&sample(11, START + 100_000, Some(1.0)));
    let times = history.rows(600, 10).time_unix_ms;
    assert_eq!(times, [10, 100].map(|second| START + second * 1000));
    let times = history.rows(3600, 60).time_unix_ms;
    assert_eq!(times, [60, 100].map(|second| START + second * 1000));
}

#[test]
fn an_unknown_value_is_null_and_not_part_of_means() {
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
fn a_clock_that_is_set_back_drops_the_rows_of_the_future() {
    let mut history = seconds(200);
    history.push(&sample(201, START + 90_500, Some(1000.0)));
    let rows = history.rows(600, 1);
    assert_eq!(rows.time_unix_ms.len(), 91);
    assert_eq!(rows.time_unix_ms[90], START + 90_500);
    // The second minute is aggregated again from the 30 samples before and the new one.
    let rows = history.rows(3600, 60);
    assert_eq!(rows.time_unix_ms, [START + 60_000, START + 90_500]);
    assert_eq!(cpu(&rows).mean[1], Some(105.32));
    assert_eq!(cpu(&rows).minimum.as_ref().unwrap()[1], Some(61.0));
}

#[test]
fn rows_of_an_earlier_process_are_kept_until_the_clock_is_set() {
    let loaded = || {
        let mut history = seconds(100);
        history.seconds.iter_mut().for_each(|row| row.sequence = 0);
        history
    };
    let mut history = loaded();
    for number in 1..=20 {
        history.push(&sample(number, number * 1000, Some(1000.0)));
    }
    assert_eq!(history.rows(600, 1).time_unix_ms.len(), 100);
    history.push(&sample(21, START + 160_000, Some(1.0)));
    assert_eq!(history.rows(600, 1).time_unix_ms.len(), 101);
    // Without a time server, the clock is as right as it gets.
    let mut history = loaded();
    history.push(&sample(SETTLING_SAMPLES + 1, 1000, Some(1.0)));
    assert_eq!(history.rows(600, 1).time_unix_ms, [1000]);
}

#[test]
fn a_sample_with_the_same_time_replaces_the_previous_one() {
    let mut history = seconds(2);
    history.push(&sample(3, START + 2000, Some(50.0)));
    assert_eq!(history.rows(600, 1).series["cpu"].mean, some(&[1.0, 50.0]));
    assert_eq!(history.rows(600, 60).series["cpu"].mean, some(&[25.5]));
}

#[test]
fn a_clock_that_is_wrong_for_a_moment_affects_only_that_sample() {
    let mut history = seconds(20);
    history.push(&sample(21, START * 2, Some(0.0)));
    history.push(&sample(22, START + 22_000, Some(22.0)));
    assert_eq!(history.rows(600, 1).time_unix_ms.len(), 21);
    assert_eq!(history.rows(3600, 60).time_unix_ms, [START + 22_000]);
}

#[test]
fn the_history_before_a_sample_ends_with_the_previous_one() {
    let history = seconds(700);
    let rows = history.before(699);
    assert_eq!((rows.sequence, rows.step_seconds), (698, 1));
    assert_eq!(rows.time_unix_ms.last(), Some(&(START + 698_000)));
    assert_eq!(cpu(&rows).mean.last(), Some(&Some(698.0)));
    assert_eq!(history.before(701), history.rows(600, 1));
    assert_eq!(history.before(1).time_unix_ms, Vec::<u64>::new());
    assert_eq!(history.before(1).sequence, 0);
}

/// Expected history, computed from a plain list of samples.
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

/// Clock steps of mostly one second, and values that are mostly known.
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

/// Arbitrary times and sequence numbers.
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
    fn rows_are_sorted_and_columns_have_equal_lengths_for_any_input(
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
    fn rows_match_those_of_a_plain_list_of_samples(
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

#[test]
fn a_minute_has_the_samples_before_one_and_null_for_unknown_values() {
    let mut history = seconds(100);
    history.push(&sample(101, START + 101_000, None));
    let minute = history.minute(102);
    assert_eq!(minute.instance, "this one");
    assert_eq!(minute.times_unix_ms.len(), 60);
    assert_eq!(minute.cpu.last(), Some(&None));
    assert_eq!(minute.cpu[58], Some(100.0));
    assert_eq!(minute.ram, vec![None; 60]);
    let before = history.minute(101);
    assert_eq!(before.times_unix_ms.last(), Some(&(START + 100_000)));
    assert!(History::new().minute(1).times_unix_ms.is_empty());
}
