//! What to do with a request, from its head alone. Pure.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{Method, StatusCode, Version};
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;

use crate::problem::Problem;
use crate::routes::{Upstream, plain, upstream_for};

/// A request's body may have so many bytes: nothing behind the gateway takes uploads.
pub(crate) const BODY_BYTES: usize = 64 * 1024;

/// What TRACE and CONNECT are told.
const ALLOWED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// What to do with a request.
#[derive(Debug, PartialEq)]
pub(crate) enum Decision {
    /// Say that the gateway is well.
    Healthy,
    /// Ask this upstream, for this target if it is not the one that came.
    Forward(Upstream, Option<String>),
    /// Say no.
    Refuse(Problem),
}

/// How a request's head says where its body ends.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Framing {
    /// Both Content-Length and Transfer-Encoding came.
    ambiguous: bool,
    /// Content-Length.
    length: Option<usize>,
}

impl Framing {
    /// Of a request whose head has been read.
    pub(crate) fn of(session: &ServerSession) -> Self {
        let headers = &session.req_header().headers;
        // Pingora removes the one when the other is there; only the bytes that came still show it.
        let ambiguous = headers.contains_key(TRANSFER_ENCODING)
            && session
                .as_http1()
                .is_some_and(|session| names_content_length(&session.get_headers_raw_bytes()));
        let length = headers.get(CONTENT_LENGTH);
        Self { ambiguous, length: length.and_then(|value| value.to_str().ok()?.parse().ok()) }
    }
}

/// Checks a request and finds its way.
pub(crate) fn decide(head: &RequestHeader, framing: Framing) -> Decision {
    let refuse = |status, detail: &str| Decision::Refuse(Problem::new(status, detail));
    if framing.ambiguous {
        // RFC 9112, section 6.1: an attempt at request smuggling.
        return refuse(
            StatusCode::BAD_REQUEST,
            "the request has both Content-Length and Transfer-Encoding",
        );
    }
    if head.version == Version::HTTP_11 && !head.headers.contains_key(HOST) {
        return refuse(StatusCode::BAD_REQUEST, "the request has no Host");
    }
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return Decision::Refuse(Problem::method_not_allowed(ALLOWED));
    }
    if framing.length.is_some_and(|length| length > BODY_BYTES) {
        return Decision::Refuse(Problem::too_large());
    }
    if !head.raw_path_is_utf8() {
        return refuse(StatusCode::BAD_REQUEST, "the path is not UTF-8");
    }
    let path = match plain(head.uri.path()) {
        Ok(path) => path,
        Err(ambiguous) => {
            let detail = format!("the path is ambiguous: {}", ambiguous.0);
            return refuse(StatusCode::BAD_REQUEST, &detail);
        }
    };
    if path == "/healthz" {
        return if head.method == Method::GET || head.method == Method::HEAD {
            Decision::Healthy
        } else {
            Decision::Refuse(Problem::method_not_allowed("GET, HEAD"))
        };
    }
    let upstream = upstream_for(&path);
    // The upstream reads the very path that was routed, and never the absolute form.
    let as_it_came = path == head.uri.path() && head.raw_path().starts_with(b"/");
    let target = (!as_it_came).then(|| match head.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.into_owned(),
    });
    Decision::Forward(upstream, target)
}

fn names_content_length(head: &[u8]) -> bool {
    head.split(|&byte| byte == b'\n').any(|line| {
        let mut parts = line.splitn(2, |&byte| byte == b':');
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case(b"content-length"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, target: &str) -> RequestHeader {
        let mut head = RequestHeader::build(method, target.as_bytes(), None).unwrap();
        head.insert_header(HOST, "localhost").unwrap();
        head
    }

    fn decision(method: &str, target: &str) -> Decision {
        decide(&head(method, target), Framing::default())
    }

    fn status(decision: Decision) -> u16 {
        match decision {
            Decision::Refuse(problem) => problem.status.as_u16(),
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn the_target_passes_as_it_came_where_it_is_plain() {
        let forward = |upstream| Decision::Forward(upstream, None);
        assert_eq!(decision("GET", "/stats?x=/../y"), forward(Upstream::Stats));
        assert_eq!(decision("POST", "/a%20b?c"), forward(Upstream::Frontend));
    }

    #[test]
    fn the_upstream_reads_the_path_that_was_routed() {
        let forward = |target: &str| Decision::Forward(Upstream::Stats, Some(target.to_owned()));
        assert_eq!(decision("GET", "/%73tats?x=%73"), forward("/stats?x=%73"));
        assert_eq!(decision("GET", "http://localhost/stats?x"), forward("/stats?x"));
    }

    #[test]
    fn health_is_the_gateways_own_and_only_to_be_read() {
        assert_eq!(decision("GET", "/healthz"), Decision::Healthy);
        assert_eq!(decision("HEAD", "/healthz?x"), Decision::Healthy);
        assert_eq!(status(decision("POST", "/healthz")), 405);
        assert_eq!(decision("GET", "/healthz/x"), Decision::Forward(Upstream::Frontend, None));
    }

    #[test]
    fn trace_and_connect_are_refused() {
        assert_eq!(status(decision("TRACE", "/")), 405);
        assert_eq!(status(decision("CONNECT", "localhost:80")), 405);
    }

    #[test]
    fn what_is_not_one_request_for_one_resource_is_refused() {
        assert_eq!(status(decision("GET", "/a/../stats")), 400);
        assert_eq!(status(decision("OPTIONS", "*")), 400);
        let mut no_host = head("GET", "/");
        no_host.remove_header(&HOST);
        assert_eq!(status(decide(&no_host, Framing::default())), 400);
        let both = Framing { ambiguous: true, length: None };
        assert_eq!(status(decide(&head("POST", "/"), both)), 400);
    }

    #[test]
    fn a_body_over_the_limit_is_refused_by_its_announced_length() {
        let announced = |length| {
            let framing = Framing { ambiguous: false, length: Some(length) };
            decide(&head("POST", "/"), framing)
        };
        assert!(matches!(announced(BODY_BYTES), Decision::Forward(..)));
        assert_eq!(status(announced(BODY_BYTES + 1)), 413);
    }

    #[test]
    fn content_length_is_found_among_the_raw_fields_only_by_its_whole_name() {
        let named = |head: &str| names_content_length(head.as_bytes());
        assert!(named("POST / HTTP/1.1\r\nHost: a\r\ncontent-LENGTH: 3\r\n\r\n"));
        assert!(!named("POST /content-length: HTTP/1.1\r\nX-Content-Length: 3\r\n\r\n"));
    }
}
