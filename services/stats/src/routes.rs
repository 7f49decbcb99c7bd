//! Conversion of requests to responses. Pure: no sockets, clocks or files.

use std::sync::Arc;
use std::time::Duration;

use http_semantics::hosts::Hosts;
use http_semantics::negotiation::{FULL, coding, media_type};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use server::Answer;

use crate::body::Body;
use crate::broadcast::Feed;
use crate::cors::Origins;
use crate::headers::{JSON, VARY, fields};
use crate::metrics::{self, Format};
use crate::query::{self, Span, View};
use crate::reading::Scrape;
use crate::sampler::Announcements;
use crate::snapshot::{Encoded, HistoryQuery, Snapshot};
use crate::{BUILD, openapi, problem};

/// Maximum length of a request target, bytes. The longest valid one has about forty.
const MAX_TARGET_BYTES: usize = 2048;

/// Maximum size of the header fields, bytes. Those of a browser behind a proxy have about 1 KiB.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Maximum number of header fields.
const MAX_HEADER_FIELDS: usize = 64;

/// Inputs of a response besides the samples.
pub(crate) struct Access {
    /// Host names that the service accepts.
    pub(crate) hosts: Hosts,
    /// Origins whose pages may read responses.
    pub(crate) origins: Origins,
    /// Announcements to gateways, if enabled.
    pub(crate) announcements: Option<Arc<Announcements>>,
}

/// Methods of every path.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// Responds to a request, as `openapi.yaml` describes. Errors are problem details (RFC 9457).
pub(crate) fn respond<B: http_body::Body>(
    request: &Request<B>,
    feed: &Feed,
    access: &Access,
    scrape: Option<&Scrape>,
) -> Answer<Body> {
    let mut answer = route(request, feed, access, scrape);
    let fields = match &mut answer {
        Answer::Whole(response) => response.headers_mut(),
        Answer::Events(response) => response.headers_mut(),
    };
    access.origins.apply(request.method(), request.headers(), fields);
    answer
}

/// Whether the response needs data that is collected during a scrape.
pub(crate) fn needs_scrape<B: http_body::Body>(request: &Request<B>, access: &Access) -> bool {
    resource(request, &access.hosts).is_ok_and(|resource| resource == Resource::Metrics)
}

fn route<B: http_body::Body>(
    request: &Request<B>,
    feed: &Feed,
    access: &Access,
    scrape: Option<&Scrape>,
) -> Answer<Body> {
    match resource(request, &access.hosts) {
        Ok(Resource::Stream) => stream(request.headers(), request.uri().query(), feed),
        Ok(resource) => Answer::Whole(full_response(resource, request, feed, access, scrape)),
        Err(error) => Answer::Whole(error),
    }
}

/// Resource of a valid request.
#[expect(clippy::result_large_err, reason = "it is taken apart at once")]
fn resource<B: http_body::Body>(
    request: &Request<B>,
    hosts: &Hosts,
) -> Result<Resource, Response<Body>> {
    let headers = request.headers();
    if request.uri().path_and_query().is_some_and(|target| target.as_str().len() > MAX_TARGET_BYTES)
    {
        let detail = format!("the target has more than {MAX_TARGET_BYTES} bytes");
        return Err(problem::response(StatusCode::URI_TOO_LONG, &detail));
    }
    if headers.len() > MAX_HEADER_FIELDS || header_bytes(headers) > MAX_HEADER_BYTES {
        let detail = format!(
            "there may be {MAX_HEADER_FIELDS} header fields and {MAX_HEADER_BYTES} bytes of them"
        );
        return Err(problem::response(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, &detail));
    }
    // A host that is not text becomes an empty one, which is rejected.
    let named = headers.get_all(header::HOST).into_iter();
    let named = named.map(|host| host.to_str().unwrap_or_default());
    let target = request.uri().authority().map(hyper::http::uri::Authority::as_str);
    let named = named.chain(target);
    let resource = Resource::at(request.uri().path());
    let is_known = match resource {
        Some(Resource::Health | Resource::Ready) => hosts.admits_check(named),
        _ => hosts.contains_all(named),
    };
    if !is_known {
        let detail = "this host is not served here; STATS_HOSTS names the hosts that are";
        return Err(problem::response(StatusCode::MISDIRECTED_REQUEST, detail));
    }
    let Some(resource) = resource else {
        let detail = "no such resource; /openapi.json lists all";
        return Err(problem::response(StatusCode::NOT_FOUND, detail));
    };
    match *request.method() {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => return Err(options()),
        _ => {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            let mut response = problem::response(status, "this resource is read-only");
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

fn full_response<B>(
    resource: Resource,
    request: &Request<B>,
    feed: &Feed,
    access: &Access,
    scrape: Option<&Scrape>,
) -> Response<Body> {
    let headers = request.headers();
    match resource {
        Resource::OpenApi => openapi(headers),
        Resource::Health => with_type(JSON, BUILD.health().into()),
        Resource::Stats | Resource::Stream => {
            with_fresh_sample(feed, |newest| stats(headers, newest))
        }
        Resource::History | Resource::Events | Resource::Top => {
            let parameters = request.uri().query();
            with_sample(feed, |newest| past(resource, headers, parameters, newest, feed))
        }
        Resource::Metrics => {
            let counts = access.announcements.as_ref().map(|it| it.counts());
            with_sample(feed, |newest| metrics(headers, newest, feed, scrape, counts))
        }
        Resource::Ready => with_fresh_sample(feed, |_| text("ready\n")),
    }
}

/// Resources of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    Stats,
    Stream,
    History,
    Events,
    Top,
    Metrics,
    OpenApi,
    Health,
    Ready,
}

impl Resource {
    fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/stats" => Self::Stats,
            "/stats/stream" => Self::Stream,
            "/stats/history" => Self::History,
            "/stats/events" => Self::Events,
            "/stats/top" => Self::Top,
            "/metrics" => Self::Metrics,
            "/openapi.json" => Self::OpenApi,
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            _ => return None,
        })
    }
}

