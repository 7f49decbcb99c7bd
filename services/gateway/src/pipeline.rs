//! One request and its answer, in the same steps for every method and protocol: admission, the
//! request's body, an upstream, the answer.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use http::{Method, StatusCode, Version};

use crate::deadline::Alarm;
use crate::request::context::{Admission, Order, Outgoing, Reply};
use crate::request::parse::{Head, Length};
use crate::request::rate_limit::Place;
use crate::response::problem::Problem;
use crate::response::relay::{BodyFault, Closing, Downstream, End, LEFT, deliver, respond};
use crate::upstream::client::{self, Answering, HELD_BYTES, Unanswered, Upload};

/// Time for a request's body, and, where more than [`BODY_BYTES`] are allowed, a second more for
/// every [`BODY_FLOOR_BYTES`].
const BODY_TIME: Duration = Duration::from_secs(8);

/// The body that this time is enough for.
const BODY_BYTES: usize = 64 * 1024;

/// Bytes of a body that a client must manage in a second: half of what a slow radio cell gives.
const BODY_FLOOR_BYTES: usize = 16 * 1024;

/// The end of a request.
pub(crate) enum Outcome {
    /// The answer is complete.
    Whole,
    /// The answer broke off, or the client did.
    Broken,
    /// The connection belongs to this answer from now on.
    Tunnel(Box<Answering>, Option<Place>),
}

/// Answers a request whose head has been read.
pub(crate) async fn handle<D: Downstream>(
    order: &mut Order,
    head: &Head,
    client: &mut D,
    alarm: &mut Alarm,
    closing: &Closing,
) -> Outcome {
    let end = match answer(order, head, client, alarm, closing).await {
        Ok(end) => end,
        Err(tunnel) => return tunnel,
    };
    let outcome = match end {
        End::Whole | End::Instead(_) => Outcome::Whole,
        End::Left => {
            order.error.get_or_insert_with(|| LEFT.to_owned());
            Outcome::Broken
        }
        End::Broken(why) => {
            order.error = Some(why.to_owned());
            Outcome::Broken
        }
    };
    order.ended();
    outcome
}

async fn answer<D: Downstream>(
    order: &mut Order,
    head: &Head,
    client: &mut D,
    alarm: &mut Alarm,
    closing: &Closing,
) -> Result<End, Outcome> {
    let Some(admission) = until_left(order.admit(head), client).await else {
        return Ok(End::Left);
    };
    let Outgoing { head: text, protocol, place } = match admission {
        Admission::Answer(reply) => {
            skip_body(order, head, client, alarm).await;
            return Ok(respond(order, reply, client, alarm).await);
        }
        Admission::Forward(outgoing) => outgoing,
    };
    let mut upload = match take_body(order, head, client, alarm).await {
        Ok(upload) => upload,
        Err(BodyFault::Left) => return Ok(End::Left),
        Err(BodyFault::Refused(problem)) => return Ok(reject(order, &problem, client, alarm).await),
    };
    let text = upload.finish_head(text, &head.method);
    let asked = client::ask(order, &text, &mut upload, protocol.as_ref(), alarm, client).await;
    drop(text);
    let answering = match asked {
        Ok(answering) => answering,
        Err(Unanswered::Left) => return Ok(End::Left),
        Err(Unanswered::Refused(problem)) => {
            return Ok(reject(order, &problem, client, alarm).await);
        }
        Err(Unanswered::Problem(problem)) => {
            // What is left of the body is not read for an answer that has nothing to do with it.
            order.closes |= !upload.is_read();
            let reply = order.fail(&problem);
            return Ok(respond(order, reply, client, alarm).await);
        }
    };
    let is_viewer = client.can_tunnel()
        && head.version == Version::HTTP_11
        && head.method == Method::GET
        && answering.sending.is_none()
        && answering.is_event_stream();
    if answering.changes_protocol() || is_viewer {
        // The cache has to hear that nothing comes for it.
        if answering.status == StatusCode::OK {
            drop(order.hears(answering.status, &answering.fields));
            order.filling = None;
        }
        return Err(Outcome::Tunnel(Box::new(answering), place));
    }
    let fields = &head.fields;
    let end = deliver(order, answering, &mut upload, fields, client, alarm, closing).await;
    drop(place);
    if let End::Instead(answer) = end {
        order.closes |= !upload.is_read();
        let reply = order.answer(&answer);
        return Ok(respond(order, reply, client, alarm).await);
    }
    Ok(end)
}

/// Reads the body, or its beginning.
async fn take_body<D: Downstream>(
    order: &Order,
    head: &Head,
    client: &mut D,
    alarm: &mut Alarm,
) -> Result<Upload, BodyFault> {
    if head.length != Length::Known(0) && head.expects_continue {
        client.go_on();
    }
    let (gateway, most) = (&order.gateway, order.gateway.config.body_bytes);
    Upload::hold(client, head.length, &gateway.bodies, body_time(most), alarm).await
}

/// Reads a body that nobody needs, so that the next request is found behind it; the connection ends
/// where that would take too long.
async fn skip_body<D: Downstream>(
    order: &mut Order,
    head: &Head,
    client: &mut D,
    alarm: &mut Alarm,
) {
    let too_much = match head.length {
        Length::Known(0) => return,
        Length::Known(length) => length > HELD_BYTES as u64,
        Length::Chunked => false,
    };
    // A client that waits to be asked for the body need not send it.
    if too_much || head.expects_continue {
        order.closes = true;
        return;
    }
    let mut left = HELD_BYTES;
    let skipped = async {
        loop {
            match poll_fn(|context| client.poll_body(context)).await {
                Ok(Some(piece)) if piece.len() <= left => left -= piece.len(),
                Ok(None) => return true,
                _ => return false,
            }
        }
    };
    order.closes |= alarm.within(BODY_TIME, skipped).await != Some(true);
}

/// Answers a request whose body cannot be taken; what comes next on the connection is not certain
/// to be a request.
async fn reject<D: Downstream>(
    order: &mut Order,
    problem: &Problem,
    client: &mut D,
    alarm: &mut Alarm,
) -> End {
    order.gateway.metrics.malformed.add();
    order.closes = true;
    let reply: Reply = order.refuse(problem);
    respond(order, reply, client, alarm).await
}

/// What comes of `what`, or none when the client leaves before.
async fn until_left<T, D: Downstream>(what: impl Future<Output = T>, client: &mut D) -> Option<T> {
    let mut what = pin!(what);
    poll_fn(|context| match what.as_mut().poll(context) {
        Poll::Ready(got) => Poll::Ready(Some(got)),
        Poll::Pending => client.poll_left(context).map(|()| None),
    })
    .await
}

/// Time for a body where so many bytes are allowed.
fn body_time(most: usize) -> Duration {
    let more = most.saturating_sub(BODY_BYTES) / BODY_FLOOR_BYTES;
    BODY_TIME + Duration::from_secs(more as u64)
}
