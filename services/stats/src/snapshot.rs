//! A sample in its response forms, each created once and shared by all clients.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::{HeaderMap, HeaderValue};
use server::Chunk;

use crate::headers::fields_of_sample;
use crate::memory_budget::MemoryBudget;
use crate::metrics::{self, Format};
use crate::query::Span;
use crate::rates::Exposure;
use crate::reading::Reading;
use crate::{BUILD, summary};

/// One tick. Rarely requested forms (compressed, metrics, history) are created on first use, so a
/// service without clients does not spend time on them.
pub(crate) struct Snapshot {
    /// Metrics of the tick.
    pub(crate) sample: wire::Sample,
    /// The sample as JSON.
    pub(crate) json: Encoded,
    /// Sample as a server-sent event.
    pub(crate) event: Chunk,
    /// Entity tag of the sample. It is weak, because compressed forms have the same tag.
    pub(crate) etag: HeaderValue,
    /// Header fields of the sample's response.
    pub(crate) fields: HeaderMap,
    /// Processes that the OOM killer has killed since the start of the service.
    pub(crate) oom_kills: u64,
    reading: Arc<Reading>,
    exposed: Exposure,
    taken: Instant,
    text: OnceLock<String>,
    open_metrics: OnceLock<String>,
    history: OnceLock<Chunk>,
    summary: OnceLock<Chunk>,
    minute: OnceLock<Chunk>,
    responses: Mutex<Vec<(HistoryQuery, Arc<Encoded>)>>,
}

/// Query for past data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HistoryQuery {
    /// History rows.
    Rows(Span),
    /// Events of the last seconds.
    Events(u32),
    /// Top consumers of the last seconds.
    Top(u32),
}

/// Maximum number of history responses that are cached until the next sample. The page requests one
/// of three spans.
const CACHED_RESPONSES: usize = 6;

/// Bytes, and their compressed form if it is smaller.
#[derive(Default)]
pub(crate) struct Encoded {
    /// Uncompressed bytes.
    pub(crate) identity: Bytes,
    gzip: OnceLock<Option<Bytes>>,
    /// Budget that both forms count in.
    budget: Option<MemoryBudget>,
}

/// Larger responses use a faster compression level, because compression blocks all requests.
const LARGE_BYTES: usize = 64 * 1024;

/// Smaller responses fit into one packet without compression.
const MIN_GZIP_BYTES: usize = 1024;

impl Snapshot {
    pub(crate) fn new(
        sample: wire::Sample,
        reading: Arc<Reading>,
        exposed: Exposure,
    ) -> serde_json::Result<Self> {
        let json = serde_json::to_string(&sample)?;
        let id = event_id(&sample.instance, sample.sequence);
        // An instance has hexadecimal digits and an ECS task ID, so a tag can contain it. Otherwise
        // the tag is empty and matches no other, which is safe.
        let etag = HeaderValue::try_from(format!("W/\"{id}\""))
            .unwrap_or(HeaderValue::from_static("W/\"\""));
        Ok(Self {
            event: event("sample", &id, &json),
            json: json.into(),
            fields: fields_of_sample(etag.clone()),
            etag,
            oom_kills: 0,
            sample,
            reading,
            exposed,
            taken: Instant::now(),
            text: OnceLock::new(),
            open_metrics: OnceLock::new(),
            history: OnceLock::new(),
            summary: OnceLock::new(),
            minute: OnceLock::new(),
            responses: Mutex::default(),
        })
    }

    /// Age of the sample.
    pub(crate) fn age(&self) -> Duration {
        self.taken.elapsed()
    }

    /// Makes the sample older.
    #[cfg(test)]
    pub(crate) fn aged(mut self, by: Duration) -> Self {
        self.taken = self.taken.checked_sub(by).unwrap_or(self.taken);
        self
    }

    /// Whether the summary was created.
    #[cfg(test)]
    pub(crate) fn has_summary(&self) -> bool {
        self.summary.get().is_some()
    }

