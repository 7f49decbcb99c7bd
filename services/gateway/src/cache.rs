//! An in-memory shared cache (RFC 9111) that lets requests for the same answer wait for one fetch.
//! It knows neither sockets nor upstreams: it decides what to do with a request, and receives
//! the answer if the request went to the upstream.
//!
//! [`Cache::ask`] says one of three things: here is the answer; go to the upstream and feed what
//! comes to this [`Fill`], perhaps beside an answer; or the request is none of the cache's business. Choices that the RFC
//! leaves open:
//!
//! - Nothing is kept that does not name its time or sets a cookie, and nothing whose
//!   `Cache-Control` cannot be read. Server errors are kept for the time that they name, at most
//!   ten seconds, and never in the place of a success. What has `no-cache` is kept if it has a tag,
//!   and the upstream is asked each time whether it is good still.
//! - Clients cannot make an answer be fetched anew: see [`CacheRequest::limit`].
//! - One range of a response that is here is answered with that part; what is not here is passed
//!   by, and parts are not kept.
//! - Where `stale-while-revalidate` allows it, all get the old answer while the upstream is asked.
//! - `Accept-Encoding` is one of eight sets, and the upstream is asked with just that set.
//!   `Accept-Language` is compared without the order of equal weights.
//! - Requests with `Authorization` get and bring only what is said to be for all.
//! - The upstream's `Date` does not make an answer older, only its `Age` and the time it took.
//! - `immutable` (RFC 8246) changes nothing: what is fresh is not asked about in any case.
//!
//! A hit takes a read lock on one of [`SHARDS`] parts and a few reference counts. Bytes are
//! counted before they are taken, the bodies included that are still coming in, so the bound
//! holds always; only answers that are being sent may live on a little longer.

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
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use http::Method;
use tokio::sync::watch;
use tokio::time;

use self::cache_status::How;
use self::counters::Counters;
use self::entry::CacheEntry;
use self::shard::{Ask, Judgment, Opening, Record, Shard};

pub(crate) use self::answer::Answer;
pub(crate) use self::cache_status::Forward;
pub(crate) use self::counters::Snapshot;
pub(crate) use self::fill::{Fill, Leftover, Verdict};
pub(crate) use self::freshness::Moment;
pub(crate) use self::lookup::{CacheRequest, Pass, Reason};
pub(crate) use self::vary::Codings;
use crate::memory_budget::{MemoryBudget, MemoryPermit};

/// Parts of the cache with a lock each; a power of two. Enough that 256 threads that store seldom
/// meet.
const SHARDS: usize = 64;

/// Which part of all bytes may belong to answers that are still coming in. Slow clients hold
/// these, and must not be able to push out everything that is stored.
const COMING_PART: usize = 4;

/// Settings of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheSettings {
    /// Bytes of all that is kept, names and fields included; 0 for no cache.
    pub(crate) bytes: usize,
    /// Bytes of the largest body that is kept; never more than a quarter of all.
    pub(crate) entry_bytes: usize,
    /// How long a request waits for another's answer before it asks the upstream itself. Longer
    /// than an upstream usually takes, and short enough that a person still waits for the rest.
    pub(crate) wait: Duration,
    /// How long an answer that could not be kept keeps requests for the same from waiting for each
    /// other, and how long an upstream that failed is not asked where an old answer may be used.
    pub(crate) uncacheable: Duration,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            bytes: 32 << 20,
            entry_bytes: 2 << 20,
            wait: Duration::from_secs(5),
            // Longer than a tick of stats, so that a queue does not form at each tick; short
            // enough that a start or a deployment is forgotten at once.
            uncacheable: Duration::from_secs(2),
        }
    }
}

/// The cache. Clones are the same cache.
#[derive(Clone, Debug)]
pub(crate) struct Cache(Arc<Inner>);

/// The result of a lookup.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// Send this.
    Hit(Answer),
    /// Another request fetches the answer: wait, then look again. [`Cache::ask`] does both.
    Wait(Ticket),
    /// Ask the upstream, and feed its answer to this.
    Fill(Box<Fill>),
    /// Send this, which may be used although it is stale, and ask the upstream meanwhile as with
    /// [`Lookup::Fill`].
    Stale(Answer, Box<Fill>),
    /// Ask the upstream; the cache has nothing to do with it.
    Pass(Pass),
}

/// A place in the queue for an answer.
#[derive(Debug)]
pub(crate) struct Ticket {
    ended: watch::Receiver<()>,
    until: Instant,
    why: Forward,
}

