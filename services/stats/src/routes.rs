//! Request to response, over values: no socket, no clock, no file.

use hyper::header::{self, HeaderValue};
use hyper::{Method, Response, StatusCode};

use crate::body::Body;
use crate::sampler::Latest;

/// The answer to a request for `path`.
///
/// - `/stats`: the newest sample (`wire::Sample`), 503 with Retry-After before the first.
/// - `/stats/stream`: server-sent events, one `sample` a second.
/// - `/healthz`: 200 while the process lives; `/readyz`: 200 when there is a sample.
///
/// Other paths get 404 and other methods than GET and HEAD 405, as problem details (RFC 9457).
pub(crate) fn respond(method: &Method, path: &str, latest: &Latest) -> Response<Body> {
    let answer: fn(&Latest) -> Response<Body> = match path {
        "/stats" => stats,
        "/stats/stream" => stream,
        "/healthz" => |_| text("ok\n"),
        "/readyz" => ready,
        _ => return problem(StatusCode::NOT_FOUND, "there is /stats and /stats/stream"),
    };
    if method != Method::GET && method != Method::HEAD {
        let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "this path can only be read");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    answer(latest)
}

fn stats(latest: &Latest) -> Response<Body> {
    match &*latest.borrow() {
        Some(published) => respond_with("application/json", published.json.clone()),
        None => warming_up(),
    }
}

fn stream(latest: &Latest) -> Response<Body> {
    respond_with("text/event-stream", Body::events(latest))
}

fn ready(latest: &Latest) -> Response<Body> {
    if latest.borrow().is_some() { text("ready\n") } else { warming_up() }
}

fn warming_up() -> Response<Body> {
    let detail = "a rate needs two readings; the second is on its way";
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, detail);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn text(text: &'static str) -> Response<Body> {
    respond_with("text/plain; charset=utf-8", text)
}

fn problem(status: StatusCode, detail: &str) -> Response<Body> {
    let title = status.canonical_reason().unwrap_or_default();
    let status_number = status.as_u16();
    let json = format!(
        r#"{{"type":"about:blank","title":"{title}","status":{status_number},"detail":"{detail}"}}"#
    );
    let mut response = respond_with("application/problem+json", json);
    *response.status_mut() = status;
    response
}

fn respond_with(content_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // A sample is old after a second, and the state of health at once.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::Published;
    use http_body_util::BodyExt;
    use tokio::sync::watch;

    fn latest(json: &'static str) -> (watch::Sender<Option<Published>>, Latest) {
        let event = format!("data: {json}\n\n").into();
        watch::channel(Some(Published { json: json.into(), event }))
    }

    async fn body_of(response: Response<Body>) -> String {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn stats_is_the_published_json_and_never_cached() {
        let (_publisher, latest) = latest(r#"{"cpu":1}"#);
        let response = respond(&Method::GET, "/stats", &latest);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        assert_eq!(body_of(response).await, r#"{"cpu":1}"#);
    }

    #[tokio::test]
    async fn before_the_first_sample_stats_and_readiness_ask_to_come_back() {
        let (_publisher, latest) = watch::channel(None);
        for path in ["/stats", "/readyz"] {
            let response = respond(&Method::GET, path, &latest);
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        }
        assert_eq!(respond(&Method::GET, "/healthz", &latest).status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_stream_starts_with_the_newest_sample_and_ends_with_the_publisher() {
        let (publisher, latest) = latest("1");
        let mut body = respond(&Method::GET, "/stats/stream", &latest).into_body();
        let mut next = async || body.frame().await.map(|frame| frame.unwrap().into_data().unwrap());
        assert_eq!(next().await.unwrap(), "retry: 1000\n\n");
        assert_eq!(next().await.unwrap(), "data: 1\n\n");
        for number in [2, 3] {
            let event = format!("data: {number}\n\n").into();
            publisher.send_replace(Some(Published { event, ..Published::default() }));
        }
        // The reader was slow: it gets the newest, not both.
        assert_eq!(next().await.unwrap(), "data: 3\n\n");
        drop(publisher);
        assert_eq!(next().await, None);
    }

    #[tokio::test]
    async fn unknown_paths_and_methods_are_problems_with_their_status() {
        let (_publisher, latest) = latest("{}");
        let missing = respond(&Method::GET, "/statsx", &latest);
        assert_eq!(missing.status(), StatusCode::NOT_FOUND);
        assert_eq!(missing.headers()[header::CONTENT_TYPE], "application/problem+json");
        let problem: serde_json::Value = serde_json::from_str(&body_of(missing).await).unwrap();
        assert_eq!(problem["status"], 404);
        let refused = respond(&Method::POST, "/stats", &latest);
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refused.headers()[header::ALLOW], "GET, HEAD");
    }
}
