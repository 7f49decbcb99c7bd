//! Content negotiation: `Accept` and `Accept-Encoding` (RFC 9110, sections 12.4.2, 12.5.1 and
//! 12.5.3).
//!
//! All functions take the lines of a field, which form one list. A member with a malformed weight
//! is ignored.

/// The maximum weight, in thousandths, which is also the default.
pub const FULL: u16 = 1000;

/// Preference of a client. A greater value is preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quality {
    /// The weight in thousandths; never 0.
    pub thousandths: u16,
    /// The precision of the matching range.
    pub exactness: u8,
}

/// A member of a list with weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// The text before the first semicolon: a media range, or a content coding.
    pub name: &'a str,
    /// The weight, in thousandths.
    pub thousandths: u16,
    /// Whether it has parameters besides the weight.
    pub has_parameters: bool,
}

/// The valid members of a list.
pub fn members<'a>(lines: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = Member<'a>> {
    lines.into_iter().flat_map(|line| split(line, ',')).filter_map(member)
}

/// Preference of the client for a media type without parameters, such as `text/plain`; `None` if
/// the client does not accept it. The most specific matching range applies, and parameters of
/// ranges are ignored. An empty list accepts everything.
pub fn media_type<'a>(
    accept: impl IntoIterator<Item = &'a str>,
    media_type: &str,
) -> Option<Quality> {
    let main_type = media_type.split_once('/').map_or(media_type, |(main_type, _)| main_type);
    let exactness = |range: &str| {
        let main_of = range.strip_suffix("/*");
        if range.eq_ignore_ascii_case(media_type) {
            Some(2)
        } else if main_of.is_some_and(|main| main.eq_ignore_ascii_case(main_type)) {
            Some(1)
        } else {
            (range == "*/*").then_some(0)
        }
    };
    let mut best: Option<(u8, u16)> = None;
    let mut is_silent = true;
    for member in members(accept) {
        is_silent = false;
        if let Some(exactness) = exactness(member.name) {
            best = best.max(Some((exactness, member.thousandths)));
        }
    }
    match best {
        Some((exactness, thousandths)) => {
            (thousandths > 0).then_some(Quality { thousandths, exactness })
        }
        None => is_silent.then_some(Quality { thousandths: FULL, exactness: 0 }),
    }
}

/// The weight of a media type that the list contains exactly, in thousandths; otherwise 0.
pub fn named<'a>(accept: impl IntoIterator<Item = &'a str>, media_type: &str) -> u16 {
    let named = members(accept).filter(|member| member.name.eq_ignore_ascii_case(media_type));
    named.map(|member| member.thousandths).max().unwrap_or(0)
}

/// The weight of a content coding, in thousandths; 0 if the client does not accept it. `identity`
/// is acceptable unless it is excluded, with a lower weight than any listed coding. Of duplicates,
/// the smallest weight applies, so that a client never receives a coding that it may have excluded.
/// Codings have no parameters; a member with parameters is ignored.
pub fn coding<'a>(accept: impl IntoIterator<Item = &'a str>, coding: &str) -> u16 {
    let (mut own, mut any) = (None::<u16>, None::<u16>);
    for member in members(accept).filter(|member| !member.has_parameters) {
        let place = if is_coding(member.name, coding) {
            &mut own
        } else if member.name == "*" {
            &mut any
        } else {
            continue;
        };
        *place = Some(place.map_or(member.thousandths, |known| known.min(member.thousandths)));
    }
    let silent = u16::from(coding.eq_ignore_ascii_case("identity"));
    own.or(any).unwrap_or(silent)
}

/// RFC 9110, section 8.4.1: names are case-insensitive, and two codings have an older name.
fn is_coding(name: &str, coding: &str) -> bool {
    let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
    is(coding) || (coding == "gzip" && is("x-gzip")) || (coding == "compress" && is("x-compress"))
}

fn member(text: &str) -> Option<Member<'_>> {
    let mut parts = split(text, ';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let (mut weight, mut has_parameters) = (None, false);
    for part in parts {
        let value = part.strip_prefix(['q', 'Q']).and_then(|rest| rest.strip_prefix('='));
        match value {
            // Parameters after the weight belong to an obsolete extension.
            Some(value) if weight.is_none() => weight = Some(thousandths(value)?),
            _ => has_parameters = true,
        }
    }
    Some(Member { name, thousandths: weight.unwrap_or(FULL), has_parameters })
}

/// A weight: `0` or `1`, and up to three decimals, which must be zeros after `1`. Before decimals,
/// `0` may be missing: Java up to version 17 sends `*/*; q=.2` by default.
pub fn thousandths(text: &str) -> Option<u16> {
    let (whole, digits) = text.split_once('.').unwrap_or((text, ""));
    if digits.len() > 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let places = [100, 10, 1];
    let part =
        digits.bytes().zip(places).map(|(digit, place)| u16::from(digit - b'0') * place).sum();
    match (whole, part) {
        ("0", part) => Some(part),
        ("", part) if !digits.is_empty() => Some(part),
        ("1", 0) => Some(FULL),
        _ => None,
    }
}

