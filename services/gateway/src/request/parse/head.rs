//! A request's head (RFC 9112, sections 2 to 6), read strictly.

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use http::{HeaderMap, Method, StatusCode, Version};

use super::{FIELDS, HEAD_BYTES, Refused, TARGET_BYTES, malformed};
use crate::response::problem::Problem;

/// The methods that may pass, as a 405 tells them.
pub(crate) const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// A request's head, beyond doubt.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// One of [`METHODS`].
    pub(crate) method: Method,
    /// 1.0 or 1.1.
    pub(crate) version: Version,
    /// Path and perhaps query, in origin form.
    pub(crate) target: Bytes,
    /// Every field as it came.
    pub(crate) fields: HeaderMap,
    /// How the end of the body is known.
    pub(crate) length: Length,
    /// The client waits for a word before it sends the body.
    pub(crate) expects_continue: bool,
    /// Whether the client will send another request on this connection.
    pub(crate) keeps_alive: bool,
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Length {
    /// So many bytes; none for most requests.
    Known(u64),
    /// In chunks.
    Chunked,
}

/// Where the head ends, when it does within `bytes`; `seen` of them were looked at before.
///
/// # Errors
/// A line that ends otherwise than by CRLF, or more bytes than a head may have.
pub(crate) fn end_of_head(bytes: &[u8], seen: usize) -> Result<Option<usize>, Refused> {
    // A line end may stand astride what was seen and what is new.
    let mut from = seen.saturating_sub(3);
    while let Some(offset) = bytes.get(from..).and_then(|rest| memchr::memchr(b'\n', rest)) {
        let end = from + offset;
        if end == 0 || bytes.get(end - 1) != Some(&b'\r') {
            return Err(malformed("a line of the head does not end with CR and LF"));
        }
        // One empty line before a request is tolerated (RFC 9112, section 2.2).
        if end >= 3 && bytes.get(end - 3..end) == Some(b"\r\n\r") && end > 3 {
            return if end < HEAD_BYTES { Ok(Some(end + 1)) } else { Err(too_large()) };
        }
        from = end + 1;
    }
    if bytes.len() >= HEAD_BYTES {
        let line = memchr::memchr(b'\n', bytes);
        return Err(if line.is_none_or(|end| end > TARGET_BYTES) {
            target_too_long()
        } else {
            too_large()
        });
    }
    Ok(None)
}

/// Reads a head that is complete, its last empty line included.
///
/// # Errors
/// With what is wrong with it.
pub(crate) fn read(head: &Bytes) -> Result<Head, Refused> {
    let text = head.strip_prefix(b"\r\n").unwrap_or(head);
    let mut rest = head.slice(head.len() - text.len()..);
    let line = take_line(&mut rest)?;
    let (method, target, version) = request_line(&line)?;
    let mut fields = HeaderMap::with_capacity(16);
    let mut count = 0;
    loop {
        let line = take_line(&mut rest)?;
        if line.is_empty() {
            break;
        }
        count += 1;
        if count > FIELDS {
            return Err(too_large());
        }
        let (name, value) = field(&line)?;
        fields.append(name, value);
    }
    let method = allowed(&method)?;
    let target = origin_form(&method, target, version, &fields)?;
    let length = length(version, &fields)?;
    let expects_continue = expectation(version, &fields)?;
    let keeps_alive = keeps_alive(version, &fields);
    Ok(Head { method, version, target, fields, length, expects_continue, keeps_alive })
}

/// The next line without its end.
fn take_line(rest: &mut Bytes) -> Result<Bytes, Refused> {
    let end = memchr::memchr(b'\n', rest).filter(|&end| end > 0 && rest[end - 1] == b'\r');
    let Some(end) = end else {
        return Err(malformed("a line of the head does not end with CR and LF"));
    };
    let mut line = rest.split_to(end + 1);
    line.truncate(end - 1);
    Ok(line)
}

