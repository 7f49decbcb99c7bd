//! The merged state of all members. Pure: events and the time come in, connection commands and
//! batches go out, so that tests can simulate schedules.
//!
//! Memory is bounded: at most [`MOST_MEMBERS`] members, and for each one block of every kind that
//! waits for the next batch and at most [`KEPT_BYTES`] of older ones.

mod member;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use self::member::{Link, Member};

/// Members of a fleet: what a page can show, and a gateway can follow for 10 % of a core.
pub(super) const MOST_MEMBERS: usize = 1_000;

/// Addresses that are counted beyond these.
const MOST_OVER: usize = 9_000;

/// Bytes of one block. A summary has about 250.
pub(super) const BLOCK_BYTES: usize = 8 * 1024;

/// Bytes of blocks that are kept for late viewers, of one member: a minute of summaries.
const KEPT_BYTES: usize = 16 * 1024;

/// The same for all members together.
const ALL_KEPT_BYTES: usize = 8 << 20;

/// Time without a block after which a member is silent; a healthy one sends a block a second.
const SILENT_AFTER: Duration = Duration::from_secs(3);

/// Time without a block after which the connection is replaced: the peer may have vanished without
/// closing it.
const RECONNECT_AFTER: Duration = Duration::from_secs(10);

/// Time between two attempts to connect: a member that returns is seen within two seconds.
const RETRY: Duration = Duration::from_millis(500);

/// The same per member that is gone, so that many of them cost at most 200 attempts a second.
const RETRY_PER_GONE: Duration = Duration::from_millis(5);

/// Time that a member that is gone and no longer listed stays visible.
const GONE_KEPT: Duration = Duration::from_mins(10);

/// A member counts as listed for so long after a lookup named it: name servers may answer with a
/// random part of what they have.
const LISTED_FOR: Duration = Duration::from_mins(1);

/// Time after which an address that led to an instance already known is tried again.
const ALIAS_RETRY: Duration = Duration::from_secs(30);

/// The time, by both clocks: durations use the monotonic one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) unix_ms: u64,
}

/// The kind of a block: the name of its event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// The values of the last minute, sent once per connection.
    Minute,
    /// The values of one tick.
    Summary,
}

impl Kind {
    /// The kind of an event with this name.
    pub(super) fn parse(name: &[u8]) -> Option<Self> {
        match name {
            b"minute" => Some(Self::Minute),
            b"summary" => Some(Self::Summary),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Summary => "summary",
        }
    }
}

/// An event on one attempt to follow a member.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// The response has begun; the instance is absent if the member does not name it.
    Connected(Option<Box<str>>),
    /// A block, its data in one line.
    Block(Kind, Bytes),
    /// The attempt is over.
    Ended(End),
}

/// The end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    /// The address refuses connections, is unreachable, or does not serve summaries.
    Unreachable,
    /// The connection was accepted, and no response came in time.
    NoResponse,
    /// The stream ended.
    Closed,
}

/// What lists a member.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Lister {
    /// A setting, and the lookup of a name in it.
    Setting,
    /// The member itself. It is an upstream of no route.
    Announcement,
}

/// A change of connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Command {
    /// Connect to this address; events carry the number of the attempt.
    Connect(SocketAddr, u64, Lister),
    /// Close the connection to this address.
    Disconnect(SocketAddr),
}

/// The state of a member.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum State {
    /// Connected, and its blocks arrive.
    Up,
    /// No block arrives.
    Silent,
    /// The connection is refused, or ended and could not be opened again.
    Gone,
}

impl State {
    /// Its name in messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Silent => "silent",
            Self::Gone => "gone",
        }
    }
}

/// A part of the state for a viewer that is behind.
#[derive(Debug)]
pub(super) struct Part {
    /// Events; empty if nothing has changed.
    pub(super) bytes: Bytes,
    /// The last member in it, if there are more.
    pub(super) next: Option<SocketAddr>,
}

