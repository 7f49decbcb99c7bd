//! A tree of gateways on three levels under random schedules: members join, leave, freeze and
//! restart, and so do gateways below the top. Deterministic: a failure reports its seed.
//!
//! Each gateway is a real merge, and gateways exchange the same text that viewers get.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::simulation::Random;
use super::*;
use crate::fleet::cursor::{Batch, Cursor, Next};
use crate::fleet::event_stream::{Merged, MergedLines};

const STEP_MS: u64 = 250;

/// Steps after which a connection attempt ends without a response: 3 s.
const NO_RESPONSE_STEPS: u64 = 12;

/// Time within which the top has the correct state: each level takes a second for its batch, a
/// member is silent after 3 s, and a gateway that was frozen for long is reconnected after 3 s
/// more.
const KNOWN_MS: u64 = 10_000;

/// Time within which a gone member is reported as gone rather than silent: a restarted gateway no
/// longer lists it, and has 10 s to list its members.
const GONE_MS: u64 = 15_000;

/// A process that accepts connections.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Process {
    /// 0 if it is not running.
    instance: u64,
    is_frozen: bool,
    /// Step of its last change.
    changed: u64,
}

/// A connection in progress or open, and the events in transit.
struct Wire {
    attempt: u64,
    begun: u64,
    /// Instance of the process that accepted it.
    instance: Option<u64>,
    cursor: Cursor,
    parser: MergedLines,
    queue: VecDeque<(u64, Event)>,
}

#[derive(Default)]
struct Gateway {
    process: Process,
    merge: Merge,
    batch: Batch,
    /// By index of the child.
    wires: BTreeMap<usize, Wire>,
}

/// The top is the first gateway, followed by its children and grandchildren.
struct Tree {
    random: Random,
    seed: u64,
    fan: [usize; 3],
    step: u64,
    start: Instant,
    gateways: Vec<Gateway>,
    members: Vec<Process>,
    /// The last number that each instance has sent.
    sent: HashMap<u64, u64>,
    /// The member that each instance runs as.
    homes: HashMap<u64, usize>,
    instances: u64,
    viewers: Vec<View>,
    /// Bytes per step for a viewer that is behind.
    part: usize,
}

/// A viewer of the top and its received state.
#[derive(Default)]
struct View {
    cursor: Cursor,
    /// State, instance and newest number by name.
    members: HashMap<String, (String, u64, u64)>,
}

impl Tree {
    fn new(seed: u64, fan: [usize; 3]) -> Self {
        let [middle, leaves, members] = fan;
        let gateways = 1 + middle + middle * leaves;
        let mut tree = Self {
            random: Random::new(seed),
            seed,
            fan,
            step: 0,
            start: Instant::now(),
            gateways: (0..gateways).map(|_| Gateway::default()).collect(),
            members: vec![Process::default(); middle * leaves * members],
            sent: HashMap::new(),
            homes: HashMap::new(),
            instances: 0,
            viewers: vec![View::default()],
            part: if members > 10 { usize::MAX >> 1 } else { 2_000 },
        };
        for gateway in 0..gateways {
            tree.gateways[gateway].process.instance = tree.next_instance();
        }
        for member in 0..tree.members.len() {
            tree.start(member);
        }
        tree
    }

    fn next_instance(&mut self) -> u64 {
        self.instances += 1;
        self.instances
    }

    fn start(&mut self, member: usize) {
        let instance = self.next_instance();
        self.homes.insert(instance, member);
        self.members[member] = Process { instance, is_frozen: false, changed: self.step };
    }

    fn now(&self) -> Now {
        let elapsed = self.step * STEP_MS;
        Now {
            instant: self.start + Duration::from_millis(elapsed),
            unix_ms: 1_700_000_000_000 + elapsed,
        }
    }

    /// The children of a gateway, and whether they are gateways.
    fn children(&self, gateway: usize) -> (std::ops::Range<usize>, bool) {
        let [middle, leaves, members] = self.fan;
        match gateway {
            0 => (1..1 + middle, true),
            _ if gateway <= middle => {
                let first = 1 + middle + (gateway - 1) * leaves;
                (first..first + leaves, true)
            }
            _ => {
                let first = (gateway - 1 - middle) * members;
                (first..first + members, false)
            }
        }
    }

    /// Address of a child. Members have the same addresses behind each gateway.
    fn address(&self, child: usize, is_gateway: bool) -> SocketAddr {
        if is_gateway {
            ([10, 0, 0, u8::try_from(child).unwrap()], 3050).into()
        } else {
            let [.., members] = self.fan;
            ([192, 168, 0, u8::try_from(child % members).unwrap()], 8080).into()
        }
    }

    /// The gateways of a member, from the top.
    fn above(&self, member: usize) -> [usize; 2] {
        let [middle, leaves, members] = self.fan;
        let leaf = member / members;
        [1 + leaf / leaves, 1 + middle + leaf]
    }

    fn name(&self, member: usize) -> String {
        let [middle, leaf] = self.above(member).map(|gateway| self.address(gateway, true));
        format!("{middle}_{leaf}_{}", self.address(member, false))
    }

