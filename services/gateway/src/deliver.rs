//! Passes an upstream's answer on to a client, whatever protocol that speaks: what the cache makes
//! of it, what ends at the gateway, what is compressed, and how long it may take.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderValue, TRANSFER_ENCODING,
};
use http::{HeaderMap, StatusCode};
use tokio::sync::watch;

use crate::admission::{Order, Reply};
use crate::alarm::Alarm;
use crate::cache::{Answer, Filling, Leftover};
use crate::client::TAKES_NOTHING;
use crate::compression::{Asked, Encoder};
use crate::fetch::{Answering, Body, Frame, Piece, Sending, Upload};
use crate::policy::hop::HopByHop;
use crate::problem::Problem;
use crate::upstreams::Pick;

/// Log text for a client that did not wait.
pub(crate) const LEFT: &str = "the client has left";

/// Log text for an answer that took longer than an answer may take.
const CUT: &str = "the answer was broken off";

/// Bytes that are copied at once out of an answer that is still coming in.
const COPIED_BYTES: usize = 16 * 1024;

/// Becomes true when the gateway begins to end.
pub(crate) type Closing = watch::Receiver<bool>;

/// A client while one request is answered: the source of the request's body and the sink of the
/// answer. Nothing in it waits, so that both directions and the upstream can be served by one task.
pub(crate) trait Downstream {
    /// The next piece of the request's body; none when it is complete.
    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyFault>>;

    /// Asks for the body that the client holds back (RFC 9110, section 10.1.1).
    fn go_on(&mut self);

    /// Whether the connection can be given to an answer without an end.
    fn can_tunnel(&self) -> bool;

    /// Takes an informational answer, for a client that understands it.
    fn inform(&mut self, status: StatusCode, fields: HeaderMap);

    /// Takes status and fields, to which those of every answer are added. Content-Length is among
    /// them where it is known, and nothing about the connection; nothing follows where `ends`.
    fn head(
        &mut self,
        order: &mut Order,
        status: StatusCode,
        fields: HeaderMap,
        ends: bool,
    ) -> Result<(), Left>;

    /// Takes an answer that is complete.
    fn reply(&mut self, reply: Reply) -> Result<(), Left>;

    /// Ready when another piece can be taken.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Left>>;

    /// Takes some of the body.
    fn push(&mut self, piece: Bytes) -> Result<(), Left>;

    /// Ready when everything that was taken has been sent.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Left>>;

    /// The answer is complete.
    fn finish(&mut self) -> Result<(), Left>;

    /// Bytes that have been taken and not sent.
    fn unsent(&self) -> usize;

    /// Ready when the client is gone.
    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<()>;
}

/// The client has gone, or takes nothing.
#[derive(Debug)]
pub(crate) struct Left;

/// Reason why a request's body is not complete.
#[derive(Debug)]
pub(crate) enum BodyFault {
    /// It is malformed, too large or too slow.
    Refused(Problem),
    /// The client has gone.
    Left,
}