    /// Reading in a Prometheus format, without the end marker.
    pub(crate) fn metrics(&self, format: Format) -> &str {
        let form = match format {
            Format::Text => &self.text,
            Format::OpenMetrics => &self.open_metrics,
        };
        form.get_or_init(|| metrics::render(&self.reading, &self.sample, format, self.exposed))
    }

    /// Response about the past as JSON; `None` without memory for it. `json` is called once per
    /// query: a day has 800 kB, which take milliseconds to serialize and to compress.
    pub(crate) fn history_response(
        &self,
        query: HistoryQuery,
        budget: &MemoryBudget,
        json: impl FnOnce() -> serde_json::Result<String>,
    ) -> Option<Arc<Encoded>> {
        let mut cache = self.responses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, form)) = cache.iter().find(|(other, _)| *other == query) {
            return Some(form.clone());
        }
        if budget.is_scarce() {
            return None;
        }
        // Columns of numbers and names are always valid JSON.
        let form = Arc::new(Encoded::within(budget, json().unwrap_or_default())?);
        if cache.len() == CACHED_RESPONSES {
            cache.remove(0);
        }
        cache.push((query, form.clone()));
        Some(form)
    }

    /// Whether the service reports top consumers: processes, or the containers of a task.
    pub(crate) fn has_top(&self) -> bool {
        self.exposed.processes || self.sample.task.is_some()
    }

    /// Event with the history before this sample, at the beginning of a stream. `rows` is called
    /// once.
    pub(crate) fn history(&self, rows: impl FnOnce() -> wire::History) -> Chunk {
        let event_of_rows = || {
            let rows = rows();
            let id = event_id(&rows.instance, rows.sequence);
            // Columns of numbers and names are always valid JSON.
            event("history", &id, &serde_json::to_string(&rows).unwrap_or_default())
        };
        self.history.get_or_init(event_of_rows).clone()
    }

    /// Summary as an event of the summary view, created when the view has a viewer.
    pub(crate) fn summary(&self) -> Chunk {
        let event_of_summary = || {
            let summary = summary::summary(&self.sample, BUILD.version);
            // Numbers and texts are always valid JSON.
            let json = serde_json::to_string(&summary).unwrap_or_default();
            let id = self.sample.sequence;
            Chunk::new(format!("event: summary\nid: {id}\ndata: {json}\n\n").as_bytes())
        };
        self.summary.get_or_init(event_of_summary).clone()
    }

    /// First event of the summary view: the minute before this sample. `minute` is called once.
    pub(crate) fn minute(&self, minute: impl FnOnce() -> wire::Minute) -> Chunk {
        let event_of_minute = || {
            let json = serde_json::to_string(&minute()).unwrap_or_default();
            Chunk::new(format!("event: minute\ndata: {json}\n\n").as_bytes())
        };
        self.minute.get_or_init(event_of_minute).clone()
    }
}

impl Encoded {
    /// Text that counts in a budget; `None` if it is exhausted.
    pub(crate) fn within(budget: &MemoryBudget, text: String) -> Option<Self> {
        let identity = budget.hold(text.into_bytes())?;
        Some(Self { identity, gzip: OnceLock::new(), budget: Some(budget.clone()) })
    }

    /// Compressed form; `None` if it would not be smaller, or without memory for it.
    pub(crate) fn gzip(&self) -> Option<&Bytes> {
        let compress = || {
            if self.identity.len() < MIN_GZIP_BYTES {
                return None;
            }
            let level = if self.identity.len() > LARGE_BYTES {
                Compression::fast()
            } else {
                Compression::default()
            };
            let mut encoder = GzEncoder::new(Vec::new(), level);
            // Writing to memory cannot fail.
            encoder.write_all(&self.identity).ok()?;
            let bytes = encoder.finish().ok()?;
            if bytes.len() >= self.identity.len() {
                return None;
            }
            match &self.budget {
                Some(budget) => budget.hold(bytes),
                None => Some(bytes.into()),
            }
        };
        self.gzip.get_or_init(compress).as_ref()
    }
}

