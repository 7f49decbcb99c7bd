//! Load balancing: choice of an address for a request. Pure.

use super::jitter::mix;

/// Chooses the next candidate in turn, or a random other one if that has a lower load: it is
/// healthy, or has fewer requests in flight. Equal load is distributed round robin, unequal load
/// evens out, and two candidates suffice for any pool size (power of two choices). Returns only
/// candidates that are free.
pub(super) fn choose<C, L: Ord>(
    candidates: &[C],
    turn: usize,
    is_free: impl Fn(&C) -> bool,
    load: impl Fn(&C) -> L,
) -> Option<&C> {
    let count = candidates.len();
    let free = |candidate: &&C| is_free(candidate);
    let (passed, coming) = candidates.split_at(turn.checked_rem(count)?);
    let mut round = coming.iter().chain(passed);
    let in_turn = round.find(free)?;
    // One of the remaining candidates of the round.
    let chance = usize::try_from(mix(turn as u64) >> 33).unwrap_or(0);
    let distance = chance % count.saturating_sub(1).max(1);
    let Some(by_chance) = round.nth(distance).filter(free) else { return Some(in_turn) };
    Some(if load(by_chance) < load(in_turn) { by_chance } else { in_turn })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    struct Stub {
        number: u8,
        healthy: bool,
        in_flight: usize,
    }

    fn idle(count: u8) -> Vec<Stub> {
        (0..count).map(|number| Stub { number, healthy: true, in_flight: 0 }).collect()
    }

    fn number(stubs: &[Stub], turn: usize, except: &[u8]) -> Option<u8> {
        let is_free = |stub: &Stub| !except.contains(&stub.number);
        choose(stubs, turn, is_free, |stub| (!stub.healthy, stub.in_flight)).map(|stub| stub.number)
    }

    #[test]
    fn equal_load_is_distributed_round_robin() {
        let stubs = idle(5);
        let chosen: Vec<_> = (0..10).filter_map(|turn| number(&stubs, turn, &[])).collect();
        assert_eq!(chosen, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn the_idle_one_of_two_is_chosen() {
        let mut stubs = idle(2);
        stubs[0].in_flight = 1;
        assert!((0..100).all(|turn| number(&stubs, turn, &[]) == Some(1)));
    }

    #[test]
    fn a_slow_endpoint_gets_a_fair_share_of_load_but_fewer_requests() {
        let mut stubs = idle(10);
        stubs[3].in_flight = 1000;
        assert!((0..1000).all(|turn| number(&stubs, turn, &[]) != Some(3)));
    }

    #[test]
    fn requests_of_a_busy_endpoint_go_to_all_others() {
        let mut stubs = idle(4);
        stubs[0].in_flight = 1;
        let mut count = [0_u32; 4];
        for turn in (0..4000).step_by(4) {
            count[usize::from(number(&stubs, turn, &[]).unwrap())] += 1;
        }
        assert_eq!(count[0], 0);
        assert!(count[1..].iter().all(|&count| (250..420).contains(&count)), "{count:?}");
    }

    #[test]
    fn in_panic_mode_the_healthy_one_of_two_is_chosen_even_if_busier() {
        let mut stubs = idle(2);
        stubs[0].healthy = false;
        stubs[1].in_flight = 50;
        assert!((0..100).all(|turn| number(&stubs, turn, &[]) == Some(1)));
    }

    #[test]
    fn without_candidates_nothing_is_chosen() {
        assert_eq!(number(&[], 7, &[]), None);
        let one = idle(1);
        assert_eq!(number(&one, usize::MAX, &[]), Some(0));
        assert_eq!(number(&one, 0, &[0]), None);
    }

    proptest! {
        #[test]
        fn excluded_endpoints_are_never_chosen_and_another_one_always_is(
            loads in proptest::collection::vec((any::<bool>(), 0_usize..3), 0..40),
            turn in any::<usize>(),
            excepted in proptest::collection::vec(0_u8..40, 0..4),
        ) {
            let stubs: Vec<_> = (0_u8..).zip(loads).map(|(number, (healthy, in_flight))| {
                Stub { number, healthy, in_flight }
            }).collect();
            let chosen = number(&stubs, turn, &excepted);
            let free = stubs.iter().any(|stub| !excepted.contains(&stub.number));
            prop_assert_eq!(chosen.is_some(), free);
            prop_assert!(chosen.is_none_or(|number| !excepted.contains(&number)));
        }
    }
}
