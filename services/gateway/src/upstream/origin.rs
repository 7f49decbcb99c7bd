//! Host and port of an upstream, as configured.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::digits;

/// `name:port`, `1.2.3.4:port` or `[::1]:port`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Origin {
    /// Name or address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Whether the gateway connects over TLS.
    pub(crate) is_tls: bool,
}

impl Origin {
    /// An origin from a valid host.
    pub(crate) fn new(host: &str, port: u16) -> Self {
        let host = host.to_owned();
        Self { host, port, is_tls: false }
    }

    /// Parses `name:port`, `1.2.3.4:port` or `[::1]:port`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = digits::number(port).filter(|&port| port != 0)?;
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                rest.strip_suffix(']').filter(|literal| literal.parse::<Ipv6Addr>().is_ok())?
            }
            None => Some(host).filter(|name| is_name(name))?,
        };
        Some(Self::new(host, port))
    }

    /// Parses a name or an address with an optional port, as in a Host field, and converts it to
    /// lower case.
    pub(crate) fn parse_authority(text: &str) -> Option<String> {
        let origin = Self::parse(text).or_else(|| Self::parse(&format!("{text}:80")))?;
        (!origin.host.ends_with('.')).then(|| text.to_ascii_lowercase())
    }

    /// Parses like [`Self::parse`], and also `https://name:443` with an optional port.
    pub(crate) fn parse_upstream(text: &str) -> Option<Self> {
        let Some(rest) = text.strip_prefix("https://") else { return Self::parse(text) };
        let origin = Self::parse(rest).or_else(|| Self::parse(&format!("{rest}:443")))?;
        Some(Self { is_tls: true, ..origin })
    }

    /// Authority for a Host field, without the default port of the scheme and without the final dot
    /// of an absolute name, which TLS does not allow (RFC 6066, section 3).
    pub(crate) fn authority(&self) -> String {
        let host = self.host.strip_suffix('.').unwrap_or(&self.host);
        let plain = Self::new(host, self.port).to_string().to_ascii_lowercase();
        let port = if self.is_tls { ":443" } else { ":80" };
        plain.strip_suffix(port).map(str::to_owned).unwrap_or(plain)
    }

    /// The address, if the host is not a name.
    pub(super) fn literal(&self) -> Option<SocketAddr> {
        let ip: IpAddr = self.host.parse().ok()?;
        Some(SocketAddr::new(ip, self.port))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, is_tls } = self;
        if *is_tls {
            f.write_str("https://")?;
        }
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Whether resolvers accept the name: RFC 1123, and the underscore that compose projects use. A
/// final dot excludes the search domains of `resolv.conf`. A name of only digits and dots must be
/// an IPv4 address.
fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let looks_like_ipv4 = name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let labels = name.strip_suffix('.').unwrap_or(name);
    (1..=253).contains(&labels.len())
        && name.bytes().all(allowed)
        && !labels.split('.').any(str::is_empty)
        && (!looks_like_ipv4 || name.parse::<Ipv4Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_host_and_a_port() {
        for text in ["stats:8080", "127.0.0.1:80", "[::1]:65535", "my_app.a-b.c:1", "a.svc.:80"] {
            assert_eq!(Origin::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "stats",
            "stats:",
            "stats:0",
            "stats:65536",
            "stats:+1",
            ":8080",
            "::1:80",
            "[::1]",
            "[stats]:80",
            "http://stats:80",
            "a b:80",
            "stats:80/x",
            "a..b:80",
            "1.2.3:80",
            "1.2.3.4.:80",
            ".:80",
            "a..:80",
            "[]:80",
        ] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_authority_may_have_a_port() {
        for (text, expected) in
            [("Api", "api"), ("api:8080", "api:8080"), ("[::1]", "[::1]"), ("[::1]:80", "[::1]:80")]
        {
            assert_eq!(Origin::parse_authority(text).as_deref(), Some(expected));
        }
        for text in ["", "a b", "a:0", "a/b", "::1", "a:80:80", "http://a", "a.", "a.:80"] {
            assert_eq!(Origin::parse_authority(text), None, "{text}");
        }
    }

    #[test]
    fn an_upstream_may_use_tls() {
        for (text, shown, authority) in [
            ("api:80", "api:80", "api"),
            ("https://Api", "https://Api:443", "api"),
            ("https://api:8443", "https://api:8443", "api:8443"),
            ("https://[::1]:443", "https://[::1]:443", "[::1]"),
            ("https://api.svc.", "https://api.svc.:443", "api.svc"),
            ("api.svc.:8080", "api.svc.:8080", "api.svc:8080"),
        ] {
            let origin = Origin::parse_upstream(text).unwrap();
            assert_eq!((origin.to_string().as_str(), &*origin.authority()), (shown, authority));
            assert_eq!(origin.is_tls, text.starts_with("https"));
        }
        for text in ["https://", "https://api:0", "https://api/", "http://api:80", "https:api:1"] {
            assert_eq!(Origin::parse_upstream(text), None, "{text}");
        }
    }

    #[test]
    fn only_a_literal_address_needs_no_lookup() {
        let literal = |text: &str| Origin::parse(text).unwrap().literal();
        assert_eq!(literal("[::1]:80"), Some("[::1]:80".parse().unwrap()));
        assert_eq!(literal("127.0.0.1:80"), Some("127.0.0.1:80".parse().unwrap()));
        assert_eq!(literal("localhost:80"), None);
    }
}
