use super::*;

fn head(lines: &[&str]) -> Bytes {
    Bytes::from(lines.join("\r\n") + "\r\n\r\n")
}

fn status(lines: &[&str]) -> u16 {
    read(&head(lines)).map_or_else(|problem| problem.status.as_u16(), |_| 200)
}

#[test]
fn a_simple_request_is_parsed() {
    let head = read(&head(&["GET /stats?x=1 HTTP/1.1", "Host: a:80", "X: \t y "])).unwrap();
    assert_eq!((head.method, &head.target[..]), (Method::GET, &b"/stats?x=1"[..]));
    assert_eq!(head.fields["x"], "y");
    assert_eq!(head.length, Length::Known(0));
    assert!(head.keeps_alive && !head.expects_continue);
}

#[test]
fn the_end_is_found_for_any_split_of_the_bytes() {
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
fn a_bare_line_feed_is_rejected() {
    assert!(end_of_head(b"GET / HTTP/1.1\nHost: a\n\n", 0).is_err());
    assert!(end_of_head(b"\n", 0).is_err());
    assert!(read(&Bytes::from_static(b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n")).is_err());
}

#[test]
fn oversized_parts_have_their_own_status() {
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
fn a_request_line_has_exactly_three_parts() {
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
        ("GET http://a?x=/y HTTP/1.1", 200),
        ("GET http://a#x HTTP/1.1", 400),
        ("GET http://b/ HTTP/1.1", 400),
        ("GET http://u@a/ HTTP/1.1", 400),
        ("GET ftp://a/ HTTP/1.1", 400),
    ] {
        assert_eq!(status(&[line, "Host: a"]), wanted, "{line}");
    }
}

#[test]
fn exactly_one_valid_host_is_required() {
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
fn a_body_has_exactly_one_framing() {
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
fn persistence_depends_on_the_version() {
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
fn only_100_continue_is_supported() {
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
    fn no_input_causes_a_panic(bytes: Vec<u8>) {
        let _ = end_of_head(&bytes, 0);
        let _ = read(&Bytes::from(bytes));
    }

    #[test]
    fn a_parsed_head_has_one_host_and_one_length(text in "GET /[a-z%.]{0,9} HTTP/1\\.[01]\r\n((Host|Content-Length|Transfer-Encoding|X): ?[a-z0-9, ]{0,8}\r\n){0,4}\r\n") {
        if let Ok(head) = read(&Bytes::from(text)) {
            proptest::prop_assert!(head.fields.get_all(HOST).count() <= 1);
            let lengths = head.fields.get_all(CONTENT_LENGTH).count();
            proptest::prop_assert!(lengths + head.fields.get_all(TRANSFER_ENCODING).count() <= 1);
        }
    }
}
