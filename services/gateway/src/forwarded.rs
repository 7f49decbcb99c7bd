//! What the gateway tells the upstreams of a request: who asked, for which host, under which id.

use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{FORWARDED, HOST, HeaderName, HeaderValue};
use pingora::Result;
use pingora::http::RequestHeader;

/// The id of a request, in logs, answers and towards the upstreams.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Drops whatever the client says of these things and says it anew: nobody in front of the
/// gateway is trusted.
pub(crate) fn say(request: &mut RequestHeader, client: Option<IpAddr>, id: &str) -> Result<()> {
    let claimed: Vec<HeaderName> = request
        .headers
        .keys()
        .filter(|name| {
            name.as_str().starts_with("x-forwarded-") || *name == FORWARDED || *name == REAL_IP
        })
        .cloned()
        .collect();
    for name in &claimed {
        request.remove_header(name);
    }
    if let Some(client) = client {
        // An IPv6 socket shows an IPv4 client as ::ffff:1.2.3.4.
        request.insert_header(FORWARDED_FOR, client.to_canonical().to_string())?;
    }
    request.insert_header(FORWARDED_PROTO, HeaderValue::from_static("http"))?;
    if let Some(host) = request.headers.get(HOST).cloned() {
        request.insert_header(FORWARDED_HOST, host)?;
    }
    request.insert_header(REQUEST_ID, id)?;
    Ok(())
}

/// A new id: 128 bits in hexadecimal, unique and not to be guessed. A counter under two secret
/// keys (`SipHash`) costs less than a random number generator's lock.
pub(crate) fn new_request_id() -> String {
    static KEYS: LazyLock<[RandomState; 2]> =
        LazyLock::new(|| [RandomState::new(), RandomState::new()]);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut id = String::with_capacity(32);
    for key in KEYS.iter() {
        // Writing to a String cannot fail.
        let _ = write!(id, "{:016x}", key.hash_one(count));
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn request(fields: &[(&'static str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        for &(name, value) in fields {
            request.append_header(name, value).unwrap();
        }
        request
    }

    fn all<'a>(request: &'a RequestHeader, name: &str) -> Vec<&'a str> {
        let values = request.headers.get_all(name);
        values.iter().map(|value| value.to_str().unwrap()).collect()
    }

    #[test]
    fn what_the_client_claims_is_replaced() {
        let mut request = request(&[
            ("Host", "example.org"),
            ("X-Forwarded-For", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "evil"),
            ("X-Forwarded-Port", "1"),
            ("Forwarded", "for=1.1.1.1"),
            ("X-Real-IP", "1.1.1.1"),
            ("X-Request-ID", "mine"),
        ]);
        say(&mut request, Some([10, 0, 0, 7].into()), "id").unwrap();
        assert_eq!(all(&request, "x-forwarded-for"), ["10.0.0.7"]);
        assert_eq!(all(&request, "x-forwarded-proto"), ["http"]);
        assert_eq!(all(&request, "x-forwarded-host"), ["example.org"]);
        assert_eq!(all(&request, "x-request-id"), ["id"]);
        assert_eq!(all(&request, "host"), ["example.org"]);
        for name in ["x-forwarded-port", "forwarded", "x-real-ip"] {
            assert!(all(&request, name).is_empty(), "{name}");
        }
    }

    #[test]
    fn an_ipv4_client_of_an_ipv6_socket_is_an_ipv4_client() {
        let mut request = request(&[]);
        let client: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        say(&mut request, Some(client), "id").unwrap();
        assert_eq!(all(&request, "x-forwarded-for"), ["192.0.2.1"]);
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
