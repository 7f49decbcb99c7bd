//! Origins of other sites whose pages may read responses (Fetch standard, "CORS protocol").

use hyper::Method;
use hyper::header::{self, HeaderMap, HeaderValue};

/// Origins in `STATS_ALLOWED_ORIGINS`; none by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Origins(Vec<HeaderValue>);

impl Origins {
    /// Expected syntax of the setting.
    pub(crate) const EXPECTED: &str =
        "origins such as https://status.example.org, separated by commas";

    /// Parses the setting.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let origins = text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
        origins.map(origin).collect::<Option<_>>().map(Self)
    }

    /// Adds the CORS header fields, if the request's origin is allowed.
    pub(crate) fn apply(&self, method: &Method, request: &HeaderMap, response: &mut HeaderMap) {
        if self.0.is_empty() {
            return;
        }
        response.append(header::VARY, HeaderValue::from_static("origin"));
        let Some(origin) = request.get(header::ORIGIN).filter(|origin| self.0.contains(origin))
        else {
            return;
        };
        response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if method == Method::OPTIONS {
            let methods = HeaderValue::from_static("GET, HEAD");
            response.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
            let fields = HeaderValue::from_static("if-none-match, last-event-id");
            response.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, fields);
            response.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        } else {
            let fields = HeaderValue::from_static("etag, retry-after, stats-instance");
            response.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, fields);
        }
    }
}

/// Parses scheme, host and optional port in the form that browsers send, without a path.
fn origin(text: &str) -> Option<HeaderValue> {
    let uri: hyper::Uri = text.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme))?;
    let authority = uri.authority()?;
    let written = format!("{scheme}://{authority}").to_ascii_lowercase();
    let standard =
        matches!((scheme, authority.port_u16()), ("http", Some(80)) | ("https", Some(443)));
    let is_valid =
        written == text.to_ascii_lowercase() && !authority.as_str().contains('@') && !standard;
    is_valid.then(|| HeaderValue::try_from(written).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(setting: &str, method: &Method, origin: &'static str) -> HeaderMap {
        let request = [(header::ORIGIN, HeaderValue::from_static(origin))].into_iter().collect();
        let mut response = HeaderMap::new();
        Origins::parse(setting).unwrap().apply(method, &request, &mut response);
        response
    }

    #[test]
    fn no_origin_is_allowed_by_default() {
        let mut response = HeaderMap::new();
        Origins::default().apply(&Method::GET, &HeaderMap::new(), &mut response);
        assert!(response.is_empty());
    }

    #[test]
    fn only_a_configured_origin_is_allowed() {
        let setting = "https://a.example, http://LOCALHOST:3000";
        let allowed = answered(setting, &Method::GET, "http://localhost:3000");
        assert_eq!(allowed[header::ACCESS_CONTROL_ALLOW_ORIGIN], "http://localhost:3000");
        assert_eq!(allowed[header::VARY], "origin");
        let other = answered(setting, &Method::GET, "https://b.example");
        assert_eq!(other.get(header::ACCESS_CONTROL_ALLOW_ORIGIN), None);
        assert_eq!(other[header::VARY], "origin");
    }

    #[test]
    fn a_preflight_response_lists_the_methods() {
        let allowed = answered("https://a.example", &Method::OPTIONS, "https://a.example");
        assert_eq!(allowed[header::ACCESS_CONTROL_ALLOW_METHODS], "GET, HEAD");
    }

    #[test]
    fn a_value_that_is_not_an_origin_is_rejected() {
        let wrong = "* a.example ftp://a.example https://a.example/ https://a.example/path \
                     https://user@a.example https://a.example:443 https://a.example,*";
        for wrong in wrong.split(' ') {
            assert_eq!(Origins::parse(wrong), None, "{wrong}");
        }
    }
}
