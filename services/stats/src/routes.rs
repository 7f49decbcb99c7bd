//! Request to response, over values: no socket, no clock, no file.

use std::time::Duration;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use semantics::negotiation::{coding, media_type};
use server::Answer;

use crate::body::Body;
use crate::broadcast::Feed;
use crate::cors::Origins;
use crate::metrics::{self, Format};
use crate::query::Span;
use crate::reading::Scrape;
use crate::snapshot::{Encoded, Snapshot};
use crate::{BUILD, openapi, problem};

/// The longest target that is looked at, bytes. The longest that means anything has forty.
const TARGET_BYTES: usize = 2048;

/// Bytes that the header fields may have. A browser's through a proxy have about 1 KiB.
const HEAD_BYTES: usize = 16 * 1024;

/// Header fields that a request may have.
const HEAD_FIELDS: usize = 64;

/// The methods that every path has.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// The answer to a request, as `openapi.yaml` describes it. Whatever is refused is refused with
/// problem details (RFC 9457).
pub(crate) fn respond<B: http_body::Body>(
    request: &Request<B>,
    feed: &Feed,
    origins: &Origins,
    scrape: Option<&Scrape>,
) -> Answer<Body> {
    let mut answer = answer(request, feed, scrape);
    let fields = match &mut answer {
        Answer::Whole(response) => response.headers_mut(),
        Answer::Events(response) => response.headers_mut(),
    };
    origins.apply(request.method(), request.headers(), fields);
    answer
}

/// Whether the answer needs what is read for a scrape.
pub(crate) fn wants_scrape<B: http_body::Body>(request: &Request<B>) -> bool {
    resource(request).is_ok_and(|resource| resource == Resource::Metrics)
}

fn answer<B: http_body::Body>(
    request: &Request<B>,
    feed: &Feed,
    scrape: Option<&Scrape>,
) -> Answer<Body> {
    match resource(request) {
        Ok(Resource::Stream) => stream(request.headers(), feed),
        Ok(resource) => Answer::Whole(whole(resource, request, feed, scrape)),
        Err(refusal) => Answer::Whole(refusal),
    }
}

/// What is asked for, if it can be answered at all.
#[expect(clippy::result_large_err, reason = "it is taken apart at once")]
fn resource<B: http_body::Body>(request: &Request<B>) -> Result<Resource, Response<Body>> {
    let headers = request.headers();
    if request.uri().path_and_query().is_some_and(|target| target.as_str().len() > TARGET_BYTES) {
        let detail = format!("the target has more than {TARGET_BYTES} bytes");
        return Err(problem::response(StatusCode::URI_TOO_LONG, &detail));
    }
    if headers.len() > HEAD_FIELDS || head_bytes(headers) > HEAD_BYTES {
        let detail =
            format!("there may be {HEAD_FIELDS} header fields and {HEAD_BYTES} bytes of them");
        return Err(problem::response(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, &detail));
    }
    let Some(resource) = Resource::at(request.uri().path()) else {
        let detail = "there is nothing here; /openapi.json tells what there is";
        return Err(problem::response(StatusCode::NOT_FOUND, detail));
    };
    match *request.method() {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => return Err(options()),
        _ => {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            let mut response = problem::response(status, "this path can only be read");
            response.headers_mut().insert(header::ALLOW, METHODS);
            return Err(response);
        }
    }
    if !request.body().is_end_stream() {
        let detail = "a request to this service has no content";
        return Err(problem::response(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(resource)
}

fn whole<B>(
    resource: Resource,
    request: &Request<B>,
    feed: &Feed,
    scrape: Option<&Scrape>,
) -> Response<Body> {
    let headers = request.headers();
    match resource {
        Resource::OpenApi => openapi(headers),
        Resource::Alive => with_type(JSON, BUILD.health().into()),
        Resource::Stats | Resource::Stream => {
            with_fresh_sample(feed, |newest| stats(headers, newest))
        }
        Resource::History => {
            with_sample(feed, |newest| history(headers, request.uri().query(), newest, feed))
        }
        Resource::Metrics => with_sample(feed, |newest| metrics(headers, newest, scrape)),
        Resource::Ready => with_fresh_sample(feed, |_| text("ready\n")),
    }
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    Stats,
    Stream,
    History,
    Metrics,
    OpenApi,
    Alive,
    Ready,
}

impl Resource {
    fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/stats" => Self::Stats,
            "/stats/stream" => Self::Stream,
            "/stats/history" => Self::History,
            "/metrics" => Self::Metrics,
            "/openapi.json" => Self::OpenApi,
            "/healthz" => Self::Alive,
            "/readyz" => Self::Ready,
            _ => return None,
        })
    }
}

