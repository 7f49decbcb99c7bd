//! Route attributes: tests with time limits, body limits, the host of an upstream, and field rules.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use testing::{BOUND, fields, respond};

use crate::{HEALTHY, Upstream, start_with_routes};

/// An upstream that returns the request it received, in a way that depends on the path.
fn upstream() -> Upstream {
    Upstream::start(|_, request, stream| answer(request, stream))
}

/// Returns whether the connection persists.
fn answer(request: &str, stream: &mut TcpStream) -> bool {
    const OWN: &str = "Server: secret\r\nX-Powered-By: secret\r\nX-Frame-Options: ALLOW\r\n";
    let path = request.split(' ').nth(1).unwrap();
    let last = path.rsplit('/').next().unwrap();
    let text = match last {
        "slow" => {
            thread::sleep(Duration::from_secs(3));
            return respond(stream, OWN, "slow");
        }
        "trickles" => {
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".chunks(1) {
                thread::sleep(Duration::from_millis(100));
                if stream.write_all(byte).is_err() {
                    return false;
                }
            }
            return true;
        }
        "drops" => {
            let head = format!("HTTP/1.1 200 OK\r\n{OWN}Content-Length: 1000\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            while stream.write_all(b".").is_ok() {
                thread::sleep(Duration::from_millis(100));
            }
            return false;
        }
        "events" => {
            format!("HTTP/1.1 200 OK\r\n{OWN}Content-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        }
        "hints" => format!(
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n{OWN}\r\n\
             HTTP/1.1 200 OK\r\n{OWN}Content-Length: 0\r\n\r\n"
        ),
        "echo" => format!(
            "HTTP/1.1 101 Switching Protocols\r\n{OWN}Connection: upgrade\r\nUpgrade: echo\r\n\r\n"
        ),
        _ => {
            let more = match last {
                "kept" => "Cache-Control: max-age=60\r\nETag: \"a\"\r\nVary: X-Team\r\n",
                _ => "",
            };
            return respond(stream, &format!("{OWN}{more}"), request);
        }
    };
    stream.write_all(text.as_bytes()).is_ok() && !["events", "echo"].contains(&last)
}

/// An upstream that accepts every request, and the heads that it receives.
fn recorder() -> (SocketAddr, Receiver<String>) {
    let (sender, heads) = channel();
    let address = testing::serve(move |request, stream| {
        // An error means that the test has ended.
        let _ = sender.send(request.to_owned());
        stream.write_all(HEALTHY).is_ok()
    });
    (address, heads)
}

#[test]
fn a_health_check_has_the_host_of_its_route() {
    let (upstream, heads) = recorder();
    let _gateway =
        start_with_routes(&format!("/api {upstream} host=api.internal check=/healthz"), &[]);
    let check = heads.recv_timeout(BOUND).unwrap();
    assert!(check.starts_with("GET /healthz "), "{check}");
    assert_eq!(fields(&check, "host"), ["api.internal"]);
}

#[test]
fn the_upstreams_of_stats_are_followed_with_the_host_of_their_route() {
    let (upstream, heads) = recorder();
    let gateway = start_with_routes(&format!("/stats {upstream} host=stats.internal"), &[]);
    assert_eq!(gateway.get("/fleet").status, 200);
    let request = heads.recv_timeout(BOUND).unwrap();
    assert!(request.starts_with("GET /stats/stream?view=summary "), "{request}");
    assert_eq!(fields(&request, "host"), ["stats.internal"]);
}

#[test]
fn an_upstream_receives_the_fields_of_its_route_for_any_request() {
    let upstream = upstream().address;
    let gateway = start_with_routes(
        &format!(
            "/ {upstream} request-header=X-User:the%20gateway request-header=Authorization:Basic%20eA \
             request-header=Cookie:; /other {upstream}"
        ),
        &[],
    );
    let sent = [
        ("X-User", "evil"),
        ("X_User", "evil"),
        ("Cookie", "a=b"),
        ("Authorization", "Bearer evil"),
        ("X-Own", "1"),
    ];
    for method in ["GET", "POST", "DELETE"] {
        let received = gateway.ask(method, "/x", &sent);
        let received = received.text();
        assert_eq!(fields(received, "x-user"), ["the gateway"], "{received}");
        assert_eq!(fields(received, "authorization"), ["Basic eA"]);
        assert_eq!(fields(received, "x-own"), ["1"]);
        assert!(!received.contains("evil") && fields(received, "cookie").is_empty(), "{received}");
    }
    // A client cannot remove the field with Connection.
    let mut client =
        gateway.begin("GET /x HTTP/1.1\r\nHost: a\r\nConnection: x-user\r\nX-User: evil\r\n\r\n");
    assert_eq!(fields(client.answer().text(), "x-user"), ["the gateway"]);
    let other = gateway.ask("GET", "/other", &sent);
    assert!(fields(other.text(), "x-user").is_empty(), "{}", other.text());
    assert_eq!(fields(other.text(), "cookie"), ["a=b"]);
}

#[test]
fn an_upstream_receives_the_host_of_its_route() {
    let upstream = upstream();
    let address = upstream.address;
    let routes = format!("/ {address}; /api {address} host=API.internal:8443");
    let gateway = start_with_routes(&routes, &[]);
    let get = |path: &str, host: &str| {
        gateway.begin(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).answer()
    };
    let answer = get("/api/x", "example.org");
    assert_eq!(fields(answer.text(), "host"), ["api.internal:8443"]);
    assert_eq!(fields(answer.text(), "x-forwarded-host"), ["example.org"]);
    assert_eq!(fields(get("/x", "example.org").text(), "host"), ["example.org"]);
    let old = gateway.begin("GET /api/x HTTP/1.0\r\n\r\n").answer();
    assert_eq!(fields(old.text(), "host"), ["api.internal:8443"]);
    // The upstream also receives the client's host, so each host has its own stored response.
    let before = upstream.request_count();
    for host in ["one.example", "two.example", "one.example"] {
        let answer = get("/api/kept", host);
        assert_eq!(fields(answer.text(), "x-forwarded-host"), [host]);
    }
    assert_eq!(upstream.request_count(), before + 2);
}

#[test]
fn the_fields_that_an_upstream_receives_select_the_stored_response() {
    let upstream = upstream();
    let address = upstream.address;
    let routes = format!("/ {address} request-header=X-Team:web; /own {address}");
    let gateway = start_with_routes(&routes, &[]);
    for (path, count) in [("/kept", 1), ("/own/kept", 3)] {
        for team in ["a", "b", "a"] {
            let answer = gateway.ask("GET", path, &[("X-Team", team)]);
            let expected = if path == "/kept" { "web" } else { team };
            assert_eq!(fields(answer.text(), "x-team"), [expected]);
        }
        assert_eq!(upstream.request_count(), count, "{path}");
    }
}

#[test]
fn every_response_has_the_fields_of_its_route_and_no_hidden_ones() {
    let upstream = upstream();
    let address = upstream.address;
    let routes = format!(
        "/ {address} hide=Server,X-Powered-By response-header=X-Frame-Options:DENY \
         response-header=Content-Security-Policy:default-src%20'self'%3B%20img-src%20* upgrade=echo"
    );
    let gateway = start_with_routes(&routes, &[]);
    let right = |answer: &testing::Answer, what: &str| {
        assert_eq!(fields(&answer.head, "x-frame-options"), ["DENY"], "{what} {}", answer.head);
        let policy = fields(&answer.head, "content-security-policy");
        assert_eq!(policy, ["default-src 'self'; img-src *"], "{what}");
        assert!(!answer.head.contains("secret"), "{what} {}", answer.head);
    };
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        right(&gateway.ask(method, "/x", &[]), method);
    }
    for status in ["fwd=uri-miss", "hit", "hit"] {
        let answer = gateway.get("/kept");
        assert!(answer.field("cache-status").unwrap().contains(status), "{}", answer.head);
        assert!(!answer.body.is_empty());
        right(&answer, status);
    }
    let known = gateway.ask("GET", "/kept", &[("If-None-Match", "\"a\"")]);
    assert_eq!(known.status, 304);
    right(&known, "304");
    right(&gateway.ask("HEAD", "/kept", &[]), "a stored response to HEAD");
    assert_eq!(upstream.request_count(), 8);

    let mut client =
        gateway.begin("GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n");
    right(&client.head(), "an event stream");
    let mut client = gateway
        .begin("GET /echo HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
    let upgraded = client.head();
    assert_eq!(upgraded.status, 101);
    right(&upgraded, "another protocol");
    let mut client = gateway.begin("GET /hints HTTP/1.1\r\nHost: a\r\n\r\n");
    let hints = client.head();
    assert_eq!((hints.status, hints.field("link")), (103, Some("</a>")));
    assert!(!hints.head.contains("secret"), "{}", hints.head);
    right(&client.head(), "the response behind a hint");
}

#[test]
fn a_route_has_its_own_time_limits() {
    let upstream = upstream().address;
    let routes = format!("/ {upstream}; /short {upstream} timeout=1; /whole {upstream} total=1");
    let gateway = start_with_routes(&routes, &[]);
    let begun = Instant::now();
    assert_eq!(gateway.get("/short/slow").status, 504);
    // No silence exceeds the limit, but the head takes longer in total.
    assert_eq!(gateway.get("/short/trickles").status, 504);
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    assert_eq!(gateway.get("/slow").text(), "slow");
    let begun = Instant::now();
    let dropped = gateway.get("/whole/drops");
    assert_eq!(dropped.status, 200);
    assert!(dropped.body.len() < 100, "{}", dropped.body.len());
    assert!(begun.elapsed() >= Duration::from_millis(900) && begun.elapsed() < BOUND);
}

#[test]
fn a_route_has_its_own_body_limit() {
    let upstream = upstream();
    let address = upstream.address;
    let routes = format!("/ {address}; /few {address} body=4; /many {address} body=256KiB");
    let gateway = start_with_routes(&routes, &[("GATEWAY_BODY_BYTES", "64 KiB")]);
    let post = |path: &str, fields: &str, body: &str| {
        gateway.begin(&format!("POST {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}")).answer()
    };
    let sized = |path: &str, bytes: usize| {
        post(path, &format!("Content-Length: {bytes}\r\n"), &"x".repeat(bytes)).status
    };
    assert_eq!((sized("/few", 4), sized("/few", 5)), (200, 413));
    assert_eq!((sized("/x", 65536), sized("/x", 65537)), (200, 413));
    assert_eq!((sized("/many", 256 << 10), sized("/many", (256 << 10) + 1)), (200, 413));
    let chunked = "Transfer-Encoding: chunked\r\n";
    assert_eq!(post("/few", chunked, "5\r\nhello\r\n0\r\n\r\n").status, 413);
    assert_eq!(post("/few", chunked, "2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n").status, 200);
    // A rejected request gets no 100 (Continue).
    let waiting = post("/few", "Content-Length: 5\r\nExpect: 100-continue\r\n", "");
    assert_eq!(waiting.status, 413);
    assert_eq!(upstream.request_count(), 4);
}
