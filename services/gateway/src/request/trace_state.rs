//! Validation of `tracestate` (W3C Trace Context Level 2, section 3.3): a list of at most 32
//! members `key=value`. An invalid list is dropped as a whole, as the standard allows.

use http::HeaderName;

use crate::fields::Fields;

/// Vendor-specific data of the trace; meaningless without its `traceparent`.
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Maximum list members.
const MAX_MEMBERS: usize = 32;

/// Maximum characters of a key and of a value.
const LONGEST: usize = 256;

/// Whether all fields together form one valid list; no field is valid.
pub(super) fn is_valid(headers: &Fields) -> bool {
    let mut count = 0;
    // Empty members are allowed and not counted.
    for member in headers.members(TRACESTATE).filter(|member| !member.is_empty()) {
        let Some(equals) = member.iter().position(|&byte| byte == b'=') else { return false };
        let (key, value) = (&member[..equals], &member[equals + 1..]);
        count += 1;
        if !is_key(key) || !is_value(value) || count > MAX_MEMBERS {
            return false;
        }
    }
    true
}

fn is_key(key: &[u8]) -> bool {
    let letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=LONGEST).contains(&key.len())
        && key.first().is_some_and(letter)
        && key.iter().all(|byte| letter(byte) || b"_-*/@".contains(byte))
}

fn is_value(value: &[u8]) -> bool {
    let allowed = |byte: &u8| matches!(byte, b' '..=b'~') && !b",=".contains(byte);
    (1..=LONGEST).contains(&value.len()) && value.iter().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn valid(lines: &[&str]) -> bool {
        is_valid(&Fields::of_values("tracestate", lines))
    }

    fn members(count: usize) -> String {
        (0..count).map(|number| format!("k{number}=1")).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn lists_of_known_vendors_are_valid() {
        let longest = format!("{}={}", "z".repeat(256), "v".repeat(256));
        for lines in [
            &[][..],
            &["foo=1"],
            &["foo=1,bar=2"],
            &["foo=1 \t , \t bar=2,,"],
            &["foo=1", "bar=2"],
            // Duplicate keys are a vendor's mistake that the standard requires to pass on.
            &["foo=1,foo=1"],
            &["a-_*/9@s=a b!"],
            &["9=1"],
            // Level 1 allows one `@`, followed by a system id of 14 characters.
            &["foo@=1,bar=2"],
            &["foo@@bar@9=1"],
            &[&longest],
            &[&members(32)],
            &[""],
        ] {
            assert!(valid(lines), "{lines:?}");
        }
    }

    #[test]
    fn malformed_or_long_lists_are_invalid() {
        let key = format!("{}=1", "z".repeat(257));
        let value = format!("k={}", "v".repeat(257));
        for lines in [
            &["foo"][..],
            &["foo=1,bar"],
            &["foo @=1"],
            &["FOO=1"],
            &["foo.bar=1"],
            &["@foo=1,bar=2"],
            &["=1"],
            &["foo=bar=baz"],
            &["foo=,bar=3"],
            &["foo=é"],
            &[&key],
            &[&value],
            &[&members(33)],
            &[&members(20), &members(33)[60..]],
        ] {
            assert!(!valid(lines), "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn no_input_causes_a_panic(line in proptest::collection::vec(32..=255_u8, 0..80)) {
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                is_valid(&Fields::from_iter([(TRACESTATE, value)]));
            }
        }
    }
}
