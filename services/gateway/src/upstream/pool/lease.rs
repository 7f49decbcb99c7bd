//! One address of a pool, and a request's lease on it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::super::Failure;
use super::super::breaker::{Attempt, is_open_in};
use super::super::connection_pool::{Connection, ConnectionPool};
use super::super::tls::UpstreamTls;
use super::Shared;

/// Endpoint state shared by all requests to one address. Everything that each request touches is an
/// atomic of its own; the rest is behind the pool's lock, which only failures and probes take.
#[derive(Debug)]
pub(super) struct Endpoint {
    address: SocketAddr,
    tls: Option<UpstreamTls>,
    pool: Weak<Shared>,
    in_flight: AtomicUsize,
    /// Successes since the last failure, passed to the breaker with the next failure.
    successes: AtomicU64,
    /// Copy of the breaker's generation, so that requests do not lock the breaker.
    generation: AtomicU32,
    /// Idle connections, closed when the address is removed.
    connections: Arc<ConnectionPool>,
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

    /// Number of idle connections.
    pub(super) fn idle_connections(&self) -> usize {
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

    /// Records the result of a check. Returns false if the address was removed.
    pub(super) fn checked(&self, outcome: Result<(), Failure>) -> bool {
        self.pool.upgrade().is_some_and(|pool| pool.checked(self, outcome))
    }
}

/// Lease on an address for one request, which counts as in flight until the drop. The request
/// reports its outcome, ideally when the response head arrives; without a report (the client
/// disconnected), it counts neither as a success nor as a failure.
#[derive(Debug)]
pub(crate) struct Lease {
    endpoint: Arc<Endpoint>,
    attempt: Attempt,
    reported: Reported,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Reported {
    Nothing,
    Success,
    Failure,
}

impl Lease {
    /// Lease of an ordinary request.
    pub(super) fn new(endpoint: &Arc<Endpoint>) -> Self {
        let attempt =
            Attempt { generation: endpoint.generation.load(Ordering::Relaxed), probe: None };
        Self::probe(endpoint, attempt)
    }

    /// Lease of a probe that the pool has registered.
    pub(super) fn probe(endpoint: &Arc<Endpoint>, attempt: Attempt) -> Self {
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { endpoint: Arc::clone(endpoint), attempt, reported: Reported::Nothing }
    }

    /// Address of the endpoint.
    pub(crate) fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    /// TLS settings; plaintext if absent.
    pub(crate) fn tls(&self) -> Option<&UpstreamTls> {
        self.endpoint.tls()
    }

    /// Takes an idle connection, idle for less than `idle_time` if given.
    pub(crate) fn idle_connection(&self, idle_time: Option<Duration>) -> Option<Connection> {
        self.endpoint.connections.take(idle_time)
    }

    /// Keeps a connection whose response is complete for the next request.
    pub(crate) fn keep(&self, connection: Connection) {
        self.endpoint.connections.keep(connection);
    }

    /// Reports a success.
    pub(crate) fn succeeded(&mut self) {
        if self.reported != Reported::Nothing {
            return;
        }
        self.reported = Reported::Success;
        if is_open_in(self.attempt.generation) {
            // Rare: a probe, or a request in panic mode. Only this call can close the breaker.
            if let Some(pool) = self.endpoint.pool.upgrade() {
                pool.succeeded(&self.endpoint, self.attempt);
            }
        } else {
            self.endpoint.successes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reports a failure, also after `succeeded` if the response is truncated. A lack of resources
    /// of the gateway says nothing about the address.
    pub(crate) fn failed(&mut self, failure: Failure) {
        if self.reported == Reported::Failure || failure == Failure::Resources {
            return;
        }
        self.reported = Reported::Failure;
        if let Some(pool) = self.endpoint.pool.upgrade() {
            pool.failed(&self.endpoint, self.attempt, failure);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.reported == Reported::Nothing
            && self.attempt.probe.is_some()
            && let Some(pool) = self.endpoint.pool.upgrade()
        {
            pool.abandoned(&self.endpoint, self.attempt);
        }
    }
}
