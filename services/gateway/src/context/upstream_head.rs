//! Serialization of the request head for the upstream.

use http::header::{EXPECT, HOST, HeaderValue, MAX_FORWARDS};

use crate::request::forwarded::ForwardedHeaders;
use crate::request::hop_by_hop::HopByHop;
use crate::request::name_matches;
use crate::request::parse::Head;
use crate::upstream::Origin;

use super::RequestContext;
use crate::message::head::field;

/// Capacity for the gateway's own fields, and for one field of the client.
const OWN_BYTES: usize = 448;
const FIELD_BYTES: usize = 48;

impl RequestContext {
    /// Serializes the request for the upstream: without connection-specific fields, and with the
    /// gateway's values in place of the client's claims.
    pub(super) fn request(
        &self,
        head: &Head,
        hop: &HopByHop,
        protocol: Option<&HeaderValue>,
    ) -> Vec<u8> {
        let sends_forwarded = self.gateway.config.forwarded;
        let version = self.version;
        let forwarded = ForwardedHeaders {
            client_info: &self.client_info,
            trace: &self.trace,
            requires_auth: self.requires_auth(),
            sends_forwarded,
            version,
        };
        let changes: Vec<_> = self.fill.iter().flat_map(|fill| fill.changes()).collect();
        let capacity = OWN_BYTES + head.fields.len() * FIELD_BYTES;
        let mut text = Vec::with_capacity(capacity + self.target.len());
        text.extend_from_slice(self.method.as_str().as_bytes());
        text.extend_from_slice(b" ");
        text.extend_from_slice(self.upstream_target.as_ref().unwrap_or(&self.target).as_bytes());
        // RFC 9110, section 2.5: the gateway sends its own version, regardless of the client's.
        text.extend_from_slice(b" HTTP/1.1\r\n");
        let attributes = self.attributes();
        let fixed_host = attributes.and_then(|attributes| attributes.host.as_deref());
        let rules = attributes.map(|attributes| &attributes.request);
        let rules = rules.filter(|rules| !rules.is_empty());
        if let Some(host) = fixed_host {
            field(&mut text, "host", host.as_bytes());
        } else if !head.fields.contains_key(HOST) {
            // An HTTP/1.0 request may lack Host, but an HTTP/1.1 upstream requires it.
            let target = self.route.as_ref().map(|route| route.pool.target());
            let origin = target.and_then(|target| target.origins.first());
            let host = origin.map_or_else(|| "localhost".to_owned(), Origin::authority);
            field(&mut text, "host", host.as_bytes());
        }
        for (name, value) in head.fields.iter() {
            if *name == HOST {
                // In the form of the cache key, so that one response is correct for all requests
                // with the key.
                if fixed_host.is_none() {
                    field(&mut text, "host", self.host.as_bytes());
                }
                continue;
            }
            let lower = name.as_str();
            // A member of the fleet may be on a host that the viewer does not trust.
            let is_credential = self.upstream_target.is_some()
                && (name_matches(lower, "authorization") || name_matches(lower, "cookie"));
            let dropped = is_credential
                || hop.removes(name)
                || (*name == MAX_FORWARDS && self.max_forwards.is_some())
                || forwarded.replace(name)
                || *name == EXPECT
                || rules.is_some_and(|rules| rules.covers(name))
                || name_matches(lower, "content-length")
                || name_matches(lower, "transfer-encoding")
                || changes.iter().any(|(own, _)| name_matches(lower, own.as_str()));
            if !dropped {
                field(&mut text, name.as_str(), value.as_bytes());
            }
        }
        for (name, value) in &changes {
            if let Some(value) = value {
                field(&mut text, name.as_str(), value.as_bytes());
            }
        }
        for (name, value) in rules.iter().flat_map(|rules| &rules.set) {
            field(&mut text, name.as_str(), value.as_bytes());
        }
        forwarded.each_field(|name, value| field(&mut text, name.as_str(), value));
        if let Some(left) = self.max_forwards {
            field(&mut text, MAX_FORWARDS.as_str(), left.to_string().as_bytes());
        }
        if let Some(protocol) = protocol {
            field(&mut text, "connection", b"upgrade");
            field(&mut text, "upgrade", protocol.as_bytes());
        }
        text
    }
}
