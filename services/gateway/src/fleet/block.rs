//! The vocabulary of the streams: blocks of values, and states of members.

/// Bytes of one block. A summary has about 350.
pub(super) const BLOCK_BYTES: usize = 8 * 1024;

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

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Summary => "summary",
        }
    }
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
    /// The state with this name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::Up, Self::Silent, Self::Gone].into_iter().find(|state| state.name() == name)
    }

    /// Its name in messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Silent => "silent",
            Self::Gone => "gone",
        }
    }
}
