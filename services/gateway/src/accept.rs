//! The accept loop, and one request after the other on each connection. Pingora's `Server` brings
//! runtimes, signal handling and a shutdown that always takes its whole grace period; of Pingora
//! only the HTTP machinery is used, one request at a time.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, StatusCode};
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use serve::Acceptor;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::admission::{
    Admission, Order, Reply, begin_head, field, keep_one_of_each, record_unread,
};
use crate::alarm::Alarm;
use crate::client::{Client, Lost};
use crate::deliver::{End, LEFT, Left, Reader, deliver, strip, until_closing};
use crate::fetch::{self, Answering, Frame, Unanswered};
use crate::forwarded::new_request_id;
use crate::gate::{self, Head};
use crate::gateway::Gateway;
use crate::http2;
use crate::idle::Entry;
use crate::problem::Problem;
use crate::proxy::Proxy;
use crate::socket::Socket;
use crate::threads::Workers;
use crate::tunnel::{LAST_CHUNK, Tunnel};

/// From a request's first byte to the end of its head, and for the handshake of TLS: a client that
/// trickles is cut off.
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(10);

/// For the body behind it, and, where more than [`BODY_BYTES`] are allowed, a second more for every
/// [`BODY_FLOOR_BYTES`].
const BODY_TIME: Duration = Duration::from_secs(8);

/// The body that this time is enough for.
const BODY_BYTES: usize = 64 * 1024;

/// Bytes of a body that a client must manage in a second: half of what a slow radio cell gives.
const BODY_FLOOR_BYTES: usize = 16 * 1024;

/// How long a connection may be idle between requests, and before the first. Longer than the 60 s
/// of AWS's load balancer, which answers 502 when it uses a connection that is just closing.
pub(crate) const IDLE_TIME: Duration = Duration::from_secs(75);

/// How long a new connection may say nothing. Browsers open some ahead, and use or close them within
/// 10 s.
const FIRST_BYTE_TIME: Duration = Duration::from_secs(10);

/// How long idle connections stay open when the gateway ends: a request that is on its way already
/// is answered, and the client is told that it was the last one.
const LAST_CALL: Duration = Duration::from_millis(300);

/// How long to look for connections that the kernel has accepted before the door is closed.
const LAST_ACCEPT: Duration = Duration::from_millis(10);

/// Accepts connections and answers them until `shutdown` resolves. Then idle connections and event
/// streams end, other requests in flight get at most `drain`, and what is left after that is cut
/// off.
pub(crate) async fn run(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    proxy: Arc<HttpProxy<Proxy>>,
    workers: Workers,
    drain: Duration,
    shutdown: impl Future<Output = ()>,
) {
    let acceptor = Acceptor::new(listener, gateway.config.max_connections);
    let places = acceptor.places();
    #[cfg(feature = "tls")]
    if let Some(tls) = gateway.config.tls.clone() {
        tokio::spawn(async move { tls.watch().await });
    }
    let (closing, watch) = watch::channel(false);
    let mut shutdown = pin!(shutdown);
    let begin = |(stream, peer, place): (TcpStream, _, _)| {
        let door = Door { gateway: gateway.clone(), proxy: proxy.clone(), closing: watch.clone() };
        // From here on, another thread is told what comes.
        let Ok(stream) = stream.into_std() else { return };
        workers.serve(async move {
            if let Ok(stream) = TcpStream::from_std(stream) {
                door.converse(stream, peer).await;
            }
            drop(place);
        });
    };
    let make_room = || {
        gateway.connections.close_longest();
    };
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = acceptor.accept_making_room(make_room) => begin(accepted),
        }
    }
    gateway.close();
    // The kernel has shaken hands with them: to close now would reset them.
    while let Ok(accepted) = timeout(LAST_ACCEPT, acceptor.accept()).await {
        begin(accepted);
    }
    drop(acceptor);
    proxy.http_cleanup().await;
    closing.send_replace(true);
    if timeout(drain, places.all_free()).await.is_err() {
        tracing::warn!(connections = places.taken(), "drain time is up, cutting off");
    }
}

