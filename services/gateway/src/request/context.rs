//! The state of one request, and the decision about it before it is forwarded: client, access,
//! rate, route, authentication, cache. In this order, so that cheap checks that reject most come
//! first, and authentication before any response from the cache.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{
    ACCEPT, ALLOW, CACHE_STATUS, CONNECTION, CONTENT_TYPE, EXPECT, HOST, HeaderName, HeaderValue,
    MAX_FORWARDS, RETRY_AFTER, STRICT_TRANSPORT_SECURITY, UPGRADE, WWW_AUTHENTICATE,
};
use http::{HeaderMap, Method, StatusCode, Version};
use semantics::negotiation::named;

use crate::BUILD;
use crate::cache::{Answer, CacheRequest, Fill, Lookup, Moment, Verdict};
use crate::request::authority::canonical;
use crate::request::forwarded::{ForwardedHeaders, REQUEST_ID, is_loop};
use crate::request::hop_by_hop::HopByHop;
use crate::request::is;
use crate::request::parse::{Head, METHODS};
use crate::request::rate_limit::{Permit, Quota, RateDecision};
use crate::request::trace_context::Trace;
use crate::request::trusted_proxies::{ClientInfo, Scheme};
use crate::response::problem::Problem;
use crate::routing::route::plain;
use crate::routing::table::Route;
use crate::state::Gateway;
use crate::telemetry::access_log::{self, Entry};
use crate::upstream::Lease;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// A year, as hstspreload.org asks for; sent only over HTTPS (RFC 6797).
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// One request in progress: what the access log and the response need to know of it.
#[expect(clippy::struct_excessive_bools, reason = "each is true or not whatever the others are")]
pub(crate) struct RequestContext {
    /// The shared state: settings and counters.
    pub(crate) gateway: Arc<Gateway>,
    /// When its head was complete.
    pub(crate) begun: Instant,
    /// Its method.
    pub(crate) method: Method,
    /// Path and query as the upstream will read them.
    pub(crate) target: String,
    /// The host of its Host field, in canonical form; empty where there is none.
    host: String,
    /// Scheme and host as the upstream receives them, in canonical form: a part of the cache's key.
    site: String,
    /// Its `Accept` field.
    accept: Option<HeaderValue>,
    /// The client.
    pub(crate) client_info: ClientInfo,
    trace: Trace,
    quota: Option<Quota>,
    /// Whether a field says what the cache did.
    pub(crate) cache_status: Option<HeaderValue>,
    /// What brings the answer into the cache.
    pub(crate) filling: Option<Box<Fill>>,
    /// The client has the upstream's response already: 304.
    pub(crate) not_modified: bool,
    /// Where it goes.
    pub(crate) route: Option<Arc<Route>>,
    /// The address that is asked.
    pub(crate) pick: Option<Lease>,
    /// The address that was asked, where the hold on it was given up before the end.
    pub(crate) asked: Option<SocketAddr>,
    /// The addresses of the tries that failed.
    pub(crate) tried: Vec<SocketAddr>,
    /// The client wants, or has, no further answer on this connection.
    pub(crate) closes: bool,
    /// HTTP/1.0.
    pub(crate) is_http10: bool,
    version: Version,
    /// What is left of `Max-Forwards`.
    forwards_left: Option<u64>,
    /// The answer has a policy of HTTPS of its own.
    has_hsts: bool,
    /// The answer turned out to be an event stream, which has no end.
    pub(crate) streams: bool,
    /// A health check of the gateway itself, which is logged only when it fails.
    is_health_check: bool,
    /// What went wrong.
    pub(crate) error: Option<String>,
    /// Status and bytes of the answer.
    pub(crate) status: u16,
    /// Bytes of the answer's body.
    pub(crate) sent_bytes: u64,
}

/// What to do with a request.
pub(crate) enum Decision {
    /// Send this, which is the gateway's own, or from memory.
    Answer(FullResponse),
    /// Have the answer fetched.
    Forward(UpstreamRequest),
}

/// A request for an upstream, without its body.
pub(crate) struct UpstreamRequest {
    /// Request line and fields, but for those that frame the body, and the empty line.
    pub(crate) head: BytesMut,
    /// Another protocol that the client asks for, and may have.
    pub(crate) protocol: Option<HeaderValue>,
    /// Of a connection that stays: its place among those of the same client.
    pub(crate) permit: Option<Permit>,
}

/// An answer that is complete.
pub(crate) struct FullResponse {
    /// Status line and fields.
    pub(crate) head: Vec<u8>,
    /// What comes behind.
    pub(crate) body: Bytes,
}

