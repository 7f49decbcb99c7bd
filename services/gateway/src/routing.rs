//! Routing: the route table, and validation of request paths.

pub(crate) mod attributes;
pub(crate) mod reading;
mod redaction;
pub(crate) mod route;
pub(crate) mod table;
