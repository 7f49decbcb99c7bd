//! HTTP semantics (RFC 9110) without I/O, clock or runtime: values in, values out. Shared by the
//! services, so that the same field means the same in each of them.

pub mod hosts;
pub mod negotiation;
pub mod signature;
