//! The connection to one member: one event stream of summaries.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use memchr::memchr2;
use tokio::time::{Instant, sleep_until};

use super::hub::Fleet;
use super::merge::{BLOCK_BYTES, End, Event, Kind};
use crate::upstream::client::open_stream;
use crate::upstream::{Failure, UpstreamTls};

/// Time to connect: members are on the same network, where it takes milliseconds.
const CONNECT_TIME: Duration = Duration::from_secs(1);

/// Time for the head of the response; stats sends it at once.
const HEAD_TIME: Duration = Duration::from_secs(3);

/// Blocks and bytes that are read of a member within [`WINDOW`]. It sends one block a second, and
/// a minute in front of them; the rest waits in the kernel.
const MOST_BLOCKS: u32 = 16;
const MOST_BYTES: usize = 64 * 1024;
const WINDOW: Duration = Duration::from_secs(1);

/// The field that names a member's instance.
const INSTANCE: &str = "stats-instance";

/// Characters of an instance.
const INSTANCE_CHARS: usize = 64;

/// Follows a member until its stream ends, or the attempt is of no use any more.
pub(super) async fn follow(
    fleet: Arc<Fleet>,
    address: SocketAddr,
    tls: Option<UpstreamTls>,
    attempt: u64,
) {
    let report = |event| fleet.event(address, attempt, event);
    let end = read(address, tls.as_ref(), &report).await;
    report(Event::Ended(end));
}

async fn read(
    address: SocketAddr,
    tls: Option<&UpstreamTls>,
    report: &impl Fn(Event) -> bool,
) -> End {
    let host = tls.map_or_else(|| address.to_string(), |tls| tls.host().to_owned());
    // Nothing of a viewer's request is in it.
    let request = format!(
        "GET /stats/stream?view=summary HTTP/1.1\r\nhost: {host}\r\n\
         accept: text/event-stream\r\nuser-agent: gateway-fleet\r\nconnection: close\r\n\r\n"
    );
    let opened = open_stream(address, tls, request.as_bytes(), CONNECT_TIME, HEAD_TIME).await;
    let mut response = match opened {
        Ok(response) => response,
        Err(Failure::Timeout) => return End::NoResponse,
        _ => return End::Unreachable,
    };
    let instance = response.fields.get(INSTANCE).and_then(|value| value.to_str().ok());
    let instance = instance.filter(|text| is_instance(text)).map(Box::from);
    if !report(Event::Connected(instance)) {
        return End::Closed;
    }
    let mut parser = Parser::default();
    let mut window = Instant::now();
    let (mut blocks, mut bytes) = (0, 0);
    loop {
        match response.next().await {
            Ok(Some(piece)) => {
                bytes += piece.len();
                let mut rest = &piece[..];
                while let Some((kind, data)) = parser.next(&mut rest) {
                    blocks += 1;
                    if !report(Event::Block(kind, data)) {
                        return End::Closed;
                    }
                }
                if window.elapsed() >= WINDOW {
                    (window, blocks, bytes) = (Instant::now(), 0, 0);
                } else if blocks >= MOST_BLOCKS || bytes >= MOST_BYTES {
                    sleep_until(window + WINDOW).await;
                    (window, blocks, bytes) = (Instant::now(), 0, 0);
                }
            }
            // The hub replaces a connection that is silent for too long.
            Ok(None) | Err(_) => return End::Closed,
        }
    }
}

/// Whether it can stand in a message as it is.
fn is_instance(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (1..=INSTANCE_CHARS).contains(&text.len()) && text.bytes().all(allowed)
}

/// A parser of event streams (HTML standard, section 9.2.6), which takes blocks of the known kinds
/// with one line of data.
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    kind: Option<Kind>,
    data: Option<Bytes>,
    /// The block cannot be used: too long, or of several lines.
    is_bad: bool,
    /// A line has ended with CR; LF right behind it belongs to it.
    after_cr: bool,
}

impl Parser {
    /// The next block in `input`, of which what is parsed is removed.
    fn next(&mut self, input: &mut &[u8]) -> Option<(Kind, Bytes)> {
        while !input.is_empty() {
            if std::mem::take(&mut self.after_cr) && input.first() == Some(&b'\n') {
                *input = &input[1..];
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', input) else {
                self.push(input);
                *input = &[];
                break;
            };
            let (part, rest) = input.split_at(end);
            self.after_cr = rest.first() == Some(&b'\r');
            *input = rest.get(1..).unwrap_or_default();
            self.push(part);
            if let Some(block) = self.end_line() {
                return Some(block);
            }
        }
        None
    }

