//! The binary as a process, on a port that the kernel chooses.

use testing::{Service, run};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hello");

fn start(variables: &[(&str, &str)]) -> Service {
    Service::start(PROGRAM, "HELLO_LISTEN", variables)
}

#[test]
fn the_route_returns_the_greeting_as_json() {
    let service = start(&[("HELLO_GREETING", "a \"quoted\" text")]);
    let answer = service.get("/hello");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("content-type"), Some("application/json"));
    assert_eq!(answer.json()["greeting"], "a \"quoted\" text");
}

#[test]
fn head_is_get_without_a_body() {
    let service = start(&[]);
    let length = service.get("/hello").body.len().to_string();
    let answer = service.ask("HEAD", "/hello", &[]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("content-length"), Some(&*length));
    assert!(answer.body.is_empty());
}

#[test]
fn it_is_healthy_and_ready() {
    let service = start(&[]);
    let health = service.get("/healthz");
    assert_eq!(health.status, 200);
    assert_eq!(health.json()["status"], "ok");
    assert_eq!(service.get("/readyz").status, 200);
}

#[test]
fn every_invalid_setting_is_reported_with_exit_code_64() {
    let long = "x".repeat(201);
    let listen = ("HELLO_LISTEN", "here");
    let greeting = ("HELLO_GREETING", long.as_str());
    let unknown = ("HELLO_UNKNOWN", "1");
    let output = run(PROGRAM, &["check"], &[listen, greeting, unknown]);
    assert_eq!(output.status.code(), Some(64));
    let faults = String::from_utf8_lossy(&output.stderr);
    for (name, _) in [listen, greeting, unknown] {
        assert!(faults.contains(name), "{faults}");
    }
}

#[test]
fn it_stops_on_sigterm() {
    let service = start(&[]);
    assert_eq!(service.get("/readyz").status, 200);
    assert_eq!(service.stop().code, Some(0));
}
