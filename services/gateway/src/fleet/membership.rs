//! The setting that names the members of the fleet.

use std::fmt;

use super::merge::MOST_MEMBERS;
use crate::upstream::Origin;

/// The sources of the fleet's members.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum FleetMembers {
    /// The addresses of the `/stats` route.
    #[default]
    Route,
    /// These addresses, and all addresses of these names.
    Origins(Vec<Origin>),
    /// No fleet.
    Off,
}

impl FleetMembers {
    /// Parses `off` or `HOST:PORT,…`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == "off" {
            return Some(Self::Off);
        }
        Origin::parse_all(text).filter(|it| it.len() <= MOST_MEMBERS).map(Self::Origins)
    }
}

impl fmt::Display for FleetMembers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route => formatter.write_str("upstreams of /stats"),
            Self::Off => formatter.write_str("off"),
            Self::Origins(origins) => {
                let origins: Vec<_> = origins.iter().map(ToString::to_string).collect();
                formatter.write_str(&origins.join(", "))
            }
        }
    }
}
