//! Event streams.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use server::{Chunk, Drained, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::{BOUND, LARGE_BYTES, Server, read_until, rest};

const REQUEST: &str = "GET /events HTTP/1.1\r\nhost: test\r\n\r\n";

async fn server(limits: Limits) -> Server {
    crate::server(limits, Duration::ZERO).await
}

#[tokio::test]
async fn each_event_is_a_chunk_and_the_stream_ends_whole_with_its_publisher() {
    let mut server = server(Limits::default()).await;
    let mut viewer = server.ask(REQUEST).await;
    let head = read_until(&mut viewer, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nx-kind: events\r\n"), "{head}");
    for field in ["\r\ntransfer-encoding: chunked\r\n", "\r\ndate: ", "\r\nconnection: close\r\n"] {
        assert!(head.contains(field), "{head}");
    }
    assert_eq!(read_until(&mut viewer, "first\n\n\r\n").await, "7\r\nfirst\n\n\r\n");
    server.events.publish(1, Chunk::new(b"data: 1\n\n"));
    assert_eq!(read_until(&mut viewer, "1\n\n\r\n").await, "9\r\ndata: 1\n\n\r\n");
    server.events.heartbeat();
    assert_eq!(read_until(&mut viewer, ":\n\n\r\n").await, "3\r\n:\n\n\r\n");
    assert_eq!(server.stop().await, Drained::Complete);
    assert_eq!(rest(viewer).await, "0\r\n\r\n");
}

#[tokio::test]
async fn a_client_without_chunked_encoding_gets_the_bare_text() {
    let mut server = server(Limits::default()).await;
    let mut viewer = server.ask("GET /events HTTP/1.0\r\n\r\n").await;
    let head = read_until(&mut viewer, "\r\n\r\n").await;
    assert!(!head.contains("transfer-encoding"), "{head}");
    server.events.publish(1, Chunk::new(b"data: 1\n\n"));
    assert_eq!(read_until(&mut viewer, "1\n\n").await, "first\n\ndata: 1\n\n");
    assert_eq!(server.stop().await, Drained::Complete);
    assert_eq!(rest(viewer).await, "");
}

#[tokio::test]
async fn the_answer_to_head_is_the_head() {
    let server = server(Limits::default()).await;
    let answer = rest(server.ask("HEAD /events HTTP/1.1\r\nhost: test\r\n\r\n").await).await;
    assert!(answer.contains("x-kind: events") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert_eq!(server.stop().await, Drained::Complete);
}

#[tokio::test]
async fn a_request_behind_the_stream_is_not_answered() {
    let mut server = server(Limits::default()).await;
    let mut viewer = server.ask(&format!("{REQUEST}{REQUEST}")).await;
    read_until(&mut viewer, "first\n\n\r\n").await;
    viewer.write_all(REQUEST.as_bytes()).await.unwrap();
    server.events.publish(1, Chunk::new(b"1"));
    assert_eq!(read_until(&mut viewer, "1\r\n1\r\n").await, "1\r\n1\r\n");
    assert_eq!(server.stop().await, Drained::Complete);
    assert_eq!(rest(viewer).await, "0\r\n\r\n");
}

#[tokio::test]
async fn a_viewer_that_sends_too_much_is_disconnected() {
    let server = server(Limits::default()).await;
    let mut viewer = server.ask(REQUEST).await;
    read_until(&mut viewer, "first\n\n\r\n").await;
    let mut talk = async || loop {
        if viewer.write_all(&[b'x'; 1024]).await.is_err() {
            return;
        }
    };
    timeout(BOUND, talk()).await.unwrap();
    assert_eq!(server.stop().await, Drained::Complete);
}

#[tokio::test]
async fn answers_before_the_stream_arrive_whole_also_when_the_client_is_slow() {
    let server = server(Limits::default()).await;
    let request = "GET /large HTTP/1.1\r\nhost: test\r\n\r\n";
    let mut viewer = server.ask(&format!("{request}{REQUEST}")).await;
    // hyper has requested both responses by now, and the first is blocked in it.
    sleep(Duration::from_millis(200)).await;
    read_until(&mut viewer, "\r\n\r\n").await;
    let mut large = vec![0; LARGE_BYTES];
    timeout(BOUND, viewer.read_exact(&mut large)).await.unwrap().unwrap();
    assert!(large.iter().all(|&byte| byte == b'x'));
    let head = read_until(&mut viewer, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nx-kind: events\r\n"), "{head}");
    assert_eq!(read_until(&mut viewer, "first\n\n\r\n").await, "7\r\nfirst\n\n\r\n");
    assert_eq!(server.stop().await, Drained::Complete);
}

#[tokio::test]
async fn a_slow_viewer_misses_events_and_gets_the_newest_whole() {
    let mut server = server(Limits::default()).await;
    let mut viewer = server.ask(REQUEST).await;
    read_until(&mut viewer, "first\n\n\r\n").await;
    let event = |number: u64| Chunk::new(format!("{number:04}{}", "y".repeat(100_000)).as_bytes());
    for number in 1..=200 {
        server.events.publish(number, event(number));
        sleep(Duration::from_millis(1)).await;
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&200) {
        assert_eq!(read_until(&mut viewer, "\r\n").await, "186a4\r\n");
        let mut text = vec![0; 100_006];
        timeout(BOUND, viewer.read_exact(&mut text)).await.unwrap().unwrap();
        assert!(text.ends_with(b"y\r\n"));
        seen.push(std::str::from_utf8(&text[..4]).unwrap().parse::<u64>().unwrap());
    }
    assert!(seen.is_sorted() && seen.len() < 200, "{seen:?}");
    assert_eq!(server.stop().await, Drained::Complete);
    assert_eq!(rest(viewer).await, "0\r\n\r\n");
}

// The clock is paused and advances when every task waits for time.
#[tokio::test(start_paused = true)]
async fn a_viewer_that_accepts_nothing_is_cut_off() {
    let mut server = server(Limits { connections: 1, ..Limits::default() }).await;
    let mut viewer = TcpStream::connect(server.address).await.unwrap();
    viewer.write_all(REQUEST.as_bytes()).await.unwrap();
    server.events.publish(1, Chunk::new(&vec![b'z'; LARGE_BYTES]));
    sleep(Duration::from_secs(31)).await;
    let mut text = Vec::new();
    // The connection may be reset.
    let _ = viewer.read_to_end(&mut text).await;
    assert!(text.len() < LARGE_BYTES && text.ends_with(b"z"), "{} bytes", text.len());
}

#[tokio::test]
async fn a_viewer_that_disconnects_releases_its_permit() {
    let server = server(Limits { connections: 1, ..Limits::default() }).await;
    for _ in 0..3 {
        let mut viewer = server.ask(REQUEST).await;
        read_until(&mut viewer, "first\n\n\r\n").await;
    }
    assert_eq!(server.stop().await, Drained::Complete);
}

#[tokio::test]
async fn a_stream_whose_publisher_stays_is_cut_off_and_counted() {
    let server = server(Limits { drain: Duration::from_millis(100), ..Limits::default() }).await;
    let mut viewer = server.ask(REQUEST).await;
    read_until(&mut viewer, "first\n\n\r\n").await;
    server.stop.send(()).unwrap();
    assert_eq!(timeout(BOUND, server.ended).await.unwrap().unwrap(), Drained::CutOff(1));
}

#[tokio::test]
async fn a_thousand_viewers_get_every_event_and_the_end() {
    // Both sides of their connections are in this process.
    let allowed = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: allowed, maximum: allowed }).unwrap();
    let mut server = server(Limits::default()).await;
    let mut viewers = Vec::new();
    for _ in 0..1000 {
        let mut viewer = server.ask(REQUEST).await;
        read_until(&mut viewer, "first\n\n\r\n").await;
        viewers.push(viewer);
    }
    for number in 1..=3 {
        server.events.publish(number, Chunk::new(number.to_string().as_bytes()));
        for viewer in &mut viewers {
            let end = format!("1\r\n{number}\r\n");
            assert_eq!(read_until(viewer, &end).await, end);
        }
    }
    let begun = std::time::Instant::now();
    assert_eq!(server.stop().await, Drained::Complete);
    assert!(begun.elapsed() < Duration::from_secs(2), "took {:?}", begun.elapsed());
    let mut rests: JoinSet<String> = viewers.into_iter().map(rest).collect();
    while let Some(rest) = rests.join_next().await {
        assert_eq!(rest.unwrap(), "0\r\n\r\n");
    }
}
