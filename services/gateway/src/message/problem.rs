//! Error responses of the gateway: problem details (RFC 9457), or a small HTML page for a browser.

use bytes::Bytes;
use http::StatusCode;
use http::header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER};
use http_semantics::negotiation::named;

use crate::fields::Fields;

/// A problem that prevents a response from the upstream. Texts come from the gateway and contain no
/// characters that JSON or HTML must escape.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Problem {
    /// Status of the response.
    pub(crate) status: StatusCode,
    /// A sentence about this occurrence.
    pub(crate) detail: String,
    /// Fields that belong to the status: `Allow`, `Retry-After`, `WWW-Authenticate`.
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// Creates a problem with a sentence about it.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), fields: Vec::new() }
    }

    /// Adds a field.
    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.fields.push((name, value));
        self
    }

    /// The request is malformed.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Nothing has this path.
    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no such resource")
    }

    /// The gateway or the upstream cannot respond at present.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(1)
    }

    /// Sets the time after which the client should try again.
    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.fields.retain(|(name, _)| *name != RETRY_AFTER);
        self.with(RETRY_AFTER, seconds.into())
    }

    /// The method is not allowed.
    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "this method is not allowed here")
            .with(ALLOW, HeaderValue::from_static(allow))
    }

    /// The body is too large.
    pub(crate) fn too_large(most: usize) -> Self {
        let detail = format!("the body has more than {most} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// The client did not send this part of its request in time.
    pub(crate) fn too_slow(what: &str) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, format!("timeout while reading the {what}"))
    }

    /// The memory for request bodies is exhausted.
    pub(crate) fn busy() -> Self {
        Self::unavailable("the memory for request bodies is exhausted")
    }

    /// No address is known for a route; the next lookup is at most two seconds away by default.
    pub(crate) fn no_upstream(route: &str) -> Self {
        Self::unavailable(format!("no upstream available for route {route}"))
    }

    /// The gateway has no file descriptor or memory for a connection to an upstream.
    pub(crate) fn no_resources(route: &str) -> Self {
        Self::unavailable(format!("the gateway cannot open a connection for route {route}"))
    }

    /// Fields and body of the response to a request with this `Accept` field.
    pub(crate) fn render(&self, accept: &str, request_id: &str) -> (Fields, Bytes) {
        let Self { status, detail, fields } = self;
        let (number, title) = (status.as_u16(), status.canonical_reason().unwrap_or("Error"));
        let (kind, body) = if prefers_html(accept) {
            let body = format!(
                "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
                 <title>{number} {title}</title>\n<h1>{title}</h1>\n<p>{detail}</p>\n\
                 <p><small>request {request_id}</small></p>\n</html>\n"
            );
            ("text/html; charset=utf-8", body)
        } else {
            let body = format!(
                "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{number},\
                 \"detail\":\"{detail}\",\"request_id\":\"{request_id}\"}}\n"
            );
            ("application/problem+json", body)
        };
        let mut head = Fields::generated(kind);
        head.extend(fields.iter().cloned());
        (head, body.into())
    }
}

/// Whether `Accept` (RFC 9110, section 12.5.1) contains HTML with a greater weight than JSON. A
/// client that accepts anything is a program.
fn prefers_html(accept: &str) -> bool {
    let weight = |kinds: [&str; 2]| kinds.map(|kind| named([accept], kind)).into_iter().max();
    weight(["text/html", "application/xhtml+xml"])
        > weight(["application/problem+json", "application/json"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_gets_a_page_and_a_program_gets_json() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        assert!(prefers_html(browser));
        assert!(prefers_html("application/json;q=0.5, text/html"));
        for program in [
            "",
            "*/*",
            "application/json",
            "text/event-stream",
            "application/json, text/html;q=0.9",
            "text/html;q=0",
            "text/html;q=x",
        ] {
            assert!(!prefers_html(program), "{program}");
        }
    }

    #[test]
    fn problem_details_are_json_with_the_members_of_rfc_9457() {
        let problem = Problem::new(StatusCode::BAD_GATEWAY, "stats refused the connection");
        let (head, body) = problem.render("*/*", "0123");
        assert_eq!(head["content-type"], "application/problem+json");
        assert_eq!(head["cache-control"], "no-store");
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let expected = serde_json::json!({
            "type": "about:blank",
            "title": "Bad Gateway",
            "status": 502,
            "detail": "stats refused the connection",
            "request_id": "0123",
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn a_503_has_retry_after_and_a_405_has_allow() {
        let (head, _) = Problem::no_upstream("stats").render("text/html", "0");
        assert_eq!(head["retry-after"], "1");
        let problem = Problem::method_not_allowed("GET, HEAD");
        assert_eq!(
            (problem.status.as_u16(), &problem.render("", "0").0["allow"]),
            (405, &HeaderValue::from_static("GET, HEAD"))
        );
    }
}
