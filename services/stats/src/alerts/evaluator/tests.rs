use proptest::prelude::*;

use super::*;
use crate::alerts::at;

struct World {
    evaluator: Evaluator,
    signals: Signals,
    second: u64,
    clock_offset_ms: i64,
    changes: Vec<Change>,
}

impl World {
    fn new(rules: &str) -> Self {
        let evaluator = Evaluator::new(Rules::parse(rules).unwrap());
        let (signals, changes) = (Signals::default(), Vec::new());
        Self { evaluator, signals, second: 0, clock_offset_ms: 0, changes }
    }

    /// Evaluates the sample of the next second.
    fn next(&mut self, sample: Sample) -> Sample {
        self.next_with(sample, &Reading::default())
    }

    fn next_with(&mut self, mut sample: Sample, reading: &Reading) -> Sample {
        let mut now = at(self.second);
        now.unix_ms = now.unix_ms.saturating_add_signed(self.clock_offset_ms);
        self.second += 1;
        self.signals.update(reading, now);
        let cause = |_| Some(format!("cause at {}", now.monotonic_ms / 1000));
        let changes = self.evaluator.evaluate(&mut sample, reading, &self.signals, now, cause);
        self.changes.extend(changes);
        sample
    }

    /// Evaluates one sample per second with these values of `cpu`; returns the states.
    fn cpu(&mut self, values: impl IntoIterator<Item = Option<f64>>) -> Vec<State> {
        let states = values
            .into_iter()
            .map(|cpu| self.next(Sample { cpu, ..Sample::default() }).state.unwrap());
        states.collect()
    }
}

fn times(value: f64, count: usize) -> impl Iterator<Item = Option<f64>> {
    std::iter::repeat_n(Some(value), count)
}

#[test]
fn the_ephemeral_storage_of_a_task_is_a_filesystem() {
    let mut evaluator = World::new("filesystem > 90 critical");
    let task = |used| wire::Task {
        ephemeral_storage_bytes: Some(200),
        ephemeral_storage_used_bytes: Some(used),
        ..wire::Task::default()
    };
    let mut state = |used| {
        let sample = evaluator.next(Sample { task: Some(task(used)), ..Sample::default() });
        sample.alerts.first().and_then(|alert| alert.target.clone())
    };
    assert_eq!(state(100), None);
    assert_eq!(state(190).as_deref(), Some("ephemeral storage"));
}

#[test]
fn an_alert_is_raised_after_the_whole_duration_and_starts_at_its_beginning() {
    let mut world = World::new("cpu > 90 for 10s critical");
    assert_eq!(world.cpu([10.0, 99.0, 10.0, 10.0].map(Some)), [State::Normal; 4]);
    // The value exceeds the limit from second 4.
    let states = world.cpu(times(95.0, 11));
    assert_eq!(states[..10], [State::Normal; 10]);
    assert_eq!(states[10], State::Critical);
    let sample = world.next(Sample { cpu: Some(97.0), ..Sample::default() });
    let expected = Alert {
        subject: Subject::Cpu,
        target: None,
        state: State::Critical,
        value: 97.0,
        unit: wire::Unit::Percent,
        threshold: 90.0,
        since_unix_ms: at(4).unix_ms,
        cause: Some("cause at 15".to_owned()),
    };
    assert_eq!(sample.alerts, [expected]);
    assert_eq!(sample.since_unix_ms, Some(at(4).unix_ms));
}

#[test]
fn the_age_of_a_state_and_of_its_alerts_is_the_same_after_the_clock_was_set() {
    // The steps themselves cause no alert here.
    let mut world = World::new("cpu > 90 for 10s; clock > 9999999999s");
    // The clock starts in 1970, is set by the time server, and is set back an hour later.
    world.clock_offset_ms = -1_795_000_000_000;
    world.cpu(times(50.0, 20));
    for clock_offset_ms in [0, -3_600_000] {
        world.clock_offset_ms = clock_offset_ms;
        let begun = at(world.second).unix_ms.saturating_add_signed(clock_offset_ms);
        let sample = world.next(Sample { cpu: Some(95.0), ..Sample::default() });
        let age_ms = begun - sample.since_unix_ms.unwrap();
        assert_eq!(age_ms, if sample.alerts.is_empty() { 20_000 } else { 11_000 });
        assert!(sample.alerts.iter().all(|alert| begun - alert.since_unix_ms == 11_000));
        world.cpu(times(95.0, 10));
    }
}