    /// Changes a member, or a gateway below the top, at random.
    fn shake(&mut self, is_gateway: bool) {
        let count = if is_gateway { self.gateways.len() - 1 } else { self.members.len() };
        let mut index = usize::try_from(self.random.below(count as u64)).unwrap();
        let event = self.random.below(4);
        if is_gateway {
            index += 1;
            let instance = self.next_instance();
            let gateway = &mut self.gateways[index];
            match event {
                // Killed, or restarted in the same step.
                0 | 1 => {
                    let instance = if event == 0 { 0 } else { instance };
                    *gateway = Gateway {
                        process: Process { instance, ..Process::default() },
                        ..Gateway::default()
                    };
                }
                _ => gateway.process.is_frozen = event == 2 && gateway.process.instance > 0,
            }
            gateway.process.changed = self.step;
            return;
        }
        match event {
            0 => self.members[index] = Process::default(),
            1 => self.start(index),
            _ => {
                let member = &mut self.members[index];
                member.is_frozen = event == 2 && member.instance > 0;
            }
        }
        self.members[index].changed = self.step;
    }

    fn advance(&mut self) {
        for gateway in 0..self.gateways.len() {
            let Process { instance, is_frozen, .. } = self.gateways[gateway].process;
            if instance == 0 || is_frozen {
                continue;
            }
            let mut wires = std::mem::take(&mut self.gateways[gateway].wires);
            let (children, is_gateway) = self.children(gateway);
            for (&child, wire) in &mut wires {
                if is_gateway {
                    self.run_gateway(child, wire);
                } else {
                    self.run_member(child, wire);
                }
            }
            let now = self.now();
            let step = self.step;
            let addresses: Vec<_> =
                children.clone().map(|child| self.address(child, is_gateway)).collect();
            let merge = &mut self.gateways[gateway].merge;
            wires.retain(|child, wire| {
                let address = addresses[child - children.start];
                while wire.queue.front().is_some_and(|(due, _)| *due <= step) {
                    let Some((_, event)) = wire.queue.pop_front() else { break };
                    if !merge.event(address, wire.attempt, event, now) {
                        return false;
                    }
                }
                true
            });
            let lister = if is_gateway { Lister::Gateway } else { Lister::Setting };
            merge.list(addresses.iter().copied(), lister, now);
            for command in merge.step(now) {
                let (Command::Connect(to, ..) | Command::Disconnect(to)) = command;
                let child = addresses.iter().position(|address| *address == to).unwrap();
                let child = children.start + child;
                wires.remove(&child);
                if let Command::Connect(_, attempt, _) = command {
                    let (cursor, parser, queue) = Default::default();
                    wires.insert(
                        child,
                        Wire { attempt, begun: step, instance: None, cursor, parser, queue },
                    );
                }
            }
            self.gateways[gateway].wires = wires;
            // Each gateway has its own phase.
            if (step + gateway as u64).is_multiple_of(4) {
                let Gateway { merge, batch, .. } = &mut self.gateways[gateway];
                if let Some(bytes) = merge.flush(now) {
                    *batch = Batch { sequence: merge.sequence(), bytes, link: None };
                }
            }
        }
        for index in 0..self.viewers.len() {
            // A slow viewer skips reads.
            if self.random.one_in(3) {
                continue;
            }
            let Gateway { merge, batch, .. } = &self.gateways[0];
            let viewer = &mut self.viewers[index];
            let bytes = match viewer.cursor.next(batch) {
                Next::Nothing => continue,
                Next::Batch(bytes) => bytes,
                Next::State => viewer.cursor.read(merge, self.part),
            };
            self.view(index, &bytes);
        }
        if self.viewers.len() < 3 && self.random.one_in(40) {
            self.viewers.push(View::default());
        }
    }

    /// Whether the process responds; otherwise the end of the connection is put in transit.
    fn accept(process: Process, wire: &mut Wire, step: u64) -> bool {
        if wire.queue.iter().any(|(_, event)| matches!(event, Event::Ended(_))) {
            return false;
        }
        let end = match wire.instance {
            Some(instance) if instance != process.instance => End::Closed,
            None if process.instance == 0 => End::Unreachable,
            None if process.is_frozen && step - wire.begun >= NO_RESPONSE_STEPS => End::NoResponse,
            _ => return !process.is_frozen,
        };
        wire.queue.push_back((step, Event::Ended(end)));
        false
    }

    /// Arrival time of an event that is sent now: in order, after zero to two steps.
    fn due(&mut self, wire: &Wire) -> u64 {
        let earliest = wire.queue.back().map_or(self.step, |(due, _)| *due);
        earliest.max(self.step + self.random.below(3))
    }

    fn run_member(&mut self, member: usize, wire: &mut Wire) {
        let process = self.members[member];
        if !Self::accept(process, wire, self.step) {
            return;
        }
        let due = self.due(wire);
        let is_new = wire.instance.replace(process.instance).is_none();
        if is_new {
            let name = format!("i{}", process.instance);
            wire.queue.push_back((due, Event::Connected(Some(name.into()))));
        }
        // One block immediately, then one per second.
        if is_new || (self.step + member as u64).is_multiple_of(4) {
            let number = self.sent.entry(process.instance).or_default();
            *number += 1;
            let data = format!("{} {number}", process.instance);
            wire.queue.push_back((due, Event::Block(Kind::Summary, data.into())));
        }
    }

