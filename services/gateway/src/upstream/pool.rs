//! Endpoint pool of one upstream: discovery, health, and selection for requests.

mod health_check;
mod lease;
mod log;
mod membership;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, Weak};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::lease::Endpoint;
pub(crate) use self::lease::Lease;
use self::log::PoolEvent;
use self::membership::run_lookups;
use super::balance;
use super::breaker::Attempt;
use super::discovery::{Lookup, System};
use super::health::{self, Change, Health};
use super::resolution::{Family, Names};
use super::retry_budget::RetryBudget;
use super::{Failure, Origin, PoolSettings, State, Target, jitter};
use crate::lock::{lock, read, write};
use crate::telemetry::counters::Counter;

/// Maximum addresses of one upstream. Beyond that, those that were missing for the longest time are
/// removed.
const MAX_ADDRESSES: usize = 1024;

/// No probe is due.
const NEVER: u64 = u64::MAX;

/// Pool of one upstream. A drop ends its background tasks; leases outlive it.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    /// Aborted on drop.
    _lookups: JoinSet<()>,
}

/// State of one upstream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    /// Addresses, in order.
    pub(crate) addresses: Vec<AddressSnapshot>,
    /// Whether the panic threshold is reached.
    pub(crate) panic: bool,
    /// Total number of times that a breaker opened.
    pub(crate) opened_total: u64,
    /// Total retries allowed.
    pub(crate) retries_total: u64,
    /// Total retries rejected by the retry budget.
    pub(crate) retries_refused_total: u64,
}

/// State of one address.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AddressSnapshot {
    /// Address of the endpoint.
    pub(crate) address: SocketAddr,
    /// Health state.
    pub(crate) state: State,
    /// Requests in flight.
    pub(crate) in_flight: usize,
    /// Idle connections.
    pub(crate) idle_connections: usize,
    /// The last failed request or check, and the time since then.
    pub(crate) last_failure: Option<(Failure, Duration)>,
}

impl Pool {
    /// Starts lookups and health checks. Must be called inside a runtime.
    pub(crate) fn start(target: &Target, settings: &PoolSettings) -> Arc<Self> {
        Self::start_with(target, settings, &System)
    }

    /// Starts a pool with another source of addresses.
    pub(super) fn start_with(
        target: &Target,
        settings: &PoolSettings,
        lookup: &impl Lookup,
    ) -> Arc<Self> {
        let origins = sorted_origins(target);
        let mut literals: Vec<SocketAddr> = origins.iter().filter_map(Origin::literal).collect();
        literals.sort_unstable();
        literals.dedup();
        let names = origins.iter().filter(|origin| origin.literal().is_none()).count();
        let now = now();
        let shared = Arc::new_cyclic(|this| Shared {
            this: Weak::clone(this),
            target: target.clone(),
            settings: settings.clone(),
            started: now,
            view: RwLock::default(),
            probe_due: AtomicU64::new(NEVER),
            turn: AtomicUsize::new(0),
            pool_state: Mutex::new(PoolState {
                names: Names::new(origins.len()),
                entries: Vec::new(),
                panic: false,
                seed: jitter::seed(),
                opened_total: 0,
            }),
            pending_lookups: watch::Sender::new(names),
            budget: RetryBudget::new(now),
            retries: Counter::default(),
            retries_refused: Counter::default(),
        });
        shared.set_literals(&literals);
        let mut lookups = JoinSet::new();
        for (index, origin) in origins.into_iter().enumerate() {
            if origin.literal().is_some() {
                continue;
            }
            for family in Family::ALL {
                let (pool, every, origin) =
                    (Arc::clone(&shared), settings.resolve_every, origin.clone());
                let lookup = lookup.clone();
                lookups.spawn(run_lookups(pool, index, family, origin, every, lookup));
            }
        }
        Arc::new(Self { shared, _lookups: lookups })
    }

    /// Uses the addresses that another pool knows for the same names until lookups return others, so
    /// that a reload needs no name server.
    pub(crate) fn adopt(&self, other: &Self) {
        let known = sorted_origins(&other.shared.target);
        for (index, origin) in sorted_origins(&self.shared.target).iter().enumerate() {
            let Some(source) = known.iter().position(|it| it == origin) else { continue };
            for family in Family::ALL {
                let addresses = other.shared.found_by((source, family));
                if !addresses.is_empty() {
                    self.shared.found(index, family, origin, addresses);
                }
            }
        }
    }

    /// A pool of the same name without endpoints and background tasks.
    pub(crate) fn without_endpoints(&self) -> Arc<Self> {
        let target = Target { origins: Vec::new(), ..self.target().clone() };
        Self::start(&target, &self.shared.settings)
    }

    /// Target of the pool.
    pub(crate) fn target(&self) -> &Target {
        &self.shared.target
    }

