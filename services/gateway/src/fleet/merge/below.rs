//! Members of other gateways, from the lines of their streams.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::member::{Link, Member};
use super::{Kind, Lister, MAX_BELOW, Merge, Name, Now, RECONNECT_AFTER, SILENT_AFTER, State};
use crate::fleet::event_stream::{Line, Update};
use crate::fleet::name::MAX_LEVELS;

/// Time after which a reconnected gateway has listed its members; they need a second or two to
/// connect.
const LISTING_TIMEOUT: Duration = Duration::from_secs(10);

/// State of a member's gateway.
pub(super) struct Above {
    state: Option<State>,
    since_unix_ms: u64,
    last_unix_ms: u64,
    /// The open attempt and its start.
    open: Option<(u64, Instant)>,
}

impl Above {
    pub(super) fn of(member: &Member) -> Self {
        let open = match member.link {
            Link::Open(attempt) => Some((attempt, member.connected)),
            _ => None,
        };
        let Member { state, since_unix_ms, last_block_unix_ms: last_unix_ms, .. } = *member;
        Self { state, since_unix_ms, last_unix_ms, open }
    }
}

/// State of a member that a gateway reports, and the attempt of the report.
#[derive(Clone, Copy)]
struct ReportedState {
    attempt: u64,
    state: State,
    since_unix_ms: u64,
}

impl Merge {
    /// Processes lines of a gateway's stream.
    pub(super) fn take(&mut self, address: SocketAddr, attempt: u64, lines: Vec<Line>, now: Now) {
        for Line { name, update } in lines {
            let name = Name::below(address, name);
            match update {
                Update::State { state: State::Gone, since_unix_ms: 0, .. } => self.remove(&name),
                Update::State { state, instance, since_unix_ms } => {
                    self.apply_state(
                        name,
                        ReportedState { attempt, state, since_unix_ms },
                        instance,
                        now,
                    );
                }
                Update::Block(kind, data) => {
                    if let Some(member) = self.member(&name) {
                        // Only after the state, which identifies the instance.
                        if member.attempt == attempt && member.alias_of.is_none() {
                            member.block_below(kind, data, now);
                        }
                    } else if let Ok(index) = self.find_excess(&name) {
                        self.excess[index].1 = now.instant;
                    }
                }
            }
        }
    }

    fn apply_state(
        &mut self,
        name: Name,
        reported_state: ReportedState,
        instance: Option<Box<str>>,
        now: Now,
    ) {
        if self.member(&name).is_none() {
            if name.levels() > MAX_LEVELS || self.below >= MAX_BELOW {
                self.add_excess(name, now.instant);
                return;
            }
            self.below += 1;
            self.remove_excess(&name);
            self.members.insert(name.clone(), Member::new(Lister::Setting, now.instant));
        }
        let is_usable = reported_state.state != State::Gone;
        let known = instance.as_deref().filter(|_| is_usable);
        let mut nearer = known.and_then(|instance| self.instance_owner(instance, &name));
        if let Some(other) = nearer.take_if(|other| other.levels() > name.levels()) {
            self.change(&other, |member| member.hide(name.clone()));
        }
        if let Some(instance) = known.filter(|_| nearer.is_none()) {
            self.set_instance_owner(instance, &name);
        }
        self.change(&name, |member| {
            member.apply_state(reported_state, instance, now);
            match nearer {
                Some(other) => member.hide(other),
                None if is_usable => member.alias_of = None,
                None => {}
            }
        });
    }

    /// Shows aliases again whose instance is no longer available under the other name.
    pub(super) fn release(&mut self, now: Instant) {
        let is_lost = |member: &Member| {
            let other = member.alias_of.as_ref();
            other.is_some_and(|other| !self.members.get(other).is_some_and(Member::is_usable))
        };
        let lost = self.members.iter().filter(|(_, member)| is_lost(member));
        let lost: Vec<Name> = lost.map(|(name, _)| name.clone()).collect();
        for name in lost {
            let Some(member) = self.member(&name) else { continue };
            member.alias_of = None;
            let instance = member.instance.clone().filter(|_| member.is_usable());
            if name.below.is_none() {
                member.link = Link::Idle(now);
                continue;
            }
            member.is_dirty = true;
            let Some(instance) = instance else { continue };
            if let Some(other) = self.instance_owner(&instance, &name) {
                self.change(&name, |member| member.hide(other));
            } else {
                self.set_instance_owner(&instance, &name);
            }
        }
    }