/// How much the names and values of the header fields have together.
fn head_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

fn with_sample(feed: &Feed, respond: impl FnOnce(&Snapshot) -> Response<Body>) -> Response<Body> {
    feed.newest().map_or_else(warming_up, |newest| respond(&newest))
}

/// A sample that is older is not shown as if it were of now: sampling has stalled.
const FRESH: Duration = Duration::from_secs(5);

fn with_fresh_sample(
    feed: &Feed,
    respond: impl FnOnce(&Snapshot) -> Response<Body>,
) -> Response<Body> {
    with_sample(feed, |newest| {
        let age = newest.age();
        if age > FRESH {
            let seconds = age.as_secs();
            let detail = format!("the newest sample is {seconds} s old: sampling has stalled");
            let mut response = problem::response(StatusCode::SERVICE_UNAVAILABLE, &detail);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            return response;
        }
        respond(newest)
    })
}

fn warming_up() -> Response<Body> {
    let detail = "a rate needs two readings; the second is on its way";
    let mut response = problem::response(StatusCode::SERVICE_UNAVAILABLE, detail);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn stats(headers: &HeaderMap, newest: &Snapshot) -> Response<Body> {
    if !accepts(headers, JSON) {
        return not_acceptable(JSON);
    }
    let mut response = Response::new(Body::from(""));
    // A copy of a few words; to build them anew would be a tenth of the whole request.
    *response.headers_mut() = newest.fields.clone();
    if matches(headers, &newest.etag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().remove(header::CONTENT_TYPE);
    } else {
        put(&mut response, headers, &newest.json);
    }
    response
}

/// The header fields of the newest sample, which are the same for all who ask.
pub(crate) fn fields_of_sample(etag: HeaderValue) -> HeaderMap {
    let mut fields = fields(JSON);
    fields.insert(header::ETAG, etag);
    // Whoever keeps it for himself asks whether it is the newest still. A cache in front of many may
    // give it to all who ask within a second: a sample is no older than that, and its age is in it.
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=0, s-maxage=1"));
    fields.insert(header::VARY, VARY);
    fields
}

fn stream(headers: &HeaderMap, feed: &Feed) -> Answer<Body> {
    if !accepts(headers, EVENTS) {
        return Answer::Whole(not_acceptable(EVENTS));
    }
    let Some(newest) = feed.newest() else { return Answer::Whole(warming_up()) };
    let last_event_id = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    Answer::Events(with_type(EVENTS, feed.viewer(&newest, last_event_id)))
}

fn history(
    headers: &HeaderMap,
    query: Option<&str>,
    newest: &Snapshot,
    feed: &Feed,
) -> Response<Body> {
    if !accepts(headers, JSON) {
        return not_acceptable(JSON);
    }
    let span = match Span::parse(query.unwrap_or_default()) {
        Ok(span) => span,
        Err(faults) => return problem::response(StatusCode::BAD_REQUEST, &faults),
    };
    encoded(headers, JSON, &newest.rows(span, || feed.rows(span)))
}

fn metrics(headers: &HeaderMap, newest: &Snapshot, scrape: Option<&Scrape>) -> Response<Body> {
    let Some(format) = Format::preferred(|| values(headers, header::ACCEPT)) else {
        return not_acceptable("text/plain and application/openmetrics-text");
    };
    let age = newest.age();
    let mut text = metrics::service(newest.sample.sequence, age.as_secs_f64(), format);
    // Old counters would be stored as if they were of now.
    if age <= FRESH {
        text.push_str(newest.metrics(format));
    }
    if let Some(scrape) = scrape {
        text.push_str(&metrics::on_scrape(scrape, format));
    }
    metrics::end(&mut text, format);
    encoded(headers, format.content_type(), &text.into())
}

fn openapi(headers: &HeaderMap) -> Response<Body> {
    if !accepts(headers, JSON) {
        return not_acceptable(JSON);
    }
    encoded(headers, JSON, openapi::document())
}

fn options() -> Response<Body> {
    let mut response = Response::new(Body::from(""));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, METHODS);
    response
}

