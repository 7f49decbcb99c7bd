//! Part of the stored responses under one lock: records, fetches in flight, and notes about
//! responses that are not worth waiting for.

mod key;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::watch;

pub(super) use self::key::{Class, Key, ShardQuery};
use super::cache_status::Forward;
use super::entry::CacheEntry;
use super::freshness::Refusal;
use super::lookup::Reason;
use super::vary::{Variant, Vary};
use crate::identity_map::IdentityMap;
use crate::memory_budget::MemoryPermit;

/// Maximum variants of a target. Three codings, each with and without one origin, are six; the rest
/// is for unusual requests, whose responses evict each other.
const MAX_VARIANTS: usize = 8;

/// Maximum notes of a target.
const MAX_NOTES: usize = 8;

/// Maximum concurrent fetches of a target for variants that are not stored. Beyond it, a client
/// that invents variants bypasses the cache; each lookup scans the whole list.
const MAX_FETCHES: usize = 64;

/// Consecutive errors of a target that has been stored before, until its requests stop waiting for
/// each other. One request that provokes an error must not send all others to the upstream at once.
const STRIKES: u8 = 3;

/// Maximum places in the queue that one eviction examines; limits the time that the lock is held.
const MAX_SECOND_CHANCES: usize = 32;

/// Outcome of a lookup.
#[derive(Debug)]
pub(super) enum ShardLookup {
    /// Serve this entry.
    Hit(Arc<CacheEntry>),
    /// Wait until the fetch ends or its time limit expires.
    Wait(watch::Receiver<()>, Instant, Forward),
    /// Fetch: no other request does.
    Fetch(FetchPlan),
    /// Fetch, even if other requests do.
    FetchUncollapsed(FetchPlan),
    /// Bypass the cache.
    Pass(Reason),
}

/// Data for a fetch.
#[derive(Debug)]
pub(super) struct FetchPlan {
    pub(super) class: Class,
    pub(super) fwd: Forward,
    pub(super) stale: Option<Arc<CacheEntry>>,
    /// Until then, waiting is known to be useless.
    pub(super) noted_until: Option<Instant>,
}

/// Part of the stored responses.
#[derive(Debug, Default)]
pub(super) struct Shard {
    records: IdentityMap<Record>,
    /// Hash and identifier of the records; the front is the next candidate for eviction.
    order: VecDeque<(u64, u64)>,
    flights: IdentityMap<Vec<InFlight>>,
    /// Incremented when a record is removed that a fill in flight must not restore.
    pub(super) generation: u64,
    last_id: u64,
}

/// Data of one target.
#[derive(Debug)]
pub(super) struct Record {
    key: Arc<Key>,
    id: u64,
    /// Fields that select the response; `None` before the first response.
    vary: Option<Vary>,
    slots: Vec<Slot>,
    notes: Vec<Note>,
}

/// One stored variant of a target.
#[derive(Debug)]
pub(super) struct Slot {
    variant: Variant,
    stored: Arc<CacheEntry>,
    /// Used since the last eviction pass.
    visited: AtomicBool,
    /// Until then, the upstream counts as failing.
    failing_until: Option<Instant>,
    /// Held for the accounting.
    #[cfg_attr(not(test), expect(dead_code, reason = "held for its drop"))]
    permit: MemoryPermit,
}

/// Marks a class of requests as not worth waiting for.
#[derive(Debug)]
struct Note {
    class: Class,
    until: Instant,
    strikes_left: u8,
    /// Held for the accounting.
    #[cfg_attr(not(test), expect(dead_code, reason = "held for its drop"))]
    permit: MemoryPermit,
}

/// A fetch in flight.
#[derive(Debug)]
struct InFlight {
    id: u64,
    class: Class,
    begun: Instant,
    ended: watch::Receiver<()>,
}