impl RequestContext {
    /// Of a request whose head has been read.
    pub(crate) fn new(
        gateway: &Arc<Gateway>,
        head: &Head,
        peer: SocketAddr,
        scheme: Scheme,
    ) -> Self {
        let mut client_info = gateway.config.trust.client_info(peer.ip(), scheme, &head.fields);
        let host = canonical(text_of(head.fields.get(HOST)), client_info.scheme);
        let public = client_info
            .host
            .as_ref()
            .map(|host| canonical(text_of(Some(host)), client_info.scheme));
        let mut site = format!("{}://{host}", client_info.scheme.name());
        if let Some(public) = public {
            if public != host {
                // The upstream is told both, and may answer for either.
                site.push(' ');
                site.push_str(&public);
            }
            client_info.host = HeaderValue::try_from(public).ok();
        }
        Self {
            begun: Instant::now(),
            method: head.method.clone(),
            target: String::from_utf8_lossy(&head.target).into_owned(),
            host,
            site,
            accept: head.fields.get(ACCEPT).cloned(),
            client_info,
            trace: Trace::of(&head.fields),
            quota: None,
            cache_status: None,
            filling: None,
            not_modified: false,
            route: None,
            pick: None,
            asked: None,
            tried: Vec::new(),
            closes: !head.keeps_alive,
            is_http10: head.version == Version::HTTP_10,
            version: head.version,
            forwards_left: None,
            has_hsts: false,
            streams: false,
            is_health_check: false,
            error: None,
            status: 0,
            sent_bytes: 0,
            gateway: gateway.clone(),
        }
    }

    /// Decides what to do with it, before its body is read.
    pub(crate) async fn decide(&mut self, head: &Head) -> Decision {
        match self.try_to_decide(head).await {
            Ok(admission) => admission,
            Err(problem) => Decision::Answer(self.reject_with(&problem)),
        }
    }

