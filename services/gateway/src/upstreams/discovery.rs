//! Where a name leads, looked up in the background, so that no request waits for a name server
//! and none fails because of one.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Origin;
use super::pool::Shared;

/// A lookup that takes longer is worth a warning: resolvers give a query up after 5 s, or 10.
const SLOW: Duration = Duration::from_secs(11);

/// How addresses are found; another one in tests.
pub(super) trait Lookup: Clone + Send + 'static {
    /// All addresses of a name, A and AAAA, in any order; none is an answer as well.
    fn lookup(&self, origin: &Origin) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
}

/// The system's resolver.
#[derive(Clone)]
pub(super) struct System;

impl Lookup for System {
    async fn lookup(&self, origin: &Origin) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((origin.host(), origin.port())).await?.collect())
    }
}

/// Keeps what `pool` knows of `origin`, its `index`th, up to date. One lookup at a time, each
/// waited for: `getaddrinfo` occupies a thread until its own time is up, and a second one beside
/// it would occupy another. Each origin has a task of its own, so one that hangs is alone.
/// What was known is kept when there is no answer, and when the answer is that there is nothing:
/// a name server that is just starting says the same. Says only what changed.
pub(super) async fn keep_looking_up(
    pool: Arc<Shared>,
    index: usize,
    origin: Origin,
    every: Duration,
    lookup: impl Lookup,
) {
    let mut known = Vec::new();
    let mut failing = false;
    let mut first = true;
    loop {
        let mut answer = pin!(lookup.lookup(&origin));
        let answer = if let Ok(answer) = timeout(SLOW, &mut answer).await {
            answer
        } else {
            if !failing {
                let kept = known.len();
                tracing::warn!(upstream = pool.name(), name = %origin, kept, "does not resolve yet");
            }
            failing = true;
            if std::mem::take(&mut first) {
                pool.first_lookup_ended();
            }
            answer.await
        };
        match answer.and_then(in_order) {
            Ok(addresses) => {
                let news = addresses != known;
                if news || failing {
                    tracing::info!(
                        upstream = pool.name(),
                        name = %origin,
                        ?addresses,
                        "resolved"
                    );
                }
                if news {
                    known.clone_from(&addresses);
                    pool.found(index, addresses);
                }
                failing = false;
            }
            Err(error) => {
                if !failing {
                    let kept = known.len();
                    tracing::warn!(
                        upstream = pool.name(),
                        name = %origin,
                        %error,
                        kept,
                        "does not resolve"
                    );
                }
                failing = true;
            }
        }
        if std::mem::take(&mut first) {
            pool.first_lookup_ended();
        }
        sleep(every).await;
    }
}

/// Sorted, because name servers shuffle and an order is no news.
fn in_order(mut addresses: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(io::Error::other("the name has no address"));
    }
    Ok(addresses)
}
