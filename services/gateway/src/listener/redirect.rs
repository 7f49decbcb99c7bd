//! Plaintext listener beside TLS: a permanent redirect of every request to HTTPS.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, HOST, HeaderValue, LOCATION};
use http::uri::{Authority, PathAndQuery};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::net::TcpListener;

use crate::listener::side;
use crate::state::Gateway;
use http_semantics::hosts::Hosts;

/// Maximum connections, if the main listener may have as many: a client sends one request, and then
/// uses HTTPS.
const MAX_CONNECTIONS: u32 = 1024;

/// Time that browsers cache the redirect. A wrong redirect can be fixed after a day, but not after
/// a year.
const CACHED: &str = "max-age=86400";

/// Redirect to HTTPS.
pub(crate) struct Redirect {
    hosts: Hosts,
    /// TLS port.
    port: u16,
}

impl Redirect {
    /// Creates a redirect to a port for these hosts only: it must not become an open redirect.
    pub(crate) fn new(hosts: Hosts, port: u16) -> Self {
        Self { hosts, port }
    }

    /// Serves redirects until the process ends. The limits of a client are those of the main
    /// listener.
    pub(crate) async fn run(self, listener: TcpListener, gateway: Arc<Gateway>) {
        let most = gateway.config.max_connections.min(MAX_CONNECTIONS);
        let redirect = Arc::new(self);
        let respond = move |request: &Request<Incoming>| redirect.respond(request);
        side::run(listener, most, move |peer| gateway.admit(peer), respond).await;
    }

    fn respond<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let (status, location) = match host {
            Some(host) if !self.hosts.contains(host) => (StatusCode::MISDIRECTED_REQUEST, None),
            host => match host.and_then(|host| self.location(host, request)) {
                Some(location) => (StatusCode::PERMANENT_REDIRECT, Some(location)),
                None => (StatusCode::BAD_REQUEST, None),
            },
        };
        *response.status_mut() = status;
        let fields = response.headers_mut();
        let cached = if location.is_some() { CACHED } else { "no-store" };
        fields.insert(CACHE_CONTROL, HeaderValue::from_static(cached));
        if let Some(location) = location {
            fields.insert(LOCATION, location);
        }
        response
    }

    fn location<B>(&self, host: &str, request: &Request<B>) -> Option<HeaderValue> {
        let authority: Authority = host.parse().ok()?;
        let name = authority.host();
        let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        // `OPTIONS *` has no location.
        if name.is_empty() || host.contains('@') || !path.starts_with('/') {
            return None;
        }
        let location = match self.port {
            443 => format!("https://{name}{path}"),
            port => format!("https://{name}:{port}{path}"),
        };
        HeaderValue::try_from(location).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirected(port: u16, host: Option<&str>, target: &str) -> (u16, String) {
        let mut request = Request::builder().uri(target);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let response = Redirect::new(Hosts::Any, port).respond(&request.body(()).unwrap());
        let location = response.headers().get(LOCATION).map(|value| value.to_str().unwrap());
        (response.status().as_u16(), location.unwrap_or_default().to_owned())
    }

    #[test]
    fn host_path_and_query_are_kept() {
        for (port, host, target, location) in [
            (443, "a.test", "/", "https://a.test/"),
            (443, "a.test:80", "/x?y=%20", "https://a.test/x?y=%20"),
            (3050, "a.test:8080", "/x", "https://a.test:3050/x"),
            (443, "[::1]:80", "/", "https://[::1]/"),
        ] {
            assert_eq!(redirected(port, Some(host), target), (308, location.to_owned()));
        }
    }

    #[test]
    fn requests_without_a_host_are_rejected() {
        for host in [None, Some(""), Some("a b"), Some("user@a.test"), Some("a/b")] {
            assert_eq!(redirected(443, host, "/"), (400, String::new()), "{host:?}");
        }
        assert_eq!(redirected(443, Some("a.test"), "*").0, 400);
    }
}
