//! Client of one request: the source of its body, and the sink of informational responses.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use crate::fields::Fields;
use crate::message::problem::Problem;

/// Maximum time without write progress. A client on a mobile network or waking from sleep needs
/// seconds to recover.
pub(crate) const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// A client while its request is sent to an upstream. No method blocks, so that one task can serve
/// both directions and the upstream.
pub(crate) trait Client: Send {
    /// Reads the next piece of the request body; `None` at its end.
    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyFault>>;

    /// Sends an informational response, if the client supports it.
    fn send_informational(&mut self, status: StatusCode, fields: Fields);

    /// Ready when everything that was written has been sent.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientGone>>;

    /// Ready when the client has disconnected.
    fn poll_disconnect(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// Bytes that were written and not sent.
    fn unsent(&self) -> usize;
}

/// The client has disconnected, or stopped reading.
#[derive(Debug)]
pub(crate) struct ClientGone;

/// Reason why a request body is incomplete.
#[derive(Debug)]
pub(crate) enum BodyFault {
    /// It is malformed, too large or too slow.
    Refused(Problem),
    /// The client has disconnected.
    ClientGone,
}
