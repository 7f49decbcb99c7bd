//! Announcements: a fleet member registers its own address with a signed request.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, StatusCode};
use http_semantics::signature::{self, Invalid, Key};

use super::{Decision, RequestContext, split_target, text_of};
use crate::fields::Fields;
use crate::fleet::{self, ANNOUNCEMENT_TIME, Change, Fleet, MAX_SKEW_SECONDS, Refusal};
use crate::message::problem::Problem;
use crate::request::client_info::Client;
use crate::request::parse::{Head, Length};

/// RFC 9421, section 5.1.
const ACCEPT_SIGNATURE: HeaderName = HeaderName::from_static("accept-signature");

impl RequestContext {
    /// Handles `PUT` and `DELETE` of `/fleet/ADDRESS`. The signature replaces the authentication of
    /// the `/stats` route, which is for viewers.
    pub(super) fn decide_announcement(
        &mut self,
        fleet: &Fleet,
        keys: &[Key],
        id: &str,
        query: Option<&str>,
        head: &Head,
    ) -> Result<Decision, Problem> {
        let metrics = &self.gateway.metrics;
        let kept = self
            .announce(fleet, keys, id, query, head)
            .inspect(|_| metrics.announced.add())
            .inspect_err(|_| metrics.unannounced.add())?;
        let fields = Fields::generated("application/json");
        let body = Bytes::from(format!("{{\"kept_seconds\":{kept}}}\n"));
        Ok(Decision::Respond(self.reply(StatusCode::OK, &fields, body)))
    }

    /// Processes the announcement; returns the seconds for which the address stays a member.
    fn announce(
        &self,
        fleet: &Fleet,
        keys: &[Key],
        id: &str,
        query: Option<&str>,
        head: &Head,
    ) -> Result<u64, Problem> {
        if head.length != Length::Known(0) {
            return Err(Problem::too_large(0));
        }
        let address: Option<SocketAddr> = id.parse().ok();
        let address = address.filter(|_| query.is_none()).ok_or_else(|| {
            let detail = "expected an address and a port after /fleet/, such as 10.0.0.7:8080";
            Problem::bad_request(detail)
        })?;
        // The list stores canonical addresses without a zone.
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let created = self.signed_at(keys, head)?;
        let client = match self.client_info.client {
            Client::Known(client) => Some(client),
            Client::Behind(_) => None,
        };
        fleet::check(address, client, &self.gateway.config.announcing.allow)
            .map_err(|why| Problem::new(StatusCode::FORBIDDEN, why))?;
        let announced = fleet.announce(address, self.method == Method::PUT, created);
        let (change, kept) = announced.map_err(|refusal| match refusal {
            Refusal::Old => {
                unauthorized("the signature is not newer than the last one of this address")
            }
            Refusal::Full => {
                let detail = "too many announced fleet members";
                Problem::unavailable(detail).retry_after(ANNOUNCEMENT_TIME.as_secs())
            }
        })?;
        match change {
            Change::New => tracing::info!(%address, "fleet member announced"),
            Change::Withdrawn => tracing::info!(%address, "fleet member withdrawn"),
            Change::Renewed => {}
        }
        Ok(kept)
    }

    /// Time at which the request was signed; rejects signatures that are not recent.
    fn signed_at(&self, keys: &[Key], head: &Head) -> Result<u64, Problem> {
        // Of several fields, the signer may have meant any.
        let only = |name: &str| text_of(head.fields.only(name));
        let (input, code) = (only(signature::INPUT), only(signature::SIGNATURE));
        // The signature covers the target as it was sent.
        let target = String::from_utf8_lossy(&head.target);
        let (path, _) = split_target(&target);
        let created = signature::verify(keys, self.method.as_str(), path, input, code);
        let created = created.map_err(|why| {
            unauthorized(match why {
                Invalid::Form => "the request has no signature of the accepted form",
                Invalid::Wrong => "the signature is wrong",
            })
        })?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let skew = now.abs_diff(created);
        if skew > MAX_SKEW_SECONDS {
            let direction = if created > now { "ahead of" } else { "behind" };
            return Err(unauthorized(format!(
                "the signature is {skew} seconds {direction} the clock of the gateway; at most \
                 {MAX_SKEW_SECONDS} are accepted"
            )));
        }
        Ok(created)
    }
}

fn unauthorized(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, detail)
        .with(WWW_AUTHENTICATE, HeaderValue::from_static("Signature realm=\"fleet\""))
        .with(ACCEPT_SIGNATURE, HeaderValue::from_static(signature::ACCEPTED))
}
