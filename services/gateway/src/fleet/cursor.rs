//! Position of a viewer in the merged stream. Pure.

use bytes::Bytes;
use server::gzip::Link;

use super::merge::Merge;
use super::name::Name;

/// A batch, encoded once for all viewers.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    pub(super) sequence: u64,
    pub(super) bytes: Bytes,
    /// Compressed form, if any viewer accepts it.
    pub(super) link: Option<Link>,
}

/// Position of a viewer.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// The last batch that it has received; 0 for none.
    seen: u64,
    pass: Option<Pass>,
}

/// A pass over the state, member by member.
#[derive(Clone, Debug)]
struct Pass {
    /// The last batch at the start of the pass.
    until: u64,
    after: Option<Name>,
}

/// Next output for a viewer.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// Nothing: the viewer is up to date.
    Nothing,
    /// The last batch: the viewer has the one before.
    Batch(Bytes),
    /// A part of the state: see [`Cursor::read`].
    State,
}

impl Cursor {
    /// Determines the next output; `batch` is the last one.
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

    /// Reads the next part of the state, of about `limit` bytes; it may be empty.
    pub(super) fn read(&mut self, merge: &Merge, limit: usize) -> Bytes {
        let pass = self.pass.take().unwrap_or(Pass { until: merge.sequence(), after: None });
        let part = merge.catch_up(self.seen, pass.until, pass.after.as_ref(), limit);
        if part.next.is_some() {
            self.pass = Some(Pass { after: part.next, ..pass });
        } else {
            self.seen = pass.until;
            // A batch that arrived meanwhile may contain blocks of an instance that has been
            // replaced since, and was skipped for that reason.
            let until = merge.sequence();
            self.pass = (until > pass.until).then_some(Pass { until, after: None });
        }
        part.bytes
    }
}
