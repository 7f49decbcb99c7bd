//! Reads that cannot block their caller.
//!
//! A worker thread reads one unit after another. A unit that does not return in time (a FUSE mount
//! without its server, a FIFO in place of a file) is abandoned together with its thread. Another
//! thread reads the other units. The unit is read again after it has returned.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::marker::PhantomData;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::fault_log::FaultLog;

/// Unit of reading: a file, a group of files, or a filesystem. Each call reads once, and may block.
pub(super) type Unit<R> = Box<dyn FnMut() -> Outcome<R> + Send>;

/// Result of one read.
pub(super) struct Outcome<R: ?Sized> {
    state: SourceState,
    update: Update<R>,
}

impl<R: ?Sized> Outcome<R> {
    pub(super) fn new(
        state: SourceState,
        update: impl FnOnce(&mut R, f64) + Send + 'static,
    ) -> Self {
        Self { state, update: Box::new(update) }
    }
}

/// Stores the values of a read in a reading, with the time of the read in seconds since the epoch of
/// the reader.
type Update<R> = Box<dyn FnOnce(&mut R, f64) + Send>;

/// Availability of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SourceState {
    Up,
    /// The source cannot be read or parsed, or the read does not return.
    Down,
    /// The system does not have the source.
    Absent,
}

/// Limits of reads.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Maximum time for one unit.
    pub(super) unit: Duration,
    /// Time after which no unit is started; the remaining ones come first in the next read.
    pub(super) all: Duration,
    /// Maximum number of units that hang, each with a thread. Beyond that, nothing is read.
    pub(super) hanging: usize,
}

/// Identifier of a unit in a reader.
pub(super) type UnitId = u64;

/// Reads its units in the order of their addition, within the bounds, into a reading of type `R`.
pub(super) struct BoundedReader<R> {
    reader: Reader,
    reading: PhantomData<fn() -> R>,
}

impl<R: Default + 'static> BoundedReader<R> {
    /// Reader without units; `name` is the name of its threads.
    pub(super) fn new(name: &'static str, bounds: Bounds, epoch: Instant) -> Self {
        Self { reader: Reader::new(name, bounds, epoch), reading: PhantomData }
    }

    /// Adds a unit at the end.
    pub(super) fn add(&mut self, name: &str, mut unit: Unit<R>) -> UnitId {
        let unit = move || {
            let Outcome { state, update } = unit();
            Outcome::new(state, move |reading: &mut AnyReading, at| {
                if let Some(reading) = reading.downcast_mut() {
                    update(reading, at);
                }
            })
        };
        self.reader.add(name, Box::new(unit))
    }

    /// Removes a unit. The thread of a hanging unit remains until the unit returns.
    pub(super) fn remove(&mut self, id: UnitId) {
        self.reader.slots.remove(&id);
    }

    /// Name and state of each unit.
    pub(super) fn states(&self) -> impl Iterator<Item = (&Arc<str>, SourceState)> {
        self.reader.slots.values().map(|slot| (&slot.name, slot.state))
    }

    /// State of one unit.
    pub(super) fn state(&self, id: UnitId) -> SourceState {
        self.reader.slots.get(&id).map_or(SourceState::Absent, |slot| slot.state)
    }

    /// Reads every unit that does not hang, within the sum of both bounds.
    pub(super) fn read(&mut self) -> R {
        let mut reading = R::default();
        self.reader.read(&mut reading);
        reading
    }
}

/// Reading of any type, so that the binary contains the reader once for all types.
type AnyReading = dyn Any;

type AnyUnit = Unit<AnyReading>;

struct Reader {
    name: &'static str,
    bounds: Bounds,
    epoch: Instant,
    slots: BTreeMap<UnitId, Slot>,
    next_id: UnitId,
    /// First unit of the next read.
    first: UnitId,
    worker: Option<Worker>,
    /// Workers with a unit that did not return in time.
    hanging: Vec<Worker>,
}

struct Slot {
    name: Arc<str>,
    /// `None` while a worker has the unit.
    unit: Option<AnyUnit>,
    state: SourceState,
    log: FaultLog,
}

type Worker = Arc<Shared>;

struct Shared {
    state: Mutex<State>,
    /// Signals that work was added, or that the worker was retired.
    work: Condvar,
    /// Signals that the last unit of the queue was read.
    idle: Condvar,
}

struct State {
    queue: Queue,
    /// Unit that is being read, and the start of the read.
    current: Option<(UnitId, Instant)>,
    done: Vec<Done>,
    /// Whether the thread ends when the current unit returns.
    retired: bool,
}

struct Done {
    id: UnitId,
    unit: AnyUnit,
    outcome: Outcome<AnyReading>,
    at: Instant,
}

type Queue = VecDeque<(UnitId, AnyUnit)>;

impl Reader {
    fn new(name: &'static str, bounds: Bounds, epoch: Instant) -> Self {
        let (slots, hanging) = (BTreeMap::new(), Vec::new());
        Self { name, bounds, epoch, slots, next_id: 0, first: 0, worker: None, hanging }
    }

