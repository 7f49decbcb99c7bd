//! HTTP/2 with prior knowledge (RFC 9113, section 3.3), in clear text or over TLS. The frames are
//! h2's business. Each stream is a request like any other: it goes through the same gate and the
//! same admission, and what has to be fetched comes as it does for HTTP/1.1.

mod heads;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use self::heads::Answered;
use crate::context::{RequestContext, record_unread};
use crate::deadline::Timer;
use crate::fields::Fields;
use crate::listener::connection;
use crate::listener::connection::{HEAD_TIME, IDLE_TIME};
use crate::message::client::{BodyFault, Client, ClientGone};
use crate::message::head::FullResponse;
use crate::message::problem::Problem;
use crate::pipeline::{Outcome, handle};
use crate::request::client_info::Scheme;
use crate::request::forwarded::REQUEST_ID;
use crate::request::hop_by_hop::strip;
use crate::request::identifier::new_request_id;
use crate::request::parse::{self, Length};
use crate::response::relay::{Closing, Downstream, until_closing};
use crate::state::Gateway;
use crate::state::connections::Entry;
use crate::transport::socket::Socket;

/// A client's first word, as far as it looks like a request's head.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// Requests of one connection at once: as many as RFC 9113, section 6.5.2, asks for at least.
const STREAMS: u32 = 100;

/// Bytes of a body that a client may send before they are taken.
const WINDOW_BYTES: u32 = 16 * 1024;

/// Bodies of one connection that are taken in at once; the window of the others waits. Otherwise a
/// connection could hold a hundred times what one of HTTP/1 can.
const BODIES: usize = 4;

/// Bytes of an answer that wait for the client to take them: a hundred streams are three MiB.
const SEND_BYTES: usize = 32 * 1024;

/// How long a client has to say goodbye once nothing is under way: one round trip.
const GOODBYE_TIME: Duration = Duration::from_secs(1);

/// What all streams of a connection share.
struct Session {
    gateway: Arc<Gateway>,
    closing: Closing,
    peer: SocketAddr,
    scheme: Scheme,
    bodies: Semaphore,
}

/// Answers the requests of a connection whose preface has come, until it is idle for too long, the
/// client leaves, or the gateway ends; then it says GOAWAY and brings to an end what is under way.
pub(crate) async fn serve_connection(
    gateway: &Arc<Gateway>,
    closing: &Closing,
    client: connection::Connection,
    entry: &Entry,
) {
    let (peer, scheme) = (client.peer(), client.scheme());
    let (socket, inbox) = client.into_parts();
    let mut ahead = BytesMut::from(PREFACE);
    ahead.unsplit(inbox);
    let handshake = Builder::new()
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(parse::HEAD_BYTES).unwrap_or(u32::MAX))
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES * STREAMS)
        .max_send_buffer_size(SEND_BYTES)
        .handshake(Line { ahead: ahead.freeze(), socket });
    let Ok(Ok(connection)) = timeout(HEAD_TIME, handshake).await else {
        gateway.metrics.malformed.add();
        return;
    };
    let session = Arc::new(Session {
        gateway: gateway.clone(),
        closing: closing.clone(),
        peer,
        scheme,
        bodies: Semaphore::new(BODIES),
    });
    let mut streams = JoinSet::new();
    session.accept(connection, &mut streams, entry).await;
    // Without their connection they end by themselves, each with its line in the log.
    let ended = async { while streams.join_next().await.is_some() {} };
    let _ = timeout(GOODBYE_TIME, ended).await;
}

