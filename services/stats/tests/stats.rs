//! The real binary as a process, over a proc tree of the test's making and over the real one.
#![expect(clippy::unwrap_used, reason = "in a test a failed unwrap is the test's failure")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::{BOUND, Service, run};

const STATS: &str = env!("CARGO_BIN_EXE_stats");

/// A proc tree that the test writes; removed when it is dropped.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("stats-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let tree = Self(path);
        tree.write("stat", &stat(1000, 1000));
        tree.write("meminfo", "MemTotal: 4000 kB\nMemAvailable: 1000 kB\n");
        tree.write("loadavg", "0.50 0.25 0.10 1/2 3\n");
        tree.write("uptime", "100.5 90.0\n");
        tree
    }

    /// In place, as the kernel does it: the file that is held open shows the new text.
    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn serve(&self) -> Service {
        Service::start(STATS, "STATS_LISTEN", &[("STATS_PROC", self.0.to_str().unwrap())])
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn stat(busy: u64, idle: u64) -> String {
    format!(
        "cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 {busy} 0 0 {idle} 0 0 0 0 0 0\n\
         ctxt 1\nbtime 1\nprocesses 1\n"
    )
}

fn start_on_real_proc() -> Service {
    Service::start(STATS, "STATS_LISTEN", &[])
}

/// The first answer that satisfies, within the bound.
fn stats_once(service: &Service, accept: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    let begun = Instant::now();
    loop {
        let answer = service.get("/stats");
        if answer.status == 200 && accept(&answer.json()) {
            return answer.json();
        }
        assert!(begun.elapsed() < BOUND, "last answer: {}", answer.text());
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_figures_are_those_of_the_proc_tree() {
    let tree = Tree::new("figures");
    let service = tree.serve();
    // No tick has gone by in this tree: memory is known, the processor's share is not.
    let sample = stats_once(&service, |_| true);
    assert_eq!(sample["ram"], 75.0);
    assert_eq!(sample["memory_total_bytes"], 4_096_000);
    assert_eq!(sample["load"], serde_json::json!([0.5, 0.25, 0.1]));
    assert_eq!(sample["uptime_seconds"], 100.5);
    assert_eq!(sample["cpu_count"], 1);
    assert!(sample.get("cpu").is_none(), "{sample}");
    tree.write("stat", &stat(1100, 1300));
    assert_eq!(stats_once(&service, |sample| sample.get("cpu").is_some())["cpu"], 25.0);
}

#[test]
fn a_missing_file_takes_its_own_figures_along_and_no_others() {
    let tree = Tree::new("missing");
    fs::remove_file(tree.0.join("loadavg")).unwrap();
    let service = tree.serve();
    let sample = stats_once(&service, |_| true);
    assert!(sample.get("load").is_none(), "{sample}");
    assert_eq!((&sample["ram"], &sample["uptime_seconds"]), (&75.0.into(), &100.5.into()));
    tree.write("meminfo", "nonsense");
    let sample = stats_once(&service, |sample| sample.get("ram").is_none());
    assert_eq!(sample["uptime_seconds"], 100.5);
    tree.write("meminfo", "MemTotal: 4000 kB\nMemAvailable: 2000 kB\n");
    assert_eq!(stats_once(&service, |sample| sample.get("ram").is_some())["ram"], 50.0);
}

#[test]
fn a_service_without_any_figure_is_not_ready_until_it_has_one() {
    let tree = Tree::new("empty");
    tree.write("meminfo", "");
    tree.write("stat", "");
    let service = tree.serve();
    let begun = Instant::now();
    // Longer than it takes to be ready in a whole tree.
    while begun.elapsed() < Duration::from_millis(1500) {
        assert_eq!(service.get("/readyz").status, 503);
        assert_eq!(service.get("/healthz").status, 200);
        thread::sleep(Duration::from_millis(50));
    }
    tree.write("meminfo", "MemTotal: 4000 kB\nMemAvailable: 1000 kB\n");
    assert_eq!(stats_once(&service, |_| true)["ram"], 75.0);
    assert_eq!(service.get("/readyz").status, 200);
}

#[test]
fn a_file_that_hangs_holds_up_neither_requests_nor_the_end() {
    let tree = Tree::new("hanging");
    fs::remove_file(tree.0.join("stat")).unwrap();
    // Opening a pipe that nobody writes to waits for ever.
    let made = Command::new("mkfifo").arg(tree.0.join("stat")).status().unwrap();
    assert!(made.success());
    let service = tree.serve();
    assert_eq!(service.get("/healthz").status, 200);
    assert_eq!(service.get("/stats").status, 503);
    let ended = service.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.took < Duration::from_secs(2), "{ended:?}");
}

#[test]
fn on_this_machine_both_figures_are_percentages_and_come_first() {
    let service = start_on_real_proc();
    let sample = stats_once(&service, |_| true);
    for name in ["cpu", "ram"] {
        let value = sample[name].as_f64().unwrap();
        assert!((0.0..=100.0).contains(&value), "{name} is {value}");
    }
    let text = service.get("/stats").text().to_owned();
    assert!(text.starts_with(r#"{"cpu":"#) && text.contains(r#","ram":"#), "{text}");
}

#[test]
fn the_first_answer_already_sees_a_busy_processor() {
    let busy = Arc::new(AtomicBool::new(true));
    let spinner = thread::spawn({
        let busy = busy.clone();
        move || while busy.load(Ordering::Relaxed) {}
    });
    let service = start_on_real_proc();
    let first = stats_once(&service, |_| true);
    busy.store(false, Ordering::Relaxed);
    spinner.join().unwrap();
    assert_eq!(first["sequence"], 1);
    // One processor was busy all the time; half of its share allows for a coarse first interval.
    let share = 100.0 / first["cpu_count"].as_f64().unwrap();
    assert!(first["cpu"].as_f64().unwrap() > share / 2.0, "{first}");
}

#[test]
fn a_stream_carries_one_sample_a_second_and_ends_when_the_service_stops() {
    let service = start_on_real_proc();
    let mut lines = service.stream("/stats/stream");
    let mut next_sequence = || {
        let data = lines.find_map(|line| Some(line.strip_prefix("data: ")?.to_owned())).unwrap();
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
    assert!(ended.took < Duration::from_secs(2), "{ended:?}");
    assert_eq!(lines.last().as_deref(), Some(""), "the stream ends after a whole chunk");
}

#[test]
fn the_health_check_follows_the_service() {
    let service = start_on_real_proc();
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
fn wrong_settings_are_all_told_at_once_and_exit_64() {
    let variables = [("STATS_LISTEN", "everywhere"), ("STATS_PROC", "/no/such/folder")];
    let refused = run(STATS, &[], &variables);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(64));
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(told.contains("STATS_LISTEN") && told.contains("STATS_PROC"), "{told}");
    assert_eq!(run(STATS, &["sevre"], &[]).status.code(), Some(64));
}

#[test]
fn a_taken_port_is_one_sentence_and_exit_1() {
    let service = start_on_real_proc();
    let address = service.address.to_string();
    let refused = run(STATS, &[], &[("STATS_LISTEN", &address)]);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(told, format!("stats: cannot listen on {address}: another process has this port\n"));
}
