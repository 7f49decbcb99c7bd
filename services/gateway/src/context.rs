//! State of one request, and the decision about it before it is forwarded: client, access, rate
//! limit, route, authentication, cache. In this order, so that cheap checks that reject most
//! requests come first, and authentication precedes any response from the cache.

mod announce;
mod authorize;
mod fleet;
mod record;
mod response_head;
mod upstream_head;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue, STRICT_TRANSPORT_SECURITY};
use http::{Method, StatusCode, Version};

use self::authorize::{is_event_stream, upgrade_of};
use self::fleet::FleetPath;
pub(crate) use self::record::record_rejected;
pub(crate) use self::response_head::deduplicate_fields;
use crate::cache::{CacheRequest, CachedResponse, Fill, FillDecision, Lookup, Moment};
use crate::fields::Fields;
use crate::fleet::Viewer;
use crate::message::head::FullResponse;
use crate::message::is_event_stream_type;
use crate::message::problem::Problem;
use crate::request::authority::canonical;
use crate::request::client_info::{ClientInfo, Scheme};
use crate::request::forwarded::is_loop;
use crate::request::hop_by_hop::HopByHop;
use crate::request::parse::Head;
use crate::request::rate_limit::{Permit, Quota};
use crate::request::trace_context::Trace;
use crate::routing::attributes::Attributes;
use crate::routing::route::plain;
use crate::routing::table::{Route, RouteTable};
use crate::settings::Timeouts;
use crate::state::Gateway;
use crate::upstream::client::{Attempts, Call};
use tokio::sync::OwnedSemaphorePermit;

/// A request in progress: the data that the access log and the response need.
#[expect(clippy::struct_excessive_bools, reason = "each is true or not whatever the others are")]
pub(crate) struct RequestContext {
    /// Shared state: configuration and metrics.
    pub(crate) gateway: Arc<Gateway>,
    /// Time at which its head was complete.
    pub(crate) begun: Instant,
    /// Request method.
    pub(crate) method: Method,
    /// Path and query as the upstream receives them.
    pub(crate) target: String,
    /// Path and query for a member of the fleet, if they differ from `target`.
    pub(crate) upstream_target: Option<String>,
    /// Canonical host of the Host field; empty if there is none.
    host: String,
    /// Canonical scheme and host as the upstream receives them: a part of the cache key.
    site: String,
    /// Epoch of the cache at the start of the request.
    epoch: u64,
    /// Its `Accept` field.
    accept: Option<HeaderValue>,
    /// Client identity.
    pub(crate) client_info: ClientInfo,
    /// Scheme of the connection; a trusted proxy may report another one for its client.
    connection_scheme: Scheme,
    trace: Trace,
    quota: Option<Quota>,
    /// The `Cache-Status` field, if one is sent.
    pub(crate) cache_status: Option<HeaderValue>,
    /// Background refresh of a stale stored response.
    pub(crate) refill: Option<Box<Refill>>,
    /// Cache fill for the response.
    pub(crate) fill: Option<Box<Fill>>,
    /// The client already has the upstream's response: send 304.
    pub(crate) not_modified: bool,
    /// Route of the request.
    pub(crate) route: Option<Arc<Route>>,
    /// Attempts at the upstream.
    pub(crate) attempts: Attempts,
    /// Upstream address, if the lease was released before the end of the request.
    pub(crate) upstream_address: Option<SocketAddr>,
    /// The connection closes after the response.
    pub(crate) close_after: bool,
    /// HTTP/1.0.
    pub(crate) is_http10: bool,
    version: Version,
    /// `Max-Forwards` for the upstream.
    max_forwards: Option<u64>,
    /// The response already has `Strict-Transport-Security`.
    has_hsts: bool,
    /// The response is an event stream, which may be endless.
    pub(crate) is_stream: bool,
    /// A health check of the gateway, which is logged only on failure.
    is_health_check: bool,
    /// Whether the response comes from the cache.
    is_from_cache: bool,
    /// Error message for the log.
    pub(crate) error: Option<String>,
    /// Status of the response.
    pub(crate) status: u16,
    /// Size of the response body in bytes.
    pub(crate) sent_bytes: u64,
}

/// Decision about a request.
pub(crate) enum Decision {
    /// Send this response, which the gateway generated or the cache returned.
    Respond(FullResponse),
    /// Send the merged stream of the fleet.
    Stream(Viewer, Option<Permit>),
    /// Forward the request to an upstream.
    Forward(UpstreamRequest),
}

