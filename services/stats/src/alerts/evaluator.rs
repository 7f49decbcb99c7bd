//! State of each rule and target over time.

use std::cmp::Reverse;
use std::fmt::Write as _;

use wire::{Alert, Sample, State, Subject};

use super::rules::{Condition, Rule, Rules};
use super::signals::Signals;
use super::values::{self, Measurement, Target};
use super::{Moment, unit};
use crate::reading::Reading;

/// Maximum number of alerts in a sample.
pub(crate) const MAX_ALERTS: usize = 32;

/// Maximum number of rules and targets that exceed their limits; further ones are ignored.
const MAX_ENTRIES: usize = 1024;

/// Maximum time that a value must be back before its alert ends.
const MAX_HOLD_MS: u64 = 30_000;

/// Time after which an alert without a value ends; longer than the delay of a slow source.
const ABSENT_HOLD_MS: u64 = 10_000;

/// Fraction of a rule's duration for which a value may be back within that duration, at most 5 s: a
/// processor that is busy for two minutes still has a quiet second.
const DIP_SHARE: u64 = 10;
const MAX_DIP_MS: u64 = 5000;

/// Minimum share of the time for which the value must exceed the limit, in fifths.
const FIFTHS: u64 = 4;

/// Evaluates the rules, and holds the state of each rule and target.
#[derive(Debug)]
pub(crate) struct Evaluator {
    rules: Rules,
    /// Sorted by rule and target.
    entries: Vec<Entry>,
    /// Number of entries of each rule.
    counts: Vec<u16>,
    /// Active alerts of the previous tick, sorted by subject and target.
    active: Vec<Active>,
    state: State,
    since_unix_ms: u64,
    tick: u64,
    name: String,
}

/// A value that exceeds its limit, or did recently.
#[derive(Debug)]
struct Entry {
    rule: usize,
    /// Target; empty if the subject has only one.
    target: Box<str>,
    value: f64,
    is_active: bool,
    started: Moment,
    /// Total time above the limit since `started`.
    over_ms: u64,
    is_over: bool,
    /// Time at which the value was back.
    back_ms: Option<u64>,
    updated_ms: u64,
    updated_tick: u64,
    cause: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
struct Active {
    subject: Subject,
    target: Box<str>,
    state: State,
}

/// Change of one alert, for the events.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) subject: Subject,
    pub(crate) target: Option<String>,
    /// New state; normal if the alert ended.
    pub(crate) state: State,
    /// Alert; `None` if it ended.
    pub(crate) alert: Option<Alert>,
}

