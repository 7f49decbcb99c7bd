//! Strict parser for request heads (RFC 9112, sections 2 to 6).

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use http::{Method, StatusCode, Version};

use super::{FIELDS, HEAD_BYTES, Refused, TARGET_BYTES, malformed};
use crate::digits;
use crate::fields::Fields;
use crate::message::problem::Problem;

/// Supported methods, as in `Allow` of a 405.
pub(crate) const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

const UNREADABLE: &str = "a field cannot be read";

/// A validated request head.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// One of [`METHODS`].
    pub(crate) method: Method,
    /// HTTP/1.0 or HTTP/1.1.
    pub(crate) version: Version,
    /// Path and optional query, in origin form.
    pub(crate) target: Bytes,
    /// All fields in their original order.
    pub(crate) fields: Fields,
    /// Framing of the body.
    pub(crate) length: Length,
    /// The client waits for 100 (Continue) before it sends the body.
    pub(crate) expects_continue: bool,
    /// Whether the connection persists after this request.
    pub(crate) keeps_alive: bool,
}

/// Framing of a body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Length {
    /// Number of bytes; 0 for most requests.
    Known(u64),
    /// Chunked.
    Chunked,
}

/// Finds the end of the head in `bytes`; the first `seen` bytes were searched before.
///
/// # Errors
/// Returns an error if a line does not end with CRLF, or the head exceeds its maximum size.
pub(crate) fn end_of_head(bytes: &[u8], seen: usize) -> Result<Option<usize>, Refused> {
    // A line end may span the old and the new bytes.
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

/// Whether the first line has the three parts of a request line, but no protocol name. If HTTP/2 is
/// enabled, that is an invalid preface, and the connection closes without a response: an HTTP/2
/// client would interpret an HTTP/1.1 response as a frame (RFC 9113, section 3.4).
pub(crate) fn is_of_no_protocol(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let words: Vec<_> = line.splitn(4, |&byte| byte == b' ').collect();
    matches!(words[..], [_, _, version] if !version.is_empty() && !version.contains(&b'/'))
}

/// Parses a complete head, including its final empty line.
///
/// # Errors
/// Returns the fault in the head.
pub(crate) fn read(head: &Bytes) -> Result<Head, Refused> {
    let mut rest = head.strip_prefix(b"\r\n").unwrap_or(head);
    let line = take_line(&mut rest)?;
    let (method, target, version) = request_line(line)?;
    // Exact capacity: a request that waits for its upstream holds no excess memory.
    let lines = memchr::memchr_iter(b'\n', rest).count();
    let mut fields = Fields::with_capacity(lines.min(FIELDS));
    let mut count = 0;
    // Detecting these names during parsing is cheaper than a search afterwards.
    let (mut is_framed, mut expects, mut is_about_connection) = (false, false, false);
    loop {
        let line = take_line(&mut rest)?;
        if line.is_empty() {
            break;
        }
        count += 1;
        if count > FIELDS {
            return Err(too_large());
        }
        let (name, value) = field(line)?;
        is_framed |= name == CONTENT_LENGTH || name == TRANSFER_ENCODING;
        expects |= name == EXPECT;
        is_about_connection |= name == CONNECTION;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(value));
        fields.append(name, value.map_err(|_| malformed(UNREADABLE))?);
    }
    let method = allowed(method)?;
    let target = origin_form(&method, head.slice_ref(target), version, &fields)?;
    let length = if is_framed { length(version, &fields)? } else { Length::Known(0) };
    let expects_continue = expects && expectation(version, &fields)?;
    let keeps_alive = if is_about_connection {
        keeps_alive(version, &fields)
    } else {
        version != Version::HTTP_10
    };
    Ok(Head { method, version, target, fields, length, expects_continue, keeps_alive })
}

/// Splits off the next line, and removes its line end.
fn take_line<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Refused> {
    let end = memchr::memchr(b'\n', rest).filter(|&end| end > 0 && rest[end - 1] == b'\r');
    let Some(end) = end else {
        return Err(malformed("a line of the head does not end with CR and LF"));
    };
    let line = &rest[..end - 1];
    *rest = &rest[end + 1..];
    Ok(line)
}

fn request_line(line: &[u8]) -> Result<(&[u8], &[u8], Version), Refused> {
    let wrong = || malformed("the request line is not a method, a target and a version");
    let mut parts = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(wrong());
    };
    if method.is_empty() || !method.iter().copied().all(is_token) {
        return Err(malformed("the method is not a token"));
    }
    if target.len() > TARGET_BYTES {
        return Err(target_too_long());
    }
    if target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return Err(malformed("the target has a character that is invalid in a URL"));
    }
    let version = match version {
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/1.0" => Version::HTTP_10,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            let detail = "unsupported version: this port speaks HTTP/1.0 and HTTP/1.1";
            return Err(Problem::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, detail));
        }
        _ => return Err(wrong()),
    };
    Ok((method, target, version))
}

