//! Decoding of samples and histories from the values of the browser's JSON parser, by the tables of
//! [`metrics`](crate::metrics) and [`panels`](crate::panels). A deserializer for arbitrary types is
//! 11 kB of code after brotli, which every viewer would download.

use wire::ScopeKind;

use crate::alerts::{Alert, Annotation, Level, level};
use crate::fields::Fields;
use crate::metrics::{CHARTED, METRICS, Metric};
use crate::number::{Cell, cut, parts};
use crate::panels::{TABLES, Table};
use crate::unit::Unit;

/// Data of a sample that the page keeps.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reading {
    /// Instance that took the sample.
    pub(crate) instance: String,
    /// Sequence number, counted from 1.
    pub(crate) sequence: f64,
    /// Time of the sample, by the clock of its machine.
    pub(crate) time_ms: f64,
    /// Duration of the interval that ends at this time.
    pub(crate) interval_ms: f64,
    /// Scope of `cpu` and `ram`.
    pub(crate) scope: ScopeKind,
    /// Reason for the scope.
    pub(crate) reason: String,
    /// Name of the machine, if it is exposed.
    pub(crate) hostname: String,
    /// Scope of the network's values.
    pub(crate) network_scope: ScopeKind,
    /// Scope of the filesystems.
    pub(crate) mounts_scope: ScopeKind,
    /// Whether the sample contains values of a container.
    pub(crate) has_container: bool,
    /// State according to the service; an older service sends none.
    pub(crate) state: Option<Level>,
    /// Time at which the state began, NaN if it is unknown.
    pub(crate) since_ms: f64,
    /// Alerts, most severe first.
    pub(crate) alerts: Vec<Alert>,
    /// Events of the interval.
    pub(crate) annotations: Vec<Annotation>,
    /// Values of the [`METRICS`], NaN if they are unknown.
    pub(crate) metrics: Vec<f64>,
    /// Busy time of each processor in percent, by index.
    pub(crate) cores: Vec<u8>,
    /// Number of each of these processors: those that are offline are missing.
    pub(crate) core_ids: Vec<f64>,
    /// Rows of each of the [`TABLES`].
    pub(crate) tables: Vec<Vec<Vec<Cell>>>,
}

/// Data of the charts for one interval.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// Start of the interval.
    pub(crate) start_ms: f64,
    /// End of the interval.
    pub(crate) time_ms: f64,
    /// Values of the charted metrics, NaN if they are unknown.
    pub(crate) values: [f32; CHARTED],
    /// Minimum and maximum of each metric, if the row covers several samples.
    pub(crate) bounds: Option<Box<[[f32; CHARTED]; 2]>>,
    /// Busy time of each processor in percent; empty if it is unknown.
    pub(crate) cores: Vec<u8>,
}

/// History of a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct History {
    /// Instance of the service.
    pub(crate) instance: String,
    /// Rows, oldest first.
    pub(crate) rows: Vec<Row>,
}

/// Decodes a sample; `None` if a required field is missing. A field of another type counts as
/// missing.
pub(crate) fn reading(fields: &impl Fields) -> Option<Reading> {
    let cores = fields.at("processors.cores").map(|cores| cores.list()).unwrap_or_default();
    let scope = |path| match fields.text_at(path).as_str() {
        "container" => ScopeKind::Container,
        "task" => ScopeKind::Task,
        _ => ScopeKind::Host,
    };
    Some(Reading {
        instance: fields.get("instance")?.text()?,
        // Samples are counted from 1, so JSON without a sequence number is not a sample.
        sequence: fields.number_at("sequence").filter(|&sequence| sequence >= 1.0)?,
        time_ms: fields.number_at("time_unix_ms")?,
        interval_ms: fields.number_at("interval_ms")?.max(1.0),
        scope: scope("scope.kind"),
        network_scope: scope("network_scope"),
        mounts_scope: scope("mounts_scope"),
        has_container: fields.get("container").is_some(),
        state: level(&fields.text_at("state")),
        since_ms: fields.number_at("since_unix_ms").unwrap_or(f64::NAN),
        alerts: Alert::list(fields),
        annotations: Annotation::list(fields),
        reason: fields.text_at("scope.reason"),
        hostname: fields.text_at("hostname"),
        metrics: METRICS.iter().map(|(_, path)| value(fields, path)).collect(),
        cores: cores.iter().map(|core| whole(core.number_at("busy").unwrap_or_default())).collect(),
        core_ids: cores.iter().filter_map(|core| core.number_at("id")).collect(),
        tables: TABLES.iter().map(|table| rows(fields, table)).collect(),
    })
}

