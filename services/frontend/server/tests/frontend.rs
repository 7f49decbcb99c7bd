//! The real program, on a port chosen by the kernel.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test a failed unwrap is the test's failure"
)]

use std::ffi::OsStr;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::time::Duration;

use testing::{Answer, Service, run};

const FRONTEND: &str = env!("CARGO_BIN_EXE_frontend");

fn start(variables: &[(&str, &str)]) -> Service {
    Service::start(FRONTEND, "FRONTEND_LISTEN", variables)
}

/// The paths of the page and of all the files it names.
fn paths(server: &Service) -> Vec<String> {
    let page = server.get("/");
    // Quotes are also around pieces of scripts.
    let is_of_path = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    let is_path = |text: &&str| {
        let is_local = text.starts_with('/') && !text.contains("//");
        is_local && text.contains('.') && text.bytes().all(is_of_path)
    };
    let named = page.text().split(['"', '\'']).filter(is_path);
    let mut paths: Vec<_> = named.map(str::to_owned).chain(["/".to_owned()]).collect();
    paths.sort();
    paths.dedup();
    paths
}

/// The content behind the encoding.
fn content(answer: &Answer) -> Vec<u8> {
    let mut content = Vec::new();
    match answer.field("content-encoding") {
        None => content.clone_from(&answer.body),
        Some("br") => {
            brotli::Decompressor::new(&answer.body[..], 4096).read_to_end(&mut content).unwrap();
        }
        Some("gzip") => {
            flate2::read::GzDecoder::new(&answer.body[..]).read_to_end(&mut content).unwrap();
        }
        Some(other) => panic!("{other} was not asked for"),
    }
    content
}

#[test]
fn every_file_is_the_same_in_every_encoding_and_never_larger() {
    let server = start(&[]);
    for path in paths(&server) {
        let plain = server.get(&path);
        assert_eq!(plain.status, 200, "{path}");
        assert_eq!(plain.field("content-encoding"), None, "{path}");
        for accept in ["br", "gzip", "gzip, deflate, br, zstd", "identity"] {
            let packed = server.ask("GET", &path, &[("accept-encoding", accept)]);
            assert_eq!(packed.status, 200, "{path}");
            assert_eq!(packed.field("vary"), Some("accept-encoding"), "{path}");
            let length = packed.body.len().to_string();
            assert_eq!(packed.field("content-length"), Some(&*length));
            assert!(packed.body.len() <= plain.body.len(), "{path} {accept}");
            assert_eq!(content(&packed), plain.body, "{path} {accept}");
        }
    }
}

#[test]
fn names_with_a_hash_are_cached_and_the_page_is_revalidated() {
    let server = start(&[]);
    for path in paths(&server) {
        let answer = server.get(&path);
        let expected = if path == "/" { "no-cache" } else { "max-age=31536000, immutable" };
        assert_eq!(answer.field("cache-control"), Some(expected), "{path}");
    }
}

#[test]
fn a_matching_tag_is_answered_with_304() {
    let server = start(&[]);
    for path in paths(&server) {
        let accept = ("accept-encoding", "br");
        let first = server.ask("GET", &path, &[accept]);
        let known = ("if-none-match", first.field("etag").unwrap());
        let second = server.ask("GET", &path, &[accept, known]);
        assert_eq!(second.status, 304, "{path}");
        assert!(second.body.is_empty());
        assert_eq!(second.field("etag"), first.field("etag"));
    }
}

#[test]
fn head_has_the_fields_of_get_and_no_body() {
    let server = start(&[]);
    let (get, head) = (server.get("/"), server.ask("HEAD", "/", &[]));
    assert_eq!(head.status, 200);
    assert!(head.body.is_empty());
    for name in ["content-length", "content-type", "etag", "content-security-policy"] {
        assert_eq!(head.field(name), get.field(name), "{name}");
    }
}

#[test]
fn unknown_paths_and_other_methods_are_refused() {
    let server = start(&[]);
    for path in ["/nowhere", "/../Cargo.toml", "/%2e%2e/Cargo.toml", "/dev/reload"] {
        let answer = server.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.field("cache-control"), Some("no-store"));
        assert!(answer.text().contains("There is no such page"));
    }
    let answer = server.ask("POST", "/", &[("content-length", "0")]);
    assert_eq!(answer.status, 405);
    assert_eq!(answer.field("allow"), Some("GET, HEAD"));
}

