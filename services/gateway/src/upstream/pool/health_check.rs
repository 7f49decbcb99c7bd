//! Active health checks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::super::health::{CheckPath, CheckSettings};
use super::super::{Failure, UpstreamTls, jitter, tls};
use super::lease::Endpoint;

/// Bytes of a typical read.
const LINE_BYTES: usize = 512;

/// Maximum bytes up to the final status line; the rest of the response is not read.
const HEAD_BYTES: u64 = 32 * 1024;

/// Checks `endpoint` until its pool is dropped, one check at a time. The first check is at a random
/// time within the interval, so that a thousand addresses of one DNS response are not checked at
/// once.
pub(super) async fn run_checks(
    endpoint: Arc<Endpoint>,
    path: CheckPath,
    host: Option<String>,
    settings: CheckSettings,
) {
    let mut seed = jitter::seed();
    let mut wait = settings.every / 256 * u32::from(jitter::next_byte(&mut seed));
    loop {
        sleep(wait).await;
        let (tls, host) = (endpoint.tls(), host.as_deref());
        let outcome = check(endpoint.address(), tls, &path, host, settings.bound).await;
        // Without resources for a connection, nothing is known about the address.
        if outcome != Err(Failure::Resources) && !endpoint.checked(outcome) {
            return;
        }
        let jitter = u32::from(jitter::next_byte(&mut seed));
        wait = settings.every.saturating_sub(settings.every / 4 / 256 * jitter);
    }
}

/// Sends one GET over a new connection, within `bound`.
pub(super) async fn check(
    address: SocketAddr,
    tls: Option<&UpstreamTls>,
    path: &CheckPath,
    host: Option<&str>,
    bound: Duration,
) -> Result<(), Failure> {
    match timeout(bound, status_of(address, tls, path, host)).await {
        Ok(Ok(200..=399)) => Ok(()),
        Ok(Ok(status)) => Err(Failure::Status(status)),
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(Failure::Timeout),
    }
}

async fn status_of(
    address: SocketAddr,
    tls: Option<&UpstreamTls>,
    path: &CheckPath,
    host: Option<&str>,
) -> Result<u16, Failure> {
    let failure = |error| Failure::of(&error);
    let mut stream = tls::open(address, tls).await?;
    // Without a fixed host, it is the address, because the check is for one replica, not for the
    // service.
    let host = host.map_or_else(|| address.to_string(), str::to_owned);
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: gateway-check\r\n\
         Accept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(failure)?;
    stream.flush().await.map_err(failure)?;
    let mut head = Vec::with_capacity(LINE_BYTES);
    let mut answer = stream.take(HEAD_BYTES);
    loop {
        let is_line = head.contains(&b'\n');
        // RFC 9110, section 15.2: informational responses precede the final one.
        if is_line && !matches!(status(&head), Some(100 | 102..200)) {
            break;
        }
        if let Some(end) = head.windows(4).position(|end| end == b"\r\n\r\n") {
            head.drain(..end + 4);
        } else if answer.read_buf(&mut head).await.map_err(failure)? == 0 {
            break;
        }
    }
    if head.is_empty() { Err(Failure::Reset) } else { status(&head).ok_or(Failure::Invalid) }
}

