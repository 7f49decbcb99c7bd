//! Answers without an end, past Pingora: an event stream is two sockets and a few hundred bytes of
//! task, and an upgraded connection two sockets and their buffers. Pingora's session would be a
//! hundred kilobytes for as long as a viewer stays.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::admission::{Order, field as write_field};
use crate::problem::Problem;
use crate::socket::Socket;
use crate::upstreams::Failure;

/// Bytes of an upstream's head.
const HEAD_BYTES: usize = 32 * 1024;

/// Fields of an upstream's head.
const FIELDS: usize = 100;

/// Bytes that are passed on at once: some ten events.
const PIECE_BYTES: usize = 8 * 1024;

/// How long a viewer may accept nothing of what is there for it. A radio cell or a sleeping lid
/// takes seconds to come back; a viewer that takes longer asks anew by itself.
const ACCEPTS_NOTHING: Duration = Duration::from_secs(30);

/// The end of a body in chunks (RFC 9112, section 7.1).
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// An upstream that has begun to answer.
pub(crate) struct Answering {
    stream: TcpStream,
    /// What came behind the head.
    rest: BytesMut,
    /// The status of its answer.
    pub(crate) status: u16,
    /// The head for the client, without the empty line.
    pub(crate) head: Vec<u8>,
    chunks: Option<Chunks>,
}

/// Why there is no answer.
pub(crate) enum Failed {
    /// Say this.
    Problem(Problem),
}

/// Sends the request to an upstream, to another one if nobody listens at the first, and reads the
/// head of its answer.
pub(crate) async fn ask(
    order: &mut Order,
    request: &Bytes,
    upgrades: bool,
) -> Result<Answering, Failed> {
    let times = order.gateway.config.times;
    let Some(route) = order.route.clone() else {
        return Err(Failed::Problem(Problem::nobody("this route")));
    };
    loop {
        let Some(mut pick) = route.pool.pick(&order.tried) else {
            return Err(Failed::Problem(Problem::nobody(&route.name)));
        };
        let connected = timeout(times.connect, TcpStream::connect(pick.address())).await;
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            failed => {
                let (failure, status, what) = match failed {
                    Ok(Err(error)) => {
                        (Failure::of(&error), StatusCode::BAD_GATEWAY, "cannot be reached")
                    }
                    _ => (Failure::Timeout, StatusCode::GATEWAY_TIMEOUT, "did not answer in time"),
                };
                pick.failed(failure);
                route.metrics.upstream_failures.add();
                order.tried.push(pick.address());
                order.pick = Some(pick);
                if route.pool.has_other_than(&order.tried) && route.pool.may_retry() {
                    continue;
                }
                return Err(Failed::Problem(Problem::new(
                    status,
                    format!("{} {what}", route.name),
                )));
            }
        };
        // It only makes small events later.
        let _ = stream.set_nodelay(true);
        let answer = timeout(times.silence, exchange(stream, request, upgrades)).await;
        let (failure, status, what) = match answer {
            Ok(Ok(answering)) => {
                match answering.status {
                    status @ 502..=504 => pick.failed(Failure::Status(status)),
                    _ => pick.succeeded(),
                }
                order.pick = Some(pick);
                return Ok(answering);
            }
            Ok(Err(error)) => {
                let failure = match error.kind() {
                    io::ErrorKind::InvalidData => Failure::Invalid,
                    _ => Failure::of(&error),
                };
                (failure, StatusCode::BAD_GATEWAY, "gave no valid answer")
            }
            Err(_) => (Failure::Timeout, StatusCode::GATEWAY_TIMEOUT, "did not answer in time"),
        };
        pick.failed(failure);
        route.metrics.upstream_failures.add();
        order.pick = Some(pick);
        return Err(Failed::Problem(Problem::new(status, format!("{} {what}", route.name))));
    }
}

