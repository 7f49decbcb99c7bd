//! Merged state of all members. Pure: events and times are inputs, connection commands and batches
//! are outputs, so that tests can simulate schedules.
//!
//! Memory is bounded: at most [`MAX_MEMBERS`] direct addresses and [`MAX_BELOW`] members of
//! gateways, and for each one a pending block of every kind and at most [`HISTORY_BYTES`] of older
//! ones.

mod below;
mod event;
mod member;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use self::below::Above;
pub(crate) use self::event::Lister;
pub(super) use self::event::{Command, End, Event, Now};
use self::member::{Link, Member};
use super::block::{Kind, State};
use super::name::Name;

/// Maximum addresses that a gateway connects to, members and gateways: a page can display them, and
/// a gateway can follow them with 10 % of a core.
pub(super) const MAX_MEMBERS: usize = 1_000;

/// Maximum members of other gateways in total: ten times as many as direct members, because they
/// need no connection each.
pub(super) const MAX_BELOW: usize = 10_000;

/// Maximum addresses that are counted beyond these.
const MAX_EXCESS: usize = 9_000;

/// Maximum bytes of blocks kept for late viewers per member: one minute of summaries of 410 bytes.
const HISTORY_BYTES: usize = 25 * 1024;

/// Maximum bytes of kept blocks of all members together.
const TOTAL_HISTORY_BYTES: usize = 8 << 20;

/// Time without a block after which a member is silent; a healthy one sends a block per second.
const SILENT_AFTER: Duration = Duration::from_secs(3);

/// Time without a block after which the connection is replaced: the peer may have vanished without
/// closing it.
const RECONNECT_AFTER: Duration = Duration::from_secs(10);

/// Minimum time between two connection attempts: a member that returns is detected within two
/// seconds.
const RETRY: Duration = Duration::from_millis(500);

/// Additional time per gone member, so that all together cause at most 200 attempts per second.
const RETRY_PER_GONE: Duration = Duration::from_millis(5);

/// Time that a gone member stays visible after it is no longer listed.
const GONE_TIME: Duration = Duration::from_mins(10);

/// Time that a member counts as listed after a lookup returned it: name servers may return a random
/// subset of the addresses.
pub(super) const LISTING_TIME: Duration = Duration::from_mins(1);

/// Time after which an address of an already connected instance is tried again.
const ALIAS_RETRY: Duration = Duration::from_secs(30);

/// A part of the state for a viewer that is behind.
#[derive(Debug)]
pub(super) struct Part {
    /// Events; empty if nothing has changed.
    pub(super) bytes: Bytes,
    /// The last member of this part, if there are more.
    pub(super) next: Option<Name>,
}

/// All members, and the gateways whose members are merged.
#[derive(Debug, Default)]
pub(super) struct Merge {
    members: BTreeMap<Name, Member>,
    /// Number of members that belong to other gateways.
    below: usize,
    /// Member of each instance, sorted by instance; the member may have another instance by now.
    instance_owners: Vec<(Box<str>, Name)>,
    /// Names that viewers may have, and that are no longer shown.
    removed: Vec<Name>,
    /// Number of the last batch.
    sequence: u64,
    attempts: u64,
    /// Time of the last step.
    unix_ms: u64,
    /// Names beyond [`MAX_MEMBERS`] and [`MAX_BELOW`], with the time of their last listing,
    /// sorted by name. A map would add as much code as the one of the members.
    excess: Vec<(Name, Instant)>,
}

impl Merge {
    /// Adds listed addresses; none is removed. Returns false when the number exceeds
    /// [`MAX_MEMBERS`] for the first time.
    pub(super) fn list(
        &mut self,
        addresses: impl IntoIterator<Item = SocketAddr>,
        lister: Lister,
        now: Now,
    ) -> bool {
        let had_excess = !self.excess.is_empty();
        let mut count = self.members.len() - self.below;
        for address in addresses {
            let name = Name::from(address);
            if let Some(member) = self.member(&name) {
                member.listed = now.instant;
                if lister == Lister::Gateway && member.lister != Lister::Gateway {
                    *member = Member::new(lister, now.instant);
                } else if lister == Lister::Setting && member.lister == Lister::Announcement {
                    member.lister = lister;
                }
            } else if count < MAX_MEMBERS {
                count += 1;
                self.remove_excess(&name);
                self.members.insert(name, Member::new(lister, now.instant));
            } else {
                self.add_excess(name, now.instant);
            }
        }
        had_excess || self.excess.is_empty()
    }

    fn add_excess(&mut self, name: Name, now: Instant) {
        match self.find_excess(&name) {
            Ok(index) => self.excess[index].1 = now,
            Err(index) if self.excess.len() < MAX_EXCESS => self.excess.insert(index, (name, now)),
            Err(_) => {}
        }
    }

    fn find_excess(&self, name: &Name) -> Result<usize, usize> {
        self.excess.binary_search_by(|(other, _)| other.cmp(name))
    }

