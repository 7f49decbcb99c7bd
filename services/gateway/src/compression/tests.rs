use std::io::Read;

use flate2::read::GzDecoder;
use proptest::prelude::*;

use super::*;
use crate::fields::Fields;

const LONG: &str = "content-length: 5000";

fn get(fields: &Fields) -> RequestInfo<'_> {
    static GET: Method = Method::GET;
    RequestInfo { method: &GET, fields, is_http10: false, requires_auth: false }
}

fn head(status: u16, lines: &[&str]) -> (StatusCode, Fields) {
    (StatusCode::from_u16(status).unwrap(), Fields::of_lines(lines))
}

fn form_of(lines: &[&str]) -> Form {
    let fields = Fields::of_lines(&["accept-encoding: gzip"]);
    let request = get(&fields);
    form(&request, StatusCode::OK, &Fields::of_lines(lines))
}

/// The resulting head, and whether the body is compressed.
fn sent(
    method: &Method,
    request: &[&str],
    (status, mut answer): (StatusCode, Fields),
) -> (Fields, bool) {
    let fields = Fields::of_lines(request);
    let request = RequestInfo { method, fields: &fields, is_http10: false, requires_auth: false };
    let encoder = Encoders::new(true).begin(&request, status, &mut answer);
    (answer, encoder.is_some())
}

#[test]
fn text_of_sufficient_or_unknown_length_is_compressed() {
    for kind in [
        "text/html; charset=utf-8",
        "Text/Plain",
        "application/json",
        "application/problem+json",
        "application/javascript",
        "application/xml",
        "application/atom+xml",
        "image/svg+xml",
        "application/wasm",
    ] {
        let kind = format!("content-type: {kind}");
        assert_eq!(form_of(&[&kind, LONG]), Form::Gzip, "{kind}");
        assert_eq!(form_of(&[&kind, "transfer-encoding: chunked"]), Form::Gzip, "{kind}");
    }
    assert_eq!(form_of(&["content-type: text/css", "content-length: 1024"]), Form::Gzip);
}

#[test]
fn unsuitable_responses_are_forwarded_unchanged() {
    let text = "content-type: text/html";
    for lines in [
        &[LONG][..],
        &["content-type: image/png", LONG],
        &["content-type: application/octet-stream", LONG],
        &["content-type: text/event-stream", LONG],
        &["content-type: Text/Event-Stream; charset=utf-8"],
        &[text, "content-length: 1023"],
        &[text, "content-length: 0"],
        &[text, "content-length: much"],
        &[text, LONG, LONG],
        &[text, LONG, "transfer-encoding: chunked"],
        &[text, LONG, "content-encoding: br"],
        &[text, LONG, "content-encoding: gzip"],
        &[text, LONG, "cache-control: public, No-Transform"],
        &[text, LONG, "cache-control: public", "cache-control: no-transform"],
        &[text, LONG, "content-digest: sha-256=:AAAA:"],
    ] {
        assert_eq!(form_of(lines), Form::AsIs, "{lines:?}");
    }
}

#[test]
fn compression_depends_on_the_request() {
    let answer = Fields::of_lines(&["content-type: text/html", LONG]);
    let ask = |method: &Method, coding: &str, is_http10, requires_auth| {
        let fields = Fields::of_lines(&[&format!("accept-encoding: {coding}")]);
        let request = RequestInfo { method, fields: &fields, is_http10, requires_auth };
        form(&request, StatusCode::OK, &answer)
    };
    let (get, post, put) = (&Method::GET, &Method::POST, &Method::PUT);
    for coding in ["gzip", "br, gzip;q=0.1", "*", "X-Gzip", "gzip, deflate, br, zstd"] {
        assert_eq!(ask(get, coding, false, false), Form::Gzip, "{coding}");
    }
    for coding in ["identity", "br", "gzip;q=0", "gzip;q=0.000", "*, gzip;q=0", ""] {
        assert_eq!(ask(get, coding, false, false), Form::Varies, "{coding}");
    }
    assert_eq!(ask(post, "gzip", false, false), Form::Gzip);
    assert_eq!(ask(put, "gzip", false, false), Form::AsIs);
    assert_eq!(ask(get, "gzip", true, false), Form::Varies);
    assert_eq!(ask(get, "gzip", false, true), Form::AsIs);
}

#[test]
fn only_a_success_is_compressed() {
    let fields = Fields::of_lines(&["accept-encoding: gzip"]);
    let request = get(&fields);
    let answer = Fields::of_lines(&["content-type: text/html", LONG]);
    for status in [201, 204, 206, 304, 404, 500] {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(form(&request, status, &answer), Form::AsIs, "{status}");
    }
}

#[test]
fn the_head_describes_the_compressed_form() {
    let lines =
        ["content-type: text/css", LONG, "etag: \"a\"", "accept-ranges: bytes", "vary: origin"];
    let (fields, compressed) = sent(&Method::GET, &["accept-encoding: gzip"], head(200, &lines));
    assert!(compressed);
    assert_eq!(fields[CONTENT_ENCODING], "gzip");
    assert_eq!(fields[TRANSFER_ENCODING], "chunked");
    assert_eq!(fields[ETAG], "W/\"a\"");
    let vary: Vec<_> = fields.get_all(VARY).collect();
    assert_eq!(vary, ["origin", "accept-encoding"]);
    assert!(!fields.contains_key(CONTENT_LENGTH) && !fields.contains_key(ACCEPT_RANGES));
}

