//! What the merge takes in and gives out.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use crate::fleet::block::Kind;
use crate::fleet::event_stream::Line;

/// The time, by both clocks: durations use the monotonic one.
#[derive(Clone, Copy, Debug)]
pub(in crate::fleet) struct Now {
    pub(in crate::fleet) instant: Instant,
    pub(in crate::fleet) unix_ms: u64,
}

/// An event on one attempt to follow a member.
#[derive(Clone, Debug)]
pub(in crate::fleet) enum Event {
    /// The response has begun; the instance is absent if the member does not name it.
    Connected(Option<Box<str>>),
    /// A block, its data in one line.
    Block(Kind, Bytes),
    /// Lines of a gateway's stream: whole events, or a part between two members.
    Lines(Vec<Line>),
    /// Something came of a gateway.
    Alive,
    /// The attempt is over.
    Ended(End),
}

/// The end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::fleet) enum End {
    /// The address refuses connections, is unreachable, or does not serve summaries.
    Unreachable,
    /// The connection was accepted, and no response came in time.
    NoResponse,
    /// The stream ended.
    Closed,
    /// The gateway there is fed by this one.
    Loop,
}

/// What lists a member.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Lister {
    /// A setting, and the lookup of a name in it.
    Setting,
    /// The member itself. It is an upstream of no route.
    Announcement,
    /// A setting, as a gateway whose members are merged.
    Gateway,
}

/// A change of connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::fleet) enum Command {
    /// Connect to this address; events carry the number of the attempt.
    Connect(SocketAddr, u64, Lister),
    /// Close the connection to this address.
    Disconnect(SocketAddr),
}
