//! Upstream client: sends a request over an idle or a new connection, and retries at another
//! address where that is safe. The same code serves every method and protocol.

mod body;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod response_head;
mod stream;
mod upload;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE, WWW_AUTHENTICATE,
};
use tokio::time::timeout;

pub(crate) use self::body::Body;
use self::body::poll_some;
pub(crate) use self::stream::{EventStream, open_stream};
pub(crate) use self::upload::{REPLAY_BUFFER_BYTES, Upload, UploadState};

use crate::deadline::Timer;
use crate::fields::Fields;
use crate::message::body::Frame;
use crate::message::client::{BodyFault, Client};
use crate::message::is_event_stream_type;
use crate::message::problem::Problem;
use crate::request::auth::binds_connection;
use crate::request::field_rules::FieldRules;
use crate::request::hop_by_hop::strip;
use crate::request::parse::Head;
use crate::telemetry::counters::Counter;
use crate::upstream::{Connection, Failure, Lease, Pool};

/// Maximum size of a response head in bytes.
const HEAD_BYTES: usize = 32 * 1024;

/// Maximum bytes of informational responses before the final one; more are treated as a loop. Many
/// short ones are valid: 102 (Processing) during a long operation, 104 for each part of an upload.
const INFORMATIONAL_BYTES: usize = 32 * 1024;

/// Maximum attempts in total, where a retry is safe.
const MAX_ATTEMPTS: usize = 3;

/// Maximum idle time of a connection for a request that must not be sent twice. Upstreams close
/// idle connections after some seconds without a notice; a request on such a connection is
/// indistinguishable from one that was lost after it took effect.
const SAFE_IDLE_TIME: Duration = Duration::from_secs(1);

/// A response of an upstream with its parsed head.
#[derive(Debug)]
pub(crate) struct UpstreamResponse {
    /// Status code.
    pub(crate) status: StatusCode,
    /// Fields in their original order.
    pub(crate) fields: Fields,
    /// Body, which is still to be read.
    pub(crate) body: Body,
    /// The rest of the upload, if the upstream responds before it has read the whole request.
    pub(crate) sending: Option<UploadState>,
    /// The whole request has been sent. Otherwise the rest of it is still on the client's
    /// connection.
    pub(crate) is_request_sent: bool,
    /// The connection can be reused after the body is complete.
    pub(crate) is_persistent: bool,
}

impl UpstreamResponse {
    /// Whether the response is an event stream, which may be endless.
    pub(crate) fn is_event_stream(&self) -> bool {
        let kind = || self.fields.get(CONTENT_TYPE)?.to_str().ok();
        self.status == StatusCode::OK
            && !matches!(self.body.frame(), Frame::Known(_) | Frame::Done)
            && kind().is_some_and(is_event_stream_type)
    }

    /// Whether the connection switches to another protocol.
    pub(crate) fn changes_protocol(&self) -> bool {
        self.status == StatusCode::SWITCHING_PROTOCOLS
    }
}

/// Reason why there is no response.
#[derive(Debug)]
pub(crate) enum UpstreamError {
    /// The upstream failed: respond with this problem.
    Problem(Problem),
    /// The client's body is invalid: respond with this problem, and read no more.
    Refused(Problem),
    /// The client has disconnected.
    ClientGone,
}

impl From<BodyFault> for UpstreamError {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::Refused(problem) => Self::Refused(problem),
            BodyFault::ClientGone => Self::ClientGone,
        }
    }
}

/// An upstream request, without its head and body.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    /// Upstream pool.
    pub(crate) pool: &'a Pool,
    /// Route name, for problem details.
    pub(crate) route: &'a str,
    /// Field rules for responses.
    pub(crate) rules: &'a FieldRules,
    /// Counter of failed attempts.
    pub(crate) failures: &'a Counter,
    /// Request head as the client sent it.
    pub(crate) head: &'a Head,
    /// Protocol that the client asks to upgrade to.
    pub(crate) protocol: Option<&'a HeaderValue>,
    /// Connect timeout.
    pub(crate) connect_time: Duration,
    /// Maximum silence of the upstream.
    pub(crate) silence: Duration,
    /// Maximum time of a response.
    pub(crate) total: Duration,
}

/// Attempts of one request.
#[derive(Default)]
pub(crate) struct Attempts {
    /// Lease of the current or the last attempt.
    pub(crate) lease: Option<Lease>,
    /// Addresses of failed attempts.
    pub(crate) failed: Vec<SocketAddr>,
}

impl Attempts {
    /// Records a failed attempt.
    fn fail(&mut self, failure: Failure) {
        if let Some(lease) = &mut self.lease {
            lease.failed(failure);
            self.failed.push(lease.address());
        }
    }

    /// Whether another address may be tried. Withdraws a retry from the budget.
    fn may_retry(&self, pool: &Pool) -> bool {
        self.failed.len() < MAX_ATTEMPTS && pool.has_other_than(&self.failed) && pool.may_retry()
    }
}

