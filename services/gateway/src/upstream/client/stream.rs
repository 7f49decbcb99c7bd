//! A request of the gateway's own for a response without an end.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use http::Method;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::body::poll_some;
use super::{Body, HEAD_BYTES, UpstreamResponse, connect, response_head};
use crate::upstream::Failure;

/// Sends a GET on a new connection and reads the head of the response.
///
/// # Errors
/// [`Failure::Unreachable`] when there is no connection within `connect_time`, and
/// [`Failure::Timeout`] when there is one and no head comes within `head_time`.
pub(crate) async fn open_stream(
    address: SocketAddr,
    request: &[u8],
    connect_time: Duration,
    head_time: Duration,
) -> Result<UpstreamResponse, Failure> {
    let Ok(mut connection) = connect(address, connect_time).await else {
        return Err(Failure::Unreachable);
    };
    let mut held = BytesMut::new();
    let read = async {
        let failure = |error| Failure::of(&error);
        connection.stream.write_all(request).await.map_err(failure)?;
        connection.stream.flush().await.map_err(failure)?;
        loop {
            let stream = &mut connection.stream;
            let count = poll_fn(|context| poll_some(stream, context, &mut held)).await;
            if count.map_err(failure)? == 0 {
                return Err(Failure::Reset);
            }
            if let Some(head) = response_head::take(&mut held).map_err(|_| Failure::Invalid)?
                && !head.status.is_informational()
            {
                return Ok(head);
            }
            if held.len() > HEAD_BYTES {
                return Err(Failure::Invalid);
            }
        }
    };
    let response = timeout(head_time, read).await.unwrap_or(Err(Failure::Timeout))?;
    let frame = response.frame(&Method::GET).ok_or(Failure::Invalid)?;
    Ok(UpstreamResponse {
        status: response.status,
        fields: response.fields,
        body: Body::new(connection, held, frame),
        sending: None,
        is_lasting: false,
    })
}
