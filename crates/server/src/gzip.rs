//! Event streams in gzip; each event is compressed once for all viewers. Without I/O.
//!
//! A gzip stream (RFC 1952) consists of a header, deflate blocks (RFC 1951) and a trailer.
//! Different encoders can write blocks that end at a byte boundary, as long as no block refers to
//! text that the viewer's decoder has not received. So a viewer receives one of two forms of an
//! event. If it has all events since the chain began, it receives the block in the chain, which
//! refers to earlier events. Otherwise it receives the event compressed separately. A new chain
//! begins every 30 events, and viewers join it there.

use bytes::Bytes;
use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress};

/// Number of events in a chain. A viewer that joins or missed an event waits for the next chain.
const LENGTH: u32 = 30;

/// Header of a stream: method deflate, no name, no time, unknown system.
pub const HEAD: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// An empty final block.
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];

/// Maximum size of a flush marker in addition to the text, bytes.
const FLUSH_BYTES: usize = 64;

/// Compresses events one after another.
pub struct Chain {
    encoder: Compress,
    events: u32,
}

/// An event in the chain.
#[derive(Clone, Debug)]
pub struct Link {
    /// The deflate block.
    pub block: Bytes,
    /// Whether it refers to no earlier event.
    is_first: bool,
}

impl Default for Chain {
    fn default() -> Self {
        Self { encoder: encoder(Compression::default()), events: 0 }
    }
}

impl Chain {
    /// Compresses the next event. Returns `None` if it cannot be compressed; then a new chain
    /// begins.
    pub fn next(&mut self, text: &[u8]) -> Option<Link> {
        let is_first = self.events.is_multiple_of(LENGTH);
        if is_first {
            self.encoder.reset();
        }
        self.events = self.events.wrapping_add(1);
        let Some(block) = deflated(&mut self.encoder, text) else {
            self.restart();
            return None;
        };
        Some(Link { block, is_first })
    }

    /// Begins a new chain with the next event, after viewers received text that is not in the
    /// chain.
    pub fn restart(&mut self) {
        self.events = 0;
    }
}

/// One viewer's stream. It begins with [`HEAD`].
#[derive(Default)]
pub struct Stream {
    checksum: Hasher,
    length: u64,
    is_in_chain: bool,
}

impl Stream {
    /// Records text that is sent as its [`block`].
    pub fn alone(&mut self, text: &[u8]) {
        self.is_in_chain = false;
        self.count(text);
    }

    /// Records an event that is sent as its link, if the viewer can decode the link; otherwise the
    /// event must be sent separately. `is_next` means that the viewer has the previous event.
    pub fn takes(&mut self, link: &Link, text: &[u8], is_next: bool) -> bool {
        let can_read = link.is_first || (self.is_in_chain && is_next);
        if can_read {
            self.is_in_chain = true;
            self.count(text);
        }
        can_read
    }

    /// The final block and the trailer of the stream.
    pub fn tail(&self) -> Bytes {
        let checksum = self.checksum.clone().finalize();
        // The length modulo 2^32 (RFC 1952, section 2.3.1).
        let length = &self.length.to_le_bytes()[..4];
        [&LAST_BLOCK[..], &checksum.to_le_bytes(), length].concat().into()
    }

    fn count(&mut self, text: &[u8]) {
        self.checksum.update(text);
        self.length = self.length.wrapping_add(text.len() as u64);
    }
}

/// Text compressed without reference to earlier text.
pub fn block(text: &[u8], compression: Compression) -> Bytes {
    deflated(&mut encoder(compression), text).unwrap_or_else(|| stored(text).into())
}

fn encoder(compression: Compression) -> Compress {
    Compress::new(compression, false)
}

