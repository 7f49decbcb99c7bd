use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Empty, Full};

use server::Viewer;

use super::*;
use crate::broadcast::{Publisher, feed};
use crate::history::History;
use crate::rates::Exposure;
use crate::reading::Reading;

fn broadcast(samples: u64) -> (Publisher, Feed) {
    let (publisher, feed, forward) = feed(Arc::new(Mutex::new(History::new())));
    tokio::spawn(forward);
    for sequence in 1..=samples {
        publish(&publisher, sequence);
    }
    (publisher, feed)
}

fn publish(publisher: &Publisher, sequence: u64) {
    let sample = wire::Sample {
        cpu: Some(12.5),
        instance: "abc".to_owned(),
        sequence,
        time_unix_ms: 1_700_000_000_000 + sequence * 1000,
        interval_ms: 1000,
        // Long enough to be compressed.
        hostname: Some("h".repeat(2000)),
        ..wire::Sample::default()
    };
    publisher.publish(Snapshot::new(sample, Arc::default(), Exposure::default()).unwrap());
}

fn any_host() -> Access {
    Access { hosts: Hosts::Any, origins: Origins::default(), announcements: None }
}

fn send(feed: &Feed, method: &Method, path: &str, fields: &[(&str, &str)]) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
    match respond(&request, feed, &any_host(), None) {
        Answer::Whole(response) => response,
        Answer::Events(_) => panic!("{path} is a stream"),
    }
}

