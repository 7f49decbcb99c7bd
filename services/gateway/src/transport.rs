//! Transport: sockets with or without TLS, and the worker threads that own connections.

mod free_memory;
pub(crate) mod socket;
pub(crate) mod tls;
pub(crate) mod workers;
