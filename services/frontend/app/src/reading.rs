//! A sample out of what the browser's JSON parser made of it, field by field: a deserialiser that
//! can read any type is 11 kB of code after brotli, which every viewer would load.

use wire::{Container, Memory, Processors, Sample, Scope, ScopeKind, Task};

/// An object with named fields, as JSON has them.
pub(crate) trait Fields: Sized {
    /// The object of that name; none where there is none.
    fn object(&self, name: &str) -> Option<Self>;
    /// The number of that name.
    fn number(&self, name: &str) -> Option<f64>;
    /// The text of that name.
    fn text(&self, name: &str) -> Option<String>;
    /// The whole number of that name.
    fn whole(&self, name: &str) -> Option<u64> {
        self.number(name).map(whole)
    }
    /// The number at that place of the list of that name.
    fn number_at(&self, name: &str, place: u32) -> Option<f64>;
}

/// The sample that the fields are of, or `None` where they are no sample's. What is absent stays
/// absent; what is of another type counts as absent.
pub(crate) fn sample(fields: &impl Fields) -> Option<Sample> {
    let whole = |name| fields.whole(name);
    let load = |place| fields.number_at("load", place);
    Some(Sample {
        cpu: fields.number("cpu"),
        ram: fields.number("ram"),
        instance: fields.text("instance")?,
        // Samples are counted from 1: JSON without a count is somebody else's.
        sequence: whole("sequence").filter(|&sequence| sequence > 0)?,
        time_unix_ms: whole("time_unix_ms")?,
        interval_ms: whole("interval_ms")?,
        scope: fields.object("scope").map(|scope| scope_of(&scope)).unwrap_or_default(),
        processors: fields.object("processors").and_then(|processors| {
            let online = processors.whole("online")?.try_into().ok()?;
            Some(Processors { online, ..Processors::default() })
        }),
        memory: fields.object("memory").and_then(|memory| {
            Some(Memory {
                total_bytes: memory.whole("total_bytes")?,
                used_bytes: memory.whole("used_bytes")?,
                ..Memory::default()
            })
        }),
        container: fields.object("container").map(|container| Container {
            cpu_limit_cores: container.number("cpu_limit_cores"),
            memory_limit_bytes: container.whole("memory_limit_bytes"),
            memory_used_bytes: container.whole("memory_used_bytes"),
            ..Container::default()
        }),
        task: fields.object("task").map(|task| Task {
            cpu_limit_cores: task.number("cpu_limit_cores"),
            memory_limit_bytes: task.whole("memory_limit_bytes"),
            memory_used_bytes: task.whole("memory_used_bytes"),
            ..Task::default()
        }),
        load: load(0).zip(load(1)).zip(load(2)).map(|((one, five), fifteen)| [one, five, fifteen]),
        uptime_seconds: fields.number("uptime_seconds"),
        ..Sample::default()
    })
}

fn scope_of(scope: &impl Fields) -> Scope {
    let kind = match scope.text("kind").as_deref() {
        Some("container") => ScopeKind::Container,
        Some("task") => ScopeKind::Task,
        _ => ScopeKind::Host,
    };
    Scope { kind, reason: scope.text("reason").unwrap_or_default() }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and every number of JavaScript is a float"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::sample as a_sample;
    use serde_json::{Value, json};

    impl Fields for Value {
        fn object(&self, name: &str) -> Option<Self> {
            self.get(name).filter(|value| value.is_object()).cloned()
        }

        fn number(&self, name: &str) -> Option<f64> {
            self[name].as_f64()
        }

        fn text(&self, name: &str) -> Option<String> {
            self[name].as_str().map(str::to_owned)
        }

        fn number_at(&self, name: &str, place: u32) -> Option<f64> {
            self[name][place as usize].as_f64()
        }
    }

    #[test]
    fn what_the_page_shows_is_read_back_as_it_was_written() {
        let mut written = a_sample("a", 7);
        written.scope = Scope { kind: ScopeKind::Task, reason: "because".to_owned() };
        written.container = Some(Container {
            cpu_limit_cores: Some(0.5),
            memory_limit_bytes: Some(2),
            memory_used_bytes: Some(1),
            ..Container::default()
        });
        written.task = Some(Task { memory_used_bytes: Some(1), ..Task::default() });
        let value = serde_json::to_value(&written).unwrap();
        assert_eq!(sample(&value), Some(written));
    }

    #[test]
    fn what_is_absent_stays_absent() {
        let written = Sample {
            instance: "a".to_owned(),
            sequence: 1,
            time_unix_ms: 2,
            interval_ms: 3,
            ..Sample::default()
        };
        let value = serde_json::to_value(&written).unwrap();
        assert_eq!(sample(&value), Some(written));
    }

    #[test]
    fn odd_types_count_as_absent_and_foreign_json_is_no_sample() {
        let mut value = serde_json::to_value(a_sample("a", 1)).unwrap();
        value["cpu"] = json!("much");
        value["load"] = json!([1, 2]);
        value["processors"] = json!({ "online": 1e300 });
        let read = sample(&value).unwrap();
        assert_eq!((read.cpu, read.load, read.processors), (None, None, None));
        assert_eq!(sample(&json!({})), None);
        assert_eq!(sample(&json!([1])), None);
        value["sequence"] = json!(0);
        assert_eq!(sample(&value), None);
    }
}
