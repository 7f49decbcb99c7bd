//! Access checks: networks, hosts, rate limits, authentication, protocols.

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, HeaderValue, MAX_FORWARDS, UPGRADE, WWW_AUTHENTICATE};
use http::{Method, StatusCode, Version};
use http_semantics::negotiation::named;

use crate::BUILD;
use crate::fields::Fields;
use crate::message::problem::Problem;
use crate::request::client_info::Scheme;
use crate::request::parse::{Head, Length, METHODS};
use crate::request::rate_limit::{Permit, RateDecision};
use crate::routing::route::carries_requests;
use crate::state::Gateway;

use super::{FullResponse, RequestContext, text_of};

impl RequestContext {
    /// Responds to a health check of the gateway: the bare status for all clients, so that a load
    /// balancer needs no access, and details for clients that have access.
    pub(super) fn health(&mut self, ready: bool, details: bool) -> Result<FullResponse, Problem> {
        let (kind, body) = if ready {
            if let Some(why) = self.gateway.not_ready() {
                let detail = if details { why } else { "not ready".to_owned() };
                return Err(Problem::unavailable(detail));
            }
            ("text/plain; charset=utf-8", Bytes::from_static(b"ok\n"))
        } else if details {
            ("application/json", BUILD.health().into())
        } else {
            ("application/json", Bytes::from_static(b"{\"status\":\"ok\"}\n"))
        };
        Ok(self.reply(StatusCode::OK, &Fields::generated(kind), body))
    }

    /// Reason why this client, or any request for this host, is rejected.
    pub(super) fn check_access(&self) -> Option<Problem> {
        if self.gateway.config.tls.is_some() && self.connection_scheme == Scheme::Http {
            return Some(Problem::bad_request("this port expects TLS"));
        }
        if !self.gateway.config.access.admits(self.client_info.client) {
            let detail = "access denied for this address";
            return Some(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        // The upstream receives the host that a trusted proxy reports as well.
        let public = self.client_info.host.as_ref().filter(|_| self.gateway.config.trust.host);
        let public = public.map(|public| text_of(Some(public)));
        if !self.gateway.hosts.contains_all([&*self.host].into_iter().chain(public)) {
            // RFC 9110, section 15.5.20.
            let detail = "this host is not served here; GATEWAY_HOSTS names the hosts that are";
            return Some(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
        }
        None
    }

    /// Counts a request that is not rejected by the rate limit; returns whether it is within the
    /// limit.
    pub(super) fn is_within_rate(&self) -> bool {
        let Gateway { clients, config, .. } = &*self.gateway;
        !matches!(
            clients.check_rate(&config.bounds, self.client_info.client, self.begun),
            RateDecision::Over(_)
        )
    }

    /// Evaluates `Max-Forwards` (RFC 9110, section 7.6.2). Returns a response if the request must
    /// not be forwarded.
    pub(super) fn check_max_forwards(
        &mut self,
        head: &Head,
    ) -> Result<Option<FullResponse>, Problem> {
        let mut values = head.fields.get_all(MAX_FORWARDS);
        let Some(value) = values.next() else { return Ok(None) };
        let digits = value.as_bytes();
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        if !is_number || values.next().is_some() {
            let detail = "Max-Forwards is not a single number";
            return Err(Problem::bad_request(detail));
        }
        // Larger numbers are clamped.
        let number: u64 = text_of(Some(value)).parse().unwrap_or(u64::MAX);
        self.max_forwards = number.checked_sub(1);
        if self.max_forwards.is_some() {
            return Ok(None);
        }
        let mut fields = Fields::new();
        fields.insert(ALLOW, HeaderValue::from_static(METHODS));
        Ok(Some(self.reply(StatusCode::OK, &fields, Bytes::new())))
    }

    pub(super) fn check_rate(&mut self) -> Result<(), Problem> {
        let gateway = &self.gateway;
        match gateway.clients.check_rate(
            &gateway.config.bounds,
            self.client_info.client,
            self.begun,
        ) {
            RateDecision::Unbounded => Ok(()),
            RateDecision::Within(quota) => {
                self.quota = Some(quota);
                Ok(())
            }
            RateDecision::Over(quota) => {
                gateway.metrics.over_rate.add();
                self.quota = Some(quota);
                let detail = "rate limit exceeded";
                Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
                    .retry_after(quota.reset_seconds.max(1)))
            }
        }
    }

    pub(super) fn check_auth(
        &self,
        auth: &crate::request::auth::Auth,
        head: &Head,
    ) -> Result<(), Problem> {
        auth.check(&head.fields).map_err(|challenge| {
            self.gateway.metrics.denied.add();
            Problem::new(StatusCode::UNAUTHORIZED, "authentication required")
                .with(WWW_AUTHENTICATE, challenge)
        })
    }

    /// Permit for a long-lived connection; `None` if they are not limited. One that may exceed the
    /// limit counts for the others.
    pub(crate) fn stream_permit(&self, may_exceed: bool) -> Result<Option<Permit>, Problem> {
        let gateway = &self.gateway;
        let bounds = &gateway.config.bounds;
        if bounds.streams == 0 {
            return Ok(None);
        }
        let client = self.client_info.client;
        let permit = gateway.clients.stream(bounds, client, self.begun, may_exceed);
        if permit.is_none() {
            gateway.metrics.over_streams.add();
            let detail = "this client has too many streams open";
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(1));
        }
        Ok(permit)
    }
}

/// Protocol of an upgrade request, if it is one. An upgrade of HTTP itself is ignored (RFC 9110,
/// section 7.8): Java's client offers `h2c` with each request in plaintext, Apache's offers TLS.
pub(super) fn upgrade_of(head: &Head) -> Result<Option<HeaderValue>, Problem> {
    // With HTTP/1.0, the field has no meaning.
    let is_http11 = head.version == Version::HTTP_11;
    let is_offer = |protocols: &&HeaderValue| {
        let mut names = protocols.to_str().unwrap_or_default().split(',');
        is_http11 && !names.all(|name| carries_requests(name.trim()))
    };
    let mut protocols = head.fields.get_all(UPGRADE).filter(is_offer);
    let Some(protocol) = protocols.next() else { return Ok(None) };
    let has_upgrade_option = head.fields.lists(CONNECTION, "upgrade");
    // Servers disagree whether a body precedes the new protocol or is its beginning.
    let has_body = head.length != Length::Known(0);
    if protocols.next().is_some() || !has_upgrade_option || head.method != Method::GET || has_body {
        let detail = "the upgrade request is incomplete or has a body";
        return Err(Problem::bad_request(detail));
    }
    Ok(Some(protocol.clone()))
}

/// Whether the client accepts an event stream, which may be endless.
pub(super) fn is_event_stream(method: &Method, accept: Option<&HeaderValue>) -> bool {
    *method == Method::GET && named([text_of(accept)], "text/event-stream") > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_streams_are_requested_by_accept() {
        let is_requested = |method: &Method, accept: &'static str| {
            is_event_stream(method, Some(&HeaderValue::from_static(accept)))
        };
        assert!(is_requested(&Method::GET, "text/event-stream"));
        assert!(is_requested(&Method::GET, "application/json, Text/Event-Stream;q=0.5"));
        assert!(!is_requested(&Method::POST, "text/event-stream"));
        assert!(!is_requested(&Method::GET, "*/*"));
        assert!(!is_requested(&Method::GET, "text/event-stream;q=0"));
        assert!(!is_event_stream(&Method::GET, None));
    }
}
