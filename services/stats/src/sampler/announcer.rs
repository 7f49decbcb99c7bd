//! Announcements of this instance to gateways, in one task per gateway, so that neither the sampler
//! nor a request waits. Every address of a gateway's name receives the announcements, because
//! gateways do not share them.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_semantics::signature::{INPUT, Key, SIGNATURE, Signed};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::endpoint::{Endpoint, ExchangeError};
use super::http::ResponseError;
use super::schedule::Schedule;
use crate::snapshot::Snapshot;

/// Interval between announcements. Together with a [`TICK`] it is at most ten seconds; gateways
/// keep a member for thirty. A failure does not delay the next one longer, so that a restarted
/// gateway receives its members within that time.
const INTERVAL: Duration = Duration::from_secs(9);

/// Maximum random reduction of the interval, so that instances that started together do not stay
/// synchronized.
const MAX_JITTER_MS: u64 = 1_000;

/// Interval between checks for due announcements.
const TICK: Duration = Duration::from_secs(1);

/// Timeout of one announcement or lookup.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// Timeout of a withdrawal, shorter because the process is about to exit.
const WITHDRAWAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum number of addresses per name.
const MAX_ADDRESSES: usize = 16;

/// Maximum time in seconds that a signature may be ahead of the clock, to be newer than the
/// previous one. Gateways accept a difference of 60 s, to both sides of their own clock.
const MAX_AHEAD_SECONDS: u64 = 120;

/// Content of the announcements, and the gateways that receive them.
#[derive(Clone, Debug)]
pub(crate) struct Announcing {
    pub(crate) gateways: Vec<Endpoint>,
    /// Key shared with the gateways.
    pub(crate) key: Key,
    /// Advertised IP address, if it is neither the listener's nor the connection's.
    pub(crate) ip: Option<IpAddr>,
    /// Advertised port, if it is not the listener's.
    pub(crate) port: Option<u16>,
}

/// Announcement counters.
#[derive(Debug, Default)]
pub(crate) struct Announcements {
    sent: AtomicU64,
    failed: AtomicU64,
}

impl Announcements {
    /// Numbers of accepted and failed announcements.
    pub(crate) fn counts(&self) -> [u64; 2] {
        [&self.sent, &self.failed].map(|count| count.load(Ordering::Relaxed))
    }
}

/// Announces from the first sample until sampling ends, and then withdraws. The tasks end after the
/// withdrawal.
pub(crate) fn announce(
    announcing: Announcing,
    listen: SocketAddr,
    counts: &Arc<Announcements>,
    newest: &watch::Receiver<Option<Arc<Snapshot>>>,
) -> JoinSet<()> {
    let announcing = Arc::new(announcing);
    let mut tasks = JoinSet::new();
    for endpoint in &announcing.gateways {
        let announcer = Announcer {
            endpoint: Arc::new(endpoint.clone()),
            announcing: announcing.clone(),
            listen,
            counts: counts.clone(),
            lookup: Schedule::default(),
            targets: HashMap::new(),
        };
        tasks.spawn(announcer.run(newest.clone()));
    }
    tasks
}

struct Announcer {
    endpoint: Arc<Endpoint>,
    announcing: Arc<Announcing>,
    listen: SocketAddr,
    counts: Arc<Announcements>,
    lookup: Schedule,
    targets: HashMap<SocketAddr, Target>,
}

/// State of one gateway address.
#[derive(Default)]
struct Target {
    schedule: Schedule,
    /// Time of the last accepted signature.
    accepted: u64,
    is_listed: bool,
}

impl Announcer {
    async fn run(mut self, mut newest: watch::Receiver<Option<Arc<Snapshot>>>) {
        loop {
            if let Ok(Err(_)) = timeout(TICK, newest.changed()).await {
                break;
            }
            if newest.borrow_and_update().is_some() {
                self.resolve().await;
                self.send("PUT", REQUEST_TIMEOUT).await;
            }
        }
        self.send("DELETE", WITHDRAWAL_TIMEOUT).await;
    }

    async fn resolve(&mut self) {
        if !self.lookup.is_due() {
            return;
        }
        match self.endpoint.addresses(REQUEST_TIMEOUT).await {
            Ok(addresses) => {
                self.lookup.succeeded(interval());
                if self.lookup.log.has_ended() {
                    tracing::info!(gateway = %self.endpoint, "the gateway's name resolves again");
                }
                for target in self.targets.values_mut() {
                    target.is_listed = false;
                }
                for address in addresses.into_iter().take(MAX_ADDRESSES) {
                    self.targets.entry(address).or_default().is_listed = true;
                }
                // A name server may return only a part of the addresses.
                self.targets.retain(|_, target| target.is_listed || target.schedule.failures == 0);
            }
            Err(error) => {
                self.lookup.failed(INTERVAL);
                if self.lookup.log.is_due() {
                    tracing::warn!(gateway = %self.endpoint, %error, "cannot find the gateway");
                }
            }
        }
    }

    /// Sends announcements that are due, or withdrawals to gateways that accepted an announcement.
    async fn send(&mut self, method: &'static str, bound: Duration) {
        let is_end = method == "DELETE";
        let mut requests = JoinSet::new();
        for (&to, target) in &self.targets {
            let is_due = if is_end { target.accepted > 0 } else { target.schedule.is_due() };
            if !is_due {
                continue;
            }
            let (endpoint, announcing) = (self.endpoint.clone(), self.announcing.clone());
            let (listen, created) = (self.listen, next_time(unix_seconds(), target.accepted));
            requests.spawn(async move {
                let head = |local| announcing.request(method, local, listen, created);
                (to, created, endpoint.send(to, bound, head).await)
            });
        }
        while let Some(result) = requests.join_next().await {
            let Ok((to, created, result)) = result else { continue };
            if !is_end {
                self.record(to, created, result.map(drop));
            }
        }
    }

