//! The fleet: every instance of stats that the gateway can find, as one stream.
//!
//! While a viewer is connected, the gateway holds one stream to each member and writes the members'
//! blocks, which are opaque to it, into one stream per viewer. [`merge`] decides, without I/O and
//! clocks; [`hub`] runs it; [`source`] is a connection to a member; [`viewer`] is a reader.
//!
//! A member may be another gateway, whose own members are merged under its address: see [`name`].

mod announced;
mod cursor;
mod event_stream;
mod hub;
mod membership;
mod merge;
mod name;
mod source;
mod viewer;

pub(crate) use announced::{Change, KEPT, MOST_SKEW_SECONDS, Refusal, check};
pub(crate) use hub::{Fleet, FleetCounts, Found};
pub(crate) use membership::FleetMembers;
pub(crate) use merge::State;
pub(crate) use name::{MOST_LEVELS, Name};
pub(crate) use viewer::Viewer;
