//! Default exposure: tests with hosts and health checks, and with the log lines and metrics of the
//! responses that it generates.

use std::io::{Read, Write};
use std::net::TcpStream;

use testing::{Answer, BOUND, Service};

use crate::{GATEWAY, free_address, metrics};

/// Starts a gateway without upstreams.
fn start(settings: &[(&str, &str)]) -> Service {
    let nowhere = free_address().to_string();
    let own = [
        ("GATEWAY_STATS", &*nowhere),
        ("GATEWAY_FRONTEND", &*nowhere),
        ("GATEWAY_ADMIN_LISTEN", "off"),
    ];
    Service::start(GATEWAY, "GATEWAY_LISTEN", &[&own, settings].concat())
}

fn send_request(gateway: &Service, method: &str, path: &str, host: &str) -> Answer {
    let mut client = gateway
        .begin(&format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
    client.last_answer()
}

#[test]
fn on_loopback_a_foreign_host_is_misdirected_on_every_path() {
    let gateway = start(&[("GATEWAY_HOSTS", "example.org")]);
    let port = gateway.address.port();
    let own = format!("127.0.0.1:{port}");
    for host in ["localhost", "localhost.", &own, "[::1]:1", "EXAMPLE.org:80", "example.org.:80"] {
        assert_eq!(send_request(&gateway, "GET", "/", host).status, 502, "{host}");
    }
    let paths =
        ["/", "/stats", "/stats/stream", "/metrics", "/a//b", "/%2e%2e/x", "/healthz/", "/x"];
    for host in ["evil.test", "localhost.evil.test", "a.example.org", &format!("evil.test:{port}")]
    {
        for path in paths {
            for method in ["GET", "POST", "OPTIONS"] {
                let status = send_request(&gateway, method, path, host).status;
                assert_eq!(status, 421, "{method} {path} {host}");
            }
        }
        assert_eq!(send_request(&gateway, "POST", "/healthz", host).status, 421, "{host}");
    }
}

#[test]
fn a_host_that_a_trusted_proxy_reports_must_be_served_too() {
    let start = |trusts_host| {
        start(&[
            ("GATEWAY_HOSTS", "inner, example.org"),
            ("GATEWAY_TRUSTED_PROXIES", "127.0.0.1"),
            ("GATEWAY_TRUST_HOST", trusts_host),
        ])
    };
    let (trusting, other) = (start("on"), start("off"));
    for (field, status) in [
        ("X-Forwarded-Host: example.org:443", 502),
        ("X-Forwarded-Host: evil.test", 421),
        ("Forwarded: for=192.0.2.1;host=evil.test", 421),
        ("Forwarded: for=192.0.2.1;host=Example.org", 502),
        ("X-Forwarded-For: 192.0.2.1", 502),
    ] {
        let status_of = |gateway: &Service| {
            let mut client = gateway.connect();
            client.send(&format!("GET / HTTP/1.1\r\nHost: inner\r\n{field}\r\n\r\n"));
            client.answer().status
        };
        assert_eq!(status_of(&trusting), status, "{field}");
        assert_eq!(status_of(&other), 502, "{field}");
    }
}

#[test]
fn the_published_address_or_an_asterisk_allows_every_host() {
    for setting in [("GATEWAY_PUBLISHED_ADDRESS", "0.0.0.0"), ("GATEWAY_HOSTS", "*")] {
        let gateway = start(&[setting]);
        assert_eq!(send_request(&gateway, "GET", "/", "any.test").status, 502, "{setting:?}");
    }
}

#[test]
fn health_checks_return_the_status_to_all_hosts_and_details_only_to_accepted_ones() {
    let bare = |answer: &Answer| answer.text() == "{\"status\":\"ok\"}\n";
    let gateway = start(&[]);
    let own = send_request(&gateway, "GET", "/healthz", "localhost");
    assert!(own.status == 200 && own.json()["version"].is_string() && !bare(&own));
    let foreign = send_request(&gateway, "GET", "/healthz", "evil.test");
    assert!(foreign.status == 200 && bare(&foreign), "{}", foreign.text());
    let own = send_request(&gateway, "GET", "/readyz", "localhost");
    let foreign = send_request(&gateway, "GET", "/readyz", "evil.test");
    // The upstreams have no requests yet, or a check has failed.
    assert_eq!(own.status, foreign.status);
    assert!(!foreign.text().contains("route"), "{}", foreign.text());

    let denied = start(&[("GATEWAY_DENY", "127.0.0.0/8")]);
    let answer = send_request(&denied, "GET", "/healthz", "localhost");
    assert!(answer.status == 200 && bare(&answer), "{}", answer.text());

    let limited = start(&[("GATEWAY_CLIENT_RATE", "1 burst 1")]);
    let answers: Vec<_> =
        (0..3).map(|_| send_request(&limited, "GET", "/healthz", "localhost")).collect();
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert!(answers.iter().any(bare), "over its rate a client is told the details");
}

#[test]
fn generated_responses_are_logged_and_counted_with_status_and_size() {
    let admin = free_address();
    let gateway = start(&[("GATEWAY_ADMIN_LISTEN", &admin.to_string())]);
    let expected = [
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz", 200),
        ("POST", "/healthz", 405),
        ("GET", "/a//b", 400),
        ("GET", "/x", 502),
        ("HEAD", "/x", 502),
        ("TRACE", "/x", 405),
    ];
    let sizes: Vec<_> = expected
        .iter()
        .map(|(method, path, status)| {
            let answer = send_request(&gateway, method, path, "localhost");
            assert_eq!(answer.status, *status, "{method} {path}");
            answer.body.len()
        })
        .collect();
    let metrics = metrics(admin);
    let own = |code| format!("gateway_requests_total{{route=\"gateway\",code=\"{code}\"}}");
    for (line, count) in [
        (own("none"), 0),
        (own("2xx"), 2),
        (own("4xx"), 3),
        ("gateway_requests_total{route=\"/\",code=\"5xx\"}".to_owned(), 2),
        (
            "gateway_sent_bytes_total{route=\"gateway\"}".to_owned(),
            sizes[0] + sizes[1] + sizes[2] + sizes[3] + sizes[6],
        ),
        ("gateway_sent_bytes_total{route=\"/\"}".to_owned(), sizes[4] + sizes[5]),
    ] {
        assert!(metrics.contains(&format!("{line} {count}\n")), "{line} {count}: {metrics}");
    }
    let log = gateway.stop().log;
    let logged: Vec<(u64, u64)> = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["message"] == "request")
        .map(|line| (line["status"].as_u64().unwrap(), line["sent_bytes"].as_u64().unwrap()))
        .collect();
    // Successful health checks are not logged.
    let expected: Vec<_> = expected
        .iter()
        .zip(sizes)
        .skip(2)
        .map(|((_, _, status), size)| (u64::from(*status), size as u64))
        .collect();
    assert_eq!(logged, expected, "{log}");
}

