use super::*;

#[tokio::test(start_paused = true)]
async fn new_addresses_are_used_within_one_interval_and_old_ones_while_they_respond() {
    let script = Script::default();
    script.set_addresses("app", &[1, 2]);
    let pool = pool("app:80", &script).await;
    assert_eq!(used(&pool), [1, 2]);
    script.set_addresses("app", &[3, 2]);
    sleep(Duration::from_millis(2001)).await;
    assert_eq!(used(&pool), [1, 2, 3]);
    sleep(SECOND * 600).await;
    assert_eq!(used(&pool), [1, 2, 3], "it still answers");
}

#[tokio::test(start_paused = true)]
async fn an_address_is_removed_if_it_fails_and_was_unseen_for_a_minute() {
    let script = Script::default();
    script.set_addresses("app", &[1, 2, 3]);
    let pool = pool("app:80", &script).await;
    let known = |pool: &Pool| pool.snapshot().addresses.len();
    // Fails, but DNS still returns it.
    refuse(&pool, 1, 5);
    sleep(SECOND * 120).await;
    assert_eq!((known(&pool), used_by_retries(&pool)), (3, vec![2, 3]));
    // DNS returns neither of them; one of them fails.
    script.set_addresses("app", &[3]);
    sleep(SECOND * 3).await;
    refuse_if_known(&pool, 1);
    assert_ne!(state(&pool, 1), State::Healthy);
    sleep(SECOND * 55).await;
    assert_eq!(known(&pool), 3, "not yet a minute");
    refuse_if_known(&pool, 1);
    sleep(SECOND * 10).await;
    let left: Vec<_> = pool.snapshot().addresses.iter().map(|it| it.address).collect();
    assert_eq!(left, [address(2), address(3)]);
}

#[tokio::test(start_paused = true)]
async fn unseen_failing_addresses_do_not_trigger_panic_mode() {
    let script = Script::default();
    script.set_addresses("app", &[1, 2, 3]);
    let pool = pool("app:80", &script).await;
    script.set_addresses("app", &[4]);
    sleep(SECOND * 3).await;
    for number in 1..=3 {
        refuse(&pool, number, 5);
    }
    assert!(!pool.snapshot().panic);
    assert_eq!(used_by_retries(&pool), [4]);
}

