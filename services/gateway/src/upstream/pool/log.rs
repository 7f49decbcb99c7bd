//! Log lines about the endpoints of a pool.

use std::net::SocketAddr;

use super::{Change, Shared};

/// Event that is logged after the lock is released.
pub(super) enum PoolEvent {
    Address(SocketAddr, Change),
    Panic { healthy: usize, all: usize },
    PanicEnded { healthy: usize, all: usize },
}

impl Shared {
    pub(super) fn log(&self, event: &PoolEvent) {
        let upstream = self.name();
        match *event {
            PoolEvent::Address(address, Change::Opened(failure, backoff)) => {
                let backoff_seconds = backoff.as_secs_f64();
                tracing::warn!(
                    upstream,
                    %address,
                    %failure,
                    backoff_seconds,
                    "too many requests failed"
                );
            }
            PoolEvent::Address(address, Change::Unhealthy(failure)) => {
                tracing::warn!(upstream, %address, %failure, "too many checks failed");
            }
            PoolEvent::Address(address, Change::Closed | Change::Healthy) => {
                tracing::info!(upstream, %address, "endpoint healthy again");
            }
            PoolEvent::Panic { healthy, all } => {
                tracing::warn!(
                    upstream,
                    healthy,
                    all,
                    "panic threshold reached; using all endpoints"
                );
            }
            PoolEvent::PanicEnded { healthy, all } => {
                tracing::info!(
                    upstream,
                    healthy,
                    all,
                    "panic mode ended; using healthy endpoints only"
                );
            }
        }
    }
}
