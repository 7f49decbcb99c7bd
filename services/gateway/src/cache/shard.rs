//! Part of the stored responses under one lock: records, fetches in flight, and notes about
//! responses that are not worth waiting for.

mod key;

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::watch;

pub(super) use self::key::{Ask, Class, Key};
use super::cache_status::Forward;
use super::entry::CacheEntry;
use super::freshness::Refusal;
use super::lookup::Reason;
use super::vary::{Variant, Vary};
use crate::memory_budget::MemoryPermit;

/// Maximum variants of a target. Three codings, each with and without one origin, are six; the rest
/// is for unusual requests, whose responses evict each other.
const MOST_VARIANTS: usize = 8;

/// Maximum notes of a target.
const MOST_NOTES: usize = 8;

/// Maximum concurrent fetches of a target for variants that are not stored. Beyond it, a client
/// that invents variants bypasses the cache; each lookup scans the whole list.
const MOST_FETCHES: usize = 64;

/// Consecutive errors of a target that has been stored before, until its requests stop waiting for
/// each other. One request that provokes an error must not send all others to the upstream at once.
const STRIKES: u8 = 3;

/// Maximum places in the queue that one eviction examines; limits the time that the lock is held.
const MOST_SECOND_CHANCES: usize = 32;

/// Outcome of a lookup.
#[derive(Debug)]
pub(super) enum Judgment {
    /// Serve this entry.
    Hit(Arc<CacheEntry>),
    /// Wait until the fetch ends or its time limit expires.
    Wait(watch::Receiver<()>, Instant, Forward),
    /// Fetch: no other request does.
    Open(Opening),
    /// Fetch, even if other requests do.
    FetchUncollapsed(Opening),
    /// Bypass the cache.
    Pass(Reason),
}

/// Data for a fetch.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) class: Class,
    pub(super) why: Forward,
    pub(super) stale: Option<Arc<CacheEntry>>,
    /// Until then, waiting is known to be useless.
    pub(super) noted_until: Option<Instant>,
}

/// Part of the stored responses.
#[derive(Debug, Default)]
pub(super) struct Shard {
    records: HashMap<u64, Record, BuildHasherDefault<AsItIs>>,
    /// Hash and birth of the records; the front is the next candidate for eviction.
    order: VecDeque<(u64, u64)>,
    flights: HashMap<u64, Vec<InFlight>, BuildHasherDefault<AsItIs>>,
    /// Incremented when a record is removed that a fill in flight must not restore.
    pub(super) generation: u64,
    births: u64,
}

/// Data of one target.
#[derive(Debug)]
pub(super) struct Record {
    key: Arc<Key>,
    birth: u64,
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
    troubled_until: Option<Instant>,
    /// Held for the accounting.
    #[cfg_attr(not(test), expect(dead_code, reason = "held for its drop"))]
    room: MemoryPermit,
}

