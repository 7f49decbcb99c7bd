//! What the cache is asked, and what keeps it from answering at all.

use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RANGE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method};

use super::control::asks_not_to_store;
use super::status::{Forward, Forwarded};

/// Bytes of site and target together. What is asked for often is short.
const MOST_BYTES: usize = 4096;

/// A request, as far as the cache wants to know it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// The method.
    pub(crate) method: &'a Method,
    /// Scheme and authority in one form, or one name for all where they do not matter.
    pub(crate) site: &'a str,
    /// Path and query as the upstream will read them.
    pub(crate) target: &'a str,
    /// The client's fields, before anything is added for the upstream.
    pub(crate) headers: &'a HeaderMap,
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

impl Question<'_> {
    /// What keeps this request from the cache, whatever is in there.
    ///
    /// `no-cache` and `max-age=0` of requests are not heard, and neither is `Pragma`: they are
    /// advice (RFC 9111, section 5.2.1), a reload in a browser sends them, and heard they would
    /// give everybody a way to make each request one of the upstream's. What is here is never
    /// older than the upstream allows.
    pub(super) fn obstacle(&self) -> Option<Reason> {
        let Self { method, site, target, headers } = self;
        if *method != Method::GET && *method != Method::HEAD {
            return Some(Reason::Method);
        }
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
        if has(UPGRADE) {
            return Some(Reason::Upgrade);
        }
        if headers.get_all(ACCEPT).into_iter().any(|line| names_events(line.as_bytes())) {
            return Some(Reason::Events);
        }
        if asks_not_to_store(headers) {
            return Some(Reason::NoStore);
        }
        (site.len() + target.len() > MOST_BYTES).then_some(Reason::LongKey)
    }

    /// Whether the client has an answer already and asks whether it is good still.
    pub(super) fn is_conditional(&self) -> bool {
        self.headers.contains_key(IF_NONE_MATCH) || self.headers.contains_key(IF_MODIFIED_SINCE)
    }

    pub(super) fn is_authorised(&self) -> bool {
        self.headers.contains_key(AUTHORIZATION)
    }
}

fn names_events(accept: &[u8]) -> bool {
    accept.split(|&byte| byte == b',').any(|range| {
        let kind = range.split(|&byte| byte == b';').next().unwrap_or_default();
        kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::HeaderName;

    use super::*;

    fn obstacle(method: &Method, line: &str) -> Option<Reason> {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = line.split_once(": ") {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        Question { method, site: "", target: "/", headers: &headers }.obstacle()
    }

    #[test]
    fn requests_that_no_stored_answer_fits_pass() {
        for (line, reason) in [
            ("content-length: 1", Reason::Content),
            ("transfer-encoding: chunked", Reason::Content),
            ("range: bytes=0-", Reason::Range),
            ("if-range: \"a\"", Reason::Range),
            ("if-match: *", Reason::Condition),
            ("if-unmodified-since: x", Reason::Condition),
            ("upgrade: websocket", Reason::Upgrade),
            ("accept: */*;q=0.1, Text/Event-Stream;q=1", Reason::Events),
            ("cache-control: no-store", Reason::NoStore),
        ] {
            assert_eq!(obstacle(&Method::GET, line), Some(reason), "{line}");
        }
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
            assert_eq!(obstacle(&method, ""), Some(Reason::Method));
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
        ] {
            assert_eq!(obstacle(&Method::GET, line), None, "{line}");
            assert_eq!(obstacle(&Method::HEAD, line), None, "{line}");
        }
    }

    #[test]
    fn a_target_that_is_too_long_is_no_key() {
        let (headers, target) = (HeaderMap::new(), "x".repeat(MOST_BYTES));
        let mut question =
            Question { method: &Method::GET, site: "", target: &target, headers: &headers };
        assert_eq!(question.obstacle(), None);
        question.site = "a";
        assert_eq!(question.obstacle(), Some(Reason::LongKey));
    }
}
