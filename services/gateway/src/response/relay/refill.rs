//! Background refresh of a stored response while clients get the stale one (RFC 5861, section 3):
//! the same request, without a client.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::transfer::{Source, fill_in_background};
use crate::compression::RequestInfo;
use crate::context::Refill;
use crate::deadline::Timer;
use crate::fields::Fields;
use crate::message::client::{BodyFault, Client, ClientGone};
use crate::request::parse::Length;
use crate::upstream::client::{self, Upload, UpstreamResponse};

/// Sends the request, whose head lacks only its final lines, and passes the response to the cache.
/// Errors are ignored, because the next request detects them as well.
pub(crate) async fn refill(refill: Refill) {
    let Refill { context: mut request_context, head, request, permit: _permit } = refill;
    let Some(route) = request_context.route.clone() else { return };
    let (timeouts, gateway) = (request_context.timeouts(), request_context.gateway.clone());
    let mut client = NoClient;
    let mut timer = Timer::new(timeouts.silence);
    let (length, budget) = (Length::Known(0), &gateway.bodies);
    let begun = Upload::buffer(&mut client, length, budget, Duration::ZERO, &mut timer).await;
    let Ok(mut upload) = begun else { return };
    let text = upload.finish_head(request, &head.method);
    let call = request_context.call(&route, &head, None);
    let attempts = &mut request_context.attempts;
    let result =
        client::send_request(&call, attempts, &text, &mut upload, &mut timer, &mut client).await;
    let response = match result {
        Ok(response) if !response.is_event_stream() && !response.changes_protocol() => response,
        _ => return,
    };
    let UpstreamResponse { status, mut fields, body, is_persistent, .. } = response;
    let request_info = RequestInfo {
        method: &head.method,
        fields: &head.fields,
        is_http10: request_context.is_http10,
        requires_auth: request_context.requires_auth(),
    };
    let encoder = gateway.encoders.begin(&request_info, status, &mut fields).map(Box::new);
    let source = Source { body, is_persistent };
    if request_context.on_response_head(status, &fields).is_some() {
        if source.is_over() {
            source.keep(request_context.attempts.lease.as_ref());
        }
        return;
    }
    let fill = request_context.fill.take().filter(|fill| fill.is_storing());
    if let Some(fill) = fill {
        let task = fill_in_background(
            source,
            encoder,
            *fill,
            request_context.attempts.lease.take(),
            timeouts.silence,
        );
        let _ = tokio::time::timeout(timeouts.total, task).await;
    }
}

/// Placeholder for a client: it sends nothing, reads nothing and never disconnects.
struct NoClient;

impl Client for NoClient {
    fn poll_body(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyFault>> {
        Poll::Ready(Ok(None))
    }

    fn send_informational(&mut self, _: StatusCode, _: Fields) {}

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ClientGone>> {
        Poll::Ready(Ok(()))
    }

    fn poll_disconnect(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn unsent(&self) -> usize {
        0
    }
}
