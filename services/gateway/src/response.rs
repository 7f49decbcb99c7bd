//! A response on its way to the client: relay, compression, tunnels and problem details.

pub(crate) mod compression;
pub(crate) mod problem;
pub(crate) mod relay;
pub(crate) mod tunnel;
