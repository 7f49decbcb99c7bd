//! One hyper accept loop for HTTP/1.1: so many connections at once, so long for a request's head,
//! so long to drain. It reads neither environment nor signals; both are parameters.

mod acceptor;

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::time::timeout;

pub use acceptor::{Acceptor, Place, Places};

/// How much the loop takes on at once, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; more of them wait in the kernel's backlog.
    pub connections: u32,
    /// Time from the end of the last answer to the end of the next request's head. It is the
    /// keep-alive time as well, so it must be longer than that of the clients' pools (the
    /// gateway's: 20 s), or they use a connection at the moment it closes.
    pub request_head: Duration,
    /// Time for requests in flight to end after the shutdown began.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            request_head: Duration::from_secs(30),
            drain: Duration::from_secs(5),
        }
    }
}

/// How a drain ended.
#[derive(Debug, PartialEq)]
pub enum Drained {
    /// Every request was answered.
    Complete,
    /// The time was up; this many connections were cut off.
    CutOff(usize),
}

/// Bytes a request's head may have in all; hyper answers 431 above it. A browser's request through
/// a proxy has about 1 KiB.
const HEAD_BYTES: usize = 16 * 1024;

/// Fields a request's head may have; hyper answers 431 above it.
const HEAD_FIELDS: usize = 64;

/// Accepts connections and hands their requests to `handler`, until `shutdown` resolves; then
/// closes idle connections, waits for the others at most `limits.drain`, and returns.
pub async fn run<H, F, B>(
    listener: TcpListener,
    handler: H,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> Drained
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.request_head)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEAD_FIELDS);
    let acceptor = Acceptor::new(listener, limits.connections);
    let places = acceptor.places();
    let graceful = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let (stream, _, place) = tokio::select! {
            () = &mut shutdown => break,
            accepted = acceptor.accept() => accepted,
        };
        let handler = handler.clone();
        let service = service_fn(move |request| {
            let answer = handler(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                // A departing client is everyday life, not a fault of the service.
                tracing::debug!(%error, "connection ended early");
            }
            drop(place);
        });
    }
    drop(acceptor);
    if timeout(limits.drain, graceful.shutdown()).await.is_ok() {
        return Drained::Complete;
    }
    let left = places.taken();
    tracing::warn!(connections = left, "drain time is up, cutting off");
    Drained::CutOff(left)
}
