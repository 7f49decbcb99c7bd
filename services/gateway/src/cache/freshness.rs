//! Cacheability and freshness of a response (RFC 9111, sections 3 and 4.2). There is no heuristic
//! freshness: a response without an explicit lifetime is not stored.

use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;
use http::header::{AGE, CONTENT_TYPE, DATE, ETAG, EXPIRES, HeaderName, PRAGMA, SET_COOKIE, VIA};

use super::cache_control::{Control, seconds};
use super::http_date;
use crate::fields::Fields;

/// Upper limit of all durations; a date can be a thousand times as far away.
const LONGEST: Duration = Duration::from_secs(1 << 31);

/// Upper limit of a server error's lifetime. A client may have provoked it, and the upstream may
/// have recovered; the limit is long enough to keep a burst of requests from an overloaded
/// upstream.
const LONGEST_ERROR: Duration = Duration::from_secs(10);

/// The current time on the monotonic and the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// For durations.
    pub(crate) instant: Instant,
    /// For `Date` and `Expires`.
    pub(crate) unix: SystemTime,
}

/// Reason why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// An upstream error that has no explicit lifetime, or would replace a success.
    Failure,
    /// Another status that is not stored: partial, informational, or unknown.
    Status,
    /// `no-store`, `private`, `no-cache` without an `ETag`, or a malformed `Cache-Control`.
    Forbidden,
    /// It has no explicit lifetime, or the lifetime is already over.
    NoLifetime,
    /// `Set-Cookie`, which is meant for one client.
    Cookie,
    /// The request has `Authorization`, and the response does not allow sharing.
    Authorization,
    /// `Vary` matches no other request.
    Vary,
    /// An event stream, which does not end.
    Endless,
    /// The end of the body cannot be distinguished from a broken connection, or its length is
    /// invalid.
    Framing,
    /// Larger than the limit for an entry.
    TooLarge,
    /// Larger than the available memory.
    NoMemory,
    /// Another request stores the same response, or the target was invalidated.
    Superseded,
    /// The target has too many variants that are in use.
    TooManyVariants,
}

/// Freshness of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Freshness {
    received: Instant,
    /// Age at the time of receipt.
    initial_age: Duration,
    lifetime: Duration,
    stale_while_revalidate: Duration,
    stale_if_error: Duration,
    /// Whether requests with `Authorization` may use it.
    pub(super) for_all: bool,
}

impl Freshness {
    /// Computes the freshness of a response that arrived `delay` after its request was sent.
    pub(super) fn of(
        status: StatusCode,
        headers: &Fields,
        authorised: bool,
        delay: Duration,
        now: Moment,
    ) -> Result<Self, Refusal> {
        let control = Control::of(headers);
        let is_understood = is_understood(status);
        if is_for_one_request(status) || (control.must_understand && !is_understood) {
            return Err(Refusal::Status);
        }
        let old_prohibition = !control.present && headers.contains_key(PRAGMA);
        // RFC 9111, section 5.2.2.3: `no-store` then applies only to caches that do not know the
        // status.
        let no_store = control.no_store && !control.must_understand;
        // A modification date alone may be the same for two clients whose responses differ.
        let cannot_be_confirmed = control.no_cache && !headers.contains_key(ETAG);
        if no_store
            || control.is_unreadable
            || control.private
            || cannot_be_confirmed
            || old_prohibition
        {
            return Err(Refusal::Forbidden);
        }
        if headers.contains_key(SET_COOKIE) {
            return Err(Refusal::Cookie);
        }
        if is_event_stream(headers) {
            return Err(Refusal::Endless);
        }
        let for_all = control.public || control.must_revalidate || control.shared_max_age.is_some();
        if authorised && !for_all {
            return Err(Refusal::Authorization);
        }
        // `s-maxage` includes `proxy-revalidate` (RFC 9111, section 5.2.2.10).
        let never_stale = control.must_revalidate
            || control.proxy_revalidate
            || control.shared_max_age.is_some()
            || control.no_cache
            || status.is_server_error();
        let mut lifetime = lifetime(&control, headers, now);
        if control.no_cache {
            lifetime = Duration::ZERO;
        } else if status.is_server_error() {
            lifetime = lifetime.min(LONGEST_ERROR);
        }
        let stale = |time: Option<Duration>| time.filter(|_| !never_stale).unwrap_or_default();
        let freshness = Self {
            received: now.instant,
            initial_age: initial_age(headers, delay, now),
            lifetime,
            stale_while_revalidate: stale(control.stale_while_revalidate),
            stale_if_error: stale(control.stale_if_error),
            for_all,
        };
        let useful = control.no_cache
            || freshness.is_fresh(now.instant)
            || freshness.may_be_stale_while_revalidated(now.instant)
            || freshness.may_be_stale_on_error(now.instant);
        if useful && !(control.no_cache && status.is_server_error()) {
            return Ok(freshness);
        }
        Err(if status.is_server_error() { Refusal::Failure } else { Refusal::NoLifetime })
    }

