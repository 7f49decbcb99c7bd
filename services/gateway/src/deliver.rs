//! Passes an upstream's answer on to a client, whatever protocol that speaks: what the cache makes
//! of it, what ends at the gateway, what is compressed, and how long it may take.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};
use pingora::server::ShutdownWatch;

use crate::admission::{Order, keep_one_of_each};
use crate::alarm::Alarm;
use crate::cache::Answer;
use crate::compression::Asked;
use crate::fetch::{Answering, Body, Frame, Piece};
use crate::policy::hop::HopByHop;

/// What the log says of a client that did not wait.
pub(crate) const LEFT: &str = "the client has left";

/// Who the answer is for.
pub(crate) trait Reader {
    /// Takes status and fields, to which those of every answer are to be added. Content-Length is
    /// among them where it is known, and nothing about the connection; nothing follows where
    /// `ends`.
    async fn head(
        &mut self,
        order: &mut Order,
        status: StatusCode,
        fields: HeaderMap,
        ends: bool,
    ) -> Result<(), Left>;

    /// Takes some of the body; may keep it until it is told to flush or to end.
    async fn piece(&mut self, piece: Bytes) -> Result<(), Left>;

    /// Sends what was kept.
    async fn flush(&mut self) -> Result<(), Left>;

    /// The answer is complete.
    async fn end(&mut self) -> Result<(), Left>;

    /// Ready when nobody is there any more.
    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<()>;
}

/// The client has gone, or takes nothing.
#[derive(Debug)]
pub(crate) struct Left;

