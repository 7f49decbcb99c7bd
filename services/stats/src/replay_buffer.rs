//! The newest samples' events, for viewers whose connection broke for a moment.

use std::collections::VecDeque;

use server::Chunk;

/// Events kept: a minute of them. A viewer that was away for longer begins with the history again.
const EVENTS: usize = 60;

/// Bytes kept: a sample of 512 processors has about 60 kB, and the minute is then cut short.
const BYTES: usize = 256 * 1024;

/// The newest events, oldest first, without gaps.
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
        while self.events.len() > EVENTS || self.bytes > BYTES {
            let Some((_, oldest)) = self.events.pop_front() else { break };
            self.bytes -= oldest.text().len();
        }
    }

    /// The events after the sample `seen` up to the sample `newest`; none where one of them is not
    /// kept any more, or where nobody can have seen that sample yet.
    pub(crate) fn between(&self, seen: u64, newest: u64) -> Option<Vec<Chunk>> {
        if seen == newest {
            return Some(Vec::new());
        }
        let (oldest, _) = self.events.front()?;
        let missed = oldest.saturating_sub(1)..newest;
        missed.contains(&seen).then(|| {
            let wanted = |(sequence, _): &&(u64, Chunk)| *sequence > seen && *sequence <= newest;
            self.events.iter().filter(wanted).map(|(_, event)| event.clone()).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recent(sequences: std::ops::RangeInclusive<u64>, bytes: usize) -> ReplayBuffer {
        let mut recent = ReplayBuffer::default();
        for sequence in sequences {
            let event = format!("{sequence}{}", " ".repeat(bytes));
            recent.push(sequence, Chunk::new(event.as_bytes()));
        }
        recent
    }

    fn texts(events: Option<Vec<Chunk>>) -> Vec<bytes::Bytes> {
        events.unwrap().iter().map(Chunk::text).collect()
    }

    #[test]
    fn what_was_missed_is_given_without_gap_or_repetition() {
        let recent = recent(1..=10, 0);
        assert_eq!(texts(recent.between(7, 10)), ["8", "9", "10"]);
        assert_eq!(texts(recent.between(0, 2)), ["1", "2"]);
        assert!(recent.between(10, 10).unwrap().is_empty());
        // The newest may be here before it was published.
        assert_eq!(texts(recent.between(8, 9)), ["9"]);
    }

    #[test]
    fn what_is_not_kept_or_not_yet_made_cannot_be_given() {
        let recent = recent(1..=100, 0);
        assert_eq!(recent.between(39, 100), None);
        assert_eq!(recent.between(40, 100).unwrap().len(), 60);
        assert_eq!(recent.between(101, 100), None);
        assert_eq!(ReplayBuffer::default().between(1, 2), None);
    }

    #[test]
    fn large_events_are_kept_for_a_shorter_time() {
        let recent = recent(1..=60, 100 * 1024);
        assert!(recent.bytes <= BYTES);
        assert_eq!(recent.between(58, 60).unwrap().len(), 2);
        assert_eq!(recent.between(57, 60), None);
    }
}
