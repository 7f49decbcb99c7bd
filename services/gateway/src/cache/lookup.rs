//! Input of a cache lookup, and the conditions under which a request bypasses the cache.

use http::Method;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RANGE, TRANSFER_ENCODING,
};
use http_semantics::negotiation::named;

use super::cache_control::has_no_store;
use super::cache_status::{Forward, Forwarded};
use crate::fields::Fields;

/// Maximum bytes of site and target together. Frequently requested targets are short.
const MAX_BYTES: usize = 4096;

/// The parts of a request that the cache uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CacheRequest<'a> {
    /// Request method.
    pub(crate) method: &'a Method,
    /// Scheme and authority in normalized form, or one common name where they do not matter.
    pub(crate) site: &'a str,
    /// Path and query as the upstream receives them.
    pub(crate) target: &'a str,
    /// [`Cache::epoch`](super::Cache::epoch), read before the request's route is looked up.
    pub(crate) epoch: u64,
    /// Fields of the client, before the gateway adds fields for the upstream.
    pub(crate) headers: &'a Fields,
}

/// Reason why a request bypasses the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The cache is disabled.
    Off,
    /// The method is neither GET nor HEAD.
    Method,
    /// HEAD without a usable stored response; the response has no body that could be stored.
    Head,
    /// The request has content.
    Content,
    /// The request has `Range`.
    Range,
    /// The request has a condition that only the upstream can evaluate (RFC 9111, section 4.3.2).
    Condition,
    /// The request accepts an event stream.
    Events,
    /// The request has `no-store`.
    NoStore,
    /// The request has `Authorization`, and the stored response is not shared.
    Authorization,
    /// The target or a selecting field is too long for a key.
    LongKey,
    /// Too many variants of this target are being fetched.
    TooManyVariants,
    /// Another target has the same hash, which is practically impossible.
    Collision,
    /// The fetch that the request waited for took too long.
    WaitedTooLong,
}

/// A request that bypasses the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    /// Reason for the bypass.
    pub(crate) reason: Reason,
    pub(super) fwd: Forward,
}

impl Pass {
    /// A bypass for this reason.
    pub(super) fn of(reason: Reason) -> Self {
        let fwd = if reason == Reason::Method { Forward::Method } else { Forward::Bypass };
        Self { reason, fwd }
    }

    /// `Cache-Status` of the response.
    pub(crate) fn forwarded(self) -> Forwarded {
        let waited = self.reason == Reason::WaitedTooLong;
        Forwarded { fwd: self.fwd, waited, stored: false }
    }
}

impl CacheRequest<'_> {
    /// Reason for an unconditional bypass, regardless of the cache's content.
    pub(super) fn bypass_reason(&self) -> Option<Reason> {
        let Self { method, site, target, .. } = self;
        if *method != Method::GET && *method != Method::HEAD {
            return Some(Reason::Method);
        }
        (site.len() + target.len() > MAX_BYTES).then_some(Reason::LongKey)
    }

    /// Reason why this request cannot fill the cache. A fresh stored response answers it; otherwise
    /// it bypasses the cache.
    ///
    /// If `no-cache`, `no-store`, conditions and ranges were honored, each client could force a
    /// request to the upstream. The RFCs do not require it: `no-cache`, `max-age=0` and `Pragma`
    /// are advisory (RFC 9111, section 5.2.1), `no-store` is about storing, a range may be answered
    /// with the whole representation (RFC 9110, section 14.2), and a cache may ignore `If-Match`
    /// and `If-Unmodified-Since` (sections 13.1.1 and 13.1.4). A stored response is never older
    /// than the upstream allows.
    pub(super) fn limit(&self) -> Option<Reason> {
        let Self { method, headers, .. } = self;
        let has = |name| headers.contains_key(name);
        if has(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(|it| it != "0") {
            return Some(Reason::Content);
        }
        if has(RANGE) || has(IF_RANGE) {
            return Some(Reason::Range);
        }
        if has(IF_MATCH) || has(IF_UNMODIFIED_SINCE) {
            return Some(Reason::Condition);
        }
        let accept = headers.get_all(ACCEPT).filter_map(|line| line.to_str().ok());
        if named(accept, "text/event-stream") > 0 {
            return Some(Reason::Events);
        }
        if has_no_store(headers) {
            return Some(Reason::NoStore);
        }
        (*method == Method::HEAD).then_some(Reason::Head)
    }

    /// Whether the client has a response and revalidates it.
    pub(super) fn is_conditional(&self) -> bool {
        self.headers.contains_key(IF_NONE_MATCH) || self.headers.contains_key(IF_MODIFIED_SINCE)
    }

    pub(super) fn is_authorised(&self) -> bool {
        self.headers.contains_key(AUTHORIZATION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Obstacle and limit of a request with one field.
    fn reasons(method: &Method, line: &str) -> (Option<Reason>, Option<Reason>) {
        let fields: Vec<_> = line.split_once(": ").into_iter().collect();
        let headers = Fields::of(&fields);
        let question = CacheRequest { method, site: "", target: "/", epoch: 0, headers: &headers };
        (question.bypass_reason(), question.limit())
    }

    #[test]
    fn requests_that_cannot_fill_the_cache_use_stored_responses() {
        for (line, reason) in [
            ("content-length: 1", Reason::Content),
            ("transfer-encoding: chunked", Reason::Content),
            ("range: bytes=0-", Reason::Range),
            ("if-range: \"a\"", Reason::Range),
            ("if-match: *", Reason::Condition),
            ("if-unmodified-since: x", Reason::Condition),
            ("accept: */*;q=0.1, Text/Event-Stream;q=1", Reason::Events),
            ("cache-control: no-store", Reason::NoStore),
        ] {
            assert_eq!(reasons(&Method::GET, line), (None, Some(reason)), "{line}");
        }
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
            assert_eq!(reasons(&method, "").0, Some(Reason::Method));
        }
    }

    #[test]
    fn a_reload_is_a_normal_request() {
        for line in [
            "cache-control: no-cache",
            "cache-control: max-age=0",
            "cache-control: only-if-cached",
            "pragma: no-cache",
            "content-length: 0",
            "upgrade: h2c",
            "authorization: Bearer x",
            "cookie: a=b",
            "if-none-match: *",
            "accept: text/event-streams",
            "accept: text/event-stream;q=0",
        ] {
            assert_eq!(reasons(&Method::GET, line), (None, None), "{line}");
            assert_eq!(reasons(&Method::HEAD, line), (None, Some(Reason::Head)), "{line}");
        }
    }

    #[test]
    fn a_target_that_is_too_long_is_not_a_key() {
        let (headers, target) = (Fields::new(), "x".repeat(MAX_BYTES));
        let mut question = CacheRequest {
            method: &Method::GET,
            site: "",
            target: &target,
            epoch: 0,
            headers: &headers,
        };
        assert_eq!(question.bypass_reason(), None);
        question.site = "a";
        assert_eq!(question.bypass_reason(), Some(Reason::LongKey));
    }
}