impl Evaluator {
    /// Evaluator without active alerts.
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            entries: Vec::new(),
            counts: Vec::new(),
            active: Vec::new(),
            state: State::Normal,
            since_unix_ms: 0,
            tick: 0,
            name: String::new(),
        }
    }

    /// Evaluates one sample, and adds state and alerts to it. `cause` returns the top consumer of a
    /// subject.
    pub(crate) fn evaluate(
        &mut self,
        sample: &mut Sample,
        reading: &Reading,
        signals: &Signals,
        now: Moment,
        cause: impl Fn(Subject) -> Option<String>,
    ) -> Vec<Change> {
        if self.rules.is_empty() {
            return Vec::new();
        }
        if self.tick == 0 {
            self.since_unix_ms = now.unix_ms;
        }
        self.tick += 1;
        if let Some(step_ms) = signals.new_clock_step_ms() {
            self.follow_clock(step_ms);
        }
        values::visit(sample, reading, signals, |value| self.observe(value, now));
        self.advance(now, cause);
        let (alerts, changes) = self.collect();
        self.update_state(&alerts, now);
        sample.state = Some(self.state);
        sample.since_unix_ms = Some(self.since_unix_ms);
        sample.alerts = alerts;
        sample.alerts.truncate(MAX_ALERTS);
        changes
    }

    /// Moves all beginnings to the clock that was set, so that ages do not change: a machine
    /// without a battery-backed clock starts in 1970.
    fn follow_clock(&mut self, step_ms: i64) {
        let beginnings = self.entries.iter_mut().map(|entry| &mut entry.started.unix_ms);
        for unix_ms in beginnings.chain([&mut self.since_unix_ms]) {
            *unix_ms = unix_ms.saturating_add_signed(step_ms);
        }
    }

    fn observe(&mut self, value: Measurement<'_>, now: Moment) {
        let (first, count) = {
            let (first, own) = self.rules.of(value.subject);
            (first, own.len())
        };
        let mut name = std::mem::take(&mut self.name);
        name.clear();
        match value.target {
            Target::Only => {}
            Target::Name(text) => name.push_str(text),
            // Writing to a string cannot fail.
            Target::Number(number) => drop(write!(name, "{number}")),
        }
        // The operator's rules replace the defaults for the targets that they match. Of several
        // rules with the same severity, the first one applies.
        let mut is_replaced = false;
        let mut taken = [false; 2];
        for number in first..first + count {
            let Some(rule) = self.rules.get(number) else { break };
            if (rule.is_default && is_replaced) || !rule.matches(&name) {
                continue;
            }
            is_replaced |= !rule.is_default;
            let Some(condition) = rule.condition else { break };
            if rule.quantity != value.quantity {
                continue;
            }
            let index = usize::from(condition.severity == State::Critical);
            if !std::mem::replace(&mut taken[index], true) {
                self.apply(number, condition, &name, value.value, now);
            }
        }
        self.name = name;
    }

    fn apply(&mut self, rule: usize, condition: Condition, name: &str, value: f64, now: Moment) {
        let is_over = condition.holds(value);
        let count = self.counts.get(rule).copied().unwrap_or_default();
        if !is_over && count == 0 {
            return;
        }
        let index = self.entries.binary_search_by(|entry| {
            entry.rule.cmp(&rule).then_with(|| (*entry.target).cmp(name))
        });
        match index {
            Ok(index) => {
                if let Some(entry) = self.entries.get_mut(index) {
                    entry.update(condition, value, is_over, now, self.tick);
                }
            }
            Err(index) if is_over && self.entries.len() < MAX_ENTRIES => {
                self.entries.insert(index, Entry::new(rule, name, value, now, self.tick));
                self.count(rule, 1);
            }
            Err(_) => {}
        }
    }

    fn count(&mut self, rule: usize, by: i16) {
        if self.counts.len() <= rule {
            self.counts.resize(rule + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(rule) {
            *count = count.saturating_add_signed(by);
        }
    }

    /// Raises and ends alerts that are due.
    fn advance(&mut self, now: Moment, cause: impl Fn(Subject) -> Option<String>) {
        let mut ended = Vec::new();
        let (rules, tick) = (&self.rules, self.tick);
        self.entries.retain_mut(|entry| {
            let rule = rules.get(entry.rule);
            let Some((rule, condition)) = rule.and_then(|rule| Some((rule, rule.condition?)))
            else {
                return false;
            };
            let is_absent = entry.updated_tick != tick;
            if is_absent {
                // An absent value is a dip: a machine under load is late with some of its sources.
                entry.is_over = false;
                entry.updated_ms = now.monotonic_ms;
                entry.back_ms.get_or_insert(now.monotonic_ms);
            }
            let is_kept = entry.advance(condition, is_absent, now);
            if !is_kept {
                ended.push(entry.rule);
            } else if entry.is_over
                // A killed process is no longer the top consumer.
                && (rule.subject != Subject::Oom || entry.cause.is_none())
                && let Some(cause) = cause(rule.subject)
            {
                entry.cause = Some(cause);
            }
            is_kept
        });
        for rule in ended {
            self.count(rule, -1);
        }
    }

    /// Active alerts, sorted by severity and age, and the changes.
    fn collect(&mut self) -> (Vec<Alert>, Vec<Change>) {
        let mut alerts: Vec<Alert> = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.is_active) {
            let Some(rule) = self.rules.get(entry.rule) else { continue };
            let Some(alert) = entry.alert(rule) else { continue };
            let is_same =
                |other: &&mut Alert| other.subject == alert.subject && other.target == alert.target;
            match alerts.iter_mut().find(is_same) {
                Some(other) if other.state >= alert.state => {}
                Some(other) => *other = alert,
                None => alerts.push(alert),
            }
        }
        if alerts.is_empty() && self.active.is_empty() {
            return (alerts, Vec::new());
        }
        let changes = self.update_active(&alerts);
        alerts.sort_by(|a, b| {
            let order = |alert: &Alert| (Reverse(alert.state), alert.since_unix_ms, alert.subject);
            order(a).cmp(&order(b)).then_with(|| a.target.cmp(&b.target))
        });
        (alerts, changes)
    }

    fn update_active(&mut self, alerts: &[Alert]) -> Vec<Change> {
        let before = std::mem::take(&mut self.active);
        let mut changes = Vec::new();
        for alert in alerts {
            let target: Box<str> = alert.target.as_deref().unwrap_or_default().into();
            let active = Active { subject: alert.subject, target, state: alert.state };
            if !before.contains(&active) {
                changes.push(Change {
                    subject: alert.subject,
                    target: alert.target.clone(),
                    state: alert.state,
                    alert: Some(alert.clone()),
                });
            }
            self.active.push(active);
        }
        for old in before {
            let is_same = |new: &Active| new.subject == old.subject && new.target == old.target;
            if !self.active.iter().any(is_same) {
                let target = (!old.target.is_empty()).then(|| old.target.into());
                let (subject, state) = (old.subject, State::Normal);
                changes.push(Change { subject, target, state, alert: None });
            }
        }
        changes
    }

    /// Updates the overall state, which starts with the alert that caused it.
    fn update_state(&mut self, alerts: &[Alert], now: Moment) {
        let worst = alerts.first();
        let state = worst.map_or(State::Normal, |alert| alert.state);
        if state != self.state {
            self.since_unix_ms = match worst {
                // An older alert had a lower severity until now.
                Some(alert) if state > self.state => alert.since_unix_ms,
                _ => now.unix_ms,
            };
            self.state = state;
        }
    }
}

