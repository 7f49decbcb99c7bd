//! Request pipeline: tests with request bodies, responses, and peers that are slow, early, silent
//! or disconnected.

mod bodies;

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use testing::{BOUND, Connection, Service, accept, fields, read_head, respond};

use crate::{HEALTHY, is_check, send_request, start_with_routes, unused_address};

/// An upstream; `serve` gets the head of a request, and returns whether the connection persists.
fn upstream(
    serve: impl Fn(&str, &mut BufReader<TcpStream>) -> bool + Send + Sync + 'static,
) -> SocketAddr {
    accept(move |stream| {
        let mut reader = BufReader::new(stream);
        while let Some(head) = read_head(&mut reader) {
            let goes_on = if is_check(&head) {
                reader.get_mut().write_all(HEALTHY).is_ok()
            } else {
                serve(&head, &mut reader)
            };
            if !goes_on {
                break;
            }
        }
    })
}

fn write_response(reader: &mut BufReader<TcpStream>, text: &str) -> bool {
    reader.get_mut().write_all(text.as_bytes()).is_ok()
}

/// Reads and discards a body; returns its length, which includes the framing of chunks.
fn read_body(head: &str, reader: &mut BufReader<TcpStream>) -> u64 {
    let lengths = fields(head, "content-length");
    if let Some(length) = lengths.first() {
        let length: u64 = length.parse().unwrap();
        return std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).unwrap();
    }
    let mut total = 0;
    if fields(head, "transfer-encoding") == ["chunked"] {
        loop {
            let mut line = String::new();
            std::io::BufRead::read_line(reader, &mut line).unwrap();
            let size = u64::from_str_radix(line.trim_end(), 16).unwrap();
            let mut chunk = reader.by_ref().take(size + 2);
            std::io::copy(&mut chunk, &mut std::io::sink()).unwrap();
            total += size;
            if size == 0 {
                break;
            }
        }
    }
    total
}

fn start(upstream: SocketAddr, more: &[(&str, &str)]) -> Service {
    start_with_routes(&format!("/ {upstream}"), more)
}

