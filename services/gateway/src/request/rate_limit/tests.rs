use super::*;
use proptest::prelude::*;
use std::time::Duration;

fn bounds(connections: u32, rate: &str, streams: u32) -> Bounds {
    let requests = Rate::parse(rate).unwrap();
    Bounds { connections, requests, streams, exempt: Networks::default() }
}

/// A table, and the time at which it was created.
fn table(max_clients: usize) -> (ClientTable, Instant) {
    let start = Instant::now();
    (ClientTable::new(max_clients, start), start)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn client(number: u32) -> Client {
    Client::Known(IpAddr::V4(number.into()))
}

fn is_within(decision: RateDecision) -> bool {
    matches!(decision, RateDecision::Within(_))
}

fn quota(decision: RateDecision) -> Quota {
    match decision {
        RateDecision::Within(quota) | RateDecision::Over(quota) => quota,
        RateDecision::Unbounded => panic!("nothing was counted"),
    }
}

#[test]
fn a_burst_passes_and_then_the_rate_applies() {
    let (clients, start) = table(MAX_CLIENTS);
    let bounds = bounds(0, "10 burst 20", 0);
    let check_rate = |milliseconds| {
        clients.check_rate(&bounds, client(1), start + Duration::from_millis(milliseconds))
    };
    for remaining in (0..20).rev() {
        let decision = check_rate(0);
        assert!(is_within(decision));
        assert_eq!(quota(decision).remaining, remaining);
    }
    let over = Quota { limit: 20, window_seconds: 2, remaining: 0, reset_seconds: 1 };
    assert_eq!(check_rate(0), RateDecision::Over(over));
    assert_eq!(check_rate(99), RateDecision::Over(over));
    assert!(is_within(check_rate(100)));
    assert!(!is_within(check_rate(150)));
    // Rejected requests cost nothing.
    assert_eq!(quota(check_rate(2100)).remaining, 19);
}

#[test]
fn clients_are_limited_independently() {
    let (clients, start) = table(MAX_CLIENTS);
    let bounds = bounds(1, "1 burst 1", 1);
    let _permit = clients.connect(&bounds, ip("192.0.2.1"), start).unwrap();
    assert!(clients.connect(&bounds, ip("192.0.2.1"), start).is_none());
    assert!(clients.connect(&bounds, ip("192.0.2.2"), start).is_some());
    assert!(is_within(clients.check_rate(&bounds, client(1), start)));
    assert!(!is_within(clients.check_rate(&bounds, client(1), start)));
    assert!(is_within(clients.check_rate(&bounds, client(2), start)));
}

#[test]
fn all_forms_of_an_address_share_one_allowance() {
    for (one, same) in [
        ("192.0.2.1", "::ffff:192.0.2.1"),
        ("192.0.2.1", "64:ff9b::192.0.2.1"),
        ("192.0.2.1", "64:ff9b:1::192.0.2.1"),
        ("192.0.2.1", "64:ff9b:1:ab::192.0.2.1"),
        ("2001:db8::1", "2001:db8::ffff:1:2:3"),
    ] {
        assert_eq!(network_of(ip(one)), network_of(ip(same)), "{one} {same}");
    }
    for (one, other) in [
        ("192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8:0:1::1"),
        ("64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2"),
        ("64:ff9b:1::192.0.2.1", "64:ff9b:1::192.0.2.2"),
        // With a prefix of 48 bits.
        ("64:ff9b:1:c000:2:100::", "64:ff9b:1:c633:64:100::"),
        ("192.0.2.1", "64:ff9b::1:c000:201"),
        ("::1", "0.0.0.0"),
        ("2001:db8::1", "32.1.13.184"),
    ] {
        assert_ne!(network_of(ip(one)), network_of(ip(other)), "{one} {other}");
    }
}

#[test]
fn a_permit_is_released_on_drop() {
    let (clients, start) = table(MAX_CLIENTS);
    let bounds = bounds(2, "0", 1);
    let (peer, who) = (ip("2001:db8::1"), Client::Known(ip("2001:db8::2")));
    let first = clients.connect(&bounds, peer, start).unwrap();
    let second = clients.connect(&bounds, peer, start).unwrap();
    let stream = clients.stream(&bounds, who, start, false).unwrap();
    assert!(clients.connect(&bounds, peer, start).is_none());
    assert!(clients.stream(&bounds, who, start, false).is_none());
    drop(first);
    let third = clients.connect(&bounds, peer, start).unwrap();
    drop((second, third));
    assert_eq!(clients.tracked_clients(), 1);
    drop(stream);
    assert_eq!(clients.tracked_clients(), 0, "nothing open and nothing owed");
}

#[test]
fn permits_work_after_a_thread_panics() {
    let (clients, start) = table(MAX_CLIENTS);
    let bounds = bounds(1, "0", 0);
    let permit = clients.connect(&bounds, ip("::1"), start).unwrap();
    let other = std::thread::spawn(move || {
        let _permit = permit;
        panic!("as tests do");
    });
    assert!(other.join().is_err());
    assert!(clients.connect(&bounds, ip("::1"), start).is_some());
}

#[test]
fn disabled_limits_create_no_entries() {
    let (clients, start) = table(MAX_CLIENTS);
    let off = Bounds::default();
    let places: Vec<_> =
        (0..100).map(|_| clients.connect(&off, ip("::1"), start).unwrap()).collect();
    assert!(clients.stream(&off, client(1), start, false).is_some());
    assert_eq!(clients.check_rate(&off, client(1), start), RateDecision::Unbounded);
    assert_eq!(clients.tracked_clients(), 0);
    drop(places);
}

#[test]
fn exempt_clients_are_not_counted_but_hidden_ones_behind_them_are() {
    let (clients, start) = table(MAX_CLIENTS);
    let exempt = Networks::parse("10.0.0.0/8").unwrap();
    let bounds = Bounds { exempt, ..bounds(1, "1 burst 1", 1) };
    let balancer = ip("::ffff:10.0.0.1");
    let places = [(); 3].map(|()| clients.connect(&bounds, balancer, start).unwrap());
    for _ in 0..3 {
        assert_eq!(
            clients.check_rate(&bounds, Client::Known(balancer), start),
            RateDecision::Unbounded
        );
    }
    assert!(is_within(clients.check_rate(&bounds, Client::Behind(balancer), start)));
    assert!(!is_within(clients.check_rate(&bounds, Client::Behind(balancer), start)));
    drop(places);
}

#[test]
fn idle_clients_are_removed_as_others_arrive() {
    let (clients, start) = table(1000);
    let bounds = bounds(1, "1000 burst 1", 0);
    let _permit = clients.connect(&bounds, ip("::1"), start).unwrap();
    for number in 0..100_000 {
        let now = start + Duration::from_millis(number.into());
        assert!(is_within(clients.check_rate(&bounds, client(number), now)));
        assert!(clients.tracked_clients() <= MIN_SWEEP + 1);
    }
    assert_eq!(clients.overflow(), 0);
    assert!(clients.connect(&bounds, ip("::1"), start).is_none(), "it is open, so remembered");
}

#[test]
fn new_clients_of_a_full_table_share_the_limits_of_one() {
    let (clients, start) = table(2);
    let bounds = bounds(1, "1 burst 10", 0);
    let check_rate = |number, seconds| {
        clients.check_rate(&bounds, client(number), start + Duration::from_secs(seconds))
    };
    for number in 0..2 {
        assert_eq!(quota(check_rate(number, 0)).remaining, 9);
    }
    for number in 2..12 {
        assert_eq!(quota(check_rate(number, 0)).remaining, 11 - number);
    }
    assert!(!is_within(check_rate(12, 0)));
    assert_eq!(quota(check_rate(1, 0)).remaining, 8, "who is remembered has what was its own");
    assert_eq!(clients.overflow(), 11);
    assert_eq!(clients.tracked_clients(), 2);
    assert_eq!(quota(check_rate(13, 1)).remaining, 9, "the first is idle now, and gives its room");
    assert_eq!(clients.overflow(), 11);
}

#[test]
fn new_clients_share_and_release_overflow_permits() {
    let (clients, start) = table(1);
    let bounds = bounds(1, "0", 0);
    let first = clients.connect(&bounds, ip("192.0.2.1"), start).unwrap();
    let shared = clients.connect(&bounds, ip("192.0.2.2"), start).unwrap();
    assert!(clients.connect(&bounds, ip("192.0.2.3"), start).is_none());
    drop(shared);
    let third = clients.connect(&bounds, ip("192.0.2.3"), start).unwrap();
    drop(first);
    let fourth = clients.connect(&bounds, ip("192.0.2.4"), start).unwrap();
    assert_eq!(clients.tracked_clients(), 1, "room was made by the first");
    drop((third, fourth));
    assert_eq!(clients.tracked_clients(), 0);
}

#[test]
fn a_table_full_of_connections_has_room_as_soon_as_one_closes() {
    let (clients, start) = table(2);
    let bounds = bounds(1, "1 burst 1", 0);
    let peers = [ip("192.0.2.1"), ip("192.0.2.2")];
    let [first, _second] = peers.map(|peer| clients.connect(&bounds, peer, start).unwrap());
    clients.check_rate(&bounds, Client::Known(peers[0]), start);
    clients.check_rate(&bounds, client(3), start);
    assert_eq!(clients.overflow(), 1);
    drop(first);
    clients.check_rate(&bounds, client(3), start + Duration::from_secs(1));
    assert_eq!(clients.overflow(), 1);
}

#[test]
fn the_table_never_exceeds_its_maximum_size() {
    let (clients, start) = table(SMALLEST_SHARDED);
    let bounds = bounds(0, "1 burst 1", 0);
    for number in 0..100_000 {
        clients.check_rate(&bounds, client(number), start);
    }
    assert!(clients.tracked_clients() <= SMALLEST_SHARDED);
    assert!(clients.tracked_clients() > SMALLEST_SHARDED / 2);
}

#[test]
fn limits_may_change_while_requests_are_owed() {
    let (clients, start) = table(MAX_CLIENTS);
    let large = bounds(0, "1 burst 1000000", 0);
    for _ in 0..100 {
        clients.check_rate(&large, client(1), start);
    }
    let small = bounds(0, "1000000 burst 1", 0);
    let over = Quota { limit: 1, window_seconds: 1, remaining: 0, reset_seconds: 100 };
    assert_eq!(clients.check_rate(&small, client(1), start), RateDecision::Over(over));
    let extreme = Rate { per_second: u32::MAX, burst: u32::MAX };
    clients.check_rate(&Bounds { requests: extreme, ..small }, client(1), start);
    let slow = Rate { per_second: 1, burst: u32::MAX };
    clients.check_rate(&Bounds { requests: slow, ..large }, client(1), start);
}

#[test]
fn the_fields_contain_policy_and_state() {
    let quota = Quota { limit: 100, window_seconds: 2, remaining: 7, reset_seconds: 1 };
    let (policy, state) = quota.fields();
    assert_eq!(policy, "\"client\";q=100;w=2");
    assert_eq!(state, "\"client\";r=7;t=1");
}

#[test]
fn a_rate_is_a_number_with_or_without_a_burst() {
    let rate = |per_second, burst| Some(Rate { per_second, burst });
    assert_eq!(Rate::parse("50"), rate(50, 100));
    assert_eq!(Rate::parse(" 50  burst 1 "), rate(50, 1));
    assert_eq!(Rate::parse("0"), rate(0, 0));
    for text in [
        "",
        "x",
        "-1",
        "+1",
        "1.5",
        "50 burst",
        "50 burst 0",
        "50 100",
        "0 burst 5",
        "50 burst 1 2",
        "1000001",
        "50/s",
    ] {
        assert_eq!(Rate::parse(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn the_burst_and_the_rate_are_never_exceeded(
        per_second in 1..200_u32,
        burst in 1..50_u32,
        pauses in proptest::collection::vec(0..50_000_000_u64, 1..300),
    ) {
        let (clients, start) = table(10);
        let requests = Rate { per_second, burst };
        let bounds = Bounds { requests, ..Bounds::default() };
        let (mut elapsed, mut admitted) = (0, 0);
        for pause in pauses {
            elapsed += pause;
            let now = start + Duration::from_nanos(elapsed);
            let decision = clients.check_rate(&bounds, client(1), now);
            admitted += u64::from(is_within(decision));
            let earned = elapsed * u64::from(per_second) / SECOND;
            prop_assert!(admitted <= u64::from(burst) + earned);
            prop_assert!(quota(decision).remaining < burst);
        }
    }

    #[test]
    fn a_client_that_obeys_retry_after_is_allowed(
        per_second in 1..2000_u32,
        burst in 1..50_u32,
        requests in 1..100,
    ) {
        let (clients, start) = table(10);
        let bounds = Bounds { requests: Rate { per_second, burst }, ..Bounds::default() };
        let mut last = clients.check_rate(&bounds, client(1), start);
        for _ in 1..requests {
            let next = clients.check_rate(&bounds, client(1), start);
            prop_assert!(quota(next).remaining <= quota(last).remaining);
            last = next;
        }
        let then = start + Duration::from_secs(quota(last).reset_seconds);
        prop_assert!(is_within(clients.check_rate(&bounds, client(1), then)));
    }

    #[test]
    fn removing_idle_clients_changes_no_decision(
        requests in proptest::collection::vec((0..200_u32, 0..3_000_000_u64), 1..1000),
    ) {
        let start = Instant::now();
        let bounds = bounds(0, "100 burst 3", 0);
        let together = ClientTable::new(200, start);
        let alone: Vec<_> = (0..200).map(|_| ClientTable::new(1, start)).collect();
        let mut elapsed = 0;
        for (number, pause) in requests {
            elapsed += pause;
            let now = start + Duration::from_nanos(elapsed);
            let decision = together.check_rate(&bounds, client(number), now);
            let expected = alone[number as usize].check_rate(&bounds, client(number), now);
            prop_assert_eq!(decision, expected);
        }
        prop_assert_eq!(together.overflow(), 0);
    }

    #[test]
    fn permits_never_exceed_the_limit_and_are_never_lost(
        steps in proptest::collection::vec((0..5_u32, any::<bool>(), any::<bool>()), 1..300),
        remembered in 1..6_usize,
    ) {
        let (clients, start) = table(remembered);
        let bounds = bounds(2, "0", 3);
        let mut open = Vec::new();
        for (number, takes, stream) in steps {
            if takes {
                let permit = if stream {
                    clients.stream(&bounds, client(number), start, false)
                } else {
                    clients.connect(&bounds, client(number).address(), start)
                };
                open.extend(permit.map(|permit| (number, stream, permit)));
            } else if let Some(at) = open.iter().position(|(whose, ..)| *whose == number) {
                drop(open.remove(at));
            }
            for number in 0..5 {
                let of = |wanted| open.iter().filter(|(whose, stream, _)| {
                    *whose == number && *stream == wanted
                }).count();
                // Its own permits and all those of the overflow bucket.
                prop_assert!(of(false) <= 4 && of(true) <= 6);
            }
            prop_assert!(clients.tracked_clients() <= remembered);
        }
        drop(open);
        prop_assert_eq!(clients.tracked_clients(), 0);
        for number in 0..5 {
            prop_assert!(clients.stream(&bounds, client(number), start, false).is_some());
        }
    }
}
