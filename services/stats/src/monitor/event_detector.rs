//! Events of a tick, which are the marks on the time axis.

use wire::{Event, EventKind, Sample, State, Subject, Unit};

use super::cause::Causes;
use crate::BUILD;
use crate::alerts::{Change, Moment, Signals};
use crate::reading::Reading;

/// Maximum number of events per tick.
const MAX_EVENTS: usize = 32;

/// Minimum share of throttled periods for an event, percent.
const MIN_THROTTLED_PERCENT: f64 = 10.0;

/// Time without throttling after which it counts as new.
const QUIET_MS: u64 = 30_000;

/// Minimum relative change of a memory limit. Smaller changes are frequent because of memory
/// ballooning.
const MEMORY_SHARE: f64 = 0.01;

/// State that is kept between ticks.
#[derive(Debug)]
pub(super) struct EventDetector {
    previous_version: Option<String>,
    has_started: bool,
    limits: Limits,
    throttled_ms: Option<u64>,
}

/// Last known limits.
#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    online: Option<f64>,
    memory: Option<f64>,
    group_cpu: Option<f64>,
    group_memory: Option<f64>,
    task_cpu: Option<f64>,
    task_memory: Option<f64>,
}

impl EventDetector {
    /// Detector without a history.
    pub(super) fn new(previous_version: Option<String>) -> Self {
        Self { previous_version, has_started: false, limits: Limits::default(), throttled_ms: None }
    }

    /// Events of a tick.
    pub(super) fn detect(
        &mut self,
        sample: &Sample,
        (before, after): (&Reading, &Reading),
        signals: &Signals,
        changes: &[Change],
        causes: &Causes,
        now: Moment,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        let mut add = |kind, target: Option<String>, text: String| {
            if events.len() < MAX_EVENTS {
                events.push(Event { time_unix_ms: now.unix_ms, kind, target, text });
            }
        };
        self.start(&mut add);
        let kills = signals.new_oom_kills();
        if kills > 0 {
            let processes = if kills == 1 { "process" } else { "processes" };
            let largest = causes.of_subject(Subject::Oom);
            let largest = largest.map(|name| format!("; largest: {name}")).unwrap_or_default();
            add(
                EventKind::OomKill,
                None,
                format!("out of memory: {kills} {processes} killed{largest}"),
            );
        }
        self.throttling(sample, now, &mut add);
        if let Some(step) = signals.new_clock_step_ms() {
            let direction = if step > 0 { "forward" } else { "back" };
            let seconds = step.unsigned_abs() as f64 / 1000.0;
            add(EventKind::ClockStep, None, format!("clock set {direction} by {seconds:.1} s"));
        }
        self.limits.update(sample, &mut add);
        sources(before, after, &mut add);
        for change in changes {
            add(EventKind::Alert, change.target.clone(), text_of(change));
        }
        events
    }

    fn start(&mut self, add: &mut impl FnMut(EventKind, Option<String>, String)) {
        if std::mem::replace(&mut self.has_started, true) {
            return;
        }
        let version = BUILD.version;
        match self.previous_version.take().filter(|before| before != version) {
            Some(before) => {
                add(EventKind::Deploy, None, format!("stats {version} started, was {before}"));
            }
            None => add(EventKind::Restart, None, format!("stats {version} started")),
        }
    }

    fn throttling(
        &mut self,
        sample: &Sample,
        now: Moment,
        add: &mut impl FnMut(EventKind, Option<String>, String),
    ) {
        let throttled = sample.container.as_ref().and_then(|group| group.throttled);
        let Some(share) = throttled.filter(|&share| share >= MIN_THROTTLED_PERCENT) else { return };
        let last = self.throttled_ms.replace(now.monotonic_ms);
        if last.is_none_or(|last| now.monotonic_ms.saturating_sub(last) >= QUIET_MS) {
            let text = format!("the CPU limit throttled {share:.0} % of the periods");
            add(EventKind::Throttling, None, text);
        }
    }
}

