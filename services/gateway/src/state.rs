//! State shared by all connections: configuration, active routes, cache, clients and metrics.

pub(crate) mod connections;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::cache::{Cache, CacheSettings};
use crate::compression::Encoders;
use crate::fleet::Fleet;
use crate::lock::{read, write};
use crate::memory_budget::MemoryBudget;
use crate::request::rate_limit::{ClientTable, MAX_CLIENTS, Permit};
use crate::routing::table::{CurrentRoutes, RouteTable};
use crate::settings::Config;
use crate::state::connections::Connections;
use crate::telemetry::counters::Metrics;
use crate::transport::workers::read_files;
use http_semantics::hosts::Hosts;
use http_semantics::signature::Key;

/// Time that the startup waits for DNS lookups of the upstreams; the name server of compose
/// responds within milliseconds.
const FIRST_LOOKUP_TIME: Duration = Duration::from_millis(500);

/// Time that a reload waits for DNS lookups. Meanwhile requests use the current routes, so it may
/// cover a retry of the resolver after a lost packet.
const RELOAD_LOOKUP_TIME: Duration = Duration::from_secs(6);

/// Maximum concurrent background refreshes of the cache. They have no client, so client limits do
/// not apply.
const MAX_REFILLS: usize = 256;

/// Maximum concurrent streams per HTTP/2 connection: the minimum that RFC 9113, section 6.5.2,
/// recommends.
pub(crate) const CONNECTION_STREAMS: u32 = 100;

/// Permits for an HTTP/2 request; released on drop.
pub(crate) type RequestPermits = (OwnedSemaphorePermit, Permit);

/// State shared by all connections.
pub(crate) struct Gateway {
    /// Configuration.
    pub(crate) config: Config,
    /// Accepted host names.
    pub(crate) hosts: Hosts,
    /// Response cache.
    pub(crate) cache: Cache,
    /// Open client connections.
    pub(crate) connections: Arc<Connections>,
    /// Per-client limits.
    pub(crate) clients: ClientTable,
    /// Merged stream of all members; `None` if it is disabled.
    pub(crate) fleet: Option<Arc<Fleet>>,
    /// Encoders for compression.
    pub(crate) encoders: Encoders,
    /// Memory budget for request bodies of all connections.
    pub(crate) bodies: Arc<MemoryBudget>,
    /// Permits for background refreshes.
    pub(crate) refills: Arc<Semaphore>,
    /// Permits for concurrent HTTP/2 requests, in addition to one per connection.
    http2_requests: Arc<Semaphore>,
    /// Metrics.
    pub(crate) metrics: Metrics,
    /// Active routes.
    pub(crate) routes: Arc<CurrentRoutes>,
    announce_keys: RwLock<Arc<[Key]>>,
    closing: AtomicBool,
}

impl Gateway {
    /// Starts the upstream pools. Must be called inside a runtime.
    ///
    /// # Errors
    /// Returns a message for each fault of the table, which may have changed since it was checked.
    pub(crate) fn start(config: Config, hosts: Hosts) -> Result<Arc<Self>, Vec<String>> {
        let table = config.table.lines()?;
        let keys = config.announcing.keys().map_err(|fault| vec![fault])?;
        let rules = RouteTable::start(&table, &config.pools, &RouteTable::default());
        // A request waits for another's fetch no longer than for its own upstream.
        let wait = config.cache.wait.min(config.timeouts.silence);
        Ok(Arc::new(Self {
            cache: Cache::new(&CacheSettings { wait, ..config.cache.clone() }),
            connections: Connections::new(),
            clients: ClientTable::new(MAX_CLIENTS, Instant::now()),
            fleet: Fleet::new(&config.fleet, &config.pools),
            encoders: Encoders::new(config.compress),
            bodies: MemoryBudget::new(config.body_memory_bytes),
            refills: Arc::new(Semaphore::new(MAX_REFILLS)),
            http2_requests: Arc::new(Semaphore::new(
                config.max_connections.max(CONNECTION_STREAMS) as usize,
            )),
            metrics: Metrics::default(),
            routes: CurrentRoutes::new(rules),
            announce_keys: RwLock::new(keys.into()),
            closing: AtomicBool::new(false),
            config,
            hosts,
        }))
    }

    /// Waits for the first DNS lookups of the upstreams, for a limited time.
    pub(crate) async fn wait_for_lookups(&self) {
        self.rules().wait_for_lookups(FIRST_LOOKUP_TIME).await;
    }

    /// Permit for a connection of this peer; `None` if it has too many.
    pub(crate) fn admit(&self, peer: IpAddr) -> Option<Permit> {
        if !self.config.limits_connections(peer) {
            return Some(Permit::unlimited());
        }
        let permit = self.clients.connect(&self.config.bounds, peer, Instant::now());
        if permit.is_none() {
            self.metrics.over_connections.add();
        }
        permit
    }

    /// Permits for another HTTP/2 request on a connection of this peer; `None` if there are too many.
    /// Each request may have a connection to an upstream, so the limits are those of connections, for
    /// the client and for all together.
    pub(crate) fn admit_request(&self, peer: IpAddr) -> Option<RequestPermits> {
        let own = if self.config.limits_connections(peer) {
            let bounds = &self.config.bounds;
            self.clients.request(bounds, CONNECTION_STREAMS, peer, Instant::now())
        } else {
            Some(Permit::unlimited())
        };
        let permits = own.and_then(|own| {
            let permit = self.http2_requests.clone().try_acquire_owned().ok()?;
            Some((permit, own))
        });
        if permits.is_none() {
            self.metrics.refused_requests.add();
        }
        permits
    }

    /// Active routes.
    pub(crate) fn rules(&self) -> Arc<RouteTable> {
        self.routes.get()
    }

    /// Keys that verify announcements; empty if announcements are disabled.
    pub(crate) fn announce_keys(&self) -> Arc<[Key]> {
        read(&self.announce_keys).clone()
    }

    /// Reloads the certificate, the signing keys and the route table. Requests in flight complete with
    /// their previous routes; an invalid table changes nothing. The cache is cleared.
    pub(crate) async fn reload(self: &Arc<Self>) {
        let gateway = self.clone();
        let read = move || {
            if let Some(tls) = &gateway.config.tls {
                tls.reload();
            }
            (gateway.config.announcing.keys(), gateway.config.table.lines())
        };
        let Some((keys, table)) = read_files(read).await else { return };
        match keys {
            Ok(keys) => *write(&self.announce_keys) = keys.into(),
            Err(fault) => {
                tracing::error!(%fault, "cannot reload the announcement secrets; keeping the current ones");
            }
        }
        match table {
            Ok(table) => {
                let rules = RouteTable::start(&table, &self.config.pools, &self.rules());
                // Without addresses, a route would answer 503 until its first lookup ends.
                rules.wait_for_lookups(RELOAD_LOOKUP_TIME).await;
                let routes = rules.routes.len();
                self.routes.replace(rules);
                self.cache.clear();
                tracing::info!(routes, "routes reloaded");
            }
            Err(faults) => {
                for fault in faults {
                    tracing::error!(%fault, "cannot reload the routes; keeping the current ones");
                }
            }
        }
    }

    /// Marks the gateway as not ready.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Whether the gateway is shutting down.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Reason why the gateway is not ready, if it is not.
    pub(crate) fn not_ready(&self) -> Option<String> {
        if self.is_closing() {
            return Some("the gateway is shutting down".to_owned());
        }
        self.rules().not_ready().map(|route| format!("no healthy upstream for route {route}"))
    }
}
