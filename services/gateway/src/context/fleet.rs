//! Requests for the fleet: the list of members, the merged stream, and single members.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};

use super::authorize::upgrade_of;
use super::{Decision, RequestContext, checked_route};
use crate::cache::Codings;
use crate::fields::Fields;
use crate::fleet::{Fleet, Found, MAX_LEVELS, Name};
use crate::message::problem::Problem;
use crate::request::forwarded::gateways;
use crate::request::hop_by_hop::HopByHop;
use crate::request::parse::Head;

/// The only accessible paths of a member; the policies of this route apply to the fleet.
const MEMBER_PATH: &str = "/stats";

/// A path of the fleet.
#[derive(Debug, PartialEq)]
pub(super) enum FleetPath {
    /// The list of members.
    List,
    /// The merged stream.
    Stream,
    /// A path below [`MEMBER_PATH`] of the member with this instance or name.
    Member { id: String, path: String },
    /// A member itself, for announcements: its address.
    Entry { id: String },
    /// Any other path below `/fleet`.
    Unknown,
}

impl FleetPath {
    /// Parses a plain path; `None` if it is not below `/fleet`.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("/fleet")?;
        let Some(rest) = rest.strip_prefix('/') else {
            return rest.is_empty().then_some(Self::List);
        };
        if rest == "stream" {
            return Some(Self::Stream);
        }
        let Some((id, path)) = rest.find('/').map(|slash| rest.split_at(slash)) else {
            return Some(match rest {
                "" => Self::Unknown,
                id => Self::Entry { id: unescaped(id) },
            });
        };
        let below = path.strip_prefix(MEMBER_PATH);
        if id.is_empty() || !below.is_some_and(|it| it.is_empty() || it.starts_with('/')) {
            return Some(Self::Unknown);
        }
        Some(Self::Member { id: unescaped(id), path: path.to_owned() })
    }
}

/// Escapes brackets, which are not allowed in a path (RFC 3986, section 3.3).
fn escaped(name: &str) -> String {
    name.replace('[', "%5B").replace(']', "%5D")
}

/// Decodes escaped characters of an address.
fn unescaped(id: &str) -> String {
    let id = id.replace("%3A", ":").replace("%3a", ":");
    let id = id.replace("%5B", "[").replace("%5b", "[");
    id.replace("%5D", "]").replace("%5d", "]")
}

impl RequestContext {
    /// Decides about a request for the fleet. The policies of the `/stats` route apply.
    pub(super) async fn decide_fleet(
        &mut self,
        path: &FleetPath,
        query: Option<&str>,
        head: &Head,
        hop: &HopByHop,
    ) -> Result<Decision, Problem> {
        let gateway = self.gateway.clone();
        let Some(fleet) = &gateway.fleet else { return Err(Problem::not_found()) };
        if let FleetPath::Entry { id } = path
            && [Method::PUT, Method::DELETE].contains(&self.method)
        {
            let keys = gateway.announce_keys();
            if !keys.is_empty() {
                return self.decide_announcement(fleet, &keys, id, query, head);
            }
        }
        let rules = gateway.rules();
        let member_path = match path {
            FleetPath::Member { path, .. } => path,
            _ => MEMBER_PATH,
        };
        let route = checked_route(&rules, member_path)?;
        self.route = Some(route.clone());
        if let Some(auth) = route.auth.clone() {
            self.check_auth(&auth, head)?;
        }
        let is_read = [Method::GET, Method::HEAD].contains(&self.method);
        match path {
            FleetPath::Unknown | FleetPath::Entry { .. } => Err(Problem::not_found()),
            FleetPath::List if !is_read => Err(Problem::method_not_allowed("GET, HEAD")),
            FleetPath::List => {
                let fields = Fields::generated("application/json");
                let body = Bytes::from(fleet.list(&gateway.routes).await);
                Ok(Decision::Respond(self.reply(StatusCode::OK, &fields, body)))
            }
            FleetPath::Stream if self.method != Method::GET => {
                Err(Problem::method_not_allowed("GET"))
            }
            FleetPath::Stream => {
                let permit = self.stream_permit(false)?;
                let is_gzip = Codings::of(&head.fields).accepts_gzip();
                let parents = gateways(&head.fields, MAX_LEVELS);
                let viewer =
                    fleet.subscribe(&gateway.routes, is_gzip, parents).ok_or_else(|| {
                        Problem::unavailable("too many viewers of the fleet").retry_after(5)
                    })?;
                Ok(Decision::Stream(viewer, permit))
            }
            FleetPath::Member { id, path } => {
                let name = self.member_route(fleet, id).await?;
                self.target = match query {
                    Some(query) => format!("/fleet/{id}{path}?{query}"),
                    None => format!("/fleet/{id}{path}"),
                };
                let path = match &name.below {
                    Some(below) => format!("/fleet/{}{path}", escaped(below)),
                    None => path.clone(),
                };
                self.upstream_target = Some(match query {
                    Some(query) => format!("{path}?{query}"),
                    None => path,
                });
                let upgrade = upgrade_of(head)?;
                self.forward(head, hop, upgrade).await
            }
        }
    }

    /// Sets the route to the member with this instance or name, or to its gateway.
    async fn member_route(&mut self, fleet: &Arc<Fleet>, id: &str) -> Result<Name, Problem> {
        match fleet.find(&self.gateway.routes, id).await {
            Found::Member(name, lister) => {
                let route = self.route.as_ref();
                self.route = route.map(|route| fleet.route(name.address, lister, route));
                Ok(name)
            }
            Found::Gone => Err(Problem::unavailable("this fleet member is gone")),
            Found::Unknown => Err(Problem::new(StatusCode::NOT_FOUND, "no such fleet member")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_stats_lead_to_members() {
        let member = |id: &str, path: &str| {
            Some(FleetPath::Member { id: id.to_owned(), path: path.to_owned() })
        };
        for (path, expected) in [
            ("/fleet", Some(FleetPath::List)),
            ("/fleet/stream", Some(FleetPath::Stream)),
            ("/fleet/a/stats", member("a", "/stats")),
            ("/fleet/10.0.0.7:8080/stats/stream", member("10.0.0.7:8080", "/stats/stream")),
            ("/fleet/10.0.0.7%3A8080/stats", member("10.0.0.7:8080", "/stats")),
            ("/fleet/%5B::1%5D:80/stats", member("[::1]:80", "/stats")),
            ("/fleet/", Some(FleetPath::Unknown)),
            ("/fleet/a", Some(FleetPath::Entry { id: "a".to_owned() })),
            ("/fleet/%5b::1%5d%3A80", Some(FleetPath::Entry { id: "[::1]:80".to_owned() })),
            ("/fleet/a/metrics", Some(FleetPath::Unknown)),
            ("/fleet/a/statsx", Some(FleetPath::Unknown)),
            ("/fleet/a/x/stats", Some(FleetPath::Unknown)),
            ("/fleet/stream/", Some(FleetPath::Unknown)),
            ("/fleets", None),
            ("/", None),
        ] {
            assert_eq!(FleetPath::parse(path), expected, "{path}");
        }
    }
}