fn field(line: &[u8]) -> Result<(HeaderName, &[u8]), Refused> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(malformed("a field has a second line (obsolete line folding)"));
    }
    let Some(colon) = memchr::memchr(b':', line) else {
        return Err(malformed("a field has no colon"));
    };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().copied().all(is_token) {
        return Err(malformed("the name of a field is not a token, or a space precedes its colon"));
    }
    let value = trim(value);
    // No early exit, so that the compiler can vectorize the loop.
    let is_control = |byte: u8| (byte < b' ' && byte != b'\t') || byte == 0x7f;
    if value.iter().fold(false, |found, &byte| found | is_control(byte)) {
        return Err(malformed("a field has a control character"));
    }
    let name = HeaderName::from_bytes(name).map_err(|_| malformed(UNREADABLE))?;
    Ok((name, value))
}

/// Trims optional white space (RFC 9110, section 5.5).
fn trim(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some(first) = value.iter().position(|byte| !blank(byte)) else { return &value[..0] };
    let last = value.iter().rposition(|byte| !blank(byte)).unwrap_or(first);
    &value[first..=last]
}

/// Token characters (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    const TOKEN: [bool; 256] = {
        let mut token = [false; 256];
        let mut byte = 0_u8;
        while byte < 128 {
            token[byte as usize] = byte.is_ascii_alphanumeric();
            byte += 1;
        }
        let mut others: &[u8] = b"!#$%&'*+-.^_`|~";
        while let [other, rest @ ..] = others {
            token[*other as usize] = true;
            others = rest;
        }
        token
    };
    TOKEN[usize::from(byte)]
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

/// Validates Host, and converts an absolute-form target (RFC 9112, section 3.2.2) to origin form.
fn origin_form(
    method: &Method,
    target: Bytes,
    version: Version,
    fields: &Fields,
) -> Result<Bytes, Refused> {
    let mut hosts = fields.get_all(HOST);
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(malformed("the request has several Host fields"));
    }
    if host.is_none() && version == Version::HTTP_11 {
        return Err(malformed("the request has no Host"));
    }
    if host.is_some_and(|host| !is_authority(host.as_bytes())) {
        return Err(malformed("Host is not a host name with an optional port"));
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
        return Err(malformed("the target is neither a path nor an HTTP URL"));
    };
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.is_empty() || !is_authority(authority) {
        return Err(malformed("the target has no valid host"));
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
        // RFC 9112, section 3.2.1: an empty path is sent as "/".
        Some(b'?') => Ok([b"/", path].concat().into()),
        Some(_) => Err(malformed("the target has a fragment")),
    }
}

fn split_once<'a>(text: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let place = text.windows(at.len()).position(|window| window == at)?;
    Some((&text[..place], &text[place + at.len()..]))
}

/// Whether the text is a host with an optional port (RFC 3986, section 3.2) and without user
/// information. The allowed characters are those of names and addresses, and those that Docker and
/// tests use in names.
pub(crate) fn is_authority(text: &[u8]) -> bool {
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
    // The port may be empty after the colon.
    let is_port = |port| {
        std::str::from_utf8(port)
            .is_ok_and(|port| port.is_empty() || digits::number::<u16>(port).is_some())
    };
    named && port.is_none_or(is_port)
}

fn length(version: Version, fields: &Fields) -> Result<Length, Refused> {
    let mut codings = fields.get_all(TRANSFER_ENCODING);
    let mut lengths = fields.get_all(CONTENT_LENGTH);
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(Length::Known(0)),
        // RFC 9112, section 6.1: potential request smuggling.
        (Some(_), Some(_)) => {
            Err(malformed("the request has both Content-Length and Transfer-Encoding"))
        }
        (Some(coding), None) => {
            if version == Version::HTTP_10 {
                return Err(malformed("HTTP/1.0 has no Transfer-Encoding"));
            }
            if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(malformed("the only supported Transfer-Encoding is chunked, once"));
            }
            Ok(Length::Chunked)
        }
        (None, Some(length)) => {
            let digits = length.as_bytes();
            let number = digits.iter().all(u8::is_ascii_digit) && !digits.is_empty();
            if lengths.next().is_some() || !number {
                return Err(malformed("Content-Length is not a single number"));
            }
            // A number that overflows exceeds every limit.
            let length = length.to_str().ok().and_then(|digits| digits.parse().ok());
            Ok(Length::Known(length.unwrap_or(u64::MAX)))
        }
    }
}

fn expectation(version: Version, fields: &Fields) -> Result<bool, Refused> {
    let mut expected = false;
    for value in fields.get_all(EXPECT) {
        if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") {
            let detail = "the only supported expectation is 100-continue";
            return Err(Problem::new(StatusCode::EXPECTATION_FAILED, detail));
        }
        // RFC 9110, section 10.1.1: the expectation of an HTTP/1.0 client is ignored.
        expected = version == Version::HTTP_11;
    }
    Ok(expected)
}

fn keeps_alive(version: Version, fields: &Fields) -> bool {
    let is_default = version != Version::HTTP_10;
    (is_default || fields.lists(CONNECTION, "keep-alive")) && !fields.lists(CONNECTION, "close")
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
mod tests;
