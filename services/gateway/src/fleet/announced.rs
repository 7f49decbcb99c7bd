//! Members that announce themselves. Pure: addresses and times are parameters.
//!
//! An address stays a member for [`ANNOUNCEMENT_TIME`] after its last announcement. The time of
//! that announcement is stored for as long as its signature could be valid, and only a newer one has
//! an effect: this prevents replay of a captured request, before and after a withdrawal.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::merge::MAX_MEMBERS;
use crate::request::cidr::Networks;

/// Time that a member is kept: three announcements, so that two may be lost.
pub(crate) const ANNOUNCEMENT_TIME: Duration = Duration::from_secs(30);

/// Maximum clock skew between a member and the gateway in seconds.
pub(crate) const MAX_SKEW_SECONDS: u64 = 60;

/// Time after which no signature of an earlier announcement is valid: its clock may have been
/// ahead.
const REPLAY_WINDOW: Duration = Duration::from_secs(2 * MAX_SKEW_SECONDS);

/// Maximum stored addresses, including former members.
const MAX_ANNOUNCED: usize = 2 * MAX_MEMBERS;

/// Reason for rejecting an announcement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Refusal {
    /// It is not newer than the last one of this address, which it would revoke.
    Old,
    /// The maximum number of members is reached.
    Full,
}

/// Effect of an announcement or withdrawal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    /// The address is a new member.
    New,
    /// The membership is unchanged.
    Renewed,
    /// The address is no longer a member.
    Withdrawn,
}

/// Announced addresses.
#[derive(Debug, Default)]
pub(super) struct Announced(HashMap<SocketAddr, Entry>);

#[derive(Debug)]
struct Entry {
    /// Time of the last signature, in seconds since 1970.
    created: u64,
    received: Instant,
    is_member: bool,
}

impl Entry {
    fn is_current(&self, now: Instant) -> bool {
        self.is_member && now.duration_since(self.received) < ANNOUNCEMENT_TIME
    }
}

impl Announced {
    /// Processes an announcement or a withdrawal that was signed at `created`.
    pub(super) fn update(
        &mut self,
        address: SocketAddr,
        is_member: bool,
        created: u64,
        now: Instant,
    ) -> Result<Change, Refusal> {
        self.0.retain(|_, entry| now.duration_since(entry.received) < REPLAY_WINDOW);
        let before = self.0.get(&address);
        let was_member = before.is_some_and(|entry| entry.is_current(now));
        if before.is_some_and(|entry| created <= entry.created) {
            // Times are in seconds: a retry, or the same announcement to a second address of the
            // gateway, has the time of the first one. It must not prolong the membership, because a
            // captured request looks the same.
            return if is_member == was_member { Ok(Change::Renewed) } else { Err(Refusal::Old) };
        }
        if is_member
            && !was_member
            && (self.addresses(now).count() >= MAX_MEMBERS
                || (before.is_none() && self.0.len() >= MAX_ANNOUNCED))
        {
            return Err(Refusal::Full);
        }
        if is_member || before.is_some() {
            self.0.insert(address, Entry { created, received: now, is_member });
        }
        Ok(match (is_member, was_member) {
            (false, true) => Change::Withdrawn,
            (false, false) | (true, true) => Change::Renewed,
            (true, false) => Change::New,
        })
    }

    /// Whole seconds for which the address stays a member.
    pub(super) fn kept_seconds(&self, address: SocketAddr, now: Instant) -> u64 {
        let entry = self.0.get(&address).filter(|entry| entry.is_current(now));
        let age = entry.map(|entry| now.duration_since(entry.received).as_secs());
        age.map_or(0, |age| ANNOUNCEMENT_TIME.as_secs().saturating_sub(age))
    }

    /// Current members.
    pub(super) fn addresses(&self, now: Instant) -> impl Iterator<Item = SocketAddr> + '_ {
        self.0.iter().filter(move |(_, entry)| entry.is_current(now)).map(|(address, _)| *address)
    }
}

