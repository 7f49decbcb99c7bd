//! gzip compression of responses. Upstreams know best what is worth compressing, so a response with
//! any `Content-Encoding` is forwarded unchanged.
//!
//! Compression precedes the cache, so a stored response is compressed once for all clients that
//! accept it. These responses are forwarded unchanged: short ones, those with a digest or
//! `no-transform`, event streams, and media types that do not shrink. The same applies to all
//! responses of a protected route: a length that depends on a secret and on attacker-controlled
//! data reveals the secret (BREACH).

use std::io::{self, Write};
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG,
    HeaderValue, IF_NONE_MATCH, TRANSFER_ENCODING, VARY,
};
use http::{Method, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::cache::Codings;
use crate::fields::Fields;
use crate::message::is_event_stream_type;

/// A shorter response fits into one packet anyway.
const MIN_BYTES: u64 = 1024;

/// Maximum concurrent encoders. Each one takes 280 kB until its client has read the response, so
/// without a limit slow clients could exhaust the memory; further responses are not compressed.
const MAX_ENCODERS: usize = 64;

/// The output is within 2 % of the size of the default level 6, in half of the time: 180 MB/s.
const LEVEL: Compression = Compression::new(3);

/// In addition to `text/`, `+json` and `+xml`.
const COMPRESSIBLE: [&str; 9] = [
    "application/javascript",
    "application/json",
    "application/wasm",
    "application/x-javascript",
    "application/x-ndjson",
    "application/xml",
    "application/yaml",
    "font/otf",
    "font/ttf",
];

/// Fields with a digest of the transferred bytes (RFC 9530, and its predecessors).
const DIGESTS: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];

/// Properties of a request that affect compression.
pub(crate) struct RequestInfo<'a> {
    /// Request method.
    pub(crate) method: &'a Method,
    /// Request fields.
    pub(crate) fields: &'a Fields,
    /// HTTP/1.0, where a body of unknown length ends with the connection.
    pub(crate) is_http10: bool,
    /// The route requires authentication.
    pub(crate) requires_auth: bool,
}

/// Form of a response.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// Unchanged.
    AsIs,
    /// Unchanged, but other clients get it compressed.
    Varies,
    /// Compressed.
    Gzip,
}

/// Pool of encoders.
pub(crate) struct Encoders {
    permits: Arc<Semaphore>,
    is_enabled: bool,
}

/// Encoder of one body.
pub(crate) struct Encoder {
    gzip: GzEncoder<Vec<u8>>,
    /// The length is unknown, so the body may arrive slowly: each piece is flushed.
    flushes: bool,
    _permit: OwnedSemaphorePermit,
}

impl Encoders {
    /// Creates a pool; with `is_enabled` false, it never compresses.
    pub(crate) fn new(is_enabled: bool) -> Self {
        Self { permits: Arc::new(Semaphore::new(MAX_ENCODERS)), is_enabled }
    }

