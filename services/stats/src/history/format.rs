//! The history as the bytes of a file, and back: pure.
//!
//! All numbers are little-endian:
//!
//! | what | bytes |
//! | --- | --- |
//! | `statshis` | 8 |
//! | version of the format: 2 | 4 |
//! | version of the service that wrote it: its length and itself; not in format 1 | 1 and that many |
//! | series, samples, minutes: how many of each | 3 times 4 |
//! | the name of each series: its length and itself | 1 and that many |
//! | each sample: milliseconds since 1970, a value per series | 8 and 4 each |
//! | each minute: the same of its end; minimum, mean, maximum, count per series | 8 and 16 each |
//! | CRC-32 (that of zlib) of all the bytes before | 4 |
//!
//! Values go by the name of their series, so a service whose list is longer, shorter or in another
//! order still loads what it knows. The newest minute holds the newest sample.

use super::figures::{COUNT, FIGURES};
use super::{History, MINUTE_MS, MINUTE_ROWS, Row, SECOND_ROWS, Second, Summary, end_of_row};
use crate::BUILD;

const MAGIC: [u8; 8] = *b"statshis";

const FORMAT: u32 = 2;

/// The format without the version of the service.
const WITHOUT_VERSION: u32 = 1;

/// Series that a file may have: room for those of later versions.
const SERIES_MOST: usize = 64;

const SUMMARY_BYTES: usize = 16;

/// The longest that a file can be.
pub(crate) const BYTES_MOST: usize = MAGIC.len()
    + 5 * size_of::<u32>()
    + 1
    + u8::MAX as usize
    + SERIES_MOST * (1 + u8::MAX as usize)
    + SECOND_ROWS * second_bytes(SERIES_MOST)
    + MINUTE_ROWS * minute_bytes(SERIES_MOST);

