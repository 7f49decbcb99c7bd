//! Access log: one JSON line per request, written by a dedicated thread, so that no request waits
//! for a slow disk or reader. Lines that cannot be written in time are counted and dropped. The
//! thread writes the lines of events as well, in the same order.

use std::cell::Cell;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use crate::digits::{padded, push_decimal, push_ip, push_socket};
use crate::lock::lock;
use crate::telemetry::counters::Counter;

/// Maximum bytes of buffered lines: about twenty thousand lines, half a second at the peak rate of
/// a machine.
const WAITING_BYTES: usize = 8 << 20;

/// Time during which lines are collected after the first one: waking the thread for each line would
/// cost more than the rest of the log.
const BATCH_TIME: Duration = Duration::from_millis(20);

/// Time without a line after which the buffers are released.
const QUIET_TIME: Duration = Duration::from_secs(1);

/// Access log of the process; lines are dropped before it is opened.
static ACCESS_LOG: OnceLock<AccessLog> = OnceLock::new();

struct AccessLog {
    lines: Mutex<Lines>,
    /// Signals the first line after an empty buffer, or the end of the log.
    changed: Condvar,
    /// Requests are logged.
    has_requests: bool,
    /// JSON format; otherwise text for a terminal.
    json: bool,
    percent: u8,
    turn: AtomicU32,
    /// Lines that were dropped, of requests and of events.
    unlogged: Counter,
}

#[derive(Default)]
struct Lines {
    waiting: Vec<u8>,
    is_closed: bool,
    /// The writer has written everything and stopped.
    is_stopped: bool,
}

/// Log entry of one request.
pub(crate) struct Entry<'a> {
    /// Method; empty, like the path, if the request is malformed.
    pub(crate) method: &'a str,
    /// Path without the query, which may contain secrets.
    pub(crate) path: &'a [u8],
    /// Status of the response; 0 if the client disconnected before it.
    pub(crate) status: u16,
    /// Duration of the request, if known.
    pub(crate) took: Option<Duration>,
    /// Size of the response body in bytes.
    pub(crate) sent_bytes: u64,
    /// Client address.
    pub(crate) client: IpAddr,
    /// Request id.
    pub(crate) request_id: &'a str,
    /// Trace id.
    pub(crate) trace_id: &'a str,
    /// Route, or empty.
    pub(crate) route: &'a str,
    /// Address of the upstream that was used last.
    pub(crate) upstream: Option<SocketAddr>,
    /// Cache status.
    pub(crate) cache: &'a str,
    /// Error message.
    pub(crate) error: Option<&'a str>,
}

/// The open log, which closes on drop.
#[must_use = "the log closes when this is dropped"]
pub(crate) struct Guard;

/// Starts the log; `percent` is the share of successful requests in it.
pub(crate) fn open(json: bool, percent: u8) -> Guard {
    let has_requests = tracing::enabled!(target: "access", tracing::Level::INFO);
    // A second call in one process keeps the first log.
    let access_log = ACCESS_LOG.get_or_init(|| AccessLog::new(has_requests, json, percent));
    let writer = std::thread::Builder::new().name("journal".to_owned());
    match writer.spawn(|| access_log.write_all()) {
        Ok(_) => service::redirect_logs(queue),
        Err(error) => {
            tracing::error!(%error, "access log unavailable");
            access_log.lock().is_stopped = true;
        }
    }
    Guard
}

impl Drop for Guard {
    /// Flushes the log within a second: a reader that has stopped must not delay the exit.
    fn drop(&mut self) {
        let Some(access_log) = ACCESS_LOG.get() else { return };
        let mut lines = access_log.lock();
        lines.is_closed = true;
        access_log.changed.notify_all();
        // Poisoned or timed out: the process ends in any case.
        drop(
            access_log
                .changed
                .wait_timeout_while(lines, Duration::from_secs(1), |lines| !lines.is_stopped),
        );
    }
}

/// Queues the line of an event; false after the end of the log.
fn queue(line: &[u8]) -> bool {
    ACCESS_LOG.get().is_some_and(|access_log| access_log.push(line))
}

/// Number of lines that were dropped.
pub(crate) fn unlogged() -> u64 {
    ACCESS_LOG.get().map_or(0, |access_log| access_log.unlogged.get())
}

/// Whether a request is logged: failed ones always are.
pub(crate) fn should_log(failed: bool) -> bool {
    let Some(access_log) = ACCESS_LOG.get().filter(|it| it.has_requests) else { return false };
    if failed || access_log.percent >= 100 {
        return true;
    }
    // Distributes the sample evenly, independent of the order in which clients send.
    let turn = access_log.turn.fetch_add(1, Ordering::Relaxed) % 100;
    turn * 37 % 100 < u32::from(access_log.percent)
}

impl AccessLog {
    fn new(has_requests: bool, json: bool, percent: u8) -> Self {
        let (lines, changed, turn) = (Mutex::default(), Condvar::new(), AtomicU32::new(0));
        let unlogged = Counter::default();
        Self { lines, changed, has_requests, json, percent, turn, unlogged }
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        lock(&self.lines)
    }

