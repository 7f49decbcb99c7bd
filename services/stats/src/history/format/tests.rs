use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::history::SETTLING_SAMPLES;

/// A time at which a minute begins.
const START: u64 = 1_700_006_400_000;

fn sample(sequence: u64, time_unix_ms: u64, cpu: Option<f64>) -> wire::Sample {
    let (instance, ram) = ("this one".to_owned(), Some(50.0));
    wire::Sample { cpu, ram, instance, sequence, time_unix_ms, ..wire::Sample::default() }
}

fn seconds(count: u32) -> History {
    let mut history = History::new();
    for number in 1..=count {
        let time = START + u64::from(number) * 1000;
        history.push(&sample(number.into(), time, Some(number.into())));
    }
    history
}

/// Appends the correct checksum.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

fn unsealed(history: &History) -> Vec<u8> {
    let mut bytes = to_bytes(history);
    bytes.truncate(bytes.len() - 4);
    bytes
}

/// Header of a file with these series and row counts.
fn beginning(names: &[&str], seconds: u32, minutes: u32) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    let count = u32::try_from(names.len()).unwrap();
    for number in [WITHOUT_VERSION, count, seconds, minutes] {
        bytes.extend(number.to_le_bytes());
    }
    for name in names {
        bytes.push(u8::try_from(name.len()).unwrap());
        bytes.extend(name.as_bytes());
    }
    bytes
}

fn error(bytes: &[u8]) -> HistoryFileError {
    from_bytes(bytes).unwrap_err()
}

#[test]
fn a_saved_history_is_complete_after_loading_and_continues() {
    let before = seconds(150);
    let mut after = from_bytes(&to_bytes(&before)).unwrap();
    for (seconds, step) in [(600, 1), (600, 10), (86_400, 60)] {
        let saved = before.rows(seconds, step);
        let loaded = after.rows(seconds, step);
        assert_eq!((loaded.instance.as_str(), loaded.sequence), ("", 0));
        assert_eq!(after.previous_version(), Some(BUILD.version));
        assert_eq!((loaded.time_unix_ms, loaded.series), (saved.time_unix_ms, saved.series));
    }
    after.push(&sample(1, START + 151_000, Some(151.0)));
    let rows = after.rows(86_400, 60);
    assert_eq!((rows.instance.as_str(), rows.sequence), ("this one", 1));
    assert_eq!(rows.series, seconds(151).rows(86_400, 60).series);
    assert_eq!(after.before(1).time_unix_ms.len(), 150);
    assert_eq!(after.before(1).sequence, 0);
}

#[test]
fn after_a_long_pause_loaded_samples_are_not_recent() {
    let mut history = from_bytes(&to_bytes(&seconds(150))).unwrap();
    history.push(&sample(1, START + 7_200_000, Some(1.0)));
    assert_eq!(history.rows(600, 1).time_unix_ms, [START + 7_200_000]);
    assert!(history.before(1).time_unix_ms.is_empty());
    assert_eq!(history.rows(86_400, 60).time_unix_ms.len(), 4);
}

#[test]
fn a_sample_drops_loaded_rows_of_the_future_once_the_clock_has_had_time_to_be_set() {
    let mut history = from_bytes(&to_bytes(&seconds(150))).unwrap();
    history.push(&sample(SETTLING_SAMPLES, START + 500, Some(1.0)));
    assert_eq!(history.rows(600, 1).time_unix_ms.len(), 150);
    history.push(&sample(SETTLING_SAMPLES + 1, START + 500, Some(1.0)));
    assert_eq!(history.rows(86_400, 60).time_unix_ms, [START + 500]);
    assert_eq!(history.rows(600, 1).time_unix_ms, [START + 500]);
}

#[test]
fn an_empty_history_is_a_valid_file() {
    let loaded = from_bytes(&to_bytes(&History::new())).unwrap();
    assert!(loaded.rows(86_400, 60).time_unix_ms.is_empty());
}

#[test]
fn a_full_history_has_the_computed_length_and_reserves_no_more_memory() {
    let mut history = seconds(0);
    for number in 1..3000 {
        history.push(&sample(number, START + number * 60_000, Some(1.0)));
    }
    let bytes = to_bytes(&history);
    assert_eq!(bytes.capacity(), bytes.len());
    assert!(bytes.len() < MAX_FILE_BYTES, "{}", bytes.len());
    let loaded = from_bytes(&bytes).unwrap();
    assert_eq!(loaded.rows(86_400, 60).time_unix_ms.len(), 1440);
    assert_eq!(loaded.seconds.capacity(), history.seconds.capacity());
    assert_eq!(loaded.minutes.capacity(), history.minutes.capacity());
}

#[test]
fn series_are_assigned_by_name_and_unknown_ones_are_ignored() {
    let mut bytes = beginning(&["ram", "from_the_future", "cpu"], 1, 1);
    bytes.extend((START + 1000).to_le_bytes());
    bytes.extend([1.0_f32, 2.0, 3.0].map(f32::to_le_bytes).as_flattened());
    bytes.extend((START + 60_000).to_le_bytes());
    for value in [1.0_f32, 2.0, 3.0] {
        bytes.extend(summary_bytes(Summary::of(value)));
    }
    let history = from_bytes(&sealed(bytes)).unwrap();
    for rows in [history.rows(600, 1), history.rows(86_400, 60)] {
        let means: Vec<_> =
            rows.series.iter().map(|(name, series)| (name.as_str(), series.mean[0])).collect();
        assert_eq!(means, [("cpu", Some(3.0)), ("ram", Some(1.0))]);
    }
}

