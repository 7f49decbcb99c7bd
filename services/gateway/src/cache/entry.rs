//! Stored response: its serialized head, its body, and their metadata.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{
    AGE, CONNECTION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, DATE, ETAG, HeaderName, LAST_MODIFIED, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    STRICT_TRANSPORT_SECURITY, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderValue, StatusCode};

use super::freshness::{Freshness, Moment, Refusal, date};
use crate::digits;
use crate::fields::Fields;
use crate::message::head::{field, status_line};
use crate::request::field_rules::FieldRules;

/// Hop-by-hop fields (RFC 9110, section 7.6.1), and fields that are generated for each response.
pub(super) const NOT_STORED: [HeaderName; 13] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authentication-info"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    AGE,
    CONTENT_LENGTH,
    // Identifies the one request that fetched the response.
    HeaderName::from_static("x-request-id"),
];

/// Fields that describe the content; a 304 does not include them.
const CONTENT_FIELDS: [HeaderName; 4] =
    [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_RANGE, CONTENT_TYPE];

/// Serialized status line and fields.
#[derive(Debug)]
struct Text {
    /// Head of the response, without the empty line.
    full: Vec<u8>,
    /// Offset in `full` where the fields end; `Content-Length` follows.
    fields_end: usize,
    /// Head of the 304 to a client that has the response.
    not_modified: Vec<u8>,
    has_hsts: bool,
}

impl Text {
    fn new(status: StatusCode, headers: &Fields, now: Moment) -> Self {
        let mut full = Vec::with_capacity(1024);
        let mut not_modified = Vec::with_capacity(512);
        let tagged = headers.contains_key(ETAG);
        status_line(&mut full, status);
        status_line(&mut not_modified, StatusCode::NOT_MODIFIED);
        let nominated = nominated(headers);
        let mut has_hsts = false;
        for (name, value) in headers.iter() {
            if NOT_STORED.contains(name) || nominated.contains(name) {
                continue;
            }
            // RFC 6797, section 7.1: only one field.
            if name == STRICT_TRANSPORT_SECURITY && std::mem::replace(&mut has_hsts, true) {
                continue;
            }
            field(&mut full, name.as_str(), value.as_bytes());
            // RFC 9110, section 15.4.5.
            let of_content = CONTENT_FIELDS.contains(name) || (tagged && name == LAST_MODIFIED);
            if !of_content {
                field(&mut not_modified, name.as_str(), value.as_bytes());
            }
        }
        if !headers.contains_key(DATE) {
            // RFC 9110, section 6.6.1: a recipient that stores a response without `Date` adds the
            // time of receipt.
            let date = httpdate::fmt_http_date(now.unix);
            field(&mut full, DATE.as_str(), date.as_bytes());
            field(&mut not_modified, DATE.as_str(), date.as_bytes());
        }
        Self { fields_end: full.len(), full, not_modified, has_hsts }
    }

    /// Serializes the head with a route's field rules applied.
    fn edited(status: StatusCode, headers: &Fields, now: Moment, edits: &FieldRules) -> Self {
        let mut headers = headers.clone();
        for name in nominated(&headers) {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
        edits.apply(&mut headers);
        Self::new(status, &headers, now)
    }

    fn bytes(&self) -> usize {
        self.full.len() + self.not_modified.len()
    }

    /// Appends the length of the complete body.
    fn finish(&mut self, status: StatusCode, length: usize) {
        // RFC 9110, section 8.6.
        if status != StatusCode::NO_CONTENT {
            field(&mut self.full, CONTENT_LENGTH.as_str(), length.to_string().as_bytes());
        }
        self.full.shrink_to_fit();
        self.not_modified.shrink_to_fit();
    }
}

/// Head of a stored response.
#[derive(Debug)]
pub(super) struct Head {
    status: StatusCode,
    /// As the upstream sent it.
    text: Text,
    /// As clients receive it, where a route changes fields.
    edited: Option<Box<Text>>,
    pub(super) etag: Option<HeaderValue>,
    pub(super) modified: Option<SystemTime>,
    /// It has a content coding, possibly applied by the gateway.
    pub(super) is_coded: bool,
    /// Its language in lower case, if there is exactly one.
    pub(super) language: Option<Box<str>>,
    /// Original `Last-Modified`, for revalidation.
    pub(super) last_modified: Option<HeaderValue>,
    pub(super) freshness: Freshness,
}

impl Head {
    /// Head of a response that may be stored. It copies all values: a reference would keep whole
    /// receive buffers alive.
    pub(super) fn new(
        status: StatusCode,
        headers: &Fields,
        freshness: Freshness,
        now: Moment,
        edits: Option<&FieldRules>,
    ) -> Self {
        Self {
            status,
            text: Text::new(status, headers, now),
            edited: edits.map(|edits| Box::new(Text::edited(status, headers, now, edits))),
            etag: headers.get(ETAG).and_then(detached),
            is_coded: headers.contains_key(CONTENT_ENCODING),
            language: language(headers),
            last_modified: headers.get(LAST_MODIFIED).and_then(detached),
            // RFC 9111, section 4.3.2.
            modified: date(headers, LAST_MODIFIED).or_else(|| date(headers, DATE)),
            freshness,
        }
    }

