//! In-memory shared cache (RFC 9111) with request coalescing: concurrent requests for the same
//! response share one fetch. The cache has no access to sockets or upstreams. It decides what
//! happens to a request, and receives the response if the request goes to the upstream.
//!
//! [`Cache::lookup`] returns a stored response, or a [`Fill`] that receives the upstream's response
//! (possibly together with a stale one to send meanwhile), or states that the request bypasses the
//! cache. Choices that the RFC leaves open:
//!
//! - A response without an explicit lifetime, with `Set-Cookie`, or with a malformed
//!   `Cache-Control` is not stored. Server errors are stored for their explicit lifetime, at most
//!   ten seconds, and never replace a success. A response with `no-cache` is stored if it has an
//!   `ETag`, and is revalidated for each request.
//! - Clients cannot force a fetch: see [`CacheRequest::limit`].
//! - A single range of a stored response is answered with 206. A range request that misses bypasses
//!   the cache, and partial responses are not stored.
//! - Where `stale-while-revalidate` allows it, all clients get the stale response during the fetch.
//! - `Accept-Encoding` is normalized to one of eight sets, and the upstream gets exactly that set.
//!   `Accept-Language` is compared without the order of equal weights.
//! - A response that varies by a field with the gateway's own value, such as `X-Forwarded-For`, is
//!   not stored. A field that no client can send to the upstream, such as `X-Real-IP`, does not
//!   select a response.
//! - Requests with `Authorization` use and store only responses that explicitly allow sharing.
//! - The age of a response comes from its `Age` and the response delay, not from `Date`.
//! - `immutable` (RFC 8246) has no effect: fresh responses are never revalidated anyway.
//!
//! A hit takes a read lock on one of [`SHARDS`] shards and a few reference counts. Bytes are
//! reserved before they are used, also for bodies in transfer, so the limit always holds. Only
//! responses that are still being sent can outlive their reservation.

mod answer;
mod cache_control;
mod cache_status;
mod conditional;
mod counters;
mod entry;
mod fill;
mod freshness;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod http_date;
mod lookup;
mod range;
mod revalidation;
mod shard;
mod vary;

#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use http::Method;
use tokio::sync::watch;
use tokio::time;

use self::cache_status::ResponseSource;
use self::counters::Counters;
use self::entry::CacheEntry;
use self::shard::{FetchPlan, Record, Shard, ShardLookup, ShardQuery};

pub(crate) use self::answer::CachedResponse;
pub(crate) use self::cache_status::Forward;
pub(crate) use self::fill::{Fill, FillDecision, Leftover};
pub(crate) use self::freshness::Moment;
pub(crate) use self::lookup::{CacheRequest, Pass, Reason};
pub(crate) use self::vary::Codings;
use crate::lock::{Aligned, read, write};
use crate::memory_budget::{MemoryBudget, MemoryPermit};

/// Shards of the cache with a lock each; a power of two. With 64, even 256 threads that store
/// rarely contend.
const SHARDS: usize = 64;

/// Divisor of the total size that yields the limit for responses in transfer. Slow clients hold
/// this memory, and must not be able to evict everything that is stored.
const TRANSFER_DIVISOR: usize = 4;

/// Settings of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheSettings {
    /// Maximum size of all entries in bytes, names and fields included; 0 disables the cache.
    pub(crate) bytes: usize,
    /// Maximum body size in bytes; the effective limit is at most a quarter of the total.
    pub(crate) entry_bytes: usize,
    /// Time that a request waits for another request's fetch before it goes to the upstream itself.
    /// Longer than an upstream usually takes, and short enough that a user still waits for the
    /// rest.
    pub(crate) wait: Duration,
    /// Time during which requests for an uncacheable response are not coalesced, and during which a
    /// failed upstream is not contacted where a stale response may be used.
    pub(crate) uncacheable: Duration,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            bytes: 32 << 20,
            entry_bytes: 2 << 20,
            wait: Duration::from_secs(5),
            // Longer than a tick of stats, so that a queue does not form at each tick; short enough
            // that a startup or a deployment has no lasting effect.
            uncacheable: Duration::from_secs(2),
        }
    }
}

/// Shared cache. Clones refer to the same cache.
#[derive(Clone, Debug)]
pub(crate) struct Cache(Arc<Inner>);

/// Result of a lookup.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// Send this response.
    Hit(CachedResponse),
    /// Another request fetches the response: wait, then look again. [`Cache::lookup`] does both.
    Wait(Ticket),
    /// Contact the upstream, and pass its response to this fill.
    Fill(Box<Fill>),
    /// Send this stale response, and contact the upstream meanwhile as with [`Lookup::Fill`].
    Stale(CachedResponse, Box<Fill>),
    /// Contact the upstream; the cache is bypassed.
    Pass(Pass),
}

/// Place in the queue for a response that another request fetches.
#[derive(Debug)]
pub(crate) struct Ticket {
    ended: watch::Receiver<()>,
    until: Instant,
    fwd: Forward,
}