/// Parses the status code of a status line (RFC 9112, section 4), with or without a reason phrase.
fn status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let (&[version, space, a, b, c], rest) = rest.split_first_chunk()?;
    let ends = matches!(rest.first(), Some(b' ' | b'\r' | b'\n'));
    let digits = [a, b, c];
    if !ends || space != b' ' || !version.is_ascii_digit() || !digits.iter().all(u8::is_ascii_digit)
    {
        return None;
    }
    Some(digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    const BOUND: Duration = Duration::from_secs(5);

    fn path() -> CheckPath {
        CheckPath::parse("/healthz").unwrap()
    }

    /// Serves one connection with `answer` and returns the request.
    async fn server(answer: Vec<u8>) -> (SocketAddr, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                assert!(stream.read_buf(&mut request).await.unwrap() > 0, "it ended");
            }
            // The peer may close before everything is written.
            let _ = stream.write_all(&answer).await;
            String::from_utf8(request).unwrap()
        });
        (address, asked)
    }

    async fn outcome(answer: &str) -> Result<(), Failure> {
        let (address, _) = server(answer.into()).await;
        check(address, None, &path(), None, BOUND).await
    }

    #[tokio::test]
    async fn a_check_is_a_plain_get_over_a_new_connection() {
        let (address, asked) = server("HTTP/1.1 204 No Content\r\n\r\n".into()).await;
        assert_eq!(check(address, None, &path(), None, BOUND).await, Ok(()));
        let asked = asked.await.unwrap();
        assert!(asked.starts_with("GET /healthz HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains(&format!("\r\nHost: {address}\r\n")), "{asked}");
        assert!(asked.contains("\r\nConnection: close\r\n"), "{asked}");
    }

    #[tokio::test]
    async fn only_2xx_and_3xx_are_healthy() {
        assert_eq!(outcome("HTTP/1.0 200\n").await, Ok(()));
        assert_eq!(outcome("HTTP/1.1 399 Odd\r\n").await, Ok(()));
        assert_eq!(outcome("HTTP/1.1 400 \r\n").await, Err(Failure::Status(400)));
        assert_eq!(outcome("HTTP/1.1 503 Busy\r\n").await, Err(Failure::Status(503)));
        assert_eq!(outcome("HTTP/1.1 100 Continue\r\n").await, Err(Failure::Status(100)));
        assert_eq!(outcome("SSH-2.0-OpenSSH\r\n").await, Err(Failure::Invalid));
        assert_eq!(outcome("HTTP/1.1 200").await, Err(Failure::Invalid));
        assert_eq!(outcome("").await, Err(Failure::Reset));
    }

    #[tokio::test]
    async fn informational_responses_are_skipped() {
        let hints = format!("HTTP/1.1 103 Early Hints\r\nLink: <{}>\r\n\r\n", "x".repeat(4000));
        let before = format!("HTTP/1.1 100 Continue\r\n\r\n{hints}");
        assert_eq!(outcome(&format!("{before}HTTP/1.1 200 OK\r\n")).await, Ok(()));
        let busy = outcome(&format!("{before}HTTP/1.1 503 Busy\r\n")).await;
        assert_eq!(busy, Err(Failure::Status(503)));
        assert_eq!(outcome(&hints).await, Err(Failure::Reset));
        assert_eq!(outcome(&hints.repeat(10)).await, Err(Failure::Status(103)));
        let switched = outcome("HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\n").await;
        assert_eq!(switched, Err(Failure::Status(101)));
    }

    #[tokio::test]
    async fn an_endless_line_is_not_read_to_its_end() {
        assert_eq!(outcome(&"x".repeat(1_000_000)).await, Err(Failure::Invalid));
    }

    #[tokio::test]
    async fn a_closed_port_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert_eq!(check(address, None, &path(), None, BOUND).await, Err(Failure::Refused));
    }

    #[tokio::test]
    async fn a_silent_server_times_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let outcome = check(address, None, &path(), None, Duration::from_millis(50)).await;
        assert_eq!(outcome, Err(Failure::Timeout));
    }

    #[test]
    fn a_path_must_be_valid_in_a_request_line() {
        for text in ["/", "/healthz", "/a?b=c&d", "/%20"] {
            assert!(CheckPath::parse(text).is_some(), "{text}");
        }
        let long = format!("/{}", "a".repeat(1024));
        for text in ["", "healthz", "/a b", "/a\r\nX: y", "/a#b", "/é", &long] {
            assert_eq!(CheckPath::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_line_causes_a_panic(line in proptest::collection::vec(any::<u8>(), 0..30)) {
            let _ = status(&line);
            let _ = status(&[b"HTTP/1.", line.as_slice()].concat());
        }
    }
}