/// The text as blocks that end at a byte boundary.
fn deflated(encoder: &mut Compress, text: &[u8]) -> Option<Bytes> {
    let mut block = Vec::with_capacity(text.len() / 2 + FLUSH_BYTES);
    let begun = encoder.total_in();
    loop {
        let taken = usize::try_from(encoder.total_in() - begun).ok()?;
        encoder.compress_vec(text.get(taken..)?, &mut block, FlushCompress::Sync).ok()?;
        let taken = usize::try_from(encoder.total_in() - begun).ok()?;
        // If space is left, everything was flushed.
        if taken == text.len() && block.len() < block.capacity() {
            return Some(block.into());
        }
        block.reserve(block.capacity());
    }
}

/// The text in uncompressed blocks (RFC 1951, section 3.2.4).
fn stored(text: &[u8]) -> Vec<u8> {
    let blocks = text.chunks(usize::from(u16::MAX)).map(|part| {
        let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
        [&[0], &length.to_le_bytes()[..], &(!length).to_le_bytes(), part].concat()
    });
    blocks.collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;
    use crate::{Chunk, Viewer, feed};

    /// Appends everything that is ready for a viewer.
    fn drain(viewer: &mut Viewer, into: &mut Vec<u8>) {
        while let Some(chunk) = viewer.unsent() {
            into.extend(chunk.text());
        }
    }

    fn decoded(bytes: &[u8]) -> String {
        let mut text = String::new();
        GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
        text
    }

    fn sample(number: u64) -> Chunk {
        // Some values change from tick to tick, most do not.
        let figure = |at: u64| at * 12_345 + if at.is_multiple_of(4) { number } else { 0 };
        let figures: Vec<_> = (0..40).map(|at| format!("\"field{at}\":{}", figure(at))).collect();
        Chunk::new(
            format!("id: {number}\nevent: sample\ndata: {{{}}}\n\n", figures.join(",")).as_bytes(),
        )
    }

    #[test]
    fn text_that_does_not_fit_the_first_buffer_is_whole() {
        let text: Vec<u8> =
            (0..200_000_u32).flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for form in
            [deflated(&mut encoder(Compression::fast()), &text).unwrap(), stored(&text).into()]
        {
            let mut decoder = flate2::read::DeflateDecoder::new(&form[..]);
            let mut back = vec![0; text.len()];
            decoder.read_exact(&mut back).unwrap();
            assert!(back == text);
        }
    }

    #[test]
    fn a_chain_is_much_smaller_than_events_alone() {
        let mut chain = Chain::default();
        let sizes: Vec<usize> = (100..130)
            .map(|number| chain.next(&sample(number).text()).unwrap().block.len())
            .collect();
        let alone = block(&sample(129).text(), Compression::default()).len();
        assert!(sizes[29] * 2 < alone, "{sizes:?} {alone}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// A compressed stream has the same text as an uncompressed one for any missed events,
        /// joins and heartbeats.
        #[test]
        fn both_forms_have_the_same_text(steps in prop::collection::vec(0_u8..10, 1..120)) {
            let (mut publisher, feed) = feed();
            let mut pairs: Vec<(Viewer, Vec<u8>, Viewer, Vec<u8>)> = Vec::new();
            let mut number = 1;
            publisher.publish(number, sample(number));
            for step in steps {
                match step {
                    0 if pairs.len() < 4 => {
                        let past = || vec![Chunk::new(b"retry: 1000\n\n"), sample(number)];
                        let viewer = feed.viewer(past(), number);
                        pairs.push((viewer, Vec::new(), feed.viewer(past(), number).gzip(), Vec::new()));
                    }
                    1 => publisher.heartbeat(),
                    // No viewer reads in the meantime.
                    2 => {}
                    _ => {
                        number += 1;
                        publisher.publish(number, sample(number));
                    }
                }
                if step != 2 && step != 3 {
                    for (plain, text, gzip, bytes) in &mut pairs {
                        drain(plain, text);
                        drain(gzip, bytes);
                    }
                }
            }
            for (plain, text, gzip, bytes) in &mut pairs {
                drain(plain, text);
                drain(gzip, bytes);
                bytes.extend(gzip.end().unwrap().text());
                prop_assert!(gzip.end().is_none() && plain.end().is_none());
                prop_assert_eq!(decoded(bytes), String::from_utf8(text.clone()).unwrap());
            }
        }
    }
}
