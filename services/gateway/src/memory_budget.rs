//! Memory budget: bytes are reserved before they are used.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A budget of bytes that is never exceeded.
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

    /// Creates an empty permit, for [`MemoryPermit::grow`].
    pub(crate) fn permit(self: &Arc<Self>) -> MemoryPermit {
        MemoryPermit { budget: self.clone(), bytes: 0 }
    }

    fn take(&self, bytes: usize) -> bool {
        let taken = self.taken.try_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            taken.checked_add(bytes).filter(|taken| *taken <= self.bytes)
        });
        taken.is_ok()
    }
}

/// Reserved bytes; released on drop.
#[derive(Debug)]
pub(crate) struct MemoryPermit {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

impl MemoryPermit {
    /// Number of reserved bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reserves more bytes; false if the budget is exhausted.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let grown = self.budget.take(bytes);
        if grown {
            self.bytes += bytes;
        }
        grown
    }

    /// Releases all but this number of bytes.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let spare = self.bytes.saturating_sub(bytes);
        self.bytes -= spare;
        self.budget.taken.fetch_sub(spare, Ordering::Relaxed);
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
    fn reserved_bytes_are_released_and_the_limit_holds() {
        let budget = MemoryBudget::new(10);
        let (mut one, mut other) = (budget.permit(), budget.permit());
        assert!(one.grow(7) && other.grow(3));
        assert!(!one.grow(1) && !one.grow(usize::MAX));
        one.shrink_to(2);
        one.shrink_to(5);
        assert_eq!((one.bytes(), budget.taken()), (2, 5));
        assert!(other.grow(5));
        drop(one);
        drop(other);
        assert_eq!(budget.taken(), 0);
    }
}
