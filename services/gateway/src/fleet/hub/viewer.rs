//! Viewer of the merged stream. It has no queue: a viewer that is up to date gets the common batch,
//! and one that is behind gets the current state in parts.

use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use http::header::{CONTENT_ENCODING, HeaderName, HeaderValue, VARY};
use server::gzip;
use tokio::sync::watch;

use super::super::cursor::{Batch, Cursor, Next};
use super::Fleet;
use super::source::FLEET_INSTANCE;
use crate::fields::Fields;

/// Maximum bytes of a part of the state. Small, because a slow viewer holds one.
const PART_BYTES: usize = 16 * 1024;

const COMMENT: &[u8] = b":\n\n";

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

    /// Header fields of the stream.
    pub(crate) fn fields(&self) -> Fields {
        let mut fields = Fields::generated("text/event-stream");
        // Disables buffering in proxies that support this field of nginx.
        fields.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
        fields.insert(VARY, HeaderValue::from_static("accept-encoding"));
        if let Ok(instance) = HeaderValue::try_from(self.fleet.instance()) {
            fields.insert(HeaderName::from_static(FLEET_INSTANCE), instance);
        }
        if self.gzip.is_some() {
            fields.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        fields
    }

    /// Bytes before the first event.
    pub(crate) fn beginning(&self) -> Option<Bytes> {
        self.gzip.is_some().then(|| Bytes::from_static(gzip::HEAD))
    }

    /// Bytes after the last event.
    pub(crate) fn end(&self) -> Option<Bytes> {
        self.gzip.as_ref().map(gzip::Stream::tail)
    }

    /// A comment that keeps the connection alive.
    pub(crate) fn comment(&mut self) -> Bytes {
        self.alone(Bytes::from_static(COMMENT))
    }

    /// Next events, if there are any.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
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
    pub(crate) async fn changed(&mut self) {
        // The viewer holds the fleet, which owns the sender.
        let _ = self.batches.changed().await;
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.fleet.leave(self.gzip.is_some(), &self.gateways);
    }
}