#[tokio::test(start_paused = true)]
async fn a_name_server_that_returns_eight_of_many_addresses_reveals_all_and_loses_none() {
    for count in [8, 12, 24, 100] {
        let script = Script::default();
        let all: Vec<_> = (1..=count).map(address).collect();
        script.set("app", Answer::Eight(all.clone()));
        let pool = pool("app:80", &script).await;
        let first = pool.snapshot().addresses[0].address;
        let others: Vec<_> = all.iter().copied().filter(|it| *it != first).collect();
        let busy = pool.select(&[others, vec![address(0)]].concat()).unwrap();
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
async fn each_family_is_looked_up_separately() {
    let six: SocketAddr = "[2001:db8::1]:80".parse().unwrap();
    for addresses in [vec![address(1)], vec![six]] {
        for answer in [Answer::OneFamily(addresses.clone()), Answer::OtherHangs(addresses.clone())]
        {
            let script = Script::default();
            script.set("app", answer);
            let begun = Instant::now();
            let pool = pool("app:80", &script).await;
            assert!(begun.elapsed() < SECOND / 2, "it waits for the other family");
            assert_eq!(pool.select(&[]).unwrap().address(), addresses[0]);
        }
    }
    let script = Script::default();
    script.set("app", Answer::Addresses(vec![address(1), six]));
    let pool = pool("app:80", &script).await;
    sleep(SECOND).await;
    assert_eq!(pool.snapshot().addresses.len(), 2);
    // The lookups of one family begin to fail: known addresses are kept.
    script.set("app", Answer::OneFamily(vec![address(1)]));
    sleep(SECOND * 600).await;
    assert_eq!(pool.snapshot().addresses.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn known_addresses_outlive_failed_empty_and_hanging_lookups() {
    let script = Script::default();
    script.set_addresses("app", &[1]);
    let pool = pool("app:80", &script).await;
    for answer in [Answer::NoSuchName, Answer::Addresses(Vec::new()), Answer::Nothing] {
        script.set("app", answer);
        sleep(SECOND * 10).await;
        assert_eq!(used(&pool), [1]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_resolves_again_is_used_within_one_interval() {
    let script = Script::default();
    script.set_addresses("app", &[1]);
    let pool = pool("app:80", &script).await;
    script.set("app", Answer::NoSuchName);
    sleep(SECOND * 60).await;
    script.set_addresses("app", &[2]);
    sleep(Duration::from_millis(2001)).await;
    assert_eq!(used(&pool), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_never_resolves_has_no_addresses_and_ends_the_wait() {
    let script = Script::default();
    let begun = Instant::now();
    let pool = pool("app:80", &script).await;
    assert!(begun.elapsed() < SECOND / 2);
    assert!(pool.select(&[]).is_none());
    assert!(!pool.is_ready());
    script.set_addresses("app", &[1]);
    sleep(Duration::from_millis(2001)).await;
    assert_eq!(used(&pool), [1]);
    assert!(pool.is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_hanging_lookup_is_not_repeated_and_blocks_no_other() {
    let script = Script::default();
    script.set("hangs", Answer::Nothing);
    script.set_addresses("app", &[1]);
    let begun = Instant::now();
    let pool = pool("hangs:80,app:80", &script).await;
    assert_eq!(begun.elapsed(), SECOND, "the wait is bounded");
    assert_eq!(used(&pool), [1]);
    script.set_addresses("app", &[2]);
    sleep(SECOND * 600).await;
    assert_eq!(script.pending.load(Ordering::SeqCst), 2, "one for each family");
    assert_eq!(used(&pool), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_hanging_first_lookup_times_out() {
    let script = Script::default();
    script.set("app", Answer::Nothing);
    let pool = Pool::start_with(&target("app:80"), &PoolSettings::default(), &script);
    let begun = Instant::now();
    pool.wait_for_lookups(SECOND * 3600).await;
    assert!(begun.elapsed() < SECOND * 12);
    assert!(pool.select(&[]).is_none());
}

#[tokio::test(start_paused = true)]
async fn all_addresses_of_all_origins_are_used_once_each() {
    let script = Script::default();
    script.set_addresses("a", &[3, 1, 3]);
    script.set_addresses("b", &[2, 1]);
    let pool = pool("b:80,a:80,b:80,10.0.0.9:80,10.0.0.1:80", &script).await;
    assert_eq!(used(&pool), [1, 2, 3, 9]);
    assert_eq!(pool.snapshot().addresses.len(), 4);
    assert_eq!(script.lookups.load(Ordering::SeqCst), 4, "a name is looked up once a family");
    // One of its two names no longer returns it.
    script.set_addresses("a", &[3]);
    script.set_addresses("b", &[2]);
    sleep(Duration::from_millis(2001)).await;
    assert_eq!(used(&pool), [1, 2, 3, 9]);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_stays_keeps_its_state() {
    let script = Script::default();
    script.set_addresses("app", &[1, 2, 4]);
    let pool = pool("app:80", &script).await;
    refuse(&pool, 2, 5);
    let busy = lease_on(&pool, 4);
    script.set_addresses("app", &[2, 3, 4]);
    sleep(Duration::from_millis(2001)).await;
    let after = pool.snapshot().addresses;
    assert_eq!(after.iter().map(|it| it.in_flight).collect::<Vec<_>>(), [0, 0, 0, 1]);
    assert!(!matches!(after[1].state, State::Healthy));
    assert_eq!(after[2].state, State::Healthy);
    drop(busy);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_of_a_removed_address_does_not_affect_its_successor() {
    let script = Script::default();
    script.set_addresses("app", &[1]);
    let pool = pool("app:80", &script).await;
    let mut old: Vec<_> = (0..5).filter_map(|_| pool.select(&[])).collect();
    script.set_addresses("app", &[2]);
    for _ in 0..9 {
        sleep(SECOND * 10).await;
        refuse_if_known(&pool, 1);
    }
    assert_eq!(pool.snapshot().addresses.len(), 1);
    script.set_addresses("app", &[1]);
    sleep(Duration::from_millis(2001)).await;
    for lease in &mut old {
        lease.failed(Failure::Reset);
    }
    assert_eq!(state(&pool, 1), State::Healthy);
    assert_eq!(pool.snapshot().addresses[0].in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_pool_stops_its_lookups_and_its_leases_can_still_end() {
    let script = Script::default();
    script.set_addresses("app", &[1]);
    script.set("hangs", Answer::Nothing);
    let pool = pool("app:80,hangs:80", &script).await;
    let mut lease = pool.select(&[]).unwrap();
    drop(pool);
    sleep(SECOND).await;
    let lookups = script.lookups.load(Ordering::SeqCst);
    sleep(SECOND * 60).await;
    assert_eq!(script.lookups.load(Ordering::SeqCst), lookups);
    assert_eq!(script.pending.load(Ordering::SeqCst), 0);
    lease.failed(Failure::Reset);
}

#[tokio::test]
async fn the_system_resolver_finds_localhost_and_not_an_invalid_name() {
    // RFC 6761: `localhost` always resolves to this machine, `.invalid` never resolves.
    let settings = PoolSettings::default();
    let here = Pool::start(&target("localhost:80"), &settings);
    let nowhere = Pool::start(&target("no-such-name.invalid:80"), &settings);
    here.wait_for_lookups(SECOND * 30).await;
    nowhere.wait_for_lookups(SECOND * 30).await;
    assert!(here.select(&[]).unwrap().address().ip().is_loopback());
    assert!(nowhere.select(&[]).is_none());
}

#[tokio::test]
async fn a_literal_address_is_known_immediately() {
    let pool = Pool::start(&target("[::1]:80"), &PoolSettings::default());
    assert_eq!(pool.select(&[]).unwrap().address(), "[::1]:80".parse().unwrap());
    assert!(pool.is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_changed_pool_keeps_the_addresses_of_its_names_without_a_name_server() {
    let script = Script::default();
    script.set_addresses("api", &[3]);
    script.set_addresses("app", &[1, 2]);
    let before = pool("api:80,app:80", &script).await;
    script.set("app", Answer::NoSuchName);
    let after = Pool::start_with(&target("app:80,new:80"), &PoolSettings::default(), &script);
    after.adopt(&before);
    drop(before);
    assert_eq!(used(&after), [1, 2]);
    sleep(SECOND * 10).await;
    assert_eq!(used(&after), [1, 2]);
    script.set_addresses("app", &[4]);
    sleep(SECOND * 3).await;
    assert_eq!(used(&after), [1, 2, 4]);
}
