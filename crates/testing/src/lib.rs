//! Test support: runs the real binary of a service as a process, on a port chosen by the kernel.
//!
//! Every wait has a limit, and a failed expectation panics, which fails the test.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a failed expectation is the test's failure"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Maximum wait in a test. A loaded machine with two cores stays well below it.
pub const BOUND: Duration = Duration::from_secs(10);

/// A running service, which is killed on drop.
pub struct Service {
    child: Child,
    /// The listening address.
    pub address: SocketAddr,
    lines: Receiver<String>,
    /// The received log lines.
    log: Vec<String>,
    /// Time at which SIGTERM was sent.
    terminated: Option<Instant>,
}

/// Result of a service that ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` if a signal killed the process.
    pub code: Option<i32>,
    /// The time from the signal to the end.
    pub took: Duration,
    /// The complete log.
    pub log: String,
}

/// A connection to a service. It stays open for several requests in sequence.
pub struct Connection {
    /// The receiving side.
    pub reader: BufReader<TcpStream>,
}

/// An HTTP response with its body.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The status line and the header fields, to the empty line that ends them.
    pub head: String,
    /// The body as received, with its content encoding.
    pub body: Vec<u8>,
}

impl Service {
    /// Starts `program` with only these variables in its environment, and waits until its log
    /// contains the listening address. `listen_name` is the setting for the address. Of two
    /// variables with the same name, the later applies.
    pub fn start(program: &str, listen_name: &str, variables: &[(&str, &str)]) -> Self {
        let defaults = [("LOG_FORMAT", "json"), (listen_name, "127.0.0.1:0")];
        let variables = [&defaults[..], variables].concat();
        let mut child = command(program, &[], &variables).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        // It reads to the end, so that the service never blocks on the pipe.
        thread::spawn(move || {
            // An error means that the test has ended, so the line is not needed.
            stdout.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        let address = ([0, 0, 0, 0], 0).into();
        let mut service = Self { child, address, lines, log: Vec::new(), terminated: None };
        let listening = service.log_line("listening");
        service.address = listening["address"].as_str().unwrap().parse().unwrap();
        service
    }

    /// The first log line with this message. Waits for one if the log does not contain it yet.
    pub fn log_line(&mut self, message: &str) -> serde_json::Value {
        let deadline = Instant::now() + BOUND;
        let mut index = 0;
        loop {
            if index == self.log.len() {
                let left = deadline.saturating_duration_since(Instant::now());
                let next = self.lines.recv_timeout(left);
                let line = next.unwrap_or_else(|why| panic!("no {message:?} in the log: {why:?}"));
                self.log.push(line);
            }
            let line = &self.log[index];
            let line: serde_json::Value =
                serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
            if line["message"] == message {
                return line;
            }
            index += 1;
        }
    }

    /// Sends this signal, such as `HUP`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success(), "no signal {name}");
    }

    /// Resident memory of the service, kilobytes.
    pub fn memory_kb(&self) -> u64 {
        self.status("VmRSS:").trim_end_matches(" kB").parse().unwrap()
    }

    /// The value of this line in the status of the process (`proc_pid_status(5)`).
    pub fn status(&self, name: &str) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(name));
        value.unwrap().trim().to_owned()
    }

    /// Connects to the service.
    pub fn connect(&self) -> Connection {
        let stream = TcpStream::connect_timeout(&self.address, BOUND).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        Connection { reader: BufReader::new(stream) }
    }

    /// Connects to the service and sends this.
    pub fn begin(&self, request: &str) -> Connection {
        let mut connection = self.connect();
        connection.send(request);
        connection
    }

    /// Sends `GET path` on a separate connection.
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[])
    }

    /// Sends a request with these fields on a separate connection, as its last one.
    pub fn ask(&self, method: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let fields: String =
            fields.iter().flat_map(|(name, value)| [*name, ": ", *value, "\r\n"]).collect();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{fields}connection: close\r\n\r\n"
        );
        self.begin(&request).last_answer()
    }

    /// Status of `GET /healthz` with this `Host`.
    pub fn status_for(&self, host: &str) -> u16 {
        self.begin(&format!("GET /healthz HTTP/1.1\r\nhost: {host}\r\n\r\n")).answer().status
    }

    /// Sends `GET path` and returns the lines of the response as they arrive: header section,
    /// chunks and chunk sizes.
    pub fn stream(&self, path: &str) -> impl Iterator<Item = String> + use<> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        self.begin(&request).reader.lines().map(|line| line.expect("the stream goes on in time"))
    }

    /// Sends SIGTERM.
    pub fn terminate(&mut self) {
        self.terminated = Some(Instant::now());
        self.signal("TERM");
    }

    /// Waits for the end, after [`Self::terminate`].
    pub fn end(mut self) -> Ended {
        let terminated = self.terminated.expect("it received SIGTERM");
        let code = wait(&mut self.child).expect("it ends on SIGTERM").code();
        self.log.extend(self.lines.iter());
        Ended { code, took: terminated.elapsed(), log: self.log.join("\n") }
    }

    /// Sends SIGTERM and waits for the end.
    pub fn stop(mut self) -> Ended {
        self.terminate();
        self.end()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Connection {
    /// Sends these bytes.
    pub fn send(&mut self, request: &str) {
        // A service that rejected the request may have closed the connection; its response can
        // still be read.
        let _ = self.reader.get_mut().write_all(request.as_bytes());
    }

    /// Reads the next response with a body of the announced length, or less if the service closes
    /// the connection earlier.
    pub fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        let length = answer.field("content-length").map_or(0, |length| length.parse().unwrap());
        self.reader.by_ref().take(length).read_to_end(&mut answer.body).unwrap();
        answer
    }

    /// Reads the next response until the service closes the connection. Bytes beyond the announced
    /// length are part of the body.
    pub fn last_answer(&mut self) -> Answer {
        let mut answer = self.head();
        let rest = self.reader.read_to_end(&mut answer.body);
        rest.expect("the service closes in time");
        answer
    }

    /// Reads until the received bytes end with this.
    pub fn read_until(&mut self, end: &str) {
        let begun = Instant::now();
        let mut bytes = Vec::new();
        while !bytes.ends_with(end.as_bytes()) {
            assert!(begun.elapsed() < BOUND, "no {end:?} in time");
            let mut byte = [0];
            self.reader.read_exact(&mut byte).unwrap();
            bytes.extend(byte);
        }
    }

    /// Whether the service closes the connection and sends nothing more.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.reader.read(&mut [0]), Ok(0))
    }

    /// Reads the next response without its body.
    pub fn head(&mut self) -> Answer {
        let head = read_head(&mut self.reader).expect("an answer");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: Vec::new() }
    }
}

