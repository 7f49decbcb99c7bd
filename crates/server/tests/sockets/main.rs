//! The server over real sockets, on a port chosen by the kernel.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test a failed unwrap is the test's failure"
)]

mod accept_loop;
mod events;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use server::{Answer, Chunk, Drained, Limits, Publisher};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const BOUND: Duration = Duration::from_secs(10);

/// More bytes than the buffers of two sockets can hold.
const LARGE_BYTES: usize = 16 * 1024 * 1024;

struct Server {
    address: SocketAddr,
    events: Publisher,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Drained>,
}

/// A server with one feed at `/events`, a large response at `/large`, and a small one at other
/// paths. Responses take `delay`.
async fn server(limits: Limits, delay: Duration) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let (events, feed) = server::feed();
    let whole = |body| Answer::Whole(Response::new(Full::<Bytes>::new(body)));
    let handler = move |request: Request<Incoming>| {
        let answer = match request.uri().path() {
            "/events" => {
                let mut response = Response::new(feed.viewer(vec![Chunk::new(b"first\n\n")], 0));
                response.headers_mut().insert("x-kind", "events".parse().unwrap());
                Answer::Events(response)
            }
            "/large" => whole(vec![b'x'; LARGE_BYTES].into()),
            _ => whole(Bytes::from_static(b"small")),
        };
        async move {
            if !delay.is_zero() {
                sleep(delay).await;
            }
            answer
        }
    };
    let ended = tokio::spawn(server::run(listener, handler, limits, async move {
        let _: Result<(), _> = stopped.await;
    }));
    Server { address, events, stop, ended }
}

impl Server {
    async fn ask(&self, request: &str) -> TcpStream {
        let mut stream = timeout(BOUND, TcpStream::connect(self.address)).await.unwrap().unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn stop(self) -> Drained {
        self.stop.send(()).unwrap();
        drop(self.events);
        timeout(BOUND, self.ended).await.unwrap().unwrap()
    }
}

/// Reads until the received bytes end with this.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let byte = timeout(BOUND, stream.read_u8()).await.unwrap();
        text.push(byte.unwrap_or_else(|error| panic!("{error} after {text:?}")));
    }
    String::from_utf8(text).unwrap()
}

async fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    timeout(BOUND, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}
