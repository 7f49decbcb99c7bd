//! How much one client may have: open connections, open event streams, requests per second.
//!
//! A client is an IPv4 address or an IPv6 /64, which is what one customer gets at least. Whatever
//! clients do, memory is bounded: a client is forgotten, without loss, as soon as it has nothing
//! open and its allowance is whole again, and at most so many are remembered at once.
//!
//! **When there is no room for a newcomer** because all that are remembered are active, newcomers
//! share one allowance (in each of the table's parts): together they get what one client gets.
//! No client is without limits, and no client that is remembered loses anything. A client that has
//! nothing open is active for as long as its requests take to be earned back, so no more than
//! (requests per second in all) / (requests per second of a client) are: at 40,000 a second in all
//! and one per client that is fewer than the 65,536 that are remembered by default.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::HeaderValue;

use super::cidr::Networks;
use super::client_info::Client;
use super::value;

/// Clients remembered at once by default: 3 MB when the table is full, and next to
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
    /// active, so that the memory is theirs, and not that of all that ever came.
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

    /// Whether forgetting it changes no decision.
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
mod tests;
