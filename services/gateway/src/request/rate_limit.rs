//! How much one client may have: open connections, open event streams, requests per second.
//!
//! A client is an IPv4 address or an IPv6 /64, which is what one customer gets at least. Whatever
//! clients do, memory is bounded: a client is forgotten, without loss, as soon as it has nothing
//! open and its allowance is whole again, and at most so many are remembered at once.
//!
//! **When there is no room for a newcomer** because all that are remembered are active, newcomers
//! share one allowance (in each of the table's parts): together they get what one client gets.
//! No client is without limits, and no client that is remembered loses anything. A client that has nothing
//! open is active for as long as its requests take to be earned back, so no more than (requests per
//! second in all) / (requests per second of a client) are: at 40,000 a second in all and one per
//! client that is fewer than the 65,536 that are remembered by default.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::HeaderValue;

use super::cidr::Networks;
use super::trusted_proxies::Client;
use super::value;

/// Clients remembered at once unless told otherwise: 3 MB when the table is full, and next to
/// nothing while it is not.
pub(crate) const REMEMBERED: usize = 65_536;

/// Parts of the table, each with a lock of its own, so that threads seldom meet.
const SHARDS: usize = 64;

/// With fewer clients than this a table has one part: the parts would be too small to be even.
const SMALLEST_SHARDED: usize = 64 * SHARDS;

/// A part is not searched for idle clients before it has so many.
const WORTH_SWEEPING: usize = 32;

/// A full part is searched for idle clients at most this often, in nanoseconds: a search takes some
/// microseconds.
const SWEEP_PAUSE: u64 = 1_000_000;

const SECOND: u64 = 1_000_000_000;

/// What one client may have; 0 means that it is not bounded.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bounds {
    /// Connections at once.
    pub(crate) connections: u32,
    /// Requests.
    pub(crate) requests: Rate,
    /// Event streams at once.
    pub(crate) streams: u32,
    /// Who is not bounded: health checks of a load balancer, and, for its connections, the load
    /// balancer itself.
    pub(crate) exempt: Networks,
}

/// So many requests a second in the long run, and so many at once after a pause.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rate {
    /// In the long run; 0 means any number.
    pub(crate) per_second: u32,
    /// At once; taken for 1 if 0.
    pub(crate) burst: u32,
}

impl Rate {
    /// Reads `50` or `50 burst 200`; without a burst it is what two seconds give. `0` is off.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = if plain { text.parse::<u32>().ok() } else { None };
            number.filter(|&number| number <= 1_000_000)
        };
        let mut words = text.split_ascii_whitespace();
        let per_second = number(words.next()?)?;
        let burst = match (words.next(), words.next(), words.next()) {
            (None, ..) => 2 * per_second,
            (Some("burst"), Some(burst), None) if per_second > 0 => number(burst)?,
            _ => return None,
        };
        (burst > 0 || per_second == 0).then_some(Self { per_second, burst })
    }

    /// How long one request takes to be earned back, and all of them.
    fn nanoseconds(self) -> (u64, u64) {
        let one = SECOND.div_ceil(self.per_second.max(1).into());
        (one, one * u64::from(self.burst.max(1)))
    }
}

/// What is left to a client.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quota {
    /// Requests at once after a pause.
    pub(crate) limit: u32,
    /// Seconds in which they come back.
    pub(crate) window_seconds: u64,
    /// Requests that may come now.
    pub(crate) remaining: u32,
    /// Seconds until there is one more. After a refusal that is the value of `Retry-After`.
    pub(crate) reset_seconds: u64,
}

impl Quota {
    /// The values of the fields `RateLimit-Policy` and `RateLimit`
    /// (draft-ietf-httpapi-ratelimit-headers-10). `t` is the time until there is more, which is the
    /// same moment as that of `Retry-After`.
    pub(crate) fn fields(&self) -> (HeaderValue, HeaderValue) {
        let Self { limit, window_seconds, remaining, reset_seconds } = self;
        (
            value(format!("\"client\";q={limit};w={window_seconds}")),
            value(format!("\"client\";r={remaining};t={reset_seconds}")),
        )
    }
}

/// The answer to one more request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum RateDecision {
    /// Nothing is counted.
    Unbounded,
    /// It may come.
    Within(Quota),
    /// It may not: 429.
    Over(Quota),
}

