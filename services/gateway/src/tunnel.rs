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
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::fetch::Body;
use crate::socket::Socket;

/// Bytes that are passed on at once: some ten events.
const PIECE_BYTES: usize = 8 * 1024;

/// How long a viewer may accept nothing of what is there for it. A radio cell or a sleeping lid
/// takes seconds to come back; a viewer that takes longer asks anew by itself.
const ACCEPTS_NOTHING: Duration = Duration::from_secs(30);

/// The end of a body in chunks (RFC 9112, section 7.1).
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// An upstream and a client.
pub(crate) struct Tunnel {
    from: TcpStream,
    to: Socket,
    /// What has come already.
    held: BytesMut,
    chunks: Option<Chunks>,
}

impl Tunnel {
    /// From an answer whose head has been sent on, in chunks or not, to the client.
    pub(crate) fn new(body: Body, is_chunked: bool, to: Socket) -> Self {
        let (from, held) = body.into_parts();
        Self { from, to, held, chunks: is_chunked.then(Chunks::default) }
    }

    /// Passes on what comes until it ends, the client leaves, or `closing` resolves; then a body in
    /// chunks is ended properly, where it stands between two of them. Gives the bytes passed on.
    pub(crate) async fn pass_on(self, silence: Duration, closing: impl Future<Output = ()>) -> u64 {
        let Self { from, to, held, chunks } = self;
        let mut relay = Relay {
            from,
            to,
            held: held.freeze(),
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

    /// Passes on what comes in both directions until one side closes; the client has sent the first
    /// bytes already.
    pub(crate) async fn join(self, ahead: &[u8], closing: impl Future<Output = ()>) -> u64 {
        let Self { mut from, mut to, held, .. } = self;
        let both = async {
            to.write_all(&held).await?;
            from.write_all(ahead).await?;
            copy_bidirectional(&mut to, &mut from).await
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
}
