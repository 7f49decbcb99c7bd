//! Reads that cannot hang their caller.
//!
//! A worker thread reads one unit after another. A unit that does not return in time (a FUSE mount
//! without its server, a FIFO in place of a file) is left behind together with its thread, another
//! thread reads the rest, and the unit is read again once it has returned.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::fault_log::FaultLog;

/// What is read as one: a file, a group of files, a filesystem.
pub(super) trait Unit<R>: Send {
    /// Reads once. May block.
    fn read(&mut self) -> Outcome<R>;
}

/// The result of one read.
pub(super) struct Outcome<R> {
    pub(super) state: SourceState,
    /// Puts the figures into a reading, with the time at which they were read: seconds since the
    /// epoch of the reader.
    pub(super) update: Update<R>,
}

/// Puts the figures of one read into a reading.
pub(super) type Update<R> = Box<dyn FnOnce(&mut R, f64) + Send>;

/// Whether a source has figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SourceState {
    Up,
    /// It cannot be read or parsed, or its read does not return.
    Down,
    /// The system does not have it.
    Absent,
}

/// How long reads may take.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// The longest time for one unit.
    pub(super) unit: Duration,
    /// No unit is begun after this; those left over come first at the next read.
    pub(super) all: Duration,
    /// Units that may hang at once, each with a thread. While there are more, nothing is read.
    pub(super) hanging: usize,
}

/// Identifies a unit of a reader.
pub(super) type UnitId = u64;

/// Reads its units in the order in which they were added, within bounds.
pub(super) struct BoundedReader<R> {
    name: &'static str,
    bounds: Bounds,
    epoch: Instant,
    slots: BTreeMap<UnitId, Slot<R>>,
    next_id: UnitId,
    /// The unit that is read first.
    first: UnitId,
    worker: Option<Worker<R>>,
    /// Workers whose unit did not return in time.
    hanging: Vec<Worker<R>>,
}

struct Slot<R> {
    name: Arc<str>,
    /// None while a worker has it.
    unit: Option<Box<dyn Unit<R>>>,
    state: SourceState,
    log: FaultLog,
}

type Worker<R> = Arc<Shared<R>>;

struct Shared<R> {
    state: Mutex<State<R>>,
    /// Work was added, or the worker was retired.
    work: Condvar,
    /// The last unit of the queue was read.
    idle: Condvar,
}

struct State<R> {
    queue: VecDeque<(UnitId, Box<dyn Unit<R>>)>,
    /// The unit that is being read, and since when.
    current: Option<(UnitId, Instant)>,
    done: Vec<Done<R>>,
    /// The thread ends when the current unit returns.
    retired: bool,
}

struct Done<R> {
    id: UnitId,
    unit: Box<dyn Unit<R>>,
    outcome: Outcome<R>,
    at: Instant,
}

impl<R: Default + Send + 'static> BoundedReader<R> {
    /// A reader without units; `name` is that of its threads.
    pub(super) fn new(name: &'static str, bounds: Bounds, epoch: Instant) -> Self {
        let (slots, hanging) = (BTreeMap::new(), Vec::new());
        Self { name, bounds, epoch, slots, next_id: 0, first: 0, worker: None, hanging }
    }

    /// Adds a unit that is read after the others.
    pub(super) fn add(&mut self, name: String, unit: Box<dyn Unit<R>>) -> UnitId {
        let id = self.next_id;
        self.next_id += 1;
        let (state, log) = (SourceState::Absent, FaultLog::default());
        self.slots.insert(id, Slot { name: name.into(), unit: Some(unit), state, log });
        id
    }

    /// Removes a unit. One that hangs keeps its thread until it returns.
    pub(super) fn remove(&mut self, id: UnitId) {
        self.slots.remove(&id);
    }

    /// The name and the state of each unit.
    pub(super) fn states(&self) -> impl Iterator<Item = (&Arc<str>, SourceState)> {
        self.slots.values().map(|slot| (&slot.name, slot.state))
    }

    /// The state of one unit.
    pub(super) fn state(&self, id: UnitId) -> SourceState {
        self.slots.get(&id).map_or(SourceState::Absent, |slot| slot.state)
    }

    /// Reads every unit that does not hang. Takes at most the two bounds together.
    pub(super) fn read(&mut self) -> R {
        let mut reading = R::default();
        self.recover();
        if self.hanging.len() >= self.bounds.hanging {
            return reading;
        }
        let mut queue = self.take_units();
        let started = Instant::now();
        while !queue.is_empty() {
            let Some(worker) = self.worker() else {
                self.put_back(queue);
                break;
            };
            let (done, rest, hangs) = run(&worker, queue, started, self.bounds);
            self.apply(done, &mut reading);
            queue = rest;
            if let Some(id) = hangs {
                self.leave_behind(id, worker);
                if self.hanging.len() < self.bounds.hanging && started.elapsed() < self.bounds.all {
                    continue;
                }
            }
            if let Some((id, _)) = queue.front() {
                self.first = *id;
            }
            self.put_back(mem::take(&mut queue));
        }
        reading
    }

    fn take_units(&mut self) -> VecDeque<(UnitId, Box<dyn Unit<R>>)> {
        let first = mem::take(&mut self.first);
        let take = |(id, slot): (&UnitId, &mut Slot<R>)| Some((*id, slot.unit.take()?));
        let mut queue: VecDeque<_> = self.slots.range_mut(first..).filter_map(take).collect();
        queue.extend(self.slots.range_mut(..first).filter_map(take));
        queue
    }

    fn put_back(&mut self, units: VecDeque<(UnitId, Box<dyn Unit<R>>)>) {
        for (id, unit) in units {
            if let Some(slot) = self.slots.get_mut(&id) {
                slot.unit = Some(unit);
            }
        }
    }

    fn apply(&mut self, done: Vec<Done<R>>, reading: &mut R) {
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

    fn leave_behind(&mut self, id: UnitId, worker: Worker<R>) {
        self.worker = None;
        self.hanging.push(worker);
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.state = SourceState::Down;
        }
    }

    /// Takes units back from workers that returned, and logs those that did not. Figures that came
    /// late are dropped: their time is unknown.
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

    fn worker(&mut self) -> Option<Worker<R>> {
        if self.worker.is_none() {
            self.worker = start(self.name)
                .map_err(|error| tracing::error!(%error, "cannot start a thread to read"))
                .ok();
        }
        self.worker.clone()
    }
}

