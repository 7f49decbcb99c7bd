//! Protection against clients: tests with cache busting, unnecessary upstream load, authentication
//! bypass, forged identity, and loops.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use testing::{Answer, BOUND, Service, fields, respond};

use crate::{GATEWAY, Upstream, connect, free_address, start};

const SECRET: &str = "0123456789abcdef";

/// An upstream that returns the number of each request.
fn origin(more: &'static str) -> Upstream {
    Upstream::start(move |number, _, stream| respond(stream, more, &number.to_string()))
}

/// The response to this request, whose lines are given without line ends.
fn send_request(gateway: &Service, lines: &[&str], body: &str) -> Answer {
    let mut client =
        gateway.begin(&format!("{}\r\nConnection: close\r\n\r\n{body}", lines.join("\r\n")));
    client.last_answer()
}

const CACHED: &str = "Cache-Control: s-maxage=600\r\nETag: \"a\"\r\n";

#[test]
fn a_fresh_response_is_never_fetched_again_for_any_request_field() {
    let origin = origin(CACHED);
    let gateway = start(origin.address, &[]);
    let get = "GET /s HTTP/1.1";
    assert_eq!(send_request(&gateway, &[get, "Host: a.test"], "").text(), "1");
    for extra in [
        "Cache-Control: no-cache",
        "Cache-Control: no-store",
        "Cache-Control: max-age=0, no-store",
        "Pragma: no-cache",
        "Range: bytes=0-",
        "If-Range: \"x\"",
        "If-Match: *",
        "If-Match: \"b\"",
        "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
        "Accept: text/event-stream",
        "Accept: application/json, text/event-stream;q=0.5",
        "X-HTTP-Method-Override: DELETE",
    ] {
        for method in ["GET", "HEAD"] {
            let line = format!("{method} /s HTTP/1.1");
            let answer = send_request(&gateway, &[&line, "Host: a.test", extra], "");
            let expected = if method == "GET" { "1" } else { "" };
            // A range that covers the whole body.
            let is_part = method == "GET" && extra.starts_with("Range");
            let status = if is_part { 206 } else { 200 };
            assert_eq!((answer.status, answer.text()), (status, expected), "{method} {extra}");
        }
    }
    let with_body = send_request(&gateway, &[get, "Host: a.test", "Content-Length: 1"], "x");
    assert_eq!(with_body.text(), "1");
    assert_eq!(origin.request_count(), 1);
    // A response that is not stored is still fetched, and not stored if the request forbids it.
    for (extra, numbers) in
        [("Cache-Control: no-store", ["2", "3"]), ("Range: bytes=0-", ["4", "5"])]
    {
        for number in numbers {
            let answer =
                send_request(&gateway, &["GET /other HTTP/1.1", "Host: a.test", extra], "");
            assert_eq!(answer.text(), number, "{extra}");
        }
    }
}

#[test]
fn all_forms_of_a_host_share_one_stored_response_and_invalidation() {
    let origin = origin(CACHED);
    let gateway = start(origin.address, &[]);
    let forms = ["a.test", "A.Test", "a.test:80", "a.test:", "a.TEST:0080"];
    for form in forms {
        let get = |host: &str| {
            let host = format!("Host: {host}");
            send_request(&gateway, &["GET /doc HTTP/1.1", &host], "").text().to_owned()
        };
        let before = get("a.test");
        for other in forms {
            assert_eq!(get(other), before, "{other}");
        }
        assert_eq!(fields(&origin.last(), "host"), ["a.test"]);
        let host = format!("Host: {form}");
        let put = send_request(&gateway, &["PUT /doc HTTP/1.1", &host, "Content-Length: 3"], "new");
        assert_eq!(put.status, 200);
        assert_ne!(get("a.test"), before, "a PUT to {form} changes nothing");
    }
}

#[test]
fn stored_responses_are_separate_for_each_forwarded_scheme_and_host() {
    let origin = origin(CACHED);
    let trusting = [("GATEWAY_TRUSTED_PROXIES", "127.0.0.1"), ("GATEWAY_TRUST_HOST", "on")];
    let gateway = start(origin.address, &trusting);
    let get = |host: &str, forwarded_host: &str, scheme: &str| {
        let (host, forwarded_host) =
            (format!("Host: {host}"), format!("X-Forwarded-Host: {forwarded_host}"));
        let scheme = format!("X-Forwarded-Proto: {scheme}");
        let lines =
            ["GET / HTTP/1.1", &host, "X-Forwarded-For: 192.0.2.1", &forwarded_host, &scheme];
        send_request(&gateway, &lines, "").text().to_owned()
    };
    let first = get("inner", "a.test", "http");
    assert_eq!(get("inner", "A.test:80", "http"), first);
    for (host, forwarded_host, scheme) in [
        ("inner", "b.test", "http"),
        ("inner", "a.test", "https"),
        ("outer", "a.test", "http"),
        ("inner", "inner", "http"),
    ] {
        let other = get(host, forwarded_host, scheme);
        assert_ne!(other, first, "{host} {forwarded_host} {scheme}");
        assert_eq!(get(host, forwarded_host, scheme), other, "it is cached");
    }
}

