//! Configuration: tests with routes, limits, trusted proxies, cache settings, logs and metrics.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use testing::{Answer, BOUND, eventually, fields, respond, run, serve};

use crate::{
    GATEWAY, HEALTHY, Upstream, echo_upgraded, free_address, is_check, metrics, rejected, start,
    start_with_routes,
};

/// An upstream that returns the received request with these fields.
fn origin(more: &'static str, takes: Duration) -> Upstream {
    Upstream::start(move |number, request, stream| {
        if number > 0 {
            thread::sleep(takes);
        }
        if request.contains("\r\nupgrade: echo\r\n") {
            echo_upgraded(stream);
            return false;
        }
        respond(stream, more, request)
    })
}

fn plain() -> Upstream {
    origin("", Duration::ZERO)
}

/// Creates a file for one test.
fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).unwrap();
    path
}

fn seen(answer: &Answer, name: &str) -> Vec<String> {
    fields(answer.text(), name).into_iter().map(str::to_owned).collect()
}

#[test]
fn an_asset_is_fetched_once_and_then_served_from_the_cache() {
    let origin = origin(
        "Cache-Control: public, max-age=31536000, immutable\r\nETag: \"a\"\r\n",
        Duration::ZERO,
    );
    let gateway = start(origin.address, &[]);
    let first = gateway.get("/app.js");
    let second = gateway.get("/app.js");
    assert_eq!((origin.request_count(), &first.body), (1, &second.body));
    assert!(first.field("cache-status").unwrap().contains("fwd=uri-miss"), "{}", first.head);
    assert!(second.field("cache-status").unwrap().contains("hit"), "{}", second.head);
    assert!(second.field("age").is_some());
    let known = gateway.ask("GET", "/app.js", &[("if-none-match", "\"a\"")]);
    assert_eq!((known.status, known.text(), origin.request_count()), (304, "", 1));
    let head = gateway.ask("HEAD", "/app.js", &[]);
    assert_eq!((head.status, head.text(), origin.request_count()), (200, "", 1));
}

#[test]
fn concurrent_requests_for_the_same_target_cause_one_upstream_request() {
    let origin = origin("Cache-Control: max-age=0, s-maxage=60\r\n", Duration::from_millis(300));
    let gateway = start(origin.address, &[]);
    let mut clients: Vec<_> = (0..20).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.send("GET /stats HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn a_response_that_must_be_revalidated_is_304_for_a_matching_condition_and_never_stored() {
    let origin = origin("Cache-Control: no-cache\r\nETag: \"a\"\r\n", Duration::ZERO);
    let gateway = start(origin.address, &[]);
    for count in 1..4 {
        let answer = gateway.ask("GET", "/", &[("if-none-match", "\"a\"")]);
        assert_eq!((answer.text(), origin.request_count()), ("", count), "{}", answer.head);
        assert_eq!(answer.status, 304);
    }
}

#[test]
fn every_event_stream_of_a_client_counts_whatever_its_request_accepts() {
    let origin = Upstream::start(|_, _, stream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                    Transfer-Encoding: chunked\r\n\r\n7\r\ndata:\n\n\r\n";
        stream.write_all(head.as_bytes()).is_ok()
    });
    let admin = free_address();
    let gateway = start(
        origin.address,
        &[("GATEWAY_CLIENT_STREAMS", "1"), ("GATEWAY_ADMIN_LISTEN", &admin.to_string())],
    );
    let open = |head: &str| {
        let mut client = gateway.begin(&format!("{head}\r\nHost: a\r\n\r\n"));
        let status = client.head().status;
        (client, status)
    };
    let first = open("GET /events HTTP/1.1\r\nAccept: */*");
    assert_eq!(first.1, 200);
    for head in [
        "GET /events HTTP/1.1",
        "GET /events HTTP/1.1\r\nAccept: text/event-stream",
        "GET /events HTTP/1.0",
    ] {
        assert_eq!(open(head).1, 429, "{head}");
    }
    let post = "POST /events HTTP/1.1\r\nContent-Length: 0";
    drop(first);
    let begun = Instant::now();
    let first = loop {
        let stream = open("GET /events HTTP/1.1");
        if stream.1 == 200 {
            break stream;
        }
        assert!(begun.elapsed() < BOUND);
    };
    let second = open(post);
    assert_eq!(second.1, 200, "it has taken effect");
    drop(first);
    // Only the second one is open.
    eventually(|| metrics(admin).contains("gateway_streams{route=\"/\"} 1\n"));
    assert_eq!(open("GET /events HTTP/1.1").1, 429);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let gateway = start(plain().address, &[]);
    let mut client = gateway.connect();
    let one = |n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n");
    let body =
        "POST /4 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let all: Vec<_> = (1..=50).map(|n| if n == 4 { body.to_owned() } else { one(n) }).collect();
    client.send(&all.concat());
    for n in 1..=50 {
        let answer = client.answer();
        let method = if n == 4 { "POST" } else { "GET" };
        assert!(answer.text().starts_with(&format!("{method} /{n} ")), "{}", answer.text());
        assert_eq!(answer.text().ends_with("abc"), n == 4);
    }
}

