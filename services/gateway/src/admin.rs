//! Admin port, by default on loopback: metrics and readiness.

mod exposition;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::net::TcpListener;

use self::exposition::exposition;
use crate::BUILD;
use crate::listener::side;
use crate::settings::Admin;
use crate::state::Gateway;
use http_semantics::hosts::Hosts;

/// Maximum connections: one or two scrapers and an operator.
const MAX_CONNECTIONS: u32 = 64;

const TEXT: &str = "text/plain; charset=utf-8";

/// Serves requests until the process ends.
pub(crate) async fn run(listener: TcpListener, gateway: Arc<Gateway>) {
    let hosts = match listener.local_addr() {
        Ok(address) => Arc::new(gateway.config.admin_hosts(address)),
        // A listener without an address cannot accept connections.
        Err(_) => return,
    };
    let respond = move |request: &Request<Incoming>| respond(request, &gateway, &hosts);
    side::run(listener, MAX_CONNECTIONS, |_| Some(()), respond).await;
}

/// Binds the port.
///
/// # Errors
/// Returns an error if a configured address cannot be bound.
pub(crate) fn listen(admin: Admin) -> Result<Option<TcpListener>, service::ListenError> {
    match admin {
        Admin::At(address) => service::listen(address).map(Some),
        Admin::AtIfFree(address) => Ok(service::listen(address)
            .inspect_err(|error| tracing::warn!(%error, "metrics endpoint unavailable"))
            .ok()),
        Admin::Off => Ok(None),
    }
}

fn respond<B>(request: &Request<B>, gateway: &Gateway, hosts: &Hosts) -> Response<Full<Bytes>> {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !hosts.contains(host) {
        return text(StatusCode::MISDIRECTED_REQUEST, "this host is not served here\n");
    }
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    match request.uri().path() {
        "/metrics" | "/healthz" | "/readyz" if !is_read => {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
        "/metrics" => {
            let kind = "text/plain; version=0.0.4; charset=utf-8";
            answer(StatusCode::OK, kind, exposition(gateway))
        }
        "/healthz" => answer(StatusCode::OK, "application/json", BUILD.health()),
        "/readyz" => match gateway.not_ready() {
            None => text(StatusCode::OK, "ok\n"),
            Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
        },
        _ => text(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n"),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    answer(status, TEXT, body)
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