    fn run_gateway(&mut self, child: usize, wire: &mut Wire) {
        let process = self.gateways[child].process;
        if !Self::accept(process, wire, self.step) {
            return;
        }
        let due = self.due(wire);
        if wire.instance.replace(process.instance).is_none() {
            let name = format!("g{}", process.instance);
            wire.queue.push_back((due, Event::Connected(Some(name.into()))));
        }
        let Gateway { merge, batch, .. } = &self.gateways[child];
        let bytes = match wire.cursor.next(batch) {
            Next::Batch(bytes) => bytes,
            Next::State => wire.cursor.read(merge, self.part),
            Next::Nothing if self.step.is_multiple_of(6) => Bytes::from_static(b":\n\n"),
            Next::Nothing => return,
        };
        wire.queue.push_back((due, Event::Alive));
        let (mut rest, mut lines) = (&bytes[..], Vec::new());
        while let Some(next) = wire.parser.next(&mut rest) {
            match next {
                Merged::Line(line) => lines.push(line),
                Merged::End if lines.is_empty() => {}
                Merged::End => {
                    wire.queue.push_back((due, Event::Lines(std::mem::take(&mut lines))));
                }
            }
        }
        assert!(lines.is_empty(), "an event without an end");
    }

    /// Processes events for a viewer; they must contain no value of another instance and none older
    /// than before.
    fn view(&mut self, viewer: usize, bytes: &[u8]) {
        let text = std::str::from_utf8(bytes).unwrap();
        let (seed, step) = (self.seed, self.step);
        for line in text.lines().filter_map(|line| line.strip_prefix("data: ")) {
            let [name, kind, data] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                panic!("seed {seed}: {line}");
            };
            let members = &mut self.viewers[viewer].members;
            if kind == "member" {
                let state = data.split('"').nth(3).unwrap();
                let instance = data.split_once("\"instance\":\"i");
                let instance = instance
                    .map_or(0, |(_, rest)| rest.split('"').next().unwrap().parse().unwrap());
                if data.contains("\"since_unix_ms\":0}") {
                    members.remove(name);
                    continue;
                }
                let known = members.entry(name.to_owned()).or_default();
                if known.1 != instance {
                    *known = (String::new(), instance, 0);
                }
                state.clone_into(&mut known.0);
                continue;
            }
            let (instance, number) = data.split_once(' ').unwrap();
            let (instance, number): (u64, u64) =
                (instance.parse().unwrap(), number.parse().unwrap());
            let known = members.get_mut(name).unwrap_or_else(|| panic!("seed {seed}: {line}"));
            assert_eq!(known.1, instance, "seed {seed}, step {step}: foreign: {line}");
            assert!(known.2 < number, "seed {seed}, step {step}: after {}: {line}", known.2);
            known.2 = number;
            let home = self.homes[&instance];
            assert_eq!(name, self.name(home), "seed {seed}: of another member");
        }
    }

    /// The first viewer has the correct state of each member in time.
    fn check(&self) {
        let quiet_ms = |process: &Process| (self.step - process.changed) * STEP_MS;
        for (index, member) in self.members.iter().enumerate() {
            let above = self.above(index).map(|gateway| &self.gateways[gateway].process);
            let all = [above[0], above[1], member];
            if all.iter().any(|process| quiet_ms(process) < KNOWN_MS) {
                continue;
            }
            let known = self.viewers[0].members.get(&self.name(index));
            let why = || {
                let Self { seed, step, .. } = self;
                format!("seed {seed}, step {step}: {all:?}: {known:?}")
            };
            if all.iter().all(|process| process.instance > 0 && !process.is_frozen) {
                let (state, instance, number) = known.unwrap_or_else(|| panic!("{}", why()));
                assert_eq!((state.as_str(), *instance), ("up", member.instance), "{}", why());
                // Two seconds of latency per connection, and a viewer that skips reads.
                assert!(number + 8 >= self.sent[instance], "{}, {}", why(), self.sent[instance]);
            } else if let Some((state, ..)) = known {
                assert_ne!(state, "up", "{}", why());
                let first = all.iter().find(|process| process.instance == 0 || process.is_frozen);
                let is_old = all.iter().all(|process| quiet_ms(process) >= GONE_MS);
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
            if self.random.one_in(calm_gateways) {
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
fn no_schedule_produces_a_stale_or_foreign_value_or_a_late_state_on_three_levels() {
    for seed in 0..300 {
        let mut tree = Tree::new(seed, [2, 2, 3]);
        let (calm, calm_gateways) = (1 + tree.random.below(24), 1 + tree.random.below(80));
        tree.run(240, calm, calm_gateways);
    }
}

#[test]
fn ten_thousand_members_are_merged_on_three_levels() {
    let mut tree = Tree::new(1, [10, 10, 100]);
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
