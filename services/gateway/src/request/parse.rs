//! Strict request parser: it turns bytes into a head and a body, or an error. Pure. Input that two
//! parsers could interpret differently (RFC 9112, section 11.2) is rejected here, so that later
//! stages never have to guess.

mod body;
mod head;

use crate::message::problem::Problem;

pub(crate) use body::{Body, Progress};
pub(crate) use head::{Head, Length, METHODS, end_of_head, is_authority, is_of_no_protocol, read};

/// Maximum size of a request head in bytes. Browsers send less than one KiB, plus cookies of other
/// services on the same host.
pub(crate) const HEAD_BYTES: usize = 16 * 1024;

/// Maximum size of a request target in bytes: the minimum that RFC 9110, section 4.1, recommends.
pub(crate) const TARGET_BYTES: usize = 8 * 1024;

/// Maximum number of fields. Browsers send about twenty.
pub(crate) const FIELDS: usize = 100;

/// Reason for rejecting a request. The connection closes, because the start of the next request is
/// not certain.
pub(crate) type Refused = Problem;

fn malformed(detail: &'static str) -> Refused {
    Problem::bad_request(detail)
}