#[test]
fn the_page_is_held_to_its_policy() {
    let server = start(&[("BACKEND_SERVICE_URL", "http://stats.example.org:8080/")]);
    let answer = server.ask("GET", "/", &[("accept-encoding", "br")]);
    let policy = answer.field("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(policy.contains("connect-src 'self' http://stats.example.org:8080;"), "{policy}");
    assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.field("content-encoding"), None);
    let page = answer.text();
    assert!(page.contains(r#"content="http://stats.example.org:8080">"#), "{page}");
    assert!(page.contains(r#"href="http://stats.example.org:8080/stats""#), "{page}");
}

#[test]
fn the_tag_of_the_page_follows_the_backend() {
    let own = start(&[]).get("/");
    let other = start(&[("BACKEND_SERVICE_URL", "http://a")]).get("/");
    assert_ne!(own.field("etag"), other.field("etag"));
}

#[test]
fn sigterm_ends_it_with_0_at_once() {
    let server = start(&[]);
    // A browser keeps its connection open.
    let mut idle = server.connect();
    idle.send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(idle.answer().status, 200);
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.took < Duration::from_secs(2), "{ended:?}");
}

#[test]
fn a_wrong_backend_is_one_sentence_and_64() {
    for (wrong, shown) in [
        ("stats:8080", "stats:8080"),
        ("ftp://stats", "ftp://stats"),
        ("http://user:password@stats", "…@stats"),
        ("http://stats/?a", "http://stats/?a"),
    ] {
        let output = run(FRONTEND, &[], &[("BACKEND_SERVICE_URL", wrong)]);
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
        let start = format!("frontend: BACKEND_SERVICE_URL is {shown:?}, but must be ");
        assert!(complaint.starts_with(&start), "{complaint}");
    }
}

#[test]
fn a_taken_port_is_one_sentence_and_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(FRONTEND, &[], &[("FRONTEND_LISTEN", &address)]);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    let sentence =
        format!("frontend: cannot listen on {address}: the port is in use by another process\n");
    assert_eq!(complaint, sentence);
}

#[test]
fn the_health_check_is_0_while_the_server_runs_and_1_when_not() {
    let server = start(&[]);
    let address = server.address.to_string();
    let check = || run(FRONTEND, &["healthcheck"], &[("FRONTEND_LISTEN", &address)]).status.code();
    assert_eq!(check(), Some(0));
    assert_eq!(server.stop().code, Some(0));
    assert_eq!(check(), Some(1));
}

#[test]
fn the_health_check_is_0_whichever_hosts_are_answered() {
    let server = start(&[("FRONTEND_LISTEN", "0.0.0.0:0"), ("FRONTEND_HOSTS", "page.test")]);
    let address = format!("0.0.0.0:{}", server.address.port());
    for path in ["/healthz", "/readyz"] {
        let checked = run(FRONTEND, &["healthcheck", path], &[("FRONTEND_LISTEN", &address)]);
        assert!(checked.status.success(), "{checked:?}");
    }
    assert_eq!(server.get("/").status, 421);
}

#[test]
fn an_argument_that_is_not_text_is_a_sentence() {
    let argument = OsStr::from_bytes(b"\xff");
    let refused = Command::new(FRONTEND).arg(argument).output().unwrap();
    assert_eq!(refused.status.code(), Some(64), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is not a command"), "{refused:?}");
}

#[cfg(not(feature = "dev"))]
#[test]
fn what_reloads_the_page_in_development_is_not_in_the_program() {
    let program = std::fs::read(FRONTEND).unwrap();
    let has = |text: &str| program.windows(text.len()).any(|place| place == text.as_bytes());
    assert!(has("There is no such page"), "else nothing would be found");
    for text in ["/dev/reload", "FRONTEND_PAGE_FOLDER", "The page is being built"] {
        assert!(!has(text), "{text}");
    }
}

#[test]
fn a_part_of_a_file_is_not_offered_and_not_given() {
    let server = start(&[]);
    for path in paths(&server) {
        let whole = server.get(&path);
        let asked = server.ask("GET", &path, &[("range", "bytes=0-9")]);
        assert_eq!(asked.status, 200, "{path}");
        assert_eq!(asked.field("accept-ranges"), None, "{path}");
        assert_eq!(asked.body, whole.body, "{path}");
    }
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

        fn server(&self) -> Service {
            start(&[("FRONTEND_PAGE_FOLDER", self.0.to_str().unwrap())])
        }
    }

    impl Drop for Page {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn next_build(lines: &mut impl Iterator<Item = String>) -> String {
        lines.find(|line| line.starts_with("data: ")).unwrap()
    }

    #[test]
    fn an_open_page_receives_the_next_build_once_it_is_complete() {
        let page = Page::new("next");
        let server = page.server();
        assert!(server.get("/").text().contains("being built"));
        let mut lines = server.stream("/dev/reload");
        let script = page.write_index(1);
        fs::write(page.0.join(&script), "1").unwrap();
        let first = next_build(&mut lines);
        let answer = server.get("/");
        let html = answer.text();
        let build = first.strip_prefix("data: ").unwrap();
        assert!(html.contains(&format!("data-build=\"{build}\"")), "{html}");
        assert_eq!(server.get(&format!("/{script}")).text(), "1");

        let script = page.write_index(2);
        assert!(server.get("/").text().contains("being built"), "half a page is none");
        fs::write(page.0.join(script), "2").unwrap();
        assert_ne!(next_build(&mut lines), first);
    }

    #[test]
    fn an_open_stream_does_not_delay_the_end() {
        let page = Page::new("end");
        let server = page.server();
        let mut lines = server.stream("/dev/reload");
        assert!(lines.any(|line| line.starts_with("retry: ")));
        let ended = server.stop();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.took < Duration::from_secs(2), "{ended:?}");
    }
}

#[test]
fn on_loopback_a_foreign_host_gets_421_unless_it_is_configured() {
    let status = |variables: &[(&str, &str)], host: &str| start(variables).status_for(host);
    assert_eq!(status(&[], "evil.test"), 421);
    assert_eq!(status(&[], "[::1]:3000"), 200);
    assert_eq!(status(&[("FRONTEND_HOSTS", "page.test")], "page.test:3000"), 200);
    assert_eq!(status(&[("FRONTEND_HOSTS", "*")], "evil.test"), 200);
}
