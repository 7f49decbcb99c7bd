//! One hyper accept loop for HTTP/1.1 with limits for connections, the time to receive a request's
//! header section, and the drain time. It does not read the environment or signals; both are
//! parameters.

mod acceptor;
mod connection;
mod events;
pub mod gzip;

use std::error::Error;
use std::future::{Future, pending};
use std::pin::pin;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioTimer;
use rustix::net::sockopt::{set_socket_send_buffer_size, set_tcp_user_timeout};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

pub use acceptor::{Acceptor, Permit, Permits};
pub use events::{Chunk, Feed, Publisher, Viewer, feed};

/// Limits of the accept loop.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum number of open connections. Further ones wait in the kernel's backlog.
    pub connections: u32,
    /// Time from the end of a response to the end of the next request's header section. It is also
    /// the keep-alive timeout, so it must be longer than that of the clients' connection pools (15
    /// s in the gateway). Otherwise they can reuse a connection at the moment it closes.
    pub request_head: Duration,
    /// Maximum time without write progress. A client that does not read would hold its connection
    /// forever.
    pub silence: Duration,
    /// Time for requests in flight to complete after the shutdown began.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            request_head: Duration::from_secs(30),
            silence: Duration::from_secs(30),
            drain: Duration::from_secs(5),
        }
    }
}

/// Result of a drain.
#[derive(Debug, PartialEq)]
pub enum Drained {
    /// Every request was completed.
    Complete,
    /// The drain time was exceeded; this number of connections was closed.
    CutOff(usize),
}

/// Maximum size of a request's header section, bytes. hyper answers a larger one with 431 and no
/// content. A handler that returns an explanation must use a lower limit. A browser's request
/// through a proxy has about 1 KiB.
const HEAD_BYTES: usize = 32 * 1024;

/// Send buffer of a client that does not read, bytes. The kernel's own limit is megabytes, and events
/// would be stale when they are read. About ten events fit.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// The result of a handler. A [`Response`] converts into one.
pub enum Answer<B> {
    /// A response with a body of this type.
    Whole(Response<B>),
    /// An event stream. The connection closes after it.
    Events(Response<Viewer>),
}

impl<B> From<Response<B>> for Answer<B> {
    fn from(response: Response<B>) -> Self {
        Self::Whole(response)
    }
}

/// Accepts connections and passes their requests to `handler` until `shutdown` resolves. Then it
/// closes idle connections, waits for the others up to `limits.drain`, and returns. Event streams
/// end when their [`Publisher`] is dropped.
pub async fn run<H, F, B>(
    listener: TcpListener,
    handler: H,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> Drained
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output: Into<Answer<B>>> + Send + 'static,
    B: http_body::Body + Default + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let http = builder(limits.request_head);
    let acceptor = Acceptor::new(listener, limits.connections);
    let permits = acceptor.permits();
    let (stop, stopping) = watch::channel(());
    let mut shutdown = pin!(shutdown);
    loop {
        let (stream, _, permit) = tokio::select! {
            () = &mut shutdown => break,
            accepted = acceptor.accept() => accepted,
        };
        limit_unread(&stream, limits.silence);
        let mut stopping = stopping.clone();
        // An error means that `run` was dropped; the connection then stops as well.
        let stopping = async move { drop(stopping.changed().await) };
        let connection = connection::serve(http.clone(), stream, handler.clone(), stopping);
        tokio::spawn(async move {
            match connection.await {
                Ok(None) => {}
                Ok(Some((stream, response, framing))) => {
                    let (parts, viewer) = response.into_parts();
                    let head = events::head(parts.status, &parts.headers, framing);
                    // A separate task, because this one includes the state of hyper.
                    tokio::spawn(events::write(stream, head, viewer, framing, permit));
                }
                // A disconnected client is not a fault of the service.
                Err(error) => tracing::debug!(%error, "connection ended early"),
            }
        });
    }
    drop(acceptor);
    // This function still holds a receiver.
    let _ = stop.send(());
    if timeout(limits.drain, permits.all_free()).await.is_ok() {
        return Drained::Complete;
    }
    let left = permits.taken();
    tracing::warn!(connections = left, "drain time exceeded; closing the remaining connections");
    Drained::CutOff(left)
}

/// Serves a connection from an accept loop of the caller until it ends, without event streams.
/// `request_head` has the meaning of [`Limits::request_head`].
pub async fn serve_connection<H, F, B>(stream: TcpStream, handler: H, request_head: Duration)
where
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>>,
    B: http_body::Body + Default + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let http = builder(request_head);
    limit_unread(&stream, Limits::default().silence);
    let connection = connection::serve::<H, F, B>(http, stream, handler, pending());
    if let Err(error) = connection.await {
        tracing::debug!(%error, "connection ended early");
    }
}

/// Limits the kernel's memory for a client that does not read, and closes its connection if it reads
/// nothing for `silence`.
fn limit_unread(stream: &TcpStream, silence: Duration) {
    let milliseconds = u32::try_from(silence.as_millis()).unwrap_or(u32::MAX);
    // An error means that the client has already disconnected.
    let _ = set_socket_send_buffer_size(stream, SEND_BUFFER_BYTES);
    let _ = set_tcp_user_timeout(stream, milliseconds);
}

fn builder(request_head: Duration) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(request_head).max_buf_size(HEAD_BYTES);
    http
}
