//! Normalization of an authority (RFC 3986, sections 6.2.2.1 and 6.2.3; RFC 9110, section 4.2.3):
//! lower case, without the scheme's default port.

use std::net::Ipv6Addr;

use super::client_info::Scheme;

/// Canonical form of a host with an optional port. Authorities that differ only in letter case, in
/// the default port, or in the notation of a port or an IPv6 address become equal.
pub(crate) fn canonical(authority: &str, scheme: Scheme) -> String {
    let (host, port) = match authority.rfind(':') {
        Some(colon) if !authority.ends_with(']') => {
            let (host, port) = authority.split_at(colon);
            (host, &port[1..])
        }
        _ => (authority, ""),
    };
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let mut text = match address.and_then(|address| address.parse::<Ipv6Addr>().ok()) {
        Some(address) => format!("[{address}]"),
        None => host.to_ascii_lowercase(),
    };
    match port.parse::<u16>() {
        Ok(number) if number == default_port(scheme) => {}
        Ok(number) => {
            text.push(':');
            text.push_str(&number.to_string());
        }
        Err(_) if port.is_empty() => {}
        // Not a valid port, so it stays distinct.
        Err(_) => {
            text.push(':');
            text.push_str(port);
        }
    }
    text
}

const fn default_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equivalent_authorities_have_one_canonical_form() {
        for (text, scheme, expected) in [
            ("Example.ORG", Scheme::Http, "example.org"),
            ("example.org:80", Scheme::Http, "example.org"),
            ("example.org:0080", Scheme::Http, "example.org"),
            ("example.org:", Scheme::Https, "example.org"),
            ("example.org:443", Scheme::Https, "example.org"),
            ("example.org:80", Scheme::Https, "example.org:80"),
            ("example.org:443", Scheme::Http, "example.org:443"),
            ("example.org:03050", Scheme::Http, "example.org:3050"),
            ("[0:0::1]:80", Scheme::Http, "[::1]"),
            ("[2001:DB8::1]:8080", Scheme::Http, "[2001:db8::1]:8080"),
            ("127.0.0.1:3050", Scheme::Http, "127.0.0.1:3050"),
            ("", Scheme::Http, ""),
            ("a:99999", Scheme::Http, "a:99999"),
        ] {
            assert_eq!(canonical(text, scheme), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn normalization_is_idempotent_and_preserves_different_ports(
            host in "[a-zA-Z0-9.-]{1,20}",
            port in any::<u16>(),
            other in any::<u16>(),
        ) {
            let of = |port: u16| canonical(&format!("{host}:{port}"), Scheme::Http);
            let once = of(port);
            prop_assert_eq!(&canonical(&once, Scheme::Http), &once);
            prop_assert_eq!(of(other) == once, other == port);
            prop_assert_eq!(canonical(&host.to_uppercase(), Scheme::Http), host.to_lowercase());
        }
    }
}
