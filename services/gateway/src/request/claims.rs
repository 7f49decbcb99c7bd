//! Request fields that are never forwarded as the client sent them: fields that override the method
//! or the URL, and fields that make claims about the client, the host, the user or the certificate.
//! Proxies and frameworks set such fields after their own checks, so upstreams trust them.

use std::cmp::Ordering;

use super::{folded, name_has_prefix};

/// Complete names, sorted.
const NAMES: [&str; 112] = [
    "ali-cdn-real-ip",
    "base-url",
    "cdn-src-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-ipcountry",
    "cf-pseudo-ipv4",
    "cf-visitor",
    "client-cert",
    "client-cert-chain",
    "client-ip",
    "cloudfront-forwarded-proto",
    "cloudfront-viewer-address",
    "cluster-client-ip",
    "daphne-root-path",
    "fastly-client-ip",
    "fastly-ssl",
    "fly-client-ip",
    "forwarded",
    "forwarded-for",
    "forwarded-for-ip",
    "front-end-https",
    "http-client-ip",
    "incap-client-ip",
    "path-info",
    "proxy-auth-cert",
    "proxy-client-ip",
    "proxy-ssl-id",
    "proxy-user",
    "real-ip",
    "request-uri",
    "script-name",
    "true-client-ip",
    "verified-client-cert",
    "wl-proxy-client-cert",
    "wl-proxy-client-ip",
    "wl-proxy-ssl",
    "x-appengine-remote-addr",
    "x-appengine-user-ip",
    "x-arr-clientcert",
    "x-arr-ssl",
    "x-auth-email",
    "x-auth-user",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-backend-host",
    "x-cdn-src-ip",
    "x-client-cert",
    "x-client-cn",
    "x-client-dn",
    "x-client-host",
    "x-client-ip",
    "x-client-issuer",
    "x-client-port",
    "x-client-san",
    "x-client-subject",
    "x-client-user",
    "x-client-verify",
    "x-cluster-client-ip",
    "x-coming-from",
    "x-custom-ip-authorization",
    "x-email",
    "x-external-address",
    "x-forwarded",
    "x-front-end-https",
    "x-groups",
    "x-host",
    "x-host-override",
    "x-http-destinationurl",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-http-path-override",
    "x-https",
    "x-matched-path",
    "x-method",
    "x-method-override",
    "x-nf-client-connection-ip",
    "x-now-route-matches",
    "x-orig-client-ip",
    "x-original-forwarded-for",
    "x-original-host",
    "x-original-method",
    "x-original-path",
    "x-original-port",
    "x-original-proto",
    "x-original-remote-addr",
    "x-original-scheme",
    "x-original-uri",
    "x-original-url",
    "x-originating-ip",
    "x-override-url",
    "x-proto",
    "x-proxyuser-ip",
    "x-real-host",
    "x-real-ip",
    "x-real-port",
    "x-remote-addr",
    "x-remote-ip",
    "x-rewrite-url",
    "x-roles",
    "x-scheme",
    "x-script-name",
    "x-sendfile-type",
    "x-sucuri-clientip",
    "x-url-scheme",
    "x-user",
    "x-user-email",
    "x-user-groups",
    "x-user-id",
    "x-user-name",
    "x-username",
];

/// Prefixes of names.
const PREFIXES: [&str; 26] = [
    "cf-access-",
    "impersonate-",
    "remote-",
    "ssl-",
    "tailscale-",
    "x-accel-",
    "x-auth-request-",
    "x-authenticated-",
    "x-authentik-",
    "x-client-cert-",
    "x-consumer-",
    "x-credential-",
    "x-envoy-",
    "x-forwarded-",
    "x-goog-authenticated-user-",
    "x-goog-iap-",
    "x-invoke-",
    "x-middleware-",
    "x-ms-client-principal",
    "x-pomerium-",
    "x-proxy-",
    "x-remote-",
    "x-ssl",
    "x-tailscale-",
    "x-tls-",
    "x-webauth-",
];

/// Fields in which AWS's load balancer reports the authenticated user and the client certificate.
/// Nothing else sets these names, so a trusted proxy may.
const LOAD_BALANCER_PREFIXES: [&str; 2] = ["x-amzn-mtls-", "x-amzn-oidc-"];