#[test]
fn values_that_are_not_numbers_are_unknown() {
    let mut bytes = beginning(&["cpu"], 1, 1);
    bytes.extend((START + 1000).to_le_bytes());
    bytes.extend(f32::INFINITY.to_le_bytes());
    bytes.extend((START + 60_000).to_le_bytes());
    bytes.extend(summary_bytes(Summary { maximum: f32::INFINITY, ..Summary::of(1.0) }));
    let history = from_bytes(&sealed(bytes)).unwrap();
    assert!(history.rows(600, 1).series.is_empty());
    assert!(history.rows(86_400, 60).series.is_empty());
}

#[test]
fn every_fault_is_reported() {
    assert_eq!(error(b""), HistoryFileError::NotHistory);
    assert_eq!(error(b"#!/bin/sh\n"), HistoryFileError::NotHistory);
    assert_eq!(error(&MAGIC), HistoryFileError::Truncated);
    assert_eq!(error(&vec![0; MAX_FILE_BYTES + 1]), HistoryFileError::TooLong);
    let mut bytes = to_bytes(&History::new());
    bytes[8] = 3;
    assert_eq!(error(&bytes), HistoryFileError::Format(3));
    let many = HistoryFileError::TooMany { what: "samples", found: u32::MAX, most: SECOND_ROWS };
    assert_eq!(error(&sealed(beginning(&["cpu"], u32::MAX, 0))), many);
    let length = HistoryFileError::Length { found: 0, expected: 12 };
    assert_eq!(error(&sealed(beginning(&["cpu"], 1, 0))), length);
    let mut bytes = beginning(&[], 0, 0);
    bytes.extend([0]);
    assert_eq!(error(&sealed(bytes)), HistoryFileError::Length { found: 1, expected: 0 });
    let mut bytes = beginning(&["cpu"], 0, 0);
    bytes.pop();
    assert_eq!(error(&sealed(bytes)), HistoryFileError::Truncated);
}

#[test]
fn unsorted_rows_and_invalid_minutes_are_damage() {
    let times = |seconds: &[u64], minutes: &[u64]| {
        let length = |rows: &[u64]| u32::try_from(rows.len()).unwrap();
        let mut bytes = beginning(&[], length(seconds), length(minutes));
        seconds.iter().chain(minutes).for_each(|time| bytes.extend(time.to_le_bytes()));
        from_bytes(&sealed(bytes)).map(drop)
    };
    assert_eq!(times(&[1, 2], &[60_000]), Ok(()));
    assert_eq!(times(&[0], &[60_000]), Ok(()));
    assert_eq!(times(&[u64::MAX], &[u64::MAX]), Ok(()));
    let stop = |what, row| Err(HistoryFileError::Order { what, row });
    assert_eq!(times(&[2, 2], &[60_000]), stop("samples", 1));
    assert_eq!(times(&[1], &[120_000, 60_000]), stop("minutes", 1));
    assert_eq!(times(&[1], &[60_001]), Err(HistoryFileError::PartOfMinute { row: 0 }));
    assert_eq!(times(&[1], &[60_000, 120_000]), Err(HistoryFileError::Newest));
    assert_eq!(times(&[], &[60_000]), Err(HistoryFileError::Newest));
    assert_eq!(times(&[1], &[]), Err(HistoryFileError::Newest));
}

#[test]
fn every_flipped_bit_and_every_truncation_is_detected() {
    let mut bytes = to_bytes(&seconds(3));
    for length in 0..bytes.len() {
        assert!(from_bytes(&bytes[..length]).is_err(), "{length}");
    }
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(from_bytes(&bytes).is_err(), "{bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(from_bytes(&bytes).is_ok());
    bytes.push(0);
    assert!(from_bytes(&bytes).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = from_bytes(&bytes);
        let mut announced = MAGIC.to_vec();
        announced.extend(FORMAT.to_le_bytes());
        announced.extend(bytes);
        let _ = from_bytes(&sealed(announced));
    }

    #[test]
    fn a_forged_file_is_rejected_or_behaves_like_any_other_history(
        changes in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..4),
        time in any::<u64>(),
    ) {
        let mut bytes = unsealed(&seconds(70));
        for (index, byte) in changes {
            // After the magic, the format and the counts, where a change would be rejected
            // immediately.
            let index = 24 + index.index(bytes.len() - 24);
            bytes[index] = byte;
        }
        if let Ok(mut history) = from_bytes(&sealed(bytes)) {
            for time in [START + 71_000, START + 10_500, time] {
                history.push(&sample(1, time, Some(1.0)));
                for (seconds, step) in [(600, 1), (600, 7), (86_400, 60)] {
                    let times = history.rows(seconds, step).time_unix_ms;
                    prop_assert!(times.is_sorted_by(|before, after| before < after));
                }
            }
            prop_assert!(from_bytes(&to_bytes(&history)).is_ok());
        }
    }

    #[test]
    fn saving_and_loading_keeps_every_row(
        samples in proptest::collection::vec((any::<u64>(), any::<Option<f64>>()), 0..50),
        steps in proptest::collection::vec((0..100_000_u64, any::<Option<f64>>()), 0..50),
    ) {
        let mut before = History::new();
        for (time, value) in samples {
            before.push(&sample(1, time, value));
        }
        let mut time = START;
        for (step, value) in steps {
            time += step;
            before.push(&sample(1, time, value));
        }
        let after = from_bytes(&to_bytes(&before)).unwrap();
        prop_assert_eq!(to_bytes(&after), to_bytes(&before));
        for (seconds, step) in [(600, 1), (600, 7), (86_400, 60), (86_400, 3600)] {
            let (before, after) = (before.rows(seconds, step), after.rows(seconds, step));
            prop_assert_eq!(before.time_unix_ms, after.time_unix_ms);
            prop_assert_eq!(before.series, after.series);
        }
    }
}
