#![no_main]

/// A folder, so that `parse` finds its own modules.
#[expect(dead_code, reason = "what is read is not acted upon")]
#[path = "../../src/request"]
mod source {
    pub(crate) mod parse;
}

/// A stand-in: what is said of a refusal does not matter here.
mod response {
    pub(crate) mod problem {
        use http::StatusCode;

        #[derive(Clone, Debug, PartialEq)]
        pub(crate) struct Problem {
            pub(crate) status: StatusCode,
        }

        impl Problem {
            pub(crate) fn new(status: StatusCode, _: impl Into<String>) -> Self {
                Self { status }
            }

            pub(crate) fn method_not_allowed(_: &'static str) -> Self {
                Self { status: StatusCode::METHOD_NOT_ALLOWED }
            }

            pub(crate) fn too_large(_: usize) -> Self {
                Self { status: StatusCode::PAYLOAD_TOO_LARGE }
            }
        }
    }
}

use bytes::{Bytes, BytesMut};
use source::parse::{Body, Head, Length, Progress, end_of_head, read};

const BODY_BYTES: usize = 256;

// Whatever a client may send: the same is made of it however the bytes come, and what is accepted
// says the same when it is written out and read again.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(end) = same_end(bytes) else { return };
    let (head, rest) = bytes.split_at(end);
    let Ok(head) = read(&Bytes::copy_from_slice(head)) else { return };
    check(&head);
    let again = read(&Bytes::from(written(&head))).expect("it was read before");
    assert_eq!(written(&again), written(&head));
    assert_eq!(again.length, head.length);
    let whole = taken(head.length, rest, usize::MAX);
    assert_eq!(whole, taken(head.length, rest, 1), "the pieces change the body");
    if let Ok((body, left)) = whole {
        assert!(body.len() <= BODY_BYTES);
        assert!(rest.ends_with(&left), "what is left is not the end of what came");
    }
});

/// The end of the head, found at once and byte by byte.
fn same_end(bytes: &[u8]) -> Option<usize> {
    let whole = end_of_head(bytes, 0);
    for count in 0..=bytes.len().min(1024) {
        match end_of_head(&bytes[..count], count.saturating_sub(1)) {
            Ok(None) => {}
            Ok(Some(end)) => {
                assert_eq!((end, whole), (count, Ok(Some(end))));
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
    assert!(head.target.starts_with(b"/"));
    assert!(head.target.iter().all(u8::is_ascii_graphic));
    let count = |name| head.fields.get_all(name).iter().count();
    let (lengths, codings) = (count("content-length"), count("transfer-encoding"));
    assert!(count("host") <= 1 && lengths + codings <= 1);
    assert_eq!(head.length == Length::Chunked, codings == 1);
    for (name, value) in &head.fields {
        assert!(!name.as_str().is_empty());
        assert!(value.as_bytes().iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f)));
    }
}

fn written(head: &Head) -> Vec<u8> {
    let first = [head.method.as_str().as_bytes(), &head.target, b"HTTP/1.1"].join(&b' ');
    let mut text = [&first, &b"\r\n"[..]].concat();
    if !head.fields.contains_key("host") {
        // One of HTTP/1.0, which needs none.
        text = [&text[..text.len() - 3], b"0\r\n"].concat();
    }
    for (name, value) in &head.fields {
        text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    text.extend(b"\r\n");
    text
}

/// The body and what is left behind it, or the status of the refusal; 0 when more must come.
fn taken(length: Length, sent: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<u8>), u16> {
    let status = |problem: response::problem::Problem| problem.status.as_u16();
    let mut body = Body::new(length, BODY_BYTES).map_err(status)?;
    let (mut bytes, mut out) = (BytesMut::new(), Vec::new());
    let mut take = |bytes: &mut BytesMut| -> Result<bool, u16> {
        loop {
            match body.take(bytes).map_err(status)? {
                Progress::Data(data) => {
                    assert!(!data.is_empty());
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