/// Decodes a history.
pub(crate) fn history(fields: &impl Fields) -> Option<History> {
    let step_ms = fields.number_at("step_seconds")? * 1_000.0;
    let mut rows: Vec<_> = numbers_of(&fields.get("time_unix_ms")?)
        .map(|time_ms| Row {
            start_ms: time_ms - step_ms,
            time_ms,
            values: [f32::NAN; CHARTED],
            bounds: None,
            cores: Vec::new(),
        })
        .collect();
    let series = fields.get("series")?;
    for (index, (name, _)) in METRICS.iter().enumerate().take(CHARTED) {
        let Some(series) = series.get(name) else { continue };
        let Some(mean) = series.get("mean") else { continue };
        for (row, value) in rows.iter_mut().zip(numbers_of(&mean)) {
            row.values[index] = narrow(value);
        }
        for (side, name) in ["minimum", "maximum"].into_iter().enumerate() {
            let Some(bound) = series.get(name) else { continue };
            for (row, value) in rows.iter_mut().zip(numbers_of(&bound)) {
                let none = || Box::new([[f32::NAN; CHARTED]; 2]);
                row.bounds.get_or_insert_with(none)[side][index] = narrow(value);
            }
        }
    }
    if let Some(cores) = fields.get("cores") {
        add_cores(&cores, &mut rows);
    }
    Some(History { instance: fields.text_at("instance"), rows })
}

/// Adds the busy time of each processor to the rows, from rows of their own length.
fn add_cores(fields: &impl Fields, rows: &mut [Row]) -> Option<()> {
    let step_ms = fields.number_at("step_seconds")? * 1_000.0;
    let busy = fields.get("busy")?.list();
    for (time_ms, busy) in numbers_of(&fields.get("time_unix_ms")?).zip(&busy) {
        for row in rows.iter_mut() {
            if row.time_ms <= time_ms && row.time_ms > time_ms - step_ms {
                row.cores = numbers_of(busy).map(whole).collect();
            }
        }
    }
    Some(())
}

impl Reading {
    /// Value of a metric, NaN if it is unknown.
    pub(crate) fn metric(&self, metric: Metric) -> f64 {
        self.metrics.get(metric as usize).copied().unwrap_or(f64::NAN)
    }

    /// Scope of a panel or tile.
    pub(crate) fn scope_of(&self, panel: &str) -> ScopeKind {
        match panel {
            "cpu" | "ram" | "memory" => self.scope,
            "network" => self.network_scope,
            "filesystems" => self.mounts_scope,
            "container" => ScopeKind::Container,
            "task" => ScopeKind::Task,
            _ => ScopeKind::Host,
        }
    }

    /// Row of the charts for this sample.
    pub(crate) fn row(&self) -> Row {
        let mut values = [f32::NAN; CHARTED];
        for (value, &metric) in values.iter_mut().zip(&self.metrics) {
            *value = narrow(metric);
        }
        Row {
            start_ms: self.time_ms - self.interval_ms,
            time_ms: self.time_ms,
            values,
            bounds: None,
            cores: self.cores.clone(),
        }
    }
}

/// Decodes the rows of a table, sorted by the sum of its sort columns, largest first.
fn rows(fields: &impl Fields, table: &Table) -> Vec<Vec<Cell>> {
    let rows = fields.at(table.list).map(|list| list.list()).unwrap_or_default();
    let mut rows: Vec<_> = rows.iter().map(|row| cells(row, table)).collect();
    let key = |cells: &[Cell]| {
        let numbers = table.sort.iter().filter_map(|&column| match cells.get(column) {
            Some(Cell::Number(number)) if !number.is_nan() => Some(*number),
            _ => None,
        });
        numbers.fold(-1.0, |sum: f64, number| sum.max(0.0) + number)
    };
    if !table.sort.is_empty() {
        // The standard library's sort is 1 kB of code; this one takes 0.1 ms for 300 rows.
        for index in 1..rows.len() {
            let sort_key = key(&rows[index]);
            let before = rows[..index].partition_point(|row| key(row) >= sort_key);
            rows[before..=index].rotate_right(1);
        }
    }
    rows
}

fn cells(row: &impl Fields, table: &Table) -> Vec<Cell> {
    let cell = |column: &crate::panels::Column| match column.unit {
        Unit::Text => Cell::Text(row.text_at(column.path)),
        _ => Cell::Number(value(row, column.path)),
    };
    table.columns.iter().map(cell).collect()
}

/// Value at a path in the format of [`METRICS`].
fn value(fields: &impl Fields, path: &str) -> f64 {
    let value = match cut(path, b'/') {
        Some((part, whole)) => 100.0 * value(fields, part) / value(fields, whole),
        // Old kernels report only some parts of a sum.
        None => parts(path, b'|').filter_map(|path| single(fields, path)).fold(f64::NAN, sum),
    };
    // Negative and infinite values count as unknown.
    if value.is_finite() && value >= 0.0 { value } else { f64::NAN }
}