impl Limits {
    fn update(&mut self, sample: &Sample, add: &mut impl FnMut(EventKind, Option<String>, String)) {
        let (group, task) = (sample.container.as_ref(), sample.task.as_ref());
        let bytes = |bytes: u64| bytes as f64;
        let new = Self {
            online: sample.processors.as_ref().map(|all| f64::from(all.online)),
            memory: sample.memory.map(|memory| bytes(memory.total_bytes)),
            group_cpu: group.and_then(|group| group.cpu_limit_cores),
            group_memory: group.and_then(|group| group.memory_limit_bytes).map(bytes),
            task_cpu: task.and_then(|task| task.cpu_limit_cores),
            task_memory: task.and_then(|task| task.memory_limit_bytes).map(bytes),
        };
        for (what, old, new, is_memory) in [
            ("online processors", &mut self.online, new.online, false),
            ("memory of the machine", &mut self.memory, new.memory, true),
            ("CPU limit of the control group", &mut self.group_cpu, new.group_cpu, false),
            ("memory limit of the control group", &mut self.group_memory, new.group_memory, true),
            ("CPU limit of the task", &mut self.task_cpu, new.task_cpu, false),
            ("memory limit of the task", &mut self.task_memory, new.task_memory, true),
        ] {
            // A limit that cannot be read at a tick counts as unchanged.
            let Some(new) = new else { continue };
            let Some(old) = old.replace(new) else { continue };
            let least = if is_memory { old * MEMORY_SHARE } else { f64::EPSILON };
            if (new - old).abs() > least {
                let format_value = |value: f64| {
                    if is_memory {
                        format!("{:.0} MiB", value / 1_048_576.0)
                    } else {
                        format!("{}", (value * 100.0).round() / 100.0)
                    }
                };
                let text = format!("{what}: {}, was {}", format_value(new), format_value(old));
                add(EventKind::Limit, None, text);
            }
        }
    }
}

fn sources(
    before: &Reading,
    after: &Reading,
    add: &mut impl FnMut(EventKind, Option<String>, String),
) {
    for (name, is_up) in &after.sources {
        let earlier = before.sources.iter().find(|(known, _)| known == name);
        match (earlier.map(|(_, was_up)| *was_up), is_up) {
            (Some(true), false) => {
                add(
                    EventKind::SourceLost,
                    Some(name.to_string()),
                    format!("{name} cannot be read"),
                );
            }
            (Some(false), true) => {
                add(
                    EventKind::SourceBack,
                    Some(name.to_string()),
                    format!("{name} can be read again"),
                );
            }
            _ => {}
        }
    }
}

