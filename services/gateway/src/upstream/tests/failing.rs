use super::*;

#[tokio::test(start_paused = true)]
async fn a_failing_address_is_ejected_then_probed_once_and_used_again() {
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
    let mut probe = pool.select(&[]).unwrap();
    assert_eq!(number(&probe), 1);
    assert_eq!(used(&pool), [2], "one at a time");
    probe.succeeded();
    drop(probe);
    assert_eq!(used(&pool), [1, 2]);
    assert_eq!(state(&pool, 1), State::Healthy);
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_is_followed_by_a_longer_backoff() {
    let pool = fixed(2);
    refuse(&pool, 1, 5);
    advance(SECOND).await;
    let mut probe = pool.select(&[]).unwrap();
    assert_eq!(number(&probe), 1);
    probe.failed(Failure::Refused);
    drop(probe);
    advance(Duration::from_millis(1499)).await;
    assert_eq!(used(&pool), [2]);
    advance(Duration::from_millis(501)).await;
    assert_eq!(number(&pool.select(&[]).unwrap()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_probe_whose_client_disconnected_is_followed_by_another() {
    let pool = fixed(2);
    refuse(&pool, 1, 5);
    advance(SECOND).await;
    let probe = pool.select(&[]).unwrap();
    assert_eq!(number(&probe), 1);
    assert_eq!(number(&pool.select(&[]).unwrap()), 2);
    drop(probe);
    assert_eq!(number(&pool.select(&[]).unwrap()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lack_of_file_descriptors_is_no_failure_of_an_address() {
    let failure = Failure::of(&io::Error::from_raw_os_error(24));
    assert_eq!((failure, failure.problem("/").status.as_u16()), (Failure::Resources, 503));
    let pool = fixed(2);
    for _ in 0..20 {
        pool.select(&[]).unwrap().failed(failure);
    }
    assert_eq!(used(&pool), [1, 2]);
    refuse(&pool, 1, 5);
    advance(SECOND).await;
    pool.select(&[]).unwrap().failed(failure);
    assert_eq!(number(&pool.select(&[]).unwrap()), 1, "its probe is repeated");
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_never_a_probe() {
    let pool = fixed(3);
    refuse(&pool, 1, 5);
    advance(SECOND).await;
    assert_eq!(number(&pool.select(&[address(2)]).unwrap()), 3);
}

#[tokio::test(start_paused = true)]
async fn a_single_address_is_always_used_and_healthy_after_its_first_success() {
    let pool = fixed(1);
    for _ in 0..6000 {
        refuse(&pool, 1, 1);
        advance(Duration::from_millis(10)).await;
    }
    assert!(!pool.is_ready());
    assert!(pool.snapshot().panic);
    assert_eq!(pool.snapshot().opened_total, 1);
    pool.select(&[]).unwrap().succeeded();
    assert!(pool.is_ready());
    assert!(!pool.snapshot().panic);
}

#[tokio::test(start_paused = true)]
async fn below_the_threshold_all_are_used_and_the_healthy_one_is_preferred() {
    let pool = fixed(3);
    refuse(&pool, 1, 5);
    assert_eq!(used(&pool), [2, 3]);
    refuse(&pool, 2, 5);
    assert!(pool.snapshot().panic);
    assert_eq!(used(&pool), [1, 2, 3]);
    let to_healthy = (0..3000).filter_map(|_| pool.select(&[])).filter(|p| number(p) == 3).count();
    assert!((1800..2200).contains(&to_healthy), "{to_healthy} of 3000");
    // One success suffices to exceed the threshold.
    lease_on(&pool, 1).succeeded();
    assert!(!pool.snapshot().panic);
    assert_eq!(used(&pool), [1, 3]);
}

#[tokio::test(start_paused = true)]
async fn in_panic_mode_all_addresses_take_turns_without_probes() {
    let pool = fixed(2);
    refuse(&pool, 1, 5);
    refuse(&pool, 2, 5);
    advance(SECOND * 2).await;
    let numbers: Vec<_> = (0..4).filter_map(|_| pool.select(&[])).map(|p| number(&p)).collect();
    assert!(numbers == [1, 2, 1, 2] || numbers == [2, 1, 2, 1], "{numbers:?}");
}

#[tokio::test]
async fn without_a_threshold_no_healthy_address_means_no_candidate() {
    let settings = PoolSettings { panic_below_percent: 0, ..PoolSettings::default() };
    let pool = Pool::start(&target("10.0.0.1:80"), &settings);
    refuse(&pool, 1, 5);
    assert!(pool.select(&[]).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_truncated_response_counts_as_a_failure() {
    let pool = fixed(2);
    // 11 of 21 requests failed, because the success before the first failure is too old to count.
    for _ in 0..11 {
        assert_eq!(state(&pool, 1), State::Healthy);
        let mut lease = lease_on(&pool, 1);
        lease.succeeded();
        lease.failed(Failure::Reset);
        lease.failed(Failure::Reset);
    }
    assert_eq!(state(&pool, 1), State::Open);
}

#[tokio::test(start_paused = true)]
async fn the_snapshot_reports_the_last_failure_and_its_time() {
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
    (0..5).for_each(|_| drop(pool.select(&[])));
    assert!(pool.may_retry());
    // A retry earns nothing.
    (0..50).for_each(|_| drop(pool.select(&[address(1)])));
    assert!(!pool.may_retry());
    let snapshot = pool.snapshot();
    assert_eq!((snapshot.retries_total, snapshot.retries_refused_total), (501, 2));
}