    async fn try_to_decide(&mut self, head: &Head) -> Result<Decision, Problem> {
        let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
        let came = self.target.clone();
        let (path, query) = split_target(&came);
        let path = plain(path);
        let is_own = path.as_ref().is_ok_and(|path| is_health_path(path));
        let barred = self.barred();
        if is_own && [Method::GET, Method::HEAD].contains(&self.method) {
            self.is_health_check = true;
            let details = barred.is_none() && self.is_within_rate();
            let ready = path.is_ok_and(|path| path == "/readyz");
            return self.health(ready, details).map(Decision::Answer);
        }
        if let Some(problem) = barred {
            self.gateway.metrics.denied.add();
            return Err(problem);
        }
        let path = path.map_err(|why| bad(format!("the path is ambiguous: {}", why.0)))?;
        if query.is_some_and(|query| query.contains('#')) || path.contains('#') {
            return Err(bad("the target has a fragment".to_owned()));
        }
        let hop = HopByHop::of(&head.fields).map_err(|abuse| bad(abuse.0.to_owned()))?;
        if is_loop(&head.fields) {
            let detail = "the request has passed this gateway before: its route leads back here";
            return Err(Problem::new(StatusCode::LOOP_DETECTED, detail));
        }
        self.check_rate()?;
        if is_own {
            return Err(Problem::method_not_allowed("GET, HEAD"));
        }
        let rules = self.gateway.rules();
        // There always is a route for `/`.
        let route = rules
            .route(&path)
            .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "there is nothing here"))?
            .clone();
        if rules.may_bypass_auth(&path, &route) {
            let detail = "the path is ambiguous: it could be read as one that needs authentication";
            return Err(bad(detail.to_owned()));
        }
        // The upstream reads the very path that was routed.
        let target = match query {
            Some(query) => format!("{path}?{query}"),
            None => path.into_owned(),
        };
        self.target = target;
        let auth = route.auth.clone();
        let upgrade = upgrade_of(head)?;
        self.route = Some(route.clone());
        if let Some(auth) = auth {
            self.check_auth(&auth, head)?;
        }
        if let Some(protocol) = &upgrade
            && !route.upgrade.iter().any(|it| is(&String::from_utf8_lossy(protocol.as_bytes()), it))
        {
            return Err(bad("this route does not allow this protocol".to_owned()));
        }
        if self.method == Method::OPTIONS
            && let Some(reply) = self.count_forward(head)?
        {
            return Ok(Decision::Answer(reply));
        }
        let permit = if upgrade.is_some() {
            self.stream_permit()?
        } else if is_event_stream(&head.method, self.accept.as_ref()) {
            // A fresh answer is not fetched again by asking for events.
            if let Some(answer) = self.look_into_cache(head).await {
                return Ok(Decision::Answer(self.answer(&answer)));
            }
            (self.filling, self.cache_status) = (None, None);
            self.stream_permit()?
        } else if let Some(answer) = self.look_into_cache(head).await {
            return Ok(Decision::Answer(self.answer(&answer)));
        } else {
            None
        };
        let head = self.request(head, &hop, upgrade.as_ref());
        Ok(Decision::Forward(UpstreamRequest { head, protocol: upgrade, permit }))
    }

    /// Answers a health check of the gateway itself: the bare status to everyone, so that a load
    /// balancer needs no permission, and details to those who may send other requests.
    fn health(&mut self, ready: bool, details: bool) -> Result<FullResponse, Problem> {
        let (kind, body) = if ready {
            if let Some(why) = self.gateway.not_ready() {
                let detail = if details { why } else { "not ready".to_owned() };
                return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
                    .with(RETRY_AFTER, HeaderValue::from_static("1")));
            }
            ("text/plain; charset=utf-8", Bytes::from_static(b"ok\n"))
        } else if details {
            ("application/json", BUILD.health().into())
        } else {
            ("application/json", Bytes::from_static(b"{\"status\":\"ok\"}\n"))
        };
        let mut fields = HeaderMap::new();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        fields.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(self.reply(StatusCode::OK, &fields, body))
    }

    /// Why this client, or a request for this host, is refused whatever it asks for.
    fn barred(&self) -> Option<Problem> {
        if !self.gateway.config.access.admits(self.client_info.client) {
            let detail = "access denied for this address";
            return Some(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        if !self.gateway.hosts.contain(&self.host) {
            // RFC 9110, section 15.5.20.
            let detail = "this host is not served here; GATEWAY_HOSTS names the hosts that are";
            return Some(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
        }
        None
    }

    /// Counts a request that is answered in any case.
    fn is_within_rate(&self) -> bool {
        let Gateway { clients, config, .. } = &*self.gateway;
        !matches!(
            clients.ask(&config.bounds, self.client_info.client, self.begun),
            RateDecision::Over(_)
        )
    }

    /// RFC 9110, section 7.6.2: the answer where the request may go no further.
    fn count_forward(&mut self, head: &Head) -> Result<Option<FullResponse>, Problem> {
        let mut values = head.fields.get_all(MAX_FORWARDS).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let digits = value.as_bytes();
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        if !is_number || values.next().is_some() {
            let detail = "Max-Forwards is not one number";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        // A number with more digits than these is as good as the largest.
        let number: u64 = text_of(Some(value)).parse().unwrap_or(u64::MAX);
        self.forwards_left = number.checked_sub(1);
        if self.forwards_left.is_some() {
            return Ok(None);
        }
        let mut fields = HeaderMap::new();
        fields.insert(ALLOW, HeaderValue::from_static(METHODS));
        Ok(Some(self.reply(StatusCode::OK, &fields, Bytes::new())))
    }

    fn check_rate(&mut self) -> Result<(), Problem> {
        let gateway = &self.gateway;
        match gateway.clients.ask(&gateway.config.bounds, self.client_info.client, self.begun) {
            RateDecision::Unbounded => Ok(()),
            RateDecision::Within(quota) => {
                self.quota = Some(quota);
                Ok(())
            }
            RateDecision::Over(quota) => {
                gateway.metrics.over_rate.add();
                self.quota = Some(quota);
                let detail = "rate limit exceeded";
                Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
                    .with(RETRY_AFTER, quota.reset_seconds.max(1).into()))
            }
        }
    }

    fn check_auth(&self, auth: &crate::request::auth::Auth, head: &Head) -> Result<(), Problem> {
        auth.check(&head.fields).map_err(|challenge| {
            self.gateway.metrics.denied.add();
            Problem::new(StatusCode::UNAUTHORIZED, "authentication required")
                .with(WWW_AUTHENTICATE, challenge)
        })
    }

    /// A place for a connection that stays; `None` where they are not counted.
    fn stream_permit(&self) -> Result<Option<Permit>, Problem> {
        let gateway = &self.gateway;
        let bounds = &gateway.config.bounds;
        if bounds.streams == 0 {
            return Ok(None);
        }
        let permit = gateway.clients.stream(bounds, self.client_info.client, self.begun);
        if permit.is_none() {
            gateway.metrics.over_streams.add();
            let detail = "this client has too many streams open";
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
                .with(RETRY_AFTER, HeaderValue::from_static("1")));
        }
        Ok(permit)
    }

    /// The answer, if it is here or on its way.
    async fn look_into_cache(&mut self, head: &Head) -> Option<Answer> {
        let question = CacheRequest {
            method: &self.method,
            site: &self.site,
            target: &self.target,
            headers: &head.fields,
        };
        match self.gateway.cache.ask(&question).await {
            Lookup::Hit(answer) => return Some(answer),
            Lookup::Fill(filling) => self.filling = Some(filling),
            Lookup::Pass(pass) => self.cache_status = Some(pass.forwarded().field()),
            // `ask` has waited.
            Lookup::Wait(_) => {}
        }
        None
    }

    /// What an unsafe request may have changed must not be answered from memory.
    fn forget(&self) {
        self.gateway.cache.invalidate(&self.site, &self.target);
    }

    /// The upstream has answered, with the head as it came: what the cache makes of it. An answer
    /// that is to be sent instead, if there is one.
    pub(crate) fn on_response_head(
        &mut self,
        status: StatusCode,
        fields: &HeaderMap,
    ) -> Option<Answer> {
        self.status = status.as_u16();
        self.note_policy(fields);
        if let Some(filling) = &mut self.filling {
            self.not_modified = filling.client_has_it(status, fields);
            let now = Moment { instant: Instant::now(), unix: SystemTime::now() };
            match filling.response(status, fields, now) {
                Verdict::Instead(answer) => return Some(answer),
                Verdict::Forward(why) => {
                    tracing::debug!(request_id = self.client_info.request_id, ?why, "not kept");
                }
                Verdict::Storing => {}
            }
            self.cache_status = Some(filling.forwarded().field());
        } else if !self.method.is_safe() && self.status < 400 {
            self.forget();
        }
        self.streams |= names_events(text_of(fields.get(CONTENT_TYPE)));
        None
    }

    /// Notes that the answer has a policy of HTTPS of its own.
    pub(crate) fn note_policy(&mut self, fields: &HeaderMap) {
        self.has_hsts = fields.contains_key(STRICT_TRANSPORT_SECURITY);
    }

    /// The request as the upstream reads it: nothing that is about the client's connection, and
    /// what the gateway knows in place of what the client says.
    fn request(&self, head: &Head, hop: &HopByHop, protocol: Option<&HeaderValue>) -> BytesMut {
        let guarded = self.route.as_ref().is_some_and(|route| route.auth.is_some());
        let standard = self.gateway.config.forwarded;
        let version = self.version;
        let words = ForwardedHeaders {
            client_info: &self.client_info,
            trace: &self.trace,
            guarded,
            standard,
            version,
        };
        let changes: Vec<_> = self.filling.iter().flat_map(|filling| filling.changes()).collect();
        let mut text = BytesMut::with_capacity(1024 + self.target.len());
        text.put_slice(self.method.as_str().as_bytes());
        text.put_slice(b" ");
        text.put_slice(self.target.as_bytes());
        // RFC 9110, section 2.5: the gateway's own version, whatever the client speaks.
        text.put_slice(b" HTTP/1.1\r\n");
        if !head.fields.contains_key(HOST) {
            // HTTP/1.0. An upstream of 1.1 wants one.
            let target = self.route.as_ref().map(|route| route.pool.target());
            let origin = target.and_then(|target| target.origins.first());
            let host = origin.map_or_else(|| "localhost".to_owned(), ToString::to_string);
            field(&mut text, "host", host.as_bytes());
        }
        for (name, value) in &head.fields {
            if *name == HOST {
                // As the cache's key has it, so that one answer is right for all who share it.
                field(&mut text, "host", self.host.as_bytes());
                continue;
            }
            let dropped = hop.drops(name)
                || (*name == MAX_FORWARDS && self.forwards_left.is_some())
                || words.replace(name)
                || *name == EXPECT
                || is(name.as_str(), "content-length")
                || is(name.as_str(), "transfer-encoding")
                || changes.iter().any(|(changed, _)| changed == name);
            if !dropped {
                field(&mut text, name.as_str(), value.as_bytes());
            }
        }
        for (name, value) in &changes {
            if let Some(value) = value {
                field(&mut text, name.as_str(), value.as_bytes());
            }
        }
        for (name, value) in words.fields() {
            field(&mut text, name.as_str(), value.as_bytes());
        }
        if let Some(left) = self.forwards_left {
            field(&mut text, MAX_FORWARDS.as_str(), left.to_string().as_bytes());
        }
        if let Some(protocol) = protocol {
            field(&mut text, "connection", b"upgrade");
            field(&mut text, "upgrade", protocol.as_bytes());
        }
        text
    }

    /// An answer from memory.
    pub(crate) fn answer(&mut self, answer: &Answer) -> FullResponse {
        self.cache_status = None;
        self.has_hsts = answer.has_hsts();
        let mut head = Vec::with_capacity(1024);
        answer.write_head(&mut head);
        self.finish(&mut head);
        let body = answer.body();
        self.status = answer.status().as_u16();
        self.sent_bytes = body.len() as u64;
        FullResponse { head, body }
    }

    /// The gateway's own answer to what cannot be met; the connection goes on, because the whole
    /// request has been read.
    pub(crate) fn reject_with(&mut self, problem: &Problem) -> FullResponse {
        self.error = Some(problem.detail.clone());
        self.has_hsts = false;
        let (fields, body) = self.problem(problem);
        self.reply(problem.status, &fields, body)
    }

    /// What is said when no upstream could be asked: the old answer where that may be used, or why.
    pub(crate) fn fail(&mut self, problem: &Problem) -> FullResponse {
        let stale = self.filling.as_mut().and_then(|filling| filling.failed(Instant::now()));
        let reply = match stale {
            Some(answer) => self.answer(&answer),
            None => self.reject_with(problem),
        };
        self.error = Some(problem.detail.clone());
        reply
    }

    /// Fields and body for a problem.
    pub(crate) fn problem(&self, problem: &Problem) -> (HeaderMap, Bytes) {
        problem.answer(text_of(self.accept.as_ref()), &self.client_info.request_id)
    }

    /// A complete answer of the gateway's own.
    fn reply(&mut self, status: StatusCode, fields: &HeaderMap, body: Bytes) -> FullResponse {
        let mut head = Vec::with_capacity(512);
        begin_head(&mut head, status, fields);
        field(&mut head, "content-length", body.len().to_string().as_bytes());
        let date = httpdate::HttpDate::from(SystemTime::now()).to_string();
        field(&mut head, "date", date.as_bytes());
        self.finish(&mut head);
        let body = if self.method == Method::HEAD { Bytes::new() } else { body };
        self.status = status.as_u16();
        self.sent_bytes = body.len() as u64;
        FullResponse { head, body }
    }

    /// Adds what every answer has, and the empty line.
    pub(crate) fn finish(&self, head: &mut Vec<u8>) {
        for (name, value) in self.fields() {
            field(head, name.as_str(), value.as_bytes());
        }
        if self.closes {
            field(head, CONNECTION.as_str(), b"close");
        } else if self.is_http10 {
            field(head, CONNECTION.as_str(), b"keep-alive");
        }
        head.extend_from_slice(b"\r\n");
    }

    /// The fields that every answer has.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let id = HeaderValue::from_str(&self.client_info.request_id).ok();
        // The upstream's policy comes first.
        let hsts = (self.client_info.scheme == Scheme::Https && !self.has_hsts).then_some(HSTS);
        let quota = self.quota.as_ref().map(Quota::fields);
        let (policy, limit) =
            quota.map_or((None, None), |(policy, limit)| (Some(policy), Some(limit)));
        [
            (REQUEST_ID, id),
            (CACHE_STATUS, self.cache_status.clone()),
            (STRICT_TRANSPORT_SECURITY, hsts),
            (RATE_LIMIT_POLICY, policy),
            (RATE_LIMIT, limit),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }

    /// Notes what became of it.
    pub(crate) fn ended(&self) {
        let took = self.begun.elapsed();
        let metrics =
            self.route.as_ref().map_or(&self.gateway.metrics.own, |route| &*route.metrics);
        metrics.ended(self.status, Some(took), self.sent_bytes);
        self.log(took);
    }

    fn log(&self, took: Duration) {
        let failed = self.status >= 400 || self.error.is_some();
        if (self.is_health_check && !failed) || !access_log::wants(failed) {
            return;
        }
        let trace_id = self.trace.id();
        let cache = self.cache_status.as_ref().and_then(|status| status.to_str().ok());
        let was_asked = self.pick.is_some() || self.asked.is_some() || !self.tried.is_empty();
        let from_memory = !was_asked && self.error.is_none();
        let entry = Entry {
            method: self.method.as_str(),
            path: split_target(&self.target).0.as_bytes(),
            status: self.status,
            took: Some(took),
            sent_bytes: self.sent_bytes,
            client: self.client_info.client.address(),
            request_id: &self.client_info.request_id,
            trace_id: &trace_id,
            route: self.route.as_ref().map_or("", |route| &route.name),
            upstream: self.pick.as_ref().map(Lease::address).or(self.asked),
            cache: match cache {
                Some(status) => status,
                None if from_memory && self.route.is_some() => "hit",
                None => "",
            },
            error: self.error.as_deref(),
        };
        entry.write(&self.gateway.metrics.unlogged);
    }
}

/// Counts and logs a request that could not be read, and was answered with this problem.
pub(crate) fn record_unread(
    gateway: &Gateway,
    client: IpAddr,
    request_id: &str,
    problem: &Problem,
    sent_bytes: u64,
) {
    let metrics = &gateway.metrics;
    metrics.malformed.add();
    metrics.own.ended(problem.status.as_u16(), None, sent_bytes);
    if !access_log::wants(true) {
        return;
    }
    let entry = Entry {
        method: "",
        path: b"",
        status: problem.status.as_u16(),
        took: None,
        sent_bytes,
        client: client.to_canonical(),
        request_id,
        trace_id: "",
        route: "",
        upstream: None,
        cache: "",
        error: Some(&problem.detail),
    };
    entry.write(&metrics.unlogged);
}

/// Takes out of an upstream's answer what is said once, and by the gateway.
pub(crate) fn keep_one_of_each(fields: &mut HeaderMap) {
    fields.remove(REQUEST_ID);
    // RFC 6797, section 7.1: one field.
    if fields.get_all(STRICT_TRANSPORT_SECURITY).iter().nth(1).is_some()
        && let Some(first) = fields.get(STRICT_TRANSPORT_SECURITY).cloned()
    {
        fields.insert(STRICT_TRANSPORT_SECURITY, first);
    }
}

/// Whether a plain path is one of the gateway's own health checks.
fn is_health_path(path: &str) -> bool {
    ["/healthz", "/readyz"].contains(&path)
}

/// A field's value, empty where there is none that is text.
fn text_of(value: Option<&HeaderValue>) -> &str {
    value.and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn split_target(target: &str) -> (&str, Option<&str>) {
    target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)))
}

