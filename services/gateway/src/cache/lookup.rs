//! What the cache is asked, and what keeps it from answering at all.

use http::Method;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RANGE, TRANSFER_ENCODING, UPGRADE,
};
use semantics::negotiation::named;

use super::cache_control::asks_not_to_store;
use super::cache_status::{Forward, Forwarded};
use crate::fields::Fields;

/// Bytes of site and target together. What is asked for often is short.
const MOST_BYTES: usize = 4096;

/// A request, as far as the cache wants to know it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CacheRequest<'a> {
    /// The method.
    pub(crate) method: &'a Method,
    /// Scheme and authority in one form, or one name for all where they do not matter.
    pub(crate) site: &'a str,
    /// Path and query as the upstream will read them.
    pub(crate) target: &'a str,
    /// [`Cache::epoch`](super::Cache::epoch) when the request's route was looked up, or before.
    pub(crate) epoch: u64,
    /// The client's fields, before anything is added for the upstream.
    pub(crate) headers: &'a Fields,
}

/// Why a request goes past the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// There is no cache.
    Off,
    /// Neither GET nor HEAD.
    Method,
    /// HEAD, and nothing is there; the answer to it has no body that could be kept.
    Head,
    /// It has content.
    Content,
    /// It wants a part.
    Range,
    /// It has a condition that only the upstream can judge (RFC 9111, section 4.3.2).
    Condition,
    /// It wants another protocol.
    Upgrade,
    /// It wants events.
    Events,
    /// It says `no-store`.
    NoStore,
    /// It has `Authorization`, and the stored answer is not for all.
    Authorization,
    /// Its target or a field that selects the answer is too long to be a key.
    LongKey,
    /// Too many different answers of this target are being fetched.
    TooManyVariants,
    /// Another target has the same hash, which does not happen twice in a lifetime.
    Collision,
    /// The request that it waited for took too long.
    WaitedTooLong,
}

/// A request that goes past the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    /// Why.
    pub(crate) reason: Reason,
    pub(super) why: Forward,
}

impl Pass {
    /// A request that the cache has nothing to do with.
    pub(super) fn of(reason: Reason) -> Self {
        let why = if reason == Reason::Method { Forward::Method } else { Forward::Bypass };
        Self { reason, why }
    }

    /// What to say in `Cache-Status`.
    pub(crate) fn forwarded(self) -> Forwarded {
        let waited = self.reason == Reason::WaitedTooLong;
        Forwarded { why: self.why, waited, stored: false }
    }
}

impl CacheRequest<'_> {
    /// What keeps this request from the cache, whatever is in there.
    pub(super) fn obstacle(&self) -> Option<Reason> {
        let Self { method, site, target, headers, .. } = self;
        if *method != Method::GET && *method != Method::HEAD {
            return Some(Reason::Method);
        }
        if headers.contains_key(UPGRADE) {
            return Some(Reason::Upgrade);
        }
        (site.len() + target.len() > MOST_BYTES).then_some(Reason::LongKey)
    }

    /// Why this request brings nothing into the cache. It is answered with what is there while that
    /// is fresh, and goes past the cache otherwise.
    ///
    /// Heard as orders, `no-cache` and `no-store`, conditions, ranges and the like would give every
    /// client a way to make each request one of the upstream's. They are no orders: `no-cache`,
    /// `max-age=0` and `Pragma` are advice (RFC 9111, section 5.2.1), `no-store` is about storing,
    /// a range may be answered with all (RFC 9110, section 14.2), and a cache may ignore
    /// `If-Match` and `If-Unmodified-Since` (sections 13.1.1 and 13.1.4). What is here is never
    /// older than the upstream allows.
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
        if asks_not_to_store(headers) {
            return Some(Reason::NoStore);
        }
        (*method == Method::HEAD).then_some(Reason::Head)
    }

    /// Whether the client has an answer already and asks whether it is good still.
    pub(super) fn is_conditional(&self) -> bool {
        self.headers.contains_key(IF_NONE_MATCH) || self.headers.contains_key(IF_MODIFIED_SINCE)
    }

    pub(super) fn is_authorised(&self) -> bool {
        self.headers.contains_key(AUTHORIZATION)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::HeaderName;

    use super::*;

    /// Obstacle and limit of a request with one field.
    fn judged(method: &Method, line: &str) -> (Option<Reason>, Option<Reason>) {
        let mut headers = Fields::new();
        if let Some((name, value)) = line.split_once(": ") {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        let question = CacheRequest { method, site: "", target: "/", epoch: 0, headers: &headers };
        (question.obstacle(), question.limit())
    }

    #[test]
    fn requests_that_bring_nothing_take_what_is_there() {
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
            assert_eq!(judged(&Method::GET, line), (None, Some(reason)), "{line}");
        }
        assert_eq!(judged(&Method::GET, "upgrade: websocket").0, Some(Reason::Upgrade));
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
            assert_eq!(judged(&method, "").0, Some(Reason::Method));
        }
    }

    #[test]
    fn a_reload_is_an_ordinary_request() {
        for line in [
            "cache-control: no-cache",
            "cache-control: max-age=0",
            "cache-control: only-if-cached",
            "pragma: no-cache",
            "content-length: 0",
            "authorization: Bearer x",
            "cookie: a=b",
            "if-none-match: *",
            "accept: text/event-streams",
            "accept: text/event-stream;q=0",
        ] {
            assert_eq!(judged(&Method::GET, line), (None, None), "{line}");
            assert_eq!(judged(&Method::HEAD, line), (None, Some(Reason::Head)), "{line}");
        }
    }

    #[test]
    fn a_target_that_is_too_long_is_no_key() {
        let (headers, target) = (Fields::new(), "x".repeat(MOST_BYTES));
        let mut question = CacheRequest {
            method: &Method::GET,
            site: "",
            target: &target,
            epoch: 0,
            headers: &headers,
        };
        assert_eq!(question.obstacle(), None);
        question.site = "a";
        assert_eq!(question.obstacle(), Some(Reason::LongKey));
    }
}
