//! Counters of the cache since its creation.

use crate::lock::Aligned;
use crate::telemetry::counters::Counter;
use crate::transport::workers;

/// Number of hit counters on separate cache lines; threads beyond that number share one.
const STRIPES: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Counters {
    hits: [Aligned<Counter>; STRIPES],
    /// Requests forwarded to the upstream whose response could have been stored.
    pub(crate) misses: Counter,
    /// Requests that bypassed the cache.
    pub(crate) passes: Counter,
    /// Number of times that a request began to wait for another request's fetch.
    pub(crate) waits: Counter,
    /// Requests whose wait timed out.
    pub(crate) waited_too_long: Counter,
    /// Requests that waited and were served from the cache.
    pub(crate) collapsed: Counter,
    /// Stale responses served where the upstream allows it.
    pub(crate) stale: Counter,
    /// Stale responses that the upstream revalidated with 304.
    pub(crate) revalidated: Counter,
    /// Responses stored.
    pub(crate) stored: Counter,
    /// Upstream responses not stored.
    pub(crate) refused: Counter,
    /// Targets evicted with all their responses.
    pub(crate) evicted: Counter,
}

impl Counters {
    pub(super) fn add_hit(&self) {
        self.hits[workers::number() % STRIPES].0.add();
    }

    /// Requests served from the cache, those included that waited for another request's fetch.
    pub(crate) fn hits(&self) -> u64 {
        self.hits.iter().map(|stripe| stripe.0.get()).sum()
    }
}
