//! Alerts and events: decoding, sentences, and the panels and tiles that show them.

use crate::fields::Fields;
use crate::number::{Format, push_name};
use crate::unit::Unit;

/// Severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// No action needed.
    Normal,
    /// May need action.
    Warning,
    /// Needs action.
    Critical,
}

/// Maximum number of alerts of a sample; the service sends no more.
const MAX_ALERTS: usize = 32;
/// Maximum number of events of an instance; the service sends no more.
pub(crate) const MAX_ANNOTATIONS: usize = 512;

/// State that needs attention.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Alert {
    /// Kind of object, such as `filesystem`.
    pub(crate) subject: String,
    /// Object, such as `/var/log`; empty if there is only one.
    pub(crate) target: String,
    /// Severity.
    pub(crate) level: Level,
    /// Measured value, NaN if it is unknown.
    pub(crate) value: f64,
    /// Unit of the value.
    pub(crate) unit: Unit,
    /// Time at which the state began, by the machine's clock; NaN if it is unknown.
    pub(crate) since_ms: f64,
    /// Process that causes the state; empty if it is unknown.
    pub(crate) cause: String,
}

/// Event, drawn as a line in every chart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Annotation {
    /// Time by the machine's clock.
    pub(crate) time_ms: f64,
    /// Kind, such as `oom_kill`.
    pub(crate) kind: String,
    /// Displayed text.
    pub(crate) text: String,
}

/// Sentence, panel and tile of a subject.
struct Subject {
    name: &'static str,
    /// Sentence in which `@` stands for the target and `#` for the value.
    sentence: &'static str,
    /// Panel that shows it; empty if there is none.
    panel: &'static str,
    /// Tile that shows its level; empty if there is none.
    tile: &'static str,
}

const fn subject(
    name: &'static str,
    sentence: &'static str,
    panel: &'static str,
    tile: &'static str,
) -> Subject {
    Subject { name, sentence, panel, tile }
}

const SUBJECTS: [Subject; 22] = [
    subject("cpu", "CPU is # busy", "cpu", "cpu"),
    subject("core", "Core @ is # busy", "cores", "cpu"),
    subject("memory", "Memory is # used", "memory", "ram"),
    subject("swap", "Swap is # used", "swap", "ram"),
    subject("load", "Load is #", "load", "load"),
    subject("pressure", "Pressure is #", "pressure", "pressure"),
    subject("pressure_cpu", "CPU pressure is #", "pressure", "pressure"),
    subject("pressure_memory", "Memory pressure is #", "pressure", "pressure"),
    subject("pressure_io", "Disk pressure is #", "pressure", "pressure"),
    subject("steal", "CPU steal is #", "cpu", "cpu"),
    subject("filesystem", "@ is # full", "filesystems", "disk"),
    subject("inodes", "@ has used # of its inodes", "filesystems", "disk"),
    subject("readonly", "@ is read-only", "filesystems", "disk"),
    subject("disk", "Disk @ is # busy", "disk", "disk"),
    subject("interface", "Interface @ has # faults/s", "network", "network"),
    subject("container_cpu", "Container CPU is at # of its limit", "container", "cpu"),
    subject("container_memory", "Container memory is at # of its limit", "container", "ram"),
    subject("throttling", "Container is throttled # of the time", "container", "cpu"),
    subject("oom", "A process was killed: out of memory", "container", "ram"),
    subject("forks", "# processes start per second", "load", "load"),
    subject("clock", "The clock is off by #", "", ""),
    subject("source", "@ cannot be read", "", ""),
];

impl Alert {
    /// Decodes the alerts of a sample. The service sends the most severe first.
    pub(crate) fn list(fields: &impl Fields) -> Vec<Self> {
        let alerts = fields.get("alerts").map(|list| list.list()).unwrap_or_default();
        alerts.iter().take(MAX_ALERTS).filter_map(Self::decode).collect()
    }

    fn decode(fields: &impl Fields) -> Option<Self> {
        Some(Self {
            subject: fields.get("subject")?.text()?,
            target: fields.text_at("target"),
            level: level(&fields.text_at("state"))?,
            value: fields.number_at("value").unwrap_or(f64::NAN),
            unit: match fields.text_at("unit").as_str() {
                "percent" => Unit::Percent,
                "bytes_per_second" => Unit::Rate,
                "seconds" => Unit::Seconds,
                _ => Unit::Short,
            },
            since_ms: fields.number_at("since_unix_ms").unwrap_or(f64::NAN),
            cause: fields.text_at("cause"),
        })
    }

