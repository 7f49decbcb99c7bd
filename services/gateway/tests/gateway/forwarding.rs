//! Basic behavior: tests between raw sockets with forwarding, rejection, failures and shutdown.

mod shutdown;

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use testing::{Answer, BOUND, Service, fields, read_head, respond, run, serve};

use crate::{GATEWAY, is_check, rejected, send_request, unused_address};

#[test]
fn stats_goes_to_stats_and_the_rest_to_the_frontend() {
    let gateway = between(echo("stats"), echo("frontend"));
    for (path, upstream) in [
        ("/stats", "stats"),
        ("/stats/stream?x=1", "stats"),
        ("/", "frontend"),
        ("/statsfoo", "frontend"),
        ("/assets/app.js", "frontend"),
    ] {
        let answer = get(&gateway, path);
        assert_eq!((answer.status, answer.field("from")), (200, Some(upstream)), "{path}");
        let request_line = answer.text().lines().next().unwrap();
        assert_eq!(request_line, format!("GET {path} HTTP/1.1"));
    }
}

#[test]
fn method_query_body_and_host_are_forwarded_unchanged() {
    let gateway = between(echo("stats"), echo("frontend"));
    let answer = send_request(
        &gateway,
        "POST /form?a=b%20c&d HTTP/1.1\r\nHost: example.org:3050\r\nContent-Length: 5\r\n\r\nhello",
    );
    assert_eq!(answer.status, 200);
    assert!(answer.text().starts_with("POST /form?a=b%20c&d HTTP/1.1\r\n"), "{}", answer.text());
    assert_eq!(echoed(&answer, "host"), ["example.org:3050"]);
    assert!(answer.text().ends_with("\r\n\r\nhello"), "{}", answer.text());
}

#[test]
fn an_escaped_path_is_routed_and_forwarded_in_canonical_form() {
    let gateway = between(echo("stats"), echo("frontend"));
    let answer = get(&gateway, "/%73tats?q=%73");
    assert_eq!(answer.field("from"), Some("stats"));
    assert!(answer.text().starts_with("GET /stats?q=%73 HTTP/1.1\r\n"), "{}", answer.text());
}

#[test]
fn several_requests_share_one_connection() {
    let gateway = between(echo("stats"), echo("frontend"));
    let mut client = gateway.connect();
    for path in ["/stats", "/", "/healthz", "/stats"] {
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.answer().status, 200, "{path}");
    }
}

#[test]
fn a_connection_over_the_limit_waits_for_a_slot() {
    // It accepts requests and never responds.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = silent.local_addr().unwrap().to_string();
    let gateway = start(&[
        ("GATEWAY_STATS", &upstream),
        ("GATEWAY_FRONTEND", &upstream),
        ("GATEWAY_MAX_CONNECTIONS", "1"),
    ]);
    let request = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut first = gateway.begin(request);
    assert_eq!(first.answer().status, 200);
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    // The request has reached the upstream; health checks use their own connections.
    let mut upstream = loop {
        let (stream, _) = silent.accept().unwrap();
        let head = read_head(&mut BufReader::new(&stream)).unwrap();
        if !is_check(&head) {
            break stream;
        }
    };
    let mut second = gateway.begin(request);
    let stream = second.reader.get_ref();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(stream.peek(&mut [0]).is_err(), "it was answered");
    stream.set_read_timeout(Some(BOUND)).unwrap();
    upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert_eq!(first.answer().status, 200);
    assert_eq!(second.answer().status, 200);
}

#[test]
fn silent_connections_are_closed_for_new_clients() {
    let gateway = alone(&[("GATEWAY_MAX_CONNECTIONS", "8")]);
    let request = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    // Some have never sent anything, others have received a response.
    let mut silent: Vec<_> = (0..8).map(|_| gateway.connect()).collect();
    for client in &mut silent[4..] {
        client.send(request);
        assert_eq!(client.answer().status, 200);
    }
    for round in 0..12 {
        let begun = Instant::now();
        let mut client = gateway.begin(request);
        assert_eq!(client.answer().status, 200, "{round}");
        assert!(begun.elapsed() < BOUND / 2, "{round}: {:?}", begun.elapsed());
        silent.push(client);
    }
    // Those that were idle longest are closed, and the newest are not.
    assert!(silent[..8].iter_mut().all(testing::Connection::is_closed));
    let newest = silent.last_mut().unwrap();
    newest.send(request);
    assert_eq!(newest.answer().status, 200);
}

