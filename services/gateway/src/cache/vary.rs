//! Which requests an answer is for: `Vary` (RFC 9110, section 12.5.5) and the part of the key that
//! it makes (RFC 9111, section 4.1).

use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderName, VARY};
use http::{HeaderMap, HeaderValue};
use semantics::negotiation::coding;

/// Fields that may select an answer. The upstreams name two or three; who names many has answers
/// for one request each.
const MOST_FIELDS: usize = 8;

/// Bytes of the values that select an answer. They come from clients, and a list of media types
/// or languages has a few hundred.
const MOST_BYTES: usize = 1024;

/// The request fields that select an answer, in a fixed order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vary {
    /// `Accept-Encoding`, whose values are known.
    codings: bool,
    /// All others.
    fields: Arc<[HeaderName]>,
}

impl Vary {
    /// Reads the field; `None` if every request is different (`*`), or if it cannot be said.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        // Who sends a coding and forgets to say that it was negotiated has negotiated it.
        let mut codings = headers.contains_key(CONTENT_ENCODING);
        let mut fields = Vec::new();
        for line in headers.get_all(VARY) {
            let names = line.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
            for name in names.filter(|name| !name.is_empty()) {
                if name == b"*" {
                    return None;
                }
                let name = HeaderName::from_bytes(name).ok()?;
                if name == ACCEPT_ENCODING {
                    codings = true;
                } else if !fields.contains(&name) {
                    fields.push(name);
                }
            }
        }
        if fields.len() > MOST_FIELDS {
            return None;
        }
        fields.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        Some(Self { codings, fields: fields.into() })
    }

    /// What a request has in these fields; `None` if that is too long to be a key.
    pub(super) fn variant(&self, request: &HeaderMap) -> Option<Variant> {
        let codings = if self.codings { Codings::of(request) } else { Codings::default() };
        let mut values = Vec::new();
        for (place, name) in (0_u8..).zip(self.fields.iter()) {
            let mut lines = request.get_all(name).iter();
            // A field that is not there leaves no trace, so that the most usual request needs no
            // allocation; the place keeps the others apart.
            let Some(first) = lines.next() else { continue };
            values.push(place);
            let start = values.len();
            values.extend_from_slice(&[0; 4]);
            values.extend_from_slice(first.as_bytes().trim_ascii());
            for line in lines {
                values.push(b',');
                values.extend_from_slice(line.as_bytes().trim_ascii());
            }
            let length = u32::try_from(values.len() - start - 4).ok()?;
            values.get_mut(start..start + 4)?.copy_from_slice(&length.to_be_bytes());
            if values.len() > MOST_BYTES {
                return None;
            }
        }
        Some(Variant { codings, values })
    }
}

/// The part of the key that `Vary` makes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Variant {
    codings: Codings,
    /// Place, length and value of each other field that is there.
    values: Vec<u8>,
}

impl Variant {
    /// What it takes beside its own size.
    pub(super) fn bytes(&self) -> usize {
        self.values.capacity()
    }
}

/// Which content codings a client takes: one of eight sets, however many ways there are to say it.
/// Weights are left out, for with a choice the upstream may choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Codings {
    brotli: bool,
    gzip: bool,
    not_identity: bool,
}

impl Codings {
    /// Reads `Accept-Encoding` (RFC 9110, section 12.5.3). A client that says nothing gets no
    /// coding, and a member that cannot be read is not there.
    pub(crate) fn of(request: &HeaderMap) -> Self {
        let mut lines = request.get_all(ACCEPT_ENCODING).into_iter();
        match (lines.next().map(HeaderValue::as_bytes), lines.next()) {
            (None, _) => Self::default(),
            // What browsers send needs no reading, which takes half of the time of a hit.
            (Some(b"gzip, deflate, br, zstd" | b"gzip, deflate, br"), None) => {
                Self { brotli: true, gzip: true, not_identity: false }
            }
            _ => Self::read(request),
        }
    }

    fn read(request: &HeaderMap) -> Self {
        let lines = || {
            let lines = request.get_all(ACCEPT_ENCODING).into_iter();
            lines.filter_map(|line| line.to_str().ok())
        };
        Self {
            brotli: coding(lines(), "br") > 0,
            gzip: coding(lines(), "gzip") > 0,
            not_identity: coding(lines(), "identity") == 0,
        }
    }

    /// Whether gzip is among them.
    pub(crate) fn takes_gzip(self) -> bool {
        self.gzip
    }

    /// The field to ask an upstream with, so that its answer is one for all requests of this kind.
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

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn vary(lines: &[&str]) -> Option<Vary> {
        let fields: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
        Vary::of(&headers(&fields))
    }

    fn codings(line: &str) -> HeaderValue {
        Codings::of(&headers(&[("accept-encoding", line)])).field()
    }

    #[test]
    fn neither_case_nor_order_nor_repetition_matters() {
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
    fn an_answer_to_one_request_only_has_no_key() {
        assert_eq!(vary(&["*"]), None);
        assert_eq!(vary(&["accept, *"]), None);
        assert_eq!(vary(&["a b"]), None);
        assert_eq!(vary(&["a,b,c,d,e,f,g,h,i"]), None);
        assert!(vary(&["a,b,c,d,e,f,g,h,accept-encoding"]).is_some());
    }

    #[test]
    fn a_coding_varies_even_if_nobody_said_so() {
        let silent = Vary::of(&headers(&[("content-encoding", "gzip")]));
        assert_eq!(silent, vary(&["accept-encoding"]));
    }

    #[test]
    fn requests_are_alike_when_the_named_fields_are() {
        let vary = vary(&["accept-encoding, origin, x"]).unwrap();
        let variant = |fields: &[(&str, &str)]| vary.variant(&headers(fields)).unwrap();
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
        assert_eq!(vary.variant(&headers(&[("x", &"x".repeat(1024))])), None);
    }

    #[test]
    fn the_usual_request_needs_no_allocation() {
        let vary = vary(&["accept-encoding, origin"]).unwrap();
        let variant = vary.variant(&headers(&[("accept-encoding", "gzip")])).unwrap();
        assert_eq!(variant.bytes(), 0);
    }

    #[test]
    fn what_browsers_send_means_what_is_written() {
        for line in ["gzip, deflate, br, zstd", "gzip, deflate, br", "gzip, deflate"] {
            let request = headers(&[("accept-encoding", line)]);
            assert_eq!(Codings::of(&request), Codings::read(&request), "{line}");
        }
        let twice =
            headers(&[("accept-encoding", "gzip, deflate, br"), ("accept-encoding", "br;q=0")]);
        assert_eq!(Codings::of(&twice).field(), "gzip");
    }

    #[test]
    fn every_way_to_name_codings_is_one_of_eight() {
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
        assert_eq!(Codings::of(&HeaderMap::new()).field(), "identity");
    }

    proptest! {
        #[test]
        fn what_is_asked_upstream_means_the_same(line in "[brgzip*;q=01., a-z]{0,40}") {
            let asked = codings(&line);
            prop_assert_eq!(codings(asked.to_str().unwrap()), asked);
        }

        #[test]
        fn no_bytes_make_it_panic(
            lines in proptest::collection::vec(proptest::collection::vec(32_u8..=255, 0..60), 0..4),
        ) {
            let mut headers = HeaderMap::new();
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
                vary.variant(&headers(&fields)).unwrap()
            };
            prop_assert_eq!(variant(&one) == variant(&other), one == other);
        }
    }
}
