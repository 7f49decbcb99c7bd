//! Merged stream of the fleet: tests between viewers and fake members.

mod stream;

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use testing::{BOUND, Connection, Service, eventually, fields, read_head, respond};

use crate::{is_check, rejected};

/// A fake stats.
pub(crate) struct Member {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    instance: String,
    is_frozen: AtomicBool,
    is_dead: AtomicBool,
    /// Summary streams in total, and currently open.
    opened: AtomicUsize,
    open: AtomicUsize,
    /// Heads of the received requests.
    heads: Mutex<Vec<String>>,
    connections: Mutex<Vec<TcpStream>>,
    /// Written before each summary.
    noise: String,
}

impl Member {
    pub(crate) fn start(instance: &str) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), instance, String::new())
    }

    fn start_at(address: SocketAddr, instance: &str, noise: String) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            instance: instance.to_owned(),
            is_frozen: AtomicBool::new(false),
            is_dead: AtomicBool::new(false),
            opened: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            heads: Mutex::default(),
            connections: Mutex::default(),
            noise,
        });
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.is_dead.load(Ordering::SeqCst) {
                    return;
                }
                let (stream, state) = (stream.unwrap(), shared.clone());
                state.connections.lock().unwrap().push(stream.try_clone().unwrap());
                thread::spawn(move || state.serve(stream));
            }
        });
        Self { address, state }
    }

    /// Ends the member like SIGKILL: connections are closed, and new ones are refused.
    fn kill(&self) -> Instant {
        self.state.is_dead.store(true, Ordering::SeqCst);
        // Wakes the accept loop.
        drop(TcpStream::connect(self.address));
        while TcpStream::connect(self.address).is_ok() {
            thread::sleep(Duration::from_millis(1));
        }
        for connection in self.state.connections.lock().unwrap().drain(..) {
            // It may already be closed.
            let _ = connection.shutdown(Shutdown::Both);
        }
        Instant::now()
    }

    fn freeze(&self, is_frozen: bool) -> Instant {
        self.state.is_frozen.store(is_frozen, Ordering::SeqCst);
        Instant::now()
    }

    fn opened(&self) -> usize {
        self.state.opened.load(Ordering::SeqCst)
    }

    fn open(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }

    fn heads(&self) -> Vec<String> {
        self.state.heads.lock().unwrap().clone()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.state.is_dead.store(true, Ordering::SeqCst);
    }
}

