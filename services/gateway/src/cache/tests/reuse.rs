//! Sequential requests.

use super::*;
use crate::fields::Fields;

#[test]
fn a_stored_response_is_served_until_it_expires() {
    let mut world = World::new();
    let date = "date: Sun, 06 Nov 1994 08:49:37 GMT";
    assert!(world.fetch("/a", &[], &[TEN, date, "etag: \"1\"", "content-type: text/plain"], "abc"));
    world.seconds = 9;
    let hit = world.hit("/a", &[]);
    assert_eq!(
        head(&hit),
        "HTTP/1.1 200 OK\r\n\
         cache-control: max-age=10\r\n\
         date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
         etag: \"1\"\r\n\
         content-type: text/plain\r\n\
         content-length: 3\r\n\
         age: 9\r\n\
         cache-status: gateway; hit; ttl=1\r\n"
    );
    assert_eq!((hit.status(), hit.body()), (StatusCode::OK, Bytes::from("abc")));
    world.seconds = 10;
    let forwarded = world.fill("/a", &[]).forwarded();
    assert_eq!(forwarded, Forwarded { fwd: Forward::Stale, waited: false, stored: false });
    let counters = world.cache.counters();
    assert_eq!((counters.hits(), counters.misses.get(), counters.stored.get()), (1, 2, 1));
    assert_eq!((world.cache.entries(), world.cache.max_bytes()), (1, 32 << 20));
}

#[test]
fn requests_that_cannot_fill_the_cache_use_fresh_but_not_stale_responses() {
    let mut world = World::new();
    assert!(world.fetch("/a", &[], &[TEN], "abc"));
    let limited = [
        ("cache-control: no-store", Reason::NoStore),
        ("range: bytes=0-", Reason::Range),
        ("if-range: x", Reason::Range),
        ("if-match: *", Reason::Condition),
        ("if-unmodified-since: x", Reason::Condition),
        ("accept: text/event-stream", Reason::Events),
        ("content-length: 1", Reason::Content),
    ];
    for (line, _) in limited {
        let expected = if line.starts_with("range") { 206 } else { 200 };
        assert_eq!(world.hit("/a", &[line]).status().as_u16(), expected, "{line}");
    }
    world.seconds = 10;
    for (line, expected) in limited {
        assert_eq!(reason(world.get("/a", &[line])), expected, "{line}");
    }
}

#[test]
fn requests_that_cannot_fill_the_cache_wait_for_one_that_can() {
    let world = World::new();
    let fill = world.fill("/a", &[]);
    for line in ["cache-control: no-store", "range: bytes=0-", "if-match: *"] {
        assert!(matches!(world.get("/a", &[line]), Lookup::Wait(_)), "{line}");
    }
    // Waiting would delay the start of a stream.
    assert_eq!(reason(world.get("/a", &["accept: text/event-stream"])), Reason::Events);
    drop(fill);
}

#[test]
fn site_and_target_are_the_key() {
    let world = World::new();
    assert!(world.fetch("/a?x", &[], &[TEN], "abc"));
    world.hit("/a?x", &[]);
    for other in ["/a", "/a?x=", "/a?X", "/a?x&y"] {
        assert_eq!(world.fill(other, &[]).forwarded().field(), "gateway; fwd=uri-miss");
    }
    let none = Fields::new();
    let mut request = CacheRequest {
        method: &Method::GET,
        site: "http://b",
        target: "/a?x",
        epoch: 0,
        headers: &none,
    };
    expect_fill(world.cache.try_lookup(&request, world.now(), None));
    // The boundary between site and target is part of the key.
    (request.site, request.target) = ("http://a/", "a?x");
    expect_fill(world.cache.try_lookup(&request, world.now(), None));
}

