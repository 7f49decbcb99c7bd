//! Cache: tests with ranges, revalidation, background refreshes of stale responses, and errors.

use std::fs;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use testing::{BOUND, Service, fields};

use crate::{Upstream, start_with_routes};

/// An upstream that responds to matching conditions with 304, and to all other requests with this
/// status, these fields, and the request number as body. Each response except the first is delayed
/// by `takes`, unless the request has the field `Fast`.
fn upstream(status: &'static str, more: &'static str, takes: Duration) -> Upstream {
    Upstream::start(move |number, request, stream| {
        if number > 1 && fields(request, "fast").is_empty() {
            thread::sleep(takes);
        }
        let answer = if fields(request, "if-none-match").contains(&"\"same\"") {
            format!("HTTP/1.1 304 Not Modified\r\n{more}\r\n")
        } else {
            let body = format!("response {number}");
            let length = body.len();
            format!("HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\n\r\n{body}")
        };
        stream.write_all(answer.as_bytes()).is_ok()
    })
}

fn before(upstream: &Upstream) -> Service {
    start_with_routes(&format!("/ {}", upstream.address), &[("GATEWAY_HTTP2", "on")])
}

#[test]
fn a_range_is_served_from_the_stored_response() {
    let more = "Cache-Control: max-age=60\r\nETag: \"a\"\r\n";
    let upstream = upstream("200 OK", more, Duration::ZERO);
    let gateway = before(&upstream);
    assert_eq!(gateway.get("/x").text(), "response 1");
    for (range, body, expected) in [
        ("bytes=0-3", "resp", "bytes 0-3/10"),
        ("bytes=9-", "1", "bytes 9-9/10"),
        ("bytes=-3", "e 1", "bytes 7-9/10"),
    ] {
        let part = gateway.ask("GET", "/x", &[("Range", range)]);
        assert_eq!((part.status, part.text()), (206, body), "{range}");
        assert_eq!(part.field("content-range"), Some(expected));
        assert_eq!(part.field("etag"), Some("\"a\""));
    }
    let beyond = gateway.ask("GET", "/x", &[("Range", "bytes=10-")]);
    assert_eq!((beyond.status, beyond.text()), (416, ""));
    assert_eq!(beyond.field("content-range"), Some("bytes */10"));
    let other = gateway.ask("GET", "/x", &[("Range", "bytes=0-3"), ("If-Range", "\"b\"")]);
    assert_eq!((other.status, other.text()), (200, "response 1"));
    assert_eq!(upstream.request_count(), 1);
}

#[test]
fn a_no_cache_response_is_revalidated_each_time_and_transferred_once() {
    let more = "Cache-Control: no-cache\r\nETag: \"same\"\r\n";
    let upstream = upstream("200 OK", more, Duration::ZERO);
    let gateway = before(&upstream);
    for number in 1..=4 {
        let answer = gateway.get("/x");
        assert_eq!((answer.status, answer.text()), (200, "response 1"), "{number}");
        assert_eq!(upstream.request_count(), number);
    }
    let known = gateway.ask("GET", "/x", &[("If-None-Match", "\"same\"")]);
    assert_eq!(known.status, 304);
    let conditional = |request: &String| !fields(request, "if-none-match").is_empty();
    let requests = upstream.requests.lock().unwrap();
    assert_eq!(requests.iter().filter(|request| conditional(request)).count(), 4);
}

