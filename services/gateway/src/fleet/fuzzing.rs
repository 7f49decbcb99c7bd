//! Entry point of the fuzz target for event streams.

use super::block::BLOCK_BYTES;
use super::event_stream::{Blocks, Merged, MergedLines, Update};

/// The items of a stream that arrives in pieces of this size: those of a member, then those of a
/// gateway.
///
/// # Panics
/// If a block is longer than its limit.
pub(crate) fn parsed(bytes: &[u8], piece: usize) -> Vec<String> {
    let (mut blocks, mut lines) = (Blocks::default(), MergedLines::default());
    let (mut of_member, mut of_gateway) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        let mut input = piece;
        while let Some((kind, data)) = blocks.next(&mut input) {
            assert!(data.len() <= BLOCK_BYTES, "a long block of a member");
            of_member.push(format!("{kind:?} {data:?}"));
        }
        let mut input = piece;
        while let Some(item) = lines.next(&mut input) {
            if let Merged::Line(line) = &item
                && let Update::Block(_, data) = &line.update
            {
                assert!(data.len() <= BLOCK_BYTES, "a long block of a gateway");
            }
            of_gateway.push(format!("{item:?}"));
        }
    }
    of_member.append(&mut of_gateway);
    of_member
}
