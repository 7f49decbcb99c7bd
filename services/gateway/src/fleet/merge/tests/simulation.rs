//! Random schedules, in which the states and values of a tree are compared with its processes.
//! Deterministic: a failure reports its seed.

use super::tree::{Process, STEP_MS, Tree};
use super::*;

/// Time within which the top has the correct state: each level takes a second for its batch, a
/// member is silent after 3 s, and a gateway that was frozen for long is reconnected after 3 s
/// more.
const KNOWN_MS: u64 = 10_000;

/// Time within which a gone member is reported as gone rather than silent: a restarted gateway no
/// longer lists it, and has 10 s to list its members.
const GONE_MS: u64 = 15_000;

impl Tree {
    fn quiet_ms(&self, process: &Process) -> u64 {
        (self.step - process.changed) * STEP_MS
    }

    /// The states of a single gateway are correct in time, regardless of the wall clock.
    fn check_single(&self) {
        let members: Vec<_> = self.gateways[0].merge.members().collect();
        for (index, process) in self.members.iter().enumerate() {
            let name = format!("i{}", process.instance);
            let quiet_ms = self.quiet_ms(process);
            let why = || format!("seed {}, step {}, {index}: {members:?}", self.seed, self.step);
            if self.has_alias && (index == 0 || self.home(index) == 0) {
                // It is shown once, by one of its two addresses.
                if index == 0 && quiet_ms >= 4_000 && process.instance > 0 && !process.is_frozen {
                    let found = self.gateways[0].merge.find(&name).map(|it| it.1);
                    assert_eq!(found, Some(State::Up), "{}", why());
                }
                continue;
            }
            let address = self.address(index, false);
            let member = members.iter().find(|it| it.0.address == address);
            let (state, instance) = (member.map(|it| it.2), member.and_then(|it| it.1));
            match (process.instance, process.is_frozen) {
                (0, _) if quiet_ms >= 2_000 => assert_eq!(state, Some(State::Gone), "{}", why()),
                (1.., true) if quiet_ms >= 5_000 => assert_ne!(state, Some(State::Up), "{}", why()),
                (1.., false) if quiet_ms >= 2_000 => {
                    assert_eq!((state, instance), (Some(State::Up), Some(&*name)), "{}", why());
                }
                _ => {}
            }
        }
        for (to, instance, state, _) in &members {
            let same = members.iter().filter(|it| it.1 == *instance && it.2 == *state);
            let is_up = *state == State::Up;
            assert!(!is_up || same.count() == 1, "seed {}: {to} is there twice", self.seed);
        }
    }

    /// The first viewer has the correct state of each member in time.
    fn check(&self) {
        if self.gateways.len() == 1 {
            return self.check_single();
        }
        for (index, member) in self.members.iter().enumerate() {
            let above = self.above(index).map(|gateway| &self.gateways[gateway].process);
            let all: Vec<_> = above.chain([member]).collect();
            if all.iter().any(|process| self.quiet_ms(process) < KNOWN_MS) {
                continue;
            }
            let viewer = &self.viewers[0];
            let known = viewer.members.get(&self.names[index]);
            let why = || {
                let Self { seed, step, .. } = self;
                format!("seed {seed}, step {step}: {all:?}: {known:?}")
            };
            if all.iter().all(|process| process.instance > 0 && !process.is_frozen) {
                let (state, instance) = known.unwrap_or_else(|| panic!("{}", why()));
                assert_eq!((state.as_str(), *instance), ("up", member.instance), "{}", why());
                // Two seconds of latency per connection, and a viewer that skips reads.
                let (number, sent) = (viewer.newest[instance], self.sent[instance]);
                assert!(number + 8 >= sent, "{}, {number} of {sent}", why());
            } else if let Some((state, ..)) = known {
                assert_ne!(state, "up", "{}", why());
                let first = all.iter().find(|process| process.instance == 0 || process.is_frozen);
                let is_old = all.iter().all(|process| self.quiet_ms(process) >= GONE_MS);
                if is_old && first.is_some_and(|process| process.instance == 0) {
                    assert_eq!(state, "gone", "{}", why());
                }
            }
        }
    }

    fn run(&mut self, steps: u64, calm: u64, calm_gateways: u64) {
        for _ in 0..steps {
            self.step += 1;
            if self.random.one_in(calm) {
                self.shake(false);
            }
            if self.gateways.len() > 1 && self.random.one_in(calm_gateways) {
                self.shake(true);
            }
            self.advance();
            // A check of ten thousand names takes long.
            if self.members.len() < 1_000 || self.step.is_multiple_of(16) {
                self.check();
            }
        }
    }
}

#[test]
fn no_schedule_produces_a_stale_or_foreign_value_or_a_late_state() {
    for seed in 0..10_000 {
        let mut tree = Tree::new(seed, &[4]);
        let calm = 1 + tree.random.below(24);
        // 16 s.
        tree.run(64, calm, 1);
    }
}

#[test]
fn no_schedule_produces_a_stale_or_foreign_value_or_a_late_state_on_three_levels() {
    for seed in 0..300 {
        let mut tree = Tree::new(seed, &[2, 2, 3]);
        let (calm, calm_gateways) = (1 + tree.random.below(24), 1 + tree.random.below(80));
        tree.run(240, calm, calm_gateways);
    }
}

#[test]
fn ten_thousand_members_are_merged_on_three_levels() {
    let mut tree = Tree::new(1, &[10, 10, 100]);
    // Some members change in each step, and a gateway each second.
    for _ in 0..64 {
        for _ in 0..5 {
            tree.shake(false);
        }
        tree.run(1, 1, 4);
    }
    // Everything recovers.
    for member in 0..tree.members.len() {
        tree.members[member].is_frozen = false;
        if tree.members[member].instance == 0 {
            tree.start(member);
        }
    }
    for gateway in 1..tree.gateways.len() {
        let instance = tree.next_instance();
        let process = &mut tree.gateways[gateway].process;
        process.is_frozen = false;
        if process.instance == 0 {
            *process = Process { instance, is_frozen: false, changed: tree.step };
        }
    }
    for _ in 0..48 {
        tree.step += 1;
        tree.advance();
    }
    let up = tree.gateways[0].merge.members().filter(|(_, _, state, _)| *state == State::Up);
    assert_eq!(up.count(), 10_000);
    assert_eq!(tree.gateways[0].merge.not_shown(), 0);
    tree.check();
}
