//! gzip for what an upstream sent plain. Upstreams know best what is worth compressing, and one
//! that does it keeps the first word: an answer with any `Content-Encoding` passes as it is.
//!
//! It happens before the cache takes the answer, so that what comes from memory is compressed once
//! for all who take it. Answers that are short, whose bytes are vouched for by a digest, that
//! must not be changed (`no-transform`), that are event streams or whose type does not shrink pass
//! as they are, and so does everything of a guarded route: a length that depends on a secret and
//! on what an attacker may add tells the secret (BREACH).

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
use crate::message::names_events;

/// A shorter answer fits into one packet in any case.
const LEAST_BYTES: u64 = 1024;

/// Answers that are compressed at the same time. Each takes 280 kB for as long as its client takes
/// to read it, so without a bound slow clients could fill the memory; more answers pass plain.
const MOST_ENCODERS: usize = 64;

/// Text shrinks to within 2 % of what the usual 6 does, in half of the time: 180 MB/s.
const LEVEL: Compression = Compression::new(3);

/// Beside `text/`, `+json` and `+xml`.
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

/// Fields with a digest of the very bytes that are sent (RFC 9530, and what was before it).
const DIGESTS: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];

/// The parts of a request that decide about compression.
pub(crate) struct Asked<'a> {
    /// Its method.
    pub(crate) method: &'a Method,
    /// Its fields.
    pub(crate) fields: &'a Fields,
    /// HTTP/1.0, where a body whose length is not known ends with the connection.
    pub(crate) is_http10: bool,
    /// It had to know a secret.
    pub(crate) requires_auth: bool,
}

/// How an answer goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// As it came.
    AsIs,
    /// As it came, but others get it compressed.
    Varies,
    /// Compressed.
    Gzip,
}

/// The encoders that may be at work at once.
pub(crate) struct Encoders {
    places: Arc<Semaphore>,
    are_on: bool,
}

/// What compresses one body.
pub(crate) struct Encoder {
    gzip: GzEncoder<Vec<u8>>,
    /// The length was not known, so the body may come in its own time: each piece goes on at once.
    flushes: bool,
    _place: OwnedSemaphorePermit,
}

impl Encoders {
    /// None are at work; none ever will be, where they are off.
    pub(crate) fn new(are_on: bool) -> Self {
        Self { places: Arc::new(Semaphore::new(MOST_ENCODERS)), are_on }
    }

    /// Decides, writes the head anew where needed, and gives the encoder for the body if it is to
    /// be compressed. A HEAD has no body, but the fields that a GET would have.
    pub(crate) fn begin(
        &self,
        asked: &Asked<'_>,
        status: StatusCode,
        answer: &mut Fields,
    ) -> Option<Encoder> {
        if !self.are_on {
            return None;
        }
        if status == StatusCode::NOT_MODIFIED {
            revalidate(asked, answer);
            return None;
        }
        let form = form(asked, status, answer);
        if form == Form::AsIs {
            return None;
        }
        vary(answer);
        if form == Form::Varies {
            return None;
        }
        let flushes = !answer.contains_key(CONTENT_LENGTH);
        let encoder = if *asked.method == Method::HEAD {
            None
        } else {
            // Or all are at work.
            let place = self.places.clone().try_acquire_owned().ok()?;
            // Where the upstream has marked no end, none can be promised: such an answer is not
            // kept.
            if answer.remove(CONTENT_LENGTH).is_some() {
                answer.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            Some(Encoder { gzip: GzEncoder::new(Vec::new(), LEVEL), flushes, _place: place })
        };
        answer.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        answer.remove(CONTENT_LENGTH);
        // Ranges would be of the plain form.
        answer.remove(ACCEPT_RANGES);
        weaken(answer);
        encoder
    }
}

impl Encoder {
    /// Takes a piece of the body; what is to be sent now, if there is something.
    ///
    /// # Errors
    /// None that memory could have; the encoder's interface knows them.
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

fn form(asked: &Asked<'_>, status: StatusCode, answer: &Fields) -> Form {
    // Most answers of upstreams that compress by themselves need no further look.
    let passes = status != StatusCode::OK
        || answer.contains_key(CONTENT_ENCODING)
        || asked.requires_auth
        || ![Method::GET, Method::HEAD, Method::POST].contains(asked.method)
        || !is_worthwhile(answer)
        || !answer.get(CONTENT_TYPE).is_some_and(is_compressible)
        || must_stay(answer);
    // A HEAD tells no length when its GET does not, but also when the upstream did not care to find
    // it out: the GET may turn out short.
    let is_unsure = *asked.method == Method::HEAD && !answer.contains_key(CONTENT_LENGTH);
    if passes {
        Form::AsIs
    } else if is_unsure || asked.is_http10 || !Codings::of(asked.fields).takes_gzip() {
        Form::Varies
    } else {
        Form::Gzip
    }
}

fn is_compressible(kind: &HeaderValue) -> bool {
    let Ok(kind) = kind.to_str() else { return false };
    let plain = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    !names_events(kind)
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
            length.is_some_and(|length| length >= LEAST_BYTES)
        }
        // How long it is is in doubt.
        _ => false,
    }
}

/// Whether the upstream said that the bytes must be these.
fn must_stay(answer: &Fields) -> bool {
    let mut directives = members(answer.get_all(CACHE_CONTROL));
    directives.any(|directive| directive.eq_ignore_ascii_case(b"no-transform"))
        || DIGESTS.iter().any(|digest| answer.contains_key(*digest))
}

/// Says that the answer depends on what the client takes.
fn vary(answer: &mut Fields) {
    let known = members(answer.get_all(VARY))
        .any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"));
    if !known {
        answer.append(VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// The same tag may not name two forms byte for byte (RFC 9110, section 8.8.1).
fn weaken(answer: &mut Fields) {
    let strong = answer.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""));
    if let Some(tag) = strong.and_then(|tag| HeaderValue::try_from(weak(tag)).ok()) {
        answer.insert(ETAG, tag);
    }
}

/// An upstream that says "not modified" knows nothing of the weak tag that it was asked about; by
/// its own, a client would not find what it has (RFC 9111, section 4.3.4).
fn revalidate(asked: &Asked<'_>, answer: &mut Fields) {
    let Some(tag) = answer.get(ETAG) else { return };
    let tag = weak(tag);
    let mut lines = asked.fields.get_all(IF_NONE_MATCH);
    if lines.any(|line| line.as_bytes().windows(tag.len()).any(|part| part == tag)) {
        vary(answer);
        weaken(answer);
    }
}

fn weak(tag: &HeaderValue) -> Vec<u8> {
    [b"W/", tag.as_bytes()].concat()
}

/// The members of a list in all its lines.
fn members<'a>(lines: impl Iterator<Item = &'a HeaderValue>) -> impl Iterator<Item = &'a [u8]> {
    lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests;