#[test]
fn connections_with_an_incomplete_request_are_closed_for_new_clients() {
    let parts = ["G", "GET / HTTP/1.1\r\nHost: a\r\nX", "PRI * HTTP/2.0\r\n\r\n"];
    let most = parts.len().to_string();
    let gateway = alone(&[("GATEWAY_MAX_CONNECTIONS", &most), ("GATEWAY_HTTP2", "on")]);
    let mut open: Vec<_> = parts.iter().map(|_| gateway.connect()).collect();
    for (client, part) in open.iter_mut().zip(parts) {
        client.send(part);
    }
    for round in 0..parts.len() {
        let begun = Instant::now();
        let mut client = gateway.begin("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.answer().status, 200, "{round}");
        // The time of a request head is ten seconds.
        assert!(begun.elapsed() < BOUND / 2, "{round}: {:?}", begun.elapsed());
        open.push(client);
    }
}

#[test]
fn connections_that_linger_after_their_response_are_closed_for_new_clients() {
    let gateway = alone(&[("GATEWAY_MAX_CONNECTIONS", "1")]);
    let request = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut first = gateway.begin(request);
    assert_eq!(first.answer().status, 200);
    let mut stream = first.reader.get_ref().try_clone().unwrap();
    thread::spawn(move || {
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    });
    let begun = Instant::now();
    let mut second = gateway.begin(request);
    assert_eq!(second.answer().status, 200);
    // The time of a lingering close is ten seconds.
    assert!(begun.elapsed() < BOUND / 2, "{:?}", begun.elapsed());
}

#[test]
fn healthz_is_served_by_the_gateway() {
    let gateway = alone(&[]);
    let answer = get(&gateway, "/healthz");
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("application/json")));
    let health = answer.json();
    assert_eq!((&health["status"], &health["commit"]), (&"ok".into(), &"unknown".into()));
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    let head =
        send_request(&gateway, "HEAD /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!((head.status, head.text()), (200, ""));
    let post =
        send_request(&gateway, "POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((post.status, post.field("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn a_stopped_upstream_is_502_immediately_and_the_other_one_still_serves() {
    let gateway = between(unused_address(), echo("frontend"));
    let begun = Instant::now();
    let answer = get(&gateway, "/stats");
    assert_eq!(answer.status, 502);
    assert!(begun.elapsed() < BOUND / 5);
    assert_eq!(answer.field("content-type"), Some("application/problem+json"));
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    assert_eq!(answer.field("server"), None);
    let problem = answer.json();
    assert_eq!(problem["status"], 502);
    assert_eq!(problem["detail"], "the upstream of route /stats cannot be reached");
    assert_eq!(get(&gateway, "/").status, 200);
    // A browser gets a page.
    let accepts = "GET /stats HTTP/1.1\r\nHost: a\r\nAccept: text/html,*/*;q=0.8\r\n\r\n";
    let page = send_request(&gateway, accepts);
    assert_eq!((page.status, page.field("content-type")), (502, Some("text/html; charset=utf-8")));
    assert!(page.text().contains("the upstream of route /stats cannot be reached"));
}

#[test]
fn an_upstream_that_closes_without_a_response_is_502() {
    let closing = serve(|_, _| false);
    let gateway = between(closing, unused_address());
    assert_eq!(get(&gateway, "/stats").status, 502);
}

#[test]
fn an_upstream_that_hangs_is_504_after_the_timeout() {
    let hanging = serve(|_, _| {
        loop {
            thread::park();
        }
    });
    let gateway = start(&[
        ("GATEWAY_STATS", &hanging.to_string()),
        ("GATEWAY_FRONTEND", &unused_address().to_string()),
        ("GATEWAY_UPSTREAM_TIMEOUT_SECONDS", "1"),
    ]);
    let begun = Instant::now();
    let answer = get(&gateway, "/stats");
    assert_eq!(answer.status, 504);
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(900) && waited < BOUND / 2, "{waited:?}");
    assert!(answer.text().contains("the upstream of route /stats did not respond in time"));
}

#[test]
fn a_name_that_does_not_resolve_is_503_and_does_not_affect_other_routes() {
    let mut gateway = start(&[
        ("GATEWAY_STATS", "no-such-name.invalid:8080"),
        ("GATEWAY_FRONTEND", &echo("frontend").to_string()),
        ("GATEWAY_RESOLVE_SECONDS", "1"),
    ]);
    gateway.log_line("name resolution failed");
    let answer = get(&gateway, "/stats");
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
    assert_eq!(get(&gateway, "/").status, 200);
    let ended = gateway.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.log.matches("name resolution failed").count(), 1, "{ended:?}");
    assert!(!ended.log.contains("panic"), "{ended:?}");
}