/// All members.
#[derive(Debug, Default)]
pub(super) struct Merge {
    members: BTreeMap<SocketAddr, Member>,
    /// The number of the last batch.
    sequence: u64,
    attempts: u64,
    /// Addresses beyond [`MOST_MEMBERS`], and when they were listed last.
    over: BTreeMap<SocketAddr, Instant>,
}

impl Merge {
    /// These addresses are listed; members are added, and none is removed.
    /// False when there are more than [`MOST_MEMBERS`], the first time.
    pub(super) fn list(
        &mut self,
        addresses: impl IntoIterator<Item = SocketAddr>,
        lister: Lister,
        now: Now,
    ) -> bool {
        let was_over = !self.over.is_empty();
        for address in addresses {
            if let Some(member) = self.members.get_mut(&address) {
                member.listed = now.instant;
                if lister == Lister::Setting {
                    member.lister = lister;
                }
            } else if self.members.len() < MOST_MEMBERS {
                self.members.insert(address, Member::new(lister, now.instant));
                self.over.remove(&address);
            } else if self.over.len() < MOST_OVER || self.over.contains_key(&address) {
                self.over.insert(address, now.instant);
            }
        }
        was_over || self.over.is_empty()
    }

    /// Addresses that are listed and are no members, because there are too many.
    pub(super) fn not_shown(&self) -> usize {
        self.over.len()
    }

    /// Takes an event of an attempt in. False when the attempt is of no use any more: another one
    /// has replaced it, or the instance is known by another address.
    pub(super) fn event(
        &mut self,
        address: SocketAddr,
        attempt: u64,
        event: Event,
        now: Now,
    ) -> bool {
        let retry = self.retry();
        if let Event::Connected(Some(instance)) = &event
            && let Some(other) = self.holder(instance, address)
        {
            let Some(member) = self.members.get_mut(&address) else { return false };
            if member.is_current(attempt) {
                member.become_alias(other, now.instant + ALIAS_RETRY);
            }
            return false;
        }
        let Some(member) = self.members.get_mut(&address) else { return false };
        if !member.is_current(attempt) {
            return false;
        }
        match event {
            Event::Connected(instance) => member.connected(attempt, instance, now),
            Event::Block(kind, data) => member.block(kind, data, now),
            Event::Ended(end) => {
                member.ended(end, retry, now);
                return false;
            }
        }
        true
    }

    /// The address of a member that is not gone and has this instance, other than `address`.
    fn holder(&self, instance: &str, address: SocketAddr) -> Option<SocketAddr> {
        let mut members = self.members.iter();
        let holds = |(other, member): &(&SocketAddr, &Member)| {
            **other != address
                && member.alias_of.is_none()
                && member.instance.as_deref() == Some(instance)
                && matches!(member.state, Some(State::Up | State::Silent))
        };
        members.find(holds).map(|(address, _)| *address)
    }

    fn retry(&self) -> Duration {
        let gone = self.members.values().filter(|it| it.state == Some(State::Gone)).count();
        RETRY.max(RETRY_PER_GONE * u32::try_from(gone).unwrap_or(u32::MAX))
    }

    /// Advances the clocks: to be called some times a second.
    pub(super) fn step(&mut self, now: Now) -> Vec<Command> {
        let mut commands = Vec::new();
        let usable: Vec<SocketAddr> = self
            .members
            .iter()
            .filter(|(_, it)| matches!(it.state, Some(State::Up | State::Silent)))
            .map(|(address, _)| *address)
            .collect();
        self.members.retain(|address, member| {
            let is_listed = now.instant.duration_since(member.listed) < LISTED_FOR;
            let stays = is_listed || !member.is_forgotten(GONE_KEPT, now.instant);
            if !stays && !matches!(member.link, Link::Idle(_)) {
                commands.push(Command::Disconnect(*address));
            }
            stays
        });
        self.over.retain(|_, listed| now.instant.duration_since(*listed) < LISTED_FOR);
        for (&address, member) in &mut self.members {
            if member.alias_of.is_some_and(|other| usable.binary_search(&other).is_err()) {
                member.alias_of = None;
                member.link = Link::Idle(now.instant);
            }
            if member.state == Some(State::Up)
                && now.instant.duration_since(member.last_block) >= SILENT_AFTER
            {
                member.set_state(State::Silent, member.last_block_unix_ms);
            }
            if matches!(member.link, Link::Open(_))
                && now.instant.duration_since(member.last_block) >= RECONNECT_AFTER
            {
                commands.push(Command::Disconnect(address));
                member.link = Link::Idle(now.instant);
            }
            if let Link::Idle(at) = member.link
                && at <= now.instant
            {
                self.attempts += 1;
                member.link = Link::Connecting(self.attempts);
                commands.push(Command::Connect(address, self.attempts, member.lister));
            }
        }
        commands
    }

