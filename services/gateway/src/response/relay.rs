//! Relay of an upstream's response to a client of any protocol: cache, hop-by-hop fields,
//! compression, and timeouts.

mod refill;
mod transfer;

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderValue};
use tokio::sync::watch;

pub(crate) use self::refill::refill;
use self::transfer::{Relay, Source, fill_in_background};
use crate::cache::CachedResponse;
use crate::compression::RequestInfo;
use crate::context::{RequestContext, deduplicate_fields};
use crate::deadline::Timer;
use crate::fields::Fields;
use crate::message::client::{Client, ClientGone, SEND_TIMEOUT};
use crate::message::head::FullResponse;
use crate::request::hop_by_hop::strip;
use crate::request::parse::Head;
use crate::upstream::Lease;
use crate::upstream::client::{Upload, UpstreamResponse};

/// Log text for a client that disconnected.
pub(crate) const CLIENT_DISCONNECTED: &str = "client disconnected";

/// Log text for a response that exceeded its total timeout.
const INTERRUPTED: &str = "response interrupted";

/// Minimum bytes that a client must read within [`SEND_TIMEOUT`]. Otherwise a client could keep a
/// response open by reading a byte from time to time.
pub(crate) const MIN_BYTES: usize = 16 * 1024;

/// Becomes true when the gateway shuts down.
pub(crate) type Closing = watch::Receiver<bool>;

/// A client while it receives the response.
pub(crate) trait Downstream: Client {
    /// Sets the maximum size of the request body, before any of it is read.
    fn limit_body(&mut self, most: usize);

    /// Sends 100 (Continue), if the client waits for it (RFC 9110, section 10.1.1).
    fn send_continue(&mut self);

    /// Whether the connection can become a tunnel.
    fn can_tunnel(&self) -> bool;

    /// Writes status and fields, and adds the fields of every response. Content-Length is included
    /// where it is known, and connection-specific fields are not. If `ends` is true, no body
    /// follows.
    fn head(
        &mut self,
        request_context: &mut RequestContext,
        status: StatusCode,
        fields: Fields,
        ends: bool,
    ) -> Result<(), ClientGone>;

    /// Writes a complete response.
    fn reply(&mut self, reply: FullResponse) -> Result<(), ClientGone>;

    /// Ready when the client accepts another piece.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientGone>>;

    /// Writes a piece of the body.
    fn push(&mut self, piece: Bytes) -> Result<(), ClientGone>;

    /// Completes the response.
    fn finish(&mut self) -> Result<(), ClientGone>;
}

/// Outcome of a relay.
#[derive(Debug)]
pub(crate) enum End {
    /// The response is complete.
    Complete,
    /// The client disconnected.
    ClientGone,
    /// The response is truncated, and the client must be able to detect it.
    Broken(&'static str),
    /// Nothing was sent: send this response instead.
    Substitute(CachedResponse),
}

impl From<ClientGone> for End {
    fn from(_: ClientGone) -> Self {
        Self::ClientGone
    }
}

/// Relays the response to a request with this head, which is dropped first: the response may last for
/// days. The connection to the upstream is kept if possible.
pub(crate) async fn relay_response<D: Downstream>(
    request_context: &mut RequestContext,
    upstream_response: UpstreamResponse,
    upload: &mut Upload,
    head: Head,
    client: &mut D,
    timer: &mut Timer,
    closing: &Closing,
) -> End {
    let UpstreamResponse { mut status, mut fields, body, sending, is_persistent, .. } =
        upstream_response;
    let request_info = RequestInfo {
        method: &request_context.method,
        fields: &head.fields,
        is_http10: request_context.is_http10,
        requires_auth: request_context.requires_auth(),
    };
    // Before the cache, which stores the compressed form.
    let mut encoder =
        request_context.gateway.encoders.begin(&request_info, status, &mut fields).map(Box::new);
    drop(head);
    if let Some(answer) = request_context.on_response_head(status, &fields) {
        let source = Source { body, is_persistent };
        if source.is_over() && sending.is_none() {
            source.keep(request_context.attempts.lease.as_ref());
        }
        return End::Substitute(answer);
    }
    strip(&mut fields, status);
    deduplicate_fields(&mut fields);
    request_context.edit_response(&mut fields);
    if !fields.contains_key(DATE)
        && let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now()))
    {
        // RFC 9110, section 6.6.1.
        fields.insert(DATE, date);
    }
    if request_context.not_modified {
        // RFC 9110, section 15.4.5.
        status = StatusCode::NOT_MODIFIED;
        for name in [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING] {
            fields.remove(name);
        }
        request_context.status = status.as_u16();
    }
    let mut fill = request_context.fill.take().filter(|fill| fill.is_storing());
    let mut source = Some(Source { body, is_persistent });
    let ends = request_context.not_modified || source.as_ref().is_some_and(Source::is_over);
    if request_context.not_modified
        && let Some(fill) = fill.take()
        && let Ok(permit) = request_context.gateway.refills.clone().try_acquire_owned()
        && let Some(source) = source.take()
    {
        // The client has its response, and only the cache needs the rest.
        let timeouts = request_context.timeouts();
        request_context.upstream_address =
            request_context.attempts.lease.as_ref().map(Lease::address);
        let (encoder, lease) = (encoder.take(), request_context.attempts.lease.take());
        let task = fill_in_background(source, encoder, *fill, lease, timeouts.silence);
        let bounded = tokio::time::timeout(timeouts.total, task);
        tokio::spawn(async {
            let _ = bounded.await;
            drop(permit);
        });
    }
    if request_context.not_modified
        && let Some(mut source) = source.take()
    {
        // The rest is not needed: only the part that arrived with the head is consumed.
        while let Ok(Some(_)) = source.body.take() {}
        source.keep(request_context.attempts.lease.as_ref());
    }
    let metrics = request_context.route.as_ref().map(|route| route.metrics.clone());
    let counted = metrics.filter(|_| request_context.is_stream);
    if let Some(metrics) = &counted {
        metrics.streams.add();
    }
    let head = client.head(request_context, status, fields, ends);
    let mut relay = Relay::new(client, upload, source, sending, encoder, fill);
    if request_context.is_stream {
        request_context.release();
        relay.closing = Some(Box::pin(until_closing(closing.clone())));
    }
    let end = match head {
        Ok(()) => relay.run(request_context, timer).await,
        Err(ClientGone) => End::ClientGone,
    };
    request_context.sent_bytes = relay.sent_bytes(&end);
    if let Some(metrics) = &counted {
        metrics.streams.remove();
    }
    end
}

