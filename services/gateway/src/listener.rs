//! Client connections: accept loop, worker threads, TLS, HTTP/1.1 and HTTP/2.

pub(crate) mod connection;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod idle;
pub(crate) mod redirect;
pub(crate) mod stream;
pub(crate) mod tls;
pub(crate) mod workers;
