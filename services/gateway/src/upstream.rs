//! Upstreams: background DNS lookups, load balancing over healthy endpoints, health checks and
//! circuit breakers.

mod balance;
mod breaker;
pub(crate) mod client;
mod connection_pool;
mod discovery;
mod health;
mod jitter;
mod origin;
mod pool;
mod resolution;
mod retry_budget;
#[cfg(test)]
mod tests;
mod tls;

use std::fmt;
use std::io;
use std::time::Duration;

use http::StatusCode;
use rustix::io::Errno;

use crate::message::problem::Problem;

pub(crate) use breaker::BreakerSettings;
pub(crate) use connection_pool::Connection;
pub(crate) use discovery::resolve_origin as resolve;
pub(crate) use health::{CheckPath, CheckSettings, State};
pub(crate) use origin::Origin;
pub(crate) use pingora_core::protocols::Stream;
pub(crate) use pool::{AddressSnapshot, Lease, Pool, Snapshot};
pub(crate) use tls::{Roots, UpstreamTls, server_name};

/// Upstream of a route: its name in logs and metrics, its origins, and its health check. A pool can
/// be reused as long as its target stays equal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    /// Name in logs, metrics and error responses.
    pub(crate) name: String,
    /// Origins. All of them are used, with all addresses of a name.
    pub(crate) origins: Vec<Origin>,
    /// Path of the health check. Without it, only requests determine whether an address is healthy.
    pub(crate) check: Option<CheckPath>,
    /// Host of the health check, if requests have a fixed one.
    pub(crate) host: Option<String>,
    /// TLS to all origins; plaintext if absent.
    pub(crate) tls: Option<UpstreamTls>,
}

/// Settings for discovery, load balancing and ejection of addresses, the same for all upstreams.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PoolSettings {
    /// Interval between the end of one lookup and the next; new replicas receive traffic, and
    /// removed ones lose it, within that time.
    pub(crate) resolve_every: Duration,
    /// Time that a failing address is kept after it disappears from DNS. Name servers may return a
    /// subset of the addresses (Cloud Map: 8), so an address that is missing in a response may
    /// still exist, and one that is removed soon fails.
    pub(crate) keep_unseen: Duration,
    /// Circuit breaker settings.
    pub(crate) breaker: BreakerSettings,
    /// Settings of active health checks, for targets with a check path.
    pub(crate) check: CheckSettings,
    /// Panic threshold: if the share of healthy addresses is lower, all addresses are used. Wrong
    /// health information is more likely than an outage of all addresses, and the few healthy ones
    /// could not sustain the whole load. 0 disables it; then requests fail while no address is
    /// healthy.
    pub(crate) panic_below_percent: u8,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            resolve_every: Duration::from_secs(2),
            keep_unseen: Duration::from_mins(1),
            breaker: BreakerSettings::default(),
            check: CheckSettings::default(),
            panic_below_percent: 50,
        }
    }
}

/// Failure of an attempt at an address.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Failure {
    /// Connection refused.
    Refused,
    /// Address unreachable.
    Unreachable,
    /// Timeout of the connection or the response.
    Timeout,
    /// Connection closed before the end of the response.
    Reset,
    /// Invalid HTTP response.
    Invalid,
    /// Certificate does not match the host, or is not trusted.
    Certificate,
    /// Another TLS error.
    Tls,
    /// The gateway or its kernel has no file descriptor or memory for a connection. No fault of the
    /// address.
    Resources,
    /// Response with an error status.
    Status(u16),
}

impl Failure {
    /// Classifies a socket error.
    pub(crate) fn of(error: &io::Error) -> Self {
        // Of `socket(2)`, and for lack of memory of the kernel also of `send(2)` and `recv(2)`. No
        // peer can cause them.
        let own = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
        if Errno::from_io_error(error).is_some_and(|number| own.contains(&number)) {
            return Self::Resources;
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::Timeout,
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::AddrNotAvailable => Self::Unreachable,
            _ => Self::Reset,
        }
    }

    /// Problem for the client after this failure of an upstream of `route`.
    pub(crate) fn problem(self, route: &str) -> Problem {
        let (status, what) = match self {
            Self::Resources => return Problem::no_resources(route),
            Self::Timeout => (StatusCode::GATEWAY_TIMEOUT, "did not respond in time"),
            Self::Refused | Self::Unreachable => (StatusCode::BAD_GATEWAY, "cannot be reached"),
            Self::Certificate => (StatusCode::BAD_GATEWAY, "has no valid certificate"),
            Self::Tls => (StatusCode::BAD_GATEWAY, "failed the TLS handshake"),
            _ => (StatusCode::BAD_GATEWAY, "sent an invalid response"),
        };
        Problem::new(status, format!("the upstream of route {route} {what}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Invalid => "invalid",
            Self::Certificate => "certificate",
            Self::Tls => "tls",
            Self::Resources => "resources",
            Self::Status(status) => return write!(f, "status {status}"),
        })
    }
}
