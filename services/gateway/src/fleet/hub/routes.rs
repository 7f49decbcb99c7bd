//! Routes to single members, and the hosts of those that the setting lists.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ptr;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::super::merge::{LISTING_TIME, MAX_MEMBERS};
use crate::routing::table::Route;
use crate::upstream::PoolSettings;

/// Routes to members, and hosts of listed members.
#[derive(Default)]
pub(super) struct Routes {
    members: HashMap<SocketAddr, MemberRoute>,
    /// The setting's name for each address: a member may serve this host only.
    hosts: HashMap<SocketAddr, Host>,
}

/// Host of an address.
struct Host {
    name: String,
    /// Place of the name in the setting.
    place: usize,
    /// Time of the last lookup of the name that returned the address.
    listed: Instant,
}

/// Route to a single member.
struct MemberRoute {
    route: Arc<Route>,
    is_own: bool,
    host: Option<String>,
    /// Route that provides the policies. After a reload, its pool must end.
    policies: Weak<Route>,
}

impl Routes {
    /// Records the addresses of a name. Of several names with the same address, the first in the
    /// setting is its host: otherwise it would change with each lookup.
    pub(super) fn list(
        &mut self,
        addresses: &[SocketAddr],
        name: &str,
        place: usize,
        now: Instant,
    ) {
        if self.hosts.len() > 2 * MAX_MEMBERS {
            // The next lookups of the other names add theirs again.
            self.hosts.clear();
        }
        self.hosts.retain(|address, host| {
            host.place != place
                || addresses.contains(address)
                || now.duration_since(host.listed) < LISTING_TIME
        });
        for address in addresses {
            // A name whose lookups fail does not keep its addresses.
            let is_free = |host: &Host| {
                place <= host.place || now.duration_since(host.listed) >= LISTING_TIME
            };
            if self.hosts.get(address).is_none_or(is_free) {
                let host = Host { name: name.to_owned(), place, listed: now };
                self.hosts.insert(*address, host);
            }
        }
    }

    /// Host of a listed address.
    pub(super) fn host(&self, address: SocketAddr) -> Option<String> {
        self.hosts.get(&address).map(|host| host.name.clone())
    }

    /// Route to this address, with the policies of another route.
    pub(super) fn member(
        &mut self,
        address: SocketAddr,
        is_own: bool,
        policies: &Arc<Route>,
        settings: &PoolSettings,
    ) -> Arc<Route> {
        let host = self.host(address);
        if let Some(known) = self.members.get(&address)
            && ptr::eq(known.policies.as_ptr(), Arc::as_ptr(policies))
            && known.is_own == is_own
            && known.host == host
        {
            return known.route.clone();
        }
        if self.members.len() >= MAX_MEMBERS {
            self.members.clear();
        }
        let route = Arc::new(policies.for_member(address, is_own, host.clone(), settings));
        let policies = Arc::downgrade(policies);
        let member = MemberRoute { route: route.clone(), is_own, host, policies };
        self.members.insert(address, member);
        route
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::routing::route::parse;
    use crate::routing::table::{AuthenticatedRoute, RouteTable};

    fn address() -> SocketAddr {
        ([10, 0, 0, 7], 8080).into()
    }

    fn table(settings: &PoolSettings) -> RouteTable {
        let line = parse("/stats 10.0.0.7:8080 check=/healthz").unwrap().remove(0);
        let route = AuthenticatedRoute { line, auth: None, tls: None };
        RouteTable::start(&[route], settings, &RouteTable::default())
    }

    #[tokio::test]
    async fn a_route_to_a_member_does_not_keep_the_pool_of_a_route_before_a_reload() {
        let settings = PoolSettings::default();
        let table = table(&settings);
        let policies = table.route("/stats").unwrap().clone();
        drop(table);
        let mut routes = Routes::default();
        let route = routes.member(address(), true, &policies, &settings);
        assert!(Arc::ptr_eq(&route, &routes.member(address(), true, &policies, &settings)));
        assert_eq!(Arc::strong_count(&policies), 1);
    }

    #[tokio::test]
    async fn a_listed_member_has_the_host_of_the_setting() {
        let settings = PoolSettings::default();
        let table = table(&settings);
        let policies = table.route("/stats").unwrap();
        let mut routes = Routes::default();
        let host = |routes: &mut Routes| {
            routes.member(address(), false, policies, &settings).attributes.host.clone()
        };
        assert_eq!(host(&mut routes), None);
        let now = Instant::now();
        routes.list(&[address()], "edge-1:3050", 0, now);
        assert_eq!(host(&mut routes).as_deref(), Some("edge-1:3050"));
        for port in 1..=5_000 {
            routes.list(&[SocketAddr::from(([10, 1, 0, 1], port))], "other", 1, now);
        }
        assert!(routes.hosts.len() <= 2 * MAX_MEMBERS + 1);
    }

    #[test]
    fn the_first_of_several_names_of_an_address_is_its_host() {
        let (mut routes, start) = (Routes::default(), Instant::now());
        let mut list = |name: &str, place: usize, addresses: &[SocketAddr], after: Duration| {
            routes.list(addresses, name, place, start + after);
            routes.host(address())
        };
        let soon = LISTING_TIME / 2;
        for (name, place, addresses, after, expected) in [
            // The order of the lookups does not matter.
            ("second", 1, &[address()][..], Duration::ZERO, "second"),
            ("first", 0, &[address()], Duration::ZERO, "first"),
            ("second", 1, &[address()], soon, "first"),
            // A name server may return a part of the addresses.
            ("first", 0, &[], soon, "first"),
            ("second", 1, &[address()], soon, "first"),
        ] {
            assert_eq!(list(name, place, addresses, after).as_deref(), Some(expected));
        }
        // The address belongs to the other name now.
        assert_eq!(list("first", 0, &[], LISTING_TIME), None);
        assert_eq!(list("second", 1, &[address()], LISTING_TIME).as_deref(), Some("second"));
        // The lookups of the second name fail.
        let later = LISTING_TIME + soon;
        assert_eq!(list("third", 2, &[address()], later).as_deref(), Some("second"));
        let later = LISTING_TIME * 2;
        assert_eq!(list("third", 2, &[address()], later).as_deref(), Some("third"));
    }
}