/// The end of an answer.
#[derive(Debug)]
pub(crate) enum End {
    /// It is complete.
    Whole,
    /// The client did not wait for it.
    Left,
    /// It must not look as if it was complete.
    Broken(&'static str),
    /// Nothing was sent: this is to be sent instead.
    Instead(Answer),
}

impl From<Left> for End {
    fn from(_: Left) -> Self {
        Self::Left
    }
}

/// Passes the answer to a request with these fields on. The connection to the upstream is kept
/// where it can be.
pub(crate) async fn deliver<D: Downstream>(
    order: &mut Order,
    answering: Answering,
    upload: &mut Upload,
    asked: &HeaderMap,
    client: &mut D,
    alarm: &mut Alarm,
    closing: &Closing,
) -> End {
    let Answering { mut status, mut fields, body, sending, is_lasting } = answering;
    let asked = Asked {
        method: &order.method,
        fields: asked,
        is_old: order.is_old,
        is_guarded: order.route.as_ref().is_some_and(|route| route.guard.is_some()),
    };
    // Before the cache takes the answer, which then has what is sent.
    let mut encoder = order.gateway.encoders.begin(&asked, status, &mut fields).map(Box::new);
    if let Some(answer) = order.hears(status, &fields) {
        return End::Instead(answer);
    }
    strip(&mut fields, status);
    order.keep_one_of_each(&mut fields);
    if !fields.contains_key(DATE)
        && let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now()))
    {
        // RFC 9110, section 6.6.1.
        fields.insert(DATE, date);
    }
    if order.knows {
        // RFC 9110, section 15.4.5.
        status = StatusCode::NOT_MODIFIED;
        for name in [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING] {
            fields.remove(name);
        }
        order.status = status.as_u16();
    }
    let mut filling = order.filling.take().filter(|filling| filling.is_storing());
    let mut source = Some(Source { body, is_lasting });
    let ends = order.knows || source.as_ref().is_some_and(Source::is_over);
    if order.knows
        && let Some(filling) = filling.take()
        && let Some(source) = source.take()
    {
        // The client has its answer, and the rest is for the cache alone.
        let times = order.gateway.config.times;
        order.asked = order.pick.as_ref().map(Pick::address);
        let (encoder, pick) = (encoder.take(), order.pick.take());
        let fill = fill_alone(source, encoder, *filling, pick, times.silence);
        let bounded = tokio::time::timeout(times.total, fill);
        tokio::spawn(async { drop(bounded.await) });
    }
    if order.knows
        && let Some(mut source) = source.take()
    {
        // Nobody needs the rest: what has not come with the head is not read.
        while let Ok(Piece::Some(_)) = source.body.take() {}
        source.keep(order.pick.as_ref());
    }
    let metrics = order.route.as_ref().map(|route| route.metrics.clone());
    let counted = metrics.filter(|_| order.streams);
    if let Some(metrics) = &counted {
        metrics.streams.add();
    }
    let head = client.head(order, status, fields, ends);
    let mut relay = Relay {
        client,
        upload,
        sending,
        encoder,
        filling,
        given: 0,
        stored: None,
        backlog: VecDeque::new(),
        leftover: None,
        is_over: source.is_none(),
        source,
        is_finished: order.knows,
        pushed_bytes: 0,
        waits: Waits::default(),
        closing: order.streams.then(|| Box::pin(until_closing(closing.clone())) as _),
    };
    let end = match head {
        Ok(()) => relay.run(order, alarm).await,
        Err(Left) => End::Left,
    };
    let unsent = relay.client.unsent() as u64;
    let sent_bytes = relay.pushed_bytes;
    drop(relay);
    order.sent_bytes = sent_bytes;
    if !matches!(end, End::Whole) {
        order.sent_bytes = sent_bytes.saturating_sub(unsent);
    }
    if let Some(metrics) = &counted {
        metrics.streams.remove();
    }
    end
}

/// Sends an answer that is complete.
pub(crate) async fn respond<D: Downstream>(
    order: &mut Order,
    reply: Reply,
    client: &mut D,
    alarm: &mut Alarm,
) -> End {
    let body_bytes = reply.body.len() as u64;
    let sent = match client.reply(reply) {
        Ok(()) => flush(client, alarm, TAKES_NOTHING, order.gateway.config.times.total).await,
        Err(left) => Err(left),
    };
    if sent.is_ok() {
        return End::Whole;
    }
    order.sent_bytes = body_bytes.saturating_sub(client.unsent() as u64);
    End::Left
}

/// Sends what was taken, within `total`, and not to a client that takes nothing of it for `silence`.
async fn flush<D: Downstream>(
    client: &mut D,
    alarm: &mut Alarm,
    silence: Duration,
    total: Duration,
) -> Result<(), Left> {
    let mut deadline = None;
    let mut before = usize::MAX;
    poll_fn(|context| {
        if let Poll::Ready(sent) = client.poll_flush(context) {
            return Poll::Ready(sent);
        }
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + total);
        if client.unsent() != before {
            before = client.unsent();
            alarm.set(silence.min(deadline.saturating_duration_since(Instant::now())));
        }
        alarm.poll(context).map(|()| Err(Left))
    })
    .await
}

