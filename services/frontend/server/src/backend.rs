//! The address of the stats service.

use hyper::Uri;

/// The address of the stats service as the page will use it; the default is the page's own origin.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Backend {
    url: String,
    origin: String,
}

/// The expected value of [`Backend::parse`], for its error message.
pub(crate) const EXPECTED: &str = "an absolute http or https URL such as \
     https://stats.example.org, with a host name or an IPv4 address and without user, query and \
     fragment; or empty for the page's own origin";

impl Backend {
    /// Reads an absolute `http` or `https` URL. A slash at its end does not matter.
    ///
    /// An IPv6 address is refused: the page's policy has to name the host, and has no way to write
    /// one (CSP Level 3, `host-source`).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        // The parser drops a fragment silently.
        if text.contains('#') {
            return None;
        }
        let uri: Uri = text.parse().ok()?;
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let authority = uri.authority()?;
        let host = authority.host();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let is_valid = matches!(scheme.as_str(), "http" | "https")
            && uri.query().is_none()
            && !host.is_empty()
            && host.bytes().all(is_name)
            // Neither a user nor an invalid port.
            && match authority.port() {
                Some(port) => port.as_u16() > 0 && *authority == format!("{host}:{port}"),
                None => *authority == host,
            };
        is_valid.then(|| {
            let origin = format!("{scheme}://{authority}").to_ascii_lowercase();
            let path = uri.path().trim_end_matches('/');
            Self { url: format!("{origin}{path}"), origin }
        })
    }

    /// Whether the page uses its own origin.
    pub(crate) fn is_same_origin(&self) -> bool {
        self.url.is_empty()
    }

    /// The address, without a slash at the end.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Scheme, host and port.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absolute_url_is_taken_without_the_slash_at_its_end() {
        let backend = Backend::parse("https://Stats.example.org:8443/a/b/").unwrap();
        assert_eq!(backend.url(), "https://stats.example.org:8443/a/b");
        assert_eq!(backend.origin(), "https://stats.example.org:8443");
        let backend = Backend::parse("http://127.0.0.1:8080").unwrap();
        assert_eq!(backend.url(), "http://127.0.0.1:8080");
        assert!(Backend::default().is_same_origin());
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "stats",
            "stats:8080",
            "//stats",
            "/stats",
            "ftp://stats",
            "http://",
            "http://:80",
            "http://stats:port",
            "http://stats:0",
            "http://stats:70000",
            "http://user@stats",
            "http://user:secret@stats",
            "http://stats?a=b",
            "http://stats/#a",
            "http://stats#a",
            "http://[::1]:8080",
            "http://a;script-src",
            "http://a,b",
            "http://*",
            "http://a b",
            "javascript:alert(1)",
        ] {
            assert_eq!(Backend::parse(text), None, "{text}");
        }
    }
}
