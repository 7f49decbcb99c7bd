//! The real binary and what upstreams do to it: which connections it keeps, where an answer ends,
//! and who is asked again.

#![expect(clippy::unwrap_used, reason = "in tests a failed unwrap is the test's failure")]

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use testing::{BOUND, Service, accept, read_head};

const GATEWAY: &str = env!("CARGO_BIN_EXE_gateway");

/// An upstream that counts.
struct Upstream {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Upstream {
    /// `script` answers a path on a connection, and returns whether that stays open.
    fn start(script: impl Fn(&str, &mut TcpStream) -> bool + Send + Sync + 'static) -> Self {
        let (connections, requests) =
            (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (opened, asked) = (connections.clone(), requests.clone());
        let address = accept(move |stream| {
            let mut reader = BufReader::new(stream);
            let mut is_new = true;
            while let Some(request) = read_head(&mut reader) {
                if request.contains("gateway-check") {
                    let well = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                    reader.get_mut().write_all(well).unwrap();
                    continue;
                }
                opened.fetch_add(usize::from(is_new), Ordering::SeqCst);
                asked.fetch_add(1, Ordering::SeqCst);
                is_new = false;
                let path = request.split(' ').nth(1).unwrap();
                if !script(path, reader.get_mut()) {
                    break;
                }
            }
        });
        Self { address, connections, requests }
    }

    /// One that answers everything with the same bytes.
    fn saying(answer: &'static str, stays: bool) -> Self {
        Self::start(move |_, stream| {
            let _ = stream.write_all(answer.as_bytes());
            stays
        })
    }

    fn counts(&self) -> (usize, usize) {
        (self.connections.load(Ordering::SeqCst), self.requests.load(Ordering::SeqCst))
    }
}

/// Everything goes to these.
fn before(upstreams: &str, more: &[(&str, &str)]) -> Service {
    let routes = format!("/ {upstreams}");
    let mut variables =
        vec![("GATEWAY_ROUTES", &*routes), ("GATEWAY_ADMIN_LISTEN", "off"), ("GATEWAY_HOSTS", "*")];
    variables.extend(more);
    Service::start(GATEWAY, "GATEWAY_LISTEN", &variables)
}

const GET: &str = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn requests_share_a_connection_to_the_upstream() {
    let upstream = Upstream::saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true);
    // Each thread has its own.
    let gateway = before(&upstream.address.to_string(), &[("GATEWAY_THREADS", "1")]);
    for _ in 0..10 {
        // From clients of their own.
        assert_eq!(gateway.get("/x").text(), "ok");
    }
    assert_eq!(upstream.counts(), (1, 10));
}

#[test]
fn what_comes_behind_an_answer_is_nobodys_answer() {
    for (first, length) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 2),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 12),
        ("HTTP/1.1 204 No Content\r\n\r\n", 0),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0),
    ] {
        let upstream = Upstream::start(move |_, stream| {
            let more = "HTTP/1.1 200 OK\r\nEvil: yes\r\nContent-Length: 4\r\n\r\nevil";
            let _ = stream.write_all(format!("{first}{more}").as_bytes());
            true
        });
        let gateway = before(&upstream.address.to_string(), &[]);
        for _ in 0..3 {
            let answer = gateway.get("/x");
            assert_eq!((answer.field("evil"), answer.body.len()), (None, length), "{first}");
        }
        assert_eq!(upstream.counts(), (3, 3), "{first}");
    }
}

#[test]
fn whatever_frames_it_upstream_an_answer_is_framed_anew() {
    for (answer, stays) in [
        ("Content-Length: 5\r\n\r\nhello", true),
        (
            "Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nTrailer: x\r\n\r\n",
            true,
        ),
        ("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n5\r\nhello\r\n0\r\n\r\n", true),
        ("\r\nhello", false),
    ] {
        let upstream = Upstream::start(move |_, stream| {
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes());
            stays
        });
        let gateway = before(&upstream.address.to_string(), &[]);
        let mut client = gateway.connect();
        for _ in 0..2 {
            client.send(GET);
            let head = client.head();
            if head.field("content-length").is_some() {
                assert_eq!(head.field("transfer-encoding"), None, "{answer}");
                client.read_until("hello");
            } else {
                assert_eq!(head.field("transfer-encoding"), Some("chunked"), "{answer}");
                client.read_until("\r\n0\r\n\r\n");
            }
        }
        client.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.answer().field("content-type"), Some("application/json"), "{answer}");
    }
}