/// Background refresh of a stored response while clients get the stale one (RFC 5861, section 3).
pub(crate) struct Refill {
    /// Context of the same request, without a client.
    pub(crate) context: RequestContext,
    /// Request head as the client sent it.
    pub(crate) head: Head,
    /// Request head for the upstream, without its final lines.
    pub(crate) request: Vec<u8>,
    /// Permit for a background refresh.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// A request for an upstream, without its body.
pub(crate) struct UpstreamRequest {
    /// Request line and fields, without framing fields and the final empty line.
    pub(crate) head: Vec<u8>,
    /// Protocol that the client asks to upgrade to and that the route allows.
    pub(crate) protocol: Option<HeaderValue>,
    /// Permit for a long-lived connection of the client.
    pub(crate) permit: Option<Permit>,
}

impl RequestContext {
    /// Creates the context of a request with a parsed head.
    pub(crate) fn new(
        gateway: &Arc<Gateway>,
        head: &Head,
        peer: SocketAddr,
        scheme: Scheme,
    ) -> Self {
        let mut client_info = gateway.config.trust.client_info(peer.ip(), scheme, &head.fields);
        let host_field = head.fields.get(HOST);
        let host = canonical(text_of(host_field), client_info.scheme);
        let site;
        if client_info.host.as_ref() == host_field {
            site = self::site(client_info.scheme, &host, None);
            if host_field.is_some_and(|host_field| host_field != host.as_str()) {
                client_info.host = HeaderValue::try_from(host.as_str()).ok();
            }
        } else {
            let public = text_of(client_info.host.as_ref());
            let public = client_info.host.is_some().then(|| canonical(public, client_info.scheme));
            site = self::site(client_info.scheme, &host, public.as_deref());
            client_info.host = public.and_then(|public| HeaderValue::try_from(public).ok());
        }
        Self {
            begun: Instant::now(),
            method: head.method.clone(),
            target: String::from_utf8_lossy(&head.target).into_owned(),
            upstream_target: None,
            host,
            site,
            epoch: gateway.cache.epoch(),
            accept: head.fields.get(ACCEPT).cloned(),
            client_info,
            connection_scheme: scheme,
            trace: Trace::of(&head.fields),
            quota: None,
            cache_status: None,
            fill: None,
            not_modified: false,
            route: None,
            attempts: Attempts::default(),
            upstream_address: None,
            refill: None,
            close_after: !head.keeps_alive,
            is_http10: head.version == Version::HTTP_10,
            version: head.version,
            max_forwards: None,
            has_hsts: false,
            is_stream: false,
            is_health_check: false,
            is_from_cache: false,
            error: None,
            status: 0,
            sent_bytes: 0,
            gateway: gateway.clone(),
        }
    }

    /// Decides about the request, before its body is read.
    pub(crate) async fn decide(&mut self, head: &Head) -> Decision {
        match self.try_decide(head).await {
            Ok(decision) => decision,
            Err(problem) => Decision::Respond(self.reject_with(&problem)),
        }
    }

    async fn try_decide(&mut self, head: &Head) -> Result<Decision, Problem> {
        let target = self.target.clone();
        let (path, query) = split_target(&target);
        let path = plain(path);
        let is_health_check = path.as_ref().is_ok_and(|path| is_health_path(path));
        let access_problem = self.check_access();
        if is_health_check && [Method::GET, Method::HEAD].contains(&self.method) {
            self.is_health_check = true;
            let details = access_problem.is_none() && self.is_within_rate();
            let ready = path.is_ok_and(|path| path == "/readyz");
            return self.health(ready, details).map(Decision::Respond);
        }
        if let Some(problem) = access_problem {
            self.gateway.metrics.denied.add();
            return Err(problem);
        }
        let path =
            path.map_err(|why| Problem::bad_request(format!("the path is ambiguous: {why}")))?;
        if query.is_some_and(|query| query.contains('#')) || path.contains('#') {
            return Err(Problem::bad_request("the target has a fragment"));
        }
        let hop = HopByHop::of(&head.fields).map_err(Problem::bad_request)?;
        if is_loop(&head.fields) {
            let detail = "loop detected: the route leads back to this gateway";
            return Err(Problem::new(StatusCode::LOOP_DETECTED, detail));
        }
        self.check_rate()?;
        if is_health_check {
            return Err(Problem::method_not_allowed("GET, HEAD"));
        }
        if let Some(path) = FleetPath::parse(&path) {
            return self.decide_fleet(&path, query, head, &hop).await;
        }
        let rules = self.gateway.rules();
        // The built-in table has a route for `/`.
        let route = checked_route(&rules, &path)?.clone();
        // The upstream receives the same path that was routed.
        if let Cow::Owned(path) = path {
            self.target = match query {
                Some(query) => format!("{path}?{query}"),
                None => path,
            };
        }
        let auth = route.auth.clone();
        let upgrade = upgrade_of(head)?;
        self.route = Some(route.clone());
        if let Some(auth) = auth {
            self.check_auth(&auth, head)?;
        }
        self.forward(head, &hop, upgrade).await
    }

