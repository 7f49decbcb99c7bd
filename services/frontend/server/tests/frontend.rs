//! The real program, on a port of the kernel's choice.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a failed unwrap is the test's failure"
)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Nothing here takes longer on a machine that works.
const BOUND: Duration = Duration::from_secs(10);

fn program(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_frontend"));
    command
        .env_clear()
        .env("LOG_FORMAT", "json")
        .env("FRONTEND_LISTEN", "127.0.0.1:0")
        .envs(variables.iter().copied());
    command
}

/// A running server, killed when it is dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(variables: &[(&str, &str)]) -> Self {
        let mut child = program(variables).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, addresses) = mpsc::channel();
        // The thread reads on to the end, so that the program never waits for its reader.
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event: serde_json::Value = serde_json::from_str(&line).unwrap();
                if event["message"] == "listening" {
                    let address = event["address"].as_str().unwrap().parse().unwrap();
                    let _: Result<(), _> = sender.send(address);
                }
            }
        });
        let address = addresses.recv_timeout(BOUND).expect("the server says where it listens");
        Self { child, address }
    }

    fn ask(&self, method: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut stream = TcpStream::connect_timeout(&self.address, BOUND).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n");
        for (name, value) in fields {
            request += &[name, ": ", value, "\r\n"].concat();
        }
        request += "connection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        Answer::parse(&bytes)
    }

    fn get(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.ask("GET", path, fields)
    }

    /// The paths of the page and of all the files it names.
    fn paths(&self) -> Vec<String> {
        let page = self.get("/", &[]).text();
        let named = page
            .split(['"', '\''])
            .filter(|text| text.starts_with('/') && text.contains('.') && !text.contains("//"));
        let mut paths: Vec<_> = named.map(str::to_owned).chain(["/".to_owned()]).collect();
        paths.sort();
        paths.dedup();
        paths
    }

    fn end(mut self) -> (Option<i32>, Duration) {
        let begun = Instant::now();
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let code = wait(&mut self.child);
        (code, begun.elapsed())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The exit code, waited for within the bound.
fn wait(child: &mut Child) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(begun.elapsed() < BOUND, "the program does not end");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Runs the program to its end, which must come by itself.
fn run(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait(&mut child);
    child.wait_with_output().unwrap()
}

struct Answer {
    status: u16,
    fields: HashMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let (first, rest) = head.split_once("\r\n").unwrap();
        let fields = rest.split("\r\n").map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        });
        Self {
            status: first.split(' ').nth(1).unwrap().parse().unwrap(),
            fields: fields.collect(),
            body: bytes[end + 4..].to_vec(),
        }
    }

    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The content behind the encoding.
    fn content(&self) -> Vec<u8> {
        let mut content = Vec::new();
        match self.field("content-encoding") {
            "" => content.clone_from(&self.body),
            "br" => {
                brotli::Decompressor::new(&self.body[..], 4096).read_to_end(&mut content).unwrap();
            }
            "gzip" => {
                flate2::read::GzDecoder::new(&self.body[..]).read_to_end(&mut content).unwrap();
            }
            other => panic!("{other} was not asked for"),
        }
        content
    }
}

#[test]
fn every_file_is_the_same_in_every_encoding_and_never_larger() {
    let server = Server::start(&[]);
    for path in server.paths() {
        let plain = server.get(&path, &[]);
        assert_eq!(plain.status, 200, "{path}");
        assert_eq!(plain.field("content-encoding"), "", "{path}");
        for accept in ["br", "gzip", "gzip, deflate, br, zstd", "identity"] {
            let packed = server.get(&path, &[("accept-encoding", accept)]);
            assert_eq!(packed.status, 200, "{path}");
            assert_eq!(packed.field("vary"), "accept-encoding", "{path}");
            assert_eq!(packed.field("content-length"), packed.body.len().to_string());
            assert!(packed.body.len() <= plain.body.len(), "{path} {accept}");
            assert_eq!(packed.content(), plain.body, "{path} {accept}");
        }
    }
}

#[test]
fn names_with_a_hash_are_kept_and_the_page_is_asked_about() {
    let server = Server::start(&[]);
    for path in server.paths() {
        let answer = server.get(&path, &[]);
        let expected = if path == "/" { "no-cache" } else { "public, max-age=31536000, immutable" };
        assert_eq!(answer.field("cache-control"), expected, "{path}");
    }
}

#[test]
fn what_the_browser_has_is_not_sent_again() {
    let server = Server::start(&[]);
    for path in server.paths() {
        let accept = ("accept-encoding", "br");
        let first = server.get(&path, &[accept]);
        let second = server.get(&path, &[accept, ("if-none-match", first.field("etag"))]);
        assert_eq!(second.status, 304, "{path}");
        assert!(second.body.is_empty());
        assert_eq!(second.field("etag"), first.field("etag"));
    }
}

#[test]
fn head_has_the_fields_of_get_and_no_body() {
    let server = Server::start(&[]);
    let (get, head) = (server.get("/", &[]), server.ask("HEAD", "/", &[]));
    assert_eq!(head.status, 200);
    assert!(head.body.is_empty());
    for name in ["content-length", "content-type", "etag", "content-security-policy"] {
        assert_eq!(head.field(name), get.field(name), "{name}");
    }
}

