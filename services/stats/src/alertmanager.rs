//! What Alertmanager is told, and when: pure, with the time given.
//!
//! Two replicas of the service on the same host send the same labels, and Alertmanager sees one
//! alert. An active alert is sent again every minute, and each time with an end in the future: it
//! ends by itself when the service is gone.

mod message;

use wire::{Alert, Sample, State, Subject};

use crate::alerts::Moment;

/// The time between two messages about an alert that lasts.
const RESEND_MS: u64 = 60_000;

/// How long an alert must be over before it is reported as resolved. Replicas of the same host do
/// not see its end in the same second, and one that still sends it would raise it again.
const SETTLE_MS: u64 = 10_000;

/// The end of an active alert, seen from its last message.
const LIFETIME_MS: u64 = 3 * RESEND_MS;

/// Alerts that are remembered, those that ended included.
const ALERTS: usize = 64;

/// Who sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sender {
    /// The same in all replicas of the same host.
    pub(crate) host: String,
    /// The container that the service runs in, where it measures that.
    pub(crate) container: String,
}

/// What Alertmanager knows of.
#[derive(Debug)]
pub(crate) struct Tracker {
    sender: Sender,
    known: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    alert: Alert,
    /// When it was sent last.
    sent_ms: Option<u64>,
    /// Since when it is over.
    ended: Option<Moment>,
}

/// A message, and what it reports.
#[derive(Debug, PartialEq)]
pub(crate) struct Message {
    /// The body of a request to `/api/v2/alerts`.
    pub(crate) json: String,
    reports: Vec<Report>,
}

#[derive(Debug, PartialEq)]
struct Report {
    key: Key,
    is_end: bool,
}

/// What makes an alert another one for Alertmanager.
type Key = (Subject, Option<String>, State);

impl Tracker {
    /// Nothing was sent yet.
    pub(crate) fn new(sender: Sender) -> Self {
        Self { sender, known: Vec::new() }
    }

    /// Takes the alerts of the newest sample.
    pub(crate) fn update(&mut self, sample: &Sample, now: Moment) {
        for known in &mut self.known {
            let key = known.key();
            match sample.alerts.iter().find(|alert| key_of(alert) == key) {
                Some(alert) => {
                    known.alert.clone_from(alert);
                    known.ended = None;
                }
                None => drop(known.ended.get_or_insert(now)),
            }
        }
        // One that was never sent need not be resolved, and one that cannot be sent ends by itself.
        self.known.retain(|known| {
            known.ended.is_none_or(|ended| {
                let over_ms = now.monotonic_ms.saturating_sub(ended.monotonic_ms);
                known.sent_ms.is_some() && over_ms < LIFETIME_MS
            })
        });
        for alert in &sample.alerts {
            let key = key_of(alert);
            if self.known.len() < ALERTS && !self.known.iter().any(|known| known.key() == key) {
                self.known.push(Known { alert: alert.clone(), sent_ms: None, ended: None });
            }
        }
    }

    /// The message that is due, if there is one.
    pub(crate) fn due(&self, sample: &Sample, now: Moment) -> Option<Message> {
        if !self.known.iter().any(|known| known.is_due(now)) {
            return None;
        }
        // What is due soon goes along: one message a minute is enough.
        let goes = |known: &&Known| known.is_due(now) || known.ended.is_none();
        let reports = self.known.iter().filter(goes);
        let alerts: Vec<_> = reports
            .clone()
            .map(|known| {
                let ends_unix_ms =
                    known.ended.map_or(now.unix_ms + LIFETIME_MS, |ended| ended.unix_ms);
                message::alert(&known.alert, sample, &self.sender, ends_unix_ms)
            })
            .collect();
        let report = |known: &Known| Report { key: known.key(), is_end: known.ended.is_some() };
        Some(Message {
            json: serde_json::Value::from(alerts).to_string(),
            reports: reports.map(report).collect(),
        })
    }

    /// Notes that a message was accepted.
    pub(crate) fn sent(&mut self, message: &Message, now: Moment) {
        for Report { key, is_end } in &message.reports {
            let Some(place) = self.known.iter().position(|known| known.key() == *key) else {
                continue;
            };
            if *is_end && self.known.get(place).is_some_and(|known| known.ended.is_some()) {
                self.known.remove(place);
            } else if let Some(known) = self.known.get_mut(place) {
                known.sent_ms = Some(now.monotonic_ms);
            }
        }
    }
}

impl Known {
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
    use serde_json::Value;

    use super::*;

    fn at(second: u64) -> Moment {
        Moment { monotonic_ms: second * 1000, unix_ms: 1_795_000_000_000 + second * 1000 }
    }

    fn sample(alerts: &[(Subject, State)]) -> Sample {
        let alert = |(subject, state): &(Subject, State)| Alert {
            subject: *subject,
            state: *state,
            since_unix_ms: 1_795_000_000_000,
            ..Alert::default()
        };
        Sample { alerts: alerts.iter().map(alert).collect(), ..Sample::default() }
    }

    fn tracker() -> Tracker {
        Tracker::new(Sender { host: "host".to_owned(), container: String::new() })
    }

    /// The subjects and ends of the message that is due, which is accepted.
    fn next(tracker: &mut Tracker, sample: &Sample, second: u64) -> Vec<(String, String)> {
        tracker.update(sample, at(second));
        let Some(message) = tracker.due(sample, at(second)) else { return Vec::new() };
        tracker.sent(&message, at(second));
        let alerts: Vec<Value> = serde_json::from_str(&message.json).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        alerts
            .iter()
            .map(|alert| (text(&alert["labels"]["subject"]), text(&alert["endsAt"])))
            .collect()
    }

    const CPU: (Subject, State) = (Subject::Cpu, State::Critical);

    #[test]
    fn an_alert_is_sent_at_once_again_every_minute_and_resolved_a_moment_after_its_end() {
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
        // The first one ends three minutes later if nothing follows, the last one has ended.
        assert_eq!(sent[0].2, message::rfc3339(at(185).unix_ms));
        assert_eq!(sent[3].2, message::rfc3339(at(130).unix_ms));
        assert!(tracker.known.is_empty());
    }

    #[test]
    fn an_alert_that_comes_back_within_a_moment_was_never_over() {
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
    fn what_was_not_accepted_is_sent_again_and_what_was_never_sent_is_not_resolved() {
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
    fn a_severity_is_an_alert_of_its_own_and_a_message_carries_all_that_are_active() {
        let mut tracker = tracker();
        next(&mut tracker, &sample(&[(Subject::Cpu, State::Warning)]), 0);
        let both = sample(&[CPU, (Subject::Memory, State::Warning)]);
        assert_eq!(next(&mut tracker, &both, 1).len(), 2);
        let ended = next(&mut tracker, &both, 11);
        assert_eq!(ended.len(), 3, "the warning is resolved");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut tracker = tracker();
        for number in 0..200_u64 {
            let alert = Alert { target: Some(number.to_string()), ..Alert::default() };
            let sample = Sample { alerts: vec![alert], ..Sample::default() };
            next(&mut tracker, &sample, 0);
        }
        assert_eq!(tracker.known.len(), ALERTS);
        next(&mut tracker, &sample(&[]), 1);
        next(&mut tracker, &sample(&[]), 400);
        assert!(tracker.known.is_empty());
    }
}
