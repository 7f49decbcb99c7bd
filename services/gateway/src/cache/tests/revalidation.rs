//! Revalidation of stale responses.

use super::*;
use crate::fields::Fields;

/// Passes a 304 to a revalidation.
fn not_modified(world: &World, fill: &mut Fill, lines: &[&str]) -> CachedResponse {
    let status = StatusCode::NOT_MODIFIED;
    match fill.response(status, &Fields::of_lines(lines), world.moment()) {
        FillDecision::Substitute(answer) => answer,
        other => panic!("not freshened: {other:?}"),
    }
}

fn conditions(fill: &Fill) -> Vec<(String, Option<String>)> {
    let text = |value: HeaderValue| value.to_str().unwrap().to_owned();
    let changes = fill.changes().map(|(name, value)| (name.to_string(), value.map(text)));
    changes.filter(|(name, _)| name.starts_with("if-")).collect()
}

#[test]
fn a_stale_response_is_revalidated_with_its_own_validators() {
    const MODIFIED: &str = "last-modified: Sun, 06 Nov 1994 08:49:37 GMT";
    let mut world = World::new();
    for (lines, tag, date) in [
        (&[TEN, "etag: \"1\""][..], Some("\"1\""), None),
        (&[TEN, "etag: W/\"1\""], Some("W/\"1\""), None),
        (&[TEN, "etag: W/\"1\"", "content-encoding: gzip"], Some("W/\"1\", \"1\""), None),
        (&[TEN, MODIFIED], None, Some("Sun, 06 Nov 1994 08:49:37 GMT")),
        (&[TEN], None, None),
    ] {
        world.cache.clear();
        assert!(world.fetch("/a", &[], lines, "abc"));
        world.seconds += 10;
        let fill = world.fill("/a", &["if-none-match: \"of the client\""]);
        let expected = [("if-none-match", tag), ("if-modified-since", date)]
            .map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
        assert_eq!(conditions(&fill), expected, "{lines:?}");
    }
}

#[test]
fn a_revalidated_response_is_fresh_again_with_the_fields_of_the_304() {
    let mut world = World::new();
    let stored = [TEN, "etag: \"1\"", "x-a: old", "x-b: kept", "content-type: text/plain"];
    assert!(world.fetch("/a", &[], &stored, "abc"));
    world.seconds = 10;
    let mut fill = world.fill("/a", &[]);
    let update =
        ["cache-control: max-age=20", "x-a: new", "content-type: text/html", "etag: \"1\""];
    let answer = not_modified(&world, &mut fill, &update);
    drop(fill);
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
    assert_eq!(world.cache.counters().revalidated.get(), 1);
    world.check();
}

#[test]
fn a_304_that_forbids_storing_removes_the_stored_response() {
    let mut world = World::new();
    assert!(world.fetch("/a", &[], &[TEN, "etag: \"1\""], "abc"));
    world.seconds = 10;
    let mut fill = world.fill("/a", &[]);
    let answer = not_modified(&world, &mut fill, &["cache-control: no-store"]);
    assert_eq!(answer.body(), Bytes::from("abc"));
    drop(fill);
    assert_eq!(world.cache.entries(), 0);
    world.check();
}

#[test]
fn a_304_without_a_stored_validator_is_forwarded_only() {
    let mut world = World::new();
    assert!(world.fetch("/a", &[], &[TEN], "abc"));
    world.seconds = 10;
    let mut fill = world.fill("/a", &[]);
    let decision = fill.response(StatusCode::NOT_MODIFIED, &Fields::new(), world.moment());
    assert!(matches!(decision, FillDecision::Forward(Refusal::Status)), "{decision:?}");
}

#[test]
fn a_no_cache_response_is_stored_and_revalidated_each_time() {
    let mut world = World::new();
    let response = ["cache-control: no-cache, max-age=60", "etag: \"1\""];
    assert!(world.fetch("/a", &[], &response, "abc"));
    for _ in 0..3 {
        let mut fill = world.fill("/a", &[]);
        assert!(conditions(&fill).contains(&("if-none-match".into(), Some("\"1\"".into()))));
        // It does not answer concurrent requests, and they do not wait long.
        let answer = not_modified(&world, &mut fill, &response);
        assert_eq!((answer.status(), answer.body()), (StatusCode::OK, Bytes::from("abc")));
        drop(fill);
        world.seconds += 3;
    }
    let known = not_modified(&world, &mut world.fill("/a", &["if-none-match: \"1\""]), &response);
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    let mut fill = world.fill("/a", &[]);
    assert!(fill.failed(world.now()).is_none(), "it is not used old");
    drop(fill);
    world.check();
}

#[test]
fn a_server_error_is_stored_for_seconds_and_never_replaces_a_success() {
    const LONG: &str = "cache-control: max-age=3600";
    let mut world = World::new();
    let mut fill = world.fill("/a", &[]);
    assert!(matches!(world.respond(&mut fill, 503, &[LONG], 0), FillDecision::Storing));
    assert!(fill.complete(world.now()));
    world.seconds = 9;
    assert_eq!(world.hit("/a", &[]).status(), StatusCode::SERVICE_UNAVAILABLE);
    world.seconds = 10;
    assert!(world.fetch("/a", &[], &[TEN], "abc"));
    world.seconds = 20;
    let mut fill = world.fill("/a", &[]);
    let decision = world.respond(&mut fill, 500, &[LONG], 0);
    assert!(matches!(decision, FillDecision::Forward(Refusal::Failure)), "{decision:?}");
    drop(fill);
    world.check();
}