    fn add(&mut self, name: &str, unit: AnyUnit) -> UnitId {
        let id = self.next_id;
        self.next_id += 1;
        let (state, log) = (SourceState::Absent, FaultLog::default());
        self.slots.insert(id, Slot { name: name.into(), unit: Some(unit), state, log });
        id
    }

    fn read(&mut self, reading: &mut AnyReading) {
        self.recover();
        if self.hanging.len() >= self.bounds.hanging {
            return;
        }
        let mut queue = self.take_units();
        let started = Instant::now();
        while !queue.is_empty() {
            let Some(worker) = self.worker() else {
                self.put_back(queue);
                break;
            };
            let (done, rest, hangs) = run(&worker, queue, started, self.bounds);
            self.apply(done, reading);
            queue = rest;
            if let Some(id) = hangs {
                self.abandon(id, worker);
                if self.hanging.len() < self.bounds.hanging && started.elapsed() < self.bounds.all {
                    continue;
                }
            }
            if let Some((id, _)) = queue.front() {
                self.first = *id;
            }
            self.put_back(mem::take(&mut queue));
        }
    }

    fn take_units(&mut self) -> Queue {
        let first = mem::take(&mut self.first);
        let take = |(id, slot): (&UnitId, &mut Slot)| Some((*id, slot.unit.take()?));
        let mut queue: Queue = self.slots.range_mut(first..).filter_map(take).collect();
        queue.extend(self.slots.range_mut(..first).filter_map(take));
        queue
    }

    fn put_back(&mut self, units: Queue) {
        for (id, unit) in units {
            if let Some(slot) = self.slots.get_mut(&id) {
                slot.unit = Some(unit);
            }
        }
    }

    fn apply(&mut self, done: Vec<Done>, reading: &mut AnyReading) {
        for Done { id, unit, outcome, at } in done {
            let Some(slot) = self.slots.get_mut(&id) else { continue };
            slot.unit = Some(unit);
            slot.state = outcome.state;
            if slot.log.has_ended() {
                tracing::info!(source = &*slot.name, "source readable again");
            }
            (outcome.update)(reading, (at - self.epoch).as_secs_f64());
        }
    }

    fn abandon(&mut self, id: UnitId, worker: Worker) {
        self.worker = None;
        self.hanging.push(worker);
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.state = SourceState::Down;
        }
    }

    /// Recovers units from workers that returned, and logs those that still hang. Values that came
    /// late are dropped, because their time is unknown.
    fn recover(&mut self) {
        for worker in mem::take(&mut self.hanging) {
            let (done, current) = {
                let mut state = lock(&worker.state);
                (mem::take(&mut state.done), state.current)
            };
            let late = done.into_iter().map(|done| (done.id, done.unit)).collect();
            self.put_back(late);
            let Some((id, since)) = current else { continue };
            if let Some(slot) = self.slots.get_mut(&id)
                && slot.log.is_due()
            {
                let seconds = since.elapsed().as_secs();
                tracing::warn!(
                    source = &*slot.name,
                    seconds,
                    "a read does not return; its values are absent"
                );
            }
            self.hanging.push(worker);
        }
    }

    fn worker(&mut self) -> Option<Worker> {
        if self.worker.is_none() {
            self.worker = start(self.name)
                .map_err(|error| tracing::error!(%error, "cannot start a thread to read"))
                .ok();
        }
        self.worker.clone()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(worker) = &self.worker {
            lock(&worker.state).retired = true;
            worker.work.notify_one();
        }
    }
}

/// Runs a queue on a worker. Returns the units that were read, the units that were not started, and
/// the unit that hangs.
fn run(
    worker: &Shared,
    queue: Queue,
    started: Instant,
    bounds: Bounds,
) -> (Vec<Done>, Queue, Option<UnitId>) {
    let mut state = lock(&worker.state);
    state.queue = queue;
    worker.work.notify_one();
    let mut rest = VecDeque::new();
    loop {
        let now = Instant::now();
        if state.queue.is_empty() && state.current.is_none() {
            return (mem::take(&mut state.done), rest, None);
        }
        if let Some((id, since)) = state.current
            && now - since >= bounds.unit
        {
            state.retired = true;
            rest.append(&mut state.queue);
            return (mem::take(&mut state.done), rest, Some(id));
        }
        // At least one unit is started, because slow reads could otherwise starve the other units.
        let has_started = state.current.is_some() || !state.done.is_empty();
        let wait_for_all = if has_started { bounds.all } else { bounds.all + bounds.unit };
        if now - started >= wait_for_all {
            rest.append(&mut state.queue);
        }
        let since = state.current.map_or(now, |(_, since)| since);
        let mut wait = bounds.unit.saturating_sub(now - since);
        if !state.queue.is_empty() {
            wait = wait.min(wait_for_all.saturating_sub(now - started));
        }
        state = worker
            .idle
            .wait_timeout(state, wait.max(Duration::from_millis(1)))
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
}

fn start(name: &'static str) -> io::Result<Worker> {
    /// Stack size: parsing needs a few KiB, and unused pages take no memory.
    const STACK_BYTES: usize = 256 * 1024;
    let (queue, done) = (VecDeque::new(), Vec::new());
    let worker = Arc::new(Shared {
        state: Mutex::new(State { queue, current: None, done, retired: false }),
        work: Condvar::new(),
        idle: Condvar::new(),
    });
    let thread = thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES);
    let shared = worker.clone();
    thread.spawn(move || work(&shared))?;
    Ok(worker)
}

