//! Open-loop load generator: requests at a fixed rate, independent of the responses.
//!
//! `open_loop ADDRESS PATH CONNECTIONS RATE SECONDS [FIELD]` sends RATE requests a second over kept
//! connections and prints one JSON object. A time runs from the moment at which a request was due
//! until its answer is complete. When the server is slow, requests wait here for a free connection,
//! and their waiting counts: a client that waits for responses before its next request would omit
//! just the requests that would have been the slow ones ("coordinated omission").

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use memchr::memmem;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};

/// Requests of the first second are answered and not counted.
const WARM_UP: Duration = Duration::from_secs(1);

/// Time for requests in flight at the end.
const AFTERWARDS: Duration = Duration::from_secs(5);

const CONNECT_BOUND: Duration = Duration::from_secs(10);
const EVENTS_AT_ONCE: usize = 256;
const READ_BYTES: usize = 256 * 1024;

type Fault = Box<dyn std::error::Error>;

struct OpenLoop {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    /// Indexes in `connections` without a request in flight.
    free: Vec<usize>,
    /// Due times of requests that wait for a free connection.
    waiting: VecDeque<Instant>,
    waiting_most: usize,
    request: Vec<u8>,
    buffer: Vec<u8>,
    counted_from: Instant,
    /// Microseconds.
    times: Vec<u32>,
    sent: u64,
    failed: u64,
    /// Connections closed by the server.
    lost: usize,
}

struct Connection {
    stream: TcpStream,
    due: Instant,
    /// The received part of a response head.
    head: Vec<u8>,
    /// The missing bytes of its body, once the head is complete.
    left: Option<usize>,
}

fn main() -> ExitCode {
    match run() {
        Ok(report) => {
            let _ = writeln!(io::stdout(), "{report}");
            ExitCode::SUCCESS
        }
        Err(fault) => {
            let _ = writeln!(io::stderr(), "open_loop: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<serde_json::Value, Fault> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ([address, path, connections, rate, seconds]
    | [address, path, connections, rate, seconds, _]) = arguments.as_slice()
    else {
        return Err("usage: open_loop ADDRESS PATH CONNECTIONS RATE SECONDS [FIELD]".into());
    };
    let field = arguments.get(5).map(|field| format!("{field}\r\n")).unwrap_or_default();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{field}\r\n").into_bytes();
    let rate: f64 = rate.parse()?;
    let seconds = Duration::from_secs_f64(seconds.parse()?);
    // A wake-up that is 50 us late, as the kernel allows itself, would be counted as the server's.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
    let mut generator = OpenLoop::new(address.parse()?, connections.parse()?, request)?;
    generator.keep(rate, seconds)?;
    Ok(generator.report(rate, seconds))
}

impl OpenLoop {
    fn new(address: SocketAddr, connections: usize, request: Vec<u8>) -> Result<Self, Fault> {
        let now = Instant::now();
        let mut generator = Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: Vec::with_capacity(connections),
            free: Vec::with_capacity(connections),
            waiting: VecDeque::new(),
            waiting_most: 0,
            request,
            buffer: vec![0; READ_BYTES],
            counted_from: now,
            times: Vec::new(),
            sent: 0,
            failed: 0,
            lost: 0,
        };
        for place in 0..connections {
            let stream = generator.connected(address, place)?;
            generator.connections.push(Connection {
                stream,
                due: now,
                head: Vec::new(),
                left: None,
            });
            generator.free.push(place);
        }
        Ok(generator)
    }

    fn connected(&self, address: SocketAddr, place: usize) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_BOUND)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(place as u64);
        epoll::add(&self.epoll, stream.as_fd(), data, epoll::EventFlags::IN)?;
        Ok(stream)
    }

    fn keep(&mut self, rate: f64, seconds: Duration) -> Result<(), Fault> {
        let begun = Instant::now();
        self.counted_from = begun + WARM_UP;
        let end = self.counted_from + seconds;
        let bound = end + AFTERWARDS;
        let mut next: u32 = 0;
        loop {
            let due = begun + Duration::from_secs_f64(f64::from(next) / rate);
            let now = Instant::now();
            if due < end && due <= now {
                self.waiting.push_back(due);
                self.waiting_most = self.waiting_most.max(self.waiting.len());
                next += 1;
                self.send_waiting()?;
                continue;
            }
            let whole = self.connections.len() - self.lost;
            let all_answered = self.waiting.is_empty() && self.free.len() == whole;
            if due >= end && (all_answered || now >= bound) {
                return Ok(());
            }
            if self.lost == self.connections.len() {
                return Err("every connection was lost".into());
            }
            let until = if due < end { due } else { bound };
            self.take_answers(until.saturating_duration_since(now))?;
        }
    }

    fn send_waiting(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty()
            && let Some(place) = self.free.pop()
            && let Some(due) = self.waiting.pop_front()
        {
            let connection = &mut self.connections[place];
            connection.due = due;
            // A request fits into the empty buffer of a connection without one under way.
            connection.stream.write_all(&self.request)?;
            self.sent += u64::from(due >= self.counted_from);
        }
        Ok(())
    }

    fn take_answers(&mut self, bound: Duration) -> Result<(), Fault> {
        // ppoll takes nanoseconds where epoll_wait takes milliseconds.
        let bound = Timespec::try_from(bound)?;
        poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], Some(&bound))?;
        let mut events = Vec::with_capacity(EVENTS_AT_ONCE);
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&none))?;
        for event in events {
            self.read(usize::try_from(event.data.u64())?)?;
        }
        Ok(())
    }

    fn read(&mut self, place: usize) -> io::Result<()> {
        let connection = &mut self.connections[place];
        loop {
            let count = match connection.stream.read(&mut self.buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Ok(0) | Err(_) => {
                    self.lost += 1;
                    self.free.retain(|&free| free != place);
                    return epoll::delete(&self.epoll, connection.stream.as_fd())
                        .map_err(Into::into);
                }
                Ok(count) => count,
            };
            match connection.take(&self.buffer[..count]) {
                Some(true) => {}
                Some(false) => self.failed += u64::from(connection.due >= self.counted_from),
                None => continue,
            }
            if connection.due >= self.counted_from {
                let time = connection.due.elapsed().as_micros();
                self.times.push(u32::try_from(time).unwrap_or(u32::MAX));
            }
            self.free.push(place);
            return self.send_waiting();
        }
    }

    fn report(&mut self, rate: f64, seconds: Duration) -> serde_json::Value {
        self.times.sort_unstable();
        // The time that so many thousandths of the answers do not exceed.
        let at = |thousandths: usize| {
            let place = (self.times.len() * thousandths).div_ceil(1000);
            self.times.get(place.saturating_sub(1)).map(|&time| f64::from(time) / 1000.0)
        };
        let unanswered =
            self.sent.saturating_sub(self.times.len() as u64) + self.waiting.len() as u64;
        serde_json::json!({
            "rate": rate,
            "answered_per_second": self.times.len() as f64 / seconds.as_secs_f64(),
            "failed": self.failed,
            "lost_connections": self.lost,
            "unanswered": unanswered,
            "waiting_most": self.waiting_most,
            "p50_ms": at(500),
            "p90_ms": at(900),
            "p99_ms": at(990),
            "p999_ms": at(999),
            "max_ms": at(1000),
        })
    }
}

