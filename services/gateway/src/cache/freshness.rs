//! Whether an answer may be kept, and for how long (RFC 9111, sections 3 and 4.2). Nothing is
//! guessed: an answer that names no time is not kept.

use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;
use http::header::{AGE, CONTENT_TYPE, DATE, ETAG, EXPIRES, HeaderName, PRAGMA, SET_COOKIE, VIA};

use super::cache_control::{Control, seconds};
use super::http_date;
use crate::fields::Fields;

/// The longest time that is reckoned with; a date can name one a thousand times as long.
const LONGEST: Duration = Duration::from_secs(1 << 31);

/// The longest time for a server error, whatever it names. A client may have provoked it, and the
/// upstream may have recovered; long enough to keep a crowd from an upstream that says when to come
/// back.
const LONGEST_ERROR: Duration = Duration::from_secs(10);

/// Now, by both clocks: the one that only goes forward, and the one that dates are compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// For everything that takes time.
    pub(crate) instant: Instant,
    /// For `Date` and `Expires`.
    pub(crate) unix: SystemTime,
}

/// Why an answer is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// An error of the upstream that names no time, or would replace a success.
    Failure,
    /// Another status that is not kept: partial, informational, or one whose meaning is not known.
    Status,
    /// `no-store`, `private`, `no-cache` without a tag, or a `Cache-Control` that cannot be read.
    Forbidden,
    /// No time is named, or it is over already.
    NoLifetime,
    /// `Set-Cookie`, which is for one client.
    Cookie,
    /// The request had `Authorization`, and the answer does not say that it is for all.
    Authorization,
    /// `Vary` says that no other request is like this one.
    Vary,
    /// An event stream, which has no end.
    Endless,
    /// Its end could not be told from a connection that broke, or its length is odd.
    Framing,
    /// More than an entry, or than there is room for.
    TooLarge,
    /// Another request stores the same answer, or may not any more.
    Superseded,
    /// The target has too many answers that are asked for already.
    TooManyVariants,
}

/// How an answer may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    received: Instant,
    /// The age that it came with.
    initial_age: Duration,
    lifetime: Duration,
    stale_while_revalidate: Duration,
    stale_if_error: Duration,
    /// Whether requests with `Authorization` may have it.
    pub(super) for_all: bool,
}

impl Terms {
    /// Of an answer that came `delay` after the request for it went out.
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
        // RFC 9111, section 5.2.2.3: the prohibition is for caches that do not know the status.
        let no_store = control.no_store && !control.must_understand;
        // A date alone could be the same for two clients whose responses differ.
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
        let terms = Self {
            received: now.instant,
            initial_age: initial_age(headers, delay, now),
            lifetime,
            stale_while_revalidate: stale(control.stale_while_revalidate),
            stale_if_error: stale(control.stale_if_error),
            for_all,
        };
        let useful = control.no_cache
            || terms.is_fresh(now.instant)
            || terms.may_be_stale_while_revalidated(now.instant)
            || terms.may_be_stale_on_error(now.instant);
        if useful && !(control.no_cache && status.is_server_error()) {
            return Ok(terms);
        }
        Err(if status.is_server_error() { Refusal::Failure } else { Refusal::NoLifetime })
    }

    /// Of a response that may be used once, and not again.
    pub(super) fn spent(now: Moment) -> Self {
        Self {
            received: now.instant,
            initial_age: Duration::ZERO,
            lifetime: Duration::ZERO,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            for_all: false,
        }
    }

    /// RFC 9111, section 4.2.3.
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

    /// Whole seconds that it stays fresh, less than 0 when it is stale.
    pub(super) fn seconds_left(&self, now: Instant) -> i64 {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        seconds(self.lifetime) - seconds(self.age(now))
    }
}

/// Whether a response holds for one request only: a part, an answer to a condition, or an error
/// that a client provokes by what it sends. The lifetime that such an error names is not used: one
/// malformed request would be answered to all others.
fn is_for_one_request(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        100..200 | 206 | 304 | 400..=403 | 406..=409 | 411..=413 | 415..=431
    )
}

/// Statuses whose meaning is known, for `must-understand` (RFC 9111, section 5.2.2.3).
fn is_understood(status: StatusCode) -> bool {
    status.canonical_reason().is_some()
}

