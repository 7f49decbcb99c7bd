//! Background DNS lookups, so that no request waits for a name server or fails because of one.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use dns_lookup::{AddrFamily, AddrInfoHints, LookupErrorKind, SockType, getaddrinfo};

use super::Origin;
use super::resolution::Family;

/// Source of addresses; tests replace it.
pub(super) trait Lookup: Clone + Send + 'static {
    /// Returns all addresses of a name in one family, in any order; an empty list is valid.
    fn lookup(
        &self,
        origin: &Origin,
        family: Family,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
}

/// System resolver.
#[derive(Clone)]
pub(super) struct System;

impl Lookup for System {
    /// Looks up each family separately: the resolver of musl queries both together and fails if a
    /// name server fails for one of them.
    async fn lookup(&self, origin: &Origin, family: Family) -> io::Result<Vec<SocketAddr>> {
        let (host, port) = (origin.host.clone(), origin.port);
        let found = tokio::task::spawn_blocking(move || resolve(&host, port, family));
        found.await.unwrap_or_else(|_| Err(io::Error::other("the lookup was cancelled")))
    }
}

/// All addresses of an origin in both families.
///
/// # Errors
/// Returns an error if the lookups of both families fail.
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
        Ok(found) => found
            .map(|address| address.map(|address| SocketAddr::new(address.sockaddr.ip(), port)))
            .collect(),
        Err(error) => match error.kind() {
            LookupErrorKind::NoName | LookupErrorKind::NoData => Ok(Vec::new()),
            _ => Err(error.into()),
        },
    }
}
