//! Upstream connections: tests with connection reuse, response framing, and retries.

use std::io::{BufReader, Read, Write};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use testing::{BOUND, Service, accept, read_head, respond};

use crate::{Upstream, free_address, metrics, start_with_routes};

/// An upstream that returns the same bytes for every request.
fn responding(answer: &'static str, stays: bool) -> Upstream {
    Upstream::start(move |_, _, stream| {
        let _ = stream.write_all(answer.as_bytes());
        stays
    })
}

/// Starts a gateway that forwards all requests to these upstreams.
fn before(upstreams: &str, more: &[(&str, &str)]) -> Service {
    start_with_routes(&format!("/ {upstreams}"), more)
}

const GET: &str = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn requests_share_a_connection_to_the_upstream() {
    let upstream = responding("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true);
    // Each thread has its own connections.
    let gateway = before(&upstream.address.to_string(), &[("GATEWAY_THREADS", "1")]);
    for _ in 0..10 {
        // Each request from a new client.
        assert_eq!(gateway.get("/x").text(), "ok");
    }
    assert_eq!(upstream.counts(), (1, 10));
}

#[test]
fn bytes_after_a_response_are_discarded() {
    for (first, length) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 2),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 12),
        ("HTTP/1.1 204 No Content\r\n\r\n", 0),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0),
    ] {
        let upstream = Upstream::start(move |_, _, stream| {
            let more = "HTTP/1.1 200 OK\r\nEvil: yes\r\nContent-Length: 4\r\n\r\nevil";
            let _ = stream.write_all(format!("{first}{more}").as_bytes());
            true
        });
        let gateway = before(&upstream.address.to_string(), &[]);
        for _ in 0..3 {
            let answer = gateway.get("/x");
            assert_eq!((answer.field("evil"), answer.body.len()), (None, length), "{first}");
        }
        assert_eq!(upstream.counts(), (3, 3), "{first}");
    }
}

#[test]
fn the_gateway_frames_every_response_itself() {
    for (answer, stays) in [
        ("Content-Length: 5\r\n\r\nhello", true),
        (
            "Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nTrailer: x\r\n\r\n",
            true,
        ),
        ("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n5\r\nhello\r\n0\r\n\r\n", true),
        ("\r\nhello", false),
    ] {
        let upstream = Upstream::start(move |_, _, stream| {
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes());
            stays
        });
        let gateway = before(&upstream.address.to_string(), &[]);
        let mut client = gateway.connect();
        for _ in 0..2 {
            client.send(GET);
            let head = client.head();
            if head.field("content-length").is_some() {
                assert_eq!(head.field("transfer-encoding"), None, "{answer}");
                client.read_until("hello");
            } else {
                assert_eq!(head.field("transfer-encoding"), Some("chunked"), "{answer}");
                client.read_until("\r\n0\r\n\r\n");
            }
        }
        client.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.answer().field("content-type"), Some("application/json"), "{answer}");
    }
}

#[test]
fn a_truncated_response_is_not_complete() {
    let closed = "the upstream closed the connection during its response";
    let malformed = "the line with the size of a chunk is malformed";
    for (answer, error) in [
        ("Content-Length: 6\r\n\r\nhello", closed),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", closed),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n", malformed),
    ] {
        let upstream = Upstream::start(move |_, _, stream| {
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes());
            false
        });
        let gateway = before(&upstream.address.to_string(), &[]);
        let mut client = gateway.begin(GET);
        assert_eq!(client.head().status, 200);
        let mut rest = String::new();
        client.reader.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("hello") && !rest.contains("0\r\n\r\n"), "{rest:?}");
        let log = gateway.stop().log;
        assert!(log.contains(error), "{log}");
    }
}