/// What comes of a request for a stream.
enum Streamed {
    /// It was answered.
    Answer(Next),
    /// This is to be passed on; of another protocol, the client's first bytes are here.
    Tunnel(Tunnel, Box<Order>, Option<BytesMut>),
}

/// What a connection needs.
struct Door {
    gateway: Arc<Gateway>,
    proxy: Arc<HttpProxy<Proxy>>,
    closing: ShutdownWatch,
}

/// What comes of a request.
enum Next {
    /// Another one may come.
    Go(Box<Client>),
    /// It was none: the client speaks HTTP/2 from here on.
    Http2(Box<Client>),
    /// This connection is over.
    End,
}

impl Door {
    async fn converse(self, stream: TcpStream, peer: SocketAddr) {
        let metrics = &self.gateway.metrics;
        metrics.accepted.add();
        let bounds = &self.gateway.config.bounds;
        let place = if self.gateway.config.counts_connections(peer.ip()) {
            let place = self.gateway.clients.connect(bounds, peer.ip(), Instant::now());
            if place.is_none() {
                // Without a word: whoever opens so many does not read.
                metrics.over_connections.add();
                return;
            }
            place
        } else {
            None
        };
        metrics.connections.add();
        if let Some(socket) = self.open(stream).await {
            let entry = self.gateway.connections.enter();
            self.talk(Box::new(Client::new(socket, peer)), &entry).await;
        }
        metrics.connections.remove();
        drop(place);
    }

