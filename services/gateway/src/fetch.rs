//! Asks an upstream for an answer: on a connection that waits for work where there is one, at
//! another address where that may help, and in one place for HTTP/1.1, HTTP/2 and streams.

mod body;
mod head;

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use self::body::poll_some;
pub(crate) use self::body::{Body, Frame, Piece};

use crate::admission::{Order, names_events};
use crate::alarm::Alarm;
use crate::problem::Problem;
use crate::upstreams::{Connection, Failure};

/// Bytes of an upstream's head, and how many fields it may have: what Pingora takes as well.
const HEAD_BYTES: usize = 32 * 1024;

/// Bytes that a head and a small body mostly need.
const USUAL_BYTES: usize = 4 * 1024;

/// Informational answers before the answer; more of them are a loop.
pub(crate) const INFORMATIONAL: u8 = 8;

/// Tries in all, where trying again cannot do harm.
pub(crate) const TRIES: usize = 3;

/// An upstream that has begun to answer.
#[derive(Debug)]
pub(crate) struct Answering {
    /// Of the answer.
    pub(crate) status: StatusCode,
    /// As they came.
    pub(crate) fields: HeaderMap,
    /// What is to come.
    pub(crate) body: Body,
    /// The connection may have another request when the body is complete.
    pub(crate) is_lasting: bool,
}

impl Answering {
    /// Whether it is one that need not end.
    pub(crate) fn is_event_stream(&self) -> bool {
        let kind = self.fields.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        self.status == StatusCode::OK
            && !matches!(self.body.frame(), Frame::Known(_) | Frame::Done)
            && kind.is_some_and(names_events)
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// Say this.
    Problem(Problem),
    /// Nobody is there any more to be told.
    Left,
}

/// Sends the request to an upstream and reads the head of its answer, which may say that another
/// protocol follows only where `upgrades`. `left` resolves when the client has gone.
///
/// Asked again, at most [`TRIES`] times in all and within the budget, is who did not hear of the
/// request; beyond that only for a request that can do no harm twice, and never after a timeout.
pub(crate) async fn ask(
    order: &mut Order,
    request: &Bytes,
    upgrades: bool,
    alarm: &mut Alarm,
    left: impl Future<Output = ()>,
) -> Result<Answering, Unanswered> {
    let mut left = pin!(left);
    let times = order.gateway.config.times;
    let Some(route) = order.route.clone() else {
        return Err(Unanswered::Problem(Problem::nobody("/")));
    };
    let is_harmless = order.method.is_idempotent() && !order.has_body;
    let mut is_new = false;
    loop {
        // The one that failed before.
        order.pick = None;
        let Some(mut pick) = route.pool.pick(&order.tried) else {
            return Err(Unanswered::Problem(Problem::nobody(&route.name)));
        };
        let waiting = if is_new { None } else { pick.waiting() };
        let asked = {
            let connected = match waiting {
                Some(connection) => Ok(connection),
                None => connect(pick.address(), times.connect).await,
            };
            match connected {
                Ok(mut connection) => {
                    let head = exchange(&mut connection, request, upgrades);
                    let read = until_left(alarm.within(times.silence, head), &mut left).await;
                    match read {
                        None => return Err(Unanswered::Left),
                        Some(None) => Err((Failure::Timeout, Step::Asked)),
                        Some(Some(Ok(head))) => Ok((connection, head)),
                        // It was about to be closed. Whether there is more to it, a new one tells.
                        Some(Some(Err(Failure::Reset))) if connection.is_used && is_harmless => {
                            is_new = true;
                            continue;
                        }
                        Some(Some(Err(failure))) => Err((failure, Step::Asked)),
                    }
                }
                Err(failure) => Err((failure, Step::Connected)),
            }
        };
        let (failure, step) = match asked {
            Ok((connection, (head, rest))) => {
                match head.status.as_u16() {
                    status @ 502..=504 => pick.failed(Failure::Status(status)),
                    _ => pick.succeeded(),
                }
                if let Some(frame) = head.frame(&order.method) {
                    order.pick = Some(pick);
                    let head::Head { status, fields, is_lasting } = head;
                    let body = Body::new(connection, rest, frame);
                    return Ok(Answering { status, fields, body, is_lasting });
                }
                (Failure::Invalid, Step::Asked)
            }
            Err(failed) => failed,
        };
        order.pick = Some(pick);
        let may_help = order.fails(failure);
        let may_ask = step == Step::Connected || (is_harmless && failure != Failure::Timeout);
        if !(may_help && may_ask) {
            return Err(Unanswered::Problem(Problem::unanswered(failure, &route.name)));
        }
    }
}

/// How far a try came.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// To the address, where nobody was.
    Connected,
    /// To somebody who may have read the request.
    Asked,
}

async fn connect(address: SocketAddr, bound: Duration) -> Result<Connection, Failure> {
    match timeout(bound, Connection::open(address)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(Failure::of(&error)),
        Err(_) => Err(Failure::Timeout),
    }
}

/// Sends the request, and reads the head of the answer and what comes with it.
async fn exchange(
    connection: &mut Connection,
    request: &Bytes,
    upgrades: bool,
) -> Result<(head::Head, BytesMut), Failure> {
    let stream = &mut connection.stream;
    let sent = stream.write_all(request).await;
    let mut held = BytesMut::with_capacity(USUAL_BYTES);
    let mut informed = 0;
    loop {
        if !held.is_empty()
            && let Some(head) = head::take(&mut held).map_err(|head::NoHead| Failure::Invalid)?
        {
            let changes = head.status == StatusCode::SWITCHING_PROTOCOLS;
            if changes && !upgrades {
                return Err(Failure::Invalid);
            }
            if changes || !head.status.is_informational() {
                return Ok((head, held));
            }
            informed += 1;
            if informed > INFORMATIONAL {
                return Err(Failure::Invalid);
            }
            continue;
        }
        if held.len() > HEAD_BYTES {
            return Err(Failure::Invalid);
        }
        // Who could not send all of it may still be told why.
        let count = poll_fn(|context| poll_some(stream, context, &mut held)).await;
        match (&count, &sent) {
            (Ok(0) | Err(_), Err(error)) | (Err(error), Ok(())) => {
                return Err(Failure::of(error));
            }
            (Ok(0), Ok(())) => return Err(Failure::Reset),
            (Ok(_), _) => {}
        }
    }
}

/// What comes of `what`, or none when `left` resolves before.
async fn until_left<T>(
    what: impl Future<Output = T>,
    left: &mut Pin<&mut impl Future<Output = ()>>,
) -> Option<T> {
    let mut what = pin!(what);
    poll_fn(|context| match what.as_mut().poll(context) {
        Poll::Ready(got) => Poll::Ready(Some(got)),
        Poll::Pending => left.as_mut().poll(context).map(|()| None),
    })
    .await
}

impl Order {
    /// Counts a failed try; whether another address may be asked.
    pub(crate) fn fails(&mut self, failure: Failure) -> bool {
        let Some(route) = &self.route else { return false };
        route.metrics.upstream_failures.add();
        if let Some(pick) = &mut self.pick {
            pick.failed(failure);
            self.tried.push(pick.address());
        }
        self.tried.len() < TRIES && route.pool.has_other_than(&self.tried) && route.pool.may_retry()
    }
}
