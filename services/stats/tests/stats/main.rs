//! The real binary as a process, with a synthetic proc tree and with the real one.
#![expect(clippy::unwrap_used, reason = "in a test a failed unwrap is the test's failure")]

mod alertmanager;
mod alerts;
mod announce;
mod host_root;
mod service;

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use testing::{BOUND, Service};

/// Program under test.
const STATS: &str = env!("CARGO_BIN_EXE_stats");

/// Synthetic proc tree; removed on drop.
struct Tree(PathBuf);

impl Tree {
    /// Tree with 75 % of its memory in use and constant tick counters.
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("stats-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let tree = Self(path);
        tree.write("stat", &stat(1000, 1000));
        tree.set_available(1000);
        tree.write("loadavg", "0.50 0.25 0.10 1/2 3\n");
        tree.write("uptime", "100.5 90.0\n");
        tree
    }

    /// Writes in place, so that an open file returns the new text, as with the kernel.
    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    /// Sets the available memory, kB.
    fn set_available(&self, available: u64) {
        self.write("meminfo", &format!("MemTotal: 4000 kB\nMemAvailable: {available} kB\n"));
    }

    /// Starts the service with this tree and additional settings.
    fn serve_with(&self, variables: &[(&str, &str)]) -> Service {
        let proc = [("STATS_PROC", self.0.to_str().unwrap())];
        Service::start(STATS, "STATS_LISTEN", &[&proc, variables].concat())
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Content of `/proc/stat` for one processor.
fn stat(busy: u64, idle: u64) -> String {
    format!(
        "cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 {busy} 0 0 {idle} 0 0 0 0 0 0\n\
         ctxt 1\nbtime 1\nprocesses 1\n"
    )
}

/// First accepted response, within the bound.
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