#[test]
fn claims_of_a_client_are_not_forwarded() {
    let origin = origin("");
    let gateway = start(origin.address, &[]);
    let claims = [
        "X-HTTP-Method-Override: DELETE",
        "x_http_method: DELETE",
        "X-Original-URL: /admin",
        "X-Rewrite-URL: /admin",
        "X-Forwarded-Uri: /admin",
        "True-Client-IP: 192.0.2.1",
        "CF-Connecting-IP: 192.0.2.1",
        "X-Remote-User: root",
        "Remote_User: root",
        "X-SSL-Client-Verify: SUCCESS",
        "X-Client-Cert: x",
        "X-Forwarded-Client-Cert: x",
        "X-Amzn-Oidc-Identity: root",
    ];
    for method in ["GET", "POST"] {
        let line = format!("{method} / HTTP/1.1");
        let mut lines = vec![&*line, "Host: a.test", "X-Kept: 1", "Content-Length: 0"];
        lines.extend(claims);
        assert_eq!(send_request(&gateway, &lines, "").status, 200);
        let seen = origin.last();
        assert_eq!(fields(&seen, "x-kept"), ["1"], "{method}");
        for claim in claims {
            let (name, _) = claim.split_once(": ").unwrap();
            assert!(fields(&seen, name).is_empty(), "{method} {claim}");
        }
    }
}

#[test]
fn no_form_of_a_path_bypasses_authentication() {
    let origin = origin("");
    let routes = format!("/Admin/Area {0} auth=bearer; /Admin/Area/open {0}", origin.address);
    let gateway = start(origin.address, &[("GATEWAY_ROUTES", &routes), ("GATEWAY_SECRET", SECRET)]);
    let status = |path: &str| {
        let line = format!("GET {path} HTTP/1.1");
        send_request(&gateway, &[&line, "Host: a.test", "X-Original-URL: /Admin/Area"], "").status
    };
    for path in [
        "/Admin/Area",
        "/admin/area",
        "/Admin;x=1/Area/users",
        "/Admin%20/Area",
        "/Admin./Area/x",
        "/Admin/Area%3B/users",
        "/;x/Admin/Area",
        "/%EF%BD%81dmin/area",
        "/%2561dmin/area",
        "/admin/area::$DATA",
        "/Admin/Area/open/%252e%252e/x",
        "/Admin/Area/open/%3F/%252e%252e/x",
        "/Admin/Area/open/%EF%BC%8E%EF%BC%8E/x",
        "/Admin%EF%BC%8FArea",
        "/Admin/../x",
        "//Admin",
    ] {
        let status = status(path);
        assert!([400, 401].contains(&status), "{path}: {status}");
    }
    assert_eq!(origin.request_count(), 0);
    for path in
        ["/", "/administrator/area", "/admin", "/Admin/Areas", "/a;b/c", "/Admin/Area/open/x"]
    {
        assert_eq!(status(path), 200, "{path}");
    }
    // Without protected routes, the interpretation of such paths is up to the upstream.
    let open = start(origin.address, &[]);
    assert_eq!(send_request(&open, &["GET /ADMIN;x=1 HTTP/1.1", "Host: a"], "").status, 200);
}

#[test]
fn a_response_has_one_hsts_field_and_one_id_and_the_upstream_hsts_wins() {
    const POLICY: &str = "Strict-Transport-Security: max-age=1; includeSubDomains\r\n";
    let own = "max-age=31536000";
    for (more, expected) in [
        ("", own),
        (POLICY, "max-age=1; includeSubDomains"),
        (
            "Strict-Transport-Security: max-age=1; includeSubDomains\r\n\
             Strict-Transport-Security: max-age=2\r\nX-Request-ID: mine\r\n\
             Cache-Control: max-age=60\r\n",
            "max-age=1; includeSubDomains",
        ),
    ] {
        let origin = origin(more);
        let gateway = start(origin.address, &[("GATEWAY_TRUSTED_PROXIES", "127.0.0.1")]);
        for method in ["GET", "GET", "HEAD", "POST"] {
            let line = format!("{method} / HTTP/1.1");
            let claims = ["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https"];
            let lines = [&*line, "Host: a.test", "Content-Length: 0", claims[0], claims[1]];
            let answer = send_request(&gateway, &lines, "");
            let head = &answer.head;
            assert_eq!(fields(head, "strict-transport-security"), [expected], "{method}: {head}");
            assert_eq!(fields(head, "x-request-id").len(), 1, "{method}: {head}");
            assert_ne!(answer.field("x-request-id"), Some("mine"), "{method}");
        }
    }
}