    /// Queues a line for the writer, unless too many wait: then it is dropped. Returns false if the
    /// writer has stopped.
    fn push(&self, line: &[u8]) -> bool {
        let mut lines = self.lock();
        if lines.is_stopped {
            return false;
        }
        if lines.waiting.len() + line.len() > WAITING_BYTES {
            drop(lines);
            self.unlogged.add();
            return true;
        }
        let is_first = lines.waiting.is_empty();
        lines.waiting.extend_from_slice(line);
        drop(lines);
        if is_first {
            self.changed.notify_all();
        }
        true
    }

    /// Writes lines until the log is closed.
    fn write_all(&self) {
        let mut batch = Vec::new();
        let mut lines = self.lock();
        loop {
            std::mem::swap(&mut lines.waiting, &mut batch);
            if !batch.is_empty() {
                drop(lines);
                // A full disk or a closed pipe must not stop the service; the next batch tries
                // again.
                let _ = std::io::stdout().lock().write_all(&batch);
                batch.clear();
                lines = self.lock();
                continue;
            }
            if lines.is_closed {
                break;
            }
            let is_idle = |lines: &mut Lines| lines.waiting.is_empty() && !lines.is_closed;
            let woken = self.changed.wait_timeout_while(lines, QUIET_TIME, is_idle);
            let (woken, quiet) = woken.unwrap_or_else(PoisonError::into_inner);
            lines = woken;
            if quiet.timed_out() {
                // Releases memory after a burst.
                (lines.waiting, batch) = (Vec::new(), Vec::new());
                let woken = self.changed.wait_while(lines, is_idle);
                lines = woken.unwrap_or_else(PoisonError::into_inner);
            }
            if !lines.is_closed {
                drop(lines);
                std::thread::sleep(BATCH_TIME);
                lines = self.lock();
            }
        }
        lines.is_stopped = true;
        self.changed.notify_all();
    }
}

impl Entry<'_> {
    /// Queues the entry for the writer.
    pub(crate) fn write(&self) {
        let Some(access_log) = ACCESS_LOG.get() else { return };
        let now = SystemTime::now();
        let line = if access_log.json { self.json_line(now) } else { self.text_line(now) };
        if !access_log.push(&line) {
            access_log.unlogged.add();
        }
    }

    fn text_line(&self, now: SystemTime) -> Vec<u8> {
        let mut line = Vec::with_capacity(256);
        push_time(&mut line, now);
        // Writing to a Vec cannot fail, here and below.
        line.extend_from_slice(b"  INFO");
        if !self.method.is_empty() {
            let _ = write!(line, " {} {}", self.method, self.path.escape_ascii());
        }
        let _ = write!(line, " {}", self.status);
        if let Some(took) = self.took {
            let _ = write!(line, " {took:.1?}");
        }
        for (name, text) in [
            ("route", self.route),
            ("cache", self.cache),
            ("request_id", self.request_id),
            ("error", self.error.unwrap_or_default()),
        ] {
            if !text.is_empty() {
                let _ = write!(line, " {name}={text:?}");
            }
        }
        line.push(b'\n');
        line
    }

    fn json_line(&self, now: SystemTime) -> Vec<u8> {
        let mut line = Vec::with_capacity(640);
        line.extend_from_slice(b"{\"timestamp\":\"");
        push_time(&mut line, now);
        line.extend_from_slice(match self.status {
            500.. => b"\",\"level\":\"WARN\",\"message\":\"request\"",
            _ => b"\",\"level\":\"INFO\",\"message\":\"request\"",
        });
        if !self.method.is_empty() {
            push_text(&mut line, b",\"method\":\"", self.method.as_bytes());
            push_text(&mut line, b",\"path\":\"", self.path);
        }
        push_number(&mut line, b",\"status\":", self.status.into());
        if let Some(took) = self.took {
            let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            push_number(&mut line, b",\"duration_us\":", took);
        }
        push_number(&mut line, b",\"sent_bytes\":", self.sent_bytes);
        line.extend_from_slice(b",\"client\":\"");
        push_ip(&mut line, self.client);
        line.push(b'"');
        for (name, text) in [
            (&b",\"request_id\":\""[..], self.request_id),
            (b",\"trace_id\":\"", self.trace_id),
            (b",\"route\":\"", self.route),
            (b",\"cache\":\"", self.cache),
        ] {
            if !text.is_empty() {
                push_text(&mut line, name, text.as_bytes());
            }
        }
        if let Some(upstream) = self.upstream {
            line.extend_from_slice(b",\"upstream\":\"");
            push_socket(&mut line, upstream);
            line.push(b'"');
        }
        if let Some(error) = self.error {
            push_text(&mut line, b",\"error\":\"", error.as_bytes());
        }
        line.extend_from_slice(b",\"target\":\"access\"}\n");
        line
    }
}

fn push_number(line: &mut Vec<u8>, name: &[u8], number: u64) {
    line.extend_from_slice(name);
    push_decimal(line, number);
}