#[test]
fn an_idle_connection_that_the_upstream_closed_fails_no_request() {
    // It closes the connection after one response, without announcing it.
    let forgetful = serve(|_, stream| {
        respond(stream, "", "ok");
        false
    });
    let gateway = between(forgetful, unused_address());
    for _ in 0..20 {
        assert_eq!(get(&gateway, "/stats").status, 200);
    }
}

#[test]
fn the_gateway_sends_its_own_http_version() {
    let old = serve(|_, stream| {
        let answer = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok";
        stream.write_all(answer).unwrap();
        false
    });
    let gateway = between(old, unused_address());
    let answer = get(&gateway, "/stats");
    assert!(answer.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", answer.head);
    assert_eq!(answer.text(), "ok");
}

#[test]
fn ambiguous_requests_are_rejected() {
    let gateway = alone(&[]);
    for path in ["/./stats", "//stats", "/stats/../x", "/foo%2f..%2fstats", "/a\\b", "/%00"] {
        assert_eq!(get(&gateway, path).status, 400, "{path}");
    }
    assert_eq!(send_request(&gateway, "GET / HTTP/1.1\r\n\r\n").status, 400);
    assert_eq!(send_request(&gateway, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").status, 400);
    for method in ["TRACE /", "CONNECT a:80"] {
        let answer = send_request(&gateway, &format!("{method} HTTP/1.1\r\nHost: a:80\r\n\r\n"));
        assert_eq!((answer.status, answer.field("server")), (405, None), "{method}");
    }
}

#[test]
fn a_body_over_the_limit_is_413_with_and_without_a_length() {
    let gateway = between(unused_address(), echo("frontend"));
    let body = "x".repeat(64 * 1024 + 1);
    let announced =
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(send_request(&gateway, &announced).status, 413);
    let chunked = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    assert_eq!(send_request(&gateway, &chunked).status, 413);
    let limit = &body[1..];
    let within =
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{limit}", limit.len());
    assert_eq!(send_request(&gateway, &within).status, 200);
}

#[test]
fn claims_of_a_client_about_itself_are_replaced() {
    let gateway = between(echo("stats"), unused_address());
    let answer = send_request(
        &gateway,
        "GET /stats HTTP/1.1\r\nHost: example.org\r\nX-Forwarded-For: 6.6.6.6\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nForwarded: for=6.6.6.6\r\n\
         X-Request-ID: forged\r\nConnection: X-Secret\r\nTE: trailers\r\n\
         X-Secret: 1\r\n\r\n",
    );
    assert_eq!(echoed(&answer, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(echoed(&answer, "x-forwarded-proto"), ["http"]);
    assert_eq!(echoed(&answer, "x-forwarded-host"), ["example.org"]);
    for dropped in ["forwarded", "te", "connection", "x-secret"] {
        assert!(echoed(&answer, dropped).is_empty(), "{dropped}: {}", answer.text());
    }
    let id = answer.field("x-request-id").unwrap();
    assert_eq!(echoed(&answer, "x-request-id"), [id]);
    assert_eq!(id.len(), 32);
}

#[test]
fn events_are_forwarded_while_the_stream_is_open() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let stats = serve(move |_, stream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(b"9\r\ndata: 1\n\n\r\n").unwrap();
        wait.lock().unwrap().recv().unwrap();
        stream.write_all(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n").unwrap();
        true
    });
    let gateway = between(stats, unused_address());
    let mut client =
        gateway.begin("GET /stats/stream HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n");
    client.read_until("data: 1\n\n");
    go.send(()).unwrap();
    client.read_until("data: 2\n\n");
}

#[test]
fn a_head_without_end_is_431_and_the_connection_closes() {
    let gateway = between(echo("stats"), unused_address());
    let mut client = gateway.connect();
    let large = "x".repeat(12 * 1024);
    // The limit applies to each request separately.
    for _ in 0..3 {
        client.send(&format!("GET /stats HTTP/1.1\r\nHost: a\r\nX: {large}\r\n\r\n"));
        assert_eq!(client.answer().status, 200);
    }
    client.send(&format!("GET /stats HTTP/1.1\r\nHost: a\r\nX: {large}{large}"));
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("connection")), (431, Some("close")));
    assert_eq!(answer.json()["status"], 431);
    assert!(client.is_closed());
}

#[test]
fn malformed_requests_get_problem_details_and_are_logged() {
    let gateway = alone(&[]);
    let mut ids = Vec::new();
    let two_lengths = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\
                       Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    for request in ["nonsense\r\n\r\n", "GET / HTTP/1.1\r\nHo st: a\r\n\r\n", two_lengths] {
        let mut client = gateway.begin(request);
        let answer = client.answer();
        // A forwarded one is 502.
        assert_eq!((answer.status, answer.field("server")), (400, None), "{request}");
        assert_eq!(answer.field("connection"), Some("close"), "{request}");
        assert_eq!(answer.field("content-type"), Some("application/problem+json"));
        ids.push(answer.field("x-request-id").unwrap().to_owned());
        assert!(client.is_closed());
    }
    let ended = gateway.stop();
    assert!(ids.iter().all(|id| ended.log.contains(id)), "{ended:?}");
}

#[test]
fn a_port_in_use_is_reported_in_one_sentence_with_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(GATEWAY, &[], &[("GATEWAY_LISTEN", &address)]);
    assert_eq!(output.status.code(), Some(1));
    let sentence =
        format!("gateway: cannot listen on {address}: the port is in use by another process\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), sentence);
}

#[test]
fn all_invalid_settings_are_reported_together_with_exit_code_64() {
    let stderr = rejected(
        &[],
        &[
            ("GATEWAY_STATS", "stats"),
            ("GATEWAY_FRONTEND", "http://frontend"),
            ("GATEWAY_STAT", "stats:8080"),
        ],
    );
    assert_eq!(stderr.lines().count(), 3, "{stderr}");
    for name in ["GATEWAY_STATS is", "GATEWAY_FRONTEND is", "GATEWAY_STAT is"] {
        assert!(stderr.contains(name), "{stderr}");
    }
}

#[test]
fn the_health_check_contacts_the_running_gateway() {
    let gateway = alone(&[]);
    let listen = gateway.address.to_string();
    let check =
        |listen: &str| run(GATEWAY, &["healthcheck"], &[("GATEWAY_LISTEN", listen)]).status.code();
    assert_eq!(check(&listen), Some(0));
    assert_eq!(check(&unused_address().to_string()), Some(1));
}

fn between(stats: SocketAddr, frontend: SocketAddr) -> Service {
    start(&[("GATEWAY_STATS", &stats.to_string()), ("GATEWAY_FRONTEND", &frontend.to_string())])
}

/// A gateway without upstreams.
fn alone(settings: &[(&str, &str)]) -> Service {
    let nowhere = unused_address().to_string();
    let own = [("GATEWAY_STATS", &*nowhere), ("GATEWAY_FRONTEND", &nowhere)];
    start(&[&own, settings].concat())
}

fn start(settings: &[(&str, &str)]) -> Service {
    Service::start(GATEWAY, "GATEWAY_LISTEN", &[&[("GATEWAY_HOSTS", "*")], settings].concat())
}

fn get(gateway: &Service, path: &str) -> Answer {
    send_request(gateway, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
}

/// Values of a field in the request that [`echo`] received.
fn echoed<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    fields(answer.text(), name)
}

/// An upstream that returns the received request.
fn echo(name: &'static str) -> SocketAddr {
    serve(move |request, stream| respond(stream, &format!("From: {name}\r\n"), request))
}
