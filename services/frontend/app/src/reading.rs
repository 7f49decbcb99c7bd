//! A sample out of what the browser's JSON parser made of it, field by field: a deserialiser that
//! can read any type is 11 kB of code after brotli, which every viewer would load.

use wire::Sample;

/// An object with named fields, as JSON has them.
pub(crate) trait Fields {
    /// The number of that name.
    fn number(&self, name: &str) -> Option<f64>;
    /// The text of that name.
    fn text(&self, name: &str) -> Option<String>;
    /// The number at that place of the list of that name.
    fn number_at(&self, name: &str, place: u32) -> Option<f64>;
}

/// The sample that the fields are of, or `None` where they are no sample's. What is absent stays
/// absent; what is of another type counts as absent.
pub(crate) fn sample(fields: &impl Fields) -> Option<Sample> {
    let whole = |name| fields.number(name).map(whole);
    let load = |place| fields.number_at("load", place);
    Some(Sample {
        cpu: fields.number("cpu"),
        ram: fields.number("ram"),
        instance: fields.text("instance")?,
        // Samples are counted from 1: JSON without a count is somebody else's.
        sequence: whole("sequence").filter(|&sequence| sequence > 0)?,
        time_unix_ms: whole("time_unix_ms")?,
        interval_ms: whole("interval_ms")?,
        cpu_count: whole("cpu_count").and_then(|count| count.try_into().ok()),
        memory_total_bytes: whole("memory_total_bytes"),
        memory_used_bytes: whole("memory_used_bytes"),
        load: load(0).zip(load(1)).zip(load(2)).map(|((one, five), fifteen)| [one, five, fifteen]),
        uptime_seconds: fields.number("uptime_seconds"),
    })
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
    fn what_the_service_writes_is_read_back_whole() {
        let written = a_sample("a", 7);
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
        value["cpu_count"] = json!(1e300);
        let read = sample(&value).unwrap();
        assert_eq!((read.cpu, read.load, read.cpu_count), (None, None, None));
        assert_eq!(sample(&json!({})), None);
        assert_eq!(sample(&json!([1])), None);
        value["sequence"] = json!(0);
        assert_eq!(sample(&value), None);
    }
}
