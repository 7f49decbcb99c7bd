//! Transport: sockets with or without TLS, and the worker threads that own connections.

pub(crate) mod socket;
pub(crate) mod tls;
pub(crate) mod workers;
