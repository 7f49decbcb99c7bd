//! Response from the cache to one request.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::StatusCode;

use super::cache_status::ResponseSource;
use super::conditional::is_not_modified;
use super::entry::CacheEntry;
use super::range::Part;
use crate::digits::push_decimal;
use crate::fields::Fields;

/// Response from the cache to one request. It stays valid after the entry is evicted.
#[derive(Clone, Debug)]
pub(crate) struct CachedResponse {
    stored: Arc<CacheEntry>,
    source: ResponseSource,
    age_seconds: u64,
    seconds_left: i64,
    stale: bool,
    /// The client already has the response: send 304.
    not_modified: bool,
    /// The request method is HEAD.
    head_only: bool,
    part: Part,
}

impl CachedResponse {
    /// Creates the response to a request with these fields.
    pub(super) fn new(
        stored: Arc<CacheEntry>,
        source: ResponseSource,
        request: &Fields,
        head_only: bool,
        now: Instant,
    ) -> Self {
        let head = stored.head();
        // RFC 9110, section 13.2.1: conditions apply only to a response that would be a success.
        let is_ok = head.status() == StatusCode::OK;
        let not_modified = is_ok && is_not_modified(request, head.etag.as_ref(), head.modified);
        let part = if is_ok && !not_modified && !head_only && head.has_stable_bytes() {
            Part::of(request, head.etag.as_ref(), head.last_modified.as_ref(), stored.body().len())
        } else {
            Part::Whole
        };
        Self {
            source,
            age_seconds: head.freshness.age(now).as_secs(),
            seconds_left: head.freshness.seconds_left(now),
            stale: !head.freshness.is_fresh(now),
            not_modified,
            head_only,
            part,
            stored,
        }
    }

    /// Status code to send.
    pub(crate) fn status(&self) -> StatusCode {
        match self.part {
            _ if self.not_modified => StatusCode::NOT_MODIFIED,
            Part::Whole => self.stored.head().status(),
            Part::Bytes { .. } => StatusCode::PARTIAL_CONTENT,
            Part::Unsatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
        }
    }

    /// Appends status line and fields, each with its line end, without the final empty line: the
    /// caller adds its own fields. `Connection` and `Transfer-Encoding` are not included;
    /// `Content-Length` is, where it is allowed.
    pub(crate) fn write_head(&self, out: &mut Vec<u8>) {
        out.reserve(self.stored.full().len() + 128);
        match self.part {
            _ if self.not_modified => out.extend_from_slice(self.stored.not_modified()),
            Part::Whole => out.extend_from_slice(self.stored.full()),
            Part::Bytes { first, last } => self.write_part_head(out, first, last),
            Part::Unsatisfiable => {
                let length = self.stored.body().len();
                // Applies to this request only.
                out.extend_from_slice(
                    format!(
                        "HTTP/1.1 416 Range Not Satisfiable\r\ncache-control: no-store\r\n\
                         content-range: bytes */{length}\r\ncontent-length: 0\r\n"
                    )
                    .as_bytes(),
                );
            }
        }
        out.extend_from_slice(b"age: ");
        push_decimal(out, self.age_seconds);
        out.extend_from_slice(b"\r\ncache-status: ");
        self.source.write(out, self.seconds_left);
        out.extend_from_slice(b"\r\n");
    }

    /// Body to send; empty for HEAD and for 304.
    pub(crate) fn body(&self) -> Bytes {
        match self.part {
            _ if self.not_modified || self.head_only => Bytes::new(),
            Part::Whole => self.stored.body().clone(),
            Part::Bytes { first, last } => self.stored.body().slice(first..=last),
            Part::Unsatisfiable => Bytes::new(),
        }
    }

    /// Whether the response has `Strict-Transport-Security`.
    pub(crate) fn has_hsts(&self) -> bool {
        self.stored.head().has_hsts()
    }

    /// Whether the response is stale.
    pub(crate) fn is_stale(&self) -> bool {
        self.stale
    }

    /// Writes the head of a 206 (RFC 9110, section 15.3.7).
    fn write_part_head(&self, out: &mut Vec<u8>, first: usize, last: usize) {
        out.extend_from_slice(b"HTTP/1.1 206 Partial Content\r\n");
        out.extend_from_slice(self.stored.fields());
        let (length, count) = (self.stored.body().len(), last - first + 1);
        out.extend_from_slice(
            format!("content-range: bytes {first}-{last}/{length}\r\ncontent-length: {count}\r\n")
                .as_bytes(),
        );
    }
}
