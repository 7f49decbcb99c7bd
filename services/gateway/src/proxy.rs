//! What Pingora does with a request that was admitted: it has the connections to upstreams, sends
//! the request, and passes the answer on. The rules here say where, how long, how often, and what
//! is added to the answer.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, STRICT_TRANSPORT_SECURITY, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, HttpProxy, ProxyHttp, ProxyWarnLogContext, Session, http_proxy};
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use pingora::{Error, ErrorSource, ErrorType, Result};
use tracing::level_filters::LevelFilter;

use crate::admission::Order;
use crate::compression::{self, Asked};
use crate::config::Times;
use crate::fetch::{INFORMATIONAL, TRIES};
use crate::gateway::Gateway;
use crate::policy::hop::HopByHop;
use crate::problem::Problem;
use crate::upstreams::Failure;

/// Upstreams close connections that were idle for 30 s; one that is about to be closed must not
/// carry a request.
const UPSTREAM_IDLE_TIME: Duration = Duration::from_secs(15);

/// Idle upstream connections kept. As many as busy clients on a large day: with fewer, a burst
/// opens and closes a connection per request.
const UPSTREAM_IDLE_CONNECTIONS: usize = 1024;

/// How long a client may take nothing of an answer.
const CLIENT_TIME: Duration = Duration::from_secs(30);

/// Pingora with the gateway's rules.
pub(crate) fn new(gateway: &Gateway) -> Arc<HttpProxy<Proxy>> {
    let threads = gateway.config.threads;
    let server = Arc::new(ServerConf {
        threads,
        // Pingora wants the number per thread.
        upstream_keepalive_pool_size: (UPSTREAM_IDLE_CONNECTIONS / threads).max(1),
        max_retries: TRIES,
        ..ServerConf::default()
    });
    Arc::new(http_proxy(&server, Proxy { times: gateway.config.times }))
}

/// Pingora logs every vanished client as an error of its own, and at its debug level every header
/// with the secrets in it. The access log has each request once, so Pingora's voice is only for
/// those who debug, and its whispers for those who trace.
pub(crate) fn hush_pingora() {
    let level = match LevelFilter::current() {
        LevelFilter::TRACE => log::LevelFilter::Trace,
        LevelFilter::DEBUG => log::LevelFilter::Warn,
        _ => log::LevelFilter::Off,
    };
    log::set_max_level(level);
}

/// The rules.
pub(crate) struct Proxy {
    times: Times,
}

/// The order that came with the request; Pingora hands it over when it has read the head.
type Context = Option<Box<Order>>;

