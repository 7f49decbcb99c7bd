//! HTTP/2: tests between a client with prior knowledge and raw sockets.

mod streams;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request};
use testing::{BOUND, Service, fields, respond};
use tokio::time::timeout;

use crate::{HEALTHY, is_check, unused_address};

/// An upstream; `answer` gets a connection, and the request with its body.
fn upstream(answer: impl Fn(&mut TcpStream, &str) + Send + Sync + 'static) -> SocketAddr {
    testing::serve(move |request, stream| {
        if is_check(request) {
            return stream.write_all(HEALTHY).is_ok();
        }
        answer(stream, request);
        // One request per connection.
        false
    })
}

/// Returns the received request.
fn echo(stream: &mut TcpStream, request: &str) {
    respond(stream, "", request);
}

fn start(upstream: SocketAddr, more: &[(&str, &str)]) -> Service {
    crate::start(upstream, &[&[("GATEWAY_HTTP2", "on")], more].concat())
}

/// Opens a connection. The task resolves when the gateway closes it; true means without an error.
async fn connect(gateway: &Service) -> (SendRequest<Bytes>, tokio::task::JoinHandle<bool>) {
    let stream = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let task = tokio::spawn(async move { connection.await.is_ok() });
    (client.ready().await.unwrap(), task)
}

/// Starts a gateway, and opens a connection to it.
async fn open(upstream: SocketAddr, more: &[(&str, &str)]) -> (Service, SendRequest<Bytes>) {
    let gateway = start(upstream, more);
    let (client, _) = connect(&gateway).await;
    (gateway, client)
}

