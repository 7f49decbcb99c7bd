//! A reader of the merged stream. It has no queue: one that is up to date gets the batch that all
//! get, and one that is behind gets the current state in parts.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use tokio::sync::watch;
use tokio::time::sleep;

use super::cursor::{Batch, Cursor, Next};
use super::hub::Fleet;
use crate::deadline::Timer;
use crate::request::context::RequestContext;
use crate::response::relay::{
    ClientGone, Closing, Downstream, End, LEAST_BYTES, flush, until_closing,
};

/// Bytes of a part of the state. Small, because a slow viewer holds one.
const PART_BYTES: usize = 16 * 1024;

/// Time for a viewer to take a batch or a part. One that needs longer connects again; until then
/// it holds a batch that the others do not need any more.
const WRITE_TIME: Duration = Duration::from_secs(10);

/// Silence after which a comment is sent, so that nothing between takes the stream for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Time for the end of the stream to be sent.
const END_TIME: Duration = Duration::from_millis(200);

/// A reader of the merged stream.
pub(crate) struct Viewer {
    fleet: Arc<Fleet>,
    batches: watch::Receiver<Batch>,
    cursor: Cursor,
}

impl Viewer {
    pub(super) fn new(fleet: &Arc<Fleet>, batches: watch::Receiver<Batch>) -> Self {
        Self { fleet: fleet.clone(), batches, cursor: Cursor::default() }
    }

    /// The next events, if there are new ones.
    fn next(&mut self) -> Option<Bytes> {
        loop {
            let next = self.cursor.next(&self.batches.borrow_and_update());
            match next {
                Next::Nothing => return None,
                Next::Batch(bytes) => return Some(bytes),
                Next::State => {}
            }
            let cursor = &mut self.cursor;
            let part = self.fleet.with_merge(|merge| cursor.read(merge, PART_BYTES));
            if !part.is_empty() {
                return Some(part);
            }
        }
    }

    /// Waits for the next batch.
    async fn changed(&mut self) {
        // The sender is in the fleet, which this holds.
        let _ = self.batches.changed().await;
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.fleet.leave();
    }
}

/// Sends the merged stream to a client until one of both ends.
pub(crate) async fn send<D: Downstream>(
    request_context: &mut RequestContext,
    mut viewer: Viewer,
    client: &mut D,
    timer: &mut Timer,
    closing: &Closing,
) -> End {
    let mut fields = HeaderMap::new();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // For a proxy in front that follows nginx, which holds responses back otherwise.
    fields.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    request_context.status = StatusCode::OK.as_u16();
    request_context.streams = true;
    let metrics = request_context.route.as_ref().map(|route| route.metrics.clone());
    if let Some(metrics) = &metrics {
        metrics.streams.add();
    }
    let end = match client.head(request_context, StatusCode::OK, fields, false) {
        Ok(()) => stream(request_context, &mut viewer, client, timer, closing).await,
        Err(ClientGone) => End::ClientGone,
    };
    if let Some(metrics) = &metrics {
        metrics.streams.remove();
    }
    end
}

async fn stream<D: Downstream>(
    request_context: &mut RequestContext,
    viewer: &mut Viewer,
    client: &mut D,
    timer: &mut Timer,
    closing: &Closing,
) -> End {
    let mut closing = pin!(until_closing(closing.clone()));
    loop {
        // The head goes out at once.
        let sent = tokio::select! {
            biased;
            () = &mut closing => break,
            sent = flush(client, timer, LEAST_BYTES, WRITE_TIME, WRITE_TIME) => sent,
        };
        if sent.is_err() {
            return End::ClientGone;
        }
        let events = if let Some(events) = viewer.next() {
            events
        } else {
            tokio::select! {
                biased;
                () = &mut closing => break,
                () = poll_fn(|context| client.poll_left(context)) => return End::ClientGone,
                () = viewer.changed() => continue,
                () = sleep(KEEP_ALIVE) => Bytes::from_static(b":\n\n"),
            }
        };
        request_context.sent_bytes += events.len() as u64;
        if client.push(events).is_err() {
            return End::ClientGone;
        }
    }
    let ended = client.finish();
    match flush(client, timer, LEAST_BYTES, END_TIME, END_TIME).await.and(ended) {
        Ok(()) => End::Whole,
        Err(ClientGone) => End::ClientGone,
    }
}
