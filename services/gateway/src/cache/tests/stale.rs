//! Stale responses, invalidation and settings.

use super::*;
use crate::fields::Fields;

#[test]
fn during_revalidation_all_requests_get_the_stale_response_where_allowed() {
    let mut world = World::new();
    let response = ["cache-control: max-age=10, stale-while-revalidate=5"];
    assert!(world.fetch("/a", &[], &response, "abc"));
    world.seconds = 12;
    let Lookup::Stale(old, first) = world.get("/a", &[]) else { panic!("it waits") };
    assert_eq!((old.body(), old.is_stale()), (Bytes::from("abc"), true));
    let hit = world.hit("/a", &[]);
    assert_eq!((hit.body(), hit.is_stale()), (Bytes::from("abc"), true));
    assert_eq!(field(&hit, "cache-status").as_deref(), Some("gateway; hit; ttl=-2"));
    assert_eq!(field(&hit, "age").as_deref(), Some("12"));
    assert_eq!(world.cache.counters().stale.get(), 2);
    drop(first);
    world.seconds = 15;
    let lookup = world.get("/a", &[]);
    assert!(matches!(lookup, Lookup::Fill(_)), "{lookup:?}");
    assert!(matches!(world.get("/a", &[]), Lookup::Wait(_)));
}

#[test]
fn a_response_that_is_never_fresh_is_shared_during_revalidation() {
    let world = World::new();
    let response = ["cache-control: max-age=0, stale-while-revalidate=5"];
    assert!(world.fetch("/a", &[], &response, "abc"));
    for _ in 0..3 {
        let fill = world.fill("/a", &[]);
        assert_eq!(world.hit("/a", &[]).body(), "abc");
        drop(fill);
    }
}

#[test]
fn while_the_upstream_fails_the_stale_response_is_used_where_allowed() {
    let mut world = World::new();
    let response = ["cache-control: max-age=10, stale-if-error=100"];
    assert!(world.fetch("/a", &[], &response, "abc"));
    world.seconds = 50;
    let mut fill = world.fill("/a", &[]);
    let decision = world.respond(&mut fill, 503, &["retry-after: 1"], 0);
    let FillDecision::Substitute(answer) = decision else { panic!("{decision:?}") };
    assert_eq!(answer.body(), "abc");
    assert_eq!(
        field(&answer, "cache-status").as_deref(),
        Some("gateway; fwd=stale; fwd-status=503; ttl=-40")
    );
    // For two seconds, requests do not contact the upstream again.
    let hit = world.hit("/a", &[]);
    assert_eq!(field(&hit, "cache-status").as_deref(), Some("gateway; hit; ttl=-40"));
    world.seconds = 52;
    let mut fill = world.fill("/a", &[]);
    let answer = fill.failed(world.now()).unwrap();
    assert_eq!(field(&answer, "cache-status").as_deref(), Some("gateway; fwd=stale; ttl=-42"));
    drop(fill);
    world.hit("/a", &[]);
    world.seconds = 110;
    let mut fill = world.fill("/a", &[]);
    assert!(fill.failed(world.now()).is_none());
    let decision = world.respond(&mut fill, 503, &[], 0);
    assert!(matches!(decision, FillDecision::Forward(Refusal::Failure)));
}

#[test]
fn a_stale_response_is_removed_when_the_upstream_sends_another_one() {
    const LINE: &str = "cache-control: max-age=10, stale-while-revalidate=100, stale-if-error=100";
    for (status, lines, is_removed) in [
        (302, &["location: /b"][..], true),
        (404, &[], true),
        (410, &[], true),
        (403, &[], true),
        (200, &["cache-control: no-store"], true),
        (200, &["cache-control: private"], true),
        (200, &[TEN, "vary: *"], true),
        (200, &[TEN, "set-cookie: a=b"], false),
        (400, &[], false),
        (429, &[], false),
        (500, &[], false),
    ] {
        let mut world = World::new();
        assert!(world.fetch("/a", &[], &[LINE], "abc"));
        world.seconds = 12;
        let mut fill = world.fill("/a", &[]);
        world.respond(&mut fill, status, lines, 3);
        drop(fill);
        let lookup = world.get("/a", &[]);
        assert_eq!(matches!(lookup, Lookup::Fill(_)), is_removed, "{status} {lines:?}");
        assert_eq!(world.cache.entries(), usize::from(!is_removed));
        world.check();
    }
}

#[test]
fn must_revalidate_forbids_stale_responses() {
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
        let mut fill = world.fill("/a", &[]);
        assert!(matches!(world.get("/a", &[]), Lookup::Wait(_)));
        assert!(fill.failed(world.now()).is_none());
    }
}

#[test]
fn an_invalidated_response_is_not_restored() {
    let world = World::new();
    assert!(world.fetch("/a", &[], &[TEN], "old"));
    world.cache.invalidate("http://a", "/b");
    world.hit("/a", &[]);
    world.cache.invalidate("http://a", "/a");
    assert_eq!(world.cache.bytes(), 0);

    for forget in
        [&(|world: &World| world.cache.invalidate("http://a", "/a")) as &dyn Fn(&World), &|world| {
            world.cache.clear();
        }]
    {
        let mut old = world.fill("/a", &[]);
        world.respond(&mut old, 200, &[TEN], 3);
        forget(&world);
        // Requests do not wait for the invalidated fetch.
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
fn a_request_that_waited_before_a_clear_stores_nothing_for_later_requests() {
    let world = World::new();
    let none = Fields::new();
    // The lookup of a request that waits for the first fetch.
    let waiting = CacheRequest {
        method: &Method::GET,
        site: "http://a",
        target: "/a",
        epoch: world.cache.epoch(),
        headers: &none,
    };
    let old = world.fill("/a", &[]);
    assert!(matches!(world.cache.try_lookup(&waiting, world.now(), None), Lookup::Wait(_)));
    world.cache.clear();
    drop(old);
    let mut late = expect_fill(world.cache.try_lookup(&waiting, world.now(), None));
    world.respond(&mut late, 200, &[TEN], 3);
    drop(late.body(b"old", world.now()));
    late.complete(world.now());
    assert!(world.fetch("/a", &[], &[TEN], "new"));
    assert_eq!(world.hit("/a", &[]).body(), "new");
}

#[test]
fn repeated_invalidation_leaks_nothing() {
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
fn a_cache_of_zero_bytes_is_disabled() {
    let world = World::with(&CacheSettings { bytes: 0, ..CacheSettings::default() });
    let lookup = world.get("/a", &[]);
    assert!(
        matches!(&lookup, Lookup::Pass(pass) if pass.forwarded().field() == "gateway; fwd=bypass")
    );
    assert_eq!(reason(lookup), Reason::Off);
    let lookup = World::new().lookup(&Method::POST, "/a", &[]);
    assert!(
        matches!(&lookup, Lookup::Pass(pass) if pass.forwarded().field() == "gateway; fwd=method")
    );
}
