//! Accept loop, and request loop of HTTP/1 connections.

mod tunnel;

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use server::Acceptor;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::context::{RequestContext, record_rejected};
use crate::deadline::Timer;
use crate::fields::Fields;
use crate::listener::connection::{Connection, HEAD_TIME, IDLE_TIME};
use crate::listener::http2;
use crate::message::client::{BodyFault, Client, ClientGone, SEND_TIMEOUT};
use crate::message::head::{FullResponse, begin_head, field};
use crate::message::problem::Problem;
use crate::pipeline::{Outcome, handle};
use crate::request::identifier::new_request_id;
use crate::request::parse::{self, Length, Refused};
use crate::request::rate_limit::Permit;
use crate::response::relay::{Closing, Downstream};
use crate::state::Gateway;
use crate::state::connections::Entry;
use crate::transport::socket::Socket;
use crate::transport::workers::Workers;
use crate::upstream::client::UpstreamResponse;

/// Timeout for the first byte of a new connection. Browsers open some in advance, and use or close
/// them within 10 s.
const FIRST_BYTE_TIME: Duration = Duration::from_secs(10);

/// Time that idle connections stay open during a shutdown: a request that is already in transit
/// gets a response with `Connection: close`.
const IDLE_CLOSE_DELAY: Duration = Duration::from_millis(300);

/// Time to accept connections that are still in the kernel's backlog at shutdown.
const BACKLOG_TIME: Duration = Duration::from_millis(10);

/// Accepts and serves connections until `shutdown` resolves. Then idle connections and event
/// streams close, other requests in flight and upgraded connections get at most `drain`, and the
/// remaining ones are aborted.
pub(crate) async fn run(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    workers: Workers,
    drain: Duration,
    shutdown: impl Future<Output = ()>,
) {
    let acceptor = Acceptor::new(listener, gateway.config.max_connections);
    let permits = acceptor.permits();
    if let Some(tls) = gateway.config.tls.clone() {
        tokio::spawn(tls.watch());
    }
    let (closing, watch) = watch::channel(false);
    let mut shutdown = pin!(shutdown);
    let begin = |(stream, peer, permit): (TcpStream, _, _)| {
        let handler = ConnectionHandler { gateway: gateway.clone(), closing: watch.clone(), drain };
        // From here on, a worker thread polls the socket.
        let Ok(stream) = stream.into_std() else { return };
        workers.serve(move |guard| async move {
            if let Ok(stream) = TcpStream::from_std(stream) {
                handler.serve_connection(stream, &peer).await;
            }
            drop((permit, guard));
        });
    };
    let make_room = || gateway.connections.close_longest_idle();
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = acceptor.accept_making_room(make_room) => begin(accepted),
        }
    }
    gateway.close();
    // The kernel has completed their handshakes: closing the listener now would reset them.
    while let Ok(accepted) = timeout(BACKLOG_TIME, acceptor.accept()).await {
        begin(accepted);
    }
    drop(acceptor);
    closing.send_replace(true);
    let connections = gateway.connections.clone();
    tokio::spawn(async move {
        sleep(IDLE_CLOSE_DELAY).await;
        connections.close_all();
    });
    if timeout(drain, permits.all_free()).await.is_err() {
        tracing::warn!(
            connections = permits.taken(),
            "drain time exceeded; closing the remaining connections"
        );
    }
}

/// Serves one client connection.
struct ConnectionHandler {
    gateway: Arc<Gateway>,
    closing: Closing,
    /// Time from the beginning of a shutdown to the end of the process.
    drain: Duration,
}

/// Next state of a connection.
enum ConnectionState {
    /// Ready for another request.
    KeepAlive,
    /// The client has switched to HTTP/2.
    Http2,
    /// A tunnel for one response.
    Tunnel(Box<RequestContext>, Box<UpstreamResponse>, Option<Permit>),
    /// Closed.
    Close,
}