#[test]
fn fields_of_a_connection_or_of_one_request_are_not_stored() {
    let world = World::new();
    let response = [
        TEN,
        "connection: close, x-hop",
        "x-hop: 1",
        "keep-alive: timeout=5",
        "te: trailers",
        "trailer: x",
        "proxy-connection: close",
        "x-request-id: 1",
        "age: 3",
        "x-kept: 1",
        "x-kept: 2",
        "cache-status: upstream; hit",
    ];
    assert!(world.fetch("/a", &[], &response, ""));
    assert_eq!(
        head(&world.hit("/a", &[])),
        "HTTP/1.1 200 OK\r\n\
         cache-control: max-age=10\r\n\
         x-kept: 1\r\n\
         x-kept: 2\r\n\
         cache-status: upstream; hit\r\n\
         date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
         content-length: 0\r\n\
         age: 3\r\n\
         cache-status: gateway; hit; ttl=7\r\n"
    );
}

#[test]
fn head_uses_the_stored_response_to_get_and_stores_nothing() {
    let world = World::new();
    assert_eq!(reason(world.lookup(&Method::HEAD, "/a", &[])), Reason::Head);
    assert!(world.fetch("/a", &[], &[TEN], "abc"));
    let hit = answer(world.lookup(&Method::HEAD, "/a", &[]));
    assert_eq!(field(&hit, "content-length").as_deref(), Some("3"));
    assert_eq!(hit.body(), "");
}

#[test]
fn a_client_that_has_the_response_gets_a_304() {
    let world = World::new();
    let response = [
        TEN,
        "etag: W/\"1\"",
        "last-modified: Sun, 06 Nov 1994 08:00:00 GMT",
        "date: Sun, 06 Nov 1994 08:49:37 GMT",
        "vary: accept-encoding",
        "content-type: text/plain",
        "content-encoding: gzip",
        "access-control-allow-origin: *",
    ];
    assert!(world.fetch("/a", &["accept-encoding: gzip"], &response, "abc"));
    let hit = |line: &str| world.hit("/a", &["accept-encoding: gzip", line]);
    let same = hit("if-none-match: \"0\", \"1\"");
    assert_eq!((same.status(), same.body()), (StatusCode::NOT_MODIFIED, Bytes::new()));
    assert_eq!(
        head(&same),
        "HTTP/1.1 304 Not Modified\r\n\
         cache-control: max-age=10\r\n\
         etag: W/\"1\"\r\n\
         date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
         vary: accept-encoding\r\n\
         access-control-allow-origin: *\r\n\
         age: 0\r\n\
         cache-status: gateway; hit; ttl=10\r\n"
    );
    assert_eq!(hit("if-none-match: \"2\"").status(), 200);
    assert_eq!(hit("if-modified-since: Sun, 06 Nov 1994 08:00:00 GMT").status(), 304);
    assert_eq!(hit("if-modified-since: Sun, 06 Nov 1994 07:59:59 GMT").status(), 200);
}

#[test]
fn only_a_success_is_conditional() {
    let world = World::new();
    let mut fill = world.fill("/a", &["if-none-match: \"1\""]);
    let response = [TEN, "etag: \"1\"", "location: /b"];
    let decision = world.respond(&mut fill, 301, &response, 0);
    assert!(matches!(decision, FillDecision::Storing));
    assert!(fill.complete(world.now()));
    let hit = world.hit("/a", &["if-none-match: \"1\""]);
    assert_eq!(hit.status(), 301);
    assert!(head(&hit).starts_with("HTTP/1.1 301 Moved Permanently\r\n"));
}

#[test]
fn no_content_has_no_length() {
    let world = World::new();
    let mut fill = world.fill("/a", &[]);
    let decision = fill.response(StatusCode::NO_CONTENT, &Fields::of_lines(&[TEN]), world.moment());
    assert!(matches!(decision, FillDecision::Storing));
    assert!(fill.complete(world.now()));
    assert_eq!(field(&world.hit("/a", &[]), "content-length"), None);
}

/// The fields of the request to the upstream.
fn asked(fill: &Fill, request: &[&str]) -> Fields {
    let mut asked = Fields::of_lines(request);
    for (name, value) in fill.changes() {
        asked.remove(&name);
        if let Some(value) = value {
            asked.insert(name, value);
        }
    }
    asked
}

