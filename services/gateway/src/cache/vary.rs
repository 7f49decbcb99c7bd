//! Selection of responses: `Vary` (RFC 9110, section 12.5.5) and the part of the key that it
//! determines (RFC 9111, section 4.1).

use std::sync::Arc;

use http::HeaderValue;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CONTENT_ENCODING, COOKIE, FORWARDED,
    HeaderName, ORIGIN, REFERER, USER_AGENT, VARY,
};
use http_semantics::negotiation::{FULL, coding, thousandths};

use crate::fields::Fields;
use crate::request::claims::is_claim;
use crate::request::forwarded::{FORWARDED_FOR, REQUEST_ID};
use crate::request::hop_by_hop::is_hop_by_hop;
use crate::request::name_matches;
use crate::request::trace_context::TRACEPARENT;
use crate::request::trace_state::TRACESTATE;

/// Maximum fields that select a response. The upstreams list two or three; a longer list matches
/// hardly any other request.
const MAX_FIELDS: usize = 8;

/// Maximum bytes of the values that select a response. They come from clients; a list of media
/// types or languages has a few hundred.
const MAX_BYTES: usize = 1024;

/// Fields whose values the gateway writes or checks for each client or request. The client's
/// fields, which select a stored response, do not contain these values.
const PER_REQUEST: [HeaderName; 5] =
    [FORWARDED, FORWARDED_FOR, REQUEST_ID, TRACEPARENT, TRACESTATE];

/// The request fields that select a response, in a fixed order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vary {
    /// `Accept-Encoding`, whose values are normalized.
    codings: bool,
    /// All others.
    fields: Arc<[HeaderName]>,
}

impl Vary {
    /// Parses the field; `None` if every request differs (`*`, a field of [`PER_REQUEST`], or a field
    /// that only trusted proxies may set), or if the field is malformed.
    pub(super) fn of(headers: &Fields) -> Option<Self> {
        // A response with a content coding counts as negotiated even if `Vary` does not list
        // `Accept-Encoding`.
        let mut codings = headers.contains_key(CONTENT_ENCODING);
        let mut fields = Vec::new();
        for name in headers.members(VARY).filter(|name| !name.is_empty()) {
            if name == b"*" {
                return None;
            }
            let name = HeaderName::from_bytes(name).ok()?;
            let text = name.as_str();
            let never_arrives = is_claim(text, true) || is_hop_by_hop(&name);
            if PER_REQUEST.iter().any(|own| name_matches(text, own.as_str()))
                || (!never_arrives && is_claim(text, false))
            {
                return None;
            }
            // The upstream receives no value of a client, so none selects the response. Scheme
            // and host, which the gateway sends, are a part of the key.
            if never_arrives {
                continue;
            }
            if name == ACCEPT_ENCODING {
                codings = true;
            } else if !fields.contains(&name) {
                fields.push(name);
            }
        }
        if fields.len() > MAX_FIELDS {
            return None;
        }
        fields.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        Some(Self { codings, fields: fields.into() })
    }

    /// The values of these fields in a request; `None` if they are too long for a key.
    pub(super) fn variant(&self, request: &Fields) -> Option<Variant> {
        let codings = if self.codings { Codings::of(request) } else { Codings::default() };
        let mut values = Vec::new();
        for (index, name) in (0_u8..).zip(self.fields.iter()) {
            push_other_names(&mut values, index, name, request)?;
            let mut lines = request.get_all(name);
            // An absent field adds nothing, so that the most common request needs no allocation;
            // the index distinguishes the others.
            let Some(first) = lines.next() else { continue };
            values.push(index);
            let start = values.len();
            values.extend_from_slice(&[0; 4]);
            values.extend_from_slice(first.as_bytes().trim_ascii());
            for line in lines {
                values.push(b',');
                values.extend_from_slice(line.as_bytes().trim_ascii());
            }
            if let Some(value) = values.get(start + 4..).and_then(|value| normalized(name, value)) {
                values.truncate(start + 4);
                values.extend_from_slice(&value);
            }
            let length = u32::try_from(values.len() - start - 4).ok()?;
            values.get_mut(start..start + 4)?.copy_from_slice(&length.to_be_bytes());
            if values.len() > MAX_BYTES {
                return None;
            }
        }
        Some(Variant { codings, values })
    }
}