#[test]
fn a_client_over_its_rate_gets_429_with_retry_after() {
    let origin = plain();
    let gateway = start(origin.address, &[("GATEWAY_CLIENT_RATE", "1 burst 3")]);
    let statuses: Vec<_> = (0..5).map(|_| gateway.get("/").status).collect();
    assert_eq!(statuses[..3], [200, 200, 200]);
    let answer = gateway.get("/");
    assert_eq!(answer.status, 429);
    assert_eq!(answer.field("retry-after"), Some("1"));
    assert!(answer.field("ratelimit").is_some() && answer.field("ratelimit-policy").is_some());
    assert_eq!(gateway.get("/healthz").status, 200);
}

#[test]
fn connections_and_streams_of_a_client_are_limited() {
    let gateway = start(plain().address, &[("GATEWAY_CLIENT_CONNECTIONS", "1")]);
    let mut first = gateway.begin("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(first.answer().status, 200);
    let mut second = gateway.connect();
    let mut byte = [0];
    assert_eq!(second.reader.read(&mut byte).unwrap_or(0), 0, "it was let in");
}

#[test]
fn only_allowed_clients_have_access() {
    let denied = start(plain().address, &[("GATEWAY_DENY", "127.0.0.0/8")]);
    assert_eq!((denied.get("/").status, denied.get("/healthz").status), (403, 200));
    let others = start(plain().address, &[("GATEWAY_ALLOW", "10.0.0.0/8")]);
    assert_eq!(others.get("/").status, 403);
    let hosts = start(plain().address, &[("GATEWAY_HOSTS", "example.org")]);
    let mut foreign = hosts.begin("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert_eq!((foreign.answer().status, hosts.get("/").status), (421, 200));
}

#[test]
fn only_trusted_proxies_may_set_forwarded_fields() {
    let claims = [("x-forwarded-for", "203.0.113.7"), ("x-forwarded-proto", "https")];
    let trusting = start(plain().address, &[("GATEWAY_TRUSTED_PROXIES", "127.0.0.1")]);
    let answer = trusting.ask("GET", "/", &claims);
    assert_eq!(seen(&answer, "x-forwarded-for"), ["203.0.113.7, 127.0.0.1"]);
    assert_eq!(seen(&answer, "x-forwarded-proto"), ["https"]);
    assert!(answer.field("strict-transport-security").is_some());
    let doubting = start(plain().address, &[]);
    let answer = doubting.ask("GET", "/", &claims);
    assert_eq!(seen(&answer, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen(&answer, "x-forwarded-proto"), ["http"]);
    assert!(answer.field("strict-transport-security").is_none());
}

#[test]
fn a_protected_route_requires_credentials_and_does_not_forward_them() {
    let origin = plain();
    let secret = file("secret", "0123456789abcdef\n");
    let route = format!("/private {} auth=bearer", origin.address);
    let gateway = start(
        origin.address,
        &[("GATEWAY_ROUTES", &route), ("GATEWAY_SECRET_FILE", secret.to_str().unwrap())],
    );
    let answer = gateway.get("/private/x");
    assert_eq!((answer.status, origin.request_count()), (401, 0));
    assert!(answer.field("www-authenticate").unwrap().starts_with("Bearer"));
    let wrong = gateway.ask("GET", "/private/x", &[("authorization", "Bearer wrong")]);
    assert_eq!(wrong.status, 401);
    let right = gateway.ask("GET", "/private/x", &[("authorization", "Bearer 0123456789abcdef")]);
    assert_eq!(right.status, 200);
    assert!(seen(&right, "authorization").is_empty(), "the upstream saw it");
    assert_eq!(gateway.get("/privateer").status, 200);
}

#[test]
fn a_protocol_upgrade_requires_a_route_that_allows_it() {
    let origin = plain();
    let route = format!("/ws {} upgrade=websocket,echo", origin.address);
    let gateway = start(origin.address, &[("GATEWAY_ROUTES", &route)]);
    let upgrade = |path: &str| {
        let mut client = gateway.begin(&format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
        ));
        let head = client.head();
        (client, head)
    };
    assert_eq!(upgrade("/").1.status, 400);
    let (mut client, head) = upgrade("/ws");
    assert_eq!(head.status, 101);
    client.send("ping");
    client.read_until("ping");
    // Servers disagree whether a body belongs to the request.
    let before = origin.request_count();
    for body in ["Content-Length: 4\r\n\r\nping", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"] {
        let mut client = gateway.begin(&format!(
            "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n{body}"
        ));
        assert_eq!((client.answer().status, origin.request_count()), (400, before), "{body}");
    }
}

#[test]
fn routes_are_reloaded_and_an_invalid_table_changes_nothing() {
    let (one, other) = (plain(), plain());
    let table = file("routes", &format!("/api {}\n", one.address));
    let mut gateway = start(one.address, &[("GATEWAY_ROUTES_FILE", table.to_str().unwrap())]);
    assert_eq!((gateway.get("/api").status, one.request_count()), (200, 1));
    let mut persistent = gateway.connect();
    fs::write(&table, format!("/api {} # moved\n", other.address)).unwrap();
    gateway.signal("HUP");
    gateway.log_line("routes reloaded");
    assert_eq!(
        (gateway.get("/api").status, one.request_count(), other.request_count()),
        (200, 1, 1)
    );
    persistent.send("GET /api HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((persistent.answer().status, other.request_count()), (200, 2));
    fs::write(&table, "/api nowhere\n").unwrap();
    gateway.signal("HUP");
    gateway.log_line("cannot reload the routes; keeping the current ones");
    assert_eq!((gateway.get("/api").status, other.request_count()), (200, 3));
}

#[test]
fn a_routes_file_that_does_not_respond_stops_nothing_else() {
    let (one, other) = (plain(), plain());
    // The pipe of a run that has failed would hang here as well.
    let _ = fs::remove_file(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("hanging"));
    let table = file("hanging", &format!("/api {}\n", one.address));
    let mut gateway = start(one.address, &[("GATEWAY_ROUTES_FILE", table.to_str().unwrap())]);
    assert_eq!(gateway.get("/healthz").status, 200);
    // A pipe without a writer, like a file on a file system that hangs.
    fs::remove_file(&table).unwrap();
    assert!(Command::new("mkfifo").arg(&table).status().unwrap().success());
    gateway.signal("HUP");
    let reader_has_opened = || {
        let ((sender, opened), table) = (channel(), table.clone());
        thread::spawn(move || sender.send(fs::OpenOptions::new().write(true).open(table).unwrap()));
        opened.recv_timeout(BOUND).expect("the gateway reads the file")
    };
    let mut pipe = reader_has_opened();
    assert_eq!((gateway.get("/api").status, one.request_count()), (200, 1));
    pipe.write_all(format!("/api {}\n", other.address).as_bytes()).unwrap();
    drop(pipe);
    gateway.log_line("routes reloaded");
    assert_eq!((gateway.get("/api").status, other.request_count()), (200, 1));
    gateway.signal("HUP");
    let _pipe = reader_has_opened();
    assert_eq!(gateway.stop().code, Some(0));
    fs::remove_file(&table).unwrap();
}

#[test]
fn endless_responses_do_not_keep_the_health_checks_of_a_replaced_route() {
    let checked = Arc::new(Mutex::new(Instant::now()));
    let last = checked.clone();
    let upstream = serve(move |request, stream| {
        if is_check(request) {
            *checked.lock().unwrap() = Instant::now();
            return stream.write_all(HEALTHY).is_ok();
        }
        if request.contains("\r\nupgrade: echo\r\n") {
            echo_upgraded(stream);
            return false;
        }
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:hello\n\n";
        stream.write_all(head.as_bytes()).unwrap();
        // Until the gateway closes the connection.
        let _ = stream.read(&mut [0]);
        false
    });
    let table = file("endless", &format!("/ws {upstream} upgrade=echo check=/healthz\n"));
    let routes = [("GATEWAY_ROUTES_FILE", table.to_str().unwrap())];
    let mut gateway = start_with_routes("", &routes);
    let mut upgraded = gateway
        .begin("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
    assert_eq!(upgraded.head().status, 101);
    let streams = ["1.1", "1.0"].map(|version| {
        let mut client =
            gateway.begin(&format!("GET /ws/events HTTP/{version}\r\nHost: a\r\n\r\n"));
        client.read_until(":hello");
        client
    });
    fs::write(&table, "/ws 127.0.0.1:1 upgrade=echo\n").unwrap();
    gateway.signal("HUP");
    gateway.log_line("routes reloaded");
    let reloaded = Instant::now();
    // More than the interval of the checks, 5 s.
    while last.lock().unwrap().elapsed() < Duration::from_secs(6) {
        assert!(reloaded.elapsed() < BOUND, "it is still checked");
        thread::sleep(Duration::from_millis(20));
    }
    upgraded.send("ping");
    upgraded.read_until("ping");
    drop(streams);
}

#[test]
fn a_routes_file_may_begin_with_a_byte_order_mark() {
    let table = file("mark", "\u{feff}/api 127.0.0.1:1\n");
    let variables = [("GATEWAY_ROUTES_FILE", table.to_str().unwrap())];
    let output = run(GATEWAY, &["check"], &variables);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn metrics_are_served_only_on_the_admin_port() {
    let admin = free_address();
    let origin = origin("Cache-Control: s-maxage=60\r\n", Duration::ZERO);
    let gateway = start(origin.address, &[("GATEWAY_ADMIN_LISTEN", &admin.to_string())]);
    for _ in 0..3 {
        assert_eq!(gateway.get("/stats").status, 200);
    }
    eventually(|| {
        metrics(admin).contains("gateway_requests_total{route=\"/stats\",code=\"2xx\"} 3\n")
    });
    let text = metrics(admin);
    for line in [
        "gateway_cache_requests_total{result=\"hit\"} 2\n",
        "gateway_request_duration_seconds_count{route=\"/stats\"} 3\n",
        "state=\"healthy\"} 1\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(gateway.get("/metrics").text().starts_with("GET /metrics "), "it is the frontend's");
}

#[test]
fn the_gateway_is_ready_when_every_route_has_a_healthy_upstream() {
    let gateway = start(plain().address, &[]);
    eventually(|| gateway.get("/readyz").status == 200);
    let alone = start(plain().address, &[("GATEWAY_STATS", "no-such-name.invalid:80")]);
    let answer = alone.get("/readyz");
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("no healthy upstream for route /stats"), "{}", answer.text());
    assert_eq!(alone.get("/healthz").status, 200);
}

#[test]
fn every_request_is_logged_once_without_secrets() {
    let origin = plain();
    let gateway = start(origin.address, &[]);
    let answer = gateway.ask("GET", "/page?token=hidden", &[("authorization", "Bearer hidden")]);
    let id = answer.field("x-request-id").unwrap().to_owned();
    let log = gateway.stop().log;
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &serde_json::Value| line["request_id"] == id.as_str())
        .collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert_eq!((&lines[0]["path"], &lines[0]["status"]), (&"/page".into(), &200.into()));
    assert_eq!(lines[0]["upstream"], origin.address.to_string().as_str());
    assert!(!log.contains("hidden"), "{log}");
}

#[test]
fn check_prints_the_configuration_or_its_faults() {
    let routes =
        "/api api:1; /a a:1 timeout=2 host=b request-header=X:Basic%20c2VjcmV0 hide=Server";
    let right = run(GATEWAY, &["check"], &[("GATEWAY_ROUTES", routes)]);
    let text = String::from_utf8(right.stdout).unwrap();
    assert_eq!(right.status.code(), Some(0));
    for line in [
        "route /api -> api:1",
        "route /stats -> stats:8080",
        "trusted proxies: none",
        "compression is on",
        "at most 2s of silence, with host b, sets in requests x, hides server",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(!text.contains("c2VjcmV0"), "{text}");
    let routes = "/api; /a a:1 timeout=0 request-header=Host:secret";
    let text = rejected(&["check"], &[("GATEWAY_ROUTES", routes), ("GATEWAY_DENY", "x")]);
    assert_eq!((text.lines().count(), text.contains("secret")), (4, false), "{text}");
}
