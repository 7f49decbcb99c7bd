//! Limits, deadlines and drain of the accept loop.

use std::time::{Duration, Instant};

use server::{Drained, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::{BOUND, rest, server};

const REQUEST: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";

#[tokio::test]
async fn an_idle_connection_does_not_delay_the_end() {
    let server = server(Limits::default(), Duration::ZERO).await;
    let mut idle = server.ask(REQUEST).await;
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let begun = Instant::now();
    assert_eq!(server.stop().await, Drained::Complete);
    assert!(begun.elapsed() < Duration::from_secs(1), "took {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_request_in_flight_is_answered_before_the_end() {
    let server = server(Limits::default(), Duration::from_millis(300)).await;
    let stream = server.ask(REQUEST).await;
    // The connection may still be in the backlog; a request ensures that the loop has accepted it.
    sleep(Duration::from_millis(100)).await;
    server.stop.send(()).unwrap();
    let answer = rest(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("small"), "{answer}");
    assert_eq!(server.ended.await.unwrap(), Drained::Complete);
}

#[tokio::test]
async fn a_request_that_outlasts_the_drain_is_cut_off_and_counted() {
    let limits = Limits { drain: Duration::from_millis(200), ..Limits::default() };
    let server = server(limits, Duration::from_mins(1)).await;
    let stream = server.ask(REQUEST).await;
    sleep(Duration::from_millis(100)).await;
    server.stop.send(()).unwrap();
    assert_eq!(timeout(BOUND, server.ended).await.unwrap().unwrap(), Drained::CutOff(1));
    drop(stream);
}

#[tokio::test]
async fn a_head_that_trickles_in_is_cut_off() {
    let limits = Limits { request_head: Duration::from_millis(200), ..Limits::default() };
    let server = server(limits, Duration::ZERO).await;
    let stream = server.ask("GET / HTTP/1.1\r\nhost:").await;
    let answer = rest(stream).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn malformed_and_oversized_heads_are_the_clients_fault() {
    let server = server(Limits::default(), Duration::ZERO).await;
    let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(64 * 1024));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(101));
    let uri = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(70 * 1024));
    for (request, statuses) in [
        ("nonsense\r\n\r\n", &["400"][..]),
        ("GET / HTTP/9.9\r\n\r\n", &["400"]),
        (&long, &["431"]),
        (&many, &["431"]),
        (&uri, &["414", "431"]),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // The server may respond and close before it has read everything.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut status = [0; 12];
        timeout(BOUND, stream.read_exact(&mut status)).await.unwrap().unwrap();
        let status = std::str::from_utf8(&status[9..]).unwrap();
        assert!(statuses.contains(&status), "{status} for {request:.40}");
    }
}

#[tokio::test]
async fn a_request_has_one_host_unless_its_version_has_none() {
    let server = server(Limits::default(), Duration::ZERO).await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n", "200"),
        ("GET / HTTP/1.1\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n", "400"),
        ("GET / HTTP/1.0\r\n", "200"),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n", "400"),
    ] {
        let stream = server.ask(&format!("{request}Connection: close\r\n\r\n")).await;
        let answer = rest(stream).await;
        assert_eq!(answer.get(9..12), Some(status), "{request}");
        assert_eq!(answer.ends_with("small"), status == "200", "{request}");
    }
}

#[tokio::test]
async fn connections_above_the_limit_wait_for_a_place() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let server = server(limits, Duration::ZERO).await;
    let mut first = server.ask(REQUEST).await;
    let mut answer = [0; 12];
    first.read_exact(&mut answer).await.unwrap();
    let mut second = server.ask(REQUEST).await;
    let early = timeout(Duration::from_millis(200), second.read_exact(&mut answer)).await;
    assert!(early.is_err(), "the second connection was served beside the first");
    drop(first);
    timeout(BOUND, second.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_place() {
    let silence = Duration::from_millis(500);
    let limits = Limits { connections: 1, silence, ..Limits::default() };
    let server = server(limits, Duration::ZERO).await;
    let mut first = server.ask("GET /large HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let mut answer = [0; 12];
    first.read_exact(&mut answer).await.unwrap();
    let mut second = server.ask(REQUEST).await;
    timeout(BOUND, second.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}