    /// Removes a name that is no longer a member.
    pub(super) fn remove(&mut self, name: &Name) {
        self.remove_excess(name);
        let Some(member) = self.members.remove(name) else { return };
        self.below -= usize::from(name.below.is_some());
        if member.was_shown() {
            self.note_removed(name);
        }
    }

    /// Removes all members of a gateway.
    pub(super) fn remove_below(&mut self, address: SocketAddr) {
        let mut names = Vec::new();
        for name in self.members.keys() {
            if name.address == address && name.below.is_some() {
                names.push(name.clone());
            }
        }
        for name in names {
            self.remove(&name);
        }
    }
}

impl Member {
    /// Marks the member as an alias of another name of the same instance.
    pub(super) fn hide(&mut self, other: Name) {
        self.clear();
        self.alias_of = Some(other);
    }

    fn apply_state(&mut self, reported_state: ReportedState, instance: Option<Box<str>>, now: Now) {
        let ReportedState { attempt, state, since_unix_ms } = reported_state;
        (self.attempt, self.reported_state, self.listed) = (attempt, state, now.instant);
        // Without an instance, a member that comes up may be a different one.
        let is_same = self.instance == instance && (instance.is_some() || state != State::Up);
        if !is_same {
            self.clear();
            self.began = 0;
            self.instance = instance;
        }
        match state {
            State::Gone => self.gone(since_unix_ms, now.instant),
            _ => self.set_state(state, since_unix_ms),
        }
        if state == State::Up {
            self.last_block = now.instant;
            self.last_block_unix_ms = now.unix_ms;
        }
        self.is_dirty |= !is_same || self.since_unix_ms != since_unix_ms;
        self.since_unix_ms = since_unix_ms;
    }

    fn block_below(&mut self, kind: Kind, data: Bytes, now: Now) {
        // A silent or gone member only has old blocks for late viewers.
        if self.reported_state == State::Up {
            self.last_block = now.instant;
            self.last_block_unix_ms = now.unix_ms;
            if self.state == Some(State::Silent) {
                self.set_state(State::Up, now.unix_ms);
            }
        }
        // A reconnected gateway repeats known blocks.
        match kind {
            Kind::Minute if self.has_blocks() => {}
            // The repeated history ended with this block.
            Kind::Summary if self.last(kind) == Some(&data) => self.summary = None,
            Kind::Minute => self.minute = Some(data),
            Kind::Summary => self.summary = Some(data),
        }
    }

    /// Applies a state change of the member's gateway.
    pub(super) fn follow(&mut self, above: &Above, now: Now) {
        match above.state {
            Some(State::Up) => {}
            Some(State::Gone) => return self.gone(above.since_unix_ms, now.instant),
            Some(State::Silent) if self.state == Some(State::Up) => {
                return self.set_state(State::Silent, above.last_unix_ms);
            }
            _ => return,
        }
        let is_reported = above.open.is_some_and(|(attempt, _)| attempt == self.attempt);
        // The gateway has more precise information than this one, which may receive two blocks in
        // one batch.
        let silence_limit = if is_reported { RECONNECT_AFTER } else { SILENT_AFTER };
        if self.state == Some(State::Up)
            && now.instant.duration_since(self.last_block) >= silence_limit
        {
            self.set_state(State::Silent, self.last_block_unix_ms);
        }
        let lists_since = above.open.filter(|_| !is_reported).map(|(_, since)| since);
        if lists_since.is_some_and(|since| now.instant.duration_since(since) >= LISTING_TIMEOUT) {
            self.gone(now.unix_ms, now.instant);
        }
    }
}