impl Shard {
    /// Evaluates a lookup. Only changes the mark of an entry that is used.
    pub(super) fn lookup(&self, query: &ShardQuery<'_>) -> ShardLookup {
        let record = self.records.get(&query.hash);
        if record.is_some_and(|record| !record.key.is(query)) {
            return ShardLookup::Pass(Reason::Collision);
        }
        let variant = match record.and_then(|record| record.vary.as_ref()) {
            Some(vary) => match vary.variant(query.headers) {
                None => return ShardLookup::Pass(Reason::LongKey),
                variant => variant,
            },
            None => None,
        };
        let slot = record.zip(variant.as_ref()).and_then(|(record, variant)| record.slot(variant));
        if let Some(slot) = slot {
            if query.authorised && !slot.stored.freshness().for_all {
                return ShardLookup::Pass(Reason::Authorization);
            }
            if slot.may_answer(query.now) {
                return ShardLookup::Hit(slot.visit());
            }
        } else if let Some(slot) = record.and_then(|record| record.by_language(query)) {
            return ShardLookup::Hit(slot.visit());
        }
        let class = Class { authorised: query.authorised, variant };
        let flight = self.flights.get(&query.hash).and_then(|flights| {
            flights.iter().find(|flight| flight.class.may_match(&class) && flight.is_recent(query))
        });
        let fwd = match record {
            _ if slot.is_some() => Forward::Stale,
            Some(record) if !record.slots.is_empty() => Forward::VaryMiss,
            _ => Forward::UriMiss,
        };
        let plan = |class, noted_until| {
            let stale = slot.map(|slot| slot.stored.clone());
            FetchPlan { class, fwd, stale, noted_until }
        };
        if let Some(slot) = slot
            && slot.stored.freshness().may_be_stale_while_revalidated(query.now)
        {
            // One request fetches for all.
            return match flight {
                Some(_) => ShardLookup::Hit(slot.visit()),
                None => ShardLookup::Fetch(plan(class, None)),
            };
        }
        if let Some(until) = record.and_then(|record| record.noted_until(&class, query.now)) {
            return ShardLookup::FetchUncollapsed(plan(class, Some(until)));
        }
        match flight {
            // Its response is of no use to other requests.
            Some(flight) if flight.has_ended() => ShardLookup::FetchUncollapsed(plan(class, None)),
            Some(flight) => ShardLookup::Wait(flight.ended.clone(), flight.begun + query.wait, fwd),
            None if slot.is_none() && self.is_full(query.hash) => {
                ShardLookup::Pass(Reason::TooManyVariants)
            }
            None => ShardLookup::Fetch(plan(class, None)),
        }
    }

    /// Registers a fetch; the fetches that it replaces may not store anymore.
    pub(super) fn begin(
        &mut self,
        hash: u64,
        class: &Class,
        now: Instant,
    ) -> (u64, watch::Sender<()>) {
        let (sender, ended) = watch::channel(());
        self.last_id += 1;
        let id = self.last_id;
        let flights = self.flights.entry(hash).or_default();
        flights.retain(|flight| !flight.class.may_match(class));
        flights.push(InFlight { id, class: class.clone(), begun: now, ended });
        (id, sender)
    }

    /// Whether a fetch for this class is in flight, or too many fetches for others.
    pub(super) fn is_in_flight(&self, hash: u64, class: &Class) -> bool {
        let flights = self.flights.get(&hash);
        flights.is_some_and(|flights| flights.iter().any(|flight| flight.class.may_match(class)))
            || self.is_full(hash)
    }

    fn is_full(&self, hash: u64) -> bool {
        self.flights.get(&hash).is_some_and(|flights| flights.len() >= MAX_FETCHES)
    }

    /// Deregisters a fetch; false if it was not registered.
    pub(super) fn end(&mut self, hash: u64, id: u64) -> bool {
        let Some(flights) = self.flights.get_mut(&hash) else { return false };
        let before = flights.len();
        flights.retain(|flight| flight.id != id);
        let ended = flights.len() < before;
        if flights.is_empty() {
            self.flights.remove(&hash);
        }
        ended
    }

