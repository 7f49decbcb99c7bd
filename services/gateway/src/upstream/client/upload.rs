//! A request's body on its way to an upstream. The beginning is held in memory, within one budget
//! for all connections: a body that fits there is sent with its length and can be sent again; of a
//! longer one only a piece at a time is in memory, and the client sends as fast as the upstream
//! takes it.

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

/// Bytes of a body that are held before an upstream is asked: the default limit of bodies, so that
/// by default no slow client ever occupies an upstream.
pub(crate) const HELD_BYTES: usize = 64 * 1024;

/// The smallest step of the budget.
const STEP_BYTES: usize = 4 * 1024;

/// A request's body as far as it has been read.
#[derive(Debug)]
pub(crate) struct Upload {
    held: Bytes,
    /// The held bytes are all of it.
    is_whole: bool,
    length: Length,
    /// Something behind the held bytes has been read, so it cannot be sent again.
    is_streamed: bool,
    /// What is left of the time that the client has for the rest.
    time_left: Duration,
    room: MemoryPermit,
}

impl Upload {
    /// Reads the body, or as much of it as is held.
    ///
    /// # Errors
    /// A body that is malformed, too slow or beyond the budget, or a client that is gone.
    pub(crate) async fn hold(
        client: &mut dyn Client,
        length: Length,
        budget: &Arc<MemoryBudget>,
        time: Duration,
        timer: &mut Timer,
    ) -> Result<Self, BodyFault> {
        let mut upload = Self {
            held: Bytes::new(),
            is_whole: length == Length::Known(0),
            length,
            is_streamed: false,
            time_left: time,
            room: budget.room(),
        };
        if upload.is_whole {
            return Ok(upload);
        }
        let begun = Instant::now();
        let mut gathered = BytesMut::new();
        // Up to one piece beyond the limit: only then is it known that a body has no more than that, and
        // a body that is refused has never reached an upstream.
        while !upload.is_whole && gathered.len() <= HELD_BYTES {
            let left = time.saturating_sub(begun.elapsed());
            let piece = timer.within(left, poll_fn(|context| client.poll_body(context))).await;
            let Some(piece) = piece else { return Err(too_slow()) };
            let Some(piece) = piece? else {
                upload.is_whole = true;
                break;
            };
            if !upload.reserve(gathered.len() + piece.len()) {
                return Err(BodyFault::Refused(Problem::busy()));
            }
            let is_all = length == Length::Known(piece.len() as u64);
            if is_all {
                // It came in one piece and need not be copied.
                upload.held = piece;
                upload.is_whole = true;
                return Ok(upload);
            }
            gathered.extend_from_slice(&piece);
            upload.is_whole = length == Length::Known(gathered.len() as u64);
        }
        upload.held = gathered.freeze();
        upload.time_left = time.saturating_sub(begun.elapsed());
        Ok(upload)
    }

    /// Counts so many bytes in the budget, in steps; false when there is no room for them.
    fn reserve(&mut self, bytes: usize) -> bool {
        let wanted = bytes.next_power_of_two().max(STEP_BYTES);
        let more = wanted.saturating_sub(self.room.bytes());
        more == 0 || self.room.grow(more)
    }

    /// Ends the head of the request with how its body is framed.
    pub(crate) fn finish_head(&self, mut head: Vec<u8>, method: &Method) -> Bytes {
        let means_body = [Method::POST, Method::PUT, Method::PATCH].contains(method);
        match self.known_length() {
            // RFC 9110, section 8.6: methods that have a meaning for a body tell its length.
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
            _ if self.is_whole => Some(self.held.len() as u64),
            Length::Known(length) => Some(length),
            Length::Chunked => None,
        }
    }

    /// Whether all that an upstream may have got can be sent again.
    pub(crate) fn can_be_repeated(&self) -> bool {
        !self.is_streamed
    }

    /// Gives the memory back: nothing will be sent again.
    pub(crate) fn release(&mut self) {
        self.held = Bytes::new();
        self.room.shrink_to(0);
    }

    /// Whether the client's part is over: all of the body has been read.
    pub(crate) fn is_read(&self) -> bool {
        self.is_whole
    }

    /// Whether there is no body at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_whole && self.held.is_empty()
    }

    /// Begins to send the request.
    pub(crate) fn begin(&self, head: &Bytes) -> UploadState {
        let is_chunked = self.known_length().is_none();
        let mut sending = UploadState {
            queue: VecDeque::new(),
            front: head.clone(),
            head_left: head.len(),
            is_chunked,
            pulls: !self.is_whole,
            body_sent: 0,
            error: None,
            waiting: None,
        };
        sending.push(self.held.clone());
        sending
    }
}

/// A client that does not send its body in time.
fn too_slow() -> BodyFault {
    BodyFault::Refused(Problem::too_slow("body"))
}

/// A request on its way to one upstream.
#[derive(Debug)]
pub(crate) struct UploadState {
    /// What is written first, and what comes behind it.
    front: Bytes,
    queue: VecDeque<Bytes>,
    /// Bytes of the head that the kernel has not taken.
    head_left: usize,
    is_chunked: bool,
    /// There is more to come from the client.
    pulls: bool,
    /// Bytes behind the head that the kernel has taken.
    body_sent: u64,
    /// Why nothing more can be sent.
    error: Option<io::Error>,
    /// Since when the client is waited for.
    waiting: Option<Instant>,
}

impl UploadState {
    /// Whether nothing of the body has left, so that the upstream cannot have acted upon it.
    pub(crate) fn is_unsent(&self, upload: &Upload) -> bool {
        if upload.is_empty() { self.head_left > 0 } else { self.body_sent == 0 }
    }

    /// Whether the whole request has been sent.
    pub(crate) fn is_done(&self) -> bool {
        !self.pulls && self.front.is_empty() && self.error.is_none()
    }

    /// Whether the client is read for more of the body.
    pub(crate) fn pulls(&self) -> bool {
        self.pulls && self.error.is_none()
    }

    /// Whether the client is waited for, and for how long it may be.
    pub(crate) fn client_time(&self, upload: &Upload) -> Option<Duration> {
        self.waiting.map(|since| upload.time_left.saturating_sub(since.elapsed()))
    }

    /// Bytes that the kernel has taken, of all that there will be.
    pub(crate) fn progress(&self) -> (usize, u64) {
        (self.head_left, self.body_sent)
    }

    /// Why it cannot be sent.
    pub(crate) fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    /// Sends what there is and what comes; ready when there is no more to send, or nothing more can
    /// be sent.
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
                    // An upstream that takes no more may still say why.
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

    /// Adds a piece of the body in its frame.
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
