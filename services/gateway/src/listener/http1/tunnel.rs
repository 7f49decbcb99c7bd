//! Connections that end with their response: event streams and upgraded connections.

use std::future::poll_fn;
use std::time::Duration;

use http::header::{CONNECTION, TRANSFER_ENCODING, UPGRADE};
use tokio::time::{sleep, timeout};

use super::ConnectionHandler;
use crate::context::{RequestContext, deduplicate_fields};
use crate::listener::connection::Connection;
use crate::message::body::Frame;
use crate::message::client::SEND_TIMEOUT;
use crate::message::head::{begin_head, field};
use crate::request::hop_by_hop::strip;
use crate::response::relay::{CLIENT_DISCONNECTED, until_closing};
use crate::response::tunnel::Tunnel;
use crate::upstream::client::UpstreamResponse;

/// Part of the drain time in which upgraded connections end, so that each has its line in the access
/// log.
const RECORD_TIME: Duration = Duration::from_millis(100);

impl ConnectionHandler {
    /// Tunnels a response: an event stream, or another protocol after an upgrade.
    pub(super) async fn tunnel(
        &self,
        mut client: Connection,
        mut request_context: Box<RequestContext>,
        upstream_response: UpstreamResponse,
    ) {
        let changes = upstream_response.changes_protocol();
        let UpstreamResponse { status, mut fields, body, .. } = upstream_response;
        request_context.status = status.as_u16();
        // An event stream ends with its connection.
        request_context.close_after = !changes;
        let protocol = fields.remove(UPGRADE).filter(|_| changes);
        let is_chunked = matches!(body.frame(), Frame::Chunked(_));
        strip(&mut fields, status);
        request_context.note_hsts(&fields);
        deduplicate_fields(&mut fields);
        request_context.edit_response(&mut fields);
        let head = client.write_buffer();
        begin_head(head, status, &fields);
        if is_chunked {
            field(head, TRANSFER_ENCODING.as_str(), b"chunked");
        }
        if let Some(protocol) = protocol {
            field(head, CONNECTION.as_str(), b"upgrade");
            field(head, UPGRADE.as_str(), protocol.as_bytes());
        }
        request_context.finish(head);
        drop(fields);
        request_context.release();
        let sent = timeout(SEND_TIMEOUT, poll_fn(|context| client.poll_flush(context)));
        if !matches!(sent.await, Ok(Ok(()))) {
            request_context.error = Some(CLIENT_DISCONNECTED.to_owned());
            return request_context.record();
        }
        let metrics = request_context.route.as_ref().map(|route| route.metrics.clone());
        if let Some(metrics) = &metrics {
            metrics.streams.add();
        }
        let silence = request_context.timeouts().silence;
        let (socket, ahead) = client.into_parts();
        let tunnel = Tunnel::new(body, is_chunked, socket);
        let closing = until_closing(self.closing.clone());
        let passed = if changes {
            // Only the peers can end their protocol without a loss.
            let drained = async {
                closing.await;
                sleep(self.drain.saturating_sub(RECORD_TIME)).await;
            };
            Box::pin(tunnel.relay_both(&ahead, silence, drained)).await
        } else {
            Box::pin(tunnel.relay_stream(silence, closing)).await
        };
        request_context.sent_bytes = passed.bytes;
        request_context.error = passed.error.map(str::to_owned);
        if let Some(metrics) = &metrics {
            metrics.streams.remove();
        }
        request_context.record();
    }
}
