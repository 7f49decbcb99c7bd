//! The merged stream: memory, shutdown, compression, HTTP/2, and the host of a merged gateway.

use std::io::{BufRead, Read};
use std::thread;
use std::time::{Duration, Instant};

use testing::BOUND;

use super::{Member, Viewer, start};

#[test]
fn a_stream_does_not_retain_the_head_of_its_request() {
    const STREAMS: u64 = 600;
    let member = Member::start("a");
    let gateway = start(&[&member], &[]);
    let before = gateway.memory_kb();
    let pad = "x".repeat(15_000);
    let head = format!(
        "GET /fleet/stream HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\nx: {pad}\r\n\r\n"
    );
    let mut viewers = Vec::new();
    for _ in 0..STREAMS {
        let mut viewer = gateway.begin(&head);
        assert_eq!(viewer.head().status, 200);
        viewers.push(viewer);
    }
    let grown = gateway.memory_kb() - before;
    // A stream takes less than 12 kB without its head, and the allocator has some MB in reserve.
    assert!(grown < STREAMS * 20, "{grown} kB");
}

#[test]
fn the_streams_end_immediately_on_shutdown() {
    let member = Member::start("a");
    let mut gateway = start(&[&member], &[]);
    let mut viewer = Viewer::open(&gateway);
    viewer.state(&member, "up");
    gateway.terminate();
    let begun = Instant::now();
    let mut line = String::new();
    let mut last = String::new();
    while viewer.connection.reader.read_line(&mut line).unwrap() > 0 {
        last = std::mem::take(&mut line);
    }
    // Below the drain time.
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    // The last chunk: the response is complete.
    assert_eq!(last, "\r\n");
    let ended = gateway.end();
    assert_eq!(ended.code, Some(0));
    assert!(ended.took < Duration::from_secs(4), "{:?}", ended.took);
}

#[test]
fn a_compressed_stream_has_the_same_text_and_a_complete_end() {
    let members = [Member::start("a"), Member::start("b")];
    let mut gateway = start(&[&members[0], &members[1]], &[]);
    // HTTP/1.0 has no chunked coding: the body ends with the connection.
    let mut compressed = gateway.connect();
    compressed
        .send("GET /fleet/stream HTTP/1.0\r\nhost: test\r\naccept-encoding: br, gzip\r\n\r\n");
    let head = compressed.head();
    assert_eq!(head.field("content-encoding"), Some("gzip"));
    assert_eq!(head.field("vary"), Some("accept-encoding"));
    let reading = thread::spawn(move || {
        let mut bytes = Vec::new();
        compressed.reader.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let mut plain = Viewer::open(&gateway);
    for _ in 0..6 {
        plain.until(&format!("{} summary ", members[1].address), "\"sequence\"");
    }
    gateway.terminate();
    let bytes = reading.join().unwrap();
    let mut text = String::new();
    // Also verifies the length and the checksum.
    flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    assert!(text.starts_with("event: merge\ndata: "), "{text}");
    assert!(text.ends_with("\n\n"));
    for line in plain.lines.iter().filter(|line| line.contains(" summary ")) {
        assert!(text.contains(&format!("data: {line}\n")), "{line}");
    }
    assert!(bytes.len() * 4 < text.len() * 3, "{} of {}", bytes.len(), text.len());
}

#[tokio::test]
async fn the_stream_is_the_same_over_http_2() {
    let member = Member::start("a");
    let gateway = start(&[&member], &[("GATEWAY_HTTP2", "on")]);
    let stream = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let request = http::Request::get("http://test/fleet/stream").body(()).unwrap();
    let (response, _) = client.send_request(request, true).unwrap();
    let read = async {
        let mut body = response.await.unwrap().into_body();
        let mut text = String::new();
        while text.matches(" summary ").count() < 3 {
            let piece = body.data().await.unwrap().unwrap();
            body.flow_control().release_capacity(piece.len()).unwrap();
            text.push_str(std::str::from_utf8(&piece).unwrap());
        }
        text
    };
    let text = tokio::time::timeout(BOUND, read).await.unwrap();
    assert!(text.starts_with("event: merge\ndata: "), "{text}");
    assert!(text.contains(&format!("{} minute ", member.address)), "{text}");
}

#[test]
fn a_gateway_is_merged_by_the_name_that_it_answers() {
    let member = Member::start("a");
    // As on an address other than loopback, it answers no address.
    let names = [("GATEWAY_PUBLISHED_ADDRESS", "0.0.0.0"), ("GATEWAY_HOSTS", "localhost")];
    let below = start(&[&member], &names);
    let listed = format!("localhost:{}/fleet", below.address.port());
    let above = start(&[&member], &[("GATEWAY_FLEET", &listed)]);
    let name = format!("{}_{}", below.address, member.address);
    Viewer::open(&above).find(&format!("{name} member "), "\"state\":\"up\"");
    let mut viewer =
        above.begin(&format!("GET /fleet/{name}/stats HTTP/1.1\r\nhost: viewer.test\r\n\r\n"));
    assert_eq!(viewer.head().status, 200);
}
