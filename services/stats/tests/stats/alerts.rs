//! State, alerts and events.

use std::fs;

use serde_json::Value;

use crate::{Tree, stat, stats_once};

fn kinds(events: &Value) -> Vec<String> {
    let events = events["events"].as_array().unwrap();
    events.iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_alert_has_its_start_time_and_ends_in_all_responses() {
    let tree = Tree::new("alerts");
    tree.set_available(3000);
    let rules = "memory > 80 for 1s critical; cpu off; core off; load off; source off";
    let service = tree.serve_with(&[("STATS_ALERTS", rules)]);
    let calm = stats_once(&service, |sample| sample["state"] == "normal");
    assert!(calm.get("alerts").is_none() && calm["since_unix_ms"].is_u64(), "{calm}");
    assert_eq!(calm["events"][0]["kind"], "restart", "{calm}");
    tree.set_available(400);
    let begun = stats_once(&service, |sample| sample["ram"] == 90.0);
    let raised = stats_once(&service, |sample| sample["state"] == "critical");
    let alert = &raised["alerts"][0];
    assert_eq!((&alert["subject"], &alert["value"]), (&"memory".into(), &90.0.into()));
    assert_eq!((&alert["threshold"], &alert["unit"]), (&80.0.into(), &"percent".into()));
    // Polling may have missed the first sample, so the alert starts at this one or just before it.
    let since = alert["since_unix_ms"].as_u64().unwrap();
    assert!(since <= begun["time_unix_ms"].as_u64().unwrap(), "{raised}");
    assert!(since > calm["since_unix_ms"].as_u64().unwrap(), "{raised}");
    assert_eq!(raised["since_unix_ms"].as_u64(), Some(since));
    let metrics = service.get("/metrics");
    for line in ["stats_state 2\n", "stats_alert_state{subject=\"memory\",target=\"\"} 2\n"] {
        assert!(metrics.text().contains(line), "{}", metrics.text());
    }
    tree.set_available(3000);
    let after = stats_once(&service, |sample| sample["state"] == "normal");
    assert!(after["since_unix_ms"].as_u64() > Some(since), "{after}");
    let events = service.get("/stats/events?seconds=600").json();
    assert_eq!(events["instance"], after["instance"]);
    assert_eq!(kinds(&events), ["restart", "alert", "alert"], "{events}");
    assert_eq!(events["events"][1]["text"], "memory critical: 90.0 %");
    assert_eq!(events["events"][2]["text"], "memory normal again");
}

#[test]
fn a_kill_a_lost_source_and_a_changed_size_are_events() {
    let tree = Tree::new("events");
    tree.write("vmstat", "nr_free_pages 1\noom_kill 3\n");
    let service = tree.serve_with(&[]);
    stats_once(&service, |_| true);
    tree.write("vmstat", "nr_free_pages 1\noom_kill 4\n");
    tree.write("meminfo", "MemTotal: 8000 kB\nMemAvailable: 1000 kB\n");
    fs::remove_file(tree.0.join("uptime")).unwrap();
    tree.write("loadavg", "nonsense");
    let sample = stats_once(&service, |sample| sample["alerts"].to_string().contains("oom"));
    assert_eq!(sample["state"], "warning");
    stats_once(&service, |sample| sample.get("load").is_none());
    let events = service.get("/stats/events").json();
    let texts: Vec<_> =
        events["events"].as_array().unwrap().iter().map(|event| &event["text"]).collect();
    for text in [
        "out of memory: 1 process killed",
        "memory of the machine: 8 MiB, was 4 MiB",
        "loadavg cannot be read",
        "oom warning: 1",
    ] {
        assert!(texts.iter().any(|found| *found == text), "{text} is not in {texts:?}");
    }
}

#[test]
fn top_consumers_are_reported_only_if_processes_are_exposed() {
    let tree = Tree::new("top");
    let service = tree.serve_with(&[]);
    stats_once(&service, |_| true);
    assert_eq!(service.get("/stats/top").status, 404);
    let exposed = tree.serve_with(&[("STATS_EXPOSE", "processes")]);
    let process = |ticks: u32| {
        format!(
            "7 (leak) S 1 7 7 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 1 0 100 4096 50 \
             18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
        )
    };
    for folder in ["1", "7"] {
        fs::create_dir_all(tree.0.join(folder)).unwrap();
    }
    tree.write("1/stat", &process(0).replacen("7 (leak)", "1 (init)", 1));
    tree.write("7/stat", &process(100));
    tree.write("stat", &stat(1100, 1100));
    stats_once(&exposed, |_| true);
    assert_eq!(exposed.get("/stats/top?seconds=601").status, 400);
    // The second scan is after five seconds.
    stats_once(&exposed, |sample| {
        tree.write("7/stat", &process(600));
        sample.get("top").is_some_and(|top| top.to_string().contains("leak"))
    });
    let top = exposed.get("/stats/top?seconds=60").json();
    let leak = serde_json::json!({ "pid": 7, "name": "leak" });
    assert!(top["processes"].as_array().unwrap().contains(&leak), "{top}");
    let columns = ["times_unix_ms", "cpu", "memory"].map(|name| top[name].as_array().unwrap());
    assert!(!columns[0].is_empty() && columns.iter().all(|one| one.len() == columns[0].len()));
}

#[test]
fn alerts_can_be_off() {
    let tree = Tree::new("off");
    tree.set_available(1);
    let service = tree.serve_with(&[("STATS_ALERTS", "off")]);
    let sample = stats_once(&service, |sample| sample["sequence"].as_u64() > Some(1));
    assert!(sample.get("state").is_none() && sample.get("alerts").is_none(), "{sample}");
    assert!(!service.get("/metrics").text().contains("stats_state"));
}