/// The clients that are remembered. Cheap to clone; the same for the whole life of the process,
/// while [`Bounds`] may change from one call to the next.
#[derive(Clone, Debug)]
pub(crate) struct ClientTable(Arc<Table>);

#[derive(Debug)]
struct Table {
    shards: Vec<Shard>,
    /// Clients that each part may remember.
    most: usize,
    /// Secret, so that a client cannot choose addresses that collide.
    keys: RandomState,
    begun: Instant,
    /// Times that a newcomer found no room.
    crowded: AtomicU64,
}

/// On cache lines of its own, so that a lock does not slow its neighbour.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Part>);

#[derive(Debug, Default)]
struct Part {
    clients: HashMap<u64, Entry, BuildHasherDefault<AlreadyHashed>>,
    /// What newcomers have together when there is no room for them.
    newcomers: Entry,
    /// With so many clients, look for idle ones before another is added. Grows with those that are
    /// active, so that the memory is theirs, and not that of everybody who ever came.
    sweep_at: usize,
    /// Full of active clients until then.
    full_until: u64,
}

/// What is known of a client. Times are nanoseconds since the table was made.
#[derive(Debug, Default)]
struct Entry {
    /// When all its requests will be earned back: the theoretical arrival time of the generic cell
    /// rate algorithm.
    owes_until: u64,
    connections: u32,
    streams: u32,
}

/// What a place is for.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Connection,
    Stream,
}

impl ClientTable {
    /// A table that remembers at most so many.
    pub(crate) fn new(remembered: usize, now: Instant) -> Self {
        let shards = if remembered < SMALLEST_SHARDED { 1 } else { SHARDS };
        Self(Arc::new(Table {
            shards: (0..shards).map(|_| Shard::default()).collect(),
            most: (remembered / shards).max(1),
            keys: RandomState::new(),
            begun: now,
            crowded: AtomicU64::new(0),
        }))
    }

    /// A place for a connection of this peer; `None` when it has too many.
    pub(crate) fn connect(&self, bounds: &Bounds, peer: IpAddr, now: Instant) -> Option<Permit> {
        self.permit(Kind::Connection, bounds.connections, bounds, Client::Known(peer), now)
    }

    /// A place for an event stream; `None` when the client has too many.
    pub(crate) fn stream(&self, bounds: &Bounds, client: Client, now: Instant) -> Option<Permit> {
        self.permit(Kind::Stream, bounds.streams, bounds, client, now)
    }

    /// Counts one more request, unless it is one too many: refused requests cost nothing, so a
    /// client that goes on asking gets its rate all the same.
    pub(crate) fn ask(&self, bounds: &Bounds, client: Client, now: Instant) -> RateDecision {
        let rate = bounds.requests;
        if rate.per_second == 0 || bounds.exempts(client) {
            return RateDecision::Unbounded;
        }
        let (one, all) = rate.nanoseconds();
        let now = self.0.nanoseconds(now);
        let who = self.0.hashed(client);
        let mut part = self.0.part(who);
        let entry = self.0.entry(&mut part, who, now).0;
        let owed = entry.owes_until.saturating_sub(now);
        let within = owed.saturating_add(one) <= all;
        let owed = if within { owed + one } else { owed };
        if within {
            entry.owes_until = now.saturating_add(owed);
        }
        drop(part);
        let remaining = all.saturating_sub(owed) / one;
        // One more request is earned in at most a second, so that only a client that owes from the
        // time of a greater bound waits for longer.
        let more = owed.saturating_add(one).saturating_sub(all);
        let quota = Quota {
            limit: rate.burst.max(1),
            window_seconds: all.div_ceil(SECOND),
            // At most the burst.
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            reset_seconds: more.div_ceil(SECOND).max(1),
        };
        if within { RateDecision::Within(quota) } else { RateDecision::Over(quota) }
    }

    /// Clients that are remembered now. Takes every lock once: for metrics.
    pub(crate) fn remembered(&self) -> usize {
        self.0.shards.iter().map(|shard| shard.lock().clients.len()).sum()
    }

