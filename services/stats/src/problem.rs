//! Error responses as problem details (RFC 9457).

use hyper::{Response, StatusCode};

use crate::body::Body;
use crate::headers::fields;

/// Response with this status and reason.
pub(crate) fn response(status: StatusCode, detail: &str) -> Response<Body> {
    let title = status.canonical_reason().unwrap_or_default();
    let problem = serde_json::json!({
        "type": "about:blank",
        "title": title,
        "status": status.as_u16(),
        "detail": detail,
    });
    let mut response = Response::new(Body::from(problem.to_string()));
    *response.status_mut() = status;
    *response.headers_mut() = fields("application/problem+json");
    response
}
