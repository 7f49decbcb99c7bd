//! Pools with scripted lookups and a turned clock; checks and requests go to real sockets.

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

/// What a name server that is scripted says.
#[derive(Clone)]
enum Answer {
    Addresses(Vec<SocketAddr>),
    /// Eight of these, other ones with each lookup.
    Eight(Vec<SocketAddr>),
    /// These, while the lookup of the other family fails.
    OneFamily(Vec<SocketAddr>),
    /// These, while the lookup of the other family never ends.
    OtherHangs(Vec<SocketAddr>),
    NoSuchName,
    /// Never.
    Nothing,
}

/// A name server that says what it is told to.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    /// Lookups that are waited for.
    pending: Arc<AtomicUsize>,
    lookups: Arc<AtomicUsize>,
}

impl Script {
    fn say(&self, name: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(name.to_owned(), answer);
    }

    fn lead(&self, name: &str, numbers: &[u8]) {
        self.say(name, Answer::Addresses(numbers.iter().copied().map(address).collect()));
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
        let answer = self.answers.lock().unwrap().get(origin.host()).cloned();
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
    let origins = Origin::parse_all(origins).unwrap();
    Target { name: "app".to_owned(), origins, check: None }
}

/// Started, and first lookups ended where they end.
async fn pool(origins: &str, script: &Script) -> Arc<Pool> {
    let pool = Pool::start_with(&target(origins), &PoolSettings::default(), script);
    pool.wait_for_lookups(SECOND).await;
    pool
}

/// Of literal addresses.
fn fixed(count: u8) -> Arc<Pool> {
    let origins: Vec<_> = (1..=count).map(|number| address(number).to_string()).collect();
    Pool::start(&target(&origins.join(",")), &PoolSettings::default())
}

/// Where requests go.
fn used(pool: &Pool) -> Vec<u8> {
    let numbers: BTreeSet<_> = (0..50).filter_map(|_| pool.pick(&[])).map(|p| number(&p)).collect();
    numbers.into_iter().collect()
}

fn number(pick: &Lease) -> u8 {
    match pick.address() {
        SocketAddr::V4(address) => address.ip().octets()[3],
        SocketAddr::V6(_) => panic!("{pick:?}"),
    }
}

/// A request to this address, however others stand.
fn pick_of(pool: &Pool, number: u8) -> Lease {
    let others: Vec<_> = pool.snapshot().addresses.into_iter().map(|it| it.address).collect();
    let others: Vec<_> = others.into_iter().filter(|&it| it != address(number)).collect();
    // An exception that is nobody keeps this from being a probe.
    pool.pick(&[others, vec![address(0)]].concat()).unwrap()
}

fn refuse(pool: &Pool, number: u8, times: usize) {
    for _ in 0..times {
        pick_of(pool, number).failed(Failure::Refused);
    }
}

/// Makes it fail as long as it is there.
fn refuse_if_known(pool: &Pool, number: u8) {
    let others: Vec<_> = pool.snapshot().addresses.into_iter().map(|it| it.address).collect();
    let others: Vec<_> = others.into_iter().filter(|&it| it != address(number)).collect();
    for _ in 0..5 {
        if let Some(mut pick) = pool.pick(&[others.clone(), vec![address(0)]].concat()) {
            pick.failed(Failure::Refused);
        }
    }
}

/// Where requests go that are no probes.
fn used_by_retries(pool: &Pool) -> Vec<u8> {
    let pick = |_| pool.pick(&[address(0)]);
    let numbers: BTreeSet<_> = (0..50).filter_map(pick).map(|p| number(&p)).collect();
    numbers.into_iter().collect()
}

fn state(pool: &Pool, number: u8) -> State {
    let addresses = pool.snapshot().addresses;
    addresses.iter().find(|it| it.address == address(number)).unwrap().state
}

mod discovery {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn new_addresses_are_used_within_one_interval_and_others_while_they_answer() {
        let script = Script::default();
        script.lead("app", &[1, 2]);
        let pool = pool("app:80", &script).await;
        assert_eq!(used(&pool), [1, 2]);
        script.lead("app", &[3, 2]);
        sleep(Duration::from_millis(2001)).await;
        assert_eq!(used(&pool), [1, 2, 3]);
        sleep(SECOND * 600).await;
        assert_eq!(used(&pool), [1, 2, 3], "it still answers");
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_goes_when_it_was_unseen_for_a_minute_and_fails() {
        let script = Script::default();
        script.lead("app", &[1, 2, 3]);
        let pool = pool("app:80", &script).await;
        let known = |pool: &Pool| pool.snapshot().addresses.len();
        // Fails, but is seen.
        refuse(&pool, 1, 5);
        sleep(SECOND * 120).await;
        assert_eq!((known(&pool), used_by_retries(&pool)), (3, vec![2, 3]));
        // Neither is seen; one of them fails.
        script.lead("app", &[3]);
        sleep(SECOND * 3).await;
        refuse_if_known(&pool, 1);
        assert_ne!(state(&pool, 1), State::Well);
        sleep(SECOND * 55).await;
        assert_eq!(known(&pool), 3, "not yet a minute");
        refuse_if_known(&pool, 1);
        sleep(SECOND * 10).await;
        let left: Vec<_> = pool.snapshot().addresses.iter().map(|it| it.address).collect();
        assert_eq!(left, [address(2), address(3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_unseen_and_fails_does_not_make_all_be_used() {
        let script = Script::default();
        script.lead("app", &[1, 2, 3]);
        let pool = pool("app:80", &script).await;
        script.lead("app", &[4]);
        sleep(SECOND * 3).await;
        for number in 1..=3 {
            refuse(&pool, number, 5);
        }
        assert!(!pool.snapshot().panic);
        assert_eq!(used_by_retries(&pool), [4]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_tells_eight_of_many_leads_to_all_and_loses_none() {
        for count in [8, 12, 24, 100] {
            let script = Script::default();
            let all: Vec<_> = (1..=count).map(address).collect();
            script.say("app", Answer::Eight(all.clone()));
            let pool = pool("app:80", &script).await;
            let first = pool.snapshot().addresses[0].address;
            let others: Vec<_> = all.iter().copied().filter(|it| *it != first).collect();
            let busy = pool.pick(&[others, vec![address(0)]].concat()).unwrap();
            sleep(SECOND * 2 * 2 * u32::from(count)).await;
            let known = |pool: &Pool| -> Vec<_> {
                pool.snapshot().addresses.iter().map(|it| it.address).collect()
            };
            assert_eq!(known(&pool), all, "of {count}");
            for _ in 0..100 {
                sleep(SECOND * 2).await;
                assert_eq!(known(&pool), all, "of {count}");
            }
            let snapshot = pool.snapshot();
            let in_flight = snapshot.addresses.iter().map(|it| it.in_flight).sum::<usize>();
            assert_eq!(in_flight, 1, "what is known of an address was lost");
            drop(busy);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_family_is_looked_up_by_itself() {
        let six: SocketAddr = "[2001:db8::1]:80".parse().unwrap();
        for addresses in [vec![address(1)], vec![six]] {
            for answer in
                [Answer::OneFamily(addresses.clone()), Answer::OtherHangs(addresses.clone())]
            {
                let script = Script::default();
                script.say("app", answer);
                let begun = Instant::now();
                let pool = pool("app:80", &script).await;
                assert!(begun.elapsed() < SECOND / 2, "it waits for the other family");
                assert_eq!(pool.pick(&[]).unwrap().address(), addresses[0]);
            }
        }
        let script = Script::default();
        script.say("app", Answer::Addresses(vec![address(1), six]));
        let pool = pool("app:80", &script).await;
        sleep(SECOND).await;
        assert_eq!(pool.snapshot().addresses.len(), 2);
        // The lookups of one family begin to fail: what was known is kept.
        script.say("app", Answer::OneFamily(vec![address(1)]));
        sleep(SECOND * 600).await;
        assert_eq!(pool.snapshot().addresses.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_good_answer_outlives_failures_empty_answers_and_silence() {
        let script = Script::default();
        script.lead("app", &[1]);
        let pool = pool("app:80", &script).await;
        for answer in [Answer::NoSuchName, Answer::Addresses(Vec::new()), Answer::Nothing] {
            script.say("app", answer);
            sleep(SECOND * 10).await;
            assert_eq!(used(&pool), [1]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_comes_back_is_used_within_one_interval() {
        let script = Script::default();
        script.lead("app", &[1]);
        let pool = pool("app:80", &script).await;
        script.say("app", Answer::NoSuchName);
        sleep(SECOND * 60).await;
        script.lead("app", &[2]);
        sleep(Duration::from_millis(2001)).await;
        assert_eq!(used(&pool), [1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_never_resolved_leaves_nobody_to_pick_and_ends_the_wait() {
        let script = Script::default();
        let begun = Instant::now();
        let pool = pool("app:80", &script).await;
        assert!(begun.elapsed() < SECOND / 2);
        assert!(pool.pick(&[]).is_none());
        assert!(!pool.is_ready());
        script.lead("app", &[1]);
        sleep(Duration::from_millis(2001)).await;
        assert_eq!(used(&pool), [1]);
        assert!(pool.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_hangs_is_the_only_one_of_its_name_and_stops_no_other() {
        let script = Script::default();
        script.say("hangs", Answer::Nothing);
        script.lead("app", &[1]);
        let begun = Instant::now();
        let pool = pool("hangs:80,app:80", &script).await;
        assert_eq!(begun.elapsed(), SECOND, "the wait is bounded");
        assert_eq!(used(&pool), [1]);
        script.lead("app", &[2]);
        sleep(SECOND * 600).await;
        assert_eq!(script.pending.load(Ordering::SeqCst), 2, "one for each family");
        assert_eq!(used(&pool), [1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_lookup_that_hangs_does_not_hold_those_who_wait_for_ever() {
        let script = Script::default();
        script.say("app", Answer::Nothing);
        let pool = Pool::start_with(&target("app:80"), &PoolSettings::default(), &script);
        let begun = Instant::now();
        pool.wait_for_lookups(SECOND * 3600).await;
        assert!(begun.elapsed() < SECOND * 12);
        assert!(pool.pick(&[]).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn all_addresses_of_all_origins_are_used_each_once() {
        let script = Script::default();
        script.lead("a", &[3, 1, 3]);
        script.lead("b", &[2, 1]);
        let pool = pool("b:80,a:80,b:80,10.0.0.9:80,10.0.0.1:80", &script).await;
        assert_eq!(used(&pool), [1, 2, 3, 9]);
        assert_eq!(pool.snapshot().addresses.len(), 4);
        assert_eq!(script.lookups.load(Ordering::SeqCst), 4, "a name is looked up once a family");
        // One of the two that led there does not any more.
        script.lead("a", &[3]);
        script.lead("b", &[2]);
        sleep(Duration::from_millis(2001)).await;
        assert_eq!(used(&pool), [1, 2, 3, 9]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_stays_keeps_what_is_known_of_it() {
        let script = Script::default();
        script.lead("app", &[1, 2, 4]);
        let pool = pool("app:80", &script).await;
        refuse(&pool, 2, 5);
        let busy = pick_of(&pool, 4);
        script.lead("app", &[2, 3, 4]);
        sleep(Duration::from_millis(2001)).await;
        let after = pool.snapshot().addresses;
        assert_eq!(after.iter().map(|it| it.in_flight).collect::<Vec<_>>(), [0, 0, 0, 1]);
        assert!(!matches!(after[1].state, State::Well));
        assert_eq!(after[2].state, State::Well);
        drop(busy);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_request_tells_of_an_address_that_left_is_not_told_to_its_successor() {
        let script = Script::default();
        script.lead("app", &[1]);
        let pool = pool("app:80", &script).await;
        let mut old: Vec<_> = (0..5).filter_map(|_| pool.pick(&[])).collect();
        script.lead("app", &[2]);
        for _ in 0..9 {
            sleep(SECOND * 10).await;
            refuse_if_known(&pool, 1);
        }
        assert_eq!(pool.snapshot().addresses.len(), 1);
        script.lead("app", &[1]);
        sleep(Duration::from_millis(2001)).await;
        for pick in &mut old {
            pick.failed(Failure::Reset);
        }
        assert_eq!(state(&pool, 1), State::Well);
        assert_eq!(pool.snapshot().addresses[0].in_flight, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_pool_looks_nothing_up_any_more_and_its_picks_can_still_end() {
        let script = Script::default();
        script.lead("app", &[1]);
        script.say("hangs", Answer::Nothing);
        let pool = pool("app:80,hangs:80", &script).await;
        let mut pick = pool.pick(&[]).unwrap();
        drop(pool);
        sleep(SECOND).await;
        let lookups = script.lookups.load(Ordering::SeqCst);
        sleep(SECOND * 60).await;
        assert_eq!(script.lookups.load(Ordering::SeqCst), lookups);
        assert_eq!(script.pending.load(Ordering::SeqCst), 0);
        pick.failed(Failure::Reset);
    }

    #[tokio::test]
    async fn the_systems_resolver_knows_localhost_and_not_what_is_invalid() {
        // RFC 6761: the one always leads here, the other never anywhere.
        let settings = PoolSettings::default();
        let here = Pool::start(&target("localhost:80"), &settings);
        let nowhere = Pool::start(&target("no-such-name.invalid:80"), &settings);
        here.wait_for_lookups(SECOND * 30).await;
        nowhere.wait_for_lookups(SECOND * 30).await;
        assert!(here.pick(&[]).unwrap().address().ip().is_loopback());
        assert!(nowhere.pick(&[]).is_none());
    }

    #[tokio::test]
    async fn a_literal_address_is_known_at_once() {
        let pool = Pool::start(&target("[::1]:80"), &PoolSettings::default());
        assert_eq!(pool.pick(&[]).unwrap().address(), "[::1]:80".parse().unwrap());
        assert!(pool.is_ready());
    }
}

mod choice {
    use super::*;

    #[tokio::test]
    async fn requests_one_after_the_other_go_round() {
        let pool = fixed(3);
        let numbers: Vec<_> = (0..6).filter_map(|_| pool.pick(&[])).map(|p| number(&p)).collect();
        assert_eq!(numbers, [1, 2, 3, 1, 2, 3]);
    }

    #[tokio::test]
    async fn requests_at_once_are_spread_evenly() {
        let pool = fixed(4);
        let picks: Vec<_> = (0..400).filter_map(|_| pool.pick(&[])).collect();
        let in_flight = |pool: &Pool| -> Vec<_> {
            pool.snapshot().addresses.iter().map(|it| it.in_flight).collect()
        };
        assert_eq!(in_flight(&pool), [100; 4]);
        drop(picks);
        assert_eq!(in_flight(&pool), [0; 4]);
    }

    #[tokio::test]
    async fn a_retry_never_goes_where_it_has_been() {
        let pool = fixed(2);
        assert!(pool.has_other_than(&[address(1)]));
        for _ in 0..10 {
            assert_eq!(number(&pool.pick(&[address(1)]).unwrap()), 2);
        }
        assert!(pool.pick(&[address(1), address(2)]).is_none());
        assert!(!pool.has_other_than(&[address(1), address(2)]));
    }

    #[tokio::test]
    async fn an_address_that_is_given_up_is_no_other_one() {
        let pool = fixed(2);
        refuse(&pool, 2, 5);
        assert!(!pool.has_other_than(&[address(1)]));
        assert!(pool.pick(&[address(1)]).is_none());
    }
}

mod failing {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_fails_is_left_alone_then_tried_once_and_used_again() {
        let pool = fixed(2);
        refuse(&pool, 1, 4);
        assert_eq!(used(&pool), [1, 2]);
        refuse(&pool, 1, 1);
        assert_eq!(used(&pool), [2]);
        assert!(pool.is_ready());
        assert_eq!(state(&pool, 1), State::Open);
        assert_eq!(pool.snapshot().opened_total, 1);
        advance(SECOND).await;
        assert_eq!(state(&pool, 1), State::HalfOpen);
        let mut probe = pool.pick(&[]).unwrap();
        assert_eq!(number(&probe), 1);
        assert_eq!(used(&pool), [2], "one at a time");
        probe.succeeded();
        drop(probe);
        assert_eq!(used(&pool), [1, 2]);
        assert_eq!(state(&pool, 1), State::Well);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_probe_is_followed_by_a_longer_rest() {
        let pool = fixed(2);
        refuse(&pool, 1, 5);
        advance(SECOND).await;
        let mut probe = pool.pick(&[]).unwrap();
        assert_eq!(number(&probe), 1);
        probe.failed(Failure::Refused);
        drop(probe);
        advance(Duration::from_millis(1499)).await;
        assert_eq!(used(&pool), [2]);
        advance(Duration::from_millis(501)).await;
        assert_eq!(number(&pool.pick(&[]).unwrap()), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_whose_client_left_is_followed_by_another() {
        let pool = fixed(2);
        refuse(&pool, 1, 5);
        advance(SECOND).await;
        let probe = pool.pick(&[]).unwrap();
        assert_eq!(number(&probe), 1);
        assert_eq!(number(&pool.pick(&[]).unwrap()), 2);
        drop(probe);
        assert_eq!(number(&pool.pick(&[]).unwrap()), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_is_never_a_probe() {
        let pool = fixed(3);
        refuse(&pool, 1, 5);
        advance(SECOND).await;
        assert_eq!(number(&pool.pick(&[address(2)]).unwrap()), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_address_is_always_used_and_well_with_its_first_success() {
        let pool = fixed(1);
        for _ in 0..6000 {
            refuse(&pool, 1, 1);
            advance(Duration::from_millis(10)).await;
        }
        assert!(!pool.is_ready());
        assert!(pool.snapshot().panic);
        assert_eq!(pool.snapshot().opened_total, 1);
        pool.pick(&[]).unwrap().succeeded();
        assert!(pool.is_ready());
        assert!(!pool.snapshot().panic);
    }

    #[tokio::test(start_paused = true)]
    async fn below_the_threshold_all_are_used_and_the_well_one_first() {
        let pool = fixed(3);
        refuse(&pool, 1, 5);
        assert_eq!(used(&pool), [2, 3]);
        refuse(&pool, 2, 5);
        assert!(pool.snapshot().panic);
        assert_eq!(used(&pool), [1, 2, 3]);
        let to_well = (0..3000).filter_map(|_| pool.pick(&[])).filter(|p| number(p) == 3).count();
        assert!((1800..2200).contains(&to_well), "{to_well} of 3000");
        // One success is enough to be better than the threshold.
        pick_of(&pool, 1).succeeded();
        assert!(!pool.snapshot().panic);
        assert_eq!(used(&pool), [1, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn while_all_are_used_they_take_turns_without_probes() {
        let pool = fixed(2);
        refuse(&pool, 1, 5);
        refuse(&pool, 2, 5);
        advance(SECOND * 2).await;
        let numbers: Vec<_> = (0..4).filter_map(|_| pool.pick(&[])).map(|p| number(&p)).collect();
        assert!(numbers == [1, 2, 1, 2] || numbers == [2, 1, 2, 1], "{numbers:?}");
    }

    #[tokio::test]
    async fn without_a_threshold_nobody_well_is_nobody_to_ask() {
        let settings = PoolSettings { panic_below_percent: 0, ..PoolSettings::default() };
        let pool = Pool::start(&target("10.0.0.1:80"), &settings);
        refuse(&pool, 1, 5);
        assert!(pool.pick(&[]).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_breaks_off_counts_against_the_address() {
        let pool = fixed(2);
        // Of 21 requests 11 did, because the success before the first failure is too old to count.
        for _ in 0..11 {
            assert_eq!(state(&pool, 1), State::Well);
            let mut pick = pick_of(&pool, 1);
            pick.succeeded();
            pick.failed(Failure::Reset);
            pick.failed(Failure::Reset);
        }
        assert_eq!(state(&pool, 1), State::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn the_snapshot_tells_what_failed_and_when() {
        let pool = fixed(2);
        refuse(&pool, 1, 1);
        advance(SECOND * 7).await;
        let addresses = pool.snapshot().addresses;
        assert_eq!(addresses[0].last_failure, Some((Failure::Refused, SECOND * 7)));
        assert_eq!(addresses[1].last_failure, None);
    }

    #[tokio::test(start_paused = true)]
    async fn retries_have_a_budget() {
        let pool = fixed(2);
        assert!((0..500).all(|_| pool.may_retry()));
        assert!(!pool.may_retry());
        (0..5).for_each(|_| drop(pool.pick(&[])));
        assert!(pool.may_retry());
        // A retry earns none.
        (0..50).for_each(|_| drop(pool.pick(&[address(1)])));
        assert!(!pool.may_retry());
        let snapshot = pool.snapshot();
        assert_eq!((snapshot.retries_total, snapshot.retries_refused_total), (501, 2));
    }
}

mod checking {
    use super::*;

    /// Answers checks, well or badly as it is told, and counts them.
    #[derive(Clone)]
    struct Replica {
        address: SocketAddr,
        well: Arc<AtomicBool>,
        asked: Arc<AtomicUsize>,
    }

    async fn replica() -> Replica {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let replica = Replica {
            address: listener.local_addr().unwrap(),
            well: Arc::new(AtomicBool::new(true)),
            asked: Arc::default(),
        };
        let it = replica.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                it.asked.fetch_add(1, Ordering::SeqCst);
                let well = it.well.load(Ordering::SeqCst);
                let status = if well { "200 OK" } else { "500 Oh" };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        replica
    }

    fn start(replicas: &[&Replica]) -> Arc<Pool> {
        let origins: Vec<_> = replicas.iter().map(|it| it.address.to_string()).collect();
        let check = CheckPath::parse("/healthz");
        let every = Duration::from_millis(20);
        let settings = PoolSettings {
            check: CheckSettings { every, bound: SECOND * 5, ..CheckSettings::default() },
            ..PoolSettings::default()
        };
        Pool::start(&Target { check, ..target(&origins.join(",")) }, &settings)
    }

    fn state(pool: &Pool, replica: &Replica) -> State {
        let addresses = pool.snapshot().addresses;
        addresses.iter().find(|it| it.address == replica.address).unwrap().state
    }

    async fn until(what: &str, mut condition: impl FnMut() -> bool) {
        let wait = async {
            while !condition() {
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(SECOND * 20, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    #[tokio::test]
    async fn bad_checks_take_an_address_out_and_a_good_one_brings_it_back() {
        let (one, two) = (replica().await, replica().await);
        let pool = start(&[&one, &two]);
        one.well.store(false, Ordering::SeqCst);
        until("one is out", || state(&pool, &one) == State::Unhealthy).await;
        for _ in 0..20 {
            assert_eq!(pool.pick(&[]).unwrap().address(), two.address);
        }
        let failure = pool.snapshot().addresses.iter().find_map(|it| it.last_failure);
        assert_eq!(failure.unwrap().0, Failure::Status(500));
        one.well.store(true, Ordering::SeqCst);
        until("one is back", || state(&pool, &one) == State::Well).await;
    }

    #[tokio::test]
    async fn checks_that_all_fail_eject_nobody() {
        let (one, two) = (replica().await, replica().await);
        one.well.store(false, Ordering::SeqCst);
        two.well.store(false, Ordering::SeqCst);
        let pool = start(&[&one, &two]);
        until("both are out", || !pool.is_ready()).await;
        let used: BTreeSet<_> =
            (0..4).filter_map(|_| pool.pick(&[])).map(|pick| pick.address()).collect();
        assert_eq!(used, BTreeSet::from([one.address, two.address]));
    }

    #[tokio::test]
    async fn a_good_check_ends_the_rest_of_an_address_that_failed() {
        let (one, two) = (replica().await, replica().await);
        let pool = start(&[&one, &two]);
        // Within one poll, so that no check comes between.
        for _ in 0..5 {
            pool.pick(&[two.address]).unwrap().failed(Failure::Timeout);
        }
        assert_eq!(state(&pool, &one), State::Open);
        until("it is closed", || state(&pool, &one) == State::Well).await;
    }

    #[tokio::test]
    async fn a_dropped_pool_checks_nobody_any_more() {
        let one = replica().await;
        let pool = start(&[&one]);
        until("a first check", || one.asked.load(Ordering::SeqCst) > 0).await;
        let pick = pool.pick(&[]);
        drop(pool);
        // The task is dropped when the runtime comes to it.
        tokio::task::yield_now().await;
        sleep(Duration::from_millis(50)).await;
        let asked = one.asked.load(Ordering::SeqCst);
        sleep(Duration::from_millis(200)).await;
        assert_eq!(one.asked.load(Ordering::SeqCst), asked);
        drop(pick);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_pool_leaves_no_task_behind_however_long_its_waits_are() {
        let settings = PoolSettings {
            check: CheckSettings { every: SECOND * 3600, ..CheckSettings::default() },
            ..PoolSettings::default()
        };
        let check = CheckPath::parse("/healthz");
        let target = Target { check, ..target("10.0.0.1:80,10.0.0.2:80,app:80") };
        let script = Script::default();
        script.lead("app", &[3]);
        let pool = Pool::start_with(&target, &settings, &script);
        pool.wait_for_lookups(SECOND).await;
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        // Three checks, and a lookup for each family of the name.
        assert_eq!(tasks(), 5);
        drop(pool);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(tasks(), 0);
    }

    #[tokio::test]
    async fn an_address_that_left_is_not_checked_any_more() {
        let (one, two) = (replica().await, replica().await);
        let script = Script::default();
        script.say("app", Answer::Addresses(vec![one.address, two.address]));
        let target = Target { check: CheckPath::parse("/"), ..target("app:80") };
        let every = Duration::from_millis(20);
        let settings = PoolSettings {
            resolve_every: every,
            keep_unseen: every,
            check: CheckSettings { every, bound: SECOND * 5, ..CheckSettings::default() },
            ..PoolSettings::default()
        };
        let pool = Pool::start_with(&target, &settings, &script);
        until("a first check", || one.asked.load(Ordering::SeqCst) > 0).await;
        script.say("app", Answer::Addresses(vec![two.address]));
        one.well.store(false, Ordering::SeqCst);
        until("one is gone", || pool.snapshot().addresses.len() == 1).await;
        let (before, others) = (one.asked.load(Ordering::SeqCst), two.asked.load(Ordering::SeqCst));
        until("two goes on", || two.asked.load(Ordering::SeqCst) > others + 5).await;
        // One may have been under way.
        assert!(one.asked.load(Ordering::SeqCst) <= before + 1);
    }
}

mod many {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_thousand_addresses_can_come_fail_and_go() {
        let origins: Vec<_> =
            (0..1000).map(|n| format!("10.1.{}.{}:80", n / 250, n % 250 + 1)).collect();
        let pool = Pool::start(&target(&origins.join(",")), &PoolSettings::default());
        let addresses: BTreeSet<_> =
            (0..1000).filter_map(|_| pool.pick(&[])).map(|pick| pick.address()).collect();
        assert_eq!(addresses.len(), 1000);
        // Every other one fails for as long as it takes.
        let is_bad = |address: SocketAddr| address.to_string().ends_with("1:80");
        for _ in 0..10_000 {
            let mut pick = pool.pick(&[]).unwrap();
            if is_bad(pick.address()) { pick.failed(Failure::Timeout) } else { pick.succeeded() }
        }
        assert!(!pool.snapshot().panic);
        assert!((0..1000).filter_map(|_| pool.pick(&[])).all(|pick| !is_bad(pick.address())));
        // They are well again: probes find out, one request each.
        advance(SECOND * 30).await;
        for _ in 0..1000 {
            pool.pick(&[]).unwrap().succeeded();
        }
        assert!(pool.snapshot().addresses.iter().all(|it| it.state == State::Well));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_threads_lose_no_count_while_addresses_come_and_go() {
        let script = Script::default();
        script.lead("app", &[1, 2, 3, 4]);
        let settings =
            PoolSettings { resolve_every: Duration::from_millis(1), ..PoolSettings::default() };
        let pool = Pool::start_with(&target("app:80"), &settings, &script);
        pool.wait_for_lookups(SECOND * 10).await;
        let threads: Vec<_> = (0_usize..4)
            .map(|thread| {
                let pool = Arc::clone(&pool);
                thread::spawn(move || {
                    for round in 0..20_000 {
                        // Somebody is always known, so somebody is always given.
                        let mut pick = pool.pick(&[]).unwrap();
                        match (round + thread) % 7 {
                            0 => {}
                            1..4 => pick.failed(Failure::Reset),
                            _ => pick.succeeded(),
                        }
                    }
                })
            })
            .collect();
        for numbers in [&[1, 2][..], &[2, 3], &[4], &[1, 2, 3, 4]] {
            sleep(Duration::from_millis(5)).await;
            script.lead("app", numbers);
        }
        for thread in threads {
            tokio::task::block_in_place(|| thread.join()).unwrap();
        }
        let wait = async {
            while pool.snapshot().addresses.len() != 4 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(SECOND * 20, wait).await.unwrap();
        assert!(pool.snapshot().addresses.iter().all(|it| it.in_flight == 0));
    }
}