fn get(feed: &Feed, path: &str, fields: &[(&str, &str)]) -> Response<Body> {
    send(feed, &Method::GET, path, fields)
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn problem(response: Response<Body>) -> (u16, String) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    let problem: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(problem["status"], status);
    assert_eq!(problem["type"], "about:blank");
    (status, problem["detail"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn responses_that_clients_do_not_read_have_a_limit() {
    let (publisher, feed) = broadcast(0);
    (1..=1440).for_each(|minute| publish(&publisher, minute * 60));
    let answers: Vec<_> = (86_000..86_400)
        .map(|seconds| get(&feed, &format!("/stats/history?seconds={seconds}"), &[]))
        .collect();
    let sizes = answers.iter().filter(|answer| answer.status() == 200);
    let held: u64 = sizes.map(|answer| http_body::Body::size_hint(answer.body()).lower()).sum();
    assert!((8 << 20..=12 << 20).contains(&held), "{held} bytes");
    let (status, detail) = problem(answers.into_iter().next_back().unwrap()).await;
    assert_eq!((status, detail.contains("too many")), (429, true), "{detail}");
    assert_eq!(get(&feed, "/stats/history?seconds=86399", &[]).status(), 200);
    assert_eq!(get(&feed, "/metrics", &[]).status(), 200);
}

#[tokio::test]
async fn stats_returns_the_newest_sample() {
    let (_publisher, feed) = broadcast(2);
    let response = get(&feed, "/stats", &[]);
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    assert_eq!(response.headers()[header::ETAG], "W/\"abc-2\"");
    let sample: wire::Sample = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!((sample.cpu, sample.sequence), (Some(12.5), 2));
}

#[tokio::test]
async fn before_the_first_sample_responses_have_a_retry_delay() {
    let (_publisher, feed) = broadcast(0);
    for path in ["/stats", "/stats/stream", "/stats/history", "/metrics", "/readyz"] {
        let response = get(&feed, path, &[]);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert_eq!(problem(response).await.0, 503, "{path}");
    }
    let alive = get(&feed, "/healthz", &[]);
    assert_eq!(alive.status(), StatusCode::OK);
    assert_eq!(alive.headers()[header::CONTENT_TYPE], JSON);
    assert_eq!(text(alive).await, BUILD.health());
}

#[tokio::test]
async fn a_sample_that_is_too_old_is_not_reported_as_current() {
    let (publisher, feed, forward) = feed(Arc::new(Mutex::new(History::new())));
    tokio::spawn(forward);
    let publish = |age| {
        let reading = Reading { uptime_seconds: Some(1.0), ..Reading::default() };
        let sample = wire::Sample { cpu: Some(1.0), sequence: 1, ..wire::Sample::default() };
        let snapshot = Snapshot::new(sample, Arc::new(reading), Exposure::default()).unwrap();
        publisher.publish(snapshot.aged(Duration::from_secs(age)));
    };
    publish(4);
    for path in ["/stats", "/readyz"] {
        assert_eq!(get(&feed, path, &[]).status(), StatusCode::OK, "{path}");
    }
    publish(7);
    for path in ["/stats", "/readyz"] {
        let (status, detail) = problem(get(&feed, path, &[])).await;
        assert_eq!((status, detail.contains("7 s old")), (503, true), "{path}: {detail}");
    }
    assert_eq!(get(&feed, "/healthz", &[]).status(), StatusCode::OK);
    let metrics = text(get(&feed, "/metrics", &[])).await;
    assert!(metrics.contains("stats_sample_age_seconds 7."), "{metrics}");
    assert!(!metrics.contains("node_") && !metrics.contains("_ratio"), "{metrics}");
}

#[tokio::test]
async fn a_sample_that_the_client_has_is_not_sent_again() {
    let (publisher, feed) = broadcast(1);
    for tag in ["W/\"abc-1\"", "\"abc-1\"", "\"x\", W/\"abc-1\"", "*"] {
        let response = get(&feed, "/stats", &[("if-none-match", tag)]);
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{tag}");
        assert_eq!(text(response).await, "");
    }
    publish(&publisher, 2);
    let response = get(&feed, "/stats", &[("if-none-match", "W/\"abc-1\"")]);
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn responses_are_compressed_if_the_client_accepts_it() {
    let (_publisher, feed) = broadcast(1);
    for (fields, coding) in [
        (&[("accept-encoding", "br, gzip")][..], Some("gzip")),
        (&[("accept-encoding", "br")], None),
        (&[("accept-encoding", "gzip;q=0")], None),
        (&[("accept-encoding", "gzip;q=0.1, identity")], None),
        (&[("accept-encoding", "gzip;q=0.001")], Some("gzip")),
        (&[("accept-encoding", "identity;q=0.5, gzip;q=0.5")], Some("gzip")),
        (&[], None),
    ] {
        let response = get(&feed, "/stats", fields);
        let encoding = response.headers().get(header::CONTENT_ENCODING);
        assert_eq!(encoding.map(|encoding| encoding.to_str().unwrap()), coding, "{fields:?}");
        assert_eq!(response.headers()[header::VARY], "accept, accept-encoding");
    }
}

#[tokio::test]
async fn invalid_requests_are_rejected_with_their_status() {
    let (_publisher, feed) = broadcast(1);
    let long = format!("/stats?{}", "x".repeat(MAX_TARGET_BYTES));
    let large = "x".repeat(MAX_HEADER_BYTES);
    let fields: &[(&str, &str)] = &[];
    for (status, path, fields) in [
        (404, "/statsx", fields),
        (404, "/", fields),
        (404, "/stats/", fields),
        (406, "/stats", &[("accept", "text/html")]),
        (406, "/stats/stream", &[("accept", "application/json")]),
        (406, "/metrics", &[("accept", "application/json")]),
        (400, "/stats/history?seconds=0", fields),
        (414, &long, fields),
        (431, "/stats", &[("cookie", &large)]),
    ] {
        assert_eq!(problem(get(&feed, path, fields)).await.0, status, "{path} {fields:?}");
    }
}

#[tokio::test]
async fn only_read_methods_are_allowed() {
    let (_publisher, feed) = broadcast(1);
    for path in ["/stats", "/stats/stream", "/metrics", "/healthz", "/openapi.json"] {
        for method in [Method::POST, Method::DELETE, Method::TRACE] {
            let response = send(&feed, &method, path, &[]);
            assert_eq!(response.headers()[header::ALLOW], "GET, HEAD, OPTIONS");
            assert_eq!(problem(response).await.0, 405, "{method} {path}");
        }
        let response = send(&feed, &Method::OPTIONS, path, &[]);
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(response.headers()[header::ALLOW], "GET, HEAD, OPTIONS");
    }
}

#[tokio::test]
async fn request_content_is_rejected() {
    let (_publisher, feed) = broadcast(1);
    let request = Request::get("/stats").body(Full::new(&b"x"[..])).unwrap();
    let Answer::Whole(response) = respond(&request, &feed, &any_host(), None) else {
        panic!("not refused");
    };
    assert_eq!(problem(response).await.0, 413);
}

fn watch(feed: &Feed, last_event_id: Option<&str>) -> Viewer {
    let mut request = Request::get("/stats/stream");
    if let Some(id) = last_event_id {
        request = request.header("last-event-id", id);
    }
    let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
    match respond(&request, feed, &any_host(), None) {
        Answer::Events(response) => {
            assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
            response.into_body()
        }
        Answer::Whole(response) => panic!("{}", response.status()),
    }
}

/// Name and ID of the next event; if it has none, its text.
async fn next(viewer: &mut Viewer) -> String {
    let text = viewer.next().await.unwrap().text();
    let text = std::str::from_utf8(&text).unwrap();
    let line = |prefix| text.lines().find_map(|line| line.strip_prefix(prefix));
    match line("event: ").zip(line("id: ")) {
        Some((name, id)) => format!("{name} {id}"),
        None => text.to_owned(),
    }
}

#[tokio::test]
async fn a_stream_begins_with_the_history_and_continues_with_the_newest_samples() {
    let (publisher, feed) = broadcast(3);
    let mut viewer = watch(&feed, None);
    for expected in ["retry: 1000\n\n", "history abc-2", "sample abc-3"] {
        assert_eq!(next(&mut viewer).await, expected);
    }
    publish(&publisher, 4);
    assert_eq!(next(&mut viewer).await, "sample abc-4");
    drop(publisher);
    assert_eq!(viewer.next().await, None);
}

#[tokio::test]
async fn a_viewer_that_reconnects_receives_every_missed_event_once() {
    let (publisher, feed) = broadcast(5);
    let mut viewer = watch(&feed, Some("abc-3"));
    for expected in ["retry: 1000\n\n", "sample abc-4", "sample abc-5"] {
        assert_eq!(next(&mut viewer).await, expected);
    }
    publish(&publisher, 6);
    assert_eq!(next(&mut viewer).await, "sample abc-6");
}

#[tokio::test]
async fn a_viewer_of_another_instance_or_after_a_long_pause_receives_the_history() {
    for id in ["xyz-3", "abc-1", "abc-9000", "abc", "", "-"] {
        let (_publisher, feed) = broadcast(100);
        let mut viewer = watch(&feed, Some(id));
        for expected in ["retry: 1000\n\n", "history abc-99", "sample abc-100"] {
            assert_eq!(next(&mut viewer).await, expected, "{id}");
        }
    }
}

#[tokio::test]
async fn a_slow_viewer_misses_samples_and_receives_the_newest() {
    let (publisher, feed) = broadcast(1);
    let mut viewer = watch(&feed, Some("abc-1"));
    assert_eq!(next(&mut viewer).await, "retry: 1000\n\n");
    for sequence in 2..=50 {
        publish(&publisher, sequence);
    }
    assert_eq!(next(&mut viewer).await, "sample abc-50");
}

#[tokio::test(start_paused = true)]
async fn a_silent_sampler_causes_heartbeats() {
    let (_publisher, feed) = broadcast(1);
    let mut viewer = watch(&feed, Some("abc-1"));
    assert_eq!(next(&mut viewer).await, "retry: 1000\n\n");
    let begun = tokio::time::Instant::now();
    assert_eq!(next(&mut viewer).await, ":\n\n");
    assert_eq!(begun.elapsed().as_secs(), 15);
}

#[tokio::test]
async fn a_gzip_stream_has_the_same_text_in_a_tenth_of_the_bytes() {
    let (publisher, feed) = broadcast(1);
    let request = Request::get("/stats/stream").header("accept-encoding", "br, gzip");
    let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
    let Answer::Events(response) = respond(&request, &feed, &any_host(), None) else {
        panic!("not a stream");
    };
    assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
    assert_eq!(response.headers()[header::VARY], "accept, accept-encoding");
    let (mut viewer, mut plain) = (response.into_body(), watch(&feed, None));
    let (mut bytes, mut text) = (Vec::new(), bytes::Bytes::new());
    for sequence in 2..=70 {
        publish(&publisher, sequence);
        text = loop {
            let event = plain.next().await.unwrap().text();
            if event.starts_with(format!("id: abc-{sequence}\n").as_bytes()) {
                break event;
            }
        };
        bytes.extend(viewer.next().await.unwrap().text());
    }
    drop(publisher);
    while let Some(chunk) = viewer.next().await {
        bytes.extend(chunk.text());
    }
    let mut back = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(&bytes[..]);
    std::io::Read::read_to_end(&mut decoder, &mut back).unwrap();
    assert!(back.starts_with(b"retry: 1000\n\nid: abc-0\nevent: history\n"));
    assert!(back.ends_with(&text));
    assert!(bytes.len() * 10 < back.len(), "{} of {}", bytes.len(), back.len());
}

fn watch_summaries(feed: &Feed) -> Response<Viewer> {
    let request = Request::get("/stats/stream?view=summary");
    let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
    match respond(&request, feed, &any_host(), None) {
        Answer::Events(response) => response,
        Answer::Whole(response) => panic!("{}", response.status()),
    }
}

#[tokio::test]
async fn the_summary_view_begins_with_a_minute_and_has_the_instance() {
    let (publisher, feed) = broadcast(3);
    let response = watch_summaries(&feed);
    assert_eq!(response.headers()["stats-instance"], "abc");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut viewer = response.into_body();
    let minute = next(&mut viewer).await;
    let data = minute.strip_prefix("event: minute\ndata: ").unwrap().trim_end();
    let minute: wire::Minute = serde_json::from_str(data).unwrap();
    assert_eq!(minute.times_unix_ms, [1_700_000_001_000, 1_700_000_002_000]);
    assert_eq!((minute.cpu, minute.ram), (vec![Some(12.5); 2], vec![None; 2]));
    assert_eq!(next(&mut viewer).await, "summary 3");
    publish(&publisher, 4);
    let text = viewer.next().await.unwrap().text();
    let text = std::str::from_utf8(&text).unwrap();
    let data = text.strip_prefix("event: summary\nid: 4\ndata: ").unwrap().trim_end();
    let summary: wire::Summary = serde_json::from_str(data).unwrap();
    assert_eq!((summary.cpu, summary.sequence, &*summary.instance), (Some(12.5), 4, "abc"));
    assert_eq!(summary.version, BUILD.version);
    drop(publisher);
    assert_eq!(viewer.next().await, None);
}

#[tokio::test]
async fn a_summary_without_a_viewer_is_not_encoded() {
    let (publisher, feed) = broadcast(1);
    let mut samples = watch(&feed, Some("abc-1"));
    next(&mut samples).await;
    publish(&publisher, 2);
    // When the viewer has the sample, the other streams have been updated too.
    assert_eq!(next(&mut samples).await, "sample abc-2");
    assert!(!feed.newest().unwrap().has_summary());
    let mut summaries = watch_summaries(&feed).into_body();
    for _ in 0..2 {
        next(&mut summaries).await;
    }
    publish(&publisher, 3);
    assert_eq!(next(&mut summaries).await, "summary 3");
    assert!(feed.newest().unwrap().has_summary());
}

#[tokio::test]
async fn an_unknown_view_is_rejected() {
    let (_publisher, feed) = broadcast(1);
    for path in ["/stats/stream?view=all", "/stats/stream?view", "/stats/stream?view=summary&view="]
    {
        assert_eq!(problem(get(&feed, path, &[])).await.0, 400, "{path}");
    }
}

#[tokio::test]
async fn on_loopback_an_unknown_host_is_rejected_for_every_path() {
    let (_publisher, feed) = broadcast(1);
    let hosts = Hosts::new(&http_semantics::hosts::HostList::default(), [127, 0, 0, 1].into());
    let access = Access { hosts, origins: Origins::default(), announcements: None };
    let status = |target: &str, host: Option<&[u8]>| {
        let mut request = Request::get(target);
        if let Some(host) = host {
            request = request.header(header::HOST, host);
        }
        let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
        match respond(&request, &feed, &access, None) {
            Answer::Whole(response) => response.status().as_u16(),
            Answer::Events(response) => response.status().as_u16(),
        }
    };
    for path in ["/stats", "/stats/stream", "/metrics", "/healthz", "/nothing"] {
        assert_eq!(status(path, Some(b"evil.test:8080")), 421, "{path}");
        assert_eq!(status(path, Some(b"\xff")), 421, "{path}");
    }
    for (path, expected) in [("/stats", 421), ("/healthz", 200), ("/readyz", 200)] {
        assert_eq!(status(path, Some(b"10.0.0.3:8080")), expected, "{path}");
    }
    assert_eq!(status("http://evil.test/stats", Some(b"localhost")), 421);
    assert_eq!(status("/stats", Some(b"localhost:8080")), 200);
    assert_eq!(status("/stats", None), 200);
}
