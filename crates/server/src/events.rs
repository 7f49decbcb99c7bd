//! Event streams for very many viewers. Each viewer has a socket and a position, and no other
//! state.
//!
//! hyper keeps a read buffer of 8 KiB and its own state for the whole duration of a response. A
//! response with a [`Viewer`] as its body needs none of it: the connection is taken out of hyper,
//! and a task of a few hundred bytes writes the chunks that the publisher framed once for all
//! viewers.

use std::future::poll_fn;
use std::io::{self, ErrorKind, Write as _};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::{Buf, Bytes};
use flate2::Compression;
use hyper::{HeaderMap, Method, Request, StatusCode, Version};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::acceptor::Permit;
use crate::gzip::{self, Chain, Link};

/// Maximum time to write a chunk. A mobile network or a sleeping laptop needs seconds to recover; a
/// viewer that needs longer reconnects. Until then, it holds the history at its beginning, which
/// has about 100 kB and is another one every second.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum number of bytes that a viewer can send after its request. Further requests on the
/// connection get no response.
const IGNORED_BYTES: usize = 16 * 1024;

/// The last chunk, which is empty (RFC 9112, section 7.1).
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Keeps proxies and NATs from closing a silent connection; a comment to the viewer (WHATWG HTML,
/// section 9.2.6).
const HEARTBEAT: &[u8] = b":\n\n";

/// The publishing end of a feed. When it is dropped, every stream ends after a complete chunk.
pub struct Publisher {
    newest: watch::Sender<Newest>,
    audience: Audience,
    compressed: Audience,
    /// Present while there are viewers of the compressed form.
    chain: Option<Box<Chain>>,
}

/// Source of streams with the events of one publisher.
#[derive(Clone)]
pub struct Feed {
    newest: watch::Receiver<Newest>,
    audience: Audience,
    compressed: Audience,
}

/// Reference count of viewers: each viewer holds a clone of the inner value, and nothing else does.
type Audience = Arc<Arc<()>>;

/// The body of a response that is an event stream. It has no queue: a viewer that reads slowly
/// misses events and receives the newest one next.
pub struct Viewer {
    /// In reverse order.
    preamble: Vec<Chunk>,
    sequence: u64,
    beats: u64,
    feed: watch::Receiver<Newest>,
    _counted: Arc<()>,
    compressed: Audience,
    gzip: Option<Gzip>,
}

/// The compressed form of a viewer's stream.
struct Gzip {
    stream: gzip::Stream,
    has_begun: bool,
    has_ended: bool,
    _counted: Arc<()>,
}

impl Gzip {
    fn alone(&mut self, chunk: &Chunk) -> Chunk {
        self.stream.alone(&chunk.text());
        chunk.alone()
    }

    fn event(&mut self, newest: &Newest, is_next: bool) -> Chunk {
        match &newest.link {
            Some((link, block)) if self.stream.takes(link, &newest.event.text(), is_next) => {
                block.clone()
            }
            _ => self.alone(&newest.event),
        }
    }
}

/// A part of an event stream with its chunk framing, created once for all viewers.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    framed: Bytes,
    text: (usize, usize),
    /// The text compressed separately and framed, created on first use.
    alone: Arc<OnceLock<Bytes>>,
}

impl PartialEq for Chunk {
    fn eq(&self, other: &Self) -> bool {
        self.framed == other.framed
    }
}

#[derive(Default)]
struct Newest {
    sequence: u64,
    event: Chunk,
    /// The event in the chain and its block, if there were viewers of the compressed form.
    link: Option<(Link, Chunk)>,
    /// Number of heartbeats after the event above.
    beats: u64,
    heartbeat: Chunk,
}

/// Properties of the request that affect the framing.
#[derive(Clone, Copy)]
pub(crate) struct Framing {
    head_only: bool,
    chunked: bool,
}

