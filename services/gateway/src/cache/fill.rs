//! A cache fill: a request whose response from the upstream is stored while it is transferred.

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ETAG, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use http::{HeaderValue, StatusCode};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

use super::answer::CachedResponse;
use super::cache_status::{Forwarded, ResponseSource};
use super::conditional::is_not_modified;
use super::entry::{CacheEntry, Head, body_length};
use super::freshness::{Freshness, Moment, Refusal, date, shows_outdated};
use super::revalidation;
use super::shard::{Class, FetchPlan, Key, ShardQuery};
use super::vary::{Codings, Vary};
use super::{Inner, write};
use crate::fields::Fields;
use crate::memory_budget::MemoryPermit;
use crate::request::field_rules::FieldRules;

/// Initial reservation for a body of unknown length.
const FIRST_BYTES: usize = 16 * 1024;

/// Handling of the upstream's response.
#[derive(Debug)]
pub(crate) enum FillDecision {
    /// Forward it, and pass the body to [`Fill::body`].
    Storing,
    /// Forward it; it is not stored, for this reason.
    Forward(Refusal),
    /// Send the stored response instead; it is stale but usable while the upstream fails.
    Substitute(CachedResponse),
}

/// A request whose response is stored. Other requests wait for it: if it is dropped before the
/// response is complete, one of them takes over.
#[derive(Debug)]
pub(crate) struct Fill {
    inner: Arc<Inner>,
    key: Arc<Key>,
    class: Class,
    request: Fields,
    begun: Instant,
    forwarded: Forwarded,
    /// Its entry among the fetches in flight, and the sender that wakes the waiting requests when
    /// dropped.
    flight: Option<(u64, Option<watch::Sender<()>>)>,
    /// No request waits for it.
    is_uncollapsed: bool,
    noted_until: Option<Instant>,
    generation: u64,
    stale: Option<Arc<CacheEntry>>,
    /// Changes to the fields that clients receive. Cacheability depends on the upstream's fields
    /// only.
    pub(crate) edits: Option<Arc<FieldRules>>,
    state: State,
}

/// A collected body that is not stored, with its reservation until the client has received it.
#[derive(Debug)]
pub(crate) struct Leftover {
    /// The body up to this point.
    pub(crate) bytes: Bytes,
    _permit: MemoryPermit,
    _transfer_permit: MemoryPermit,
}

#[derive(Debug)]
enum State {
    Pending,
    Storing(Box<Storing>),
    Over,
}

#[derive(Debug)]
struct Storing {
    head: Head,
    vary: Vary,
    class: Class,
    body: Vec<u8>,
    /// The body length that the upstream announced.
    length: Option<usize>,
    permit: MemoryPermit,
    /// Reservation in the limit for responses in transfer.
    transfer_permit: MemoryPermit,
}

impl Fill {
    pub(super) fn new(
        inner: Arc<Inner>,
        query: &ShardQuery<'_>,
        plan: FetchPlan,
        flight: Option<(u64, watch::Sender<()>)>,
        generation: u64,
        waited: bool,
    ) -> Self {
        Self {
            inner,
            key: Arc::new(query.key()),
            class: plan.class,
            request: query.headers.clone(),
            begun: query.now,
            forwarded: Forwarded { fwd: plan.fwd, waited, stored: false },
            is_uncollapsed: flight.is_none(),
            flight: flight.map(|(id, sender)| (id, Some(sender))),
            generation,
            stale: plan.stale,
            noted_until: plan.noted_until,
            edits: None,
            state: State::Pending,
        }
    }

    /// Fields to set, or to remove where there is no value, in the request to the upstream. The
    /// response may be shared, so its coding must be acceptable to all requests of the class. While
    /// other requests wait, the response must be complete; a conditional request has no waiters.
    pub(crate) fn changes(&self) -> impl Iterator<Item = (HeaderName, Option<HeaderValue>)> {
        let codings = Codings::of(&self.request).field();
        let conditions = match &self.stale {
            Some(stale) => Some(revalidation::conditions(stale.head())),
            None if self.forwards_conditions() => None,
            None => Some([(IF_NONE_MATCH, None), (IF_MODIFIED_SINCE, None)]),
        };
        conditions.into_iter().flatten().chain([(ACCEPT_ENCODING, Some(codings))])
    }

    /// Whether the upstream evaluates the client's conditions: the fill is not coalesced.
    fn forwards_conditions(&self) -> bool {
        self.is_uncollapsed && self.stale.is_none()
    }

    /// Whether it collects the body.
    pub(crate) fn is_storing(&self) -> bool {
        matches!(self.state, State::Storing(_))
    }

