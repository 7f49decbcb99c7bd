//! Client connections: accept loop, HTTP/1.1 and HTTP/2.

pub(crate) mod connection;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod redirect;
pub(crate) mod side;
