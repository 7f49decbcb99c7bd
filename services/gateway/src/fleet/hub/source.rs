//! Connection to one member: an event stream of summaries, or a gateway's merged stream.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep_until};

use super::super::event_stream::{Blocks, Line, Merged, MergedLines, is_instance};
use super::super::merge::{End, Event};
use super::Fleet;
use crate::upstream::client::{EventStream, open_stream};
use crate::upstream::{Failure, UpstreamTls};

/// Connect timeout: members are on the same network, where a connection takes milliseconds.
const CONNECT_TIME: Duration = Duration::from_secs(1);

/// Timeout for the response head; stats sends it immediately.
const HEAD_TIME: Duration = Duration::from_secs(3);

/// Maximum blocks and bytes that are read from a member within [`WINDOW`]. It sends one block per
/// second, after a minute; the rest waits in the kernel.
const MAX_BLOCKS: u32 = 16;
const MAX_BYTES: usize = 64 * 1024;
const WINDOW: Duration = Duration::from_secs(1);

/// The same for a gateway: [`MAX_BELOW`](crate::fleet::merge) members with a block per second.
const MAX_GATEWAY_BYTES: usize = 4 << 20;

/// Maximum bytes of lines in one event.
const LINES_BYTES: usize = 64 * 1024;

/// Field with a member's instance.
const INSTANCE: &str = "stats-instance";

/// Field with a gateway's fleet instance.
pub(super) const FLEET_INSTANCE: &str = "fleet-instance";

/// Target of a connection.
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) tls: Option<UpstreamTls>,
    /// Host of the request; the address if absent.
    pub(super) host: Option<String>,
    /// For a gateway: the field `Via`, with all gateways that receive this one's stream.
    pub(super) via: Option<String>,
}

/// Follows a member until its stream ends, or the attempt is obsolete.
pub(super) async fn follow(fleet: Arc<Fleet>, target: Target, attempt: u64) {
    let report = |event| fleet.event(target.address, attempt, event);
    let end = read(&target, &report).await;
    report(Event::Ended(end));
}

async fn read(target: &Target, report: &impl Fn(Event) -> bool) -> End {
    let Target { address, tls, host, via } = target;
    let host = host.clone().unwrap_or_else(|| address.to_string());
    let path = if via.is_some() { "/fleet/stream" } else { "/stats/stream?view=summary" };
    let via = via.as_ref().map_or_else(String::new, |via| format!("via: {via}\r\n"));
    // The request contains nothing from a viewer's request.
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {host}\r\n{via}\
         accept: text/event-stream\r\nuser-agent: gateway-fleet\r\nconnection: close\r\n\r\n"
    );
    let opened =
        open_stream(*address, tls.as_ref(), request.as_bytes(), CONNECT_TIME, HEAD_TIME).await;
    let response = match opened {
        Ok(response) => response,
        Err(Failure::Timeout) => return End::NoResponse,
        Err(Failure::Status(status)) if StatusCode::LOOP_DETECTED == status => {
            tracing::warn!(%address, "this gateway is in the fleet of its own member");
            return End::Loop;
        }
        _ => return End::Unreachable,
    };
    let field = if target.via.is_some() { FLEET_INSTANCE } else { INSTANCE };
    let instance = response.fields.get(field).and_then(|value| value.to_str().ok());
    let instance = instance.filter(|text| is_instance(text)).map(Box::from);
    if !report(Event::Connected(instance)) {
        return End::Closed;
    }
    let parser = match target.via {
        Some(_) => Parser::Gateway(MergedLines::default(), Vec::new(), 0),
        None => Parser::Member(Blocks::default()),
    };
    // The hub replaces a connection that is silent for too long.
    let _ = read_stream(response, parser, report).await;
    End::Closed
}

/// Amounts read within [`WINDOW`].
struct Rate {
    window: Instant,
    blocks: u32,
    bytes: usize,
}

impl Rate {
    fn new() -> Self {
        Self { window: Instant::now(), blocks: 0, bytes: 0 }
    }

    /// Waits if the limits are exceeded.
    async fn limit(&mut self, max_bytes: usize) {
        let is_over = self.blocks >= MAX_BLOCKS || self.bytes >= max_bytes;
        if self.window.elapsed() < WINDOW {
            if !is_over {
                return;
            }
            sleep_until(self.window + WINDOW).await;
        }
        *self = Self::new();
    }
}

/// Reports events until the stream ends or the attempt is obsolete.
async fn read_stream(
    mut response: EventStream,
    mut parser: Parser,
    report: &impl Fn(Event) -> bool,
) -> io::Result<()> {
    let mut rate = Rate::new();
    while let Some(piece) = response.next().await? {
        rate.bytes += piece.len();
        if !parser.take(&piece, &mut rate.blocks, report) {
            return Ok(());
        }
        rate.limit(parser.max_bytes()).await;
    }
    Ok(())
}

/// Parser of a stream.
enum Parser {
    Member(Blocks),
    /// Lines that are not reported yet, and their size in bytes.
    Gateway(MergedLines, Vec<Line>, usize),
}

impl Parser {
    const fn max_bytes(&self) -> usize {
        match self {
            Self::Member(_) => MAX_BYTES,
            Self::Gateway(..) => MAX_GATEWAY_BYTES,
        }
    }

    /// Reports everything that is complete with this piece, and counts the blocks of a member.
    /// Returns false if the attempt is obsolete.
    fn take(&mut self, piece: &[u8], blocks: &mut u32, report: &dyn Fn(Event) -> bool) -> bool {
        let mut rest = piece;
        match self {
            Self::Member(parser) => {
                while let Some((kind, data)) = parser.next(&mut rest) {
                    *blocks += 1;
                    if !report(Event::Block(kind, data)) {
                        return false;
                    }
                }
                true
            }
            Self::Gateway(parser, lines, bytes) => {
                if !report(Event::Alive) {
                    return false;
                }
                while let Some(next) = parser.next(&mut rest) {
                    // All lines of a member in one event stay together: of its history, only the
                    // last block is new.
                    let is_other = match (&next, lines.last()) {
                        (Merged::Line(line), Some(last)) => line.name != last.name,
                        (_, last) => last.is_some(),
                    };
                    if is_other && (next == Merged::End || *bytes >= LINES_BYTES) {
                        *bytes = 0;
                        if !report(Event::Lines(std::mem::take(lines))) {
                            return false;
                        }
                    }
                    if let Merged::Line(line) = next {
                        *bytes += line.bytes();
                        lines.push(line);
                    }
                }
                true
            }
        }
    }
}