impl Ticket {
    /// Waits until the fetch ends, its time limit expires, or the deadline passes.
    pub(crate) async fn wait(mut self, deadline: Instant) {
        let until = time::Instant::from_std(self.until.min(deadline));
        // The next lookup determines the outcome, so the reason does not matter.
        let _ = time::timeout_at(until, self.ended.changed()).await;
    }
}

struct Inner {
    settings: CacheSettings,
    /// Maximum body size in bytes.
    entry_bytes: usize,
    memory: Arc<MemoryBudget>,
    /// The share of `memory` for responses in transfer.
    transfer_memory: Arc<MemoryBudget>,
    shards: Box<[Aligned<RwLock<Shard>>; SHARDS]>,
    secret: RandomState,
    /// Number of times that the cache was cleared.
    epoch: AtomicU64,
    /// Counter that selects the next shard for eviction.
    evicting: AtomicUsize,
    counters: Counters,
}

impl Cache {
    /// Creates an empty cache.
    pub(crate) fn new(settings: &CacheSettings) -> Self {
        let transfer_memory = settings.bytes / TRANSFER_DIVISOR;
        Self(Arc::new(Inner {
            settings: settings.clone(),
            entry_bytes: settings.entry_bytes.min(transfer_memory),
            memory: MemoryBudget::new(settings.bytes),
            transfer_memory: MemoryBudget::new(transfer_memory),
            shards: Box::new(std::array::from_fn(|_| Aligned::default())),
            secret: RandomState::new(),
            epoch: AtomicU64::new(0),
            evicting: AtomicUsize::new(0),
            counters: Counters::default(),
        }))
    }

    /// Looks up a request; waits while another request fetches the same response. Never returns
    /// `Wait`.
    pub(crate) async fn lookup(&self, request: &CacheRequest<'_>) -> Lookup {
        let begun = time::Instant::now().into_std();
        let deadline = begun + self.0.settings.wait;
        let (mut now, mut waited) = (begun, None);
        loop {
            match self.try_lookup(request, now, waited) {
                Lookup::Wait(ticket) if now < deadline => {
                    waited = Some(ticket.fwd);
                    ticket.wait(deadline).await;
                    now = time::Instant::now().into_std();
                }
                Lookup::Wait(ticket) => {
                    self.0.counters.waited_too_long.add();
                    self.0.counters.passes.add();
                    let pass = Pass { reason: Reason::WaitedTooLong, fwd: ticket.fwd };
                    return Lookup::Pass(pass);
                }
                lookup => return lookup,
            }
        }
    }

    /// Looks up a request without waiting. `waited` is the reason for the fetch that the request
    /// has waited for, if any.
    fn try_lookup(
        &self,
        request: &CacheRequest<'_>,
        now: Instant,
        waited: Option<Forward>,
    ) -> Lookup {
        let inner = &self.0;
        if inner.settings.bytes == 0 {
            return inner.pass(Pass::of(Reason::Off));
        }
        if let Some(reason) = request.bypass_reason() {
            return inner.pass(Pass::of(reason));
        }
        let query = ShardQuery {
            hash: inner.hash(request.site, request.target, request.epoch),
            site: request.site,
            target: request.target,
            epoch: request.epoch,
            authorised: request.is_authorised(),
            headers: request.headers,
            now,
            wait: inner.settings.wait,
        };
        let outcome = read(inner.shard(query.hash)).lookup(&query);
        let outcome = match (outcome, request.limit()) {
            // A response to HEAD has no body that could be stored.
            (
                ShardLookup::Fetch(plan) | ShardLookup::FetchUncollapsed(plan),
                Some(Reason::Head),
            ) => {
                return inner.pass(Pass { reason: Reason::Head, fwd: plan.fwd });
            }
            (ShardLookup::Fetch(_) | ShardLookup::FetchUncollapsed(_), Some(reason)) => {
                return inner.pass(Pass::of(reason));
            }
            // If the response is an event stream, the wait would only delay its start.
            (ShardLookup::Wait(..), Some(Reason::Events)) => {
                return inner.pass(Pass::of(Reason::Events));
            }
            (outcome, _) => outcome,
        };
        let outcome = match outcome {
            // The response, possibly a 304, may be useless to the requests that would wait for it.
            ShardLookup::Fetch(plan) if plan.stale.is_none() && request.is_conditional() => {
                ShardLookup::FetchUncollapsed(plan)
            }
            ShardLookup::Fetch(_) => {
                let mut shard = write(inner.shard(query.hash));
                // Between the two locks, another request may have begun or even finished a fetch.
                match shard.lookup(&query) {
                    ShardLookup::Fetch(plan) => {
                        let usable = plan.stale.clone();
                        let usable = usable
                            .filter(|stale| stale.freshness().may_be_stale_while_revalidated(now));
                        let flight = shard.begin(query.hash, &plan.class, now);
                        let generation = shard.generation;
                        drop(shard);
                        let fill = self.fill(&query, plan, Some(flight), generation, waited);
                        return match usable {
                            Some(stale) => {
                                Lookup::Stale(inner.hit(stale, request, now, waited), fill)
                            }
                            None => Lookup::Fill(fill),
                        };
                    }
                    outcome => outcome,
                }
            }
            outcome => outcome,
        };
        match outcome {
            ShardLookup::Hit(stored) => Lookup::Hit(inner.hit(stored, request, now, waited)),
            ShardLookup::Wait(ended, until, fwd) => {
                inner.counters.waits.add();
                Lookup::Wait(Ticket { ended, until, fwd })
            }
            ShardLookup::Fetch(plan) | ShardLookup::FetchUncollapsed(plan) => {
                let generation = read(inner.shard(query.hash)).generation;
                Lookup::Fill(self.fill(&query, plan, None, generation, waited))
            }
            ShardLookup::Pass(reason) => inner.pass(Pass::of(reason)),
        }
    }

