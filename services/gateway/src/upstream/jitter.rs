//! Non-cryptographic random numbers, for jitter and for the power of two choices.

use std::hash::{BuildHasher, RandomState};

/// A seed that differs between pools and processes.
pub(super) fn seed() -> u64 {
    RandomState::new().hash_one(0_u8)
}

/// A number from 0 to 255; advances `seed`.
pub(super) fn next_byte(seed: &mut u64) -> u8 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mix(*seed).to_be_bytes()[0]
}

/// Maps adjacent numbers to uncorrelated ones (the finalizer of splitmix64).
pub(super) const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
