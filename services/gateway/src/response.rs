//! Responses to clients: relay, compression, tunnels and problem details.

pub(crate) mod compression;
pub(crate) mod problem;
pub(crate) mod relay;
pub(crate) mod tunnel;
