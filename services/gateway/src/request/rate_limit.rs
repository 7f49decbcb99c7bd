//! Per-client limits: open connections, concurrent HTTP/2 requests, open event streams, and requests
//! per second.
//!
//! A client is an IPv4 address or an IPv6 /64, which is the smallest allocation of a customer.
//! Memory is bounded for any behavior of clients: an entry is removed, without loss, as soon as the
//! client has nothing open and its allowance is full again, and the number of entries is limited.
//!
//! **If the table is full of active clients**, further clients share an overflow bucket (one per
//! shard): together they get the limits of one client. No client is unlimited, and no client in the
//! table loses anything. A client without open connections is active until its requests are
//! replenished, so at most (total requests per second) / (requests per second of a client) are
//! active: at 40,000 per second in total and one per client, that is fewer than the default of
//! 65,536 entries.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use http::HeaderValue;

use super::cidr::Networks;
use super::client_info::Client;
use super::value;
use crate::digits;
use crate::identity_map::IdentityMap;
use crate::lock::{Aligned, lock};

/// Default number of entries: 4 MB if the table is full, and almost nothing if it is not.
pub(crate) const MAX_CLIENTS: usize = 65_536;

/// Shards of the table with a lock each, so that threads rarely contend.
const SHARDS: usize = 64;

/// Smaller tables have one shard: otherwise the shards would be too small to fill evenly.
const SMALLEST_SHARDED: usize = 64 * SHARDS;

/// Minimum number of entries before a shard is swept for idle clients.
const MIN_SWEEP: usize = 32;

/// Minimum time between two sweeps of a full shard in nanoseconds: a sweep takes some microseconds.
const SWEEP_PAUSE: u64 = 1_000_000;

const SECOND: u64 = 1_000_000_000;

/// Limits of one client; 0 means unlimited.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bounds {
    /// Concurrent connections.
    pub(crate) connections: u32,
    /// Request rate.
    pub(crate) requests: Rate,
    /// Concurrent event streams.
    pub(crate) streams: u32,
    /// Exempt clients: health checks of a load balancer, and, for connections, the load balancer
    /// itself.
    pub(crate) exempt: Networks,
}

/// Sustained requests per second, with a burst.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rate {
    /// Sustained rate; 0 means unlimited.
    pub(crate) per_second: u32,
    /// Burst; 0 means 1.
    pub(crate) burst: u32,
}

impl Rate {
    /// Parses `50` or `50 burst 200`; the default burst is the rate of two seconds. `0` disables
    /// the limit.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let number = |text| digits::number(text).filter(|&number: &u32| number <= 1_000_000);
        let mut words = text.split_ascii_whitespace();
        let per_second = number(words.next()?)?;
        let burst = match (words.next(), words.next(), words.next()) {
            (None, ..) => 2 * per_second,
            (Some("burst"), Some(burst), None) if per_second > 0 => number(burst)?,
            _ => return None,
        };
        (burst > 0 || per_second == 0).then_some(Self { per_second, burst })
    }

    /// Time to replenish one request, and the whole burst.
    fn nanoseconds(self) -> (u64, u64) {
        let interval = SECOND.div_ceil(self.per_second.max(1).into());
        (interval, interval * u64::from(self.burst.max(1)))
    }
}

/// Remaining quota of a client.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quota {
    /// Burst.
    pub(crate) limit: u32,
    /// Seconds in which the burst is replenished.
    pub(crate) window_seconds: u64,
    /// Requests that are allowed now.
    pub(crate) remaining: u32,
    /// Seconds until one more request is allowed; after a rejection, the value of `Retry-After`.
    pub(crate) reset_seconds: u64,
}

impl Quota {
    /// Values of `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10). `t`
    /// is the time until more requests are allowed, which equals `Retry-After`.
    pub(crate) fn fields(&self) -> (HeaderValue, HeaderValue) {
        let Self { limit, window_seconds, remaining, reset_seconds } = self;
        (
            value(format!("\"client\";q={limit};w={window_seconds}")),
            value(format!("\"client\";r={remaining};t={reset_seconds}")),
        )
    }
}

/// Decision about one more request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum RateDecision {
    /// No limit applies.
    Unbounded,
    /// Allowed.
    Within(Quota),
    /// Rejected with 429.
    Over(Quota),
}

/// Client table. Clones refer to the same table, which lives as long as the process, while
/// [`Bounds`] may change from one call to the next.
#[derive(Clone, Debug)]
pub(crate) struct ClientTable(Arc<Table>);

#[derive(Debug)]
struct Table {
    shards: Vec<Aligned<Mutex<Part>>>,
    /// Maximum entries of each shard.
    most: usize,
    /// Secret, so that clients cannot provoke collisions.
    hasher: RandomState,
    begun: Instant,
    /// Number of requests that used the overflow bucket.
    overflow: AtomicU64,
}

