//! Request processing before forwarding: the strict parser, the identity of the client, and the
//! policies. Policies are pure functions: no sockets, no clocks, no types of Pingora.
//!
//! In the order of processing: [`rate_limit`] issues a permit for the connection, [`parse`] parses
//! the head, [`trusted_proxies`] identifies the client, [`hop_by_hop`] removes connection-specific
//! fields, [`cidr`] and [`http_semantics::hosts`] restrict access, [`auth`] authenticates, [`trace_context`]
//! continues the trace. [`forwarded`] adds fields for the upstream.

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
pub(crate) mod trace_state;
pub(crate) mod trusted_proxies;

use std::fmt;

use http::HeaderValue;

/// All faults of a setting's value, one clause each.
#[derive(Debug, PartialEq)]
pub(crate) struct Faults(pub(crate) Vec<String>);

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for Faults {}

/// A field value from text that the gateway generated from visible ASCII, which cannot fail.
pub(crate) fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Whether a field name (in lower case) begins with this prefix. Programs that receive fields as
/// environment variables (RFC 3875, section 4.1.18) cannot distinguish characters other than letters
/// and digits: `x_forwarded_for` and `x.forwarded.for` are treated like `x-forwarded-for`.
pub(crate) fn name_has_prefix(name: &str, prefix: &str) -> bool {
    name.len() >= prefix.len()
        && name
            .bytes()
            .zip(prefix.bytes())
            .all(|(byte, wanted)| byte == wanted || (is_odd(byte) && is_odd(wanted)))
}

/// Whether the field has this name, as far as such a program can tell.
pub(crate) fn name_matches(name: &str, wanted: &str) -> bool {
    name.len() == wanted.len() && name_has_prefix(name, wanted)
}

/// The character that stands for all that an environment variable does not distinguish.
pub(crate) fn folded(byte: u8) -> u8 {
    if is_odd(byte) { b'-' } else { byte }
}

fn is_odd(byte: u8) -> bool {
    !byte.is_ascii_alphanumeric()
}
