//! Membership of a pool: addresses that lookups add, and their removal.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::super::Origin;
use super::super::discovery::Lookup;
use super::super::health::Health;
use super::super::resolution::{Family, Outcome};

use super::health_check;
use super::lease::Endpoint;
use super::{Entry, MAX_ADDRESSES, PoolState, Shared, now};

/// Duration of a lookup after which a warning is logged: resolvers time out after 5 s or 10 s.
const SLOW_LOOKUP: Duration = Duration::from_secs(11);

impl Shared {
    /// Adds literal addresses.
    pub(super) fn set_literals(&self, addresses: &[SocketAddr]) {
        let mut pool_state = self.pool_state();
        pool_state.entries = addresses.iter().map(|&it| self.new_entry(it, None)).collect();
        self.publish(&mut pool_state);
    }

    /// Processes the result of a lookup of the origin at `index`. New addresses are used at once;
    /// others stay until they have been missing for `PoolSettings::keep_unseen` and fail. An
    /// empty result is treated as a failure, because a name server that is starting returns the
    /// same.
    pub(in crate::upstream) fn found(
        &self,
        index: usize,
        family: Family,
        origin: &Origin,
        mut addresses: Vec<SocketAddr>,
    ) {
        addresses.sort_unstable();
        addresses.dedup();
        let is_empty = addresses.is_empty();
        let outcome = if is_empty { Outcome::Nothing } else { Outcome::Found };
        let mut pool_state = self.pool_state();
        let report = pool_state.names.record(index, family, outcome);
        let counts = !is_empty || pool_state.names.has_other(index, family);
        let (mut added, mut removed, mut panic) = (Vec::new(), Vec::new(), None);
        if counts {
            let changed =
                self.merge(&mut pool_state, (index, family), &addresses, &mut added, &mut removed);
            if changed {
                panic = self.publish(&mut pool_state);
            }
        }
        let kept = pool_state.entries.len();
        drop(pool_state);
        let upstream = self.name();
        if report.fails {
            let error = "the name has no address";
            tracing::warn!(upstream, name = %origin, error, kept, "name resolution failed");
        }
        if report.recovers || !added.is_empty() {
            tracing::info!(upstream, name = %origin, addresses = ?added, all = kept, "resolved");
        }
        if !removed.is_empty() {
            tracing::info!(upstream, name = %origin, addresses = ?removed, "removed");
        }
        if let Some(event) = panic {
            self.log(&event);
        }
        self.finish_first_lookup(report.first_ended);
    }

    /// Processes a failed or slow lookup. Known addresses are kept.
    pub(in crate::upstream) fn not_found(
        &self,
        index: usize,
        family: Family,
        origin: &Origin,
        error: &str,
    ) {
        let mut pool_state = self.pool_state();
        let report = pool_state.names.record(index, family, Outcome::Nothing);
        let kept = pool_state.entries.len();
        drop(pool_state);
        let upstream = self.name();
        if report.fails {
            tracing::warn!(upstream, name = %origin, error, kept, "name resolution failed");
        } else {
            tracing::debug!(upstream, name = %origin, ?family, error, "a lookup failed");
        }
        self.finish_first_lookup(report.first_ended);
    }

    /// Addresses in use that lookups of this name in this family returned.
    pub(super) fn found_by(&self, source: (usize, Family)) -> Vec<SocketAddr> {
        let pool_state = self.pool_state();
        let entries = pool_state.entries.iter();
        let found = entries.filter(|entry| entry.source == Some(source) && entry.is_active());
        found.map(|entry| entry.endpoint.address()).collect()
    }

    pub(super) fn finish_first_lookup(&self, ended: bool) {
        if ended {
            self.pending_lookups.send_modify(|count| *count = count.saturating_sub(1));
        }
    }

    /// Adds the addresses that a lookup found, and removes expired ones; those that stay keep their
    /// state. Returns whether the candidates for requests have changed.
    pub(super) fn merge(
        &self,
        pool_state: &mut PoolState,
        source: (usize, Family),
        addresses: &[SocketAddr],
        added: &mut Vec<SocketAddr>,
        removed: &mut Vec<SocketAddr>,
    ) -> bool {
        let (now, keep) = (now(), self.settings.keep_unseen);
        let entries = &mut pool_state.entries;
        let mut changed = false;
        for entry in entries.iter_mut().filter(|entry| entry.source.is_some()) {
            if addresses.binary_search(&entry.endpoint.address()).is_ok() {
                entry.source = Some(source);
                changed |= entry.unseen_since.take().is_some();
            } else if entry.source == Some(source) && entry.unseen_since.is_none() {
                entry.unseen_since = Some(now);
                changed = true;
            }
        }
        entries.retain(|entry| {
            let unseen = entry.unseen_since.map(|since| now.saturating_duration_since(since));
            let stays = entry.health.is_healthy() || unseen.is_none_or(|time| time < keep);
            if !stays {
                removed.push(entry.endpoint.address());
            }
            stays
        });
        for &address in addresses {
            let index = entries.binary_search_by_key(&address, |entry| entry.endpoint.address());
            let Err(mut index) = index else { continue };
            if entries.len() >= MAX_ADDRESSES {
                let unseen = entries.iter().enumerate();
                let unseen = unseen.filter_map(|(index, it)| Some((it.unseen_since?, index)));
                let Some((_, oldest)) = unseen.min() else { continue };
                removed.push(entries.remove(oldest).endpoint.address());
                index = entries.partition_point(|entry| entry.endpoint.address() < address);
            }
            entries.insert(index, self.new_entry(address, Some(source)));
            added.push(address);
        }
        changed || !added.is_empty() || !removed.is_empty()
    }

    pub(super) fn new_entry(&self, address: SocketAddr, source: Option<(usize, Family)>) -> Entry {
        let endpoint = Endpoint::new(address, self.target.tls.clone(), Weak::clone(&self.this));
        let mut checks = JoinSet::new();
        if let Some(path) = self.target.check.clone() {
            let (host, settings) = (self.target.host.clone(), self.settings.check.clone());
            checks.spawn(health_check::run_checks(Arc::clone(&endpoint), path, host, settings));
        }
        Entry { endpoint, health: Health::new(), source, unseen_since: None, _checks: checks }
    }
}

/// Keeps the addresses of `origin` (at `index` in `pool`) up to date for one family. Each lookup is
/// awaited before the next: `getaddrinfo` blocks a thread until its timeout, and a second one would
/// block another. Each name and family has its own task, so that a hanging lookup does not delay
/// others.
pub(super) async fn run_lookups(
    pool: Arc<Shared>,
    index: usize,
    family: Family,
    origin: Origin,
    every: Duration,
    lookup: impl Lookup,
) {
    loop {
        let mut answer = pin!(lookup.lookup(&origin, family));
        let answer = if let Ok(answer) = timeout(SLOW_LOOKUP, &mut answer).await {
            answer
        } else {
            pool.not_found(index, family, &origin, "no answer yet");
            answer.await
        };
        match answer {
            Ok(addresses) => pool.found(index, family, &origin, addresses),
            Err(error) => pool.not_found(index, family, &origin, &error.to_string()),
        }
        sleep(every).await;
    }
}
