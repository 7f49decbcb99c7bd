//! Host names that a service accepts (RFC 9110, sections 7.2 and 15.5.20).
//!
//! By default, a service on loopback accepts only the names of loopback. Otherwise a page on the
//! internet could point a name of its own at 127.0.0.1 (DNS rebinding); the browser then sends that
//! name in `Host`.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::fmt;

/// Names of a service on loopback.
const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The setting, as configured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostList {
    /// Names in lower case. A leading `*.` stands for one or more labels.
    names: Vec<String>,
    /// Whether the list contains `*`.
    any: bool,
}

/// The effective host names.
#[derive(Clone, Debug, PartialEq)]
pub enum Hosts {
    /// Every host.
    Any,
    /// These hosts only.
    Only(Vec<String>),
}

impl HostList {
    /// The expected value of the setting.
    pub const EXPECTED: &str =
        "host names without ports such as example.org, *.example.org, or * for any";

    /// Parses names without ports, such as `example.org, *.example.org`, or `*` for every host.
    pub fn parse(text: &str) -> Option<Self> {
        let mut list = Self::default();
        for name in text.split(',') {
            let name = name.trim().to_ascii_lowercase();
            if name == "*" {
                list.any = true;
                continue;
            }
            if name.starts_with('[') {
                list.names.push(bracketed(ipv6(&name)?));
                continue;
            }
            // The dot of the root (RFC 1034, section 3.1) changes nothing.
            let name = name.strip_suffix('.').unwrap_or(&name);
            let label = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            let rest = name.strip_prefix("*.").unwrap_or(name);
            if rest.is_empty() || !rest.bytes().all(label) {
                return None;
            }
            list.names.push(name.to_owned());
        }
        Some(list)
    }

    /// The same list without `*`.
    #[must_use]
    pub fn named(&self) -> Self {
        Self { any: false, ..self.clone() }
    }
}

impl Hosts {
    /// The hosts of a service that clients reach at this address.
    pub fn new(configured: &HostList, reached_at: IpAddr) -> Self {
        let HostList { names, any } = configured;
        let loopback = reached_at.to_canonical().is_loopback();
        if *any || (names.is_empty() && !loopback) {
            return Self::Any;
        }
        let mut hosts = names.clone();
        if loopback {
            hosts.extend(LOOPBACK_NAMES.map(str::to_owned));
            let own = match reached_at {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => bracketed(address),
            };
            if !hosts.contains(&own) {
                hosts.push(own);
            }
        }
        Self::Only(hosts)
    }

    /// Whether a request with these values of its Host field lines is accepted. Every value must be
    /// accepted. No value is accepted too, because HTTP/1.0 clients may send none; browsers always
    /// send one. The authority of the request target counts as a value.
    pub fn contains_all<'a>(&self, hosts: impl IntoIterator<Item = &'a str>) -> bool {
        hosts.into_iter().all(|host| self.contains(host))
    }

    /// Like [`Hosts::contains_all`], for a health check, which may also name an IP address: load
    /// balancers, orchestrators and the `healthcheck` command send the one that they connect to.
    /// DNS rebinding needs a name.
    pub fn admits_check<'a>(&self, hosts: impl IntoIterator<Item = &'a str>) -> bool {
        hosts.into_iter().all(|host| self.contains(host) || is_address(host))
    }

    /// Whether the value of a Host field, with an optional port and an optional dot at the end of the
    /// name, is accepted.
    pub fn contains(&self, host: &str) -> bool {
        let Self::Only(names) = self else { return true };
        let host = match host.rfind(':') {
            Some(colon) if !host.ends_with(']') => &host[..colon],
            _ => host,
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        // Browsers write an IPv4-mapped address in another form than RFC 5952 recommends.
        match ipv6(host) {
            Some(address) => names.iter().any(|name| ipv6(name) == Some(address)),
            None => names.iter().any(|name| matches(name, host)),
        }
    }
}

impl fmt::Display for Hosts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => formatter.write_str("any"),
            Self::Only(names) => formatter.write_str(&names.join(", ")),
        }
    }
}

/// An IPv6 address as in Host, in its canonical form (RFC 5952).
fn bracketed(address: Ipv6Addr) -> String {
    format!("[{address}]")
}