fn work(shared: &Shared) {
    let mut state = lock(&shared.state);
    while !state.retired {
        let Some((id, mut unit)) = state.queue.pop_front() else {
            state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        state.current = Some((id, Instant::now()));
        drop(state);
        let outcome = unit();
        let at = Instant::now();
        state = lock(&shared.state);
        state.current = None;
        state.done.push(Done { id, unit, outcome, at });
        if state.queue.is_empty() {
            shared.idle.notify_one();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const BOUNDS: Bounds =
        Bounds { unit: Duration::from_millis(60), all: Duration::from_secs(5), hanging: 2 };

    /// Unit that reads its name; if it has a gate, it waits for the gate first.
    fn unit(name: &'static str, gate: Option<Receiver<()>>) -> Unit<Vec<&'static str>> {
        Box::new(move || {
            if let Some(gate) = &gate {
                let _ = gate.recv();
            }
            Outcome::new(SourceState::Up, move |all: &mut Vec<_>, _| all.push(name))
        })
    }

    fn reader(bounds: Bounds) -> BoundedReader<Vec<&'static str>> {
        BoundedReader::new("test", bounds, Instant::now())
    }

    fn add(reader: &mut BoundedReader<Vec<&'static str>>, name: &'static str) {
        reader.add(name, unit(name, None));
    }

    fn add_gated(reader: &mut BoundedReader<Vec<&'static str>>, name: &'static str) -> Sender<()> {
        let (gate, waiting) = channel();
        reader.add(name, unit(name, Some(waiting)));
        gate
    }

    #[test]
    fn units_are_read_in_order() {
        let mut reader = reader(BOUNDS);
        assert_eq!(reader.read(), [""; 0]);
        for name in ["a", "b", "c"] {
            add(&mut reader, name);
        }
        assert_eq!(reader.read(), ["a", "b", "c"]);
        assert_eq!(reader.read(), ["a", "b", "c"]);
        assert!(reader.states().all(|(_, state)| state == SourceState::Up));
    }

    #[test]
    fn a_hanging_unit_is_left_out_until_it_returns_and_the_others_are_read() {
        let mut reader = reader(BOUNDS);
        add(&mut reader, "a");
        let gate = add_gated(&mut reader, "b");
        add(&mut reader, "c");
        let begun = Instant::now();
        assert_eq!(reader.read(), ["a", "c"]);
        assert!(begun.elapsed() >= BOUNDS.unit);
        assert_eq!(reader.read(), ["a", "c"]);
        assert_eq!(reader.states().nth(1), Some((&"b".into(), SourceState::Down)));
        // The hanging read returns now, and the next one finds an open gate.
        gate.send(()).unwrap();
        gate.send(()).unwrap();
        drop(gate);
        let bound = Instant::now() + Duration::from_secs(5);
        while reader.read() != ["a", "b", "c"] {
            assert!(Instant::now() < bound);
            thread::sleep(Duration::from_millis(5));
        }
        assert!(reader.states().all(|(_, state)| state == SourceState::Up));
    }

    #[test]
    fn nothing_is_read_while_too_many_units_hang() {
        let mut reader = reader(BOUNDS);
        let gates = [add_gated(&mut reader, "a"), add_gated(&mut reader, "b")];
        add(&mut reader, "c");
        assert_eq!(reader.read(), [""; 0]);
        assert_eq!(reader.reader.hanging.len(), 2);
        assert_eq!(reader.read(), [""; 0]);
        drop(gates);
        let bound = Instant::now() + Duration::from_secs(5);
        while reader.read() != ["a", "b", "c"] {
            assert!(Instant::now() < bound);
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn units_that_were_not_started_come_first_in_the_next_read() {
        let mut reader = reader(Bounds { all: Duration::ZERO, ..BOUNDS });
        let gate = add_gated(&mut reader, "a");
        add(&mut reader, "b");
        add(&mut reader, "c");
        drop(gate);
        let mut read = Vec::new();
        for _ in 0..100 {
            read.extend(reader.read());
            if ["a", "b", "c"].iter().all(|name| read.contains(name)) {
                return;
            }
        }
        panic!("{read:?}");
    }

    #[test]
    fn a_removed_unit_is_not_read_again() {
        let mut reader = reader(BOUNDS);
        add(&mut reader, "a");
        let id = reader.add("b", unit("b", None));
        assert_eq!(reader.read(), ["a", "b"]);
        reader.remove(id);
        assert_eq!(reader.read(), ["a"]);
    }
}
