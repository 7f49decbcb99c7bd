//! Event stream load generator: many viewers on one thread, and the delay of each event.
//!
//! `streams ADDRESS PATH VIEWERS SECONDS PID` opens the streams, watches them, and prints one JSON
//! object. Delays are against `time_unix_ms` of the samples, so both sides must share a clock; PID
//! is the server, whose memory and processor time are read from /proc.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use memchr::memmem::Finder;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// The text before the time in a sample.
const MARK: &[u8] = br#""time_unix_ms":"#;

/// The mark and 20 digits: the most bytes of one read that the next one needs.
const TAIL_BYTES: usize = MARK.len() + 20;

/// Connections that are being opened at once: fewer than a listener's backlog.
const OPENING: usize = 256;

/// Time to open all of them.
const OPENING_BOUND: Duration = Duration::from_mins(1);

/// Between the last connection and the first sample that counts.
const SETTLING: Duration = Duration::from_secs(3);

/// How long after the last sample that counts its delivery is waited for.
const AFTERWARDS: Duration = Duration::from_secs(2);

const EVENTS_AT_ONCE: usize = 4096;
const READ_BYTES: usize = 256 * 1024;

type Fault = Box<dyn std::error::Error>;

struct Crowd {
    poll: Poll,
    viewers: Vec<Viewer>,
    request: String,
    /// Connections whose first bytes have come.
    open: usize,
    lost: usize,
    bytes: u64,
    buffer: Vec<u8>,
    mark: Finder<'static>,
    /// Samples from this time on, until the other.
    counted_ms: std::ops::Range<u64>,
    ticks: BTreeSet<u64>,
    /// How often each delay in milliseconds was seen; the last also holds all that are longer.
    delays: Vec<u64>,
}

struct Viewer {
    stream: TcpStream,
    asked: bool,
    open: bool,
    newest_ms: u64,
    /// The end of the last read, in which a time may have begun.
    tail: [u8; TAIL_BYTES],
    tail_length: u8,
}

/// A measurement of the server.
struct Usage {
    resident_bytes: u64,
    processor: Duration,
}

