//! Shutdown after SIGTERM.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use testing::{BOUND, Connection, Service, respond, serve};

use super::{between, echo, start, unused_address};

/// At once, on a busy machine: below the drain time of 5 s.
const BELOW_DRAIN: Duration = Duration::from_secs(4);

#[test]
fn sigterm_ends_an_idle_gateway_immediately() {
    let mut gateway = between(echo("stats"), echo("frontend"));
    let mut client = gateway.begin("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    gateway.terminate();
    assert!(client.is_closed());
    let ended = gateway.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.took < BELOW_DRAIN, "{ended:?}");
}

#[test]
fn sigterm_lets_a_request_in_flight_end() {
    let (arrived, arrival) = channel();
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let stats = serve(move |_, stream| {
        arrived.send(()).unwrap();
        wait.lock().unwrap().recv().unwrap();
        respond(stream, "Cache-Control: max-age=60\r\n", "ok")
    });
    let mut gateway = between(stats, unused_address());
    let get = "GET /stats HTTP/1.1\r\nHost: a\r\n\r\n";
    let client = gateway.begin(get);
    arrival.recv_timeout(BOUND).unwrap();
    // It waits for the response to the first one.
    let other = gateway.begin(get);
    let mut idle = gateway.begin("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(idle.answer().status, 200);
    gateway.terminate();
    assert!(idle.is_closed());
    go.send(()).unwrap();
    for mut client in [client, other] {
        let answer = client.answer();
        assert_eq!((answer.status, answer.text()), (200, "ok"));
        assert_eq!(answer.field("connection"), Some("close"));
    }
    assert_eq!(gateway.end().code, Some(0));
}

#[test]
fn an_endless_response_is_aborted_after_the_drain_time() {
    let gateway = start(&[
        ("GATEWAY_STATS", &endless("text/plain").to_string()),
        ("GATEWAY_FRONTEND", &unused_address().to_string()),
        ("DRAIN_SECONDS", "1"),
    ]);
    let mut client = gateway.begin("GET /stats/stream HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_until("data: 1\n\n");
    let ended = gateway.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let took = ended.took;
    assert!(took > Duration::from_millis(900) && took < BELOW_DRAIN, "{took:?}");
}

#[test]
fn sigterm_ends_an_event_stream_immediately_and_cleanly() {
    // Requested as an event stream, or detected by the response.
    for accept in ["Accept: text/event-stream\r\n", ""] {
        let gateway = between(endless("text/event-stream; charset=utf-8"), unused_address());
        let mut client =
            gateway.begin(&format!("GET /stats/stream HTTP/1.1\r\nHost: a\r\n{accept}\r\n"));
        client.read_until("data: 1\n\n");
        let ended = gateway.stop();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.took < BELOW_DRAIN, "{ended:?}");
        assert!(!ended.log.contains("drain time exceeded"), "{ended:?}");
        let mut rest = String::new();
        client.reader.read_to_string(&mut rest).unwrap();
        assert!(rest.ends_with("\r\n0\r\n\r\n"), "{rest:?}");
    }
}

#[test]
fn sigterm_leaves_an_upgraded_connection_to_its_peers() {
    let (mut gateway, mut client) = upgraded("5");
    gateway.terminate();
    // Its idle connection has ended, so the shutdown has begun.
    assert!(client.1.is_closed());
    client.0.send("again");
    client.0.read_until("again");
    drop(client);
    let ended = gateway.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.took < BELOW_DRAIN, "{ended:?}");
}

#[test]
fn an_upgraded_connection_ends_with_the_drain_time_and_is_logged() {
    let (gateway, mut client) = upgraded("1");
    let begun = Instant::now();
    let ended = gateway.stop();
    assert!(client.0.is_closed());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.took > Duration::from_millis(800), "{ended:?}");
    assert!(begun.elapsed() < BELOW_DRAIN, "{ended:?}");
    assert!(ended.log.contains("\"status\":101"), "{ended:?}");
}

/// A gateway with this drain time, an upgraded connection through it to an echo, and an idle
/// connection.
fn upgraded(drain: &str) -> (Service, (Connection, Connection)) {
    let echo = serve(|_, stream| {
        let head =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let mut buffer = [0; 16];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            stream.write_all(&buffer[..count]).unwrap();
        }
        false
    });
    let routes = format!("/ws {echo} upgrade=echo; /stats {echo}; / {echo}");
    let gateway = start(&[("GATEWAY_ROUTES", &routes), ("DRAIN_SECONDS", drain)]);
    let mut client = gateway
        .begin("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
    assert_eq!(client.head().status, 101);
    client.send("once");
    client.read_until("once");
    let mut idle = gateway.begin("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(idle.answer().status, 200);
    (gateway, (client, idle))
}

/// An upstream with endless responses.
fn endless(kind: &'static str) -> SocketAddr {
    serve(move |_, stream| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        while stream.write_all(b"9\r\ndata: 1\n\n\r\n").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
        false
    })
}
