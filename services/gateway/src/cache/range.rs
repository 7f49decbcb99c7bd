//! Range requests for a stored response (RFC 9110, section 14).

use http::HeaderValue;
use http::header::{IF_RANGE, RANGE};

use super::http_date;
use crate::fields::Fields;

/// Part of a complete body to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The whole body: `Range` is absent or ignored.
    Whole,
    /// This range of bytes.
    Bytes {
        /// First byte.
        first: usize,
        /// Last byte, inclusive.
        last: usize,
    },
    /// No part: the range starts beyond the end.
    Unsatisfiable,
}

impl Part {
    /// Evaluates the range of a request against a body with these validators. A request for several
    /// ranges gets the whole body, as section 14.2 allows.
    pub(super) fn of(
        request: &Fields,
        etag: Option<&HeaderValue>,
        last_modified: Option<&HeaderValue>,
        length: usize,
    ) -> Self {
        let line = request.only(RANGE).and_then(|line| line.to_str().ok());
        match line.and_then(|line| parse(line, length)) {
            Some(part) if holds(request, etag, last_modified) => part,
            _ => Self::Whole,
        }
    }
}

/// Whether `If-Range`, if present, matches this representation (section 13.1.5).
fn holds(
    request: &Fields,
    etag: Option<&HeaderValue>,
    last_modified: Option<&HeaderValue>,
) -> bool {
    let Some(condition) = request.only(IF_RANGE) else { return !request.contains_key(IF_RANGE) };
    if condition.as_bytes().starts_with(b"\"") {
        return etag == Some(condition);
    }
    let date = |value: &HeaderValue| http_date::parse(value.to_str().ok()?);
    date(condition).is_some_and(|asked| last_modified.and_then(date) == Some(asked))
}

/// Parses a single range; `None` if the field must be ignored.
fn parse(line: &str, length: usize) -> Option<Part> {
    let (unit, range) = line.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let end = length.checked_sub(1);
    if first.is_empty() {
        let count = number(last)?.min(length);
        return Some(match end.filter(|_| count > 0) {
            Some(last) => Part::Bytes { first: length - count, last },
            None => Part::Unsatisfiable,
        });
    }
    let first = number(first)?;
    let last = if last.is_empty() { usize::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    Some(match end.filter(|end| first <= *end) {
        Some(end) => Part::Bytes { first, last: last.min(end) },
        None => Part::Unsatisfiable,
    })
}

/// Parses digits only; saturates on overflow.
fn number(text: &str) -> Option<usize> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(fields: &[(&str, &str)], length: usize) -> Part {
        let etag = HeaderValue::from_static("\"a\"");
        let modified = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
        Part::of(&Fields::of(fields), Some(&etag), Some(&modified), length)
    }

    #[test]
    fn a_single_byte_range_is_satisfied() {
        for (range, first, last) in [
            ("bytes=0-0", 0, 0),
            ("bytes=2-4", 2, 4),
            ("bytes=2-99999999999999999999999", 2, 9),
            ("Bytes=9-", 9, 9),
            ("bytes=-3", 7, 9),
            ("bytes=-100", 0, 9),
        ] {
            assert_eq!(part(&[("range", range)], 10), Part::Bytes { first, last }, "{range}");
        }
        for range in ["bytes=10-", "bytes=10-11", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(part(&[("range", range)], 10), Part::Unsatisfiable, "{range}");
        }
        assert_eq!(part(&[("range", "bytes=-1")], 0), Part::Unsatisfiable);
        assert_eq!(part(&[("range", "bytes=0-")], 0), Part::Unsatisfiable);
    }

    #[test]
    fn any_other_range_gets_the_whole_body() {
        for range in [
            "bytes=0-1,3-4",
            "bytes=4-2",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=+1-2",
            "lines=0-1",
            "0-1",
            "bytes=0-1-2",
        ] {
            assert_eq!(part(&[("range", range)], 10), Part::Whole, "{range}");
        }
        assert_eq!(part(&[], 10), Part::Whole);
        assert_eq!(part(&[("range", "bytes=0-1"), ("range", "bytes=0-1")], 10), Part::Whole);
    }

    #[test]
    fn a_range_of_another_representation_is_ignored() {
        let asked = |condition| part(&[("range", "bytes=0-1"), ("if-range", condition)], 10);
        let some = Part::Bytes { first: 0, last: 1 };
        assert_eq!(asked("\"a\""), some);
        assert_eq!(asked("Sunday, 06-Nov-94 08:49:37 GMT"), some);
        for other in ["\"b\"", "W/\"a\"", "Sun, 06 Nov 1994 08:49:38 GMT", "a", ""] {
            assert_eq!(asked(other), Part::Whole, "{other}");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_never_longer_than_the_body(range in "[bytes=0-9, -]{0,20}", length in 0..30_usize) {
            if let Part::Bytes { first, last } = part(&[("range", &range)], length) {
                prop_assert!(first <= last && last < length);
            }
        }
    }
}