    /// Stores a response, and returns the entries that it replaces, so that the caller drops them
    /// without the lock.
    pub(super) fn store(
        &mut self,
        key: &Arc<Key>,
        vary: &Vary,
        class: &Class,
        stored: Arc<CacheEntry>,
        permit: MemoryPermit,
        now: Instant,
    ) -> Result<Vec<Slot>, Refusal> {
        let variant = class.variant.clone().ok_or(Refusal::Vary)?;
        let fresh = stored.freshness().is_fresh(now);
        let record = self.record(key).ok_or(Refusal::Superseded)?;
        let mut replaced = Vec::new();
        if record.vary.as_ref() != Some(vary) {
            // Keys that were made from other fields are invalid now.
            replaced.append(&mut record.slots);
            record.notes.clear();
            record.vary = Some(vary.clone());
        }
        if fresh {
            record.notes.retain(|note| note.class != *class);
        }
        let index = record.slots.iter().position(|slot| slot.variant == variant);
        let index = match index {
            None if record.slots.len() >= MAX_VARIANTS => Some(record.eviction_candidate(now)?),
            index => index,
        };
        if let Some(index) = index {
            replaced.push(record.slots.remove(index));
        }
        record.slots.reserve_exact(1);
        record.slots.push(Slot {
            variant,
            stored,
            visited: AtomicBool::new(false),
            failing_until: None,
            permit,
        });
        Ok(replaced)
    }

    /// Notes that a response of this class was not worth waiting for. A client may have provoked an
    /// error of a target that was stored before, so such an error takes effect only when it recurs.
    pub(super) fn note(
        &mut self,
        key: &Arc<Key>,
        class: &Class,
        error: bool,
        until: Instant,
        now: Instant,
        permit: MemoryPermit,
    ) {
        let Some(record) = self.record(key) else { return };
        let proven = class.variant.as_ref().is_some_and(|variant| record.slot(variant).is_some());
        let strikes = if error && proven { STRIKES } else { 1 };
        record.notes.retain(|note| note.until > now);
        if let Some(note) = record.notes.iter_mut().find(|note| note.class == *class) {
            note.strikes_left = note.strikes_left.min(strikes).saturating_sub(1);
            note.until = until;
            return;
        }
        if record.notes.len() >= MAX_NOTES {
            record.notes.remove(0);
        }
        let note = Note { class: class.clone(), until, strikes_left: strikes - 1, permit };
        record.notes.reserve_exact(1);
        record.notes.push(note);
    }

    /// Notes that the upstream fails, so that stale responses are used without contacting it each
    /// time.
    pub(super) fn mark_failing(&mut self, hash: u64, variant: &Variant, until: Instant) {
        let record = self.records.get_mut(&hash);
        let slot =
            record.and_then(|record| record.slots.iter_mut().find(|slot| slot.variant == *variant));
        if let Some(slot) = slot {
            slot.failing_until = Some(until);
        }
    }

    /// Removes a target and its fetches in flight.
    pub(super) fn invalidate(&mut self, hash: u64) {
        self.generation += 1;
        self.flights.remove(&hash);
        self.remove_record(hash);
    }

    /// Removes a record. Its place in the queue remains until eviction reaches it, or until half of
    /// the places are unused.
    fn remove_record(&mut self, hash: u64) {
        self.records.remove(&hash);
        let records = &self.records;
        if self.order.len() > 2 * records.len() + 16 {
            self.order
                .retain(|(hash, id)| records.get(hash).is_some_and(|record| record.id == *id));
        }
    }

    /// Removes all records and fetches in flight.
    pub(super) fn clear(&mut self) {
        *self = Self { generation: self.generation + 1, last_id: self.last_id, ..Self::default() };
    }

    /// Evicts a target that was not used since the last pass, and returns it, so that the caller
    /// drops it without the lock. Evicts a used target only with `force`.
    pub(super) fn evict(&mut self, force: bool) -> Option<Record> {
        for _ in 0..self.order.len().min(MAX_SECOND_CHANCES) {
            let (hash, id) = self.order.pop_front()?;
            let Some(record) = self.records.get(&hash).filter(|record| record.id == id) else {
                continue;
            };
            if !record.was_visited() || force {
                return self.records.remove(&hash);
            }
            self.order.push_back((hash, id));
        }
        None
    }

