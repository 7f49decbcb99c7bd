//! For tests only: a service's real binary as a process, on a port of the kernel's choice.
//!
//! Every wait has a bound, and a failed expectation panics, for that is how a test fails.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a failed expectation is the test's failure"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// No wait in a test is longer; a loaded machine with two cores stays well below it.
pub const BOUND: Duration = Duration::from_secs(15);

/// A running service; killed when it is dropped.
pub struct Service {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    log: Receiver<String>,
}

/// How a service ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; none when a signal killed it.
    pub code: Option<i32>,
    /// The time from the signal to the end.
    pub took: Duration,
    /// The log lines that nobody had read yet.
    pub log: Vec<String>,
}

/// An HTTP answer, body and all.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header fields; names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body as it came (an identity body of a closed connection).
    pub body: Vec<u8>,
}

impl Service {
    /// Starts `program` with these variables and nothing else in its environment, and waits until
    /// its log says where it listens. `listen_name` is the setting for the address.
    pub fn start(program: &str, listen_name: &str, variables: &[(&str, &str)]) -> Self {
        let mut child = command(program, &[], variables)
            .env("LOG_FORMAT", "json")
            .env(listen_name, "127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (lines, log) = channel();
        thread::spawn(move || {
            // The test may have ended first; then nobody wants the line.
            stdout.lines().map_while(Result::ok).for_each(|line| drop(lines.send(line)));
        });
        let mut service = Self { child, address: ([0, 0, 0, 0], 0).into(), log };
        let listening = service.log_line("listening");
        service.address = listening["address"].as_str().unwrap().parse().unwrap();
        service
    }

    /// Waits for the log line with this message.
    pub fn log_line(&self, message: &str) -> serde_json::Value {
        let deadline = Instant::now() + BOUND;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.log.recv_timeout(left) {
                Ok(line) => {
                    let line: serde_json::Value =
                        serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
                    if line["message"] == message {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no {message:?} in the log in time"),
                Err(RecvTimeoutError::Disconnected) => panic!("ended without {message:?}"),
            }
        }
    }

    /// A connection to the service.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect_timeout(&self.address, BOUND).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        stream
    }

    /// `GET path` on a connection of its own.
    pub fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"))
    }

    /// Sends these bytes on a connection of their own and reads until the service closes it.
    pub fn send(&self, request: &str) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        Answer::read(stream)
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    /// Sends SIGTERM and waits for the end.
    pub fn stop(mut self) -> Ended {
        let begun = Instant::now();
        self.terminate();
        let code = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status.code();
            }
            assert!(begun.elapsed() < BOUND, "did not end on SIGTERM");
            thread::sleep(Duration::from_millis(5));
        };
        let took = begun.elapsed();
        Ended { code, took, log: self.log.iter().collect() }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answer {
    /// Reads an answer until the other side closes.
    pub fn read(mut stream: impl Read) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("the service closes in time");
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(&bytes)));
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Self { status, headers, body: bytes[end + 4..].to_vec() }
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Runs `program` to its end, with these variables and nothing else in its environment.
pub fn run(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut child = command(program, arguments, variables)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > BOUND {
            child.kill().unwrap();
            panic!("{program} {arguments:?} did not end by itself");
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

fn command(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(variables.iter().copied()).stdin(Stdio::null());
    command
}
