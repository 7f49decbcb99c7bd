//! Parser for `Cache-Control` (RFC 9111, section 5.2). Malformed input never makes a response
//! cacheable.

use std::time::Duration;

use http::header::CACHE_CONTROL;

use crate::fields::Fields;

/// Maximum of a directive's value in seconds; RFC 9111 (section 1.2.2) clamps larger values to it.
const LONGEST_SECONDS: u32 = 1 << 31;

/// Parsed `Cache-Control` field of a response.
#[expect(clippy::struct_excessive_bools, reason = "each is a directive that is there or not")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Control {
    /// `no-store`.
    pub(super) no_store: bool,
    /// At least one line is malformed.
    pub(super) is_unreadable: bool,
    /// `must-understand` (RFC 9111, section 5.2.2.3).
    pub(super) must_understand: bool,
    /// `no-cache`. The form with field names is treated as the unqualified form, which is stricter.
    pub(super) no_cache: bool,
    /// `private`. The form with field names is treated as the unqualified form, which is stricter.
    pub(super) private: bool,
    /// `public`.
    pub(super) public: bool,
    /// `must-revalidate`, which also allows a shared cache to store responses to requests with
    /// `Authorization`.
    pub(super) must_revalidate: bool,
    /// `proxy-revalidate`.
    pub(super) proxy_revalidate: bool,
    /// `s-maxage`.
    pub(super) shared_max_age: Option<Duration>,
    /// `max-age`.
    pub(super) max_age: Option<Duration>,
    /// `stale-while-revalidate` (RFC 5861).
    pub(super) stale_while_revalidate: Option<Duration>,
    /// `stale-if-error` (RFC 5861).
    pub(super) stale_if_error: Option<Duration>,
    /// The field has at least one directive.
    pub(super) present: bool,
}

impl Control {
    /// Parses all lines of the field.
    pub(super) fn of(headers: &Fields) -> Self {
        let mut control = Self::default();
        for line in headers.get_all(CACHE_CONTROL) {
            control.present = true;
            for directive in Directives(line.as_bytes()) {
                match directive {
                    Some((name, value)) => control.apply(name, value),
                    // The malformed directive may have been a prohibition.
                    None => control.is_unreadable = true,
                }
            }
        }
        control
    }

    fn apply(&mut self, name: &[u8], value: Option<&[u8]>) {
        let is = |directive: &str| name.eq_ignore_ascii_case(directive.as_bytes());
        // A prohibition applies with any value; a permission only in its exact form.
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            self.no_cache = true;
        } else if is("private") {
            self.private = true;
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("must-understand") {
            self.must_understand = true;
        } else if is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if is("public") {
            self.public |= value.is_none();
        } else if is("s-maxage") {
            set(&mut self.shared_max_age, value);
        } else if is("max-age") {
            set(&mut self.max_age, value);
        } else if is("stale-while-revalidate") {
            set(&mut self.stale_while_revalidate, value);
        } else if is("stale-if-error") {
            set(&mut self.stale_if_error, value);
        }
    }
}

/// Whether a request's `Cache-Control` contains `no-store`. A malformed line is evaluated up to the
/// error.
pub(super) fn has_no_store(headers: &Fields) -> bool {
    headers
        .get_all(CACHE_CONTROL)
        .flat_map(|line| Directives(line.as_bytes()))
        .flatten()
        .any(|(name, _)| name.eq_ignore_ascii_case(b"no-store"))
}

/// Sets a lifetime. Conflicting or invalid values mean a lifetime of zero (RFC 9111, section
/// 4.2.1).
fn set(time: &mut Option<Duration>, value: Option<&[u8]>) {
    let parsed = value.and_then(seconds).unwrap_or_default();
    *time = match *time {
        Some(before) if before != parsed => Some(Duration::ZERO),
        _ => Some(parsed),
    };
}

/// Parses whole seconds (RFC 9111, section 1.2.2): digits only.
pub(super) fn seconds(text: &[u8]) -> Option<Duration> {
    let mut seconds = 0_u32;
    for &byte in text {
        let digit = u32::from(byte.checked_sub(b'0').filter(|digit| *digit < 10)?);
        seconds = seconds.saturating_mul(10).saturating_add(digit).min(LONGEST_SECONDS);
    }
    (!text.is_empty()).then(|| Duration::from_secs(seconds.into()))
}

/// Iterator over the directives of one line, with unquoted values. `None` marks a syntax error and
/// ends the iteration.
struct Directives<'a>(&'a [u8]);

impl<'a> Iterator for Directives<'a> {
    type Item = Option<(&'a [u8], Option<&'a [u8]>)>;

    fn next(&mut self) -> Option<Self::Item> {
        // List members may be empty (RFC 9110, section 5.6.1.2).
        let empty = self.0.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b','));
        self.0 = self.0.get(empty.count()..).filter(|rest| !rest.is_empty())?;
        let directive = directive(self.0);
        self.0 = directive.map_or(&[], |(_, _, rest)| rest);
        Some(directive.map(|(name, value, _)| (name, value)))
    }
}

