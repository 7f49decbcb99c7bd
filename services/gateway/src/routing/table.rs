//! The routes in force, each with its pool of addresses. They are replaced as a whole when they
//! are read again; pools whose target stays the same are kept.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::request::auth::Auth;
use crate::request::field_rules::FieldRules;
use crate::routing::attributes::Attributes;
use crate::routing::reading::Reading;
use crate::routing::route::{RouteLine, covers, longest};
use crate::telemetry::counters::RouteMetrics;
use crate::upstream::{Origin, Pool, PoolSettings, Target, UpstreamTls};

/// A route in force.
#[derive(Debug)]
pub(crate) struct Route {
    /// In logs, metrics and error answers.
    pub(crate) name: String,
    prefix: String,
    /// Where its requests go.
    pub(crate) pool: Arc<Pool>,
    /// What must be known to use it.
    pub(crate) auth: Option<Auth>,
    /// Protocols that a connection may be upgraded to.
    pub(crate) upgrade: Vec<String>,
    /// What differs from other routes.
    pub(crate) attributes: Attributes,
    /// What became of its requests.
    pub(crate) metrics: Arc<RouteMetrics>,
}

impl Route {
    /// A route with the same policies to one address, which `is_own` or another one. What this route
    /// sends to its upstreams alone, TLS and secrets perhaps, is not for another one.
    pub(crate) fn toward(
        &self,
        address: SocketAddr,
        is_own: bool,
        settings: &PoolSettings,
    ) -> Self {
        let name = format!("/fleet/{address}");
        let origins = vec![Origin::new(&address.ip().to_string(), address.port())];
        let tls = self.pool.target().tls.clone().filter(|_| is_own);
        let target = Target { name: name.clone(), origins, check: None, tls };
        let mut attributes = self.attributes.clone();
        if !is_own {
            (attributes.host, attributes.request) = (None, FieldRules::default());
        }
        Self {
            name,
            prefix: self.prefix.clone(),
            pool: Pool::start(&target, settings),
            auth: self.auth.clone(),
            upgrade: Vec::new(),
            attributes,
            metrics: self.metrics.clone(),
        }
    }
}

/// All routes, the longest prefix first.
#[derive(Debug, Default)]
pub(crate) struct RouteTable {
    routes: Vec<Arc<Route>>,
}

/// The table in force, which is replaced as a whole.
#[derive(Debug)]
pub(crate) struct CurrentRoutes(RwLock<Arc<RouteTable>>);

impl CurrentRoutes {
    pub(crate) fn new(table: RouteTable) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Arc::new(table))))
    }

    pub(crate) fn get(&self) -> Arc<RouteTable> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn replace(&self, table: RouteTable) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }
}

/// A line of the table with its guard.
#[derive(Clone, Debug)]
pub(crate) struct AuthenticatedRoute {
    /// The line.
    pub(crate) line: RouteLine,
    /// Its guard, if it asks for one.
    pub(crate) auth: Option<Auth>,
    /// TLS toward its upstreams, if their addresses ask for it.
    pub(crate) tls: Option<UpstreamTls>,
}

impl RouteTable {
    /// Starts what is new in the table, and takes the rest from `before`. Must be called inside a
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
                    name: line.name().to_owned(),
                    origins: line.origins.clone(),
                    check: line.check.clone(),
                    tls: tls.clone(),
                };
                let known = |known: &&Arc<Route>| known.name == target.name;
                let known = before.routes.iter().find(known);
                let same = known.filter(|known| *known.pool.target() == target);
                Arc::new(Route {
                    prefix: line.prefix.clone(),
                    pool: same
                        .map_or_else(|| Pool::start(&target, settings), |same| same.pool.clone()),
                    auth: auth.clone(),
                    upgrade: line.upgrade.clone(),
                    attributes: line.attributes.clone(),
                    metrics: known.map_or_else(Arc::default, |known| known.metrics.clone()),
                    name: target.name,
                })
            })
            .collect();
        routes.sort_by_key(|route| std::cmp::Reverse(route.prefix.len()));
        Self { routes }
    }

    /// The route of a plain path.
    pub(crate) fn route(&self, path: &str) -> Option<&Arc<Route>> {
        let place = longest(path, self.routes.iter().map(|route| route.prefix.as_str()))?;
        self.routes.get(place)
    }

    /// Whether some server could read a plain path, whose route is this one, as a path of a guarded
    /// route.
    pub(crate) fn may_bypass_auth(&self, path: &str, route: &Route) -> bool {
        let mut guarded = self.routes.iter().filter(|other| other.auth.is_some()).peekable();
        if route.auth.is_some() || guarded.peek().is_none() {
            return false;
        }
        let reading = Reading::of(path);
        // An open route below a guarded one was meant to be open, but nothing leads out of it.
        reading.has_dots()
            || guarded
                .filter(|other| !covers(&other.prefix, path))
                .any(|other| reading.may_be_below(&Reading::of(&other.prefix)))
    }

    /// All of them.
    pub(crate) fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// Waits for the first lookups, at most for `bound`.
    pub(crate) async fn wait_for_lookups(&self, bound: Duration) {
        for route in &self.routes {
            // One after the other, but they look at the same time.
            route.pool.wait_for_lookups(bound).await;
        }
    }

    /// The first route without a healthy upstream.
    pub(crate) fn not_ready(&self) -> Option<&str> {
        let route = self.routes.iter().find(|route| !route.pool.is_ready())?;
        Some(&route.name)
    }
}