    /// The body collected up to this point.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.state {
            State::Storing(storing) => &storing.body,
            _ => &[],
        }
    }

    /// `Cache-Status` of the response, if it is forwarded.
    pub(crate) fn forwarded(&self) -> Forwarded {
        Forwarded { stored: matches!(self.state, State::Storing(_)), ..self.forwarded }
    }

    /// Processes the upstream's response head, before the gateway adds its own fields. The caller
    /// does not pass informational responses (1xx).
    pub(crate) fn response(
        &mut self,
        status: StatusCode,
        headers: &Fields,
        now: Moment,
    ) -> FillDecision {
        if !matches!(self.state, State::Pending) {
            return FillDecision::Forward(Refusal::Superseded);
        }
        if status == StatusCode::NOT_MODIFIED
            && let Some(stale) = self.stale.take_if(|stale| revalidation::has_validator(stale))
        {
            return FillDecision::Substitute(self.freshen(&stale, headers, now));
        }
        if status == StatusCode::NOT_MODIFIED {
            // The 304 answers one client's condition and does not apply to other requests.
            self.state = State::Over;
            self.end_flight();
            return FillDecision::Forward(Refusal::Status);
        }
        // RFC 5861, section 4.
        if matches!(status.as_u16(), 500 | 502 | 503 | 504)
            && let Some(answer) = self.stale_on_error(Some(status), now.instant)
        {
            return FillDecision::Substitute(answer);
        }
        match self.start(status, headers, now) {
            Ok(()) => FillDecision::Storing,
            Err(refusal) => {
                let error = status.is_client_error() || status.is_server_error();
                let is_outdated = self.withdraws() && shows_outdated(status, refusal);
                self.refuse(refusal, error, is_outdated, now.instant);
                FillDecision::Forward(refusal)
            }
        }
    }

    /// Whether the client, whose conditions were not forwarded, already has this response, so that
    /// 304 is correct.
    pub(crate) fn is_not_modified(&self, status: StatusCode, headers: &Fields) -> bool {
        let modified = date(headers, LAST_MODIFIED);
        status == StatusCode::OK && is_not_modified(&self.request, headers.get(ETAG), modified)
    }

    /// Handles a missing response from the upstream. Returns the stored response where
    /// `stale-if-error` allows it; other requests get it too, for a while without contacting the
    /// upstream.
    pub(crate) fn failed(&mut self, now: Instant) -> Option<CachedResponse> {
        self.stale_on_error(None, now)
    }

    /// Collects a piece of the body.
    ///
    /// # Errors
    /// Returns the body collected before, if the response cannot be stored after all.
    pub(crate) fn body(&mut self, piece: &[u8], now: Instant) -> Result<(), Leftover> {
        let State::Storing(storing) = &mut self.state else { return Ok(()) };
        let most = storing.length.unwrap_or(self.inner.entry_bytes);
        let length = storing.body.len() + piece.len();
        if length > most {
            let refusal =
                if storing.length.is_some() { Refusal::Framing } else { Refusal::TooLarge };
            return self.give_up(refusal, now);
        }
        if length > storing.body.capacity() {
            let capacity = length.max(2 * storing.body.capacity()).max(FIRST_BYTES).min(most);
            let more = capacity - storing.body.capacity();
            if !storing.transfer_permit.grow(more) || !self.inner.grow(&mut storing.permit, more) {
                return self.give_up(Refusal::NoMemory, now);
            }
            storing.body.reserve_exact(capacity - storing.body.len());
        }
        storing.body.extend_from_slice(piece);
        Ok(())
    }

    /// Stops storing, and returns the body collected up to this point.
    fn give_up(&mut self, refusal: Refusal, now: Instant) -> Result<(), Leftover> {
        let State::Storing(storing) = std::mem::replace(&mut self.state, State::Over) else {
            return Ok(());
        };
        let is_outdated = self.withdraws() && refusal == Refusal::TooLarge;
        self.refuse(refusal, false, is_outdated, now);
        let Storing { body, permit, transfer_permit, .. } = *storing;
        Err(Leftover { bytes: body.into(), _permit: permit, _transfer_permit: transfer_permit })
    }

    /// Completes the fill and returns the body. It is not stored if it is shorter than announced,
    /// or if the fill has been superseded.
    pub(crate) fn finish(self, now: Instant) -> Bytes {
        self.end(now).0
    }

    /// Completes the fill like [`Self::finish`]; returns whether the response was stored.
    #[cfg(test)]
    pub(super) fn complete(self, now: Instant) -> bool {
        self.end(now).1
    }

    fn end(mut self, now: Instant) -> (Bytes, bool) {
        let State::Storing(storing) = std::mem::replace(&mut self.state, State::Over) else {
            return (Bytes::new(), false);
        };
        let Storing { head, vary, class, body, length, permit, transfer_permit } = *storing;
        let body = Bytes::from(body.into_boxed_slice());
        if length.is_some_and(|length| length != body.len()) {
            // The next request may succeed.
            return (body, false);
        }
        let stored = Arc::new(head.with(body.clone()));
        drop(transfer_permit);
        let is_stored = self.store(stored, &vary, &class, permit, now);
        (body, is_stored)
    }

    /// Starts to store a response with this head.
    fn start(&mut self, status: StatusCode, headers: &Fields, now: Moment) -> Result<(), Refusal> {
        let delay = now.instant.saturating_duration_since(self.begun);
        let freshness = Freshness::of(status, headers, self.class.authorised, delay, now)?;
        if status.is_server_error()
            && self.stale.as_ref().is_some_and(|stale| !stale.head().status().is_server_error())
        {
            // One client may have provoked the error, and it would replace the response that all
            // others get.
            return Err(Refusal::Failure);
        }
        let vary = Vary::of(headers).ok_or(Refusal::Vary)?;
        let variant = vary.variant(&self.request).ok_or(Refusal::Vary)?;
        let length = body_length(status, headers)?;
        if length.is_some_and(|length| length > self.inner.entry_bytes) {
            return Err(Refusal::TooLarge);
        }
        let class = Class { authorised: self.class.authorised, variant: Some(variant) };
        self.begin_flight(&class, now.instant)?;
        let head = Head::new(status, headers, freshness, now, self.edits.as_deref());
        let bytes = length.unwrap_or(0);
        let overhead = self.key.slot_bytes(&class);
        let (mut permit, mut transfer_permit) =
            (self.inner.memory.permit(), self.inner.transfer_memory.permit());
        if !transfer_permit.grow(bytes)
            || !self.inner.grow(&mut permit, overhead + head.bytes() + bytes)
        {
            return Err(Refusal::NoMemory);
        }
        self.state = State::Storing(Box::new(Storing {
            head,
            vary,
            class,
            body: Vec::with_capacity(bytes),
            length,
            permit,
            transfer_permit,
        }));
        if !freshness.may_be_stale_while_revalidated(now.instant) {
            // The response is stored for upstream failures, but cannot answer the waiting requests.
            self.wake_waiters();
        }
        Ok(())
    }

    /// Registers this fill as the one that stores, if it is not registered yet.
    fn begin_flight(&mut self, class: &Class, now: Instant) -> Result<(), Refusal> {
        if self.flight.is_some() {
            return Ok(());
        }
        let mut shard = write(self.inner.shard(self.key.hash));
        if shard.generation != self.generation || shard.is_in_flight(self.key.hash, class) {
            return Err(Refusal::Superseded);
        }
        let (id, sender) = shard.begin(self.key.hash, class, now);
        self.flight = Some((id, Some(sender)));
        Ok(())
    }

    /// Returns a stored response that the upstream has revalidated, and stores it again where
    /// allowed.
    fn freshen(&mut self, stale: &CacheEntry, update: &Fields, now: Moment) -> CachedResponse {
        let fields = revalidation::freshened(stale.head(), update);
        let status = stale.head().status();
        let delay = now.instant.saturating_duration_since(self.begun);
        let freshness = Freshness::of(status, &fields, self.class.authorised, delay, now);
        let expired = freshness.unwrap_or(Freshness::expired(now));
        let head = Head::new(status, &fields, expired, now, self.edits.as_deref());
        let fresh = Arc::new(head.with(stale.body().clone()));
        self.state = State::Over;
        self.inner.counters.revalidated.add();
        if let Err(refusal) = freshness.and_then(|_| self.keep(&fresh, &fields, now.instant)) {
            // Otherwise the upstream has not withdrawn the permission to store.
            self.refuse(refusal, false, refusal == Refusal::Forbidden, now.instant);
        }
        let source = ResponseSource::Forwarded(Some(StatusCode::NOT_MODIFIED));
        CachedResponse::new(fresh, source, &self.request, false, now.instant)
    }

    /// Stores a revalidated response.
    fn keep(
        &mut self,
        fresh: &Arc<CacheEntry>,
        fields: &Fields,
        now: Instant,
    ) -> Result<(), Refusal> {
        let vary = Vary::of(fields).ok_or(Refusal::Vary)?;
        let variant = vary.variant(&self.request).ok_or(Refusal::Vary)?;
        let class = Class { authorised: self.class.authorised, variant: Some(variant) };
        self.begin_flight(&class, now)?;
        let mut permit = self.inner.memory.permit();
        if !self.inner.grow(&mut permit, self.key.slot_bytes(&class) + fresh.bytes()) {
            return Err(Refusal::NoMemory);
        }
        self.store(fresh.clone(), &vary, &class, permit, now);
        Ok(())
    }

    /// Stores the response, then wakes the waiting requests; false if it may not be stored anymore.
    fn store(
        &mut self,
        stored: Arc<CacheEntry>,
        vary: &Vary,
        class: &Class,
        mut permit: MemoryPermit,
        now: Instant,
    ) -> bool {
        let Some((id, sender)) = self.flight.take() else { return false };
        permit.shrink_to(self.key.slot_bytes(class) + stored.bytes());
        let answers_others = stored.freshness().may_be_stale_while_revalidated(now);
        let result = {
            let mut shard = write(self.inner.shard(self.key.hash));
            // If the flight is no longer registered, another request fetches the response or it has
            // been invalidated.
            if shard.end(self.key.hash, id) {
                shard.store(&self.key, vary, class, stored, permit, now)
            } else {
                Err(Refusal::Superseded)
            }
        };
        match &result {
            Ok(_) => self.inner.counters.stored.add(),
            Err(_) => self.inner.counters.refused.add(),
        }
        if result.is_ok() && !answers_others {
            // Otherwise the waiting requests would fetch it one after the other.
            self.note(class, false, now);
        }
        drop(sender);
        result.is_ok()
    }

    fn stale_on_error(
        &mut self,
        status: Option<StatusCode>,
        now: Instant,
    ) -> Option<CachedResponse> {
        let stale = self.stale.clone()?;
        if !matches!(self.state, State::Pending) || !stale.freshness().may_be_stale_on_error(now) {
            return None;
        }
        if let Some(variant) = &self.class.variant {
            let until = now + self.inner.settings.uncacheable;
            write(self.inner.shard(self.key.hash)).mark_failing(self.key.hash, variant, until);
        }
        self.state = State::Over;
        self.end_flight();
        self.inner.counters.stale.add();
        let source = ResponseSource::Forwarded(status);
        Some(CachedResponse::new(stale, source, &self.request, false, now))
    }

    /// Whether another response of the upstream, which is not stored, withdraws the stored one.
    /// Otherwise clients would get it for as long as it may be stale.
    fn withdraws(&self) -> bool {
        self.stale.is_some() && !self.class.authorised
    }

    /// Marks the response as not stored: neither waiting nor later requests wait for it. Removes the
    /// stored response if it is outdated.
    fn refuse(&mut self, refusal: Refusal, error: bool, is_outdated: bool, now: Instant) {
        self.state = State::Over;
        self.inner.counters.refused.add();
        let is_noted = if is_outdated {
            // With its notes, and the fields that select a variant.
            write(self.inner.shard(self.key.hash)).invalidate(self.key.hash);
            (self.stale, self.class.variant) = (None, None);
            // One client may have provoked an error.
            !error
        } else {
            refusal != Refusal::Superseded && self.is_worth_a_note(now)
        };
        if is_noted {
            self.note(&self.class, error, now);
        }
        self.end_flight();
    }

    /// Whether a note is useful. Without waiting requests or an existing record, a note would only
    /// use memory; an existing note is renewed only when half of its time has passed.
    fn is_worth_a_note(&self, now: Instant) -> bool {
        let sender = self.flight.as_ref().and_then(|(_, sender)| sender.as_ref());
        // The list of fetches holds one receiver.
        let others_wait = sender.is_some_and(|sender| sender.receiver_count() > 1);
        let noted = self.noted_until.is_some_and(|until| {
            until.saturating_duration_since(now) > self.inner.settings.uncacheable / 2
        });
        others_wait || (!noted && (self.is_uncollapsed || self.stale.is_some()))
    }

    fn note(&self, class: &Class, error: bool, now: Instant) {
        let mut permit = self.inner.memory.permit();
        if self.inner.grow(&mut permit, self.key.note_bytes(class)) {
            let until = now + self.inner.settings.uncacheable;
            let mut shard = write(self.inner.shard(self.key.hash));
            shard.note(&self.key, class, error, until, now, permit);
        }
    }

    /// Wakes the waiting requests, but remains the registered fetch.
    fn wake_waiters(&mut self) {
        if let Some((_, sender)) = &mut self.flight {
            *sender = None;
        }
    }

    /// Deregisters this fetch, then wakes the waiting requests.
    fn end_flight(&mut self) {
        if let Some((id, sender)) = self.flight.take() {
            write(self.inner.shard(self.key.hash)).end(self.key.hash, id);
            drop(sender);
        }
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        self.end_flight();
    }
}
