//! Types of the streams: blocks of values, and states of members.

/// Maximum size of one block in bytes. A summary has about 350.
pub(super) const BLOCK_BYTES: usize = 8 * 1024;

/// Kind of a block: the name of its event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// Values of the last minute, sent once per connection.
    Minute,
    /// Values of one tick.
    Summary,
}

impl Kind {
    /// Parses an event name.
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

/// State of a member.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum State {
    /// Connected, and its blocks arrive.
    Up,
    /// Connected, but no block arrives.
    Silent,
    /// Connection refused, or closed and not reopened.
    Gone,
}

impl State {
    /// Parses a state name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::Up, Self::Silent, Self::Gone].into_iter().find(|state| state.name() == name)
    }

    /// Name in messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Silent => "silent",
            Self::Gone => "gone",
        }
    }
}