/// Splits off the first directive: its name, its value, and the remaining text.
#[expect(clippy::type_complexity, reason = "it is taken apart at once")]
fn directive(text: &[u8]) -> Option<(&[u8], Option<&[u8]>, &[u8])> {
    let (name, rest) = token(text)?;
    let (value, rest) = match rest.strip_prefix(b"=") {
        Some(rest) => {
            let (value, rest) = rest.strip_prefix(b"\"").map_or_else(|| token(rest), quoted)?;
            (Some(value), rest)
        }
        None => (None, rest),
    };
    let rest = rest.trim_ascii_start();
    (rest.is_empty() || rest.starts_with(b",")).then_some((name, value, rest))
}

fn token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = text.iter().take_while(|byte| is_token(**byte)).count();
    text.split_at_checked(length).filter(|(token, _)| !token.is_empty())
}

/// Splits at the closing quote. Escaped characters are not unescaped: no known value contains one.
fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut escaped = false;
    let end = text.iter().position(|&byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

/// Token characters (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn control(lines: &[&str]) -> Control {
        Control::of(&fields(lines))
    }

    fn fields(lines: &[&str]) -> Fields {
        Fields::of_values("cache-control", lines)
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn directives_are_parsed_in_any_case_and_from_several_lines() {
        let parsed = control(&["Public,, max-AGE=60", " s-maxage=\"5\" ,\tstale-if-error=9", ""]);
        let expected = Control {
            public: true,
            max_age: Some(seconds(60)),
            shared_max_age: Some(seconds(5)),
            stale_if_error: Some(seconds(9)),
            present: true,
            ..Control::default()
        };
        assert_eq!(parsed, expected);
        assert_eq!(control(&[]), Control::default());
    }

    #[test]
    fn a_prohibition_applies_with_any_value() {
        assert!(control(&["no-store=\"x\""]).no_store);
        assert!(control(&["no-cache=\"set-cookie, etag\", max-age=5"]).no_cache);
        assert!(control(&["private=\"a\\\"b\", max-age=5"]).private);
        assert!(control(&["must-revalidate=1"]).must_revalidate);
        assert!(control(&["proxy-revalidate=1"]).proxy_revalidate);
        assert!(!control(&["public=1"]).public);
    }

    #[test]
    fn a_malformed_field_prevents_storing() {
        for odd in [
            "max-age = 60",
            "max-age=60 public",
            "max-age=",
            "max-age=\"60",
            "max-age=\"60\"x",
            "max-age=60; public",
            "=60",
            "\"max-age\"=60",
            "max-age=60, (",
            "max-age==60",
            "no-cache=\"\\\"",
        ] {
            assert!(control(&[odd]).is_unreadable, "{odd}");
        }
    }

    #[test]
    fn an_invalid_lifetime_is_zero() {
        for odd in
            ["max-age", "max-age=-1", "max-age=+1", "max-age=1.5", "max-age=\"\"", "max-age=x"]
        {
            let parsed = control(&[odd]);
            assert_eq!((parsed.max_age, parsed.no_store), (Some(seconds(0)), false), "{odd}");
        }
    }

    #[test]
    fn conflicting_lifetimes_are_zero() {
        assert_eq!(control(&["max-age=5, max-age=5"]).max_age, Some(seconds(5)));
        assert_eq!(control(&["max-age=5", "max-age=6"]).max_age, Some(seconds(0)));
        assert_eq!(control(&["max-age=5, max-age=6, max-age=5"]).max_age, Some(seconds(0)));
    }

    #[test]
    fn a_lifetime_is_clamped_to_the_maximum() {
        for long in ["2147483648", "4294967295", "4294967296", "99999999999999999999999999"] {
            let parsed = control(&[&format!("max-age={long}")]);
            assert_eq!(parsed.max_age, Some(seconds(1 << 31)), "{long}");
        }
    }

    #[test]
    fn no_store_of_a_request_is_detected() {
        for (line, asked) in [
            ("no-store", true),
            ("max-age=0, No-Store", true),
            ("no-cache", false),
            ("no-storex", false),
            ("x=\"no-store\"", false),
        ] {
            assert_eq!(has_no_store(&fields(&[line])), asked, "{line}");
        }
    }

    const DIRECTIVES: [&str; 12] = [
        "no-store",
        "no-cache",
        "private",
        "public",
        "must-revalidate",
        "max-age=60",
        "max-age=7",
        "s-maxage=\"3\"",
        "stale-if-error=1",
        "x=\"a, no-store\"",
        "",
        "immutable",
    ];

    proptest! {
        #[test]
        fn no_input_causes_a_panic_or_an_endless_loop(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            prop_assert!(Directives(&bytes).count() <= bytes.len());
        }

        #[test]
        fn order_and_line_breaks_do_not_matter(
            directives in proptest::collection::vec(proptest::sample::select(&DIRECTIVES[..]), 0..8)
                .prop_shuffle(),
            apart in any::<bool>(),
        ) {
            let mut sorted = directives.clone();
            sorted.sort_unstable();
            let joined = directives.join(",");
            let parsed = if apart { control(&directives) } else { control(&[&joined]) };
            let expected = control(&[&sorted.join(" , ")]);
            prop_assert_eq!(Control { present: true, ..parsed }, expected);
            prop_assert_eq!(parsed.no_store, directives.contains(&"no-store"));
        }

        #[test]
        fn a_truncated_field_never_allows_more(
            directives in proptest::collection::vec(proptest::sample::select(&DIRECTIVES[..]), 1..6),
            garbage in "[\"=;()<>@]{1,5}",
        ) {
            let line = format!("{}, {garbage}", directives.join(", "));
            prop_assert!(control(&[&line]).is_unreadable);
        }
    }
}