    /// Timeouts of its route.
    pub(crate) fn timeouts(&self) -> Timeouts {
        let timeouts = self.gateway.config.timeouts;
        let Some(attributes) = self.attributes() else { return timeouts };
        Timeouts {
            silence: attributes.timeout.unwrap_or(timeouts.silence),
            total: attributes.total.unwrap_or(timeouts.total),
            ..timeouts
        }
    }

    /// Upstream call for this request; `route` is its route.
    pub(crate) fn call<'a>(
        &self,
        route: &'a Route,
        head: &'a Head,
        protocol: Option<&'a HeaderValue>,
    ) -> Call<'a> {
        let timeouts = self.timeouts();
        Call {
            pool: &route.pool,
            route: &route.name,
            rules: &route.attributes.response,
            failures: &route.metrics.upstream_failures,
            head,
            protocol,
            connect_time: timeouts.connect,
            silence: timeouts.silence,
            total: timeouts.total,
        }
    }

    /// Body limit of its route in bytes, if the route has one.
    pub(crate) fn body_limit(&self) -> Option<usize> {
        self.attributes()?.body_bytes
    }

    /// Whether its route requires authentication.
    pub(crate) fn requires_auth(&self) -> bool {
        self.route.as_ref().is_some_and(|route| route.auth.is_some())
    }

    fn attributes(&self) -> Option<&Attributes> {
        self.route.as_ref().map(|route| &route.attributes)
    }

    /// Applies the route's field rules to the upstream's response.
    pub(crate) fn edit_response(&mut self, fields: &mut Fields) {
        let Some(route) = &self.route else { return };
        if !route.attributes.response.is_empty() {
            route.attributes.response.apply(fields);
            self.note_hsts(fields);
        }
    }

    /// Checks the restrictions of the route, and forwards the request if the cache has no response.
    async fn forward(
        &mut self,
        head: &Head,
        hop: &HopByHop,
        upgrade: Option<HeaderValue>,
    ) -> Result<Decision, Problem> {
        if let Some(protocol) = &upgrade
            && let Some(route) = &self.route
            && !route
                .upgrade
                .iter()
                .any(|it| protocol.as_bytes().eq_ignore_ascii_case(it.as_bytes()))
        {
            return Err(Problem::bad_request("this route does not allow this protocol"));
        }
        if let Some(host) = self.attributes().and_then(|it| it.host.as_deref()) {
            // The upstream receives this host, and the client's host as well.
            let public = self.client_info.host.as_ref().map(|host| text_of(Some(host)));
            self.site = site(self.client_info.scheme, host, public);
        }
        if self.method == Method::OPTIONS
            && let Some(reply) = self.check_max_forwards(head)?
        {
            return Ok(Decision::Respond(reply));
        }
        let permit = if upgrade.is_some() {
            self.stream_permit(false)?
        } else if is_event_stream(&head.method, self.accept.as_ref()) {
            // A request for events does not force a fetch while a fresh response is stored.
            if let Some(answer) = self.lookup_cache(head, hop).await {
                return Ok(Decision::Respond(self.answer(&answer)));
            }
            (self.fill, self.cache_status) = (None, None);
            self.stream_permit(false)?
        } else if let Some(answer) = self.lookup_cache(head, hop).await {
            return Ok(Decision::Respond(self.answer(&answer)));
        } else {
            None
        };
        let head = self.request(head, hop, upgrade.as_ref());
        Ok(Decision::Forward(UpstreamRequest { head, protocol: upgrade, permit }))
    }

    /// Returns the response, if it is stored or being fetched.
    async fn lookup_cache(&mut self, head: &Head, hop: &HopByHop) -> Option<CachedResponse> {
        // The fields that the upstream receives select the response.
        let mut headers = Cow::Borrowed(&head.fields);
        for name in &hop.nominated {
            headers.to_mut().remove(name);
        }
        let rules = self.attributes().map(|it| (&it.request, &it.response));
        if let Some((request, _)) = rules.filter(|(request, _)| !request.is_empty()) {
            request.apply(headers.to_mut());
        }
        let cache_request = CacheRequest {
            method: &self.method,
            site: &self.site,
            target: &self.target,
            epoch: self.epoch,
            headers: &headers,
        };
        let response = rules.map(|(_, response)| response).filter(|rules| !rules.is_empty());
        match self.gateway.cache.lookup(&cache_request).await {
            Lookup::Hit(answer) => return Some(answer),
            Lookup::Fill(mut fill) => {
                fill.edits = response.cloned();
                self.fill = Some(fill);
            }
            Lookup::Stale(answer, mut fill) => {
                fill.edits = response.cloned();
                self.refill(head, fill);
                return Some(answer);
            }
            Lookup::Pass(pass) => self.cache_status = Some(pass.forwarded().field()),
            // `lookup` has waited.
            Lookup::Wait(_) => {}
        }
        None
    }

    /// Refreshes a stored response in the background; a later request does it if too many refreshes
    /// are running.
    fn refill(&mut self, head: &Head, fill: Box<Fill>) {
        let Ok(permit) = self.gateway.refills.clone().try_acquire_owned() else { return };
        let peer = SocketAddr::new(self.client_info.peer, 0);
        let scheme = self.client_info.scheme;
        let mut background = Self::new(&self.gateway, head, peer, scheme);
        background.client_info = self.client_info.clone();
        background.site.clone_from(&self.site);
        background.target.clone_from(&self.target);
        background.upstream_target.clone_from(&self.upstream_target);
        background.route.clone_from(&self.route);
        background.fill = Some(fill);
        // The same field was parsed successfully before.
        let hop = HopByHop::of(&head.fields).unwrap_or_default();
        let request = background.request(head, &hop, None);
        self.refill =
            Some(Box::new(Refill { context: background, head: head.clone(), request, permit }));
    }

    /// Invalidates the target, which an unsafe request may have changed.
    fn invalidate(&self) {
        self.gateway.cache.invalidate(&self.site, &self.target);
    }

    /// Passes the unmodified response head of the upstream to the cache. Returns a stored response
    /// if it must be sent instead.
    pub(crate) fn on_response_head(
        &mut self,
        status: StatusCode,
        fields: &Fields,
    ) -> Option<CachedResponse> {
        self.status = status.as_u16();
        self.note_hsts(fields);
        if let Some(fill) = &mut self.fill {
            self.not_modified = fill.is_not_modified(status, fields);
            let now = Moment { instant: Instant::now(), unix: SystemTime::now() };
            match fill.response(status, fields, now) {
                FillDecision::Substitute(answer) => return Some(answer),
                FillDecision::Forward(why) => {
                    tracing::debug!(request_id = self.client_info.request_id, ?why, "not kept");
                }
                FillDecision::Storing => {}
            }
            self.cache_status = Some(fill.forwarded().field());
        } else if !self.method.is_safe() && self.status < 400 {
            self.invalidate();
        }
        self.is_stream |= is_event_stream_type(text_of(fields.get(CONTENT_TYPE)));
        None
    }

    /// Drops the values of the request head, because each one keeps the whole buffer alive, and the
    /// endpoints of the route. None of them is needed after the response has begun.
    pub(crate) fn release(&mut self) {
        (self.accept, self.client_info.host) = (None, None);
        self.route = self.route.take().map(|route| route.detached());
    }

    /// Records whether the response has `Strict-Transport-Security`.
    pub(crate) fn note_hsts(&mut self, fields: &Fields) {
        self.has_hsts = fields.contains_key(STRICT_TRANSPORT_SECURITY);
    }
}

