//! Announcements at a fake gateway.

use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use http_semantics::signature::{Key, verify};
use testing::{BOUND, Service, fields, run};

use crate::{STATS, Tree, stats_once};

const SECRET: &str = "a-secret-of-the-fleet-0123";

/// Starts a gateway that responds with these statuses and then repeats the last one; returns its
/// address and the request heads.
fn gateway(statuses: &'static [u16]) -> (String, Receiver<String>) {
    let (sender, heads) = channel();
    let state = Mutex::new((statuses.iter().peekable(), sender));
    let address = testing::serve(move |request, stream| {
        let mut state = state.lock().unwrap();
        let status = match statuses {
            [.., last] if state.0.len() <= 1 => last,
            _ => state.0.next().unwrap(),
        };
        // The test may have ended.
        let _ = state.1.send(request.to_owned());
        let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 3\r\n\r\n{{}}\n");
        let _ = stream.write_all(answer.as_bytes());
        false
    });
    (format!("http://{address}"), heads)
}

fn serve(tree: &Tree, gateways: &str, more: &[(&str, &str)]) -> Service {
    let own = [("STATS_ANNOUNCE", gateways), ("STATS_ANNOUNCE_SECRET", SECRET)];
    tree.serve_with(&[&own, more].concat())
}

/// Method, path and time of a request, after a check of its signature.
fn check(head: &str) -> (String, String, u64) {
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let [input, code] = ["signature-input", "signature"].map(|name| fields(head, name)[0]);
    let keys = Key::parse_all(SECRET).unwrap();
    let created = verify(&keys, method, path, input, code).unwrap();
    assert_eq!(fields(head, "content-length"), ["0"]);
    (method.to_owned(), path.to_owned(), created)
}

#[test]
fn the_service_announces_its_address_repeatedly_and_withdraws_at_the_end() {
    let tree = Tree::new("announce");
    let (one, ones) = gateway(&[200]);
    let (two, twos) = gateway(&[200]);
    let service = serve(&tree, &format!("{one},{two}"), &[]);
    let path = format!("/fleet/{}", service.address);
    let begun = Instant::now();
    let first = check(&ones.recv_timeout(BOUND).unwrap());
    assert_eq!((&*first.0, &*first.1), ("PUT", &*path));
    assert_eq!(check(&twos.recv_timeout(BOUND).unwrap()).1, path);
    // Ten seconds, and what a busy machine adds.
    let second = check(&ones.recv_timeout(2 * BOUND).unwrap());
    assert!(begun.elapsed() < 2 * BOUND, "{:?}", begun.elapsed());
    assert!(second.2 > first.2);
    let metrics = service.get("/metrics");
    let line = "stats_announcements_total{result=\"failed\"} 0\n";
    assert!(metrics.text().contains(line), "{}", metrics.text());
    for path in ["/metrics", "/stats", "/openapi.json"] {
        assert!(!service.get(path).text().contains(SECRET), "{path}");
    }
    let ended = service.stop();
    assert_eq!(ended.code, Some(0));
    assert!(!ended.log.contains(SECRET) && ended.log.contains("announced to the gateway"));
    let mut last = check(&ones.recv_timeout(BOUND).unwrap());
    if last.0 == "PUT" {
        last = check(&ones.recv_timeout(BOUND).unwrap());
    }
    assert_eq!((&*last.0, &*last.1), ("DELETE", &*path));
    assert!(last.2 > second.2);
}

#[test]
fn a_failing_gateway_is_retried_and_logged_at_the_start_and_the_end_of_the_fault() {
    let tree = Tree::new("announce-fails");
    let (address, heads) = gateway(&[401, 503, 200]);
    let mut service = serve(&tree, &address, &[("STATS_ANNOUNCE_ADDRESS", "192.0.2.1")]);
    let path = format!("/fleet/192.0.2.1:{}", service.address.port());
    for _ in 0..3 {
        assert_eq!(check(&heads.recv_timeout(BOUND).unwrap()).1, path);
    }
    let line = service.log_line("the gateway accepts announcements again");
    assert_eq!(line["gateway"], address.as_str());
    let metrics = service.get("/metrics");
    for line in ["{result=\"accepted\"} 1\n", "{result=\"failed\"} 2\n"] {
        assert!(metrics.text().contains(&format!("stats_announcements_total{line}")));
    }
    let ended = service.stop();
    let warnings: Vec<_> = ended.log.lines().filter(|it| it.contains("cannot announce")).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("compare the secrets and the clocks"), "{}", warnings[0]);
}

#[test]
fn a_frozen_or_missing_gateway_delays_neither_samples_nor_the_shutdown() {
    let tree = Tree::new("announce-frozen");
    let frozen = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gateways = format!("http://{},http://no-such-host.invalid", frozen.local_addr().unwrap());
    let service = serve(&tree, &gateways, &[]);
    stats_once(&service, |sample| sample["sequence"].as_u64() >= Some(3));
    let ended = service.stop();
    assert_eq!(ended.code, Some(0));
    assert!(ended.took < Duration::from_secs(4), "{:?}", ended.took);
}

#[test]
fn check_reports_a_missing_setting() {
    let output = run(STATS, &["check"], &[("STATS_ANNOUNCE", "http://gateway:3050")]);
    assert_eq!(output.status.code(), Some(64));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("STATS_ANNOUNCE needs STATS_ANNOUNCE_SECRET"), "{text}");
}
