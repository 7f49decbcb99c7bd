//! HTTP client for other servers, with one connection per request and a minimum of features.
//!
//! It does not use hyper's client: a second connection state machine would be the largest part of
//! this service, for requests without redirects and keep-alive. They are HTTP/1.1, because proxies
//! such as Envoy reject HTTP/1.0 with 426.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::http::{ResponseError, ResponseParser};

/// Plain HTTP server with a path: the task metadata endpoint, or an Alertmanager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Name or address.
    host: String,
    port: u16,
    /// Path without a trailing slash.
    path: String,
}

/// Fault in an endpoint address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EndpointError {
    /// Another scheme, or none.
    #[error("it does not start with http://")]
    Scheme,
    /// Invalid host.
    #[error("its host is odd: a name, an IPv4 address or an IPv6 address in brackets is expected")]
    Host,
    /// Invalid port.
    #[error("its port is not a number from 1 to 65535")]
    Port,
    /// Invalid path.
    #[error("its path has a query, a fragment, spaces or letters that are not ASCII")]
    Path,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let (scheme, rest) = text.split_at_checked(7).ok_or(EndpointError::Scheme)?;
        if !scheme.eq_ignore_ascii_case("http://") {
            return Err(EndpointError::Scheme);
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (host, port) = host_and_port(authority)?;
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'?' && byte != b'#';
        if !path.bytes().all(is_plain) {
            return Err(EndpointError::Path);
        }
        let path = path.trim_end_matches('/').to_owned();
        Ok(Self { host: host.to_owned(), port, path })
    }
}

fn host_and_port(authority: &str) -> Result<(&str, u16), EndpointError> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(EndpointError::Host)?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| EndpointError::Host)?;
        (host, port)
    } else {
        let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_plain) {
            return Err(EndpointError::Host);
        }
        (host, port)
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => 80,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|&port| port != 0).ok_or(EndpointError::Port)?
        }
        _ => return Err(EndpointError::Port),
    };
    Ok((host, port))
}

/// Failure of a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// The whole exchange exceeded the timeout.
    #[error("no answer within {} seconds", .0.as_secs())]
    TimedOut(Duration),
    /// The server was not reachable, or closed the connection.
    #[error(transparent)]
    Connection(#[from] io::Error),
    /// The response is not usable.
    #[error(transparent)]
    Response(#[from] ResponseError),
}

impl Endpoint {
    /// Requests a path below the endpoint's path.
    pub(crate) async fn get(&self, path: &str, bound: Duration) -> Result<Vec<u8>, ExchangeError> {
        self.ask(bound, &self.request("GET", path, "")).await
    }

    /// Posts JSON to a path below the endpoint's path.
    pub(crate) async fn post(
        &self,
        path: &str,
        json: &str,
        bound: Duration,
    ) -> Result<Vec<u8>, ExchangeError> {
        let length = json.len();
        let fields = format!("Content-Type: application/json\r\nContent-Length: {length}\r\n");
        let request = [&self.request("POST", path, &fields), json].concat();
        self.ask(bound, &request).await
    }

    /// Resolves the addresses of the host.
    pub(crate) async fn addresses(
        &self,
        bound: Duration,
    ) -> Result<Vec<SocketAddr>, ExchangeError> {
        let lookup = timeout(bound, lookup_host((self.host.as_str(), self.port))).await;
        Ok(lookup.map_err(|_| ExchangeError::TimedOut(bound))??.collect())
    }

    /// Sends a request without content to one of the addresses. Its method, path and fields can
    /// depend on the local address of the connection.
    pub(crate) async fn send(
        &self,
        address: SocketAddr,
        bound: Duration,
        head: impl Fn(SocketAddr) -> (&'static str, String, String) + Sync,
    ) -> Result<Vec<u8>, ExchangeError> {
        let request = |own: SocketAddr| {
            let (method, path, fields) = head(own);
            self.request(method, &path, &fields)
        };
        exchange(&[address], bound, &request).await
    }

    /// Whether the endpoint has no path.
    pub(crate) fn is_root(&self) -> bool {
        self.path.is_empty()
    }

    fn request(&self, method: &str, path: &str, fields: &str) -> String {
        let (base, host) = (&self.path, self.authority());
        format!(
            "{method} {base}{path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n\
             {fields}Connection: close\r\n\r\n"
        )
    }

    /// Host and port as in a URL.
    fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    async fn ask(&self, bound: Duration, request: &str) -> Result<Vec<u8>, ExchangeError> {
        let exchange_future = async {
            let addresses = self.addresses(bound).await?;
            exchange(&addresses, bound, &|_| request.to_owned()).await
        };
        timeout(bound, exchange_future).await.map_err(|_| ExchangeError::TimedOut(bound))?
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}{}", self.authority(), self.path)
    }
}

/// Connects to one of the addresses, sends the request, which can depend on the local address, and
/// reads the response, all within the bound.
async fn exchange(
    addresses: &[SocketAddr],
    bound: Duration,
    request: &(dyn Fn(SocketAddr) -> String + Sync),
) -> Result<Vec<u8>, ExchangeError> {
    let exchange_future = timeout(bound, async {
        let mut connection = connect(addresses, bound).await?;
        let request = request(connection.local_addr()?);
        connection.write_all(request.as_bytes()).await?;
        let mut parser = ResponseParser::default();
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let count = connection.read(&mut buffer).await?;
            if count == 0 {
                return Ok(parser.finish()?);
            }
            if let Some(body) = parser.push(&buffer[..count])? {
                return Ok(body);
            }
        }
    });
    exchange_future.await.map_err(|_| ExchangeError::TimedOut(bound))?
}

