//! A request that brings an answer into the cache: fed with the upstream's answer as it comes.

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

/// Room that is taken at once for a body whose length is not known.
const FIRST_BYTES: usize = 16 * 1024;

/// What to do with the upstream's answer.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Pass it on, and feed the body to [`Fill::body`].
    Storing,
    /// Pass it on; it is not kept, for this reason.
    Forward(Refusal),
    /// Send this instead: the stored answer, which may be used while the upstream fails.
    Instead(Answer),
}

/// A request that brings an answer into the cache. Others wait for it: when it is dropped before
/// the answer is complete, one of them takes its place.
#[derive(Debug)]
pub(crate) struct Fill {
    inner: Arc<Inner>,
    key: Arc<Key>,
    class: Class,
    request: Fields,
    begun: Instant,
    forwarded: Forwarded,
    /// Its entry among the fetches, and what wakes the others when it is dropped.
    flight: Option<(u64, Option<watch::Sender<()>>)>,
    /// No request waits for it.
    loose: bool,
    noted_until: Option<Instant>,
    generation: u64,
    stale: Option<Arc<CacheEntry>>,
    /// Changes to the fields that clients receive. What the response means to the cache is what the
    /// upstream says.
    pub(crate) edits: Option<Arc<FieldRules>>,
    state: State,
}

/// A body that was collected in vain, with its room until the client has it.
#[derive(Debug)]
pub(crate) struct Leftover {
    /// What had been collected.
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
    /// What the upstream said of the length of the body.
    length: Option<usize>,
    room: MemoryPermit,
    /// Room among all that comes in at the same time.
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
    /// answer may be for others too, so it must be in a coding that all of them take. Where others
    /// wait for it, it must be whole; no request waits for the response to a condition.
    pub(crate) fn changes(&self) -> impl Iterator<Item = (HeaderName, Option<HeaderValue>)> {
        let codings = Codings::of(&self.request).field();
        let conditions = match &self.stale {
            Some(stale) => Some(revalidation::conditions(stale.head())),
            None if self.asks_conditionally() => None,
            None => Some([(IF_NONE_MATCH, None), (IF_MODIFIED_SINCE, None)]),
        };
        conditions.into_iter().flatten().chain([(ACCEPT_ENCODING, Some(codings))])
    }

    /// Whether the upstream is to judge the client's conditions: nothing is stored, and no request
    /// waits.
    fn asks_conditionally(&self) -> bool {
        self.loose && self.stale.is_none()
    }

    /// Whether it takes the body in.
    pub(crate) fn is_storing(&self) -> bool {
        matches!(self.state, State::Storing(_))
    }

    /// The body as far as it has been taken in.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.state {
            State::Storing(storing) => &storing.body,
            _ => &[],
        }
    }

    /// What to say in `Cache-Status`, if the answer is passed on.
    pub(crate) fn forwarded(&self) -> Forwarded {
        Forwarded { stored: matches!(self.state, State::Storing(_)), ..self.forwarded }
    }

    /// The upstream answers; the head is as it came, before anything of the gateway's is added.
    /// Informational answers (1xx) are not passed in.
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
            // It answers one client's condition and says nothing of what others would get.
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

    /// Whether the client, whose conditions the upstream did not see, has this very answer, and may
    /// be told 304.
    pub(crate) fn client_has_it(&self, status: StatusCode, headers: &Fields) -> bool {
        let modified = date(headers, LAST_MODIFIED);
        status == StatusCode::OK && client_has_it(&self.request, headers.get(ETAG), modified)
    }

    /// The upstream did not answer. The stored answer, where it may be used then; the others get
    /// it too, for a while without asking the upstream.
    pub(crate) fn failed(&mut self, now: Instant) -> Option<Answer> {
        self.instead_of_failure(None, now)
    }

    /// Takes in a piece of the body.
    ///
    /// # Errors
    /// With what was taken in before, when the answer is not kept after all.
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

    /// Stops storing, and hands out what was taken in.
    fn give_up(&mut self, refusal: Refusal, now: Instant) -> Result<(), Leftover> {
        let State::Storing(storing) = std::mem::replace(&mut self.state, State::Over) else {
            return Ok(());
        };
        self.refuse(refusal, false, now);
        let Storing { body, room, coming, .. } = *storing;
        Err(Leftover { bytes: body.into(), _room: room, _coming: coming })
    }

    /// The body is complete, and handed out. It is not stored after all where it is shorter than
    /// announced, or something else came in between.
    pub(crate) fn finish(self, now: Instant) -> Bytes {
        self.end(now).0
    }

    /// As [`Self::finish`]; whether it was stored.
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
            // Who comes next may have more luck.
            return (body, false);
        }
        let stored = Arc::new(head.with(body.clone()));
        drop(coming);
        let is_stored = self.store(stored, &vary, &class, room, now);
        (body, is_stored)
    }

    /// Takes what is known of the answer.
    fn start(&mut self, status: StatusCode, headers: &Fields, now: Moment) -> Result<(), Refusal> {
        let delay = now.instant.saturating_duration_since(self.begun);
        let terms = Terms::of(status, headers, self.class.authorised, delay, now)?;
        if status.is_server_error()
            && self.stale.as_ref().is_some_and(|stale| !stale.head().status().is_server_error())
        {
            // One client may have provoked it, and it would take the place of what all others get.
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
            // It is kept for when the upstream fails, but it answers none of those who wait.
            self.wake();
        }
        Ok(())
    }

    /// Becomes the one that stores, if it was not.
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

    /// Answers with a stored response that the upstream has confirmed, and stores it anew where it
    /// may be kept.
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
                // The upstream has withdrawn what it allowed before.
                write(self.inner.shard(self.key.hash)).forget(self.key.hash);
            }
        }
        let how = How::Asked(Some(StatusCode::NOT_MODIFIED));
        Answer::new(fresh, how, &self.request, false, now.instant)
    }

    /// Stores a response that was confirmed.
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

    /// Stores the answer, then lets the others go on; false if it may not be stored any more.
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
            // Struck off: another request fetches it, or it is to be forgotten.
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
            // Those who wait would fetch it one after the other.
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

    /// The response is not stored: no request waits for it, nor for the next.
    fn refuse(&mut self, refusal: Refusal, error: bool, now: Instant) {
        self.state = State::Over;
        self.inner.counters.refused.add();
        if refusal != Refusal::Superseded && self.is_worth_a_note(now) {
            self.note(&self.class, error, now);
        }
        self.leave();
    }

    /// Where no request waits and nothing is known, a note would only take room; and where there is
    /// one, it is enough to write it anew now and then.
    fn is_worth_a_note(&self, now: Instant) -> bool {
        let sender = self.flight.as_ref().and_then(|(_, sender)| sender.as_ref());
        // One receiver is the list of fetches.
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

    /// Lets the others go on, but stays the one that stores.
    fn wake(&mut self) {
        if let Some((_, sender)) = &mut self.flight {
            *sender = None;
        }
    }

    /// Strikes itself off, then lets the others go on.
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

/// How long the body will be; none where its end is marked in it.
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
