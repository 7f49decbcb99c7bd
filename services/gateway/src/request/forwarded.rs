//! Fields that the gateway adds for an upstream: client, host, request id and trace context.
//! Existing fields of the kind are dropped.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::LazyLock;

use http::Version;
use http::header::{AUTHORIZATION, FORWARDED, HeaderName, VIA};

use crate::digits::push_ip;
use crate::fields::Fields;
use crate::request::claims::is_claim;
use crate::request::client_info::{Client, ClientInfo};
use crate::request::identifier::new_bits;
use crate::request::name_matches;
use crate::request::trace_context::{TRACEPARENT, Trace};
use crate::request::trace_state::TRACESTATE;

/// Request id in logs, responses and upstream requests.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Addresses of the client and the proxies, the client first.
pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Host that the client requested.
pub(crate) const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Scheme that the client used.
pub(crate) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Name of this process in `Via`. The number distinguishes replicas, so that only a request that
/// returns to the same process counts as a loop.
static VIA_NAME: LazyLock<String> = LazyLock::new(|| {
    let [number, _] = new_bits();
    format!("gateway-{:08x}", number >> 32)
});

/// Whether this process has already forwarded the request (RFC 9110, section 7.6.3).
pub(crate) fn is_loop(headers: &Fields) -> bool {
    via(headers).any(|name| name == VIA_NAME.as_bytes())
}

fn via(headers: &Fields) -> impl Iterator<Item = &[u8]> {
    headers.members(VIA).filter_map(|member| member.split(u8::is_ascii_whitespace).nth(1))
}

/// Numbers of the gateways in `Via`, at most `most`.
pub(crate) fn gateways(headers: &Fields, most: usize) -> Vec<u32> {
    let number = |name: &[u8]| {
        let digits = std::str::from_utf8(name.strip_prefix(b"gateway-")?).ok()?;
        let is_one = digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u32::from_str_radix(digits, 16).ok().filter(|_| is_one)
    };
    via(headers).filter_map(number).take(most).collect()
}

/// `Via` of a request that this process makes on behalf of these gateways.
pub(crate) fn via_of(gateways: &[u32]) -> String {
    let mut text = String::new();
    for gateway in gateways {
        // Writing to a String cannot fail.
        let _ = write!(text, "1.1 gateway-{gateway:08x}, ");
    }
    text + "1.1 " + &VIA_NAME
}

/// Forwarded fields of a request. They replace all fields of the kind; other fields are forwarded
/// unchanged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForwardedHeaders<'a> {
    /// Client identity.
    pub(crate) client_info: &'a ClientInfo,
    /// Trace context of the gateway.
    pub(crate) trace: &'a Trace,
    /// The route requires authentication, so its credentials are not forwarded.
    pub(crate) requires_auth: bool,
    /// Also send `Forwarded` (RFC 7239).
    pub(crate) sends_forwarded: bool,
    /// HTTP version of the client's request.
    pub(crate) version: Version,
}