#[test]
fn unknown_paths_and_other_methods_are_refused() {
    let server = Server::start(&[]);
    for path in ["/nowhere", "/../Cargo.toml", "/%2e%2e/Cargo.toml", "/dev/reload"] {
        let answer = server.get(path, &[]);
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.field("cache-control"), "no-store");
        assert!(answer.text().contains("There is no such page"));
    }
    let answer = server.ask("POST", "/", &[("content-length", "0")]);
    assert_eq!(answer.status, 405);
    assert_eq!(answer.field("allow"), "GET, HEAD");
}

#[test]
fn the_page_is_held_to_its_policy() {
    let server = Server::start(&[("BACKEND_SERVICE_URL", "http://stats.example.org:8080/")]);
    let answer = server.get("/", &[("accept-encoding", "br")]);
    let policy = answer.field("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(policy.contains("connect-src 'self' http://stats.example.org:8080;"), "{policy}");
    assert_eq!(answer.field("x-content-type-options"), "nosniff");
    assert_eq!(answer.field("content-encoding"), "");
    let page = answer.text();
    assert!(page.contains(r#"content="http://stats.example.org:8080">"#), "{page}");
    assert!(page.contains(r#"href="http://stats.example.org:8080/stats""#), "{page}");
}

#[test]
fn the_tag_of_the_page_follows_the_backend() {
    let own = Server::start(&[]).get("/", &[]);
    let other = Server::start(&[("BACKEND_SERVICE_URL", "http://a")]).get("/", &[]);
    assert_ne!(own.field("etag"), other.field("etag"));
}

#[test]
fn sigterm_ends_it_with_0_at_once() {
    let server = Server::start(&[]);
    // A browser keeps its connection open.
    let mut idle = TcpStream::connect(server.address).unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    idle.read_exact(&mut [0; 12]).unwrap();
    let (code, time) = server.end();
    assert_eq!(code, Some(0));
    assert!(time < Duration::from_secs(2), "took {time:?}");
}

#[test]
fn a_wrong_backend_is_one_sentence_and_64() {
    for wrong in ["stats:8080", "ftp://stats", "http://user@stats", "http://stats/?a"] {
        let output = run(&mut program(&[("BACKEND_SERVICE_URL", wrong)]));
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
        let start = format!("frontend: BACKEND_SERVICE_URL is {wrong:?}, but must be ");
        assert!(complaint.starts_with(&start), "{complaint}");
    }
}

#[test]
fn a_taken_port_is_one_sentence_and_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let output = run(program(&[]).env("FRONTEND_LISTEN", address.to_string()));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    let sentence = format!("frontend: cannot listen on {address}: another process has this port\n");
    assert_eq!(complaint, sentence);
}

#[test]
fn the_health_check_is_0_while_the_server_runs_and_1_when_not() {
    let server = Server::start(&[]);
    let address = server.address.to_string();
    let check = || {
        let mut command = program(&[]);
        run(command.arg("healthcheck").env("FRONTEND_LISTEN", &address)).status.code()
    };
    assert_eq!(check(), Some(0));
    assert_eq!(server.end().0, Some(0));
    assert_eq!(check(), Some(1));
}

#[cfg(feature = "dev")]
mod dev {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    /// A folder for one test's page, gone when it is dropped.
    struct Page(PathBuf);

    impl Page {
        fn new(name: &str) -> Self {
            let name = format!("frontend-{name}-{}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        /// A page that names a file; without the file it is half a page.
        fn write_index(&self, number: u8) -> String {
            let name = format!("app-{number:016x}.js");
            let html = format!("<html><head></head><script src='/{name}'></script></html>");
            fs::write(self.0.join("index.html"), html).unwrap();
            name
        }

        fn server(&self) -> Server {
            Server::start(&[("FRONTEND_PAGE_FOLDER", self.0.to_str().unwrap())])
        }
    }

    impl Drop for Page {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// The stream's lines; each is waited for within the bound.
    fn listen(server: &Server) -> impl Iterator<Item = String> + use<> {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        stream.write_all(b"GET /dev/reload HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
        BufReader::new(stream).lines().map_while(Result::ok)
    }

    fn next_build(lines: &mut impl Iterator<Item = String>) -> String {
        lines.find(|line| line.starts_with("data: ")).expect("the stream goes on")
    }

    #[test]
    fn an_open_page_hears_of_the_next_build_once_it_is_whole() {
        let page = Page::new("next");
        let server = page.server();
        assert!(server.get("/", &[]).text().contains("being built"));
        let mut lines = listen(&server);
        let script = page.write_index(1);
        fs::write(page.0.join(&script), "1").unwrap();
        let first = next_build(&mut lines);
        let html = server.get("/", &[]).text();
        let build = first.strip_prefix("data: ").unwrap();
        assert!(html.contains(&format!("data-build=\"{build}\"")), "{html}");
        assert_eq!(server.get(&format!("/{script}"), &[]).text(), "1");

        let script = page.write_index(2);
        assert!(server.get("/", &[]).text().contains("being built"), "half a page is none");
        fs::write(page.0.join(script), "2").unwrap();
        assert_ne!(next_build(&mut lines), first);
    }

    #[test]
    fn an_open_stream_does_not_delay_the_end() {
        let page = Page::new("end");
        let server = page.server();
        let mut lines = listen(&server);
        assert!(lines.any(|line| line.starts_with("retry: ")));
        let (code, time) = server.end();
        assert_eq!(code, Some(0));
        assert!(time < Duration::from_secs(2), "took {time:?}");
    }
}
