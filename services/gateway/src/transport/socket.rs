//! Byte stream of a client connection: TCP or TLS.

use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use crate::request::client_info::Scheme;

/// Client stream: plaintext, or TLS, which may buffer written data until a flush. TLS is boxed,
/// because its state is a kilobyte that plaintext does not need.
pub(crate) type Socket = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Scheme of the connection.
pub(crate) fn scheme(socket: &Socket) -> Scheme {
    match socket {
        Socket::Left(_) => Scheme::Http,
        Socket::Right(_) => Scheme::Https,
    }
}

/// Resets the connection instead of closing it on drop. TLS clients detect a truncation by the
/// missing `close_notify`.
pub(crate) fn reset_on_close(socket: &Socket) {
    // An error means that the client has disconnected.
    let _ = tcp(socket).set_zero_linger();
}

/// The underlying TCP stream.
pub(crate) fn tcp(socket: &Socket) -> &TcpStream {
    match socket {
        Socket::Left(stream) => stream,
        Socket::Right(stream) => stream.get_ref().0,
    }
}