#[test]
fn a_failed_health_check_is_logged() {
    let gateway = start(&[("GATEWAY_STATS", "no-such-name.invalid:80")]);
    assert_eq!(send_request(&gateway, "GET", "/readyz", "localhost").status, 503);
    let log = gateway.stop().log;
    assert!(log.contains("\"path\":\"/readyz\",\"status\":503"), "{log}");
}

#[test]
fn the_admin_port_serves_accepted_hosts_despite_silent_connections() {
    let admin = free_address();
    let gateway = start(&[("GATEWAY_ADMIN_LISTEN", &admin.to_string())]);
    // The admin port is open as soon as the main port responds.
    assert_eq!(send_request(&gateway, "GET", "/healthz", "localhost").status, 200);
    // More than the connection limit.
    let silent: Vec<_> = (0..100).map(|_| TcpStream::connect(admin).unwrap()).collect();
    let read = |line: &str, host: &str| {
        let mut stream = TcpStream::connect(admin).unwrap();
        stream.set_read_timeout(Some(BOUND / 2)).unwrap();
        let request = format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.len())
    };
    for (line, host, expected) in [
        ("GET /metrics", "localhost", 200),
        ("GET /metrics?collect=all", "127.0.0.1:9350", 200),
        ("GET /healthz", "[::1]", 200),
        ("GET /metrics", "evil.test", 421),
        ("GET /healthz", "evil.test", 421),
        ("DELETE /metrics", "localhost", 405),
        ("GET /metricsx", "localhost", 404),
    ] {
        let (status, length): (u16, usize) = read(line, host);
        assert_eq!(status, expected, "{line} {host}");
        assert!(length > 0, "{line} {host}");
    }
    let head: (u16, usize) = read("HEAD /metrics", "localhost");
    assert_eq!(head, (200, 0));
    drop(silent);
}
