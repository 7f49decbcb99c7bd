//! Events of the last hour.

use std::collections::VecDeque;

use wire::{Event, EventKind, Sample};

/// Maximum number of events.
const MAX_EVENTS: usize = 512;

/// Maximum age of an event, milliseconds.
const HOUR_MS: u64 = 60 * 60 * 1000;

/// Maximum length of a text, bytes: names of mounts and devices have no other limit.
const MAX_TEXT_BYTES: usize = 256;

/// Events, oldest first.
#[derive(Debug, Default)]
pub(super) struct EventLog {
    events: VecDeque<Event>,
    newest_unix_ms: u64,
}

impl EventLog {
    pub(super) fn push(&mut self, sample: &Sample) {
        if sample.events.iter().any(|event| event.kind == EventKind::ClockStep) {
            self.follow_clock(sample.time_unix_ms.saturating_sub(sample.interval_ms));
        }
        self.newest_unix_ms = sample.time_unix_ms;
        for event in &sample.events {
            if self.events.len() >= MAX_EVENTS {
                self.events.pop_front();
            }
            let mut event = event.clone();
            truncate(&mut event.text);
            event.target.iter_mut().for_each(truncate);
            self.events.push_back(event);
        }
        while self.events.front().is_some_and(|oldest| !self.is_within(oldest, HOUR_MS)) {
            self.events.pop_front();
        }
    }

    pub(super) fn last(&self, seconds: u32) -> Vec<Event> {
        let milliseconds = u64::from(seconds) * 1000;
        self.events.iter().filter(|event| self.is_within(event, milliseconds)).cloned().collect()
    }

    /// Moves the events to the clock that was set, on which the previous sample was at this time.
    /// Their ages do not change.
    fn follow_clock(&mut self, newest_unix_ms: u64) {
        for event in &mut self.events {
            let age_ms = self.newest_unix_ms.saturating_sub(event.time_unix_ms);
            event.time_unix_ms = newest_unix_ms.saturating_sub(age_ms);
        }
    }

    /// Whether an event is recent.
    fn is_within(&self, event: &Event, milliseconds: u64) -> bool {
        self.newest_unix_ms.saturating_sub(event.time_unix_ms) < milliseconds
    }
}

/// Truncates a text at a character boundary.
fn truncate(text: &mut String) {
    if text.len() > MAX_TEXT_BYTES {
        let end = (0..=MAX_TEXT_BYTES).rev().find(|&end| text.is_char_boundary(end));
        text.truncate(end.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: u64, texts: &[&str]) -> Sample {
        let time_unix_ms = 1_795_000_000_000 + second * 1000;
        let event =
            |text: &&str| Event { time_unix_ms, text: (*text).to_owned(), ..Event::default() };
        Sample { time_unix_ms, events: texts.iter().map(event).collect(), ..Sample::default() }
    }

    #[test]
    fn events_are_kept_for_an_hour_and_returned_in_order() {
        let mut log = EventLog::default();
        log.push(&sample(0, &["a", "b"]));
        log.push(&sample(10, &["c"]));
        log.push(&sample(20, &[]));
        let texts =
            |seconds| log.last(seconds).into_iter().map(|event| event.text).collect::<Vec<_>>();
        assert_eq!(texts(3600), ["a", "b", "c"]);
        assert_eq!(texts(11), ["c"]);
        assert!(texts(10).is_empty());
        log.push(&sample(3601, &[]));
        assert_eq!(log.events.len(), 1);
    }

    #[test]
    fn events_keep_their_ages_when_the_clock_is_set() {
        let mut log = EventLog::default();
        log.push(&sample(100_000, &["start"]));
        log.push(&sample(100_030, &[]));
        for second in [200_000, 50_000] {
            let mut stepped = sample(second, &["clock"]);
            stepped.events[0].kind = EventKind::ClockStep;
            stepped.interval_ms = 1000;
            log.push(&stepped);
            log.push(&sample(second + 9, &[]));
        }
        let newest = sample(50_009, &[]).time_unix_ms;
        let ages = log.last(3600).into_iter().map(|event| (newest - event.time_unix_ms) / 1000);
        assert_eq!(ages.collect::<Vec<_>>(), [50, 19, 9]);
    }

    #[test]
    fn the_number_and_the_length_of_events_are_limited() {
        let mut log = EventLog::default();
        let text = "ü".repeat(1000);
        for _ in 0..100 {
            log.push(&sample(0, &[text.as_str(); 10]));
        }
        assert_eq!(log.events.len(), MAX_EVENTS);
        assert!(log.events.iter().all(|event| event.text.len() == MAX_TEXT_BYTES));
    }
}