impl State {
    fn wait(&self) -> bool {
        while self.is_frozen.load(Ordering::SeqCst) && !self.is_dead.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
        !self.is_dead.load(Ordering::SeqCst)
    }

    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some(head) = read_head(&mut reader) {
            if !self.wait() {
                return;
            }
            if !is_check(&head) {
                self.heads.lock().unwrap().push(head.clone());
            }
            if head.starts_with("GET /stats/stream?view=summary ") {
                self.opened.fetch_add(1, Ordering::SeqCst);
                self.open.fetch_add(1, Ordering::SeqCst);
                self.stream(reader.get_mut());
                self.open.fetch_sub(1, Ordering::SeqCst);
                return;
            }
            if !respond(reader.get_mut(), "", &head) {
                return;
            }
        }
    }

    fn stream(&self, stream: &mut TcpStream) {
        let Self { instance, noise, .. } = self;
        // Informational responses may precede the final one (RFC 9110, section 15.2).
        let head = format!(
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nstats-instance: {instance}\r\n\r\n\
             event: minute\ndata: {{\"instance\":\"{instance}\",\"cpu\":[1,null]}}\n\n"
        );
        let mut sent = stream.write_all(head.as_bytes());
        let mut number = 0;
        while sent.is_ok() && self.wait() {
            number += 1;
            let data = format!("{{\"instance\":\"{instance}\",\"sequence\":{number}}}");
            let block = format!("{noise}event: summary\nid: {number}\ndata: {data}\n\n");
            sent = stream.write_all(block.as_bytes());
            thread::sleep(Duration::from_millis(200));
        }
    }
}

/// A viewer of the merged stream.
struct Viewer {
    connection: Connection,
    lines: Vec<String>,
}

impl Viewer {
    fn open(gateway: &Service) -> Self {
        let mut connection = gateway.begin(
            "GET /fleet/stream HTTP/1.1\r\nhost: test\r\ncookie: viewer=1\r\n\
             authorization: Bearer viewer\r\naccept: text/event-stream\r\n\r\n",
        );
        let head = connection.head();
        assert_eq!(head.status, 200, "{}", head.head);
        assert_eq!(head.field("content-type"), Some("text/event-stream"));
        assert_eq!(head.field("x-accel-buffering"), Some("no"));
        assert_eq!(head.field("cache-control"), Some("no-store"));
        Self { connection, lines: Vec::new() }
    }

    /// The next line of data.
    fn next(&mut self) -> String {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < BOUND, "no data in time: {:?}", self.lines);
            let mut line = String::new();
            assert!(self.connection.reader.read_line(&mut line).unwrap() > 0, "it ended");
            if let Some(data) = line.trim_end().strip_prefix("data: ") {
                self.lines.push(data.to_owned());
                return data.to_owned();
            }
        }
    }

    /// Reads until a line has this beginning and this part.
    fn until(&mut self, begin: &str, part: &str) -> String {
        let deadline = Instant::now() + BOUND;
        loop {
            assert!(Instant::now() < deadline, "no {begin:?} {part:?}: {:?}", self.lines);
            let line = self.next();
            if line.starts_with(begin) && line.contains(part) {
                return line;
            }
        }
    }

    /// Like `until`, but includes lines that were already read.
    fn find(&mut self, begin: &str, part: &str) -> String {
        let is_it = |line: &&String| line.starts_with(begin) && line.contains(part);
        match self.lines.iter().find(is_it) {
            Some(line) => line.clone(),
            None => self.until(begin, part),
        }
    }

    fn state(&mut self, member: &Member, state: &str) {
        self.until(&format!("{} member ", member.address), &format!("\"state\":\"{state}\""));
    }
}

fn start(members: &[&Member], more: &[(&str, &str)]) -> Service {
    let addresses: Vec<_> = members.iter().map(|member| member.address.to_string()).collect();
    let addresses = addresses.join(",");
    let own = [("GATEWAY_FLEET", &*addresses), ("GATEWAY_FRONTEND", "127.0.0.1:1")];
    crate::start(members[0].address, &[&own, more].concat())
}

#[test]
fn each_member_has_one_connection_for_all_viewers_and_none_after_they_left() {
    let members = [Member::start("a"), Member::start("b")];
    let gateway = start(&[&members[0], &members[1]], &[]);
    assert_eq!((members[0].opened(), members[1].opened()), (0, 0), "nobody views");
    let mut viewers: Vec<_> = (0..3).map(|_| Viewer::open(&gateway)).collect();
    for viewer in &mut viewers {
        for member in &members {
            let (to, instance) = (member.address, &member.state.instance);
            let lines = [
                viewer.find(&format!("{to} member "), "\"state\":\"up\""),
                viewer.find(&format!("{to} summary "), "sequence"),
            ];
            assert!(lines[0].contains(&format!("\"instance\":\"{instance}\"")), "{lines:?}");
            // Unchanged, byte by byte.
            let data = lines[1].rsplit(' ').next().unwrap();
            let json: serde_json::Value = serde_json::from_str(data).unwrap();
            assert_eq!(json["instance"], instance.as_str());
            viewer.find(&format!("{to} minute "), "null");
        }
    }
    // A late viewer gets the kept blocks: the minute, and the summaries after it.
    let mut late = Viewer::open(&gateway);
    late.find(&format!("{} minute ", members[0].address), "null");
    late.find(&format!("{} summary ", members[0].address), "\"sequence\":");
    for member in &members {
        assert_eq!((member.opened(), member.open()), (1, 1));
        for head in member.heads() {
            for secret in ["cookie", "authorization", "viewer", "x-forwarded"] {
                assert!(!head.to_ascii_lowercase().contains(secret), "{head}");
            }
        }
    }
    drop((viewers, late));
    eventually(|| members.iter().all(|member| member.open() == 0));
}

