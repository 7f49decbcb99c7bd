//! What the cache did since it was made.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Threads that count hits beside each other without writing to the same line of the processors'
/// caches; more of them share.
const STRIPES: usize = 16;

/// Counts, as they go on.
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

/// What the cache did since it was made, and what is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Requests answered from memory, those included that waited for another's answer.
    pub(crate) hits: u64,
    /// Requests that went to the upstream and might have stored an answer.
    pub(crate) misses: u64,
    /// Requests that went past the cache.
    pub(crate) passes: u64,
    /// Times that a request began to wait for another's answer.
    pub(crate) waits: u64,
    /// Requests that waited in vain until their time was up.
    pub(crate) waited_too_long: u64,
    /// Requests that waited and were answered from memory.
    pub(crate) collapsed: u64,
    /// Answers from memory that were older than they should be, where the upstream allows it.
    pub(crate) stale: u64,
    /// Stale responses that the upstream confirmed with 304.
    pub(crate) revalidated: u64,
    /// Answers stored.
    pub(crate) stored: u64,
    /// Answers of the upstream that were not stored.
    pub(crate) refused: u64,
    /// Targets dropped with all their answers to make room.
    pub(crate) evicted: u64,
    /// Bytes in memory, answers that are coming in included.
    pub(crate) bytes: usize,
    /// Bytes that there may be.
    pub(crate) most_bytes: usize,
    /// Answers in memory.
    pub(crate) entries: usize,
}

/// One count.
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

/// A count on a line of its own, and on the next, which processors fetch with it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe(Count);

impl Counters {
    pub(super) fn add_hit(&self) {
        if let Some(stripe) = self.hits.get(stripe()) {
            stripe.0.add();
        }
    }

    pub(super) fn snapshot(&self, bytes: usize, most_bytes: usize, entries: usize) -> Snapshot {
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
            most_bytes,
            entries,
        }
    }
}

/// This thread's stripe.
fn stripe() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static STRIPE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % STRIPES;
    }
    STRIPE.with(|stripe| *stripe)
}
