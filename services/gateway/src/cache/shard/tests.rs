use super::key::{NOTE_BYTES, SLOT_BYTES};
use super::*;

#[test]
fn the_overhead_of_a_response_covers_its_memory() {
    // Allocator overhead of at most eight allocations.
    const PIECES: usize = 8 * 16;
    let places = 2 * (size_of::<(u64, Record)>() + 1 + size_of::<(u64, u64)>());
    let record = places + size_of::<Key>() + 2 * size_of::<usize>() + PIECES;
    let stored = size_of::<CacheEntry>() + 2 * size_of::<usize>();
    let slot = record + size_of::<Slot>() + stored;
    assert!(slot <= SLOT_BYTES, "{slot}");
    let note = record + size_of::<Note>();
    assert!(note <= NOTE_BYTES, "{note}");
}