#[test]
fn a_killed_member_is_gone_a_frozen_one_silent_and_both_recover_in_time() {
    let killed = Member::start("a");
    let frozen = Member::start("b");
    let gateway = start(&[&killed, &frozen], &[]);
    let mut viewer = Viewer::open(&gateway);
    viewer.state(&killed, "up");
    let mut other = Viewer::open(&gateway);
    other.state(&frozen, "up");
    let since = killed.kill();
    viewer.state(&killed, "gone");
    assert!(since.elapsed() <= BOUND / 2, "{:?}", since.elapsed());
    assert_eq!(gateway.get("/fleet/a/stats").status, 503);
    let since = Instant::now();
    let back = Member::start_at(killed.address, "c", String::new());
    viewer.state(&back, "up");
    let lines = viewer.lines.len();
    assert!(since.elapsed() <= BOUND / 2, "{:?}", since.elapsed());
    // The new instance shows no blocks of the old one.
    viewer.until(&format!("{} summary ", back.address), "\"instance\":\"c\"");
    let of_it = |line: &&String| line.starts_with(&format!("{} ", back.address));
    let after: Vec<_> = viewer.lines[lines..].iter().filter(of_it).collect();
    assert!(!after.iter().any(|line| line.contains("\"instance\":\"a\"")), "{after:?}");
    let mut late = Viewer::open(&gateway);
    late.until(&format!("{} summary ", back.address), "\"instance\":\"c\"");
    assert!(!late.lines.iter().any(|line| line.contains("\"instance\":\"a\"")), "{:?}", late.lines);

    let since = frozen.freeze(true);
    other.state(&frozen, "silent");
    assert!(since.elapsed() <= BOUND * 4 / 5, "{:?}", since.elapsed());
    let since = frozen.freeze(false);
    other.state(&frozen, "up");
    assert!(since.elapsed() <= BOUND / 2, "{:?}", since.elapsed());
}

#[test]
fn unusable_blocks_are_dropped_and_an_instance_with_two_addresses_is_one_member() {
    let noise = format!(
        "event: summary\ndata: {}\n\nevent: evil\ndata: evil\n\nevent: summary\ndata: evil\ndata: evil\n\n",
        "evil".repeat(4_000)
    );
    let one = Member::start_at(([127, 0, 0, 1], 0).into(), "same", noise);
    let two = Member::start("same");
    let gateway = start(&[&one, &two], &[]);
    let list = gateway.get("/fleet").json();
    let list = list["members"].as_array().unwrap();
    assert_eq!(list.len(), 1, "{list:?}");
    assert_eq!((&list[0]["instance"], &list[0]["state"]), (&"same".into(), &"up".into()));
    let mut viewer = Viewer::open(&gateway);
    for _ in 0..3 {
        viewer.until("", " summary ");
    }
    assert!(!viewer.lines.iter().any(|line| line.contains("evil")), "{:?}", viewer.lines);
}

#[test]
fn a_member_is_reached_by_its_instance_or_address_without_credentials() {
    let (one, two) = (Member::start("one"), Member::start("two"));
    let gateway = start(&[&one, &two], &[]);
    let escaped = two.address.to_string().replace(':', "%3A");
    for id in ["two", &two.address.to_string(), &escaped] {
        let secrets = [("cookie", "viewer=1"), ("authorization", "Bearer viewer")];
        let answer = gateway.ask("GET", &format!("/fleet/{id}/stats/top?seconds=60"), &secrets);
        assert_eq!(answer.status, 200, "{id}: {}", answer.text());
        assert!(answer.text().starts_with("GET /stats/top?seconds=60 HTTP/1.1\r\n"));
        assert!(!answer.text().contains("viewer"), "{}", answer.text());
        assert_eq!(fields(answer.text(), "host"), [two.address.to_string()]);
    }
    let status = |path: &str| gateway.get(path).status;
    for path in ["/fleet/three/stats", "/fleet/127.0.0.1:1/stats", "/fleet/two/metrics", "/fleet/"]
    {
        assert_eq!(status(path), 404, "{path}");
    }
    assert_eq!(status("/fleet/two/stats/../metrics"), 400);
    assert_eq!(gateway.ask("POST", "/fleet", &[]).status, 405);
    assert_eq!(gateway.ask("POST", "/fleet/stream", &[]).status, 405);
    // The cache does not mix up the responses of two members.
    assert!(two.heads().len() >= 3);
    assert!(one.heads().iter().all(|head| !head.contains("/stats/top")));
}

