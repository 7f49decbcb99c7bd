use super::*;

#[tokio::test(start_paused = true)]
async fn a_thousand_addresses_can_be_added_fail_and_be_removed() {
    let origins: Vec<_> =
        (0..1000).map(|n| format!("10.1.{}.{}:80", n / 250, n % 250 + 1)).collect();
    let pool = Pool::start(&target(&origins.join(",")), &PoolSettings::default());
    let addresses: BTreeSet<_> =
        (0..1000).filter_map(|_| pool.select(&[])).map(|lease| lease.address()).collect();
    assert_eq!(addresses.len(), 1000);
    // Every other one fails permanently.
    let is_bad = |address: SocketAddr| address.to_string().ends_with("1:80");
    for _ in 0..10_000 {
        let mut lease = pool.select(&[]).unwrap();
        if is_bad(lease.address()) { lease.failed(Failure::Timeout) } else { lease.succeeded() }
    }
    assert!(!pool.snapshot().panic);
    assert!((0..1000).filter_map(|_| pool.select(&[])).all(|lease| !is_bad(lease.address())));
    // They are healthy again: one probe request each detects it.
    advance(SECOND * 30).await;
    for _ in 0..1000 {
        pool.select(&[]).unwrap().succeeded();
    }
    assert!(pool.snapshot().addresses.iter().all(|it| it.state == State::Healthy));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_are_exact_across_threads_while_addresses_change() {
    let script = Script::default();
    script.set_addresses("app", &[1, 2, 3, 4]);
    let settings =
        PoolSettings { resolve_every: Duration::from_millis(1), ..PoolSettings::default() };
    let pool = Pool::start_with(&target("app:80"), &settings, &script);
    pool.wait_for_lookups(SECOND * 10).await;
    let threads: Vec<_> = (0_usize..4)
        .map(|thread| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                for round in 0..20_000 {
                    // At least one address is always known, so the pool always returns one.
                    let mut lease = pool.select(&[]).unwrap();
                    match (round + thread) % 7 {
                        0 => {}
                        1..4 => lease.failed(Failure::Reset),
                        _ => lease.succeeded(),
                    }
                }
            })
        })
        .collect();
    for numbers in [&[1, 2][..], &[2, 3], &[4], &[1, 2, 3, 4]] {
        sleep(Duration::from_millis(5)).await;
        script.set_addresses("app", numbers);
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