impl ConnectionHandler {
    /// `self` and `peer` are references, because a future holds an argument twice.
    async fn serve_connection(&self, stream: TcpStream, peer: &SocketAddr) {
        let metrics = &self.gateway.metrics;
        metrics.accepted.add();
        // No response: a client with that many connections would not read it.
        let Some(permit) = self.gateway.admit(peer.ip()) else { return };
        metrics.connections.add();
        let entry = self.gateway.connections.register();
        if let Some(socket) = self.open(stream, &entry).await {
            self.keep_alive(Box::new(Connection::new(socket, *peer)), &entry).await;
        }
        metrics.connections.remove();
        drop(permit);
    }

    /// Completes the TLS handshake, if TLS is enabled. Returns `None` if it fails, for example
    /// because of a scanner or a client that does not trust the certificate, or if the connection
    /// must make room for another or for the shutdown. A plaintext client on the TLS port gets a
    /// response: a health check gets its status, other requests get 400.
    async fn open(&self, stream: TcpStream, entry: &Entry) -> Option<Socket> {
        let Some(tls) = &self.gateway.config.tls else { return Some(Socket::Left(stream)) };
        // Boxed: the state is larger than everything that plaintext needs, and short-lived.
        let handshake = Box::pin(async {
            tokio::select! {
                handshake = timeout(HEAD_TIME, tls.accept(stream)) => Some(handshake),
                () = entry.close_requested() => None,
            }
        });
        match handshake.await? {
            Ok(Ok(socket)) => return Some(socket),
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake timed out"),
        }
        self.gateway.metrics.malformed.add();
        None
    }

    /// Serves one request after the other.
    async fn keep_alive(&self, mut client: Box<Connection>, entry: &Entry) {
        // Both are reused for all requests: creating and dropping a timer per request costs more
        // than parsing the request.
        let mut timer = Timer::new(IDLE_TIME);
        let mut closing = pin!(entry.close_requested());
        let mut is_first = true;
        loop {
            entry.set_idle();
            let mut may_skip = true;
            let readable = poll_fn(|context| {
                if let Poll::Ready(is_readable) = client.poll_readable(context, &mut may_skip) {
                    return Poll::Ready(is_readable);
                }
                closing.as_mut().poll(context).map(|()| false)
            });
            let bound = if is_first { FIRST_BYTE_TIME } else { IDLE_TIME };
            if timer.within(bound, readable).await != Some(true) {
                client.close().await;
                break;
            }
            // Boxed, so that an idle connection does not carry the state.
            let handled = Box::pin(self.handle_request(
                &mut client,
                is_first,
                &mut timer,
                entry,
                closing.as_mut(),
            ));
            match handled.await {
                ConnectionState::KeepAlive => {}
                ConnectionState::Http2 => {
                    // Only the first waiter receives a request to close, and this one waits no more.
                    closing.set(entry.close_requested());
                    let served =
                        http2::serve_connection(&self.gateway, &self.closing, *client, entry);
                    return Box::pin(served).await;
                }
                ConnectionState::Tunnel(request_context, upstream_response, permit) => {
                    Box::pin(self.tunnel(*client, request_context, *upstream_response)).await;
                    drop(permit);
                    return;
                }
                ConnectionState::Close => break,
            }
            is_first = false;
        }
    }

