//! Upload of a request body to an upstream. The beginning is buffered in memory, within one budget
//! for all connections. A body that fits is sent with its length and can be retried. A longer one
//! is streamed piece by piece, so the client sends as fast as the upstream reads.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use http::Method;
use tokio::io::AsyncWrite;

use crate::deadline::Timer;
use crate::memory_budget::{MemoryBudget, MemoryPermit};
use crate::message::client::BodyFault;
use crate::message::client::Client;
use crate::message::head::field;
use crate::message::head::push_size;
use crate::message::problem::Problem;
use crate::request::parse::Length;
use crate::upstream::Stream;

/// Bytes of a body that are buffered before the request is sent to an upstream: the default body
/// limit, so that by default a slow client never occupies an upstream.
pub(crate) const REPLAY_BUFFER_BYTES: usize = 64 * 1024;

/// Smallest step in which the budget is reserved.
const STEP_BYTES: usize = 4 * 1024;

/// A request body, as far as it has been read.
#[derive(Debug)]
pub(crate) struct Upload {
    replay_buffer: Bytes,
    /// The buffer contains the whole body; otherwise the client has more to send.
    pub(crate) is_complete: bool,
    length: Length,
    /// Data beyond the buffer has been read, so the body cannot be retried.
    is_streamed: bool,
    /// Remaining time for the client to send the rest.
    time_left: Duration,
    permit: MemoryPermit,
}

impl Upload {
    /// Reads the body, or as much of it as the buffer holds.
    ///
    /// # Errors
    /// Returns an error if the body is malformed, too slow or beyond the budget, or the client has
    /// disconnected.
    pub(crate) async fn buffer(
        client: &mut dyn Client,
        length: Length,
        budget: &Arc<MemoryBudget>,
        time: Duration,
        timer: &mut Timer,
    ) -> Result<Self, BodyFault> {
        let mut upload = Self {
            replay_buffer: Bytes::new(),
            is_complete: length == Length::Known(0),
            length,
            is_streamed: false,
            time_left: time,
            permit: budget.permit(),
        };
        if upload.is_complete {
            return Ok(upload);
        }
        let begun = Instant::now();
        let mut buffered = BytesMut::new();
        // Up to one piece beyond the limit, to detect a body larger than that. A body that is
        // rejected here has not reached an upstream.
        while !upload.is_complete && buffered.len() <= REPLAY_BUFFER_BYTES {
            let left = time.saturating_sub(begun.elapsed());
            let piece = timer.within(left, poll_fn(|context| client.poll_body(context))).await;
            let Some(piece) = piece else { return Err(too_slow()) };
            let Some(piece) = piece? else {
                upload.is_complete = true;
                break;
            };
            if !upload.reserve(buffered.len() + piece.len()) {
                return Err(BodyFault::Refused(Problem::busy()));
            }
            let is_all = length == Length::Known(piece.len() as u64);
            if is_all {
                // A single piece need not be copied.
                upload.replay_buffer = piece;
                upload.is_complete = true;
                return Ok(upload);
            }
            buffered.extend_from_slice(&piece);
            upload.is_complete = length == Length::Known(buffered.len() as u64);
        }
        upload.replay_buffer = buffered.freeze();
        upload.time_left = time.saturating_sub(begun.elapsed());
        Ok(upload)
    }

    /// Reserves bytes from the budget, in steps; false if it is exhausted.
    fn reserve(&mut self, bytes: usize) -> bool {
        let wanted = bytes.next_power_of_two().max(STEP_BYTES);
        let more = wanted.saturating_sub(self.permit.bytes());
        more == 0 || self.permit.grow(more)
    }

    /// Completes the head of the request with the framing of its body.
    pub(crate) fn finish_head(&self, mut head: Vec<u8>, method: &Method) -> Bytes {
        let means_body = [Method::POST, Method::PUT, Method::PATCH].contains(method);
        match self.known_length() {
            // RFC 9110, section 8.6: methods that define a meaning for a body send its length.
            Some(0) if !means_body => {}
            Some(length) => {
                let mut digits = itoa::Buffer::new();
                field(&mut head, "content-length", digits.format(length).as_bytes());
            }
            None => field(&mut head, "transfer-encoding", b"chunked"),
        }
        head.extend_from_slice(b"\r\n");
        head.into()
    }

    fn known_length(&self) -> Option<u64> {
        match self.length {
            _ if self.is_complete => Some(self.replay_buffer.len() as u64),
            Length::Known(length) => Some(length),
            Length::Chunked => None,
        }
    }

    /// Whether everything that an upstream may have received can be sent again.
    pub(crate) fn can_be_replayed(&self) -> bool {
        !self.is_streamed
    }

    /// Releases the memory: there are no more retries.
    pub(crate) fn release(&mut self) {
        self.replay_buffer = Bytes::new();
        self.permit.shrink_to(0);
    }

