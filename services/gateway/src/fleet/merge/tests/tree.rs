//! A tree of gateways on any number of levels under random schedules: members join, leave, freeze and
//! restart, and so do gateways below the top. Each gateway is a real merge, and gateways exchange the
//! same text that viewers get.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;

use super::*;
use crate::fleet::cursor::{Batch, Cursor, Next};
use crate::fleet::event_stream::{Merged, MergedLines};

pub(super) const STEP_MS: u64 = 250;

/// Steps after which a connection attempt ends without a response: 3 s.
const NO_RESPONSE_STEPS: u64 = 12;

/// xorshift64*.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    pub(super) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// A process that accepts connections.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    /// 0 if it is not running.
    pub(super) instance: u64,
    pub(super) is_frozen: bool,
    /// Step of its last change.
    pub(super) changed: u64,
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
pub(super) struct Gateway {
    pub(super) process: Process,
    pub(super) merge: Merge,
    batch: Batch,
    /// By index of the child.
    wires: BTreeMap<usize, Wire>,
}

/// The top is the first gateway, followed by those of each level below it.
pub(super) struct Tree {
    pub(super) random: Random,
    pub(super) seed: u64,
    /// Number of children of a gateway on each level; those of the last level are members.
    fan: Vec<usize>,
    /// The last address of the top leads to the process of the first.
    pub(super) has_alias: bool,
    pub(super) step: u64,
    start: Instant,
    /// Offset of the wall clocks.
    skew_ms: i64,
    pub(super) gateways: Vec<Gateway>,
    pub(super) members: Vec<Process>,
    /// Names of the members at the top.
    pub(super) names: Vec<String>,
    /// The last number that each instance has sent.
    pub(super) sent: HashMap<u64, u64>,
    /// The member that each instance runs as.
    homes: HashMap<u64, usize>,
    instances: u64,
    pub(super) viewers: Vec<View>,
    /// Bytes per step for a viewer that is behind.
    part: usize,
}

/// A viewer of the top and its received state.
#[derive(Default)]
pub(super) struct View {
    cursor: Cursor,
    /// State and instance by name.
    pub(super) members: HashMap<String, (String, u64)>,
    /// Newest number of each instance.
    pub(super) newest: HashMap<u64, u64>,
}

impl Tree {
    pub(super) fn new(seed: u64, fan: &[usize]) -> Self {
        let members: usize = fan.iter().product();
        let mut tree = Self {
            random: Random::new(seed),
            seed,
            fan: fan.to_vec(),
            has_alias: fan.len() == 1 && seed % 2 == 1,
            step: 0,
            start: Instant::now(),
            skew_ms: 0,
            gateways: Vec::new(),
            members: vec![Process::default(); members],
            names: Vec::new(),
            sent: HashMap::new(),
            homes: HashMap::new(),
            instances: 0,
            viewers: vec![View::default()],
            part: match fan {
                [_] => 60,
                _ if members > 1_000 => usize::MAX >> 1,
                _ => 2_000,
            },
        };
        for _ in 0..tree.level(fan.len() - 1).end {
            let process = Process { instance: tree.next_instance(), ..Process::default() };
            tree.gateways.push(Gateway { process, ..Gateway::default() });
        }
        for member in 0..members {
            let above = tree.above(member).map(|gateway| tree.address(gateway, true));
            let addresses = above.chain([tree.address(member, false)]).map(|it| it.to_string());
            tree.names.push(addresses.collect::<Vec<_>>().join("_"));
            if fan.len() > 1 || tree.random.one_in(2) {
                tree.start(member);
            }
        }
        tree
    }

    pub(super) fn next_instance(&mut self) -> u64 {
        self.instances += 1;
        self.instances
    }

    pub(super) fn start(&mut self, member: usize) {
        let instance = self.next_instance();
        self.homes.insert(instance, member);
        self.members[member] = Process { instance, is_frozen: false, changed: self.step };
    }

    fn now(&self) -> Now {
        let elapsed = self.step * STEP_MS;
        Now {
            instant: self.start + Duration::from_millis(elapsed),
            unix_ms: (1_700_000_000_000 + elapsed).saturating_add_signed(self.skew_ms),
        }
    }

