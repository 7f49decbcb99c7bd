//! The route of a request: the table of routes, and the paths that it is safe to route.

pub(crate) mod attributes;
pub(crate) mod reading;
mod redaction;
pub(crate) mod route;
pub(crate) mod table;
