//! Pools with scripted lookups and a paused clock; checks and requests use real sockets.

mod checking;
mod choice;
mod discovery;
mod failing;
mod many;

use std::collections::{BTreeSet, HashMap};
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{Instant, advance, sleep, timeout};

use super::discovery::Lookup;
use super::resolution::Family;
use super::{CheckPath, CheckSettings, Failure, Lease, Origin, Pool, PoolSettings, State, Target};

const SECOND: Duration = Duration::from_secs(1);

/// Response of a scripted name server.
#[derive(Clone)]
enum Answer {
    Addresses(Vec<SocketAddr>),
    /// Eight of these, different ones for each lookup.
    Eight(Vec<SocketAddr>),
    /// These; the lookup of the other family fails.
    OneFamily(Vec<SocketAddr>),
    /// These; the lookup of the other family never ends.
    OtherHangs(Vec<SocketAddr>),
    NoSuchName,
    /// The lookup never ends.
    Nothing,
}

/// A scripted name server.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    /// Lookups in progress.
    pending: Arc<AtomicUsize>,
    lookups: Arc<AtomicUsize>,
}

impl Script {
    fn set(&self, name: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(name.to_owned(), answer);
    }

    fn set_addresses(&self, name: &str, numbers: &[u8]) {
        self.set(name, Answer::Addresses(numbers.iter().copied().map(address).collect()));
    }
}

impl Lookup for Script {
    async fn lookup(&self, origin: &Origin, family: Family) -> io::Result<Vec<SocketAddr>> {
        struct Pending<'a>(&'a AtomicUsize);
        impl Drop for Pending<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let turn = self.lookups.fetch_add(1, Ordering::SeqCst);
        self.pending.fetch_add(1, Ordering::SeqCst);
        let _pending = Pending(&self.pending);
        let answer = self.answers.lock().unwrap().get(&origin.host).cloned();
        let of_family = |address: &SocketAddr| address.is_ipv4() == (family == Family::V4);
        match answer {
            Some(Answer::OneFamily(all)) if !all.iter().any(of_family) => {
                Err(io::Error::other("the name server failed"))
            }
            Some(Answer::OtherHangs(all)) if !all.iter().any(of_family) => pending().await,
            Some(Answer::Eight(all)) if family == Family::V4 => {
                Ok(all.iter().cycle().skip(turn * 3).take(8).copied().collect())
            }
            Some(Answer::Eight(_)) => Ok(Vec::new()),
            Some(Answer::Addresses(all) | Answer::OneFamily(all) | Answer::OtherHangs(all)) => {
                Ok(all.into_iter().filter(of_family).collect())
            }
            Some(Answer::Nothing) => pending().await,
            Some(Answer::NoSuchName) | None => Err(io::Error::other("no such name")),
        }
    }
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 80))
}

fn target(origins: &str) -> Target {
    let origins = origins.split(',').map(|it| Origin::parse(it).unwrap()).collect();
    Target { name: "app".to_owned(), origins, check: None, host: None, tls: None }
}

/// Starts a pool and waits for its first lookups.
async fn pool(origins: &str, script: &Script) -> Arc<Pool> {
    let pool = Pool::start_with(&target(origins), &PoolSettings::default(), script);
    pool.wait_for_lookups(SECOND).await;
    pool
}

/// A pool of literal addresses.
fn fixed(count: u8) -> Arc<Pool> {
    let origins: Vec<_> = (1..=count).map(|number| address(number).to_string()).collect();
    Pool::start(&target(&origins.join(",")), &PoolSettings::default())
}

/// The addresses that requests use.
fn used(pool: &Pool) -> Vec<u8> {
    let numbers: BTreeSet<_> =
        (0..50).filter_map(|_| pool.select(&[])).map(|p| number(&p)).collect();
    numbers.into_iter().collect()
}

fn number(lease: &Lease) -> u8 {
    match lease.address() {
        SocketAddr::V4(address) => address.ip().octets()[3],
        SocketAddr::V6(_) => panic!("{lease:?}"),
    }
}

/// A lease on this address, regardless of the others.
fn lease_on(pool: &Pool, number: u8) -> Lease {
    lease_if_known(pool, number).unwrap()
}

fn lease_if_known(pool: &Pool, number: u8) -> Option<Lease> {
    let others = pool.snapshot().addresses.into_iter().map(|it| it.address);
    let others = others.filter(|&it| it != address(number));
    // A nonexistent excluded address makes this a retry, which is never a probe.
    pool.select(&others.chain([address(0)]).collect::<Vec<_>>())
}

fn refuse(pool: &Pool, number: u8, timeouts: usize) {
    for _ in 0..timeouts {
        lease_on(pool, number).failed(Failure::Refused);
    }
}

/// Makes the address fail, if the pool has it.
fn refuse_if_known(pool: &Pool, number: u8) {
    for _ in 0..5 {
        if let Some(mut lease) = lease_if_known(pool, number) {
            lease.failed(Failure::Refused);
        }
    }
}

/// The addresses that requests use without probes.
fn used_by_retries(pool: &Pool) -> Vec<u8> {
    let lease = |_| pool.select(&[address(0)]);
    let numbers: BTreeSet<_> = (0..50).filter_map(lease).map(|p| number(&p)).collect();
    numbers.into_iter().collect()
}

fn state(pool: &Pool, number: u8) -> State {
    let addresses = pool.snapshot().addresses;
    addresses.iter().find(|it| it.address == address(number)).unwrap().state
}

#[test]
fn timeouts_are_504_and_other_failures_of_an_upstream_502() {
    for (failure, status) in [
        (Failure::Timeout, 504),
        (Failure::Refused, 502),
        (Failure::Unreachable, 502),
        (Failure::Reset, 502),
        (Failure::Invalid, 502),
        (Failure::Certificate, 502),
        (Failure::Tls, 502),
    ] {
        let problem = failure.problem("stats");
        assert_eq!(problem.status.as_u16(), status);
        assert!(problem.detail.contains("stats"), "{problem:?}");
    }
}
