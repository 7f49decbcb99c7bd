//! Events of the newest samples, for viewers that reconnect after a short interruption.

use std::collections::VecDeque;

use server::Chunk;

/// Maximum number of events: one minute. A viewer that was away for longer receives the history
/// again.
const MAX_EVENTS: usize = 60;

/// Maximum size in bytes. A sample of 512 processors has about 60 kB, so fewer events are kept
/// there.
const MAX_BYTES: usize = 256 * 1024;

/// Newest events, oldest first, without gaps.
#[derive(Default)]
pub(crate) struct ReplayBuffer {
    events: VecDeque<(u64, Chunk)>,
    bytes: usize,
}

impl ReplayBuffer {
    /// Adds the event of the next sample.
    pub(crate) fn push(&mut self, sequence: u64, event: Chunk) {
        self.bytes += event.text().len();
        self.events.push_back((sequence, event));
        while self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES {
            let Some((_, oldest)) = self.events.pop_front() else { break };
            self.bytes -= oldest.text().len();
        }
    }

    /// Events after the sample `seen`, up to the sample `newest`. Returns `None` if one of them is
    /// no longer stored, or if `seen` is newer than `newest`.
    pub(crate) fn between(&self, seen: u64, newest: u64) -> Option<Vec<Chunk>> {
        if seen == newest {
            return Some(Vec::new());
        }
        let (oldest, _) = self.events.front()?;
        let missed = oldest.saturating_sub(1)..newest;
        missed.contains(&seen).then(|| {
            let is_missed = |(sequence, _): &&(u64, Chunk)| *sequence > seen && *sequence <= newest;
            self.events.iter().filter(is_missed).map(|(_, event)| event.clone()).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(sequences: std::ops::RangeInclusive<u64>, bytes: usize) -> ReplayBuffer {
        let mut buffer = ReplayBuffer::default();
        for sequence in sequences {
            let event = format!("{sequence}{}", " ".repeat(bytes));
            buffer.push(sequence, Chunk::new(event.as_bytes()));
        }
        buffer
    }

    fn texts(events: Option<Vec<Chunk>>) -> Vec<bytes::Bytes> {
        events.unwrap().iter().map(Chunk::text).collect()
    }

    #[test]
    fn missed_events_are_returned_without_gap_or_repetition() {
        let buffer = buffer(1..=10, 0);
        assert_eq!(texts(buffer.between(7, 10)), ["8", "9", "10"]);
        assert_eq!(texts(buffer.between(0, 2)), ["1", "2"]);
        assert!(buffer.between(10, 10).unwrap().is_empty());
        // The buffer may already contain an event that is newer than the published sample.
        assert_eq!(texts(buffer.between(8, 9)), ["9"]);
    }

    #[test]
    fn dropped_and_future_events_are_not_returned() {
        let buffer = buffer(1..=100, 0);
        assert_eq!(buffer.between(39, 100), None);
        assert_eq!(buffer.between(40, 100).unwrap().len(), 60);
        assert_eq!(buffer.between(101, 100), None);
        assert_eq!(ReplayBuffer::default().between(1, 2), None);
    }

    #[test]
    fn large_events_are_kept_for_a_shorter_time() {
        let buffer = buffer(1..=60, 100 * 1024);
        assert!(buffer.bytes <= MAX_BYTES);
        assert_eq!(buffer.between(58, 60).unwrap().len(), 2);
        assert_eq!(buffer.between(57, 60), None);
    }
}
