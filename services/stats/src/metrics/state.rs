//! Overall state, and active alerts.

use wire::State;

use super::MILLI;
use crate::exposition::{Kind, Value, Writer};

/// Writes the state: 0 is normal, 1 warning, 2 critical. An alert has a series while it is active.
pub(super) fn state(writer: &mut Writer, sample: &wire::Sample) {
    let Some(state) = sample.state else { return };
    writer
        .family("stats_state", Kind::Gauge, "Overall state: 0 normal, 1 warning, 2 critical.")
        .add(&[], number(state).into());
    writer
        .family("stats_state_since_seconds", Kind::Gauge, "When the state began, Unix time.")
        .add(&[], Value::seconds(sample.since_unix_ms, MILLI));
    let labels =
        |alert: &wire::Alert| (alert.subject.name(), alert.target.clone().unwrap_or_default());
    let mut states = writer.family(
        "stats_alert_state",
        Kind::Gauge,
        "State of each active alert: 1 warning, 2 critical.",
    );
    for alert in &sample.alerts {
        let (subject, target) = labels(alert);
        states.add(&[("subject", subject), ("target", &target)], number(alert.state).into());
    }
    let mut begun = writer.family(
        "stats_alert_since_seconds",
        Kind::Gauge,
        "When the value of each active alert went out of its limits, Unix time.",
    );
    for alert in &sample.alerts {
        let (subject, target) = labels(alert);
        let since = Value::seconds(alert.since_unix_ms, MILLI);
        begun.add(&[("subject", subject), ("target", &target)], since);
    }
}

fn number(state: State) -> u64 {
    match state {
        State::Normal => 0,
        State::Warning => 1,
        State::Critical => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Format;

    #[test]
    fn every_active_alert_has_its_state_and_its_start() {
        let alert = wire::Alert {
            subject: wire::Subject::Filesystem,
            target: Some("/var".to_owned()),
            state: State::Critical,
            since_unix_ms: 1500,
            ..wire::Alert::default()
        };
        let sample = wire::Sample {
            state: Some(State::Critical),
            since_unix_ms: Some(1500),
            alerts: vec![alert],
            ..wire::Sample::default()
        };
        let mut writer = Writer::new(Format::Text, 1024);
        state(&mut writer, &sample);
        let text = writer.finish();
        for line in [
            "stats_state 2\n",
            "stats_state_since_seconds 1.5\n",
            "stats_alert_state{subject=\"filesystem\",target=\"/var\"} 2\n",
            "stats_alert_since_seconds{subject=\"filesystem\",target=\"/var\"} 1.5\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        let mut writer = Writer::new(Format::Text, 0);
        state(&mut writer, &wire::Sample::default());
        assert_eq!(writer.finish(), "");
    }
}