/// Why bytes are not a history.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum DamagedHistory {
    #[error("it does not begin as a history does")]
    NotHistory,
    #[error("its format is {0}, only {WITHOUT_VERSION} and {FORMAT} are known")]
    Format(u32),
    #[error("it has more than {BYTES_MOST} bytes")]
    TooLong,
    #[error("it ends too early")]
    CutOff,
    #[error("its checksum is {found:08x}, that of its bytes {computed:08x}")]
    Checksum { found: u32, computed: u32 },
    #[error("it has {found} {what}, at most {most} are possible")]
    TooMany { what: &'static str, found: u32, most: usize },
    #[error("its rows have {found} bytes, not the {expected} that it announces")]
    Length { found: usize, expected: usize },
    #[error("row {row} of its {what} is not later than the one before")]
    Order { what: &'static str, row: usize },
    #[error("row {row} of its minutes does not end with a minute")]
    PartOfMinute { row: usize },
    #[error("its newest minute is not that of its newest sample")]
    Newest,
}

/// The history as the content of a file.
pub(crate) fn to_bytes(history: &History) -> Vec<u8> {
    let names: usize = FIGURES.iter().map(|figure| 1 + figure.name.len()).sum();
    let version = BUILD.version.as_bytes();
    let length = MAGIC.len()
        + 5 * size_of::<u32>()
        + 1
        + version.len()
        + names
        + history.seconds.len() * second_bytes(COUNT)
        + history.minutes.len() * minute_bytes(COUNT);
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(MAGIC);
    bytes.extend(FORMAT.to_le_bytes());
    bytes.push(u8::try_from(version.len()).unwrap_or(u8::MAX));
    bytes.extend(version);
    for count in [COUNT, history.seconds.len(), history.minutes.len()] {
        bytes.extend(u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
    }
    for figure in FIGURES {
        bytes.push(u8::try_from(figure.name.len()).unwrap_or(u8::MAX));
        bytes.extend(figure.name.as_bytes());
    }
    for second in &history.seconds {
        bytes.extend(second.time_unix_ms.to_le_bytes());
        second.values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
    }
    for minute in &history.minutes {
        bytes.extend(minute.end_unix_ms.to_le_bytes());
        minute.values.iter().for_each(|summary| bytes.extend(summary_bytes(*summary)));
    }
    let checksum = crc32fast::hash(&bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes
}

/// The history that a file contains; whoever took its samples is not in it.
///
/// # Errors
///
/// When the bytes are not exactly what [`to_bytes`] of some version of the service wrote.
pub(crate) fn from_bytes(bytes: &[u8]) -> Result<History, DamagedHistory> {
    if bytes.len() > BYTES_MOST {
        return Err(DamagedHistory::TooLong);
    }
    let mut reader = Reader(bytes);
    if reader.take() != Ok(MAGIC) {
        return Err(DamagedHistory::NotHistory);
    }
    let has_version = match reader.number()? {
        FORMAT => true,
        WITHOUT_VERSION => false,
        other => return Err(DamagedHistory::Format(other)),
    };
    reader.check_and_drop_checksum(bytes)?;
    let version = if has_version { Some(reader.text()?) } else { None };
    let series = reader.count("series", SERIES_MOST)?;
    let seconds = reader.count("samples", SECOND_ROWS)?;
    let minutes = reader.count("minutes", MINUTE_ROWS)?;
    let figures = reader.figures(series)?;
    let expected = seconds * second_bytes(series) + minutes * minute_bytes(series);
    if reader.0.len() != expected {
        return Err(DamagedHistory::Length { found: reader.0.len(), expected });
    }
    let mut history = History::new();
    history.version_before = version.map(|version| String::from_utf8_lossy(version).into_owned());
    for row in 0..seconds {
        let second = reader.second(&figures)?;
        if history.seconds.back().is_some_and(|last| last.time_unix_ms >= second.time_unix_ms) {
            return Err(DamagedHistory::Order { what: "samples", row });
        }
        history.seconds.push_back(second);
    }
    for row in 0..minutes {
        let minute = reader.minute(&figures)?;
        if history.minutes.back().is_some_and(|last| last.end_unix_ms >= minute.end_unix_ms) {
            return Err(DamagedHistory::Order { what: "minutes", row });
        }
        if end_of_row(minute.end_unix_ms, MINUTE_MS) != minute.end_unix_ms {
            return Err(DamagedHistory::PartOfMinute { row });
        }
        history.minutes.push_back(minute);
    }
    let newest = history.seconds.back().map(|row| end_of_row(row.time_unix_ms, MINUTE_MS));
    if newest != history.minutes.back().map(|row| row.end_unix_ms) {
        return Err(DamagedHistory::Newest);
    }
    Ok(history)
}

const fn second_bytes(series: usize) -> usize {
    size_of::<u64>() + series * size_of::<f32>()
}

const fn minute_bytes(series: usize) -> usize {
    size_of::<u64>() + series * SUMMARY_BYTES
}

fn summary_bytes(summary: Summary) -> [u8; SUMMARY_BYTES] {
    let Summary { minimum, mean, maximum, count } = summary;
    let mut bytes = [0; SUMMARY_BYTES];
    let values = [minimum, mean, maximum].map(f32::to_le_bytes);
    bytes[..12].copy_from_slice(values.as_flattened());
    bytes[12..].copy_from_slice(&count.to_le_bytes());
    bytes
}

/// The bytes that were not read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], DamagedHistory> {
        let (first, rest) = self.0.split_first_chunk().ok_or(DamagedHistory::CutOff)?;
        self.0 = rest;
        Ok(*first)
    }

    fn number(&mut self) -> Result<u32, DamagedHistory> {
        self.take().map(u32::from_le_bytes)
    }

    /// Compares the last four bytes with the checksum of `whole` before them, and drops them.
    fn check_and_drop_checksum(&mut self, whole: &[u8]) -> Result<(), DamagedHistory> {
        let (rest, found) = self.0.split_last_chunk().ok_or(DamagedHistory::CutOff)?;
        let found = u32::from_le_bytes(*found);
        let computed = crc32fast::hash(&whole[..whole.len() - size_of::<u32>()]);
        if found != computed {
            return Err(DamagedHistory::Checksum { found, computed });
        }
        self.0 = rest;
        Ok(())
    }

    fn count(&mut self, what: &'static str, most: usize) -> Result<usize, DamagedHistory> {
        let found = self.number()?;
        let count = usize::try_from(found).ok().filter(|count| *count <= most);
        count.ok_or(DamagedHistory::TooMany { what, found, most })
    }

    /// A text behind its length.
    fn text(&mut self) -> Result<&'a [u8], DamagedHistory> {
        let [length] = self.take()?;
        let (text, rest) = self.0.split_at_checked(length.into()).ok_or(DamagedHistory::CutOff)?;
        self.0 = rest;
        Ok(text)
    }

    /// For each series of the file, where it is in [`FIGURES`]; none when this service has no such
    /// series.
    fn figures(&mut self, count: usize) -> Result<Vec<Option<usize>>, DamagedHistory> {
        let mut figure = || {
            let name = self.text()?;
            Ok(FIGURES.iter().position(|figure| figure.name.as_bytes() == name))
        };
        (0..count).map(|_| figure()).collect()
    }

    fn second(&mut self, figures: &[Option<usize>]) -> Result<Second, DamagedHistory> {
        let time_unix_ms = self.take().map(u64::from_le_bytes)?;
        let mut values = [f32::NAN; COUNT];
        for figure in figures {
            let value = self.take().map(f32::from_le_bytes)?;
            if let Some(index) = *figure
                && value.is_finite()
            {
                values[index] = value;
            }
        }
        Ok(Second { time_unix_ms, sequence: 0, values })
    }

    fn minute(&mut self, figures: &[Option<usize>]) -> Result<Row, DamagedHistory> {
        let end_unix_ms = self.take().map(u64::from_le_bytes)?;
        let mut values = [Summary::default(); COUNT];
        for figure in figures {
            let mut value = || self.take().map(f32::from_le_bytes);
            let [minimum, mean, maximum] = [value()?, value()?, value()?];
            let count = self.number()?;
            if let Some(index) = *figure
                && [minimum, mean, maximum].into_iter().all(f32::is_finite)
            {
                values[index] = Summary { minimum, mean, maximum, count };
            }
        }
        Ok(Row { end_unix_ms, values })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    /// A moment at which a minute begins.
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

    /// The bytes with the checksum that they should have.
    fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    fn unsealed(history: &History) -> Vec<u8> {
        let mut bytes = to_bytes(history);
        bytes.truncate(bytes.len() - 4);
        bytes
    }

    /// A file of these series without any rows but those that follow.
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

    fn error(bytes: &[u8]) -> DamagedHistory {
        from_bytes(bytes).unwrap_err()
    }

    #[test]
    fn what_was_saved_is_there_after_loading_and_goes_on() {
        let before = seconds(150);
        let mut after = from_bytes(&to_bytes(&before)).unwrap();
        for (seconds, step) in [(600, 1), (600, 10), (86_400, 60)] {
            let saved = before.rows(seconds, step);
            let loaded = after.rows(seconds, step);
            assert_eq!((loaded.instance.as_str(), loaded.sequence), ("", 0));
            assert_eq!(after.version_before(), Some(BUILD.version));
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
    fn after_a_long_pause_the_loaded_samples_are_not_the_last_ten_minutes() {
        let mut history = from_bytes(&to_bytes(&seconds(150))).unwrap();
        history.push(&sample(1, START + 7_200_000, Some(1.0)));
        assert_eq!(history.rows(600, 1).time_unix_ms, [START + 7_200_000]);
        assert!(history.before(1).time_unix_ms.is_empty());
        assert_eq!(history.rows(86_400, 60).time_unix_ms.len(), 4);
    }

    #[test]
    fn loaded_rows_of_the_future_are_dropped_by_the_first_sample() {
        let mut history = from_bytes(&to_bytes(&seconds(150))).unwrap();
        history.push(&sample(1, START + 500, Some(1.0)));
        assert_eq!(history.rows(86_400, 60).time_unix_ms, [START + 500]);
        assert_eq!(history.rows(600, 1).time_unix_ms, [START + 500]);
    }

    #[test]
    fn an_empty_history_is_a_file_too() {
        let loaded = from_bytes(&to_bytes(&History::new())).unwrap();
        assert!(loaded.rows(86_400, 60).time_unix_ms.is_empty());
    }

    #[test]
    fn the_fullest_history_is_a_file_of_the_announced_length_and_reserves_no_more_memory() {
        let mut history = seconds(0);
        for number in 1..3000 {
            history.push(&sample(number, START + number * 60_000, Some(1.0)));
        }
        let bytes = to_bytes(&history);
        assert_eq!(bytes.capacity(), bytes.len());
        assert!(bytes.len() < BYTES_MOST, "{}", bytes.len());
        let loaded = from_bytes(&bytes).unwrap();
        assert_eq!(loaded.rows(86_400, 60).time_unix_ms.len(), 1440);
        assert_eq!(loaded.seconds.capacity(), history.seconds.capacity());
        assert_eq!(loaded.minutes.capacity(), history.minutes.capacity());
    }

    #[test]
    fn series_go_by_name_and_unknown_ones_are_left_out() {
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
    fn values_that_are_no_number_are_not_known() {
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
    fn what_is_wrong_is_said() {
        assert_eq!(error(b""), DamagedHistory::NotHistory);
        assert_eq!(error(b"#!/bin/sh\n"), DamagedHistory::NotHistory);
        assert_eq!(error(&MAGIC), DamagedHistory::CutOff);
        assert_eq!(error(&vec![0; BYTES_MOST + 1]), DamagedHistory::TooLong);
        let mut bytes = to_bytes(&History::new());
        bytes[8] = 3;
        assert_eq!(error(&bytes), DamagedHistory::Format(3));
        let many = DamagedHistory::TooMany { what: "samples", found: u32::MAX, most: SECOND_ROWS };
        assert_eq!(error(&sealed(beginning(&["cpu"], u32::MAX, 0))), many);
        let length = DamagedHistory::Length { found: 0, expected: 12 };
        assert_eq!(error(&sealed(beginning(&["cpu"], 1, 0))), length);
        let mut bytes = beginning(&[], 0, 0);
        bytes.extend([0]);
        assert_eq!(error(&sealed(bytes)), DamagedHistory::Length { found: 1, expected: 0 });
        let mut bytes = beginning(&["cpu"], 0, 0);
        bytes.pop();
        assert_eq!(error(&sealed(bytes)), DamagedHistory::CutOff);
    }

    #[test]
    fn rows_out_of_order_and_minutes_that_are_none_are_damage() {
        let times = |seconds: &[u64], minutes: &[u64]| {
            let length = |rows: &[u64]| u32::try_from(rows.len()).unwrap();
            let mut bytes = beginning(&[], length(seconds), length(minutes));
            seconds.iter().chain(minutes).for_each(|time| bytes.extend(time.to_le_bytes()));
            from_bytes(&sealed(bytes)).map(drop)
        };
        assert_eq!(times(&[1, 2], &[60_000]), Ok(()));
        assert_eq!(times(&[0], &[60_000]), Ok(()));
        assert_eq!(times(&[u64::MAX], &[u64::MAX]), Ok(()));
        let order = |what, row| Err(DamagedHistory::Order { what, row });
        assert_eq!(times(&[2, 2], &[60_000]), order("samples", 1));
        assert_eq!(times(&[1], &[120_000, 60_000]), order("minutes", 1));
        assert_eq!(times(&[1], &[60_001]), Err(DamagedHistory::PartOfMinute { row: 0 }));
        assert_eq!(times(&[1], &[60_000, 120_000]), Err(DamagedHistory::Newest));
        assert_eq!(times(&[], &[60_000]), Err(DamagedHistory::Newest));
        assert_eq!(times(&[1], &[]), Err(DamagedHistory::Newest));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
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
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = from_bytes(&bytes);
            let mut announced = MAGIC.to_vec();
            announced.extend(FORMAT.to_le_bytes());
            announced.extend(bytes);
            let _ = from_bytes(&sealed(announced));
        }

        #[test]
        fn a_file_that_was_made_up_is_refused_or_is_a_history_like_any_other(
            changes in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..4),
            time in any::<u64>(),
        ) {
            let mut bytes = unsealed(&seconds(70));
            for (index, byte) in changes {
                // Behind the magic, the format and the counts, which would be refused at once.
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
}
