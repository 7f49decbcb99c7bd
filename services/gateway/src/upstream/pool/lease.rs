//! One address, and one request's hold on it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::super::Failure;
use super::super::breaker::{Attempt, is_open_in};
use super::super::connection_pool::{Connection, Connections};
use super::super::tls::UpstreamTls;
use super::Shared;

/// What all requests to one address share. Everything that every request touches is an atomic of
/// its own; what decides is behind the pool's lock, which only failures and probes take.
#[derive(Debug)]
pub(super) struct Endpoint {
    address: SocketAddr,
    tls: Option<UpstreamTls>,
    pool: Weak<Shared>,
    in_flight: AtomicUsize,
    /// Since the last failure. Counted here, and passed to the breaker with the next failure.
    successes: AtomicU64,
    /// The breaker's, so that a request need not ask it.
    generation: AtomicU32,
    /// Closed when the address is left.
    connections: Arc<Connections>,
}

impl Endpoint {
    pub(super) fn new(
        address: SocketAddr,
        tls: Option<UpstreamTls>,
        pool: Weak<Shared>,
    ) -> Arc<Self> {
        Arc::new(Self {
            address,
            tls,
            pool,
            in_flight: AtomicUsize::new(0),
            successes: AtomicU64::new(0),
            generation: AtomicU32::new(0),
            connections: Arc::default(),
        })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) const fn tls(&self) -> Option<&UpstreamTls> {
        self.tls.as_ref()
    }

    /// Connections that wait for a request.
    pub(super) fn waiting(&self) -> usize {
        self.connections.count()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// For the pool, under its lock.
    pub(super) fn take_successes(&self) -> u64 {
        self.successes.swap(0, Ordering::Relaxed)
    }

    /// For the pool, under its lock.
    pub(super) fn set_generation(&self, generation: u32) {
        self.generation.store(generation, Ordering::Relaxed);
    }

    /// Records the result of a check. False when the address is not in use any more.
    pub(super) fn checked(&self, outcome: Result<(), Failure>) -> bool {
        self.pool.upgrade().is_some_and(|pool| pool.checked(self, outcome))
    }
}

/// An address for one request, counted as in flight until this is dropped. Tell what became of the
/// request, best at its answer's head; one that tells nothing (the client left) counts neither way.
#[derive(Debug)]
pub(crate) struct Lease {
    endpoint: Arc<Endpoint>,
    tried: Attempt,
    told: Told,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Nothing,
    Success,
    Failure,
}

impl Lease {
    /// For an ordinary request.
    pub(super) fn new(endpoint: &Arc<Endpoint>) -> Self {
        let tried =
            Attempt { generation: endpoint.generation.load(Ordering::Relaxed), probe: None };
        Self::probe(endpoint, tried)
    }

    /// For one that the pool has noted.
    pub(super) fn probe(endpoint: &Arc<Endpoint>, tried: Attempt) -> Self {
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { endpoint: Arc::clone(endpoint), tried, told: Told::Nothing }
    }

    /// Where to go.
    pub(crate) fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    /// How to go there, unless in clear text.
    pub(crate) fn tls(&self) -> Option<&UpstreamTls> {
        self.endpoint.tls()
    }

    /// A connection that waits there for a request, for less than `idle_time` if there is one.
    pub(crate) fn waiting(&self, idle_time: Option<Duration>) -> Option<Connection> {
        self.endpoint.connections.take(idle_time)
    }

    /// Keeps a connection whose answer is complete for the next request.
    pub(crate) fn keep(&self, connection: Connection) {
        self.endpoint.connections.keep(connection);
    }

    /// The upstream answered.
    pub(crate) fn succeeded(&mut self) {
        if self.told != Told::Nothing {
            return;
        }
        self.told = Told::Success;
        if is_open_in(self.tried.generation) {
            // Rare: it was a probe, or all are used. Only this can close the breaker.
            if let Some(pool) = self.endpoint.pool.upgrade() {
                pool.succeeded(&self.endpoint, self.tried);
            }
        } else {
            self.endpoint.successes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// It did not, or, after `succeeded`, its answer broke off.
    pub(crate) fn failed(&mut self, failure: Failure) {
        if self.told == Told::Failure {
            return;
        }
        self.told = Told::Failure;
        if let Some(pool) = self.endpoint.pool.upgrade() {
            pool.failed(&self.endpoint, self.tried, failure);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.told == Told::Nothing
            && self.tried.probe.is_some()
            && let Some(pool) = self.endpoint.pool.upgrade()
        {
            pool.abandoned(&self.endpoint, self.tried);
        }
    }
}
