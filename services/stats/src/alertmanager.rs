//! Messages to Alertmanager, and when they are due. Pure: time is a parameter.
//!
//! Two replicas of the service on the same host send the same labels, so Alertmanager deduplicates
//! their alerts. An active alert is sent again every minute, each time with an end in the future:
//! if the service stops, the alert expires.

mod message;

use std::cmp::Reverse;

use wire::{Alert, Sample, State, Subject};

use crate::alerts::{self, Moment};

/// Interval between two messages about an active alert.
const RESEND_MS: u64 = 60_000;

/// Minimum time since the end of an alert before it is reported as resolved. Replicas of the same
/// host do not detect the end in the same second, and one that still sends the alert would reopen
/// it.
const SETTLE_MS: u64 = 10_000;

/// Time from the last message about an active alert to its `endsAt`.
const LIFETIME_MS: u64 = 3 * RESEND_MS;

/// Maximum number of tracked alerts, including ended ones.
const MAX_ALERTS: usize = 64;

/// Source of the alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sender {
    /// Host, identical in all replicas on the same host.
    pub(crate) host: String,
    /// Container that the service runs in; empty if the service does not measure one.
    pub(crate) container: String,
}

/// Alerts that were sent to Alertmanager, or are due.
#[derive(Debug)]
pub(crate) struct Tracker {
    sender: Sender,
    tracked: Vec<TrackedAlert>,
}

#[derive(Debug)]
struct TrackedAlert {
    alert: Alert,
    /// Time of the last message, if one was accepted.
    sent_ms: Option<u64>,
    /// Time at which the alert ended.
    ended: Option<Moment>,
}

/// Body of a request, and the alerts that it reports.
#[derive(Debug, PartialEq)]
pub(crate) struct Message {
    /// Body of a request to `/api/v2/alerts`.
    pub(crate) json: String,
    reports: Vec<Report>,
}

#[derive(Debug, PartialEq)]
struct Report {
    key: Key,
    is_end: bool,
}

/// Identity of an alert in Alertmanager.
type Key = (Subject, Option<String>, State);

impl Tracker {
    /// Tracker without alerts.
    pub(crate) fn new(sender: Sender) -> Self {
        Self { sender, tracked: Vec::new() }
    }

    /// Applies the alerts of the newest sample.
    pub(crate) fn update(&mut self, sample: &Sample, now: Moment) {
        // The list of a sample is limited: an active alert that a full one leaves out belongs after
        // its last one.
        let order = |alert: &Alert| (Reverse(alert.state), alert.since_unix_ms);
        let last = sample.alerts.get(alerts::MAX_ALERTS - 1).map(order);
        for tracked in &mut self.tracked {
            let key = tracked.key();
            match sample.alerts.iter().find(|alert| key_of(alert) == key) {
                Some(alert) => {
                    tracked.alert.clone_from(alert);
                    tracked.ended = None;
                }
                None if last.is_some_and(|last| order(&tracked.alert) >= last) => {}
                None => drop(tracked.ended.get_or_insert(now)),
            }
        }
        // An alert that was never sent needs no resolution. One that cannot be sent expires by
        // itself.
        self.tracked.retain(|tracked| {
            tracked.ended.is_none_or(|ended| {
                let over_ms = now.monotonic_ms.saturating_sub(ended.monotonic_ms);
                tracked.sent_ms.is_some() && over_ms < LIFETIME_MS
            })
        });
        for alert in &sample.alerts {
            let key = key_of(alert);
            if self.tracked.len() < MAX_ALERTS
                && !self.tracked.iter().any(|tracked| tracked.key() == key)
            {
                self.tracked.push(TrackedAlert {
                    alert: alert.clone(),
                    sent_ms: None,
                    ended: None,
                });
            }
        }
    }

    /// The message that is due, if any.
    pub(crate) fn due(&self, sample: &Sample, now: Moment) -> Option<Message> {
        if !self.tracked.iter().any(|tracked| tracked.is_due(now)) {
            return None;
        }
        // Active alerts that are not due yet are included: one message a minute is enough.
        let is_included = |tracked: &&TrackedAlert| tracked.is_due(now) || tracked.ended.is_none();
        let reports = self.tracked.iter().filter(is_included);
        let alerts: Vec<_> = reports
            .clone()
            .map(|tracked| {
                // The clock may have been set back since the end.
                let ends_unix_ms = tracked
                    .ended
                    .map_or(now.unix_ms + LIFETIME_MS, |ended| ended.unix_ms.min(now.unix_ms));
                message::alert(&tracked.alert, sample, &self.sender, ends_unix_ms)
            })
            .collect();
        let report =
            |tracked: &TrackedAlert| Report { key: tracked.key(), is_end: tracked.ended.is_some() };
        Some(Message {
            json: serde_json::Value::from(alerts).to_string(),
            reports: reports.map(report).collect(),
        })
    }