/// Creates a feed without events, and its publishing end.
pub fn feed() -> (Publisher, Feed) {
    let newest = Newest { heartbeat: Chunk::new(HEARTBEAT), ..Newest::default() };
    let (sender, newest) = watch::channel(newest);
    let (audience, compressed) = (Audience::default(), Audience::default());
    let publisher = Publisher {
        newest: sender,
        audience: audience.clone(),
        compressed: compressed.clone(),
        chain: None,
    };
    (publisher, Feed { newest, audience, compressed })
}

impl Publisher {
    /// Sends this event to every viewer that has not received this sequence or a later one.
    ///
    /// Must be called on the thread that runs the connections: waking ten thousand viewers from
    /// another thread takes one system call per viewer.
    pub fn publish(&mut self, sequence: u64, event: Chunk) {
        let link = if Arc::strong_count(&*self.compressed) > 1 {
            let link = self.chain.get_or_insert_default().next(&event.text());
            link.map(|link| {
                let block = Chunk::new(&link.block);
                (link, block)
            })
        } else {
            self.chain = None;
            None
        };
        self.newest.send_modify(|newest| {
            newest.sequence = sequence;
            newest.event = event;
            newest.link = link;
        });
    }

    /// Sends a comment to every viewer that has the newest event. It keeps connections open while
    /// there are no events.
    pub fn heartbeat(&mut self) {
        // The comment shifts the positions to which later blocks of the chain refer.
        if let Some(chain) = &mut self.chain {
            chain.restart();
        }
        self.newest.send_modify(|newest| newest.beats += 1);
    }

    /// Whether there is a viewer. An event without receivers does not need to be encoded.
    pub fn has_viewers(&self) -> bool {
        Arc::strong_count(&*self.audience) > 1
    }
}

impl Feed {
    /// A stream that begins with `preamble` and continues with the newest event after `sequence`.
    /// With 0, it continues with the newest event.
    pub fn viewer(&self, mut preamble: Vec<Chunk>, sequence: u64) -> Viewer {
        preamble.reverse();
        let beats = self.newest.borrow().beats;
        let counted = Arc::clone(&*self.audience);
        Viewer {
            preamble,
            sequence,
            beats,
            feed: self.newest.clone(),
            _counted: counted,
            compressed: self.compressed.clone(),
            gzip: None,
        }
    }
}

impl Chunk {
    /// Frames this text, which contains one or more whole events. An empty text results in no
    /// chunk, because an empty chunk would end the stream.
    pub fn new(text: &[u8]) -> Self {
        if text.is_empty() {
            return Self::default();
        }
        let size = format!("{:x}\r\n", text.len());
        let framed = [size.as_bytes(), text, b"\r\n"].concat().into();
        let text = (size.len(), size.len() + text.len());
        Self { framed, text, alone: Arc::default() }
    }

    /// A chunk from bytes that are already framed.
    fn from_framed(framed: Bytes) -> Self {
        let head = framed.iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let text = (head, framed.len().saturating_sub(2).max(head));
        Self { framed, text, alone: Arc::default() }
    }

    /// The chunk compressed without reference to earlier text.
    fn alone(&self) -> Self {
        let framed = || Self::new(&gzip::block(&self.text(), Compression::default())).framed;
        Self::from_framed(self.alone.get_or_init(framed).clone())
    }

    /// The text without its framing.
    pub fn text(&self) -> Bytes {
        self.framed.slice(self.text.0..self.text.1)
    }

    fn bytes(self, chunked: bool) -> Bytes {
        if chunked { self.framed } else { self.text() }
    }
}

impl Viewer {
    /// The same stream in gzip. The response then needs `Content-Encoding: gzip`.
    #[must_use]
    pub fn gzip(mut self) -> Self {
        self.gzip = Some(Gzip {
            stream: gzip::Stream::default(),
            has_begun: false,
            has_ended: false,
            _counted: Arc::clone(&*self.compressed),
        });
        self
    }

