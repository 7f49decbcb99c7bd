//! One connection. hyper reads the requests and writes the responses, until a response is an event
//! stream, which is written without hyper.

use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, pending, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::Answer;
use crate::events::{Framing, Viewer};

/// State shared by the handler, hyper's socket and the connection.
#[derive(Default)]
struct Shared {
    stream: Mutex<Option<(Response<Viewer>, Framing)>>,
    /// Whether bytes of an earlier response wait for the client. hyper does not report it, and
    /// would drop them when it returns the socket.
    blocked: AtomicBool,
}

/// A socket that records whether all bytes were written.
struct Socket {
    stream: TokioIo<TcpStream>,
    shared: Arc<Shared>,
}

/// A new event stream and its socket.
pub(crate) type EventStream = (TcpStream, Response<Viewer>, Framing);

/// Handles the requests of one connection until it ends, or until a response is an event stream.
/// After `stopping` resolves, it completes only the request in flight.
pub(crate) async fn serve<H, F, B>(
    http: http1::Builder,
    stream: TcpStream,
    handler: H,
    stopping: impl Future<Output = ()>,
) -> hyper::Result<Option<EventStream>>
where
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output: Into<Answer<B>>>,
    B: http_body::Body + Default + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let shared = Arc::new(Shared::default());
    let service = service_fn(|request| {
        let framing = Framing::of(&request);
        let (handler, shared) = (&handler, &shared);
        async move {
            if !has_valid_host(&request) {
                let mut response = Response::new(B::default());
                *response.status_mut() = StatusCode::BAD_REQUEST;
                return Ok(response);
            }
            match handler(request).await.into() {
                Answer::Whole(response) => Ok::<_, Infallible>(response),
                Answer::Events(response) => {
                    *shared.stream.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some((response, framing));
                    // hyper is dropped while this is pending.
                    pending().await
                }
            }
        }
    });
    let socket = Socket { stream: TokioIo::new(stream), shared: shared.clone() };
    let mut connection = http.serve_connection(socket, service);
    let mut stopping = pin!(stopping);
    let mut stopped = false;
    let event_stream = poll_fn(|context| {
        if !stopped && stopping.as_mut().poll(context).is_ready() {
            stopped = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        let ended = Pin::new(&mut connection).poll(context);
        if ended.is_pending() && !shared.blocked.load(Ordering::Relaxed) {
            let event_stream = shared.stream.lock().unwrap_or_else(PoisonError::into_inner).take();
            if event_stream.is_some() {
                return Poll::Ready(Ok(event_stream));
            }
        }
        ended.map_ok(|()| None)
    });
    Ok(event_stream.await?.map(|(response, framing)| {
        (connection.into_parts().io.stream.into_inner(), response, framing)
    }))
}

/// Whether the request has one Host field, or none in HTTP/1.0 (RFC 9112, section 3.2). hyper does
/// not check it.
fn has_valid_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).into_iter();
    match hosts.next() {
        Some(_) => hosts.next().is_none(),
        None => request.version() < Version::HTTP_11,
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper calls it when everything is written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.blocked.store(false, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Socket {
    fn note(&self, written: &Poll<io::Result<usize>>) {
        if written.is_pending() {
            self.shared.blocked.store(true, Ordering::Relaxed);
        }
    }
}
