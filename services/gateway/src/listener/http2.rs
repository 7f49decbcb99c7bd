//! HTTP/2 with prior knowledge (RFC 9113, section 3.3), in plaintext or over TLS. The h2 crate
//! handles the frames. Each stream passes the same parser and request pipeline as an HTTP/1.1
//! request.

mod heads;
mod prefixed_socket;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, Request, Response, StatusCode};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use self::heads::ResponseHead;
use self::prefixed_socket::PrefixedSocket;
use crate::context::{RequestContext, record_rejected};
use crate::deadline::Timer;
use crate::fields::Fields;
use crate::listener::connection::{self, HEAD_TIME, IDLE_TIME};
use crate::message::client::{BodyFault, Client, ClientGone};
use crate::message::head::FullResponse;
use crate::message::problem::Problem;
use crate::pipeline::{Outcome, handle};
use crate::request::client_info::Scheme;
use crate::request::forwarded::REQUEST_ID;
use crate::request::hop_by_hop::strip;
use crate::request::identifier::new_request_id;
use crate::request::parse::{self, Length};
use crate::request::rate_limit::Permit;
use crate::response::relay::{Closing, Downstream, until_closing};
use crate::state::connections::Entry;
use crate::state::{CONNECTION_STREAMS, Gateway};
use crate::upstream::client::REPLAY_BUFFER_BYTES;

/// The part of the client preface that resembles a request head.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// Limit of h2 for a header list in bytes: twice that of a head, because h2 answers larger ones
/// itself, without a line in the access log, and counts 32 more bytes for each field.
const HEADER_LIST_BYTES: usize = 2 * parse::HEAD_BYTES;

/// Flow-control window of a request body in bytes.
const WINDOW_BYTES: u32 = 16 * 1024;

/// Maximum request bodies of a connection whose beginning is received concurrently, if they may
/// exceed their window; the windows of the others are not extended. Otherwise a connection could
/// buffer a hundred times as much as an HTTP/1 connection. A body that stalls is one of them until
/// its time limit: a proxy that shares a connection among clients may have a few.
const MAX_BODIES: usize = 16;

/// Maximum buffered bytes of a response per stream: a hundred streams are three MiB.
const SEND_BYTES: usize = 32 * 1024;

/// Time for the client to close the connection after the last stream: one round trip.
const GOAWAY_TIME: Duration = Duration::from_secs(1);

/// State shared by all streams of a connection.
struct Session {
    gateway: Arc<Gateway>,
    closing: Closing,
    peer: SocketAddr,
    scheme: Scheme,
    bodies: Semaphore,
}

/// Serves the streams of a connection after its preface, until it is idle for too long, the client
/// disconnects, or the gateway shuts down; then it sends GOAWAY and completes the streams in
/// flight.
pub(crate) async fn serve_connection(
    gateway: &Arc<Gateway>,
    closing: &Closing,
    client: connection::Connection,
    entry: &Entry,
) {
    let (peer, scheme) = (client.peer(), client.scheme());
    let (socket, read_buffer) = client.into_parts();
    let mut ahead = BytesMut::from(PREFACE);
    ahead.unsplit(read_buffer);
    let handshake = Builder::new()
        .max_concurrent_streams(CONNECTION_STREAMS)
        .max_header_list_size(u32::try_from(HEADER_LIST_BYTES).unwrap_or(u32::MAX))
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES * CONNECTION_STREAMS)
        .max_send_buffer_size(SEND_BYTES)
        .handshake(PrefixedSocket { ahead: ahead.freeze(), socket });
    // As long as the handshake is incomplete, the connection may close for a new one.
    entry.set_idle();
    let handshake = tokio::select! {
        handshake = timeout(HEAD_TIME, handshake) => handshake,
        () = entry.close_requested() => return,
    };
    let Ok(Ok(connection)) = handshake else {
        gateway.metrics.malformed.add();
        return;
    };
    let session = Arc::new(Session {
        gateway: gateway.clone(),
        closing: closing.clone(),
        peer,
        scheme,
        bodies: Semaphore::new(MAX_BODIES),
    });
    let mut streams = JoinSet::new();
    session.accept(connection, &mut streams, entry).await;
    // The streams end without the connection, each with its line in the access log.
    let ended = async { while streams.join_next().await.is_some() {} };
    let _ = timeout(GOAWAY_TIME, ended).await;
}

