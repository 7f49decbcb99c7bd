//! HTTP semantics (RFC 9110) as pure functions, without I/O, clock or runtime. All services share
//! them, so that a header field has the same meaning in each service.

pub mod hosts;
pub mod negotiation;
pub mod signature;
