//! Memory limits.

use std::thread;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Fetch { target: u8, origin: u8, bytes: usize, announced: bool, response: usize },
    Begin { target: u8, bytes: usize },
    Feed { which: usize, bytes: usize },
    Finish { which: usize, whole: bool },
    Invalidate { target: u8 },
    Clear,
    Pass { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..20_u8, 0..12_u8, 0..6000_usize, any::<bool>(), 0..5_usize).prop_map(
            |(target, origin, bytes, announced, response)| Step::Fetch {
                target, origin, bytes, announced, response,
            }
        ),
        3 => (0..20_u8, 0..6000_usize).prop_map(|(target, bytes)| Step::Begin { target, bytes }),
        3 => (any::<usize>(), 0..3000_usize).prop_map(|(which, bytes)| Step::Feed { which, bytes }),
        3 => (any::<usize>(), any::<bool>())
            .prop_map(|(which, whole)| Step::Finish { which, whole }),
        1 => (0..20_u8).prop_map(|target| Step::Invalidate { target }),
        1 => Just(Step::Clear),
        1 => (0..8_u64).prop_map(|seconds| Step::Pass { seconds }),
    ]
}

const RESPONSES: [&[&str]; 5] = [
    &["cache-control: max-age=10"],
    &["cache-control: max-age=3, stale-while-revalidate=9", "vary: origin"],
    &["cache-control: s-maxage=1", "vary: origin, accept-encoding", "etag: \"a\""],
    &["cache-control: no-store"],
    &["cache-control: max-age=0, stale-if-error=9", "vary: origin"],
];

fn start(fill: &mut Fill, lines: &[&str], bytes: Option<usize>, now: Instant) {
    let mut headers = Fields::of_lines(lines);
    let (name, value) = match bytes {
        Some(bytes) => (CONTENT_LENGTH, bytes.into()),
        None => (TRANSFER_ENCODING, HeaderValue::from_static("chunked")),
    };
    headers.insert(name, value);
    fill.response(StatusCode::OK, &headers, moment(now));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_sequence_of_steps_exceeds_the_limit_or_breaks_the_accounting(
        bytes in 0..60_000_usize,
        steps in proptest::collection::vec(step(), 1..150),
    ) {
        let mut world = World::with(&CacheSettings { bytes, ..CacheSettings::default() });
        let mut open: Vec<(Box<Fill>, usize)> = Vec::new();
        for step in steps {
            match step {
                Step::Fetch { target, origin, bytes, announced, response } => {
                    let (target, origin) = (format!("/{target}"), format!("origin: {origin}"));
                    if let Lookup::Fill(mut fill) = world.get(&target, &[&origin]) {
                        let length = announced.then_some(bytes);
                        start(&mut fill, RESPONSES[response], length, world.now());
                        drop(fill.body(&vec![0; bytes], world.now()));
                        fill.complete(world.now());
                    }
                }
                Step::Begin { target, bytes } => {
                    let lookup = world.get(&format!("/{target}"), &[]);
                    if let Lookup::Fill(mut fill) = lookup {
                        let response = RESPONSES[usize::from(target) % RESPONSES.len()];
                        start(&mut fill, response, Some(bytes), world.now());
                        open.push((fill, bytes));
                    }
                }
                Step::Feed { which, bytes } if !open.is_empty() => {
                    let which = which % open.len();
                    let left = &mut open[which].1;
                    let bytes = bytes.min(*left);
                    *left -= bytes;
                    drop(open[which].0.body(&vec![0; bytes], world.now()));
                }
                Step::Finish { which, whole } if !open.is_empty() => {
                    let (mut fill, left) = open.swap_remove(which % open.len());
                    if whole {
                        drop(fill.body(&vec![0; left], world.now()));
                    }
                    fill.complete(world.now());
                }
                Step::Invalidate { target } => world.cache.invalidate("http://a", &format!("/{target}")),
                Step::Clear => world.cache.clear(),
                Step::Pass { seconds } => world.seconds += seconds,
                Step::Feed { .. } | Step::Finish { .. } => {}
            }
            world.check_bounds();
        }
        drop(open);
        world.check();
        prop_assert_eq!(world.cache.0.transfer_memory.taken(), 0);
        prop_assert_eq!(world.lengths().2, 0);
        world.cache.clear();
        prop_assert_eq!(world.cache.bytes(), 0);
    }
}

#[test]
fn used_entries_outlive_unused_ones() {
    let world = World::with(&CacheSettings { bytes: 4 << 20, ..CacheSettings::default() });
    let body = "x".repeat(10_000);
    for number in 0..20 {
        assert!(world.fetch(&format!("/wanted/{number}"), &[], &[TEN], &body));
    }
    for number in 0..2000 {
        assert!(world.fetch(&format!("/once/{number}"), &[], &[TEN], &body));
        for number in 0..20 {
            world.hit(&format!("/wanted/{number}"), &[]);
        }
    }
    let (evicted, bytes) = (world.cache.counters().evicted.get(), world.cache.bytes());
    assert!(evicted > 1500 && bytes > 3 << 20, "{evicted} {bytes}");
}

#[test]
fn slow_responses_do_not_evict_all_others() {
    let settings = CacheSettings { bytes: 1 << 20, ..CacheSettings::default() };
    let world = World::with(&settings);
    assert!(world.fetch("/a", &[], &[TEN], &"x".repeat(100_000)));
    let slow: Vec<_> = (0..100)
        .map(|number| {
            let mut fill = world.fill(&format!("/slow/{number}"), &[]);
            start(&mut fill, &[TEN], Some(100_000), world.now());
            fill
        })
        .collect();
    world.check();
    assert_eq!(world.cache.0.transfer_memory.taken(), 200_000);
    world.hit("/a", &[]);
    drop(slow);
    assert_eq!(world.cache.0.transfer_memory.taken(), 0);
}

#[test]
fn a_response_as_large_as_the_cache_is_not_stored() {
    let world = World::with(&CacheSettings { bytes: 1 << 20, ..CacheSettings::default() });
    assert!(world.fetch("/a", &[], &[TEN], "abc"));
    assert!(!world.fetch("/b", &[], &[TEN], &"x".repeat((1 << 18) + 1)));
    world.hit("/a", &[]);
    assert!(world.fetch("/b", &[], &[TEN], &"x".repeat(1 << 18)));
}

#[test]
fn the_accounting_is_exact_across_threads() {
    let world = World::with(&CacheSettings { bytes: 100_000, ..CacheSettings::default() });
    thread::scope(|scope| {
        for thread in 0..4_u64 {
            let world = &world;
            scope.spawn(move || {
                for round in 0..3000_u64 {
                    let number = round.wrapping_mul(thread + 7) % 40;
                    let target = format!("/{number}");
                    if let Lookup::Fill(mut fill) = world.get(&target, &[]) {
                        start(&mut fill, &[TEN], Some(3000), world.now());
                        drop(fill.body(&[0; 3000], world.now()));
                        if round % 5 != 0 {
                            fill.complete(world.now());
                        }
                    }
                    if round % 500 == 499 {
                        world.cache.clear();
                    }
                    if round % 7 == 0 {
                        world.cache.invalidate("http://a", &target);
                    }
                }
            });
        }
    });
    world.check();
    let counters = world.cache.counters();
    assert!(world.cache.bytes() <= 100_000);
    assert!(counters.stored.get() > 0 && counters.evicted.get() > 0);
    assert_eq!(world.lengths().2, 0);
}
