//! Responses to clients: relay, tunnels and the stream of the fleet.

mod fleet_stream;
pub(crate) mod relay;
pub(crate) mod tunnel;

pub(crate) use fleet_stream::send_fleet;