impl Connection {
    /// Takes received bytes. Returns nothing while the response is incomplete, then its success.
    fn take(&mut self, bytes: &[u8]) -> Option<bool> {
        let mut body = bytes.len();
        if self.left.is_none() {
            let before = self.head.len();
            self.head.extend_from_slice(bytes);
            let end = memmem::find(&self.head, b"\r\n\r\n")? + 4;
            self.head.make_ascii_lowercase();
            self.left = Some(content_length(&self.head[..end]));
            body = before + bytes.len() - end;
        }
        let left = self.left?.saturating_sub(body);
        self.left = Some(left);
        if left > 0 {
            return None;
        }
        let good = self.head.starts_with(b"http/1.1 2") || self.head.starts_with(b"http/1.1 304");
        self.head.clear();
        self.left = None;
        Some(good)
    }
}

/// The content length of a lower-case head; a response without one has no body here.
fn content_length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"\r\ncontent-length:";
    let Some(place) = memmem::find(head, NAME) else { return 0 };
    let digits = head[place + NAME.len()..].trim_ascii_start();
    let digits = &digits[..digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(0)];
    std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    use super::{Connection, content_length};

    fn connection() -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Connection { stream, due: Instant::now(), head: Vec::new(), left: None }
    }

    #[test]
    fn an_answer_is_whole_when_its_body_is_however_it_comes() {
        let mut connection = connection();
        for answer in [&b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"[..]; 2] {
            for (at, byte) in answer.iter().enumerate() {
                let whole = connection.take(std::slice::from_ref(byte));
                assert_eq!(whole, (at + 1 == answer.len()).then_some(true));
            }
        }
    }

    #[test]
    fn an_error_response_is_complete_and_not_successful() {
        let refusal = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(connection().take(refusal), Some(false));
    }

    #[test]
    fn a_length_is_read_wherever_it_stands() {
        assert_eq!(content_length(b"http/1.1 200 ok\r\ncontent-length: 12\r\n\r\n"), 12);
        assert_eq!(
            content_length(b"http/1.1 200 ok\r\na: b\r\ncontent-length:7\r\nc: d\r\n\r\n"),
            7
        );
    }

    #[test]
    fn a_head_without_a_length_has_no_body() {
        assert_eq!(content_length(b"http/1.1 304 not modified\r\n\r\n"), 0);
    }
}
