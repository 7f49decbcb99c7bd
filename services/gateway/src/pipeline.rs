//! Request pipeline, the same for every method and protocol: decision, request body, upstream
//! request, response.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use http::{Method, StatusCode, Version};

use crate::context::{Decision, RequestContext, UpstreamRequest};
use crate::deadline::Timer;
use crate::message::client::BodyFault;
use crate::message::head::FullResponse;
use crate::message::problem::Problem;
use crate::request::parse::{Head, Length};
use crate::request::rate_limit::Permit;
use crate::response::relay::{
    CLIENT_DISCONNECTED, Closing, Downstream, End, refill, relay_response, respond,
};
use crate::response::send_fleet;
use crate::upstream::client::{self, REPLAY_BUFFER_BYTES, Upload, UpstreamError, UpstreamResponse};

/// Timeout for a request body. If more than [`BODY_BYTES`] are allowed, each [`BODY_FLOOR_BYTES`]
/// add one second.
const BODY_TIME: Duration = Duration::from_secs(8);

/// Body size that this timeout covers.
const BODY_BYTES: usize = 64 * 1024;

/// Minimum transfer rate of a body in bytes per second: half of the rate of a slow mobile network.
const BODY_FLOOR_BYTES: usize = 16 * 1024;

/// Outcome of a request.
pub(crate) enum Outcome {
    /// The response is complete.
    Complete,
    /// The response is truncated, or the client disconnected.
    Broken,
    /// The connection becomes a tunnel for this response.
    Tunnel(Box<UpstreamResponse>, Option<Permit>),
}

/// Handles a request with a parsed head.
pub(crate) async fn handle<D: Downstream>(
    request_context: &mut RequestContext,
    head: Head,
    client: &mut D,
    timer: &mut Timer,
    closing: &Closing,
) -> Outcome {
    let end = match answer(request_context, head, client, timer, closing).await {
        Ok(end) => end,
        Err(tunnel) => return tunnel,
    };
    let outcome = match end {
        End::Complete | End::Substitute(_) => Outcome::Complete,
        End::ClientGone => {
            request_context.error.get_or_insert_with(|| CLIENT_DISCONNECTED.to_owned());
            Outcome::Broken
        }
        End::Broken(why) => {
            request_context.error = Some(why.to_owned());
            Outcome::Broken
        }
    };
    request_context.record();
    outcome
}

async fn answer<D: Downstream>(
    request_context: &mut RequestContext,
    head: Head,
    client: &mut D,
    timer: &mut Timer,
    closing: &Closing,
) -> Result<End, Outcome> {
    let Some(decision) = until_disconnect(request_context.decide(&head), client).await else {
        return Ok(End::ClientGone);
    };
    if let Some(pending_refill) = request_context.refill.take() {
        tokio::spawn(refill(*pending_refill));
    }
    let UpstreamRequest { head: text, protocol, mut permit } = match decision {
        Decision::Respond(reply) => {
            skip_body(request_context, &head, client, timer).await;
            return Ok(respond(request_context, reply, client, timer).await);
        }
        Decision::Stream(viewer, permit) => {
            skip_body(request_context, &head, client, timer).await;
            // The stream may last for days.
            drop(head);
            request_context.release();
            let end = send_fleet(request_context, viewer, client, timer, closing).await;
            drop(permit);
            return Ok(end);
        }
        Decision::Forward(outgoing) => outgoing,
    };
    let mut upload = match take_body(request_context, &head, client, timer).await {
        Ok(upload) => upload,
        Err(BodyFault::ClientGone) => return Ok(End::ClientGone),
        Err(BodyFault::Refused(problem)) => {
            return Ok(reject(request_context, &problem, client, timer).await);
        }
    };
    let text = upload.finish_head(text, &head.method);
    let result = match &request_context.route.clone() {
        Some(route) => {
            let call = request_context.call(route, &head, protocol.as_ref());
            let attempts = &mut request_context.attempts;
            client::send_request(&call, attempts, &text, &mut upload, timer, client).await
        }
        None => Err(UpstreamError::Problem(Problem::no_upstream("/"))),
    };
    drop(text);
    let upstream_response = match result {
        Ok(upstream_response) => {
            // The rest of the request precedes the next request on the connection.
            request_context.close_after |= !upstream_response.is_request_sent;
            upstream_response
        }
        Err(UpstreamError::ClientGone) => return Ok(End::ClientGone),
        Err(UpstreamError::Refused(problem)) => {
            return Ok(reject(request_context, &problem, client, timer).await);
        }
        Err(UpstreamError::Problem(problem)) => {
            // The response does not depend on the rest of the body, so the rest is not read.
            request_context.close_after |= !upload.is_complete;
            let reply = request_context.fail(&problem);
            return Ok(respond(request_context, reply, client, timer).await);
        }
    };
    // A request that lists the media type in `Accept` has a permit already; many clients do not list it.
    if permit.is_none() && upstream_response.is_event_stream() {
        // An unsafe request has taken effect, and 429 would invite the client to repeat it.
        permit = match request_context.stream_permit(!head.method.is_safe()) {
            Ok(permit) => permit,
            Err(problem) => {
                store_nothing(request_context, &upstream_response);
                drop(upstream_response);
                let reply = request_context.reject_with(&problem);
                return Ok(respond(request_context, reply, client, timer).await);
            }
        };
    }
    let is_event_stream = client.can_tunnel()
        && head.version == Version::HTTP_11
        && head.method == Method::GET
        && upstream_response.sending.is_none()
        && upstream_response.is_event_stream();
    if upstream_response.changes_protocol() || is_event_stream {
        if upstream_response.status == StatusCode::OK {
            store_nothing(request_context, &upstream_response);
        }
        return Err(Outcome::Tunnel(Box::new(upstream_response), permit));
    }
    let end = relay_response(
        request_context,
        upstream_response,
        &mut upload,
        head,
        client,
        timer,
        closing,
    )
    .await;
    drop(permit);
    if let End::Substitute(answer) = end {
        request_context.close_after |= !upload.is_complete;
        let reply = request_context.answer(&answer);
        return Ok(respond(request_context, reply, client, timer).await);
    }
    Ok(end)
}