    /// The gateways of a level.
    fn level(&self, level: usize) -> Range<usize> {
        let count = |level: usize| self.fan[..level].iter().product::<usize>();
        let first = (0..level).map(count).sum();
        first..first + count(level)
    }

    /// The children of a gateway, and whether they are gateways.
    fn children(&self, gateway: usize) -> (Range<usize>, bool) {
        let mut levels = 0..self.fan.len();
        let level = levels.find(|&level| self.level(level).contains(&gateway)).unwrap();
        let is_gateway = level + 1 < self.fan.len();
        let first = if is_gateway { self.level(level + 1).start } else { 0 };
        let first = first + (gateway - self.level(level).start) * self.fan[level];
        (first..first + self.fan[level], is_gateway)
    }

    /// Address of a child. Members have the same addresses behind each gateway.
    pub(super) fn address(&self, child: usize, is_gateway: bool) -> SocketAddr {
        if is_gateway {
            ([10, 0, 0, u8::try_from(child).unwrap()], 3050).into()
        } else {
            let members = self.fan.last().unwrap();
            ([192, 168, 0, u8::try_from(child % members).unwrap()], 8080).into()
        }
    }

    /// The gateways of a member below the top.
    pub(super) fn above(&self, member: usize) -> impl Iterator<Item = usize> {
        let members = |level: usize| self.fan[level..].iter().product::<usize>();
        (1..self.fan.len()).map(move |level| self.level(level).start + member / members(level))
    }

    /// The member whose process has the address of this one.
    pub(super) fn home(&self, member: usize) -> usize {
        if self.has_alias && member + 1 == self.members.len() { 0 } else { member }
    }

    /// Changes a member, a gateway below the top, or the wall clocks at random.
    pub(super) fn shake(&mut self, is_gateway: bool) {
        let count = if is_gateway { self.gateways.len() - 1 } else { self.members.len() };
        let mut index = usize::try_from(self.random.below(count as u64)).unwrap();
        if is_gateway {
            index += 1;
            let event = self.random.below(4);
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
        index = self.home(index);
        let before = self.members[index];
        let after = match self.random.below(5) {
            0 => Process { instance: 0, is_frozen: false, ..before },
            1 => return self.start(index),
            event @ (2 | 3) => Process { is_frozen: event == 2 && before.instance > 0, ..before },
            _ => {
                // From an hour back to an hour ahead.
                self.skew_ms = i64::try_from(self.random.below(7_200_000)).unwrap() - 3_600_000;
                before
            }
        };
        if after != before {
            self.members[index] = Process { changed: self.step, ..after };
        }
    }

    pub(super) fn advance(&mut self) {
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
        let process = self.members[self.home(member)];
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
            let View { members, newest, .. } = &mut self.viewers[viewer];
            if kind == "member" {
                let state = data.split('"').nth(3).unwrap();
                let instance = data.split_once("\"instance\":\"i");
                let instance = instance
                    .map_or(0, |(_, rest)| rest.split('"').next().unwrap().parse().unwrap());
                if data.contains("\"since_unix_ms\":0}") {
                    let removed = members.remove(name);
                    // A restarted gateway sends its blocks again.
                    if let Some((_, instance)) = removed.filter(|_| self.fan.len() > 1) {
                        newest.remove(&instance);
                    }
                    continue;
                }
                members.insert(name.to_owned(), (state.to_owned(), instance));
                continue;
            }
            let (instance, number) = data.split_once(' ').unwrap();
            let (instance, number): (u64, u64) =
                (instance.parse().unwrap(), number.parse().unwrap());
            let known = members.get(name).unwrap_or_else(|| panic!("seed {seed}: {line}"));
            assert_eq!(known.1, instance, "seed {seed}, step {step}: foreign: {line}");
            let newest = newest.entry(instance).or_default();
            assert!(*newest < number, "seed {seed}, step {step}: after {newest}: {line}");
            *newest = number;
            let home = self.homes[&instance];
            let is_alias = self.has_alias && home == 0 && self.names.last().unwrap() == name;
            assert!(is_alias || name == self.names[home], "seed {seed}: of another member");
        }
    }
}