/// Writes the first lines of an answer's head.
pub(crate) fn begin_head(text: &mut impl BufMut, status: StatusCode, fields: &HeaderMap) {
    let reason = status.canonical_reason().unwrap_or_default();
    for part in ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"] {
        text.put_slice(part.as_bytes());
    }
    for (name, value) in fields {
        field(text, name.as_str(), value.as_bytes());
    }
}

/// Writes a field as a line of a head.
pub(crate) fn field(text: &mut impl BufMut, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        text.put_slice(part);
    }
}

/// The protocol that the client wants instead, if it wants one.
fn upgrade_of(head: &Head) -> Result<Option<HeaderValue>, Problem> {
    let mut protocols = head.fields.get_all(UPGRADE).iter();
    let Some(protocol) = protocols.next() else { return Ok(None) };
    let asks = head.fields.get_all(CONNECTION).iter().any(|value| {
        let mut options = value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        options.any(|option| option.eq_ignore_ascii_case(b"upgrade"))
    });
    if protocols.next().is_some()
        || !asks
        || head.method != Method::GET
        || head.version != Version::HTTP_11
    {
        let detail = "the request for another protocol is not complete";
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    Ok(Some(protocol.clone()))
}

/// Whether the client wants an event stream, which has no end.
fn is_event_stream(method: &Method, accept: Option<&HeaderValue>) -> bool {
    *method == Method::GET && named([text_of(accept)], "text/event-stream") > 0
}

/// Whether a media type, with parameters or not, is that of event streams.
pub(crate) fn names_events(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("text/event-stream")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_streams_are_asked_for_by_accept() {
        let asks = |method: &Method, accept: &'static str| {
            is_event_stream(method, Some(&HeaderValue::from_static(accept)))
        };
        assert!(asks(&Method::GET, "text/event-stream"));
        assert!(asks(&Method::GET, "application/json, Text/Event-Stream;q=0.5"));
        assert!(!asks(&Method::POST, "text/event-stream"));
        assert!(!asks(&Method::GET, "*/*"));
        assert!(!asks(&Method::GET, "text/event-stream;q=0"));
        assert!(!is_event_stream(&Method::GET, None));
    }
}
