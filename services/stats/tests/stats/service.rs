//! Samples, streams, history and commands.

use std::fs;
use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use testing::{BOUND, Service, eventually, run};

use crate::{STATS, Tree, stat, stats_once};

/// Starts the service on the real proc filesystem.
fn start(variables: &[(&str, &str)]) -> Service {
    Service::start(STATS, "STATS_LISTEN", variables)
}

#[test]
fn the_values_are_those_of_the_proc_tree() {
    let tree = Tree::new("figures");
    let service = tree.serve_with(&[]);
    // The tick counters of this tree do not change, so memory is known, but CPU use is not.
    let sample = stats_once(&service, |_| true);
    assert_eq!(sample["ram"], 75.0);
    assert_eq!(sample["memory"]["total_bytes"], 4_096_000);
    assert_eq!(sample["load"], serde_json::json!([0.5, 0.25, 0.1]));
    assert_eq!(sample["uptime_seconds"], 100.5);
    assert_eq!(sample["processors"]["online"], 1);
    assert_eq!(sample["scope"]["kind"], "host");
    assert!(sample.get("cpu").is_none(), "{sample}");
    tree.write("stat", &stat(1100, 1300));
    assert_eq!(stats_once(&service, |sample| sample.get("cpu").is_some())["cpu"], 25.0);
}

#[test]
fn a_sandbox_has_no_values_that_it_does_not_count() {
    let tree = Tree::new("sandbox");
    tree.write(
        "stat",
        "cpu  0 0 0 0\ncpu0 0 0 0 0\nctxt 0\nbtime 9\nprocesses 0\nprocs_running 0\n",
    );
    tree.write("loadavg", "0.00 0.00 0.00 0/0 0\n");
    let sample = stats_once(&tree.serve_with(&[]), |_| true);
    for name in ["cpu", "load", "processes"] {
        assert!(sample.get(name).is_none(), "{name}: {sample}");
    }
    assert_eq!(sample["ram"], 75.0);
}

#[test]
fn a_missing_file_affects_only_its_own_values() {
    let tree = Tree::new("missing");
    fs::remove_file(tree.0.join("loadavg")).unwrap();
    let service = tree.serve_with(&[]);
    let sample = stats_once(&service, |_| true);
    assert!(sample.get("load").is_none(), "{sample}");
    assert_eq!((&sample["ram"], &sample["uptime_seconds"]), (&75.0.into(), &100.5.into()));
    tree.write("meminfo", "nonsense");
    let sample = stats_once(&service, |sample| sample.get("ram").is_none());
    assert_eq!(sample["uptime_seconds"], 100.5);
    tree.set_available(2000);
    assert_eq!(stats_once(&service, |sample| sample.get("ram").is_some())["ram"], 50.0);
}

#[test]
fn a_service_without_any_value_is_not_ready_until_it_has_one() {
    let tree = Tree::new("empty");
    tree.write("meminfo", "");
    tree.write("stat", "");
    let service = tree.serve_with(&[]);
    let begun = Instant::now();
    // Longer than the time to become ready with a complete tree.
    while begun.elapsed() < Duration::from_millis(1500) {
        assert_eq!(service.get("/readyz").status, 503);
        assert_eq!(service.get("/healthz").status, 200);
        thread::sleep(Duration::from_millis(50));
    }
    tree.set_available(1000);
    assert_eq!(stats_once(&service, |_| true)["ram"], 75.0);
    assert_eq!(service.get("/readyz").status, 200);
}

#[test]
fn a_hanging_file_delays_neither_requests_nor_the_shutdown() {
    let tree = Tree::new("hanging");
    fs::remove_file(tree.0.join("stat")).unwrap();
    // Opening a pipe without a writer blocks forever.
    let made = Command::new("mkfifo").arg(tree.0.join("stat")).status().unwrap();
    assert!(made.success());
    let service = tree.serve_with(&[]);
    assert_eq!(service.get("/healthz").status, 200);
    // The other sources are still read.
    let sample = stats_once(&service, |_| true);
    assert_eq!(sample["ram"], 75.0);
    assert!(sample.get("cpu").is_none(), "{sample}");
    let ended = service.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.took < Duration::from_secs(4), "{ended:?}");
}

