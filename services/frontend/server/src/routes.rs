//! Routing from request to response as pure functions: no socket, no clock, no file.

use std::borrow::Cow;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Method, Response, StatusCode};

use crate::BUILD;
use crate::fields::{self, HTML, set};
use crate::negotiation::{Encoding, choose, matches_etag};
use crate::site::{Asset, Site};

const NOT_FOUND: &str = include_str!("not_found.html");

const HEALTH: &str = "/healthz";
const READY: &str = "/readyz";

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// The response to a request for `path`.
///
/// - `/` and the page's files, in the encoding the client prefers; 304 when it has them.
/// - `/healthz`: 200 and the version; `/readyz`: 200, there is nothing to wait for.
///
/// Other paths get 404 and other methods than GET and HEAD 405.
pub(crate) fn respond(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    site: &Site,
) -> Response<Full<Bytes>> {
    let response = if method != Method::GET && method != Method::HEAD {
        not_allowed(site)
    } else if let Some(asset) = site.find(path) {
        file(asset, headers, site)
    } else if path == HEALTH {
        text_response(StatusCode::OK, JSON, BUILD.health(), site)
    } else if path == READY {
        text_response(StatusCode::OK, TEXT, "ok\n", site)
    } else {
        text_response(StatusCode::NOT_FOUND, HTML, NOT_FOUND, site)
    };
    if method == Method::HEAD {
        return without_body(response);
    }
    response
}

/// Whether a health check asks for this path.
pub(crate) fn is_health_check(path: &str) -> bool {
    matches!(path, HEALTH | READY)
}

/// The answer to a request for a host that is not served.
pub(crate) fn misdirected(site: &Site) -> Response<Full<Bytes>> {
    let message = "this host is not served here; FRONTEND_HOSTS names the hosts that are\n";
    text_response(StatusCode::MISDIRECTED_REQUEST, TEXT, message, site)
}

fn file(asset: &Asset, headers: &HeaderMap, site: &Site) -> Response<Full<Bytes>> {
    let accept = combined(headers, &header::ACCEPT_ENCODING);
    let mut offered = [Encoding::Identity; 3];
    let count = asset.representations.len().min(offered.len());
    for (slot, representation) in offered.iter_mut().zip(&asset.representations) {
        *slot = representation.encoding;
    }
    let chosen = choose(accept.as_deref(), &offered[..count]);
    let Some(representation) =
        asset.representations.iter().find(|representation| Some(representation.encoding) == chosen)
    else {
        let message = "there is br, gzip and identity\n";
        let mut response = text_response(StatusCode::NOT_ACCEPTABLE, TEXT, message, site);
        set(response.headers_mut(), header::VARY, "accept-encoding");
        return response;
    };
    let if_none_match = combined(headers, &header::IF_NONE_MATCH);
    let etag = representation.etag.to_str().unwrap_or_default();
    let mut response = Response::new(Full::default());
    // A cheap copy; building the fields again would be a large part of the request's cost.
    if if_none_match.is_some_and(|if_none_match| matches_etag(&if_none_match, etag)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.headers_mut() = representation.not_modified_fields.clone();
    } else {
        *response.headers_mut() = representation.fields.clone();
        *response.body_mut() = Full::new(representation.bytes.clone());
    }
    response
}

fn not_allowed(site: &Site) -> Response<Full<Bytes>> {
    let message = "this server is read-only\n";
    let mut response = text_response(StatusCode::METHOD_NOT_ALLOWED, TEXT, message, site);
    set(response.headers_mut(), header::ALLOW, "GET, HEAD");
    response
}

/// A response that must not be stored.
fn text_response(
    status: StatusCode,
    content_type: &'static str,
    text: impl Into<Bytes>,
    site: &Site,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    *response.headers_mut() = fields::of_text(content_type, site.policy());
    response
}

fn without_body(response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let (mut head, body) = response.into_parts();
    if head.status != StatusCode::NOT_MODIFIED {
        let length = hyper::body::Body::size_hint(&body).lower();
        head.headers.insert(header::CONTENT_LENGTH, length.into());
    }
    Response::from_parts(head, Full::default())
}