    /// Records that Alertmanager accepted a message.
    pub(crate) fn mark_sent(&mut self, message: &Message, now: Moment) {
        for Report { key, is_end } in &message.reports {
            let Some(index) = self.tracked.iter().position(|tracked| tracked.key() == *key) else {
                continue;
            };
            if *is_end && self.tracked.get(index).is_some_and(|tracked| tracked.ended.is_some()) {
                self.tracked.remove(index);
            } else if let Some(tracked) = self.tracked.get_mut(index) {
                tracked.sent_ms = Some(now.monotonic_ms);
            }
        }
    }
}

impl TrackedAlert {
    fn key(&self) -> Key {
        key_of(&self.alert)
    }

    fn is_due(&self, now: Moment) -> bool {
        let passed = |since: u64| now.monotonic_ms.saturating_sub(since);
        match self.ended {
            Some(ended) => self.sent_ms.is_some() && passed(ended.monotonic_ms) >= SETTLE_MS,
            None => self.sent_ms.is_none_or(|sent| passed(sent) >= RESEND_MS),
        }
    }
}

fn key_of(alert: &Alert) -> Key {
    (alert.subject, alert.target.clone(), alert.state)
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use serde_json::{Value, json};

    use super::*;
    use crate::alerts::at;

    fn sample(alerts: &[(Subject, State)]) -> Sample {
        let alert = |(subject, state): &(Subject, State)| Alert {
            subject: *subject,
            state: *state,
            since_unix_ms: 1_795_000_000_000,
            ..Alert::default()
        };
        Sample { alerts: alerts.iter().map(alert).collect(), ..Sample::default() }
    }

    /// Alerts whose targets are these numbers, each with its beginning.
    fn numbered(numbers: Range<usize>, since_unix_ms: fn(usize) -> u64) -> Sample {
        let alert = |number: usize| Alert {
            target: Some(number.to_string()),
            since_unix_ms: since_unix_ms(number),
            ..Alert::default()
        };
        Sample { alerts: numbers.map(alert).collect(), ..Sample::default() }
    }

    fn tracker() -> Tracker {
        Tracker::new(Sender { host: "host".to_owned(), container: String::new() })
    }

    /// Subjects and ends in the message that is due, which is marked as accepted.
    fn next(tracker: &mut Tracker, sample: &Sample, second: u64) -> Vec<(String, String)> {
        tracker.update(sample, at(second));
        let Some(message) = tracker.due(sample, at(second)) else { return Vec::new() };
        tracker.mark_sent(&message, at(second));
        let alerts: Vec<Value> = serde_json::from_str(&message.json).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        alerts
            .iter()
            .map(|alert| (text(&alert["labels"]["subject"]), text(&alert["endsAt"])))
            .collect()
    }

    const CPU: (Subject, State) = (Subject::Cpu, State::Critical);

    #[test]
    fn an_alert_is_sent_immediately_then_every_minute_and_resolved_after_its_end() {
        let mut tracker = tracker();
        let (active, calm) = (sample(&[CPU]), sample(&[]));
        let mut sent = Vec::new();
        for second in 0..200 {
            let sample = if (5..130).contains(&second) { &active } else { &calm };
            for (subject, end) in next(&mut tracker, sample, second) {
                sent.push((second, subject, end));
            }
        }
        let seconds: Vec<_> = sent.iter().map(|(second, ..)| *second).collect();
        assert_eq!(seconds, [5, 65, 125, 140]);
        // Without another message, the first alert expires after three minutes; the last one is
        // resolved.
        assert_eq!(sent[0].2, message::rfc3339(at(185).unix_ms));
        assert_eq!(sent[3].2, message::rfc3339(at(130).unix_ms));
        assert!(tracker.tracked.is_empty());
    }

    #[test]
    fn an_alert_that_returns_before_it_settles_is_not_resolved() {
        let mut tracker = tracker();
        assert_eq!(next(&mut tracker, &sample(&[CPU]), 0).len(), 1);
        for second in 1..9 {
            assert!(next(&mut tracker, &sample(&[]), second).is_empty());
        }
        for second in 9..60 {
            assert!(next(&mut tracker, &sample(&[CPU]), second).is_empty());
        }
        assert_eq!(next(&mut tracker, &sample(&[CPU]), 60).len(), 1);
    }

    #[test]
    fn an_alert_ends_in_the_past_and_after_its_start_when_the_clock_was_set_back() {
        let mut tracker = tracker();
        next(&mut tracker, &sample(&[CPU]), 0);
        tracker.update(&sample(&[]), at(1));
        let hour_ms = 3_600_000;
        let later = Moment { unix_ms: at(11).unix_ms - hour_ms, ..at(11) };
        tracker.update(&sample(&[]), later);
        let message = tracker.due(&sample(&[]), later).unwrap();
        let alerts: Value = serde_json::from_str(&message.json).unwrap();
        let now = message::rfc3339(later.unix_ms);
        assert_eq!((&alerts[0]["endsAt"], &alerts[0]["startsAt"]), (&json!(now), &json!(now)));
    }

    #[test]
    fn a_rejected_message_is_sent_again_and_an_unsent_alert_is_not_resolved() {
        let mut tracker = tracker();
        let active = sample(&[CPU]);
        for second in 0..3 {
            tracker.update(&active, at(second));
            assert!(tracker.due(&active, at(second)).is_some(), "not accepted yet");
        }
        for second in 3..30 {
            assert!(next(&mut tracker, &sample(&[]), second).is_empty());
        }
    }

    #[test]
    fn each_severity_is_a_separate_alert_and_a_message_contains_all_active_alerts() {
        let mut tracker = tracker();
        next(&mut tracker, &sample(&[(Subject::Cpu, State::Warning)]), 0);
        let both = sample(&[CPU, (Subject::Memory, State::Warning)]);
        assert_eq!(next(&mut tracker, &both, 1).len(), 2);
        let ended = next(&mut tracker, &both, 11);
        assert_eq!(ended.len(), 3, "the warning is resolved");
    }

    #[test]
    fn an_alert_that_a_full_list_leaves_out_is_not_resolved() {
        let mut tracker = tracker();
        let list = |numbers| numbered(numbers, |_| 0);
        let (full, all) = (alerts::MAX_ALERTS, alerts::MAX_ALERTS + 1);
        assert_eq!(next(&mut tracker, &list(0..full), 0).len(), full);
        assert_eq!(next(&mut tracker, &list(1..all), 1).len(), all);
        for second in 2..30 {
            assert!(next(&mut tracker, &list(1..all), second).is_empty());
        }
        // A shorter list is complete.
        assert!(next(&mut tracker, &list(1..3), 30).is_empty());
        assert_eq!(next(&mut tracker, &list(1..3), 41).len(), all);
        assert_eq!(tracker.tracked.len(), 2);
    }

    #[test]
    fn an_alert_that_belongs_into_a_full_list_has_ended() {
        let mut tracker = tracker();
        let list = |numbers| numbered(numbers, |number| number as u64);
        let (full, all) = (alerts::MAX_ALERTS, alerts::MAX_ALERTS + 1);
        assert_eq!(next(&mut tracker, &list(0..full), 0).len(), full);
        assert_eq!(next(&mut tracker, &list(1..all), 1).len(), full);
        assert_eq!(next(&mut tracker, &list(1..all), 11).len(), all, "the oldest is resolved");
        assert_eq!(tracker.tracked.len(), full);
    }

    #[test]
    fn the_number_of_tracked_alerts_is_limited() {
        let mut tracker = tracker();
        for number in 0..200_u64 {
            let alert = Alert { target: Some(number.to_string()), ..Alert::default() };
            let sample = Sample { alerts: vec![alert], ..Sample::default() };
            next(&mut tracker, &sample, 0);
        }
        assert_eq!(tracker.tracked.len(), MAX_ALERTS);
        next(&mut tracker, &sample(&[]), 1);
        next(&mut tracker, &sample(&[]), 400);
        assert!(tracker.tracked.is_empty());
    }
}