#[test]
fn a_stale_response_is_sent_immediately_and_refreshed_in_the_background() {
    let takes = BOUND / 3;
    let more = "Cache-Control: max-age=1, stale-while-revalidate=60\r\n";
    let upstream = upstream("200 OK", more, takes);
    let gateway = before(&upstream);
    assert_eq!(gateway.get("/x").text(), "response 1");
    thread::sleep(Duration::from_millis(1100));
    let begun = Instant::now();
    let stale = gateway.get("/x");
    assert_eq!(stale.text(), "response 1");
    assert!(begun.elapsed() < takes, "{:?}", begun.elapsed());
    let status = stale.field("cache-status").unwrap();
    assert!(status.starts_with("gateway; hit; ttl="), "{status}");
    // One request for all, and its response replaces the old one.
    while gateway.get("/x").text() != "response 2" {
        assert!(begun.elapsed() < BOUND, "it is not fetched anew");
        assert!(upstream.request_count() <= 2);
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn fields_that_the_upstream_does_not_receive_do_not_select_a_response() {
    let more = "Cache-Control: max-age=60\r\nVary: HX-Request, CF-IPCountry\r\n";
    let upstream = upstream("200 OK", more, Duration::ZERO);
    let gateway = before(&upstream);
    let text = |fields: &[(&str, &str)]| gateway.ask("GET", "/x", fields).text().to_owned();
    // Connection removes the field, so this is the response for a request without it.
    assert_eq!(text(&[("hx-request", "true"), ("connection", "hx-request")]), "response 1");
    assert_eq!(text(&[("hx-request", "true")]), "response 2");
    assert_eq!(text(&[]), "response 1");
    assert_eq!(text(&[("cf-ipcountry", "DE")]), "response 1");
    assert_eq!(text(&[("cf-ipcountry", "AT")]), "response 1");
}

#[test]
fn concurrent_background_refreshes_are_limited() {
    const TARGETS: usize = 300;
    let more = "Cache-Control: max-age=1, stale-while-revalidate=60\r\n";
    let upstream = upstream("200 OK", more, 3 * BOUND);
    let gateway = before(&upstream);
    let mut client = gateway.connect();
    let mut ask_all = |more: &str| {
        for target in 0..TARGETS {
            client.send(&format!("GET /{target} HTTP/1.1\r\nHost: a\r\n{more}\r\n"));
            assert_eq!(client.answer().status, 200);
        }
    };
    ask_all("Fast: 1\r\n");
    assert_eq!(upstream.request_count(), TARGETS);
    thread::sleep(Duration::from_millis(1100));
    // A single client that waits for none of them.
    ask_all("");
    thread::sleep(Duration::from_millis(300));
    let anew = upstream.request_count() - TARGETS;
    assert!((1..=256).contains(&anew), "{anew}");
}

#[test]
fn requests_from_before_a_reload_store_nothing_for_later_ones() {
    let takes = Duration::from_millis(700);
    let more = "Cache-Control: max-age=60\r\nX-Secret: s\r\n";
    let upstream = upstream("200 OK", more, takes);
    let name = format!("gateway-caching-{}", std::process::id());
    let table = std::env::temp_dir().join(name);
    let write = |more: &str| fs::write(&table, format!("/ {}{more}\n", upstream.address)).unwrap();
    write("");
    let mut gateway = start_with_routes("", &[("GATEWAY_ROUTES_FILE", table.to_str().unwrap())]);
    // The first response is not delayed.
    assert_eq!(gateway.get("/").field("x-secret"), Some("s"));
    // One request fetches, and the other one waits for it.
    let request = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut clients = [gateway.connect(), gateway.connect()];
    for client in &mut clients {
        client.send(request);
        thread::sleep(takes / 4);
    }
    write(" hide=X-Secret");
    gateway.signal("HUP");
    gateway.log_line("routes reloaded");
    for mut client in clients {
        assert_eq!(client.answer().field("x-secret"), Some("s"));
    }
    assert_eq!(gateway.begin(request).answer().field("x-secret"), None);
    fs::remove_file(table).unwrap();
}

#[test]
fn an_error_with_an_explicit_lifetime_is_stored() {
    let more = "Cache-Control: max-age=60\r\n";
    let failing = upstream("503 Service Unavailable", more, Duration::ZERO);
    let gateway = before(&failing);
    for _ in 0..3 {
        let answer = gateway.get("/x");
        assert_eq!((answer.status, answer.text()), (503, "response 1"));
    }
    assert_eq!(failing.request_count(), 1);
    let gateway = before(&upstream("400 Bad Request", more, Duration::ZERO));
    for number in 1..=3 {
        assert_eq!(gateway.get("/x").text(), format!("response {number}"));
    }
}

#[test]
fn a_field_with_an_underscore_does_not_determine_the_response_to_others() {
    // Programs that receive fields as environment variables do not distinguish the two names.
    let more = "Cache-Control: max-age=60\r\nVary: Accept-Encoding, Accept-Language\r\n";
    let upstream = Upstream::start(move |_, request, stream| {
        let names = ["accept_encoding", "accept_language", "if_none_match"];
        let seen = names.map(|name| fields(request, name).join(","));
        testing::respond(stream, more, &seen.join(";"))
    });
    let gateway = before(&upstream);
    let forged = [("Accept_Encoding", "br"), ("Accept_Language", "de"), ("If_None_Match", "*")];
    assert_eq!(gateway.ask("GET", "/x", &forged).text(), ";de;");
    assert_eq!(gateway.get("/x").text(), ";;");
    assert_eq!(upstream.request_count(), 2);
    // Programs that do distinguish them have responded to the forged request in their own language.
    let german = [("Accept-Language", "de")];
    gateway.ask("GET", "/x", &german);
    assert_eq!(upstream.request_count(), 3);
}