/// Text such as `filesystem /var/log critical: 99.3 %`.
fn text_of(change: &Change) -> String {
    let target = change.target.as_ref().map(|target| format!(" {target}")).unwrap_or_default();
    let subject = change.subject.name().replace('_', " ");
    let state = match change.state {
        State::Normal => return format!("{subject}{target} normal again"),
        State::Warning => "warning",
        State::Critical => "critical",
    };
    let value = change.alert.as_ref().map_or_else(String::new, |alert| match alert.unit {
        Unit::Percent => format!(": {:.1} %", alert.value),
        Unit::BytesPerSecond => format!(": {:.0} B/s", alert.value),
        Unit::Count => format!(": {:.0}", alert.value),
        Unit::Seconds => format!(": {:.1} s", alert.value),
        Unit::Boolean => String::new(),
    });
    format!("{subject}{target} {state}{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Moment {
        Moment { monotonic_ms: second * 1000, unix_ms: second * 1000 }
    }

    fn texts(events: &[Event]) -> Vec<(EventKind, &str)> {
        events.iter().map(|event| (event.kind, event.text.as_str())).collect()
    }

    /// Events of samples that are one second apart.
    fn events(samples: &[Sample]) -> Vec<Event> {
        let mut event_detector = EventDetector::new(Some(BUILD.version.to_owned()));
        let nothing = Reading::default();
        let mut all = Vec::new();
        for (sample, second) in samples.iter().zip(0..) {
            let mut signals = Signals::default();
            signals.update(&nothing, at(second));
            let (readings, causes) = ((&nothing, &nothing), Causes::default());
            all.extend(event_detector.detect(sample, readings, &signals, &[], &causes, at(second)));
        }
        all
    }

    fn group(throttled: f64, memory_limit_bytes: Option<u64>) -> Sample {
        let container = wire::Container {
            throttled: Some(throttled),
            memory_limit_bytes,
            ..wire::Container::default()
        };
        Sample { container: Some(container), ..Sample::default() }
    }

    #[test]
    fn a_start_with_another_version_is_a_deployment() {
        let first = |before: Option<&str>| {
            let mut event_detector = EventDetector::new(before.map(str::to_owned));
            let (nothing, sample) = (Reading::default(), Sample::default());
            let signals = Signals::default();
            let causes = Causes::default();
            event_detector.detect(&sample, (&nothing, &nothing), &signals, &[], &causes, at(1))[0]
                .kind
        };
        assert_eq!(first(None), EventKind::Restart);
        assert_eq!(first(Some(BUILD.version)), EventKind::Restart);
        assert_eq!(first(Some("0.0.1")), EventKind::Deploy);
    }

    #[test]
    fn throttling_is_reported_once_and_again_after_a_pause() {
        let mut samples =
            vec![group(0.0, None), group(40.0, None), group(5.0, None), group(60.0, None)];
        samples.extend((0..30).map(|_| group(0.0, None)));
        samples.push(group(12.0, None));
        let throttling = events(&samples);
        let throttling: Vec<_> =
            throttling.iter().filter(|event| event.kind == EventKind::Throttling).collect();
        assert_eq!(
            throttling.iter().map(|event| event.time_unix_ms).collect::<Vec<_>>(),
            [1000, 34_000]
        );
    }

    #[test]
    fn a_changed_limit_is_an_event_and_an_unreadable_one_is_not() {
        let limits = [Some(512 << 20), None, Some(512 << 20), Some(256 << 20)];
        let samples = limits.map(|limit| group(0.0, limit));
        let events = events(&samples);
        let text = "memory limit of the control group: 256 MiB, was 512 MiB";
        assert_eq!(texts(&events)[1..], [(EventKind::Limit, text)]);
    }

    #[test]
    fn lost_sources_kills_and_alerts_are_events() {
        let reading = |is_up, kills| Reading {
            sources: vec![("diskstats".into(), is_up)],
            oom_kills: Some(kills),
            ..Reading::default()
        };
        let mut event_detector = EventDetector::new(None);
        let mut signals = Signals::default();
        let sample = Sample::default();
        let alert = wire::Alert {
            subject: Subject::Filesystem,
            state: State::Critical,
            value: 99.31,
            ..wire::Alert::default()
        };
        let change = |alert: Option<wire::Alert>| Change {
            subject: Subject::Filesystem,
            target: Some("/var".to_owned()),
            state: alert.as_ref().map_or(State::Normal, |alert| alert.state),
            alert,
        };
        let mut kinds = Vec::new();
        let readings = [reading(true, 0), reading(false, 1), reading(true, 3)];
        let changes = [vec![], vec![change(Some(alert))], vec![change(None)]];
        for (number, changes) in changes.iter().enumerate() {
            let before = &readings[number.saturating_sub(1)];
            signals.update(&readings[number], at(number as u64));
            let causes = Causes::default();
            let readings = (before, &readings[number]);
            let events = event_detector.detect(
                &sample,
                readings,
                &signals,
                changes,
                &causes,
                at(number as u64),
            );
            kinds.push(events.iter().map(|event| event.text.clone()).collect::<Vec<_>>());
        }
        assert_eq!(
            kinds[1..],
            [
                vec![
                    "out of memory: 1 process killed",
                    "diskstats cannot be read",
                    "filesystem /var critical: 99.3 %"
                ],
                vec![
                    "out of memory: 2 processes killed",
                    "diskstats can be read again",
                    "filesystem /var normal again"
                ],
            ]
        );
    }
}