#[test]
fn a_source_that_starts_to_hang_loses_its_values_and_the_others_continue() {
    let tree = Tree::new("begins-to-hang");
    fs::create_dir_all(tree.0.join("pressure")).unwrap();
    let io = tree.0.join("pressure/io");
    tree.write("pressure/io", "some avg10=1.00 avg60=1.00 avg300=1.00 total=1\n");
    let service = tree.serve_with(&[]);
    stats_once(&service, |sample| sample["pressure"].get("io").is_some());
    // A parse error makes the service open the file again, which then blocks forever.
    tree.write("pressure/io", "nonsense");
    fs::remove_file(&io).unwrap();
    assert!(Command::new("mkfifo").arg(&io).status().unwrap().success());
    let hung = stats_once(&service, |sample| sample.get("pressure").is_none());
    assert_eq!(hung["ram"], 75.0);
    let sequence = hung["sequence"].as_u64().unwrap();
    let later = stats_once(&service, |sample| sample["sequence"].as_u64() > Some(sequence + 2));
    assert_eq!((&later["ram"], &later["uptime_seconds"]), (&75.0.into(), &100.5.into()));
    assert_eq!(service.get("/readyz").status, 200);
    let metrics = service.get("/metrics");
    for line in
        ["stats_source_up{source=\"pressure/io\"} 0\n", "stats_source_up{source=\"meminfo\"} 1\n"]
    {
        assert!(metrics.text().contains(line), "{}", metrics.text());
    }
    let ended = service.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.log.contains("a read does not return"), "{}", ended.log);
}

#[test]
fn the_network_of_a_mounted_proc_filesystem_is_that_of_its_first_process() {
    let heading = "Inter-| Receive | Transmit\n face |bytes |bytes\n";
    let tree = Tree::new("network");
    fs::create_dir_all(tree.0.join("net")).unwrap();
    tree.write("net/dev", &format!("{heading} own0: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n"));
    let names = |service: &Service| {
        let sample = stats_once(service, |sample| sample.get("networks").is_some());
        sample["networks"][0]["name"].clone()
    };
    assert_eq!(names(&tree.serve_with(&[])), "own0");
    fs::create_dir_all(tree.0.join("1/net")).unwrap();
    tree.write("1/net/dev", &format!("{heading} host0: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n"));
    assert_eq!(names(&tree.serve_with(&[])), "host0");
}