    /// The next chunk, or `None` after the publisher was dropped.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Chunk> {
        loop {
            if let Some(chunk) = self.unsent() {
                return Some(chunk);
            }
            if self.feed.changed().await.is_err() {
                return self.end();
            }
        }
    }

    /// The header of the compressed form.
    fn begin(&mut self) -> Option<Chunk> {
        self.gzip.as_mut()?.has_begun = true;
        Some(Chunk::new(gzip::HEAD))
    }

    /// The trailer of the stream, once.
    pub(crate) fn end(&mut self) -> Option<Chunk> {
        let gzip = self.gzip.as_mut().filter(|gzip| !gzip.has_ended)?;
        gzip.has_ended = true;
        Some(Chunk::new(&gzip.stream.tail()))
    }

    pub(crate) fn unsent(&mut self) -> Option<Chunk> {
        let gzip = self.gzip.as_mut();
        if let Some(gzip) = &gzip
            && !gzip.has_begun
        {
            return self.begin();
        }
        if let Some(chunk) = self.preamble.pop() {
            if self.preamble.is_empty() {
                self.preamble = Vec::new();
            }
            return Some(match gzip {
                Some(gzip) => gzip.alone(&chunk),
                None => chunk,
            });
        }
        let newest = self.feed.borrow_and_update();
        let beats = std::mem::replace(&mut self.beats, newest.beats);
        if newest.sequence > self.sequence {
            let before = std::mem::replace(&mut self.sequence, newest.sequence);
            return Some(match gzip {
                Some(gzip) => {
                    let is_next = newest.sequence == before + 1;
                    gzip.event(&newest, is_next)
                }
                None => newest.event.clone(),
            });
        }
        (newest.beats > beats).then(|| match gzip {
            Some(gzip) => gzip.alone(&newest.heartbeat),
            None => newest.heartbeat.clone(),
        })
    }
}

impl Framing {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        Self {
            head_only: *request.method() == Method::HEAD,
            chunked: request.version() >= Version::HTTP_11,
        }
    }
}

/// The header section of a response, including the empty line that ends it. The connection closes
/// after the stream, which marks the end for a client without chunked encoding (HTTP/1.0).
pub(crate) fn head(status: StatusCode, fields: &HeaderMap, framing: Framing) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    let reason = status.canonical_reason().unwrap_or_default();
    // Writing to a vector cannot fail.
    let _ = write!(head, "HTTP/1.1 {} {reason}\r\n", status.as_u16());
    for (name, value) in fields {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend(part);
        }
    }
    if framing.chunked {
        head.extend(b"transfer-encoding: chunked\r\n");
    }
    let date = httpdate::HttpDate::from(SystemTime::now());
    let _ = write!(head, "date: {date}\r\nconnection: close\r\n\r\n");
    head
}

/// Writes a stream until its publisher is dropped or its viewer disconnects, then releases the
/// permit.
///
/// This is the task of a viewer, so its size matters. The parameters of an `async fn` would be in
/// it twice.
pub(crate) async fn write(
    stream: TcpStream,
    head: Vec<u8>,
    mut viewer: Viewer,
    framing: Framing,
    permit: Permit,
) {
    let _held = &permit;
    let mut sent = send(&stream, head.into()).await;
    let mut ignored = 0;
    while sent.is_ok() && !framing.head_only {
        let next = tokio::select! {
            biased;
            // Checked first: unread data resets the connection when the socket closes, and the last
            // chunk could be lost.
            () = poll_fn(|context| poll_disconnect(&stream, &mut ignored, context)) => return,
            next = viewer.next() => next,
        };
        match next {
            Some(chunk) => sent = send(&stream, chunk.bytes(framing.chunked)).await,
            None if framing.chunked => {
                sent = send(&stream, Bytes::from_static(LAST_CHUNK)).await;
                break;
            }
            None => break,
        }
    }
    if let Err(error) = sent {
        tracing::debug!(%error, "event stream ended early");
    }
}