    /// Current epoch. A request must read it before it looks up its route.
    pub(crate) fn epoch(&self) -> u64 {
        self.0.epoch.load(Ordering::Acquire)
    }

    /// Removes a target and the fetches in flight for it: after a successful unsafe request (RFC
    /// 9111, section 4.4).
    pub(crate) fn invalidate(&self, site: &str, target: &str) {
        let hash = self.0.hash(site, target, self.epoch());
        write(self.0.shard(hash)).invalidate(hash);
    }

    /// Removes all entries and fetches in flight: after the routes change. Requests that began with
    /// the previous routes, and still wait or fetch, use keys with the previous epoch.
    pub(crate) fn clear(&self) {
        self.0.epoch.fetch_add(1, Ordering::Release);
        for shard in self.0.shards.iter() {
            write(&shard.0).clear();
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// Bytes in use, responses in transfer included.
    pub(crate) fn bytes(&self) -> usize {
        self.0.memory.taken()
    }

    /// Maximum bytes.
    pub(crate) fn max_bytes(&self) -> usize {
        self.0.memory.bytes()
    }

    /// Number of stored responses.
    pub(crate) fn entries(&self) -> usize {
        self.0.shards.iter().map(|shard| read(&shard.0).entries()).sum()
    }

    fn fill(
        &self,
        query: &ShardQuery<'_>,
        plan: FetchPlan,
        flight: Option<(u64, watch::Sender<()>)>,
        generation: u64,
        waited: Option<Forward>,
    ) -> Box<Fill> {
        self.0.counters.misses.add();
        let inner = self.0.clone();
        let waited = waited.is_some();
        Box::new(Fill::new(inner, query, plan, flight, generation, waited))
    }
}

/// Omits the contents, which do not belong in a log.
impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Inner {
    fn hash(&self, site: &str, target: &str, epoch: u64) -> u64 {
        self.secret.hash_one((site, target, epoch))
    }

    /// The shard of a hash.
    fn shard(&self, hash: u64) -> &RwLock<Shard> {
        // The map inside the shard uses the lowest and the highest bits.
        let index = usize::try_from(hash >> 24 & 0xffff).unwrap_or_default();
        &self.shards[index % SHARDS].0
    }

    fn hit(
        &self,
        stored: Arc<CacheEntry>,
        request: &CacheRequest<'_>,
        now: Instant,
        waited: Option<Forward>,
    ) -> CachedResponse {
        let head_only = *request.method == Method::HEAD;
        let source = waited.map_or(ResponseSource::Hit, ResponseSource::Collapsed);
        let answer = CachedResponse::new(stored, source, request.headers, head_only, now);
        self.counters.add_hit();
        if waited.is_some() {
            self.counters.collapsed.add();
        }
        if answer.is_stale() {
            self.counters.stale.add();
        }
        answer
    }

    fn pass(&self, pass: Pass) -> Lookup {
        self.counters.passes.add();
        Lookup::Pass(pass)
    }

    /// Grows a reservation, and evicts rarely used targets where necessary. The caller must not
    /// hold a lock.
    fn grow(&self, permit: &mut MemoryPermit, bytes: usize) -> bool {
        if bytes > self.memory.bytes() {
            return false;
        }
        while !permit.grow(bytes) {
            if self.evict().is_none() {
                return false;
            }
        }
        true
    }

    /// Evicts one target, and tries the shards in turn.
    fn evict(&self) -> Option<Record> {
        let turns = [false, true].into_iter().flat_map(|force| [force; SHARDS]);
        let evicted = turns.into_iter().find_map(|force| {
            let index = self.evicting.fetch_add(1, Ordering::Relaxed);
            write(&self.shards[index % SHARDS].0).evict(force)
        });
        if evicted.is_some() {
            self.counters.evicted.add();
        }
        evicted
    }
}