impl Answer {
    /// The first value of this header field.
    pub fn field(&self, name: &str) -> Option<&str> {
        fields(&self.head, name).first().copied()
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

/// Reads the header section of a request or response, including the empty line that ends it.
/// Returns `None` if the peer closes the connection earlier.
pub fn read_head(reader: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        match reader.read_line(&mut head) {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    }
    Some(head)
}

/// Reads a request with a body of the announced length. Returns `None` if the peer closes the
/// connection earlier.
pub fn read_request(reader: &mut impl BufRead) -> Option<String> {
    let mut request = read_head(reader)?;
    let length = fields(&request, "content-length").first().map_or(0, |text| text.parse().unwrap());
    reader.take(length).read_to_string(&mut request).ok()?;
    Some(request)
}

/// The values of this header field in a message.
pub fn fields<'a>(message: &'a str, name: &str) -> Vec<&'a str> {
    let lines = message.lines().skip(1).take_while(|line| !line.is_empty());
    lines
        .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("not a field: {line}")))
        .filter(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}

/// Starts a fake server that handles each connection on a separate thread until the tests end, and
/// returns its address.
pub fn accept(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, serve) = (stream.unwrap(), serve.clone());
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Starts a fake HTTP server and returns its address. `answer` gets each request with its body, and
/// returns whether the connection persists.
pub fn serve(answer: impl Fn(&str, &mut TcpStream) -> bool + Send + Sync + 'static) -> SocketAddr {
    accept(move |stream| {
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader) {
            if !answer(&request, reader.get_mut()) {
                break;
            }
        }
    })
}

/// Writes a response with the status 200, these lines of fields, and this body. Returns whether it
/// was sent.
pub fn respond(stream: &mut impl Write, fields: &str, body: &str) -> bool {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n");
    stream.write_all((head + body).as_bytes()).is_ok()
}

/// Waits until a condition holds.
///
/// # Panics
/// The condition does not hold within three times [`BOUND`]: a busy machine takes its time.
pub fn eventually(what: impl Fn() -> bool) {
    let deadline = Instant::now() + 3 * BOUND;
    while !what() {
        assert!(Instant::now() < deadline, "not within three times {BOUND:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Runs `program` to its end with only these variables in its environment.
pub fn run(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut child = command(program, arguments, variables)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    if wait(&mut child).is_none() {
        child.kill().unwrap();
        panic!("{program} {arguments:?} did not end by itself");
    }
    child.wait_with_output().unwrap()
}

/// The exit status of the process, or `None` if it does not end in time.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let begun = Instant::now();
    while begun.elapsed() < BOUND {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(5));
    }
    None
}

fn command(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(variables.iter().copied()).stdin(Stdio::null());
    command
}