impl Session {
    async fn accept(
        self: &Arc<Self>,
        mut connection: Connection<PrefixedSocket, Bytes>,
        streams: &mut JoinSet<()>,
        entry: &Entry,
    ) {
        let mut rest = IDLE_TIME;
        let mut idle = pin!(sleep(rest));
        let mut closing = pin!(until_closing(self.closing.clone()));
        let mut is_closing = false;
        // One request at a time is covered by the permit of the connection.
        let covered = Arc::new(Semaphore::new(1));
        loop {
            // A client may reset a stream and open another one immediately, before the work for the
            // first one has ended.
            let is_full = streams.len() >= CONNECTION_STREAMS as usize;
            tokio::select! {
                biased;
                Some(_) = streams.join_next() => {
                    idle.as_mut().reset((Instant::now() + rest).into());
                    if streams.is_empty() {
                        entry.set_idle();
                    }
                }
                () = &mut closing, if !is_closing => is_closing = true,
                () = entry.close_requested(), if streams.is_empty() && !is_closing => {
                    // At once: during a graceful shutdown, more connections would be closed.
                    connection.abrupt_shutdown(Reason::NO_ERROR);
                    is_closing = true;
                }
                () = &mut idle, if streams.is_empty() => {
                    if is_closing {
                        return;
                    }
                    is_closing = true;
                }
                accepted = poll_fn(|context| accept(&mut connection, context, is_full)) => {
                    let (request, mut respond) = match accepted {
                        Some(Ok(accepted)) => accepted,
                        // The client has violated the protocol, or one of h2's limits.
                        Some(Err(error)) if error.is_library() => {
                            return self.gateway.metrics.malformed.add();
                        }
                        _ => return,
                    };
                    let peer = self.peer.ip();
                    let permits = match covered.clone().try_acquire_owned() {
                        Ok(permit) => Some((permit, Permit::unlimited())),
                        Err(_) => self.gateway.admit_request(peer),
                    };
                    let Some(permits) = permits else {
                        respond.send_reset(Reason::REFUSED_STREAM);
                        continue;
                    };
                    let session = self.clone();
                    entry.set_active();
                    streams.spawn(async move {
                        session.handle_request(request, respond).await;
                        drop(permits);
                    });
                }
            }
            if is_closing && rest != GOAWAY_TIME {
                connection.graceful_shutdown();
                rest = GOAWAY_TIME;
                idle.as_mut().reset((Instant::now() + rest).into());
            }
        }
    }