/// Pingora hands a context over only by a callback for a connection that is used again, so there
/// could be a request without one; it is answered with 500, and no test has brought it about.
fn of(context: &mut Context) -> Result<&mut Order> {
    context.as_deref_mut().ok_or_else(|| Error::new_in(ErrorType::InternalError))
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        None
    }

    /// None: Pingora's compression knows neither the cache nor who may not be compressed for.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    fn on_connection_reuse(
        &self,
        _: &mut Session,
        context: &mut Context,
        order: Box<dyn Any + Send + Sync>,
    ) {
        *context = order.downcast::<Order>().ok();
    }

    async fn request_filter(&self, session: &mut Session, _: &mut Context) -> Result<bool> {
        session.set_write_timeout(Some(CLIENT_TIME));
        session.set_ignore_info_resp(true);
        Ok(false)
    }

    async fn upstream_peer(&self, _: &mut Session, context: &mut Context) -> Result<Box<HttpPeer>> {
        let order = of(context)?;
        // The one that failed before.
        order.pick = None;
        let picked = order.route.as_ref().and_then(|route| route.pool.pick(&order.tried));
        let Some(pick) = picked else {
            return Err(Error::new_up(ErrorType::HTTPStatus(503)));
        };
        // From an address alone: given a name, pingora resolves it here and now, and panics when
        // there is none.
        let mut peer = HttpPeer::new(pick.address(), false, String::new());
        order.pick = Some(pick);
        let Times { connect, silence, .. } = self.times;
        let options = &mut peer.options;
        options.connection_timeout = Some(connect);
        options.total_connection_timeout = Some(connect);
        options.read_timeout = Some(silence);
        options.write_timeout = Some(silence);
        options.idle_timeout = Some(UPSTREAM_IDLE_TIME);
        options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
        Ok(Box::new(peer))
    }

    /// The head was written for the upstream before Pingora saw it.
    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        _: &mut RequestHeader,
        _: &mut Context,
    ) -> Result<()> {
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        let order = of(context)?;
        if let Some(pick) = &mut order.pick {
            match response.status.as_u16() {
                status @ 502..=504 => pick.failed(Failure::Status(status)),
                _ => pick.succeeded(),
            }
        }
        if response.status.is_informational() {
            // None was asked for: the body was there already, and upgrades do not come here.
            order.informed += 1;
            let patient = order.informed <= INFORMATIONAL
                && response.status != StatusCode::SWITCHING_PROTOCOLS;
            return if patient { Ok(()) } else { invalid() };
        }
        let mut codings = response.headers.get_all(TRANSFER_ENCODING).iter();
        let coding = codings.next();
        let chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if codings.next().is_some() || coding.is_some_and(|coding| !chunked(coding)) {
            // Where such a body ends is anybody's guess.
            return invalid();
        }
        let asked = Asked {
            method: &order.method,
            fields: &session.req_header().headers,
            is_old: order.is_old,
            is_guarded: order.route.as_ref().is_some_and(|route| route.guard.is_some()),
        };
        // Before the cache takes the answer, which then has what is sent.
        let mut fields = response.headers.clone();
        let encoder = order.gateway.encoders.begin(&asked, response.status, &mut fields);
        take_over(response, &fields)?;
        order.encoder = encoder.map(Box::new);
        if let Some(answer) = order.hears(response.status, &response.headers) {
            order.instead = Some(answer);
            return Err(Error::new_up(ErrorType::HTTPStatus(order.status)));
        }
        let is_stored = order.filling.as_ref().is_some_and(|filling| filling.forwarded().stored);
        if order.knows && !is_stored {
            // Nobody gets the body.
            order.encoder = None;
        }
        // A nomination that must not be obeyed is not obeyed; the rest goes as usual.
        let hop = HopByHop::of(&response.headers).unwrap_or_default();
        let dropped: Vec<_> =
            response.headers.keys().filter(|name| hop.drops(name)).cloned().collect();
        for name in &dropped {
            response.remove_header(name);
        }
        if order.closes || order.gateway.is_closing() {
            session.set_keepalive(None);
        }
        // A version belongs to one connection (RFC 9110, section 2.5), and this one speaks 1.1
        // whatever the upstream speaks.
        response.set_version(Version::HTTP_11);
        if order.knows {
            // RFC 9110, section 15.4.5.
            response.set_status(StatusCode::NOT_MODIFIED)?;
            for name in [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING, TRANSFER_ENCODING] {
                response.remove_header(&name);
            }
            order.status = StatusCode::NOT_MODIFIED.as_u16();
        }
        // RFC 6797, section 7.1: one field.
        if let Some(first) = response.headers.get(STRICT_TRANSPORT_SECURITY).cloned() {
            response.insert_header(STRICT_TRANSPORT_SECURITY, first)?;
        }
        for (name, value) in order.fields() {
            response.insert_header(name, value)?;
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        is_end: bool,
        context: &mut Context,
    ) -> Result<Option<Duration>> {
        let order = of(context)?;
        // Looked at with each piece, because a timer for each request would cost more. An event
        // stream has no such time, but ends when the gateway does; whoever wants one properly says
        // so, and is served by `tunnel.rs`. Between pieces there is the bound of silence.
        let over = if order.streams {
            order.gateway.is_closing()
        } else {
            order.begun.elapsed() > self.times.total
        };
        if over && !is_end {
            return Err(Error::new_in(ErrorType::InternalError));
        }
        if let Some(encoder) = &mut order.encoder {
            let piece = encoder.piece(body.as_deref(), is_end);
            *body = piece.map_err(|_| Error::new_in(ErrorType::InternalError))?;
            if is_end {
                order.encoder = None;
            }
        }
        if let Some(piece) = body {
            if let Some(filling) = &mut order.filling {
                filling.body(piece, Instant::now());
            }
            if order.knows {
                piece.clear();
            }
            order.sent_bytes += piece.len() as u64;
        }
        if is_end && let Some(filling) = order.filling.take() {
            filling.complete(Instant::now());
        }
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        context: &mut Context,
        mut error: Box<Error>,
    ) -> Box<Error> {
        // Nothing has been sent yet, so another address may be tried for any method.
        let failure = failure_of(&error);
        let again = context.as_deref_mut().is_some_and(|order| order.fails(failure));
        error.set_retry(again);
        error
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        context: &mut Context,
        reused: bool,
    ) -> Box<Error> {
        let Some(order) = context.as_deref_mut() else { return error };
        let begun = session.response_written().is_some();
        // On a connection that was used before, an end without an answer may only mean that the
        // upstream was about to close it.
        let harmless = order.method.is_idempotent() && !order.has_body;
        let closed = reused && *error.esource() == ErrorSource::Upstream;
        let again = if closed && harmless && !begun && !is_timeout(&error) {
            order.tried.len() < TRIES - 1
        } else if *error.esource() == ErrorSource::Upstream {
            let other = order.fails(failure_of(&error));
            other && harmless && !begun && !is_timeout(&error)
        } else {
            false
        };
        error.set_retry(again);
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        context: &mut Context,
    ) -> FailToProxy {
        let nothing = FailToProxy { error_code: 0, can_reuse_downstream: false };
        let Some(order) = context.as_deref_mut() else { return nothing };
        let name = order.route.as_ref().map_or("/", |route| &route.name).to_owned();
        let problem = Problem::of(error, &name);
        let begun = session.response_written().is_some();
        order.error = Some(match &problem {
            Some(_) if begun => format!("the upstream of route {name} broke its answer off"),
            Some(problem) => problem.detail.clone(),
            None => "the client has left".to_owned(),
        });
        let stale = order.filling.as_mut().and_then(|filling| filling.failed(Instant::now()));
        let answer = order.instead.take().or(stale).filter(|_| !begun);
        let sent = if let Some(answer) = answer {
            order.cache_status = None;
            let (status, fields, body) = (answer.status(), answer.headers(), answer.body());
            write(session, order, status, &fields, body).await
        } else if let Some(problem) = problem.filter(|_| !begun) {
            let (fields, body) = order.problem(&problem);
            write(session, order, problem.status, &fields, body).await
        } else {
            return nothing;
        };
        // When it fails, the client has left.
        FailToProxy {
            error_code: order.status,
            can_reuse_downstream: sent.is_ok() && !order.closes && !order.gateway.is_closing(),
        }
    }

    /// The access log has it.
    fn suppress_error_log(&self, _: &Session, _: &Context, _: &Error) -> bool {
        true
    }

    /// The access log has it.
    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &Context,
        _: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    async fn logging(&self, _: &mut Session, error: Option<&Error>, context: &mut Context) {
        let Some(mut order) = context.take() else { return };
        if order.error.is_none() {
            order.error = error.map(|_| "the answer was broken off".to_owned());
        }
        order.ended();
    }
}