impl Ticket {
    /// Waits until the fetch ended, took too long, or this deadline has come.
    pub(crate) async fn wait(mut self, deadline: Instant) {
        let until = time::Instant::from_std(self.until.min(deadline));
        // However it ends: the next look tells.
        let _ = time::timeout_at(until, self.ended.changed()).await;
    }
}

struct Inner {
    settings: CacheSettings,
    /// Bytes of the largest body.
    entry_bytes: usize,
    space: Arc<MemoryBudget>,
    /// The part of that space which is for answers that are still coming in.
    coming: Arc<MemoryBudget>,
    shards: Box<[Part; SHARDS]>,
    secret: RandomState,
    /// How often everything was forgotten.
    epoch: AtomicU64,
    /// The shard that was last asked to drop something.
    evicting: AtomicUsize,
    counters: Counters,
}

/// A shard on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Part(RwLock<Shard>);

impl Cache {
    /// An empty cache.
    pub(crate) fn new(settings: &CacheSettings) -> Self {
        let coming = settings.bytes / COMING_PART;
        Self(Arc::new(Inner {
            settings: settings.clone(),
            entry_bytes: settings.entry_bytes.min(coming),
            space: MemoryBudget::new(settings.bytes),
            coming: MemoryBudget::new(coming),
            shards: Box::new(std::array::from_fn(|_| Part::default())),
            secret: RandomState::new(),
            epoch: AtomicU64::new(0),
            evicting: AtomicUsize::new(0),
            counters: Counters::default(),
        }))
    }

    /// What to do with a request; waits, where another fetches the same. Never `Wait`.
    pub(crate) async fn ask(&self, question: &CacheRequest<'_>) -> Lookup {
        let begun = time::Instant::now().into_std();
        let deadline = begun + self.0.settings.wait;
        let (mut now, mut waited) = (begun, None);
        loop {
            match self.look(question, now, waited) {
                Lookup::Wait(ticket) if now < deadline => {
                    waited = Some(ticket.why);
                    ticket.wait(deadline).await;
                    now = time::Instant::now().into_std();
                }
                Lookup::Wait(ticket) => {
                    self.0.counters.waited_too_long.add();
                    self.0.counters.passes.add();
                    let pass = Pass { reason: Reason::WaitedTooLong, why: ticket.why };
                    return Lookup::Pass(pass);
                }
                looked => return looked,
            }
        }
    }

    /// What to do now with a request that may have waited, and why the fetch that it waited for
    /// was made.
    fn look(&self, question: &CacheRequest<'_>, now: Instant, waited: Option<Forward>) -> Lookup {
        let inner = &self.0;
        if inner.settings.bytes == 0 {
            return inner.pass(Pass::of(Reason::Off));
        }
        if let Some(reason) = question.obstacle() {
            return inner.pass(Pass::of(reason));
        }
        let ask = Ask {
            hash: inner.hash(question.site, question.target, question.epoch),
            site: question.site,
            target: question.target,
            epoch: question.epoch,
            authorised: question.is_authorised(),
            headers: question.headers,
            now,
            wait: inner.settings.wait,
        };
        let judged = read(inner.shard(ask.hash)).judge(&ask);
        let judged = match (judged, question.limit()) {
            // A HEAD brings no body that could be kept.
            (Judgment::Open(opening) | Judgment::FetchUncollapsed(opening), Some(Reason::Head)) => {
                return inner.pass(Pass { reason: Reason::Head, why: opening.why });
            }
            (Judgment::Open(_) | Judgment::FetchUncollapsed(_), Some(reason)) => {
                return inner.pass(Pass::of(reason));
            }
            // What turns out to be a stream would have made it wait in vain.
            (Judgment::Wait(..), Some(Reason::Events)) => {
                return inner.pass(Pass::of(Reason::Events));
            }
            (judged, _) => judged,
        };
        let judged = match judged {
            // Its answer, a 304 perhaps, may be of use to none of those who would wait for it.
            Judgment::Open(opening) if opening.stale.is_none() && question.is_conditional() => {
                Judgment::FetchUncollapsed(opening)
            }
            Judgment::Open(_) => {
                let mut shard = write(inner.shard(ask.hash));
                // Between the two locks, another request may have begun, or even have finished.
                match shard.judge(&ask) {
                    Judgment::Open(opening) => {
                        let usable = opening.stale.clone();
                        let usable = usable
                            .filter(|stale| stale.terms().may_be_stale_while_revalidated(now));
                        let flight = shard.begin(ask.hash, &opening.class, now);
                        let generation = shard.generation;
                        drop(shard);
                        let fill = self.fill(&ask, opening, Some(flight), generation, waited);
                        return match usable {
                            Some(stale) => {
                                Lookup::Stale(inner.hit(stale, question, now, waited), fill)
                            }
                            None => Lookup::Fill(fill),
                        };
                    }
                    judged => judged,
                }
            }
            judged => judged,
        };
        match judged {
            Judgment::Hit(stored) => Lookup::Hit(inner.hit(stored, question, now, waited)),
            Judgment::Wait(ended, until, why) => {
                inner.counters.waits.add();
                Lookup::Wait(Ticket { ended, until, why })
            }
            Judgment::Open(opening) | Judgment::FetchUncollapsed(opening) => {
                let generation = read(inner.shard(ask.hash)).generation;
                Lookup::Fill(self.fill(&ask, opening, None, generation, waited))
            }
            Judgment::Pass(reason) => inner.pass(Pass::of(reason)),
        }
    }