impl Session {
    async fn accept(
        self: &Arc<Self>,
        mut connection: Connection<Line, Bytes>,
        streams: &mut JoinSet<()>,
        entry: &Entry,
    ) {
        let mut rest = IDLE_TIME;
        entry.waits();
        let mut idle = pin!(sleep(rest));
        let mut closing = pin!(until_closing(self.closing.clone()));
        let mut leaves = false;
        loop {
            // A client may take a request back and send another one at once; what the first one has
            // started needs a moment to end.
            let is_full = streams.len() >= STREAMS as usize;
            tokio::select! {
                biased;
                Some(_) = streams.join_next() => {
                    idle.as_mut().reset((Instant::now() + rest).into());
                    if streams.is_empty() {
                        entry.waits();
                    }
                }
                () = &mut closing, if !leaves => leaves = true,
                () = entry.closes(), if streams.is_empty() && !leaves => leaves = true,
                () = &mut idle, if streams.is_empty() => {
                    if leaves {
                        return;
                    }
                    leaves = true;
                }
                accepted = poll_fn(|context| accept(&mut connection, context, is_full)) => {
                    let Some(Ok((request, respond))) = accepted else { return };
                    let session = self.clone();
                    entry.works();
                    streams.spawn(async move { session.handle_request(request, respond).await });
                }
            }
            if leaves && rest != GOODBYE_TIME {
                connection.graceful_shutdown();
                rest = GOODBYE_TIME;
                idle.as_mut().reset((Instant::now() + rest).into());
            }
        }
    }

    /// One request and its answer.
    async fn handle_request(&self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let (parts, body) = request.into_parts();
        let mut head = match heads::question(&parts) {
            Ok(head) => head,
            Err(problem) => return self.reject_with(&mut respond, &problem),
        };
        let has_length = parts.headers.contains_key(CONTENT_LENGTH);
        drop(parts);
        if !body.is_end_stream() && !has_length {
            head.length = Length::Chunked;
        }
        let turn = if body.is_end_stream() {
            None
        } else {
            // Those in front of it have their time bounded as well.
            tokio::select! {
                biased;
                () = left(&mut respond) => return,
                turn = self.bodies.acquire() => turn.ok(),
            }
        };
        let mut request_context =
            Box::new(RequestContext::new(&self.gateway, &head, self.peer, self.scheme));
        let mut client = Http2 {
            respond: &mut respond,
            answer: None,
            pending: Bytes::new(),
            body,
            turn,
            room_bytes: self.gateway.config.body_bytes,
            most_bytes: self.gateway.config.body_bytes,
            length: head.length,
            is_last: false,
        };
        let mut timer = Timer::new(self.gateway.config.timeouts.silence);
        let outcome =
            handle(&mut request_context, head, &mut client, &mut timer, &self.closing).await;
        if let (Outcome::Broken, Some(answer)) = (outcome, &mut client.answer) {
            // So that half an answer is not taken for a whole one.
            answer.send_reset(Reason::INTERNAL_ERROR);
        }
    }

    /// Answers what is no request.
    fn reject_with(&self, respond: &mut SendResponse<Bytes>, problem: &Problem) {
        let id = new_request_id();
        let (mut fields, body) = problem.answer("", &id);
        fields.insert(CONTENT_LENGTH, body.len().into());
        if let Ok(id) = id.parse() {
            fields.insert(REQUEST_ID, id);
        }
        let length = body.len() as u64;
        let mut response = Response::new(());
        *response.status_mut() = problem.status;
        *response.headers_mut() = fields.into();
        // When it fails, the client has left. So few bytes may wait for room.
        let sent = match respond.send_response(response, false) {
            Ok(mut answer) => answer.send_data(body, true).is_ok(),
            Err(_) => false,
        };
        record_unread(&self.gateway, self.peer.ip(), &id, problem, if sent { length } else { 0 });
    }
}

/// A client that speaks HTTP/2, during one request.
struct Http2<'a> {
    respond: &'a mut SendResponse<Bytes>,
    /// The stream behind the head of the answer, while there is more to come.
    answer: Option<SendStream<Bytes>>,
    /// A piece of the answer that the client has not made room for.
    pending: Bytes,
    /// The request's body, its place among those of the connection, and the bytes that may come.
    body: RecvStream,
    turn: Option<SemaphorePermit<'a>>,
    room_bytes: usize,
    most_bytes: usize,
    length: Length,
    /// Nothing comes behind what is pending.
    is_last: bool,
}

