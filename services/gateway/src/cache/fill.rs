//! A cache fill: a request whose response from the upstream is stored while it is transferred.

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, ETAG, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, TRANSFER_ENCODING,
};
use http::{HeaderValue, StatusCode};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

use super::answer::Answer;
use super::cache_status::{Forwarded, How};
use super::conditional::client_has_it;
use super::entry::{CacheEntry, Head};
use super::freshness::{Moment, Refusal, Terms, date};
use super::revalidation;
use super::shard::{Ask, Class, Key, Opening};
use super::vary::{Codings, Vary};
use super::{Inner, write};
use crate::fields::Fields;
use crate::memory_budget::MemoryPermit;
use crate::request::field_rules::FieldRules;

/// Initial reservation for a body of unknown length.
const FIRST_BYTES: usize = 16 * 1024;

/// Handling of the upstream's response.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Forward it, and pass the body to [`Fill::body`].
    Storing,
    /// Forward it; it is not stored, for this reason.
    Forward(Refusal),
    /// Send the stored response instead; it is stale but usable while the upstream fails.
    Instead(Answer),
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
    loose: bool,
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
    _room: MemoryPermit,
    _coming: MemoryPermit,
}

#[derive(Debug)]
enum State {
    Asked,
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
    room: MemoryPermit,
    /// Reservation in the limit for responses in transfer.
    coming: MemoryPermit,
}

impl Fill {
    pub(super) fn new(
        inner: Arc<Inner>,
        ask: &Ask<'_>,
        opening: Opening,
        flight: Option<(u64, watch::Sender<()>)>,
        generation: u64,
        waited: bool,
    ) -> Self {
        Self {
            inner,
            key: Arc::new(ask.key()),
            class: opening.class,
            request: ask.headers.clone(),
            begun: ask.now,
            forwarded: Forwarded { why: opening.why, waited, stored: false },
            loose: flight.is_none(),
            flight: flight.map(|(id, sender)| (id, Some(sender))),
            generation,
            stale: opening.stale,
            noted_until: opening.noted_until,
            edits: None,
            state: State::Asked,
        }
    }

    /// Fields to set, or to remove where there is no value, in the request to the upstream. The
    /// response may be shared, so its coding must be acceptable to all requests of the class. While
    /// other requests wait, the response must be complete; a conditional request has no waiters.
    pub(crate) fn changes(&self) -> impl Iterator<Item = (HeaderName, Option<HeaderValue>)> {
        let codings = Codings::of(&self.request).field();
        let conditions = match &self.stale {
            Some(stale) => Some(revalidation::conditions(stale.head())),
            None if self.asks_conditionally() => None,
            None => Some([(IF_NONE_MATCH, None), (IF_MODIFIED_SINCE, None)]),
        };
        conditions.into_iter().flatten().chain([(ACCEPT_ENCODING, Some(codings))])
    }

    /// Whether the upstream evaluates the client's conditions: the fill is not coalesced.
    fn asks_conditionally(&self) -> bool {
        self.loose && self.stale.is_none()
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
    ) -> Verdict {
        if !matches!(self.state, State::Asked) {
            return Verdict::Forward(Refusal::Superseded);
        }
        if status == StatusCode::NOT_MODIFIED
            && let Some(stale) = self.stale.take_if(|stale| revalidation::has_validator(stale))
        {
            return Verdict::Instead(self.freshen(&stale, headers, now));
        }
        if status == StatusCode::NOT_MODIFIED {
            // The 304 answers one client's condition and does not apply to other requests.
            self.state = State::Over;
            self.leave();
            return Verdict::Forward(Refusal::Status);
        }
        // RFC 5861, section 4.
        if matches!(status.as_u16(), 500 | 502 | 503 | 504)
            && let Some(answer) = self.instead_of_failure(Some(status), now.instant)
        {
            return Verdict::Instead(answer);
        }
        match self.start(status, headers, now) {
            Ok(()) => Verdict::Storing,
            Err(refusal) => {
                let error = status.is_client_error() || status.is_server_error();
                self.refuse(refusal, error, now.instant);
                Verdict::Forward(refusal)
            }
        }
    }

