//! One member: its connection, its state, and the history of its blocks.

use std::collections::VecDeque;
use std::fmt::Write;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::{ALIAS_RETRY, End, Kind, Lister, Now, State};
use crate::fleet::name::Name;

/// Age after which a block is no longer kept for late viewers, unless it is the last one.
const HISTORY_TIME: Duration = Duration::from_mins(1);

/// Interval at which the state of a gone member is sent again: gateways that merge this one keep
/// the member as long as it is listed.
const REPEAT_GONE: Duration = Duration::from_secs(30);

/// Connection to a member.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Link {
    /// Disconnected; the next attempt is due at this time.
    Idle(Instant),
    /// The attempt with this number has no response yet.
    Connecting(u64),
    /// The attempt with this number has a response.
    Open(u64),
}

#[derive(Debug)]
struct HistoryBlock {
    sequence: u64,
    at: Instant,
    kind: Kind,
    data: Bytes,
}

/// A member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) lister: Lister,
    pub(super) link: Link,
    pub(super) instance: Option<Box<str>>,
    /// `None` until the first attempt has ended.
    pub(super) state: Option<State>,
    pub(super) since_unix_ms: u64,
    since: Instant,
    pub(super) listed: Instant,
    /// Another member with the same instance.
    pub(super) alias_of: Option<Name>,
    pub(super) last_block: Instant,
    pub(super) last_block_unix_ms: u64,
    pub(super) connected: Instant,
    /// For a gateway: its stream has delivered something.
    pub(super) has_lines: bool,
    /// For a gateway's member: the last reported state, and its attempt.
    pub(super) reported_state: State,
    pub(super) attempt: u64,
    /// Time at which its state was last sent.
    sent: Instant,
    /// The state has changed since the last batch.
    pub(super) is_dirty: bool,
    pub(super) minute: Option<Bytes>,
    pub(super) summary: Option<Bytes>,
    history: VecDeque<HistoryBlock>,
    history_bytes: usize,
    /// Number of the last batch that contains the member.
    pub(super) changed: u64,
    /// Number of the first batch with this instance.
    pub(super) began: u64,
}

impl Member {
    pub(super) fn new(lister: Lister, now: Instant) -> Self {
        Self {
            lister,
            link: Link::Idle(now),
            instance: None,
            state: None,
            since_unix_ms: 0,
            since: now,
            listed: now,
            alias_of: None,
            last_block: now,
            last_block_unix_ms: 0,
            connected: now,
            has_lines: false,
            reported_state: State::Gone,
            attempt: 0,
            sent: now,
            is_dirty: false,
            minute: None,
            summary: None,
            history: VecDeque::new(),
            history_bytes: 0,
            changed: 0,
            began: 0,
        }
    }

    pub(super) fn is_current(&self, attempt: u64) -> bool {
        matches!(self.link, Link::Connecting(it) | Link::Open(it) if it == attempt)
    }

    /// Whether it is connected, or may recover.
    pub(super) fn is_usable(&self) -> bool {
        self.alias_of.is_none() && matches!(self.state, Some(State::Up | State::Silent))
    }

    /// Whether viewers do not see it: its instance is visible under another name, or it is a
    /// gateway, which is only visible while its members cannot be.
    pub(super) fn is_hidden(&self) -> bool {
        self.alias_of.is_some() || (self.is_gateway() && self.state == Some(State::Up))
    }

    /// Whether viewers may have it.
    pub(super) fn was_shown(&self) -> bool {
        self.began > 0
    }

    fn is_gateway(&self) -> bool {
        self.lister == Lister::Gateway
    }

    /// Whether its state is known.
    pub(super) fn is_settled(&self) -> bool {
        let waits = self.is_gateway() && self.state == Some(State::Up) && !self.has_lines;
        self.alias_of.is_some() || (self.state.is_some() && !waits)
    }

    pub(super) fn set_state(&mut self, state: State, unix_ms: u64) {
        if self.state != Some(state) {
            self.state = Some(state);
            self.since_unix_ms = unix_ms;
            self.is_dirty = true;
        }
    }

    /// Marks the member as an alias of another address of the same instance.
    pub(super) fn become_alias(&mut self, other: Name, retry: Instant) {
        let listed = self.listed;
        *self = Self::new(self.lister, retry);
        self.listed = listed;
        self.alias_of = Some(other);
    }

    pub(super) fn connected(&mut self, attempt: u64, instance: Option<Box<str>>, now: Now) {
        self.link = Link::Open(attempt);
        self.connected = now.instant;
        self.alias_of = None;
        let is_same = self.instance == instance && instance.is_some();
        if !is_same {
            self.clear();
            self.began = 0;
            self.instance = instance;
            self.state = None;
        }
        if !matches!(self.state, Some(State::Up | State::Silent)) {
            self.last_block = now.instant;
            self.last_block_unix_ms = now.unix_ms;
            self.since = now.instant;
            self.set_state(State::Up, now.unix_ms);
        }
    }

    /// Removes all blocks: those of one instance must not appear under another.
    pub(super) fn clear(&mut self) {
        (self.minute, self.summary) = (None, None);
        self.history.clear();
        self.history_bytes = 0;
    }

    /// A gateway's stream has delivered something.
    pub(super) fn alive(&mut self, now: Now) {
        self.last_block = now.instant;
        self.last_block_unix_ms = now.unix_ms;
        self.has_lines = true;
        self.set_state(State::Up, now.unix_ms);
    }

    pub(super) fn has_blocks(&self) -> bool {
        !self.history.is_empty()
    }

