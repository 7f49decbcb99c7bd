//! What happens to a request: checked, routed, forwarded, answered, logged.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{Method, StatusCode, Version};
use pingora::apps::HttpServerOptions;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::http::ServerSession;
use pingora::proxy::{FailToProxy, HttpProxy, ProxyHttp, ProxyWarnLogContext, Session, http_proxy};
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy, Peer};
use pingora::{Error, ErrorSource, ErrorType, Result};
use tracing::level_filters::LevelFilter;

use crate::client::Exchange;
use crate::config::Config;
use crate::decision::{BODY_BYTES, Decision, Framing, decide};
use crate::forwarded::{self, REQUEST_ID};
use crate::problem::Problem;
use crate::routes::Upstream;
use crate::upstreams::{Failure, Origin, Pick, Pool, PoolSettings, Target};

/// How long to read on after a 413, so that the client is not reset before it has read it
/// (RFC 9112, section 9.6).
const LINGER_TIME: Duration = Duration::from_secs(1);

/// Upstreams are on the same host or network, where a connection takes milliseconds; one that takes
/// a second leads nowhere, and a second try still fits into a person's patience.
const CONNECT_TIME: Duration = Duration::from_secs(1);

/// Upstreams close connections that were idle for 30 s; one that is about to be closed must not
/// carry a request.
const UPSTREAM_IDLE_TIME: Duration = Duration::from_secs(20);

/// Idle upstream connections kept. As many as busy clients on a large day: with fewer, a burst
/// opens and closes a connection per request.
const UPSTREAM_IDLE_CONNECTIONS: usize = 1024;

/// How long a client may be silent inside a body, or not take what is sent to it.
const CLIENT_TIME: Duration = Duration::from_secs(30);

/// Tries in all, where trying again cannot do harm.
const TRIES: usize = 2;

/// How long the start waits for the names of the upstreams; compose's name server answers within
/// milliseconds.
const FIRST_LOOKUP_TIME: Duration = Duration::from_millis(500);

/// Pingora with the gateway's rules, and with the upstreams' addresses where they can be had in a
/// moment.
pub(crate) async fn new(config: &Config) -> Arc<HttpProxy<Gateway>> {
    // Pingora wants the number per thread.
    let pool = UPSTREAM_IDLE_CONNECTIONS / config.threads;
    let server = Arc::new(ServerConf {
        threads: config.threads,
        upstream_keepalive_pool_size: pool.max(1),
        max_retries: TRIES,
        ..ServerConf::default()
    });
    let gateway = Gateway {
        upstreams: Upstreams::discover(config).await,
        upstream_timeout: config.upstream_timeout,
    };
    let mut proxy = http_proxy(&server, gateway);
    let mut options = HttpServerOptions::default();
    // Not to allow it, but to refuse it with the gateway's own answer.
    options.allow_connect_method_proxying = true;
    proxy.server_options = Some(options);
    Arc::new(proxy)
}

/// Pingora logs every vanished client as an error of its own, and at its debug level every header
/// with the secrets in it. The access log has each request once, at the level it deserves, so
/// pingora's voice is only for those who debug, and its whispers for those who trace.
pub(crate) fn hush_pingora() {
    let level = match LevelFilter::current() {
        LevelFilter::TRACE => log::LevelFilter::Trace,
        LevelFilter::DEBUG => log::LevelFilter::Warn,
        _ => log::LevelFilter::Off,
    };
    log::set_max_level(level);
}

/// The rules.
pub(crate) struct Gateway {
    upstreams: Upstreams,
    upstream_timeout: Duration,
}

/// The services behind the gateway.
struct Upstreams {
    stats: Arc<Pool>,
    frontend: Arc<Pool>,
}

impl Upstreams {
    /// Looks both up; gives up waiting, but not looking, after a moment.
    async fn discover(config: &Config) -> Self {
        let settings =
            PoolSettings { resolve_every: config.resolve_every, ..PoolSettings::default() };
        let start = |upstream: Upstream, origin: &Origin| {
            let (name, origins) = (upstream.name().to_owned(), vec![origin.clone()]);
            Pool::start(&Target { name, origins, check: None }, &settings)
        };
        let stats = start(Upstream::Stats, &config.stats);
        let frontend = start(Upstream::Frontend, &config.frontend);
        tokio::join!(stats.looked_up(FIRST_LOOKUP_TIME), frontend.looked_up(FIRST_LOOKUP_TIME));
        Self { stats, frontend }
    }