/// Connects to the first address that accepts. Each has an equal share of the bound, so that a host
/// that is down does not use up the time of the others.
async fn connect(addresses: &[SocketAddr], bound: Duration) -> io::Result<TcpStream> {
    let share = bound / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut result = Err(io::ErrorKind::NotFound.into());
    for address in addresses {
        let connected = timeout(share, TcpStream::connect(*address)).await;
        result = connected.unwrap_or_else(|elapsed| Err(elapsed.into()));
        if result.is_ok() {
            break;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::net::TcpSocket;

    use super::*;

    fn endpoint(host: &str, port: u16, path: &str) -> Endpoint {
        Endpoint { host: host.to_owned(), port, path: path.to_owned() }
    }

    #[test]
    fn the_address_format_of_ecs_is_accepted() {
        let parse = |text: &str| text.parse::<Endpoint>();
        assert_eq!(
            parse("http://169.254.170.2/v4/e902-2495"),
            Ok(endpoint("169.254.170.2", 80, "/v4/e902-2495"))
        );
        assert_eq!(
            parse("HTTP://[fd00:ec2::23]:8080/v4/"),
            Ok(endpoint("fd00:ec2::23", 8080, "/v4"))
        );
        assert_eq!(parse("http://metadata.local"), Ok(endpoint("metadata.local", 80, "")));
    }

    #[test]
    fn other_addresses_are_rejected_with_a_reason() {
        let error = |text: &str| text.parse::<Endpoint>().unwrap_err();
        for text in ["", "http:/", "https://169.254.170.2/v4", "169.254.170.2/v4"] {
            assert_eq!(error(text), EndpointError::Scheme, "{text}");
        }
        for text in
            ["http://", "http:///v4", "http://a@b/", "http://[::1/", "http://[a]/", "http://a b/"]
        {
            assert_eq!(error(text), EndpointError::Host, "{text}");
        }
        for text in ["http://a:/", "http://a:0/", "http://a:65536", "http://a:+1", "http://[::1]8/"]
        {
            assert_eq!(error(text), EndpointError::Port, "{text}");
        }
        for text in ["http://a/b?c", "http://a?c", "http://a/b#c", "http://a/b c", "http://a/\r\n"]
        {
            assert_eq!(error(text), EndpointError::Path, "{text}");
        }
    }

    #[test]
    fn a_request_has_the_host_and_the_length_of_its_content() {
        let endpoint: Endpoint = "http://[::1]:9093/prefix/".parse().unwrap();
        let request = endpoint.request("POST", "/api", "Content-Length: 2\r\n");
        assert_eq!(
            request,
            "POST /prefix/api HTTP/1.1\r\nHost: [::1]:9093\r\nAccept: application/json\r\n\
             Content-Length: 2\r\nConnection: close\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_leaves_time_for_the_next_one() {
        let listen = |backlog| {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
            socket.listen(backlog).unwrap()
        };
        let (silent, open) = (listen(1), listen(16));
        let [full, address] = [&silent, &open].map(|listener| listener.local_addr().unwrap());
        // A full queue drops further connections.
        let mut waiting = Vec::new();
        for _ in 0..16 {
            let connect = timeout(Duration::from_millis(200), TcpStream::connect(full));
            let Ok(Ok(stream)) = connect.await else { break };
            waiting.push(stream);
        }
        let connection = connect(&[full, address], Duration::from_secs(2)).await.unwrap();
        assert_eq!(connection.peer_addr().unwrap(), address);
        let nowhere = connect(&[], Duration::from_secs(2)).await;
        assert_eq!(nowhere.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    proptest! {
        #[test]
        fn no_address_makes_the_parser_panic(text in any::<String>(), rest in "[a-z0-9:/.@?#\\[\\] é]{0,30}") {
            let _ = text.parse::<Endpoint>();
            let _ = format!("http://{rest}").parse::<Endpoint>();
        }

        #[test]
        fn formatted_addresses_are_parsed_exactly(host in "[a-z0-9][a-z0-9.-]{0,20}", port in 1_u16.., path in "(/[a-z0-9-]{1,9}){0,4}") {
            let parsed = format!("http://{host}:{port}{path}").parse::<Endpoint>();
            prop_assert_eq!(parsed, Ok(endpoint(&host, port, &path)));
        }
    }
}
