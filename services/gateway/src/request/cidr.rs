//! CIDR lists for trusted proxies and access control.

use std::fmt;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::Faults;
use super::client_info::Client;
use crate::digits;

/// Set of networks; it contains an address if one of its networks does. An IPv4-mapped address such
/// as `::ffff:192.0.2.1` counts as IPv4; apart from that, no IPv6 network contains an IPv4 address.
///
/// Two networks are either disjoint or nested. Nested ones are removed, so a binary search finds
/// the only candidate: a lookup in a list of a whole country costs a dozen comparisons.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Networks(Vec<IpNet>);

impl Networks {
    /// Parses `10.0.0.0/8, fd00::/8, 192.0.2.1`. Blank text is the empty list. An empty member is
    /// an error, because it may come from an unset variable.
    pub(crate) fn parse(text: &str) -> Result<Self, Faults> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let (mut networks, mut faults) = (Vec::new(), Vec::new());
        for part in text.split(',').map(str::trim) {
            match parse(part) {
                Ok(network) => networks.push(network),
                Err(why) => faults.push(format!("{part:?} {why}")),
            }
        }
        if !faults.is_empty() {
            return Err(Faults(faults));
        }
        networks.sort_unstable();
        networks.dedup_by(|next, kept| kept.contains(&*next));
        Ok(Self(networks))
    }

    /// Whether one of the networks contains the address.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let after = self.0.partition_point(|network| network.addr() <= address);
        let nearest = after.checked_sub(1).and_then(|index| self.0.get(index));
        nearest.is_some_and(|network| network.contains(&address))
    }

    /// Whether the list is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, network) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(formatter, "{comma}{network}")?;
        }
        Ok(())
    }
}

/// Parses a network, or an address as a network of one.
fn parse(text: &str) -> Result<IpNet, String> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return Err("is no address such as 192.0.2.1, 10.0.0.0/8 or fd00::/8".to_owned());
    };
    let all = IpNet::from(address).max_prefix_len();
    let prefix = prefix.map_or(Some(all), number);
    let network = prefix.and_then(|prefix| IpNet::new(address, prefix).ok());
    let network =
        network.ok_or_else(|| format!("needs a number from 0 to {all} after the slash"))?;
    let whole = network.trunc();
    if whole != network {
        return Err(format!("has bits behind its prefix: {whole} or {address}/{all} is meant"));
    }
    // With fewer than 96 bits, the check for host bits would have failed.
    match address.to_canonical() {
        IpAddr::V4(first) if all == 128 => {
            let prefix = network.prefix_len().saturating_sub(96);
            Ipv4Net::new(first, prefix).map(IpNet::V4).map_err(|error| error.to_string())
        }
        _ => Ok(network),
    }
}

/// A number without leading zeros: other parsers read 010 as octal.
fn number(digits: &str) -> Option<u8> {
    digits::number(digits).filter(|_| digits == "0" || !digits.starts_with('0'))
}

/// Access control by client address.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Access {
    /// Clients with access; empty allows all.
    pub(crate) allow: Networks,
    /// Clients without access, even if `allow` contains them.
    pub(crate) deny: Networks,
}

