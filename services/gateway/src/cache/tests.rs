//! Tests of the whole cache: reuse, storage, coalescing and memory.

mod bounds;
mod coalescing;
mod reuse;
mod revalidation;
mod stale;

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};

use super::cache_status::Forwarded;
use super::freshness::Refusal;
use super::*;
use crate::fields::Fields;

/// A lifetime of ten seconds.
const TEN: &str = "cache-control: max-age=10";

/// A cache with a manual clock.
struct World {
    cache: Cache,
    start: Instant,
    seconds: u64,
}

impl World {
    fn new() -> Self {
        Self::with(&CacheSettings::default())
    }

    fn with(settings: &CacheSettings) -> Self {
        Self { cache: Cache::new(settings), start: Instant::now(), seconds: 0 }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_secs(self.seconds)
    }

    fn moment(&self) -> Moment {
        moment(self.now())
    }

    fn lookup(&self, method: &Method, target: &str, lines: &[&str]) -> Lookup {
        let headers = Fields::of_lines(lines);
        let epoch = self.cache.epoch();
        let request = CacheRequest { method, site: "http://a", target, epoch, headers: &headers };
        self.cache.try_lookup(&request, self.now(), None)
    }

    fn get(&self, target: &str, lines: &[&str]) -> Lookup {
        self.lookup(&Method::GET, target, lines)
    }

    fn fill(&self, target: &str, lines: &[&str]) -> Box<Fill> {
        expect_fill(self.get(target, lines))
    }

    fn hit(&self, target: &str, lines: &[&str]) -> CachedResponse {
        answer(self.get(target, lines))
    }

    /// Sends a request that gets a response of 200; returns whether it is stored.
    fn fetch(&self, target: &str, request: &[&str], response: &[&str], body: &str) -> bool {
        let mut fill = self.fill(target, request);
        let decision = self.respond(&mut fill, 200, response, body.len());
        drop(fill.body(body.as_bytes(), self.now()));
        let stored = fill.complete(self.now());
        assert!(!stored || matches!(decision, FillDecision::Storing), "{decision:?}");
        self.check();
        stored
    }

    fn respond(&self, fill: &mut Fill, status: u16, lines: &[&str], length: usize) -> FillDecision {
        let mut headers = Fields::of_lines(lines);
        headers.insert(http::header::CONTENT_LENGTH, length.into());
        fill.response(StatusCode::from_u16(status).unwrap(), &headers, self.moment())
    }

    /// The counted bytes equal the stored bytes while no response is in transfer.
    fn check(&self) {
        let inner = &self.cache.0;
        let permits: usize = inner.shards.iter().map(|part| read(&part.0).permit_bytes()).sum();
        self.check_bounds();
        if inner.transfer_memory.taken() == 0 {
            assert_eq!(permits, inner.memory.taken());
        }
    }

    /// All stored bytes are counted. A response in transfer without a body has reserved bytes for
    /// its head only.
    fn check_bounds(&self) {
        let inner = &self.cache.0;
        let permits: usize = inner.shards.iter().map(|part| read(&part.0).permit_bytes()).sum();
        let in_transfer = inner.transfer_memory.taken();
        let taken = inner.memory.taken();
        assert!(taken <= inner.memory.bytes());
        assert!(permits + in_transfer <= taken, "{permits} + {in_transfer} > {taken}");
    }

    /// Number of records, queue places and fetches.
    fn lengths(&self) -> (usize, usize, usize) {
        self.cache.0.shards.iter().fold((0, 0, 0), |sum, part| {
            let part = read(&part.0).lengths();
            (sum.0 + part.0, sum.1 + part.1, sum.2 + part.2)
        })
    }
}

fn moment(instant: Instant) -> Moment {
    Moment { instant, unix: SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777) }
}

fn expect_fill(lookup: Lookup) -> Box<Fill> {
    match lookup {
        Lookup::Fill(fill) | Lookup::Stale(_, fill) => fill,
        other => panic!("nothing to fill: {other:?}"),
    }
}

fn answer(lookup: Lookup) -> CachedResponse {
    match lookup {
        Lookup::Hit(answer) => answer,
        other => panic!("no hit: {other:?}"),
    }
}

fn reason(lookup: Lookup) -> Reason {
    match lookup {
        Lookup::Pass(pass) => pass.reason,
        other => panic!("does not pass: {other:?}"),
    }
}

fn head(answer: &CachedResponse) -> String {
    let mut head = Vec::new();
    answer.write_head(&mut head);
    String::from_utf8(head).unwrap()
}

/// The value of a field of the head.
fn field(answer: &CachedResponse, name: &str) -> Option<String> {
    let head = head(answer);
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
    lines.find(|(field, _)| *field == name).map(|(_, value)| value.to_owned())
}
