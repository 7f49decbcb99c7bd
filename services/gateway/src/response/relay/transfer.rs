//! Transfer of a response from an upstream to a client, with both served concurrently and separate
//! timeouts for a slow client and a slow upstream.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Downstream, End, INTERRUPTED, MIN_BYTES};
use crate::cache::{Fill, Leftover};
use crate::compression::Encoder;
use crate::context::RequestContext;
use crate::deadline::Timer;
use crate::message::body::Frame;
use crate::message::client::{BodyFault, SEND_TIMEOUT};
use crate::upstream::Lease;
use crate::upstream::client::{Body, Upload, UploadState};

/// Maximum bytes that are copied at once from a response that is being stored.
const COPIED_BYTES: usize = 16 * 1024;

/// An upstream's response after its head.
pub(super) struct Source {
    pub(super) body: Body,
    pub(super) is_persistent: bool,
}

impl Source {
    pub(super) fn is_over(&self) -> bool {
        self.body.frame() == Frame::Done
    }

    /// Keeps the connection for reuse if possible.
    pub(super) fn keep(self, lease: Option<&Lease>) {
        if self.is_persistent
            && let Some(lease) = lease
            && let Some(connection) = self.body.into_connection()
        {
            lease.keep(connection);
        }
    }
}

/// Reads a response for the cache without a client.
pub(super) async fn fill_in_background(
    mut source: Source,
    mut encoder: Option<Box<Encoder>>,
    mut fill: Fill,
    lease: Option<Lease>,
    silence: Duration,
) {
    loop {
        let piece = match source.body.take() {
            Ok(None) if !source.is_over() => {
                let more = poll_fn(|context| source.body.poll_more(context));
                match tokio::time::timeout(silence, more).await {
                    Ok(Ok(())) => continue,
                    _ => return,
                }
            }
            Ok(piece) => piece,
            Err(_) => return,
        };
        let is_end = piece.is_none();
        let Ok(piece) = encode(&mut encoder, piece) else { return };
        if let Some(piece) = piece
            && fill.body(&piece, Instant::now()).is_err()
        {
            return;
        }
        if is_end {
            fill.finish(Instant::now());
            source.keep(lease.as_ref());
            return;
        }
    }
}

/// Compresses a piece of the body, or ends the compression.
fn encode(encoder: &mut Option<Box<Encoder>>, piece: Option<Bytes>) -> Result<Option<Bytes>, End> {
    let Some(gzip) = encoder else { return Ok(piece) };
    let packed = gzip.piece(piece.as_deref(), piece.is_none());
    if piece.is_none() {
        *encoder = None;
    }
    packed.map_err(|_| End::Broken(INTERRUPTED))
}

/// Pending waits of a relay.
#[derive(Debug, Default)]
struct Waits {
    upstream: bool,
    client: bool,
    /// Data has arrived from the upstream since the last check.
    upstream_moved: bool,
}