/// Scheme and host as the upstream receives them, and the client's host if it differs: the upstream
/// receives both, and its response may depend on either.
fn site(scheme: Scheme, host: &str, public: Option<&str>) -> String {
    let scheme = scheme.name();
    let mut site = String::with_capacity(scheme.len() + 3 + host.len());
    for part in [scheme, "://", host] {
        site.push_str(part);
    }
    if let Some(public) = public.filter(|public| *public != host) {
        site.push(' ');
        site.push_str(public);
    }
    site
}

/// Whether a plain path is a health check of the gateway.
fn is_health_path(path: &str) -> bool {
    ["/healthz", "/readyz"].contains(&path)
}

/// The route for a path, unless an upstream could understand the path in a way that requires
/// authentication.
fn checked_route<'a>(rules: &'a RouteTable, path: &str) -> Result<&'a Arc<Route>, Problem> {
    let route = rules.route(path).ok_or_else(Problem::not_found)?;
    if rules.may_bypass_auth(path, route) {
        let detail =
            "the path is ambiguous: an upstream could read it as one that requires authentication";
        return Err(Problem::bad_request(detail));
    }
    Ok(route)
}

/// A field value; empty if it is absent or not text.
fn text_of(value: Option<&HeaderValue>) -> &str {
    value.and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn split_target(target: &str) -> (&str, Option<&str>) {
    target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)))
}