/// Sends a complete response.
pub(crate) async fn respond<D: Downstream>(
    request_context: &mut RequestContext,
    mut reply: FullResponse,
    client: &mut D,
    timer: &mut Timer,
) -> End {
    // Only now it is certain whether the connection persists: the request body may be unread, or the
    // gateway may shut down.
    request_context.close_after |= request_context.gateway.is_closing();
    request_context.end_head(&mut reply.head);
    let body_bytes = reply.body.len() as u64;
    let total = request_context.timeouts().total;
    let sent = match client.reply(reply) {
        Ok(()) => flush(client, timer, MIN_BYTES, SEND_TIMEOUT, total).await,
        Err(gone) => Err(gone),
    };
    if sent.is_ok() {
        return End::Complete;
    }
    request_context.sent_bytes = body_bytes.saturating_sub(client.unsent() as u64);
    End::ClientGone
}

/// Sends buffered data within `total`. A client that reads less than `min_bytes` of it within
/// `silence` is disconnected.
pub(crate) async fn flush<C: Client>(
    client: &mut C,
    timer: &mut Timer,
    min_bytes: usize,
    silence: Duration,
    total: Duration,
) -> Result<(), ClientGone> {
    let mut deadline = None;
    let mut before = None;
    poll_fn(|context| {
        if let Poll::Ready(sent) = client.poll_flush(context) {
            return Poll::Ready(sent);
        }
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + total);
        let unsent = client.unsent();
        if before.is_none_or(|before| unsent + min_bytes <= before) {
            before = Some(unsent);
            timer.set(silence.min(deadline.saturating_duration_since(Instant::now())));
        }
        timer.poll(context).map(|()| Err(ClientGone))
    })
    .await
}

/// Resolves when the gateway shuts down.
pub(crate) async fn until_closing(mut closing: Closing) {
    // An error means that the accept loop has ended, which is a shutdown as well.
    let _ = closing.wait_for(|&closing| closing).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::client::BodyFault;

    /// A client that reads one byte at regular intervals.
    struct Slow {
        unsent: usize,
        every: tokio::time::Interval,
    }

    impl Client for Slow {
        fn poll_body(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyFault>> {
            Poll::Ready(Ok(None))
        }

        fn send_informational(&mut self, _: StatusCode, _: Fields) {}

        fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientGone>> {
            while self.unsent > 0 {
                if self.every.poll_tick(context).is_pending() {
                    return Poll::Pending;
                }
                self.unsent -= 1;
            }
            Poll::Ready(Ok(()))
        }

        fn poll_disconnect(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }

        fn unsent(&self) -> usize {
            self.unsent
        }
    }

    #[tokio::test]
    async fn the_limits_apply_to_silence_and_to_the_total_time() {
        let (silence, hour) = (Duration::from_millis(400), Duration::from_hours(1));
        // Twenty bytes at this interval in milliseconds; the first one immediately.
        for (every, total, is_sent) in
            [(40, hour, true), (4000, hour, false), (40, Duration::from_millis(300), false)]
        {
            let every = tokio::time::interval(Duration::from_millis(every));
            let mut client = Slow { unsent: 20, every };
            let mut timer = Timer::new(hour);
            let begun = Instant::now();
            let sent = flush(&mut client, &mut timer, 1, silence, total).await;
            assert_eq!(sent.is_ok(), is_sent, "{:?}", begun.elapsed());
            // A complete transfer takes longer than the limit for silence.
            assert_eq!(begun.elapsed() > silence + Duration::from_millis(200), is_sent);
        }
    }
}