impl Vary {
    /// The single preferred language of a request in lower case, where only languages and codings
    /// select the response.
    pub(super) fn language(&self, request: &Fields) -> Option<String> {
        if *self.fields != [ACCEPT_LANGUAGE] {
            return None;
        }
        let line = request.only(ACCEPT_LANGUAGE)?;
        let mut wanted = languages(line.as_bytes())?.into_iter();
        let (weight, first) = wanted.next()?;
        let is_only = wanted.next().is_none_or(|(next, _)| next < weight);
        (is_only && weight > 0 && first != "*").then_some(first)
    }

    /// Whether a response for this variant has a coding that the request accepts.
    pub(super) fn accepts_coding_of(&self, request: &Fields, variant: &Variant) -> bool {
        !self.codings || Codings::of(request) == variant.codings
    }
}

/// Adds the fields that some upstreams read as one of this name, such as `X_Name`. Others ignore them,
/// so they are kept apart from those of this name.
fn push_other_names(
    values: &mut Vec<u8>,
    index: u8,
    name: &HeaderName,
    request: &Fields,
) -> Option<()> {
    let others = request
        .iter()
        .filter(|(other, _)| name_matches(other.as_str(), name.as_str()) && *other != name);
    for (other, value) in others {
        values.push(index | 0x80);
        for part in [other.as_str().as_bytes(), value.as_bytes()] {
            values.extend_from_slice(&u32::try_from(part.len()).ok()?.to_be_bytes());
            values.extend_from_slice(part);
        }
        if values.len() > MAX_BYTES {
            return None;
        }
    }
    Some(())
}

/// Fields that are not comma-separated lists.
const NO_LISTS: [HeaderName; 5] = [AUTHORIZATION, COOKIE, ORIGIN, REFERER, USER_AGENT];

/// Canonical form of a value, equal for all values with the same meaning (RFC 9111, section 4.1);
/// `None` if the value is already canonical. A list has no white space around its commas. With
/// white space, quotes or comments inside its members, a value is not certain to be a list.
fn normalized(name: &HeaderName, value: &[u8]) -> Option<Vec<u8>> {
    if *name == ACCEPT_LANGUAGE
        && let Some(languages) = languages(value)
    {
        let member = |(weight, language): (u16, String)| format!("{language};q={weight}");
        return Some(languages.into_iter().map(member).collect::<Vec<_>>().join(",").into_bytes());
    }
    if NO_LISTS.contains(name) || !value.contains(&b',') {
        return None;
    }
    let members: Vec<_> = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).collect();
    let is_odd = |byte: &u8| byte.is_ascii_whitespace() || b"\"()".contains(byte);
    let is_list = !members.iter().any(|member| member.iter().any(is_odd));
    is_list.then(|| members.join(&b','))
}

/// Languages with their weights in thousandths (RFC 9110, section 12.5.4), the heaviest first,
/// equal ones by name, because their order has no meaning. `None` if the list is malformed.
fn languages(value: &[u8]) -> Option<Vec<(u16, String)>> {
    let text = std::str::from_utf8(value).ok()?;
    let mut languages = Vec::new();
    for member in text.split(',').map(str::trim).filter(|member| !member.is_empty()) {
        let (language, weight) = match member.split_once(';') {
            Some((language, weight)) => {
                let value = weight.trim_start().strip_prefix(['q', 'Q'])?.strip_prefix('=')?;
                (language.trim_end(), thousandths(value)?)
            }
            None => (member, FULL),
        };
        let is_range = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'*');
        if language.is_empty() || !language.bytes().all(is_range) {
            return None;
        }
        languages.push((weight, language.to_ascii_lowercase()));
    }
    languages.sort_unstable_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.cmp(other)));
    Some(languages)
}

