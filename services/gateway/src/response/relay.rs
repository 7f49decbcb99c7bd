//! Passes an upstream's answer on to a client, whatever protocol that speaks: what the cache makes
//! of it, what ends at the gateway, what is compressed, and how long it may take.

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
use self::transfer::{Relay, Source, fill_alone};
use crate::cache::Answer;
use crate::compression::Asked;
use crate::context::RequestContext;
use crate::context::keep_one_of_each;
use crate::deadline::Timer;
use crate::fields::Fields;
use crate::message::client::{Client, ClientGone, TAKES_NOTHING};
use crate::message::head::FullResponse;
use crate::request::hop_by_hop::strip;
use crate::upstream::Lease;
use crate::upstream::client::{Data, Upload, UpstreamResponse};

/// Log text for a client that did not wait.
pub(crate) const LEFT: &str = "client disconnected";

/// Log text for an answer that took longer than an answer may take.
const CUT: &str = "response interrupted";

/// Bytes that a client must take within [`TAKES_NOTHING`]: less is as good as nothing, because a
/// client could otherwise hold an answer with a byte now and then.
pub(crate) const LEAST_BYTES: usize = 16 * 1024;

/// Becomes true when the gateway begins to end.
pub(crate) type Closing = watch::Receiver<bool>;

/// A client while its request is answered.
pub(crate) trait Downstream: Client {
    /// Sets how many bytes the request's body may have, before any of it is taken.
    fn limit_body(&mut self, most: usize);

    /// Asks for the body that the client holds back (RFC 9110, section 10.1.1).
    fn send_continue(&mut self);

    /// Whether the connection can be given to an answer without an end.
    fn can_tunnel(&self) -> bool;

    /// Takes status and fields, to which those of every answer are added. Content-Length is among
    /// them where it is known, and nothing about the connection; nothing follows where `ends`.
    fn head(
        &mut self,
        request_context: &mut RequestContext,
        status: StatusCode,
        fields: Fields,
        ends: bool,
    ) -> Result<(), ClientGone>;

    /// Takes an answer that is complete.
    fn reply(&mut self, reply: FullResponse) -> Result<(), ClientGone>;

    /// Ready when another piece can be taken.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientGone>>;

    /// Takes some of the body.
    fn push(&mut self, piece: Bytes) -> Result<(), ClientGone>;

    /// The answer is complete.
    fn finish(&mut self) -> Result<(), ClientGone>;

    /// Bytes that have been taken and not sent.
    fn unsent(&self) -> usize;
}

