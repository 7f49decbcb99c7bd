//! Memory of the responses that are being sent: a client that does not read keeps its response.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// Maximum size of all responses together, bytes. A day of history has 800 kB, and each query has a
/// response of its own. Under Compose, the service has 32 MiB.
const MAX_BYTES: usize = 12 << 20;

/// Budget that its clones share.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryBudget(Arc<AtomicUsize>);

/// A response, which counts until the last client has received it.
struct Held {
    bytes: Vec<u8>,
    budget: MemoryBudget,
}

impl MemoryBudget {
    /// Whether only the quarter is left that belongs to `/metrics`: clients that do not read the past
    /// must not end the monitoring.
    pub(crate) fn is_scarce(&self) -> bool {
        self.0.load(Ordering::Relaxed) > MAX_BYTES / 4 * 3
    }

    /// Counts a response; `None` if there is no room beside the other ones.
    pub(crate) fn hold(&self, mut bytes: Vec<u8>) -> Option<Bytes> {
        bytes.shrink_to_fit();
        let size = bytes.len();
        let others = self.0.fetch_add(size, Ordering::Relaxed);
        let held = Held { bytes, budget: self.clone() };
        (others == 0 || others.saturating_add(size) <= MAX_BYTES).then(|| Bytes::from_owner(held))
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}