fn request_line(line: &Bytes) -> Result<(Bytes, Bytes, Version), Refused> {
    let wrong = || malformed("the request line is not a method, a target and a version");
    let mut parts = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(wrong());
    };
    if method.is_empty() || !method.iter().copied().all(is_token) {
        return Err(malformed("the method is no word"));
    }
    if target.len() > TARGET_BYTES {
        return Err(target_too_long());
    }
    if target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return Err(malformed("the target has a character that is none of a URL"));
    }
    let version = match version {
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/1.0" => Version::HTTP_10,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            let detail = "the gateway speaks HTTP/1.1 and HTTP/1.0 here";
            return Err(Problem::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, detail));
        }
        _ => return Err(wrong()),
    };
    Ok((line.slice_ref(method), line.slice_ref(target), version))
}

fn field(line: &Bytes) -> Result<(HeaderName, HeaderValue), Refused> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(malformed("a field goes on in a second line"));
    }
    let Some(colon) = memchr::memchr(b':', line) else {
        return Err(malformed("a field has no colon"));
    };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().copied().all(is_token) {
        return Err(malformed(
            "the name of a field is no word, or a space stands before its colon",
        ));
    }
    let value = trim(value);
    if value.iter().any(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
        return Err(malformed("a field has a control character"));
    }
    match (HeaderName::from_bytes(name), HeaderValue::from_maybe_shared(line.slice_ref(value))) {
        (Ok(name), Ok(value)) => Ok((name, value)),
        _ => Err(malformed("a field cannot be read")),
    }
}

/// RFC 9110, section 5.5: white space around a value is none of it.
fn trim(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some(first) = value.iter().position(|byte| !blank(byte)) else { return &value[..0] };
    let last = value.iter().rposition(|byte| !blank(byte)).unwrap_or(first);
    &value[first..=last]
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn allowed(method: &[u8]) -> Result<Method, Refused> {
    Ok(match method {
        b"GET" => Method::GET,
        b"HEAD" => Method::HEAD,
        b"POST" => Method::POST,
        b"PUT" => Method::PUT,
        b"PATCH" => Method::PATCH,
        b"DELETE" => Method::DELETE,
        b"OPTIONS" => Method::OPTIONS,
        _ => return Err(Problem::method_not_allowed(METHODS)),
    })
}

/// Checks Host, and makes a target that names a host (RFC 9112, section 3.2.2) one that does not.
fn origin_form(
    method: &Method,
    target: Bytes,
    version: Version,
    fields: &HeaderMap,
) -> Result<Bytes, Refused> {
    let mut hosts = fields.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(malformed("the request has several Host fields"));
    }
    if host.is_none() && version == Version::HTTP_11 {
        return Err(malformed("the request has no Host"));
    }
    if host.is_some_and(|host| !is_authority(host.as_bytes())) {
        return Err(malformed("the Host is not a host and perhaps a port"));
    }
    if target.starts_with(b"/") {
        return Ok(target);
    }
    if &target[..] == b"*" {
        return Err(if *method == Method::OPTIONS {
            Problem::method_not_allowed("GET, HEAD")
        } else {
            malformed("the target is not a path")
        });
    }
    let Some((scheme, rest)) = split_once(&target, b"://") else {
        return Err(malformed("the target is neither a path nor a URL"));
    };
    let default_port = if scheme.eq_ignore_ascii_case(b"http") {
        ":80"
    } else if scheme.eq_ignore_ascii_case(b"https") {
        ":443"
    } else {
        return Err(malformed("the target is neither a path nor a URL of HTTP"));
    };
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.is_empty() || !is_authority(authority) {
        return Err(malformed("the target names no host"));
    }
    let plain = |authority: &[u8]| {
        let mut authority = authority.to_ascii_lowercase();
        if authority.ends_with(default_port.as_bytes()) {
            authority.truncate(authority.len() - default_port.len());
        }
        authority
    };
    if host.is_some_and(|host| plain(host.as_bytes()) != plain(authority)) {
        return Err(malformed("the target names another host than Host"));
    }
    match path.first() {
        Some(b'/') => Ok(target.slice_ref(path)),
        None => Ok(Bytes::from_static(b"/")),
        Some(_) => Err(malformed("the target has no path")),
    }
}