/// RFC 9111, section 4.2.1, for a shared cache.
fn lifetime(control: &Control, headers: &Fields, now: Moment) -> Duration {
    let told = control.shared_max_age.or(control.max_age).or_else(|| {
        let expires = date(headers, EXPIRES)?;
        expires.duration_since(date(headers, DATE).unwrap_or(now.unix)).ok()
    });
    told.unwrap_or_default().min(LONGEST)
}

/// RFC 9111, section 4.2.3. The upstream's `Date` has whole seconds and its own clock, so it would
/// make an answer that is kept for one second stale at once; as that section allows, it counts
/// only where a cache on the way is too old to know `Age`.
fn initial_age(headers: &Fields, delay: Duration, now: Moment) -> Duration {
    let told = headers
        .get(AGE)
        .and_then(|age| age.as_bytes().split(|&byte| byte == b',').next())
        .and_then(|age| seconds(age.trim_ascii()));
    let told = told.unwrap_or_default() + delay;
    let old_hop = headers.get_all(VIA).any(|via| {
        let hops = via.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        hops.into_iter().any(|hop| hop.starts_with(b"1.0 ") || hop.starts_with(b"HTTP/1.0 "))
    });
    let apparent =
        date(headers, DATE).filter(|_| old_hop).and_then(|date| now.unix.duration_since(date).ok());
    told.max(apparent.unwrap_or_default()).min(LONGEST)
}

/// The date in a field that is there once.
pub(super) fn date(headers: &Fields, name: HeaderName) -> Option<SystemTime> {
    let mut lines = headers.get_all(name);
    let line = lines.next().filter(|_| lines.next().is_none())?;
    http_date::parse(line.to_str().ok()?)
}