/// Relay of a response to a client, and of the rest of the request to the upstream.
pub(super) struct Relay<'a, D> {
    client: &'a mut D,
    upload: &'a mut Upload,
    /// The rest of the upload.
    sending: Option<UploadState>,
    /// `None` after the end, when the connection has been returned to the pool.
    source: Option<Source>,
    /// The source has ended.
    is_source_done: bool,
    encoder: Option<Box<Encoder>>,
    /// While the fill stores, it owns the body, and `copied_bytes` of it have been passed to the
    /// client: the cache never waits for a client.
    fill: Option<Box<Fill>>,
    copied_bytes: usize,
    /// The whole body, from the cache.
    stored: Option<Bytes>,
    /// Data that was collected for the cache, but is not stored.
    backlog: VecDeque<Bytes>,
    leftover: Option<Leftover>,
    /// The end of the response was sent.
    is_finished: bool,
    pushed_bytes: u64,
    waits: Waits,
    /// Ends an event stream when it resolves.
    pub(super) closing: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<'a, D: Downstream> Relay<'a, D> {
    /// Creates a relay after the response head is written; without a source, no body follows.
    pub(super) fn new(
        client: &'a mut D,
        upload: &'a mut Upload,
        source: Option<Source>,
        sending: Option<UploadState>,
        encoder: Option<Box<Encoder>>,
        fill: Option<Box<Fill>>,
    ) -> Self {
        Self {
            client,
            upload,
            sending,
            encoder,
            fill,
            copied_bytes: 0,
            stored: None,
            backlog: VecDeque::new(),
            leftover: None,
            is_source_done: source.is_none(),
            is_finished: source.is_none(),
            source,
            pushed_bytes: 0,
            waits: Waits::default(),
            closing: None,
        }
    }

    /// Bytes of the body that the client has received.
    pub(super) fn sent_bytes(&self, end: &End) -> u64 {
        match end {
            End::Complete => self.pushed_bytes,
            _ => self.pushed_bytes.saturating_sub(self.client.unsent() as u64),
        }
    }

    /// Runs the relay.
    pub(super) async fn run(&mut self, request_context: &RequestContext, timer: &mut Timer) -> End {
        let timeouts = request_context.timeouts();
        // An event stream has no total timeout, but ends when the gateway shuts down.
        let total = (!request_context.is_stream).then_some(timeouts.total);
        let mut clock: Option<(Instant, Instant, Instant, u64)> = None;
        poll_fn(|context| {
            self.waits = Waits::default();
            if let Poll::Ready(end) = self.poll(context, request_context) {
                return Poll::Ready(end.unwrap_or_else(|end| end));
            }
            let now = Instant::now();
            let sent = self.pushed_bytes.saturating_sub(self.client.unsent() as u64);
            let (begun, upstream, client, before) = clock.get_or_insert((now, now, now, sent));
            if self.waits.upstream_moved || !self.waits.upstream {
                *upstream = now;
            }
            if !self.waits.client || sent >= *before + MIN_BYTES as u64 {
                (*client, *before) = (now, sent);
            }
            let bounds = [
                total.map(|total| (*begun + total, End::Broken(INTERRUPTED))),
                self.waits.client.then(|| (*client + SEND_TIMEOUT, End::ClientGone)),
                self.waits.upstream.then(|| {
                    let why = "the upstream stopped sending during its response";
                    (*upstream + timeouts.silence, End::Broken(why))
                }),
            ];
            let first = bounds.into_iter().flatten().min_by_key(|(until, _)| *until);
            let Some((until, end)) = first else { return Poll::Pending };
            timer.set(until.saturating_duration_since(now));
            timer.poll(context).map(|()| end)
        })
        .await
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        request_context: &RequestContext,
    ) -> Poll<Result<End, End>> {
        self.poll_sending(context)?;
        if self.fill.is_some() {
            self.poll_fill(context, request_context)?;
        }
        loop {
            match self.client.poll_ready(context)? {
                Poll::Ready(()) => {}
                Poll::Pending => {
                    self.waits.client = true;
                    return Poll::Pending;
                }
            }
            match self.next(request_context)? {
                Next::Data(piece) => {
                    self.pushed_bytes += piece.len() as u64;
                    self.client.push(piece)?;
                }
                Next::End => {
                    if !self.is_finished {
                        self.is_finished = true;
                        self.client.finish()?;
                    }
                    let flushed = self.client.poll_flush(context)?;
                    self.waits.client = flushed.is_pending();
                    return flushed.map(|()| Ok(End::Complete));
                }
                Next::Nothing => {
                    self.waits.client = self.client.poll_flush(context)?.is_pending();
                    if self.poll_more(context, request_context)?.is_pending() {
                        return self.poll_end(context);
                    }
                }
            }
        }
    }

    /// Sends the rest of the request.
    fn poll_sending(&mut self, context: &mut Context<'_>) -> Result<(), End> {
        let (Some(sending), Some(source)) = (&mut self.sending, &mut self.source) else {
            return Ok(());
        };
        match sending.poll(context, source.body.stream(), self.upload, self.client) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.sending = None,
            Poll::Ready(Err(BodyFault::ClientGone)) => return Err(End::ClientGone),
            Poll::Ready(Err(BodyFault::Refused(_))) => {
                return Err(End::Broken("the request broke off"));
            }
        }
        Ok(())
    }

    /// Passes available data to the cache.
    fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        request_context: &RequestContext,
    ) -> Result<(), End> {
        while !self.is_source_done {
            match self.take()? {
                Next::Data(piece) => {
                    let Some(fill) = &mut self.fill else { return Ok(()) };
                    if let Err(leftover) = fill.body(&piece, Instant::now()) {
                        self.fill = None;
                        self.backlog.push_back(leftover.bytes.slice(self.copied_bytes..));
                        self.backlog.push_back(piece);
                        self.leftover = Some(leftover);
                        return Ok(());
                    }
                }
                Next::End => {
                    if let Some(fill) = self.fill.take() {
                        let body = fill.finish(Instant::now());
                        self.stored = Some(body.slice(self.copied_bytes..));
                    }
                    self.end_source(request_context);
                }
                Next::Nothing => {
                    if self.poll_source(context)?.is_pending() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Next piece for the client.
    fn next(&mut self, request_context: &RequestContext) -> Result<Next, End> {
        if let Some(fill) = &self.fill {
            let rest = fill.bytes().get(self.copied_bytes..).unwrap_or_default();
            let rest = rest.get(..COPIED_BYTES).unwrap_or(rest);
            if rest.is_empty() {
                return Ok(Next::Nothing);
            }
            self.copied_bytes += rest.len();
            return Ok(Next::Data(Bytes::copy_from_slice(rest)));
        }
        if let Some(stored) = self.stored.take().filter(|stored| !stored.is_empty()) {
            return Ok(Next::Data(stored));
        }
        if let Some(piece) = self.backlog.pop_front() {
            if piece.is_empty() {
                return self.next(request_context);
            }
            return Ok(Next::Data(piece));
        }
        self.leftover = None;
        if self.is_source_done {
            return Ok(Next::End);
        }
        let taken = self.take()?;
        if let Next::End = taken {
            self.end_source(request_context);
        }
        Ok(taken)
    }

    /// Next piece from the upstream, compressed if necessary.
    fn take(&mut self) -> Result<Next, End> {
        let Some(source) = &mut self.source else { return Ok(Next::End) };
        loop {
            let piece = source.body.take().map_err(End::Broken)?;
            if piece.is_none() && !source.is_over() {
                return Ok(Next::Nothing);
            }
            // The encoder's last piece comes before the end.
            if piece.is_none() && self.encoder.is_none() {
                return Ok(Next::End);
            }
            if let Some(piece) = encode(&mut self.encoder, piece)? {
                return Ok(Next::Data(piece));
            }
        }
    }

    /// Waits for more data from the upstream, if it is needed now.
    fn poll_more(
        &mut self,
        context: &mut Context<'_>,
        request_context: &RequestContext,
    ) -> Poll<Result<(), End>> {
        if self.fill.is_none() {
            return self.poll_source(context);
        }
        let was = self.copied_bytes;
        self.poll_fill(context, request_context)?;
        let has_more = self.fill.as_ref().is_none_or(|fill| fill.bytes().len() > was);
        if has_more { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_source(&mut self, context: &mut Context<'_>) -> Poll<Result<(), End>> {
        let Some(source) = &mut self.source else { return Poll::Pending };
        let more = source.body.poll_more(context).map_err(broken);
        self.waits.upstream = more.is_pending();
        self.waits.upstream_moved |= more.is_ready();
        more
    }

    /// Marks the source as ended.
    fn end_source(&mut self, request_context: &RequestContext) {
        self.is_source_done = true;
        if self.sending.is_none()
            && let Some(source) = self.source.take()
        {
            source.keep(request_context.attempts.lease.as_ref());
        }
    }

    /// Checks for an early end of the response.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Result<End, End>> {
        let closing = self.closing.as_mut().map(|closing| closing.as_mut().poll(context));
        if closing.is_some_and(|closing| closing.is_ready()) {
            if !self.source.as_ref().is_some_and(|source| source.body.is_at_boundary()) {
                return Poll::Ready(Err(End::Broken(INTERRUPTED)));
            }
            self.closing = None;
            self.is_source_done = true;
            // Schedules another poll.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let pulls = self.sending.as_ref().is_some_and(UploadState::pulls);
        if !pulls && self.client.poll_disconnect(context).is_ready() {
            return Poll::Ready(Err(End::ClientGone));
        }
        Poll::Pending
    }
}

/// Next part of a response.
enum Next {
    Data(Bytes),
    Nothing,
    End,
}

fn broken(_: std::io::Error) -> End {
    End::Broken("the upstream closed the connection during its response")
}