/// The part of the key that `Vary` determines.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Variant {
    codings: Codings,
    /// Place, length and value of each other field that is present.
    values: Vec<u8>,
}

impl Variant {
    /// Heap memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.values.capacity()
    }
}

/// Content codings that a client accepts: one of eight sets, however they are written. Weights are
/// ignored, because the upstream may choose among the accepted codings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Codings {
    brotli: bool,
    gzip: bool,
    not_identity: bool,
}

impl Codings {
    /// Parses `Accept-Encoding` (RFC 9110, section 12.5.3). Without the field no coding is
    /// accepted, and malformed members are ignored.
    pub(crate) fn of(request: &Fields) -> Self {
        let mut lines = request.get_all(ACCEPT_ENCODING);
        match (lines.next().map(HeaderValue::as_bytes), lines.next()) {
            (None, _) => Self::default(),
            // The usual values of browsers skip the parser, which takes half of the time of a hit.
            (Some(b"gzip, deflate, br, zstd" | b"gzip, deflate, br"), None) => {
                Self { brotli: true, gzip: true, not_identity: false }
            }
            _ => Self::read(request),
        }
    }

    fn read(request: &Fields) -> Self {
        let lines = || {
            let lines = request.get_all(ACCEPT_ENCODING);
            lines.filter_map(|line| line.to_str().ok())
        };
        Self {
            brotli: coding(lines(), "br") > 0,
            gzip: coding(lines(), "gzip") > 0,
            not_identity: coding(lines(), "identity") == 0,
        }
    }

    /// Whether gzip is accepted.
    pub(crate) fn accepts_gzip(self) -> bool {
        self.gzip
    }