/// Whether this client may announce an address: its own, or one in the allowed networks. The
/// gateway connects to announced addresses, so this limits server-side request forgery.
///
/// # Errors
/// Returns the reason for the rejection.
pub(crate) fn check(
    address: SocketAddr,
    client: Option<IpAddr>,
    allow: &Networks,
) -> Result<(), &'static str> {
    let ip = address.ip();
    if address.port() == 0 || !is_host(ip) {
        return Err("the announced address is not one of a host: link-local, multicast, metadata \
                    and unspecified addresses are not accepted");
    }
    if client.map(|it| it.to_canonical()) != Some(ip) && !allow.contains(ip) {
        return Err("the announced address is neither that of the client nor in \
                    GATEWAY_ANNOUNCE_ALLOW");
    }
    Ok(())
}

/// Whether a host can have this address. Link-local addresses and metadata services are excluded,
/// because they may serve credentials.
fn is_host(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            !ip.is_unspecified()
                && !ip.is_link_local()
                && !ip.is_multicast()
                && !ip.is_broadcast()
                && ip.octets()[0] != 0
                // Alibaba Cloud's metadata service.
                && ip != Ipv4Addr::new(100, 100, 100, 200)
        }
        IpAddr::V6(ip) => {
            let segments = ip.segments();
            // Addresses that embed an IPv4 address (RFC 6052, RFC 8215, RFC 5214, RFC 3056, RFC
            // 4291).
            let inner = match segments {
                [0x64, 0xff9b, .., high, low]
                | [.., 0x5efe, high, low]
                | [0, 0, 0, 0, 0, 0, high, low]
                | [0x2002, high, low, ..] => Some([high, low]),
                _ => None,
            };
            let inner = inner
                .filter(|_| !ip.is_loopback())
                .map(|[high, low]| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
            !ip.is_unspecified()
                && !ip.is_multicast()
                && !ip.is_unicast_link_local()
                // AWS: instance metadata, task metadata, name server and time service.
                && segments[..3] != [0xfd00, 0x0ec2, 0]
                // Google Cloud's metadata server.
                && ip != Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)
                && inner.is_none_or(|inner| is_host(inner.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: usize) -> SocketAddr {
        let number = u16::try_from(number).unwrap();
        let [high, low] = number.to_be_bytes();
        ([10, 0, high, low], 8080).into()
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_member_is_kept_for_thirty_seconds_after_its_last_announcement() {
        let (mut announced, start) = (Announced::default(), Instant::now());
        let count = |announced: &Announced, at| announced.addresses(start + seconds(at)).count();
        assert_eq!(announced.update(address(1), true, 100, start), Ok(Change::New));
        assert_eq!(
            announced.update(address(1), true, 110, start + seconds(10)),
            Ok(Change::Renewed)
        );
        assert_eq!((count(&announced, 39), count(&announced, 40)), (1, 0));
        let later = announced.update(address(1), true, 150, start + seconds(50));
        assert_eq!(later, Ok(Change::New));
    }

    #[test]
    fn a_repeated_announcement_is_accepted_and_prolongs_nothing() {
        let (mut announced, start) = (Announced::default(), Instant::now());
        assert_eq!(announced.update(address(1), true, 100, start), Ok(Change::New));
        for created in [100, 99, 0] {
            let at = start + seconds(29);
            assert_eq!(announced.update(address(1), true, created, at), Ok(Change::Renewed));
            assert_eq!(announced.kept_seconds(address(1), at), 1);
        }
        assert_eq!(announced.kept_seconds(address(1), start), 30);
        assert_eq!(announced.kept_seconds(address(2), start), 0);
        let later = start + seconds(30);
        assert_eq!(announced.addresses(later).count(), 0);
        assert_eq!(announced.kept_seconds(address(1), later), 0);
        assert_eq!(announced.update(address(1), true, 100, later), Err(Refusal::Old));
        assert_eq!(announced.update(address(1), true, 130, later), Ok(Change::New));
        for expected in [Change::Withdrawn, Change::Renewed] {
            assert_eq!(announced.update(address(1), false, 131, later), Ok(expected));
        }
    }

    #[test]
    fn replays_that_would_change_a_member_are_rejected() {
        let (mut announced, start) = (Announced::default(), Instant::now());
        assert_eq!(announced.update(address(1), true, 100, start), Ok(Change::New));
        for created in [100, 99, 0] {
            assert_eq!(announced.update(address(1), false, created, start), Err(Refusal::Old));
        }
        // Another address has its own times.
        assert_eq!(announced.update(address(2), true, 50, start), Ok(Change::New));
        assert_eq!(announced.update(address(1), false, 101, start), Ok(Change::Withdrawn));
        assert_eq!(announced.addresses(start).collect::<Vec<_>>(), [address(2)]);
        // Until no signature of that time is valid.
        let soon = start + seconds(119);
        assert_eq!(announced.update(address(1), true, 101, soon), Err(Refusal::Old));
        assert_eq!(announced.update(address(1), true, 102, soon), Ok(Change::New));
        // A withdrawal of an unknown address is not stored.
        assert_eq!(announced.update(address(3), false, 1, start), Ok(Change::Renewed));
        assert!(!announced.0.contains_key(&address(3)));
    }

    #[test]
    fn members_and_stored_addresses_are_limited() {
        let (mut announced, mut now) = (Announced::default(), Instant::now());
        let mut accepted = 0;
        for number in 0..2_000 {
            match announced.update(address(number), true, 1, now) {
                Ok(_) => accepted += 1,
                Err(refusal) => assert_eq!(refusal, Refusal::Full),
            }
        }
        assert_eq!(accepted, MAX_MEMBERS);
        // A known member can be renewed.
        assert_eq!(announced.update(address(1), true, 2, now), Ok(Change::Renewed));
        for number in 0..3_000 {
            // The same with withdrawals in between.
            let _ = announced.update(address(number), true, 10, now);
            let _ = announced.update(address(number), false, 11, now);
        }
        assert_eq!(announced.0.len(), MAX_ANNOUNCED);
        now += REPLAY_WINDOW;
        assert_eq!(announced.update(address(5_000), true, 1, now), Ok(Change::New));
        assert_eq!(announced.0.len(), 1);
    }

    #[test]
    fn only_the_client_itself_and_allowed_networks_can_be_announced() {
        let allow = Networks::parse("10.9.0.0/16, fd12::/16").unwrap();
        let check = |address: &str, client: &str| {
            check(address.parse().unwrap(), client.parse().ok(), &allow).is_ok()
        };
        for (address, client) in [
            ("192.0.2.1:8080", "192.0.2.1"),
            ("192.0.2.1:8080", "::ffff:192.0.2.1"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("[::1]:1", "::1"),
            ("[2001:db8::1]:8080", "2001:db8::1"),
            ("10.9.3.4:80", "192.0.2.1"),
            ("[fd12::1]:80", "192.0.2.1"),
        ] {
            assert!(check(address, client), "{address} {client}");
        }
        for (address, client) in [
            ("192.0.2.2:8080", "192.0.2.1"),
            ("127.0.0.1:8080", "192.0.2.1"),
            ("192.0.2.1:8080", "unknown"),
            ("10.10.0.1:80", "10.9.0.1"),
            ("192.0.2.1:0", "192.0.2.1"),
        ] {
            assert!(!check(address, client), "{address} {client}");
        }
    }

    #[test]
    fn an_address_that_is_not_a_host_is_rejected_even_if_allowed() {
        let all = Networks::parse("0.0.0.0/0, ::/0").unwrap();
        for ip in [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "2001:db8::5efe:a9fe:a9fe",
            "2002:a9fe:a9fe::",
            "::169.254.169.254",
        ] {
            let ip: IpAddr = ip.parse().unwrap();
            assert!(check(SocketAddr::new(ip, 80), Some(ip), &all).is_err(), "{ip}");
        }
    }
}
