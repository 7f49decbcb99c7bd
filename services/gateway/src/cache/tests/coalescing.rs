//! Concurrent requests.

use tokio::task::JoinSet;

use super::*;

fn now() -> Instant {
    time::Instant::now().into_std()
}

fn cache() -> Cache {
    Cache::new(&CacheSettings::default())
}

async fn lookup(cache: &Cache, lines: &[&str]) -> Lookup {
    let headers = Fields::of_lines(lines);
    let request =
        CacheRequest { method: &Method::GET, site: "", target: "/a", epoch: 0, headers: &headers };
    cache.lookup(&request).await
}

/// Starts this number of requests; all of them wait when this returns.
async fn waiting_requests(cache: &Cache, number: u64) -> JoinSet<Lookup> {
    let mut crowd = JoinSet::new();
    let before = cache.counters().waits.get();
    for _ in 0..number {
        let cache = cache.clone();
        crowd.spawn(async move { lookup(&cache, &[]).await });
    }
    while cache.counters().waits.get() < before + number {
        tokio::task::yield_now().await;
    }
    crowd
}

/// Runs all tasks that are ready.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

fn respond(fill: &mut Fill, status: u16, line: &str) -> FillDecision {
    let headers = Fields::of_lines(&[line, "content-length: 3"]);
    fill.response(StatusCode::from_u16(status).unwrap(), &headers, moment(now()))
}