/// Writes all bytes to the socket.
async fn send(stream: &TcpStream, mut bytes: Bytes) -> io::Result<()> {
    let mut end = None;
    while !bytes.is_empty() {
        match stream.try_write(&bytes) {
            Ok(count) => bytes.advance(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let writable = poll_fn(|context| stream.poll_write_ready(context));
                let end = *end.get_or_insert_with(|| Instant::now() + WRITE_TIMEOUT);
                // Boxed, because few viewers need it.
                Box::pin(timeout_at(end, writable)).await??;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Ready when the viewer has closed its side of the connection, or has sent more than
/// [`IGNORED_BYTES`] after its request (counted in `ignored`).
///
/// It replaces the waker of hyper's task in the socket, which would otherwise keep the memory of
/// that task.
fn poll_disconnect(stream: &TcpStream, ignored: &mut usize, context: &mut Context<'_>) -> Poll<()> {
    while *ignored <= IGNORED_BYTES && ready!(stream.poll_read_ready(context)).is_ok() {
        let mut bytes = [0; 1024];
        match stream.try_read(&mut bytes) {
            Ok(count) if count > 0 => *ignored += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => break,
        }
    }
    Poll::Ready(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::time::{sleep, timeout};

    #[tokio::test(start_paused = true)]
    async fn a_viewer_that_reads_a_little_now_and_then_is_too_slow() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut viewer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let reading = tokio::spawn(async move {
            let mut bytes = vec![0; 1 << 20];
            while viewer.read(&mut bytes).await.is_ok_and(|count| count > 0) {
                sleep(Duration::from_secs(20)).await;
            }
        });
        let begun = Instant::now();
        let sent = send(&stream, vec![0; 64 << 20].into()).await;
        reading.abort();
        assert!(sent.is_err() && begun.elapsed() < 2 * WRITE_TIMEOUT, "{:?}", begun.elapsed());
    }

    #[test]
    fn a_chunk_is_its_size_its_text_and_line_ends_and_an_empty_text_is_none() {
        let chunk = Chunk::new(b"data: 0123456789\n\n");
        assert_eq!(chunk.clone().bytes(true), "12\r\ndata: 0123456789\n\n\r\n");
        assert_eq!(chunk.bytes(false), "data: 0123456789\n\n");
        assert_eq!(Chunk::new(b"").bytes(true), "");
        assert_eq!(Chunk::new(b"").text(), "");
    }

    #[tokio::test]
    async fn a_viewer_gets_the_preamble_the_newest_event_and_the_end() {
        let chunk = |text: &str| Chunk::new(text.as_bytes());
        let (mut publisher, feed) = feed();
        publisher.publish(4, chunk("4"));
        let mut viewer = feed.viewer(vec![chunk("a"), chunk("b")], 0);
        for text in ["a", "b", "4"] {
            assert_eq!(viewer.next().await, Some(chunk(text)));
        }
        publisher.publish(5, chunk("5"));
        publisher.publish(6, chunk("6"));
        drop(publisher);
        assert_eq!(viewer.next().await, Some(chunk("6")));
        assert_eq!(viewer.next().await, None);
    }

    #[tokio::test]
    async fn viewers_are_counted_and_feeds_are_not() {
        let (publisher, feed) = feed();
        let another = feed.clone();
        assert!(!publisher.has_viewers());
        let viewer = another.viewer(vec![], 0);
        assert!(publisher.has_viewers());
        drop(viewer);
        assert!(!publisher.has_viewers());
    }

    #[tokio::test]
    async fn events_of_the_preamble_are_not_sent_again_and_a_heartbeat_is_sent_once() {
        let (mut publisher, feed) = feed();
        publisher.publish(4, Chunk::new(b"4"));
        publisher.heartbeat();
        let mut viewer = feed.viewer(vec![], 4);
        let early = timeout(Duration::from_millis(20), viewer.next()).await;
        assert!(early.is_err(), "{early:?}");
        publisher.heartbeat();
        assert_eq!(viewer.next().await.unwrap().text(), ":\n\n");
        publisher.heartbeat();
        publisher.publish(5, Chunk::new(b"5"));
        assert_eq!(viewer.next().await.unwrap().text(), "5");
        drop(publisher);
        assert_eq!(viewer.next().await, None);
    }
}