    /// Shakes hands where TLS is on. None when nothing came of it: a scanner, a client that does
    /// not trust the certificate, one that speaks clear text.
    #[cfg(feature = "tls")]
    async fn open(&self, stream: TcpStream) -> Option<Socket> {
        let Some(tls) = &self.gateway.config.tls else { return Some(Socket::Plain(stream)) };
        // In a box: larger than all that clear text needs, and only there for a moment.
        let shaken = Box::pin(async {
            tokio::select! {
                shaken = timeout(HEAD_TIME, tls.accept(stream)) => Some(shaken),
                () = async { until_closing(self.closing.clone()).await; sleep(LAST_CALL).await } => None,
            }
        });
        match shaken.await? {
            Ok(Ok(socket)) => return Some(socket),
            Ok(Err(error)) => tracing::debug!(%error, "no handshake"),
            Err(_) => tracing::debug!("no handshake in time"),
        }
        self.gateway.metrics.malformed.add();
        None
    }

    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unused_async, reason = "with TLS there is something to wait for")]
    async fn open(&self, stream: TcpStream) -> Option<Socket> {
        Some(Socket::Plain(stream))
    }

    /// One request after the other.
    async fn talk(&self, mut client: Box<Client>, entry: &Entry) {
        // Both are made once and go on from request to request: to begin and end a wait for each
        // request costs more than to read it.
        let mut alarm = Alarm::new(IDLE_TIME);
        let closing = self.closing.clone();
        let mut closing = pin!(async move {
            let ends = async {
                until_closing(closing).await;
                sleep(LAST_CALL).await;
            };
            tokio::select! {
                () = ends => {}
                () = entry.closes() => {}
            }
        });
        let mut is_first = true;
        loop {
            entry.waits();
            let spoke = client.has_more() || {
                let speaks = poll_fn(|context| {
                    if let Poll::Ready(spoke) = client.poll_speaks(context) {
                        return Poll::Ready(spoke);
                    }
                    closing.as_mut().poll(context).map(|()| false)
                });
                let bound = if is_first { FIRST_BYTE_TIME } else { IDLE_TIME };
                alarm.within(bound, speaks).await == Some(true)
            };
            if !spoke {
                break;
            }
            entry.works();
            match self.exchange(client, is_first, &mut alarm).await {
                Next::Go(same) => client = same,
                Next::Http2(client) => {
                    let served = http2::converse(&self.gateway, &self.closing, *client, entry);
                    return Box::pin(served).await;
                }
                Next::End => break,
            }
            is_first = false;
        }
    }

    /// One request and its answer.
    async fn exchange(&self, mut client: Box<Client>, is_first: bool, alarm: &mut Alarm) -> Next {
        let bytes = match timeout(HEAD_TIME, client.head()).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(lost)) => return Box::pin(self.lose(client, lost)).await,
            Err(_) => return Box::pin(self.lose(client, too_slow("head"))).await,
        };
        // Anywhere else it is a method that nobody knows.
        if is_first && self.gateway.config.http2 && bytes == http2::PREFACE {
            return Next::Http2(client);
        }
        let head = match gate::read(&bytes) {
            Ok(head) => head,
            Err(refused) => return Box::pin(self.lose(client, refused.into())).await,
        };
        let most = self.gateway.config.body_bytes;
        if head.expects_continue && head.length != gate::Length::Known(0) {
            // Who wants to send too much need not begin.
            if let Err(refused) = gate::Body::new(head.length, most) {
                return Box::pin(self.lose(client, refused.into())).await;
            }
            if client.ask_for_body().await.is_err() {
                return Next::End;
            }
        }
        let body = match timeout(body_time(most), client.body(head.length, most)).await {
            Ok(Ok(body)) => body,
            Ok(Err(lost)) => return Box::pin(self.lose(client, lost)).await,
            Err(_) => return Box::pin(self.lose(client, too_slow("body"))).await,
        };
        let mut order = Box::new(Order::new(&self.gateway, &head, client.peer(), client.scheme()));
        order.closes |= self.gateway.is_closing();
        match order.admit(&head, &body).await {
            Admission::Answer(reply) => self.answer(client, &order, &reply).await,
            Admission::Forward(request) if order.is_plain() => {
                // In a box, so that a connection between two requests does not carry it.
                Box::pin(self.fetch(client, order, &head.fields, request, alarm)).await
            }
            Admission::Forward(request) => {
                drop(head);
                Box::pin(self.forward(client, order, request)).await
            }
            Admission::Stream(request, place) => {
                drop((body, bytes));
                let streamed = self.stream(client, order, head, request, false);
                let next = self.tunnel(Box::pin(streamed).await).await;
                drop(place);
                next
            }
            Admission::Upgrade(request, place) => {
                drop((body, bytes));
                let streamed = self.stream(client, order, head, request, true);
                let next = self.tunnel(Box::pin(streamed).await).await;
                drop(place);
                next
            }
        }
    }

    /// Sends what is complete.
    async fn answer(&self, mut client: Box<Client>, order: &Order, reply: &Reply) -> Next {
        let sent = client.send(&reply.head, &reply.body).await;
        order.ended();
        match sent {
            Ok(()) if !order.closes => Next::Go(client),
            Ok(()) => {
                client.part().await;
                Next::End
            }
            // The client has left.
            Err(_) => Next::End,
        }
    }

    /// Fetches the answer and passes it on.
    async fn fetch(
        &self,
        mut client: Box<Client>,
        mut order: Box<Order>,
        asked: &HeaderMap,
        request: Bytes,
        alarm: &mut Alarm,
    ) -> Next {
        let left = poll_fn(|context| client.poll_left(context));
        match fetch::ask(&mut order, &request, false, alarm, left).await {
            Ok(answering) => self.deliver(client, order, answering, asked, alarm).await,
            Err(unanswered) => self.fail(client, order, unanswered).await,
        }
    }

    /// Passes an answer on.
    async fn deliver(
        &self,
        mut client: Box<Client>,
        mut order: Box<Order>,
        answering: Answering,
        asked: &HeaderMap,
        alarm: &mut Alarm,
    ) -> Next {
        let mut reader = Http1 { client: &mut client, is_chunked: false };
        let closing = &self.closing;
        match deliver(&mut order, answering, asked, &mut reader, alarm, closing).await {
            End::Whole => {
                order.ended();
                if !order.closes {
                    return Next::Go(client);
                }
                client.part().await;
                return Next::End;
            }
            End::Instead(answer) => {
                let reply = order.answer(&answer);
                return self.answer(client, &order, &reply).await;
            }
            End::Left => order.error = Some(LEFT.to_owned()),
            End::Broken(why) => {
                order.error = Some(why.to_owned());
                // What there is, and then the connection ends where it must not.
                let _ = client.send_out().await;
            }
        }
        order.ended();
        Next::End
    }

    async fn fail(
        &self,
        client: Box<Client>,
        mut order: Box<Order>,
        unanswered: Unanswered,
    ) -> Next {
        match unanswered {
            Unanswered::Problem(problem) => {
                let reply = order.fail(&problem);
                self.answer(client, &order, &reply).await
            }
            Unanswered::Left => {
                order.error = Some(LEFT.to_owned());
                order.ended();
                Next::End
            }
        }
    }

    /// Has Pingora fetch the answer.
    async fn forward(&self, mut client: Box<Client>, order: Box<Order>, request: Bytes) -> Next {
        client.show(request);
        let closes = order.closes;
        let mut session = ServerSession::new_http1(client);
        session.set_keepalive(if closes { None } else { Some(IDLE_TIME.as_secs()) });
        session.set_connection_user_context(Some(order));
        let answered = self.proxy.process_new_http(session, &self.closing).await;
        let Some(reusable) = answered else { return Next::End };
        let (stream, _) = reusable.consume();
        match stream.into_any().downcast::<Client>() {
            Ok(client) => Next::Go(client),
            Err(_) => Next::End,
        }
    }

    /// Begins what is passed on as it comes, for as long as it comes: events, or another protocol.
    /// What turns out to be neither is an answer like any other.
    async fn stream(
        &self,
        mut client: Box<Client>,
        mut order: Box<Order>,
        head: Head,
        request: Bytes,
        upgrades: bool,
    ) -> Streamed {
        let mut alarm = Alarm::new(self.gateway.config.times.silence);
        let left = poll_fn(|context| client.poll_left(context));
        let answering = match fetch::ask(&mut order, &request, upgrades, &mut alarm, left).await {
            Ok(answering) => answering,
            Err(unanswered) => return Streamed::Answer(self.fail(client, order, unanswered).await),
        };
        let changes = answering.status == StatusCode::SWITCHING_PROTOCOLS;
        if !changes && !answering.is_event_stream() {
            let next = self.deliver(client, order, answering, &head.fields, &mut alarm).await;
            return Streamed::Answer(next);
        }
        let Answering { status, mut fields, body, .. } = answering;
        order.status = status.as_u16();
        // A stream's end is its connection's.
        order.closes = !changes;
        let protocol = fields.remove(UPGRADE).filter(|_| changes);
        let is_chunked = body.frame() == Frame::Size;
        strip(&mut fields, status);
        order.note_policy(&fields);
        keep_one_of_each(&mut fields);
        let head = client.outbox();
        begin_head(head, status, &fields);
        if is_chunked {
            field(head, TRANSFER_ENCODING.as_str(), b"chunked");
        }
        if let Some(protocol) = protocol {
            field(head, CONNECTION.as_str(), b"upgrade");
            field(head, UPGRADE.as_str(), protocol.as_bytes());
        }
        order.finish(head);
        if client.send_out().await.is_err() {
            return Streamed::Answer(self.fail(client, order, Unanswered::Left).await);
        }
        let (socket, ahead) = client.into_parts();
        let tunnel = Tunnel::new(body, is_chunked, socket);
        Streamed::Tunnel(tunnel, order, changes.then_some(ahead))
    }

    /// Passes on what comes.
    async fn tunnel(&self, streamed: Streamed) -> Next {
        let (tunnel, mut order, ahead) = match streamed {
            Streamed::Answer(next) => return next,
            Streamed::Tunnel(tunnel, order, ahead) => (tunnel, order, ahead),
        };
        let metrics = order.route.as_ref().map(|route| route.metrics.clone());
        if let Some(metrics) = &metrics {
            metrics.streams.add();
        }
        let closing = until_closing(self.closing.clone());
        order.sent_bytes = if let Some(ahead) = ahead {
            Box::pin(tunnel.join(&ahead, closing)).await
        } else {
            Box::pin(tunnel.pass_on(self.gateway.config.times.silence, closing)).await
        };
        if let Some(metrics) = &metrics {
            metrics.streams.remove();
        }
        order.ended();
        Next::End
    }

    /// Ends a connection on which no whole request came.
    async fn lose(&self, mut client: Box<Client>, lost: Lost) -> Next {
        let Lost::Refused(problem) = lost else { return Next::End };
        let id = new_request_id();
        let peer = client.peer();
        let (fields, body) = problem.answer("", &id);
        let mut head = Vec::with_capacity(512);
        begin_head(&mut head, problem.status, &fields);
        let length = body.len();
        head.extend_from_slice(
            format!("content-length: {length}\r\nx-request-id: {id}\r\nconnection: close\r\n\r\n")
                .as_bytes(),
        );
        let sent = client.send(&head, &body).await;
        let sent_bytes = if sent.is_ok() { length as u64 } else { 0 };
        record_unread(&self.gateway, peer.ip(), &id, &problem, sent_bytes);
        if sent.is_ok() {
            client.part().await;
        }
        Next::End
    }
}

