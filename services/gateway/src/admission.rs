//! What happens to a request before an upstream hears of it: who asks, whether they may, how often,
//! where it goes, and whether the answer is here already. In this order, so that what is cheap and
//! refuses most comes first, and a guard before any answer from memory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{
    ACCEPT, CACHE_STATUS, CONNECTION, CONTENT_TYPE, EXPECT, HOST, HeaderName, HeaderValue,
    RETRY_AFTER, STRICT_TRANSPORT_SECURITY, UPGRADE, WWW_AUTHENTICATE,
};
use http::{HeaderMap, Method, StatusCode, Version};

use crate::BUILD;
use crate::cache::{Answer, Filling, Looked, Moment, Question, Verdict};
use crate::forwarded::{REQUEST_ID, Words};
use crate::gate::Head;
use crate::gateway::Gateway;
use crate::journal::{self, Entry};
use crate::policy::hop::HopByHop;
use crate::policy::is;
use crate::policy::limits::{Asked, Place, Quota};
use crate::policy::trace::Trace;
use crate::policy::trust::{Asker, Scheme};
use crate::problem::Problem;
use crate::routes::plain;
use crate::rules::Route;
use crate::upstreams::Pick;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// A year, as hstspreload.org asks for; told only to those who came over HTTPS (RFC 6797).
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// The requests of one client connection that are on their way, as far as the access log and the
/// answer want to know of them.
#[expect(clippy::struct_excessive_bools, reason = "each is true or not whatever the others are")]
pub(crate) struct Order {
    /// Whose settings and counters are in force.
    pub(crate) gateway: Arc<Gateway>,
    /// When its head was complete.
    pub(crate) begun: Instant,
    /// Its method.
    pub(crate) method: Method,
    /// Path and query as the upstream will read them.
    pub(crate) target: String,
    /// The host that it is for, as the client wrote it.
    site: String,
    /// Its `Accept` field.
    accept: Option<HeaderValue>,
    /// Who asks.
    pub(crate) asker: Asker,
    trace: Trace,
    quota: Option<Quota>,
    /// Whether a field says what the cache did.
    pub(crate) cache_status: Option<HeaderValue>,
    /// What brings the answer into the cache.
    pub(crate) filling: Option<Box<Filling>>,
    /// The client has the upstream's answer already, and is told so.
    pub(crate) knows: bool,
    /// Where it goes.
    pub(crate) route: Option<Arc<Route>>,
    /// The address that is asked.
    pub(crate) pick: Option<Pick>,
    /// The address that was asked, where the hold on it was given up before the end.
    pub(crate) asked: Option<SocketAddr>,
    /// The addresses of the tries that failed.
    pub(crate) tried: Vec<SocketAddr>,
    /// The client wants, or has, no further answer on this connection.
    pub(crate) closes: bool,
    /// HTTP/1.0.
    pub(crate) is_old: bool,
    /// The answer turned out to be an event stream, which has no end.
    pub(crate) streams: bool,
    /// What went wrong.
    pub(crate) error: Option<String>,
    /// Status and bytes of the answer.
    pub(crate) status: u16,
    /// Bytes of the answer's body.
    pub(crate) sent_bytes: u64,
}

/// What to do with a request.
pub(crate) enum Admission {
    /// Send this, which is the gateway's own, or from memory.
    Answer(Reply),
    /// Have the answer fetched.
    Forward(Outgoing),
}

/// A request for an upstream, without its body.
pub(crate) struct Outgoing {
    /// Request line and fields, but for those that frame the body, and the empty line.
    pub(crate) head: BytesMut,
    /// Another protocol that the client asks for, and may have.
    pub(crate) protocol: Option<HeaderValue>,
    /// Of a connection that stays: its place among those of the same client.
    pub(crate) place: Option<Place>,
}

/// An answer that is complete.
pub(crate) struct Reply {
    /// Status line and fields.
    pub(crate) head: Vec<u8>,
    /// What comes behind.
    pub(crate) body: Bytes,
}

impl Order {
    /// Of a request whose head has been read.
    pub(crate) fn new(
        gateway: &Arc<Gateway>,
        head: &Head,
        peer: SocketAddr,
        scheme: Scheme,
    ) -> Self {
        Self {
            begun: Instant::now(),
            method: head.method.clone(),
            target: String::from_utf8_lossy(&head.target).into_owned(),
            site: text_of(head.fields.get(HOST)).to_owned(),
            accept: head.fields.get(ACCEPT).cloned(),
            asker: gateway.config.trust.asker(peer.ip(), scheme, &head.fields),
            trace: Trace::of(&head.fields),
            quota: None,
            cache_status: None,
            filling: None,
            knows: false,
            route: None,
            pick: None,
            asked: None,
            tried: Vec::new(),
            closes: !head.keeps_alive,
            is_old: head.version == Version::HTTP_10,
            streams: false,
            error: None,
            status: 0,
            sent_bytes: 0,
            gateway: gateway.clone(),
        }
    }