#[test]
fn credentials_of_the_stats_route_are_not_sent_to_listed_members() {
    let member = Member::start("a");
    let route = format!(
        "/stats {} host=internal request-header=Authorization:Basic%20c2VjcmV0 hide=Server",
        member.address
    );
    let gateway = start(&[&member], &[("GATEWAY_ROUTES", &route)]);
    let answer = gateway.get("/fleet/a/stats");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(fields(answer.text(), "authorization").is_empty(), "{}", answer.text());
    assert_eq!(fields(answer.text(), "host"), [member.address.to_string()]);
    let own = start(&[&member], &[("GATEWAY_ROUTES", &route), ("GATEWAY_FLEET", "")]);
    let answer = own.get("/fleet/a/stats");
    assert_eq!(fields(answer.text(), "authorization"), ["Basic c2VjcmV0"], "{}", answer.text());
    assert_eq!(fields(answer.text(), "host"), ["internal"]);
}

#[test]
fn the_policies_of_stats_apply_to_the_fleet() {
    let member = Member::start("a");
    let route = format!("/stats {} auth=bearer", member.address);
    let secret = "0123456789abcdef";
    let gateway = start(
        &[&member],
        &[("GATEWAY_ROUTES", &route), ("GATEWAY_SECRET", secret), ("GATEWAY_CLIENT_STREAMS", "1")],
    );
    for path in ["/fleet", "/fleet/stream", "/fleet/a/stats", "/fleet/x/stats", "/fleet/x"] {
        assert_eq!(gateway.get(path).status, 401, "{path}");
    }
    let authorization = format!("Bearer {secret}");
    let field = [("authorization", &*authorization)];
    assert_eq!(gateway.ask("GET", "/fleet", &field).status, 200);
    let answer = gateway.ask("GET", "/fleet/a/stats", &field);
    assert_eq!(answer.status, 200);
    assert!(!answer.text().contains(secret), "{}", answer.text());
    let open = || {
        let mut connection = gateway.connect();
        let head = format!(
            "GET /fleet/stream HTTP/1.1\r\nhost: test\r\nauthorization: {authorization}\r\n\r\n"
        );
        connection.send(&head);
        let status = connection.head().status;
        (connection, status)
    };
    let (_first, status) = open();
    assert_eq!(status, 200);
    assert_eq!(open().1, 429, "one stream a client");
    let denied = start(&[&member], &[("GATEWAY_DENY", "127.0.0.0/8")]);
    assert_eq!(denied.get("/fleet").status, 403);
}

#[test]
fn the_default_is_the_upstream_of_stats_and_the_fleet_can_be_disabled() {
    let member = Member::start("a");
    let gateway = start(&[&member], &[("GATEWAY_FLEET", "")]);
    let list = gateway.get("/fleet");
    assert_eq!(list.field("cache-control"), Some("no-store"));
    let list = list.json();
    assert_eq!(list["members"][0]["member"], member.address.to_string().as_str());
    assert_eq!(list["members"][0]["state"], "up");
    assert!(list["members"][0]["since_unix_ms"].as_u64().unwrap() > 1_700_000_000_000);
    let off = start(&[&member], &[("GATEWAY_FLEET", "off")]);
    for path in ["/fleet", "/fleet/stream", "/fleet/a/stats"] {
        assert_eq!(off.get(path).status, 404, "{path}");
    }
    let text = rejected(&["check"], &[("GATEWAY_FLEET", "a"), ("GATEWAY_ROUTES", "/fleet a:1")]);
    assert_eq!(text.lines().count(), 2, "{text}");
}
