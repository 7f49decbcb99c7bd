//! One request after the other.

use super::*;

#[test]
fn what_was_fetched_is_answered_from_memory_until_its_time_is_over() {
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
    assert_eq!(forwarded, Forwarded { why: Forward::Stale, waited: false, stored: false });
    let snapshot = world.cache.snapshot();
    assert_eq!((snapshot.hits, snapshot.misses, snapshot.stored), (1, 2, 1));
    assert_eq!((snapshot.entries, snapshot.most_bytes), (1, 32 << 20));
}

#[test]
fn a_fresh_answer_serves_requests_that_would_bring_none_and_a_stale_one_does_not() {
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
        assert_eq!(world.hit("/a", &[line]).status(), StatusCode::OK, "{line}");
    }
    world.seconds = 10;
    for (line, expected) in limited {
        assert_eq!(reason(world.get("/a", &[line])), expected, "{line}");
    }
}

#[test]
fn requests_that_would_bring_none_wait_for_one_that_does() {
    let world = World::new();
    let filling = world.fill("/a", &[]);
    for line in ["cache-control: no-store", "range: bytes=0-", "if-match: *"] {
        assert!(matches!(world.get("/a", &[line]), Lookup::Wait(_)), "{line}");
    }
    // A stream would begin too late.
    assert_eq!(reason(world.get("/a", &["accept: text/event-stream"])), Reason::Events);
    drop(filling);
}

#[test]
fn target_and_site_are_the_key() {
    let world = World::new();
    assert!(world.fetch("/a?x", &[], &[TEN], "abc"));
    world.hit("/a?x", &[]);
    for other in ["/a", "/a?x=", "/a?X", "/a?x&y"] {
        assert_eq!(world.fill(other, &[]).forwarded().field(), "gateway; fwd=uri-miss");
    }
    let none = HeaderMap::new();
    let mut question =
        CacheRequest { method: &Method::GET, site: "http://b", target: "/a?x", headers: &none };
    filling(world.cache.look(&question, world.now(), None));
    // Nothing moves from the one into the other.
    (question.site, question.target) = ("http://a/", "a?x");
    filling(world.cache.look(&question, world.now(), None));
}