    fn of(&self, upstream: Upstream) -> &Pool {
        match upstream {
            Upstream::Stats => &self.stats,
            Upstream::Frontend => &self.frontend,
        }
    }
}

/// What is known of one request.
pub(crate) struct Request {
    started: Instant,
    id: String,
    upstream: Option<Upstream>,
    /// The target to ask the upstream for, where it is not the one that came.
    target: Option<String>,
    /// The address of the try that failed.
    failed: Option<SocketAddr>,
    /// The address of the try that is under way.
    pick: Option<Pick>,
    body_bytes: usize,
    exchange: Exchange,
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Request;

    fn new_ctx(&self) -> Request {
        Request {
            started: Instant::now(),
            id: forwarded::new_request_id(),
            upstream: None,
            target: None,
            failed: None,
            pick: None,
            body_bytes: 0,
            exchange: Exchange::default(),
        }
    }

    /// None: compression is the upstreams' business, they know what is compressed already.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    fn on_connection_reuse(
        &self,
        _: &mut Session,
        request: &mut Request,
        context: Box<dyn Any + Send + Sync>,
    ) {
        if let Ok(exchange) = context.downcast::<Exchange>() {
            exchange.head_is_read();
            request.exchange = *exchange;
        }
    }

    async fn request_filter(&self, session: &mut Session, request: &mut Request) -> Result<bool> {
        session.set_read_timeout(Some(CLIENT_TIME));
        session.set_write_timeout(Some(CLIENT_TIME));
        let framing = Framing::of(session);
        match decide(session.req_header(), framing) {
            Decision::Forward(upstream, target) => {
                request.upstream = Some(upstream);
                request.target = target;
                return Ok(false);
            }
            Decision::Healthy => say_healthy(session, request).await?,
            Decision::Refuse(problem) => refuse(session, request, &problem).await?,
        }
        Ok(true)
    }

    async fn request_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        _: bool,
        request: &mut Request,
    ) -> Result<()> {
        request.body_bytes += body.as_ref().map_or(0, Bytes::len);
        if request.body_bytes > BODY_BYTES {
            return Err(Error::new_down(ErrorType::HTTPStatus(413)));
        }
        Ok(())
    }

    async fn upstream_peer(&self, _: &mut Session, request: &mut Request) -> Result<Box<HttpPeer>> {
        let upstream = request.upstream.unwrap_or(Upstream::Frontend);
        let Some(pick) = self.upstreams.of(upstream).pick(request.failed.as_slice()) else {
            return Err(Error::new_up(ErrorType::HTTPStatus(503)));
        };
        let address = pick.address();
        request.pick = Some(pick);
        // From an address alone: given a name, pingora resolves it here and now, and panics when
        // there is none.
        let mut peer = HttpPeer::new(address, false, String::new());
        let options = &mut peer.options;
        options.connection_timeout = Some(CONNECT_TIME);
        options.total_connection_timeout = Some(CONNECT_TIME);
        options.read_timeout = Some(self.upstream_timeout);
        options.write_timeout = Some(self.upstream_timeout);
        options.idle_timeout = Some(UPSTREAM_IDLE_TIME);
        options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
        Ok(Box::new(peer))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream_request: &mut RequestHeader,
        request: &mut Request,
    ) -> Result<()> {
        // A second try sends the body again.
        request.body_bytes = 0;
        if let Some(target) = &request.target {
            upstream_request.set_raw_path(target.as_bytes())?;
        }
        forwarded::say(upstream_request, client_ip(session), &request.id)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        request: &mut Request,
    ) -> Result<()> {
        if let Some(pick) = &mut request.pick {
            pick.succeeded();
        }
        if session.is_process_shutting_down() {
            session.set_keepalive(None);
        }
        // A version belongs to one connection (RFC 9110, section 2.5), and this one speaks 1.1
        // whatever the upstream speaks.
        response.set_version(Version::HTTP_11);
        response.insert_header(REQUEST_ID, request.id.as_str())?;
        if is_event_stream(response) {
            let chunked = response.headers.contains_key(TRANSFER_ENCODING)
                && session.req_header().version == Version::HTTP_11
                && session.req_header().method != Method::HEAD;
            request.exchange.answers_with_events(chunked);
        }
        Ok(())
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        peer: &HttpPeer,
        request: &mut Request,
        mut error: Box<Error>,
    ) -> Box<Error> {
        request.failed = peer.address().as_inet().copied();
        if let Some(pick) = &mut request.pick {
            pick.failed(failure_of(&error));
        }
        let again = request.upstream.is_some_and(|upstream| {
            let pool = self.upstreams.of(upstream);
            pool.has_other_than(request.failed.as_slice()) && pool.may_retry()
        });
        // Nothing has been sent yet, so another address may be tried for any method.
        error.set_retry(again);
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        request: &mut Request,
    ) -> FailToProxy {
        if *error.esource() == ErrorSource::Upstream
            && let Some(pick) = &mut request.pick
        {
            pick.failed(failure_of(error));
        }
        let problem = Problem::of(error, request.upstream);
        if let Some(problem) = &problem {
            // When this fails too, the client has left.
            let _ = refuse(session, request, problem).await;
        }
        FailToProxy {
            error_code: problem.map_or(0, |problem| problem.status.as_u16()),
            can_reuse_downstream: false,
        }
    }

    /// The access log has it.
    fn suppress_error_log(&self, _: &Session, _: &Request, _: &Error) -> bool {
        true
    }

    /// The access log has it.
    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &Request,
        _: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, request: &mut Request) {
        /// The level is part of the macro's name.
        macro_rules! access {
            ($level:ident) => {
                tracing::$level!(
                    method = %session.req_header().method,
                    path = session.req_header().uri.path(),
                    status = session.response_written().map(|head| head.status.as_u16()),
                    bytes = session.body_bytes_sent(),
                    duration_ms = request.started.elapsed().as_micros() as f64 / 1000.0,
                    upstream = request.upstream.map(Upstream::name),
                    request_id = request.id,
                    error = error.map(tracing::field::display),
                    "request"
                )
            };
        }
        let status = session.response_written().map_or(0, |head| head.status.as_u16());
        let cut_short = error.is_some_and(|e| *e.esource() != ErrorSource::Downstream);
        match status {
            500.. => access!(warn),
            400.. => access!(info),
            _ if cut_short => access!(warn),
            _ => access!(debug),
        }
    }
}