fn text(text: &'static str) -> Response<Body> {
    with_type("text/plain; charset=utf-8", text.into())
}

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";
const VARY: HeaderValue = HeaderValue::from_static("accept, accept-encoding");

/// The form of an answer that the client wants.
fn encoded(headers: &HeaderMap, content_type: &'static str, forms: &Encoded) -> Response<Body> {
    let mut response = with_type(content_type, Body::from(""));
    response.headers_mut().insert(header::VARY, VARY);
    put(&mut response, headers, forms);
    response
}

/// Puts the compressed form into the answer where the client wants it and there is one.
fn put(response: &mut Response<Body>, headers: &HeaderMap, forms: &Encoded) {
    let wants_gzip = headers.contains_key(header::ACCEPT_ENCODING)
        && coding(values(headers, header::ACCEPT_ENCODING), "gzip") > 0;
    let gzip = wants_gzip.then(|| forms.gzip()).flatten();
    if gzip.is_some() {
        let gzip = HeaderValue::from_static("gzip");
        response.headers_mut().insert(header::CONTENT_ENCODING, gzip);
    }
    *response.body_mut() = gzip.unwrap_or(&forms.identity).clone().into();
}

fn with_type<B>(content_type: &'static str, body: B) -> Response<B> {
    let mut response = Response::new(body);
    *response.headers_mut() = fields(content_type);
    response
}

fn fields(content_type: &'static str) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(8);
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // Figures are old after a second, and the state of health at once.
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fields
}

fn accepts(headers: &HeaderMap, content_type: &str) -> bool {
    !headers.contains_key(header::ACCEPT)
        || media_type(values(headers, header::ACCEPT), content_type).is_some()
}

fn not_acceptable(offer: &str) -> Response<Body> {
    problem::response(StatusCode::NOT_ACCEPTABLE, &format!("this path offers {offer}"))
}

/// Whether the client has this version already (RFC 9110, section 13.1.2): the weak comparison.
fn matches(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let Some(own) = etag.to_str().ok().map(opaque) else { return false };
    values(headers, header::IF_NONE_MATCH)
        .flat_map(|field| field.split(','))
        .any(|tag| tag.trim() == "*" || opaque(tag) == own)
}