    /// Reads a request head. Until it is complete, the connection may close for a new one, but a
    /// shutdown waits for it. The error is `None` if the connection closes without a response.
    async fn head(
        &self,
        client: &mut Connection,
        closing: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Bytes, Option<Refused>> {
        let mut head = pin!(client.head());
        tokio::select! {
            biased;
            read = &mut head => return read,
            () = closing => {}
        }
        if self.gateway.is_closing() { head.await } else { Err(None) }
    }

    /// Closes a connection after a response. Meanwhile it may close at once for a new one.
    async fn linger(
        &self,
        client: &mut Connection,
        entry: &Entry,
        closing: Pin<&mut impl Future<Output = ()>>,
    ) {
        let mut lingering = pin!(client.lingering_close());
        // During a shutdown, `closing` may have resolved before.
        if !self.gateway.is_closing() {
            entry.set_idle();
            tokio::select! {
                biased;
                () = &mut lingering => return,
                () = closing => {}
            }
        }
        if self.gateway.is_closing() {
            lingering.await;
        }
    }

    /// Handles one request.
    async fn handle_request(
        &self,
        client: &mut Connection,
        is_first: bool,
        timer: &mut Timer,
        entry: &Entry,
        mut closing: Pin<&mut impl Future<Output = ()>>,
    ) -> ConnectionState {
        // Most heads arrive in one piece.
        let read = match client.take_head(0) {
            Ok(Some(head)) => Some(Ok(head)),
            Ok(None) => timer.within(HEAD_TIME, self.head(client, closing.as_mut())).await,
            Err(refused) => Some(Err(refused.into())),
        };
        entry.set_active();
        let bytes = match read {
            Some(Ok(bytes)) => bytes,
            Some(Err(Some(refused))) => return self.reject(client, refused, entry, closing).await,
            Some(Err(None)) => return ConnectionState::Close,
            // No request has begun, so the client would match a response with its next request.
            None if client.has_received_nothing() => return ConnectionState::Close,
            None => {
                return self.reject(client, Problem::too_slow("head"), entry, closing).await;
            }
        };
        // Later on a connection, `PRI` is just an unknown method.
        if is_first && self.gateway.config.http2 && bytes == http2::PREFACE {
            return ConnectionState::Http2;
        }
        if is_first && self.gateway.config.http2 && parse::is_of_no_protocol(&bytes) {
            self.gateway.metrics.malformed.add();
            return ConnectionState::Close;
        }
        let head = match parse::read(&bytes) {
            Ok(head) => head,
            Err(refused) => return self.reject(client, refused, entry, closing).await,
        };
        drop(bytes);
        let mut request_context =
            Box::new(RequestContext::new(&self.gateway, &head, client.peer(), client.scheme()));
        request_context.close_after |= self.gateway.is_closing();
        let mut http1 = Http1 {
            body: parse::Body::new(head.length, self.gateway.config.body_bytes),
            length: head.length,
            framing: Framing::Length,
            sends_informational: !request_context.is_http10,
            client,
        };
        match handle(&mut request_context, head, &mut http1, timer, &self.closing).await {
            Outcome::Complete if !request_context.close_after => ConnectionState::KeepAlive,
            Outcome::Complete => {
                self.linger(http1.client, entry, closing).await;
                ConnectionState::Close
            }
            Outcome::Broken => {
                poll_fn(|context| http1.abort(context)).await;
                ConnectionState::Close
            }
            Outcome::Tunnel(upstream_response, permit) => {
                ConnectionState::Tunnel(request_context, upstream_response, permit)
            }
        }
    }

    /// Rejects a malformed or incomplete request, and closes the connection.
    async fn reject(
        &self,
        client: &mut Connection,
        problem: Refused,
        entry: &Entry,
        closing: Pin<&mut impl Future<Output = ()>>,
    ) -> ConnectionState {
        let id = new_request_id();
        let peer = client.peer();
        let (fields, body) = problem.render("", &id);
        let head = client.write_buffer();
        begin_head(head, problem.status, &fields);
        let length = body.len();
        head.extend_from_slice(
            format!("content-length: {length}\r\nx-request-id: {id}\r\nconnection: close\r\n\r\n")
                .as_bytes(),
        );
        head.extend_from_slice(&body);
        let sent = timeout(SEND_TIMEOUT, poll_fn(|context| client.poll_flush(context)));
        let sent = matches!(sent.await, Ok(Ok(())));
        record_rejected(
            &self.gateway,
            peer.ip(),
            &id,
            &problem,
            if sent { length as u64 } else { 0 },
        );
        if sent {
            self.linger(client, entry, closing).await;
        }
        ConnectionState::Close
    }
}

/// HTTP/1 client during one request.
struct Http1<'a> {
    client: &'a mut Connection,
    /// Request body, or the reason why it is rejected.
    body: Result<parse::Body, Problem>,
    length: Length,
    framing: Framing,
    /// The client supports informational responses (1xx).
    sends_informational: bool,
}

