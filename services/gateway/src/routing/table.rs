//! Active routes, each with its upstream pool. A reload replaces the whole table and keeps the
//! pools whose target is unchanged.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, RwLock};
use std::time::{Duration, Instant};

use crate::lock::{read, write};
use crate::request::auth::Auth;
use crate::request::field_rules::FieldRules;
use crate::routing::attributes::Attributes;
use crate::routing::reading::Reading;
use crate::routing::route::{RouteLine, covers, longest};
use crate::telemetry::counters::RouteMetrics;
use crate::upstream::{Origin, Pool, PoolSettings, Target, UpstreamTls};

/// An active route.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// Name in logs, metrics and error responses: the prefix of its paths, or the address of a
    /// fleet member.
    pub(crate) name: String,
    /// Upstream pool.
    pub(crate) pool: Arc<Pool>,
    /// Required authentication, if any.
    pub(crate) auth: Option<Auth>,
    /// Protocols that a connection may be upgraded to.
    pub(crate) upgrade: Vec<String>,
    /// Per-route attributes.
    pub(crate) attributes: Attributes,
    /// Request metrics.
    pub(crate) metrics: Arc<RouteMetrics>,
    /// See [`Route::detached`].
    detached: OnceLock<Arc<Self>>,
}

impl Route {
    /// A route with the same policies to a single address. `is_own` means that the address belongs
    /// to this route's pool; TLS and secrets are only used for such an address. Another one receives
    /// `host`, or the client's host.
    pub(crate) fn for_member(
        &self,
        address: SocketAddr,
        is_own: bool,
        host: Option<String>,
        settings: &PoolSettings,
    ) -> Self {
        let name = format!("/fleet/{address}");
        let origins = vec![Origin::new(&address.ip().to_string(), address.port())];
        let tls = self.pool.target().tls.clone().filter(|_| is_own);
        let target = Target { name: name.clone(), origins, check: None, host: None, tls };
        let mut attributes = self.attributes.clone();
        if !is_own {
            (attributes.host, attributes.request) = (host, FieldRules::default());
        }
        let pool = Pool::start(&target, settings);
        let detached = OnceLock::new();
        Self { name, pool, upgrade: Vec::new(), attributes, detached, ..self.clone() }
    }

    /// The same route without endpoints, for responses that may last for days: they must not keep
    /// the lookups and health checks of a route that a reload has replaced.
    pub(crate) fn detached(&self) -> Arc<Self> {
        let detached = || Arc::new(Self { pool: self.pool.without_endpoints(), ..self.clone() });
        self.detached.get_or_init(detached).clone()
    }
}

/// All routes, sorted by descending length of the prefix.
#[derive(Debug, Default)]
pub(crate) struct RouteTable {
    pub(crate) routes: Vec<Arc<Route>>,
    /// Prefixes of the routes with authentication.
    protected: Vec<(String, Reading)>,
}

/// The active route table; a reload replaces it as a whole.
#[derive(Debug)]
pub(crate) struct CurrentRoutes(RwLock<Arc<RouteTable>>);

impl CurrentRoutes {
    pub(crate) fn new(table: RouteTable) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Arc::new(table))))
    }

    pub(crate) fn get(&self) -> Arc<RouteTable> {
        read(&self.0).clone()
    }

    pub(crate) fn replace(&self, table: RouteTable) {
        *write(&self.0) = Arc::new(table);
    }
}

/// A line of the table with its authentication.
#[derive(Clone, Debug)]
pub(crate) struct AuthenticatedRoute {
    /// Parsed line.
    pub(crate) line: RouteLine,
    /// Authentication, if the route requires it.
    pub(crate) auth: Option<Auth>,
    /// TLS to the upstreams, if they use it.
    pub(crate) tls: Option<UpstreamTls>,
}

impl RouteTable {
    /// Starts new routes, and reuses unchanged pools from `before`. Must be called inside a
    /// runtime.
    pub(crate) fn start(
        table: &[AuthenticatedRoute],
        settings: &PoolSettings,
        before: &Self,
    ) -> Self {
        let mut routes: Vec<_> = table
            .iter()
            .map(|AuthenticatedRoute { line, auth, tls }| {
                let target = Target {
                    name: line.prefix.clone(),
                    origins: line.origins.clone(),
                    check: line.check.clone(),
                    host: line.attributes.host.clone(),
                    tls: tls.clone(),
                };
                let known = |known: &&Arc<Route>| known.name == target.name;
                let known = before.routes.iter().find(known);
                Arc::new(Route {
                    pool: pool(&target, settings, known.map(|known| &known.pool)),
                    auth: auth.clone(),
                    upgrade: line.upgrade.clone(),
                    attributes: line.attributes.clone(),
                    metrics: known.map_or_else(Arc::default, |known| known.metrics.clone()),
                    name: target.name,
                    detached: OnceLock::new(),
                })
            })
            .collect();
        routes.sort_by_key(|route| std::cmp::Reverse(route.name.len()));
        let protected = routes.iter().filter(|route| route.auth.is_some());
        let protected = protected.map(|route| (route.name.clone(), Reading::of(&route.name)));
        let protected = protected.collect();
        Self { routes, protected }
    }

    /// The route of a plain path.
    pub(crate) fn route(&self, path: &str) -> Option<&Arc<Route>> {
        let index = longest(path, self.routes.iter().map(|route| route.name.as_str()))?;
        self.routes.get(index)
    }

    /// Whether a server could interpret a plain path of this route as a path of a protected route.
    pub(crate) fn may_bypass_auth(&self, path: &str, route: &Route) -> bool {
        if route.auth.is_some() || self.protected.is_empty() {
            return false;
        }
        let reading = Reading::of(path);
        // An open route below a protected one is intentional, but a dot segment must not lead out
        // of it.
        reading.has_dots
            || self
                .protected
                .iter()
                .any(|(prefix, other)| !covers(prefix, path) && reading.may_be_below(other))
    }

    /// Waits for the first DNS lookups, at most for `bound`.
    pub(crate) async fn wait_for_lookups(&self, bound: Duration) {
        let deadline = Instant::now() + bound;
        for route in &self.routes {
            // The lookups run concurrently, although the waits are sequential.
            let left = deadline.saturating_duration_since(Instant::now());
            route.pool.wait_for_lookups(left).await;
        }
    }

    /// The first route without a healthy upstream.
    pub(crate) fn not_ready(&self) -> Option<&str> {
        let route = self.routes.iter().find(|route| !route.pool.is_ready())?;
        Some(&route.name)
    }
}

/// Pool of a route with this target, whose pool was `before`.
fn pool(target: &Target, settings: &PoolSettings, before: Option<&Arc<Pool>>) -> Arc<Pool> {
    match before {
        Some(before) if before.target() == target => before.clone(),
        before => {
            let pool = Pool::start(target, settings);
            if let Some(before) = before {
                pool.adopt(before);
            }
            pool
        }
    }
}
