//! Name of a member: its address, prefixed by those of the gateways that lead to it.
//!
//! The parts are joined by `_`, which addresses do not contain and the page accepts in names:
//! `10.0.0.1:3050_10.0.0.7:8080` is the member `10.0.0.7:8080` of the gateway `10.0.0.1:3050`.
//! Members with the same address behind two gateways have different names.

use std::cmp::Ordering;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

const SEPARATOR: char = '_';

/// Maximum addresses in a name: three gateways and the member. A deeper tree is a loop, or should
/// be flattened.
pub(crate) const MAX_LEVELS: usize = 4;

/// Maximum addresses in a name that is counted, although it is too deep.
const MAX_PARTS: usize = 2 * MAX_LEVELS;

/// Name of a member. In sort order, the members of a gateway follow it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Name {
    /// Address that this gateway connects to.
    pub(crate) address: SocketAddr,
    /// Name of the member at the gateway with this address; `None` for the address itself.
    pub(crate) below: Option<Arc<str>>,
}

impl Name {
    /// Name of a member at the gateway with this address; `name` is the one that the gateway sends.
    pub(super) const fn below(address: SocketAddr, name: Arc<str>) -> Self {
        Self { address, below: Some(name) }
    }

    /// Parses a name from a viewer's request.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, below) = match text.split_once(SEPARATOR) {
            Some((address, below)) => (address, Some(below.into())),
            None => (text, None),
        };
        Some(Self { address: address.parse().ok()?, below })
    }

    /// Number of addresses.
    pub(super) fn levels(&self) -> usize {
        1 + self.below.as_ref().map_or(0, |below| below.split(SEPARATOR).count())
    }
}

impl Ord for Name {
    // Inlined into each map search, it would be a tenth of the fleet's code.
    #[inline(never)]
    fn cmp(&self, other: &Self) -> Ordering {
        self.address.cmp(&other.address).then_with(|| self.below.cmp(&other.below))
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<SocketAddr> for Name {
    fn from(address: SocketAddr) -> Self {
        Self { address, below: None }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.below {
            Some(below) => write!(formatter, "{}{SEPARATOR}{below}", self.address),
            None => write!(formatter, "{}", self.address),
        }
    }
}

/// Whether the text is a canonical name.
pub(super) fn is_name(text: &str) -> bool {
    let is_address = |part: &str| {
        // The scope of an address is only valid on one host.
        let address: Option<SocketAddr> = part.parse().ok().filter(|_| !part.contains('%'));
        address.is_some_and(|address| address.to_string() == part)
    };
    text.split(SEPARATOR).count() <= MAX_PARTS && text.split(SEPARATOR).all(is_address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_equals_its_parsed_text() {
        for (text, levels) in [
            ("10.0.0.7:8080", 1),
            ("10.0.0.1:3050_10.0.0.7:8080", 2),
            ("[::1]:3050_10.0.0.2:3050_[2001:db8::7]:8080", 3),
        ] {
            let name = Name::parse(text).unwrap();
            assert_eq!((name.to_string().as_str(), name.levels()), (text, levels));
            assert!(is_name(text));
        }
        for text in ["", "a", "_", "10.0.0.7:8080_", "10.0.0.07:80", "[fe80::1%2]:80", "a_b", "1:1"]
        {
            assert!(!is_name(text), "{text}");
        }
        assert!(!is_name(&["10.0.0.7:80"; MAX_PARTS + 1].join("_")));
        assert_eq!(Name::parse("0123456789abcdef"), None);
    }

    #[test]
    fn the_members_of_a_gateway_follow_it() {
        let name = |text: &str| Name::parse(text).unwrap();
        let (gateway, next) = (name("10.0.0.1:3050"), name("10.0.0.1:3051"));
        let below = name("10.0.0.1:3050_255.0.0.7:8080");
        assert!(gateway < below && below < next);
    }
}
