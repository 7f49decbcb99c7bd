//! Responses as functions of the request and the configuration.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde_json::json;

use crate::BUILD;
use crate::config::Config;

const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";
const TEXT: &str = "text/plain; charset=utf-8";

/// The response to a request for `path`.
///
/// - `/hello`: the greeting.
/// - `/healthz`: version and commit; `/readyz`: the service is ready once it listens.
///
/// Other paths are answered 404, and other methods than GET and HEAD 405.
pub(crate) fn respond(method: &Method, path: &str, config: &Config) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/hello" => {
            let body = json!({ "greeting": config.greeting });
            response(StatusCode::OK, JSON, format!("{body}\n"))
        }
        "/healthz" => response(StatusCode::OK, JSON, BUILD.health()),
        "/readyz" => response(StatusCode::OK, TEXT, "ok\n"),
        _ => problem(StatusCode::NOT_FOUND, "not found"),
    }
}

/// Problem details (RFC 9457).
fn problem(status: StatusCode, title: &str) -> Response<Full<Bytes>> {
    let body = json!({ "title": title, "status": status.as_u16() });
    response(status, PROBLEM, format!("{body}\n"))
}

/// A response that no cache stores. hyper leaves out the body of a response to HEAD.
fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &Method, path: &str) -> Response<Full<Bytes>> {
        respond(method, path, &Config { greeting: "hello".to_owned() })
    }

    #[test]
    fn only_reading_is_allowed() {
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            let response = ask(&method, "/hello");
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(response.headers()[header::ALLOW], "GET, HEAD");
        }
    }

    #[test]
    fn an_unknown_path_is_a_problem() {
        let response = ask(&Method::GET, "/hello/other");
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM);
    }

    #[test]
    fn no_response_is_stored() {
        for path in ["/hello", "/healthz", "/readyz", "/nowhere"] {
            let response = ask(&Method::GET, path);
            assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store", "{path}");
        }
    }
}