    fn remove_excess(&mut self, name: &Name) {
        if let Ok(index) = self.find_excess(name) {
            self.excess.remove(index);
        }
    }

    /// Number of listed names that are not members because of the limits.
    pub(super) fn not_shown(&self) -> usize {
        self.excess.len()
    }

    /// Processes an event of a connection attempt. Returns false if the attempt is obsolete:
    /// another one has replaced it, or the instance is connected by another address.
    pub(super) fn event(
        &mut self,
        address: SocketAddr,
        attempt: u64,
        event: Event,
        now: Now,
    ) -> bool {
        let name = Name::from(address);
        if !self.member(&name).is_some_and(|member| member.is_current(attempt)) {
            return false;
        }
        match event {
            Event::Connected(instance) => return self.connected(&name, attempt, instance, now),
            Event::Lines(lines) => {
                self.change(&name, |member| member.alive(now));
                self.take(address, attempt, lines, now);
            }
            Event::Alive => self.change(&name, |member| member.alive(now)),
            Event::Block(kind, data) => self.change(&name, |member| member.block(kind, data, now)),
            Event::Ended(end) => {
                let retry = self.retry();
                self.change(&name, |member| member.ended(end, retry, now));
                return false;
            }
        }
        true
    }

    /// Changes a member, and records whether viewers must remove it.
    fn change(&mut self, name: &Name, change: impl FnOnce(&mut Member)) {
        let Some(member) = self.member(name) else { return };
        let was_shown = member.was_shown();
        change(member);
        if was_shown && member.is_hidden() {
            member.began = 0;
            self.note_removed(name);
        }
    }

    #[inline(never)]
    fn note_removed(&mut self, name: &Name) {
        self.removed.push(name.clone());
    }

    #[inline(never)]
    fn member(&mut self, name: &Name) -> Option<&mut Member> {
        self.members.get_mut(name)
    }

    fn connected(
        &mut self,
        name: &Name,
        attempt: u64,
        instance: Option<Box<str>>,
        now: Now,
    ) -> bool {
        let other = instance.as_deref().and_then(|instance| self.instance_owner(instance, name));
        if let Some(other) = other {
            if other.below.is_none() {
                self.change(name, |member| member.become_alias(other, now.instant + ALIAS_RETRY));
                self.remove_below(name.address);
                return false;
            }
            // The member's direct connection is shorter.
            self.change(&other, |member| member.hide(name.clone()));
        }
        if let Some(instance) = &instance {
            self.set_instance_owner(instance, name);
        }
        self.change(name, |member| member.connected(attempt, instance, now));
        true
    }

    /// Name of a member other than `name` that is not gone and has this instance.
    fn instance_owner(&self, instance: &str, name: &Name) -> Option<Name> {
        let index = self.find_instance(instance).ok()?;
        let other = Some(&self.instance_owners[index].1).filter(|other| *other != name)?;
        let member = self.members.get(other)?;
        let holds = member.is_usable() && member.instance.as_deref() == Some(instance);
        holds.then(|| other.clone())
    }

    fn find_instance(&self, instance: &str) -> Result<usize, usize> {
        self.instance_owners.binary_search_by(|(held, _)| (**held).cmp(instance))
    }

    #[inline(never)]
    fn set_instance_owner(&mut self, instance: &str, name: &Name) {
        match self.find_instance(instance) {
            Ok(index) => self.instance_owners[index].1 = name.clone(),
            Err(index) => self.instance_owners.insert(index, (instance.into(), name.clone())),
        }
    }

    /// Time between connection attempts.
    fn retry(&self) -> Duration {
        let is_gone = |(name, member): &(&Name, &Member)| {
            name.below.is_none() && member.state == Some(State::Gone)
        };
        let gone = self.members.iter().filter(is_gone).count();
        RETRY.max(RETRY_PER_GONE * u32::try_from(gone).unwrap_or(u32::MAX))
    }

    /// Reopens the connection to this address.
    pub(super) fn reopen(&mut self, address: SocketAddr, now: Now) {
        self.change(&address.into(), |member| member.link = Link::Idle(now.instant));
    }

    /// Advances the timers; the caller runs it several times per second.
    pub(super) fn step(&mut self, now: Now) -> Vec<Command> {
        self.unix_ms = now.unix_ms;
        let mut commands = Vec::new();
        self.forget(now.instant, &mut commands);
        self.release(now.instant);
        // The order of names puts the members of a gateway after it.
        let mut above = None;
        for (name, member) in &mut self.members {
            if name.below.is_some() {
                if let Some(above) = &above {
                    member.follow(above, now);
                }
                continue;
            }
            let address = name.address;
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
            above = Some(Above::of(member));
        }
        commands
    }