#[derive(Debug, Default)]
struct Part {
    clients: IdentityMap<Entry>,
    /// Overflow bucket.
    overflow_bucket: Entry,
    /// Number of entries at which idle ones are removed before another is added. It scales with the
    /// number of active clients, so that memory depends on those, and not on all clients ever seen.
    sweep_at: usize,
    /// Until then, all entries are known to be active.
    full_until: u64,
}

/// State of a client. Times are nanoseconds since the table was created.
#[derive(Debug, Default)]
struct Entry {
    /// Time at which all requests are replenished: the theoretical arrival time of the generic cell
    /// rate algorithm.
    arrival_time: u64,
    connections: u32,
    requests: u32,
    streams: u32,
}

/// Kind of a permit.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Connection,
    Request,
    Stream,
}

impl ClientTable {
    /// Creates a table with this maximum number of entries.
    pub(crate) fn new(max_clients: usize, now: Instant) -> Self {
        let shards = if max_clients < SMALLEST_SHARDED { 1 } else { SHARDS };
        Self(Arc::new(Table {
            shards: (0..shards).map(|_| Aligned::default()).collect(),
            most: (max_clients / shards).max(1),
            hasher: RandomState::new(),
            begun: now,
            overflow: AtomicU64::new(0),
        }))
    }

    /// Permit for a connection of this peer; `None` at the limit.
    pub(crate) fn connect(&self, bounds: &Bounds, peer: IpAddr, now: Instant) -> Option<Permit> {
        let client = Client::Known(peer);
        self.permit(Kind::Connection, bounds.connections, bounds, client, now, false)
    }

    /// Permit for a concurrent HTTP/2 request of this peer; `None` at the limit, which is that of
    /// connections and at least `least`.
    pub(crate) fn request(
        &self,
        bounds: &Bounds,
        least: u32,
        peer: IpAddr,
        now: Instant,
    ) -> Option<Permit> {
        let most = bounds.connections.max(least);
        self.permit(Kind::Request, most, bounds, Client::Known(peer), now, false)
    }

    /// Permit for an event stream; `None` at the limit, unless the stream may exceed it.
    pub(crate) fn stream(
        &self,
        bounds: &Bounds,
        client: Client,
        now: Instant,
        may_exceed: bool,
    ) -> Option<Permit> {
        self.permit(Kind::Stream, bounds.streams, bounds, client, now, may_exceed)
    }

    /// Counts a request, unless it exceeds the limit: rejected requests cost nothing, so a client
    /// that continues to send still gets its rate.
    pub(crate) fn check_rate(&self, bounds: &Bounds, client: Client, now: Instant) -> RateDecision {
        let rate = bounds.requests;
        if rate.per_second == 0 || bounds.exempts(client) {
            return RateDecision::Unbounded;
        }
        let (interval, capacity) = rate.nanoseconds();
        let now = self.0.nanoseconds(now);
        let key = self.0.key(client);
        let mut part = self.0.part(key);
        let entry = self.0.entry(&mut part, key, now).0;
        let owed = entry.arrival_time.saturating_sub(now);
        let within = owed.saturating_add(interval) <= capacity;
        let owed = if within { owed + interval } else { owed };
        if within {
            entry.arrival_time = now.saturating_add(owed);
        }
        drop(part);
        let remaining = capacity.saturating_sub(owed) / interval;
        // One more request is replenished within a second; only a client that consumed a larger
        // burst, before the limit was lowered, waits longer.
        let wait = owed.saturating_add(interval).saturating_sub(capacity);
        let quota = Quota {
            limit: rate.burst.max(1),
            window_seconds: capacity.div_ceil(SECOND),
            // At most the burst.
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            reset_seconds: wait.div_ceil(SECOND).max(1),
        };
        if within { RateDecision::Within(quota) } else { RateDecision::Over(quota) }
    }

    /// Current number of entries. Takes every lock once: for metrics.
    pub(crate) fn tracked_clients(&self) -> usize {
        self.0.shards.iter().map(|shard| lock(&shard.0).clients.len()).sum()
    }

    /// Number of requests that used the overflow bucket because the table was full.
    pub(crate) fn overflow(&self) -> u64 {
        self.0.overflow.load(Ordering::Relaxed)
    }