impl Http2<'_> {
    /// Sends as the client makes room for it.
    fn poll_pending(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientGone>> {
        if self.pending.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let Some(answer) = &mut self.answer else { return Poll::Ready(Err(ClientGone)) };
        while !self.pending.is_empty() {
            answer.reserve_capacity(self.pending.len());
            // Capacity that is there already is not reported again.
            let room = match answer.capacity() {
                0 => match ready!(answer.poll_capacity(context)) {
                    Some(Ok(room)) => room,
                    _ => return Poll::Ready(Err(ClientGone)),
                },
                room => room,
            };
            let piece = self.pending.split_to(room.min(self.pending.len()));
            if !piece.is_empty() && answer.send_data(piece, false).is_err() {
                return Poll::Ready(Err(ClientGone));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn begin(&mut self, status: StatusCode, fields: Fields, ends: bool) -> Result<(), ClientGone> {
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = fields.into();
        let answer = self.respond.send_response(response, ends).map_err(|_| ClientGone)?;
        self.answer = (!ends).then_some(answer);
        Ok(())
    }
}

impl Client for Http2<'_> {
    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyFault>> {
        let most = self.most_bytes;
        if matches!(self.length, Length::Known(length) if length > most as u64) {
            return Poll::Ready(Err(BodyFault::Refused(Problem::too_large(most))));
        }
        loop {
            match ready!(self.body.poll_data(context)) {
                None => {
                    self.turn = None;
                    return Poll::Ready(Ok(None));
                }
                Some(Err(_)) => return Poll::Ready(Err(BodyFault::ClientGone)),
                Some(Ok(piece)) => {
                    if piece.len() > self.room_bytes {
                        let problem = Problem::too_large(self.most_bytes);
                        return Poll::Ready(Err(BodyFault::Refused(problem)));
                    }
                    self.room_bytes -= piece.len();
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

    fn inform(&mut self, status: StatusCode, fields: Fields) {
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = fields.into();
        // When it fails, so does what follows.
        let _ = self.respond.send_informational(response);
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientGone>> {
        ready!(self.poll_pending(context))?;
        if self.is_last
            && let Some(mut answer) = self.answer.take()
        {
            // When it fails, the client has left with all that there is.
            let _ = answer.send_data(Bytes::new(), true);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.answer {
            Some(answer) => answer.poll_reset(context).map(|_| ()),
            None => self.respond.poll_reset(context).map(|_| ()),
        }
    }
}

impl Downstream for Http2<'_> {
    fn limit_body(&mut self, most: usize) {
        (self.room_bytes, self.most_bytes) = (most, most);
    }

    fn send_continue(&mut self) {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::CONTINUE;
        // When it fails, so does what follows.
        let _ = self.respond.send_informational(response);
    }

    /// A stream is a part of its connection.
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
        let Some(Answered { status, mut fields }) = heads::answer(&reply.head) else {
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

    fn unsent(&self) -> usize {
        self.pending.len()
    }
}

/// A request with the way to answer it.
type Accepted = (Request<RecvStream>, SendResponse<Bytes>);

/// The next request; while there are too many, the connection is driven without one.
fn accept(
    connection: &mut Connection<Line, Bytes>,
    context: &mut Context<'_>,
    is_full: bool,
) -> Poll<Option<Result<Accepted, h2::Error>>> {
    if is_full {
        return connection.poll_closed(context).map(|_| None);
    }
    connection.poll_accept(context)
}

/// Resolves when the client takes its request back, or is gone.
async fn left(respond: &mut SendResponse<Bytes>) {
    let _ = poll_fn(|context| respond.poll_reset(context)).await;
}

/// A connection on which something was read ahead.
struct Line {
    ahead: Bytes,
    socket: Socket,
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.socket).poll_read(context, buffer);
        }
        let count = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead[..count]);
        self.ahead.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