#[test]
fn on_this_machine_cpu_and_ram_are_percentages_and_come_first() {
    let service = start(&[]);
    let sample = stats_once(&service, |_| true);
    for name in ["cpu", "ram"] {
        let value = sample[name].as_f64().unwrap();
        assert!((0.0..=100.0).contains(&value), "{name} is {value}");
    }
    let text = service.get("/stats").text().to_owned();
    assert!(text.starts_with(r#"{"cpu":"#) && text.contains(r#","ram":"#), "{text}");
}

#[test]
fn the_first_response_already_includes_a_busy_processor() {
    let busy = Arc::new(AtomicBool::new(true));
    let spinner = thread::spawn({
        let busy = busy.clone();
        move || while busy.load(Ordering::Relaxed) {}
    });
    let service = start(&[]);
    let first = stats_once(&service, |_| true);
    busy.store(false, Ordering::Relaxed);
    spinner.join().unwrap();
    assert_eq!(first["sequence"], 1);
    // One processor was always busy; half of its share allows for a coarse first interval.
    let share = 100.0 / first["processors"]["online"].as_f64().unwrap();
    assert!(first["cpu"].as_f64().unwrap() > share / 2.0, "{first}");
}

#[test]
fn a_stream_has_one_sample_a_second_and_ends_when_the_service_stops() {
    let service = start(&[]);
    stats_once(&service, |_| true);
    let mut lines = service.stream("/stats/stream");
    let mut next_sequence = || {
        lines.find(|line| line == "event: sample").unwrap();
        let data = lines.next().unwrap().strip_prefix("data: ").unwrap().to_owned();
        let sample: serde_json::Value = serde_json::from_str(&data).unwrap();
        sample["sequence"].as_u64().unwrap()
    };
    let first = next_sequence();
    let begun = Instant::now();
    assert_eq!([next_sequence(), next_sequence()], [first + 1, first + 2]);
    let took = begun.elapsed();
    assert!((Duration::from_secs(1)..BOUND).contains(&took), "two ticks took {took:?}");
    let ended = service.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.took < Duration::from_secs(4), "{ended:?}");
    assert_eq!(lines.last().as_deref(), Some(""), "the stream ends after a whole chunk");
}

#[test]
fn a_stream_supports_head_requests() {
    let service = start(&[]);
    stats_once(&service, |_| true);
    let answer = service.ask("HEAD", "/stats/stream", &[]);
    assert_eq!((answer.status, answer.body.len()), (200, 0), "{answer:?}");
    assert_eq!(answer.field("content-type"), Some("text/event-stream"));
    assert_eq!(answer.field("x-accel-buffering"), Some("no"));
    assert_eq!(answer.field("cache-control"), Some("no-store"));
}

#[test]
fn in_a_limited_container_the_scope_is_the_container() {
    let tree = Tree::new("container");
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/cgroup-v2-limited");
    std::os::unix::fs::symlink(format!("{fixture}/proc/self"), tree.0.join("self")).unwrap();
    tree.write("meminfo", "MemTotal: 1048576 kB\nMemAvailable: 262144 kB\n");
    let proc_root = tree.0.to_str().unwrap();
    let root = [("STATS_PROC", proc_root), ("STATS_ROOT", fixture)];
    let service = start(&root);
    let sample = stats_once(&service, |sample| sample.get("cpu").is_some());
    assert_eq!(sample["scope"]["kind"], "container", "{sample}");
    let reason = "the control group is limited to 128 MiB of memory";
    assert_eq!(sample["scope"]["reason"], reason);
    // Of 9 MiB charged memory, 3 MiB are cached files and 0.3 MiB kernel objects that can be freed.
    assert_eq!(sample["container"]["memory_used_bytes"], (6 << 20) - 336_792);
    assert_eq!(sample["ram"], 4.44);
    let metrics = service.get("/metrics");
    assert!(metrics.text().contains("container_cpu_usage_seconds_total"), "{}", metrics.text());
    let host = [("STATS_PROC", proc_root), ("STATS_ROOT", fixture), ("STATS_SCOPE", "host")];
    let service = start(&host);
    let sample = stats_once(&service, |_| true);
    assert_eq!((&sample["scope"]["kind"], &sample["ram"]), (&"host".into(), &75.0.into()));
}

/// Starts a fake ECS agent; CPU time in `/task/stats` grows by 0.1 s per request, and its clock by
/// a second.
fn ecs_agent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/fargate");
    let task = fs::read_to_string(format!("{fixture}/task.json")).unwrap();
    let containers: serde_json::Value = serde_json::from_str(&task).unwrap();
    let id = containers["Containers"][0]["DockerId"].as_str().unwrap().to_owned();
    thread::spawn(move || {
        for (second, stream) in (0..).zip(listener.incoming()) {
            let mut stream = stream.unwrap();
            let head = testing::read_head(&mut BufReader::new(&mut stream)).unwrap();
            let body = if head.starts_with("GET /v4/abc/task/stats ") {
                let usage = serde_json::json!({ &id: {
                    "read": format!("2026-01-01T00:{:02}:{:02}.0Z", second / 60, second % 60),
                    "cpu_stats": { "cpu_usage": { "total_usage": second * 100_000_000_u64 } },
                    "memory_stats": { "usage": 64 << 20, "stats": { "inactive_file": 0 } },
                }});
                usage.to_string()
            } else {
                task.clone()
            };
            let length = body.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    format!("http://{address}/v4/abc")
}

#[test]
fn in_an_ecs_task_the_scope_is_the_task() {
    let agent = ecs_agent();
    let service = start(&[("ECS_CONTAINER_METADATA_URI_V4", &agent)]);
    let sample = stats_once(&service, |sample| sample["task"].get("cpu_used_cores").is_some());
    assert_eq!(sample["scope"]["kind"], "task", "{sample}");
    assert!(sample["task"]["containers"].as_array().unwrap().len() > 1, "{sample}");
    assert_eq!(sample["task"]["memory_used_bytes"], 64 << 20);
    assert!(sample["task"]["cpu_used_cores"].as_f64().unwrap() <= 0.1, "{sample}");
    // The first sample waits for the task; otherwise its scope would be the host.
    let history = service.get("/stats/history").json();
    assert!(history["instance"].as_str().unwrap().contains('-'), "{history}");
}

#[test]
fn without_a_response_of_the_agent_the_scope_is_not_the_task() {
    let service = start(&[("ECS_CONTAINER_METADATA_URI_V4", "http://127.0.0.1:9/v4/abc")]);
    let sample = stats_once(&service, |_| true);
    assert_ne!(sample["scope"]["kind"], "task", "{sample}");
}

#[test]
fn a_history_file_survives_a_restart_and_a_damaged_one_is_renamed() {
    let folder = std::env::temp_dir().join(format!("stats-history-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("history");
    let variables = [("STATS_HISTORY_FILE", file.to_str().unwrap())];
    let rows = |service: &Service| {
        let first = stats_once(service, |_| true);
        let history = service.get("/stats/history").json();
        let times = history["time_unix_ms"].as_array().unwrap().clone();
        (first["time_unix_ms"].as_u64().unwrap(), times)
    };
    let service = start(&variables);
    let (first, _) = rows(&service);
    assert_eq!(service.stop().code, Some(0));
    let service = start(&variables);
    let (second, times) = rows(&service);
    assert!(second > first && times.contains(&first.into()), "{first} is not in {times:?}");
    assert_eq!(service.stop().code, Some(0));
    fs::write(&file, "nonsense").unwrap();
    let service = start(&variables);
    let (third, times) = rows(&service);
    assert_eq!(times.first(), Some(&third.into()));
    assert_eq!(fs::read_to_string(folder.join("history.damaged")).unwrap(), "nonsense");
    assert_eq!(service.stop().code, Some(0));
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_health_check_reports_the_state_of_the_service() {
    let service = start(&[]);
    let address = service.address.to_string();
    stats_once(&service, |_| true);
    for arguments in [&["healthcheck"][..], &["healthcheck", "/readyz"]] {
        let checked = run(STATS, arguments, &[("STATS_LISTEN", &address)]);
        assert!(checked.status.success(), "{checked:?}");
    }
    let unwell = run(STATS, &["healthcheck", "/no-such"], &[("STATS_LISTEN", &address)]);
    assert_eq!(unwell.status.code(), Some(1), "{unwell:?}");
    assert_eq!(service.stop().code, Some(0));
    let gone = run(STATS, &["healthcheck"], &[("STATS_LISTEN", &address)]);
    assert_eq!(gone.status.code(), Some(1), "{gone:?}");
}

#[test]
fn the_health_check_succeeds_whichever_hosts_are_answered() {
    let service = start(&[("STATS_LISTEN", "0.0.0.0:0"), ("STATS_HOSTS", "stats.test")]);
    let address = format!("0.0.0.0:{}", service.address.port());
    eventually(|| {
        run(STATS, &["healthcheck", "/readyz"], &[("STATS_LISTEN", &address)]).status.success()
    });
    assert_eq!(service.get("/stats").status, 421);
}

#[test]
fn all_invalid_settings_are_reported_at_once_with_exit_status_64() {
    let variables = [("STATS_LISTEN", "everywhere"), ("STATS_PROC", "/no/such/folder")];
    let refused = run(STATS, &[], &variables);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(64));
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(told.contains("STATS_LISTEN") && told.contains("STATS_PROC"), "{told}");
    assert_eq!(run(STATS, &["sevre"], &[]).status.code(), Some(64));
}

#[test]
fn a_port_in_use_is_reported_in_one_sentence_with_exit_status_1() {
    let service = start(&[]);
    let address = service.address.to_string();
    let refused = run(STATS, &[], &[("STATS_LISTEN", &address)]);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(
        told,
        format!("stats: cannot listen on {address}: the port is in use by another process\n")
    );
}

/// Data of the next event with this name.
fn next_event(lines: &mut impl Iterator<Item = String>, name: &str) -> serde_json::Value {
    let heading = format!("event: {name}");
    lines.find(|line| *line == heading).unwrap();
    let data = lines.find_map(|line| line.strip_prefix("data: ").map(str::to_owned));
    serde_json::from_str(&data.unwrap()).unwrap()
}

#[test]
fn the_summary_view_has_a_minute_then_one_summary_a_tick_with_labels() {
    let service = start(&[("STATS_LABELS", "team=web,az=eu-1")]);
    let sample = stats_once(&service, |sample| sample["sequence"].as_u64() > Some(1));
    assert_eq!(sample["labels"], serde_json::json!({ "team": "web", "az": "eu-1" }));
    let mut lines = service.stream("/stats/stream?view=summary");
    let instance = sample["instance"].as_str().unwrap();
    let field = format!("stats-instance: {instance}");
    assert!(lines.by_ref().take_while(|line| !line.is_empty()).any(|line| line == field));
    let minute = next_event(&mut lines, "minute");
    let columns = ["times_unix_ms", "cpu", "ram"].map(|name| minute[name].as_array().unwrap());
    assert!(!columns[0].is_empty() && columns.iter().all(|one| one.len() == columns[0].len()));
    let first = next_event(&mut lines, "summary");
    let second = next_event(&mut lines, "summary");
    assert_eq!(second["sequence"].as_u64(), first["sequence"].as_u64().map(|first| first + 1));
    assert_eq!(first["labels"], sample["labels"]);
    assert_eq!((&first["instance"], &first["version"]), (&sample["instance"], &"0.1.0".into()));
    assert_eq!(service.get("/stats/stream?view=everything").status, 400);
}

#[test]
fn on_loopback_an_unknown_host_gets_421_unless_it_is_configured() {
    let status = |variables: &[(&str, &str)], host: &str| start(variables).status_for(host);
    assert_eq!(status(&[], "evil.test"), 421);
    assert_eq!(status(&[], "127.0.0.1:8080"), 200);
    assert_eq!(status(&[("STATS_HOSTS", "*.test")], "stats.test"), 200);
}

#[test]
fn only_selected_interfaces_and_disks_are_reported() {
    let tree = Tree::new("selected");
    fs::create_dir_all(tree.0.join("net")).unwrap();
    let interface = |name: &str| format!(" {name}: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n");
    let heading = "Inter-| Receive | Transmit\n face |bytes |bytes\n";
    let interfaces = ["eth0", "eth1", "docker0"].map(interface).concat();
    tree.write("net/dev", &format!("{heading}{interfaces}"));
    let disk = |name: &str| format!("8 0 {name} 1 2 3 4 5 6 7 8 9 10 11\n");
    tree.write("diskstats", &["sda", "sdb"].map(disk).concat());
    let settings = [("STATS_INTERFACES", "eth*,!eth1"), ("STATS_DISKS", "!sdb")];
    let service = tree.serve_with(&settings);
    let sample = stats_once(&service, |sample| sample.get("networks").is_some());
    let names = |list: &str| {
        let all = sample[list].as_array().unwrap().iter();
        all.map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((names("networks"), names("disks")), (vec!["eth0".into()], vec!["sda".into()]));
}

#[test]
fn the_cache_of_zfs_is_available_unless_the_memory_is_that_of_a_container() {
    const MEMINFO: &str = include_str!("../../fixtures/zfs/proc/meminfo");
    const ARCSTATS: &str = include_str!("../../fixtures/zfs/proc/spl/kstat/zfs/arcstats");
    let tree = Tree::new("zfs");
    tree.write("meminfo", MEMINFO);
    fs::create_dir_all(tree.0.join("spl/kstat/zfs")).unwrap();
    tree.write("spl/kstat/zfs/arcstats", ARCSTATS);
    let service = tree.serve_with(&[]);
    let sample = stats_once(&service, |_| true);
    assert_eq!(sample["ram"], 25.0);
    assert_eq!(sample["memory"]["used_bytes"], 16_384_000_u64 << 10);
    assert_eq!(sample["memory"]["available_bytes"], 49_152_000_u64 << 10);
    let metrics = service.get("/metrics");
    for line in [
        "\nnode_memory_MemAvailable_bytes 16777216000\n",
        "\nnode_zfs_arc_size 35651584000\n",
        "\nstats_scope_memory_ratio{scope=\"host\"} 0.25\n",
    ] {
        assert!(metrics.text().contains(line), "{line}");
    }
    // lxcfs mounts a file of another filesystem in its place.
    tree.write("spl/kstat/zfs/arcstats", "size 4 2000\nc_min 4 1000\n");
    let zfs = |service: &Service| {
        stats_once(service, |_| true)["memory"].get("zfs_reclaimable_bytes").cloned()
    };
    assert_eq!(zfs(&tree.serve_with(&[])), Some(1000.into()));
    fs::remove_file(tree.0.join("meminfo")).unwrap();
    std::os::unix::fs::symlink("/proc/meminfo", tree.0.join("meminfo")).unwrap();
    assert_eq!(zfs(&tree.serve_with(&[])), None);
}