    /// Whether the client, whose conditions were not forwarded, already has this response, so that
    /// 304 is correct.
    pub(crate) fn client_has_it(&self, status: StatusCode, headers: &Fields) -> bool {
        let modified = date(headers, LAST_MODIFIED);
        status == StatusCode::OK && client_has_it(&self.request, headers.get(ETAG), modified)
    }

    /// Handles a missing response from the upstream. Returns the stored response where
    /// `stale-if-error` allows it; other requests get it too, for a while without contacting the
    /// upstream.
    pub(crate) fn failed(&mut self, now: Instant) -> Option<Answer> {
        self.instead_of_failure(None, now)
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
            if !storing.coming.grow(more) || !self.inner.grow(&mut storing.room, more) {
                return self.give_up(Refusal::TooLarge, now);
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
        self.refuse(refusal, false, now);
        let Storing { body, room, coming, .. } = *storing;
        Err(Leftover { bytes: body.into(), _room: room, _coming: coming })
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
        let Storing { head, vary, class, body, length, room, coming } = *storing;
        let body = Bytes::from(body.into_boxed_slice());
        if length.is_some_and(|length| length != body.len()) {
            // The next request may succeed.
            return (body, false);
        }
        let stored = Arc::new(head.with(body.clone()));
        drop(coming);
        let is_stored = self.store(stored, &vary, &class, room, now);
        (body, is_stored)
    }

    /// Starts to store a response with this head.
    fn start(&mut self, status: StatusCode, headers: &Fields, now: Moment) -> Result<(), Refusal> {
        let delay = now.instant.saturating_duration_since(self.begun);
        let terms = Terms::of(status, headers, self.class.authorised, delay, now)?;
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
        self.enter(&class, now.instant)?;
        let head = Head::new(status, headers, terms, now, self.edits.as_deref());
        let bytes = length.unwrap_or(0);
        let overhead = self.key.slot_bytes(&class);
        let (mut room, mut coming) = (self.inner.space.room(), self.inner.coming.room());
        if !coming.grow(bytes) || !self.inner.grow(&mut room, overhead + head.bytes() + bytes) {
            return Err(Refusal::TooLarge);
        }
        self.state = State::Storing(Box::new(Storing {
            head,
            vary,
            class,
            body: Vec::with_capacity(bytes),
            length,
            room,
            coming,
        }));
        if !terms.may_be_stale_while_revalidated(now.instant) {
            // The response is stored for upstream failures, but cannot answer the waiting requests.
            self.wake();
        }
        Ok(())
    }

    /// Registers this fill as the one that stores, if it is not registered yet.
    fn enter(&mut self, class: &Class, now: Instant) -> Result<(), Refusal> {
        if self.flight.is_some() {
            return Ok(());
        }
        let mut shard = write(self.inner.shard(self.key.hash));
        if shard.generation != self.generation || shard.is_fetched(self.key.hash, class) {
            return Err(Refusal::Superseded);
        }
        let (id, sender) = shard.begin(self.key.hash, class, now);
        self.flight = Some((id, Some(sender)));
        Ok(())
    }

    /// Returns a stored response that the upstream has revalidated, and stores it again where
    /// allowed.
    fn freshen(&mut self, stale: &CacheEntry, update: &Fields, now: Moment) -> Answer {
        let fields = revalidation::freshened(stale.head(), update);
        let status = stale.head().status();
        let delay = now.instant.saturating_duration_since(self.begun);
        let terms = Terms::of(status, &fields, self.class.authorised, delay, now);
        let spent = terms.unwrap_or(Terms::spent(now));
        let head = Head::new(status, &fields, spent, now, self.edits.as_deref());
        let fresh = Arc::new(head.with(stale.body().clone()));
        self.state = State::Over;
        self.inner.counters.revalidated.add();
        if let Err(refusal) = terms.and_then(|_| self.keep(&fresh, &fields, now.instant)) {
            self.refuse(refusal, false, now.instant);
            if refusal == Refusal::Forbidden {
                // The upstream has withdrawn the permission to store.
                write(self.inner.shard(self.key.hash)).forget(self.key.hash);
            }
        }
        let how = How::Asked(Some(StatusCode::NOT_MODIFIED));
        Answer::new(fresh, how, &self.request, false, now.instant)
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
        self.enter(&class, now)?;
        let mut room = self.inner.space.room();
        if !self.inner.grow(&mut room, self.key.slot_bytes(&class) + fresh.bytes()) {
            return Err(Refusal::TooLarge);
        }
        self.store(fresh.clone(), &vary, &class, room, now);
        Ok(())
    }

    /// Stores the response, then wakes the waiting requests; false if it may not be stored anymore.
    fn store(
        &mut self,
        stored: Arc<CacheEntry>,
        vary: &Vary,
        class: &Class,
        mut room: MemoryPermit,
        now: Instant,
    ) -> bool {
        let Some((id, sender)) = self.flight.take() else { return false };
        room.shrink_to(self.key.slot_bytes(class) + stored.bytes());
        let answers_others = stored.terms().may_be_stale_while_revalidated(now);
        let result = {
            let mut shard = write(self.inner.shard(self.key.hash));
            // If the flight is no longer registered, another request fetches the response or it has
            // been invalidated.
            if shard.end(self.key.hash, id) {
                shard.store(&self.key, vary, class, stored, room, now)
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

    fn instead_of_failure(&mut self, status: Option<StatusCode>, now: Instant) -> Option<Answer> {
        let stale = self.stale.clone()?;
        if !matches!(self.state, State::Asked) || !stale.terms().may_be_stale_on_error(now) {
            return None;
        }
        if let Some(variant) = &self.class.variant {
            let until = now + self.inner.settings.uncacheable;
            write(self.inner.shard(self.key.hash)).trouble(self.key.hash, variant, until);
        }
        self.state = State::Over;
        self.leave();
        self.inner.counters.stale.add();
        Some(Answer::new(stale, How::Asked(status), &self.request, false, now))
    }

    /// Marks the response as not stored: neither waiting nor later requests wait for it.
    fn refuse(&mut self, refusal: Refusal, error: bool, now: Instant) {
        self.state = State::Over;
        self.inner.counters.refused.add();
        if refusal != Refusal::Superseded && self.is_worth_a_note(now) {
            self.note(&self.class, error, now);
        }
        self.leave();
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
        others_wait || (!noted && (self.loose || self.stale.is_some()))
    }

    fn note(&self, class: &Class, error: bool, now: Instant) {
        let mut room = self.inner.space.room();
        if self.inner.grow(&mut room, self.key.note_bytes(class)) {
            let until = now + self.inner.settings.uncacheable;
            let mut shard = write(self.inner.shard(self.key.hash));
            shard.note(&self.key, class, error, until, now, room);
        }
    }

    /// Wakes the waiting requests, but remains the registered fetch.
    fn wake(&mut self) {
        if let Some((_, sender)) = &mut self.flight {
            *sender = None;
        }
    }

    /// Deregisters this fetch, then wakes the waiting requests.
    fn leave(&mut self) {
        if let Some((id, sender)) = self.flight.take() {
            write(self.inner.shard(self.key.hash)).end(self.key.hash, id);
            drop(sender);
        }
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Length of the body; `None` if chunked framing marks its end.
fn body_length(status: StatusCode, headers: &Fields) -> Result<Option<usize>, Refusal> {
    if status == StatusCode::NO_CONTENT {
        return Ok(Some(0));
    }
    let number = |line: &HeaderValue| {
        let text = line.to_str().ok()?;
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
    };
    let mut codings = headers.get_all(TRANSFER_ENCODING);
    let mut lengths = headers.get_all(CONTENT_LENGTH);
    match (codings.next(), codings.next(), lengths.next(), lengths.next()) {
        (None, _, Some(length), None) => Ok(Some(number(length).ok_or(Refusal::Framing)?)),
        (Some(coding), None, None, _) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            Ok(None)
        }
        _ => Err(Refusal::Framing),
    }
}