    /// Waits for the first lookup of each name, at most for `bound`.
    pub(crate) async fn wait_for_lookups(&self, bound: Duration) {
        let mut pending_lookups = self.shared.pending_lookups.subscribe();
        // After a timeout, the requests report the error.
        let _ = timeout(bound, pending_lookups.wait_for(|&count| count == 0)).await;
    }

    /// Selects an address for a request: a healthy one in turn, or the less busy one of two. Never
    /// returns a member of `except`, which lists the addresses that a request has already tried.
    /// `None` if none is left.
    pub(crate) fn select(&self, except: &[SocketAddr]) -> Option<Lease> {
        if except.is_empty() {
            self.shared.budget.deposit();
            // A retry must not be a probe, which is likely to fail again.
            if let Some(probe) = self.shared.probe() {
                return Some(probe);
            }
        }
        let turn = self.shared.turn.fetch_add(1, Ordering::Relaxed);
        let view = read(&self.shared.view);
        let is_free = |slot: &EndpointSlot| !except.contains(&slot.endpoint.address());
        let load = |slot: &EndpointSlot| (!slot.healthy, slot.endpoint.in_flight());
        let slot = balance::choose(&view, turn, is_free, load)?;
        Some(Lease::new(&slot.endpoint))
    }

    /// Whether a retry has an address other than those tried.
    pub(crate) fn has_other_than(&self, failed: &[SocketAddr]) -> bool {
        read(&self.shared.view).iter().any(|slot| !failed.contains(&slot.endpoint.address()))
    }

    /// Withdraws one retry from the budget; returns whether it is allowed.
    pub(crate) fn may_retry(&self) -> bool {
        let may = self.shared.budget.withdraw(now());
        if may { &self.shared.retries } else { &self.shared.retries_refused }.add();
        may
    }

    /// Whether at least one address is healthy. In panic mode, requests may succeed nevertheless.
    pub(crate) fn is_ready(&self) -> bool {
        read(&self.shared.view).iter().any(|slot| slot.healthy)
    }

    /// All known addresses.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.shared.pool_state().entries.iter().map(|entry| entry.endpoint.address()).collect()
    }

    /// Current state.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let now = now();
        let pool_state = self.shared.pool_state();
        let address = |entry: &Entry| AddressSnapshot {
            address: entry.endpoint.address(),
            state: entry.health.state(now),
            in_flight: entry.endpoint.in_flight(),
            idle_connections: entry.endpoint.idle_connections(),
            last_failure: entry
                .health
                .last_failure()
                .map(|(failure, at)| (failure, now.saturating_duration_since(at))),
        };
        Snapshot {
            addresses: pool_state.entries.iter().map(address).collect(),
            panic: pool_state.panic,
            opened_total: pool_state.opened_total,
            retries_total: self.shared.retries.get(),
            retries_refused_total: self.shared.retries_refused.get(),
        }
    }
}

/// State shared by the pool, its tasks and, through the endpoints, its leases.
#[derive(Debug)]
pub(super) struct Shared {
    this: Weak<Self>,
    target: Target,
    settings: PoolSettings,
    started: Instant,
    /// Candidates for requests. Written only when the state of an address changes.
    view: RwLock<Box<[EndpointSlot]>>,
    /// Time of the next probe in nanoseconds since `started`. Requests read it instead of locking
    /// every breaker, and need no clock while it is `NEVER`.
    probe_due: AtomicU64,
    turn: AtomicUsize,
    pool_state: Mutex<PoolState>,
    /// Number of names whose first lookup has not ended.
    pending_lookups: watch::Sender<usize>,
    budget: RetryBudget,
    retries: Counter,
    retries_refused: Counter,
}

#[derive(Debug)]
struct EndpointSlot {
    endpoint: Arc<Endpoint>,
    healthy: bool,
}

/// State behind the lock.
#[derive(Debug)]
struct PoolState {
    /// State of the lookups.
    names: Names,
    /// All addresses, unique and sorted.
    entries: Vec<Entry>,
    panic: bool,
    seed: u64,
    opened_total: u64,
}

#[derive(Debug)]
struct Entry {
    endpoint: Arc<Endpoint>,
    health: Health,
    /// The name and family whose lookup returned it last; `None` for a literal address.
    source: Option<(usize, Family)>,
    /// Time since which that lookup no longer returns it.
    unseen_since: Option<Instant>,
    /// Aborted on drop.
    _checks: JoinSet<()>,
}

impl Entry {
    /// Whether it counts for the panic threshold: a failing address that DNS no longer returns has
    /// probably been removed.
    fn is_active(&self) -> bool {
        self.unseen_since.is_none() || self.health.is_healthy()
    }
}

impl Shared {
    fn name(&self) -> &str {
        &self.target.name
    }

    fn succeeded(&self, endpoint: &Endpoint, attempt: Attempt) {
        self.update_health(endpoint, |health, now, _| health.succeeded(attempt, now));
    }