/// Everything until the gateway closes the connection.
fn rest(mut client: Connection) -> String {
    let mut bytes = Vec::new();
    // A reset is an end as well.
    let _ = client.reader.read_to_end(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn every_method_and_version_uses_the_same_pipeline() {
    let upstream = upstream(|head, reader| {
        let (line, length) = (head.lines().next().unwrap().to_owned(), read_body(head, reader));
        let text = format!("{line} {length}");
        let body = if line.starts_with("HEAD") { "" } else { &text };
        write_response(
            reader,
            &format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", text.len()),
        )
    });
    let gateway = start(upstream, &[]);
    for version in ["1.0", "1.1"] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            for body in ["", "hello"] {
                let answer = send_request(
                    &gateway,
                    &format!(
                        "{method} /x HTTP/{version}\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    ),
                );
                // RFC 9110, section 2.5: the gateway sends its own version.
                let seen = format!("{method} /x HTTP/1.1 {}", body.len());
                assert_eq!((answer.status, answer.text()), (200, &*seen), "{version} {body}");
                assert!(answer.field("date").is_some(), "RFC 9110, section 6.6.1");
            }
        }
    }
}

#[test]
fn http_1_0_gets_no_chunked_coding() {
    let upstream = upstream(|head, reader| {
        let framed = if head.contains("/close") {
            "\r\nhello"
        } else {
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        };
        let kind = if head.contains("/events") { "event-stream" } else { "plain" };
        read_body(head, reader);
        write_response(reader, &format!("HTTP/1.1 200 OK\r\nContent-Type: text/{kind}\r\n{framed}"))
            && !head.contains("/close")
    });
    let gateway = start(upstream, &[]);
    for path in ["/close", "/chunks", "/events"] {
        for method in ["GET", "POST"] {
            let mut client = gateway.begin(&format!(
                "{method} {path} HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\
                 Accept: text/event-stream\r\nContent-Length: 0\r\n\r\n"
            ));
            let head = client.head();
            assert_eq!(head.field("transfer-encoding"), None, "{method} {path}");
            assert_eq!(head.field("connection"), Some("close"));
            assert_eq!(rest(client), "hello", "{method} {path}");
        }
    }
}

#[test]
fn retryable_requests_are_retried_after_a_closing_connection() {
    for (method, body, repeats) in
        [("PUT", "x", true), ("DELETE", "", true), ("GET", "x", true), ("POST", "x", false)]
    {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = count.clone();
        // Every second request uses a connection that closes without a response.
        let upstream = upstream(move |head, reader| {
            read_body(head, reader);
            let number = counter.fetch_add(1, Ordering::SeqCst);
            number.is_multiple_of(2) && respond(reader.get_mut(), "", "ok")
        });
        let gateway = start(upstream, &[("GATEWAY_THREADS", "1")]);
        let request = format!(
            "{method} /x HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(send_request(&gateway, &request).status, 200, "{method}");
        let status = send_request(&gateway, &request).status;
        assert_eq!(status, if repeats { 200 } else { 502 }, "{method}");
        assert_eq!(count.load(Ordering::SeqCst), if repeats { 3 } else { 2 }, "{method}");
    }
}

#[test]
fn a_response_with_two_lengths_is_invalid_for_any_method() {
    let upstream = upstream(|head, reader| {
        read_body(head, reader);
        write_response(reader, "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello")
    });
    let gateway = start(upstream, &[]);
    for method in ["GET", "POST", "PUT", "DELETE"] {
        let request = format!("{method} /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(send_request(&gateway, &request).status, 502, "{method}");
    }
}

#[test]
fn a_connection_that_the_upstream_has_authenticated_is_not_reused() {
    let upstream = accept(|stream| {
        let mut reader = BufReader::new(stream);
        let mut user = "none".to_owned();
        while let Some(head) = read_head(&mut reader) {
            if let Some(credentials) = fields(&head, "authorization").first() {
                user = (*credentials).to_owned();
            }
            let challenges = fields(&head, "challenge").join(", ");
            let status = if challenges.is_empty() { "200 OK" } else { "401 Unauthorized" };
            let length = user.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n");
            let fields = format!("WWW-Authenticate: {challenges}\r\n\r\n{user}");
            if !write_response(&mut reader, &(head + &fields)) {
                return;
            }
        }
    });
    let gateway = start(upstream, &[("GATEWAY_THREADS", "1")]);
    let ask = |more: &[(&str, &str)]| gateway.ask("GET", "/x", more).text().to_owned();
    for (more, is_bound) in [
        (&[("Authorization", "Basic abc")][..], false),
        (&[("Authorization", "NTLM abc")], true),
        (&[("Authorization", "negotiate abc")], true),
        (&[("Authorization", "Basic abc"), ("Challenge", "Basic realm=\"a\", Negotiate")], true),
    ] {
        let user = more[0].1;
        assert_eq!(ask(more), user);
        assert_eq!(ask(&[("Challenge", "NTLM")]), if is_bound { "none" } else { user });
    }
}

#[test]
fn a_condition_is_forwarded_if_no_response_is_stored() {
    let (seen, received) = channel();
    let upstream = upstream(move |head, reader| {
        let _ = seen.send(fields(head, "if-none-match").len());
        write_response(reader, "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n")
    });
    let gateway = start(upstream, &[]);
    for _ in 0..2 {
        assert_eq!(gateway.ask("GET", "/x", &[("if-none-match", "\"a\"")]).status, 304);
        assert_eq!(received.recv_timeout(BOUND), Ok(1));
    }
}

#[test]
fn a_body_that_is_not_needed_is_not_read() {
    let (reports, ended) = channel();
    let upstream = upstream(move |_, reader| {
        // It ignores conditions, and its body is endless.
        write_response(
            reader,
            "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 10000000000\r\n\r\n",
        );
        let zeros = vec![0; 65536];
        let mut sent = 0_u64;
        while reader.get_mut().write_all(&zeros).is_ok() {
            sent += 65536;
        }
        let _ = reports.send(sent);
        false
    });
    let gateway = start(upstream, &[]);
    let mut client = gateway.connect();
    for _ in 0..2 {
        client.send("GET /x HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"a\"\r\n\r\n");
        assert_eq!(client.head().status, 304);
        let sent = ended.recv_timeout(BOUND).expect("it reads on");
        assert!(sent < 64 << 20, "{sent} bytes");
    }
}

#[test]
fn a_close_after_an_unread_body_is_announced() {
    let gateway = start(unused_address(), &[]);
    for body in [
        format!("Content-Length: 99999\r\n\r\n{}", "x".repeat(99_999)),
        "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n".to_owned(),
        format!("Transfer-Encoding: chunked\r\n\r\n1ffff\r\n{}", "x".repeat(0x1_ffff)),
    ] {
        let mut client = gateway.begin(&format!("POST /healthz HTTP/1.1\r\nHost: a\r\n{body}"));
        let answer = client.answer();
        assert_eq!((answer.status, answer.field("connection")), (405, Some("close")), "{body:.40}");
        assert!(client.is_closed());
    }
    let read = "POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let answer = gateway.begin(read).answer();
    assert_eq!((answer.status, answer.field("connection")), (405, None));
}

#[test]
fn a_client_that_does_not_read_delays_no_others() {
    let body = "x".repeat(1_900_000);
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let upstream = upstream(move |_, reader| {
        counter.fetch_add(1, Ordering::SeqCst);
        respond(reader.get_mut(), "Cache-Control: max-age=60\r\n", &body)
    });
    let gateway = start(upstream, &[]);
    let mut idler = gateway.begin("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    // Its response has begun.
    assert_eq!(idler.head().status, 200);
    let begun = Instant::now();
    let answer = gateway.get("/x");
    assert_eq!((answer.status, answer.body.len()), (200, 1_900_000));
    assert_eq!(count.load(Ordering::SeqCst), 1, "{}", answer.head);
    assert!(begun.elapsed() < BOUND / 2, "{:?}", begun.elapsed());
    // The client gets the complete response when it reads.
    let mut all = vec![0; 1_900_000];
    idler.reader.read_exact(&mut all).unwrap();
    assert!(all.iter().all(|&byte| byte == b'x'));
}

#[test]
fn a_response_without_reliable_framing_is_not_stored() {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let text = "a text that is long enough to be compressed ".repeat(100);
    let upstream = upstream(move |_, reader| {
        counter.fetch_add(1, Ordering::SeqCst);
        write_response(
            reader,
            &format!(
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Type: text/plain\r\n\r\n{text}"
            ),
        );
        false
    });
    let gateway = start(upstream, &[]);
    for (path, version, coding) in [
        ("/a", "1.1", "identity"),
        ("/b", "1.1", "gzip"),
        ("/c", "1.0", "identity"),
        ("/d", "1.0", "gzip"),
    ] {
        for _ in 0..2 {
            let mut client = gateway.begin(&format!(
                "GET {path} HTTP/{version}\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\
                 Connection: close\r\n\r\n"
            ));
            assert_eq!(client.head().status, 200);
            let _ = client.reader.read_to_end(&mut Vec::new());
        }
    }
    assert_eq!(count.load(Ordering::SeqCst), 8);
}

#[test]
fn an_empty_line_is_not_a_request() {
    let upstream = upstream(|head, reader| {
        read_body(head, reader);
        respond(reader.get_mut(), "", "ok")
    });
    let gateway = start(upstream, &[]);
    let mut client = gateway.connect();
    for _ in 0..2 {
        client.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\r\n");
        assert_eq!(client.answer().text(), "ok");
    }
    // Longer than the timeout of a head: the client gets no response.
    let stream = client.reader.get_ref();
    stream.set_read_timeout(Some(Duration::from_secs(11))).unwrap();
    let waited = stream.peek(&mut [0]);
    assert!(waited.is_err(), "{waited:?}");
    client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().text(), "ok");
}

#[test]
fn an_upgrade_of_http_itself_is_ignored() {
    let upstream = upstream(|head, reader| {
        read_body(head, reader);
        respond(reader.get_mut(), "Cache-Control: max-age=60\r\n", head)
    });
    let gateway = start(upstream, &[]);
    let h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n";
    let tls = "Connection: Upgrade\r\nUpgrade: TLS/1.3, TLS/1.2\r\n";
    let websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let ask = |line: &str, offer: &str, body: &str| {
        let length = body.len();
        let fields = format!("Host: a\r\nContent-Length: {length}\r\n{offer}");
        send_request(&gateway, &format!("{line}\r\n{fields}\r\n{body}"))
    };
    for (line, offer, body) in [
        ("GET /a HTTP/1.1", h2c, ""),
        ("POST /b HTTP/1.1", h2c, "hello"),
        ("GET /c HTTP/1.1", tls, ""),
        // RFC 9110, section 7.8: with HTTP/1.0, the field has no meaning.
        ("GET /d HTTP/1.0", websocket, ""),
    ] {
        let answer = ask(line, offer, body);
        assert_eq!(answer.status, 200, "{line} {offer}");
        let received = answer.text().to_ascii_lowercase();
        assert!(!received.contains("upgrade") && !received.contains("settings"), "{received}");
    }
    // It does not bypass the cache.
    let again = ask("GET /a HTTP/1.1", h2c, "");
    assert!(again.field("cache-status").unwrap().starts_with("gateway; hit"), "{again:?}");
}

#[test]
fn a_protocol_upgrade_requires_agreement_of_both_sides() {
    let upstream = upstream(|head, reader| {
        let upgrade = match head.split(' ').nth(1).unwrap() {
            "/ws/other" => "Connection: upgrade\r\nUpgrade: evil/9\r\n",
            "/ws/none" => "",
            _ => "Connection: Upgrade\r\nUpgrade: WebSocket\r\n",
        };
        write_response(reader, &format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}\r\n"));
        let mut ping = [0; 4];
        reader.read_exact(&mut ping).is_ok() && write_response(reader, "pong")
    });
    let routes = format!("/ws {upstream} upgrade; / {upstream}");
    let gateway = start(upstream, &[("GATEWAY_ROUTES", &routes)]);
    let upgrade = |path: &str, protocol: &str| {
        let mut client = gateway.begin(&format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
        ));
        let status = client.head().status;
        (client, status)
    };
    for protocol in ["websocket, h2c", "h2c/1, websocket", "echo"] {
        assert_eq!(upgrade("/ws", protocol).1, 400, "{protocol}");
    }
    for path in ["/ws/other", "/ws/none"] {
        assert_eq!(upgrade(path, "websocket").1, 502, "{path}");
    }
    // RFC 9110, section 7.8: the case of a protocol does not matter.
    for protocol in ["websocket", "WebSocket"] {
        let (mut client, status) = upgrade("/ws", protocol);
        assert_eq!(status, 101, "{protocol}");
        client.send("ping");
        client.read_until("pong");
    }
}

#[test]
fn an_event_stream_ends_with_its_last_chunk() {
    // The upstream keeps its connection open.
    let upstream = upstream(|_, reader| {
        write_response(
            reader,
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
             Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n0\r\n\r\n",
        )
    });
    let mut gateway = start(upstream, &[]);
    let client = gateway.begin("GET /x HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n");
    let begun = Instant::now();
    let all = rest(client);
    assert!(all.ends_with("9\r\ndata: 1\n\n\r\n0\r\n\r\n"), "{all}");
    assert!(begun.elapsed() < BOUND / 2, "{:?}", begun.elapsed());
    let line = gateway.log_line("request");
    assert!(line.get("error").is_none(), "{line}");
}

#[test]
fn a_silent_stream_times_out_with_an_abort() {
    for (accept, method) in [("text/event-stream", "GET"), ("*/*", "GET"), ("*/*", "POST")] {
        let upstream = upstream(|head, reader| {
            read_body(head, reader);
            // Head and first event in one packet.
            write_response(
                reader,
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                 Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
            );
            let _ = reader.read(&mut [0]);
            false
        });
        let gateway = start(upstream, &[("GATEWAY_UPSTREAM_TIMEOUT_SECONDS", "1")]);
        let mut client = gateway.connect();
        let begun = Instant::now();
        client.send(&format!(
            "{method} /x HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\nContent-Length: 0\r\n\r\n"
        ));
        assert_eq!(client.head().status, 200);
        let text = rest(client);
        let took = begun.elapsed();
        assert_eq!(text, "9\r\ndata: 1\n\n\r\n", "{method} {accept}");
        assert!(took > Duration::from_millis(900) && took < Duration::from_secs(5), "{took:?}");
        let log = gateway.stop().log;
        assert!(log.contains("stopped sending"), "{log}");
    }
}

#[test]
fn the_log_contains_the_bytes_that_were_sent() {
    let upstream = upstream(|_, reader| {
        respond(reader.get_mut(), "Cache-Control: max-age=60\r\n", &"x".repeat(8_000_000))
    });
    let gateway = start(upstream, &[("GATEWAY_TOTAL_TIMEOUT_SECONDS", "1")]);
    let mut client = gateway.begin("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head().status, 200);
    // The client reads nothing until the total timeout.
    let mut gateway = gateway;
    let line = gateway.log_line("request");
    let sent = line["sent_bytes"].as_u64().unwrap();
    assert!(sent < 8_000_000, "{line}");
    assert!(line["error"].is_string(), "{line}");
}
