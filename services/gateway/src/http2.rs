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
use http::{HeaderMap, Request, Response, StatusCode};
use pingora::server::ShutdownWatch;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use self::heads::Answered;
use crate::accept::{HEAD_TIME, IDLE_TIME, body_time, too_slow};
use crate::admission::{Admission, Order, Reply, record_unread};
use crate::alarm::Alarm;
use crate::client::{Client, TAKES_NOTHING};
use crate::deliver::{End, LEFT, Left, Reader, deliver, strip, until_closing};
use crate::fetch::{self, Unanswered};
use crate::forwarded::{REQUEST_ID, new_request_id};
use crate::gate::{self, Head};
use crate::gateway::Gateway;
use crate::idle::Entry;
use crate::policy::trust::Scheme;
use crate::problem::Problem;
use crate::socket::Socket;

/// A client's first word, as far as it looks like a request's head.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// Requests of one connection at once: as many as RFC 9113, section 6.5.2, asks for at least.
const STREAMS: u32 = 100;

/// Bytes of a body that a client may send before they are taken.
const WINDOW_BYTES: u32 = 16 * 1024;

/// Bodies of one connection that are taken in at once. They are held whole, so a connection would
/// otherwise be worth a hundred; the window of the others waits.
const BODIES: usize = 4;

/// Bytes of an answer that wait for the client to take them: a hundred streams are three MiB.
const SEND_BYTES: usize = 32 * 1024;

/// How long a client has to say goodbye once nothing is under way: one round trip.
const GOODBYE_TIME: Duration = Duration::from_secs(1);

/// What all streams of a connection share.
struct Session {
    gateway: Arc<Gateway>,
    closing: ShutdownWatch,
    peer: SocketAddr,
    scheme: Scheme,
    bodies: Semaphore,
}

/// Answers the requests of a connection whose preface has come, until it is idle for too long, the
/// client leaves, or the gateway ends; then it says GOAWAY and brings to an end what is under way.
pub(crate) async fn converse(
    gateway: &Arc<Gateway>,
    closing: &ShutdownWatch,
    client: Client,
    entry: &Entry,
) {
    let (peer, scheme) = (client.peer(), client.scheme());
    let (socket, inbox) = client.into_parts();
    let mut ahead = BytesMut::from(PREFACE);
    ahead.unsplit(inbox);
    let handshake = Builder::new()
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(gate::HEAD_BYTES).unwrap_or(u32::MAX))
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
                    streams.spawn(async move { session.exchange(request, respond).await });
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
    async fn exchange(&self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let (parts, body) = request.into_parts();
        let head = match heads::question(&parts) {
            Ok(head) => head,
            Err(problem) => return self.refuse(&mut respond, &problem).await,
        };
        drop(parts);
        let body = match self.take(&head, body, &mut respond).await {
            Ok(Some(body)) => body,
            Ok(None) => return,
            Err(problem) => return self.refuse(&mut respond, &problem).await,
        };
        let mut order = Box::new(Order::new(&self.gateway, &head, self.peer, self.scheme));
        let admission = tokio::select! {
            biased;
            () = left(&mut respond) => None,
            admission = order.admit(&head, &body) => Some(admission),
        };
        drop(body);
        match admission {
            None => order.error = Some(LEFT.to_owned()),
            Some(Admission::Answer(reply)) => self.send(&mut order, &mut respond, &reply).await,
            Some(Admission::Forward(request)) => {
                self.fetch(&mut order, &mut respond, &head.fields, request).await;
            }
            Some(Admission::Stream(request, place)) => {
                order.streams = true;
                self.fetch(&mut order, &mut respond, &head.fields, request).await;
                drop(place);
            }
            // Its field was refused before.
            Some(Admission::Upgrade(..)) => {
                let detail = "HTTP/2 is not left for another protocol";
                let reply = order.refuse(&Problem::new(StatusCode::BAD_REQUEST, detail));
                self.send(&mut order, &mut respond, &reply).await;
            }
        }
        order.ended();
    }

    /// The whole body; none when the client has left.
    async fn take(
        &self,
        head: &Head,
        mut body: RecvStream,
        respond: &mut SendResponse<Bytes>,
    ) -> Result<Option<Bytes>, Problem> {
        let most = self.gateway.config.body_bytes;
        // Who wants to send too much need not begin.
        gate::Body::new(head.length, most)?;
        if body.is_end_stream() {
            return Ok(Some(Bytes::new()));
        }
        // Those in front of it have their time bounded as well.
        let turn = tokio::select! {
            biased;
            () = left(respond) => return Ok(None),
            turn = self.bodies.acquire() => turn,
        };
        if head.expects_continue {
            let mut go_on = Response::new(());
            *go_on.status_mut() = StatusCode::CONTINUE;
            // When it fails, so does what follows.
            let _ = respond.send_informational(go_on);
        }
        let whole = async {
            let mut taken = BytesMut::new();
            while let Some(piece) = body.data().await {
                let Ok(piece) = piece else { return Ok(None) };
                if taken.len() + piece.len() > most {
                    return Err(Problem::too_large(most));
                }
                taken.extend_from_slice(&piece);
                if body.flow_control().release_capacity(piece.len()).is_err() {
                    return Ok(None);
                }
            }
            Ok(Some(taken.freeze()))
        };
        let taken = timeout(body_time(most), whole).await;
        drop(turn);
        taken.unwrap_or_else(|_| Err(too_slow("body")))
    }

    /// Answers what is no request.
    async fn refuse(&self, respond: &mut SendResponse<Bytes>, problem: &Problem) {
        let id = new_request_id();
        let (mut fields, body) = problem.answer("", &id);
        fields.insert(CONTENT_LENGTH, body.len().into());
        if let Ok(id) = id.parse() {
            fields.insert(REQUEST_ID, id);
        }
        let length = body.len() as u64;
        // When it fails, the client has left.
        let sent = say(respond, problem.status, fields, body).await;
        record_unread(&self.gateway, self.peer.ip(), &id, problem, if sent { length } else { 0 });
    }

    /// Sends what is complete.
    async fn send(&self, order: &mut Order, respond: &mut SendResponse<Bytes>, reply: &Reply) {
        let sent = match heads::answer(&reply.head) {
            Some(Answered { status, mut fields }) => {
                strip(&mut fields, status);
                say(respond, status, fields, reply.body.clone()).await
            }
            None => false,
        };
        if !sent {
            order.error.get_or_insert_with(|| LEFT.to_owned());
        }
    }

    /// Fetches the answer and passes it on.
    async fn fetch(
        &self,
        order: &mut Order,
        respond: &mut SendResponse<Bytes>,
        asked: &HeaderMap,
        request: Bytes,
    ) {
        let mut alarm = Alarm::new(order.gateway.config.times.silence);
        let answering = match fetch::ask(order, &request, false, &mut alarm, left(respond)).await {
            Ok(answering) => answering,
            Err(Unanswered::Left) => {
                order.error = Some(LEFT.to_owned());
                return;
            }
            Err(Unanswered::Problem(problem)) => {
                let reply = order.fail(&problem);
                return self.send(order, respond, &reply).await;
            }
        };
        drop(request);
        let mut reader = Http2 { respond, body: None };
        let end = deliver(order, answering, asked, &mut reader, &mut alarm, &self.closing).await;
        match end {
            End::Whole => {}
            End::Left => order.error = Some(LEFT.to_owned()),
            End::Broken(why) => {
                // So that half an answer is not taken for a whole one.
                if let Some(body) = &mut reader.body {
                    body.send_reset(Reason::INTERNAL_ERROR);
                }
                order.error = Some(why.to_owned());
            }
            End::Instead(answer) => {
                let reply = order.answer(&answer);
                self.send(order, respond, &reply).await;
            }
        }
    }
}

