//! Entry points of the fuzz targets (`fuzz/`), one per kind of input. Compiled with the feature
//! `fuzzing` only. Each one panics if the property in its comment does not hold.

#![expect(clippy::missing_panics_doc, reason = "a panic is what a fuzz target has to say")]

use bytes::{Bytes, BytesMut};

use crate::cache;
use crate::fleet;
use crate::request::parse::{Body, Head, Length, Progress, end_of_head, read};
use crate::routing::route::{longest, parse, plain};
use crate::upstream::client;

const BODY_BYTES: usize = 256;

/// Parses the bytes of a client: the result does not depend on how they are split, and an accepted
/// head survives serialization and parsing.
pub fn request(bytes: &[u8]) {
    let Some(end) = same_end(bytes) else { return };
    let (head, rest) = bytes.split_at(end);
    let Ok(head) = read(&Bytes::copy_from_slice(head)) else { return };
    check(&head);
    let again = read(&Bytes::from(written(&head))).ok();
    let again = again.as_ref().map(|again| (written(again), again.length));
    assert_eq!(again, Some((written(&head), head.length)), "another head when read again");
    let whole = body(head.length, rest, usize::MAX);
    assert_eq!(whole, body(head.length, rest, 1), "the pieces change the body");
    if let Ok((body, left)) = whole {
        assert!(body.len() <= BODY_BYTES, "more than a body may have");
        assert!(rest.ends_with(&left), "what is left is not the end of what came");
    }
}

/// Parses a path and a route table: normalization of a path is idempotent, and no parser resolves a
/// plain path to another resource.
pub fn route(path: &str) {
    let _ = parse(path);
    let Ok(once) = plain(path) else { return };
    assert_eq!(plain(&once).as_deref(), Ok(&*once), "once is not enough");
    assert!(once.starts_with('/') && once.len() <= path.len(), "something is added");
    // A parser that decodes everything.
    let read: Vec<u8> = percent_encoding::percent_decode_str(&once).collect();
    assert!(!read.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\'), "unsafe bytes");
    let segments: Vec<_> = read.split(|&byte| byte == b'/').skip(1).collect();
    assert_eq!(segments.len() + 1, once.split('/').count(), "an escape was a slash");
    assert!(!segments.iter().any(|segment| matches!(*segment, b"." | b"..")), "dots");
    assert!(segments.iter().rev().skip(1).all(|segment| !segment.is_empty()), "empty segments");
    let table = ["/stats/live", "/stats", "/"];
    if let Ok(read) = String::from_utf8(read) {
        assert_eq!(longest(&read, table), longest(&once, table), "another upstream");
    }
}

/// Parses the bytes of an upstream, head and body: the result does not depend on how they are
/// split.
pub fn response(bytes: &[u8]) {
    assert_eq!(
        client::fuzzing::read(bytes, usize::MAX),
        client::fuzzing::read(bytes, 1),
        "the pieces change the response"
    );
}

/// Evaluates cacheability and `Vary`: the input is the head of a response followed by that of a
/// request.
pub fn cache(bytes: &[u8]) {
    let mut bytes = BytesMut::from(bytes);
    let Some((status, fields)) = client::fuzzing::head(&mut bytes) else { return };
    let request = end_of_head(&bytes, 0).ok().flatten().and_then(|end| {
        let head = bytes.split_to(end).freeze();
        read(&head).ok()
    });
    cache::fuzzing::decide(status, &fields, &request.map(|head| head.fields).unwrap_or_default());
}

/// Parses the event stream of a member and the merged stream of a gateway: the items are the same
/// for every split, and no block exceeds its limit.
pub fn fleet(bytes: &[u8]) {
    let whole = fleet::fuzzing::parsed(bytes, bytes.len().max(1));
    for piece in [1, 7] {
        assert_eq!(whole, fleet::fuzzing::parsed(bytes, piece), "the split changes the items");
    }
}

/// Finds the end of the head in the whole input and byte by byte.
fn same_end(bytes: &[u8]) -> Option<usize> {
    let whole = end_of_head(bytes, 0);
    for count in 0..=bytes.len().min(1024) {
        match end_of_head(&bytes[..count], count.saturating_sub(1)) {
            Ok(None) => {}
            Ok(Some(end)) => {
                assert_eq!((end, whole), (count, Ok(Some(end))), "another end in pieces");
                return Some(end);
            }
            Err(_) => {
                assert!(whole.is_err(), "refused in pieces only");
                return None;
            }
        }
    }
    whole.ok().flatten()
}

fn check(head: &Head) {
    assert!(head.target.starts_with(b"/") && head.target.iter().all(u8::is_ascii_graphic));
    let count = |name| head.fields.get_all(name).count();
    let (lengths, codings) = (count("content-length"), count("transfer-encoding"));
    assert!(count("host") <= 1 && lengths + codings <= 1, "two framings or hosts");
    assert_eq!(head.length == Length::Chunked, codings == 1, "another framing");
    for (name, value) in head.fields.iter() {
        let is_safe = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
        assert!(!name.as_str().is_empty() && value.as_bytes().iter().all(is_safe));
    }
}

fn written(head: &Head) -> Vec<u8> {
    // HTTP/1.0 does not require Host.
    let version: &[u8] = if head.fields.contains_key("host") { b"HTTP/1.1" } else { b"HTTP/1.0" };
    let mut text = [head.method.as_str().as_bytes(), &head.target, version].join(&b' ');
    text.extend(b"\r\n");
    for (name, value) in head.fields.iter() {
        text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    text.extend(b"\r\n");
    text
}

/// The body and the remaining bytes, or the status of the rejection; 0 if the body is incomplete.
fn body(length: Length, sent: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<u8>), u16> {
    let mut body = Body::new(length, BODY_BYTES).map_err(|problem| problem.status.as_u16())?;
    let (mut bytes, mut out) = (BytesMut::new(), Vec::new());
    let mut take = |bytes: &mut BytesMut| -> Result<bool, u16> {
        loop {
            match body.take(bytes).map_err(|problem| problem.status.as_u16())? {
                Progress::Data(data) => {
                    assert!(!data.is_empty(), "an empty piece");
                    out.extend_from_slice(&data);
                }
                progress => return Ok(progress == Progress::Complete),
            }
        }
    };
    let mut is_complete = take(&mut bytes)?;
    for part in sent.chunks(piece.min(sent.len()).max(1)) {
        bytes.extend_from_slice(part);
        is_complete = take(&mut bytes)?;
    }
    if is_complete { Ok((out, bytes.to_vec())) } else { Err(0) }
}