#[test]
fn fields_of_a_connection_or_of_one_request_are_not_kept() {
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
fn head_shares_what_get_has_stored_and_stores_nothing() {
    let world = World::new();
    assert_eq!(reason(world.look(&Method::HEAD, "/a", &[])), Reason::Head);
    assert!(world.fetch("/a", &[], &[TEN], "abc"));
    let hit = answer(world.look(&Method::HEAD, "/a", &[]));
    assert_eq!(field(&hit, "content-length").as_deref(), Some("3"));
    assert_eq!(hit.body(), "");
}

#[test]
fn a_client_that_has_it_is_told_so() {
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
    let mut filling = world.fill("/a", &["if-none-match: \"1\""]);
    let response = [TEN, "etag: \"1\"", "location: /b"];
    let verdict = world.respond(&mut filling, 301, &response, 0);
    assert!(matches!(verdict, Verdict::Storing));
    assert!(filling.complete(world.now()));
    let hit = world.hit("/a", &["if-none-match: \"1\""]);
    assert_eq!(hit.status(), 301);
    assert!(head(&hit).starts_with("HTTP/1.1 301 Moved Permanently\r\n"));
}

#[test]
fn no_content_has_no_length() {
    let world = World::new();
    let mut filling = world.fill("/a", &[]);
    let verdict = filling.response(StatusCode::NO_CONTENT, &headers(&[TEN]), world.moment());
    assert!(matches!(verdict, Verdict::Storing));
    assert!(filling.complete(world.now()));
    assert_eq!(field(&world.hit("/a", &[]), "content-length"), None);
}

/// The fields of a request to the upstream.
fn asked(filling: &Fill, request: &[&str]) -> HeaderMap {
    let mut asked = headers(request);
    for (name, value) in filling.changes() {
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
fn an_answer_that_others_wait_for_is_asked_for_whole() {
    let mut world = World::new();
    assert!(world.fetch("/a", &CONDITIONS, &[TEN], "abc"));
    world.seconds = 10;
    let mut filling = world.fill("/a", &CONDITIONS);
    assert_eq!(asked(&filling, &CONDITIONS), headers(&["accept-encoding: br, gzip"]));
    let verdict = world.respond(&mut filling, 200, &[TEN, "etag: \"1\""], 0);
    assert!(matches!(verdict, Verdict::Storing));
    assert_eq!(filling.forwarded().field(), "gateway; fwd=stale; stored");
}

#[test]
fn conditions_go_to_the_upstream_where_nothing_is_stored() {
    let world = World::new();
    let mut filling = world.fill("/a", &CONDITIONS);
    let expected = ["accept-encoding: br, gzip", CONDITIONS[1], CONDITIONS[2]];
    assert_eq!(asked(&filling, &CONDITIONS), headers(&expected));
    // Nobody waits for it meanwhile, and its 304 says nothing to the next one.
    let other = world.fill("/a", &[]);
    let verdict = world.respond(&mut filling, 304, &[TEN, "etag: \"1\""], 0);
    assert!(matches!(verdict, Verdict::Forward(Refusal::Status)));
    drop((filling, other));
    assert!(world.fetch("/a", &[], &[TEN, "etag: \"1\""], "abc"));
    assert_eq!(world.hit("/a", &CONDITIONS).status(), StatusCode::NOT_MODIFIED);
}

#[test]
fn a_whole_answer_to_a_condition_is_kept_for_all() {
    let world = World::new();
    assert!(world.fetch("/a", &CONDITIONS, &[TEN, "etag: \"2\""], "abc"));
    assert_eq!(world.hit("/a", &[]).body(), "abc");
}

#[test]
fn each_variant_has_its_answer() {
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
    assert_eq!(world.cache.snapshot().entries, 3);
    // Other fields select now, so what is there cannot be told apart any more.
    assert!(world.fetch("/a", &["accept-encoding: br"], &[TEN, "vary: accept"], "new"));
    assert_eq!(world.hit("/a", &gzip).body(), "new");
    assert_eq!(world.cache.snapshot().entries, 1);
}

#[test]
fn odd_variants_do_not_push_out_those_that_are_asked_for() {
    let mut world = World::new();
    let response = [TEN, "vary: origin"];
    assert!(world.fetch("/a", &[], &response, "plain"));
    for number in 0..100 {
        world.hit("/a", &[]);
        let origin = format!("origin: http://{number}");
        assert!(world.fetch("/a", &[&origin], &response, "x"), "{number}");
    }
    assert_eq!(world.hit("/a", &[]).body(), "plain");
    assert_eq!(world.cache.snapshot().entries, 8);
    // When all are asked for, the next one finds no place, once.
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
fn what_cannot_be_kept_is_not() {
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
        let mut filling = world.fill("/a", &[]);
        let verdict = world.respond(&mut filling, 200, response, 3);
        assert!(matches!(verdict, Verdict::Forward(told) if told == refusal), "{verdict:?}");
        drop(filling.body(b"abc", world.now()));
        assert!(!filling.complete(world.now()));
        // Nobody waited, so nothing is left of it.
        assert_eq!(world.lengths(), (0, 0, 0));
        assert_eq!(world.cache.snapshot().bytes, 0);
    }
}

#[test]
fn an_answer_whose_end_is_not_certain_is_not_kept() {
    let world = World::new();
    let starts = |lines: &[&str]| {
        let verdict =
            world.fill("/a", &[]).response(StatusCode::OK, &headers(lines), world.moment());
        matches!(verdict, Verdict::Storing)
    };
    assert!(starts(&[TEN, "content-length: 3"]));
    assert!(starts(&[TEN, "transfer-encoding: Chunked"]));
    for odd in ["content-length: +3", "content-length: 3, 3", "content-length: x", "x: y"] {
        assert!(!starts(&[TEN, odd]), "{odd}");
    }
    assert!(!starts(&[TEN, "content-length: 3", "content-length: 3"]));
    assert!(!starts(&[TEN, "transfer-encoding: chunked", "transfer-encoding: chunked"]));
    assert_eq!(world.cache.snapshot().bytes, 0);
}

#[test]
fn a_body_is_kept_only_as_long_as_it_was_announced() {
    for (body, stored) in [("abc", true), ("ab", false), ("abcd", false), ("", false)] {
        let world = World::new();
        let mut filling = world.fill("/a", &[]);
        world.respond(&mut filling, 200, &[TEN], 3);
        for piece in body.as_bytes().chunks(2) {
            drop(filling.body(piece, world.now()));
        }
        assert_eq!(filling.complete(world.now()), stored, "{body}");
        assert_eq!(world.cache.snapshot().entries, usize::from(stored));
        world.check();
    }
}

#[test]
fn a_body_without_a_length_is_kept_up_to_the_bound() {
    let world = World::with(&CacheSettings { entry_bytes: 100_000, ..CacheSettings::default() });
    for (pieces, stored) in [(100, true), (101, false)] {
        let mut filling = world.fill("/a", &[]);
        let response = headers(&[TEN, "transfer-encoding: chunked"]);
        filling.response(StatusCode::OK, &response, world.moment());
        for piece in 0..pieces {
            drop(filling.body(&[piece; 1000], world.now()));
            world.check();
        }
        assert_eq!(filling.complete(world.now()), stored);
        world.check();
        if stored {
            let body = world.hit("/a", &[]).body();
            assert_eq!((body.len(), body[0], body[99_999]), (100_000, 0, 99));
            world.cache.invalidate("http://a", "/a");
        }
    }
    let mut filling = world.fill("/b", &[]);
    let verdict = world.respond(&mut filling, 200, &[TEN], 100_001);
    assert!(matches!(verdict, Verdict::Forward(Refusal::TooLarge)));
}

#[test]
fn requests_with_authorization_get_and_bring_only_what_is_for_all() {
    const SOMEBODY: [&str; 1] = ["authorization: Bearer x"];
    let world = World::new();
    assert!(!world.fetch("/a", &SOMEBODY, &[TEN], "mine"));
    assert!(world.fetch("/a", &[], &[TEN], "plain"));
    assert_eq!(reason(world.get("/a", &SOMEBODY)), Reason::Authorization);
    assert_eq!(world.hit("/a", &[]).body(), "plain");
    assert!(world.fetch("/b", &SOMEBODY, &["cache-control: public, max-age=10"], "all"));
    assert_eq!(world.hit("/b", &SOMEBODY).body(), "all");
    assert_eq!(world.hit("/b", &[]).body(), "all");
}

#[test]
fn while_one_asks_anew_the_others_get_the_old_answer_where_that_is_allowed() {
    let mut world = World::new();
    let response = ["cache-control: max-age=10, stale-while-revalidate=5"];
    assert!(world.fetch("/a", &[], &response, "abc"));
    world.seconds = 12;
    let first = world.fill("/a", &[]);
    let hit = world.hit("/a", &[]);
    assert_eq!((hit.body(), hit.is_stale()), (Bytes::from("abc"), true));
    assert_eq!(field(&hit, "cache-status").as_deref(), Some("gateway; hit; ttl=-2"));
    assert_eq!(field(&hit, "age").as_deref(), Some("12"));
    assert_eq!(world.cache.snapshot().stale, 1);
    drop(first);
    world.seconds = 15;
    let _first = world.fill("/a", &[]);
    assert!(matches!(world.get("/a", &[]), Lookup::Wait(_)));
}

#[test]
fn an_answer_that_is_never_fresh_is_shared_while_it_is_asked_anew() {
    let world = World::new();
    let response = ["cache-control: max-age=0, stale-while-revalidate=5"];
    assert!(world.fetch("/a", &[], &response, "abc"));
    for _ in 0..3 {
        let filling = world.fill("/a", &[]);
        assert_eq!(world.hit("/a", &[]).body(), "abc");
        drop(filling);
    }
}

#[test]
fn while_the_upstream_fails_the_old_answer_is_used_where_that_is_allowed() {
    let mut world = World::new();
    let response = ["cache-control: max-age=10, stale-if-error=100"];
    assert!(world.fetch("/a", &[], &response, "abc"));
    world.seconds = 50;
    let mut filling = world.fill("/a", &[]);
    let verdict = world.respond(&mut filling, 503, &["retry-after: 1"], 0);
    let Verdict::Instead(answer) = verdict else { panic!("{verdict:?}") };
    assert_eq!(answer.body(), "abc");
    assert_eq!(
        field(&answer, "cache-status").as_deref(),
        Some("gateway; fwd=stale; fwd-status=503; ttl=-40")
    );
    // For two seconds nobody has to find out again.
    let hit = world.hit("/a", &[]);
    assert_eq!(field(&hit, "cache-status").as_deref(), Some("gateway; hit; ttl=-40"));
    world.seconds = 52;
    let mut filling = world.fill("/a", &[]);
    let answer = filling.failed(world.now()).unwrap();
    assert_eq!(field(&answer, "cache-status").as_deref(), Some("gateway; fwd=stale; ttl=-42"));
    drop(filling);
    world.hit("/a", &[]);
    world.seconds = 110;
    let mut filling = world.fill("/a", &[]);
    assert!(filling.failed(world.now()).is_none());
    let verdict = world.respond(&mut filling, 503, &[], 0);
    assert!(matches!(verdict, Verdict::Forward(Refusal::Failure)));
}

#[test]
fn what_must_be_asked_about_is_never_used_old() {
    for directives in
        ["max-age=10, must-revalidate", "max-age=10, proxy-revalidate", "s-maxage=10", "max-age=10"]
    {
        let mut world = World::new();
        let extra = if directives == "max-age=10" {
            String::new()
        } else {
            ", stale-while-revalidate=100, stale-if-error=100".to_owned()
        };
        let line = format!("cache-control: {directives}{extra}");
        assert!(world.fetch("/a", &[], &[&line], "abc"));
        world.seconds = 11;
        let mut filling = world.fill("/a", &[]);
        assert!(matches!(world.get("/a", &[]), Lookup::Wait(_)));
        assert!(filling.failed(world.now()).is_none());
    }
}

#[test]
fn what_is_forgotten_does_not_come_back() {
    let world = World::new();
    assert!(world.fetch("/a", &[], &[TEN], "old"));
    world.cache.invalidate("http://a", "/b");
    world.hit("/a", &[]);
    world.cache.invalidate("http://a", "/a");
    assert_eq!(world.cache.snapshot().bytes, 0);

    for forget in
        [&(|world: &World| world.cache.invalidate("http://a", "/a")) as &dyn Fn(&World), &|world| {
            world.cache.clear();
        }]
    {
        let mut old = world.fill("/a", &[]);
        world.respond(&mut old, 200, &[TEN], 3);
        forget(&world);
        // Nobody waits for what is on its way.
        let mut new = world.fill("/a", &[]);
        drop(old.body(b"old", world.now()));
        assert!(!old.complete(world.now()));
        world.respond(&mut new, 200, &[TEN], 3);
        drop(new.body(b"new", world.now()));
        assert!(new.complete(world.now()));
        assert_eq!(world.hit("/a", &[]).body(), "new");
        forget(&world);
    }
}

#[test]
fn forgetting_again_and_again_leaves_nothing_behind() {
    let world = World::new();
    for _ in 0..1000 {
        assert!(world.fetch("/a", &[], &[TEN], "abc"));
        world.cache.invalidate("http://a", "/a");
    }
    let (records, places, flights) = world.lengths();
    assert_eq!((records, flights), (0, 0));
    assert!(places <= 20, "{places}");
}

#[test]
fn a_cache_of_no_bytes_is_none() {
    let world = World::with(&CacheSettings { bytes: 0, ..CacheSettings::default() });
    let looked = world.get("/a", &[]);
    assert!(
        matches!(&looked, Lookup::Pass(pass) if pass.forwarded().field() == "gateway; fwd=bypass")
    );
    assert_eq!(reason(looked), Reason::Off);
    let looked = World::new().look(&Method::POST, "/a", &[]);
    assert!(
        matches!(&looked, Lookup::Pass(pass) if pass.forwarded().field() == "gateway; fwd=method")
    );
}

#[test]
fn what_it_hands_out_may_go_to_another_thread() {
    fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<Cache>();
    is_shared::<Lookup>();
    is_shared::<Verdict>();
}

#[test]
fn sizes_are_read_with_their_units() {
    for (text, bytes) in [
        ("0", Some(0)),
        ("1048576", Some(1 << 20)),
        ("512KiB", Some(512 << 10)),
        ("32 MiB", Some(32 << 20)),
        ("1GiB", Some(1 << 30)),
        ("", None),
        ("MiB", None),
        ("1MB", None),
        ("-1", None),
        ("+1", None),
        ("1.5MiB", None),
        ("99999999999999999999", None),
        ("17179869184GiB", None),
    ] {
        assert_eq!(parse_bytes(text), bytes, "{text}");
    }
}

/// A 304 to the conditions of a revalidation.
fn not_modified(world: &World, filling: &mut Fill, lines: &[&str]) -> Answer {
    let status = StatusCode::NOT_MODIFIED;
    match filling.response(status, &headers(lines), world.moment()) {
        Verdict::Instead(answer) => answer,
        other => panic!("not freshened: {other:?}"),
    }
}

fn conditions(filling: &Fill) -> Vec<(String, Option<String>)> {
    let text = |value: HeaderValue| value.to_str().unwrap().to_owned();
    let changes = filling.changes().map(|(name, value)| (name.to_string(), value.map(text)));
    changes.filter(|(name, _)| name.starts_with("if-")).collect()
}

#[test]
fn a_stale_response_is_revalidated_with_its_own_validators() {
    const MODIFIED: &str = "last-modified: Sun, 06 Nov 1994 08:49:37 GMT";
    let mut world = World::new();
    for (lines, tag, date) in [
        (&[TEN, "etag: \"1\""][..], Some("\"1\""), None),
        (&[TEN, "etag: W/\"1\""], Some("W/\"1\", \"1\""), None),
        (&[TEN, MODIFIED], None, Some("Sun, 06 Nov 1994 08:49:37 GMT")),
        (&[TEN], None, None),
    ] {
        world.cache.clear();
        assert!(world.fetch("/a", &[], lines, "abc"));
        world.seconds += 10;
        let filling = world.fill("/a", &["if-none-match: \"of the client\""]);
        let expected = [("if-none-match", tag), ("if-modified-since", date)]
            .map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
        assert_eq!(conditions(&filling), expected, "{lines:?}");
    }
}

#[test]
fn a_confirmed_response_is_fresh_again_with_the_fields_of_the_304() {
    let mut world = World::new();
    let stored = [TEN, "etag: \"1\"", "x-a: old", "x-b: kept", "content-type: text/plain"];
    assert!(world.fetch("/a", &[], &stored, "abc"));
    world.seconds = 10;
    let mut filling = world.fill("/a", &[]);
    let update =
        ["cache-control: max-age=20", "x-a: new", "content-type: text/html", "etag: \"1\""];
    let answer = not_modified(&world, &mut filling, &update);
    drop(filling);
    assert_eq!((answer.status(), answer.body()), (StatusCode::OK, Bytes::from("abc")));
    assert_eq!(
        field(&answer, "cache-status").unwrap(),
        "gateway; fwd=stale; fwd-status=304; ttl=20"
    );
    world.seconds = 29;
    let hit = world.hit("/a", &[]);
    assert_eq!(field(&hit, "x-a").as_deref(), Some("new"));
    assert_eq!(field(&hit, "x-b").as_deref(), Some("kept"));
    assert_eq!(field(&hit, "content-type").as_deref(), Some("text/plain"));
    assert_eq!(field(&hit, "content-length").as_deref(), Some("3"));
    assert_eq!(field(&hit, "age").as_deref(), Some("19"));
    let known = world.hit("/a", &["if-none-match: \"1\""]);
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(world.cache.snapshot().revalidated, 1);
    world.check();
}

#[test]
fn a_304_that_forbids_storing_ends_what_was_stored() {
    let mut world = World::new();
    assert!(world.fetch("/a", &[], &[TEN, "etag: \"1\""], "abc"));
    world.seconds = 10;
    let mut filling = world.fill("/a", &[]);
    let answer = not_modified(&world, &mut filling, &["cache-control: no-store"]);
    assert_eq!(answer.body(), Bytes::from("abc"));
    drop(filling);
    assert_eq!(world.cache.snapshot().entries, 0);
    world.check();
}

#[test]
fn a_304_without_a_stored_validator_answers_the_client_alone() {
    let mut world = World::new();
    assert!(world.fetch("/a", &[], &[TEN], "abc"));
    world.seconds = 10;
    let mut filling = world.fill("/a", &[]);
    let verdict = filling.response(StatusCode::NOT_MODIFIED, &HeaderMap::new(), world.moment());
    assert!(matches!(verdict, Verdict::Forward(Refusal::Status)), "{verdict:?}");
}
