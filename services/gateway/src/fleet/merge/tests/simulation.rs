//! Random schedules of join, leave, freeze, clock steps and restarts at the same address, compared
//! with a model. Deterministic: a failure reports its seed.

use std::collections::{BTreeMap, HashMap};

use super::*;
use crate::fleet::cursor::{Batch, Cursor, Next};

/// Number of schedules; each is 16 s in steps of 250 ms.
const SCHEDULES: u64 = 10_000;
const STEPS: u64 = 64;
const STEP_MS: u64 = 250;
const ADDRESSES: u8 = 4;

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

/// Process at an address.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Process {
    instance: u64,
    is_frozen: bool,
}

/// A connection in progress or open, and the events in transit.
struct Wire {
    attempt: u64,
    is_connected: bool,
    /// The process that accepted it has ended.
    is_cut: bool,
    queue: Vec<(u64, Event)>,
}

struct World {
    random: Random,
    seed: u64,
    /// The last address leads to the process of the first.
    has_alias: bool,
    merge: Merge,
    /// The last batch.
    batch: Batch,
    step: u64,
    start: Instant,
    /// Offset of the wall clock.
    skew_ms: i64,
    processes: HashMap<SocketAddr, Process>,
    /// Step of the last change of a process.
    changed: HashMap<SocketAddr, u64>,
    wires: BTreeMap<SocketAddr, Wire>,
    /// The last number that an instance has sent.
    sent: HashMap<u64, u64>,
    instances: u64,
    viewers: Vec<View>,
}