/// Total size of the names and values of the header fields.
fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

fn with_sample(feed: &Feed, respond: impl FnOnce(&Snapshot) -> Response<Body>) -> Response<Body> {
    feed.newest().map_or_else(not_ready, |newest| respond(&newest))
}

/// Maximum age of a sample that is reported as current. An older one means that sampling has
/// stalled.
const MAX_SAMPLE_AGE: Duration = Duration::from_secs(5);

fn with_fresh_sample(
    feed: &Feed,
    respond: impl FnOnce(&Snapshot) -> Response<Body>,
) -> Response<Body> {
    with_sample(feed, |newest| {
        let age = newest.age();
        if age > MAX_SAMPLE_AGE {
            let seconds = age.as_secs();
            let detail = format!("the newest sample is {seconds} s old: sampling has stalled");
            return retry(StatusCode::SERVICE_UNAVAILABLE, &detail);
        }
        respond(newest)
    })
}

fn not_ready() -> Response<Body> {
    let detail = "a rate needs two readings; retry in a second";
    retry(StatusCode::SERVICE_UNAVAILABLE, detail)
}

/// Problem that a retry in a second may not have.
fn retry(status: StatusCode, detail: &str) -> Response<Body> {
    let mut response = problem::response(status, detail);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn stats(headers: &HeaderMap, newest: &Snapshot) -> Response<Body> {
    if !accepts(headers, JSON) {
        return not_acceptable(JSON);
    }
    let mut response = Response::new(Body::from(""));
    // The copy is cheap; building the fields again would take a tenth of the request's time.
    *response.headers_mut() = newest.fields.clone();
    if matches(headers, &newest.etag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().remove(header::CONTENT_TYPE);
    } else {
        set_body(&mut response, headers, &newest.json);
    }
    response
}

fn stream(headers: &HeaderMap, query: Option<&str>, feed: &Feed) -> Answer<Body> {
    if !accepts(headers, EVENTS) {
        return Answer::Whole(not_acceptable(EVENTS));
    }
    let view = match View::parse(query.unwrap_or_default()) {
        Ok(view) => view,
        Err(fault) => return Answer::Whole(problem::response(StatusCode::BAD_REQUEST, &fault)),
    };
    let Some(newest) = feed.newest() else { return Answer::Whole(not_ready()) };
    let viewer = match view {
        View::Full => {
            let last_event_id = headers.get("last-event-id").and_then(|id| id.to_str().ok());
            feed.viewer(&newest, last_event_id)
        }
        View::Summary => feed.summary_viewer(&newest),
    };
    let is_gzip = accepts_gzip(headers);
    let viewer = if is_gzip { viewer.gzip() } else { viewer };
    let mut response = with_type(EVENTS, viewer);
    response.headers_mut().insert(header::VARY, VARY);
    if is_gzip {
        response.headers_mut().insert(header::CONTENT_ENCODING, GZIP);
    }
    response.headers_mut().insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    // The instance has hexadecimal digits and an ECS task ID, which a header field can contain.
    if let Ok(instance) = HeaderValue::try_from(newest.sample.instance.as_str()) {
        response.headers_mut().insert(INSTANCE, instance);
    }
    Answer::Events(response)
}

/// Header field with the instance that a stream's samples come from.
const INSTANCE: HeaderName = HeaderName::from_static("stats-instance");

/// Maximum age of stored events, seconds.
const EVENTS_SECONDS: u32 = 60 * 60;

/// Maximum age of stored top consumers, seconds.
const TOP_SECONDS: u32 = 10 * 60;

/// Response about the past, if there is memory for it.
fn past(
    resource: Resource,
    headers: &HeaderMap,
    parameters: Option<&str>,
    newest: &Snapshot,
    feed: &Feed,
) -> Response<Body> {
    if !accepts(headers, JSON) {
        return not_acceptable(JSON);
    }
    let parameters = parameters.unwrap_or_default();
    let query = match resource {
        Resource::Top if !newest.has_top() => {
            let detail = "processes are not shown; STATS_EXPOSE=processes shows them";
            return problem::response(StatusCode::NOT_FOUND, detail);
        }
        Resource::Top => query::seconds(parameters, TOP_SECONDS).map(HistoryQuery::Top),
        Resource::Events => query::seconds(parameters, EVENTS_SECONDS).map(HistoryQuery::Events),
        _ => Span::parse(parameters).map(HistoryQuery::Rows),
    };
    let query = match query {
        Ok(query) => query,
        Err(faults) => return problem::response(StatusCode::BAD_REQUEST, &faults),
    };
    let forms = newest.history_response(query, feed.budget(), || feed.past(query));
    forms.map_or_else(too_many, |forms| encoded(headers, JSON, &forms))
}

fn too_many() -> Response<Body> {
    // Not 503, which proxies count as a failure of the service.
    let detail = "too many large responses are being sent; retry in a second";
    retry(StatusCode::TOO_MANY_REQUESTS, detail)
}

fn metrics(
    headers: &HeaderMap,
    newest: &Snapshot,
    feed: &Feed,
    scrape: Option<&Scrape>,
    announcements: Option<[u64; 2]>,
) -> Response<Body> {
    let Some(format) = Format::preferred(|| values(headers, header::ACCEPT)) else {
        return not_acceptable("text/plain and application/openmetrics-text");
    };
    let age = newest.age();
    let mut text =
        metrics::service(newest.sample.sequence, age.as_secs_f64(), announcements, format);
    // A scraper would store old counters as current ones.
    if age <= MAX_SAMPLE_AGE {
        text.push_str(newest.metrics(format));
    }
    if let Some(scrape) = scrape {
        text.push_str(&metrics::on_scrape(scrape, format));
    }
    metrics::end(&mut text, format);
    let forms = Encoded::within(feed.budget(), text);
    forms.map_or_else(too_many, |forms| encoded(headers, format.content_type(), &forms))
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

const EVENTS: &str = "text/event-stream";
/// Disables response buffering in nginx and compatible proxies.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// Whether the client accepts gzip and does not prefer the text as it is.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let weight = |name| coding(values(headers, header::ACCEPT_ENCODING), name);
    headers.contains_key(header::ACCEPT_ENCODING)
        && match weight("gzip") {
            0 => false,
            // No other weight is greater.
            FULL => true,
            gzip => gzip >= weight("identity"),
        }
}

/// Response in the encoding that the client accepts.
fn encoded(headers: &HeaderMap, content_type: &'static str, forms: &Encoded) -> Response<Body> {
    let mut response = with_type(content_type, Body::from(""));
    response.headers_mut().insert(header::VARY, VARY);
    set_body(&mut response, headers, forms);
    response
}

/// Sets the compressed body if the client accepts it and it exists.
fn set_body(response: &mut Response<Body>, headers: &HeaderMap, forms: &Encoded) {
    let gzip = accepts_gzip(headers).then(|| forms.gzip()).flatten();
    if gzip.is_some() {
        response.headers_mut().insert(header::CONTENT_ENCODING, GZIP);
    }
    *response.body_mut() = gzip.unwrap_or(&forms.identity).clone().into();
}

fn with_type<B>(content_type: &'static str, body: B) -> Response<B> {
    let mut response = Response::new(body);
    *response.headers_mut() = fields(content_type);
    response
}

fn accepts(headers: &HeaderMap, content_type: &str) -> bool {
    !headers.contains_key(header::ACCEPT)
        || media_type(values(headers, header::ACCEPT), content_type).is_some()
}

fn not_acceptable(offer: &str) -> Response<Body> {
    problem::response(StatusCode::NOT_ACCEPTABLE, &format!("this path offers {offer}"))
}

/// Whether `If-None-Match` has this version: weak comparison (RFC 9110, section 13.1.2).
fn matches(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let Some(own) = etag.to_str().ok().map(opaque) else { return false };
    values(headers, header::IF_NONE_MATCH)
        .flat_map(|field| field.split(','))
        .any(|tag| tag.trim() == "*" || opaque(tag) == own)
}

/// Values of a field's lines; lines that are not text are ignored.
fn values(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests;
