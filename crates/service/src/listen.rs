//! The listening socket, with a message for each kind of failure.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// Maximum number of connections that wait to be accepted (backlog). It covers the burst of
/// reconnecting viewers; the kernel limits it to `net.core.somaxconn` (4096 since Linux 5.4).
const BACKLOG: u32 = 1024;

/// Reason for which the service cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", reason(.source))]
pub struct ListenError {
    /// The requested address.
    pub address: SocketAddr,
    /// The error of the system call.
    pub source: io::Error,
}

/// Binds `address`, listens on it and logs `listening` with the bound address.
///
/// # Errors
/// The port is in use or not permitted, or the address does not belong to this machine.
pub fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let bind = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A restart must not wait for connections in TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        // With port 0 the kernel chooses the port, so the log needs the bound address.
        tracing::info!(address = %listener.local_addr()?, "listening");
        Ok(listener)
    };
    bind().map_err(|source| ListenError { address, source })
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => "the port is in use by another process".to_owned(),
        ErrorKind::PermissionDenied => "ports below 1024 need a privilege".to_owned(),
        ErrorKind::AddrNotAvailable => "this machine does not have this address".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_has_a_readable_message() {
        let first = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = first.local_addr().unwrap();
        let error = listen(address).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot listen on {address}: the port is in use by another process")
        );
    }
}