/// Makes the head have what compression has made of its fields.
fn take_over(response: &mut ResponseHeader, fields: &HeaderMap) -> Result<()> {
    for name in compression::CHANGED {
        if response.headers.get_all(&name) == fields.get_all(&name) {
            continue;
        }
        response.remove_header(&name);
        for value in fields.get_all(&name) {
            response.append_header(name.clone(), value)?;
        }
    }
    Ok(())
}

/// Writes a whole answer that is not the upstream's.
async fn write(
    session: &mut Session,
    order: &mut Order,
    status: StatusCode,
    fields: &HeaderMap,
    body: Bytes,
) -> Result<()> {
    order.status = status.as_u16();
    let mut head = ResponseHeader::build(status, Some(fields.len() + 4))?;
    for (name, value) in fields {
        head.append_header(name, value)?;
    }
    for (name, value) in order.fields() {
        head.insert_header(name, value)?;
    }
    if status != StatusCode::NOT_MODIFIED && !fields.contains_key(CONTENT_LENGTH) {
        head.set_content_length(body.len())?;
    }
    let body = if order.method == Method::HEAD { Bytes::new() } else { body };
    order.sent_bytes = body.len() as u64;
    if order.closes || order.gateway.is_closing() {
        session.set_keepalive(None);
    }
    let is_all = body.is_empty();
    session.write_response_header(Box::new(head), is_all).await?;
    if !is_all {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}

/// The upstream does not speak HTTP as it must.
fn invalid() -> Result<()> {
    Err(Error::new_up(ErrorType::InvalidHTTPHeader))
}

fn is_timeout(error: &Error) -> bool {
    matches!(
        error.etype(),
        ErrorType::ConnectTimedout | ErrorType::ReadTimedout | ErrorType::WriteTimedout
    )
}

/// What an error of an upstream means.
pub(crate) fn failure_of(error: &Error) -> Failure {
    match error.etype() {
        ErrorType::ConnectRefused => Failure::Refused,
        ErrorType::ConnectNoRoute => Failure::Unreachable,
        _ if is_timeout(error) => Failure::Timeout,
        ErrorType::InvalidHTTPHeader => Failure::Invalid,
        _ => Failure::Reset,
    }
}