    /// Freshness of a response that may be used once and must then be revalidated.
    pub(super) fn expired(now: Moment) -> Self {
        Self {
            received: now.instant,
            initial_age: Duration::ZERO,
            lifetime: Duration::ZERO,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            for_all: false,
        }
    }

    /// Current age (RFC 9111, section 4.2.3).
    pub(super) fn age(&self, now: Instant) -> Duration {
        self.initial_age + now.saturating_duration_since(self.received)
    }

    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.age(now) < self.lifetime
    }

    pub(super) fn may_be_stale_while_revalidated(&self, now: Instant) -> bool {
        self.age(now) < self.lifetime + self.stale_while_revalidate
    }

    pub(super) fn may_be_stale_on_error(&self, now: Instant) -> bool {
        self.age(now) < self.lifetime + self.stale_if_error
    }

    /// Whole seconds until the response becomes stale; negative if it is stale.
    pub(super) fn seconds_left(&self, now: Instant) -> i64 {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        seconds(self.lifetime) - seconds(self.age(now))
    }
}

/// Whether a response applies to one request only: a part, the response to a condition, or an error
/// that a client provokes with its request. An explicit lifetime of such an error is ignored:
/// otherwise one malformed request would determine the response to all others.
fn is_for_one_request(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        100..200 | 206 | 304 | 400..=403 | 406..=409 | 411..=413 | 415..=431
    )
}

/// Whether a response that is not stored shows that the stored one is outdated (RFC 9111, section
/// 4.3.3). Other errors, and a cookie, may concern one client only. A client may provoke 401 and 403
/// as well, but they may also mean that the resource is no longer public, and the price is one fetch.
pub(super) fn shows_outdated(status: StatusCode, refusal: Refusal) -> bool {
    matches!(status.as_u16(), 200..=399 | 401 | 403 | 404 | 410 | 451)
        && !matches!(
            refusal,
            Refusal::Superseded | Refusal::Cookie | Refusal::Authorization | Refusal::NoMemory
        )
}

/// Whether the status is known, for `must-understand` (RFC 9111, section 5.2.2.3).
fn is_understood(status: StatusCode) -> bool {
    status.canonical_reason().is_some()
}

/// Freshness lifetime for a shared cache (RFC 9111, section 4.2.1).
fn lifetime(control: &Control, headers: &Fields, now: Moment) -> Duration {
    let explicit = control.shared_max_age.or(control.max_age).or_else(|| {
        let expires = date(headers, EXPIRES)?;
        expires.duration_since(date(headers, DATE).unwrap_or(now.unix)).ok()
    });
    explicit.unwrap_or_default().min(LONGEST)
}