/// A client that speaks HTTP/1.1.
struct Http1<'a> {
    client: &'a mut Client,
    /// The length of the body is told piece by piece (RFC 9112, section 7.1).
    is_chunked: bool,
}

impl Reader for Http1<'_> {
    async fn head(
        &mut self,
        order: &mut Order,
        status: StatusCode,
        fields: HeaderMap,
        ends: bool,
    ) -> Result<(), Left> {
        self.is_chunked = !ends && !fields.contains_key(CONTENT_LENGTH);
        order.closes |= order.gateway.is_closing();
        let head = self.client.outbox();
        begin_head(head, status, &fields);
        if self.is_chunked {
            field(head, TRANSFER_ENCODING.as_str(), b"chunked");
        }
        order.finish(head);
        Ok(())
    }

    async fn piece(&mut self, piece: Bytes) -> Result<(), Left> {
        if !self.is_chunked {
            return self.client.put(&piece).await.map_err(left);
        }
        if piece.is_empty() {
            // It would be the end.
            return Ok(());
        }
        let size = format!("{:x}\r\n", piece.len());
        self.client.put(size.as_bytes()).await.map_err(left)?;
        self.client.put(&piece).await.map_err(left)?;
        self.client.put(b"\r\n").await.map_err(left)
    }

    async fn flush(&mut self) -> Result<(), Left> {
        self.client.send_out().await.map_err(left)
    }

    async fn end(&mut self) -> Result<(), Left> {
        if self.is_chunked {
            self.client.put(LAST_CHUNK).await.map_err(left)?;
        }
        self.client.send_out().await.map_err(left)
    }

    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.client.poll_left(context)
    }
}

/// Whatever went wrong with it, the client is gone.
fn left(_: io::Error) -> Left {
    Left
}

/// How long a body may take where so many bytes are allowed.
pub(crate) fn body_time(most: usize) -> Duration {
    let more = most.saturating_sub(BODY_BYTES) / BODY_FLOOR_BYTES;
    BODY_TIME + Duration::from_secs(more as u64)
}

pub(crate) fn too_slow<T: From<Problem>>(what: &str) -> T {
    let detail = format!("the {what} did not come in time");
    Problem::new(StatusCode::REQUEST_TIMEOUT, detail).into()
}
