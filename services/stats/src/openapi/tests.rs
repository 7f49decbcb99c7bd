use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json, to_value};

use super::*;

const SCHEMAS: &str = "#/components/schemas/";

#[test]
fn the_document_is_small_and_has_a_version() {
    assert_eq!(described()["openapi"], "3.1.0");
    assert!(JSON.starts_with(br#"{"openapi":"3.1.0","info":"#), "the order is the file's");
    assert!(JSON.len() < 40_000, "{} bytes", JSON.len());
}

#[test]
fn exactly_the_fields_in_responses_are_described() {
    let document = described();
    let mut visited = BTreeSet::new();
    let mut faults = Vec::new();
    for (name, value) in roots() {
        let schema = json!({ "$ref": format!("{SCHEMAS}{name}") });
        let mut check = Check { document: &document, visited: &mut visited, faults: &mut faults };
        check.node(name, &schema, &value);
    }
    assert_eq!(faults, Vec::<String>::new());
    let described = object(&document["components"]["schemas"]).keys().cloned();
    let on_the_wire = visited.into_iter().chain(["Problem".into()]).collect::<BTreeSet<_>>();
    assert_eq!(described.collect::<BTreeSet<_>>(), on_the_wire);
}

#[test]
fn exactly_the_fields_that_are_never_absent_are_required() {
    let document = described();
    for (name, empty) in empty_values() {
        let schema = &document["components"]["schemas"][name];
        let mut required = names(&schema["required"]);
        if let Some(base) = schema["allOf"][0]["$ref"].as_str() {
            required.extend(names(&resolve(&document, base)["required"]));
        }
        let always = object(&empty).keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(required, always, "{name}");
    }
}

#[test]
fn every_required_field_is_checked() {
    let document = described();
    let checked = empty_values().into_keys().chain(["Problem"]).collect::<BTreeSet<_>>();
    // A schema without properties has no required fields.
    let schemas = object(&document["components"]["schemas"]);
    let with_fields = schemas.iter().filter(|(_, schema)| !schema["properties"].is_null());
    assert_eq!(with_fields.map(|(name, _)| name.as_str()).collect::<BTreeSet<_>>(), checked);
}

#[test]
fn every_reference_is_valid() {
    fn visit(document: &Value, node: &Value) {
        if let Some(target) = node["$ref"].as_str() {
            assert!(!resolve(document, target).is_null(), "{target}");
        }
        match node {
            Value::Object(entries) => entries.values().for_each(|item| visit(document, item)),
            Value::Array(items) => items.iter().for_each(|item| visit(document, item)),
            _ => {}
        }
    }
    visit(&described(), &described());
}

fn described() -> Value {
    serde_json::from_slice(JSON).unwrap()
}

/// Compares a value without absent fields with its schema.
struct Check<'a> {
    document: &'a Value,
    visited: &'a mut BTreeSet<String>,
    faults: &'a mut Vec<String>,
}

impl Check<'_> {
    fn node(&mut self, path: &str, schema: &Value, value: &Value) {
        if let Some(target) = schema["$ref"].as_str() {
            self.visited.extend(target.strip_prefix(SCHEMAS).map(str::to_owned));
            let target = resolve(self.document, target).clone();
            return self.node(path, &target, value);
        }
        if !type_fits(schema, value) {
            self.faults.push(format!("{path}: {value} is not of the described type"));
        }
        match value {
            Value::Object(entries) if schema["additionalProperties"].is_object() => {
                for (name, entry) in entries {
                    let path = format!("{path}.{name}");
                    self.node(&path, &schema["additionalProperties"], entry);
                }
            }
            Value::Object(entries) => self.fields(path, schema, entries),
            Value::Array(items) => {
                for item in items {
                    self.node(&format!("{path}[]"), &schema["items"], item);
                }
                if items.is_empty() {
                    self.faults.push(format!("{path}: the test has no element"));
                }
            }
            _ => {}
        }
    }

    fn fields(&mut self, path: &str, schema: &Value, entries: &Map<String, Value>) {
        let mut described = object(&schema["properties"]).clone();
        if let Some(base) = schema["allOf"][0]["$ref"].as_str() {
            self.visited.extend(base.strip_prefix(SCHEMAS).map(str::to_owned));
            described.extend(object(&resolve(self.document, base)["properties"]).clone());
        }
        for (name, value) in entries {
            match described.remove(name) {
                Some(schema) => self.node(&format!("{path}.{name}"), &schema, value),
                None => self.faults.push(format!("{path}.{name} is not described")),
            }
        }
        let missing = described.keys().map(|name| format!("{path}.{name} is not on the wire"));
        self.faults.extend(missing);
    }
}