    /// Times that a newcomer had to share with others because there was no room.
    pub(crate) fn crowded(&self) -> u64 {
        self.0.crowded.load(Ordering::Relaxed)
    }

    fn permit(
        &self,
        kind: Kind,
        most: u32,
        bounds: &Bounds,
        client: Client,
        now: Instant,
    ) -> Option<Permit> {
        if most == 0 || bounds.exempts(client) {
            return Some(Permit { _taken: None });
        }
        let who = self.0.hashed(client);
        let mut part = self.0.part(who);
        let (entry, own) = self.0.entry(&mut part, who, self.0.nanoseconds(now));
        let open = entry.open(kind);
        if *open >= most {
            return None;
        }
        *open += 1;
        Some(Permit { _taken: Some(Taken { table: self.0.clone(), kind, who, own }) })
    }
}

impl Bounds {
    /// A client that a proxy keeps to itself is not the proxy, and not exempt with it.
    fn exempts(&self, client: Client) -> bool {
        matches!(client, Client::Known(address) if self.exempt.contains(address))
    }
}

impl Table {
    fn nanoseconds(&self, now: Instant) -> u64 {
        // Enough for 584 years.
        u64::try_from(now.saturating_duration_since(self.begun).as_nanos()).unwrap_or(u64::MAX)
    }

    /// The client under the secret keys. Two clients meet in one number once in 2^64.
    fn hashed(&self, client: Client) -> u64 {
        self.keys.hash_one(network_of(client.address()))
    }

    fn part(&self, who: u64) -> MutexGuard<'_, Part> {
        // The map of a part uses the lowest and the highest bits. There is at least one part, and a
        // remainder is less than the divisor.
        let index = (who >> 32) as usize % self.shards.len();
        self.shards[index].lock()
    }

    /// The client's entry, and whether it is its own.
    fn entry<'a>(&self, part: &'a mut Part, who: u64, now: u64) -> (&'a mut Entry, bool) {
        if !part.clients.contains_key(&who) && !part.has_room(self.most, now) {
            self.crowded.fetch_add(1, Ordering::Relaxed);
            return (&mut part.newcomers, false);
        }
        (part.clients.entry(who).or_default(), true)
    }
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Part> {
        // Nothing that is done under the lock can be half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    /// Whether one more client can be remembered; forgets idle ones if that helps.
    fn has_room(&mut self, most: usize, now: u64) -> bool {
        if self.clients.len() < self.sweep_at.max(WORTH_SWEEPING).min(most) {
            return true;
        }
        if self.clients.len() >= most && now < self.full_until {
            return false;
        }
        let mut soonest = u64::MAX;
        self.clients.retain(|_, entry| {
            let idle = entry.is_idle(now);
            if !idle && !entry.has_open() {
                soonest = soonest.min(entry.owes_until);
            }
            !idle
        });
        self.full_until = soonest.max(now.saturating_add(SWEEP_PAUSE));
        self.sweep_at = 2 * self.clients.len();
        self.clients.shrink_to(self.sweep_at);
        self.clients.len() < most
    }
}

impl Entry {
    fn open(&mut self, kind: Kind) -> &mut u32 {
        match kind {
            Kind::Connection => &mut self.connections,
            Kind::Stream => &mut self.streams,
        }
    }

    fn has_open(&self) -> bool {
        self.connections > 0 || self.streams > 0
    }

    /// Nobody would notice if it were forgotten.
    fn is_idle(&self, now: u64) -> bool {
        !self.has_open() && self.owes_until <= now
    }
}

/// A client's place; it is free again when this is dropped.
#[derive(Debug)]
#[must_use = "the place is free again when this is dropped"]
pub(crate) struct Permit {
    _taken: Option<Taken>,
}

#[derive(Debug)]
struct Taken {
    table: Arc<Table>,
    kind: Kind,
    who: u64,
    /// Counted with the client, and not with the newcomers.
    own: bool,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut part = self.table.part(self.who);
        let part = &mut *part;
        if !self.own {
            let open = part.newcomers.open(self.kind);
            *open = open.saturating_sub(1);
            return;
        }
        let Some(entry) = part.clients.get_mut(&self.who) else { return };
        let open = entry.open(self.kind);
        *open = open.saturating_sub(1);
        if entry.has_open() {
            return;
        }
        if entry.owes_until == 0 {
            part.clients.remove(&self.who);
        }
        // Another search may find this one.
        part.full_until = 0;
    }
}