/// Initial age (RFC 9111, section 4.2.3). The upstream's `Date` has a resolution of one second and
/// comes from another clock, so it would make a response with a lifetime of one second stale
/// immediately. As that section allows, `Date` is used only if a cache on the path does not support
/// `Age`.
fn initial_age(headers: &Fields, delay: Duration, now: Moment) -> Duration {
    let age = headers
        .get(AGE)
        .and_then(|age| age.as_bytes().split(|&byte| byte == b',').next())
        .and_then(|age| seconds(age.trim_ascii()));
    let age = age.unwrap_or_default() + delay;
    let old_hop =
        headers.members(VIA).any(|hop| hop.starts_with(b"1.0 ") || hop.starts_with(b"HTTP/1.0 "));
    let apparent =
        date(headers, DATE).filter(|_| old_hop).and_then(|date| now.unix.duration_since(date).ok());
    age.max(apparent.unwrap_or_default()).min(LONGEST)
}

/// The date in a field that occurs exactly once.
pub(super) fn date(headers: &Fields, name: HeaderName) -> Option<SystemTime> {
    http_date::parse(headers.only(name)?.to_str().ok()?)
}

fn is_event_stream(headers: &Fields) -> bool {
    const EVENTS: &[u8] = b"text/event-stream";
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes().trim_ascii_start());
    kind.and_then(|kind| kind.get(..EVENTS.len()))
        .is_some_and(|kind| kind.eq_ignore_ascii_case(EVENTS))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1994-11-06 08:49:37, the date in the RFC's examples.
    const NOW: Duration = Duration::from_secs(784_111_777);
    const NOW_TEXT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn now() -> Moment {
        Moment { instant: Instant::now(), unix: SystemTime::UNIX_EPOCH + NOW }
    }

    fn freshness(status: u16, authorised: bool, lines: &[&str]) -> Result<Freshness, Refusal> {
        let status = StatusCode::from_u16(status).unwrap();
        Freshness::of(status, &Fields::of_lines(lines), authorised, Duration::ZERO, now())
    }

    /// Seconds fresh, stale while revalidating, and stale on error.
    fn timeouts(lines: &[&str]) -> Result<(u64, u64, u64), Refusal> {
        let timeouts = |freshness: Freshness| {
            (
                freshness.lifetime.as_secs(),
                freshness.stale_while_revalidate.as_secs(),
                freshness.stale_if_error.as_secs(),
            )
        };
        freshness(200, false, lines).map(timeouts)
    }

    #[test]
    fn the_most_specific_field_determines_the_lifetime() {
        const EXPIRES: &str = "expires: Sun, 06 Nov 1994 08:50:37 GMT";
        const DATE: &str = "date: Sun, 06 Nov 1994 08:50:07 GMT";
        for (lines, expected) in [
            (&["cache-control: max-age=5"][..], Ok(5)),
            (&["cache-control: max-age=5, s-maxage=7"], Ok(7)),
            (&["cache-control: max-age=0, s-maxage=1"], Ok(1)),
            (&["cache-control: max-age=5, s-maxage=0"], Err(Refusal::NoLifetime)),
            (&["cache-control: max-age=5", EXPIRES], Ok(5)),
            (&["cache-control: max-age=x", EXPIRES], Err(Refusal::NoLifetime)),
            (&[EXPIRES], Ok(60)),
            (&[EXPIRES, DATE], Ok(30)),
            (&["cache-control: public", EXPIRES, DATE], Ok(30)),
            (&[EXPIRES, EXPIRES], Err(Refusal::NoLifetime)),
            (&["expires: 0"], Err(Refusal::NoLifetime)),
            (&["expires: Sun, 06 Nov 1994 08:49:36 GMT"], Err(Refusal::NoLifetime)),
            (&["expires: Fri, 31 Dec 9999 23:59:59 GMT"], Ok(1 << 31)),
            (&[EXPIRES, "pragma: no-cache"], Err(Refusal::Forbidden)),
            (&["cache-control: max-age=5", "pragma: no-cache"], Ok(5)),
            // No heuristic: neither a status nor a modification date implies a lifetime.
            (&["last-modified: Sun, 06 Nov 1990 08:50:37 GMT"], Err(Refusal::NoLifetime)),
            (&["cache-control: public"], Err(Refusal::NoLifetime)),
            (&[], Err(Refusal::NoLifetime)),
        ] {
            assert_eq!(timeouts(lines).map(|(fresh, ..)| fresh), expected, "{lines:?}");
        }
    }

    #[test]
    fn private_responses_are_not_stored() {
        for (line, refusal) in [
            ("cache-control: no-store, max-age=5", Refusal::Forbidden),
            ("cache-control: private, max-age=5", Refusal::Forbidden),
            ("cache-control: no-cache, max-age=5", Refusal::Forbidden),
            ("cache-control: no-cache=\"x\", max-age=5", Refusal::Forbidden),
            ("cache-control: no-store, must-understand, (", Refusal::Forbidden),
            ("cache-control: max-age=5, public (", Refusal::Forbidden),
            ("set-cookie: a=b", Refusal::Cookie),
            ("content-type: text/event-stream;charset=utf-8", Refusal::Endless),
        ] {
            let lines = [line, "cache-control: public, max-age=5"];
            assert_eq!(timeouts(&lines), Err(refusal), "{line}");
        }
    }

    #[test]
    fn statuses_are_stored_for_an_explicit_lifetime_unless_one_request_provokes_them() {
        for status in 200..600 {
            let stored = freshness(status, false, &["cache-control: max-age=5"]).map(|_| ());
            let expected = match status {
                206 | 304 | 400..=403 | 406..=409 | 411..=413 | 415..=431 => Err(Refusal::Status),
                _ => Ok(()),
            };
            assert_eq!(stored, expected, "{status}");
            assert!(freshness(status, false, &[]).is_err());
        }
    }

    #[test]
    fn server_errors_are_stored_for_some_seconds_and_never_used_stale() {
        const LONG: &str =
            "cache-control: max-age=31536000, stale-if-error=9, stale-while-revalidate=9";
        let lifetime = |status, line| {
            let freshness = freshness(status, false, &[line])?;
            let stale = freshness.stale_while_revalidate + freshness.stale_if_error;
            Ok((freshness.lifetime.as_secs(), stale.as_secs()))
        };
        for status in [500, 502, 503, 504, 599] {
            assert_eq!(lifetime(status, "cache-control: max-age=3"), Ok((3, 0)));
            assert_eq!(lifetime(status, LONG), Ok((10, 0)));
            assert_eq!(lifetime(status, "cache-control: max-age=0"), Err(Refusal::Failure));
            assert_eq!(freshness(status, false, &[]), Err(Refusal::Failure));
            let confirmed = ["cache-control: no-cache", "etag: \"1\""];
            assert_eq!(freshness(status, false, &confirmed), Err(Refusal::Failure));
        }
    }

    #[test]
    fn a_no_cache_response_is_stored_with_an_etag_and_never_fresh() {
        let kept =
            ["cache-control: no-cache, max-age=60, stale-while-revalidate=60", "etag: \"1\""];
        let freshness = freshness(200, false, &kept).unwrap();
        assert!(!freshness.is_fresh(freshness.received));
        assert!(!freshness.may_be_stale_while_revalidated(freshness.received));
        assert!(!freshness.may_be_stale_on_error(freshness.received));
        let dated = ["cache-control: no-cache", "last-modified: Sun, 06 Nov 1994 08:49:37 GMT"];
        assert_eq!(timeouts(&dated), Err(Refusal::Forbidden));
    }

    #[test]
    fn must_understand_is_stored_only_with_a_known_status() {
        let lines = ["cache-control: max-age=5, must-understand"];
        assert!(freshness(200, false, &lines).is_ok());
        let forbidden = ["cache-control: max-age=5, no-store, must-understand"];
        assert!(freshness(200, false, &forbidden).is_ok(), "the prohibition is for other caches");
        assert_eq!(freshness(299, false, &forbidden), Err(Refusal::Status));
        assert_eq!(freshness(299, false, &lines), Err(Refusal::Status));
    }

    #[test]
    fn a_response_to_an_authenticated_request_is_shared_only_if_explicitly_allowed() {
        for (line, allowed) in [
            ("max-age=5", false),
            ("max-age=5, proxy-revalidate", false),
            ("max-age=5, public", true),
            ("max-age=5, must-revalidate", true),
            ("s-maxage=5", true),
        ] {
            let lines = [format!("cache-control: {line}")];
            let stored = freshness(200, true, &[&lines[0]]);
            assert_eq!(stored.err(), (!allowed).then_some(Refusal::Authorization), "{line}");
            assert_eq!(
                freshness(200, false, &[&lines[0]]).map(|freshness| freshness.for_all),
                Ok(allowed)
            );
        }
    }

    #[test]
    fn stale_responses_are_used_only_where_allowed() {
        const ALLOWED: &str =
            "cache-control: max-age=5, stale-while-revalidate=6, stale-if-error=7";
        assert_eq!(timeouts(&["cache-control: max-age=5"]), Ok((5, 0, 0)));
        assert_eq!(timeouts(&[ALLOWED]), Ok((5, 6, 7)));
        for forbids in ["must-revalidate", "proxy-revalidate", "s-maxage=5"] {
            let line = format!("cache-control: {forbids}");
            assert_eq!(timeouts(&[ALLOWED, &line]), Ok((5, 0, 0)), "{forbids}");
        }
        let never_fresh = ["cache-control: max-age=0, stale-while-revalidate=6"];
        assert_eq!(timeouts(&never_fresh), Ok((0, 6, 0)));
    }

    #[test]
    fn age_is_the_upstream_age_plus_the_resident_time() {
        let at = now();
        let later = |seconds| at.instant + Duration::from_secs(seconds);
        let delay = Duration::from_millis(500);
        let status = StatusCode::OK;
        let lines =
            ["cache-control: max-age=10", "age: 3, 9", "date: Sun, 06 Nov 1994 08:49:00 GMT"];
        let freshness = Freshness::of(status, &Fields::of_lines(&lines), false, delay, at).unwrap();
        assert_eq!(freshness.age(later(2)), Duration::from_millis(5500));
        assert!(freshness.is_fresh(later(6)));
        assert!(!freshness.is_fresh(later(7)));
        assert_eq!(freshness.seconds_left(later(2)), 5);
        assert_eq!(freshness.seconds_left(later(60)), -53);
    }

    #[test]
    fn date_affects_age_only_behind_a_proxy_without_age() {
        const OLD: &str = "date: Sun, 06 Nov 1994 08:48:37 GMT";
        const MINUTES: &str = "cache-control: max-age=120";
        let age = |via: &str| {
            let via = format!("via: {via}");
            freshness(200, false, &[MINUTES, OLD, &via]).unwrap().initial_age.as_secs()
        };
        assert_eq!(age("1.1 a, 1.1 b"), 0);
        assert_eq!(age("1.1 a, 1.0 b"), 60);
        assert_eq!(age("HTTP/1.0 a"), 60);
        assert_eq!(httpdate::fmt_http_date(now().unix), NOW_TEXT);
    }

    #[test]
    fn a_response_that_arrives_stale_is_not_stored() {
        let lines = ["cache-control: max-age=10", "age: 10"];
        assert_eq!(timeouts(&lines), Err(Refusal::NoLifetime));
        let lines = ["cache-control: max-age=10", "age: x"];
        assert_eq!(timeouts(&lines).map(|(fresh, ..)| fresh), Ok(10));
    }
}