/// Answers with the problem and closes the connection, unless an answer has begun: then the only
/// way left to say it is to break that off.
async fn refuse(session: &mut Session, request: &Request, problem: &Problem) -> Result<()> {
    let head = session.req_header();
    let accept = head.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let (answer, body) = problem.answer(accept.unwrap_or_default(), &request.id)?;
    let body = if head.method == Method::HEAD { Bytes::new() } else { body };
    session.write_error_response(answer, body).await?;
    if problem.status == StatusCode::PAYLOAD_TOO_LARGE {
        session.set_total_drain_timeout(Some(LINGER_TIME));
        // The time is up, or the client has left: both end it.
        let _ = session.drain_request_body().await;
    }
    Ok(())
}

fn failure_of(error: &Error) -> Failure {
    match error.etype() {
        ErrorType::ConnectRefused => Failure::Refused,
        ErrorType::ConnectNoRoute => Failure::Unreachable,
        ErrorType::ConnectTimedout | ErrorType::ReadTimedout | ErrorType::WriteTimedout => {
            Failure::Timeout
        }
        ErrorType::InvalidHTTPHeader => Failure::Invalid,
        _ => Failure::Reset,
    }
}

fn is_event_stream(response: &ResponseHeader) -> bool {
    let kind = response.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.and_then(|kind| kind.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
}

async fn say_healthy(session: &mut Session, request: &Request) -> Result<()> {
    const OK: &str = "ok\n";
    let mut head = ResponseHeader::build(StatusCode::OK, Some(4))?;
    head.insert_header(CONTENT_TYPE, "text/plain; charset=utf-8")?;
    head.set_content_length(OK.len())?;
    head.insert_header(CACHE_CONTROL, "no-store")?;
    head.insert_header(REQUEST_ID, request.id.as_str())?;
    let has_body = session.req_header().method != Method::HEAD;
    session.write_response_header(Box::new(head), !has_body).await?;
    if has_body {
        let body = Bytes::from_static(OK.as_bytes());
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}

fn client_ip(session: &ServerSession) -> Option<IpAddr> {
    Some(session.client_addr()?.as_inet()?.ip())
}
