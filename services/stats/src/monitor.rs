//! State, alerts and events of one tick. Pure: time is a parameter.

mod cause;
mod event_detector;

use wire::Sample;

use crate::alerts::{Evaluator, Moment, Rules, Signals};
use crate::reading::Reading;
use event_detector::EventDetector;

/// State that is kept between ticks.
#[derive(Debug)]
pub(crate) struct Monitor {
    signals: Signals,
    evaluator: Evaluator,
    event_detector: EventDetector,
}

impl Monitor {
    /// Monitor of a service that starts; `previous_version` is the version of the previous process,
    /// if known.
    pub(crate) fn new(rules: Rules, previous_version: Option<String>) -> Self {
        Self {
            signals: Signals::default(),
            evaluator: Evaluator::new(rules),
            event_detector: EventDetector::new(previous_version),
        }
    }

    /// Processes that the OOM killer has killed since the start of the service.
    pub(crate) fn oom_kills(&self) -> u64 {
        self.signals.all_oom_kills()
    }

    /// Adds state, alerts and events to the sample of this tick, which is derived from two
    /// readings.
    pub(crate) fn observe(
        &mut self,
        sample: &mut Sample,
        before: &Reading,
        reading: &Reading,
        now: Moment,
    ) {
        self.signals.update(reading, now);
        let causes = cause::Causes::of(sample);
        let changes = self
            .evaluator
            .evaluate(sample, reading, &self.signals, now, |subject| causes.of_subject(subject));
        sample.events = self.event_detector.detect(
            sample,
            (before, reading),
            &self.signals,
            &changes,
            &causes,
            now,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::at;

    #[test]
    fn a_sample_receives_its_state_alerts_and_events() {
        let mut monitor = Monitor::new(Rules::default(), None);
        let nothing = Reading::default();
        let mut sample = Sample { cpu: Some(99.0), ..Sample::default() };
        monitor.observe(&mut sample, &nothing, &nothing, at(0));
        assert_eq!(sample.state, Some(wire::State::Normal));
        assert_eq!(sample.events[0].kind, wire::EventKind::Restart);
        for second in 1..=61 {
            sample = Sample { cpu: Some(99.0), ..Sample::default() };
            monitor.observe(&mut sample, &nothing, &nothing, at(second));
        }
        assert_eq!(sample.state, Some(wire::State::Critical));
        assert_eq!(sample.since_unix_ms, Some(at(0).unix_ms));
        assert_eq!(sample.alerts.len(), 1);
    }

    #[test]
    fn without_rules_there_are_events_but_no_state() {
        let mut monitor = Monitor::new(Rules::parse("off").unwrap(), None);
        let nothing = Reading::default();
        let mut sample = Sample { cpu: Some(99.0), ..Sample::default() };
        monitor.observe(&mut sample, &nothing, &nothing, at(0));
        assert_eq!((sample.state, sample.since_unix_ms), (None, None));
        assert_eq!(sample.events.len(), 1);
    }
}
