//! Random identifiers for requests, traces and gateways.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::digits::hexadecimal_128;

/// Creates a request id: 128 bits in hexadecimal, unique and unpredictable.
pub(crate) fn new_request_id() -> String {
    let [left, right] = new_bits();
    let id = hexadecimal_128(u128::from(left) << 64 | u128::from(right));
    String::from_utf8(id.to_vec()).unwrap_or_default()
}

/// 128 bits for ids. A counter hashed with two secret keys (`SipHash`) costs less than the lock of
/// a random number generator.
pub(crate) fn new_bits() -> [u64; 2] {
    static KEYS: LazyLock<[RandomState; 2]> =
        LazyLock::new(|| [RandomState::new(), RandomState::new()]);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    KEYS.each_ref().map(|key| key.hash_one(count))
}
