//! Alerts at an Alertmanager: a fake one, and Debian's if it is installed.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use testing::Service;

use crate::{STATS, Tree, stats_once};

/// Longer than the time to resolve an alert.
const PATIENCE: Duration = Duration::from_secs(40);

const RULES: &str = "memory > 80 for 1s critical; cpu off; core off; load off; source off";

/// Starts a server that responds to every request with this status; returns its address and the
/// request bodies.
fn receiver(status: &'static str) -> (String, Receiver<Value>) {
    let (sender, contents) = channel();
    let address = testing::serve(move |request, stream| {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes());
        let (_, content) = request.split_once("\r\n\r\n").unwrap();
        if let Ok(content) = serde_json::from_str(content) {
            drop(sender.send(content));
        }
        false
    });
    (format!("http://{address}"), contents)
}

/// Tree of a host with free memory and a boot ID.
fn host(name: &str) -> Tree {
    let tree = Tree::new(name);
    tree.set_available(3000);
    fs::create_dir_all(tree.0.join("sys/kernel/random")).unwrap();
    tree.write("sys/kernel/random/boot_id", "0123abcd-4567-89ab-cdef-0123456789ab\n");
    tree
}

fn serve(tree: &Tree, alertmanager: &str) -> Service {
    tree.serve_with(&[
        ("STATS_ALERTS", RULES),
        ("STATS_ALERTMANAGER", alertmanager),
        ("STATS_LABELS", "team=web"),
    ])
}

#[test]
fn two_replicas_on_a_host_send_the_same_alert_and_its_end() {
    let tree = host("alertmanager");
    let (address, contents) = receiver("200 OK");
    let replicas = [serve(&tree, &address), serve(&tree, &address)];
    for replica in &replicas {
        stats_once(replica, |sample| sample["state"] == "normal");
    }
    tree.set_available(400);
    let sent = [(); 2].map(|()| contents.recv_timeout(PATIENCE).unwrap());
    let expected = serde_json::json!({
        "alertname": "memory", "subject": "memory", "severity": "critical", "team": "web",
        "instance": "boot-0123abcd456789ab",
    });
    for message in &sent {
        assert_eq!(message[0]["labels"], expected);
        assert!(message[0]["endsAt"].as_str() > message[0]["startsAt"].as_str(), "{message}");
        assert_eq!(message[0]["annotations"]["summary"], "memory: 90 %, limit 80");
    }
    tree.set_available(3000);
    let over = stats_once(&replicas[0], |sample| sample["state"] == "normal");
    let resolved = [(); 2].map(|()| contents.recv_timeout(PATIENCE).unwrap());
    for message in resolved {
        assert_eq!(message[0]["labels"], expected);
        assert_eq!(
            message[0]["startsAt"].as_str().unwrap().len(),
            "2026-01-01T00:00:00.000Z".len()
        );
        assert!(message[0]["endsAt"].as_str() < sent[0][0]["endsAt"].as_str(), "{message} {over}");
    }
}

#[test]
fn a_server_that_rejects_messages_receives_them_again_and_delays_nothing() {
    let tree = host("refusing");
    let (address, contents) = receiver("500 Internal Server Error");
    let service = serve(&tree, &address);
    tree.set_available(400);
    for _ in 0..2 {
        contents.recv_timeout(PATIENCE).unwrap();
    }
    let sample = stats_once(&service, |sample| sample["state"] == "critical");
    let sequence = sample["sequence"].as_u64().unwrap();
    stats_once(&service, |sample| sample["sequence"].as_u64() > Some(sequence + 1));
    let ended = service.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let told = ended.log.matches("cannot send alerts to Alertmanager").count();
    assert_eq!(told, 1, "{}", ended.log);
}

#[test]
fn metrics_are_json_lines_between_the_log_lines() {
    let tree = host("emf");
    let service = tree.serve_with(&[("STATS_EMF", "10")]);
    stats_once(&service, |sample| sample["sequence"].as_u64() > Some(1));
    let begun = Instant::now();
    let mut last = 1;
    while last < 11 {
        assert!(begun.elapsed() < PATIENCE);
        last = stats_once(&service, |sample| sample["sequence"].as_u64() > Some(last))["sequence"]
            .as_u64()
            .unwrap();
    }
    let ended = service.stop();
    let line = ended.log.lines().find(|line| line.contains("CloudWatchMetrics")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Namespace"], "system-stats");
    assert!(line["ram"].as_array().unwrap().iter().all(|ram| *ram == 25.0), "{line}");
}

/// Debian's Alertmanager; stopped on drop.
struct Alertmanager {
    process: Child,
    folder: PathBuf,
    address: String,
}

impl Alertmanager {
    const PROGRAM: &str = "prometheus-alertmanager";

    /// Returns `None` if it is not installed.
    fn start(webhook: &str) -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("stats-am-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let config = format!(
            "route: {{receiver: hook, group_by: ['...'], group_wait: 1s, group_interval: 2s, \
             repeat_interval: 1h}}\nreceivers:\n- name: hook\n  webhook_configs:\n  - url: {webhook}\n    \
             send_resolved: true\n"
        );
        fs::write(folder.join("config.yml"), config).unwrap();
        // A port that has just been free.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(Self::PROGRAM)
            .arg(format!("--config.file={}", folder.join("config.yml").display()))
            .arg(format!("--storage.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let address = format!("127.0.0.1:{port}");
        let begun = Instant::now();
        while TcpStream::connect(&address).is_err() {
            assert!(begun.elapsed() < PATIENCE, "Alertmanager does not listen");
            thread::sleep(Duration::from_millis(50));
        }
        Some(Self { process, folder, address: format!("http://{address}") })
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_real_alertmanager_notifies_once_about_two_replicas_and_once_about_the_end() {
    let (webhook, notifications) = receiver("200 OK");
    let Some(alertmanager) = Alertmanager::start(&webhook) else {
        let program = Alertmanager::PROGRAM;
        // Visible in the output of the test, and of nextest with `--no-capture`.
        writeln!(
            std::io::stderr(),
            "SKIPPED: {program} is not installed; {STATS} was not tested with it"
        )
        .unwrap();
        return;
    };
    let tree = host("real-alertmanager");
    let replicas = [serve(&tree, &alertmanager.address), serve(&tree, &alertmanager.address)];
    for replica in &replicas {
        stats_once(replica, |sample| sample["state"] == "normal");
    }
    tree.set_available(400);
    let first = notifications.recv_timeout(PATIENCE).unwrap();
    assert_eq!(
        (&first["status"], &first["alerts"][0]["status"]),
        (&"firing".into(), &"firing".into())
    );
    assert_eq!(first["alerts"][0]["labels"]["instance"], "boot-0123abcd456789ab");
    assert_eq!(first["alerts"].as_array().unwrap().len(), 1);
    // Longer than three group intervals: no notification is sent twice.
    let twice = notifications.recv_timeout(Duration::from_secs(7));
    assert!(twice.is_err(), "{twice:?}");
    tree.set_available(3000);
    let second = notifications.recv_timeout(PATIENCE).unwrap();
    assert_eq!(second["status"], "resolved", "{second}");
    let twice = notifications.recv_timeout(Duration::from_secs(7));
    assert!(twice.is_err(), "{twice:?}");
}
