//! Looks up names in the background, so that no request waits for a name server and none fails
//! because of one.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use dns_lookup::{AddrFamily, AddrInfoHints, LookupErrorKind, SockType, getaddrinfo};

use super::Origin;
use super::resolution::Family;

/// How addresses are found; another one in tests.
pub(super) trait Lookup: Clone + Send + 'static {
    /// All addresses of a name in one family, in any order; none is an answer as well.
    fn lookup(
        &self,
        origin: &Origin,
        family: Family,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
}

/// The system's resolver.
#[derive(Clone)]
pub(super) struct System;

impl Lookup for System {
    /// Each family on its own: musl's resolver asks for both at once and gives both up where a name
    /// server fails for one of them.
    async fn lookup(&self, origin: &Origin, family: Family) -> io::Result<Vec<SocketAddr>> {
        let (host, port) = (origin.host().to_owned(), origin.port());
        let found = tokio::task::spawn_blocking(move || resolve(&host, port, family));
        found.await.unwrap_or_else(|_| Err(io::Error::other("the lookup was cancelled")))
    }
}

/// All addresses of an origin, of both families.
///
/// # Errors
/// When the lookups of both families fail.
pub(crate) async fn resolve_origin(origin: &Origin) -> io::Result<Vec<SocketAddr>> {
    if let Some(address) = origin.literal() {
        return Ok(vec![address]);
    }
    let mut addresses = Vec::new();
    let mut error = None;
    let mut failed = 0;
    for family in Family::ALL {
        match System.lookup(origin, family).await {
            Ok(found) => addresses.extend(found),
            Err(why) => {
                failed += 1;
                error = Some(why);
            }
        }
    }
    match error {
        Some(error) if failed == Family::ALL.len() => Err(error),
        _ => Ok(addresses),
    }
}

fn resolve(host: &str, port: u16, family: Family) -> io::Result<Vec<SocketAddr>> {
    let family = match family {
        Family::V4 => AddrFamily::Inet,
        Family::V6 => AddrFamily::Inet6,
    };
    let hints = AddrInfoHints {
        address: family.into(),
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    match getaddrinfo(Some(host), None, Some(hints)) {
        Ok(found) => {
            found.map(|one| one.map(|one| SocketAddr::new(one.sockaddr.ip(), port))).collect()
        }
        Err(error) => match error.kind() {
            LookupErrorKind::NoName | LookupErrorKind::NoData => Ok(Vec::new()),
            _ => Err(error.into()),
        },
    }
}