fn split_once<'a>(text: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let place = text.windows(at.len()).position(|window| window == at)?;
    Some((&text[..place], &text[place + at.len()..]))
}

/// A host and perhaps a port (RFC 3986, section 3.2), without user information. The letters are
/// those of names, addresses and what Docker and tests put into names.
fn is_authority(text: &[u8]) -> bool {
    let (host, port) = match text.strip_prefix(b"[") {
        Some(rest) => {
            let Some((address, rest)) = split_once(rest, b"]") else { return false };
            let address = std::str::from_utf8(address).unwrap_or_default();
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            match rest {
                [] => return true,
                [b':', port @ ..] => (&b"v6"[..], Some(port)),
                _ => return false,
            }
        }
        None => match text.iter().position(|&byte| byte == b':') {
            Some(colon) => (&text[..colon], Some(&text[colon + 1..])),
            None => (text, None),
        },
    };
    let named = !host.is_empty()
        && host.len() <= 255
        && host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(byte));
    let is_port = |port: &[u8]| match std::str::from_utf8(port) {
        // A colon alone is allowed.
        Ok("") => true,
        Ok(digits) => {
            digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
        }
        Err(_) => false,
    };
    named && port.is_none_or(is_port)
}

fn length(version: Version, fields: &HeaderMap) -> Result<Length, Refused> {
    let mut codings = fields.get_all(TRANSFER_ENCODING).iter();
    let mut lengths = fields.get_all(CONTENT_LENGTH).iter();
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(Length::Known(0)),
        // RFC 9112, section 6.1: an attempt at request smuggling.
        (Some(_), Some(_)) => {
            Err(malformed("the request has both Content-Length and Transfer-Encoding"))
        }
        (Some(coding), None) => {
            if version == Version::HTTP_10 {
                return Err(malformed("HTTP/1.0 has no Transfer-Encoding"));
            }
            if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(malformed("the only Transfer-Encoding here is chunked, once"));
            }
            Ok(Length::Chunked)
        }
        (None, Some(length)) => {
            let digits = length.as_bytes();
            let number = digits.iter().all(u8::is_ascii_digit) && !digits.is_empty();
            if lengths.next().is_some() || !number {
                return Err(malformed("the Content-Length is not one number"));
            }
            // More digits than a number has are more bytes than there can be.
            let length = length.to_str().ok().and_then(|digits| digits.parse().ok());
            Ok(Length::Known(length.unwrap_or(u64::MAX)))
        }
    }
}

fn expectation(version: Version, fields: &HeaderMap) -> Result<bool, Refused> {
    let mut expected = false;
    for value in fields.get_all(EXPECT) {
        if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") {
            let detail = "the only expectation that can be met is 100-continue";
            return Err(Problem::new(StatusCode::EXPECTATION_FAILED, detail));
        }
        // RFC 9110, section 10.1.1: that of an older client means nothing.
        expected = version == Version::HTTP_11;
    }
    Ok(expected)
}

fn keeps_alive(version: Version, fields: &HeaderMap) -> bool {
    let names = |wanted: &str| {
        fields.get_all(CONNECTION).iter().any(|value| {
            let mut options = value.as_bytes().split(|&byte| byte == b',').map(trim);
            options.any(|option| option.eq_ignore_ascii_case(wanted.as_bytes()))
        })
    };
    if version == Version::HTTP_10 {
        names("keep-alive") && !names("close")
    } else {
        !names("close")
    }
}

fn too_large() -> Refused {
    let detail = format!("the head has more than {HEAD_BYTES} bytes or {FIELDS} fields");
    Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, detail)
}

