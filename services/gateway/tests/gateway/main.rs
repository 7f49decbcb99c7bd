//! Tests of the gateway binary between clients and fake upstreams. They are one program, because
//! linking takes longer than most of them run.

#![expect(clippy::unwrap_used, reason = "in tests a failed unwrap is the test's failure")]

mod announce;
mod attributes;
mod caching;
mod compression;
mod exposure;
mod fetch;
mod fleet;
mod forwarding;
mod http2;
mod pipeline;
mod protection;
mod rules;
mod tls;
mod upstream_tls;

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use testing::{Answer, BOUND, Service};

const GATEWAY: &str = env!("CARGO_BIN_EXE_gateway");

/// A response to a health check.
const HEALTHY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A fake upstream that records requests.
struct Upstream {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    /// Ports of the gateway, one for each connection.
    ports: Arc<Mutex<HashSet<u16>>>,
}

impl Upstream {
    /// Starts an upstream. `answer` gets the number of the request, from 1, and the request with its
    /// body; it returns whether the connection persists. Health checks have the number 0 and are not
    /// recorded.
    fn start(answer: impl Fn(usize, &str, &mut TcpStream) -> bool + Send + Sync + 'static) -> Self {
        let (requests, ports) = (Arc::<Mutex<Vec<String>>>::default(), Arc::default());
        let (log, seen) = (requests.clone(), Arc::<Mutex<HashSet<u16>>>::clone(&ports));
        let address = testing::serve(move |request, stream| {
            let number = if is_check(request) {
                0
            } else {
                seen.lock().unwrap().insert(stream.peer_addr().unwrap().port());
                let mut log = log.lock().unwrap();
                log.push(request.to_owned());
                log.len()
            };
            answer(number, request, stream)
        });
        Self { address, requests, ports }
    }

    /// Numbers of connections and requests.
    fn counts(&self) -> (usize, usize) {
        (self.ports.lock().unwrap().len(), self.request_count())
    }

    fn request_count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    fn last(&self) -> String {
        self.requests.lock().unwrap().last().unwrap().clone()
    }
}

/// Whether a request is a health check of the gateway.
fn is_check(request: &str) -> bool {
    request.contains("gateway-check")
}

/// Accepts the protocol `echo` and returns the first four bytes.
fn echo_upgraded(stream: &mut (impl Read + Write)) {
    let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut received = [0; 4];
    stream.read_exact(&mut received).unwrap();
    stream.write_all(&received).unwrap();
}

/// Starts a gateway with one upstream for everything.
fn start(upstream: SocketAddr, more: &[(&str, &str)]) -> Service {
    let upstream = upstream.to_string();
    let own = [
        ("GATEWAY_STATS", &*upstream),
        ("GATEWAY_FRONTEND", &*upstream),
        ("GATEWAY_ADMIN_LISTEN", "off"),
        ("GATEWAY_HOSTS", "*"),
    ];
    Service::start(GATEWAY, "GATEWAY_LISTEN", &[&own, more].concat())
}

/// Starts a gateway with these routes.
fn start_with_routes(routes: &str, more: &[(&str, &str)]) -> Service {
    let own = [("GATEWAY_ROUTES", routes), ("GATEWAY_ADMIN_LISTEN", "off"), ("GATEWAY_HOSTS", "*")];
    Service::start(GATEWAY, "GATEWAY_LISTEN", &[&own, more].concat())
}

/// The response to this request, on a persistent connection.
fn send_request(gateway: &Service, request: &str) -> Answer {
    gateway.begin(request).answer()
}

/// The error output of a gateway that rejects its configuration.
fn rejected(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = testing::run(GATEWAY, arguments, variables);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{stderr}");
    stderr
}

/// An address without a listener, for one of the gateway.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// An address without a listener, which stays reserved until the tests end: it is bound.
fn unused_address() -> SocketAddr {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    std::mem::forget(socket);
    address
}

/// The response of the admin port to `GET /metrics`, with its head.
fn metrics(admin: SocketAddr) -> String {
    get_text(admin, "/metrics")
}

/// The response to `GET path` in plaintext, with its head.
fn get_text(address: SocketAddr, path: &str) -> String {
    let mut stream = connect(address);
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Connects to a listener that may open a moment after the main one.
fn connect(address: SocketAddr) -> TcpStream {
    let begun = Instant::now();
    loop {
        match TcpStream::connect_timeout(&address, BOUND) {
            Ok(stream) => {
                stream.set_read_timeout(Some(BOUND)).unwrap();
                return stream;
            }
            Err(error) => assert!(begun.elapsed() < BOUND, "{error}"),
        }
        thread::sleep(Duration::from_millis(5));
    }
}
