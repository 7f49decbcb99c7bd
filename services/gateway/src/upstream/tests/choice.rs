use super::*;

#[tokio::test]
async fn sequential_requests_are_distributed_round_robin() {
    let pool = fixed(3);
    let numbers: Vec<_> = (0..6).filter_map(|_| pool.select(&[])).map(|p| number(&p)).collect();
    assert_eq!(numbers, [1, 2, 3, 1, 2, 3]);
}

#[tokio::test]
async fn concurrent_requests_are_spread_evenly() {
    let pool = fixed(4);
    let leases: Vec<_> = (0..400).filter_map(|_| pool.select(&[])).collect();
    let in_flight = |pool: &Pool| -> Vec<_> {
        pool.snapshot().addresses.iter().map(|it| it.in_flight).collect()
    };
    assert_eq!(in_flight(&pool), [100; 4]);
    drop(leases);
    assert_eq!(in_flight(&pool), [0; 4]);
}

#[tokio::test]
async fn a_retry_never_uses_a_tried_address() {
    let pool = fixed(2);
    assert!(pool.has_other_than(&[address(1)]));
    for _ in 0..10 {
        assert_eq!(number(&pool.select(&[address(1)]).unwrap()), 2);
    }
    assert!(pool.select(&[address(1), address(2)]).is_none());
    assert!(!pool.has_other_than(&[address(1), address(2)]));
}

#[tokio::test]
async fn an_open_address_is_no_alternative_for_a_retry() {
    let pool = fixed(2);
    refuse(&pool, 2, 5);
    assert!(!pool.has_other_than(&[address(1)]));
    assert!(pool.select(&[address(1)]).is_none());
}