/// Whether a field (its name in lower case) is such a claim. Characters other than letters and
/// digits are equivalent.
pub(crate) fn is_claim(name: &str, from_trusted_proxy: bool) -> bool {
    let first = name.bytes().next().unwrap_or_default();
    let has_prefix_of = |list: &[&str]| list.iter().any(|prefix| name_has_prefix(name, prefix));
    with_first(&NAMES, &NAMES_BY_LETTER, first)
        .binary_search_by(|known| compare(known, name))
        .is_ok()
        || has_prefix_of(with_first(&PREFIXES, &PREFIXES_BY_LETTER, first))
        || (first == b'x' && !from_trusted_proxy && has_prefix_of(&LOAD_BALANCER_PREFIXES))
}

/// Begin and end in a sorted list, for each first letter. Every field of every request is searched.
type ByLetter = [(usize, usize); 26];

const NAMES_BY_LETTER: ByLetter = by_letter(&NAMES);
const PREFIXES_BY_LETTER: ByLetter = by_letter(&PREFIXES);

const fn by_letter(sorted: &[&str]) -> ByLetter {
    let mut ranges = [(0, 0); 26];
    let mut index = 0;
    while index < sorted.len() {
        let range = &mut ranges[(sorted[index].as_bytes()[0] - b'a') as usize];
        if range.1 == 0 {
            range.0 = index;
        }
        index += 1;
        range.1 = index;
    }
    ranges
}

/// The part of a list with this first letter.
fn with_first<'a>(list: &'a [&'a str], ranges: &ByLetter, first: u8) -> &'a [&'a str] {
    let range = ranges.get(usize::from(first.wrapping_sub(b'a')));
    range.and_then(|&(begin, end)| list.get(begin..end)).unwrap_or_default()
}

fn compare(known: &str, name: &str) -> Ordering {
    known.bytes().cmp(name.bytes().map(folded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::select;

    #[test]
    fn the_names_are_sorted_so_that_they_can_be_searched() {
        assert!(NAMES.is_sorted() && PREFIXES.is_sorted());
        for name in NAMES.iter().chain(&PREFIXES) {
            assert!(is_claim(name, true), "{name}");
        }
    }

    #[test]
    fn common_request_fields_are_not_claims() {
        for name in [
            "accept",
            "accept-encoding",
            "authorization",
            "cache-control",
            "content-type",
            "cookie",
            "host",
            "if-none-match",
            "last-event-id",
            "origin",
            "referer",
            "sec-fetch-site",
            "traceparent",
            "upgrade-insecure-requests",
            "user-agent",
            "via",
            "x-amzn-trace-id",
            "x-api-key",
            "x-csrf-token",
            "x-requested-with",
            "x-user-agent",
            "x-client-data",
        ] {
            assert!(!is_claim(name, false), "{name}");
        }
    }

    #[test]
    fn a_client_cannot_change_the_path_that_the_gateway_has_checked_or_its_user() {
        // gunicorn, Daphne, mod_wsgi, Next.js; OpenSearch.
        for name in [
            "daphne-root-path",
            "script_name",
            "path_info",
            "x-script-name",
            "x-invoke-query",
            "x-matched-path",
            "x-proxy-user",
        ] {
            assert!(is_claim(name, true), "{name}");
        }
    }

    #[test]
    fn only_a_trusted_proxy_may_set_fields_of_the_aws_load_balancer() {
        for name in ["x-amzn-oidc-identity", "x-amzn-mtls-clientcert"] {
            assert!(is_claim(name, false) && !is_claim(name, true), "{name}");
        }
    }

    proptest! {
        #[test]
        fn characters_other_than_letters_and_digits_are_equivalent(
            name in select(NAMES.as_slice()),
            prefix in select(PREFIXES.as_slice()),
            rest in "[a-z0-9_-]{0,10}",
            others in any::<u32>(),
        ) {
            let mixed = |text: &str| -> String {
                let bit = |index: usize| others >> (index % 32) & 1 == 1;
                let change = |(index, letter): (usize, char)| {
                    if letter == '-' && bit(index) { ['_', '.'][index % 2] } else { letter }
                };
                text.chars().enumerate().map(change).collect()
            };
            prop_assert!(is_claim(&mixed(name), true));
            let prefix = mixed(&format!("{prefix}{rest}"));
            prop_assert!(is_claim(&prefix, true));
        }
    }
}