/// The values of a field's lines; a line that is not text says nothing.
fn values(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http_body_util::{BodyExt, Empty, Full};

    use server::Viewer;

    use super::*;
    use crate::broadcast::{Publisher, feed};
    use crate::history::History;
    use crate::rates::Exposure;
    use crate::reading::Reading;

    fn world(samples: u64) -> (Publisher, Feed) {
        let (publisher, feed, pass_on) = feed(Arc::new(Mutex::new(History::new())));
        tokio::spawn(pass_on);
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
            // Long enough to be worth compressing.
            hostname: Some("h".repeat(2000)),
            ..wire::Sample::default()
        };
        publisher.publish(Snapshot::new(sample, Arc::default(), Exposure::default()).unwrap());
    }

    fn ask(feed: &Feed, method: &Method, path: &str, fields: &[(&str, &str)]) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
        match respond(&request, feed, &Origins::default(), None) {
            Answer::Whole(response) => response,
            Answer::Events(_) => panic!("{path} is a stream"),
        }
    }

    fn get(feed: &Feed, path: &str, fields: &[(&str, &str)]) -> Response<Body> {
        ask(feed, &Method::GET, path, fields)
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
    async fn stats_hands_out_the_newest_sample() {
        let (_publisher, feed) = world(2);
        let response = get(&feed, "/stats", &[]);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        assert_eq!(response.headers()[header::ETAG], "W/\"abc-2\"");
        let sample: wire::Sample = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!((sample.cpu, sample.sequence), (Some(12.5), 2));
    }

    #[tokio::test]
    async fn before_the_first_sample_whatever_needs_one_says_when_to_come_again() {
        let (_publisher, feed) = world(0);
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
    async fn a_sample_that_is_too_old_is_not_shown_as_if_it_were_of_now() {
        let (publisher, feed, pass_on) = feed(Arc::new(Mutex::new(History::new())));
        tokio::spawn(pass_on);
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
        let (publisher, feed) = world(1);
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
    async fn answers_are_compressed_for_those_who_ask() {
        let (_publisher, feed) = world(1);
        for (fields, coding) in [
            (&[("accept-encoding", "br, gzip")][..], Some("gzip")),
            (&[("accept-encoding", "br")], None),
            (&[("accept-encoding", "gzip;q=0")], None),
            (&[], None),
        ] {
            let response = get(&feed, "/stats", fields);
            let told = response.headers().get(header::CONTENT_ENCODING);
            assert_eq!(told.map(|told| told.to_str().unwrap()), coding, "{fields:?}");
            assert_eq!(response.headers()[header::VARY], "accept, accept-encoding");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_answered_is_refused_with_its_status() {
        let (_publisher, feed) = world(1);
        let long = format!("/stats?{}", "x".repeat(TARGET_BYTES));
        let large = "x".repeat(HEAD_BYTES);
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
    async fn only_reading_is_allowed() {
        let (_publisher, feed) = world(1);
        for path in ["/stats", "/stats/stream", "/metrics", "/healthz", "/openapi.json"] {
            for method in [Method::POST, Method::DELETE, Method::TRACE] {
                let response = ask(&feed, &method, path, &[]);
                assert_eq!(response.headers()[header::ALLOW], "GET, HEAD, OPTIONS");
                assert_eq!(problem(response).await.0, 405, "{method} {path}");
            }
            let response = ask(&feed, &Method::OPTIONS, path, &[]);
            assert_eq!(response.status(), StatusCode::NO_CONTENT);
            assert_eq!(response.headers()[header::ALLOW], "GET, HEAD, OPTIONS");
        }
    }

    #[tokio::test]
    async fn content_is_refused() {
        let (_publisher, feed) = world(1);
        let request = Request::get("/stats").body(Full::new(&b"x"[..])).unwrap();
        let Answer::Whole(response) = respond(&request, &feed, &Origins::default(), None) else {
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
        match respond(&request, feed, &Origins::default(), None) {
            Answer::Events(response) => {
                assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
                response.into_body()
            }
            Answer::Whole(response) => panic!("{}", response.status()),
        }
    }

    /// The name and the id of the next event; of what is none, its text.
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
    async fn a_stream_begins_with_the_past_and_goes_on_with_the_newest() {
        let (publisher, feed) = world(3);
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
    async fn a_viewer_that_comes_back_gets_what_it_missed_and_nothing_twice() {
        let (publisher, feed) = world(5);
        let mut viewer = watch(&feed, Some("abc-3"));
        for expected in ["retry: 1000\n\n", "sample abc-4", "sample abc-5"] {
            assert_eq!(next(&mut viewer).await, expected);
        }
        publish(&publisher, 6);
        assert_eq!(next(&mut viewer).await, "sample abc-6");
    }

    #[tokio::test]
    async fn a_viewer_of_another_instance_or_of_long_ago_begins_anew() {
        for id in ["xyz-3", "abc-1", "abc-9000", "abc", "", "-"] {
            let (_publisher, feed) = world(100);
            let mut viewer = watch(&feed, Some(id));
            for expected in ["retry: 1000\n\n", "history abc-99", "sample abc-100"] {
                assert_eq!(next(&mut viewer).await, expected, "{id}");
            }
        }
    }

    #[tokio::test]
    async fn a_viewer_that_sleeps_misses_samples_and_gets_the_newest() {
        let (publisher, feed) = world(1);
        let mut viewer = watch(&feed, Some("abc-1"));
        assert_eq!(next(&mut viewer).await, "retry: 1000\n\n");
        for sequence in 2..=50 {
            publish(&publisher, sequence);
        }
        assert_eq!(next(&mut viewer).await, "sample abc-50");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_sampler_leaves_viewers_a_sign_of_life() {
        let (_publisher, feed) = world(1);
        let mut viewer = watch(&feed, Some("abc-1"));
        assert_eq!(next(&mut viewer).await, "retry: 1000\n\n");
        let begun = tokio::time::Instant::now();
        assert_eq!(next(&mut viewer).await, ":\n\n");
        assert_eq!(begun.elapsed().as_secs(), 15);
    }
}
