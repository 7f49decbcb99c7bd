//! Compression: tests with an upstream that compresses nothing, or only some responses.

use std::io::{BufRead, Read, Write};
use std::sync::Barrier;

use flate2::read::GzDecoder;
use testing::{Answer, fields};

use crate::{Upstream, start};

const GZIP: (&str, &str) = ("accept-encoding", "gzip");

/// The client has received the beginning of `/slow`.
static SEEN: Barrier = Barrier::new(2);

/// Body of the upstream's long responses.
fn text() -> String {
    let numbers: Vec<_> = (0..500).map(|number: u32| number.to_string()).collect();
    numbers.join(" is the number of this line.\n")
}

fn origin() -> Upstream {
    Upstream::start(|_, request, stream| {
        let mut words = request.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let text = text();
        let (kind, more, body) = match path {
            "/small" => ("text/html", "", "short".to_owned()),
            "/events" => ("text/event-stream", "", text),
            "/picture" => ("image/png", "", text),
            "/fixed" => ("text/html", "Cache-Control: no-transform\r\n", text),
            "/packed" => ("text/html", "Content-Encoding: br\r\n", text),
            "/asset" | "/broken" => {
                ("text/css", "Cache-Control: max-age=60\r\nETag: \"a\"\r\n", text)
            }
            "/asked" => ("text/css", "Cache-Control: no-cache\r\nETag: \"a\"\r\n", text),
            _ => ("text/html", "ETag: \"a\"\r\nAccept-Ranges: bytes\r\n", text),
        };
        let start = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{more}");
        let length = body.len();
        let whole = format!("{start}Content-Length: {length}\r\n\r\n");
        let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
        let sent = match path {
            "/page" if request.contains("if-none-match: W/\"a\"") => {
                "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n".to_owned()
            }
            _ if method == "HEAD" => whole,
            "/broken" => format!("{start}Content-Length: {}\r\n\r\n{body}", length + 1),
            "/chunked" => {
                let (one, other) = body.split_at(4000);
                let chunks = [chunk(one), chunk(other)].concat();
                format!("{start}Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
            }
            "/slow" => format!("{start}Transfer-Encoding: chunked\r\n\r\n{}", chunk("first")),
            _ => format!("{whole}{body}"),
        };
        if stream.write_all(sent.as_bytes()).is_err() || path == "/broken" {
            let _ = stream.shutdown(std::net::Shutdown::Both);
            return false;
        }
        if path == "/slow" {
            SEEN.wait();
            stream.write_all(format!("{}0\r\n\r\n", chunk("second")).as_bytes()).unwrap();
        }
        true
    })
}

/// Decodes a chunked body; returns whether it is complete.
fn unchunked(mut body: &[u8]) -> (Vec<u8>, bool) {
    let mut content = Vec::new();
    loop {
        let mut size = String::new();
        body.read_line(&mut size).unwrap();
        let Ok(size) = usize::from_str_radix(size.trim(), 16) else { return (content, false) };
        if size == 0 {
            return (content, body == b"\r\n");
        }
        let Some((chunk, rest)) = body.split_at_checked(size + 2) else { return (content, false) };
        content.extend_from_slice(&chunk[..size]);
        body = rest;
    }
}

fn unpacked(answer: &Answer) -> String {
    assert_eq!(answer.field("content-encoding"), Some("gzip"), "{}", answer.head);
    let (packed, is_whole) = match answer.field("transfer-encoding") {
        Some("chunked") => unchunked(&answer.body),
        _ => (answer.body.clone(), true),
    };
    assert!(is_whole, "{}", answer.head);
    let mut text = String::new();
    GzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn an_uncompressed_response_is_compressed() {
    let gateway = start(origin().address, &[]);
    for path in ["/page", "/chunked"] {
        for method in ["GET", "POST"] {
            let answer = gateway.ask(method, path, &[GZIP, ("content-length", "0")]);
            assert_eq!((answer.status, unpacked(&answer)), (200, text()));
            assert!(answer.body.len() < text().len() / 4, "{} bytes", answer.body.len());
            assert_eq!(fields(&answer.head, "vary"), ["accept-encoding"]);
            assert_eq!(answer.field("etag"), Some("W/\"a\""));
            assert_eq!(fields(&answer.head, "transfer-encoding"), ["chunked"]);
            assert_eq!(
                (answer.field("content-length"), answer.field("accept-ranges")),
                (None, None)
            );
        }
    }
}

#[test]
fn a_connection_persists_after_a_compressed_response() {
    let gateway = start(origin().address, &[]);
    let mut client = gateway.connect();
    for _ in 0..3 {
        client.send("GET /page HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip\r\n\r\n");
        assert_eq!(client.head().field("content-encoding"), Some("gzip"));
        client.read_until("\r\n0\r\n\r\n");
    }
}

#[test]
fn other_responses_are_forwarded_unchanged() {
    let gateway = start(origin().address, &[]);
    for path in ["/small", "/events", "/picture", "/fixed"] {
        let answer = gateway.ask("GET", path, &[GZIP]);
        let expected = if path == "/small" { "short".to_owned() } else { text() };
        assert_eq!(answer.text(), expected, "{path}");
        assert_eq!(answer.field("content-length"), Some(&*expected.len().to_string()));
        assert_eq!((answer.field("content-encoding"), answer.field("vary")), (None, None));
    }
    let packed = gateway.ask("GET", "/packed", &[GZIP]);
    assert_eq!((packed.text(), packed.field("content-encoding")), (&*text(), Some("br")));
}

#[test]
fn a_client_that_does_not_accept_gzip_gets_none() {
    let gateway = start(origin().address, &[]);
    for takes in ["gzip;q=0", "br", "identity", "*, gzip;q=0"] {
        let answer = gateway.ask("GET", "/page", &[("accept-encoding", takes)]);
        assert_eq!((answer.text(), answer.field("content-encoding")), (&*text(), None), "{takes}");
        assert_eq!(
            (answer.field("vary"), answer.field("etag")),
            (Some("accept-encoding"), Some("\"a\""))
        );
    }
    let answer =
        gateway.begin("GET /page HTTP/1.0\r\nhost: a\r\naccept-encoding: gzip\r\n\r\n").answer();
    assert_eq!((answer.text(), answer.field("content-encoding")), (&*text(), None));
}

#[test]
fn compression_can_be_disabled() {
    let gateway = start(origin().address, &[("GATEWAY_COMPRESS", "off")]);
    let answer = gateway.ask("GET", "/page", &[GZIP]);
    assert_eq!((answer.text(), answer.field("vary")), (&*text(), None));
    assert_eq!(answer.field("etag"), Some("\"a\""));
}

#[test]
fn a_head_response_matches_that_to_get() {
    let gateway = start(origin().address, &[]);
    let head = gateway.ask("HEAD", "/page", &[GZIP]);
    let get = gateway.ask("GET", "/page", &[GZIP]);
    assert_eq!((head.status, head.text()), (200, ""));
    for name in ["content-encoding", "vary", "etag", "content-length", "accept-ranges"] {
        assert_eq!(head.field(name), get.field(name), "{name}");
    }
    let plain = gateway.ask("HEAD", "/page", &[]);
    assert_eq!(plain.field("content-length"), Some(&*text().len().to_string()));
}

#[test]
fn parts_of_a_response_that_the_gateway_compressed_are_not_sent() {
    let origin = origin();
    let gateway = start(origin.address, &[]);
    let whole = gateway.ask("GET", "/asset", &[GZIP]);
    // Another compression of the same text may have other bytes.
    let answer = gateway.ask("GET", "/asset", &[GZIP, ("range", "bytes=9-")]);
    assert_eq!((answer.status, unpacked(&answer)), (200, unpacked(&whole)));
    assert_eq!(gateway.get("/asset").status, 200);
    let plain = gateway.ask("GET", "/asset", &[("range", "bytes=9-")]);
    assert_eq!((plain.status, plain.text()), (206, &text()[9..]));
    assert_eq!(origin.request_count(), 2);
}

#[test]
fn a_stored_response_is_compressed_once() {
    let origin = origin();
    let gateway = start(origin.address, &[]);
    let first = gateway.ask("GET", "/asset", &[GZIP]);
    let second = gateway.ask("GET", "/asset", &[("accept-encoding", "gzip, zstd")]);
    assert!(second.field("cache-status").unwrap().contains("hit"), "{}", second.head);
    assert_eq!((unpacked(&first), unpacked(&second), origin.request_count()), (text(), text(), 1));
    assert_eq!(second.field("content-length"), Some(&*second.body.len().to_string()));
    for answer in [&first, &second] {
        assert_eq!(fields(&answer.head, "vary"), ["accept-encoding"]);
        assert_eq!(answer.field("etag"), Some("W/\"a\""));
    }
    for _ in 0..2 {
        let plain = gateway.get("/asset");
        assert_eq!((plain.text(), plain.field("content-encoding")), (&*text(), None));
        assert_eq!((plain.field("etag"), origin.request_count()), (Some("\"a\""), 2));
    }
    let again = gateway.ask("GET", "/asset", &[GZIP]);
    assert_eq!(
        (unpacked(&again), origin.request_count()),
        (text(), 2),
        "one form has driven out the other"
    );
    let head = gateway.ask("HEAD", "/asset", &[GZIP]);
    assert_eq!(head.field("content-length"), second.field("content-length"));
}

#[test]
fn the_etag_of_a_compressed_response_matches_a_condition() {
    let origin = origin();
    let gateway = start(origin.address, &[]);
    let known = [GZIP, ("if-none-match", "W/\"a\"")];
    // Nothing is stored yet; then a stored response; one that is never stored; and one that the
    // upstream evaluates itself.
    for (method, path) in
        [("GET", "/asset"), ("GET", "/asset"), ("GET", "/asked"), ("HEAD", "/page")]
    {
        let answer = gateway.ask(method, path, &known);
        assert_eq!((answer.status, answer.text()), (304, ""), "{path}: {}", answer.head);
        assert_eq!(
            (answer.field("etag"), answer.field("vary")),
            (Some("W/\"a\""), Some("accept-encoding"))
        );
        assert_eq!(
            (answer.field("content-encoding"), answer.field("content-length")),
            (None, None)
        );
    }
    assert_eq!(origin.request_count(), 3);
    let whole = gateway.ask("GET", "/asset", &[GZIP]);
    assert_eq!((unpacked(&whole), origin.request_count()), (text(), 3));
}

#[test]
fn a_truncated_response_is_not_completed() {
    let origin = origin();
    let gateway = start(origin.address, &[]);
    let answer = gateway.ask("GET", "/broken", &[GZIP]);
    assert_eq!(answer.field("content-encoding"), Some("gzip"), "{}", answer.head);
    let (packed, is_whole) = unchunked(&answer.body);
    let unpacked = GzDecoder::new(&packed[..]).read_to_end(&mut Vec::new());
    assert!(!is_whole && unpacked.is_err(), "it looks complete");
    gateway.ask("GET", "/broken", &[GZIP]);
    assert_eq!(origin.request_count(), 2, "it is kept");
}

#[test]
fn a_slow_response_is_flushed_as_it_arrives() {
    let gateway = start(origin().address, &[]);
    let mut client = gateway.begin(
        "GET /slow HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip\r\nconnection: close\r\n\r\n",
    );
    assert_eq!(client.head().field("content-encoding"), Some("gzip"));
    let mut size = String::new();
    client.reader.read_line(&mut size).unwrap();
    let mut begun = vec![0; usize::from_str_radix(size.trim(), 16).unwrap() + 2];
    client.reader.read_exact(&mut begun).unwrap();
    let mut first = [0; 5];
    GzDecoder::new(&begun[..]).read_exact(&mut first).unwrap();
    assert_eq!(&first, b"first");
    SEEN.wait();
    let mut rest = [size.into_bytes(), begun].concat();
    client.reader.read_to_end(&mut rest).unwrap();
    let (packed, is_whole) = unchunked(&rest);
    let mut text = String::new();
    GzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
    assert_eq!((&*text, is_whole), ("firstsecond", true));
}

#[test]
fn a_protected_route_is_not_compressed() {
    let origin = origin();
    let route = format!("/private {} auth=bearer", origin.address);
    let gateway = start(
        origin.address,
        &[("GATEWAY_ROUTES", &route), ("GATEWAY_SECRET", "0123456789abcdef")],
    );
    let answer =
        gateway.ask("GET", "/private", &[GZIP, ("authorization", "Bearer 0123456789abcdef")]);
    assert_eq!((answer.text(), answer.field("content-encoding")), (&*text(), None));
}