fn request(method: &str, path: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(format!("http://localhost{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

async fn send_request(
    client: &SendRequest<Bytes>,
    request: Request<()>,
    is_all: bool,
) -> (ResponseFuture, SendStream<Bytes>) {
    let mut client = timeout(BOUND, client.clone().ready()).await.unwrap().unwrap();
    client.send_request(request, is_all).unwrap()
}

/// A response with its complete body.
struct Answer {
    status: u16,
    fields: HeaderMap,
    body: String,
}

async fn answer(response: ResponseFuture) -> Answer {
    let (parts, mut body) = timeout(BOUND, response).await.unwrap().unwrap().into_parts();
    let mut text = Vec::new();
    while let Some(piece) = piece(&mut body).await {
        text.extend_from_slice(&piece.unwrap());
    }
    let (status, body) = (parts.status.as_u16(), String::from_utf8(text).unwrap());
    Answer { status, fields: parts.headers, body }
}

async fn piece(body: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
    let piece = timeout(BOUND, body.data()).await.unwrap();
    if let Some(Ok(piece)) = &piece {
        body.flow_control().release_capacity(piece.len()).unwrap();
    }
    piece
}

async fn get(client: &SendRequest<Bytes>, path: &str) -> Answer {
    answer(send_request(client, request("GET", path, &[]), true).await.0).await
}

#[tokio::test]
async fn sequential_requests_share_one_connection() {
    let (_gateway, client) = open(upstream(echo), &[]).await;
    let own = get(&client, "/healthz").await;
    assert_eq!(own.status, 200);
    assert!(own.body.starts_with("{\"status\":\"ok\","), "{}", own.body);
    for path in ["/", "/stats?x=1"] {
        let page = get(&client, path).await;
        assert_eq!(page.status, 200);
        assert!(page.body.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{}", page.body);
        assert_eq!(fields(&page.body, "host"), ["localhost"]);
        assert!(fields(&page.body, "connection").is_empty());
        assert_eq!(fields(&page.body, "x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(fields(&page.body, "x-forwarded-proto"), ["http"]);
        assert!(page.fields.contains_key("x-request-id"));
    }
    let head = answer(send_request(&client, request("HEAD", "/", &[]), true).await.0).await;
    assert_eq!((head.status, &*head.body), (200, ""));
    assert!(head.fields.contains_key("content-length"));
}

#[tokio::test]
async fn idle_connections_are_closed_for_new_clients() {
    let gateway = start(upstream(echo), &[("GATEWAY_MAX_CONNECTIONS", "2")]);
    let mut idle = Vec::new();
    for round in 0..5 {
        let begun = Instant::now();
        let (client, task) = connect(&gateway).await;
        assert_eq!(get(&client, "/").await.status, 200, "{round}");
        // Idle connections end by themselves after 75 s.
        assert!(begun.elapsed() < BOUND / 2, "{round}: {:?}", begun.elapsed());
        idle.push((client, task));
    }
}

#[tokio::test]
async fn stored_responses_are_served_in_both_protocols() {
    let requests = Arc::new(AtomicUsize::new(0));
    let count = requests.clone();
    let gateway = start(
        upstream(move |stream, _| {
            count.fetch_add(1, Ordering::SeqCst);
            let answer = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"a\"\r\n\
                          Transfer-Encoding: chunked\r\n\r\n4\r\npage\r\n0\r\n\r\n";
            stream.write_all(answer.as_bytes()).unwrap();
        }),
        &[],
    );
    let (client, _task) = connect(&gateway).await;
    for _ in 0..3 {
        let page = get(&client, "/page").await;
        assert_eq!((page.status, &*page.body), (200, "page"));
    }
    assert_eq!(gateway.get("/page").text(), "page");
    let known = request("GET", "/page", &[("if-none-match", "\"a\"")]);
    let known = answer(send_request(&client, known, true).await.0).await;
    assert_eq!((known.status, &*known.body), (304, ""));
    assert_eq!(requests.load(Ordering::SeqCst), 1);
    // The first client already has the representation; the response is stored nevertheless.
    let known = request("GET", "/other", &[("if-none-match", "\"a\"")]);
    let known = answer(send_request(&client, known, true).await.0).await;
    assert_eq!((known.status, &*known.body), (304, ""));
    assert_eq!(get(&client, "/other").await.body, "page");
    assert_eq!(requests.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_response_to_a_get_with_a_body_is_not_stored() {
    let upstream = upstream(|stream, request| {
        respond(stream, "Cache-Control: max-age=60\r\n", request);
    });
    let (_gateway, client) = open(upstream, &[]).await;
    let (forged, mut body) = send_request(&client, request("GET", "/x", &[]), false).await;
    body.send_data(Bytes::from_static(b"forged"), true).unwrap();
    assert!(answer(forged).await.body.ends_with("\r\n\r\nforged"));
    for is_stored in [false, true] {
        let other = get(&client, "/x").await;
        assert!(other.body.ends_with("\r\n\r\n"), "{}", other.body);
        let is_hit = other.fields["cache-status"].to_str().unwrap().contains("hit");
        assert_eq!(is_hit, is_stored);
    }
}

#[tokio::test]
async fn a_body_larger_than_the_window_is_complete_and_one_over_the_limit_is_rejected() {
    let (_gateway, client) = open(upstream(echo), &[]).await;
    let (response, mut body) = send_request(&client, request("POST", "/form", &[]), false).await;
    let sent = "x".repeat(60_000);
    body.send_data(Bytes::from(sent.clone()), true).unwrap();
    let echoed = answer(response).await;
    assert_eq!(fields(&echoed.body, "content-length"), ["60000"]);
    assert!(echoed.body.ends_with(&format!("\r\n\r\n{sent}")));
    let (response, mut body) = send_request(&client, request("POST", "/form", &[]), false).await;
    body.send_data(Bytes::from("x".repeat(70_000)), true).unwrap();
    assert_eq!(answer(response).await.status, 413);
    let announced = request("POST", "/form", &[("content-length", "70000")]);
    let (response, _body) = send_request(&client, announced, false).await;
    assert_eq!(answer(response).await.status, 413);
    assert_eq!(get(&client, "/").await.status, 200, "the connection goes on");
}

#[tokio::test]
async fn requests_that_the_parser_rejects_are_rejected() {
    let (gateway, client) = open(upstream(echo), &[]).await;
    for (rejected, status) in [
        (request("TRACE", "/", &[]), 405),
        (request("GET", "/a/../b%2f", &[]), 400),
        (request("GET", "/", &[("host", "other")]), 400),
        (request("GET", "/", &[("expect", "more")]), 417),
        (request("GET", "/", &[("x", &"x".repeat(16 * 1024))]), 431),
    ] {
        let what = format!("{rejected:?}");
        let refused = answer(send_request(&client, rejected, true).await.0).await;
        assert_eq!(refused.status, status, "{what}");
        assert!(refused.body.contains("\"detail\""), "{what}: {}", refused.body);
    }
    assert_eq!(get(&client, "/").await.status, 200, "the connection goes on");
    // HTTP/2 adds 32 bytes to each field, and the limit does not.
    let names: Vec<_> = (0..90).map(|number| format!("x-{number}")).collect();
    let value = "x".repeat(150);
    let fields: Vec<_> = names.iter().map(|name| (&**name, &*value)).collect();
    let many = answer(send_request(&client, request("GET", "/", &fields), true).await.0).await;
    assert_eq!(many.status, 200, "{}", many.body);
    let log = gateway.stop().log;
    assert!(log.contains("\"status\":431"), "{log}");
}

#[tokio::test]
async fn a_missing_upstream_is_a_problem_and_a_truncated_response_is_reset() {
    let (_gateway, client) = open(unused_address(), &[]).await;
    assert_eq!(get(&client, "/").await.status, 502);
    for half in ["Content-Length: 9\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n9\r\nhalf"] {
        let gateway = start(
            upstream(move |stream, _| {
                stream.write_all(format!("HTTP/1.1 200 OK\r\n{half}").as_bytes()).unwrap();
            }),
            &[],
        );
        let (client, _task) = connect(&gateway).await;
        let (response, _) = send_request(&client, request("GET", "/", &[]), true).await;
        // The reset may arrive before the head.
        let error = match timeout(BOUND, response).await.unwrap() {
            Err(error) => error,
            Ok(response) => {
                let mut body = response.into_body();
                loop {
                    match piece(&mut body).await {
                        Some(Ok(_)) => {}
                        Some(Err(error)) => break error,
                        None => unreachable!("it looks whole"),
                    }
                }
            }
        };
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{half}");
    }
}

#[tokio::test]
async fn an_uncompressed_response_is_compressed_if_accepted() {
    let plain = upstream(|stream, _| {
        respond(stream, "Content-Type: text/plain\r\n", &"all the same ".repeat(1000));
    });
    let (_gateway, client) = open(plain, &[]).await;
    let request_head = request("GET", "/", &[("accept-encoding", "gzip")]);
    let (parts, mut body) = timeout(BOUND, send_request(&client, request_head, true).await.0)
        .await
        .unwrap()
        .unwrap()
        .into_parts();
    assert_eq!(parts.headers["content-encoding"], "gzip");
    assert!(!parts.headers.contains_key("transfer-encoding"));
    let mut bytes = 0;
    while let Some(piece) = piece(&mut body).await {
        bytes += piece.unwrap().len();
    }
    assert!((1..500).contains(&bytes), "{bytes}");
}

#[tokio::test]
async fn a_connection_closed_without_a_response_is_retried_elsewhere() {
    let (broken, healthy) = (upstream(|_, _| ()), upstream(echo));
    let routes = format!("/ {broken},{healthy}");
    let (_gateway, client) = open(healthy, &[("GATEWAY_ROUTES", &routes)]).await;
    for _ in 0..10 {
        assert_eq!(get(&client, "/").await.status, 200);
    }
}

#[tokio::test]
async fn a_large_response_is_complete_through_a_small_window() {
    let gateway = start(
        upstream(|stream, _| {
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(1 << 16));
            let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
            stream.write_all((answer + &chunk.repeat(32) + "0\r\n\r\n").as_bytes()).unwrap();
        }),
        &[],
    );
    let (client, _task) = connect(&gateway).await;
    let large = get(&client, "/").await;
    assert_eq!(large.body.len(), 1 << 21);
    assert!(!large.fields.contains_key("transfer-encoding"));
}

#[tokio::test]
async fn a_hundred_requests_are_in_flight_concurrently() {
    let together = Arc::new(Barrier::new(100));
    let gateway = start(
        upstream(move |stream, request| {
            // No request is answered before all have arrived.
            together.wait();
            echo(stream, request);
        }),
        &[],
    );
    let (client, _task) = connect(&gateway).await;
    let mut responses = Vec::new();
    for number in 0..100 {
        let path = format!("/{number}");
        responses.push((send_request(&client, request("GET", &path, &[]), true).await.0, path));
    }
    for (response, path) in responses {
        let answer = answer(response).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{}", answer.body);
    }
}

#[test]
fn the_preface_is_recognized_only_if_enabled_and_only_at_the_start() {
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let off = start(upstream(echo), &[("GATEWAY_HTTP2", "off")]);
    assert_eq!(off.begin(preface).answer().status, 505);
    let on = start(upstream(echo), &[]);
    let mut client = on.begin("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    client.send(preface);
    assert_eq!(client.answer().status, 505);
    // A preface that only begins correctly is not HTTP/2 either.
    let mut client = on.begin("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\rxxxxxxxxxxxxxxxx");
    assert!(client.is_closed() || client.reader.buffer().first() != Some(&b'H'));
    // Neither protocol: an HTTP/2 client would interpret a response as a frame.
    let mut client = on.begin("INVALID CONNECTION PREFACE\r\n\r\n");
    assert!(client.is_closed());
    for line in ["GET / HTTX/1.1", "GET /", "GET / "] {
        assert_eq!(on.begin(&format!("{line}\r\n\r\n")).answer().status, 400, "{line}");
    }
    assert_eq!(off.begin("INVALID CONNECTION PREFACE\r\n\r\n").answer().status, 400);
}

#[tokio::test]
async fn an_upstream_may_respond_before_the_body_is_complete() {
    let upstream = upstream(|stream, _| {
        let answer = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig";
        stream.write_all(answer.as_bytes()).unwrap();
        // It keeps the connection open without reading.
        thread::sleep(BOUND);
    });
    let (_gateway, client) = open(upstream, &[("GATEWAY_BODY_BYTES", "16 MiB")]).await;
    let (response, mut body) = send_request(&client, request("POST", "/x", &[]), false).await;
    let sending = tokio::spawn(async move {
        for _ in 0..1000 {
            body.reserve_capacity(16 * 1024);
            if std::future::poll_fn(|context| body.poll_capacity(context)).await.is_none()
                || body.send_data(Bytes::from(vec![0; 16 * 1024]), false).is_err()
            {
                break;
            }
        }
    });
    let begun = Instant::now();
    let answer = answer(response).await;
    assert_eq!((answer.status, &*answer.body), (413, "big"));
    assert!(answer.fields.contains_key("date"));
    assert!(begun.elapsed() < BOUND / 2, "{:?}", begun.elapsed());
    sending.abort();
    // The connection persists.
    assert_eq!(get(&client, "/healthz").await.status, 200);
}

#[tokio::test]
async fn early_hints_precede_the_response() {
    let upstream = upstream(|stream, _| {
        let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: close\r\n\r\n";
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        stream.write_all(format!("{hint}{ok}").as_bytes()).unwrap();
    });
    let (_gateway, client) = open(upstream, &[]).await;
    let (mut response, _) = send_request(&client, request("GET", "/x", &[]), true).await;
    let hint = std::future::poll_fn(|context| response.poll_informational(context));
    let hint = timeout(BOUND, hint).await.unwrap().unwrap().unwrap();
    assert_eq!(hint.status().as_u16(), 103);
    assert_eq!(hint.headers()["link"], "</a>");
    assert!(!hint.headers().contains_key("connection"));
    assert_eq!(answer(response).await.body, "ok");
}

#[tokio::test]
async fn a_client_with_a_window_of_one_byte_gets_no_extra_time() {
    let upstream = upstream(|stream, _| {
        respond(stream, "Cache-Control: max-age=60\r\n", &"x".repeat(100_000));
    });
    let gateway = start(upstream, &[("GATEWAY_TOTAL_TIMEOUT_SECONDS", "1")]);
    // Once from the upstream, once from the cache.
    for _ in 0..2 {
        let stream = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
        let (client, connection) = h2::client::Builder::new()
            .initial_window_size(1)
            .handshake::<_, Bytes>(stream)
            .await
            .unwrap();
        tokio::spawn(connection);
        let client = client.ready().await.unwrap();
        let (response, _) = send_request(&client, request("GET", "/x", &[]), true).await;
        let mut body = timeout(BOUND, response).await.unwrap().unwrap().into_body();
        let begun = Instant::now();
        let mut taken = 0;
        while let Some(piece) = timeout(BOUND, body.data()).await.unwrap() {
            let Ok(piece) = piece else { break };
            taken += piece.len();
            tokio::time::sleep(Duration::from_millis(20)).await;
            let _ = body.flow_control().release_capacity(piece.len());
        }
        let took = begun.elapsed();
        assert!(taken < 100_000 && took < Duration::from_secs(5), "{taken} bytes in {took:?}");
    }
}

#[tokio::test]
async fn the_attributes_of_a_route_apply_to_http_2() {
    let address = upstream(|stream, request| {
        if request.starts_with("GET /events") {
            let head =
                "HTTP/1.1 200 OK\r\nServer: secret\r\nContent-Type: text/event-stream\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
        } else {
            respond(stream, "Server: secret\r\n", request);
        }
    });
    let routes = format!(
        "/ {address} body=4 host=api request-header=X-User:web response-header=X-A:1 hide=Server"
    );
    let (_gateway, client) = open(address, &[("GATEWAY_ROUTES", &routes)]).await;
    for path in ["/x", "/events"] {
        let response = get(&client, path).await;
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(response.fields["x-a"], "1", "{path}");
        assert!(!response.fields.contains_key("server"), "{path}");
        if path == "/x" {
            assert_eq!(fields(&response.body, "host"), ["api"]);
            assert_eq!(fields(&response.body, "x-user"), ["web"]);
        }
    }
    for (bytes, status) in [(4, 200), (5, 413)] {
        for is_known in [true, false] {
            let length = bytes.to_string();
            let known = [("content-length", &*length)];
            let sent = if is_known { &known[..] } else { &[] };
            let (response, mut body) =
                send_request(&client, request("POST", "/x", sent), false).await;
            body.send_data("x".repeat(bytes).into(), true).unwrap();
            assert_eq!(answer(response).await.status, status, "{bytes} {is_known}");
        }
    }
}