/// Informs the cache that there is no response to store.
fn store_nothing(request_context: &mut RequestContext, response: &UpstreamResponse) {
    drop(request_context.on_response_head(response.status, &response.fields));
    request_context.fill = None;
}

/// Reads the body, or its beginning.
async fn take_body<D: Downstream>(
    request_context: &RequestContext,
    head: &Head,
    client: &mut D,
    timer: &mut Timer,
) -> Result<Upload, BodyFault> {
    let gateway = &request_context.gateway;
    let limit = request_context.body_limit();
    if let Some(most) = limit {
        client.limit_body(most);
    }
    if head.length != Length::Known(0) && head.expects_continue {
        client.send_continue();
    }
    let most = limit.unwrap_or(gateway.config.body_bytes);
    Upload::buffer(client, head.length, &gateway.bodies, body_time(most), timer).await
}

/// Reads and discards a body that is not needed, so that the next request can follow; closes the
/// connection if that would take too long.
async fn skip_body<D: Downstream>(
    request_context: &mut RequestContext,
    head: &Head,
    client: &mut D,
    timer: &mut Timer,
) {
    let too_much = match head.length {
        Length::Known(0) => return,
        Length::Known(length) => length > REPLAY_BUFFER_BYTES as u64,
        Length::Chunked => false,
    };
    // A client that waits for 100 (Continue) need not send the body.
    if too_much || head.expects_continue {
        request_context.close_after = true;
        return;
    }
    let mut left = REPLAY_BUFFER_BYTES;
    let skipped = async {
        loop {
            match poll_fn(|context| client.poll_body(context)).await {
                Ok(Some(piece)) if piece.len() <= left => left -= piece.len(),
                Ok(None) => return true,
                _ => return false,
            }
        }
    };
    request_context.close_after |= timer.within(BODY_TIME, skipped).await != Some(true);
}

/// Rejects a request with an invalid body; the start of the next request is not certain.
async fn reject<D: Downstream>(
    request_context: &mut RequestContext,
    problem: &Problem,
    client: &mut D,
    timer: &mut Timer,
) -> End {
    request_context.gateway.metrics.malformed.add();
    request_context.close_after = true;
    let reply: FullResponse = request_context.reject_with(problem);
    respond(request_context, reply, client, timer).await
}

/// Output of `future`, or `None` if the client disconnects before.
async fn until_disconnect<T, D: Downstream>(
    future: impl Future<Output = T>,
    client: &mut D,
) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => client.poll_disconnect(context).map(|()| None),
    })
    .await
}

/// Timeout for a body with this limit.
fn body_time(most: usize) -> Duration {
    let more = most.saturating_sub(BODY_BYTES) / BODY_FLOOR_BYTES;
    BODY_TIME + Duration::from_secs(more as u64)
}