impl<R> Drop for BoundedReader<R> {
    fn drop(&mut self) {
        if let Some(worker) = &self.worker {
            lock(&worker.state).retired = true;
            worker.work.notify_one();
        }
    }
}

type Queue<R> = VecDeque<(UnitId, Box<dyn Unit<R>>)>;

/// Has a worker read a queue: the units that it read, those that it did not begin, and the one that
/// it hangs in.
fn run<R>(
    worker: &Shared<R>,
    queue: Queue<R>,
    started: Instant,
    bounds: Bounds,
) -> (Vec<Done<R>>, Queue<R>, Option<UnitId>) {
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
        // One unit is begun at least, or slow reads would keep the others from ever being read.
        let has_begun = state.current.is_some() || !state.done.is_empty();
        let wait_for_all = if has_begun { bounds.all } else { bounds.all + bounds.unit };
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

fn start<R: Send + 'static>(name: &'static str) -> io::Result<Worker<R>> {
    /// Parsing needs a few KiB; the memory is only taken as it is used.
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

fn work<R>(shared: &Shared<R>) {
    let mut state = lock(&shared.state);
    while !state.retired {
        let Some((id, mut unit)) = state.queue.pop_front() else {
            state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        state.current = Some((id, Instant::now()));
        drop(state);
        let outcome = unit.read();
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

    /// A unit that reads its name; before that it waits for its gate, where it has one.
    struct Gated(&'static str, Option<Receiver<()>>);

    impl Unit<Vec<&'static str>> for Gated {
        fn read(&mut self) -> Outcome<Vec<&'static str>> {
            if let Some(gate) = &self.1 {
                let _ = gate.recv();
            }
            let name = self.0;
            let update = Box::new(move |all: &mut Vec<_>, _: f64| all.push(name));
            Outcome { state: SourceState::Up, update }
        }
    }

    fn reader(bounds: Bounds) -> BoundedReader<Vec<&'static str>> {
        BoundedReader::new("test", bounds, Instant::now())
    }

    fn add(reader: &mut BoundedReader<Vec<&'static str>>, name: &'static str) {
        reader.add(name.to_owned(), Box::new(Gated(name, None)));
    }

    fn add_gated(reader: &mut BoundedReader<Vec<&'static str>>, name: &'static str) -> Sender<()> {
        let (gate, waiting) = channel();
        reader.add(name.to_owned(), Box::new(Gated(name, Some(waiting))));
        gate
    }

    #[test]
    fn units_are_read_in_their_order() {
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
    fn a_unit_that_hangs_is_left_out_until_it_returns_and_the_others_are_read() {
        let mut reader = reader(BOUNDS);
        add(&mut reader, "a");
        let gate = add_gated(&mut reader, "b");
        add(&mut reader, "c");
        let begun = Instant::now();
        assert_eq!(reader.read(), ["a", "c"]);
        assert!(begun.elapsed() >= BOUNDS.unit);
        assert_eq!(reader.read(), ["a", "c"]);
        assert_eq!(reader.states().nth(1), Some((&"b".into(), SourceState::Down)));
        // The read that hung returns now, and the next one finds its gate open.
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
    fn while_too_many_hang_nothing_is_read() {
        let mut reader = reader(BOUNDS);
        let gates = [add_gated(&mut reader, "a"), add_gated(&mut reader, "b")];
        add(&mut reader, "c");
        assert_eq!(reader.read(), [""; 0]);
        assert_eq!(reader.hanging.len(), 2);
        assert_eq!(reader.read(), [""; 0]);
        drop(gates);
        let bound = Instant::now() + Duration::from_secs(5);
        while reader.read() != ["a", "b", "c"] {
            assert!(Instant::now() < bound);
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn what_was_not_begun_in_time_comes_first_at_the_next_read() {
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
        let id = reader.add("b".to_owned(), Box::new(Gated("b", None)));
        assert_eq!(reader.read(), ["a", "b"]);
        reader.remove(id);
        assert_eq!(reader.read(), ["a"]);
    }
}