    /// Decides about compression, adjusts the response head, and returns the encoder if the body
    /// must be compressed. The head of a response to HEAD equals that to GET.
    pub(crate) fn begin(
        &self,
        request: &RequestInfo<'_>,
        status: StatusCode,
        answer: &mut Fields,
    ) -> Option<Encoder> {
        if !self.is_enabled {
            return None;
        }
        if status == StatusCode::NOT_MODIFIED {
            revalidate(request, answer);
            return None;
        }
        let form = form(request, status, answer);
        if form == Form::AsIs {
            return None;
        }
        vary(answer);
        if form == Form::Varies {
            return None;
        }
        let flushes = !answer.contains_key(CONTENT_LENGTH);
        let encoder = if *request.method == Method::HEAD {
            None
        } else {
            // Without a free encoder, the response is not compressed.
            let permit = self.permits.clone().try_acquire_owned().ok()?;
            // Without framing by the upstream the end is not reliable, so chunked coding is not
            // added: such a response is not stored.
            if answer.remove(CONTENT_LENGTH).is_some() {
                answer.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            Some(Encoder { gzip: GzEncoder::new(Vec::new(), LEVEL), flushes, _permit: permit })
        };
        answer.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        answer.remove(CONTENT_LENGTH);
        // Ranges would refer to the uncompressed form.
        answer.remove(ACCEPT_RANGES);
        weaken(answer);
        encoder
    }
}

impl Encoder {
    /// Compresses a piece of the body; returns the output to send now, if any.
    ///
    /// # Errors
    /// Never occurs with an output in memory; the encoder's interface requires it.
    pub(crate) fn piece(
        &mut self,
        piece: Option<&[u8]>,
        is_end: bool,
    ) -> io::Result<Option<Bytes>> {
        if let Some(piece) = piece.filter(|piece| !piece.is_empty()) {
            self.gzip.write_all(piece)?;
            if self.flushes && !is_end {
                self.gzip.flush()?;
            }
        }
        if is_end {
            self.gzip.try_finish()?;
        }
        let bytes = mem::take(self.gzip.get_mut());
        Ok((!bytes.is_empty()).then(|| bytes.into()))
    }
}

fn form(request: &RequestInfo<'_>, status: StatusCode, answer: &Fields) -> Form {
    // Most responses of upstreams that compress themselves need no further check.
    let passes = status != StatusCode::OK
        || answer.contains_key(CONTENT_ENCODING)
        || request.requires_auth
        || ![Method::GET, Method::HEAD, Method::POST].contains(request.method)
        || !is_worthwhile(answer)
        || !answer.get(CONTENT_TYPE).is_some_and(is_compressible)
        || must_not_transform(answer);
    // A response to HEAD may omit Content-Length because GET does, or because the upstream did not
    // compute it: the GET response may be short.
    let is_unsure = *request.method == Method::HEAD && !answer.contains_key(CONTENT_LENGTH);
    if passes {
        Form::AsIs
    } else if is_unsure || request.is_http10 || !Codings::of(request.fields).accepts_gzip() {
        Form::Varies
    } else {
        Form::Gzip
    }
}

fn is_compressible(kind: &HeaderValue) -> bool {
    let Ok(kind) = kind.to_str() else { return false };
    let plain = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    !is_event_stream_type(kind)
        && (plain.starts_with("text/")
            || plain.ends_with("+json")
            || plain.ends_with("+xml")
            || COMPRESSIBLE.contains(&plain.as_str()))
}

/// Whether the body is long, or may be.
fn is_worthwhile(answer: &Fields) -> bool {
    let mut lengths = answer.get_all(CONTENT_LENGTH);
    match (lengths.next(), lengths.next(), answer.contains_key(TRANSFER_ENCODING)) {
        (None, _, _) => true,
        (Some(length), None, false) => {
            let length = length.to_str().ok().and_then(|length| length.parse::<u64>().ok());
            length.is_some_and(|length| length >= MIN_BYTES)
        }
        // The length is ambiguous.
        _ => false,
    }
}

/// Whether the upstream forbids a transformation.
fn must_not_transform(answer: &Fields) -> bool {
    answer.lists(CACHE_CONTROL, "no-transform")
        || DIGESTS.iter().any(|digest| answer.contains_key(*digest))
}

/// Adds `Accept-Encoding` to `Vary`.
fn vary(answer: &mut Fields) {
    if !answer.lists(VARY, "*") && !answer.lists(VARY, "accept-encoding") {
        answer.append(VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// Weakens the entity tag: a strong tag must not identify two representations with different bytes
/// (RFC 9110, section 8.8.1).
fn weaken(answer: &mut Fields) {
    let strong = answer.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""));
    if let Some(tag) = strong.and_then(|tag| HeaderValue::try_from(weak(tag)).ok()) {
        answer.insert(ETAG, tag);
    }
}

/// An upstream that responds with 304 does not know the weak tag in the condition. With the
/// upstream's strong tag, the client would not find its stored response (RFC 9111, section 4.3.4).
fn revalidate(request: &RequestInfo<'_>, answer: &mut Fields) {
    let Some(tag) = answer.get(ETAG) else { return };
    let tag = weak(tag);
    let mut lines = request.fields.get_all(IF_NONE_MATCH);
    if lines.any(|line| line.as_bytes().windows(tag.len()).any(|part| part == tag)) {
        vary(answer);
        weaken(answer);
    }
}

fn weak(tag: &HeaderValue) -> Vec<u8> {
    [b"W/", tag.as_bytes()].concat()
}

#[cfg(test)]
mod tests;
