//! Idle client connections. When a new connection exceeds the limit, one of them is closed in its
//! favor, so that silent connections cannot exhaust the limit: first those that never sent a
//! request, then the one that has been idle longest.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::lock::lock;

/// Time during which a new connection is not closed for another: its request may be in transit.
const FIRST_REQUEST_TIME: Duration = Duration::from_millis(250);

/// Capacity of the list that is not worth a reduction.
const MANY: usize = 1024;

/// Open connections.
#[derive(Debug)]
pub(crate) struct Connections {
    open: Mutex<Open>,
    begun: Instant,
}

#[derive(Debug, Default)]
struct Open {
    connections: HashMap<u64, Arc<State>>,
    next: u64,
    /// All connections close, also new ones.
    is_closing: bool,
}

#[derive(Debug, Default)]
struct State {
    /// Nanoseconds since `begun`; 0 while a request is in flight, from the end of its head.
    idle_since: AtomicU64,
    /// Whether the connection has sent a request.
    has_sent: AtomicBool,
    close: Notify,
}

/// Registration of a connection; removed on drop.
#[derive(Debug)]
pub(crate) struct Entry {
    list: Arc<Connections>,
    id: u64,
    state: Arc<State>,
}

impl Connections {
    /// An empty list.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { open: Mutex::default(), begun: Instant::now() })
    }

    /// Registers a new, idle connection.
    pub(crate) fn register(self: &Arc<Self>) -> Entry {
        let state = Arc::<State>::default();
        let mut open = lock(&self.open);
        let id = open.next;
        open.next += 1;
        open.connections.insert(id, state.clone());
        if open.is_closing {
            state.close.notify_one();
        }
        drop(open);
        let entry = Entry { list: self.clone(), id, state };
        entry.set_idle();
        entry
    }

    /// Closes the connection that has been idle longest; false if none is idle. It scans the whole
    /// list, because it is called only at the connection limit.
    pub(crate) fn close_longest_idle(&self) -> bool {
        let open = lock(&self.open);
        let waiting = open.connections.values().filter_map(|state| {
            let since = state.idle_since.load(Ordering::Relaxed);
            (since > 0).then(|| (state.has_sent.load(Ordering::Relaxed), since, state))
        });
        let first = waiting.min_by_key(|(has_sent, since, _)| (*has_sent, *since));
        let Some((has_sent, since, state)) = first else { return false };
        let waited = self.begun.elapsed().saturating_sub(Duration::from_nanos(since));
        if !has_sent && waited < FIRST_REQUEST_TIME {
            return false;
        }
        // Not a candidate again before its next request.
        state.idle_since.store(0, Ordering::Relaxed);
        state.close.notify_one();
        true
    }

    /// Closes each connection as soon as it is idle.
    pub(crate) fn close_all(&self) {
        let mut open = lock(&self.open);
        open.is_closing = true;
        for state in open.connections.values() {
            state.close.notify_one();
        }
    }
}

impl Entry {
    /// Marks the connection as idle.
    pub(crate) fn set_idle(&self) {
        let since = self.list.begun.elapsed().as_nanos();
        // Sufficient for 584 years; 0 is reserved.
        let since = u64::try_from(since).unwrap_or(u64::MAX).max(1);
        self.state.idle_since.store(since, Ordering::Relaxed);
    }

    /// Marks a request as in flight.
    pub(crate) fn set_active(&self) {
        self.state.has_sent.store(true, Ordering::Relaxed);
        self.state.idle_since.store(0, Ordering::Relaxed);
    }

    /// Resolves when the connection must close.
    pub(crate) async fn close_requested(&self) {
        self.state.close.notified().await;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let connections = &mut lock(&self.list.open).connections;
        connections.remove(&self.id);
        if connections.capacity() > MANY && connections.len() < connections.capacity() / 8 {
            connections.shrink_to(2 * connections.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    async fn is_told(entry: &Entry) -> bool {
        timeout(Duration::ZERO, entry.close_requested()).await.is_ok()
    }

    #[tokio::test]
    async fn the_longest_idle_connection_is_closed_once() {
        let list = Connections::new();
        let entries: Vec<_> = (0..3).map(|_| list.register()).collect();
        for entry in &entries {
            entry.set_active();
            entry.set_idle();
        }
        // After another request, its idle time is the shortest.
        entries[0].set_active();
        entries[0].set_idle();
        assert!(list.close_longest_idle());
        assert!(is_told(&entries[1]).await && !is_told(&entries[0]).await);
        assert!(list.close_longest_idle() && list.close_longest_idle());
        assert!(is_told(&entries[2]).await && is_told(&entries[0]).await);
        assert!(!list.close_longest_idle(), "all were closed");
    }

    #[tokio::test]
    async fn a_connection_in_use_outlives_newer_ones_that_never_sent_a_request() {
        let list = Connections::new();
        let used = list.register();
        used.set_active();
        used.set_idle();
        let silent = list.register();
        assert!(!list.close_longest_idle(), "its request may be on its way");
        std::thread::sleep(FIRST_REQUEST_TIME);
        let newer = list.register();
        assert!(list.close_longest_idle());
        assert!(is_told(&silent).await && !is_told(&used).await && !is_told(&newer).await);
    }

    #[tokio::test]
    async fn shutdown_closes_all_connections_and_new_ones() {
        let list = Connections::new();
        let entries = [list.register(), list.register()];
        entries[1].set_active();
        list.close_all();
        for entry in entries.iter().chain([&list.register()]) {
            assert!(is_told(entry).await);
        }
    }

    #[tokio::test]
    async fn busy_and_closed_connections_are_not_notified() {
        let list = Connections::new();
        let (gone, active) = (list.register(), list.register());
        active.set_active();
        drop(gone);
        assert!(!list.close_longest_idle());
        assert!(!is_told(&active).await);
        assert_eq!(lock(&list.open).connections.len(), 1);
    }
}