    /// What a request must have noted before it looks its route up.
    pub(crate) fn epoch(&self) -> u64 {
        self.0.epoch.load(Ordering::Acquire)
    }

    /// Forgets a target, also what is on its way for it: after a request that may have changed it
    /// and was not refused (RFC 9111, section 4.4).
    pub(crate) fn invalidate(&self, site: &str, target: &str) {
        let hash = self.0.hash(site, target, self.epoch());
        write(self.0.shard(hash)).forget(hash);
    }

    /// Forgets everything, also what is on its way: when the routes have changed. Requests that began
    /// by the routes before them, and still wait for a response or fetch it, keep theirs apart.
    pub(crate) fn clear(&self) {
        self.0.epoch.fetch_add(1, Ordering::Release);
        for part in self.0.shards.iter() {
            write(part).clear();
        }
    }

    /// What it did and holds.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let inner = &self.0;
        let entries = inner.shards.iter().map(|part| read(part).entries()).sum();
        inner.counters.snapshot(inner.space.taken(), inner.space.bytes(), entries)
    }

    fn fill(
        &self,
        ask: &Ask<'_>,
        opening: Opening,
        flight: Option<(u64, watch::Sender<()>)>,
        generation: u64,
        waited: Option<Forward>,
    ) -> Box<Fill> {
        self.0.counters.misses.add();
        let inner = self.0.clone();
        let waited = waited.is_some();
        Box::new(Fill::new(inner, ask, opening, flight, generation, waited))
    }
}

/// Without what is in it, which belongs in no log.
impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Inner {
    fn hash(&self, site: &str, target: &str, epoch: u64) -> u64 {
        self.secret.hash_one((site, target, epoch))
    }

    /// The shard that a hash belongs to.
    fn shard(&self, hash: u64) -> &Part {
        // The map inside takes the lowest and the highest bits.
        let place = usize::try_from(hash >> 24 & 0xffff).unwrap_or_default();
        &self.shards[place % SHARDS]
    }

    fn hit(
        &self,
        stored: Arc<CacheEntry>,
        question: &CacheRequest<'_>,
        now: Instant,
        waited: Option<Forward>,
    ) -> Answer {
        let head_only = *question.method == Method::HEAD;
        let how = waited.map_or(How::Hit, How::Collapsed);
        let answer = Answer::new(stored, how, question.headers, head_only, now);
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

    /// Makes a room larger, and drops what was not asked for lately where that is needed. No lock
    /// may be held.
    fn grow(&self, room: &mut MemoryPermit, bytes: usize) -> bool {
        if bytes > self.space.bytes() {
            return false;
        }
        while !room.grow(bytes) {
            if self.evict().is_none() {
                return false;
            }
        }
        true
    }

    /// Takes out one target, of one shard after the other.
    fn evict(&self) -> Option<Record> {
        let turns = [false, true].into_iter().flat_map(|force| [force; SHARDS]);
        let evicted = turns.into_iter().find_map(|force| {
            let place = self.evicting.fetch_add(1, Ordering::Relaxed);
            write(&self.shards[place % SHARDS]).evict(force)
        });
        if evicted.is_some() {
            self.counters.evicted.add();
        }
        evicted
    }
}

/// A shard is whole between any two steps, whatever became of the thread that had it.
fn read(part: &Part) -> RwLockReadGuard<'_, Shard> {
    part.0.read().unwrap_or_else(PoisonError::into_inner)
}

/// As [`read`].
fn write(part: &Part) -> RwLockWriteGuard<'_, Shard> {
    part.0.write().unwrap_or_else(PoisonError::into_inner)
}
