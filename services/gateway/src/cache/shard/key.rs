//! Keys of stored responses, and the classes of requests that share one fetch.

use std::time::{Duration, Instant};

use super::Variant;
use crate::fields::Fields;

/// Memory overhead of a stored response in bytes: a record, places in map and queue at half load,
/// and allocator overhead. A test verifies the sum.
pub(super) const SLOT_BYTES: usize = 1024;

/// Memory overhead of a note in bytes, with its own record.
pub(super) const NOTE_BYTES: usize = 768;

/// Key of a stored response: site and target.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cache) struct Key {
    /// Keyed hash with a random secret, so that clients cannot provoke collisions.
    pub(in crate::cache) hash: u64,
    pub(in crate::cache) site: Box<str>,
    pub(in crate::cache) target: Box<str>,
    /// A response that was fetched with previous routes does not answer later requests.
    pub(in crate::cache) epoch: u64,
}

impl Key {
    pub(super) fn is(&self, query: &ShardQuery<'_>) -> bool {
        *self.target == *query.target && *self.site == *query.site && self.epoch == query.epoch
    }

    /// Overhead of a stored response with this key in bytes.
    pub(in crate::cache) fn slot_bytes(&self, class: &Class) -> usize {
        SLOT_BYTES + self.bytes() + class.bytes()
    }

    /// Memory of a note with this key in bytes.
    pub(in crate::cache) fn note_bytes(&self, class: &Class) -> usize {
        NOTE_BYTES + self.bytes() + class.bytes()
    }

    fn bytes(&self) -> usize {
        self.site.len() + self.target.len()
    }
}

/// Class of requests that share one fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Class {
    /// The request has `Authorization`: the response may be for one of them only, and notes about
    /// it do not apply to the others.
    pub(in crate::cache) authorised: bool,
    /// `None` until the selecting fields are known.
    pub(in crate::cache) variant: Option<Variant>,
}

impl Class {
    /// Whether the classes may be equal; an unknown variant matches any.
    pub(super) fn may_match(&self, other: &Self) -> bool {
        self.authorised == other.authorised
            && (self.variant.is_none() || other.variant.is_none() || self.variant == other.variant)
    }

    fn bytes(&self) -> usize {
        self.variant.as_ref().map_or(0, Variant::bytes)
    }
}

/// A request, prepared for a lookup.
#[derive(Clone, Copy, Debug)]
pub(in crate::cache) struct ShardQuery<'a> {
    pub(in crate::cache) hash: u64,
    pub(in crate::cache) site: &'a str,
    pub(in crate::cache) target: &'a str,
    pub(in crate::cache) epoch: u64,
    pub(in crate::cache) authorised: bool,
    pub(in crate::cache) headers: &'a Fields,
    pub(in crate::cache) now: Instant,
    /// Maximum age of a fetch that requests wait for.
    pub(in crate::cache) wait: Duration,
}

impl ShardQuery<'_> {
    /// An owned key.
    pub(in crate::cache) fn key(&self) -> Key {
        let Self { hash, site, target, epoch, .. } = *self;
        Key { hash, site: site.into(), target: target.into(), epoch }
    }
}