/// Marks a class of requests as not worth waiting for.
#[derive(Debug)]
struct Note {
    class: Class,
    until: Instant,
    strikes_left: u8,
    /// Held for the accounting.
    #[cfg_attr(not(test), expect(dead_code, reason = "held for its drop"))]
    room: MemoryPermit,
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
    pub(super) fn judge(&self, ask: &Ask<'_>) -> Judgment {
        let record = self.records.get(&ask.hash);
        if record.is_some_and(|record| !record.key.is(ask)) {
            return Judgment::Pass(Reason::Collision);
        }
        let variant = match record.and_then(|record| record.vary.as_ref()) {
            Some(vary) => match vary.variant(ask.headers) {
                None => return Judgment::Pass(Reason::LongKey),
                variant => variant,
            },
            None => None,
        };
        let slot = record.zip(variant.as_ref()).and_then(|(record, variant)| record.slot(variant));
        if let Some(slot) = slot {
            if ask.authorised && !slot.stored.terms().for_all {
                return Judgment::Pass(Reason::Authorization);
            }
            if slot.may_answer(ask.now) {
                return Judgment::Hit(slot.visit());
            }
        } else if let Some(slot) = record.and_then(|record| record.by_language(ask)) {
            return Judgment::Hit(slot.visit());
        }
        let class = Class { authorised: ask.authorised, variant };
        let flight = self.flights.get(&ask.hash).and_then(|flights| {
            flights.iter().find(|flight| flight.class.may_be(&class) && flight.is_young(ask))
        });
        let why = match record {
            _ if slot.is_some() => Forward::Stale,
            Some(record) if !record.slots.is_empty() => Forward::VaryMiss,
            _ => Forward::UriMiss,
        };
        let opening = |class, noted_until| {
            let stale = slot.map(|slot| slot.stored.clone());
            Opening { class, why, stale, noted_until }
        };
        if let Some(slot) = slot
            && slot.stored.terms().may_be_stale_while_revalidated(ask.now)
        {
            // One request fetches for all.
            return match flight {
                Some(_) => Judgment::Hit(slot.visit()),
                None => Judgment::Open(opening(class, None)),
            };
        }
        if let Some(until) = record.and_then(|record| record.noted_until(&class, ask.now)) {
            return Judgment::FetchUncollapsed(opening(class, Some(until)));
        }
        match flight {
            // Its response is of no use to other requests.
            Some(flight) if flight.has_ended() => Judgment::FetchUncollapsed(opening(class, None)),
            Some(flight) => Judgment::Wait(flight.ended.clone(), flight.begun + ask.wait, why),
            None if slot.is_none() && self.is_crowded(ask.hash) => {
                Judgment::Pass(Reason::TooManyVariants)
            }
            None => Judgment::Open(opening(class, None)),
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
        self.births += 1;
        let id = self.births;
        let flights = self.flights.entry(hash).or_default();
        flights.retain(|flight| !flight.class.may_be(class));
        flights.push(InFlight { id, class: class.clone(), begun: now, ended });
        (id, sender)
    }

    /// Whether a fetch for this class is in flight, or too many fetches for others.
    pub(super) fn is_fetched(&self, hash: u64, class: &Class) -> bool {
        let flights = self.flights.get(&hash);
        flights.is_some_and(|flights| flights.iter().any(|flight| flight.class.may_be(class)))
            || self.is_crowded(hash)
    }

    fn is_crowded(&self, hash: u64) -> bool {
        self.flights.get(&hash).is_some_and(|flights| flights.len() >= MOST_FETCHES)
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
        room: MemoryPermit,
        now: Instant,
    ) -> Result<Vec<Slot>, Refusal> {
        let variant = class.variant.clone().ok_or(Refusal::Vary)?;
        let fresh = stored.terms().is_fresh(now);
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
        let place = record.slots.iter().position(|slot| slot.variant == variant);
        let place = match place {
            None if record.slots.len() >= MOST_VARIANTS => Some(record.least_wanted(now)?),
            place => place,
        };
        if let Some(place) = place {
            replaced.push(record.slots.remove(place));
        }
        record.slots.reserve_exact(1);
        record.slots.push(Slot {
            variant,
            stored,
            visited: AtomicBool::new(false),
            troubled_until: None,
            room,
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
        room: MemoryPermit,
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
        if record.notes.len() >= MOST_NOTES {
            record.notes.remove(0);
        }
        let note = Note { class: class.clone(), until, strikes_left: strikes - 1, room };
        record.notes.reserve_exact(1);
        record.notes.push(note);
    }

    /// Notes that the upstream fails, so that stale responses are used without contacting it each
    /// time.
    pub(super) fn trouble(&mut self, hash: u64, variant: &Variant, until: Instant) {
        let record = self.records.get_mut(&hash);
        let slot =
            record.and_then(|record| record.slots.iter_mut().find(|slot| slot.variant == *variant));
        if let Some(slot) = slot {
            slot.troubled_until = Some(until);
        }
    }

    /// Removes a target and its fetches in flight.
    pub(super) fn forget(&mut self, hash: u64) {
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
            self.order.retain(|(hash, birth)| {
                records.get(hash).is_some_and(|record| record.birth == *birth)
            });
        }
    }

    /// Removes all records and fetches in flight.
    pub(super) fn clear(&mut self) {
        *self = Self { generation: self.generation + 1, births: self.births, ..Self::default() };
    }

    /// Evicts a target that was not used since the last pass, and returns it, so that the caller
    /// drops it without the lock. Evicts a used target only with `force`.
    pub(super) fn evict(&mut self, force: bool) -> Option<Record> {
        for _ in 0..self.order.len().min(MOST_SECOND_CHANCES) {
            let (hash, birth) = self.order.pop_front()?;
            let Some(record) = self.records.get(&hash).filter(|record| record.birth == birth)
            else {
                continue;
            };
            if !record.was_visited() || force {
                return self.records.remove(&hash);
            }
            self.order.push_back((hash, birth));
        }
        None
    }

    /// Number of stored responses.
    pub(super) fn entries(&self) -> usize {
        self.records.values().map(|record| record.slots.len()).sum()
    }

    /// Finds or creates the record of a target; `None` on a hash collision.
    fn record(&mut self, key: &Arc<Key>) -> Option<&mut Record> {
        let births = &mut self.births;
        let order = &mut self.order;
        let record = self.records.entry(key.hash).or_insert_with(|| {
            *births += 1;
            order.push_back((key.hash, *births));
            Record {
                key: key.clone(),
                birth: *births,
                vary: None,
                slots: Vec::new(),
                notes: Vec::new(),
            }
        });
        (record.key == *key).then_some(record)
    }

    /// Total bytes of all permits in this shard.
    #[cfg(test)]
    pub(super) fn room_bytes(&self) -> usize {
        let slots = self.records.values().flat_map(|record| &record.slots);
        let notes = self.records.values().flat_map(|record| &record.notes);
        slots.map(|slot| slot.room.bytes()).sum::<usize>()
            + notes.map(|note| note.room.bytes()).sum::<usize>()
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
    fn by_language(&self, ask: &Ask<'_>) -> Option<&Slot> {
        let vary = self.vary.as_ref()?;
        let language = vary.language(ask.headers)?;
        self.slots.iter().find(|slot| {
            slot.stored.head().language() == Some(&*language)
                && slot.stored.terms().is_fresh(ask.now)
                && (slot.stored.terms().for_all || !ask.authorised)
                && vary.takes_coding_of(ask.headers, &slot.variant)
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
    fn least_wanted(&self, now: Instant) -> Result<usize, Refusal> {
        let old = self.slots.iter().position(|slot| !slot.stored.terms().is_fresh(now));
        // Each loses its mark, so that the next search may find a place.
        let idle = || {
            (0..).zip(&self.slots).fold(None, |idle, (place, slot)| {
                let visited = slot.visited.swap(false, Ordering::Relaxed);
                idle.or((!visited).then_some(place))
            })
        };
        old.or_else(idle).ok_or(Refusal::TooManyVariants)
    }
}

impl Slot {
    fn may_answer(&self, now: Instant) -> bool {
        let terms = self.stored.terms();
        terms.is_fresh(now)
            || (self.troubled_until.is_some_and(|until| now < until)
                && terms.may_be_stale_on_error(now))
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
    fn is_young(&self, ask: &Ask<'_>) -> bool {
        ask.now.saturating_duration_since(self.begun) < ask.wait
    }

    /// Whether the waiting requests have been woken.
    fn has_ended(&self) -> bool {
        self.ended.has_changed().is_err()
    }
}

/// Identity hasher for keys that are hashes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }
}

#[cfg(test)]
mod tests;
