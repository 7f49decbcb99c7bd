//! Embedded metric format of `CloudWatch`: a log line that becomes metrics. Pure.

use serde_json::{Map, Value, json};
use wire::{Sample, ScopeKind};

use crate::history::whole_disks;

/// Namespace of the metrics.
const NAMESPACE: &str = "system-stats";

/// Maximum number of values per metric in one line (limit of the format).
const MAX_VALUES: u32 = 100;

/// Labels that become dimensions. `CloudWatch` charges for each combination of values.
const DIMENSIONS: [&str; 2] = ["family", "service"];

/// Name of a metric, its unit, and its value in a sample.
type Metric = (&'static str, &'static str, fn(&Sample) -> Option<f64>);

const METRICS: [Metric; 6] = [
    ("cpu", "Percent", |sample| sample.cpu),
    ("ram", "Percent", |sample| sample.ram),
    ("pressure_cpu", "Percent", |sample| Some(sample.pressure?.cpu?.some.avg10)),
    ("pressure_memory", "Percent", |sample| Some(sample.pressure?.memory?.some.avg10)),
    ("pressure_io", "Percent", |sample| Some(sample.pressure?.io?.some.avg10)),
    ("disk_busy", "Percent", |sample| {
        whole_disks(sample).map(|disk| disk.utilisation).reduce(f64::max)
    }),
];

/// Collects the values of one line.
#[derive(Debug)]
pub(crate) struct Collector {
    seconds: u32,
    /// Number of samples per collected value.
    stride: u32,
    samples: u32,
    values: [Vec<f64>; METRICS.len()],
    /// Kills until the previous line.
    oom_kills: u64,
}

impl Collector {
    /// Collector for lines of `seconds` samples each.
    pub(crate) fn new(seconds: u32) -> Self {
        let stride = seconds.div_ceil(MAX_VALUES).max(1);
        Self {
            seconds,
            stride,
            samples: 0,
            values: <[Vec<f64>; METRICS.len()]>::default(),
            oom_kills: 0,
        }
    }

    /// Adds a sample and the number of OOM kills since the start of the service; returns the line
    /// that it completes, without a line break.
    pub(crate) fn push(&mut self, sample: &Sample, oom_kills: u64) -> Option<String> {
        if self.samples.is_multiple_of(self.stride) {
            for ((.., value), values) in METRICS.iter().zip(&mut self.values) {
                values.extend(value(sample));
            }
        }
        self.samples += 1;
        (self.samples >= self.seconds).then(|| {
            let line = self.line(sample, oom_kills.saturating_sub(self.oom_kills));
            *self = Self { oom_kills, ..Self::new(self.seconds) };
            line
        })
    }

    fn line(&self, sample: &Sample, oom_kills: u64) -> String {
        let mut fields = Map::new();
        let mut metrics = Vec::new();
        for ((name, unit, _), values) in METRICS.iter().zip(&self.values) {
            if !values.is_empty() {
                metrics.push(json!({ "Name": name, "Unit": unit }));
                fields.insert((*name).to_owned(), values.as_slice().into());
            }
        }
        metrics.push(json!({ "Name": "oom_kills", "Unit": "Count" }));
        fields.insert("oom_kills".to_owned(), oom_kills.into());
        let scope = match sample.scope.kind {
            ScopeKind::Host => "host",
            ScopeKind::Container => "container",
            ScopeKind::Task => "task",
        };
        fields.insert("scope".to_owned(), scope.into());
        fields.insert("instance".to_owned(), sample.instance.as_str().into());
        let mut dimensions = vec!["scope"];
        for name in DIMENSIONS {
            // `CloudWatch` drops the metrics of a line if a dimension is empty or not ASCII.
            let label = sample.labels.get(name);
            if let Some(value) = label.filter(|value| !value.is_empty() && value.is_ascii()) {
                dimensions.push(name);
                fields.insert(name.to_owned(), Value::from(value.as_str()));
            }
        }
        let directive =
            json!({ "Namespace": NAMESPACE, "Dimensions": [dimensions], "Metrics": metrics });
        let head = json!({ "Timestamp": sample.time_unix_ms, "CloudWatchMetrics": [directive] });
        fields.insert("_aws".to_owned(), head);
        Value::from(fields).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(cpu: Option<f64>) -> Sample {
        let labels = crate::labels::parse("service=web,team=a").unwrap();
        Sample { cpu, labels, time_unix_ms: 1_795_000_000_000, ..Sample::default() }
    }

    #[test]
    fn a_line_has_the_values_of_its_samples_and_lists_the_available_metrics() {
        let mut collector = Collector::new(3);
        assert_eq!(collector.push(&sample(Some(1.5)), 0), None);
        assert_eq!(collector.push(&sample(None), 3), None);
        let line = collector.push(&sample(Some(2.5)), 3).unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        let expected = json!({
            "_aws": {
                "Timestamp": 1_795_000_000_000_u64,
                "CloudWatchMetrics": [{
                    "Namespace": "system-stats",
                    "Dimensions": [["scope", "service"]],
                    "Metrics": [
                        { "Name": "cpu", "Unit": "Percent" },
                        { "Name": "oom_kills", "Unit": "Count" },
                    ],
                }],
            },
            "cpu": [1.5, 2.5],
            "oom_kills": 3,
            "scope": "host",
            "instance": "",
            "service": "web",
        });
        assert_eq!(line, expected);
        for _ in 0..2 {
            assert_eq!(collector.push(&sample(None), 3), None);
        }
        let next = collector.push(&sample(None), 3).unwrap();
        let next: Value = serde_json::from_str(&next).unwrap();
        assert_eq!((next.get("cpu"), &next["oom_kills"]), (None, &json!(0)));
    }

    #[test]
    fn a_label_that_cannot_be_a_dimension_is_left_out() {
        let labels = crate::labels::parse("service=b\u{fc}ro,family=web").unwrap();
        let sample = Sample { labels, ..Sample::default() };
        let line = Collector::new(1).push(&sample, 0).unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        let dimensions = &line["_aws"]["CloudWatchMetrics"][0]["Dimensions"];
        assert_eq!((dimensions, line.get("service")), (&json!([["scope", "family"]]), None));
    }

    #[test]
    fn a_line_has_at_most_a_hundred_values_per_metric() {
        let mut collector = Collector::new(300);
        let lines: Vec<_> =
            (0..300).filter_map(|_| collector.push(&sample(Some(1.0)), 0)).collect();
        assert_eq!(lines.len(), 1);
        let line: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(line["cpu"].as_array().unwrap().len(), 100);
    }
}
