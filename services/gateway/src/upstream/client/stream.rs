//! Client for endless responses that the gateway itself requests, each on its own connection with
//! small buffers: there may be a thousand of them.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::body::poll_some;
use super::{HEAD_BYTES, INFORMATIONAL_BYTES, response_head};
use crate::fields::Fields;
use crate::message::body::Frame;
use crate::message::is_event_stream_type;
use crate::upstream::tls::{self, Io};
use crate::upstream::{Failure, UpstreamTls};

/// A response with its parsed head.
pub(crate) struct EventStream {
    /// Fields of the head.
    pub(crate) fields: Fields,
    stream: Box<dyn Io>,
    buffer: BytesMut,
    frame: Frame,
}

/// Sends a GET on a new connection and reads the response head.
///
/// # Errors
/// [`Failure::Unreachable`] if the connection is not established within `connect_time`,
/// [`Failure::Timeout`] if no head arrives within `head_time`, and others if the response is not an
/// event stream.
pub(crate) async fn open_stream(
    address: SocketAddr,
    tls: Option<&UpstreamTls>,
    request: &[u8],
    connect_time: Duration,
    head_time: Duration,
) -> Result<EventStream, Failure> {
    let Ok(Ok(mut stream)) = timeout(connect_time, tls::open(address, tls)).await else {
        return Err(Failure::Unreachable);
    };
    let mut buffer = BytesMut::new();
    let mut informational_bytes = 0;
    let read = async {
        let failure = |error| Failure::of(&error);
        stream.write_all(request).await.map_err(failure)?;
        stream.flush().await.map_err(failure)?;
        loop {
            let count = poll_fn(|context| poll_some(&mut stream, context, &mut buffer)).await;
            if count.map_err(failure)? == 0 {
                return Err(Failure::Reset);
            }
            let mut received = buffer.len();
            while let Some(head) = response_head::take(&mut buffer).map_err(|_| Failure::Invalid)? {
                if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS
                {
                    return Ok(head);
                }
                // RFC 9110, section 15.2.
                informational_bytes += received - buffer.len();
                received = buffer.len();
            }
            if buffer.len() > HEAD_BYTES || informational_bytes > INFORMATIONAL_BYTES {
                return Err(Failure::Invalid);
            }
        }
    };
    let response = timeout(head_time, read).await.unwrap_or(Err(Failure::Timeout))?;
    let frame = response.frame(&Method::GET).ok_or(Failure::Invalid)?;
    let kind = response.fields.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if response.status != StatusCode::OK || !kind.is_some_and(is_event_stream_type) {
        return Err(Failure::Status(response.status.as_u16()));
    }
    // Copied, because they refer to a buffer that they would keep alive as long as the stream.
    let copied = |(name, value): (&HeaderName, &HeaderValue)| {
        Some((name.clone(), HeaderValue::from_bytes(value.as_bytes()).ok()?))
    };
    let fields = response.fields.iter().filter_map(copied).collect();
    Ok(EventStream { fields, stream, buffer, frame })
}

impl EventStream {
    /// Returns the next piece; `None` at the end.
    ///
    /// # Errors
    /// Returns an error if the body is malformed or truncated.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let Self { stream, buffer, frame, .. } = self;
        loop {
            if let Some(piece) = frame.take(buffer).map_err(io::Error::other)? {
                return Ok(Some(piece));
            }
            if *frame == Frame::Done {
                return Ok(None);
            }
            if buffer.is_empty() {
                // An idle stream owns no buffer.
                *buffer = BytesMut::new();
            }
            if poll_fn(|context| poll_some(stream, context, buffer)).await? == 0 {
                return match frame {
                    Frame::UntilClosed => Ok(None),
                    _ => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }
}