/// An upstream's answer behind its head.
struct Source {
    body: Body,
    is_lasting: bool,
}

impl Source {
    fn is_over(&self) -> bool {
        self.body.frame() == Frame::Done
    }

    /// Keeps the connection for another request where it can be.
    fn keep(self, pick: Option<&Pick>) {
        if self.is_lasting
            && let Some(pick) = pick
            && let Some(connection) = self.body.into_connection()
        {
            pick.keep(connection);
        }
    }
}

/// Reads an answer for the cache when no client waits for it.
async fn fill_alone(
    mut source: Source,
    mut encoder: Option<Box<Encoder>>,
    mut filling: Filling,
    pick: Option<Pick>,
    silence: Duration,
) {
    loop {
        let piece = match source.body.take() {
            Ok(Piece::Some(piece)) => Some(piece),
            Ok(Piece::End) => None,
            Ok(Piece::None) => {
                let more = poll_fn(|context| source.body.poll_more(context));
                match tokio::time::timeout(silence, more).await {
                    Ok(Ok(())) => continue,
                    _ => return,
                }
            }
            Err(_) => return,
        };
        let is_end = piece.is_none();
        let Ok(piece) = encode(&mut encoder, piece) else { return };
        if let Some(piece) = piece
            && filling.body(&piece, Instant::now()).is_err()
        {
            return;
        }
        if is_end {
            filling.finish(Instant::now());
            source.keep(pick.as_ref());
            return;
        }
    }
}

/// What comes of a piece of the body, or of its end, when it is compressed.
fn encode(encoder: &mut Option<Box<Encoder>>, piece: Option<Bytes>) -> Result<Option<Bytes>, End> {
    let Some(gzip) = encoder else { return Ok(piece) };
    let packed = gzip.piece(piece.as_deref(), piece.is_none());
    if piece.is_none() {
        *encoder = None;
    }
    packed.map_err(|_| End::Broken(CUT))
}

/// What a relay waits for.
#[derive(Debug, Default)]
struct Waits {
    upstream: bool,
    client: bool,
    /// Something has come from the upstream since this was looked at.
    upstream_moved: bool,
}

