//! Channel from the sampler to requests and event streams.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use server::{Chunk, Viewer};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::history::History;
use crate::memory_budget::MemoryBudget;
use crate::recorder::Recorder;
use crate::replay_buffer::ReplayBuffer;
use crate::snapshot::{HistoryQuery, Snapshot, parse_event_id};

/// Maximum silence of a stream. Proxies and load balancers close connections that are idle for
/// longer (load balancers from 30 s, nginx after 60 s).
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// Reconnection delay of browsers after the stream ends.
const RETRY: &[u8] = b"retry: 1000\n\n";

/// Receiving side, for requests.
#[derive(Clone)]
pub(crate) struct Feed {
    /// `None` until the sampler has taken two readings, because a rate needs both.
    newest: watch::Receiver<Option<Arc<Snapshot>>>,
    samples: server::Feed,
    summaries: server::Feed,
    past: Past,
    budget: MemoryBudget,
}

/// Data of earlier samples, which both sides share.
#[derive(Clone)]
struct Past {
    history: Arc<Mutex<History>>,
    replay_buffer: Arc<Mutex<ReplayBuffer>>,
    recorder: Arc<Mutex<Recorder>>,
}

/// Sending side, for the sampler. Every stream ends when it is dropped.
pub(crate) struct Publisher {
    newest: watch::Sender<Option<Arc<Snapshot>>>,
    past: Past,
}

/// Creates both sides, and the task that passes samples to the streams. `history` may have rows of
/// an earlier process, and other components may share it.
pub(crate) fn feed(
    history: Arc<Mutex<History>>,
) -> (Publisher, Feed, impl Future<Output = ()> + Send + 'static) {
    let (sender, newest) = watch::channel(None);
    let (to_samples, samples) = server::feed();
    let (to_summaries, summaries) = server::feed();
    let forward = forward(newest.clone(), to_samples, to_summaries);
    let past = Past { history, replay_buffer: Arc::default(), recorder: Arc::default() };
    let budget = MemoryBudget::default();
    let feed = Feed { newest, samples, summaries, past: past.clone(), budget };
    (Publisher { newest: sender, past }, feed, forward)
}

impl Publisher {
    /// Updates the history first: a request that sees a sample also finds all earlier ones.
    pub(crate) fn publish(&self, snapshot: Snapshot) {
        lock(&self.past.history).push(&snapshot.sample);
        lock(&self.past.recorder).push(&snapshot.sample);
        lock(&self.past.replay_buffer).push(snapshot.sample.sequence, snapshot.event.clone());
        self.newest.send_replace(Some(Arc::new(snapshot)));
    }
}

impl Feed {
    /// Receiver of new samples; a slow receiver skips to the newest one.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Arc<Snapshot>>> {
        self.newest.clone()
    }

    /// The newest sample.
    pub(crate) fn newest(&self) -> Option<Arc<Snapshot>> {
        self.newest.borrow().clone()
    }

    /// Budget of large responses.
    pub(crate) fn budget(&self) -> &MemoryBudget {
        &self.budget
    }

    /// The past that a query asks for, as JSON.
    pub(crate) fn past(&self, query: HistoryQuery) -> serde_json::Result<String> {
        // The locks are not held while text is written: the sampler needs them.
        match query {
            HistoryQuery::Rows(span) => {
                let rows = lock(&self.past.history).rows(span.seconds, span.step);
                serde_json::to_string(&rows)
            }
            HistoryQuery::Events(seconds) => {
                let events = lock(&self.past.recorder).events(seconds);
                serde_json::to_string(&events)
            }
            HistoryQuery::Top(seconds) => {
                let top = lock(&self.past.recorder).top(seconds);
                serde_json::to_string(&top)
            }
        }
    }

    /// Stream that catches up to `newest` and continues from there. It begins with the events after
    /// `last_event_id`; without them, with the history as one event and the newest sample.
    pub(crate) fn viewer(&self, newest: &Snapshot, last_event_id: Option<&str>) -> Viewer {
        let sequence = newest.sample.sequence;
        let missed = last_event_id
            .and_then(parse_event_id)
            .filter(|(instance, _)| *instance == newest.sample.instance)
            .and_then(|(_, seen)| lock(&self.past.replay_buffer).between(seen, sequence));
        let mut preamble = vec![Chunk::new(RETRY)];
        preamble.extend(missed.unwrap_or_else(|| {
            let past = newest.history(|| lock(&self.past.history).before(sequence));
            vec![past, newest.event.clone()]
        }));
        self.samples.viewer(preamble, sequence)
    }

    /// Stream of summaries that begins with the last minute.
    pub(crate) fn summary_viewer(&self, newest: &Snapshot) -> Viewer {
        let sequence = newest.sample.sequence;
        let minute = newest.minute(|| lock(&self.past.history).minute(sequence));
        self.summaries.viewer(vec![minute, newest.summary()], sequence)
    }
}

/// Passes samples to the streams, on the thread that serves them. Sends heartbeat comments while
/// the sampler is stalled, and returns when sampling ends.
async fn forward(
    mut newest: watch::Receiver<Option<Arc<Snapshot>>>,
    mut samples: server::Publisher,
    mut summaries: server::Publisher,
) {
    loop {
        match timeout(HEARTBEAT_INTERVAL, newest.changed()).await {
            Ok(Ok(())) => {
                if let Some(snapshot) = &*newest.borrow_and_update() {
                    samples.publish(snapshot.sample.sequence, snapshot.event.clone());
                    if summaries.has_viewers() {
                        summaries.publish(snapshot.sample.sequence, snapshot.summary());
                    }
                }
            }
            Ok(Err(_)) => return,
            Err(_) => {
                samples.heartbeat();
                summaries.heartbeat();
            }
        }
    }
}

/// Locks a mutex. The data stays consistent after a panic in another thread, because each update is
/// one write.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