/// A viewer and its received state.
#[derive(Default)]
struct View {
    cursor: Cursor,
    /// Instance by address.
    members: HashMap<String, u64>,
    /// Newest number of an instance.
    newest: HashMap<u64, u64>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            seed,
            has_alias: seed % 2 == 1,
            merge: Merge::default(),
            batch: Batch::default(),
            step: 0,
            start: Instant::now(),
            skew_ms: 0,
            processes: HashMap::new(),
            changed: HashMap::new(),
            wires: BTreeMap::new(),
            sent: HashMap::new(),
            instances: 0,
            viewers: vec![View::default()],
        }
    }

    fn now(&self) -> Now {
        let elapsed = self.step * STEP_MS;
        Now {
            instant: self.start + Duration::from_millis(elapsed),
            unix_ms: (1_700_000_000_000 + elapsed).saturating_add_signed(self.skew_ms),
        }
    }

    /// The address under which the process at `to` is stored.
    fn home(&self, to: SocketAddr) -> SocketAddr {
        if self.has_alias && to == address(ADDRESSES) { address(1) } else { to }
    }

    /// Changes a process or the clock at random.
    fn shake(&mut self) {
        let to = address(1 + u8::try_from(self.random.below(ADDRESSES.into())).unwrap());
        let to = self.home(to);
        let process = self.processes.get(&to).copied();
        let next = match (self.random.below(5), process) {
            (0, _) => {
                // Joins, or restarts at the same address.
                self.instances += 1;
                Some(Process { instance: self.instances, is_frozen: false })
            }
            (1, _) => None,
            (2, Some(process)) => Some(Process { is_frozen: true, ..process }),
            (3, Some(process)) => Some(Process { is_frozen: false, ..process }),
            (_, process) => {
                // From an hour back to an hour ahead.
                self.skew_ms = i64::try_from(self.random.below(7_200_000)).unwrap() - 3_600_000;
                process
            }
        };
        if next == process {
            return;
        }
        self.changed.insert(to, self.step);
        if next.map(|it| it.instance) != process.map(|it| it.instance) {
            for wire in [to, address(ADDRESSES)] {
                if self.home(wire) == to
                    && let Some(wire) = self.wires.get_mut(&wire)
                {
                    wire.is_cut = true;
                }
            }
        }
        match next {
            Some(next) => drop(self.processes.insert(to, next)),
            None => drop(self.processes.remove(&to)),
        }
    }

    /// Processes accept connections and send blocks.
    fn run_processes(&mut self) {
        let addresses: Vec<_> = self.wires.keys().copied().collect();
        for to in addresses {
            let process = self.processes.get(&self.home(to)).copied();
            let Some(wire) = self.wires.get_mut(&to) else { continue };
            if wire.queue.iter().any(|(_, event)| matches!(event, Event::Ended(_))) {
                continue;
            }
            // In transit for zero to two steps, in order.
            let earliest = wire.queue.last().map_or(self.step, |(at, _)| *at);
            let at = earliest.max(self.step + self.random.below(3));
            match process {
                _ if wire.is_cut => {
                    let end = if wire.is_connected { End::Closed } else { End::Unreachable };
                    wire.queue.push((at, Event::Ended(end)));
                }
                None => wire.queue.push((self.step, Event::Ended(End::Unreachable))),
                Some(process) if !process.is_frozen => {
                    let is_new = !std::mem::replace(&mut wire.is_connected, true);
                    if is_new {
                        let name = format!("i{}", process.instance);
                        wire.queue.push((at, Event::Connected(Some(name.into()))));
                    }
                    // One block immediately, then one per second.
                    if is_new || self.step.is_multiple_of(4) {
                        let number = self.sent.entry(process.instance).or_default();
                        *number += 1;
                        let data = format!("{} {number}", process.instance);
                        wire.queue.push((at, Event::Block(Kind::Summary, data.into())));
                    }
                }
                Some(_) => {}
            }
        }
    }

    fn deliver(&mut self) {
        let now = self.now();
        let addresses: Vec<_> = self.wires.keys().copied().collect();
        for to in addresses {
            let Some(wire) = self.wires.get_mut(&to) else { continue };
            let attempt = wire.attempt;
            let due = wire.queue.iter().take_while(|(at, _)| *at <= self.step).count();
            for (_, event) in wire.queue.drain(..due).collect::<Vec<_>>() {
                if !self.merge.event(to, attempt, event, now) {
                    self.wires.remove(&to);
                    break;
                }
            }
        }
    }

    fn advance(&mut self) {
        let now = self.now();
        self.merge.list((1..=ADDRESSES).map(address), Lister::Setting, now);
        for command in self.merge.step(now) {
            match command {
                Command::Connect(to, attempt, _) => {
                    let (is_connected, is_cut, queue) = (false, false, Vec::new());
                    self.wires.insert(to, Wire { attempt, is_connected, is_cut, queue });
                }
                Command::Disconnect(to) => drop(self.wires.remove(&to)),
            }
        }
        if self.step.is_multiple_of(4)
            && let Some(bytes) = self.merge.flush(now)
        {
            self.batch = Batch { sequence: self.merge.sequence(), bytes, link: None };
        }
        for view in &mut self.viewers {
            // A slow viewer skips reads, and gets small parts.
            if self.random.one_in(3) {
                continue;
            }
            match view.cursor.next(&self.batch) {
                Next::Nothing => {}
                Next::Batch(bytes) => view.read(&bytes, self.seed),
                Next::State => {
                    let bytes = view.cursor.read(&self.merge, 60);
                    view.read(&bytes, self.seed);
                }
            }
        }
        if self.viewers.len() < 4 && self.random.one_in(30) {
            self.viewers.push(View::default());
        }
    }

    /// The states are correct in time, regardless of the wall clock.
    fn check(&self) {
        let members: Vec<_> = self.merge.members().collect();
        for number in 1..=ADDRESSES {
            let to = address(number);
            if self.has_alias && self.home(to) == address(1) {
                continue;
            }
            let quiet_ms = (self.step - self.changed.get(&to).copied().unwrap_or(0)) * STEP_MS;
            let member = members.iter().find(|it| it.0.address == to);
            let (state, instance) = (member.map(|it| it.2), member.and_then(|it| it.1));
            let why = || format!("seed {}, step {}, {member:?}", self.seed, self.step);
            match self.processes.get(&to) {
                None if quiet_ms >= 2_000 => assert_eq!(state, Some(State::Gone), "{}", why()),
                Some(process) if process.is_frozen && quiet_ms >= 5_000 => {
                    assert_ne!(state, Some(State::Up), "{}", why());
                }
                Some(process) if !process.is_frozen && quiet_ms >= 2_000 => {
                    assert_eq!(state, Some(State::Up), "{}", why());
                    let name = format!("i{}", process.instance);
                    assert_eq!(instance, Some(name.as_str()), "{}", why());
                }
                _ => {}
            }
        }
        for (to, instance, state, _) in &members {
            let same = members.iter().filter(|it| it.1 == *instance && it.2 == *state);
            let is_up = *state == State::Up;
            assert!(!is_up || same.count() == 1, "seed {}: {to} is there twice", self.seed);
        }
        let quiet_ms = (self.step - self.changed.get(&address(1)).copied().unwrap_or(0)) * STEP_MS;
        if self.has_alias
            && quiet_ms >= 4_000
            && let Some(process) = self.processes.get(&address(1)).filter(|it| !it.is_frozen)
        {
            let name = format!("i{}", process.instance);
            let found = self.merge.find(&name).map(|it| it.1);
            assert_eq!(found, Some(State::Up), "seed {}, step {}", self.seed, self.step);
        }
    }
}

impl View {
    /// Processes events; they must contain no value of another instance and none older than before.
    fn read(&mut self, bytes: &[u8], seed: u64) {
        let text = std::str::from_utf8(bytes).unwrap();
        for line in text.lines().filter_map(|line| line.strip_prefix("data: ")) {
            let [to, kind, data] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                panic!("seed {seed}: {line}");
            };
            if kind == "member" {
                let instance = data
                    .split_once("\"instance\":\"i")
                    .map_or(0, |(_, rest)| rest.split('"').next().unwrap().parse().unwrap());
                self.members.insert(to.to_owned(), instance);
                continue;
            }
            let (instance, number) = data.split_once(' ').unwrap();
            let (instance, number): (u64, u64) =
                (instance.parse().unwrap(), number.parse().unwrap());
            assert_eq!(self.members.get(to), Some(&instance), "seed {seed}: foreign: {text}");
            let newest = self.newest.entry(instance).or_default();
            assert!(*newest < number, "seed {seed}: {number} after {newest}: {text}");
            *newest = number;
        }
    }
}

#[test]
fn no_schedule_produces_a_stale_or_foreign_value_or_a_late_state() {
    for seed in 0..SCHEDULES {
        let mut world = World::new(seed);
        let calm = 1 + world.random.below(24);
        for step in 0..STEPS {
            world.step = step;
            if world.random.one_in(calm) {
                world.shake();
            }
            world.run_processes();
            world.deliver();
            world.advance();
            world.check();
        }
    }
}