fn main() -> ExitCode {
    match run() {
        Ok(report) => {
            let _ = writeln!(io::stdout(), "{report}");
            ExitCode::SUCCESS
        }
        Err(fault) => {
            let _ = writeln!(io::stderr(), "streams: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<serde_json::Value, Fault> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, viewers, seconds, pid] = arguments.as_slice() else {
        return Err("usage: streams ADDRESS PATH VIEWERS SECONDS PID".into());
    };
    let address: SocketAddr = address.parse()?;
    let viewers: usize = viewers.parse()?;
    let seconds = Duration::from_secs(seconds.parse()?);
    let pid: u32 = pid.parse()?;

    let before = Usage::of(pid)?;
    let mut crowd = Crowd::new(path, viewers)?;
    crowd.open_all(address, viewers)?;
    crowd.watch_for(SETTLING)?;
    let started = Usage::of(pid)?;
    let from = now_ms();
    crowd.counted_ms = from..from + u64::try_from(seconds.as_millis())?;
    let bytes_before = crowd.bytes;
    crowd.watch_for(seconds)?;
    let ended = Usage::of(pid)?;
    let bytes = crowd.bytes - bytes_before;
    crowd.watch_for(AFTERWARDS)?;

    let deliveries: u64 = crowd.delays.iter().sum();
    let expected = crowd.ticks.len() as u64 * viewers as u64;
    Ok(serde_json::json!({
        "viewers": viewers,
        "lost": crowd.lost,
        "ticks": crowd.ticks.len(),
        "deliveries": deliveries,
        "missed": expected.saturating_sub(deliveries),
        "delay_ms": {
            "p50": crowd.delay_at(deliveries, 500),
            "p90": crowd.delay_at(deliveries, 900),
            "p99": crowd.delay_at(deliveries, 990),
            "p999": crowd.delay_at(deliveries, 999),
            "max": crowd.delay_at(deliveries, 1000),
        },
        "sampler_jitter_ms_max": crowd.jitter_ms_max(),
        "bytes_per_viewer_and_tick": bytes.checked_div(expected).unwrap_or(0),
        "memory_bytes_before": before.resident_bytes,
        "memory_bytes_per_viewer": ended
            .resident_bytes
            .saturating_sub(before.resident_bytes)
            .checked_div(viewers as u64),
        "processor_ms_per_second": ended.processor.saturating_sub(started.processor).as_secs_f64()
            * 1000.0
            / seconds.as_secs_f64(),
    }))
}

impl Crowd {
    fn new(path: &str, viewers: usize) -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            viewers: Vec::with_capacity(viewers),
            request: format!(
                "GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n"
            ),
            open: 0,
            lost: 0,
            bytes: 0,
            buffer: vec![0; TAIL_BYTES + READ_BYTES],
            mark: Finder::new(MARK),
            counted_ms: 0..0,
            ticks: BTreeSet::new(),
            delays: vec![0; 10_001],
        })
    }

    fn open_all(&mut self, address: SocketAddr, viewers: usize) -> Result<(), Fault> {
        let deadline = Instant::now() + OPENING_BOUND;
        while self.open < viewers {
            while self.viewers.len() < viewers && self.viewers.len() < self.open + OPENING {
                self.viewers.push(Viewer::connect(address, &self.poll, self.viewers.len())?);
            }
            self.turn(Duration::from_millis(100))?;
            if Instant::now() > deadline || self.lost > 0 {
                let (open, lost) = (self.open, self.lost);
                return Err(format!("{open} of {viewers} streams opened, {lost} lost").into());
            }
        }
        Ok(())
    }

    fn watch_for(&mut self, time: Duration) -> io::Result<()> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.turn(left)?;
        }
    }

    fn turn(&mut self, bound: Duration) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_AT_ONCE);
        match self.poll.poll(&mut events, Some(bound)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            let Token(index) = event.token();
            if event.is_writable() && !self.viewers[index].asked {
                self.viewers[index].asked = true;
                // A request fits into an empty buffer; a refused connection shows when it is read.
                let _ = self.viewers[index].stream.write_all(self.request.as_bytes());
            }
            if event.is_readable() {
                self.read(index);
            }
        }
        Ok(())
    }

    fn read(&mut self, index: usize) {
        let viewer = &mut self.viewers[index];
        loop {
            let kept = usize::from(viewer.tail_length);
            self.buffer[..kept].copy_from_slice(&viewer.tail[..kept]);
            let count = match viewer.stream.read(&mut self.buffer[kept..]) {
                Ok(0) => {
                    self.lost += 1;
                    return;
                }
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.lost += 1;
                    return;
                }
            };
            self.bytes += count as u64;
            self.open += usize::from(!std::mem::replace(&mut viewer.open, true));
            let read = &self.buffer[..kept + count];
            let now = now_ms();
            for place in self.mark.find_iter(read) {
                let Some(time) = number_at(read, place + MARK.len()) else { continue };
                if time <= viewer.newest_ms {
                    continue;
                }
                viewer.newest_ms = time;
                if self.counted_ms.contains(&time) {
                    self.ticks.insert(time);
                    let delay = usize::try_from(now.saturating_sub(time)).unwrap_or(usize::MAX);
                    self.delays[delay.min(10_000)] += 1;
                }
            }
            let tail = &read[read.len().saturating_sub(TAIL_BYTES)..];
            viewer.tail[..tail.len()].copy_from_slice(tail);
            viewer.tail_length = u8::try_from(tail.len()).unwrap_or(0);
            // The kernel reports bytes that arrive after a read that did not fill the buffer.
            if read.len() < self.buffer.len() {
                return;
            }
        }
    }

    /// The delay that so many thousandths of the deliveries do not exceed.
    fn delay_at(&self, deliveries: u64, thousandths: u64) -> Option<usize> {
        let mut left = (deliveries * thousandths).div_ceil(1000).max(1);
        self.delays.iter().position(|&count| {
            let reached = count >= left;
            left = left.saturating_sub(count);
            reached
        })
    }

    /// How far the time between two samples was from a second at most.
    fn jitter_ms_max(&self) -> Option<u64> {
        let next = self.ticks.iter().skip(1);
        self.ticks.iter().zip(next).map(|(one, other)| (other - one).abs_diff(1000)).max()
    }
}

impl Viewer {
    fn connect(address: SocketAddr, poll: &Poll, index: usize) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(index), interest)?;
        Ok(Self {
            stream,
            asked: false,
            open: false,
            newest_ms: 0,
            tail: [0; TAIL_BYTES],
            tail_length: 0,
        })
    }
}

impl Usage {
    fn of(pid: u32) -> Result<Self, Fault> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|text| text.trim().strip_suffix(" kB"));
        // In nanoseconds (sched-stats of the kernel's documentation), where stat counts ticks of 10 ms.
        let mut nanoseconds = 0;
        for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let times = std::fs::read_to_string(thread?.path().join("schedstat"))?;
            nanoseconds += times.split_whitespace().next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(Self {
            resident_bytes: resident.ok_or("no VmRSS")?.trim().parse::<u64>()? * 1024,
            processor: Duration::from_nanos(nanoseconds),
        })
    }
}

/// The number that begins here; none when its end has not come yet.
fn number_at(bytes: &[u8], start: usize) -> Option<u64> {
    let digits = bytes[start..].iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&bytes[start..start + digits]).ok()?.parse().ok()
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