    /// Removes members that are gone and have not been listed for a long time.
    fn forget(&mut self, now: Instant, commands: &mut Vec<Command>) {
        let is_recent = |listed: Instant| now.duration_since(listed) < LISTING_TIME;
        let (mut above, mut lost): (Option<(SocketAddr, bool)>, Vec<Name>) = (None, Vec::new());
        for (name, member) in &self.members {
            let mut is_kept = is_recent(member.listed) || !member.is_forgotten(GONE_TIME, now);
            if name.below.is_none() {
                if !is_kept && !matches!(member.link, Link::Idle(_)) {
                    commands.push(Command::Disconnect(name.address));
                }
                above = is_kept.then_some((name.address, member.state == Some(State::Up)));
            } else {
                // While a gateway is disconnected, it cannot list its members.
                let above = above.filter(|(address, _)| *address == name.address);
                is_kept = above.is_some_and(|(_, is_up)| is_kept || !is_up);
            }
            if !is_kept {
                lost.push(name.clone());
            }
        }
        for name in lost {
            self.remove(&name);
        }
        self.excess.retain(|(_, listed)| is_recent(*listed));
        if self.instance_owners.len() > 2 * self.members.len() + MAX_MEMBERS {
            let members = &self.members;
            self.instance_owners.retain(|(instance, name)| {
                members.get(name).is_some_and(|it| it.instance.as_ref() == Some(instance))
            });
        }
    }

    /// Returns the next batch, if anything has changed: for viewers that have the one before.
    pub(super) fn flush(&mut self, now: Now) -> Option<Bytes> {
        let sequence = self.sequence + 1;
        let keep = HISTORY_BYTES.min(TOTAL_HISTORY_BYTES / self.members.len().max(1));
        let mut text = BytesMut::with_capacity(64 + 400 * self.members.len());
        text.extend_from_slice(b"event: merge\n");
        let empty = text.len();
        for name in self.removed.drain(..) {
            member::write_removed(&name, &mut text);
        }
        for (name, member) in &mut self.members {
            member.flush(name, sequence, keep, now, &mut text);
        }
        if text.len() == empty {
            return None;
        }
        self.sequence = sequence;
        text.extend_from_slice(b"\n");
        Some(text.freeze())
    }

    /// Number of the last batch.
    pub(super) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// State at batch `until` of the members after `after`, for a viewer that has everything up to
    /// batch `since` (0: nothing), in events of about `limit` bytes.
    pub(super) fn catch_up(
        &self,
        since: u64,
        until: u64,
        after: Option<&Name>,
        limit: usize,
    ) -> Part {
        use std::ops::Bound::{Excluded, Unbounded};
        let mut text = BytesMut::new();
        let mut next = None;
        let behind = (after.map_or(Unbounded, Excluded), Unbounded);
        for (name, member) in self.members.range::<Name, _>(behind) {
            if text.len() >= limit {
                // `next` is the previous member; it exists, because something was written.
                break;
            }
            next = Some(name);
            if member.changed > since && member.is_shown(until) {
                if text.is_empty() {
                    text.reserve(limit.min(HISTORY_BYTES) + HISTORY_BYTES);
                    text.extend_from_slice(b"event: merge\n");
                }
                member.write_state(name, since, until, self.unix_ms, &mut text);
            }
        }
        if !text.is_empty() {
            text.extend_from_slice(b"\n");
        }
        let last = self.members.last_key_value().map(|(name, _)| name);
        Part { bytes: text.freeze(), next: next.filter(|_| next != last).cloned() }
    }

    /// Visible members, with their state and its start.
    pub(super) fn members(&self) -> impl Iterator<Item = (&Name, Option<&str>, State, u64)> + '_ {
        self.members.iter().filter(|(_, member)| !member.is_hidden()).filter_map(
            |(name, member)| {
                Some((name, member.instance.as_deref(), member.state?, member.since_unix_ms))
            },
        )
    }

    /// Finds the member with this instance or name.
    pub(super) fn find(&self, id: &str) -> Option<(&Name, State)> {
        let requested = Name::parse(id);
        let mut gone = None;
        for (name, instance, state, _) in self.members() {
            if requested.as_ref() == Some(name) || instance == Some(id) {
                if state != State::Gone {
                    return Some((name, state));
                }
                gone = Some((name, state));
            }
        }
        gone
    }

    /// Source that lists this member, or its gateway.
    pub(super) fn lister(&self, name: &Name) -> Lister {
        let direct = self.members.get(&name.address.into());
        direct.map_or(Lister::Announcement, |member| member.lister)
    }

    /// Whether there are members, and the state of each one is known.
    pub(super) fn is_settled(&self) -> bool {
        !self.members.is_empty() && self.members.values().all(Member::is_settled)
    }

    /// Removes all members.
    pub(super) fn clear(&mut self) {
        self.members.clear();
        self.below = 0;
        self.instance_owners.clear();
        self.removed.clear();
        self.excess.clear();
    }
}

#[cfg(test)]
mod tests;