/// Framing of a response body (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq)]
enum Framing {
    /// By length, or without a body.
    Length,
    /// Chunked.
    Chunked,
    /// By the end of the connection.
    Close,
}

impl Http1<'_> {
    /// Aborts an incomplete response so that the client detects the truncation.
    fn abort(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // A single attempt: the client may have disconnected.
        let _ = self.client.poll_flush(context);
        if self.framing == Framing::Close {
            self.client.reset_on_close();
        }
        Poll::Ready(())
    }
}

impl Client for Http1<'_> {
    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyFault>> {
        if self.client.unsent() > 0 {
            // A pending 100 or 103. A failure shows up in the following read.
            let _ = self.client.poll_flush(context);
        }
        match &mut self.body {
            Ok(body) => self.client.poll_body(context, body),
            Err(problem) => Poll::Ready(Err(BodyFault::Refused(problem.clone()))),
        }
    }

    fn send_informational(&mut self, status: StatusCode, fields: Fields) {
        if self.sends_informational {
            let head = self.client.write_buffer();
            begin_head(head, status, &fields);
            head.extend_from_slice(b"\r\n");
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientGone>> {
        self.client.poll_flush(context).map_err(client_gone)
    }

    fn poll_disconnect(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.client.poll_disconnect(context)
    }

    fn unsent(&self) -> usize {
        self.client.unsent()
    }
}

impl Downstream for Http1<'_> {
    fn limit_body(&mut self, most: usize) {
        self.body = parse::Body::new(self.length, most);
    }

    fn send_continue(&mut self) {
        // A client that is already sending does not wait for it.
        if self.body.is_ok() && !self.client.has_more() {
            self.client.write_buffer().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
    }

    fn can_tunnel(&self) -> bool {
        true
    }

    fn head(
        &mut self,
        request_context: &mut RequestContext,
        status: StatusCode,
        fields: Fields,
        ends: bool,
    ) -> Result<(), ClientGone> {
        self.framing = if ends || fields.contains_key(CONTENT_LENGTH) {
            Framing::Length
        } else if request_context.is_http10 {
            // RFC 9112, section 6.1: HTTP/1.0 has no chunked coding.
            request_context.close_after = true;
            Framing::Close
        } else {
            Framing::Chunked
        };
        request_context.close_after |= request_context.gateway.is_closing();
        let head = self.client.write_buffer_for(fields.get(CONTENT_LENGTH));
        begin_head(head, status, &fields);
        if self.framing == Framing::Chunked {
            field(head, TRANSFER_ENCODING.as_str(), b"chunked");
        }
        request_context.finish(head);
        Ok(())
    }

    fn reply(&mut self, reply: FullResponse) -> Result<(), ClientGone> {
        let write_buffer = self.client.write_buffer();
        if write_buffer.is_empty() {
            *write_buffer = reply.head;
        } else {
            write_buffer.extend_from_slice(&reply.head);
        }
        if !reply.body.is_empty() {
            self.client.push(reply.body, false);
        }
        Ok(())
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientGone>> {
        self.client.poll_ready(context).map_err(client_gone)
    }

    fn push(&mut self, piece: Bytes) -> Result<(), ClientGone> {
        // An empty chunk would end the body.
        if !piece.is_empty() {
            self.client.push(piece, self.framing == Framing::Chunked);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ClientGone> {
        if self.framing == Framing::Chunked {
            self.client.push_end();
        }
        Ok(())
    }
}

/// Maps any write error to a client disconnect.
fn client_gone(_: io::Error) -> ClientGone {
    ClientGone
}