    /// Decides what to do with it, before its body is read.
    pub(crate) async fn admit(&mut self, head: &Head) -> Admission {
        match self.try_to_admit(head).await {
            Ok(admission) => admission,
            Err(problem) => Admission::Answer(self.refuse(&problem)),
        }
    }

    async fn try_to_admit(&mut self, head: &Head) -> Result<Admission, Problem> {
        let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
        let came = self.target.clone();
        let (path, query) = split_target(&came);
        let path = plain(path).map_err(|why| bad(format!("the path is ambiguous: {}", why.0)))?;
        if query.is_some_and(|query| query.contains('#')) || path.contains('#') {
            return Err(bad("the target has a fragment".to_owned()));
        }
        let hop = HopByHop::of(&head.fields).map_err(|abuse| bad(abuse.0.to_owned()))?;
        if let Some(reply) = self.own_answer(&path)? {
            return Ok(Admission::Answer(reply));
        }
        self.check_who()?;
        self.check_host()?;
        self.check_rate()?;
        let rules = self.gateway.rules();
        // There always is a route for `/`.
        let route = rules
            .route(&path)
            .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "there is nothing here"))?
            .clone();
        // The upstream reads the very path that was routed.
        let target = match query {
            Some(query) => format!("{path}?{query}"),
            None => path.into_owned(),
        };
        self.target = target;
        let guard = route.guard.clone();
        let upgrade = upgrade_of(head)?;
        self.route = Some(route.clone());
        if let Some(guard) = guard {
            self.check_guard(&guard, head)?;
        }
        if let Some(protocol) = &upgrade
            && !route.upgrade.iter().any(|it| is(&String::from_utf8_lossy(protocol.as_bytes()), it))
        {
            return Err(bad("this route does not allow this protocol".to_owned()));
        }
        let place = if upgrade.is_some() || is_event_stream(&head.method, self.accept.as_ref()) {
            self.stream_place()?
        } else if let Some(answer) = self.look_into_cache(head).await {
            return Ok(Admission::Answer(self.answer(&answer)));
        } else {
            None
        };
        let head = self.request(head, &hop, upgrade.as_ref());
        Ok(Admission::Forward(Outgoing { head, protocol: upgrade, place }))
    }

    /// What the gateway answers about itself.
    fn own_answer(&self, path: &str) -> Result<Option<Reply>, Problem> {
        let (problem, kind, body) = match path {
            "/healthz" => (None, "application/json", BUILD.health().into()),
            "/readyz" => {
                let ok = Bytes::from_static(b"ok\n");
                (self.gateway.not_ready(), "text/plain; charset=utf-8", ok)
            }
            _ => return Ok(None),
        };
        if self.method != Method::GET && self.method != Method::HEAD {
            return Err(Problem::method_not_allowed("GET, HEAD"));
        }
        if let Some(detail) = problem {
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
                .with(RETRY_AFTER, HeaderValue::from_static("1")));
        }
        let mut fields = HeaderMap::new();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        fields.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(Some(self.reply(StatusCode::OK, &fields, body)))
    }

    fn check_who(&self) -> Result<(), Problem> {
        if self.gateway.config.access.admits(self.asker.client) {
            return Ok(());
        }
        self.gateway.metrics.denied.add();
        Err(Problem::new(StatusCode::FORBIDDEN, "this address may not ask here"))
    }

    /// RFC 9110, section 15.5.20.
    fn check_host(&self) -> Result<(), Problem> {
        let names = &self.gateway.config.hosts;
        if names.is_empty() {
            return Ok(());
        }
        if names.iter().any(|name| answers_to(name, &self.site)) {
            return Ok(());
        }
        self.gateway.metrics.denied.add();
        let detail = "the gateway does not answer to this host";
        Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail))
    }

    fn check_rate(&mut self) -> Result<(), Problem> {
        let gateway = &self.gateway;
        match gateway.clients.ask(&gateway.config.bounds, self.asker.client, self.begun) {
            Asked::Unbounded => Ok(()),
            Asked::Within(quota) => {
                self.quota = Some(quota);
                Ok(())
            }
            Asked::Over(quota) => {
                gateway.metrics.over_rate.add();
                self.quota = Some(quota);
                let detail = "this client asks too often";
                Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
                    .with(RETRY_AFTER, quota.reset_seconds.max(1).into()))
            }
        }
    }

    fn check_guard(&self, guard: &crate::policy::auth::Guard, head: &Head) -> Result<(), Problem> {
        guard.check(&head.fields).map_err(|challenge| {
            self.gateway.metrics.denied.add();
            Problem::new(StatusCode::UNAUTHORIZED, "this route wants a secret")
                .with(WWW_AUTHENTICATE, challenge)
        })
    }

    /// A place for a connection that stays; `None` where they are not counted.
    fn stream_place(&self) -> Result<Option<Place>, Problem> {
        let gateway = &self.gateway;
        let bounds = &gateway.config.bounds;
        if bounds.streams == 0 {
            return Ok(None);
        }
        let place = gateway.clients.stream(bounds, self.asker.client, self.begun);
        if place.is_none() {
            gateway.metrics.over_streams.add();
            let detail = "this client has too many streams open";
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
                .with(RETRY_AFTER, HeaderValue::from_static("1")));
        }
        Ok(place)
    }

    /// The answer, if it is here or on its way.
    async fn look_into_cache(&mut self, head: &Head) -> Option<Answer> {
        let question = Question {
            method: &self.method,
            site: &self.site,
            target: &self.target,
            headers: &head.fields,
        };
        match self.gateway.cache.ask(&question).await {
            Looked::Hit(answer) => return Some(answer),
            Looked::Fill(filling) => self.filling = Some(filling),
            Looked::Pass(pass) => self.cache_status = Some(pass.forwarded().field()),
            // `ask` has waited.
            Looked::Wait(_) => {}
        }
        None
    }

    /// What an unsafe request may have changed must not be answered from memory.
    fn forget(&self) {
        self.gateway.cache.invalidate(&self.site, &self.target);
    }

    /// The upstream has answered, with the head as it came: what the cache makes of it. An answer
    /// that is to be sent instead, if there is one.
    pub(crate) fn hears(&mut self, status: StatusCode, fields: &HeaderMap) -> Option<Answer> {
        self.status = status.as_u16();
        if let Some(filling) = &mut self.filling {
            self.knows = filling.client_has_it(status, fields);
            let now = Moment { instant: Instant::now(), unix: SystemTime::now() };
            match filling.response(status, fields, now) {
                Verdict::Instead(answer) => return Some(answer),
                Verdict::Forward(why) => {
                    tracing::debug!(request_id = self.asker.request_id, ?why, "not kept");
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

    /// The request as the upstream reads it: nothing that is about the client's connection, and
    /// what the gateway knows in place of what the client says.
    fn request(&self, head: &Head, hop: &HopByHop, protocol: Option<&HeaderValue>) -> BytesMut {
        let guarded = self.route.as_ref().is_some_and(|route| route.guard.is_some());
        let standard = self.gateway.config.forwarded;
        let words = Words { asker: &self.asker, trace: &self.trace, guarded, standard };
        let changes: Vec<_> = self.filling.iter().flat_map(|filling| filling.changes()).collect();
        let mut text = BytesMut::with_capacity(1024 + self.target.len());
        text.put_slice(self.method.as_str().as_bytes());
        text.put_slice(b" ");
        text.put_slice(self.target.as_bytes());
        // RFC 9110, section 2.5: the gateway's own version, whatever the client speaks.
        text.put_slice(b" HTTP/1.1\r\n");
        if !head.fields.contains_key(HOST) {
            let name = self.route.as_ref().map_or("localhost", |route| &route.name);
            field(&mut text, "host", name.as_bytes());
        }
        for (name, value) in &head.fields {
            let dropped = hop.drops(name)
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
        if let Some(protocol) = protocol {
            field(&mut text, "connection", b"upgrade");
            field(&mut text, "upgrade", protocol.as_bytes());
        }
        text
    }

    /// An answer from memory.
    pub(crate) fn answer(&mut self, answer: &Answer) -> Reply {
        self.cache_status = None;
        let mut head = Vec::with_capacity(1024);
        answer.write_head(&mut head);
        self.finish(&mut head);
        let body = answer.body();
        self.status = answer.status().as_u16();
        self.sent_bytes = body.len() as u64;
        Reply { head, body }
    }

    /// The gateway's own answer to what cannot be met; the connection goes on, because the whole
    /// request has been read.
    pub(crate) fn refuse(&mut self, problem: &Problem) -> Reply {
        self.error = Some(problem.detail.clone());
        let (fields, body) = self.problem(problem);
        self.status = problem.status.as_u16();
        self.sent_bytes = body.len() as u64;
        self.reply(problem.status, &fields, body)
    }

    /// What is said when no upstream could be asked: the old answer where that may be used, or why.
    pub(crate) fn fail(&mut self, problem: &Problem) -> Reply {
        let stale = self.filling.as_mut().and_then(|filling| filling.failed(Instant::now()));
        let reply = match stale {
            Some(answer) => self.answer(&answer),
            None => self.refuse(problem),
        };
        self.error = Some(problem.detail.clone());
        reply
    }

    /// Fields and body for a problem.
    pub(crate) fn problem(&self, problem: &Problem) -> (HeaderMap, Bytes) {
        problem.answer(text_of(self.accept.as_ref()), &self.asker.request_id)
    }

    fn reply(&self, status: StatusCode, fields: &HeaderMap, body: Bytes) -> Reply {
        let mut head = Vec::with_capacity(512);
        begin_head(&mut head, status, fields);
        field(&mut head, "content-length", body.len().to_string().as_bytes());
        let date = httpdate::HttpDate::from(SystemTime::now()).to_string();
        field(&mut head, "date", date.as_bytes());
        self.finish(&mut head);
        let body = if self.method == Method::HEAD { Bytes::new() } else { body };
        Reply { head, body }
    }

    /// Adds what every answer has, and the empty line.
    pub(crate) fn finish(&self, head: &mut Vec<u8>) {
        for (name, value) in self.fields() {
            field(head, name.as_str(), value.as_bytes());
        }
        if self.closes {
            field(head, CONNECTION.as_str(), b"close");
        } else if self.is_old {
            field(head, CONNECTION.as_str(), b"keep-alive");
        }
        head.extend_from_slice(b"\r\n");
    }

    /// The fields that every answer has.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let id = HeaderValue::from_str(&self.asker.request_id).ok();
        let hsts = (self.asker.scheme == Scheme::Https).then_some(HSTS);
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
        metrics.ended(self.status, took, self.sent_bytes);
        self.log(took);
    }

    fn log(&self, took: Duration) {
        if !journal::wants(self.status >= 400 || self.error.is_some()) {
            return;
        }
        let trace_id = self.trace.id();
        let cache = self.cache_status.as_ref().and_then(|status| status.to_str().ok());
        let was_asked = self.pick.is_some() || self.asked.is_some() || !self.tried.is_empty();
        let from_memory = !was_asked && self.error.is_none();
        let entry = Entry {
            method: &self.method,
            path: split_target(&self.target).0.as_bytes(),
            status: self.status,
            took,
            sent_bytes: self.sent_bytes,
            client: self.asker.client.address(),
            request_id: &self.asker.request_id,
            trace_id: &trace_id,
            route: self.route.as_ref().map_or("", |route| &route.name),
            upstream: self.pick.as_ref().map(Pick::address).or(self.asked),
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

/// Whether a host, perhaps with a port, is the name, or below it where that begins with `*.`.
fn answers_to(name: &str, host: &str) -> bool {
    let host = match host.rfind(':') {
        Some(colon) if !host.ends_with(']') => &host[..colon],
        _ => host,
    };
    match name.strip_prefix('*') {
        Some(rest) => host
            .len()
            .checked_sub(rest.len())
            .and_then(|start| host.get(start..))
            .is_some_and(|end| host.len() > rest.len() && end.eq_ignore_ascii_case(rest)),
        None => host.eq_ignore_ascii_case(name),
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
    *method == Method::GET && text_of(accept).split(',').any(names_events)
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
    fn hosts_are_compared_without_their_port() {
        assert!(answers_to("example.org", "Example.org:3050"));
        assert!(answers_to("*.example.org", "a.b.example.org"));
        assert!(answers_to("[::1]", "[::1]:3050"));
        assert!(!answers_to("*.example.org", "example.org"));
        assert!(!answers_to("*.example.org", ".example.org"));
        assert!(!answers_to("example.org", "example.org.evil"));
        assert!(!answers_to("example.org", ""));
    }

    #[test]
    fn event_streams_are_asked_for_by_accept() {
        let asks = |method: &Method, accept: &'static str| {
            is_event_stream(method, Some(&HeaderValue::from_static(accept)))
        };
        assert!(asks(&Method::GET, "text/event-stream"));
        assert!(asks(&Method::GET, "application/json, Text/Event-Stream;q=0.5"));
        assert!(!asks(&Method::POST, "text/event-stream"));
        assert!(!asks(&Method::GET, "*/*"));
        assert!(!is_event_stream(&Method::GET, None));
    }
}