    /// The last block of a kind in the history.
    pub(super) fn last(&self, kind: Kind) -> Option<&Bytes> {
        self.history.iter().rev().find(|block| block.kind == kind).map(|block| &block.data)
    }

    pub(super) fn block(&mut self, kind: Kind, data: Bytes, now: Now) {
        self.last_block = now.instant;
        self.last_block_unix_ms = now.unix_ms;
        self.set_state(State::Up, now.unix_ms);
        // The last one wins: a batch contains one block of a kind per member.
        match kind {
            Kind::Minute => self.minute = Some(data),
            Kind::Summary => self.summary = Some(data),
        }
    }

    pub(super) fn ended(&mut self, end: End, retry: Duration, now: Now) {
        let was_brief = now.instant.duration_since(self.connected) < Duration::from_secs(1);
        let wait = match end {
            End::Closed if !was_brief => Duration::ZERO,
            // An operator must change a setting.
            End::Loop => ALIAS_RETRY,
            _ => retry,
        };
        self.link = Link::Idle(now.instant + wait);
        match end {
            End::Unreachable | End::Loop => self.gone(now.unix_ms, now.instant),
            End::NoResponse if self.state.is_none() => self.set_state(State::Silent, now.unix_ms),
            End::NoResponse | End::Closed => {}
        }
    }

    pub(super) fn gone(&mut self, unix_ms: u64, now: Instant) {
        if self.state != Some(State::Gone) {
            self.since = now;
        }
        self.set_state(State::Gone, unix_ms);
    }

    /// Whether it has been gone for this time, or was never connected.
    pub(super) fn is_forgotten(&self, retention: Duration, now: Instant) -> bool {
        match self.state {
            Some(State::Gone) => now.duration_since(self.since) >= retention,
            Some(_) => false,
            None => true,
        }
    }

    /// Writes pending blocks, and keeps them for late viewers.
    pub(super) fn flush(
        &mut self,
        name: &Name,
        sequence: u64,
        keep: usize,
        now: Now,
        text: &mut BytesMut,
    ) {
        let new = [(Kind::Minute, self.minute.take()), (Kind::Summary, self.summary.take())];
        if self.is_hidden() {
            return;
        }
        let Now { instant: now, unix_ms } = now;
        if self.state == Some(State::Gone) && now.duration_since(self.sent) >= REPEAT_GONE {
            self.is_dirty = true;
        }
        let is_new = self.is_dirty || new.iter().any(|(_, data)| data.is_some());
        if !is_new {
            return;
        }
        if std::mem::take(&mut self.is_dirty) {
            self.sent = now;
            self.write_member(name, unix_ms, text);
        }
        self.changed = sequence;
        if self.began == 0 {
            self.began = sequence;
        }
        for (kind, data) in new {
            let Some(data) = data else { continue };
            write_block(name, kind, &data, text);
            self.history_bytes += data.len();
            self.history.push_back(HistoryBlock { sequence, at: now, kind, data });
        }
        while self.history.len() > 1
            && let Some(first) = self.history.front()
            && (self.history_bytes > keep || now.duration_since(first.at) >= HISTORY_TIME)
        {
            self.history_bytes -= first.data.len();
            self.history.pop_front();
        }
    }

    /// Whether batch `until` showed the member with its current instance.
    pub(super) fn is_shown(&self, until: u64) -> bool {
        !self.is_hidden() && self.state.is_some() && (1..=until).contains(&self.began)
    }

    /// Writes the state at batch `until` for a viewer that has everything up to batch `since`: all
    /// kept blocks if the instance is new to it, otherwise the minute if it is new, and the last
    /// block.
    pub(super) fn write_state(
        &self,
        name: &Name,
        since: u64,
        until: u64,
        unix_ms: u64,
        text: &mut BytesMut,
    ) {
        self.write_member(name, unix_ms, text);
        let is_whole = since == 0 || self.began > since;
        let end = self.history.partition_point(|block| block.sequence <= until);
        for (index, block) in self.history.range(..end).enumerate() {
            let is_wanted = is_whole || block.kind == Kind::Minute || index + 1 == end;
            if is_wanted && block.sequence > since {
                write_block(name, block.kind, &block.data, text);
            }
        }
    }

    fn write_member(&self, name: &Name, unix_ms: u64, text: &mut BytesMut) {
        let Some(state) = self.state else { return };
        // Writing to BytesMut cannot fail. The instance contains no character that JSON escapes.
        let _ = write!(text, "data: {name} member {{\"state\":\"{}\"", state.name());
        if let Some(instance) = &self.instance {
            let _ = write!(text, ",\"instance\":\"{instance}\"");
        }
        let _ = write!(text, ",\"since_unix_ms\":{}", self.since_unix_ms);
        if state != State::Up {
            // The clock of a viewer may be wrong.
            let _ = write!(text, ",\"time_unix_ms\":{unix_ms}");
        }
        text.extend_from_slice(b"}\n");
    }
}

/// Writes that a name is no longer a member: viewers do not display a member that is gone since
/// 1970.
pub(super) fn write_removed(name: &Name, text: &mut BytesMut) {
    // Writing to BytesMut cannot fail.
    let _ = writeln!(text, "data: {name} member {{\"state\":\"gone\",\"since_unix_ms\":0}}");
}

fn write_block(name: &Name, kind: Kind, data: &Bytes, text: &mut BytesMut) {
    // Writing to BytesMut cannot fail.
    let _ = write!(text, "data: {name} {} ", kind.name());
    text.extend_from_slice(data);
    text.extend_from_slice(b"\n");
}
