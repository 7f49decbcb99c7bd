use super::*;

/// A replica that responds to checks with a configurable result, and counts them.
#[derive(Clone)]
struct Replica {
    address: SocketAddr,
    healthy: Arc<AtomicBool>,
    checks: Arc<AtomicUsize>,
}

async fn replica() -> Replica {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let replica = Replica {
        address: listener.local_addr().unwrap(),
        healthy: Arc::new(AtomicBool::new(true)),
        checks: Arc::default(),
    };
    let it = replica.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            it.checks.fetch_add(1, Ordering::SeqCst);
            let healthy = it.healthy.load(Ordering::SeqCst);
            let status = if healthy { "200 OK" } else { "500 Oh" };
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
async fn failed_checks_eject_an_address_and_a_success_restores_it() {
    let (one, two) = (replica().await, replica().await);
    let pool = start(&[&one, &two]);
    one.healthy.store(false, Ordering::SeqCst);
    until("one is out", || state(&pool, &one) == State::Unhealthy).await;
    for _ in 0..20 {
        assert_eq!(pool.select(&[]).unwrap().address(), two.address);
    }
    let failure = pool.snapshot().addresses.iter().find_map(|it| it.last_failure);
    assert_eq!(failure.unwrap().0, Failure::Status(500));
    one.healthy.store(true, Ordering::SeqCst);
    until("one is back", || state(&pool, &one) == State::Healthy).await;
}

#[tokio::test]
async fn no_address_is_ejected_if_all_checks_fail() {
    let (one, two) = (replica().await, replica().await);
    one.healthy.store(false, Ordering::SeqCst);
    two.healthy.store(false, Ordering::SeqCst);
    let pool = start(&[&one, &two]);
    until("both are out", || !pool.is_ready()).await;
    let used: BTreeSet<_> =
        (0..4).filter_map(|_| pool.select(&[])).map(|lease| lease.address()).collect();
    assert_eq!(used, BTreeSet::from([one.address, two.address]));
}

#[tokio::test]
async fn a_successful_check_ends_the_backoff_of_a_failed_address() {
    let (one, two) = (replica().await, replica().await);
    let pool = start(&[&one, &two]);
    // Within one poll, so that no check happens in between.
    for _ in 0..5 {
        pool.select(&[two.address]).unwrap().failed(Failure::Timeout);
    }
    assert_eq!(state(&pool, &one), State::Open);
    until("it is closed", || state(&pool, &one) == State::Healthy).await;
}

#[tokio::test]
async fn a_dropped_pool_stops_its_checks() {
    let one = replica().await;
    let pool = start(&[&one]);
    until("a first check", || one.checks.load(Ordering::SeqCst) > 0).await;
    let lease = pool.select(&[]);
    drop(pool);
    // The runtime drops the aborted task at the next opportunity.
    tokio::task::yield_now().await;
    sleep(Duration::from_millis(50)).await;
    let checks = one.checks.load(Ordering::SeqCst);
    sleep(Duration::from_millis(200)).await;
    assert_eq!(one.checks.load(Ordering::SeqCst), checks);
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_pool_leaves_no_tasks_behind() {
    let settings = PoolSettings {
        check: CheckSettings { every: SECOND * 3600, ..CheckSettings::default() },
        ..PoolSettings::default()
    };
    let check = CheckPath::parse("/healthz");
    let target = Target { check, ..target("10.0.0.1:80,10.0.0.2:80,app:80") };
    let script = Script::default();
    script.set_addresses("app", &[3]);
    let pool = Pool::start_with(&target, &settings, &script);
    pool.wait_for_lookups(SECOND).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    // Three checks, and one lookup per family of the name.
    assert_eq!(tasks(), 5);
    drop(pool);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(tasks(), 0);
}

#[tokio::test]
async fn a_removed_address_is_no_longer_checked() {
    let (one, two) = (replica().await, replica().await);
    let script = Script::default();
    script.set("app", Answer::Addresses(vec![one.address, two.address]));
    let target = Target { check: CheckPath::parse("/"), ..target("app:80") };
    let every = Duration::from_millis(20);
    let settings = PoolSettings {
        resolve_every: every,
        keep_unseen: every,
        check: CheckSettings { every, bound: SECOND * 5, ..CheckSettings::default() },
        ..PoolSettings::default()
    };
    let pool = Pool::start_with(&target, &settings, &script);
    until("a first check", || one.checks.load(Ordering::SeqCst) > 0).await;
    script.set("app", Answer::Addresses(vec![two.address]));
    one.healthy.store(false, Ordering::SeqCst);
    until("one is gone", || pool.snapshot().addresses.len() == 1).await;
    let (before, others) = (one.checks.load(Ordering::SeqCst), two.checks.load(Ordering::SeqCst));
    until("two goes on", || two.checks.load(Ordering::SeqCst) > others + 5).await;
    // One check may have been in progress.
    assert!(one.checks.load(Ordering::SeqCst) <= before + 1);
}