/// The IPv6 address of a host without a port.
fn ipv6(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Whether a host, with an optional port, is an IP address.
fn is_address(host: &str) -> bool {
    [host, &format!("{host}:0")].iter().any(|text| text.parse::<SocketAddr>().is_ok())
}

/// Whether a host equals the name, or is below it if the name begins with `*.`.
fn matches(name: &str, host: &str) -> bool {
    match name.strip_prefix('*') {
        Some(rest) => host
            .len()
            .checked_sub(rest.len())
            .and_then(|start| host.get(start..))
            .is_some_and(|end| host.len() > rest.len() && end.eq_ignore_ascii_case(rest)),
        None => host.eq_ignore_ascii_case(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(name: &str, host: &str) -> bool {
        Hosts::Only(vec![name.to_owned()]).contains(host)
    }

    fn hosts(configured: &str, reached_at: &str) -> Hosts {
        let list = match configured {
            "" => HostList::default(),
            text => HostList::parse(text).unwrap(),
        };
        Hosts::new(&list, reached_at.parse().unwrap())
    }

    #[test]
    fn hosts_are_compared_without_their_port() {
        assert!(matches("example.org", "Example.org:3050"));
        assert!(matches("*.example.org", "a.b.example.org"));
        assert!(matches("example.org", "example.org."));
        assert!(matches("*.example.org", "a.example.org.:3050"));
        assert!(matches("[::1]", "[::1]:3050"));
        assert!(!matches("*.example.org", "example.org"));
        assert!(!matches("*.example.org", ".example.org"));
        assert!(!matches("example.org", "example.org.evil"));
        assert!(!matches("example.org", "example.org.."));
        assert!(!matches("example.org", ""));
    }

    #[test]
    fn on_loopback_only_its_own_names_and_the_configured_ones_are_answered() {
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.0.0.2"] {
            let hosts = hosts("example.org", address);
            for host in ["localhost", "LOCALHOST:3050", "127.0.0.1:1", "[::1]:3050", "example.org"]
            {
                assert!(hosts.contains(host), "{host} at {address}");
            }
            for host in ["", "evil.test", "localhost.evil.test", "127.0.0.1.evil.test", "0.0.0.0"] {
                assert!(!hosts.contains(host), "{host} at {address}");
            }
        }
        assert!(hosts("", "127.0.0.2").contains("127.0.0.2:3050"));
        assert!(!hosts("", "127.0.0.1").contains("127.0.0.2:3050"));
    }

    #[test]
    fn a_request_without_a_host_is_answered_and_one_with_a_foreign_host_is_not() {
        let hosts = hosts("", "127.0.0.1");
        assert!(hosts.contains_all([]) && hosts.contains_all(["localhost:8080"]));
        assert!(
            !hosts.contains_all(["evil.test"]) && !hosts.contains_all(["localhost", "evil.test"])
        );
    }

    #[test]
    fn a_health_check_may_name_an_address_and_no_other_name() {
        for hosts in [hosts("example.org", "0.0.0.0"), hosts("", "127.0.0.1")] {
            for host in ["10.0.0.3", "10.0.0.3:8080", "[2001:db8::1]", "[2001:db8::1]:8080"] {
                assert!(hosts.admits_check([host]) && !hosts.contains_all([host]), "{host}");
            }
            for host in ["evil.test", "evil.test:80", "10.0.0.3.evil.test", "::1", "10.0.0.3:x", ""]
            {
                assert!(!hosts.admits_check([host]), "{host}");
            }
            assert!(!hosts.admits_check(["10.0.0.3", "evil.test"]) && hosts.admits_check([]));
        }
        assert!(hosts("example.org", "0.0.0.0").admits_check(["example.org:8080"]));
    }

    #[test]
    fn elsewhere_the_configured_hosts_are_answered_or_all() {
        for address in ["0.0.0.0", "::", "192.0.2.1"] {
            assert_eq!(hosts("", address), Hosts::Any);
            let named = hosts("example.org", address);
            assert!(named.contains("example.org") && !named.contains("localhost"), "{address}");
        }
        assert_eq!(hosts("*", "127.0.0.1"), Hosts::Any);
        assert_eq!(hosts("example.org, *", "127.0.0.1"), Hosts::Any);
    }

    #[test]
    fn a_name_has_no_port_and_no_scheme() {
        for text in [
            "example.org:80",
            "http://a",
            "*.",
            ".",
            "",
            ",",
            "a,",
            "*a",
            "a b",
            "::1",
            "[::1",
            "[::1]:80",
            "[a]",
            "a[b]",
            "*.[::1]",
        ] {
            assert_eq!(HostList::parse(text), None, "{text:?}");
        }
        assert!(HostList::parse("A.example, *.b.example, [2001:db8::1]").is_some());
        assert!(hosts("Example.org.", "0.0.0.0").contains("example.org"));
        let list = "[::ffff:1.2.3.4], [2001:DB8:0::0001]";
        for host in ["[::ffff:102:304]", "[2001:db8::1]:3050", "[2001:DB8:0:0::1]"] {
            assert!(hosts(list, "0.0.0.0").contains(host), "{host}");
        }
        assert!(!hosts(list, "0.0.0.0").contains("[::ffff:102:305]"));
    }

    proptest! {
        #[test]
        fn no_other_host_is_answered_on_loopback(
            host in "(([a-z0-9*._-]{0,12}|localhost|127\\.0\\.0\\.1|\\[::1\\])(:[0-9]{0,5})?){0,2}",
        ) {
            let name = match host.rfind(':') {
                Some(colon) if !host.ends_with(']') => &host[..colon],
                _ => &host,
            };
            let expected = LOOPBACK_NAMES.contains(&name.strip_suffix('.').unwrap_or(name));
            prop_assert_eq!(hosts("", "127.0.0.1").contains(&host), expected);
        }
    }
}