fn type_fits(schema: &Value, value: &Value) -> bool {
    if let Some(allowed) = schema["enum"].as_array() {
        return allowed.contains(value);
    }
    let fits = |name: &Value| match name.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64(),
        Some("number") => value.is_f64(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        _ => false,
    };
    match &schema["type"] {
        Value::Array(several) => several.iter().any(fits),
        one => fits(one),
    }
}

fn resolve<'a>(document: &'a Value, target: &str) -> &'a Value {
    document.pointer(target.trim_start_matches('#')).unwrap_or(&Value::Null)
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("{value} is no object"))
}

fn names(list: &Value) -> BTreeSet<String> {
    let names = list.as_array().map(Vec::as_slice).unwrap_or_default();
    names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// Values of each type with all optional fields absent.
fn empty_values() -> BTreeMap<&'static str, Value> {
    macro_rules! empty {
        ($($name:ident)*) => {
            BTreeMap::from([
                $((stringify!($name), to_value(wire::$name::default()).unwrap())),*
            ])
        };
    }
    empty! {
        Alert Container Core CoreHistory Disk Event Events Filesystem History Memory Minute Network
        Pressure Process Processes Processors Sample Scope Series Shares Stall Stalls Summary
        SummaryDisk SummaryLimits SummaryNetwork SummaryPressure Task TaskContainer Top TopHistory
        TopProcess Traffic
    }
}

/// Types of responses and events.
fn roots() -> [(&'static str, Value); 6] {
    [
        ("Sample", full_sample()),
        ("History", full_history()),
        ("Summary", full_summary()),
        ("Minute", full_minute()),
        ("Events", full_events()),
        ("TopHistory", full_top_history()),
    ]
}

fn full_alert() -> wire::Alert {
    wire::Alert {
        target: Some("/var".into()),
        state: wire::State::Critical,
        cause: Some("postgres (812)".into()),
        ..wire::Alert::default()
    }
}

fn full_event() -> wire::Event {
    wire::Event { target: Some("/var".into()), ..wire::Event::default() }
}

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("team".into(), "web".into())])
}

fn full_summary() -> Value {
    to_value(wire::Summary {
        instance: "0123456789abcdef".into(),
        name: Some("host".into()),
        labels: labels(),
        scope: wire::ScopeKind::Host,
        state: Some(wire::State::Normal),
        since_unix_ms: Some(1),
        alert: Some(full_alert()),
        time_unix_ms: 1,
        sequence: 1,
        cpu: Some(1.5),
        ram: Some(1.5),
        load: Some(1.5),
        pressure: Some(wire::SummaryPressure { cpu: Some(1.5), memory: Some(1.5), io: Some(1.5) }),
        network: Some(wire::SummaryNetwork::default()),
        disk: Some(wire::SummaryDisk::default()),
        limits: Some(wire::SummaryLimits { cpus: Some(1.5), memory_bytes: Some(1) }),
        uptime_seconds: Some(1),
        version: "0.1.0".into(),
    })
    .unwrap()
}

fn full_minute() -> Value {
    to_value(wire::Minute {
        instance: "0123456789abcdef".into(),
        times_unix_ms: vec![1],
        cpu: vec![Some(1.5)],
        ram: vec![None],
    })
    .unwrap()
}

fn full_events() -> Value {
    to_value(wire::Events { instance: "0123".into(), events: vec![full_event()] }).unwrap()
}

fn full_top_history() -> Value {
    to_value(wire::TopHistory {
        instance: "0123456789abcdef".into(),
        processes: vec![wire::TopProcess { pid: Some(1), name: "init".into() }],
        times_unix_ms: vec![1],
        cpu: vec![vec![(0, 1.5)]],
        memory: vec![vec![(0, 1)]],
    })
    .unwrap()
}