#[test]
fn half_an_answer_is_not_a_whole_one() {
    for answer in [
        "Content-Length: 6\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n",
    ] {
        let upstream = Upstream::start(move |_, stream| {
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes());
            false
        });
        let gateway = before(&upstream.address.to_string(), &[]);
        let mut client = gateway.connect();
        client.send(GET);
        assert_eq!(client.head().status, 200);
        let mut rest = String::new();
        client.reader.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("hello") && !rest.contains("0\r\n\r\n"), "{rest:?}");
        let log = gateway.stop().log;
        assert!(log.contains("broke its answer off"), "{log}");
    }
}

#[test]
fn who_breaks_off_without_an_answer_is_not_the_only_one_asked() {
    let broken = Upstream::start(|_, _| false);
    let well = Upstream::saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true);
    let both = format!("{},{}", broken.address, well.address);
    let gateway = before(&both, &[]);
    for _ in 0..10 {
        assert_eq!(gateway.get("/x").status, 200);
    }
    assert!(broken.counts().1 > 0, "nobody asked it");
}

#[test]
fn who_is_too_slow_is_not_asked_twice() {
    let slow = || {
        Upstream::start(|_, _| {
            thread::sleep(BOUND);
            false
        })
    };
    let (one, other) = (slow(), slow());
    let both = format!("{},{}", one.address, other.address);
    let gateway = before(&both, &[("GATEWAY_UPSTREAM_TIMEOUT_SECONDS", "1")]);
    assert_eq!(gateway.get("/x").status, 504);
    assert_eq!(one.counts().1 + other.counts().1, 1);
}

#[test]
fn informational_answers_are_passed_on_are_few_and_end_in_an_answer() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for (count, status) in [(1, 200), (8, 200), (9, 502)] {
        let upstream = Upstream::start(move |_, stream| {
            let _ = stream.write_all(format!("{}{ok}", hints.repeat(count)).as_bytes());
            true
        });
        let gateway = before(&upstream.address.to_string(), &[]);
        // A client of HTTP/1.0 knows none of them.
        for (version, informed) in [("1.1", count.min(8)), ("1.0", 0)] {
            for method in ["GET", "POST"] {
                let mut client = gateway.connect();
                client.send(&format!(
                    "{method} /x HTTP/{version}\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
                ));
                let mut answer = client.head();
                let mut hints = 0;
                while answer.status == 103 {
                    assert_eq!(answer.field("link"), Some("</a>"));
                    hints += 1;
                    answer = client.head();
                }
                assert_eq!((answer.status, hints), (status, informed), "{method} {version}");
            }
        }
    }
    for wrong in ["HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", "SSH-2.0-OpenSSH\r\n\r\n", "\0\0"]
    {
        let gateway = before(&Upstream::saying(wrong, false).address.to_string(), &[]);
        assert_eq!(gateway.get("/x").status, 502, "{wrong:?}");
    }
}

#[test]
fn requests_that_come_at_once_are_answered_in_turn() {
    let upstream = Upstream::start(|path, stream| {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len());
        stream.write_all(answer.as_bytes()).is_ok()
    });
    let gateway = before(&upstream.address.to_string(), &[]);
    let mut client = gateway.connect();
    let all: Vec<_> = (0..50).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    client.send(&all.concat());
    for n in 0..50 {
        assert_eq!(client.answer().text(), format!("/{n}"));
    }
}

#[test]
fn a_client_that_is_gone_takes_its_request_along() {
    let (told, ended) = channel();
    let upstream = Upstream::start(move |_, stream| {
        // The gateway closes when it gives up.
        let _ = told.send("asked");
        let _ = stream.read(&mut [0]);
        let _ = told.send("given up");
        false
    });
    let gateway = before(&upstream.address.to_string(), &[]);
    let mut client = gateway.connect();
    client.send(GET);
    assert_eq!(ended.recv_timeout(BOUND), Ok("asked"));
    let stream = client.reader.into_inner();
    // To close it is to reset it.
    let socket = tokio::net::TcpSocket::from_std_stream(stream);
    socket.set_zero_linger().unwrap();
    drop(socket);
    assert_eq!(ended.recv_timeout(BOUND), Ok("given up"));
}
