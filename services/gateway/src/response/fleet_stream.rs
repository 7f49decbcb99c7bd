//! Transfer of the fleet's merged stream to a viewer.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::time::sleep;

use super::relay::{Closing, Downstream, End, MIN_BYTES, flush, until_closing};
use crate::context::RequestContext;
use crate::deadline::Timer;
use crate::fleet::Viewer;
use crate::message::client::ClientGone;

/// Timeout for writing a batch or a part. A slower viewer must reconnect; until then it keeps a
/// batch in memory that the others no longer need.
const WRITE_TIME: Duration = Duration::from_secs(10);

/// Idle time after which a comment is sent. A gateway that merges this one marks it as silent after
/// 3 s, and there is no batch while all members are gone.
const KEEP_ALIVE: Duration = Duration::from_millis(1_500);

/// Timeout for sending the end of the stream.
const END_TIME: Duration = Duration::from_millis(200);

/// Sends the merged stream to a client until one of them ends.
pub(crate) async fn send_fleet<D: Downstream>(
    request_context: &mut RequestContext,
    mut viewer: Viewer,
    client: &mut D,
    timer: &mut Timer,
    closing: &Closing,
) -> End {
    request_context.status = StatusCode::OK.as_u16();
    request_context.is_stream = true;
    let metrics = request_context.route.as_ref().map(|route| route.metrics.clone());
    if let Some(metrics) = &metrics {
        metrics.streams.add();
    }
    let end = match client.head(request_context, StatusCode::OK, viewer.fields(), false) {
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
    if let Some(bytes) = viewer.beginning()
        && push(request_context, client, bytes).is_err()
    {
        return End::ClientGone;
    }
    loop {
        // Sends the head immediately.
        let sent = tokio::select! {
            biased;
            () = &mut closing => break,
            sent = flush(client, timer, MIN_BYTES, WRITE_TIME, WRITE_TIME) => sent,
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
                () = poll_fn(|context| client.poll_disconnect(context)) => return End::ClientGone,
                () = viewer.changed() => continue,
                () = sleep(KEEP_ALIVE) => viewer.comment(),
            }
        };
        if push(request_context, client, events).is_err() {
            return End::ClientGone;
        }
    }
    // The client must have the events that were begun before the end of their compression.
    if flush(client, timer, MIN_BYTES, END_TIME, END_TIME).await.is_err()
        || viewer.end().is_some_and(|bytes| push(request_context, client, bytes).is_err())
    {
        return End::ClientGone;
    }
    let ended = client.finish();
    match flush(client, timer, MIN_BYTES, END_TIME, END_TIME).await.and(ended) {
        Ok(()) => End::Complete,
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