impl Access {
    /// Whether this client has access. If a proxy hides the client's address, the client has access
    /// only if there are no restrictions.
    pub(crate) fn admits(&self, client: Client) -> bool {
        match client {
            Client::Known(address) => {
                !self.deny.contains(address)
                    && (self.allow.is_empty() || self.allow.contains(address))
            }
            Client::Behind(_) => self.allow.is_empty() && self.deny.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use proptest::prelude::*;

    fn networks(text: &str) -> Networks {
        Networks::parse(text).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_ends_at_its_prefix_length() {
        let list = networks("10.0.0.0/8, fd00::/8, 192.0.2.1");
        for inside in ["10.0.0.0", "10.255.255.255", "fd00::", "fdff::1", "192.0.2.1"] {
            assert!(list.contains(ip(inside)), "{inside}");
        }
        for outside in ["9.255.255.255", "11.0.0.0", "fc00::1", "fe00::", "192.0.2.0", "192.0.2.2"]
        {
            assert!(!list.contains(ip(outside)), "{outside}");
        }
    }

    #[test]
    fn a_mapped_address_is_an_ipv4_address_in_lists_and_lookups() {
        assert!(networks("10.0.0.0/8").contains(ip("::ffff:10.1.2.3")));
        assert!(networks("::ffff:10.0.0.0/104").contains(ip("10.1.2.3")));
        assert_eq!(networks("::ffff:0:0/96").to_string(), "0.0.0.0/0");
    }

    #[test]
    fn all_addresses_of_one_family_exclude_the_other() {
        assert!(networks("::/0").contains(ip("2001:db8::1")));
        assert!(!networks("::/0").contains(ip("10.0.0.1")));
        assert!(!networks("::/0").contains(ip("::ffff:10.0.0.1")));
        assert!(networks("0.0.0.0/0").contains(ip("255.255.255.255")));
        assert!(!networks("0.0.0.0/0").contains(ip("::")));
    }

    #[test]
    fn a_network_inside_another_hides_nothing() {
        let list = networks("10.1.0.0/16,10.0.0.0/8,10.0.0.0/8,10.1.2.3,11.0.0.1");
        assert_eq!(list.to_string(), "10.0.0.0/8, 11.0.0.1/32");
        assert!(list.contains(ip("10.200.0.1")));
    }

    #[test]
    fn every_fault_is_reported() {
        let faults = Networks::parse("10.0.0.0/8, 10.0.0.1/8,, x, 1.2.3.4/33, ::1/64, 1.2.3.4/+8")
            .unwrap_err();
        assert_eq!(faults.0.len(), 6, "{faults}");
        assert_eq!(
            faults.0.first().unwrap(),
            "\"10.0.0.1/8\" has bits behind its prefix: 10.0.0.0/8 or 10.0.0.1/32 is meant"
        );
        assert!(faults.to_string().contains("\"1.2.3.4/33\" needs a number from 0 to 32"));
    }

    #[test]
    fn blank_text_is_the_empty_list_and_a_lone_comma_is_not() {
        assert!(networks("").is_empty());
        assert!(networks(" ").is_empty());
        for text in [",", "10.0.0.0/8,", ",10.0.0.0/8", "10.0.0.0/8,,::1"] {
            assert!(Networks::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn malformed_networks_are_rejected() {
        for text in [
            "010.0.0.0/8",
            "10.0.0/8",
            "10.0.0.0/08",
            "10.0.0.0/",
            "10.0.0.0/8/8",
            "fe80::1%eth0",
            "[::1]",
            "10.0.0.0 /8",
            "10.0.0.0/ 8",
            "1.2.3.4:80",
            "::ffff:0:0/95",
            "localhost",
            "10.0.0.0/999999999999",
            "10.0.0.0;10.0.0.1",
            "/8",
            "*",
        ] {
            assert!(Networks::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn deny_overrides_allow_and_an_empty_allow_list_allows_all() {
        let known = |text| Client::Known(ip(text));
        let everyone = Access::default();
        assert!(everyone.admits(known("192.0.2.1")));
        let some = Access { allow: networks("10.0.0.0/8"), deny: networks("10.1.0.0/16") };
        assert!(some.admits(known("10.2.0.1")));
        assert!(!some.admits(known("10.1.0.1")));
        assert!(!some.admits(known("192.0.2.1")));
        let others = Access { allow: Networks::default(), deny: networks("10.1.0.0/16") };
        assert!(others.admits(known("192.0.2.1")));
        assert!(!others.admits(known("::ffff:10.1.0.1")));
    }

    #[test]
    fn an_unknown_client_has_access_only_without_restrictions() {
        let hidden = Client::Behind(ip("10.0.0.1"));
        let ten = || networks("10.0.0.0/8");
        assert!(Access::default().admits(hidden));
        assert!(!Access { allow: ten(), deny: Networks::default() }.admits(hidden));
        assert!(!Access { allow: Networks::default(), deny: networks("::1") }.admits(hidden));
    }

    /// A network without host bits. Few different ones, so that they overlap.
    fn any_network() -> impl Strategy<Value = IpNet> {
        (any::<bool>(), any::<u128>(), 0..=128_u8).prop_map(|(four, random, prefix)| {
            let crowded = random & (0xc3 << 120 | 0x3);
            let prefix = if four { prefix / 4 } else { prefix };
            IpNet::new(address(four, crowded), prefix).unwrap().trunc()
        })
    }

    /// An address from the leading bits.
    fn address(four: bool, bits: u128) -> IpAddr {
        if four {
            IpAddr::from(bits.to_be_bytes().first_chunk::<4>().copied().unwrap())
        } else {
            Ipv6Addr::from_bits(bits).into()
        }
    }

    /// The bits of an address, left-aligned.
    fn bits(address: IpAddr) -> u128 {
        match address {
            IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
            IpAddr::V6(address) => address.to_bits(),
        }
    }

    fn text_of(list: &[IpNet]) -> String {
        list.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    proptest! {
        #[test]
        fn no_text_causes_a_panic(text in "[0-9a-f:./, x%-]{0,60}") {
            let _ = Networks::parse(&text);
        }

        #[test]
        fn a_parsed_list_can_be_written_and_parsed_again(
            list in proptest::collection::vec(any_network(), 1..20),
        ) {
            let read = networks(&text_of(&list));
            prop_assert_eq!(&networks(&read.to_string()), &read);
        }

        #[test]
        fn the_binary_search_equals_a_linear_search(
            list in proptest::collection::vec(any_network(), 1..20),
            random in any::<u128>(),
            inside in any::<proptest::sample::Index>(),
        ) {
            let read = networks(&text_of(&list));
            let near = list[inside.index(list.len())];
            let four = near.addr().is_ipv4();
            let host = random & bits(near.hostmask());
            let near = address(four, bits(near.addr()) | host);
            for address in [near, Ipv6Addr::from_bits(random).into(), address(four, random)] {
                let address = address.to_canonical();
                let each = list.iter().any(|network| network.contains(&address));
                prop_assert_eq!(read.contains(address), each, "{}", address);
            }
        }
    }
}
