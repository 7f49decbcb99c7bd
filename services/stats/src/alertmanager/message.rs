//! JSON form of an alert for Alertmanager's API (`/api/v2/alerts`).

use serde_json::{Map, Value, json};
use wire::{Alert, Sample, ScopeKind, State, Subject, Unit};

use super::Sender;

/// Formats one alert.
pub(super) fn alert(alert: &Alert, sample: &Sample, sender: &Sender, ends_unix_ms: u64) -> Value {
    let severity = if alert.state == State::Critical { "critical" } else { "warning" };
    let subject = alert.subject.name();
    let mut labels: Map<String, Value> = sample
        .labels
        .iter()
        .map(|(name, value)| (label_name(name), Value::from(value.as_str())))
        .collect();
    for (name, value) in [
        ("alertname", subject),
        ("severity", severity),
        ("subject", subject),
        ("target", alert.target.as_deref().unwrap_or_default()),
        ("instance", &instance(alert.subject, sample, sender)),
    ] {
        if !value.is_empty() {
            labels.insert(name.to_owned(), value.into());
        }
    }
    let mut annotations = Map::new();
    annotations.insert("summary".to_owned(), summary(alert).into());
    annotations
        .extend(alert.cause.as_ref().map(|cause| ("cause".to_owned(), cause.as_str().into())));
    // Alertmanager rejects an alert that ends before it starts, which a clock step can cause.
    json!({
        "labels": labels,
        "annotations": annotations,
        "startsAt": rfc3339(alert.since_unix_ms.min(ends_unix_ms)),
        "endsAt": rfc3339(ends_unix_ms),
    })
}

/// The host, or `host/container` if the alert is about the container that the service runs in.
fn instance(subject: Subject, sample: &Sample, sender: &Sender) -> String {
    let of_scope = matches!(subject, Subject::Cpu | Subject::Memory)
        && sample.scope.kind == ScopeKind::Container;
    let of_container = matches!(
        subject,
        Subject::Throttling | Subject::ContainerCpu | Subject::ContainerMemory | Subject::Source
    ) && sample.task.is_none();
    if (of_scope || of_container) && !sender.container.is_empty() {
        return format!("{}/{}", sender.host, sender.container);
    }
    sender.host.clone()
}

/// Label name in Prometheus' data model: letters, digits and `_`, without a leading digit.
fn label_name(name: &str) -> String {
    let allowed =
        name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' });
    let start = if name.starts_with(|first: char| first.is_ascii_digit()) { "_" } else { "" };
    start.chars().chain(allowed).collect()
}

/// Summary such as `filesystem /var: 99.31 %, limit 95`.
fn summary(alert: &Alert) -> String {
    let target = alert.target.as_ref().map(|target| format!(" {target}")).unwrap_or_default();
    let unit = match alert.unit {
        Unit::Percent => " %",
        Unit::BytesPerSecond => " B/s",
        Unit::Seconds => " s",
        Unit::Count => "",
        Unit::Boolean => return format!("{}{target}", alert.subject.name()),
    };
    format!("{}{target}: {}{unit}, limit {}", alert.subject.name(), alert.value, alert.threshold)
}

/// Formats a time as RFC 3339, in UTC with milliseconds.
pub(super) fn rfc3339(unix_ms: u64) -> String {
    const DAY_SECONDS: u64 = 86_400;
    let (seconds, milliseconds) = (unix_ms / 1000, unix_ms % 1000);
    let (days, second) = (seconds / DAY_SECONDS, seconds % DAY_SECONDS);
    // Years begin in March here, so that the leap day is the last day of a year.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{milliseconds:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_formatted_in_utc() {
        for (unix_ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_459_485_216, "2026-11-23T18:44:45.216Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(unix_ms), expected);
        }
    }

    fn host() -> Sender {
        Sender { host: "host".to_owned(), container: "box".to_owned() }
    }

    #[test]
    fn the_labels_are_those_of_the_instance_and_of_the_alert() {
        let full = Alert {
            subject: Subject::Filesystem,
            target: Some("/var".to_owned()),
            state: State::Critical,
            value: 99.31,
            threshold: 95.0,
            cause: Some("postgres (812)".to_owned()),
            ..Alert::default()
        };
        let labels = crate::labels::parse("team=web,severity=mine,a.b-c=d,0=1").unwrap();
        let sample = Sample { labels, ..Sample::default() };
        let sent = alert(&full, &sample, &host(), 1000);
        assert_eq!(
            sent,
            json!({
                "labels": {
                    "alertname": "filesystem", "subject": "filesystem", "target": "/var",
                    "severity": "critical", "instance": "host", "team": "web", "a_b_c": "d",
                    "_0": "1",
                },
                "annotations": {
                    "summary": "filesystem /var: 99.31 %, limit 95", "cause": "postgres (812)",
                },
                "startsAt": "1970-01-01T00:00:00.000Z",
                "endsAt": "1970-01-01T00:00:01.000Z",
            })
        );
    }

    #[test]
    fn replicas_on_a_host_differ_only_in_the_labels_of_their_container() {
        let mut sample = Sample::default();
        assert_eq!(instance(Subject::Cpu, &sample, &host()), "host");
        assert_eq!(instance(Subject::Throttling, &sample, &host()), "host/box");
        sample.scope.kind = ScopeKind::Container;
        assert_eq!(instance(Subject::Memory, &sample, &host()), "host/box");
        assert_eq!(instance(Subject::Filesystem, &sample, &host()), "host");
    }
}