/// Completes the fetch.
fn complete(mut fill: Box<Fill>, line: &str) {
    assert!(matches!(respond(&mut fill, 200, line), FillDecision::Storing));
    drop(fill.body(b"abc", now()));
    assert!(fill.complete(now()));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_requests_share_one_fetch() {
    let cache = cache();
    let first = expect_fill(lookup(&cache, &[]).await);
    let mut crowd = waiting_requests(&cache, 1000).await;
    let begun = now();
    complete(first, TEN);
    while let Some(lookup) = crowd.join_next().await {
        let answer = answer(lookup.unwrap());
        assert_eq!(answer.body(), "abc");
        assert_eq!(
            field(&answer, "cache-status").as_deref(),
            Some("gateway; fwd=uri-miss; collapsed; ttl=10")
        );
    }
    assert_eq!(now(), begun);
    let counters = cache.counters();
    assert_eq!((counters.misses.get(), counters.hits()), (1, 1000));
    assert_eq!((counters.collapsed.get(), counters.waits.get()), (1000, 1000));
}

#[tokio::test(start_paused = true)]
async fn when_a_fetch_is_dropped_one_waiting_request_takes_over() {
    let cache = cache();
    let first = expect_fill(lookup(&cache, &[]).await);
    let mut crowd = waiting_requests(&cache, 1000).await;
    let mut first = Some(first);
    for remaining in (0..1000).rev() {
        // Before the response, or in the middle of it.
        let mut failing = first.take().unwrap();
        if remaining % 2 == 0 {
            respond(&mut failing, 200, TEN);
            drop(failing.body(b"a", now()));
        }
        if remaining % 3 == 0 {
            assert!(!failing.complete(now()));
        } else {
            drop(failing);
        }
        first = Some(expect_fill(crowd.join_next().await.unwrap().unwrap()));
        settle().await;
        assert_eq!(cache.counters().misses.get(), 1001 - remaining);
        if remaining == 990 {
            break;
        }
    }
    let first = first.unwrap();
    assert_eq!(first.forwarded().field(), "gateway; fwd=uri-miss; collapsed=?0");
    complete(first, TEN);
    while let Some(lookup) = crowd.join_next().await {
        answer(lookup.unwrap());
    }
    assert_eq!(cache.counters().misses.get(), 11);
}

#[tokio::test(start_paused = true)]
async fn an_uncacheable_response_suspends_coalescing_for_a_while() {
    let cache = cache();
    let mut first = expect_fill(lookup(&cache, &[]).await);
    let mut crowd = waiting_requests(&cache, 100).await;
    respond(&mut first, 200, "cache-control: no-store");
    let begun = now();
    while let Some(lookup) = crowd.join_next().await {
        let mut fill = expect_fill(lookup.unwrap());
        respond(&mut fill, 200, "cache-control: no-store");
    }
    assert_eq!(now(), begun);
    // Until now, requests do not wait for each other.
    let one = expect_fill(lookup(&cache, &[]).await);
    let other = expect_fill(lookup(&cache, &[]).await);
    drop((one, other));
    time::advance(Duration::from_secs(2)).await;
    let _one = expect_fill(lookup(&cache, &[]).await);
    let waits = time::timeout(Duration::from_secs(1), lookup(&cache, &[])).await;
    assert!(waits.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_response_that_withdraws_the_stored_one_releases_all_waiting_requests() {
    for (status, line) in [
        (200, "cache-control: no-store"),
        (302, "location: /b"),
        (304, "cache-control: no-store"),
        (200, "cache-control: max-age=10"),
    ] {
        let cache = cache();
        let stored = ["etag: \"1\"", TEN, "vary: accept-language", "content-length: 3"];
        let mut fill = expect_fill(lookup(&cache, &[]).await);
        fill.response(StatusCode::OK, &Fields::of_lines(&stored), moment(now()));
        drop(fill.body(b"abc", now()));
        assert!(fill.complete(now()));
        time::advance(Duration::from_secs(10)).await;
        let mut fill = expect_fill(lookup(&cache, &[]).await);
        let mut crowd = waiting_requests(&cache, 3).await;
        if line == TEN {
            let length = format!("content-length: {}", CacheSettings::default().entry_bytes + 1);
            fill.response(StatusCode::OK, &Fields::of_lines(&[line, &length]), moment(now()));
        } else {
            respond(&mut fill, status, line);
        }
        let mut fills = Vec::new();
        while let Some(lookup) = crowd.join_next().await {
            // None of them waits for another one, whose fill is still in progress.
            fills.push(expect_fill(lookup.unwrap()));
        }
        assert_eq!(cache.entries(), 0, "{status} {line}");
    }
}

#[tokio::test(start_paused = true)]
async fn coalescing_stays_suspended_while_responses_are_uncacheable() {
    let cache = cache();
    let mut first = expect_fill(lookup(&cache, &[]).await);
    let mut waiting = waiting_requests(&cache, 1).await;
    respond(&mut first, 200, "cache-control: no-store");
    let mut one = expect_fill(waiting.join_next().await.unwrap().unwrap());
    for _ in 0..50 {
        respond(&mut one, 200, "cache-control: no-store");
        time::advance(Duration::from_millis(900)).await;
        one = expect_fill(lookup(&cache, &[]).await);
        drop(expect_fill(lookup(&cache, &[]).await));
    }
    assert_eq!(cache.counters().waits.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn invented_variants_bypass_the_cache_without_affecting_others() {
    let cache = cache();
    let respond = |fill: &mut Fill| {
        let line = "cache-control: max-age=1";
        let response = Fields::of_lines(&[line, "vary: origin", "content-length: 0"]);
        fill.response(StatusCode::OK, &response, moment(now()))
    };
    let mut first = expect_fill(lookup(&cache, &[]).await);
    respond(&mut first);
    assert!(first.complete(now()));
    let mut fetches = Vec::new();
    for number in 0..64 {
        fetches.push(expect_fill(lookup(&cache, &[&format!("origin: {number}")]).await));
    }
    assert_eq!(reason(lookup(&cache, &["origin: x"]).await), Reason::TooManyVariants);
    assert!(time::timeout(Duration::from_secs(1), lookup(&cache, &["origin: 1"])).await.is_err());
    // A stale stored response may be fetched nevertheless.
    let mut again = expect_fill(lookup(&cache, &[]).await);
    respond(&mut again);
    assert!(again.complete(now()));
    answer(lookup(&cache, &[]).await);
}

#[tokio::test(start_paused = true)]
async fn the_first_cacheable_response_resumes_coalescing() {
    let cache = cache();
    let mut first = expect_fill(lookup(&cache, &[]).await);
    let _crowd = waiting_requests(&cache, 2).await;
    respond(&mut first, 200, "cache-control: no-store");
    let (mut one, mut other) =
        (expect_fill(lookup(&cache, &[]).await), expect_fill(lookup(&cache, &[]).await));
    assert!(matches!(respond(&mut one, 200, TEN), FillDecision::Storing));
    // One store is enough.
    let decision = respond(&mut other, 200, TEN);
    assert!(matches!(decision, FillDecision::Forward(Refusal::Superseded)));
    drop(one.body(b"abc", now()));
    assert!(one.complete(now()));
    answer(lookup(&cache, &[]).await);
    time::advance(Duration::from_secs(10)).await;
    let _one = expect_fill(lookup(&cache, &[]).await);
    assert!(time::timeout(Duration::from_secs(1), lookup(&cache, &[])).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_single_error_does_not_send_all_requests_to_the_upstream() {
    let cache = cache();
    complete(expect_fill(lookup(&cache, &[]).await), "cache-control: s-maxage=1");
    time::advance(Duration::from_secs(1)).await;
    let mut first = expect_fill(lookup(&cache, &[]).await);
    let mut crowd = waiting_requests(&cache, 100).await;
    for (status, misses) in [(406, 3), (503, 4)] {
        respond(&mut first, status, "cache-control: no-store");
        first = expect_fill(crowd.join_next().await.unwrap().unwrap());
        settle().await;
        // One for the response of a second ago, and one for each retry since then.
        assert_eq!(cache.counters().misses.get(), misses);
    }
    // The third consecutive error takes effect.
    respond(&mut first, 503, "cache-control: no-store");
    while let Some(lookup) = crowd.join_next().await {
        expect_fill(lookup.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn all_waiting_requests_get_the_stale_response_when_the_upstream_fails() {
    let cache = cache();
    let line = "cache-control: max-age=1, stale-if-error=60";
    complete(expect_fill(lookup(&cache, &[]).await), line);
    time::advance(Duration::from_secs(2)).await;
    let mut first = expect_fill(lookup(&cache, &[]).await);
    let mut crowd = waiting_requests(&cache, 100).await;
    assert!(first.failed(now()).is_some());
    while let Some(lookup) = crowd.join_next().await {
        assert!(answer(lookup.unwrap()).is_stale());
    }
    assert_eq!(cache.counters().misses.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn after_the_wait_limit_one_request_retries_and_the_rest_bypass() {
    let cache = cache();
    let slow = expect_fill(lookup(&cache, &[]).await);
    let begun = now();
    let mut crowd = waiting_requests(&cache, 1000).await;
    let (mut fills, mut passes) = (Vec::new(), 0);
    while let Some(lookup) = crowd.join_next().await {
        match lookup.unwrap() {
            Lookup::Fill(fill) => fills.push(fill),
            Lookup::Pass(pass) => {
                assert_eq!(pass.reason, Reason::WaitedTooLong);
                let field = pass.forwarded().field();
                assert_eq!(field, "gateway; fwd=uri-miss; collapsed=?0");
                passes += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    let waited = now() - begun;
    assert!((5.0..5.1).contains(&waited.as_secs_f64()), "{waited:?}");
    assert_eq!((fills.len(), passes), (1, 999));
    assert_eq!(cache.counters().waited_too_long.get(), 999);
    // The request that took over stores; the slow one is superseded.
    complete(fills.remove(0), TEN);
    let mut slow = slow;
    respond(&mut slow, 200, TEN);
    drop(slow.body(b"old", now()));
    assert!(!slow.complete(now()));
    assert_eq!(answer(lookup(&cache, &[]).await).body(), "abc");
}

#[tokio::test(start_paused = true)]
async fn waiting_requests_are_woken_as_soon_as_the_response_is_too_large() {
    let settings = CacheSettings { entry_bytes: 10_000, ..CacheSettings::default() };
    let cache = Cache::new(&settings);
    let mut first = expect_fill(lookup(&cache, &[]).await);
    let mut crowd = waiting_requests(&cache, 100).await;
    let response = Fields::of_lines(&[TEN, "transfer-encoding: chunked"]);
    first.response(StatusCode::OK, &response, moment(now()));
    drop(first.body(&[0; 10_000], now()));
    assert_eq!(crowd.try_join_next().map(|_| ()), None);
    drop(first.body(&[0; 1], now()));
    while let Some(lookup) = crowd.join_next().await {
        expect_fill(lookup.unwrap());
    }
    assert_eq!(cache.entries(), 0);
}

#[tokio::test(start_paused = true)]
async fn requests_do_not_wait_for_a_response_that_is_only_usable_on_errors() {
    let cache = cache();
    let line = "cache-control: max-age=0, stale-if-error=60";
    let mut first = expect_fill(lookup(&cache, &[]).await);
    let mut waiting = waiting_requests(&cache, 10).await;
    respond(&mut first, 200, line);
    // The response head already shows it.
    let mut others = Vec::new();
    while let Some(lookup) = waiting.join_next().await {
        others.push(expect_fill(lookup.unwrap()));
    }
    for other in &mut others {
        assert!(matches!(respond(other, 200, line), FillDecision::Forward(Refusal::Superseded)));
    }
    drop(first.body(b"abc", now()));
    assert!(first.complete(now()));
    let (one, mut other) =
        (expect_fill(lookup(&cache, &[]).await), expect_fill(lookup(&cache, &[]).await));
    drop(one);
    assert_eq!(other.failed(now()).unwrap().body(), "abc");
    answer(lookup(&cache, &[]).await);
}

#[tokio::test(start_paused = true)]
async fn requests_for_another_variant_share_one_fetch() {
    let cache = cache();
    let respond = |mut fill: Box<Fill>| {
        let response = Fields::of_lines(&[TEN, "vary: accept-encoding", "content-length: 0"]);
        fill.response(StatusCode::OK, &response, moment(now()));
        assert!(fill.complete(now()));
    };
    let first = expect_fill(lookup(&cache, &[]).await);
    let mut crowd = JoinSet::new();
    for number in 0..900 {
        let cache = cache.clone();
        crowd.spawn(async move {
            let lines = ["accept-encoding: br", "accept-encoding: gzip", "x: y"];
            lookup(&cache, &[lines[number % 3]]).await
        });
    }
    while cache.counters().waits.get() < 900 {
        tokio::task::yield_now().await;
    }
    respond(first);
    let mut hits = 0;
    while let Some(lookup) = crowd.join_next().await {
        match lookup.unwrap() {
            Lookup::Fill(fill) => respond(fill),
            lookup => {
                answer(lookup);
                hits += 1;
            }
        }
    }
    assert_eq!((hits, cache.counters().misses.get(), cache.entries()), (898, 3, 3));
}

#[tokio::test(start_paused = true)]
async fn authenticated_requests_are_coalesced_separately() {
    const AUTHENTICATED: [&str; 1] = ["authorization: x"];
    let cache = cache();
    let mut authenticated = expect_fill(lookup(&cache, &AUTHENTICATED).await);
    let begun = now();
    let first = expect_fill(lookup(&cache, &[]).await);
    assert_eq!(now(), begun);
    respond(&mut authenticated, 200, "cache-control: no-store");
    assert!(time::timeout(Duration::from_secs(1), lookup(&cache, &[])).await.is_err());
    complete(first, "cache-control: s-maxage=10");
    answer(lookup(&cache, &AUTHENTICATED).await);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_pollers_cause_one_upstream_request_per_second() {
    let cache = cache();
    let mut pollers = JoinSet::new();
    for number in 0..10_000_u64 {
        let cache = cache.clone();
        pollers.spawn(async move {
            let lines = ["accept-encoding: gzip", "cache-control: no-cache", "pragma: no-cache"];
            time::sleep(Duration::from_micros(number * 100)).await;
            for _ in 0..10 {
                match lookup(&cache, &lines).await {
                    Lookup::Fill(fill) => {
                        // The upstream takes 50 ms.
                        time::sleep(Duration::from_millis(50)).await;
                        complete(fill, "cache-control: max-age=0, s-maxage=1");
                    }
                    lookup => assert_eq!(answer(lookup).body(), "abc"),
                }
                time::sleep(Duration::from_secs(1)).await;
            }
        });
    }
    let begun = now();
    while let Some(result) = pollers.join_next().await {
        result.unwrap();
    }
    let seconds = (now() - begun).as_secs();
    let misses = cache.counters().misses.get();
    assert!(misses <= seconds + 1, "{misses} in {seconds} s");
    assert_eq!(cache.counters().hits(), 100_000 - misses);
}
