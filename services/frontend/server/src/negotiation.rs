//! Content negotiation and revalidation (RFC 9110, sections 12.5.3 and 13.1.2).

use http_semantics::negotiation::coding;

/// Content encodings, the smallest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// `br`, RFC 7932.
    Brotli,
    /// `gzip`, RFC 1952.
    Gzip,
    /// As they are.
    Identity,
}

impl Encoding {
    /// The name in `Content-Encoding`; identity has none there.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
            Self::Identity => "identity",
        }
    }
}

/// The encoding among `offered` (in the server's order) that the client prefers, or
/// `None` when it refuses them all. `accept` is the field's value, `None` when it was not sent.
pub(crate) fn choose(accept: Option<&str>, offered: &[Encoding]) -> Option<Encoding> {
    let Some(accept) = accept else {
        // Without the field, only identity is certain to be understood.
        return Some(Encoding::Identity);
    };
    let mut best: Option<(Encoding, u16)> = None;
    for &encoding in offered {
        let weight = coding([accept], encoding.name());
        // The first of equals stays: the order of `offered` decides.
        if weight > 0 && best.is_none_or(|(_, best)| weight > best) {
            best = Some((encoding, weight));
        }
    }
    best.map(|(encoding, _)| encoding)
}

/// Whether `If-None-Match` names `etag` (quotes included): the client has it already. The
/// comparison is the weak one.
pub(crate) fn matches_etag(if_none_match: &str, etag: &str) -> bool {
    if if_none_match.trim() == "*" {
        return true;
    }
    let mut rest = if_none_match;
    // Each turn takes one tag; a comma inside the quotes belongs to the tag.
    while let Some(start) = rest.find('"') {
        let tag = &rest[start..];
        let Some(length) = tag[1..].find('"') else {
            return false;
        };
        if &tag[..length + 2] == etag {
            return true;
        }
        rest = &tag[length + 2..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::Encoding::{Brotli, Gzip, Identity};
    use super::*;

    fn chosen(accept: &str) -> Option<Encoding> {
        choose(Some(accept), &[Brotli, Gzip, Identity])
    }

    #[test]
    fn the_smallest_of_equally_preferred_encodings_is_chosen() {
        assert_eq!(chosen("gzip, deflate, br, zstd"), Some(Brotli));
        assert_eq!(chosen("gzip"), Some(Gzip));
        assert_eq!(chosen("x-gzip"), Some(Gzip));
        assert_eq!(chosen("*"), Some(Brotli));
        assert_eq!(chosen("GZIP"), Some(Gzip));
    }

    #[test]
    fn weights_come_first() {
        assert_eq!(chosen("br;q=0.1, gzip;q=0.9"), Some(Gzip));
        assert_eq!(chosen("br; q=0.5 , identity"), Some(Identity));
        assert_eq!(chosen("gzip;q=0.001"), Some(Gzip));
        assert_eq!(chosen("br;q=0, *"), Some(Gzip));
    }

    #[test]
    fn identity_is_the_last_resort_unless_it_is_refused() {
        assert_eq!(chosen(""), Some(Identity));
        assert_eq!(chosen("zstd"), Some(Identity));
        assert_eq!(chosen("br;q=0"), Some(Identity));
        assert_eq!(chosen("identity;q=0, gzip"), Some(Gzip));
        assert_eq!(chosen("identity;q=0"), None);
        assert_eq!(chosen("*;q=0"), None);
        assert_eq!(chosen("*;q=0, identity"), Some(Identity));
        assert_eq!(choose(None, &[Brotli, Gzip, Identity]), Some(Identity));
    }

    #[test]
    fn an_encoding_that_is_not_offered_is_not_chosen() {
        assert_eq!(choose(Some("br, gzip"), &[Gzip, Identity]), Some(Gzip));
        assert_eq!(choose(Some("br"), &[Identity]), Some(Identity));
    }

    #[test]
    fn a_member_whose_weight_is_malformed_is_ignored() {
        assert_eq!(chosen("br;q=2, gzip;q=x"), Some(Identity));
        assert_eq!(chosen("br;q=NaN"), Some(Identity));
        assert_eq!(chosen("br;q=-1"), Some(Identity));
        assert_eq!(chosen("br;q=x, gzip;q=0.5"), Some(Gzip));
    }

    #[test]
    fn a_tag_is_found_in_a_list_weak_or_strong() {
        assert!(matches_etag(r#""a""#, r#""a""#));
        assert!(matches_etag(r#""b", W/"a""#, r#""a""#));
        assert!(matches_etag(r#""x,y","a""#, r#""a""#));
        assert!(matches_etag(" * ", r#""a""#));
        assert!(!matches_etag(r#""b""#, r#""a""#));
        assert!(!matches_etag("a", r#""a""#));
        assert!(!matches_etag(r#"""#, r#""a""#));
        assert!(!matches_etag("", r#""a""#));
    }
}