/// The value of a field that may be sent in several lines (RFC 9110, section 5.3).
fn combined<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, str>> {
    let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let first = Cow::Borrowed(values.next()?);
    Some(values.fold(first, |all, value| all + "," + value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;
    use crate::fields::{COMMON, DOCUMENT, IMMUTABLE};
    use crate::site::{Inline, Representation};
    use http_body_util::BodyExt;
    use hyper::header::HeaderValue;

    const SCRIPT: &str = "/app-0123456789abcdef.js";

    fn site() -> Site {
        let representation = |encoding, bytes: &'static str, etag| {
            Representation::new(
                encoding,
                Bytes::from_static(bytes.as_bytes()),
                HeaderValue::from_static(etag),
            )
        };
        let mut script = Asset::plain("app-0123456789abcdef.js", Bytes::new(), "");
        script.representations = vec![
            representation(Encoding::Brotli, "b", "\"b\""),
            representation(Encoding::Gzip, "gg", "\"g\""),
            representation(Encoding::Identity, "plain", "\"i\""),
        ];
        let index = Asset::plain("index.html", "<html>".into(), "\"x\"");
        let inline = Inline { scripts: "'sha256-x'", styles: "'sha256-y'" };
        Site::new(index, vec![script], &inline, &Backend::default())
    }

    fn send(method: &Method, path: &str, fields: &[(HeaderName, &str)]) -> Response<Full<Bytes>> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value.parse().unwrap());
        }
        respond(method, path, &headers, &site())
    }

    fn get(path: &str, fields: &[(HeaderName, &str)]) -> Response<Full<Bytes>> {
        send(&Method::GET, path, fields)
    }

    async fn body_of(response: Response<Full<Bytes>>) -> Bytes {
        response.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn the_page_is_at_both_of_its_paths_and_asked_about_each_time() {
        for path in ["/", "/index.html"] {
            let response = get(path, &[]);
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()[header::CACHE_CONTROL], "no-cache");
            assert_eq!(response.headers()[header::CONTENT_TYPE], HTML);
            assert_eq!(body_of(response).await, "<html>");
        }
    }

    #[tokio::test]
    async fn a_file_has_the_encoding_the_client_prefers() {
        for (accept, encoding, etag, body) in [
            ("gzip, br", Some("br"), "\"b\"", "b"),
            ("gzip", Some("gzip"), "\"g\"", "gg"),
            ("identity", None, "\"i\"", "plain"),
        ] {
            let response = get(SCRIPT, &[(header::ACCEPT_ENCODING, accept)]);
            let fields = response.headers();
            let named = fields.get(header::CONTENT_ENCODING).map(|name| name.to_str().unwrap());
            assert_eq!(named, encoding);
            assert_eq!(fields[header::ETAG], etag);
            assert_eq!(fields[header::VARY], "accept-encoding");
            assert_eq!(fields[header::CACHE_CONTROL], IMMUTABLE);
            assert_eq!(body_of(response).await, body);
        }
    }

    #[test]
    fn a_field_in_two_lines_is_one_list() {
        let accept = header::ACCEPT_ENCODING;
        let response = get(SCRIPT, &[(accept.clone(), "gzip"), (accept, "br")]);
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "br");
    }

    #[test]
    fn a_request_that_refuses_every_encoding_is_rejected() {
        let response = get(SCRIPT, &[(header::ACCEPT_ENCODING, "*;q=0")]);
        assert_eq!(response.status(), StatusCode::NOT_ACCEPTABLE);
        assert_eq!(response.headers()[header::VARY], "accept-encoding");
    }

    #[tokio::test]
    async fn a_matching_tag_is_answered_with_304() {
        let accept = (header::ACCEPT_ENCODING, "br");
        let response = get(SCRIPT, &[accept.clone(), (header::IF_NONE_MATCH, "W/\"a\", \"b\"")]);
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(response.headers()[header::ETAG], "\"b\"");
        assert_eq!(response.headers()[header::CACHE_CONTROL], IMMUTABLE);
        assert_eq!(response.headers().get(header::CONTENT_TYPE), None);
        assert!(body_of(response).await.is_empty());
        // Each encoding has its own tag.
        let response = get(SCRIPT, &[accept, (header::IF_NONE_MATCH, "\"g\"")]);
        assert_eq!(response.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn head_is_get_without_the_body() {
        let response = send(&Method::HEAD, SCRIPT, &[]);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_LENGTH], "5");
        assert_eq!(response.headers()[header::ETAG], "\"i\"");
        assert!(body_of(response).await.is_empty());
        let response = send(&Method::HEAD, "/nowhere", &[]);
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn ranges_are_not_supported() {
        for range in ["bytes=0-1", "bytes=99-", "nonsense"] {
            let response = get(SCRIPT, &[(header::RANGE, range), (header::IF_RANGE, "\"i\"")]);
            assert_eq!(response.status(), StatusCode::OK, "{range}");
            assert_eq!(response.headers().get(header::ACCEPT_RANGES), None);
            assert_eq!(body_of(response).await, "plain");
        }
    }

    #[test]
    fn other_methods_get_the_list_of_allowed_ones() {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
            let response = send(&method, "/", &[]);
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(response.headers()[header::ALLOW], "GET, HEAD");
        }
    }

    #[tokio::test]
    async fn an_unknown_path_has_a_page_that_is_not_stored() {
        for path in ["/nowhere", "/app.js", "//", "/../etc/passwd", "/dev/reload.js"] {
            let response = get(path, &[]);
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
            assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
            assert_eq!(response.headers()[header::CONTENT_TYPE], HTML);
            assert!(body_of(response).await.starts_with(b"<!doctype html>"));
        }
    }

    #[test]
    fn the_health_endpoints_answer_200() {
        for path in ["/healthz", "/readyz"] {
            let response = get(path, &[]);
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        }
    }

    #[tokio::test]
    async fn the_health_endpoint_reports_the_build() {
        let response = get("/healthz", &[]);
        assert_eq!(response.headers()[header::CONTENT_TYPE], JSON);
        assert_eq!(body_of(response).await, BUILD.health().as_bytes());
    }

    #[test]
    fn documents_carry_the_policy_and_every_response_its_media_type() {
        for path in ["/", "/nowhere"] {
            let response = get(path, &[]);
            let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'; "), "{policy}");
            assert!(policy.contains("'wasm-unsafe-eval' 'sha256-x';"), "{policy}");
            assert!(policy.contains("style-src 'self' 'sha256-y';"), "{policy}");
            for (name, value) in DOCUMENT {
                assert_eq!(response.headers()[name], value);
            }
        }
        for path in ["/", "/nowhere", "/healthz", SCRIPT] {
            let response = get(path, &[]);
            for (name, value) in COMMON {
                assert_eq!(response.headers()[name], value, "{path}");
            }
        }
    }
}
