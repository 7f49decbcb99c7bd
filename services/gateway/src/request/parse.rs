//! The strict reading of a request, before anything else believes it: bytes in, a head and a body
//! out, or the reason for a refusal. Pure. What two readers could understand differently
//! (RFC 9112, section 11.2) is refused here, so that nothing behind has to guess.

mod body;
mod head;

use http::StatusCode;

use crate::message::problem::Problem;

pub(crate) use body::{Body, Progress};
pub(crate) use head::{Head, Length, METHODS, end_of_head, is_of_no_protocol, read};

/// Bytes after which a request's head must be complete. Browsers send less than one KiB, and
/// cookies of other services on the same host some more.
pub(crate) const HEAD_BYTES: usize = 16 * 1024;

/// Bytes of a request's target; what servers agree to support (RFC 9110, section 4.1).
pub(crate) const TARGET_BYTES: usize = 8 * 1024;

/// Fields of a head. Browsers send some twenty.
pub(crate) const FIELDS: usize = 100;

/// Why a request goes no further; the connection ends with it, because what comes next on it is
/// not certain to be a request.
pub(crate) type Refused = Problem;

fn malformed(detail: &'static str) -> Refused {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}
