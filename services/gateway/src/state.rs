//! What all connections share: the settings, the routes in force, the cache, what is known of
//! clients, and what is counted.

pub(crate) mod connections;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::cache::{Cache, CacheSettings};
use crate::compression::Encoders;
use crate::fleet::Fleet;
use crate::memory_budget::MemoryBudget;
use crate::request::rate_limit::{ClientTable, REMEMBERED};
use crate::routing::table::{CurrentRoutes, RouteTable};
use crate::settings::Config;
use crate::state::connections::Connections;
use crate::telemetry::counters::Metrics;
use semantics::hosts::Hosts;
use semantics::signature::Key;

/// How long the start waits for the names of the upstreams; compose's name server answers within
/// milliseconds.
const FIRST_LOOKUP_TIME: Duration = Duration::from_millis(500);

/// Responses that are fetched for the cache alone at the same time. No client waits for them, so no
/// limit of clients bounds them.
const MOST_REFILLS: usize = 256;

/// What all connections share.
pub(crate) struct Gateway {
    /// The settings.
    pub(crate) config: Config,
    /// The hosts that are answered.
    pub(crate) hosts: Hosts,
    /// The answers that are kept.
    pub(crate) cache: Cache,
    /// The connections that are open.
    pub(crate) connections: Arc<Connections>,
    /// What clients have used up.
    pub(crate) clients: ClientTable,
    /// The merged stream of all members; none if it is off.
    pub(crate) fleet: Option<Arc<Fleet>>,
    /// What makes answers smaller.
    pub(crate) encoders: Encoders,
    /// Memory for the bodies of requests, of all connections together.
    pub(crate) bodies: Arc<MemoryBudget>,
    /// For responses that are fetched for the cache alone.
    pub(crate) refills: Arc<Semaphore>,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// The routes in force.
    pub(crate) routes: Arc<CurrentRoutes>,
    announce_keys: RwLock<Arc<[Key]>>,
    closing: AtomicBool,
}

impl Gateway {
    /// Starts to find the upstreams. Must be called inside a runtime.
    ///
    /// # Errors
    /// With a sentence for each fault of the table, which may have changed since it was checked.
    pub(crate) fn start(config: Config, hosts: Hosts) -> Result<Arc<Self>, Vec<String>> {
        let table = config.table.lines()?;
        let keys = config.announcing.keys().map_err(|fault| vec![fault])?;
        let rules = RouteTable::start(&table, &config.pools, &RouteTable::default());
        // Who waits for another's answer waits no longer than for one of his own.
        let wait = config.cache.wait.min(config.timeouts.silence);
        Ok(Arc::new(Self {
            cache: Cache::new(&CacheSettings { wait, ..config.cache.clone() }),
            connections: Connections::new(),
            clients: ClientTable::new(REMEMBERED, Instant::now()),
            fleet: Fleet::new(&config.fleet, &config.pools),
            encoders: Encoders::new(config.compress),
            bodies: MemoryBudget::new(config.body_memory_bytes),
            refills: Arc::new(Semaphore::new(MOST_REFILLS)),
            metrics: Metrics::default(),
            routes: CurrentRoutes::new(rules),
            announce_keys: RwLock::new(keys.into()),
            closing: AtomicBool::new(false),
            config,
            hosts,
        }))
    }

    /// Gives the upstreams' names a moment to be found.
    pub(crate) async fn wait_for_lookups(&self) {
        self.rules().wait_for_lookups(FIRST_LOOKUP_TIME).await;
    }

    /// The routes in force.
    pub(crate) fn rules(&self) -> Arc<RouteTable> {
        self.routes.get()
    }

    /// The secrets that announcements are signed with; none where there are no announcements.
    pub(crate) fn announce_keys(&self) -> Arc<[Key]> {
        self.announce_keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the table and the secrets of announcements again. Requests that are under way end by
    /// the routes they began with; a table with a fault changes nothing. What was stored under other
    /// routes is forgotten.
    pub(crate) fn reload(&self) {
        match self.config.table.lines() {
            Ok(table) => {
                let rules = RouteTable::start(&table, &self.config.pools, &self.rules());
                let routes = rules.routes().len();
                self.routes.replace(rules);
                self.cache.clear();
                tracing::info!(routes, "routes read again");
            }
            Err(faults) => {
                for fault in faults {
                    tracing::error!(%fault, "the routes stay as they were");
                }
            }
        }
        match self.config.announcing.keys() {
            Ok(keys) => {
                *self.announce_keys.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
            }
            Err(fault) => {
                tracing::error!(%fault, "the secrets of announcements stay as they were");
            }
        }
    }

    /// From now on it is not ready.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Whether it is about to end.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Why it cannot serve, if it cannot.
    pub(crate) fn not_ready(&self) -> Option<String> {
        if self.is_closing() {
            return Some("the gateway is shutting down".to_owned());
        }
        self.rules().not_ready().map(|route| format!("no healthy upstream for route {route}"))
    }
}