    /// Whether there is no body.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_complete && self.replay_buffer.is_empty()
    }

    /// Starts to send the request.
    pub(crate) fn begin(&self, head: &Bytes) -> UploadState {
        let is_chunked = self.known_length().is_none();
        let mut sending = UploadState {
            queue: VecDeque::new(),
            front: head.clone(),
            head_left: head.len(),
            is_chunked,
            pulls: !self.is_complete,
            body_sent: 0,
            error: None,
            waiting: None,
        };
        sending.push(self.replay_buffer.clone());
        sending
    }
}

/// Error for a client that does not send its body in time.
fn too_slow() -> BodyFault {
    BodyFault::Refused(Problem::too_slow("body"))
}

/// Progress of a request to one upstream.
#[derive(Debug)]
pub(crate) struct UploadState {
    /// The part that is written first, and the rest of the queue.
    front: Bytes,
    queue: VecDeque<Bytes>,
    /// Bytes of the head that are not written to the kernel yet.
    head_left: usize,
    is_chunked: bool,
    /// The client has more data to send.
    pulls: bool,
    /// Bytes after the head that are written to the kernel.
    body_sent: u64,
    /// Write error that ended the upload.
    error: Option<io::Error>,
    /// Start of the current wait for the client.
    waiting: Option<Instant>,
}

impl UploadState {
    /// Whether no part of the body has been sent, so the upstream cannot have processed the
    /// request.
    pub(crate) fn is_unsent(&self, upload: &Upload) -> bool {
        if upload.is_empty() { self.head_left > 0 } else { self.body_sent == 0 }
    }

    /// Whether the whole request has been sent.
    pub(crate) fn is_done(&self) -> bool {
        !self.pulls && self.front.is_empty() && self.error.is_none()
    }

    /// Whether more of the body is read from the client.
    pub(crate) fn pulls(&self) -> bool {
        self.pulls && self.error.is_none()
    }

    /// Remaining time for the client, if it is being waited for.
    pub(crate) fn client_time(&self, upload: &Upload) -> Option<Duration> {
        self.waiting.map(|since| upload.time_left.saturating_sub(since.elapsed()))
    }

    /// Bytes of the head that are left, and of the body that are written to the kernel.
    pub(crate) fn progress(&self) -> (usize, u64) {
        (self.head_left, self.body_sent)
    }

    /// Write error that ended the upload.
    pub(crate) fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    /// Sends available data. Ready when everything is sent, or nothing more can be sent.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut Stream,
        upload: &mut Upload,
        client: &mut dyn Client,
    ) -> Poll<Result<(), BodyFault>> {
        loop {
            if self.error.is_some() {
                return Poll::Ready(Ok(()));
            }
            while !self.front.is_empty() {
                let stream = Pin::new(&mut *stream);
                let written = match self.queue.front() {
                    Some(next) => {
                        let slices = [IoSlice::new(&self.front), IoSlice::new(next)];
                        stream.poll_write_vectored(context, &slices)
                    }
                    None => stream.poll_write(context, &self.front),
                };
                match written {
                    Poll::Ready(Ok(count)) if count > 0 => self.advance(count),
                    Poll::Ready(Ok(_)) => self.error = Some(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(Err(error)) => self.error = Some(error),
                    Poll::Pending => return Poll::Pending,
                }
                if self.error.is_some() {
                    // An upstream that stopped reading may still send the reason.
                    return Poll::Ready(Ok(()));
                }
            }
            if !self.pulls {
                return Poll::Ready(Ok(()));
            }
            match client.poll_body(context)? {
                Poll::Ready(piece) => {
                    if let Some(since) = self.waiting.take() {
                        upload.time_left = upload.time_left.saturating_sub(since.elapsed());
                    }
                    upload.is_streamed = true;
                    if let Some(piece) = piece {
                        self.push(piece);
                    } else {
                        self.pulls = false;
                        if self.is_chunked {
                            self.front = Bytes::from_static(b"0\r\n\r\n");
                        }
                    }
                }
                Poll::Pending => {
                    self.waiting.get_or_insert_with(Instant::now);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Adds a piece of the body with its framing.
    fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        let mut add = |part: Bytes| {
            if self.front.is_empty() { self.front = part } else { self.queue.push_back(part) }
        };
        if self.is_chunked {
            let mut size = Vec::with_capacity(20);
            push_size(&mut size, piece.len());
            add(size.into());
            add(piece);
            add(Bytes::from_static(b"\r\n"));
        } else {
            add(piece);
        }
    }

    fn advance(&mut self, mut count: usize) {
        let of_head = count.min(self.head_left);
        self.head_left -= of_head;
        self.body_sent += (count - of_head) as u64;
        loop {
            let of_front = count.min(self.front.len());
            self.front.advance(of_front);
            count -= of_front;
            if !self.front.is_empty() {
                return;
            }
            match self.queue.pop_front() {
                Some(next) => self.front = next,
                None => return,
            }
        }
    }
}
