//! File format of the history. Pure.
//!
//! All numbers are little-endian:
//!
//! | content | bytes |
//! | --- | --- |
//! | `statshis` | 8 |
//! | version of the format: 2 | 4 |
//! | version of the service: length and text; not in format 1 | 1 and the length |
//! | number of series, of samples and of minutes | 3 times 4 |
//! | name of each series: length and text | 1 and the length |
//! | each sample: milliseconds since 1970, one value per series | 8 and 4 each |
//! | each minute: its end; minimum, mean, maximum and count per series | 8 and 16 each |
//! | CRC-32 (as in zlib) of all preceding bytes | 4 |
//!
//! Values are assigned by the names of their series, so a service with more, fewer or reordered
//! series loads the ones that it has. The newest minute contains the newest sample.

use super::metrics::{COUNT, METRICS};
use super::{History, MINUTE_MS, MINUTE_ROWS, Row, SECOND_ROWS, Second, Summary, end_of_row};
use crate::BUILD;

const MAGIC: [u8; 8] = *b"statshis";

const FORMAT: u32 = 2;

/// Format without the version of the service.
const WITHOUT_VERSION: u32 = 1;

/// Maximum number of series in a file, with room for later versions.
const MAX_SERIES: usize = 64;

const SUMMARY_BYTES: usize = 16;

/// Maximum length of a file.
pub(crate) const MAX_FILE_BYTES: usize = MAGIC.len()
    + 5 * size_of::<u32>()
    + 1
    + u8::MAX as usize
    + MAX_SERIES * (1 + u8::MAX as usize)
    + SECOND_ROWS * second_bytes(MAX_SERIES)
    + MINUTE_ROWS * minute_bytes(MAX_SERIES);

/// Fault in a history file.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum HistoryFileError {
    #[error("it does not begin as a history does")]
    NotHistory,
    #[error("its format is {0}, only {WITHOUT_VERSION} and {FORMAT} are known")]
    Format(u32),
    #[error("it has more than {MAX_FILE_BYTES} bytes")]
    TooLong,
    #[error("it ends too early")]
    Truncated,
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

