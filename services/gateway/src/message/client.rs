//! The client of one request: the source of its body, and the target of informational responses.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use crate::fields::Fields;
use crate::message::problem::Problem;

/// Longest wait for a client that accepts nothing of what is sent to it. A radio cell or a
/// sleeping lid takes seconds to come back.
pub(crate) const TAKES_NOTHING: Duration = Duration::from_secs(30);

/// A client while its request is sent to an upstream. No method waits, so that one task can serve both
/// directions and the upstream.
pub(crate) trait Client: Send {
    /// The next piece of the request's body; none when it is complete.
    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyFault>>;

    /// Takes an informational answer, for a client that understands it.
    fn inform(&mut self, status: StatusCode, fields: Fields);

    /// Ready when everything that was taken has been sent.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientGone>>;

    /// Ready when the client is gone.
    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<()>;
}

/// The client has gone, or takes nothing.
#[derive(Debug)]
pub(crate) struct ClientGone;

/// Reason why a request's body is not complete.
#[derive(Debug)]
pub(crate) enum BodyFault {
    /// It is malformed, too large or too slow.
    Refused(Problem),
    /// The client has gone.
    ClientGone,
}