    /// Number of stored responses.
    pub(super) fn entries(&self) -> usize {
        self.records.values().map(|record| record.slots.len()).sum()
    }

    /// Finds or creates the record of a target; `None` on a hash collision.
    fn record(&mut self, key: &Arc<Key>) -> Option<&mut Record> {
        let last_id = &mut self.last_id;
        let order = &mut self.order;
        let record = self.records.entry(key.hash).or_insert_with(|| {
            *last_id += 1;
            order.push_back((key.hash, *last_id));
            Record {
                key: key.clone(),
                id: *last_id,
                vary: None,
                slots: Vec::new(),
                notes: Vec::new(),
            }
        });
        (record.key == *key).then_some(record)
    }

    /// Total bytes of all permits in this shard.
    #[cfg(test)]
    pub(super) fn permit_bytes(&self) -> usize {
        let slots = self.records.values().flat_map(|record| &record.slots);
        let notes = self.records.values().flat_map(|record| &record.notes);
        slots.map(|slot| slot.permit.bytes()).sum::<usize>()
            + notes.map(|note| note.permit.bytes()).sum::<usize>()
    }

    /// Number of records, queue places and fetches.
    #[cfg(test)]
    pub(super) fn lengths(&self) -> (usize, usize, usize) {
        (self.records.len(), self.order.len(), self.flights.len())
    }
}

impl Record {
    fn slot(&self, variant: &Variant) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.variant == *variant)
    }

    /// A fresh response in the single preferred language of the request. It was selected for a
    /// different language list, and would be selected for this one.
    fn by_language(&self, query: &ShardQuery<'_>) -> Option<&Slot> {
        let vary = self.vary.as_ref()?;
        let language = vary.language(query.headers)?;
        self.slots.iter().find(|slot| {
            slot.stored.head().language.as_deref() == Some(&*language)
                && slot.stored.freshness().is_fresh(query.now)
                && (slot.stored.freshness().for_all || !query.authorised)
                && vary.accepts_coding_of(query.headers, &slot.variant)
        })
    }

    /// Time until which waiting for this class is known to be useless.
    fn noted_until(&self, class: &Class, now: Instant) -> Option<Instant> {
        let note = self.notes.iter().find(|note| note.class == *class)?;
        (note.strikes_left == 0 && now < note.until).then_some(note.until)
    }

    /// Whether any of its responses was used since the previous call.
    fn was_visited(&self) -> bool {
        let visited = self.slots.iter().filter(|slot| slot.visited.swap(false, Ordering::Relaxed));
        // `count` visits every slot, because each must lose its mark.
        visited.count() > 0
    }

    /// The response that a new one may replace: a stale one, or one that was not used since the
    /// previous search.
    fn eviction_candidate(&self, now: Instant) -> Result<usize, Refusal> {
        let old = self.slots.iter().position(|slot| !slot.stored.freshness().is_fresh(now));
        // Each loses its mark, so that the next search may find a place.
        let idle = || {
            (0..).zip(&self.slots).fold(None, |idle, (index, slot)| {
                let visited = slot.visited.swap(false, Ordering::Relaxed);
                idle.or((!visited).then_some(index))
            })
        };
        old.or_else(idle).ok_or(Refusal::TooManyVariants)
    }
}

impl Slot {
    fn may_answer(&self, now: Instant) -> bool {
        let freshness = self.stored.freshness();
        freshness.is_fresh(now)
            || (self.failing_until.is_some_and(|until| now < until)
                && freshness.may_be_stale_on_error(now))
    }

    fn visit(&self) -> Arc<CacheEntry> {
        // An unconditional store would invalidate the cache line of other processors.
        if !self.visited.load(Ordering::Relaxed) {
            self.visited.store(true, Ordering::Relaxed);
        }
        self.stored.clone()
    }
}

impl InFlight {
    fn is_recent(&self, query: &ShardQuery<'_>) -> bool {
        query.now.saturating_duration_since(self.begun) < query.wait
    }

    /// Whether the waiting requests have been woken.
    fn has_ended(&self) -> bool {
        self.ended.has_changed().is_err()
    }
}

#[cfg(test)]
mod tests;