/// A client that speaks HTTP/2.
struct Http2<'a> {
    respond: &'a mut SendResponse<Bytes>,
    /// What is behind the head, while there is more to come.
    body: Option<SendStream<Bytes>>,
}

impl Reader for Http2<'_> {
    async fn head(
        &mut self,
        order: &mut Order,
        status: StatusCode,
        mut fields: HeaderMap,
        ends: bool,
    ) -> Result<(), Left> {
        for (name, value) in order.fields() {
            fields.append(name, value);
        }
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = fields;
        let body = self.respond.send_response(response, ends).map_err(|_| Left)?;
        self.body = (!ends).then_some(body);
        Ok(())
    }

    async fn piece(&mut self, piece: Bytes) -> Result<(), Left> {
        let Some(body) = &mut self.body else { return Err(Left) };
        if give(body, piece).await { Ok(()) } else { Err(Left) }
    }

    async fn flush(&mut self) -> Result<(), Left> {
        Ok(())
    }

    async fn end(&mut self) -> Result<(), Left> {
        if let Some(body) = &mut self.body {
            // When it fails, the client has left with all that there is.
            let _ = body.send_data(Bytes::new(), true);
        }
        Ok(())
    }

    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.body {
            Some(body) => body.poll_reset(context).map(|_| ()),
            None => Poll::Pending,
        }
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

/// Sends a whole answer; false when the client has left.
async fn say(
    respond: &mut SendResponse<Bytes>,
    status: StatusCode,
    fields: HeaderMap,
    body: Bytes,
) -> bool {
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    let Ok(mut stream) = respond.send_response(response, body.is_empty()) else { return false };
    body.is_empty()
        || (give(&mut stream, body).await && stream.send_data(Bytes::new(), true).is_ok())
}

/// Sends as the client takes it; false when it has left, or takes nothing for too long, which ends
/// the stream.
async fn give(stream: &mut SendStream<Bytes>, mut bytes: Bytes) -> bool {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let room = poll_fn(|context| {
            loop {
                // What is there already is not told again.
                match stream.capacity() {
                    0 => match ready!(stream.poll_capacity(context)) {
                        Some(Ok(_)) => {}
                        _ => return Poll::Ready(None),
                    },
                    room => return Poll::Ready(Some(room)),
                }
            }
        });
        match timeout(TAKES_NOTHING, room).await {
            Ok(Some(room)) => {
                let piece = bytes.split_to(room.min(bytes.len()));
                if stream.send_data(piece, false).is_err() {
                    return false;
                }
            }
            Ok(None) => return false,
            Err(_) => {
                stream.send_reset(Reason::CANCEL);
                return false;
            }
        }
    }
    true
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