    /// Handles one request.
    async fn handle_request(&self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let (parts, body) = request.into_parts();
        let mut head = match heads::request_head(&parts) {
            Ok(head) => head,
            Err(problem) => return self.reject_with(&mut respond, &problem),
        };
        let has_length = parts.headers.contains_key(CONTENT_LENGTH);
        drop(parts);
        if !body.is_end_stream() && !has_length {
            head.length = Length::Chunked;
            // As in HTTP/1.1: the cache does not store the response to a request with content.
            head.fields.append(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        // The client may fill the window at any time, also while it waits for a permit.
        let fits = matches!(head.length, Length::Known(most) if most <= u64::from(WINDOW_BYTES));
        let body_permit = if body.is_end_stream() || fits {
            None
        } else {
            // The requests ahead have time limits as well.
            tokio::select! {
                biased;
                () = disconnected(&mut respond) => return,
                body_permit = self.bodies.acquire() => body_permit.ok(),
            }
        };
        let mut request_context =
            Box::new(RequestContext::new(&self.gateway, &head, self.peer, self.scheme));
        let mut client = Http2 {
            respond: &mut respond,
            send_stream: None,
            pending: Bytes::new(),
            body,
            body_permit,
            body_bytes_left: self.gateway.config.body_bytes,
            max_bytes: self.gateway.config.body_bytes,
            length: head.length,
            is_last: false,
        };
        let mut timer = Timer::new(self.gateway.config.timeouts.silence);
        let outcome =
            handle(&mut request_context, head, &mut client, &mut timer, &self.closing).await;
        if let (Outcome::Broken, Some(send_stream)) = (outcome, &mut client.send_stream) {
            // The reset marks the response as truncated.
            send_stream.send_reset(Reason::INTERNAL_ERROR);
        }
    }

    /// Rejects a malformed request.
    fn reject_with(&self, respond: &mut SendResponse<Bytes>, problem: &Problem) {
        let id = new_request_id();
        let (mut fields, body) = problem.render("", &id);
        fields.insert(CONTENT_LENGTH, body.len().into());
        if let Ok(id) = id.parse() {
            fields.insert(REQUEST_ID, id);
        }
        let length = body.len() as u64;
        let mut response = Response::new(());
        *response.status_mut() = problem.status;
        *response.headers_mut() = fields.into();
        // An error means that the client has disconnected. The body is small enough to be buffered.
        let sent = match respond.send_response(response, false) {
            Ok(mut send_stream) => send_stream.send_data(body, true).is_ok(),
            Err(_) => false,
        };
        record_rejected(&self.gateway, self.peer.ip(), &id, problem, if sent { length } else { 0 });
    }
}

/// HTTP/2 client during one request.
struct Http2<'a> {
    respond: &'a mut SendResponse<Bytes>,
    /// Send stream of the response body, until the body ends.
    send_stream: Option<SendStream<Bytes>>,
    /// Response data that exceeds the client's window.
    pending: Bytes,
    /// Request body, the permit for its beginning, and its byte limits.
    body: RecvStream,
    body_permit: Option<SemaphorePermit<'a>>,
    body_bytes_left: usize,
    max_bytes: usize,
    length: Length,
    /// The pending data ends the body.
    is_last: bool,
}

impl Http2<'_> {
    /// Sends pending data as the client's window allows.
    fn poll_pending(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientGone>> {
        if self.pending.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let Some(send_stream) = &mut self.send_stream else { return Poll::Ready(Err(ClientGone)) };
        while !self.pending.is_empty() {
            send_stream.reserve_capacity(self.pending.len());
            // `poll_capacity` does not report existing capacity again.
            let capacity = match send_stream.capacity() {
                0 => match ready!(send_stream.poll_capacity(context)) {
                    Some(Ok(capacity)) => capacity,
                    _ => return Poll::Ready(Err(ClientGone)),
                },
                capacity => capacity,
            };
            let piece = self.pending.split_to(capacity.min(self.pending.len()));
            if !piece.is_empty() && send_stream.send_data(piece, false).is_err() {
                return Poll::Ready(Err(ClientGone));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn begin(&mut self, status: StatusCode, fields: Fields, ends: bool) -> Result<(), ClientGone> {
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = fields.into();
        let send_stream = self.respond.send_response(response, ends).map_err(|_| ClientGone)?;
        self.send_stream = (!ends).then_some(send_stream);
        Ok(())
    }
}

impl Client for Http2<'_> {
    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyFault>> {
        let most = self.max_bytes;
        if matches!(self.length, Length::Known(length) if length > most as u64) {
            return Poll::Ready(Err(BodyFault::Refused(Problem::too_large(most))));
        }
        loop {
            match ready!(self.body.poll_data(context)) {
                None => {
                    self.body_permit = None;
                    return Poll::Ready(Ok(None));
                }
                Some(Err(_)) => return Poll::Ready(Err(BodyFault::ClientGone)),
                Some(Ok(piece)) => {
                    if piece.len() > self.body_bytes_left {
                        let problem = Problem::too_large(self.max_bytes);
                        return Poll::Ready(Err(BodyFault::Refused(problem)));
                    }
                    self.body_bytes_left -= piece.len();
                    if self.max_bytes - self.body_bytes_left > REPLAY_BUFFER_BYTES {
                        // The rest is streamed: no more of it is held than the window.
                        self.body_permit = None;
                    }
                    if self.body.flow_control().release_capacity(piece.len()).is_err() {
                        return Poll::Ready(Err(BodyFault::ClientGone));
                    }
                    if !piece.is_empty() {
                        return Poll::Ready(Ok(Some(piece)));
                    }
                }
            }
        }
    }

    fn send_informational(&mut self, status: StatusCode, fields: Fields) {
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = fields.into();
        // A failure recurs in the next operation.
        let _ = self.respond.send_informational(response);
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientGone>> {
        ready!(self.poll_pending(context))?;
        if self.is_last
            && let Some(mut send_stream) = self.send_stream.take()
        {
            // An error means that the client disconnected after it received all data.
            let _ = send_stream.send_data(Bytes::new(), true);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_disconnect(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.send_stream {
            Some(send_stream) => send_stream.poll_reset(context).map(|_| ()),
            None => self.respond.poll_reset(context).map(|_| ()),
        }
    }

    fn unsent(&self) -> usize {
        self.pending.len()
    }
}

impl Downstream for Http2<'_> {
    fn limit_body(&mut self, most: usize) {
        (self.body_bytes_left, self.max_bytes) = (most, most);
    }

    fn send_continue(&mut self) {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::CONTINUE;
        // A failure recurs in the next operation.
        let _ = self.respond.send_informational(response);
    }

    /// Tunnels need a connection of their own.
    fn can_tunnel(&self) -> bool {
        false
    }

    fn head(
        &mut self,
        request_context: &mut RequestContext,
        status: StatusCode,
        mut fields: Fields,
        ends: bool,
    ) -> Result<(), ClientGone> {
        request_context.each_field(|name, value| {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                fields.append(name.clone(), value);
            }
        });
        self.begin(status, fields, ends)
    }

    fn reply(&mut self, reply: FullResponse) -> Result<(), ClientGone> {
        let Some(ResponseHead { status, mut fields }) = heads::response_head(&reply.head) else {
            return Err(ClientGone);
        };
        strip(&mut fields, status);
        self.begin(status, fields, reply.body.is_empty())?;
        self.pending = reply.body;
        self.is_last = true;
        Ok(())
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientGone>> {
        self.poll_pending(context)
    }

    fn push(&mut self, piece: Bytes) -> Result<(), ClientGone> {
        self.pending = piece;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ClientGone> {
        self.is_last = true;
        Ok(())
    }
}

/// A request and its response handle.
type Accepted = (Request<RecvStream>, SendResponse<Bytes>);

/// Accepts the next request; at the stream limit, only drives the connection.
fn accept(
    connection: &mut Connection<PrefixedSocket, Bytes>,
    context: &mut Context<'_>,
    is_full: bool,
) -> Poll<Option<Result<Accepted, h2::Error>>> {
    if is_full {
        return connection.poll_closed(context).map(|_| None);
    }
    connection.poll_accept(context)
}

/// Resolves when the client resets the stream or disconnects.
async fn disconnected(respond: &mut SendResponse<Bytes>) {
    let _ = poll_fn(|context| respond.poll_reset(context)).await;
}
