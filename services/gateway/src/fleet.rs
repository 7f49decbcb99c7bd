//! Fleet: every instance of stats that the gateway can find, as one stream.
//!
//! While a viewer is connected, the gateway holds one stream to each member and writes the members'
//! blocks, which are opaque to it, into one stream per viewer. [`merge`] contains the logic,
//! without I/O and clocks; [`hub`] runs it, and owns the connections to members and the viewers.
//!
//! A member may be another gateway, whose own members are merged under its address: see [`name`].

mod announced;
mod block;
mod cursor;
mod event_stream;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod hub;
mod membership;
mod merge;
mod name;

pub(crate) use announced::{ANNOUNCEMENT_TIME, Change, MAX_SKEW_SECONDS, Refusal, check};
pub(crate) use block::State;
pub(crate) use hub::{Fleet, FleetCounts, Found, Viewer};
pub(crate) use membership::FleetMembers;
pub(crate) use name::{MAX_LEVELS, Name};
