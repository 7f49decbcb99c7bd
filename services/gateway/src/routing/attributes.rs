//! Per-route attributes: time limits, body size, host, and field rules. Pure.

use std::sync::Arc;
use std::time::Duration;

use crate::digits::{parse_bytes, parse_seconds};
use crate::request::field_rules::FieldRules;
use crate::upstream::Origin;

/// Maximum of a route's `body` attribute in bytes, as with `GATEWAY_BODY_BYTES`.
const MAX_BODY_BYTES: usize = 64 << 20;

/// Attributes of a route; a default applies to each one that is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Attributes {
    /// Maximum silence of the upstream, before and during its response.
    pub(crate) timeout: Option<Duration>,
    /// Maximum time for the whole response.
    pub(crate) total: Option<Duration>,
    /// Maximum size of a request body in bytes.
    pub(crate) body_bytes: Option<usize>,
    /// `Host` that the upstream receives, in lower case.
    pub(crate) host: Option<String>,
    /// Field rules for requests.
    pub(crate) request: FieldRules,
    /// Field rules for responses.
    pub(crate) response: Arc<FieldRules>,
}

impl Attributes {
    /// Parses `NAME=VALUE`; returns false if the name is not an attribute.
    ///
    /// # Errors
    /// Returns the fault in the value.
    pub(super) fn take(&mut self, name: &str, value: &str) -> Result<bool, String> {
        match name {
            "timeout" => self.timeout = Some(seconds(name, value)?),
            "total" => self.total = Some(seconds(name, value)?),
            "body" => {
                let bytes = parse_bytes(value).filter(|bytes| *bytes <= MAX_BODY_BYTES);
                let fault = "body must be a number of bytes up to 64MiB such as 65536 or 1MiB";
                self.body_bytes = Some(bytes.ok_or(fault)?);
            }
            "host" => {
                let fault = "host must be a name, perhaps with a port, such as api.internal";
                self.host = Some(Origin::parse_authority(value).ok_or(fault)?);
            }
            "request-header" => self.request.add_to_request(value)?,
            "response-header" => Arc::make_mut(&mut self.response).add_to_response(value)?,
            "hide" => Arc::make_mut(&mut self.response).hide(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Textual form of the attributes, without field values, which may be secrets.
    pub(crate) fn describe(&self) -> impl Iterator<Item = String> {
        let names = |what: &str, names: Vec<&str>| {
            (!names.is_empty()).then(|| format!("{what} {}", names.join(" and ")))
        };
        let set = |rules: &FieldRules, what| {
            names(what, rules.set.iter().map(|(name, _)| name.as_str()).collect())
        };
        let removed = |rules: &FieldRules, what| {
            names(what, rules.removed.iter().map(http::HeaderName::as_str).collect())
        };
        [
            self.timeout.map(|time| format!("at most {time:?} of silence")),
            self.total.map(|time| format!("at most {time:?} for a response")),
            self.body_bytes.map(|bytes| format!("at most {bytes} bytes of body")),
            self.host.as_ref().map(|host| format!("with host {host}")),
            set(&self.request, "sets in requests"),
            removed(&self.request, "removes from requests"),
            set(&self.response, "sets in responses"),
            removed(&self.response, "hides"),
        ]
        .into_iter()
        .flatten()
    }
}

fn seconds(name: &str, text: &str) -> Result<Duration, String> {
    let fault = || format!("{name} must be a whole number of seconds from 1 to 3600");
    parse_seconds(text).ok_or_else(fault)
}
