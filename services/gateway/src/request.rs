//! A request before it is forwarded: the strict parser, the identity of the client, and the
//! policies. Policies are values in, values out: no socket, no clock and nothing of Pingora's.
//!
//! In the order in which a request meets them: [`rate_limit`] gives its connection a permit,
//! [`parse`] reads the head, [`trusted_proxies`] finds the client, [`hop_by_hop`] removes the fields
//! of one connection, [`cidr`] and [`hosts`] restrict access, [`auth`] authenticates,
//! [`trace_context`] finds the trace. [`forwarded`] informs the upstream.

pub(crate) mod auth;
pub(crate) mod authority;
pub(crate) mod cidr;
pub(crate) mod claims;
pub(crate) mod client_info;
pub(crate) mod field_rules;
pub(crate) mod forwarded;
pub(crate) mod hop_by_hop;
pub(crate) mod identifier;
pub(crate) mod parse;
pub(crate) mod rate_limit;
pub(crate) mod trace_context;
mod trace_state;
pub(crate) mod trusted_proxies;

use std::fmt;

use http::HeaderValue;

/// Everything that is wrong with a setting's value, a clause for each.
#[derive(Debug, PartialEq)]
pub(crate) struct Faults(pub(crate) Vec<String>);

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for Faults {}

/// A field's value from text that the gateway composed of visible ASCII, which cannot fail.
pub(crate) fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Whether a field's name (in lower case) begins so. Programs that get their fields as environment
/// variables (RFC 3875, section 4.1.18) cannot tell an underscore from a hyphen, so what is done to
/// `x-forwarded-for` is done to `x_forwarded_for`.
pub(crate) fn begins(name: &str, beginning: &str) -> bool {
    name.len() >= beginning.len()
        && name
            .bytes()
            .zip(beginning.bytes())
            .all(|(byte, wanted)| byte == wanted || (byte == b'_' && wanted == b'-'))
}

/// Whether this is the field's name, hyphens and underscores alike.
pub(crate) fn is(name: &str, wanted: &str) -> bool {
    name.len() == wanted.len() && begins(name, wanted)
}