    fn record(&mut self, address: SocketAddr, created: u64, result: Result<(), ExchangeError>) {
        let Some(target) = self.targets.get_mut(&address) else { return };
        let gateway = &self.endpoint;
        match result {
            Ok(()) => {
                self.counts.sent.fetch_add(1, Ordering::Relaxed);
                target.schedule.succeeded(interval());
                if target.schedule.log.has_ended() {
                    tracing::info!(%gateway, %address, "the gateway accepts announcements again");
                } else if target.accepted == 0 {
                    tracing::info!(%gateway, %address, "announced to the gateway");
                }
                target.accepted = created;
            }
            Err(error) => {
                self.counts.failed.fetch_add(1, Ordering::Relaxed);
                target.schedule.failed(INTERVAL);
                if target.schedule.log.is_due() {
                    let hint = hint(&error);
                    tracing::warn!(%gateway, %address, %error, hint, "cannot announce this instance");
                }
            }
        }
    }
}

/// The interval with its random reduction.
fn interval() -> Duration {
    let random = RandomState::new().build_hasher().finish() % MAX_JITTER_MS;
    INTERVAL.saturating_sub(Duration::from_millis(random))
}

impl Announcing {
    /// Method, path and fields of a request; `local` is the local address of the connection.
    fn request(
        &self,
        method: &'static str,
        local: SocketAddr,
        listen: SocketAddr,
        created: u64,
    ) -> (&'static str, String, String) {
        let own = if listen.ip().is_unspecified() { local.ip() } else { listen.ip() };
        let ip = self.ip.unwrap_or(own).to_canonical();
        let address = SocketAddr::new(ip, self.port.unwrap_or(listen.port())).to_string();
        // A path cannot contain brackets (RFC 3986, section 3.3).
        let path = format!("/fleet/{}", address.replace('[', "%5B").replace(']', "%5D"));
        let Signed { input, signature } = self.key.sign(method, &path, created);
        let fields =
            format!("{INPUT}: {input}\r\n{SIGNATURE}: {signature}\r\nContent-Length: 0\r\n");
        (method, path, fields)
    }
}

/// Time of the next signature: now, or later than the last accepted one if that is close to the
/// clock.
fn next_time(now: u64, accepted: u64) -> u64 {
    if accepted < now + MAX_AHEAD_SECONDS { now.max(accepted + 1) } else { now }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Hint for a failed announcement.
fn hint(error: &ExchangeError) -> &'static str {
    let ExchangeError::Response(ResponseError::Status(status)) = error else { return "" };
    match status {
        401 => "the gateway does not accept the signature: compare the secrets and the clocks",
        403 => {
            "the gateway does not accept this address: see STATS_ANNOUNCE_ADDRESS and the \
             gateway's GATEWAY_ANNOUNCE_ALLOW, GATEWAY_ALLOW and GATEWAY_TRUSTED_PROXIES"
        }
        404 | 405 => "the gateway has no GATEWAY_ANNOUNCE_SECRET",
        421 => "the gateway does not serve this host: see GATEWAY_HOSTS",
        503 => "the gateway has too many announced members",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn announcing() -> Announcing {
        let key = Key::parse_all("0123456789abcdef").unwrap().remove(0);
        Announcing { gateways: Vec::new(), key, ip: None, port: None }
    }

    fn path(announcing: &Announcing, local: &str, listen: &str) -> String {
        announcing.request("PUT", local.parse().unwrap(), listen.parse().unwrap(), 7).1
    }

    #[test]
    fn the_address_is_that_of_the_connection_the_listener_or_the_settings() {
        let mut announcing = announcing();
        let any = "0.0.0.0:8080";
        assert_eq!(path(&announcing, "10.0.0.7:40000", any), "/fleet/10.0.0.7:8080");
        assert_eq!(path(&announcing, "[::ffff:10.0.0.7]:40000", any), "/fleet/10.0.0.7:8080");
        assert_eq!(path(&announcing, "[fd00::7]:1", "[::]:80"), "/fleet/%5Bfd00::7%5D:80");
        assert_eq!(path(&announcing, "10.0.0.7:1", "127.0.0.1:80"), "/fleet/127.0.0.1:80");
        announcing.port = Some(9000);
        assert_eq!(path(&announcing, "10.0.0.7:40000", any), "/fleet/10.0.0.7:9000");
        announcing.ip = Some([192, 0, 2, 1].into());
        assert_eq!(path(&announcing, "10.0.0.7:40000", any), "/fleet/192.0.2.1:9000");
    }

    #[test]
    fn signature_times_increase_unless_the_clock_was_set_back() {
        assert_eq!(next_time(1_000, 0), 1_000);
        assert_eq!(next_time(1_000, 1_000), 1_001);
        assert_eq!(next_time(1_000, 1_004), 1_005);
        // A gateway whose clock is right still accepts it, but no earlier one.
        assert_eq!(next_time(1_000, 1_055), 1_056);
        // The clock was an hour ahead.
        assert_eq!(next_time(1_000, 4_600), 1_000);
    }

    #[test]
    fn the_delay_after_a_failure_is_at_most_the_interval() {
        let mut schedule = Schedule::default();
        let mut delays = Vec::new();
        for _ in 0..6 {
            let now = Instant::now();
            schedule.failed(INTERVAL);
            delays.push((schedule.next.unwrap() - now).as_secs());
        }
        assert_eq!(delays, [1, 2, 4, 8, 9, 9]);
        let now = Instant::now();
        schedule.succeeded(interval());
        assert!((8..=9).contains(&(schedule.next.unwrap() - now).as_secs()));
        assert_eq!(schedule.failures, 0);
    }
}
