//! What holds for one route alone: its time limits, the size of bodies, the host, and fields. Pure.

use std::sync::Arc;
use std::time::Duration;

use crate::digits::parse_bytes;
use crate::request::field_rules::FieldRules;
use crate::upstream::Origin;

/// Bytes of a body that a route may allow, as with `GATEWAY_BODY_BYTES`.
const MOST_BODY_BYTES: usize = 64 << 20;

/// What a route says of itself; what it does not say is the same for all routes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Attributes {
    /// Longest silence of the upstream, before and during its response.
    pub(crate) timeout: Option<Duration>,
    /// Longest time for the whole response.
    pub(crate) total: Option<Duration>,
    /// Bytes of a request's body.
    pub(crate) body_bytes: Option<usize>,
    /// The host that the upstream is asked for, in lower case.
    pub(crate) host: Option<String>,
    /// Changes to requests.
    pub(crate) request: FieldRules,
    /// Changes to responses.
    pub(crate) response: Arc<FieldRules>,
}

impl Attributes {
    /// Takes `NAME=VALUE` in; false when the name is none of an attribute.
    ///
    /// # Errors
    /// With what is wrong with the value.
    pub(super) fn take(&mut self, name: &str, value: &str) -> Result<bool, String> {
        match name {
            "timeout" => self.timeout = Some(seconds(name, value)?),
            "total" => self.total = Some(seconds(name, value)?),
            "body" => {
                let bytes = parse_bytes(value).filter(|bytes| *bytes <= MOST_BODY_BYTES);
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

    /// Its parts as text, without the values of fields, which may be secrets.
    pub(crate) fn describe(&self) -> impl Iterator<Item = String> {
        let names = |what: &str, names: Vec<&str>| {
            (!names.is_empty()).then(|| format!("{what} {}", names.join(" and ")))
        };
        let set = |rules: &FieldRules, what| {
            names(what, rules.set().iter().map(|(name, _)| name.as_str()).collect())
        };
        let removed = |rules: &FieldRules, what| {
            names(what, rules.removed().iter().map(http::HeaderName::as_str).collect())
        };
        [
            self.timeout.map(|time| format!("at most {time:?} of silence")),
            self.total.map(|time| format!("at most {time:?} for a response")),
            self.body_bytes.map(|bytes| format!("at most {bytes} bytes of body")),
            self.host.as_ref().map(|host| format!("asked for host {host}")),
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
    let seconds = text.parse().ok().filter(|seconds| (1..=3600).contains(seconds));
    let fault = || format!("{name} must be a whole number of seconds from 1 to 3600");
    seconds.map(Duration::from_secs).ok_or_else(fault)
}