#[test]
fn an_alert_ends_when_the_value_is_back_by_the_margin_for_the_duration() {
    let mut world = World::new("cpu > 90 for 10s");
    world.cpu(times(95.0, 11));
    // The value 88 is below the limit, but within the margin of 5.
    assert_eq!(world.cpu(times(88.0, 60)).last(), Some(&State::Warning));
    assert_eq!(world.cpu(times(80.0, 5)).last(), Some(&State::Warning));
    assert_eq!(world.cpu(times(95.0, 1)).last(), Some(&State::Warning));
    let states = world.cpu(times(80.0, 11));
    assert_eq!(states[..10], [State::Warning; 10]);
    assert_eq!(states[10], State::Normal);
    let sample = world.next(Sample::default());
    assert_eq!(sample.since_unix_ms, Some(at(world.second - 2).unix_ms));
    let states: Vec<_> = world.changes.iter().map(|change| change.state).collect();
    assert_eq!(states, [State::Warning, State::Normal]);
}

#[test]
fn a_dip_within_the_duration_is_tolerated_and_rare_peaks_raise_no_alert() {
    let mut world = World::new("cpu > 90 for 1m");
    let busy = (0..62).map(|second| Some(if second % 20 == 7 { 60.0 } else { 99.0 }));
    assert_eq!(world.cpu(busy).last(), Some(&State::Warning));
    let mut world = World::new("cpu > 90 for 1m");
    // Every third second exceeds the limit; the value is never back for long.
    let peaks = (0..600).map(|second| Some(if second % 3 == 0 { 99.0 } else { 10.0 }));
    assert!(world.cpu(peaks).iter().all(|state| *state == State::Normal));
}

#[test]
fn absent_values_never_raise_an_alert_and_end_an_active_one() {
    let mut world = World::new("cpu < 10");
    assert!(world.cpu(std::iter::repeat_n(None, 100)).iter().all(|state| *state == State::Normal));
    let mut world = World::new("cpu > 90");
    assert_eq!(world.cpu(times(99.0, 1)), [State::Warning]);
    let states = world.cpu(std::iter::repeat_n(None, 11));
    assert_eq!((states[9], states[10]), (State::Warning, State::Normal));
}

#[test]
fn a_value_that_is_absent_for_a_moment_does_not_restart_the_duration() {
    let last =
        |values: Vec<Option<f64>>| *World::new("cpu > 90 for 1m").cpu(values).last().unwrap();
    let around = |absent| {
        let gap = std::iter::repeat_n(None, absent);
        last(times(99.0, 30).chain(gap).chain(times(99.0, 61 - 30 - absent)).collect())
    };
    assert_eq!([around(0), around(1), around(5)], [State::Warning; 3]);
    assert_eq!(around(6), State::Normal);
    // Absent time does not count as time above the limit.
    let rare = (0..600).map(|second| Some(99.0).filter(|_| second % 3 == 0));
    assert_eq!(last(rare.collect()), State::Normal);
}

#[test]
fn without_a_duration_an_alert_is_raised_and_ended_immediately() {
    let mut world = World::new("cpu > 90");
    assert_eq!(
        world.cpu([Some(91.0), Some(89.0), Some(85.0)]),
        [State::Warning, State::Warning, State::Normal]
    );
}

#[test]
fn the_higher_severity_applies_and_alerts_are_sorted_by_severity_and_age() {
    let mut world = World::new("cpu > 50; cpu > 90 critical; memory > 50; swap off");
    let sample = |cpu, ram| Sample { cpu: Some(cpu), ram: Some(ram), ..Sample::default() };
    world.next(sample(10.0, 60.0));
    world.next(sample(60.0, 60.0));
    let both = world.next(sample(60.0, 60.0));
    let subjects = |sample: &Sample| {
        sample.alerts.iter().map(|alert| (alert.subject, alert.state)).collect::<Vec<_>>()
    };
    let warning = State::Warning;
    assert_eq!(subjects(&both), [(Subject::Memory, warning), (Subject::Cpu, warning)]);
    assert_eq!(both.since_unix_ms, Some(at(0).unix_ms));
    let worse = world.next(sample(95.0, 60.0));
    assert_eq!(subjects(&worse), [(Subject::Cpu, State::Critical), (Subject::Memory, warning)]);
    assert_eq!(worse.since_unix_ms, Some(at(3).unix_ms));
    // After the return to a warning, the overall state starts now.
    let better = world.next(sample(60.0, 60.0));
    assert_eq!(better.state, Some(warning));
    assert_eq!(better.since_unix_ms, Some(at(4).unix_ms));
}

