//! Conversion of heads between HTTP/2 and HTTP/1.1: a request is serialized as HTTP/1.1 and passes
//! the same parser, and a serialized response head is converted back into fields.

use bytes::Bytes;
use http::header::{
    CONNECTION, COOKIE, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{StatusCode, Version};

use crate::fields::Fields;
use crate::message::head::field;
use crate::message::problem::Problem;
use crate::request::parse::{self, Head, Refused};

/// Maximum response fields: 100 of the upstream, 32 of the route, and those of the gateway.
const FIELDS: usize = 160;

/// Connection-specific fields, which HTTP/2 does not allow (RFC 9113, section 8.2.2).
const ABOUT_CONNECTION: [HeaderName; 5] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Response head.
#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) status: StatusCode,
    /// Fields in their original order.
    pub(super) fields: Fields,
}

/// Validates a request and converts it to a head.
///
/// # Errors
/// Returns the same errors as the HTTP/1.1 parser, and those specific to HTTP/2 (RFC 9113, section
/// 8.3.1).
pub(super) fn request_head(parts: &Parts) -> Result<Head, Refused> {
    let wrong = |detail: &'static str| Problem::new(StatusCode::BAD_REQUEST, detail);
    let fields = &parts.headers;
    if ABOUT_CONNECTION.iter().any(|name| fields.contains_key(name))
        || fields.get_all(TE).iter().any(|value| value != "trailers")
    {
        return Err(wrong("HTTP/2 has no fields about the connection"));
    }
    let mut text = Vec::with_capacity(1024);
    text.extend_from_slice(parts.method.as_str().as_bytes());
    text.extend_from_slice(b" ");
    // Only CONNECT has no path, and the parser rejects that method.
    text.extend_from_slice(
        parts.uri.path_and_query().map_or("/", |target| target.as_str()).as_bytes(),
    );
    text.extend_from_slice(b" HTTP/1.1\r\n");
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    if let Some(authority) = authority {
        let same = |host: &HeaderValue| host.as_bytes().eq_ignore_ascii_case(authority);
        if !fields.get_all(HOST).iter().all(same) {
            return Err(wrong("the request names another host than Host"));
        }
        field(&mut text, "host", authority);
    }
    for (name, value) in fields {
        if *name != COOKIE && (*name != HOST || authority.is_none()) {
            field(&mut text, name.as_str(), value.as_bytes());
        }
    }
    // HTTP/2 allows several Cookie fields (RFC 9113, section 8.2.3).
    let cookies: Vec<_> = fields.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if !cookies.is_empty() {
        field(&mut text, COOKIE.as_str(), &cookies.join(&b"; "[..]));
    }
    text.extend_from_slice(b"\r\n");
    parse::end_of_head(&text, 0)?;
    let mut head = parse::read(&Bytes::from(text))?;
    head.version = Version::HTTP_2;
    Ok(head)
}

/// Parses a response head serialized as HTTP/1.1, with its final empty line; `None` if it is
/// invalid.
pub(super) fn response_head(head: &[u8]) -> Option<ResponseHead> {
    let mut lines = [httparse::EMPTY_HEADER; FIELDS];
    let mut response = httparse::Response::new(&mut lines);
    let parsed = response.parse(head).ok()?;
    let status = StatusCode::from_u16(response.code?).ok().filter(|_| parsed.is_complete())?;
    let mut fields = Fields::with_capacity(response.headers.len());
    for line in response.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        fields.append(name, HeaderValue::from_bytes(line.value).ok()?);
    }
    Some(ResponseHead { status, fields })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn ask(uri: &str, fields: &[(&str, &str)]) -> Result<Head, u16> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        request_head(&parts).map_err(|problem| problem.status.as_u16())
    }

    #[test]
    fn a_request_is_the_same_as_in_http_1() {
        let fields = [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("host", "A:1")];
        let head = ask("http://a:1/stats?x=1", &fields).unwrap();
        assert_eq!(&head.target[..], b"/stats?x=1");
        assert_eq!(head.fields["host"], "a:1");
        assert_eq!(head.fields["cookie"], "a=1; b=2");
        assert_eq!(head.fields.len(), 3);
        assert!(head.keeps_alive);
    }

    #[test]
    fn a_response_may_have_the_fields_of_upstream_route_and_gateway() {
        let lines = |count| format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(count));
        let head = response_head(lines(100 + 32 + 12).as_bytes()).unwrap();
        assert_eq!((head.status.as_u16(), head.fields.len()), (200, 144));
        assert!(response_head(lines(1000).as_bytes()).is_none());
    }

    #[test]
    fn requests_that_http_1_would_reject_are_rejected() {
        assert_eq!(ask("/", &[]).unwrap_err(), 400, "no host");
        assert_eq!(ask("http://a/", &[("host", "b")]).unwrap_err(), 400);
        assert_eq!(ask("http://user@a/", &[]).unwrap_err(), 400);
        assert_eq!(ask("http://a/", &[("content-length", "x")]).unwrap_err(), 400);
        assert_eq!(ask("http://a/", &[("expect", "more")]).unwrap_err(), 417);
        for (name, value) in [
            ("connection", "close"),
            ("upgrade", "websocket"),
            ("transfer-encoding", "chunked"),
            ("keep-alive", "5"),
            ("te", "gzip"),
        ] {
            assert_eq!(ask("http://a/", &[(name, value)]).unwrap_err(), 400, "{name}");
        }
        assert!(ask("http://a/", &[("te", "trailers")]).is_ok());
        let long = "x".repeat(parse::HEAD_BYTES);
        assert_eq!(ask("http://a/", &[("x", &long)]).unwrap_err(), 431);
        let long = format!("http://a/{}", "x".repeat(parse::TARGET_BYTES));
        assert_eq!(ask(&long, &[]).unwrap_err(), 414);
    }
}
