//! The health check of an image without a shell: the binary of the service sends a request to the
//! running service.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Timeout of each step (connect, write, read). The Docker and ECS health checks have a timeout of
/// 3 s by default here; a service that has not responded on loopback within 2 s is unhealthy.
const STEP_TIMEOUT: Duration = Duration::from_secs(2);

/// Reason for which the service is unhealthy.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No response in time.
    #[error("no answer from {address}: {source}")]
    NoResponse {
        /// The address of the service.
        address: SocketAddr,
        /// The error of the system call.
        source: io::Error,
    },
    /// A response with another status than 200.
    #[error("{address}{path} answered {status:?}")]
    Unhealthy {
        /// The address of the service.
        address: SocketAddr,
        /// The requested path.
        path: String,
        /// The received status line.
        status: String,
    },
}

/// Sends `GET path` to the service that listens on `listen` and expects 200.
///
/// # Errors
/// A step takes longer than 2 s, or the status is not 200.
pub fn probe(listen: SocketAddr, path: &str) -> Result<(), ProbeError> {
    let mut address = reachable(listen);
    let mut answer = status_line(address, path);
    // A container without IPv6 has no ::1, but a service on [::] accepts IPv4 connections there.
    if listen.ip() == Ipv6Addr::UNSPECIFIED
        && answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable)
    {
        address = (Ipv4Addr::LOCALHOST, listen.port()).into();
        answer = status_line(address, path);
    }
    let status = answer.map_err(|source| ProbeError::NoResponse { address, source })?;
    if status.split(' ').nth(1) == Some("200") {
        Ok(())
    } else {
        Err(ProbeError::Unhealthy { address, path: path.to_owned(), status })
    }
}

/// Address for the probe. A socket bound to the unspecified address is reached over loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn status_line(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, STEP_TIMEOUT)?;
    stream.set_read_timeout(Some(STEP_TIMEOUT))?;
    stream.set_write_timeout(Some(STEP_TIMEOUT))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    // "HTTP/1.1 200" has 12 bytes; the rest of the response is not needed.
    let mut start = Vec::with_capacity(64);
    stream.take(64).read_to_end(&mut start)?;
    let text = String::from_utf8_lossy(&start);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// Starts a server for one request and returns its address.
    fn answering(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 256];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn status_200_is_healthy_and_any_other_status_is_not() {
        let healthy = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        assert!(probe(healthy, "/healthz").is_ok());
        let unhealthy = answering("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n");
        let error = probe(unhealthy, "/healthz").unwrap_err();
        assert!(matches!(error, ProbeError::Unhealthy { status, .. } if status.contains("503")));
    }

    #[test]
    fn a_response_that_only_mentions_200_is_not_healthy() {
        assert!(probe(answering("HTTP/1.1 500 200\r\n\r\n"), "/healthz").is_err());
        assert!(probe(answering(""), "/healthz").is_err());
    }

    #[test]
    fn a_service_bound_to_any_address_is_probed_over_loopback() {
        let reach = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(reach("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(reach("[::]:80"), "[::1]:80");
        assert_eq!(reach("127.0.0.2:80"), "127.0.0.2:80");
    }

    #[test]
    fn a_closed_port_is_no_response() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(matches!(probe(address, "/"), Err(ProbeError::NoResponse { .. })));
    }
}