    /// The `Accept-Encoding` to send to the upstream, so that its response suits all requests of
    /// the class.
    pub(super) fn field(self) -> HeaderValue {
        HeaderValue::from_static(match (self.brotli, self.gzip, self.not_identity) {
            (true, true, false) => "br, gzip",
            (true, false, false) => "br",
            (false, true, false) => "gzip",
            (false, false, false) => "identity",
            (true, true, true) => "br, gzip, identity;q=0",
            (true, false, true) => "br, identity;q=0",
            (false, true, true) => "gzip, identity;q=0",
            (false, false, true) => "identity;q=0",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vary(lines: &[&str]) -> Option<Vary> {
        Vary::of(&Fields::of_values("vary", lines))
    }

    fn codings(line: &str) -> HeaderValue {
        Codings::of(&Fields::of(&[("accept-encoding", line)])).field()
    }

    #[test]
    fn case_order_and_repetition_do_not_matter() {
        let expected = vary(&["accept-encoding, origin, accept"]);
        assert!(expected.is_some());
        for lines in [
            &["Origin, ACCEPT,Accept-Encoding,,origin"][..],
            &["accept", "origin", " accept-encoding "],
        ] {
            assert_eq!(vary(lines), expected);
        }
        assert_ne!(vary(&["origin, accept"]), expected);
    }

    #[test]
    fn a_response_to_one_request_only_has_no_key() {
        assert_eq!(vary(&["*"]), None);
        assert_eq!(vary(&["accept, *"]), None);
        for name in [
            "X-Forwarded-For",
            "X_Forwarded_For",
            "forwarded",
            "X-Request-ID",
            "accept, traceparent",
            "tracestate",
            "X-Amzn-Oidc-Identity",
            "x-amzn-mtls-clientcert-subject",
        ] {
            assert_eq!(vary(&[name]), None, "{name}");
        }
        assert_eq!(vary(&["a b"]), None);
        assert_eq!(vary(&["a,b,c,d,e,f,g,h,i"]), None);
        assert!(vary(&["a,b,c,d,e,f,g,h,accept-encoding"]).is_some());
    }

    #[test]
    fn a_field_selects_under_each_name_that_an_upstream_may_read_as_it() {
        let vary = vary(&["x-language"]).unwrap();
        let variant = |fields: &[(&str, &str)]| vary.variant(&Fields::of(fields)).unwrap();
        let absent = variant(&[]);
        assert_ne!(variant(&[("x_language", "de")]), absent);
        // Other upstreams ignore the second name.
        assert_ne!(variant(&[("x_language", "de")]), variant(&[("x-language", "de")]));
        for real in ["en", "en,de"] {
            assert_ne!(
                variant(&[("x-language", "en"), ("x_language", "de")]),
                variant(&[("x-language", real)])
            );
        }
        assert_eq!(variant(&[("xlanguage", "de"), ("x-languages", "de")]), absent);
    }

    #[test]
    fn fields_that_no_upstream_receives_from_a_client_do_not_select() {
        let expected = vary(&["accept"]);
        assert!(expected.is_some());
        for name in
            ["CF-IPCountry", "X-Real-IP", "True-Client-IP", "X-Forwarded-Proto", "X_User", "TE"]
        {
            assert_eq!(vary(&[name, "accept"]), expected, "{name}");
        }
    }

    #[test]
    fn a_content_coding_implies_vary() {
        let silent = Vary::of(&Fields::of(&[("content-encoding", "gzip")]));
        assert_eq!(silent, vary(&["accept-encoding"]));
    }

    #[test]
    fn requests_match_if_the_selecting_fields_match() {
        let vary = vary(&["accept-encoding, origin, x"]).unwrap();
        let variant = |fields: &[(&str, &str)]| vary.variant(&Fields::of(fields)).unwrap();
        assert_eq!(variant(&[("y", "1")]), variant(&[]));
        assert_eq!(
            variant(&[("accept-encoding", "gzip;q=0.5, br"), ("origin", "a")]),
            variant(&[("origin", "a"), ("accept-encoding", "br,gzip,zstd")]),
        );
        for (one, other) in [
            (&[("origin", "a")][..], &[("origin", "b")][..]),
            (&[("origin", "a")], &[]),
            (&[("origin", "")], &[]),
            (&[("origin", "a")], &[("x", "a")]),
            (&[("origin", "a"), ("x", "b")], &[("origin", "a,b")]),
            (&[("accept-encoding", "br")], &[("accept-encoding", "gzip")]),
        ] {
            assert_ne!(variant(one), variant(other));
        }
        assert_eq!(variant(&[("origin", "a"), ("origin", "b")]), variant(&[("origin", "a,b")]),);
        assert_eq!(vary.variant(&Fields::of(&[("x", &"x".repeat(1024))])), None);
    }

    #[test]
    fn values_with_the_same_meaning_have_the_same_key() {
        const LANGUAGE: &str = "accept-language";
        let same = |name: &str, one: &str, other: &str| {
            let vary = vary(&[name]).unwrap();
            let variant = |value: &str| vary.variant(&Fields::of(&[(name, value)])).unwrap();
            variant(one) == variant(other)
        };
        for (one, other) in [
            ("en, de", "de, en"),
            ("en, de", "eN,De"),
            ("en, de", "en ,   de"),
            ("en;q=1, de;q=0.5", "de ; Q=0.500, en"),
        ] {
            assert!(same(LANGUAGE, one, other), "{one} {other}");
        }
        for (one, other) in [
            ("en, de", "en"),
            ("en, de", "en, de;q=0.9"),
            ("en;q=0.9, de", "en, de;q=0.9"),
            ("en;q=2", "en"),
            ("en;q=x", "en"),
            ("a b", "ab"),
        ] {
            assert!(!same(LANGUAGE, one, other), "{one} {other}");
        }
        assert!(same("foo", "1,2", " 1, 2 "));
        for (name, one, other) in [
            ("foo", "\"1, 2\"", "\"1,2\""),
            ("foo", "a (b, c)", "a (b,c)"),
            ("foo", "1 2, 3", "1 2,3"),
            ("cookie", "a=1, 2", "a=1,2"),
            ("user-agent", "a, b", "a,b"),
        ] {
            assert!(!same(name, one, other), "{name} {one} {other}");
        }
    }

    #[test]
    fn at_most_one_language_is_preferred() {
        let wanted = |line: &str| {
            let vary = vary(&["accept-language, accept-encoding"]).unwrap();
            vary.language(&Fields::of(&[("accept-language", line)]))
        };
        assert_eq!(wanted("fr;q=0.5, DE;q=1.0").as_deref(), Some("de"));
        assert_eq!(wanted("de-AT, de;q=0.9").as_deref(), Some("de-at"));
        for line in ["en, de", "*", "de;q=0", "", "de;q=x"] {
            assert_eq!(wanted(line), None, "{line}");
        }
        let other = vary(&["accept-language, x"]).unwrap();
        assert_eq!(other.language(&Fields::of(&[("accept-language", "de")])), None);
    }

    #[test]
    fn the_common_request_needs_no_allocation() {
        let vary = vary(&["accept-encoding, origin"]).unwrap();
        let variant = vary.variant(&Fields::of(&[("accept-encoding", "gzip")])).unwrap();
        assert_eq!(variant.bytes(), 0);
    }

    #[test]
    fn the_shortcut_for_browsers_equals_the_parser() {
        for line in ["gzip, deflate, br, zstd", "gzip, deflate, br", "gzip, deflate"] {
            let request = Fields::of(&[("accept-encoding", line)]);
            assert_eq!(Codings::of(&request), Codings::read(&request), "{line}");
        }
        let twice =
            Fields::of(&[("accept-encoding", "gzip, deflate, br"), ("accept-encoding", "br;q=0")]);
        assert_eq!(Codings::of(&twice).field(), "gzip");
    }

    #[test]
    fn every_list_of_codings_is_one_of_eight_sets() {
        for (line, expected) in [
            ("gzip, deflate, br, zstd", "br, gzip"),
            ("br;q=1.0, gzip;q=0.8, *;q=0.1", "br, gzip"),
            ("X-GZIP", "gzip"),
            ("*", "br, gzip"),
            ("*, br;q=0", "gzip"),
            ("br;q=0.000, gzip;q=0.001", "gzip"),
            ("br;q=0., gzip;q=1.", "gzip"),
            ("gzip;q=2, br;q=x, br;level=1", "identity"),
            ("gzip, gzip;q=0", "identity"),
            ("", "identity"),
            ("identity", "identity"),
            ("identity;q=0", "identity;q=0"),
            ("br, *;q=0", "br, identity;q=0"),
            ("gzip, *;q=0, identity", "gzip"),
        ] {
            assert_eq!(codings(line), expected, "{line}");
        }
        assert_eq!(Codings::of(&Fields::new()).field(), "identity");
    }

    proptest! {
        #[test]
        fn the_upstream_field_has_the_same_meaning(line in "[brgzip*;q=01., a-z]{0,40}") {
            let asked = codings(&line);
            prop_assert_eq!(codings(asked.to_str().unwrap()), asked);
        }

        #[test]
        fn no_input_causes_a_panic(
            lines in proptest::collection::vec(proptest::collection::vec(32_u8..=255, 0..60), 0..4),
        ) {
            let mut headers = Fields::new();
            for line in lines {
                if let Ok(value) = HeaderValue::from_bytes(&line) {
                    headers.append(VARY, value.clone());
                    headers.append(ACCEPT_ENCODING, value);
                }
            }
            if let Some(vary) = Vary::of(&headers) {
                prop_assert_eq!(vary.variant(&headers), vary.variant(&headers));
            }
        }

        #[test]
        fn different_values_are_different_variants(
            one in proptest::collection::vec(proptest::option::of("[a-c,]{0,3}"), 3),
            other in proptest::collection::vec(proptest::option::of("[a-c,]{0,3}"), 3),
        ) {
            let vary = vary(&["x, y, z"]).unwrap();
            let variant = |values: &[Option<String>]| {
                let fields: Vec<_> = ["x", "y", "z"]
                    .into_iter()
                    .zip(values)
                    .filter_map(|(name, value)| Some((name, value.as_deref()?)))
                    .collect();
                vary.variant(&Fields::of(&fields)).unwrap()
            };
            prop_assert_eq!(variant(&one) == variant(&other), one == other);
        }
    }
}