impl Entry {
    fn new(rule: usize, target: &str, value: f64, now: Moment, tick: u64) -> Self {
        Self {
            rule,
            target: target.into(),
            value,
            is_active: false,
            started: now,
            over_ms: 0,
            is_over: true,
            back_ms: None,
            updated_ms: now.monotonic_ms,
            updated_tick: tick,
            cause: None,
        }
    }

    fn update(&mut self, condition: Condition, value: f64, is_over: bool, now: Moment, tick: u64) {
        if is_over {
            self.over_ms += now.monotonic_ms.saturating_sub(self.updated_ms);
        }
        if condition.is_released(value) {
            self.back_ms.get_or_insert(now.monotonic_ms);
        } else {
            self.back_ms = None;
        }
        self.value = value;
        self.is_over = is_over;
        self.updated_ms = now.monotonic_ms;
        self.updated_tick = tick;
    }

    /// Advances the state; returns whether the entry is still needed.
    fn advance(&mut self, condition: Condition, is_absent: bool, now: Moment) -> bool {
        let back_ms = self.back_ms.map(|since| now.monotonic_ms.saturating_sub(since));
        if self.is_active {
            let hold = condition.duration_ms.min(MAX_HOLD_MS);
            let hold = if is_absent { hold.max(ABSENT_HOLD_MS) } else { hold };
            return back_ms.is_none_or(|back| back < hold);
        }
        let dip = (condition.duration_ms / DIP_SHARE).min(MAX_DIP_MS);
        if back_ms.is_some_and(|back| back >= dip.max(1)) || (dip == 0 && !self.is_over) {
            return false;
        }
        let elapsed_ms = now.monotonic_ms.saturating_sub(self.started.monotonic_ms);
        if self.is_over && elapsed_ms >= condition.duration_ms {
            if self.over_ms * 5 >= elapsed_ms * FIFTHS {
                self.is_active = true;
            } else if elapsed_ms >= condition.duration_ms.saturating_mul(2) {
                // The value fluctuates, so the measurement starts again.
                self.started = now;
                self.over_ms = 0;
            }
        }
        true
    }

    fn alert(&self, rule: &Rule) -> Option<Alert> {
        let condition = rule.condition?;
        Some(Alert {
            subject: rule.subject,
            target: (!self.target.is_empty()).then(|| self.target.to_string()),
            state: condition.severity,
            value: (self.value * 100.0).round() / 100.0,
            unit: unit(rule.subject, rule.quantity),
            threshold: condition.threshold,
            since_unix_ms: self.started.unix_ms,
            cause: self.cause.clone(),
        })
    }
}

#[cfg(test)]
mod tests;