/// The end of an answer.
#[derive(Debug)]
pub(crate) enum End {
    /// It is complete.
    Whole,
    /// The client did not wait for it.
    ClientGone,
    /// It must not look as if it was complete.
    Broken(&'static str),
    /// Nothing was sent: this is to be sent instead.
    Instead(Answer),
}

impl From<ClientGone> for End {
    fn from(_: ClientGone) -> Self {
        Self::ClientGone
    }
}

/// Passes the answer to a request with these fields on. The connection to the upstream is kept
/// where it can be.
pub(crate) async fn deliver<D: Downstream>(
    request_context: &mut RequestContext,
    upstream_response: UpstreamResponse,
    upload: &mut Upload,
    asked: &Fields,
    client: &mut D,
    timer: &mut Timer,
    closing: &Closing,
) -> End {
    let UpstreamResponse { mut status, mut fields, body, sending, is_lasting, .. } =
        upstream_response;
    let asked = Asked {
        method: &request_context.method,
        fields: asked,
        is_http10: request_context.is_http10,
        requires_auth: request_context.route.as_ref().is_some_and(|route| route.auth.is_some()),
    };
    // Before the cache takes the answer, which then has what is sent.
    let mut encoder =
        request_context.gateway.encoders.begin(&asked, status, &mut fields).map(Box::new);
    if let Some(answer) = request_context.on_response_head(status, &fields) {
        let source = Source { body, is_lasting };
        if source.is_over() && sending.is_none() {
            source.keep(request_context.attempts.lease.as_ref());
        }
        return End::Instead(answer);
    }
    strip(&mut fields, status);
    keep_one_of_each(&mut fields);
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
    let mut filling = request_context.filling.take().filter(|filling| filling.is_storing());
    let mut source = Some(Source { body, is_lasting });
    let ends = request_context.not_modified || source.as_ref().is_some_and(Source::is_over);
    if request_context.not_modified
        && let Some(filling) = filling.take()
        && let Ok(permit) = request_context.gateway.refills.clone().try_acquire_owned()
        && let Some(source) = source.take()
    {
        // The client has its answer, and the rest is for the cache alone.
        let timeouts = request_context.timeouts();
        request_context.asked = request_context.attempts.lease.as_ref().map(Lease::address);
        let (encoder, pick) = (encoder.take(), request_context.attempts.lease.take());
        let fill = fill_alone(source, encoder, *filling, pick, timeouts.silence);
        let bounded = tokio::time::timeout(timeouts.total, fill);
        tokio::spawn(async {
            let _ = bounded.await;
            drop(permit);
        });
    }
    if request_context.not_modified
        && let Some(mut source) = source.take()
    {
        // The rest is not needed: what has not come with the head is not read.
        while let Ok(Data::Some(_)) = source.body.take() {}
        source.keep(request_context.attempts.lease.as_ref());
    }
    let metrics = request_context.route.as_ref().map(|route| route.metrics.clone());
    let counted = metrics.filter(|_| request_context.streams);
    if let Some(metrics) = &counted {
        metrics.streams.add();
    }
    let head = client.head(request_context, status, fields, ends);
    let mut relay = Relay::new(client, upload, source).sending(sending).through(encoder, filling);
    if request_context.streams {
        relay = relay.until(until_closing(closing.clone()));
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

/// Sends an answer that is complete.
pub(crate) async fn respond<D: Downstream>(
    request_context: &mut RequestContext,
    reply: FullResponse,
    client: &mut D,
    timer: &mut Timer,
) -> End {
    let body_bytes = reply.body.len() as u64;
    let total = request_context.timeouts().total;
    let sent = match client.reply(reply) {
        Ok(()) => flush(client, timer, LEAST_BYTES, TAKES_NOTHING, total).await,
        Err(left) => Err(left),
    };
    if sent.is_ok() {
        return End::Whole;
    }
    request_context.sent_bytes = body_bytes.saturating_sub(client.unsent() as u64);
    End::ClientGone
}

/// Sends what was taken, within `total`, and not to a client that takes less than so many bytes of
/// it within `silence`.
pub(crate) async fn flush<D: Downstream>(
    client: &mut D,
    timer: &mut Timer,
    least_bytes: usize,
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
        if before.is_none_or(|before| unsent + least_bytes <= before) {
            before = Some(unsent);
            timer.set(silence.min(deadline.saturating_duration_since(Instant::now())));
        }
        timer.poll(context).map(|()| Err(ClientGone))
    })
    .await
}

/// Resolves when the gateway begins to end.
pub(crate) async fn until_closing(mut closing: Closing) {
    // An error means that the accept loop is gone, which is an end as well.
    let _ = closing.wait_for(|&closing| closing).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::client::BodyFault;

    /// A client that takes a byte every so often.
    struct Slow {
        unsent: usize,
        every: tokio::time::Interval,
    }

    impl Client for Slow {
        fn poll_body(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyFault>> {
            Poll::Ready(Ok(None))
        }

        fn inform(&mut self, _: StatusCode, _: Fields) {}

        fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientGone>> {
            while self.unsent > 0 {
                if self.every.poll_tick(context).is_pending() {
                    return Poll::Pending;
                }
                self.unsent -= 1;
            }
            Poll::Ready(Ok(()))
        }

        fn poll_left(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
    }

    impl Downstream for Slow {
        fn limit_body(&mut self, _: usize) {}

        fn send_continue(&mut self) {}

        fn can_tunnel(&self) -> bool {
            false
        }

        fn head(
            &mut self,
            _: &mut RequestContext,
            _: StatusCode,
            _: Fields,
            _: bool,
        ) -> Result<(), ClientGone> {
            Ok(())
        }

        fn reply(&mut self, _: FullResponse) -> Result<(), ClientGone> {
            Ok(())
        }

        fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientGone>> {
            self.poll_flush(context)
        }

        fn push(&mut self, piece: Bytes) -> Result<(), ClientGone> {
            self.unsent += piece.len();
            Ok(())
        }

        fn finish(&mut self) -> Result<(), ClientGone> {
            Ok(())
        }

        fn unsent(&self) -> usize {
            self.unsent
        }
    }

    #[tokio::test]
    async fn the_limit_is_on_silence_and_on_the_whole_not_on_a_part() {
        let (silence, hour) = (Duration::from_millis(400), Duration::from_hours(1));
        // Twenty bytes, one every so many milliseconds; the first comes at once.
        for (every, total, is_sent) in
            [(40, hour, true), (4000, hour, false), (40, Duration::from_millis(300), false)]
        {
            let every = tokio::time::interval(Duration::from_millis(every));
            let mut client = Slow { unsent: 20, every };
            let mut timer = Timer::new(hour);
            let begun = Instant::now();
            let sent = flush(&mut client, &mut timer, 1, silence, total).await;
            assert_eq!(sent.is_ok(), is_sent, "{:?}", begun.elapsed());
            // Longer than the silence that it may keep, where it is sent.
            assert_eq!(begun.elapsed() > silence + Duration::from_millis(200), is_sent);
        }
    }
}