/// What counts as one client: the /64 of an IPv6 address, or an IPv4 address, in whichever shape an
/// IPv6 socket shows it: mapped, or translated (RFC 6052's well-known prefix).
fn network_of(address: IpAddr) -> IpAddr {
    let IpAddr::V6(address) = address.to_canonical() else { return address.to_canonical() };
    let bits = address.to_bits();
    if bits >> 32 == 0x64_ff9b << 64 {
        let [.., a, b, c, d] = address.octets();
        return [a, b, c, d].into();
    }
    Ipv6Addr::from_bits(bits & !u128::from(u64::MAX)).into()
}

/// The keys of a map are hashes already.
#[derive(Debug, Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn bounds(connections: u32, rate: &str, streams: u32) -> Bounds {
        let requests = Rate::parse(rate).unwrap();
        Bounds { connections, requests, streams, exempt: Networks::default() }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn client(number: u32) -> Client {
        Client::Known(IpAddr::V4(number.into()))
    }

    fn is_within(asked: RateDecision) -> bool {
        matches!(asked, RateDecision::Within(_))
    }

    fn quota(asked: RateDecision) -> Quota {
        match asked {
            RateDecision::Within(quota) | RateDecision::Over(quota) => quota,
            RateDecision::Unbounded => panic!("nothing was counted"),
        }
    }

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let start = Instant::now();
        let clients = ClientTable::new(REMEMBERED, start);
        let bounds = bounds(0, "10 burst 20", 0);
        let ask = |milliseconds| {
            clients.ask(&bounds, client(1), start + Duration::from_millis(milliseconds))
        };
        for remaining in (0..20).rev() {
            let asked = ask(0);
            assert!(is_within(asked));
            assert_eq!(quota(asked).remaining, remaining);
        }
        let over = Quota { limit: 20, window_seconds: 2, remaining: 0, reset_seconds: 1 };
        assert_eq!(ask(0), RateDecision::Over(over));
        assert_eq!(ask(99), RateDecision::Over(over));
        assert!(is_within(ask(100)));
        assert!(!is_within(ask(150)));
        // Refused requests have cost nothing.
        assert_eq!(quota(ask(2100)).remaining, 19);
    }

    #[test]
    fn clients_do_not_pay_for_one_another() {
        let start = Instant::now();
        let clients = ClientTable::new(REMEMBERED, start);
        let bounds = bounds(1, "1 burst 1", 1);
        let _place = clients.connect(&bounds, ip("192.0.2.1"), start).unwrap();
        assert!(clients.connect(&bounds, ip("192.0.2.1"), start).is_none());
        assert!(clients.connect(&bounds, ip("192.0.2.2"), start).is_some());
        assert!(is_within(clients.ask(&bounds, client(1), start)));
        assert!(!is_within(clients.ask(&bounds, client(1), start)));
        assert!(is_within(clients.ask(&bounds, client(2), start)));
    }

    #[test]
    fn one_client_has_one_allowance_in_whatever_shape_its_address_comes() {
        for (one, same) in [
            ("192.0.2.1", "::ffff:192.0.2.1"),
            ("192.0.2.1", "64:ff9b::192.0.2.1"),
            ("2001:db8::1", "2001:db8::ffff:1:2:3"),
        ] {
            assert_eq!(network_of(ip(one)), network_of(ip(same)), "{one} {same}");
        }
        for (one, other) in [
            ("192.0.2.1", "192.0.2.2"),
            ("2001:db8::1", "2001:db8:0:1::1"),
            ("64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2"),
            ("::1", "0.0.0.0"),
            ("2001:db8::1", "32.1.13.184"),
        ] {
            assert_ne!(network_of(ip(one)), network_of(ip(other)), "{one} {other}");
        }
    }

    #[test]
    fn a_place_is_free_again_when_it_is_dropped() {
        let start = Instant::now();
        let clients = ClientTable::new(REMEMBERED, start);
        let bounds = bounds(2, "0", 1);
        let (peer, who) = (ip("2001:db8::1"), Client::Known(ip("2001:db8::2")));
        let first = clients.connect(&bounds, peer, start).unwrap();
        let second = clients.connect(&bounds, peer, start).unwrap();
        let stream = clients.stream(&bounds, who, start).unwrap();
        assert!(clients.connect(&bounds, peer, start).is_none());
        assert!(clients.stream(&bounds, who, start).is_none());
        drop(first);
        let third = clients.connect(&bounds, peer, start).unwrap();
        drop((second, third));
        assert_eq!(clients.remembered(), 1);
        drop(stream);
        assert_eq!(clients.remembered(), 0, "nothing open and nothing owed");
    }

    #[test]
    fn a_place_survives_a_thread_that_panics() {
        let start = Instant::now();
        let clients = ClientTable::new(REMEMBERED, start);
        let bounds = bounds(1, "0", 0);
        let permit = clients.connect(&bounds, ip("::1"), start).unwrap();
        let other = std::thread::spawn(move || {
            let _place = permit;
            panic!("as tests do");
        });
        assert!(other.join().is_err());
        assert!(clients.connect(&bounds, ip("::1"), start).is_some());
    }

    #[test]
    fn what_is_off_counts_and_remembers_nothing() {
        let start = Instant::now();
        let clients = ClientTable::new(REMEMBERED, start);
        let off = Bounds::default();
        let places: Vec<_> =
            (0..100).map(|_| clients.connect(&off, ip("::1"), start).unwrap()).collect();
        assert!(clients.stream(&off, client(1), start).is_some());
        assert_eq!(clients.ask(&off, client(1), start), RateDecision::Unbounded);
        assert_eq!(clients.remembered(), 0);
        drop(places);
    }

    #[test]
    fn who_is_exempt_is_not_counted_but_whoever_hides_behind_it_is() {
        let start = Instant::now();
        let clients = ClientTable::new(REMEMBERED, start);
        let exempt = Networks::parse("10.0.0.0/8").unwrap();
        let bounds = Bounds { exempt, ..bounds(1, "1 burst 1", 1) };
        let balancer = ip("::ffff:10.0.0.1");
        let places = [(); 3].map(|()| clients.connect(&bounds, balancer, start).unwrap());
        for _ in 0..3 {
            assert_eq!(
                clients.ask(&bounds, Client::Known(balancer), start),
                RateDecision::Unbounded
            );
        }
        assert!(is_within(clients.ask(&bounds, Client::Behind(balancer), start)));
        assert!(!is_within(clients.ask(&bounds, Client::Behind(balancer), start)));
        drop(places);
    }

    #[test]
    fn idle_clients_are_forgotten_while_others_come() {
        let start = Instant::now();
        let clients = ClientTable::new(1000, start);
        let bounds = bounds(1, "1000 burst 1", 0);
        let _place = clients.connect(&bounds, ip("::1"), start).unwrap();
        for number in 0..100_000 {
            let now = start + Duration::from_millis(number.into());
            assert!(is_within(clients.ask(&bounds, client(number), now)));
            assert!(clients.remembered() <= WORTH_SWEEPING + 1);
        }
        assert_eq!(clients.crowded(), 0);
        assert!(clients.connect(&bounds, ip("::1"), start).is_none(), "it is open, so remembered");
    }

    #[test]
    fn newcomers_to_a_full_table_share_what_one_client_has() {
        let start = Instant::now();
        let clients = ClientTable::new(2, start);
        let bounds = bounds(1, "1 burst 10", 0);
        let ask = |number, seconds| {
            clients.ask(&bounds, client(number), start + Duration::from_secs(seconds))
        };
        for number in 0..2 {
            assert_eq!(quota(ask(number, 0)).remaining, 9);
        }
        for number in 2..12 {
            assert_eq!(quota(ask(number, 0)).remaining, 11 - number);
        }
        assert!(!is_within(ask(12, 0)));
        assert_eq!(quota(ask(1, 0)).remaining, 8, "who is remembered has what was its own");
        assert_eq!(clients.crowded(), 11);
        assert_eq!(clients.remembered(), 2);
        assert_eq!(quota(ask(13, 1)).remaining, 9, "the first is idle now, and gives its room");
        assert_eq!(clients.crowded(), 11);
    }

    #[test]
    fn newcomers_share_places_and_give_them_back() {
        let start = Instant::now();
        let clients = ClientTable::new(1, start);
        let bounds = bounds(1, "0", 0);
        let first = clients.connect(&bounds, ip("192.0.2.1"), start).unwrap();
        let shared = clients.connect(&bounds, ip("192.0.2.2"), start).unwrap();
        assert!(clients.connect(&bounds, ip("192.0.2.3"), start).is_none());
        drop(shared);
        let third = clients.connect(&bounds, ip("192.0.2.3"), start).unwrap();
        drop(first);
        let fourth = clients.connect(&bounds, ip("192.0.2.4"), start).unwrap();
        assert_eq!(clients.remembered(), 1, "room was made by the first");
        drop((third, fourth));
        assert_eq!(clients.remembered(), 0);
    }

    #[test]
    fn a_table_that_is_full_of_connections_has_room_as_soon_as_one_closes() {
        let start = Instant::now();
        let clients = ClientTable::new(2, start);
        let bounds = bounds(1, "1 burst 1", 0);
        let peers = [ip("192.0.2.1"), ip("192.0.2.2")];
        let [first, _second] = peers.map(|peer| clients.connect(&bounds, peer, start).unwrap());
        clients.ask(&bounds, Client::Known(peers[0]), start);
        clients.ask(&bounds, client(3), start);
        assert_eq!(clients.crowded(), 1);
        drop(first);
        clients.ask(&bounds, client(3), start + Duration::from_secs(1));
        assert_eq!(clients.crowded(), 1);
    }

    #[test]
    fn the_table_never_remembers_more_than_it_may() {
        let start = Instant::now();
        let clients = ClientTable::new(SMALLEST_SHARDED, start);
        let bounds = bounds(0, "1 burst 1", 0);
        for number in 0..100_000 {
            clients.ask(&bounds, client(number), start);
        }
        assert!(clients.remembered() <= SMALLEST_SHARDED);
        assert!(clients.remembered() > SMALLEST_SHARDED / 2);
    }

    #[test]
    fn bounds_may_change_while_requests_are_owed() {
        let start = Instant::now();
        let clients = ClientTable::new(REMEMBERED, start);
        let large = bounds(0, "1 burst 1000000", 0);
        for _ in 0..100 {
            clients.ask(&large, client(1), start);
        }
        let small = bounds(0, "1000000 burst 1", 0);
        let over = Quota { limit: 1, window_seconds: 1, remaining: 0, reset_seconds: 100 };
        assert_eq!(clients.ask(&small, client(1), start), RateDecision::Over(over));
        let extreme = Rate { per_second: u32::MAX, burst: u32::MAX };
        clients.ask(&Bounds { requests: extreme, ..small }, client(1), start);
        let slow = Rate { per_second: 1, burst: u32::MAX };
        clients.ask(&Bounds { requests: slow, ..large }, client(1), start);
    }

    #[test]
    fn the_fields_say_policy_and_state() {
        let quota = Quota { limit: 100, window_seconds: 2, remaining: 7, reset_seconds: 1 };
        let (policy, state) = quota.fields();
        assert_eq!(policy, "\"client\";q=100;w=2");
        assert_eq!(state, "\"client\";r=7;t=1");
    }

    #[test]
    fn a_rate_is_a_number_with_or_without_a_burst() {
        let rate = |per_second, burst| Some(Rate { per_second, burst });
        assert_eq!(Rate::parse("50"), rate(50, 100));
        assert_eq!(Rate::parse(" 50  burst 1 "), rate(50, 1));
        assert_eq!(Rate::parse("0"), rate(0, 0));
        for text in [
            "",
            "x",
            "-1",
            "+1",
            "1.5",
            "50 burst",
            "50 burst 0",
            "50 100",
            "0 burst 5",
            "50 burst 1 2",
            "1000001",
            "50/s",
        ] {
            assert_eq!(Rate::parse(text), None, "{text}");
        }
    }

    /// What a hundred nanoseconds look like: run with
    /// `cargo test --profile quick -p gateway limits -- --ignored --nocapture`.
    #[test]
    #[ignore = "a measurement, not a test"]
    #[expect(clippy::print_stderr, reason = "that is all it does")]
    fn measure_a_request() {
        let start = Instant::now();
        let clients = ClientTable::new(REMEMBERED, start);
        for (name, rate, many) in
            [("off", "0", 1), ("one client", "1000000", 1), ("10,000 clients", "1000000", 10_000)]
        {
            let bounds = bounds(0, rate, 0);
            let begun = Instant::now();
            for number in 0..1_000_000 {
                std::hint::black_box(clients.ask(&bounds, client(number % many), begun));
            }
            eprintln!("{name}: {} ns a request", begun.elapsed().as_nanos() / 1_000_000);
        }
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_rate(
            per_second in 1..200_u32,
            burst in 1..50_u32,
            pauses in proptest::collection::vec(0..50_000_000_u64, 1..300),
        ) {
            let start = Instant::now();
            let clients = ClientTable::new(10, start);
            let requests = Rate { per_second, burst };
            let bounds = Bounds { requests, ..Bounds::default() };
            let (mut elapsed, mut admitted) = (0, 0);
            for pause in pauses {
                elapsed += pause;
                let asked = clients.ask(&bounds, client(1), start + Duration::from_nanos(elapsed));
                admitted += u64::from(is_within(asked));
                let earned = elapsed * u64::from(per_second) / SECOND;
                prop_assert!(admitted <= u64::from(burst) + earned);
                prop_assert!(quota(asked).remaining < burst);
            }
        }

        #[test]
        fn whoever_waits_as_told_is_let_through(
            per_second in 1..2000_u32,
            burst in 1..50_u32,
            asks in 1..100,
        ) {
            let start = Instant::now();
            let clients = ClientTable::new(10, start);
            let bounds = Bounds { requests: Rate { per_second, burst }, ..Bounds::default() };
            let mut last = clients.ask(&bounds, client(1), start);
            for _ in 1..asks {
                let next = clients.ask(&bounds, client(1), start);
                prop_assert!(quota(next).remaining <= quota(last).remaining);
                last = next;
            }
            let then = start + Duration::from_secs(quota(last).reset_seconds);
            prop_assert!(is_within(clients.ask(&bounds, client(1), then)));
        }

        #[test]
        fn forgetting_changes_no_verdict(
            asks in proptest::collection::vec((0..200_u32, 0..3_000_000_u64), 1..1000),
        ) {
            let start = Instant::now();
            let bounds = bounds(0, "100 burst 3", 0);
            let together = ClientTable::new(200, start);
            let alone: Vec<_> = (0..200).map(|_| ClientTable::new(1, start)).collect();
            let mut elapsed = 0;
            for (number, pause) in asks {
                elapsed += pause;
                let now = start + Duration::from_nanos(elapsed);
                let verdict = together.ask(&bounds, client(number), now);
                prop_assert_eq!(verdict, alone[number as usize].ask(&bounds, client(number), now));
            }
            prop_assert_eq!(together.crowded(), 0);
        }

        #[test]
        fn places_are_never_more_than_the_bound_nor_lost(
            steps in proptest::collection::vec((0..5_u32, any::<bool>(), any::<bool>()), 1..300),
            remembered in 1..6_usize,
        ) {
            let start = Instant::now();
            let clients = ClientTable::new(remembered, start);
            let bounds = bounds(2, "0", 3);
            let mut open = Vec::new();
            for (number, takes, stream) in steps {
                if takes {
                    let permit = if stream {
                        clients.stream(&bounds, client(number), start)
                    } else {
                        clients.connect(&bounds, client(number).address(), start)
                    };
                    open.extend(permit.map(|permit| (number, stream, permit)));
                } else if let Some(at) = open.iter().position(|(whose, ..)| *whose == number) {
                    drop(open.remove(at));
                }
                for number in 0..5 {
                    let of = |wanted| open.iter().filter(|(whose, stream, _)| {
                        *whose == number && *stream == wanted
                    }).count();
                    // Its own and all of the newcomers'.
                    prop_assert!(of(false) <= 4 && of(true) <= 6);
                }
                prop_assert!(clients.remembered() <= remembered);
            }
            drop(open);
            prop_assert_eq!(clients.remembered(), 0);
            for number in 0..5 {
                prop_assert!(clients.stream(&bounds, client(number), start).is_some());
            }
        }
    }
}