    fn permit(
        &self,
        kind: Kind,
        most: u32,
        bounds: &Bounds,
        client: Client,
        now: Instant,
        may_exceed: bool,
    ) -> Option<Permit> {
        if most == 0 || bounds.exempts(client) {
            return Some(Permit::unlimited());
        }
        let key = self.0.key(client);
        let mut part = self.0.part(key);
        let (entry, is_own_entry) = self.0.entry(&mut part, key, self.0.nanoseconds(now));
        let open = entry.open(kind);
        if *open >= most && !may_exceed {
            return None;
        }
        *open += 1;
        Some(Permit {
            _guard: Some(PermitGuard { table: self.0.clone(), kind, key, is_own_entry }),
        })
    }
}

impl Bounds {
    /// A client that a proxy hides is distinct from the proxy, and not exempt with it.
    fn exempts(&self, client: Client) -> bool {
        matches!(client, Client::Known(address) if self.exempt.contains(address))
    }
}

impl Table {
    fn nanoseconds(&self, now: Instant) -> u64 {
        // Sufficient for 584 years.
        u64::try_from(now.saturating_duration_since(self.begun).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Keyed hash of the client. Two clients collide with a probability of 2^-64.
    fn key(&self, client: Client) -> u64 {
        self.hasher.hash_one(network_of(client.address()))
    }

    fn part(&self, key: u64) -> MutexGuard<'_, Part> {
        // The map of a shard uses the lowest and the highest bits. There is at least one shard, and
        // a remainder is less than the divisor.
        let index = (key >> 32) as usize % self.shards.len();
        lock(&self.shards[index].0)
    }

    /// The client's entry or the overflow bucket; true if it is the client's own.
    fn entry<'a>(&self, part: &'a mut Part, key: u64, now: u64) -> (&'a mut Entry, bool) {
        if !part.clients.contains_key(&key) && !part.has_room(self.most, now) {
            self.overflow.fetch_add(1, Ordering::Relaxed);
            return (&mut part.overflow_bucket, false);
        }
        (part.clients.entry(key).or_default(), true)
    }
}

impl Part {
    /// Whether another entry fits; removes idle ones if necessary.
    fn has_room(&mut self, most: usize, now: u64) -> bool {
        if self.clients.len() < self.sweep_at.max(MIN_SWEEP).min(most) {
            return true;
        }
        if self.clients.len() >= most && now < self.full_until {
            return false;
        }
        let mut soonest = u64::MAX;
        self.clients.retain(|_, entry| {
            let idle = entry.is_idle(now);
            if !idle && !entry.has_open() {
                soonest = soonest.min(entry.arrival_time);
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
            Kind::Request => &mut self.requests,
            Kind::Stream => &mut self.streams,
        }
    }

    fn has_open(&self) -> bool {
        self.connections > 0 || self.requests > 0 || self.streams > 0
    }

    /// Whether its removal changes no decision.
    fn is_idle(&self, now: u64) -> bool {
        !self.has_open() && self.arrival_time <= now
    }
}

/// Permit of a client; released on drop.
#[derive(Debug)]
#[must_use = "the place is free again when this is dropped"]
pub(crate) struct Permit {
    _guard: Option<PermitGuard>,
}

impl Permit {
    /// A permit that no limit counts.
    pub(crate) const fn unlimited() -> Self {
        Self { _guard: None }
    }
}

#[derive(Debug)]
struct PermitGuard {
    table: Arc<Table>,
    kind: Kind,
    key: u64,
    /// Counted in the client's entry, not in the overflow bucket.
    is_own_entry: bool,
}

impl Drop for PermitGuard {
    fn drop(&mut self) {
        let mut part = self.table.part(self.key);
        let part = &mut *part;
        if !self.is_own_entry {
            let open = part.overflow_bucket.open(self.kind);
            *open = open.saturating_sub(1);
            return;
        }
        let Some(entry) = part.clients.get_mut(&self.key) else { return };
        let open = entry.open(self.kind);
        *open = open.saturating_sub(1);
        if entry.has_open() {
            return;
        }
        if entry.arrival_time == 0 {
            part.clients.remove(&self.key);
        }
        // Another sweep may find this idle entry.
        part.full_until = 0;
    }
}

/// Normalized client: the /64 of an IPv6 address, or an IPv4 address, also in its IPv4-mapped or
/// translated form (RFC 6052, and RFC 8215 with a prefix of 96 bits): a translator has the same /64
/// for all its clients. With a shorter prefix, the last bits are zero, and no client has 0.0.x.x.
fn network_of(address: IpAddr) -> IpAddr {
    let IpAddr::V6(address) = address.to_canonical() else { return address.to_canonical() };
    let is_translated = match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => true,
        [0x64, 0xff9b, 1, .., high, _] => high > 0,
        _ => false,
    };
    if is_translated {
        let [.., a, b, c, d] = address.octets();
        return [a, b, c, d].into();
    }
    Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
}

#[cfg(test)]
mod tests;