fn target_too_long() -> Refused {
    let detail = format!("the target has more than {TARGET_BYTES} bytes");
    Problem::new(StatusCode::URI_TOO_LONG, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &[&str]) -> Bytes {
        Bytes::from(lines.join("\r\n") + "\r\n\r\n")
    }

    fn status(lines: &[&str]) -> u16 {
        read(&head(lines)).map_or_else(|problem| problem.status.as_u16(), |_| 200)
    }

    #[test]
    fn a_plain_request_is_read() {
        let head = read(&head(&["GET /stats?x=1 HTTP/1.1", "Host: a:80", "X: \t y "])).unwrap();
        assert_eq!((head.method, &head.target[..]), (Method::GET, &b"/stats?x=1"[..]));
        assert_eq!(head.fields["x"], "y");
        assert_eq!(head.length, Length::Known(0));
        assert!(head.keeps_alive && !head.expects_continue);
    }

    #[test]
    fn the_end_is_found_however_the_bytes_come() {
        let whole = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET";
        for cut in 0..26 {
            assert_eq!(end_of_head(&whole[..cut], cut.saturating_sub(1)).unwrap(), None, "{cut}");
        }
        for seen in 0..26 {
            assert_eq!(end_of_head(whole, seen).unwrap(), Some(27), "{seen}");
        }
        assert_eq!(end_of_head(b"\r\nGET / HTTP/1.1\r\n\r\n", 0).unwrap(), Some(20));
    }

    #[test]
    fn a_line_feed_alone_ends_nothing() {
        assert!(end_of_head(b"GET / HTTP/1.1\nHost: a\n\n", 0).is_err());
        assert!(end_of_head(b"\n", 0).is_err());
        assert!(read(&Bytes::from_static(b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n")).is_err());
    }

    #[test]
    fn what_is_too_long_has_its_own_status() {
        let long = "a".repeat(HEAD_BYTES);
        let unended = |text: &str| end_of_head(text.as_bytes(), 0).unwrap_err().status.as_u16();
        assert_eq!(unended(&long), 414);
        assert_eq!(unended(&format!("GET / HTTP/1.1\r\nX: {long}")), 431);
        let target = format!("GET /{} HTTP/1.1", "a".repeat(TARGET_BYTES));
        assert_eq!(status(&[&target, "Host: a"]), 414);
        let mut many = vec!["GET / HTTP/1.1", "Host: a"];
        many.resize(FIELDS + 2, "X: y");
        assert_eq!(status(&many), 431);
        many.pop();
        assert_eq!(status(&many), 200);
    }

    #[test]
    fn request_lines_have_three_parts_and_nothing_else() {
        for (line, wanted) in [
            ("GET  / HTTP/1.1", 400),
            (" GET / HTTP/1.1", 400),
            ("GET / HTTP/1.1 ", 400),
            ("GET\t/ HTTP/1.1", 400),
            ("GET / http/1.1", 400),
            ("GET /", 400),
            ("GET / HTTP/2.0", 505),
            ("G(T / HTTP/1.1", 400),
            ("BREW / HTTP/1.1", 405),
            ("get / HTTP/1.1", 405),
            ("GET /\u{e9} HTTP/1.1", 400),
            ("GET * HTTP/1.1", 400),
            ("OPTIONS * HTTP/1.1", 405),
            ("GET http://a/x HTTP/1.1", 200),
            ("GET http://a:80 HTTP/1.1", 200),
            ("GET http://b/ HTTP/1.1", 400),
            ("GET http://u@a/ HTTP/1.1", 400),
            ("GET ftp://a/ HTTP/1.1", 400),
        ] {
            assert_eq!(status(&[line, "Host: a"]), wanted, "{line}");
        }
    }

    #[test]
    fn the_host_is_one_and_a_host() {
        assert_eq!(status(&["GET / HTTP/1.1"]), 400);
        assert_eq!(status(&["GET / HTTP/1.0"]), 200);
        assert_eq!(status(&["GET / HTTP/1.1", "Host: a", "Host: a"]), 400);
        for (host, wanted) in [
            ("localhost:3050", 200),
            ("[::1]:3050", 200),
            ("[::1]", 200),
            ("my_app.a-b", 200),
            ("", 400),
            ("a b", 400),
            ("a,b", 400),
            ("u@a", 400),
            ("a/b", 400),
            ("a:b", 400),
            ("a:123456", 400),
            ("a:65536", 400),
            ("[::1", 400),
            ("[x]:1", 400),
        ] {
            assert_eq!(status(&["GET / HTTP/1.1", &format!("Host: {host}")]), wanted, "{host}");
        }
    }

    #[test]
    fn the_end_of_a_body_is_known_in_one_way() {
        let length = |lines: &[&str]| {
            let mut all = vec!["POST / HTTP/1.1", "Host: a"];
            all.extend(lines);
            read(&head(&all)).map(|head| head.length).ok()
        };
        assert_eq!(length(&["Content-Length: 5"]), Some(Length::Known(5)));
        assert_eq!(length(&["Transfer-Encoding: Chunked"]), Some(Length::Chunked));
        let most = "Content-Length: 99999999999999999999999";
        assert_eq!(length(&[most]), Some(Length::Known(u64::MAX)));
        for wrong in [
            &["Content-Length: 5", "Content-Length: 5"][..],
            &["Content-Length: 5, 5"],
            &["Content-Length: +5"],
            &["Content-Length: -5"],
            &["Content-Length: 0x5"],
            &["Content-Length:"],
            &["Content-Length: 5", "Transfer-Encoding: chunked"],
            &["Transfer-Encoding: identity"],
            &["Transfer-Encoding: gzip, chunked"],
            &["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
            &["Transfer-Encoding: \u{b}chunked"],
            &["Transfer-Encoding : chunked"],
            &["X: y", " Transfer-Encoding: chunked"],
        ] {
            assert_eq!(length(wrong), None, "{wrong:?}");
        }
        assert_eq!(status(&["POST / HTTP/1.0", "Transfer-Encoding: chunked"]), 400);
    }

    #[test]
    fn a_connection_goes_on_as_its_version_says() {
        let keeps = |version: &str, value: &str| {
            let line = format!("GET / HTTP/{version}");
            read(&head(&[&line, "Host: a", &format!("Connection: {value}")])).unwrap().keeps_alive
        };
        assert!(keeps("1.1", "x"));
        assert!(!keeps("1.1", "x, Close"));
        assert!(!keeps("1.0", "x"));
        assert!(keeps("1.0", "Keep-Alive"));
    }

    #[test]
    fn only_one_expectation_can_be_met() {
        let expects = |value: &str| {
            read(&head(&["POST / HTTP/1.1", "Host: a", &format!("Expect: {value}")]))
                .map(|head| head.expects_continue)
                .map_err(|problem| problem.status.as_u16())
        };
        assert_eq!(expects("100-Continue"), Ok(true));
        assert_eq!(expects("200-ok"), Err(417));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes: Vec<u8>) {
            let _ = end_of_head(&bytes, 0);
            let _ = read(&Bytes::from(bytes));
        }

        #[test]
        fn what_is_read_has_one_host_and_one_length(text in "GET /[a-z%.]{0,9} HTTP/1\\.[01]\r\n((Host|Content-Length|Transfer-Encoding|X): ?[a-z0-9, ]{0,8}\r\n){0,4}\r\n") {
            if let Ok(head) = read(&Bytes::from(text)) {
                proptest::prop_assert!(head.fields.get_all(HOST).iter().count() <= 1);
                let lengths = head.fields.get_all(CONTENT_LENGTH).iter().count();
                proptest::prop_assert!(lengths + head.fields.get_all(TRANSFER_ENCODING).iter().count() <= 1);
            }
        }
    }
}
