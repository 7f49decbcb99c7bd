//! Request bodies: streaming, limits, truncation, and early responses.

use std::io::{Read, Write};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Instant;

use testing::{BOUND, Connection, respond};

use super::{read_body, rest, start, upstream, write_response};
use crate::send_request;

#[test]
fn a_long_body_is_streamed_within_the_limit() {
    let (seen, received) = channel();
    let upstream = upstream(move |head, reader| {
        let _ = seen.send(0);
        let length = read_body(head, reader);
        let _ = seen.send(length);
        respond(reader.get_mut(), "", "ok")
    });
    let gateway = start(upstream, &[("GATEWAY_BODY_BYTES", "1 MiB")]);
    let half = "x".repeat(500_000);
    for (head, before, after) in [
        ("Content-Length: 1000000", String::new(), ""),
        ("Transfer-Encoding: chunked", format!("{:x}\r\n", half.len()), "\r\n"),
    ] {
        let mut client = gateway.connect();
        let part = format!("{before}{half}{after}");
        client.send(&format!("POST /x HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n{part}"));
        // The upstream receives the head before the body is complete.
        assert_eq!(received.recv_timeout(BOUND), Ok(0), "{head}");
        client.send(&part);
        client.send(if before.is_empty() { "" } else { "0\r\n\r\n" });
        assert_eq!(client.answer().text(), "ok", "{head}");
        assert_eq!(received.recv_timeout(BOUND), Ok(1_000_000), "{head}");
        // The connection persists.
        client.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.answer().status, 200, "{head}");
    }
    let mut client =
        gateway.begin("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..3 {
        client.send(&format!("{:x}\r\n{half}\r\n", half.len()));
    }
    assert_eq!(client.answer().status, 413);
}

#[test]
fn a_truncated_body_is_not_treated_as_complete() {
    let (seen, received) = channel();
    let upstream = upstream(move |_, reader| {
        let _ = seen.send(reader.read_to_end(&mut Vec::new()).is_ok());
        false
    });
    let gateway = start(upstream, &[("GATEWAY_BODY_BYTES", "1 MiB")]);
    let part = "x".repeat(100_000);
    let mut client = gateway.begin(&format!(
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{part}\r\nnone\r\n",
        part.len()
    ));
    assert_eq!(client.answer().status, 400);
    received.recv_timeout(BOUND).unwrap();
}

#[test]
fn the_total_memory_of_bodies_is_limited() {
    let upstream = upstream(|head, reader| {
        read_body(head, reader);
        respond(reader.get_mut(), "", "ok")
    });
    let gateway = start(upstream, &[("GATEWAY_BODY_MEMORY_BYTES", "128 KiB")]);
    let part = "x".repeat(40_000);
    let hold = || {
        gateway.begin(&format!("PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n{part}"))
    };
    // Two half-sent bodies exhaust the memory limit. One of them may have been preceded by a
    // complete one.
    let is_refused = |client: &mut Connection| {
        let stream = client.reader.get_ref();
        stream.set_nonblocking(true).unwrap();
        let is_refused = stream.peek(&mut [0]).is_ok();
        stream.set_nonblocking(false).unwrap();
        is_refused
    };
    let mut occupants = [hold(), hold()];
    let put = format!("PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 40000\r\n\r\n{part}");
    let begun = Instant::now();
    let mut answer = send_request(&gateway, &put);
    while answer.status == 200 {
        assert!(begun.elapsed() < BOUND, "there is no bound");
        for client in &mut occupants {
            if is_refused(client) {
                *client = hold();
            }
        }
        answer = send_request(&gateway, &put);
    }
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
    assert_eq!(send_request(&gateway, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    drop(occupants);
    while send_request(&gateway, &put).status != 200 {
        assert!(begun.elapsed() < 2 * BOUND, "what was taken is not given back");
    }
}

#[test]
fn an_upstream_may_respond_before_it_has_read_the_body() {
    for stays in [false, true] {
        let upstream = upstream(move |_, reader| {
            write_response(
                reader,
                "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig",
            );
            if stays {
                thread::sleep(BOUND);
            }
            false
        });
        let gateway = start(upstream, &[("GATEWAY_BODY_BYTES", "16 MiB")]);
        let begun = Instant::now();
        let mut client =
            gateway.begin("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n");
        client.send(&"x".repeat(8_000_000));
        let answer = client.answer();
        assert_eq!((answer.status, answer.text()), (413, "big"), "{stays}");
        assert_eq!(answer.field("connection"), Some("close"));
        assert!(begun.elapsed() < BOUND / 2, "{:?}", begun.elapsed());
    }
}

#[test]
fn a_response_and_the_rest_of_its_request_may_overlap() {
    // It echoes while it reads.
    let upstream = upstream(|_, reader| {
        write_response(reader, "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n");
        let mut bytes = vec![0; 10_000];
        for _ in 0..30 {
            reader.read_exact(&mut bytes).unwrap();
            reader.get_mut().write_all(&bytes).unwrap();
        }
        true
    });
    let gateway = start(upstream, &[("GATEWAY_BODY_BYTES", "1 MiB")]);
    let mut client = gateway.begin("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n");
    client.send(&"x".repeat(100_000));
    assert_eq!(client.head().status, 200);
    client.send(&"x".repeat(200_000));
    assert_eq!(rest(client).len(), 300_000);
}
