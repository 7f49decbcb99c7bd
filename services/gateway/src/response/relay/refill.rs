//! Background refresh of a stored response while clients get the stale one (RFC 5861, section 3):
//! the same request, without a client.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::OwnedSemaphorePermit;

use super::transfer::{Source, fill_alone};
use super::{BodyFault, ClientGone, Downstream};
use crate::deadline::Timer;
use crate::fields::Fields;
use crate::request::context::{FullResponse, RequestContext};
use crate::request::parse::{Head, Length};
use crate::response::compression::Asked;
use crate::upstream::client::{self, Upload, UpstreamResponse};

/// Sends the request, whose head lacks only its final lines, and passes the response to the cache.
/// Errors are ignored, because the next request detects them as well.
pub(crate) async fn refill(
    mut request_context: RequestContext,
    head: Head,
    request: Vec<u8>,
    _permit: OwnedSemaphorePermit,
) {
    let (timeouts, gateway) = (request_context.timeouts(), request_context.gateway.clone());
    let mut client = NoClient;
    let mut timer = Timer::new(timeouts.silence);
    let (length, budget) = (Length::Known(0), &gateway.bodies);
    let begun = Upload::hold(&mut client, length, budget, Duration::ZERO, &mut timer).await;
    let Ok(mut upload) = begun else { return };
    let text = upload.finish_head(request, &head.method);
    let asked =
        client::ask(&mut request_context, &text, &mut upload, None, &mut timer, &mut client).await;
    let response = match asked {
        Ok(response) if !response.is_event_stream() && !response.changes_protocol() => response,
        _ => return,
    };
    let UpstreamResponse { status, mut fields, body, is_lasting, .. } = response;
    let asked = Asked {
        method: &head.method,
        fields: &head.fields,
        is_http10: request_context.is_http10,
        requires_auth: request_context.route.as_ref().is_some_and(|route| route.auth.is_some()),
    };
    let encoder = gateway.encoders.begin(&asked, status, &mut fields).map(Box::new);
    let source = Source { body, is_lasting };
    if request_context.on_response_head(status, &fields).is_some() {
        if source.is_over() {
            source.keep(request_context.pick.as_ref());
        }
        return;
    }
    let filling = request_context.filling.take().filter(|filling| filling.is_storing());
    if let Some(filling) = filling {
        let fill =
            fill_alone(source, encoder, *filling, request_context.pick.take(), timeouts.silence);
        let _ = tokio::time::timeout(timeouts.total, fill).await;
    }
}

/// Placeholder for a client: it sends nothing, reads nothing and never disconnects.
struct NoClient;

impl Downstream for NoClient {
    fn poll_body(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyFault>> {
        Poll::Ready(Ok(None))
    }

    fn limit_body(&mut self, _: usize) {}

    fn send_continue(&mut self) {}

    fn can_tunnel(&self) -> bool {
        false
    }

    fn inform(&mut self, _: StatusCode, _: Fields) {}

    fn head(
        &mut self,
        _: &mut RequestContext,
        _: StatusCode,
        _: Fields,
        _: bool,
    ) -> Result<(), ClientGone> {
        Err(ClientGone)
    }

    fn reply(&mut self, _: FullResponse) -> Result<(), ClientGone> {
        Err(ClientGone)
    }

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ClientGone>> {
        Poll::Ready(Ok(()))
    }

    fn push(&mut self, _: Bytes) -> Result<(), ClientGone> {
        Err(ClientGone)
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ClientGone>> {
        Poll::Ready(Ok(()))
    }

    fn finish(&mut self) -> Result<(), ClientGone> {
        Ok(())
    }

    fn unsent(&self) -> usize {
        0
    }

    fn poll_left(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}
