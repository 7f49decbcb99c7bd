//! The connection to one member: one event stream of summaries, or a gateway's merged stream.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep_until};

use super::event_stream::{Blocks, Line, Merged, MergedLines, is_instance};
use super::hub::Fleet;
use super::merge::{End, Event};
use crate::upstream::client::{EventStream, open_stream};
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

/// The same of a gateway: [`MOST_BELOW`](super::merge) members with a block a second.
const MOST_GATEWAY_BYTES: usize = 4 << 20;

/// Bytes of lines that are taken in at once.
const LINES_BYTES: usize = 64 * 1024;

/// The field that names a member's instance.
const INSTANCE: &str = "stats-instance";

/// The field that names a gateway's fleet.
pub(super) const FLEET_INSTANCE: &str = "fleet-instance";

/// What is followed.
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) tls: Option<UpstreamTls>,
    /// Of a gateway: the field `Via`, with all gateways that are fed by this one.
    pub(super) via: Option<String>,
}

/// Follows a member until its stream ends, or the attempt is of no use any more.
pub(super) async fn follow(fleet: Arc<Fleet>, target: Target, attempt: u64) {
    let report = |event| fleet.event(target.address, attempt, event);
    let end = read(&target, &report).await;
    report(Event::Ended(end));
}

async fn read(target: &Target, report: &impl Fn(Event) -> bool) -> End {
    let Target { address, tls, via } = target;
    let host = tls.as_ref().map_or_else(|| address.to_string(), |tls| tls.host().to_owned());
    let path = if via.is_some() { "/fleet/stream" } else { "/stats/stream?view=summary" };
    let via = via.as_ref().map_or_else(String::new, |via| format!("via: {via}\r\n"));
    // Nothing of a viewer's request is in it.
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
    let read = async {
        if target.via.is_some() {
            read_lines(response, report).await
        } else {
            read_blocks(response, report).await
        }
    };
    // The hub replaces a connection that is silent for too long.
    let _ = read.await;
    End::Closed
}

/// What was read within [`WINDOW`].
struct Rate {
    window: Instant,
    blocks: u32,
    bytes: usize,
}

impl Rate {
    fn new() -> Self {
        Self { window: Instant::now(), blocks: 0, bytes: 0 }
    }

    /// Waits where it is too much.
    async fn limit(&mut self, most_bytes: usize) {
        let is_over = self.blocks >= MOST_BLOCKS || self.bytes >= most_bytes;
        if self.window.elapsed() < WINDOW {
            if !is_over {
                return;
            }
            sleep_until(self.window + WINDOW).await;
        }
        *self = Self::new();
    }
}

/// Reports the blocks of a member, until its stream ends or no more are wanted.
async fn read_blocks(mut response: EventStream, report: &impl Fn(Event) -> bool) -> io::Result<()> {
    let (mut parser, mut rate) = (Blocks::default(), Rate::new());
    while let Some(piece) = response.next().await? {
        rate.bytes += piece.len();
        let mut rest = &piece[..];
        while let Some((kind, data)) = parser.next(&mut rest) {
            rate.blocks += 1;
            if !report(Event::Block(kind, data)) {
                return Ok(());
            }
        }
        rate.limit(MOST_BYTES).await;
    }
    Ok(())
}

/// Reports the lines of a gateway. All of a member in one event stay together: of the past of a
/// member, only the last block is new.
async fn read_lines(mut response: EventStream, report: &impl Fn(Event) -> bool) -> io::Result<()> {
    let (mut parser, mut rate) = (MergedLines::default(), Rate::new());
    let (mut lines, mut bytes) = (Vec::<Line>::new(), 0);
    while let Some(piece) = response.next().await? {
        rate.bytes += piece.len();
        if !report(Event::Alive) {
            return Ok(());
        }
        let mut rest = &piece[..];
        while let Some(next) = parser.next(&mut rest) {
            let is_other = match (&next, lines.last()) {
                (Merged::Line(line), Some(last)) => line.name != last.name,
                (_, last) => last.is_some(),
            };
            let is_end = next == Merged::End;
            if is_other && (is_end || bytes >= LINES_BYTES) {
                bytes = 0;
                if !report(Event::Lines(std::mem::take(&mut lines))) {
                    return Ok(());
                }
            }
            if let Merged::Line(line) = next {
                bytes += line.bytes();
                lines.push(line);
            }
        }
        rate.limit(MOST_GATEWAY_BYTES).await;
    }
    Ok(())
}