impl ForwardedHeaders<'_> {
    /// Whether a field of the request is dropped; [`ForwardedHeaders::each_field`] may set it
    /// again.
    pub(crate) fn replace(&self, name: &HeaderName) -> bool {
        let text = name.as_str();
        is_claim(text, self.client_info.is_trusted)
            || name_matches(text, "x-request-id")
            || *name == TRACEPARENT
            || (*name == TRACESTATE && !self.trace.keeps_state)
            || (*name == AUTHORIZATION && self.requires_auth)
    }

    /// Passes the fields to set to `set`, each once. `Via` is appended to the existing ones.
    pub(crate) fn each_field(&self, mut set: impl FnMut(&HeaderName, &[u8])) {
        let ClientInfo { scheme, host, request_id, .. } = self.client_info;
        let mut text = Vec::with_capacity(64);
        self.write_forwarded_for(&mut text);
        set(&FORWARDED_FOR, &text);
        set(&FORWARDED_PROTO, scheme.name().as_bytes());
        if let Some(host) = host {
            set(&FORWARDED_HOST, host.as_bytes());
        }
        if self.sends_forwarded {
            set(&FORWARDED, self.forwarded_value().as_bytes());
        }
        set(&REQUEST_ID, request_id.as_bytes());
        set(&TRACEPARENT, &self.trace.traceparent());
        text.clear();
        text.extend_from_slice(match self.version {
            Version::HTTP_10 => b"1.0 ",
            Version::HTTP_2 => b"2 ",
            _ => b"1.1 ",
        });
        text.extend_from_slice(VIA_NAME.as_bytes());
        set(&VIA, &text);
    }

    fn hops(&self) -> impl Iterator<Item = IpAddr> {
        self.client_info.proxy_chain.iter().copied().chain([self.client_info.peer])
    }

    fn write_forwarded_for(&self, text: &mut Vec<u8>) {
        for hop in self.hops() {
            if !text.is_empty() {
                text.extend_from_slice(b", ");
            }
            push_ip(text, hop);
        }
    }

    /// The first element describes the client's request; the others are only addresses.
    fn forwarded_value(&self) -> String {
        let mut text = String::new();
        if let Client::Behind(_) = self.client_info.client {
            text.push_str("for=unknown");
            self.write_origin(&mut text);
        }
        for hop in self.hops() {
            let first = text.is_empty();
            let comma = if first { "" } else { ", " };
            let _ = match hop {
                IpAddr::V4(hop) => write!(text, "{comma}for={hop}"),
                IpAddr::V6(hop) => write!(text, "{comma}for=\"[{hop}]\""),
            };
            if first {
                self.write_origin(&mut text);
            }
        }
        text
    }

    fn write_origin(&self, text: &mut String) {
        let _ = write!(text, ";proto={}", self.client_info.scheme.name());
        let host = self.client_info.host.as_ref().and_then(|host| host.to_str().ok());
        if let Some(host) = host {
            let host = host.replace('\\', "\\\\").replace('"', "\\\"");
            let _ = write!(text, ";host=\"{host}\"");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::cidr::Networks;
    use crate::request::client_info::Scheme;
    use crate::request::hop_by_hop::HopByHop;
    use crate::request::identifier::new_request_id;
    use crate::request::trusted_proxies::TrustedProxies;
    use http::HeaderValue;
    use std::collections::HashSet;

    fn all<'a>(request: &'a Fields, name: &str) -> Vec<&'a str> {
        let values = request.get_all(name);
        values.map(|value| value.to_str().unwrap()).collect()
    }

    /// The fields that are set.
    fn set_by(words: &ForwardedHeaders<'_>) -> Vec<(HeaderName, HeaderValue)> {
        let mut set = Vec::new();
        words.each_field(|name, value| {
            set.push((name.clone(), HeaderValue::from_bytes(value).unwrap()));
        });
        set
    }

    /// The request that the upstream receives.
    fn said(words: ForwardedHeaders<'_>, request: &Fields) -> Fields {
        let hop = HopByHop::of(request).unwrap();
        let kept = request.iter().filter(|(name, _)| !words.replace(name) && !hop.removes(name));
        let kept = kept.map(|(name, value)| (name.clone(), value.clone()));
        kept.chain(set_by(&words)).collect()
    }

    /// The fields for a route with or without authentication, where upstreams receive `Forwarded`.
    fn words<'a>(
        client_info: &'a ClientInfo,
        trace: &'a Trace,
        requires_auth: bool,
    ) -> ForwardedHeaders<'a> {
        let (sends_forwarded, version) = (requires_auth, Version::HTTP_11);
        ForwardedHeaders { client_info, trace, requires_auth, sends_forwarded, version }
    }

    /// The request that the upstream receives from a peer.
    fn received(
        trust: &TrustedProxies,
        peer: &str,
        fields: &[(&str, &str)],
        requires_auth: bool,
    ) -> Fields {
        let request = Fields::of(fields);
        let client_info = trust.client_info(peer.parse().unwrap(), Scheme::Http, &request);
        said(words(&client_info, &Trace::of(&request), requires_auth), &request)
    }

    /// The request that the upstream receives, with 10.0.0.0/8 as trusted proxies.
    fn told(peer: &str, fields: &[(&str, &str)]) -> Fields {
        let trust = TrustedProxies { proxies: Networks::parse("10.0.0.0/8").unwrap(), host: true };
        received(&trust, peer, fields, true)
    }

    /// The same without trusted proxies and without authentication.
    fn untrusted(peer: &str, fields: &[(&str, &str)]) -> Fields {
        received(&TrustedProxies::default(), peer, fields, false)
    }

    #[test]
    fn claims_of_the_client_are_replaced() {
        let request = untrusted(
            "10.0.0.7",
            &[
                ("Host", "example.org"),
                ("X-Forwarded-For", "1.1.1.1"),
                ("x-forwarded-for", "2.2.2.2"),
                ("X-Forwarded-Proto", "https"),
                ("X-Forwarded-Host", "evil"),
                ("X-Forwarded-Port", "1"),
                ("X_Forwarded_For", "1.1.1.1"),
                ("Forwarded", "for=1.1.1.1"),
                ("X-Real-IP", "1.1.1.1"),
                ("True-Client-IP", "1.1.1.1"),
                ("X-Request-ID", "mine"),
                ("X_Request_ID", "mine"),
                ("Authorization", "Basic x"),
            ],
        );
        assert_eq!(all(&request, "x-forwarded-for"), ["10.0.0.7"]);
        assert_eq!(all(&request, "x-forwarded-proto"), ["http"]);
        assert_eq!(all(&request, "x-forwarded-host"), ["example.org"]);
        assert_eq!(all(&request, "x-request-id").len(), 1);
        assert_ne!(all(&request, "x-request-id"), ["mine"]);
        assert_eq!(all(&request, "host"), ["example.org"]);
        assert_eq!(all(&request, "authorization"), ["Basic x"], "the upstream's own");
        for name in [
            "x-forwarded-port",
            "forwarded",
            "x-real-ip",
            "x_forwarded_for",
            "true-client-ip",
            "x_request_id",
        ] {
            assert!(all(&request, name).is_empty(), "{name}");
        }
    }

    #[test]
    fn overrides_of_method_and_url_are_dropped() {
        for peer in ["192.0.2.1", "10.0.0.1"] {
            let fields = [
                ("X-HTTP-Method-Override", "DELETE"),
                ("X_HTTP_Method_Override", "DELETE"),
                ("X-Original-URL", "/admin"),
                ("X-Rewrite-URL", "/admin"),
                ("X-Remote-User", "root"),
                ("X-SSL-Client-Verify", "SUCCESS"),
                ("X-Client-Cert", "x"),
                ("X-Middleware-Subrequest", "middleware"),
            ];
            let request = told(peer, &fields);
            for (name, _) in fields {
                assert!(all(&request, name).is_empty(), "{name} of {peer}");
            }
        }
    }

    #[test]
    fn a_request_that_returns_is_a_loop() {
        let first = told("192.0.2.1", &[("Host", "a"), ("Via", "1.0 fred, 1.1 p.example.net")]);
        assert_eq!(all(&first, "via").len(), 2);
        assert!(!is_loop(&Fields::of(&[("via", "1.1 gateway, 1.1 gateway-00000000x")])));
        assert!(is_loop(&first));
        assert!(!is_loop(&Fields::new()));
        let via = via_of(&[0x1f, 0xdead_beef]);
        assert!(
            via.starts_with("1.1 gateway-0000001f, 1.1 gateway-deadbeef, 1.1 gateway-"),
            "{via}"
        );
        let fed = Fields::of(&[("via", &via), ("via", "1.1 gateway-x, 1.1 gateway-+1234567, 2 b")]);
        assert!(is_loop(&fed));
        assert_eq!(gateways(&fed, 9)[..2], [0x1f, 0xdead_beef]);
        assert_eq!((gateways(&fed, 9).len(), gateways(&fed, 1).len()), (3, 1));
        let via = format!("1.1 a,  HTTP/1.1 \t{} (comment) , 2 b", *VIA_NAME);
        assert!(!is_loop(&Fields::of(&[("via", &via.replace(&*VIA_NAME, "other"))])));
    }

    #[test]
    fn an_ipv4_client_of_an_ipv6_socket_is_an_ipv4_client() {
        let request = untrusted("::ffff:192.0.2.1", &[]);
        assert_eq!(all(&request, "x-forwarded-for"), ["192.0.2.1"]);
    }

    #[test]
    fn the_chain_of_trusted_proxies_is_kept_and_the_peer_appended() {
        let request = told(
            "10.0.0.1",
            &[
                ("Host", "inner"),
                ("X-Forwarded-For", "1.1.1.1, 2001:db8::1"),
                ("X-Forwarded-For", "10.0.0.2"),
                ("X-Forwarded-Proto", "https"),
                ("X-Forwarded-Port", "443"),
                ("X-Forwarded-Host", "example.org"),
                ("X-Request-ID", "theirs"),
            ],
        );
        assert_eq!(all(&request, "x-forwarded-for"), ["2001:db8::1, 10.0.0.2, 10.0.0.1"]);
        assert_eq!(all(&request, "x-forwarded-proto"), ["https"]);
        assert_eq!(all(&request, "x-forwarded-host"), ["example.org"]);
        assert_eq!(all(&request, "x-forwarded-port"), [""; 0]);
        assert_eq!(all(&request, "x-request-id"), ["theirs"]);
        assert_eq!(
            all(&request, "forwarded"),
            ["for=\"[2001:db8::1]\";proto=https;host=\"example.org\", for=10.0.0.2, for=10.0.0.1"]
        );
    }

    #[test]
    fn an_unnamed_client_is_unknown() {
        let request = told("10.0.0.1", &[("Host", "a"), ("X-Forwarded-For", "1.1.1.1, x")]);
        assert_eq!(all(&request, "x-forwarded-for"), ["10.0.0.1"]);
        let said = ["for=unknown;proto=http;host=\"a\", for=10.0.0.1"];
        assert_eq!(all(&request, "forwarded"), said);
    }

    #[test]
    fn a_host_cannot_escape_its_quotes() {
        let request = told("192.0.2.1", &[("Host", "a\";for=\"1.1.1.1\\")]);
        assert_eq!(
            all(&request, "forwarded"),
            ["for=192.0.2.1;proto=http;host=\"a\\\";for=\\\"1.1.1.1\\\\\""]
        );
    }

    #[test]
    fn the_credentials_of_a_protected_route_are_not_forwarded() {
        let request = told("192.0.2.1", &[("Authorization", "Bearer x"), ("Accept", "*/*")]);
        assert_eq!(all(&request, "authorization"), [""; 0]);
        assert_eq!(all(&request, "accept"), ["*/*"]);
    }

    #[test]
    fn connection_specific_fields_are_not_forwarded() {
        let request = told(
            "192.0.2.1",
            &[
                ("Connection", "close, X-Hop"),
                ("X-Hop", "1"),
                ("Keep-Alive", "timeout=1"),
                ("Content-Length", "3"),
            ],
        );
        for name in ["connection", "x-hop", "keep-alive"] {
            assert_eq!(all(&request, name), [""; 0], "{name}");
        }
        assert_eq!(all(&request, "content-length"), ["3"]);
    }

    #[test]
    fn tracestate_is_forwarded_only_with_its_trace() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let request = told("192.0.2.1", &[("traceparent", parent), ("tracestate", "a=1")]);
        assert_eq!(all(&request, "tracestate"), ["a=1"]);
        assert_eq!(all(&request, "traceparent").len(), 1);
        assert_eq!(all(&request, "traceparent")[0].split('-').nth(1), parent.split('-').nth(1));
        assert_ne!(all(&request, "traceparent"), [parent]);
        let request = told("192.0.2.1", &[("traceparent", "00-x"), ("tracestate", "a=1")]);
        assert_eq!(all(&request, "tracestate"), [""; 0]);
        assert_eq!(all(&request, "traceparent")[0].len(), 55);
    }

    #[test]
    fn a_handwritten_head_has_the_same_meaning() {
        let request =
            Fields::of(&[("Host", "a"), ("X-Forwarded-For", "1.1.1.1"), ("Accept", "*/*")]);
        let peer = "192.0.2.1".parse().unwrap();
        let client_info = TrustedProxies::default().client_info(peer, Scheme::Https, &request);
        let trace = Trace::of(&request);
        let words = words(&client_info, &trace, false);
        let kept = request.iter().filter(|(name, _)| !words.replace(name));
        let kept: Vec<_> = kept.map(|(name, _)| name.as_str()).collect();
        assert_eq!(kept, ["host", "accept"]);
        let set = set_by(&words);
        let names: Vec<_> = set.iter().map(|(name, _)| name.as_str()).collect();
        let expected = [
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-request-id",
            "traceparent",
            "via",
        ];
        assert_eq!(names, expected);
        let replaced = |(name, _): &(HeaderName, _)| *name == VIA || words.replace(name);
        assert!(set.iter().all(replaced), "what is set was dropped before");
        assert_eq!(set[0].1, "192.0.2.1");
        assert_eq!(set[1].1, "https");
    }

    #[test]
    fn request_ids_are_128_bits_and_differ() {
        let ids: HashSet<String> = (0..1000).map(|_| new_request_id()).collect();
        assert_eq!(ids.len(), 1000);
        for id in ids {
            assert_eq!(id.len(), 32);
            assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
    }
}
