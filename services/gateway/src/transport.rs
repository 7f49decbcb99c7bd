//! Below the protocols: sockets with or without TLS, and the worker threads that connections stay on.

pub(crate) mod socket;
pub(crate) mod tls;
pub(crate) mod workers;