/// The parts between separators outside quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut is_quoted, mut is_escaped) = (false, false);
        for (place, c) in text.char_indices() {
            match c {
                _ if is_escaped => is_escaped = false,
                '\\' if is_quoted => is_escaped = true,
                '"' => is_quoted = !is_quoted,
                c if c == separator && !is_quoted => {
                    rest = text.get(place + c.len_utf8()..);
                    return text.get(..place);
                }
                _ => {}
            }
        }
        rest = None;
        Some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json(accept: &str) -> u16 {
        media_type([accept], "application/json").map_or(0, |quality| quality.thousandths)
    }

    #[test]
    fn a_client_without_the_field_accepts_every_type_and_only_identity() {
        assert_eq!(media_type([], "application/json").unwrap().thousandths, FULL);
        assert_eq!(json(" , "), FULL);
        assert_eq!((coding([], "gzip"), coding([], "identity")), (0, 1));
        assert_eq!((coding([""], "gzip"), coding([""], "identity")), (0, 1));
    }

    #[test]
    fn ranges_match_in_any_case_and_the_most_exact_decides() {
        assert_eq!(json("*/*"), 1000);
        assert_eq!(json("Application/*;q=0.5"), 500);
        assert_eq!(json("APPLICATION/JSON"), 1000);
        assert_eq!(json("*/*, application/json;q=0"), 0);
        assert_eq!(json("application/json;q=0.2, */*;q=0.9"), 200);
        assert_eq!(json("text/html"), 0);
        assert_eq!(json("application/jsonx"), 0);
        assert_eq!(json("application/json;version=1;q=0.3"), 300);
        assert!(media_type(["text/html", "text/plain"], "text/plain").is_some());
    }

    #[test]
    fn a_type_is_named_only_by_its_name() {
        assert_eq!(named(["*/*, text/html;q=0.8"], "TEXT/html"), 800);
        assert_eq!(named(["*/*"], "text/html"), 0);
        assert_eq!(named(["text/html;q=0"], "text/html"), 0);
        assert_eq!(named(["text/html;level=1;q=0.1, text/html"], "text/html"), 1000);
    }

    #[test]
    fn a_coding_can_be_refused_and_the_refusal_counts() {
        for (accept, gzip, identity) in [
            ("br, gzip;q=0.8", 800, 1),
            ("*", 1000, 1000),
            ("*, gzip;q=0", 0, 1000),
            ("gzip, gzip;q=0", 0, 1),
            ("X-GZIP;q=0.3", 300, 1),
            ("identity;q=0", 0, 0),
            ("*;q=0", 0, 0),
            ("*;q=0, identity", 0, 1000),
            ("gzip;level=1", 0, 1),
        ] {
            let weights = (coding([accept], "gzip"), coding([accept], "identity"));
            assert_eq!(weights, (gzip, identity), "{accept}");
        }
        assert_eq!(coding(["br", "gzip"], "gzip"), 1000, "two lines are one list");
    }

    #[test]
    fn a_member_with_a_malformed_weight_is_ignored() {
        for odd in ["NaN", "-1", "2", "", "much", "1e0", "+1", "0.1234", "1.001", ".", "00", " 1"] {
            assert_eq!(json(&format!("*/*;q=0.3, application/json;q={odd}")), 300, "{odd}");
            assert_eq!(coding([&*format!("gzip;q={odd}, *;q=0.3")], "gzip"), 300, "{odd}");
        }
        assert_eq!(json("application/json;q=x"), FULL, "nothing else is named");
    }

    #[test]
    fn every_form_of_a_weight_is_read() {
        for (text, weight) in [
            ("0", 0),
            ("0.", 0),
            ("0.000", 0),
            ("0.5", 500),
            (".5", 500),
            ("0.05", 50),
            ("0.001", 1),
            ("0.999", 999),
            ("1", 1000),
            ("1.", 1000),
            ("1.000", 1000),
        ] {
            for q in ["q", "Q"] {
                assert_eq!(json(&format!("application/json ; {q}={text} ,")), weight, "{text}");
            }
        }
    }

    #[test]
    fn separators_inside_quotes_are_none() {
        let accept = r#"text/plain;a="x,;q=0 \" y";q=0.5, application/json;q=0.1"#;
        let read: Vec<_> = members([accept]).map(|it| (it.name, it.thousandths)).collect();
        assert_eq!(read, [("text/plain", 500), ("application/json", 100)]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_weights_are_weights(
            lines in proptest::collection::vec("\\PC{0,40}", 0..3),
            text in "[a-z*/;q=01.,\" ]{0,40}",
        ) {
            let lines = || lines.iter().map(String::as_str).chain([text.as_str()]);
            for member in members(lines()) {
                prop_assert!(member.thousandths <= FULL && !member.name.is_empty());
            }
            for name in ["gzip", "br", "identity"] {
                prop_assert!(coding(lines(), name) <= FULL);
            }
            let exact = named(lines(), "a/b");
            prop_assert!(media_type(lines(), "a/b").is_some() || exact == 0);
        }

        #[test]
        fn every_weight_is_read_as_it_is_written(weight in 0_u16..=1000, spaces in " {0,3}") {
            let text = if weight == 1000 { "1.000".to_owned() } else { format!("0.{weight:03}") };
            prop_assert_eq!(coding([&*format!("gzip{spaces};{spaces}q={text}")], "gzip"), weight);
            prop_assert_eq!(json(&format!("{spaces}application/json;q={text}{spaces}")), weight);
        }

        #[test]
        fn neither_order_nor_lines_of_codings_matter(
            members in proptest::collection::vec("(gzip|br|\\*|identity)(;q=(0|1|0\\.5|x))?", 0..5),
        ) {
            let one = members.join(", ");
            let reversed: Vec<_> = members.iter().rev().map(String::as_str).collect();
            for name in ["gzip", "br", "identity"] {
                prop_assert_eq!(coding([&*one], name), coding(reversed.iter().copied(), name));
            }
        }
    }
}