#[test]
fn vary_is_added_for_clients_that_do_not_accept_gzip() {
    let lines = ["content-type: text/css", LONG, "etag: \"a\"", "accept-ranges: bytes"];
    let (fields, compressed) = sent(&Method::GET, &[], head(200, &lines));
    assert!(!compressed && !fields.contains_key(CONTENT_ENCODING));
    assert_eq!(
        (&fields[CONTENT_LENGTH], &fields[ETAG]),
        (&"5000".parse().unwrap(), &"\"a\"".parse().unwrap())
    );
    assert_eq!(fields[VARY], "accept-encoding");
    assert!(fields.contains_key(ACCEPT_RANGES));
}

#[test]
fn vary_is_not_duplicated() {
    for known in ["*", "origin, Accept-Encoding"] {
        let lines = ["content-type: text/css", LONG, &format!("vary: {known}")];
        let (fields, _) = sent(&Method::GET, &["accept-encoding: gzip"], head(200, &lines));
        assert_eq!(fields.get_all(VARY).collect::<Vec<_>>(), [known]);
    }
}

#[test]
fn a_response_to_head_has_the_fields_of_get_and_no_body() {
    let lines = ["content-type: text/css", LONG, "etag: \"a\""];
    let (fields, compressed) = sent(&Method::HEAD, &["accept-encoding: gzip"], head(200, &lines));
    assert!(!compressed);
    assert_eq!(
        (fields[CONTENT_ENCODING].as_bytes(), fields[ETAG].as_bytes()),
        (&b"gzip"[..], &b"W/\"a\""[..])
    );
    assert!(!fields.contains_key(CONTENT_LENGTH) && !fields.contains_key(TRANSFER_ENCODING));
    let unknown = head(200, &["content-type: text/css", "etag: \"a\""]);
    let (fields, _) = sent(&Method::HEAD, &["accept-encoding: gzip"], unknown);
    assert!(!fields.contains_key(CONTENT_ENCODING));
    assert_eq!(fields[VARY], "accept-encoding");
}

#[test]
fn a_304_contains_the_tag_of_the_client() {
    let answer = || head(304, &["etag: \"a\""]);
    let (fields, _) = sent(&Method::GET, &["if-none-match: \"b\", W/\"a\""], answer());
    assert_eq!(
        (fields[ETAG].as_bytes(), fields[VARY].as_bytes()),
        (&b"W/\"a\""[..], &b"accept-encoding"[..])
    );
    let (fields, _) = sent(&Method::GET, &["if-none-match: \"a\""], answer());
    assert_eq!(fields[ETAG], "\"a\"");
    assert!(!fields.contains_key(VARY));
}

#[test]
fn without_a_free_encoder_responses_are_not_compressed() {
    let encoders = Encoders::new(true);
    let fields = Fields::of_lines(&["accept-encoding: gzip"]);
    let request = get(&fields);
    let begin = || {
        let (status, mut answer) = head(200, &["content-type: text/css", LONG]);
        let encoder = encoders.begin(&request, status, &mut answer);
        (encoder, answer.contains_key(CONTENT_LENGTH))
    };
    let busy: Vec<_> = (0..MAX_ENCODERS).map(|_| begin()).collect();
    assert!(busy.iter().all(|(encoder, is_plain)| encoder.is_some() && !is_plain));
    assert!(matches!(begin(), (None, true)));
    drop(busy);
    assert!(begin().0.is_some());
}

#[test]
fn pieces_of_a_body_of_unknown_length_are_flushed() {
    let encoders = Encoders::new(true);
    let fields = Fields::of_lines(&["accept-encoding: gzip"]);
    let request = get(&fields);
    let lines = ["content-type: text/css", "transfer-encoding: chunked"];
    let (status, mut answer) = head(200, &lines);
    let mut encoder = encoders.begin(&request, status, &mut answer).unwrap();
    let first = encoder.piece(Some(b"first"), false).unwrap().unwrap();
    let mut text = [0; 5];
    GzDecoder::new(&first[..]).read_exact(&mut text).unwrap();
    assert_eq!(&text, b"first");
}

proptest! {
    #[test]
    fn decompression_restores_the_body(
        pieces in proptest::collection::vec("[a-f]{0,3000}", 0..6),
        is_known: bool,
        ends_with_the_last: bool,
    ) {
        let length = if is_known { LONG } else { "transfer-encoding: chunked" };
        let fields = Fields::of_lines(&["accept-encoding: gzip"]);
        let request = RequestInfo { method: &Method::POST, ..get(&fields) };
        let (status, mut answer) = head(200, &["content-type: text/css", length]);
        let mut encoder = Encoders::new(true).begin(&request, status, &mut answer).unwrap();
        let mut packed = Vec::new();
        for (permit, piece) in pieces.iter().enumerate() {
            let is_end = ends_with_the_last && permit + 1 == pieces.len();
            packed.extend(encoder.piece(Some(piece.as_bytes()), is_end).unwrap().into_iter().flatten());
        }
        if !ends_with_the_last || pieces.is_empty() {
            packed.extend(encoder.piece(None, true).unwrap().into_iter().flatten());
        }
        let mut text = String::new();
        GzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
        prop_assert_eq!(text, pieces.concat());
    }
}