const CONDITIONS: [&str; 3] = [
    "accept-encoding: zstd, gzip;q=0.5, br;q=0.1",
    "if-none-match: \"1\"",
    "if-modified-since: Sun, 06 Nov 1994 08:00:00 GMT",
];

#[test]
fn a_fetch_with_waiting_requests_asks_for_the_complete_response() {
    let mut world = World::new();
    assert!(world.fetch("/a", &CONDITIONS, &[TEN], "abc"));
    world.seconds = 10;
    let mut fill = world.fill("/a", &CONDITIONS);
    assert_eq!(asked(&fill, &CONDITIONS), Fields::of_lines(&["accept-encoding: br, gzip"]));
    let decision = world.respond(&mut fill, 200, &[TEN, "etag: \"1\""], 0);
    assert!(matches!(decision, FillDecision::Storing));
    assert_eq!(fill.forwarded().field(), "gateway; fwd=stale; stored");
}

#[test]
fn conditions_are_forwarded_if_no_response_is_stored() {
    let world = World::new();
    let mut fill = world.fill("/a", &CONDITIONS);
    let expected = [CONDITIONS[1], CONDITIONS[2], "accept-encoding: br, gzip"];
    assert_eq!(asked(&fill, &CONDITIONS), Fields::of_lines(&expected));
    // No request waits for it meanwhile, and its 304 does not apply to the next one.
    let other = world.fill("/a", &[]);
    let decision = world.respond(&mut fill, 304, &[TEN, "etag: \"1\""], 0);
    assert!(matches!(decision, FillDecision::Forward(Refusal::Status)));
    drop((fill, other));
    assert!(world.fetch("/a", &[], &[TEN, "etag: \"1\""], "abc"));
    assert_eq!(world.hit("/a", &CONDITIONS).status(), StatusCode::NOT_MODIFIED);
}

#[test]
fn a_complete_response_to_a_conditional_request_is_stored() {
    let world = World::new();
    assert!(world.fetch("/a", &CONDITIONS, &[TEN, "etag: \"2\""], "abc"));
    assert_eq!(world.hit("/a", &[]).body(), "abc");
}

#[test]
fn each_variant_has_its_own_response() {
    let world = World::new();
    let vary = "vary: accept-encoding, origin";
    assert!(world.fetch("/a", &[], &[TEN, vary], "plain"));
    let gzip = ["accept-encoding: gzip, deflate"];
    assert_eq!(world.fill("/a", &gzip).forwarded().field(), "gateway; fwd=vary-miss");
    assert!(world.fetch("/a", &gzip, &[TEN, vary, "content-encoding: gzip"], "packed"));
    assert!(world.fetch("/a", &["origin: http://b"], &[TEN, vary], "b"));
    for (lines, body) in [
        (&[][..], "plain"),
        (&["accept-encoding: identity", "accept-language: de"], "plain"),
        (&["accept-encoding: x-gzip;q=0.3"], "packed"),
        (&["origin: http://b"], "b"),
    ] {
        assert_eq!(world.hit("/a", lines).body(), body);
    }
    world.fill("/a", &["accept-encoding: br, gzip"]);
    assert_eq!(world.cache.entries(), 3);
    // Other fields select now, so the stored variants are indistinguishable.
    assert!(world.fetch("/a", &["accept-encoding: br"], &[TEN, "vary: accept"], "new"));
    assert_eq!(world.hit("/a", &gzip).body(), "new");
    assert_eq!(world.cache.entries(), 1);
}