impl<T: Into<Bytes>> From<T> for Encoded {
    fn from(bytes: T) -> Self {
        Self { identity: bytes.into(), gzip: OnceLock::new(), budget: None }
    }
}

/// Identifier of a sample across all instances, for `Last-Event-ID` and entity tags.
pub(crate) fn event_id(instance: &str, sequence: u64) -> String {
    format!("{instance}-{sequence}")
}

/// Splits an [`event_id`] into its parts.
pub(crate) fn parse_event_id(id: &str) -> Option<(&str, u64)> {
    let (instance, sequence) = id.rsplit_once('-')?;
    Some((instance, sequence.parse().ok()?))
}

/// A server-sent event (WHATWG HTML, section 9.2) with one line of data.
fn event(name: &str, id: &str, data: &str) -> Chunk {
    let mut event = String::with_capacity(data.len() + 96);
    // Writing to a string cannot fail.
    let _ = write!(event, "id: {id}\nevent: {name}\ndata: {data}\n\n");
    Chunk::new(event.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_data_and_ends_with_an_empty_line() {
        let sample = wire::Sample {
            cpu: Some(1.0),
            instance: "a".to_owned(),
            sequence: 7,
            ..wire::Sample::default()
        };
        let snapshot = Snapshot::new(sample, Arc::default(), Exposure::default()).unwrap();
        let json = std::str::from_utf8(&snapshot.json.identity).unwrap();
        assert_eq!(snapshot.event.text(), format!("id: a-7\nevent: sample\ndata: {json}\n\n"));
        assert_eq!(snapshot.etag, "W/\"a-7\"");
        assert!(!json.contains('\n'));
    }

    #[test]
    fn an_id_is_parsed_for_every_instance_name() {
        let id = event_id("0123-abc", 7);
        assert_eq!(parse_event_id(&id), Some(("0123-abc", 7)));
        for foreign in ["", "7", "a-", "a-b", "a--1"] {
            assert!(parse_event_id(foreign).is_none_or(|(_, n)| n == 1), "{foreign}");
        }
    }

    #[test]
    fn each_span_is_created_once_and_few_are_cached() {
        let snapshot =
            Snapshot::new(wire::Sample::default(), Arc::default(), Exposure::default()).unwrap();
        let mut calls = 0;
        for seconds in [1, 2, 1, 2, 3, 4, 4, 5, 6, 7, 1] {
            let json = || {
                calls += 1;
                let rows = wire::History { step_seconds: seconds, ..wire::History::default() };
                serde_json::to_string(&rows)
            };
            let query = HistoryQuery::Rows(Span { seconds, step: 1 });
            let form = snapshot.history_response(query, &MemoryBudget::default(), json).unwrap();
            let rows: wire::History = serde_json::from_slice(&form.identity).unwrap();
            assert_eq!(rows.step_seconds, seconds);
        }
        // The seventh span evicted the first one.
        assert_eq!(calls, 8);
    }

    #[test]
    fn the_past_leaves_memory_to_the_metrics() {
        let snapshot =
            Snapshot::new(wire::Sample::default(), Arc::default(), Exposure::default()).unwrap();
        let budget = MemoryBudget::default();
        let response = || budget.hold(vec![0; 1 << 20]);
        let held: Vec<_> = (0..10).map(|_| response().unwrap()).collect();
        let query = HistoryQuery::Rows(Span { seconds: 1, step: 1 });
        let past = snapshot.history_response(query, &budget, || panic!("it is not serialized"));
        assert!(past.is_none());
        assert!(response().is_some());
        drop(held);
        assert!(snapshot.history_response(query, &budget, || Ok(String::new())).is_some());
    }

    #[test]
    fn only_compressible_content_is_compressed() {
        assert_eq!(Encoded::from("short").gzip(), None);
        let long = Encoded::from("long ".repeat(1000));
        let gzip = long.gzip().unwrap();
        let mut text = String::new();
        let mut decoder = flate2::read::GzDecoder::new(&gzip[..]);
        std::io::Read::read_to_string(&mut decoder, &mut text).unwrap();
        assert_eq!(text.len(), 5000);
    }
}
