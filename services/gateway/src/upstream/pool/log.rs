//! Log lines about the endpoints of a pool.

use std::net::SocketAddr;

use super::{Change, Shared};

/// Event that is logged after the lock is released.
pub(super) enum News {
    Address(SocketAddr, Change),
    Panic { well: usize, all: usize },
    Calm { well: usize, all: usize },
}

impl Shared {
    pub(super) fn log(&self, news: &News) {
        let upstream = self.name();
        match *news {
            News::Address(address, Change::Opened(failure, backoff)) => {
                let backoff_seconds = backoff.as_secs_f64();
                tracing::warn!(
                    upstream,
                    %address,
                    %failure,
                    backoff_seconds,
                    "too many requests failed"
                );
            }
            News::Address(address, Change::Unhealthy(failure)) => {
                tracing::warn!(upstream, %address, %failure, "too many checks failed");
            }
            News::Address(address, Change::Closed | Change::Healthy) => {
                tracing::info!(upstream, %address, "endpoint healthy again");
            }
            News::Panic { well, all } => {
                tracing::warn!(
                    upstream,
                    healthy = well,
                    all,
                    "panic threshold reached; using all endpoints"
                );
            }
            News::Calm { well, all } => {
                tracing::info!(
                    upstream,
                    healthy = well,
                    all,
                    "panic mode ended; using healthy endpoints only"
                );
            }
        }
    }
}
