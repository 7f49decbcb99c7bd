//! Upstreams and their health: addresses are looked up beside the requests,
//! load is spread over those that are well, and what fails is left alone for a while.

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

use crate::message::problem::Problem;

pub(crate) use breaker::BreakerSettings;
pub(crate) use connection_pool::Connection;
pub(crate) use discovery::resolve_origin as resolve;
pub(crate) use health::{CheckPath, CheckSettings, State};
pub(crate) use origin::Origin;
pub(crate) use pingora_core::protocols::Stream;
pub(crate) use pool::{AddressSnapshot, Lease, Pool, Snapshot};
pub(crate) use tls::{Roots, UpstreamTls, server_name};

/// What is behind one route: its name in logs and metrics, where it is, and what to ask it to see
/// whether it is well. A pool can be kept for as long as its target stays equal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    /// In logs, metrics and error answers.
    pub(crate) name: String,
    /// All of them are used, and of a name all addresses.
    pub(crate) origins: Vec<Origin>,
    /// The path of the health check. Without it, only requests show whether an address is healthy.
    pub(crate) check: Option<CheckPath>,
    /// TLS toward all of them, or clear text.
    pub(crate) tls: Option<UpstreamTls>,
}

/// How a pool finds, chooses and gives up addresses. The same for all upstreams.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PoolSettings {
    /// From the end of one lookup to the next, so that new replicas take traffic, and removed
    /// ones are left, within so much.
    pub(crate) resolve_every: Duration,
    /// How long an address that fails is kept after a name has stopped to lead there. Name servers
    /// may answer with a part of what they have (Cloud Map: 8 addresses), so an address that is
    /// missing in an answer is not gone, and one that is gone stops answering soon.
    pub(crate) keep_unseen: Duration,
    /// When requests give an address up.
    pub(crate) breaker: BreakerSettings,
    /// How active checks are made, for targets that have a path for them.
    pub(crate) check: CheckSettings,
    /// With fewer well addresses than this share, all are used as if they were well: more likely
    /// than all of them being broken is that the judgement is, and the few that are left would
    /// not survive the load of all. 0 means never; then requests fail while no address is healthy.
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

/// How a try at an address ended badly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Failure {
    /// The connection was refused.
    Refused,
    /// The address is unreachable.
    Unreachable,
    /// No connection, or no answer, in time.
    Timeout,
    /// The connection ended before the answer did.
    Reset,
    /// What came is not HTTP.
    Invalid,
    /// The certificate is not for this host, or not to be believed.
    Certificate,
    /// TLS failed otherwise.
    Tls,
    /// A response with a status of failure.
    Status(u16),
}

impl Failure {
    /// What an error of a socket means.
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::Timeout,
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::AddrNotAvailable => Self::Unreachable,
            _ => Self::Reset,
        }
    }

    /// Its name without the particulars: a label for metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Invalid => "invalid",
            Self::Certificate => "certificate",
            Self::Tls => "tls",
            Self::Status(_) => "status",
        }
    }

    /// The response to a client after this failure of an upstream of `route`.
    pub(crate) fn problem(self, route: &str) -> Problem {
        let (status, what) = match self {
            Self::Timeout => (StatusCode::GATEWAY_TIMEOUT, "did not answer in time"),
            Self::Refused | Self::Unreachable => (StatusCode::BAD_GATEWAY, "cannot be reached"),
            Self::Certificate => (StatusCode::BAD_GATEWAY, "has no valid certificate"),
            Self::Tls => (StatusCode::BAD_GATEWAY, "does not speak TLS as it must"),
            _ => (StatusCode::BAD_GATEWAY, "sent an invalid response"),
        };
        Problem::new(status, format!("the upstream of route {route} {what}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {status}"),
            other => f.write_str(other.name()),
        }
    }
}