    /// The next batch, if anything has changed: for viewers that have the one before.
    pub(super) fn flush(&mut self, now: Now) -> Option<Bytes> {
        let sequence = self.sequence + 1;
        let keep = KEPT_BYTES.min(ALL_KEPT_BYTES / self.members.len().max(1));
        let mut text = BytesMut::with_capacity(64 + 320 * self.members.len());
        text.extend_from_slice(b"event: merge\n");
        let empty = text.len();
        for (address, member) in &mut self.members {
            member.flush(*address, sequence, keep, now.instant, &mut text);
        }
        if text.len() == empty {
            return None;
        }
        self.sequence = sequence;
        text.extend_from_slice(b"\n");
        Some(text.freeze())
    }

    /// The number of the last batch.
    pub(super) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The state at the batch `until` of the members behind `after`, for a viewer that has
    /// everything up to the batch `since` (0: nothing), in events of about `limit` bytes.
    pub(super) fn catch_up(
        &self,
        since: u64,
        until: u64,
        after: Option<SocketAddr>,
        limit: usize,
    ) -> Part {
        use std::ops::Bound::{Excluded, Unbounded};
        let mut text = BytesMut::new();
        let mut next = None;
        for (address, member) in self.members.range((after.map_or(Unbounded, Excluded), Unbounded))
        {
            if text.len() >= limit {
                // The one before; there is one, because something was written.
                break;
            }
            next = Some(*address);
            if member.changed > since && member.is_shown(until) {
                if text.is_empty() {
                    text.reserve(limit.min(KEPT_BYTES) + KEPT_BYTES);
                    text.extend_from_slice(b"event: merge\n");
                }
                member.write_state(*address, since, until, &mut text);
            }
        }
        if !text.is_empty() {
            text.extend_from_slice(b"\n");
        }
        let last = self.members.last_key_value().map(|(address, _)| *address);
        Part { bytes: text.freeze(), next: next.filter(|_| next != last) }
    }

    /// The members that are shown, with their state and its beginning.
    pub(super) fn members(
        &self,
    ) -> impl Iterator<Item = (SocketAddr, Option<&str>, State, u64)> + '_ {
        self.members.iter().filter(|(_, member)| member.alias_of.is_none()).filter_map(
            |(address, member)| {
                Some((*address, member.instance.as_deref(), member.state?, member.since_unix_ms))
            },
        )
    }

    /// The member with this instance or address.
    pub(super) fn find(&self, id: &str) -> Option<(SocketAddr, State)> {
        let address: Option<SocketAddr> = id.parse().ok();
        let mut gone = None;
        for (member, instance, state, _) in self.members() {
            if address == Some(member) || instance == Some(id) {
                if state != State::Gone {
                    return Some((member, state));
                }
                gone = Some((member, state));
            }
        }
        gone
    }

    /// What lists this member.
    pub(super) fn lister(&self, address: SocketAddr) -> Lister {
        self.members.get(&address).map_or(Lister::Announcement, |member| member.lister)
    }

    /// Whether there are members, and something is known of each.
    pub(super) fn is_settled(&self) -> bool {
        !self.members.is_empty()
            && self.members.values().all(|it| it.state.is_some() || it.alias_of.is_some())
    }

    /// Forgets all members.
    pub(super) fn clear(&mut self) {
        self.members.clear();
        self.over.clear();
    }
}

#[cfg(test)]
mod tests;
