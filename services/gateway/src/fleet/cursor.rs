//! The position of a viewer in the merged stream. Pure.

use bytes::Bytes;
use server::gzip::Link;

use super::merge::Merge;
use super::name::Name;

/// A batch, encoded once for all viewers.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    pub(super) sequence: u64,
    pub(super) bytes: Bytes,
    /// The same compressed, if there were viewers that accept it.
    pub(super) link: Option<Link>,
}

/// The position of a viewer.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// The last batch that it has; 0 for none.
    seen: u64,
    pass: Option<Pass>,
}

/// A reading of the state, member by member.
#[derive(Clone, Debug)]
struct Pass {
    /// The last batch when it began.
    until: u64,
    after: Option<Name>,
}

/// What a viewer gets next.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// Nothing: it has the last batch.
    Nothing,
    /// The last batch, because it has the one before.
    Batch(Bytes),
    /// A part of the state: see [`Cursor::read`].
    State,
}

impl Cursor {
    /// What follows, where `batch` is the last one.
    pub(super) fn next(&mut self, batch: &Batch) -> Next {
        if self.pass.is_some() {
            return Next::State;
        }
        if batch.sequence <= self.seen {
            return Next::Nothing;
        }
        if self.seen > 0 && batch.sequence == self.seen + 1 {
            self.seen = batch.sequence;
            return Next::Batch(batch.bytes.clone());
        }
        Next::State
    }

    /// The next part of the state, of about `limit` bytes; it may be empty.
    pub(super) fn read(&mut self, merge: &Merge, limit: usize) -> Bytes {
        let pass = self.pass.take().unwrap_or(Pass { until: merge.sequence(), after: None });
        let part = merge.catch_up(self.seen, pass.until, pass.after.as_ref(), limit);
        if part.next.is_some() {
            self.pass = Some(Pass { after: part.next, ..pass });
        } else {
            self.seen = pass.until;
            // A batch that came meanwhile may have blocks of an instance that was replaced since, and
            // was left out for that reason.
            let until = merge.sequence();
            self.pass = (until > pass.until).then_some(Pass { until, after: None });
        }
        part.bytes
    }
}
