//! Counters of requests by route, and of the process.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper ends of the buckets of durations, microseconds: from an answer out of memory to the time
/// after which clients give up.
pub(crate) const BUCKETS_US: [u64; 11] =
    [100, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 250_000, 1_000_000, 10_000_000];

/// A number that many threads count up.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less, where it counts what is there now.
    pub(crate) fn remove(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn add_many(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What became of the requests of a route.
#[derive(Debug, Default)]
pub(crate) struct RouteMetrics {
    /// By the first digit of the status; 0 for those whose client left before there was one.
    pub(crate) classes: [Counter; 6],
    pub(crate) buckets: [Counter; BUCKETS_US.len() + 1],
    pub(crate) microseconds: Counter,
    pub(crate) sent_bytes: Counter,
    /// Event streams and upgraded connections that are open.
    pub(crate) streams: Counter,
    /// Tries at an address that failed.
    pub(crate) upstream_failures: Counter,
}

impl RouteMetrics {
    /// Counts a request that has ended; its duration is absent where it could not be read.
    pub(crate) fn ended(&self, status: u16, took: Option<Duration>, sent_bytes: u64) {
        if let Some(class) = self.classes.get(usize::from(status / 100)) {
            class.add();
        }
        self.sent_bytes.add_many(sent_bytes);
        let Some(took) = took else { return };
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.partition_point(|&end| end < took);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.add();
        }
        self.microseconds.add_many(took);
    }
}

/// What is counted for the whole process.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Client connections that are open.
    pub(crate) connections: Counter,
    /// Client connections so far.
    pub(crate) accepted: Counter,
    /// Connections refused because their client had too many.
    pub(crate) over_connections: Counter,
    /// Requests rejected by the rate limit of their client.
    pub(crate) over_rate: Counter,
    /// Event streams refused because their client has too many.
    pub(crate) over_streams: Counter,
    /// Requests refused by address, host or secret.
    pub(crate) denied: Counter,
    /// Requests that could not be read beyond doubt, or came too slowly.
    pub(crate) malformed: Counter,
    /// Announcements of fleet members, and their withdrawals.
    pub(crate) announced: Counter,
    /// Those that were rejected.
    pub(crate) unannounced: Counter,
    /// Lines of the access log that could not be written in time.
    pub(crate) unlogged: Counter,
    /// The gateway's own answers, by the first digit of the status.
    pub(crate) own: RouteMetrics,
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn durations_fall_into_the_bucket_that_ends_behind_them() {
        let metrics = RouteMetrics::default();
        for micros in [0, 100, 101, 10_000_001] {
            metrics.ended(200, Some(Duration::from_micros(micros)), 10);
        }
        let counts: Vec<_> = metrics.buckets.iter().map(Counter::get).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!((metrics.classes[2].get(), metrics.sent_bytes.get()), (4, 40));
    }
}
