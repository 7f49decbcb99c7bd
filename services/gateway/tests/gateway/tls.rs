//! TLS for clients: tests with requests and streams over TLS, certificate renewal, and invalid
//! certificates.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use testing::{BOUND, Service, accept, fields, read_head, respond};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};

use crate::{free_address, get_text, rejected};

/// The gateway checks the files every 10 s.
const SEES_CHANGES: Duration = Duration::from_secs(20);

/// A certificate for `localhost` and its key, as files in their own directory.
struct Pair {
    folder: PathBuf,
    trusted: CertificateDer<'static>,
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

impl Pair {
    fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("gateway-tls-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let trusted = renew(&folder);
        Self { folder, trusted }
    }

    fn certificate(&self) -> String {
        text(&self.folder.join("certificate.pem"))
    }

    fn key(&self) -> String {
        text(&self.folder.join("key.pem"))
    }

    fn start(&self, upstream: SocketAddr) -> Service {
        self.start_with(upstream, &[])
    }

    fn start_with(&self, upstream: SocketAddr, more: &[(&str, &str)]) -> Service {
        let (certificate, key) = (self.certificate(), self.key());
        let own = [("GATEWAY_TLS_CERTIFICATE", &*certificate), ("GATEWAY_TLS_KEY", &*key)];
        crate::start(upstream, &[&own, more].concat())
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Writes a new pair to the directory.
fn renew(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    fs::write(folder.join("certificate.pem"), made.cert.pem()).unwrap();
    made.cert.der().clone()
}

/// A client that trusts only this certificate.
fn connect(
    gateway: &Service,
    trusted: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> Tls {
    let mut config = client_config(trusted, versions);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect_timeout(&gateway.address, BOUND).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    StreamOwned::new(session, stream)
}

fn client_config(
    trusted: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Head and body of one response on a new connection, or the reason for a failure.
fn get(
    gateway: &Service,
    trusted: &CertificateDer<'static>,
    path: &str,
) -> std::io::Result<String> {
    let mut client = connect(gateway, trusted, &[&TLS13]);
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    client.write_all(request.as_bytes())?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    Ok(answer)
}

/// An upstream that returns the received head, or sends events on command.
fn upstream(goes_on: Option<std::sync::mpsc::Receiver<()>>) -> SocketAddr {
    let goes_on = goes_on.map(std::sync::Mutex::new);
    accept(move |stream| {
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_head(&mut reader) {
            let stream = reader.get_mut();
            if request.contains("text/event-stream") {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                            Transfer-Encoding: chunked\r\n\r\n";
                stream.write_all(head.as_bytes()).unwrap();
                let events = goes_on.as_ref().unwrap().lock().unwrap();
                for (count, ()) in events.iter().enumerate() {
                    let event = format!("data: {count}\n\n");
                    let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                    stream.write_all(chunk.as_bytes()).unwrap();
                }
                return;
            }
            let length = if request.contains("/large") { 1 << 20 } else { 0 };
            assert!(respond(stream, "", &(request + &"x".repeat(length))));
        }
    })
}

#[test]
fn sequential_requests_work_over_both_tls_versions() {
    let pair = Pair::new("request");
    let gateway = pair.start(upstream(None));
    for (version, name) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)]
    {
        let mut client = connect(&gateway, &pair.trusted, &[version]);
        for path in ["/healthz", "/stats", "/"] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            client.write_all(request.as_bytes()).unwrap();
            let mut reader = BufReader::new(&mut client);
            let head = read_head(&mut reader).unwrap();
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            assert_eq!(fields(&head, "strict-transport-security"), ["max-age=31536000"], "{path}");
            let length = fields(&head, "content-length")[0].parse().unwrap();
            let mut body = String::new();
            reader.take(length).read_to_string(&mut body).unwrap();
            if path == "/healthz" {
                assert!(body.starts_with("{\"status\":\"ok\""), "{body}");
            } else {
                assert_eq!(fields(&body, "x-forwarded-proto"), ["https"], "{body}");
            }
        }
        assert_eq!(client.conn.protocol_version(), Some(name));
        assert_eq!(client.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    }
}

#[tokio::test]
async fn http_2_is_negotiated_if_enabled() {
    let pair = Pair::new("http2");
    let gateway = pair.start_with(upstream(None), &[("GATEWAY_HTTP2", "on")]);
    let mut config = client_config(&pair.trusted, &[&TLS13]);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("https://localhost/stats").body(()).unwrap();
    let (response, _) = client.send_request(request, true).unwrap();
    let response = tokio::time::timeout(BOUND, response).await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["strict-transport-security"], "max-age=31536000");
    drop((response, client));
    // The client has closed the connection.
    tokio::time::timeout(BOUND, connection).await.unwrap().unwrap().unwrap();
    // A client without HTTP/2 support still gets HTTP/1.1.
    assert!(get(&gateway, &pair.trusted, "/healthz").unwrap().starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_connection_without_a_handshake_makes_room_for_a_client() {
    let pair = Pair::new("silent");
    let gateway = pair.start_with(upstream(None), &[("GATEWAY_MAX_CONNECTIONS", "2")]);
    let connect = || TcpStream::connect_timeout(&gateway.address, BOUND).unwrap();
    let (silent, mut slow) = (connect(), connect());
    // The beginning of a handshake.
    slow.write_all(b"\x16\x03\x01").unwrap();
    let begun = Instant::now();
    let health = get(&gateway, &pair.trusted, "/healthz").unwrap();
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
    // The time of a handshake is ten seconds.
    assert!(begun.elapsed() < BOUND / 2, "{:?}", begun.elapsed());
    drop((silent, slow));
}

#[test]
fn an_idle_connection_is_closed_with_a_close_notify() {
    let pair = Pair::new("idle");
    for version in [&TLS12, &TLS13] {
        let mut gateway = pair.start(upstream(None));
        let mut client = connect(&gateway, &pair.trusted, &[version]);
        client.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut reader = BufReader::new(client);
        let head = read_head(&mut reader).unwrap();
        let length = fields(&head, "content-length")[0].parse().unwrap();
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).unwrap();
        gateway.terminate();
        // Without it, the end is an error.
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn a_large_response_to_a_slow_reader_is_complete() {
    let pair = Pair::new("large");
    let gateway = pair.start(upstream(None));
    let mut client = connect(&gateway, &pair.trusted, &[&TLS13]);
    client
        .write_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    let mut piece = vec![0; 16 * 1024];
    loop {
        let count = client.read(&mut piece).unwrap();
        if count == 0 {
            break;
        }
        answer.extend_from_slice(&piece[..count]);
        // Slowly enough to fill the kernel's buffers.
        thread::sleep(Duration::from_millis(1));
    }
    let filled = answer.iter().rev().take_while(|byte| **byte == b'x').count();
    assert_eq!(filled, 1 << 20);
}

#[test]
fn events_over_tls_are_forwarded_immediately_and_end_with_the_gateway() {
    let pair = Pair::new("stream");
    let (go, goes_on) = std::sync::mpsc::channel();
    let mut gateway = pair.start(upstream(Some(goes_on)));
    let mut client = connect(&gateway, &pair.trusted, &[&TLS13]);
    client
        .write_all(b"GET /stats HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
        .unwrap();
    let mut reader = BufReader::new(&mut client);
    assert!(read_head(&mut reader).unwrap().starts_with("HTTP/1.1 200 "));
    for count in 0..3 {
        // The next event is not sent before this one arrives.
        go.send(()).unwrap();
        let expected = format!("9\r\ndata: {count}\n\n\r\n");
        let mut event = vec![0; expected.len()];
        reader.read_exact(&mut event).unwrap();
        assert_eq!(String::from_utf8(event).unwrap(), expected);
    }
    gateway.terminate();
    let mut rest = String::new();
    // This fails without a proper TLS close.
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "0\r\n\r\n");
    assert_eq!(gateway.end().code, Some(0));
}

#[test]
fn a_silent_client_does_not_affect_others() {
    let pair = Pair::new("handshake");
    let gateway = pair.start(upstream(None));
    let silent = TcpStream::connect_timeout(&gateway.address, BOUND).unwrap();
    assert!(get(&gateway, &pair.trusted, "/healthz").unwrap().starts_with("HTTP/1.1 200 "));
    let ended = gateway.stop();
    assert_eq!(ended.code, Some(0));
    assert!(ended.took < Duration::from_secs(5), "{:?}: the silent one held it up", ended.took);
    drop(silent);
}

#[test]
fn a_new_certificate_is_activated_without_a_restart_and_an_invalid_one_is_not() {
    let pair = Pair::new("reload");
    let mut gateway = pair.start(upstream(None));
    assert!(get(&gateway, &pair.trusted, "/healthz").is_ok());
    // A signal reloads immediately: a mismatched pair is not activated.
    let good = fs::read(pair.certificate()).unwrap();
    fs::write(pair.certificate(), "no certificate").unwrap();
    gateway.signal("HUP");
    gateway.log_line("cannot reload the certificate; keeping the current one");
    assert!(get(&gateway, &pair.trusted, "/healthz").is_ok());
    fs::write(pair.certificate(), good).unwrap();
    // Without a signal, the change is detected after a while.
    let renewed = renew(&pair.folder);
    let begun = Instant::now();
    while get(&gateway, &renewed, "/healthz").is_err() {
        assert!(begun.elapsed() < SEES_CHANGES, "the new certificate is not in force");
        thread::sleep(Duration::from_millis(100));
    }
    assert!(get(&gateway, &pair.trusted, "/healthz").is_err(), "the old one still is");
}

#[test]
fn an_invalid_pair_is_rejected_at_startup() {
    let (one, other) = (Pair::new("one"), Pair::new("other"));
    let nothing = text(&one.folder.join("nothing.pem"));
    let empty = text(&one.folder.join("empty.pem"));
    fs::write(&empty, "").unwrap();
    let (certificate, key) = ("GATEWAY_TLS_CERTIFICATE", "GATEWAY_TLS_KEY");
    let cases: [(&[(&str, &str)], &str); 7] = [
        (&[(certificate, &one.certificate())], "GATEWAY_TLS_KEY is missing"),
        (&[(key, &one.key())], "GATEWAY_TLS_CERTIFICATE is missing"),
        (&[(certificate, &nothing), (key, &one.key())], "nothing.pem: No such file"),
        (&[(certificate, &one.certificate()), (key, &nothing)], "nothing.pem: No such file"),
        (&[(certificate, &empty), (key, &one.key())], "there is no certificate in it"),
        (&[(certificate, &one.certificate()), (key, &empty)], "there is no private key in it"),
        (&[(certificate, &one.certificate()), (key, &other.key())], "does not fit"),
    ];
    for (variables, sentence) in cases {
        let stderr = rejected(&[], variables);
        assert!(stderr.contains(sentence), "{sentence}: {stderr}");
        assert!(!stderr.contains("BEGIN"), "it tells what is in the file: {stderr}");
    }
}

#[test]
fn plaintext_gets_only_health_checks() {
    let pair = Pair::new("clear");
    let gateway = pair.start(upstream(None));
    let health = get_text(gateway.address, "/healthz");
    assert!(
        health.starts_with("HTTP/1.1 200") && health.ends_with("{\"status\":\"ok\"}\n"),
        "{health}"
    );
    for path in ["/", "/stats"] {
        let refused = get_text(gateway.address, path);
        assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
        assert!(refused.contains("this port expects TLS"), "{refused}");
    }
}

#[test]
fn the_scheme_that_a_trusted_proxy_reports_is_not_that_of_its_connection() {
    let pair = Pair::new("proxy");
    let trust = [("GATEWAY_TRUSTED_PROXIES", "127.0.0.0/8")];
    let gateway = pair.start_with(upstream(None), &trust);
    let request = |scheme: &str| {
        format!(
            "GET /stats HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: {scheme}\r\n\
             Connection: close\r\n\r\n"
        )
    };
    // Its client used plaintext, and the proxy uses TLS.
    let mut client = connect(&gateway, &pair.trusted, &[&TLS13]);
    client.write_all(request("http").as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    let (head, received) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(fields(received, "x-forwarded-proto"), ["http"]);
    // The other way round.
    let refused = gateway.begin(&request("https")).answer();
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("this port expects TLS"), "{refused:?}");
}

#[test]
fn a_second_listener_redirects_plaintext() {
    let pair = Pair::new("redirect");
    let free = free_address();
    let gateway = pair.start_with(
        upstream(None),
        &[("GATEWAY_REDIRECT_LISTEN", &free.to_string()), ("GATEWAY_HOSTS", "localhost")],
    );
    let redirected = get_text(free, "/stats?x=1");
    let port = gateway.address.port();
    assert!(redirected.starts_with("HTTP/1.1 308"), "{redirected}");
    assert!(redirected.contains(&format!("location: https://localhost:{port}/stats?x=1\r\n")));
}

#[test]
fn one_client_cannot_occupy_the_redirect() {
    let pair = Pair::new("occupied");
    for (limit, is_redirected) in
        [(("GATEWAY_MAX_CONNECTIONS", "1"), true), (("GATEWAY_CLIENT_CONNECTIONS", "1"), false)]
    {
        let free = free_address();
        let listen = free.to_string();
        let _gateway = pair.start_with(
            upstream(None),
            &[("GATEWAY_REDIRECT_LISTEN", &listen), ("GATEWAY_HOSTS", "localhost"), limit],
        );
        let begun = Instant::now();
        let mut silent = crate::connect(free);
        if is_redirected {
            assert!(get_text(free, "/").starts_with("HTTP/1.1 308"));
            assert_eq!(silent.read(&mut [0]).unwrap(), 0, "it makes room");
        } else {
            assert_eq!(crate::connect(free).read(&mut [0]).unwrap(), 0, "one connection a client");
        }
        // Before the timeout of a request.
        assert!(begun.elapsed() < Duration::from_secs(5), "{limit:?}");
    }
}

#[test]
fn a_redirect_requires_a_certificate() {
    let stderr = rejected(&["check"], &[("GATEWAY_REDIRECT_LISTEN", "127.0.0.1:0")]);
    assert!(stderr.contains("GATEWAY_REDIRECT_LISTEN needs GATEWAY_TLS_CERTIFICATE"), "{stderr}");
}