fn is_event_stream(headers: &Fields) -> bool {
    const EVENTS: &[u8] = b"text/event-stream";
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes().trim_ascii_start());
    kind.and_then(|kind| kind.get(..EVENTS.len()))
        .is_some_and(|kind| kind.eq_ignore_ascii_case(EVENTS))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// 1994-11-06 08:49:37, the date of the RFC's examples.
    const NOW: Duration = Duration::from_secs(784_111_777);
    const NOW_TEXT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn now() -> Moment {
        Moment { instant: Instant::now(), unix: SystemTime::UNIX_EPOCH + NOW }
    }

    fn headers(lines: &[&str]) -> Fields {
        let mut headers = Fields::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn terms(status: u16, authorised: bool, lines: &[&str]) -> Result<Terms, Refusal> {
        let status = StatusCode::from_u16(status).unwrap();
        Terms::of(status, &headers(lines), authorised, Duration::ZERO, now())
    }

    /// Seconds fresh, stale while revalidated, stale on error.
    fn timeouts(lines: &[&str]) -> Result<(u64, u64, u64), Refusal> {
        let timeouts = |terms: Terms| {
            (
                terms.lifetime.as_secs(),
                terms.stale_while_revalidate.as_secs(),
                terms.stale_if_error.as_secs(),
            )
        };
        terms(200, false, lines).map(timeouts)
    }

    #[test]
    fn the_time_is_that_of_the_most_exact_field() {
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
            // No guess: neither a status nor a date of change makes a time.
            (&["last-modified: Sun, 06 Nov 1990 08:50:37 GMT"], Err(Refusal::NoLifetime)),
            (&["cache-control: public"], Err(Refusal::NoLifetime)),
            (&[], Err(Refusal::NoLifetime)),
        ] {
            assert_eq!(timeouts(lines).map(|(fresh, ..)| fresh), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_is_not_for_everybody_is_not_kept() {
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
    fn statuses_are_kept_for_an_explicit_time_unless_one_request_provokes_them() {
        for status in 200..600 {
            let told = terms(status, false, &["cache-control: max-age=5"]).map(|_| ());
            let expected = match status {
                206 | 304 | 400..=403 | 406..=409 | 411..=413 | 415..=431 => Err(Refusal::Status),
                _ => Ok(()),
            };
            assert_eq!(told, expected, "{status}");
            assert!(terms(status, false, &[]).is_err());
        }
    }

    #[test]
    fn server_errors_are_kept_for_some_seconds_and_never_used_old() {
        const LONG: &str =
            "cache-control: max-age=31536000, stale-if-error=9, stale-while-revalidate=9";
        let lifetime = |status, line| {
            let terms = terms(status, false, &[line])?;
            let stale = terms.stale_while_revalidate + terms.stale_if_error;
            Ok((terms.lifetime.as_secs(), stale.as_secs()))
        };
        for status in [500, 502, 503, 504, 599] {
            assert_eq!(lifetime(status, "cache-control: max-age=3"), Ok((3, 0)));
            assert_eq!(lifetime(status, LONG), Ok((10, 0)));
            assert_eq!(lifetime(status, "cache-control: max-age=0"), Err(Refusal::Failure));
            assert_eq!(terms(status, false, &[]), Err(Refusal::Failure));
            let confirmed = ["cache-control: no-cache", "etag: \"1\""];
            assert_eq!(terms(status, false, &confirmed), Err(Refusal::Failure));
        }
    }

    #[test]
    fn what_must_be_confirmed_is_kept_with_a_tag_and_never_fresh() {
        let kept =
            ["cache-control: no-cache, max-age=60, stale-while-revalidate=60", "etag: \"1\""];
        let terms = terms(200, false, &kept).unwrap();
        assert!(!terms.is_fresh(terms.received));
        assert!(!terms.may_be_stale_while_revalidated(terms.received));
        assert!(!terms.may_be_stale_on_error(terms.received));
        let dated = ["cache-control: no-cache", "last-modified: Sun, 06 Nov 1994 08:49:37 GMT"];
        assert_eq!(timeouts(&dated), Err(Refusal::Forbidden));
    }

    #[test]
    fn what_must_be_understood_is_kept_only_where_the_status_is_known() {
        let lines = ["cache-control: max-age=5, must-understand"];
        assert!(terms(200, false, &lines).is_ok());
        let forbidden = ["cache-control: max-age=5, no-store, must-understand"];
        assert!(terms(200, false, &forbidden).is_ok(), "the prohibition is for other caches");
        assert_eq!(terms(299, false, &forbidden), Err(Refusal::Status));
        assert_eq!(terms(299, false, &lines), Err(Refusal::Status));
    }

    #[test]
    fn an_answer_to_somebody_is_for_all_only_if_it_says_so() {
        for (line, allowed) in [
            ("max-age=5", false),
            ("max-age=5, proxy-revalidate", false),
            ("max-age=5, public", true),
            ("max-age=5, must-revalidate", true),
            ("s-maxage=5", true),
        ] {
            let lines = [format!("cache-control: {line}")];
            let told = terms(200, true, &[&lines[0]]);
            assert_eq!(told.err(), (!allowed).then_some(Refusal::Authorization), "{line}");
            assert_eq!(terms(200, false, &[&lines[0]]).map(|terms| terms.for_all), Ok(allowed));
        }
    }

    #[test]
    fn stale_answers_are_used_only_where_that_is_allowed() {
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
    fn age_is_what_the_upstream_says_and_what_passed_since() {
        let at = now();
        let later = |seconds| at.instant + Duration::from_secs(seconds);
        let delay = Duration::from_millis(500);
        let status = StatusCode::OK;
        let lines =
            ["cache-control: max-age=10", "age: 3, 9", "date: Sun, 06 Nov 1994 08:49:00 GMT"];
        let terms = Terms::of(status, &headers(&lines), false, delay, at).unwrap();
        assert_eq!(terms.age(later(2)), Duration::from_millis(5500));
        assert!(terms.is_fresh(later(6)));
        assert!(!terms.is_fresh(later(7)));
        assert_eq!(terms.seconds_left(later(2)), 5);
        assert_eq!(terms.seconds_left(later(60)), -53);
    }

    #[test]
    fn a_date_makes_old_only_behind_a_proxy_that_knows_no_age() {
        const OLD: &str = "date: Sun, 06 Nov 1994 08:48:37 GMT";
        const MINUTES: &str = "cache-control: max-age=120";
        let age = |via: &str| {
            let via = format!("via: {via}");
            terms(200, false, &[MINUTES, OLD, &via]).unwrap().initial_age.as_secs()
        };
        assert_eq!(age("1.1 a, 1.1 b"), 0);
        assert_eq!(age("1.1 a, 1.0 b"), 60);
        assert_eq!(age("HTTP/1.0 a"), 60);
        assert_eq!(httpdate::fmt_http_date(now().unix), NOW_TEXT);
    }

    #[test]
    fn an_answer_that_is_old_when_it_comes_is_not_kept() {
        let lines = ["cache-control: max-age=10", "age: 10"];
        assert_eq!(timeouts(&lines), Err(Refusal::NoLifetime));
        let lines = ["cache-control: max-age=10", "age: x"];
        assert_eq!(timeouts(&lines).map(|(fresh, ..)| fresh), Ok(10));
    }
}