    /// Describes the alert in a sentence: "/var/log is 99.3 % full".
    pub(crate) fn sentence(&self, format: Format) -> String {
        let Some(subject) = self.known() else {
            return [&self.subject, " ", &self.target].concat();
        };
        let mut text = String::new();
        for letter in subject.sentence.chars() {
            match letter {
                '@' => push_name(&mut text, &self.target),
                '#' => text.push_str(&format.text(self.value, self.unit)),
                // An alert for the busiest of several disks has no target.
                ' ' if text.is_empty() || text.ends_with(' ') => {}
                letter => text.push(letter),
            }
        }
        text
    }

    /// Identifier of the panel that shows the alert.
    pub(crate) fn panel(&self) -> &'static str {
        self.known().map_or("", |subject| subject.panel)
    }

    /// Identifier of the tile that shows the alert.
    pub(crate) fn tile(&self) -> &'static str {
        self.known().map_or("", |subject| subject.tile)
    }

    /// Whether the alert is about the value of its tile.
    pub(crate) fn is_about_tile_value(&self) -> bool {
        let is_pressure = self.subject.starts_with("pressure");
        is_pressure
            || matches!(self.subject.as_str(), "cpu" | "memory" | "load" | "container_memory")
    }

    fn known(&self) -> Option<&'static Subject> {
        SUBJECTS.iter().find(|subject| subject.name == self.subject)
    }
}

impl Annotation {
    /// Decodes the events of a sample or of a response.
    pub(crate) fn list(fields: &impl Fields) -> Vec<Self> {
        let events = fields.get("events").map(|list| list.list()).unwrap_or_default();
        let annotation = |event: &_| Self::decode(event);
        events.iter().take(MAX_ANNOTATIONS).filter_map(annotation).collect()
    }

    fn decode(fields: &impl Fields) -> Option<Self> {
        let (target, text) = (fields.text_at("target"), fields.text_at("text"));
        let kind = fields.get("kind")?.text()?;
        let text = if text.is_empty() { [&kind, " ", &target].concat() } else { text };
        Some(Self { time_ms: fields.number_at("time_unix_ms")?, kind, text })
    }
}

/// Parses the service's name of a level.
pub(crate) fn level(name: &str) -> Option<Level> {
    Some(match name {
        "normal" => Level::Normal,
        "warning" => Level::Warning,
        "critical" => Level::Critical,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn alerts(value: &serde_json::Value) -> Vec<String> {
        let format = Format { point: '.', decimal: false };
        Alert::list(value).iter().map(|alert| alert.sentence(format)).collect()
    }

    #[test]
    fn alerts_become_sentences() {
        let value = json!({"alerts": [
            {"subject": "filesystem", "target": "/var/log", "state": "critical", "value": 99.3,
             "unit": "percent", "threshold": 95, "since_unix_ms": 1},
            {"subject": "readonly", "target": "/data", "state": "critical", "value": 1,
             "unit": "boolean", "threshold": 1, "since_unix_ms": 1},
            {"subject": "disk", "state": "warning", "value": 91, "unit": "percent"},
            {"subject": "from_the_future", "target": "x", "state": "warning"},
        ]});
        assert_eq!(
            alerts(&value),
            [
                "/var/log is 99.3\u{a0}% full",
                "/data is read-only",
                "Disk is 91.0\u{a0}% busy",
                "from_the_future x"
            ]
        );
    }

    #[test]
    fn malformed_alerts_are_skipped_and_their_number_is_limited() {
        for value in [json!({}), json!({"alerts": 7}), json!({"alerts": [{}, 1, null, []]})] {
            assert!(alerts(&value).is_empty(), "{value}");
        }
        let many: Vec<_> =
            (0..100).map(|_| json!({"subject": "cpu", "state": "warning"})).collect();
        assert_eq!(alerts(&json!({"alerts": many})).len(), MAX_ALERTS);
    }

    #[test]
    fn every_subject_has_a_panel_and_a_tile_that_exist() {
        use crate::panels::{PANELS, TILES};
        for subject in &SUBJECTS {
            let panel = PANELS.iter().any(|panel| panel.id == subject.panel);
            assert!(panel || subject.panel.is_empty(), "{}", subject.name);
            let tile = TILES.iter().any(|tile| tile.id == subject.tile);
            assert!(tile || subject.tile.is_empty(), "{}", subject.name);
        }
    }
}
