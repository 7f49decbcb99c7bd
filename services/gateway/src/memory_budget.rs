//! Bytes that something may take, counted before it takes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of bytes that is never exceeded.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    bytes: usize,
    taken: AtomicUsize,
}

impl MemoryBudget {
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { bytes, taken: AtomicUsize::new(0) })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// A room without bytes, to grow.
    pub(crate) fn room(self: &Arc<Self>) -> MemoryPermit {
        MemoryPermit { space: self.clone(), bytes: 0 }
    }

    fn take(&self, bytes: usize) -> bool {
        let taken = self.taken.try_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            taken.checked_add(bytes).filter(|taken| *taken <= self.bytes)
        });
        taken.is_ok()
    }
}

/// Bytes taken; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct MemoryPermit {
    space: Arc<MemoryBudget>,
    bytes: usize,
}

impl MemoryPermit {
    /// How many they are.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes more; false if there is no more.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let grown = self.space.take(bytes);
        if grown {
            self.bytes += bytes;
        }
        grown
    }

    /// Gives back all but so many.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let spare = self.bytes.saturating_sub(bytes);
        self.bytes -= spare;
        self.space.taken.fetch_sub(spare, Ordering::Relaxed);
    }
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back_and_never_too_much() {
        let space = MemoryBudget::new(10);
        let (mut one, mut other) = (space.room(), space.room());
        assert!(one.grow(7) && other.grow(3));
        assert!(!one.grow(1) && !one.grow(usize::MAX));
        one.shrink_to(2);
        one.shrink_to(5);
        assert_eq!((one.bytes(), space.taken()), (2, 5));
        assert!(other.grow(5));
        drop(one);
        drop(other);
        assert_eq!(space.taken(), 0);
    }
}