#[test]
fn unusual_variants_do_not_evict_those_in_use() {
    let mut world = World::new();
    let response = [TEN, "vary: origin"];
    assert!(world.fetch("/a", &[], &response, "plain"));
    for number in 0..100 {
        world.hit("/a", &[]);
        let origin = format!("origin: http://{number}");
        assert!(world.fetch("/a", &[&origin], &response, "x"), "{number}");
    }
    assert_eq!(world.hit("/a", &[]).body(), "plain");
    assert_eq!(world.cache.entries(), 8);
    // If all are in use, the next variant finds no place, once.
    for number in 93..100 {
        world.hit("/a", &[&format!("origin: http://{number}")]);
    }
    world.hit("/a", &[]);
    assert!(!world.fetch("/a", &["origin: http://x"], &response, "x"));
    world.seconds = 10;
    assert!(world.fetch("/a", &["origin: http://x"], &response, "x"));
    let long = format!("origin: http://{}", "x".repeat(1024));
    assert_eq!(reason(world.get("/a", &[&long])), Reason::LongKey);
}

#[test]
fn uncacheable_responses_are_not_stored() {
    for (response, refusal) in [
        (&["cache-control: no-store"][..], Refusal::Forbidden),
        (&[], Refusal::NoLifetime),
        (&[TEN, "set-cookie: a"], Refusal::Cookie),
        (&[TEN, "vary: *"], Refusal::Vary),
        (&[TEN, "transfer-encoding: chunked"], Refusal::Framing),
        (&[TEN, "transfer-encoding: gzip"], Refusal::Framing),
        (&["cache-control: s-maxage=10, private"], Refusal::Forbidden),
    ] {
        let world = World::new();
        let mut fill = world.fill("/a", &[]);
        let decision = world.respond(&mut fill, 200, response, 3);
        assert!(
            matches!(decision, FillDecision::Forward(reason) if reason == refusal),
            "{decision:?}"
        );
        drop(fill.body(b"abc", world.now()));
        assert!(!fill.complete(world.now()));
        // No request waited, so no note remains.
        assert_eq!(world.lengths(), (0, 0, 0));
        assert_eq!(world.cache.bytes(), 0);
    }
}

#[test]
fn a_response_without_reliable_framing_is_not_stored() {
    let world = World::new();
    let starts = |lines: &[&str]| {
        let decision = world.fill("/a", &[]).response(
            StatusCode::OK,
            &Fields::of_lines(lines),
            world.moment(),
        );
        matches!(decision, FillDecision::Storing)
    };
    assert!(starts(&[TEN, "content-length: 3"]));
    assert!(starts(&[TEN, "transfer-encoding: Chunked"]));
    for odd in ["content-length: +3", "content-length: 3, 3", "content-length: x", "x: y"] {
        assert!(!starts(&[TEN, odd]), "{odd}");
    }
    assert!(!starts(&[TEN, "content-length: 3", "content-length: 3"]));
    assert!(!starts(&[TEN, "transfer-encoding: chunked", "transfer-encoding: chunked"]));
    assert_eq!(world.cache.bytes(), 0);
}

#[test]
fn a_body_is_stored_only_with_its_announced_length() {
    for (body, stored) in [("abc", true), ("ab", false), ("abcd", false), ("", false)] {
        let world = World::new();
        let mut fill = world.fill("/a", &[]);
        world.respond(&mut fill, 200, &[TEN], 3);
        for piece in body.as_bytes().chunks(2) {
            drop(fill.body(piece, world.now()));
        }
        assert_eq!(fill.complete(world.now()), stored, "{body}");
        assert_eq!(world.cache.entries(), usize::from(stored));
        world.check();
    }
}

#[test]
fn a_body_of_unknown_length_is_stored_up_to_the_limit() {
    let world = World::with(&CacheSettings { entry_bytes: 100_000, ..CacheSettings::default() });
    for (pieces, stored) in [(100, true), (101, false)] {
        let mut fill = world.fill("/a", &[]);
        let response = Fields::of_lines(&[TEN, "transfer-encoding: chunked"]);
        fill.response(StatusCode::OK, &response, world.moment());
        for piece in 0..pieces {
            drop(fill.body(&[piece; 1000], world.now()));
            world.check();
        }
        assert_eq!(fill.complete(world.now()), stored);
        world.check();
        if stored {
            let body = world.hit("/a", &[]).body();
            assert_eq!((body.len(), body[0], body[99_999]), (100_000, 0, 99));
            world.cache.invalidate("http://a", "/a");
        }
    }
    let mut fill = world.fill("/b", &[]);
    let decision = world.respond(&mut fill, 200, &[TEN], 100_001);
    assert!(matches!(decision, FillDecision::Forward(Refusal::TooLarge)));
}

