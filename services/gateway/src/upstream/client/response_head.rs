//! Parser for response heads of upstreams.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{Method, StatusCode};

use crate::digits;
use crate::fields::Fields;
use crate::message::body::{Chunks, Frame};

/// Maximum fields of a head.
const FIELDS: usize = 100;

/// A parsed head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    /// Fields in their original order.
    pub(super) fields: Fields,
    /// The connection persists after this response.
    pub(super) is_persistent: bool,
}

/// The head is malformed.
#[derive(Debug)]
pub(super) struct InvalidHead;

/// Parses a head from the front of `buffer`; `None` if it is incomplete.
pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Head>, InvalidHead> {
    let mut lines = [const { MaybeUninit::uninit() }; FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        buffer,
        &mut lines,
    );
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(InvalidHead),
    };
    let code = response.code.filter(|code| (100..600).contains(code)).ok_or(InvalidHead)?;
    let status = StatusCode::from_u16(code).map_err(|_| InvalidHead)?;
    let is_http11 = response.version == Some(1);
    // Values refer to the received buffer: copying each of them would cost more than parsing the
    // head.
    let begin = buffer.as_ptr().addr();
    let mut lines = Vec::with_capacity(response.headers.len());
    for line in response.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| InvalidHead)?;
        let offset = line.value.as_ptr().addr().saturating_sub(begin);
        lines.push((name, offset, line.value.len()));
    }
    let text = buffer.split_to(length).freeze();
    let mut fields = Fields::with_capacity(lines.len() + 4);
    for (name, offset, count) in lines {
        let value = if count == 0 { Bytes::new() } else { text.slice(offset..offset + count) };
        fields.append(name, HeaderValue::from_maybe_shared(value).map_err(|_| InvalidHead)?);
    }
    if !has_known_end(fields.get_all(TRANSFER_ENCODING)) {
        return Err(InvalidHead);
    }
    let is_persistent =
        is_http11 && !fields.lists(CONNECTION, "close") && has_certain_end(status, &fields);
    Ok(Some(Head { status, fields, is_persistent }))
}

/// Whether the framing by these codings is defined: none, or only `chunked`.
fn has_known_end<'a>(mut codings: impl Iterator<Item = &'a HeaderValue>) -> bool {
    codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        && codings.next().is_none()
}

/// Whether the upstream agrees where the response ends. Otherwise the rest of it would be the
/// response to the next request on the connection: some servers send content with 204, and two
/// framings contradict each other.
fn has_certain_end(status: StatusCode, fields: &Fields) -> bool {
    let has_length = || fields.get_all(CONTENT_LENGTH).any(|length| length != "0");
    if fields.contains_key(TRANSFER_ENCODING) {
        status != StatusCode::NO_CONTENT && !has_length()
    } else {
        status != StatusCode::NO_CONTENT || !has_length()
    }
}

impl Head {
    /// Framing of the body (RFC 9112, section 6.3); `None` if it cannot be determined.
    pub(super) fn frame(&self, method: &Method) -> Option<Frame> {
        if self.status == StatusCode::SWITCHING_PROTOCOLS {
            return Some(Frame::UntilClosed);
        }
        let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
        if *method == Method::HEAD || bodiless.contains(&self.status) {
            return Some(Frame::Done);
        }
        if self.fields.contains_key(TRANSFER_ENCODING) {
            return Some(Frame::Chunked(Chunks::new(false)));
        }
        let mut lengths = self.fields.get_all(CONTENT_LENGTH);
        match (lengths.next(), lengths.next()) {
            (None, _) => Some(Frame::UntilClosed),
            (Some(length), None) => Some(Frame::known(digits::number(length.to_str().ok()?)?)),
            (Some(_), Some(_)) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Option<Head>, InvalidHead> {
        take(&mut BytesMut::from(text))
    }

    fn frame(fields: &str, method: &Method) -> Option<Frame> {
        head(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).unwrap().unwrap().frame(method)
    }

    #[test]
    fn a_head_is_parsed_when_it_is_complete() {
        let text = "HTTP/1.1 200 Fine\r\nA: b\r\na: c\r\n\r\n";
        for cut in 0..text.len() {
            assert!(head(&text[..cut]).unwrap().is_none(), "{cut}");
        }
        let mut buffer = BytesMut::from(&*format!("{text}rest"));
        let taken = take(&mut buffer).unwrap().unwrap();
        assert_eq!((taken.status.as_u16(), &buffer[..]), (200, &b"rest"[..]));
        assert_eq!(taken.fields.get_all("a").collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn a_malformed_head_is_rejected() {
        for text in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 999 x\r\n\r\n",
            "HTTP/1.1 099 x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert!(head(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_response_without_defined_framing_is_rejected() {
        let get = &Method::GET;
        assert_eq!(frame("Content-Length: 5\r\n", get), Some(Frame::Known(5)));
        assert_eq!(frame("Content-Length: 0\r\n", get), Some(Frame::Done));
        assert_eq!(frame("Content-Length: 5\r\n", &Method::HEAD), Some(Frame::Done));
        assert_eq!(frame("", get), Some(Frame::UntilClosed));
        let both = "Transfer-Encoding: Chunked\r\nContent-Length: 5\r\n";
        assert_eq!(frame(both, get), Some(Frame::Chunked(Chunks::new(false))));
        for wrong in ["+5", "5, 5", "", "5\r\nContent-Length: 5"] {
            assert_eq!(frame(&format!("Content-Length: {wrong}\r\n"), get), None, "{wrong}");
        }
    }

    #[test]
    fn a_connection_persists_unless_one_side_closes_it() {
        for (text, lasts) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", false),
        ] {
            assert_eq!(head(text).unwrap().unwrap().is_persistent, lasts, "{text}");
        }
    }

    #[test]
    fn a_connection_does_not_persist_after_an_uncertain_end() {
        let (coding, length) = ("Transfer-Encoding: chunked\r\n", "Content-Length: 5\r\n");
        for (status, fields, lasts) in [
            (204, "", true),
            (204, "Content-Length: 0\r\n", true),
            (204, length, false),
            (204, coding, false),
            (200, coding, true),
            (200, &[coding, length].concat(), false),
            (304, length, true),
        ] {
            let text = format!("HTTP/1.1 {status} x\r\n{fields}\r\n");
            assert_eq!(head(&text).unwrap().unwrap().is_persistent, lasts, "{text}");
        }
    }
}