async fn exchange(mut stream: TcpStream, request: &Bytes, upgrades: bool) -> io::Result<Answering> {
    stream.write_all(request).await?;
    let mut bytes = BytesMut::with_capacity(PIECE_BYTES);
    loop {
        if let Some(answering) = read_head(&mut bytes, upgrades)? {
            let (status, head, chunks) = answering;
            // An informational answer is followed by another one.
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            return Ok(Answering { stream, rest: bytes, status, head, chunks });
        }
        if bytes.len() > HEAD_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let count = poll_fn(|context| poll_some(&mut stream, context, &mut bytes)).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Status, head for the client, and how the body is framed, when the head is complete.
type Read = (u16, Vec<u8>, Option<Chunks>);

fn read_head(bytes: &mut BytesMut, upgrades: bool) -> io::Result<Option<Read>> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(invalid()),
    };
    let status = response.code.filter(|code| (100..600).contains(code)).ok_or_else(invalid)?;
    if status == 101 && !upgrades {
        return Err(invalid());
    }
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let mut head = format!("HTTP/1.1 {status} {}\r\n", reason.unwrap_or_default()).into_bytes();
    let mut chunks = None;
    let nominated: Vec<&str> = response
        .headers
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case("connection"))
        .filter_map(|field| std::str::from_utf8(field.value).ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    for field in response.headers.iter() {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("transfer-encoding") {
            if !field.value.eq_ignore_ascii_case(b"chunked") || chunks.is_some() {
                return Err(invalid());
            }
            chunks = Some(Chunks::default());
        }
        let about_connection = ["connection", "keep-alive", "proxy-connection", "te", "trailer"];
        let dropped = about_connection.iter().any(|name| is(name))
            || (is("upgrade") && status != 101)
            || nominated.iter().any(|name| is(name) && !is("transfer-encoding") && !is("upgrade"));
        if !dropped {
            write_field(&mut head, field.name, field.value);
        }
    }
    bytes.advance(length);
    Ok(Some((status, head, chunks)))
}

impl Answering {
    /// The connection, what has come of the body, and the whole head.
    pub(crate) fn into_parts(self) -> (TcpStream, BytesMut, Vec<u8>) {
        let Self { stream, rest, mut head, .. } = self;
        head.extend_from_slice(b"\r\n");
        (stream, rest, head)
    }

    /// Passes on what comes until it ends, the client leaves, or `closing` resolves; then a body in
    /// chunks is ended properly, where it stands between two of them. Gives the bytes passed on.
    pub(crate) async fn pass_on(
        self,
        client: Socket,
        silence: Duration,
        closing: impl Future<Output = ()>,
    ) -> u64 {
        let Self { stream, rest, chunks, .. } = self;
        let mut relay = Relay {
            from: stream,
            to: client,
            held: rest.freeze(),
            is_behind: false,
            chunks,
            passed: 0,
            left: false,
        };
        if let Some(chunks) = &mut relay.chunks {
            chunks.follow(&relay.held);
        }
        relay.passed = relay.held.len() as u64;
        {
            let mut closing = std::pin::pin!(closing);
            // Both bounds are looked at together, because a timer for each piece would cost more
            // than the piece.
            loop {
                let before = relay.passed;
                let waits = relay.is_behind || !relay.held.is_empty();
                let bound = if waits { ACCEPTS_NOTHING } else { silence };
                let ended = tokio::select! {
                    biased;
                    () = closing.as_mut() => true,
                    ended = poll_fn(|context| relay.poll(context)) => { let _ = ended; true },
                    () = sleep(bound) => relay.passed == before,
                };
                if ended {
                    break;
                }
            }
        }
        let Relay { mut to, held, is_behind, chunks, passed, left, .. } = relay;
        let is_level = held.is_empty() && !is_behind;
        if !left && is_level && chunks.is_some_and(Chunks::is_between) {
            // Only if the kernel takes it at once: a break would be understood as well.
            poll_fn(|context| {
                let _ = Pin::new(&mut to).poll_write(context, LAST_CHUNK);
                Poll::Ready(())
            })
            .await;
        }
        let _ = timeout(Duration::from_secs(1), to.shutdown()).await;
        passed
    }

    /// Passes on what comes in both directions until one side closes.
    pub(crate) async fn join(
        mut self,
        mut client: Socket,
        ahead: &[u8],
        closing: impl Future<Output = ()>,
    ) -> u64 {
        let both = async {
            client.write_all(&self.rest).await?;
            self.stream.write_all(ahead).await?;
            copy_bidirectional(&mut client, &mut self.stream).await
        };
        tokio::select! {
            () = closing => 0,
            copied = both => copied.map_or(0, |(_, down)| down),
        }
    }
}

/// One direction, without a buffer while nothing is on its way.
struct Relay {
    from: TcpStream,
    to: Socket,
    /// What the client has not taken yet.
    held: Bytes,
    /// What TLS has taken has not all gone to the client yet.
    is_behind: bool,
    chunks: Option<Chunks>,
    passed: u64,
    /// The client has closed.
    left: bool,
}