fn single(fields: &impl Fields, path: &str) -> Option<f64> {
    let fold = match path.as_bytes().first()? {
        b'+' => sum,
        b'^' => f64::max,
        _ => return fields.number_at(path),
    };
    let (list, path) = cut(path.get(1..)?, b'.')?;
    let entries = fields.get(list)?.list();
    // The traffic of a stacked device is also counted at the devices below it.
    let whole = entries.iter().filter(|entry| entry.get("stacked").is_none());
    whole.filter_map(|entry| entry.number_at(path)).reduce(fold)
}

/// Adds two values; an unknown first value is ignored.
fn sum(one: f64, other: f64) -> f64 {
    if one.is_nan() { other } else { one + other }
}

fn numbers_of(list: &impl Fields) -> impl Iterator<Item = f64> {
    list.list().into_iter().map(|value| value.number().unwrap_or(f64::NAN))
}

#[expect(clippy::cast_possible_truncation, reason = "seven digits are enough for a chart")]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
fn whole(percent: f64) -> u8 {
    percent.clamp(0.0, 100.0) as u8
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};
    use wire::{Core, Disk, Memory, Processors, Sample, Shares};

    impl Fields for Value {
        fn get(&self, name: &str) -> Option<Self> {
            match self {
                Value::Array(list) => list.get(name.parse::<usize>().ok()?).cloned(),
                value => value.as_object()?.get(name).cloned(),
            }
        }

        fn number(&self) -> Option<f64> {
            self.as_f64()
        }

        fn text(&self) -> Option<String> {
            self.as_str().map(str::to_owned)
        }

        fn list(&self) -> Vec<Self> {
            self.as_array().cloned().unwrap_or_default()
        }
    }

    pub(crate) fn test_sample(instance: &str, sequence: u64) -> Sample {
        let core = |id, busy| Core { id, shares: Shares { busy, ..Shares::default() } };
        let disk = |name: &str, stacked, read_bytes_per_second, utilisation| Disk {
            name: name.to_owned(),
            stacked,
            read_bytes_per_second,
            utilisation,
            ..Disk::default()
        };
        Sample {
            cpu: Some(12.5),
            ram: Some(34.0),
            instance: instance.to_owned(),
            sequence,
            time_unix_ms: 1_700_000_000_000 + sequence * 1_000,
            interval_ms: 1_000,
            processors: Some(Processors {
                online: 2,
                total: Some(Shares::default()),
                cores: vec![core(0, 7.9), core(2, 100.0)],
            }),
            memory: Some(Memory {
                total_bytes: 24 << 30,
                used_bytes: 8 << 30,
                buffers_bytes: Some(1),
                cached_bytes: Some(20),
                zfs_reclaimable_bytes: Some(300),
                ..Memory::default()
            }),
            load: Some([0.42, 0.3, 0.21]),
            uptime_seconds: Some(11_520.0),
            disks: vec![
                disk("sda", false, 10.0, 20.0),
                disk("sdb", false, 5.0, 60.0),
                disk("dm-0", true, 100.0, 99.0),
            ],
            ..Sample::default()
        }
    }

    fn read(sample: &Sample) -> Reading {
        reading(&serde_json::to_value(sample).unwrap()).unwrap()
    }

    #[test]
    fn metrics_are_found_by_their_paths() {
        let reading = read(&test_sample("a", 7));
        let near = |metric, wanted: f64| {
            let found = reading.metric(metric);
            assert!((found - wanted).abs() < 1e-9, "{metric:?} is {found}");
        };
        near(Metric::Cpu, 12.5);
        near(Metric::Load15, 0.21);
        near(Metric::LoadShare, 21.0);
        near(Metric::MemoryCached, 321.0);
        near(Metric::Read, 15.0);
        near(Metric::DiskBusy, 60.0);
        assert!(reading.metric(Metric::PressureCpu).is_nan());
        assert_eq!((reading.instance.as_str(), reading.cores), ("a", vec![7, 100]));
    }

    #[test]
    fn every_path_consists_of_fields_of_a_sample() {
        let text = serde_json::to_string(&json!({
            "sample": Sample {
                cpu: Some(0.0), ram: Some(0.0), uptime_seconds: Some(0.0), ..test_sample("a", 1)
            },
            "memory": Memory {
                free_bytes: Some(0), slab_reclaimable_bytes: Some(0), swap_used_bytes: Some(0),
                swap_total_bytes: Some(0), zfs_reclaimable_bytes: Some(0),
                ..Memory::default()
            },
            "pressure": wire::Pressure {
                cpu: Some(wire::Stalls::default()), memory: Some(wire::Stalls::default()),
                io: Some(wire::Stalls::default()),
            },
            "networks": [wire::Network::default()],
            "task": wire::Task {
                cpu_limit_cores: Some(0.0), memory_used_bytes: Some(0), memory_limit_bytes: Some(0),
                ..wire::Task::default()
            },
            "container": wire::Container {
                cpu_limit_cores: Some(0.0), cpu_used_cores: Some(0.0), throttled: Some(0.0),
                memory_limit_bytes: Some(0), memory_used_bytes: Some(0), oom_kills: Some(0),
                pids: Some(0), pids_limit: Some(0), ..wire::Container::default()
            },
        }))
        .unwrap();
        for (_, path) in METRICS {
            for name in path.split(['.', '/', '|', '+', '^']).filter(|name| name.len() > 2) {
                assert!(text.contains(&["\"", name, "\":"].concat()), "{name} of {path}");
            }
        }
    }

    #[test]
    fn every_panel_has_the_scope_of_its_values() {
        use wire::{Container, Scope, ScopeKind};
        let mut sample = Sample {
            network_scope: Some(ScopeKind::Container),
            container: Some(Container::default()),
            ..test_sample("a", 1)
        };
        let reading = read(&sample);
        assert!(reading.has_container);
        assert_eq!(reading.scope_of("cpu"), ScopeKind::Host);
        assert_eq!(reading.scope_of("network"), ScopeKind::Container);
        assert_eq!(reading.scope_of("filesystems"), ScopeKind::Host);
        sample.scope = Scope { kind: ScopeKind::Container, reason: String::new() };
        let reading = read(&sample);
        assert_eq!(reading.scope_of("memory"), ScopeKind::Container);
        assert_eq!(reading.scope_of("load"), ScopeKind::Host);
    }

    #[test]
    fn fields_of_other_types_count_as_missing_and_other_json_is_not_a_sample() {
        let mut value = serde_json::to_value(test_sample("a", 1)).unwrap();
        value["cpu"] = json!("much");
        value["ram"] = json!(-1e300);
        value["load"] = json!({});
        value["disks"] = json!(7);
        value["processors"] = json!([1]);
        let found = reading(&value).unwrap();
        for metric in [Metric::Cpu, Metric::Ram, Metric::Load1, Metric::Read, Metric::CpuUser] {
            assert!(found.metric(metric).is_nan(), "{metric:?}");
        }
        value["sequence"] = json!(0);
        assert_eq!(reading(&value), None);
        assert_eq!(reading(&json!({})), None);
        assert_eq!(reading(&json!([1])), None);
    }

    #[test]
    fn lists_become_rows_of_a_table() {
        let reading = read(&test_sample("a", 1));
        let disks = TABLES.iter().position(|table| table.list == "disks").unwrap();
        assert_eq!(reading.tables[disks].len(), 3);
        // The busiest disk (`dm-0`) is first.
        assert_eq!(reading.tables[disks][1][0], Cell::Text("sdb".to_owned()));
        assert_eq!(reading.tables[disks][1][3], Cell::Number(60.0));
    }

    #[test]
    fn a_history_has_the_processors_of_the_rows_that_its_longer_rows_cover() {
        let value = json!({
            "instance": "a", "step_seconds": 1, "series": {},
            "time_unix_ms": [9_000, 10_000, 11_000, 20_000, 30_500],
            "cores": {"step_seconds": 10, "time_unix_ms": [10_000, 20_000], "busy": [[1, 2], [3, 4]]},
        });
        let cores: Vec<_> =
            history(&value).unwrap().rows.into_iter().map(|row| row.cores).collect();
        assert_eq!(cores, [vec![1, 2], vec![1, 2], vec![3, 4], vec![3, 4], vec![]]);
    }

    #[test]
    fn a_history_is_decoded_into_rows_and_null_is_unknown() {
        let value = json!({
            "instance": "a", "step_seconds": 1, "time_unix_ms": [1_000, 2_000],
            "series": {
                "cpu": { "mean": [1.5, null], "minimum": [0.5, null], "maximum": [100, null] },
                "from_the_future": {},
            },
        });
        let history = history(&value).unwrap();
        assert_eq!(history.instance, "a");
        assert!((history.rows[0].value(Metric::Cpu) - 1.5).abs() < 1e-9);
        assert!((history.rows[0].bounds(Metric::Cpu).1 - 100.0).abs() < 1e-9);
        assert!(history.rows[1].value(Metric::Cpu).is_nan());
        assert!((history.rows[1].start_ms - 1_000.0).abs() < 1e-9);
    }
}
