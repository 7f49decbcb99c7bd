//! Viewer of the merged stream. It has no queue: a viewer that is up to date gets the common batch,
//! and one that is behind gets the current state in parts.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, VARY};
use server::gzip;
use tokio::sync::watch;
use tokio::time::sleep;

use super::cursor::{Batch, Cursor, Next};
use super::hub::Fleet;
use super::source::FLEET_INSTANCE;
use crate::deadline::Timer;
use crate::fields::Fields;
use crate::request::context::RequestContext;
use crate::response::relay::{
    ClientGone, Closing, Downstream, End, LEAST_BYTES, flush, until_closing,
};

/// Maximum bytes of a part of the state. Small, because a slow viewer holds one.
const PART_BYTES: usize = 16 * 1024;

/// Timeout for writing a batch or a part. A slower viewer must reconnect; until then it keeps a
/// batch in memory that the others no longer need.
const WRITE_TIME: Duration = Duration::from_secs(10);

const COMMENT: &[u8] = b":\n\n";

/// Idle time after which a comment is sent. A gateway that merges this one marks it as silent after
/// 3 s, and there is no batch while all members are gone.
const KEEP_ALIVE: Duration = Duration::from_millis(1_500);

/// Timeout for sending the end of the stream.
const END_TIME: Duration = Duration::from_millis(200);

/// Viewer of the merged stream.
pub(crate) struct Viewer {
    fleet: Arc<Fleet>,
    batches: watch::Receiver<Batch>,
    cursor: Cursor,
    /// Compression state, if the stream is compressed.
    gzip: Option<gzip::Stream>,
    /// Gateways that receive this stream.
    gateways: Vec<u32>,
}

impl Viewer {
    pub(super) fn new(
        fleet: &Arc<Fleet>,
        batches: watch::Receiver<Batch>,
        is_gzip: bool,
        gateways: Vec<u32>,
    ) -> Self {
        let gzip = is_gzip.then(gzip::Stream::default);
        Self { fleet: fleet.clone(), batches, cursor: Cursor::default(), gzip, gateways }
    }

    /// Next events, if there are any.
    fn next(&mut self) -> Option<Bytes> {
        loop {
            let batch = self.batches.borrow_and_update();
            let next = self.cursor.next(&batch);
            let link = batch.link.clone();
            drop(batch);
            match next {
                Next::Nothing => return None,
                Next::Batch(bytes) => return Some(self.batch(bytes, link.as_ref())),
                Next::State => {}
            }
            let cursor = &mut self.cursor;
            let part = self.fleet.with_merge(|merge| cursor.read(merge, PART_BYTES));
            if !part.is_empty() {
                return Some(self.alone(part));
            }
        }
    }

    /// Encodes a batch that follows the previous one.
    fn batch(&mut self, bytes: Bytes, link: Option<&gzip::Link>) -> Bytes {
        if let Some((stream, link)) = self.gzip.as_mut().zip(link)
            && stream.takes(link, &bytes, true)
        {
            return link.block.clone();
        }
        self.alone(bytes)
    }

    /// Encodes text that only this viewer gets.
    fn alone(&mut self, text: Bytes) -> Bytes {
        let Some(stream) = &mut self.gzip else { return text };
        stream.alone(&text);
        gzip::block(&text, Compression::fast())
    }

    /// Waits for the next batch.
    async fn changed(&mut self) {
        // The viewer holds the fleet, which owns the sender.
        let _ = self.batches.changed().await;
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.fleet.leave(self.gzip.is_some(), &self.gateways);
    }
}

/// Sends the merged stream to a client until one of them ends.
pub(crate) async fn send<D: Downstream>(
    request_context: &mut RequestContext,
    mut viewer: Viewer,
    client: &mut D,
    timer: &mut Timer,
    closing: &Closing,
) -> End {
    let mut fields = Fields::new();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Disables buffering in proxies that support this field of nginx.
    fields.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    fields.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(instance) = HeaderValue::try_from(viewer.fleet.instance()) {
        fields.insert(HeaderName::from_static(FLEET_INSTANCE), instance);
    }
    if viewer.gzip.is_some() {
        fields.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
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
    if viewer.gzip.is_some()
        && push(request_context, client, Bytes::from_static(gzip::HEAD)).is_err()
    {
        return End::ClientGone;
    }
    loop {
        // Sends the head immediately.
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
                () = sleep(KEEP_ALIVE) => viewer.alone(Bytes::from_static(COMMENT)),
            }
        };
        if push(request_context, client, events).is_err() {
            return End::ClientGone;
        }
    }
    if let Some(stream) = &viewer.gzip
        && push(request_context, client, stream.tail()).is_err()
    {
        return End::ClientGone;
    }
    let ended = client.finish();
    match flush(client, timer, LEAST_BYTES, END_TIME, END_TIME).await.and(ended) {
        Ok(()) => End::Whole,
        Err(ClientGone) => End::ClientGone,
    }
}

fn push<D: Downstream>(
    request_context: &mut RequestContext,
    client: &mut D,
    bytes: Bytes,
) -> Result<(), ClientGone> {
    request_context.sent_bytes += bytes.len() as u64;
    client.push(bytes)
}