/// Serializes the history.
pub(crate) fn to_bytes(history: &History) -> Vec<u8> {
    let names: usize = METRICS.iter().map(|metric| 1 + metric.name.len()).sum();
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
    for metric in METRICS {
        bytes.push(u8::try_from(metric.name.len()).unwrap_or(u8::MAX));
        bytes.extend(metric.name.as_bytes());
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

/// Parses a history file. The file does not contain the instance that took the samples.
///
/// # Errors
///
/// Returns an error if the bytes are not the exact output of [`to_bytes`] in some version of the
/// service.
pub(crate) fn from_bytes(bytes: &[u8]) -> Result<History, HistoryFileError> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(HistoryFileError::TooLong);
    }
    let mut reader = Reader(bytes);
    if reader.take() != Ok(MAGIC) {
        return Err(HistoryFileError::NotHistory);
    }
    let has_version = match reader.number()? {
        FORMAT => true,
        WITHOUT_VERSION => false,
        other => return Err(HistoryFileError::Format(other)),
    };
    reader.verify_checksum(bytes)?;
    let version = if has_version { Some(reader.text()?) } else { None };
    let series = reader.count("series", MAX_SERIES)?;
    let seconds = reader.count("samples", SECOND_ROWS)?;
    let minutes = reader.count("minutes", MINUTE_ROWS)?;
    let metrics = reader.metrics(series)?;
    let expected = seconds * second_bytes(series) + minutes * minute_bytes(series);
    if reader.0.len() != expected {
        return Err(HistoryFileError::Length { found: reader.0.len(), expected });
    }
    let mut history = History::new();
    history.previous_version = version.map(|version| String::from_utf8_lossy(version).into_owned());
    for row in 0..seconds {
        let second = reader.second(&metrics)?;
        if history.seconds.back().is_some_and(|last| last.time_unix_ms >= second.time_unix_ms) {
            return Err(HistoryFileError::Order { what: "samples", row });
        }
        history.seconds.push_back(second);
    }
    for row in 0..minutes {
        let minute = reader.minute(&metrics)?;
        if history.minutes.back().is_some_and(|last| last.end_unix_ms >= minute.end_unix_ms) {
            return Err(HistoryFileError::Order { what: "minutes", row });
        }
        if end_of_row(minute.end_unix_ms, MINUTE_MS) != minute.end_unix_ms {
            return Err(HistoryFileError::PartOfMinute { row });
        }
        history.minutes.push_back(minute);
    }
    let newest = history.seconds.back().map(|row| end_of_row(row.time_unix_ms, MINUTE_MS));
    if newest != history.minutes.back().map(|row| row.end_unix_ms) {
        return Err(HistoryFileError::Newest);
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

/// Remaining bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], HistoryFileError> {
        let (first, rest) = self.0.split_first_chunk().ok_or(HistoryFileError::Truncated)?;
        self.0 = rest;
        Ok(*first)
    }

    fn number(&mut self) -> Result<u32, HistoryFileError> {
        self.take().map(u32::from_le_bytes)
    }

    /// Checks the checksum in the last four bytes against the rest of `whole`, and removes it.
    fn verify_checksum(&mut self, whole: &[u8]) -> Result<(), HistoryFileError> {
        let (rest, found) = self.0.split_last_chunk().ok_or(HistoryFileError::Truncated)?;
        let found = u32::from_le_bytes(*found);
        let computed = crc32fast::hash(&whole[..whole.len() - size_of::<u32>()]);
        if found != computed {
            return Err(HistoryFileError::Checksum { found, computed });
        }
        self.0 = rest;
        Ok(())
    }

    fn count(&mut self, what: &'static str, most: usize) -> Result<usize, HistoryFileError> {
        let found = self.number()?;
        let count = usize::try_from(found).ok().filter(|count| *count <= most);
        count.ok_or(HistoryFileError::TooMany { what, found, most })
    }

    /// Reads a text and its length prefix.
    fn text(&mut self) -> Result<&'a [u8], HistoryFileError> {
        let [length] = self.take()?;
        let (text, rest) =
            self.0.split_at_checked(length.into()).ok_or(HistoryFileError::Truncated)?;
        self.0 = rest;
        Ok(text)
    }

    /// Index in [`METRICS`] for each series of the file; `None` if this service does not have the
    /// series.
    fn metrics(&mut self, count: usize) -> Result<Vec<Option<usize>>, HistoryFileError> {
        let mut metric = || {
            let name = self.text()?;
            Ok(METRICS.iter().position(|metric| metric.name.as_bytes() == name))
        };
        (0..count).map(|_| metric()).collect()
    }

    fn second(&mut self, metrics: &[Option<usize>]) -> Result<Second, HistoryFileError> {
        let time_unix_ms = self.take().map(u64::from_le_bytes)?;
        let mut values = [f32::NAN; COUNT];
        for metric in metrics {
            let value = self.take().map(f32::from_le_bytes)?;
            if let Some(index) = *metric
                && value.is_finite()
            {
                values[index] = value;
            }
        }
        Ok(Second { time_unix_ms, sequence: 0, values })
    }

    fn minute(&mut self, metrics: &[Option<usize>]) -> Result<Row, HistoryFileError> {
        let end_unix_ms = self.take().map(u64::from_le_bytes)?;
        let mut values = [Summary::default(); COUNT];
        for metric in metrics {
            let mut value = || self.take().map(f32::from_le_bytes);
            let [minimum, mean, maximum] = [value()?, value()?, value()?];
            let count = self.number()?;
            if let Some(index) = *metric
                && [minimum, mean, maximum].into_iter().all(f32::is_finite)
            {
                values[index] = Summary { minimum, mean, maximum, count };
            }
        }
        Ok(Row { end_unix_ms, values })
    }
}

#[cfg(test)]
mod tests;
