//! An answer from memory to one request.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::cache_status::{How, push_number};
use super::conditional::client_has_it;
use super::entry::CacheEntry;

/// An answer from memory to one request. It stays what it is when the cache forgets it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    stored: Arc<CacheEntry>,
    how: How,
    age_seconds: u64,
    seconds_left: i64,
    stale: bool,
    /// The client has it already: 304.
    not_modified: bool,
    /// It asked with HEAD.
    head_only: bool,
}

impl Answer {
    /// The answer to a request with these fields.
    pub(super) fn new(
        stored: Arc<CacheEntry>,
        how: How,
        request: &HeaderMap,
        head_only: bool,
        now: Instant,
    ) -> Self {
        let head = stored.head();
        // RFC 9110, section 13.2.1: only what would be a success is conditional.
        let not_modified =
            head.status() == StatusCode::OK && client_has_it(request, head.etag(), head.modified());
        Self {
            how,
            age_seconds: head.terms().age(now).as_secs(),
            seconds_left: head.terms().seconds_left(now),
            stale: !head.terms().is_fresh(now),
            not_modified,
            head_only,
            stored,
        }
    }

    /// The status to send.
    pub(crate) fn status(&self) -> StatusCode {
        if self.not_modified { StatusCode::NOT_MODIFIED } else { self.stored.head().status() }
    }

    /// Appends status line and fields, each with its line end, but not the empty line: the caller
    /// that sends it has fields of its own. Neither `Connection` nor `Transfer-Encoding` is among
    /// them;
    /// `Content-Length` is, where there may be one.
    pub(crate) fn write_head(&self, out: &mut Vec<u8>) {
        let head = self.head();
        out.reserve(head.len() + 128);
        out.extend_from_slice(head);
        out.extend_from_slice(b"age: ");
        push_number(out, self.age_seconds);
        out.extend_from_slice(b"\r\ncache-status: ");
        self.how.write(out, self.seconds_left);
        out.extend_from_slice(b"\r\n");
    }

    /// What to send behind the head; empty for HEAD and for 304.
    pub(crate) fn body(&self) -> Bytes {
        if self.not_modified || self.head_only { Bytes::new() } else { self.stored.body().clone() }
    }

    /// Whether it has `Strict-Transport-Security`.
    pub(crate) fn has_hsts(&self) -> bool {
        self.stored.head().has_hsts()
    }

    /// Whether it is older than it should be.
    pub(crate) fn is_stale(&self) -> bool {
        self.stale
    }

    fn head(&self) -> &[u8] {
        if self.not_modified { self.stored.not_modified() } else { self.stored.full() }
    }
}