    fn push(&mut self, part: &[u8]) {
        if self.line.len() + part.len() > BLOCK_BYTES + "data: ".len() {
            self.is_bad = true;
            // What follows in this line is dropped as well: it only has to be known that it is not
            // empty.
            self.line.clear();
            self.line.push(b':');
            return;
        }
        self.line.extend_from_slice(part);
    }

    fn end_line(&mut self) -> Option<(Kind, Bytes)> {
        if self.line.is_empty() {
            let block = self.kind.take().zip(self.data.take());
            let is_bad = std::mem::take(&mut self.is_bad);
            return block.filter(|(_, data)| !is_bad && std::str::from_utf8(data).is_ok());
        }
        let colon = self.line.iter().position(|&byte| byte == b':').unwrap_or(self.line.len());
        let (name, value) = self.line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"event" => self.kind = Kind::parse(value),
            b"data" => {
                self.is_bad |= self.data.is_some() || value.len() > BLOCK_BYTES;
                self.data = Some(Bytes::copy_from_slice(value));
            }
            _ => {}
        }
        self.line.clear();
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blocks(text: &[u8], piece: usize) -> Vec<(Kind, Vec<u8>)> {
        let (mut parser, mut found) = (Parser::default(), Vec::new());
        for part in text.chunks(piece) {
            let mut rest = part;
            while let Some((kind, data)) = parser.next(&mut rest) {
                found.push((kind, data.to_vec()));
            }
        }
        found
    }

    #[test]
    fn blocks_are_the_same_however_the_bytes_come() {
        let text = b": hello\n\nevent: minute\ndata: {\"a\":1}\n\nid: 7\r\nevent:summary\r\n\
                     data:{}\r\n\r\nevent: other\ndata: x\n\ndata: unnamed\n\nevent: summary\rdata: z\r\r";
        let expected =
            [(Kind::Minute, &b"{\"a\":1}"[..]), (Kind::Summary, b"{}"), (Kind::Summary, b"z")];
        for piece in 1..text.len() {
            let found = blocks(text, piece);
            let found: Vec<_> = found.iter().map(|(kind, data)| (*kind, &data[..])).collect();
            assert_eq!(found, expected, "{piece}");
        }
    }

    #[test]
    fn unusable_blocks_are_dropped_and_the_next_one_is_read() {
        let good = b"event: summary\ndata: good\n\n";
        for bad in [
            format!("event: summary\ndata: {}\n\n", "x".repeat(BLOCK_BYTES + 1)).into_bytes(),
            b"event: summary\ndata: one\ndata: two\n\n".to_vec(),
            b"event: summary\ndata: \xff\n\n".to_vec(),
            b"event: summary\n\n".to_vec(),
        ] {
            for piece in [1, 7, 4096, 100_000] {
                let found = blocks(&[&bad[..], good].concat(), piece);
                assert_eq!(found, [(Kind::Summary, b"good".to_vec())], "{piece}");
            }
        }
        let longest = format!("event: summary\ndata: {}\n\n", "x".repeat(BLOCK_BYTES));
        assert_eq!(blocks(longest.as_bytes(), 999).len(), 1);
    }

    proptest! {
        #[test]
        fn no_block_has_a_line_end_and_memory_is_bounded(
            text in proptest::collection::vec(
                prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), any::<u8>()], 0..300),
            piece in 1_usize..40,
        ) {
            let text = [b"event: summary\ndata: ", &text[..], b"\n\n"].concat();
            for (_, data) in blocks(&text, piece) {
                prop_assert!(!data.contains(&b'\n') && !data.contains(&b'\r'));
                prop_assert!(data.len() <= BLOCK_BYTES);
            }
        }
    }

    #[test]
    fn an_instance_has_no_character_that_needs_an_escape() {
        assert!(is_instance("0a1b-2c.d_E"));
        for text in ["", "a b", "a\"b", "a\\b", "é", &"a".repeat(65)] {
            assert!(!is_instance(text), "{text}");
        }
    }
}