#[test]
fn each_target_has_its_own_alert_and_its_own_rules() {
    let core = |id, busy| wire::Core { id, shares: wire::Shares { busy, ..Default::default() } };
    let processors = |cores| wire::Processors { online: 12, cores, ..wire::Processors::default() };
    let mut world = World::new("core 1? > 50 critical; core 3 off; core > 80");
    let cores = vec![core(2, 85.0), core(3, 100.0), core(4, 70.0), core(10, 60.0), core(11, 40.0)];
    let sample = world.next(Sample { processors: Some(processors(cores)), ..Sample::default() });
    let alerts: Vec<_> = sample
        .alerts
        .iter()
        .map(|alert| (alert.target.as_deref().unwrap(), alert.threshold))
        .collect();
    assert_eq!(alerts, [("10", 50.0), ("2", 80.0)]);
}

#[test]
fn filesystems_sources_and_kills_are_read_from_readings() {
    use crate::collect::filesystem::Mount;
    use crate::reading::Filesystem;
    let filesystem = |point: &str, free: u64, files_free, read_only| Filesystem {
        mount: std::sync::Arc::new(Mount { point: point.to_owned(), ..Mount::default() }),
        size_bytes: 1000,
        free_bytes: free,
        available_bytes: free,
        files: 100,
        files_free,
        read_only,
    };
    let mut world = World::new("");
    let reading = Reading {
        filesystems: vec![
            filesystem("/", 500, 50, false),
            filesystem("/full", 7, 50, false),
            filesystem("/files", 500, 8, false),
            filesystem("/image", 0, 0, true),
        ],
        oom_kills: Some(0),
        sources: vec![("stat".into(), true), ("diskstats".into(), false)],
        ..Reading::default()
    };
    world.next_with(Sample::default(), &reading);
    let reading = Reading {
        filesystems: vec![filesystem("/", 500, 50, true), filesystem("/full", 7, 50, false)],
        oom_kills: Some(1),
        ..reading
    };
    for _ in 0..4 {
        world.next_with(Sample::default(), &reading);
    }
    let sample = world.next_with(Sample::default(), &reading);
    let mut alerts: Vec<_> = sample
        .alerts
        .iter()
        .map(|alert| (alert.subject.name(), alert.target.as_deref().unwrap_or(""), alert.state))
        .collect();
    alerts.sort_unstable();
    assert_eq!(
        alerts,
        [
            ("filesystem", "/full", State::Critical),
            ("inodes", "/files", State::Warning),
            ("oom", "", State::Warning),
            ("readonly", "/", State::Critical),
            ("source", "diskstats", State::Warning),
        ]
    );
}

#[test]
fn the_numbers_of_entries_and_of_reported_alerts_are_limited() {
    let network = |number: usize| wire::Network {
        name: format!("eth{number}"),
        receive: wire::Traffic { errors_per_second: 5.0, ..wire::Traffic::default() },
        ..wire::Network::default()
    };
    let mut world = World::new("interface > 1");
    let networks = (0..3000).map(network).collect();
    let sample = world.next(Sample { networks, ..Sample::default() });
    assert_eq!(sample.alerts.len(), MAX_ALERTS);
    assert_eq!(world.evaluator.entries.len(), MAX_ENTRIES);
    for _ in 0..=ABSENT_HOLD_MS / 1000 {
        world.next(Sample::default());
    }
    assert!(world.evaluator.entries.is_empty());
    assert!(world.evaluator.counts.iter().all(|count| *count == 0));
}

#[test]
fn without_rules_nothing_is_evaluated() {
    let mut world = World::new("off");
    let sample = world.next(Sample { cpu: Some(100.0), ..Sample::default() });
    assert_eq!((sample.state, sample.since_unix_ms, sample.alerts), (None, None, Vec::new()));
}

proptest! {
    /// For any values, an alert follows a full duration in which many values exceed the limit.
    #[test]
    fn no_alert_is_raised_before_its_duration(
        values in proptest::collection::vec(proptest::option::of(0.0..100.0_f64), 1..200),
    ) {
        let mut world = World::new("cpu > 50 for 10s critical; memory off");
        let states = world.cpu(values.iter().copied());
        let mut was_critical = false;
        for (second, state) in states.into_iter().enumerate() {
            let is_critical = state == State::Critical;
            if is_critical && !was_critical {
                prop_assert!(second >= 10);
                let window = &values[second - 10..=second];
                let over = window.iter().filter(|value| value.is_some_and(|value| value > 50.0));
                prop_assert!(over.count() >= 5, "{window:?}");
            }
            was_critical = is_critical;
        }
    }
}