#[test]
fn a_connection_closed_without_a_response_is_retried_elsewhere() {
    let broken = Upstream::start(|_, _, _| false);
    let healthy = responding("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true);
    let both = format!("{},{}", broken.address, healthy.address);
    let gateway = before(&both, &[]);
    for _ in 0..10 {
        assert_eq!(gateway.get("/x").status, 200);
    }
    assert!(broken.counts().1 > 0, "nobody asked it");
}

#[test]
fn a_timeout_is_not_retried() {
    let slow = || {
        Upstream::start(|_, _, _| {
            thread::sleep(BOUND);
            false
        })
    };
    let (one, other) = (slow(), slow());
    let both = format!("{},{}", one.address, other.address);
    let admin = free_address();
    let gateway = before(
        &both,
        &[("GATEWAY_UPSTREAM_TIMEOUT_SECONDS", "1"), ("GATEWAY_ADMIN_LISTEN", &admin.to_string())],
    );
    assert_eq!(gateway.get("/x").status, 504);
    assert_eq!(one.counts().1 + other.counts().1, 1);
    // The budget is for failures that can be retried.
    let text = metrics(admin);
    for name in ["gateway_upstream_retries_total", "gateway_upstream_retries_refused_total"] {
        let value = text.lines().find(|line| line.starts_with(&format!("{name}{{route=\"/\"")));
        assert!(value.is_some_and(|line| line.ends_with(" 0")), "{value:?} of {text}");
    }
}

#[test]
fn the_log_names_the_upstream_of_an_incomplete_request() {
    let (reports, asked) = channel();
    let slow = accept(move |stream| {
        let _ = reports.send(read_head(&mut BufReader::new(stream.try_clone().unwrap())).is_some());
        thread::sleep(BOUND);
    });
    let gateway = before(&slow.to_string(), &[("GATEWAY_BODY_BYTES", "1MiB")]);
    let mut client = gateway.begin("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n");
    client.send(&"x".repeat(100_000));
    assert_eq!(asked.recv_timeout(BOUND), Ok(true));
    drop(client);
    let log = gateway.stop().log;
    let line = log.lines().find(|line| line.contains("closed within the body"));
    let upstream = format!("\"upstream\":\"{slow}\"");
    assert!(line.is_some_and(|line| line.contains(&upstream)), "{log}");
}

#[test]
fn informational_responses_are_forwarded_up_to_a_limit() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let most = 32 * 1024 / hints.len();
    for (count, status) in [(1, 200), (most, 200), (most + 1, 502)] {
        let upstream = Upstream::start(move |_, _, stream| {
            let _ = stream.write_all(format!("{}{ok}", hints.repeat(count)).as_bytes());
            true
        });
        let gateway = before(&upstream.address.to_string(), &[]);
        // HTTP/1.0 clients do not support 1xx responses.
        for (version, informed) in [("1.1", count.min(most)), ("1.0", 0)] {
            for method in ["GET", "POST"] {
                let mut client = gateway.begin(&format!(
                    "{method} /x HTTP/{version}\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
                ));
                let mut answer = client.head();
                let mut hints = 0;
                while answer.status == 103 {
                    assert_eq!(answer.field("link"), Some("</a>"));
                    hints += 1;
                    answer = client.head();
                }
                assert_eq!((answer.status, hints), (status, informed), "{method} {version}");
            }
        }
    }
    for wrong in ["HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", "SSH-2.0-OpenSSH\r\n\r\n", "\0\0"]
    {
        let gateway = before(&responding(wrong, false).address.to_string(), &[]);
        assert_eq!(gateway.get("/x").status, 502, "{wrong:?}");
    }
}

#[test]
fn informational_responses_do_not_prolong_the_time_of_a_response() {
    for (count, status) in [(8, 200), (60, 504)] {
        let upstream = Upstream::start(move |_, _, stream| {
            for _ in 0..count {
                if stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").is_err() {
                    return false;
                }
                thread::sleep(Duration::from_millis(200));
            }
            respond(stream, "", "ok")
        });
        let limits =
            [("GATEWAY_UPSTREAM_TIMEOUT_SECONDS", "1"), ("GATEWAY_TOTAL_TIMEOUT_SECONDS", "4")];
        let gateway = before(&upstream.address.to_string(), &limits);
        let mut client = gateway.connect();
        // Without informational responses for the client.
        client.send("GET /x HTTP/1.0\r\nHost: a\r\n\r\n");
        assert_eq!(client.head().status, status, "{count}");
    }
}

#[test]
fn a_disconnected_client_cancels_its_upstream_request() {
    let (reports, ended) = channel();
    let upstream = Upstream::start(move |_, _, stream| {
        // The gateway closes the connection when it cancels the request.
        let _ = reports.send("asked");
        let _ = stream.read(&mut [0]);
        let _ = reports.send("given up");
        false
    });
    let gateway = before(&upstream.address.to_string(), &[]);
    let client = gateway.begin(GET);
    assert_eq!(ended.recv_timeout(BOUND), Ok("asked"));
    let stream = client.reader.into_inner();
    // Closing the socket resets the connection.
    let socket = tokio::net::TcpSocket::from_std_stream(stream);
    socket.set_zero_linger().unwrap();
    drop(socket);
    assert_eq!(ended.recv_timeout(BOUND), Ok("given up"));
}
