//! Keys of stored responses, and the classes of requests that share one fetch.

use std::time::{Duration, Instant};

use super::Variant;
use crate::fields::Fields;

/// What a stored answer takes beside its own bytes: a record, places in map and queue that are
/// half empty, and what an allocator adds. A test adds it up.
pub(super) const SLOT_BYTES: usize = 1024;

/// What a note takes beside its own bytes, with a record for it alone.
pub(super) const NOTE_BYTES: usize = 768;

/// The key of a stored response: site and target.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cache) struct Key {
    /// Keyed with a secret, so that a client cannot choose targets that collide.
    pub(in crate::cache) hash: u64,
    pub(in crate::cache) site: Box<str>,
    pub(in crate::cache) target: Box<str>,
    /// A response that was asked for by routes of the past answers none of the requests after them.
    pub(in crate::cache) epoch: u64,
}

impl Key {
    pub(super) fn is(&self, ask: &Ask<'_>) -> bool {
        *self.target == *ask.target && *self.site == *ask.site && self.epoch == ask.epoch
    }

    /// What a stored answer with this key takes beside its own bytes.
    pub(in crate::cache) fn slot_bytes(&self, class: &Class) -> usize {
        SLOT_BYTES + self.bytes() + class.bytes()
    }

    /// What a note with this key takes.
    pub(in crate::cache) fn note_bytes(&self, class: &Class) -> usize {
        NOTE_BYTES + self.bytes() + class.bytes()
    }

    fn bytes(&self) -> usize {
        self.site.len() + self.target.len()
    }
}

/// Requests of which one can bring the answer for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Class {
    /// With `Authorization`: the answer may be for one of them only, and what is learnt of it
    /// says nothing about the others.
    pub(in crate::cache) authorised: bool,
    /// None where it is not known yet what the answer varies with.
    pub(in crate::cache) variant: Option<Variant>,
}

impl Class {
    /// What is not known may be the same.
    pub(super) fn may_be(&self, other: &Self) -> bool {
        self.authorised == other.authorised
            && (self.variant.is_none() || other.variant.is_none() || self.variant == other.variant)
    }

    fn bytes(&self) -> usize {
        self.variant.as_ref().map_or(0, Variant::bytes)
    }
}

/// A request, ready for a lookup.
#[derive(Clone, Copy, Debug)]
pub(in crate::cache) struct Ask<'a> {
    pub(in crate::cache) hash: u64,
    pub(in crate::cache) site: &'a str,
    pub(in crate::cache) target: &'a str,
    pub(in crate::cache) epoch: u64,
    pub(in crate::cache) authorised: bool,
    pub(in crate::cache) headers: &'a Fields,
    pub(in crate::cache) now: Instant,
    /// How old a fetch may be that is waited for.
    pub(in crate::cache) wait: Duration,
}

impl Ask<'_> {
    /// Its key, to be kept.
    pub(in crate::cache) fn key(&self) -> Key {
        let Self { hash, site, target, epoch, .. } = *self;
        Key { hash, site: site.into(), target: target.into(), epoch }
    }
}