/// Appends a member of a JSON object; `name` includes its punctuation. The output is valid ASCII
/// JSON for any input.
fn push_text(line: &mut Vec<u8>, name: &[u8], text: &[u8]) {
    line.extend_from_slice(name);
    // No early exit, so that the compiler can vectorize the loop.
    if text.iter().fold(true, |plain, &byte| plain & is_plain(byte)) {
        line.extend_from_slice(text);
    } else {
        push_escaped(line, text);
    }
    line.push(b'"');
}

fn push_escaped(line: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        match byte {
            b'"' | b'\\' => line.extend_from_slice(&[b'\\', byte]),
            byte if is_plain(byte) => line.push(byte),
            byte => {
                // Writing to a Vec cannot fail.
                let _ = write!(line, "\\u{byte:04x}");
            }
        }
    }
}

/// Whether JSON needs no escape for the byte.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// Appends the time in RFC 3339 format in UTC with microseconds, as in the other log lines.
fn push_time(line: &mut Vec<u8>, now: SystemTime) {
    thread_local! {
        /// The last formatted second and its text: most lines have the same second.
        static SECOND: Cell<(u64, [u8; 20])> = const { Cell::new((0, *b"1970-01-01T00:00:00.")) };
    }
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (mut known, mut text) = SECOND.get();
    if known != since.as_secs() {
        known = since.as_secs();
        text = second(known);
        SECOND.set((known, text));
    }
    line.extend_from_slice(&text);
    line.extend_from_slice(&padded::<6>(since.subsec_micros().into()));
    line.push(b'Z');
}

/// Date and time of a second since 1970, up to and including the decimal point.
fn second(seconds: u64) -> [u8; 20] {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let mut text = *b"0000-00-00T00:00:00.";
    text[..4].copy_from_slice(&padded::<4>(year));
    let numbers = [month, day, second / 3_600, second / 60 % 60, second % 60];
    for (place, number) in [5, 8, 11, 14, 17].into_iter().zip(numbers) {
        text[place..place + 2].copy_from_slice(&padded::<2>(number));
    }
    text
}

/// Date of a day since 1970. The Gregorian calendar repeats every 400 years (146,097 days); the
/// year starts in March, so that the leap day is its last day.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (generation, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (generation * 400 + year + next, month, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &[u8]) -> Entry<'_> {
        Entry {
            method: "GET",
            path,
            status: 200,
            took: Some(Duration::from_micros(1_500)),
            sent_bytes: 7,
            client: [192, 0, 2, 1].into(),
            request_id: "id",
            trace_id: "",
            route: "/stats",
            upstream: Some(([127, 0, 0, 1], 8080).into()),
            cache: "hit",
            error: None,
        }
    }

    #[test]
    fn a_line_is_valid_json_for_any_content() {
        let line = entry(b"/a\"b\\c\n\xff").json_line(SystemTime::UNIX_EPOCH);
        assert!(line.is_ascii() && line.ends_with(b"\n"));
        let json: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(json["timestamp"], "1970-01-01T00:00:00.000000Z");
        assert_eq!(json["path"], "/a\"b\\c\n\u{ff}");
        assert_eq!((&json["status"], &json["duration_us"]), (&200.into(), &1_500.into()));
        assert_eq!(json["upstream"], "127.0.0.1:8080");
        assert!(json.get("trace_id").is_none() && json.get("error").is_none());
    }

    #[test]
    fn lines_beyond_the_limit_are_counted() {
        let access_log = AccessLog::new(true, true, 100);
        let line = vec![b'x'; WAITING_BYTES / 2];
        let counts = [0, 1, 2].map(|_| {
            assert!(access_log.push(&line));
            access_log.unlogged.get()
        });
        assert_eq!(counts, [0, 0, 1]);
        access_log.lock().is_stopped = true;
        assert!(!access_log.push(b"x"), "the caller writes it");
    }

    #[test]
    fn unknown_values_are_omitted() {
        let entry = Entry { method: "", took: None, ..entry(b"") };
        let json: serde_json::Value =
            serde_json::from_slice(&entry.json_line(SystemTime::UNIX_EPOCH)).unwrap();
        assert_eq!(json["status"], 200);
        for name in ["method", "path", "duration_us"] {
            assert!(json.get(name).is_none(), "{name}");
        }
        assert!(
            entry
                .text_line(SystemTime::UNIX_EPOCH)
                .starts_with(b"1970-01-01T00:00:00.000000Z  INFO 200 ")
        );
    }

    #[test]
    fn a_time_is_formatted_with_its_date() {
        for (micros, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_795_876_871_000_042, "2026-11-28T14:41:11.000042Z"),
            (1_795_876_871_999_999, "2026-11-28T14:41:11.999999Z"),
            (951_868_799_500_000, "2000-02-29T23:59:59.500000Z"),
        ] {
            let mut line = Vec::new();
            push_time(&mut line, SystemTime::UNIX_EPOCH + Duration::from_micros(micros));
            assert_eq!(String::from_utf8(line).unwrap(), expected);
        }
    }

    #[test]
    fn days_are_converted_to_dates() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(20_781), (2026, 11, 24));
        assert_eq!(date(47_540), (2100, 2, 28));
        assert_eq!(date(47_541), (2100, 3, 1));
    }
}
