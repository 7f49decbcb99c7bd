//! Client connections that wait for a request. When a new one finds no place, the one that has
//! waited longest is closed for it, so that silent connections cannot shut others out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

/// The open connections.
#[derive(Debug)]
pub(crate) struct Connections {
    open: Mutex<Open>,
    begun: Instant,
}

#[derive(Debug, Default)]
struct Open {
    connections: HashMap<u64, Arc<State>>,
    next: u64,
}

#[derive(Debug, Default)]
struct State {
    /// Nanoseconds after the beginning; 0 while a request is under way.
    waits_since: AtomicU64,
    closes: Notify,
}

/// One of them; it leaves the list when this is dropped.
#[derive(Debug)]
pub(crate) struct Entry {
    list: Arc<Connections>,
    id: u64,
    state: Arc<State>,
}

impl Connections {
    /// None is open.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { open: Mutex::default(), begun: Instant::now() })
    }

    /// Takes one in that has just been opened, and waits.
    pub(crate) fn enter(self: &Arc<Self>) -> Entry {
        let state = Arc::<State>::default();
        let mut open = self.open();
        let id = open.next;
        open.next += 1;
        open.connections.insert(id, state.clone());
        drop(open);
        let entry = Entry { list: self.clone(), id, state };
        entry.waits();
        entry
    }

    /// Closes the one that has been idle longest; false if there is none.
    /// Called only where there is no place, so that it may look at all of them.
    pub(crate) fn close_longest(&self) -> bool {
        let open = self.open();
        let waiting = open.connections.values().filter_map(|state| {
            let since = state.waits_since.load(Ordering::Relaxed);
            (since > 0).then_some((since, state))
        });
        let Some((_, state)) = waiting.min_by_key(|(since, _)| *since) else { return false };
        // It is not looked at again before its next request.
        state.waits_since.store(0, Ordering::Relaxed);
        state.closes.notify_one();
        true
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Nothing that is done under the lock can be half done.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// It waits for a request from now on.
    pub(crate) fn waits(&self) {
        let since = self.list.begun.elapsed().as_nanos();
        // Enough for 584 years; 0 means something else.
        let since = u64::try_from(since).unwrap_or(u64::MAX).max(1);
        self.state.waits_since.store(since, Ordering::Relaxed);
    }

    /// A request has begun.
    pub(crate) fn works(&self) {
        self.state.waits_since.store(0, Ordering::Relaxed);
    }

    /// Resolves when it is to close.
    pub(crate) async fn closes(&self) {
        self.state.closes.notified().await;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.list.open().connections.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    async fn is_told(entry: &Entry) -> bool {
        timeout(Duration::ZERO, entry.closes()).await.is_ok()
    }

    #[tokio::test]
    async fn the_one_that_waited_longest_is_told_once() {
        let list = Connections::new();
        let entries: Vec<_> = (0..3).map(|_| list.enter()).collect();
        // Its request came and went: now it has waited for the shortest time.
        entries[0].works();
        entries[0].waits();
        assert!(list.close_longest());
        assert!(is_told(&entries[1]).await && !is_told(&entries[0]).await);
        assert!(list.close_longest() && list.close_longest());
        assert!(is_told(&entries[2]).await && is_told(&entries[0]).await);
        assert!(!list.close_longest(), "all were told");
    }

    #[tokio::test]
    async fn one_that_works_or_has_gone_is_not_told() {
        let list = Connections::new();
        let (gone, works) = (list.enter(), list.enter());
        works.works();
        drop(gone);
        assert!(!list.close_longest());
        assert!(!is_told(&works).await);
        assert_eq!(list.open().connections.len(), 1);
    }
}