#[test]
fn via_is_extended_and_a_loop_ends_at_its_first_return() {
    let origin = origin("");
    // A route back to the gateway itself: the port must be known before the start.
    let free = free_address();
    let route = format!("/loop {free}");
    let address = free.to_string();
    let gateway =
        start(origin.address, &[("GATEWAY_ROUTES", &route), ("GATEWAY_ADMIN_LISTEN", "off")]);
    send_request(&gateway, &["GET / HTTP/1.1", "Host: a.test", "Via: 1.0 fred"], "");
    let via = fields(&origin.last(), "via").join(", ");
    assert!(via.starts_with("1.0 fred, 1.1 gateway-"), "{via}");
    send_request(&gateway, &["GET / HTTP/1.0", "Host: a.test"], "");
    assert!(fields(&origin.last(), "via")[0].starts_with("1.0 gateway-"), "{}", origin.last());
    // A client that sends the gateway's own name in Via is treated as a loop.
    let own = format!("Via: 1.1 x, {}", via.rsplit(", ").next().unwrap());
    for method in ["GET", "POST", "OPTIONS"] {
        let line = format!("{method} /x HTTP/1.1");
        let before = origin.request_count();
        let answer =
            send_request(&gateway, &[&line, "Host: a.test", "Content-Length: 0", &own], "");
        assert_eq!((answer.status, origin.request_count()), (508, before), "{method}");
    }
    drop(gateway);
    let settings = [
        ("GATEWAY_LISTEN", address.as_str()),
        ("GATEWAY_ROUTES", &route),
        ("GATEWAY_ADMIN_LISTEN", "off"),
        ("GATEWAY_HOSTS", "*"),
        ("LOG_FORMAT", "json"),
    ];
    let mut child = std::process::Command::new(GATEWAY).env_clear().envs(settings).spawn().unwrap();
    let mut stream = connect(free);
    stream.write_all(b"GET /loop HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    let read = stream.read_to_string(&mut text);
    let _ = (child.kill(), child.wait());
    read.unwrap();
    assert!(text.starts_with("HTTP/1.1 508 "), "{text}");
}

#[test]
fn max_forwards_limits_options() {
    let origin = origin("");
    let gateway = start(origin.address, &[]);
    let options = |left: &str| {
        let left = format!("Max-Forwards: {left}");
        send_request(&gateway, &["OPTIONS /x HTTP/1.1", "Host: a.test", &left], "")
    };
    let here = options("0");
    assert_eq!((here.status, origin.request_count()), (200, 0));
    assert!(here.field("allow").unwrap().contains("OPTIONS"), "{}", here.head);
    for (came, went) in
        [("5", "4"), ("1", "0"), ("99999999999999999999999", "18446744073709551614")]
    {
        assert_eq!(options(came).status, 200);
        assert_eq!(fields(&origin.last(), "max-forwards"), [went], "{came}");
    }
    for wrong in ["x", "-1", "", "1, 2"] {
        assert_eq!(options(wrong).status, 400, "{wrong}");
    }
    send_request(&gateway, &["GET /x HTTP/1.1", "Host: a.test", "Max-Forwards: 0"], "");
    assert_eq!(fields(&origin.last(), "max-forwards"), ["0"], "it means nothing for GET");
}

#[test]
fn an_invalid_tracestate_is_dropped() {
    let origin = origin("");
    let gateway = start(origin.address, &[]);
    let parent = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (state, passes) in
        [("foo=1,bar=2", true), ("foo=1,FOO=2", false), ("foo=", false), ("@foo=1", false)]
    {
        let state = format!("tracestate: {state}");
        send_request(&gateway, &["GET / HTTP/1.1", "Host: a.test", parent, &state], "");
        let seen = origin.last();
        assert_eq!(!fields(&seen, "tracestate").is_empty(), passes, "{state}");
        // The trace continues.
        assert!(fields(&seen, "traceparent")[0].starts_with(&parent[13..49]));
    }
}

#[test]
fn the_memory_of_a_peak_is_returned_to_the_kernel() {
    const CLIENTS: u64 = 800;
    let gateway = start(free_address(), &[]);
    let before = gateway.memory_kb();
    let wait = |reached: &dyn Fn(u64) -> bool| {
        let begun = Instant::now();
        while !reached(gateway.memory_kb().saturating_sub(before)) {
            assert!(begun.elapsed() < BOUND, "{} kB, {before} before", gateway.memory_kb());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    // Incomplete heads, which the gateway holds.
    let head = format!("GET / HTTP/1.1\r\nHost: a.test\r\nX: {}", "x".repeat(15_000));
    let clients: Vec<_> = (0..CLIENTS).map(|_| gateway.begin(&head)).collect();
    wait(&|kb| kb > CLIENTS * 15);
    drop(clients);
    wait(&|kb| kb < CLIENTS * 5);
    // Otherwise the kernel takes it again, some seconds later.
    assert_eq!(gateway.status("THP_enabled:"), "0");
}