    fn failed(&self, endpoint: &Endpoint, attempt: Attempt, failure: Failure) {
        let settings = &self.settings.breaker;
        self.update_health(endpoint, |health, now, jitter| {
            let successes = endpoint.take_successes();
            health.failed(attempt, failure, successes, settings, now, jitter)
        });
    }

    fn abandoned(&self, endpoint: &Endpoint, attempt: Attempt) {
        self.update_health(endpoint, |health, _, _| {
            health.abandoned(attempt);
            None
        });
    }

    /// Returns false if the address was removed.
    fn checked(&self, endpoint: &Endpoint, outcome: Result<(), Failure>) -> bool {
        let settings = &self.settings.check;
        self.update_health(endpoint, |health, now, _| health.checked(outcome, settings, now))
    }

    /// Applies `event` to one address, and publishes the result. Returns false if the address was
    /// removed: a new one with the same address is another endpoint.
    fn update_health(
        &self,
        endpoint: &Endpoint,
        update: impl FnOnce(&mut Health, Instant, u8) -> Option<Change>,
    ) -> bool {
        let now = now();
        let mut pool_state = self.pool_state();
        let PoolState { entries, seed, opened_total, .. } = &mut *pool_state;
        let index = entries.binary_search_by_key(&endpoint.address(), |e| e.endpoint.address());
        let entry = index.ok().and_then(|index| entries.get_mut(index));
        let Some(entry) = entry.filter(|entry| std::ptr::eq(&raw const *entry.endpoint, endpoint))
        else {
            return false;
        };
        let (was_healthy, was_due) = (entry.health.is_healthy(), entry.health.probe_due());
        let change = update(&mut entry.health, now, jitter::next_byte(seed));
        endpoint.set_generation(entry.health.generation());
        if matches!(change, Some(Change::Opened(..))) {
            *opened_total = opened_total.saturating_add(1);
        }
        let (is_healthy, is_due) = (entry.health.is_healthy(), entry.health.probe_due());
        let panic = if is_healthy == was_healthy {
            // Most failures do not change the state, and a publication visits up to a thousand
            // addresses.
            if is_due != was_due {
                self.schedule_probe(&pool_state);
            }
            None
        } else {
            self.publish(&mut pool_state)
        };
        drop(pool_state);
        let change = change.map(|change| PoolEvent::Address(endpoint.address(), change));
        for event in change.into_iter().chain(panic) {
            self.log(&event);
        }
        true
    }

    /// Lease of a probe, if one is due.
    fn probe(&self) -> Option<Lease> {
        let due = self.probe_due.load(Ordering::Relaxed);
        if due == NEVER {
            return None;
        }
        let now = now();
        if self.since_start(now) < due {
            return None;
        }
        let mut pool_state = self.pool_state();
        let probe = pool_state.entries.iter_mut().find_map(|entry| {
            let attempt = entry.health.try_probe(now)?;
            Some(Lease::probe(&entry.endpoint, attempt))
        });
        self.schedule_probe(&pool_state);
        probe
    }

    /// Publishes the candidates. Called under the lock, so that the last change is published last.
    fn publish(&self, pool_state: &mut PoolState) -> Option<PoolEvent> {
        let active = || pool_state.entries.iter().filter(|entry| entry.is_active());
        let all = active().count();
        let healthy = active().filter(|entry| entry.health.is_healthy()).count();
        let panic = health::is_panic(healthy, all, self.settings.panic_below_percent);
        let slots = active().filter_map(|entry| {
            let healthy = entry.health.is_healthy();
            (healthy || panic)
                .then(|| EndpointSlot { endpoint: Arc::clone(&entry.endpoint), healthy })
        });
        let mut view: Box<[_]> = slots.collect();
        std::mem::swap(&mut *write(&self.view), &mut view);
        let was_panic = std::mem::replace(&mut pool_state.panic, panic);
        self.schedule_probe(pool_state);
        match (was_panic, panic) {
            (false, true) => Some(PoolEvent::Panic { healthy, all }),
            (true, false) => Some(PoolEvent::PanicEnded { healthy, all }),
            _ => None,
        }
    }

    fn schedule_probe(&self, pool_state: &PoolState) {
        let due = pool_state.entries.iter().filter_map(|entry| entry.health.probe_due()).min();
        // In panic mode, every request acts as a probe.
        let due = due.filter(|_| !pool_state.panic);
        self.probe_due.store(due.map_or(NEVER, |due| self.since_start(due)), Ordering::Relaxed);
    }

    fn since_start(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.started);
        u64::try_from(since.as_nanos()).unwrap_or(NEVER)
    }

    fn pool_state(&self) -> MutexGuard<'_, PoolState> {
        lock(&self.pool_state)
    }
}

/// Origins of a target without duplicates; their order identifies them in a pool.
fn sorted_origins(target: &Target) -> Vec<Origin> {
    let mut origins = target.origins.clone();
    origins.sort_unstable();
    origins.dedup();
    origins
}

/// Current time; tests can control this clock.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