impl Relay {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What a viewer says behind its request means nothing; that it closes does.
        let mut said = [MaybeUninit::uninit(); 256];
        loop {
            let mut said = ReadBuf::uninit(&mut said);
            match Pin::new(&mut self.to).poll_read(context, &mut said) {
                Poll::Ready(Ok(())) if !said.filled().is_empty() => {}
                Poll::Ready(_) => {
                    self.left = true;
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => break,
            }
        }
        loop {
            while !self.held.is_empty() {
                let count = ready!(Pin::new(&mut self.to).poll_write(context, &self.held))?;
                self.held.advance(count);
            }
            self.is_behind = true;
            ready!(Pin::new(&mut self.to).poll_flush(context))?;
            self.is_behind = false;
            // It kept the piece that it was a part of.
            self.held = Bytes::new();
            let mut piece = [const { MaybeUninit::uninit() }; PIECE_BYTES];
            let mut piece = ReadBuf::uninit(&mut piece);
            ready!(Pin::new(&mut self.from).poll_read(context, &mut piece))?;
            let piece = piece.filled();
            if piece.is_empty() {
                // As it came, so the client sees whether the answer was complete.
                self.left = true;
                return Poll::Ready(Ok(()));
            }
            if let Some(chunks) = &mut self.chunks {
                chunks.follow(piece);
            }
            self.passed += piece.len() as u64;
            match Pin::new(&mut self.to).poll_write(context, piece)? {
                Poll::Ready(count) => {
                    self.held = Bytes::copy_from_slice(piece.get(count..).unwrap_or_default());
                }
                Poll::Pending => self.held = Bytes::copy_from_slice(piece),
            }
        }
    }
}

/// Reads what is there to the end of `bytes`, whose room is made when it is.
pub(crate) fn poll_some(
    stream: &mut TcpStream,
    context: &mut Context<'_>,
    bytes: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    let mut piece = [const { MaybeUninit::uninit() }; PIECE_BYTES];
    let mut piece = ReadBuf::uninit(&mut piece);
    ready!(Pin::new(stream).poll_read(context, &mut piece))?;
    bytes.extend_from_slice(piece.filled());
    Poll::Ready(Ok(piece.filled().len()))
}

/// Where in its chunks a body is, without keeping it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chunks {
    /// Bytes of the chunk that are to come, its line end included.
    left: u64,
    /// The size as far as it has been read.
    size: u64,
    /// Something of the size's line has been read.
    in_size: bool,
    in_extension: bool,
    is_over: bool,
}

impl Chunks {
    /// Goes over the next bytes.
    fn follow(&mut self, mut bytes: &[u8]) {
        while let Some(&byte) = bytes.first() {
            if self.left > 0 {
                let count = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= count as u64;
                bytes = &bytes[count..];
                continue;
            }
            bytes = &bytes[1..];
            match (char::from(byte).to_digit(16), byte) {
                (Some(digit), _) if !self.in_extension => {
                    self.in_size = true;
                    self.size = self.size.saturating_mul(16).saturating_add(digit.into());
                }
                (_, b'\n') if self.in_size => {
                    self.is_over |= self.size == 0;
                    self.left = if self.size == 0 { 0 } else { self.size.saturating_add(2) };
                    (self.size, self.in_size, self.in_extension) = (0, false, false);
                }
                _ => self.in_extension = self.in_size,
            }
        }
    }

    /// Whether a chunk may begin here.
    fn is_between(self) -> bool {
        !self.is_over && self.left == 0 && !self.in_size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_where_one_chunk_ends_and_the_next_begins() {
        let body = b"5\r\nhello\r\na;x=b\r\n0123456789\r\n0\r\n\r\n";
        let ends = [0, 10, 29];
        assert!(body[10..].starts_with(b"a;") && body[29..].starts_with(b"0\r\n"));
        for cut in 0..body.len() {
            for piece in [1, 3, 100] {
                let mut chunks = Chunks::default();
                body[..cut].chunks(piece).for_each(|piece| chunks.follow(piece));
                assert_eq!(chunks.is_between(), ends.contains(&cut), "{cut}");
            }
        }
    }

    #[test]
    fn a_head_is_passed_on_without_what_is_about_the_connection() {
        let mut bytes = BytesMut::from(
            &b"HTTP/1.0 200 Fine\r\nConnection: close, X-Own\r\nX-Own: 1\r\nKeep-Alive: 5\r\n\
               Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\nrest"[..],
        );
        let (status, head, chunks) = read_head(&mut bytes, false).unwrap().unwrap();
        let head = String::from_utf8(head).unwrap();
        assert_eq!(
            head,
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
        );
        assert_eq!((status, chunks.is_some(), &bytes[..]), (200, true, &b"rest"[..]));
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for text in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 999 x\r\n\r\n",
            "HTTP/1.1 101 x\r\nUpgrade: y\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        ] {
            assert!(read_head(&mut BytesMut::from(text), false).is_err(), "{text}");
        }
        assert!(read_head(&mut BytesMut::from("HTTP/1.1 200"), false).unwrap().is_none());
    }
}
