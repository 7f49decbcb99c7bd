//! Setting for the members of the fleet.

use std::fmt;

use super::merge::{Lister, MAX_MEMBERS};
use crate::upstream::Origin;

/// Source of the fleet's members.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum FleetMembers {
    /// Addresses of the `/stats` route.
    #[default]
    Route,
    /// These addresses, and all addresses of these names.
    Listed(Vec<Listed>),
    /// Disabled.
    Off,
}

/// Members that a setting lists.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listed {
    pub(crate) origin: Origin,
    /// The origin is a gateway whose members are merged.
    pub(crate) is_gateway: bool,
}

/// Suffix that marks a gateway: the path of its fleet.
const GATEWAY_PATH: &str = "/fleet";

impl Listed {
    fn parse(text: &str) -> Option<Self> {
        let origin = text.strip_suffix(GATEWAY_PATH);
        let is_gateway = origin.is_some();
        Some(Self { origin: Origin::parse(origin.unwrap_or(text))?, is_gateway })
    }

    pub(super) const fn lister(&self) -> Lister {
        if self.is_gateway { Lister::Gateway } else { Lister::Setting }
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.is_gateway { GATEWAY_PATH } else { "" };
        write!(formatter, "{}{path}", self.origin)
    }
}

impl FleetMembers {
    /// Parses `off` or `HOST:PORT,HOST:PORT/fleet,…`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == "off" {
            return Some(Self::Off);
        }
        let listed = text.split(',').map(|part| Listed::parse(part.trim()));
        let listed = listed.collect::<Option<Vec<_>>>()?;
        (listed.len() <= MAX_MEMBERS).then_some(Self::Listed(listed))
    }
}

impl fmt::Display for FleetMembers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route => formatter.write_str("upstreams of /stats"),
            Self::Off => formatter.write_str("off"),
            Self::Listed(listed) => {
                let listed: Vec<_> = listed.iter().map(ToString::to_string).collect();
                formatter.write_str(&listed.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_listed_with_the_path_of_its_fleet() {
        let text = "stats:8080, edge-1.internal:3050/fleet,[::1]:3050/fleet";
        let members = FleetMembers::parse(text).unwrap();
        assert_eq!(members.to_string(), text.replace(",[", ", ["));
        let FleetMembers::Listed(listed) = members else { panic!("{members}") };
        let gateways: Vec<_> = listed.iter().map(|it| it.is_gateway).collect();
        assert_eq!(gateways, [false, true, true]);
        for text in
            ["", "stats", "/fleet", "a:1/", "a:1/stats", "a:1/fleet/", "a:1/fleet/fleet", "off,a:1"]
        {
            assert_eq!(FleetMembers::parse(text), None, "{text}");
        }
    }
}