    /// The head that clients receive.
    fn sent(&self) -> &Text {
        self.edited.as_deref().unwrap_or(&self.text)
    }

    /// Whether another fetch certainly returns the same bytes, so that parts can be combined. With a
    /// content coding and no strong tag, the gateway may have compressed it, and the result depends
    /// on the pieces in which the response arrived.
    pub(super) fn has_stable_bytes(&self) -> bool {
        let is_strong = |tag: &HeaderValue| tag.as_bytes().starts_with(b"\"");
        !self.is_coded || self.etag.as_ref().is_some_and(is_strong)
    }

    /// Whether clients receive `Strict-Transport-Security`.
    pub(super) fn has_hsts(&self) -> bool {
        self.sent().has_hsts
    }

    /// Memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        let length = |value: &Option<HeaderValue>| value.as_ref().map_or(0, HeaderValue::len);
        let language = self.language.as_ref().map_or(0, |language| language.len());
        let validators = length(&self.etag) + length(&self.last_modified) + language;
        let edited = self.edited.as_ref().map_or(0, |edited| edited.bytes());
        self.text.bytes() + edited + validators
    }

    /// The fields as the upstream sent them, without `Content-Length`.
    pub(super) fn fields(&self) -> Fields {
        let lines = self.text.full.split(|&byte| byte == b'\n').skip(1);
        lines
            .filter_map(|line| {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let end = line.iter().position(|&byte| byte == b':')?;
                let (name, value) = line.split_at(end);
                let name = HeaderName::from_bytes(name).ok()?;
                let value = HeaderValue::from_bytes(value.get(2..)?).ok()?;
                (name != CONTENT_LENGTH).then_some((name, value))
            })
            .collect()
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// Combines the head with its complete body.
    pub(super) fn with(mut self, body: Bytes) -> CacheEntry {
        self.text.finish(self.status, body.len());
        if let Some(edited) = &mut self.edited {
            edited.finish(self.status, body.len());
        }
        CacheEntry { head: self, body }
    }
}

/// Stored response.
#[derive(Debug)]
pub(super) struct CacheEntry {
    head: Head,
    body: Bytes,
}

impl CacheEntry {
    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    pub(super) fn freshness(&self) -> &Freshness {
        &self.head.freshness
    }

    pub(super) fn full(&self) -> &[u8] {
        &self.head.sent().full
    }

    /// The serialized fields, without status line and `Content-Length`.
    pub(super) fn fields(&self) -> &[u8] {
        let Text { full, fields_end, .. } = self.head.sent();
        let line_end = full.iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        full.get(line_end..*fields_end).unwrap_or_default()
    }

    pub(super) fn not_modified(&self) -> &[u8] {
        &self.head.sent().not_modified
    }

    pub(super) fn body(&self) -> &Bytes {
        &self.body
    }

    /// Memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.head.bytes() + self.body.len()
    }
}

/// The language of a response that has exactly one.
fn language(headers: &Fields) -> Option<Box<str>> {
    let line = headers.only(CONTENT_LANGUAGE)?.to_str().ok()?.trim();
    let is_tag = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_one = !line.is_empty() && line.len() <= 64 && line.bytes().all(is_tag);
    is_one.then(|| line.to_ascii_lowercase().into())
}

/// A copy that keeps no larger buffer alive.
fn detached(value: &HeaderValue) -> Option<HeaderValue> {
    HeaderValue::from_bytes(value.as_bytes()).ok()
}

/// The fields that `Connection` lists.
pub(super) fn nominated(headers: &Fields) -> Vec<HeaderName> {
    headers.members(CONNECTION).filter_map(|name| HeaderName::from_bytes(name).ok()).collect()
}

/// Length of the body; `None` if chunked framing marks its end.
pub(super) fn body_length(status: StatusCode, headers: &Fields) -> Result<Option<usize>, Refusal> {
    if status == StatusCode::NO_CONTENT {
        return Ok(Some(0));
    }
    let number = |line: &HeaderValue| digits::number(line.to_str().ok()?);
    let mut codings = headers.get_all(TRANSFER_ENCODING);
    let mut lengths = headers.get_all(CONTENT_LENGTH);
    match (codings.next(), codings.next(), lengths.next(), lengths.next()) {
        (None, _, Some(length), None) => Ok(Some(number(length).ok_or(Refusal::Framing)?)),
        (Some(coding), None, None, _) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            Ok(None)
        }
        _ => Err(Refusal::Framing),
    }
}