/// Sends the request and reads the response head. A 101 is only accepted for [`Call::protocol`].
///
/// A request is retried within the retry budget, with at most [`MAX_ATTEMPTS`] attempts in total, if
/// the upstream cannot have processed it: the connection failed, or no part of the body was sent. In
/// other cases, it is retried only if its method is idempotent and its body is still in memory, and
/// never after a timeout.
pub(crate) async fn send_request(
    call: &Call<'_>,
    attempts: &mut Attempts,
    head: &Bytes,
    upload: &mut Upload,
    timer: &mut Timer,
    client: &mut dyn Client,
) -> Result<UpstreamResponse, UpstreamError> {
    let Call { pool, route, head: Head { method, fields, .. }, protocol, .. } = *call;
    let has_bound_credentials = binds_connection(fields, AUTHORIZATION);
    let is_idempotent = method.is_idempotent();
    let idle_time = if is_idempotent { None } else { Some(SAFE_IDLE_TIME) };
    let mut is_new = false;
    loop {
        // Releases the lease of the previous attempt.
        attempts.lease = None;
        let Some(mut lease) = pool.select(&attempts.failed) else {
            return Err(UpstreamError::Problem(Problem::no_upstream(route)));
        };
        let idle = if is_new { None } else { lease.idle_connection(idle_time) };
        let connected = match idle {
            Some(connection) => Ok(connection),
            // Boxed: few requests need a new connection, but every future would reserve the space
            // for it.
            None => Box::pin(connect(&lease, call.connect_time)).await,
        };
        let (failure, may_replay) = match connected {
            Ok(mut connection) => {
                let mut exchange = Exchange {
                    sending: upload.begin(head),
                    buffer: BytesMut::new(),
                    informational_bytes: 0,
                    protocol,
                    rules: call.rules,
                };
                let limits = (call.silence, call.total);
                let exchanged = exchange.run(&mut connection, upload, client, timer, limits).await;
                let Exchange { sending, buffer, .. } = exchange;
                let may_replay =
                    (is_idempotent && upload.can_be_replayed()) || sending.is_unsent(upload);
                match exchanged {
                    Err(ExchangeError::Client(fault)) => {
                        // For the access log.
                        attempts.lease = Some(lease);
                        return Err(fault.into());
                    }
                    // The idle connection was about to be closed. A retry on a new connection
                    // reveals any other error.
                    Err(ExchangeError::Upstream(Failure::Reset))
                        if connection.is_reused && may_replay =>
                    {
                        is_new = true;
                        continue;
                    }
                    Err(ExchangeError::Upstream(failure)) => {
                        (failure, may_replay && failure != Failure::Timeout)
                    }
                    Ok(head) => {
                        match head.status.as_u16() {
                            status @ 502..=504 => lease.failed(Failure::Status(status)),
                            _ => lease.succeeded(),
                        }
                        if let Some(frame) = head.frame(method) {
                            attempts.lease = Some(lease);
                            let response_head::Head { status, fields, is_persistent } = head;
                            let is_done = sending.is_done();
                            // Other clients would have the rights of this one.
                            let is_bound = has_bound_credentials
                                || (status == StatusCode::UNAUTHORIZED
                                    && binds_connection(&fields, WWW_AUTHENTICATE));
                            if is_done {
                                upload.release();
                            }
                            // An upstream that rejects the request does not need the rest.
                            let goes_on = !is_done
                                && sending.error().is_none()
                                && !(status.is_client_error() || status.is_server_error());
                            return Ok(UpstreamResponse {
                                status,
                                fields,
                                body: Body::new(connection, buffer, frame),
                                sending: goes_on.then_some(sending),
                                is_request_sent: is_done,
                                is_persistent: is_persistent && is_done && !is_bound,
                            });
                        }
                        (Failure::Invalid, may_replay)
                    }
                }
            }
            Err(failure) => (failure, upload.can_be_replayed()),
        };
        attempts.lease = Some(lease);
        if failure != Failure::Resources {
            call.failures.add();
        }
        attempts.fail(failure);
        if !(may_replay && attempts.may_retry(pool)) {
            return Err(UpstreamError::Problem(failure.problem(route)));
        }
    }
}

async fn connect(lease: &Lease, bound: Duration) -> Result<Connection, Failure> {
    match timeout(bound, Connection::open(lease.address(), lease.tls())).await {
        Ok(opened) => opened,
        Err(_) => Err(Failure::Timeout),
    }
}

/// Reason why an exchange ended without a response.
#[derive(Debug)]
enum ExchangeError {
    Upstream(Failure),
    Client(BodyFault),
}

impl From<Failure> for ExchangeError {
    fn from(failure: Failure) -> Self {
        Self::Upstream(failure)
    }
}