/// An answer on its way from an upstream to a client, and the rest of the request on its way back.
struct Relay<'a, D> {
    client: &'a mut D,
    upload: &'a mut Upload,
    sending: Option<Sending>,
    /// None when it is over and its connection was given back.
    source: Option<Source>,
    /// Nothing more comes from the source.
    is_over: bool,
    encoder: Option<Box<Encoder>>,
    /// While it stores, it has the body, and `given` bytes of it were handed to the client: so the
    /// cache never waits for a client.
    filling: Option<Box<Filling>>,
    given: usize,
    /// The whole body, from the cache.
    stored: Option<Bytes>,
    /// What was collected for the cache in vain.
    backlog: VecDeque<Bytes>,
    leftover: Option<Leftover>,
    /// The client was told that the answer is complete.
    is_finished: bool,
    pushed_bytes: u64,
    waits: Waits,
    closing: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<D: Downstream> Relay<'_, D> {
    async fn run(&mut self, order: &Order, alarm: &mut Alarm) -> End {
        let times = order.gateway.config.times;
        // An event stream has no such time, but ends with the gateway.
        let total = (!order.streams).then_some(times.total);
        let mut clock: Option<(Instant, Instant, Instant, usize)> = None;
        poll_fn(|context| {
            self.waits = Waits::default();
            if let Poll::Ready(end) = self.poll(context, order) {
                return Poll::Ready(end.unwrap_or_else(|end| end));
            }
            let now = Instant::now();
            let unsent = self.client.unsent();
            let (begun, upstream, client, before) = clock.get_or_insert((now, now, now, unsent));
            if self.waits.upstream_moved || !self.waits.upstream {
                *upstream = now;
            }
            if !self.waits.client || unsent != *before {
                (*client, *before) = (now, unsent);
            }
            let bounds = [
                total.map(|total| (*begun + total, End::Broken(CUT))),
                self.waits.client.then(|| (*client + TAKES_NOTHING, End::Left)),
                self.waits.upstream.then(|| {
                    let why = "the upstream fell silent within its answer";
                    (*upstream + times.silence, End::Broken(why))
                }),
            ];
            let first = bounds.into_iter().flatten().min_by_key(|(until, _)| *until);
            let Some((until, end)) = first else { return Poll::Pending };
            alarm.set(until.saturating_duration_since(now));
            alarm.poll(context).map(|()| end)
        })
        .await
    }

    fn poll(&mut self, context: &mut Context<'_>, order: &Order) -> Poll<Result<End, End>> {
        self.poll_sending(context)?;
        if self.filling.is_some() {
            self.poll_filling(context, order)?;
        }
        loop {
            match self.client.poll_ready(context)? {
                Poll::Ready(()) => {}
                Poll::Pending => {
                    self.waits.client = true;
                    return Poll::Pending;
                }
            }
            match self.next(order)? {
                Next::Piece(piece) => {
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
                    return flushed.map(|()| Ok(End::Whole));
                }
                Next::Nothing => {
                    self.waits.client = self.client.poll_flush(context)?.is_pending();
                    if self.poll_more(context, order)?.is_pending() {
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
            Poll::Ready(Err(BodyFault::Left)) => return Err(End::Left),
            Poll::Ready(Err(BodyFault::Refused(_))) => {
                return Err(End::Broken("the request broke off"));
            }
        }
        Ok(())
    }

    /// Takes in for the cache what there is.
    fn poll_filling(&mut self, context: &mut Context<'_>, order: &Order) -> Result<(), End> {
        while !self.is_over {
            match self.take()? {
                Next::Piece(piece) => {
                    let Some(filling) = &mut self.filling else { return Ok(()) };
                    if let Err(leftover) = filling.body(&piece, Instant::now()) {
                        self.filling = None;
                        self.backlog.push_back(leftover.bytes.slice(self.given..));
                        self.backlog.push_back(piece);
                        self.leftover = Some(leftover);
                        return Ok(());
                    }
                }
                Next::End => {
                    if let Some(filling) = self.filling.take() {
                        let body = filling.finish(Instant::now());
                        self.stored = Some(body.slice(self.given..));
                    }
                    self.end_source(order);
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

    /// What the client gets next.
    fn next(&mut self, order: &Order) -> Result<Next, End> {
        if let Some(filling) = &self.filling {
            let rest = filling.bytes().get(self.given..).unwrap_or_default();
            let rest = rest.get(..COPIED_BYTES).unwrap_or(rest);
            if rest.is_empty() {
                return Ok(Next::Nothing);
            }
            self.given += rest.len();
            return Ok(Next::Piece(Bytes::copy_from_slice(rest)));
        }
        if let Some(stored) = self.stored.take().filter(|stored| !stored.is_empty()) {
            return Ok(Next::Piece(stored));
        }
        if let Some(piece) = self.backlog.pop_front() {
            if piece.is_empty() {
                return self.next(order);
            }
            return Ok(Next::Piece(piece));
        }
        self.leftover = None;
        if self.is_over {
            return Ok(Next::End);
        }
        let taken = self.take()?;
        if let Next::End = taken {
            self.end_source(order);
        }
        Ok(taken)
    }

    /// What comes next from the upstream, compressed where it is.
    fn take(&mut self) -> Result<Next, End> {
        let Some(source) = &mut self.source else { return Ok(Next::End) };
        loop {
            let piece = match source.body.take().map_err(broken)? {
                Piece::Some(piece) => Some(piece),
                // The encoder's last piece comes first.
                Piece::End if self.encoder.is_some() => None,
                Piece::End => return Ok(Next::End),
                Piece::None => return Ok(Next::Nothing),
            };
            if let Some(piece) = encode(&mut self.encoder, piece)? {
                return Ok(Next::Piece(piece));
            }
        }
    }

    /// Waits for more from the upstream, if more is to come now.
    fn poll_more(&mut self, context: &mut Context<'_>, order: &Order) -> Poll<Result<(), End>> {
        if self.filling.is_none() {
            return self.poll_source(context);
        }
        let was = self.given;
        self.poll_filling(context, order)?;
        let has_more = self.filling.as_ref().is_none_or(|filling| filling.bytes().len() > was);
        if has_more { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_source(&mut self, context: &mut Context<'_>) -> Poll<Result<(), End>> {
        let Some(source) = &mut self.source else { return Poll::Pending };
        let more = source.body.poll_more(context).map_err(broken);
        self.waits.upstream = more.is_pending();
        self.waits.upstream_moved |= more.is_ready();
        more
    }

    /// The upstream has said everything.
    fn end_source(&mut self, order: &Order) {
        self.is_over = true;
        if self.sending.is_none()
            && let Some(source) = self.source.take()
        {
            source.keep(order.pick.as_ref());
        }
    }

    /// Whether the answer ends although more could come.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Result<End, End>> {
        let closing = self.closing.as_mut().map(|closing| closing.as_mut().poll(context));
        if closing.is_some_and(|closing| closing.is_ready()) {
            if !self.source.as_ref().is_some_and(|source| source.body.is_between()) {
                return Poll::Ready(Err(End::Broken(CUT)));
            }
            self.closing = None;
            self.is_over = true;
            // It is looked at again at once.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let pulls = self.sending.as_ref().is_some_and(Sending::pulls);
        if !pulls && self.client.poll_left(context).is_ready() {
            return Poll::Ready(Err(End::Left));
        }
        Poll::Pending
    }
}

/// The next part of an answer.
enum Next {
    Piece(Bytes),
    Nothing,
    End,
}

fn broken(_: std::io::Error) -> End {
    End::Broken("the upstream broke its answer off")
}

/// Resolves when the gateway begins to end.
pub(crate) async fn until_closing(mut closing: Closing) {
    // An error means that the accept loop is gone, which is an end as well.
    let _ = closing.wait_for(|&closing| closing).await;
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

    /// A client that takes a byte every so often.
    struct Slow {
        unsent: usize,
        every: tokio::time::Interval,
    }

    impl Downstream for Slow {
        fn poll_body(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyFault>> {
            Poll::Ready(Ok(None))
        }

        fn go_on(&mut self) {}

        fn can_tunnel(&self) -> bool {
            false
        }

        fn inform(&mut self, _: StatusCode, _: HeaderMap) {}

        fn head(
            &mut self,
            _: &mut Order,
            _: StatusCode,
            _: HeaderMap,
            _: bool,
        ) -> Result<(), Left> {
            Ok(())
        }

        fn reply(&mut self, _: Reply) -> Result<(), Left> {
            Ok(())
        }

        fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Left>> {
            self.poll_flush(context)
        }

        fn push(&mut self, piece: Bytes) -> Result<(), Left> {
            self.unsent += piece.len();
            Ok(())
        }

        fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Left>> {
            while self.unsent > 0 {
                if self.every.poll_tick(context).is_pending() {
                    return Poll::Pending;
                }
                self.unsent -= 1;
            }
            Poll::Ready(Ok(()))
        }

        fn finish(&mut self) -> Result<(), Left> {
            Ok(())
        }

        fn unsent(&self) -> usize {
            self.unsent
        }

        fn poll_left(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
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
            let mut alarm = Alarm::new(hour);
            let begun = Instant::now();
            let sent = flush(&mut client, &mut alarm, silence, total).await;
            assert_eq!(sent.is_ok(), is_sent, "{:?}", begun.elapsed());
            // Longer than the silence that it may keep, where it is sent.
            assert_eq!(begun.elapsed() > silence + Duration::from_millis(200), is_sent);
        }
    }

    fn stripped(status: StatusCode, text: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut fields = HeaderMap::new();
        for (name, value) in text {
            fields.append(*name, HeaderValue::from_static(value));
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
