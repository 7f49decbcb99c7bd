//! Evaluation of a client's `If-None-Match` and `If-Modified-Since` (RFC 9110, section 13; RFC
//! 9111, section 4.3.2).

use std::time::SystemTime;

use http::HeaderValue;
use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH};

use super::freshness::date;
use crate::fields::Fields;

/// Whether the client already has the representation with this entity tag and modification time.
pub(super) fn is_not_modified(
    request: &Fields,
    tag: Option<&HeaderValue>,
    modified: Option<SystemTime>,
) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        // `If-Modified-Since` is ignored then (RFC 9110, section 13.1.3).
        return tag.is_some_and(|tag| {
            let mut lines = request.get_all(IF_NONE_MATCH);
            lines.any(|line| names(line.as_bytes(), opaque(tag.as_bytes())))
        });
    }
    let since = || date(request, IF_MODIFIED_SINCE);
    modified.is_some_and(|modified| since().is_some_and(|since| modified <= since))
}

/// The entity tag without the weakness prefix.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Whether a list contains this entity tag. Parsing stops at the first syntax error. A tag may
/// contain a comma.
fn names(list: &[u8], wanted: &[u8]) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    loop {
        let empty = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b',')).count();
        rest = rest.get(empty..).map_or(&[][..], opaque);
        let end = rest
            .strip_prefix(b"\"")
            .and_then(|inside| inside.iter().position(|&byte| byte == b'"'))
            .and_then(|end| rest.split_at_checked(end + 2));
        let Some((tag, behind)) = end else { return false };
        rest = behind.trim_ascii_start();
        if !rest.is_empty() && !rest.starts_with(b",") {
            return false;
        }
        if tag == wanted {
            return true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn matches(line: &str, tag: &str) -> bool {
        let request = Fields::of(&[("if-none-match", line)]);
        is_not_modified(&request, Some(&HeaderValue::from_str(tag).unwrap()), None)
    }

    #[test]
    fn tags_are_compared_weakly_and_as_a_whole() {
        for line in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "\"b\" ,W/\"a\" , \"c\"", "*", ", \"a\""] {
            assert!(matches(line, "\"a\""), "{line}");
            assert!(matches(line, "W/\"a\""), "{line}");
        }
        for line in
            ["", "a", "\"b\"", "\"a", "a\"", "\"x,\"a\"\"", "\"b\" \"a\"", "w/\"a\"", "*, \"b\""]
        {
            assert!(!matches(line, "\"a\""), "{line}");
        }
        assert!(matches("\"a,b\"", "\"a,b\""));
        assert!(!matches("\"a,b\"", "\"b\""));
        assert!(!matches("\"\"", "\"a\""));
    }

    #[test]
    fn without_an_etag_nothing_matches() {
        let request = Fields::of(&[("if-none-match", "\"a\"")]);
        assert!(!is_not_modified(&request, None, Some(SystemTime::UNIX_EPOCH)));
    }

    #[test]
    fn a_date_is_evaluated_only_without_tags() {
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let since = |text: &str| Fields::of(&[("if-modified-since", text)]);
        let has = |request: &Fields| is_not_modified(request, None, Some(changed));
        assert!(has(&since("Sun, 06 Nov 1994 08:49:37 GMT")));
        assert!(has(&since("Sunday, 06-Nov-94 08:49:38 GMT")));
        assert!(!has(&since("Sun, 06 Nov 1994 08:49:36 GMT")));
        assert!(!has(&since("yesterday")));
        let mut both = since("Sun, 06 Nov 1994 08:49:37 GMT");
        both.insert(IF_NONE_MATCH, HeaderValue::from_static("\"b\""));
        assert!(!is_not_modified(&both, Some(&HeaderValue::from_static("\"a\"")), Some(changed)));
    }

    proptest! {
        #[test]
        fn a_tag_is_found_at_any_position(
            before in proptest::collection::vec("[ab,]{0,3}", 0..4),
            tag in "[ab,]{0,3}",
        ) {
            let list = before.iter().chain([&tag]).map(|tag| format!("W/\"{tag}\""));
            let list = list.collect::<Vec<_>>().join(", ");
            let wanted = format!("\"{tag}\"");
            prop_assert!(matches(&list, &wanted));
            let others = before.iter().map(|tag| format!("\"{tag}\"")).collect::<Vec<_>>().join(",");
            prop_assert_eq!(matches(&others, &wanted), before.contains(&tag));
        }
    }
}
