//! TLS to upstreams: tests with trusted authorities, certificate names, and error messages.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use testing::{Service, accept, eventually, fields, read_head, respond};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::{HEALTHY, echo_upgraded, is_check, rejected, start_with_routes};

/// A certificate authority for the test, and its certificate as a file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = std::env::temp_dir()
            .join(format!("gateway-upstream-ca-{}-{name}.pem", std::process::id()));
        fs::write(&file, issuer.as_ref().pem()).unwrap();
        Self { issuer, file }
    }

    fn file(&self) -> &str {
        self.file.to_str().unwrap()
    }

    /// TLS configuration of a server with a certificate for this name.
    fn server(&self, name: &str) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key.into()).unwrap())
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

/// An upstream with TLS that returns the received SNI name and the request.
struct Upstream {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    checks: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    fn start(config: &Arc<ServerConfig>) -> Self {
        let (connections, checks) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<_>>::default());
        let (count, kept) = (connections.clone(), checks.clone());
        let config = config.clone();
        let address = accept(move |stream| {
            let session = ServerConnection::new(config.clone()).unwrap();
            serve(StreamOwned::new(session, stream), &count, &kept);
        });
        Self { address, connections, checks }
    }
}

fn serve(
    stream: StreamOwned<ServerConnection, TcpStream>,
    connections: &AtomicUsize,
    checks: &Mutex<Vec<String>>,
) {
    let mut reader = BufReader::new(stream);
    let mut is_new = true;
    while let Some(request) = read_head(&mut reader) {
        if is_check(&request) {
            checks.lock().unwrap().push(request);
            reader.get_mut().write_all(HEALTHY).unwrap();
            continue;
        }
        connections.fetch_add(usize::from(is_new), Ordering::SeqCst);
        is_new = false;
        let length = fields(&request, "content-length");
        let length = length.first().map_or(0, |n| n.parse().unwrap());
        let mut body = Vec::new();
        reader.by_ref().take(length).read_to_end(&mut body).unwrap();
        let stream = reader.get_mut();
        if request.contains("\r\nupgrade: echo\r\n") {
            return echo_upgraded(stream);
        }
        if request.contains("/events") {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n";
            let _ = stream.write_all(head.as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
            return;
        }
        let name = stream.conn.server_name().unwrap_or("none").to_owned();
        let more = "x".repeat(if request.contains("/large") { 1 << 20 } else { 0 });
        let text = format!("{request}name={name} received={}{more}", body.len());
        if !respond(stream, "", &text) {
            return;
        }
    }
}

fn start(route: &str, authority: &Authority, more: &[(&str, &str)]) -> Service {
    start_with_routes(route, &[&[("GATEWAY_UPSTREAM_CA", authority.file())], more].concat())
}

#[test]
fn all_kinds_of_requests_use_tls_with_the_host_of_the_route() {
    let authority = Authority::new("kinds");
    let upstream = Upstream::start(&authority.server("api.internal"));
    let address = upstream.address;
    let route = format!("/ https://{address} host=Api.Internal:8443 upgrade=echo");
    let gateway =
        start(&route, &authority, &[("GATEWAY_THREADS", "1"), ("GATEWAY_BODY_BYTES", "1 MiB")]);
    for _ in 0..5 {
        let answer = gateway.get("/x");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(fields(answer.text(), "host"), ["api.internal:8443"]);
        assert!(answer.text().ends_with("name=api.internal received=0"), "{}", answer.text());
    }
    assert_eq!(upstream.connections.load(Ordering::SeqCst), 1);
    assert!(gateway.get("/large").body.len() > 1 << 20);
    let mut client = gateway.connect();
    let length = 700 << 10;
    client.send(&format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
    client.send(&"y".repeat(length));
    let answer = client.answer();
    assert!(answer.text().ends_with(&format!("received={length}")), "{}", answer.head);
    let events = gateway.ask("GET", "/events", &[("Accept", "text/event-stream")]);
    assert!(events.text().contains("data: 1\n\n"), "{}", events.text());
    let mut client = gateway
        .begin("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
    assert_eq!(client.head().status, 101);
    client.send("echo");
    client.read_until("echo");
}

#[test]
fn without_a_host_the_certificate_must_match_the_address() {
    let authority = Authority::new("address");
    let upstream = Upstream::start(&authority.server("127.0.0.1"));
    let gateway = start(&format!("/ https://{}", upstream.address), &authority, &[]);
    let answer = gateway.get("/x");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(fields(answer.text(), "host"), [upstream.address.to_string()]);
    assert_eq!(fields(answer.text(), "x-forwarded-host"), ["localhost"]);
}

#[test]
fn an_upstream_without_a_valid_certificate_is_502_and_the_reason_is_logged() {
    let (authority, other) = (Authority::new("valid"), Authority::new("other"));
    for (server, reason) in [
        (other.server("api.internal"), "UnknownIssuer"),
        (authority.server("api.example"), "not valid for name \"api.internal\""),
    ] {
        let upstream = Upstream::start(&server);
        let route = format!("/ https://{} host=api.internal", upstream.address);
        let mut gateway = start(&route, &authority, &[]);
        for method in ["GET", "POST"] {
            let answer = gateway.ask(method, "/x", &[]);
            assert_eq!(answer.status, 502, "{}", answer.text());
            let detail = "the upstream of route / has no valid certificate";
            assert_eq!(answer.json()["detail"], detail);
        }
        let line = gateway.log_line("TLS handshake with an upstream failed").to_string();
        assert!(line.contains(&reason.replace('"', "\\\"")), "{line}");
        assert_eq!(upstream.connections.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn a_plaintext_upstream_of_a_tls_route_is_502() {
    let authority = Authority::new("clear");
    let address = accept(|mut stream| {
        let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        let _ = stream.write_all(answer);
    });
    let gateway = start(&format!("/ https://{address}"), &authority, &[]);
    let answer = gateway.get("/x");
    assert_eq!(answer.status, 502, "{}", answer.text());
}

#[test]
fn health_checks_use_tls_with_the_host_of_the_route() {
    let authority = Authority::new("checks");
    let upstream = Upstream::start(&authority.server("api.internal"));
    let route = format!("/ https://{} host=api.internal check=/well", upstream.address);
    let _gateway = start(&route, &authority, &[]);
    eventually(|| !upstream.checks.lock().unwrap().is_empty());
    let check = upstream.checks.lock().unwrap()[0].clone();
    assert!(check.starts_with("GET /well HTTP/1.1\r\n"), "{check}");
    assert_eq!(fields(&check, "host"), ["api.internal"]);
}

#[test]
fn the_authorities_are_reloaded_on_sighup() {
    let (authority, other) = (Authority::new("before"), Authority::new("after"));
    let upstream = Upstream::start(&other.server("api.internal"));
    let route = format!("/ https://{} host=api.internal", upstream.address);
    let gateway = start(&route, &authority, &[]);
    assert_eq!(gateway.get("/x").status, 502);
    fs::copy(&other.file, &authority.file).unwrap();
    gateway.signal("HUP");
    eventually(|| gateway.get("/x").status == 200);
}

#[test]
fn a_file_without_a_certificate_is_an_error() {
    let key = std::env::temp_dir().join(format!("gateway-no-ca-{}.pem", std::process::id()));
    fs::write(&key, "nothing").unwrap();
    for file in ["/no/such/file", key.to_str().unwrap()] {
        let stderr = rejected(&["check"], &[("GATEWAY_UPSTREAM_CA", file)]);
        assert!(stderr.contains(&format!("GATEWAY_UPSTREAM_CA {file}: ")), "{stderr}");
    }
    fs::remove_file(key).unwrap();
}
