//! Settings for announcements: fleet members that register themselves.

use http_semantics::signature::Key;
use service::{Secret, Settings};

use super::networks;
use crate::fleet::FleetMembers;
use crate::request::cidr::Networks;

/// Authentication and allowed networks of announcements.
#[derive(Clone, Debug)]
pub(crate) struct Announcing {
    secret: Secret,
    /// Networks whose addresses other hosts may announce.
    pub(crate) allow: Networks,
}

impl Announcing {
    pub(super) fn read(settings: &mut Settings, fleet: &FleetMembers) -> Self {
        let secret =
            Secret::read(settings, ["GATEWAY_ANNOUNCE_SECRET", "GATEWAY_ANNOUNCE_SECRET_FILE"]);
        let allow = networks(settings, "GATEWAY_ANNOUNCE_ALLOW");
        let announcing = Self { secret, allow };
        match announcing.keys() {
            Err(fault) => settings.reject(fault),
            Ok(keys) if keys.is_empty() => {
                if !announcing.allow.is_empty() {
                    settings.reject(
                        "GATEWAY_ANNOUNCE_ALLOW needs GATEWAY_ANNOUNCE_SECRET or \
                         GATEWAY_ANNOUNCE_SECRET_FILE"
                            .to_owned(),
                    );
                }
            }
            Ok(_) if *fleet == FleetMembers::Off => {
                settings.reject("announcements need a fleet, but GATEWAY_FLEET is off".to_owned());
            }
            Ok(_) => {}
        }
        announcing
    }

    /// Current signing keys; empty if announcements are disabled.
    ///
    /// # Errors
    /// Returns a message that contains no part of a secret.
    pub(crate) fn keys(&self) -> Result<Vec<Key>, String> {
        let Some((name, text)) = self.secret.text()? else { return Ok(Vec::new()) };
        Key::parse_all(&text).map_err(|faults| format!("{name}: {}", faults.join("; ")))
    }
}
