//! Where an upstream's name leads, looked up in the background, so that no request waits for a
//! name server and none fails because of one.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Every address of one upstream, kept up to date.
pub(crate) struct Addresses {
    /// `None` until the first lookup has ended, well or not.
    known: watch::Receiver<Option<Arc<[SocketAddr]>>>,
    turn: AtomicUsize,
}

impl Addresses {
    /// Starts to look `origin` up, now and `every` so often. Must be called inside a runtime.
    pub(crate) fn discover(upstream: &'static str, origin: &Origin, every: Duration) -> Self {
        let literal = origin.literal().map(|address| Arc::from([address]));
        let (found, known) = watch::channel(literal.clone());
        if literal.is_none() {
            tokio::spawn(keep_looking_up(upstream, origin.clone(), every, found));
        }
        Self { known, turn: AtomicUsize::new(0) }
    }

    /// Waits for the end of the first lookup, at most for `bound`.
    pub(crate) async fn looked_up(&self, bound: Duration) {
        let mut known = self.known.clone();
        // Both ways to fail, too late and never, leave it to the requests to say so.
        let _ = timeout(bound, known.wait_for(Option::is_some)).await;
    }

    /// The next address in turn, and not `except` if there is another one. `None` when the name
    /// has never been resolved.
    pub(crate) fn next(&self, except: Option<SocketAddr>) -> Option<SocketAddr> {
        let known = self.known.borrow();
        let known = known.as_deref()?;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = |offset: usize| known.get(turn.wrapping_add(offset) % known.len()).copied();
        (0..known.len())
            .filter_map(in_turn)
            .find(|&address| Some(address) != except)
            .or_else(|| known.first().copied())
    }

    /// Whether there is another address than the one just tried.
    pub(crate) fn has_other_than(&self, tried: SocketAddr) -> bool {
        let known = self.known.borrow();
        known.iter().flat_map(|known| known.iter()).any(|&address| address != tried)
    }
}

/// A host and a port, as a setting gives them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Origin {
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of a name that is known to be one.
    pub(crate) fn new(host: &str, port: u16) -> Self {
        let host = host.to_owned();
        Self { host, port }
    }

    /// `name:port`, `1.2.3.4:port` or `[::1]:port`; nothing else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|&port| digits && port != 0)?;
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                rest.strip_suffix(']').filter(|literal| literal.parse::<Ipv6Addr>().is_ok())?
            }
            None => Some(host).filter(|name| is_name(name))?,
        };
        Some(Self::new(host, port))
    }

    fn literal(&self) -> Option<SocketAddr> {
        let ip: IpAddr = self.host.parse().ok()?;
        Some(SocketAddr::new(ip, self.port))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Names as resolvers take them: RFC 1123, and the underscore that compose projects use. A name
/// of digits and dots alone must be an IPv4 address.
fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let looks_like_ipv4 = name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    (1..=253).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.split('.').any(str::is_empty)
        && (!looks_like_ipv4 || name.parse::<Ipv4Addr>().is_ok())
}

/// One lookup at a time, each waited for: `getaddrinfo` occupies a thread until its own time is
/// up, and a second one beside it would occupy another. Says only what changed.
async fn keep_looking_up(
    upstream: &'static str,
    origin: Origin,
    every: Duration,
    found: watch::Sender<Option<Arc<[SocketAddr]>>>,
) {
    let mut failing = false;
    loop {
        match lookup(&origin).await {
            Ok(addresses) => {
                let news = found.borrow().as_deref() != Some(&addresses);
                if news || failing {
                    tracing::info!(upstream, name = %origin, ?addresses, "resolved");
                }
                if news {
                    found.send_replace(Some(addresses.into()));
                }
                failing = false;
            }
            Err(error) => {
                if !failing {
                    let kept = found.borrow().as_deref().map_or(0, <[_]>::len);
                    tracing::warn!(upstream, name = %origin, %error, kept, "does not resolve");
                }
                found.send_if_modified(|known| {
                    let first = known.is_none();
                    known.get_or_insert_with(|| Arc::from([]));
                    first
                });
                failing = true;
            }
        }
        sleep(every).await;
    }
}

/// Sorted, because name servers shuffle and an order is no news.
async fn lookup(origin: &Origin) -> io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<_> =
        tokio::net::lookup_host((origin.host.as_str(), origin.port)).await?.collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(io::Error::other("the name has no address"));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(addresses: &[&str]) -> Addresses {
        let addresses: Vec<SocketAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
        let (_, known) = watch::channel(Some(addresses.into()));
        Addresses { known, turn: AtomicUsize::new(0) }
    }

    #[test]
    fn an_origin_is_a_host_and_a_port() {
        for text in ["stats:8080", "127.0.0.1:80", "[::1]:65535", "my_app.a-b.c:1"] {
            assert_eq!(Origin::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "stats",
            "stats:",
            "stats:0",
            "stats:65536",
            "stats:+1",
            ":8080",
            "::1:80",
            "[::1]",
            "[stats]:80",
            "http://stats:80",
            "a b:80",
            "stats:80/x",
            "a..b:80",
            "1.2.3:80",
            "[]:80",
        ] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn all_addresses_get_their_turn() {
        let addresses = known(&["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"]);
        let taken: Vec<_> = (0..4).filter_map(|_| addresses.next(None)).collect();
        assert_eq!(taken[0], taken[3]);
        assert!(taken[0] != taken[1] && taken[1] != taken[2] && taken[0] != taken[2]);
    }

    #[test]
    fn a_second_try_goes_to_another_address_if_there_is_one() {
        let two = known(&["10.0.0.1:1", "10.0.0.2:1"]);
        let first = two.next(None).unwrap();
        for _ in 0..4 {
            assert_ne!(two.next(Some(first)), Some(first));
        }
        assert!(two.has_other_than(first));
        let one = known(&["10.0.0.1:1"]);
        let only = one.next(None);
        assert_eq!(one.next(only), only);
        assert!(!one.has_other_than(only.unwrap()));
    }

    #[test]
    fn a_name_without_addresses_has_no_next_one() {
        assert_eq!(known(&[]).next(None), None);
    }

    #[tokio::test]
    async fn a_literal_address_is_known_at_once() {
        let origin = Origin::parse("[::1]:80").unwrap();
        let addresses = Addresses::discover("stats", &origin, Duration::from_secs(1));
        assert_eq!(addresses.next(None), Some("[::1]:80".parse().unwrap()));
    }

    #[tokio::test]
    async fn a_failed_lookup_ends_the_wait_and_gives_no_address() {
        // RFC 6761: this name never resolves.
        let origin = Origin::parse("no-such-name.invalid:80").unwrap();
        let addresses = Addresses::discover("stats", &origin, Duration::from_mins(1));
        addresses.looked_up(Duration::from_secs(30)).await;
        assert_eq!(addresses.next(None), None);
    }
}