#[test]
fn requests_with_authorization_use_and_store_only_shared_responses() {
    const AUTHENTICATED: [&str; 1] = ["authorization: Bearer x"];
    let world = World::new();
    assert!(!world.fetch("/a", &AUTHENTICATED, &[TEN], "mine"));
    assert!(world.fetch("/a", &[], &[TEN], "plain"));
    assert_eq!(reason(world.get("/a", &AUTHENTICATED)), Reason::Authorization);
    assert_eq!(world.hit("/a", &[]).body(), "plain");
    assert!(world.fetch("/b", &AUTHENTICATED, &["cache-control: public, max-age=10"], "all"));
    assert_eq!(world.hit("/b", &AUTHENTICATED).body(), "all");
    assert_eq!(world.hit("/b", &[]).body(), "all");
}

#[test]
fn one_range_of_a_stored_response_is_answered_with_that_part() {
    let world = World::new();
    let response = [TEN, "etag: \"1\"", "content-type: text/plain"];
    assert!(world.fetch("/a", &[], &response, "0123456789"));
    let part = world.hit("/a", &["range: bytes=2-4"]);
    assert_eq!((part.status(), part.body()), (StatusCode::PARTIAL_CONTENT, Bytes::from("234")));
    assert!(head(&part).starts_with("HTTP/1.1 206 Partial Content\r\n"));
    assert_eq!(field(&part, "content-range").as_deref(), Some("bytes 2-4/10"));
    assert_eq!(field(&part, "content-length").as_deref(), Some("3"));
    assert_eq!(field(&part, "content-type").as_deref(), Some("text/plain"));
    assert_eq!(head(&part).matches("content-length").count(), 1);
    let beyond = world.hit("/a", &["range: bytes=10-"]);
    assert_eq!((beyond.status().as_u16(), beyond.body()), (416, Bytes::new()));
    assert_eq!(field(&beyond, "content-range").as_deref(), Some("bytes */10"));
    let other = world.hit("/a", &["range: bytes=2-4", "if-range: \"2\""]);
    assert_eq!((other.status(), other.body().len()), (StatusCode::OK, 10));
    let known = world.hit("/a", &["range: bytes=2-4", "if-none-match: \"1\""]);
    assert_eq!((known.status(), known.body()), (StatusCode::NOT_MODIFIED, Bytes::new()));
    let lookup = world.lookup(&Method::HEAD, "/a", &["range: bytes=2-4"]);
    assert_eq!(answer(lookup).status(), StatusCode::OK);
    assert_eq!(reason(world.get("/b", &["range: bytes=2-4"])), Reason::Range);
}

#[test]
fn a_response_in_the_preferred_language_serves_other_language_lists() {
    let world = World::new();
    let german = [TEN, "vary: accept-language", "content-language: de"];
    assert!(world.fetch("/a", &["accept-language: en, de"], &german, "hallo"));
    for line in ["accept-language: fr;q=0.5, de;q=1.0", "accept-language: DE"] {
        assert_eq!(world.hit("/a", &[line]).body(), "hallo", "{line}");
    }
    for line in
        ["accept-language: fr", "accept-language: de, fr", "accept-language: de-AT, de;q=0.9"]
    {
        drop(world.fill("/a", &[line]));
    }
    // Another field selects as well.
    let more = [TEN, "vary: accept-language, x", "content-language: de"];
    assert!(world.fetch("/b", &["accept-language: en, de"], &more, "hallo"));
    drop(world.fill("/b", &["accept-language: de"]));
}