/// How an answer came to its end.
#[derive(Debug)]
pub(crate) enum End {
    /// As it should.
    Whole,
    /// The client did not wait for it.
    Left,
    /// It must not look as if it was whole.
    Broken(&'static str),
    /// Nothing was sent: this is to be sent instead.
    Instead(Answer),
}

impl From<Left> for End {
    fn from(_: Left) -> Self {
        Self::Left
    }
}

/// Passes the answer on to who asked with these fields. The connection to the upstream is kept
/// where it can be.
pub(crate) async fn deliver(
    order: &mut Order,
    answering: Answering,
    asked: &HeaderMap,
    reader: &mut impl Reader,
    alarm: &mut Alarm,
    closing: &ShutdownWatch,
) -> End {
    let Answering { mut status, mut fields, mut body, is_lasting } = answering;
    let asked = Asked {
        method: &order.method,
        fields: asked,
        is_old: order.is_old,
        is_guarded: order.route.as_ref().is_some_and(|route| route.guard.is_some()),
    };
    // Before the cache takes the answer, which then has what is sent.
    order.encoder = order.gateway.encoders.begin(&asked, status, &mut fields).map(Box::new);
    if let Some(answer) = order.hears(status, &fields) {
        return End::Instead(answer);
    }
    strip(&mut fields, status);
    keep_one_of_each(&mut fields);
    if order.knows {
        // RFC 9110, section 15.4.5.
        status = StatusCode::NOT_MODIFIED;
        for name in [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING] {
            fields.remove(name);
        }
        order.status = status.as_u16();
    }
    let ends = order.knows || body.frame() == Frame::Done;
    let metrics = order.route.as_ref().map(|route| route.metrics.clone());
    let counted = metrics.filter(|_| order.streams);
    if let Some(metrics) = &counted {
        metrics.streams.add();
    }
    let end = async {
        reader.head(order, status, fields, ends).await?;
        if order.knows {
            // The rest is for the cache alone.
            reader.flush().await?;
        }
        pass_on(order, &mut body, reader, alarm, closing).await
    };
    let end = end.await.unwrap_or_else(|end| end);
    if let Some(metrics) = &counted {
        metrics.streams.remove();
    }
    if matches!(end, End::Whole) {
        if let Some(filling) = order.filling.take() {
            filling.complete(Instant::now());
        }
        if is_lasting
            && let Some(pick) = &order.pick
            && let Some(connection) = body.into_connection()
        {
            pick.keep(connection);
        }
    }
    end
}

async fn pass_on(
    order: &mut Order,
    body: &mut Body,
    reader: &mut impl Reader,
    alarm: &mut Alarm,
    closing: &ShutdownWatch,
) -> Result<End, End> {
    let broken = |_: io::Error| End::Broken("the upstream broke its answer off");
    let times = order.gateway.config.times;
    let mut closing = order.streams.then(|| Box::pin(until_closing(closing.clone())));
    loop {
        match body.take().map_err(broken)? {
            Piece::Some(piece) => {
                // An event stream has no such time, but ends with the gateway.
                if !order.streams && order.begun.elapsed() > times.total {
                    return Err(End::Broken("the answer was broken off"));
                }
                give(order, reader, Some(piece)).await?;
            }
            Piece::End => {
                give(order, reader, None).await?;
                reader.end().await?;
                return Ok(End::Whole);
            }
            Piece::None => {
                reader.flush().await?;
                let left = times.total.saturating_sub(order.begun.elapsed());
                let bound = if order.streams { times.silence } else { times.silence.min(left) };
                let is_between = body.is_between();
                let mut more = pin!(body.more());
                let knows = order.knows;
                let came = alarm.within(
                    bound,
                    poll_fn(|context| {
                        if let Poll::Ready(came) = more.as_mut().poll(context) {
                            return Poll::Ready(came.map_err(broken));
                        }
                        let closing =
                            closing.as_mut().map(|closing| closing.as_mut().poll(context));
                        if closing.is_some_and(|closing| closing.is_ready()) {
                            return Poll::Ready(Err(if is_between {
                                End::Whole
                            } else {
                                End::Broken("the answer was broken off")
                            }));
                        }
                        // Who has its answer may go.
                        if !knows && reader.poll_left(context).is_ready() {
                            return Poll::Ready(Err(End::Left));
                        }
                        Poll::Pending
                    }),
                );
                match came.await {
                    Some(Ok(())) => {}
                    Some(Err(End::Whole)) => {
                        reader.end().await?;
                        // Only for the client: what comes after it is not awaited.
                        return Ok(End::Whole);
                    }
                    Some(Err(end)) => return Err(end),
                    None if left < times.silence && !order.streams => {
                        return Err(End::Broken("the answer was broken off"));
                    }
                    None => {
                        return Err(End::Broken("the upstream fell silent within its answer"));
                    }
                }
            }
        }
    }
}

/// Resolves when the gateway begins to end.
pub(crate) async fn until_closing(mut closing: ShutdownWatch) {
    // An error means that the accept loop is gone, which is an end as well.
    let _ = closing.wait_for(|&closing| closing).await;
}

/// Hands a piece to the encoder, the cache and the client; none is the end.
async fn give(
    order: &mut Order,
    reader: &mut impl Reader,
    piece: Option<Bytes>,
) -> Result<(), End> {
    let piece = match &mut order.encoder {
        Some(encoder) => {
            let packed = encoder.piece(piece.as_deref(), piece.is_none());
            if piece.is_none() {
                order.encoder = None;
            }
            packed.map_err(|_| End::Broken("the answer was broken off"))?
        }
        None => piece,
    };
    let Some(piece) = piece else { return Ok(()) };
    if let Some(filling) = &mut order.filling {
        filling.body(&piece, Instant::now());
    }
    if !order.knows {
        order.sent_bytes += piece.len() as u64;
        reader.piece(piece).await?;
    }
    Ok(())
}

/// Takes out what is about the upstream's connection, and how its body was framed there.
pub(crate) fn strip(fields: &mut HeaderMap, status: StatusCode) {
    // A nomination that must not be obeyed is not obeyed; the rest goes as usual.
    let hop = HopByHop::of(fields).unwrap_or_default();
    let dropped: Vec<_> = fields.keys().filter(|name| hop.drops(name)).cloned().collect();
    for name in &dropped {
        fields.remove(name);
    }
    // RFC 9112, section 6.3: beside a coding, a length means nothing. RFC 9110, section 8.6.
    if fields.remove(TRANSFER_ENCODING).is_some() || status == StatusCode::NO_CONTENT {
        fields.remove(CONTENT_LENGTH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(status: StatusCode, text: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut fields = HeaderMap::new();
        for (name, value) in text {
            fields.append(*name, http::HeaderValue::from_static(value));
        }
        strip(&mut fields, status);
        fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn an_answer_loses_what_is_about_the_connection() {
        let fields = [
            ("connection", "close, x-own"),
            ("x-own", "1"),
            ("keep-alive", "5"),
            ("content-type", "text/plain"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
        ];
        assert_eq!(stripped(StatusCode::OK, &fields), ["content-type: text/plain"]);
    }

    #[test]
    fn a_length_stays_where_there_may_be_a_body() {
        let fields = [("content-length", "5")];
        assert_eq!(stripped(StatusCode::OK, &fields), ["content-length: 5"]);
        assert_eq!(stripped(StatusCode::NOT_MODIFIED, &fields), ["content-length: 5"]);
        assert!(stripped(StatusCode::NO_CONTENT, &fields).is_empty());
    }
}
