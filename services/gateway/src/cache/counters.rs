//! Counters of the cache since its creation.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Number of hit counters on separate cache lines; threads beyond that number share one.
const STRIPES: usize = 16;

/// Live counters.
#[derive(Debug, Default)]
pub(super) struct Counters {
    hits: [Stripe; STRIPES],
    pub(super) misses: Count,
    pub(super) passes: Count,
    pub(super) waits: Count,
    pub(super) waited_too_long: Count,
    pub(super) collapsed: Count,
    pub(super) stale: Count,
    pub(super) revalidated: Count,
    pub(super) stored: Count,
    pub(super) refused: Count,
    pub(super) evicted: Count,
}

/// Counters since the cache's creation, and its current size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Requests served from the cache, those included that waited for another request's fetch.
    pub(crate) hits: u64,
    /// Requests forwarded to the upstream whose response could have been stored.
    pub(crate) misses: u64,
    /// Requests that bypassed the cache.
    pub(crate) passes: u64,
    /// Number of times that a request began to wait for another request's fetch.
    pub(crate) waits: u64,
    /// Requests whose wait timed out.
    pub(crate) waited_too_long: u64,
    /// Requests that waited and were served from the cache.
    pub(crate) collapsed: u64,
    /// Stale responses served where the upstream allows it.
    pub(crate) stale: u64,
    /// Stale responses that the upstream revalidated with 304.
    pub(crate) revalidated: u64,
    /// Responses stored.
    pub(crate) stored: u64,
    /// Upstream responses not stored.
    pub(crate) refused: u64,
    /// Targets evicted with all their responses.
    pub(crate) evicted: u64,
    /// Bytes in use, responses in transfer included.
    pub(crate) bytes: usize,
    /// Maximum bytes.
    pub(crate) max_bytes: usize,
    /// Stored responses.
    pub(crate) entries: usize,
}

/// One counter.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A counter that shares neither its cache line nor the adjacent line, which processors prefetch.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe(Count);

impl Counters {
    pub(super) fn add_hit(&self) {
        if let Some(stripe) = self.hits.get(stripe()) {
            stripe.0.add();
        }
    }

    pub(super) fn snapshot(&self, bytes: usize, max_bytes: usize, entries: usize) -> Snapshot {
        Snapshot {
            hits: self.hits.iter().map(|stripe| stripe.0.get()).sum(),
            misses: self.misses.get(),
            passes: self.passes.get(),
            waits: self.waits.get(),
            waited_too_long: self.waited_too_long.get(),
            collapsed: self.collapsed.get(),
            stale: self.stale.get(),
            revalidated: self.revalidated.get(),
            stored: self.stored.get(),
            refused: self.refused.get(),
            evicted: self.evicted.get(),
            bytes,
            max_bytes,
            entries,
        }
    }
}

/// This thread's counter.
fn stripe() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static STRIPE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % STRIPES;
    }
    STRIPE.with(|stripe| *stripe)
}
