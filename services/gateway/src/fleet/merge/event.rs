//! Inputs and outputs of the merge.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use crate::fleet::block::Kind;
use crate::fleet::event_stream::Line;

/// The time on both clocks: durations use the monotonic one.
#[derive(Clone, Copy, Debug)]
pub(in crate::fleet) struct Now {
    pub(in crate::fleet) instant: Instant,
    pub(in crate::fleet) unix_ms: u64,
}

/// Event of a connection attempt.
#[derive(Clone, Debug)]
pub(in crate::fleet) enum Event {
    /// The response has begun; the instance is absent if the member does not report it.
    Connected(Option<Box<str>>),
    /// A block with one line of data.
    Block(Kind, Bytes),
    /// Lines of a gateway's stream: whole events, or a part between two members.
    Lines(Vec<Line>),
    /// A gateway has sent something.
    Alive,
    /// The attempt has ended.
    Ended(End),
}

/// Reason for the end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::fleet) enum End {
    /// The address refuses connections, is unreachable, or does not serve summaries.
    Unreachable,
    /// The connection was accepted, but no response arrived in time.
    NoResponse,
    /// The stream ended.
    Closed,
    /// The gateway there receives this one's stream.
    Loop,
}

/// Source that lists a member.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Lister {
    /// A setting, or the lookup of a name in it.
    Setting,
    /// The member itself. It is not an upstream of any route.
    Announcement,
    /// A setting that lists a gateway whose members are merged.
    Gateway,
}

/// Change of connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::fleet) enum Command {
    /// Connect to this address; events carry the number of the attempt.
    Connect(SocketAddr, u64, Lister),
    /// Close the connection to this address.
    Disconnect(SocketAddr),
}