fn full_history() -> Value {
    let column = vec![Some(1.5)];
    let series =
        wire::Series { mean: column.clone(), minimum: Some(column.clone()), maximum: Some(column) };
    to_value(wire::History {
        time_unix_ms: vec![1],
        series: BTreeMap::from([("cpu".into(), series)]),
        cores: Some(wire::CoreHistory {
            step_seconds: 10,
            time_unix_ms: vec![1],
            busy: vec![vec![1]],
        }),
        ..wire::History::default()
    })
    .unwrap()
}

/// No optional field may use its default here, so that a new field is a compile error.
fn full_sample() -> Value {
    to_value(wire::Sample {
        cpu: Some(1.5),
        ram: Some(1.5),
        time_unix_ms: 1,
        interval_ms: 1000,
        instance: "0123456789abcdef".into(),
        sequence: 1,
        hostname: Some("host".into()),
        scope: wire::Scope::default(),
        uptime_seconds: Some(1.5),
        load: Some([0.5; 3]),
        processors: Some(wire::Processors {
            online: 1,
            total: Some(wire::Shares::default()),
            cores: vec![wire::Core::default()],
        }),
        memory: Some(full_memory()),
        pressure: Some(wire::Pressure {
            cpu: Some(full_stalls()),
            memory: Some(full_stalls()),
            io: Some(full_stalls()),
        }),
        disks: vec![wire::Disk { stacked: true, ..wire::Disk::default() }],
        networks: vec![wire::Network { stacked: true, ..wire::Network::default() }],
        network_scope: Some(wire::ScopeKind::Host),
        mounts_scope: Some(wire::ScopeKind::Container),
        filesystems: vec![wire::Filesystem {
            source: Some("/dev/sda1".into()),
            ..wire::Filesystem::default()
        }],
        processes: Some(wire::Processes {
            running: Some(1),
            blocked: Some(1),
            total: Some(1),
            context_switches_per_second: Some(1.5),
            forks_per_second: Some(1.5),
        }),
        container: Some(full_container()),
        task: Some(full_task()),
        top: Some(wire::Top { by_cpu: vec![full_process()], by_memory: vec![full_process()] }),
        labels: labels(),
        state: Some(wire::State::Normal),
        since_unix_ms: Some(1),
        alerts: vec![full_alert()],
        events: vec![full_event()],
    })
    .unwrap()
}

fn full_memory() -> wire::Memory {
    wire::Memory {
        total_bytes: 1,
        available_bytes: 1,
        used_bytes: 1,
        free_bytes: Some(1),
        buffers_bytes: Some(1),
        cached_bytes: Some(1),
        slab_reclaimable_bytes: Some(1),
        zfs_reclaimable_bytes: Some(1),
        swap_total_bytes: Some(1),
        swap_used_bytes: Some(1),
    }
}

fn full_stalls() -> wire::Stalls {
    wire::Stalls { some: wire::Stall::default(), full: Some(wire::Stall::default()) }
}

fn full_container() -> wire::Container {
    wire::Container {
        cgroup_version: 2,
        cpu_limit_cores: Some(1.5),
        cpu_used_cores: Some(1.5),
        throttled: Some(1.5),
        memory_limit_bytes: Some(1),
        memory_used_bytes: Some(1),
        oom_kills: Some(1),
        pids: Some(1),
        pids_limit: Some(1),
    }
}

fn full_task() -> wire::Task {
    wire::Task {
        family: "family".into(),
        revision: "1".into(),
        cpu_limit_cores: Some(1.5),
        cpu_used_cores: Some(1.5),
        memory_limit_bytes: Some(1),
        memory_used_bytes: Some(1),
        ephemeral_storage_bytes: Some(1),
        ephemeral_storage_used_bytes: Some(1),
        receive: Some(wire::Traffic::default()),
        transmit: Some(wire::Traffic::default()),
        age_ms: 1,
        containers: vec![wire::TaskContainer {
            name: "stats".into(),
            status: "RUNNING".into(),
            cpu_limit_cores: Some(1.5),
            cpu_used_cores: Some(1.5),
            memory_limit_bytes: Some(1),
            memory_used_bytes: Some(1),
            receive: Some(wire::Traffic::default()),
            transmit: Some(wire::Traffic::default()),
            read_bytes_per_second: Some(1.5),
            write_bytes_per_second: Some(1.5),
        }],
    }
}

fn full_process() -> wire::Process {
    wire::Process { pid: 1, name: "stats".into(), cpu_cores: Some(1.5), memory_bytes: 1 }
}