/// Transfer of a request and its response head on one connection, both concurrently: an upstream
/// may respond before it has read the whole request.
struct Exchange<'a> {
    sending: UploadState,
    buffer: BytesMut,
    informational_bytes: usize,
    protocol: Option<&'a HeaderValue>,
    rules: &'a FieldRules,
}

impl Exchange<'_> {
    async fn run(
        &mut self,
        connection: &mut Connection,
        upload: &mut Upload,
        client: &mut dyn Client,
        timer: &mut Timer,
        (silence, total): (Duration, Duration),
    ) -> Result<response_head::Head, ExchangeError> {
        let mut before = None;
        // Limit for informational responses, because each one ends a silence. While the request is
        // being sent, they may report its progress.
        let mut end: Option<((usize, u64), Instant)> = None;
        poll_fn(|context| {
            let polled = self.poll(context, connection, upload, client);
            if polled.is_ready() {
                return polled;
            }
            let client_time = self.sending.client_time(upload);
            // The timeout covers the whole head from its first byte, because an upstream could send
            // it byte by byte.
            let head = (self.informational_bytes, self.buffer.is_empty());
            let sent = self.sending.progress();
            let now = (sent, head, client_time.is_some());
            if before != Some(now) {
                before = Some(now);
                let mut bound = silence;
                if self.informational_bytes > 0 {
                    end = end.filter(|(progress, _)| *progress == sent);
                    let limit = || (sent, Instant::now() + total.max(silence));
                    let (_, end) = *end.get_or_insert_with(limit);
                    bound = silence.min(end.saturating_duration_since(Instant::now()));
                }
                timer.set(client_time.unwrap_or(bound));
            }
            timer.poll(context).map(|()| {
                Err(if client_time.is_some() {
                    ExchangeError::Client(BodyFault::Refused(Problem::too_slow("body")))
                } else {
                    Failure::Timeout.into()
                })
            })
        })
        .await
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        connection: &mut Connection,
        upload: &mut Upload,
        client: &mut dyn Client,
    ) -> Poll<Result<response_head::Head, ExchangeError>> {
        let stream = &mut connection.stream;
        if let Poll::Ready(Err(fault)) = self.sending.poll(context, stream, upload, client) {
            return Poll::Ready(Err(ExchangeError::Client(fault)));
        }
        while let Poll::Ready(read) = poll_some(stream, context, &mut self.buffer) {
            match (read, self.sending.error()) {
                (Ok(0) | Err(_), Some(error)) => {
                    return Poll::Ready(Err(Failure::of(error).into()));
                }
                (Err(error), None) => return Poll::Ready(Err(Failure::of(&error).into())),
                (Ok(0), None) => return Poll::Ready(Err(Failure::Reset.into())),
                (Ok(_), _) => {}
            }
            loop {
                let received = self.buffer.len();
                let Some(head) = response_head::take(&mut self.buffer)
                    .map_err(|response_head::InvalidHead| Failure::Invalid)?
                else {
                    break;
                };
                if head.status == StatusCode::SWITCHING_PROTOCOLS {
                    let confirms_upgrade =
                        self.protocol.is_some_and(|it| confirms_upgrade(&head.fields, it));
                    return Poll::Ready(if confirms_upgrade {
                        Ok(head)
                    } else {
                        Err(Failure::Invalid.into())
                    });
                }
                if !head.status.is_informational() {
                    return Poll::Ready(Ok(head));
                }
                self.informational_bytes += received - self.buffer.len();
                if self.informational_bytes > INFORMATIONAL_BYTES {
                    return Poll::Ready(Err(Failure::Invalid.into()));
                }
                if head.status != StatusCode::CONTINUE {
                    // RFC 9110, section 15.2. The gateway never waits for 100 (Continue), so it
                    // does not forward one.
                    let response_head::Head { status, mut fields, .. } = head;
                    strip(&mut fields, status);
                    self.rules.remove(&mut fields);
                    client.send_informational(status, fields);
                }
            }
            if self.buffer.len() > HEAD_BYTES {
                return Poll::Ready(Err(Failure::Invalid.into()));
            }
        }
        if self.informational_bytes > 0 {
            // The check below detects a disconnected client.
            let _ = client.poll_flush(context);
        }
        if !self.sending.pulls() && client.poll_disconnect(context).is_ready() {
            return Poll::Ready(Err(ExchangeError::Client(BodyFault::ClientGone)));
        }
        Poll::Pending
    }
}

/// Whether a 101 names the requested protocol, and no other (RFC 9110, section 7.8).
fn confirms_upgrade(fields: &Fields, protocol: &HeaderValue) -> bool {
    let named = fields.only(UPGRADE).map(HeaderValue::as_bytes);
    named.is_some_and(|name| name.eq_ignore_ascii_case(protocol.as_bytes()))
        && fields.lists(CONNECTION, "upgrade")
}
