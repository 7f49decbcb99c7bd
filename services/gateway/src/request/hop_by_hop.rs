//! What ends at the gateway: fields that are about one connection (RFC 9110, section 7.6.1).

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, COOKIE, DATE, EXPECT, FORWARDED,
    HOST, HeaderName, MAX_FORWARDS, ORIGIN, PRAGMA, RANGE, REFERER, TRANSFER_ENCODING, USER_AGENT,
    VIA,
};
use http::{HeaderValue, StatusCode};

use super::{begins, is};
use crate::fields::Fields;

/// Connection options that one message may have. Each is looked for among all fields, so without a
/// bound the largest head would be compared with itself; honest clients send up to three.
const MOST_OPTIONS: usize = 16;

/// A Connection field that must not be obeyed, and why; the answer is 400.
#[derive(Debug, PartialEq)]
pub(crate) struct Abuse(pub(crate) &'static str);

/// The fields of one message that must not go further. Transfer-Encoding is not among them: the
/// code that writes the message's body anew writes it or Content-Length, and a head in which only
/// one of the two was taken out would be another message.
#[derive(Debug, Default)]
pub(crate) struct HopByHop {
    /// Fields of the message that Connection names, beside those that never pass.
    nominated: Vec<HeaderName>,
}

impl HopByHop {
    /// Of the message with these fields.
    ///
    /// # Errors
    /// When Connection is no list of names, or names a field that the upstream needs: dropping that
    /// would let a client take from a request what the gateway, or a proxy in front of it, has put
    /// there or has decided by.
    pub(crate) fn of(headers: &Fields) -> Result<Self, Abuse> {
        let mut nominated = Vec::new();
        let mut options = 0;
        for option in headers.get_all(CONNECTION).flat_map(options_of) {
            let Ok(name) = HeaderName::from_bytes(option) else {
                return Err(Abuse("the Connection field is not a list of names"));
            };
            options += 1;
            if options > MOST_OPTIONS {
                return Err(Abuse("the Connection field has too many options"));
            }
            if is_needed(&name) {
                return Err(Abuse("the Connection field names a field that has to pass"));
            }
            if !never_passes(&name) && headers.contains_key(&name) {
                nominated.push(name);
            }
        }
        Ok(Self { nominated })
    }

    /// Whether the field ends here.
    pub(crate) fn drops(&self, name: &HeaderName) -> bool {
        never_passes(name) || self.nominated.contains(name)
    }
}

/// The non-empty members of a list (RFC 9110, section 5.6.1).
fn options_of(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|o| !o.is_empty())
}

/// Fields about one connection, whether Connection names them or not. `Proxy` is in no standard: a
/// CGI program would read it as its setting `HTTP_PROXY`.
pub(crate) fn never_passes(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "te"
            | "trailer"
            | "upgrade"
            | "proxy-authorization"
            | "proxy-authenticate"
            | "keep-alive"
            | "proxy-connection"
            | "http2-settings"
            | "proxy"
    )
}

/// Fields for the one at the end of the way.
fn is_needed(name: &HeaderName) -> bool {
    [
        HOST,
        TRANSFER_ENCODING,
        AUTHORIZATION,
        COOKIE,
        CACHE_CONTROL,
        PRAGMA,
        FORWARDED,
        VIA,
        ORIGIN,
        REFERER,
        EXPECT,
        RANGE,
        USER_AGENT,
        MAX_FORWARDS,
        DATE,
    ]
    .contains(name)
        || ["content-", "accept", "if-", "sec-", "x-forwarded-", "x-amzn-", "access-control-"]
            .iter()
            .any(|beginning| begins(name.as_str(), beginning))
        || [
            "x-real-ip",
            "x-request-id",
            "traceparent",
            "tracestate",
            "last-event-id",
            "age",
            "etag",
            "expires",
            "last-modified",
            "location",
            "set-cookie",
            "vary",
            "www-authenticate",
            "strict-transport-security",
            "cdn-loop",
        ]
        .iter()
        .any(|needed| is(name.as_str(), needed))
}

/// Takes out what is about the upstream's connection, and how its body was framed there.
pub(crate) fn strip(fields: &mut Fields, status: StatusCode) {
    // A nomination that must not be obeyed is not obeyed; the rest goes as usual.
    let hop = HopByHop::of(fields).unwrap_or_default();
    fields.retain(|name| !hop.drops(name));
    // RFC 9112, section 6.3: beside a coding, a length means nothing. RFC 9110, section 8.6.
    if fields.remove(TRANSFER_ENCODING).is_some() || status == StatusCode::NO_CONTENT {
        fields.remove(CONTENT_LENGTH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl HopByHop {
        fn remove_from(&self, headers: &mut Fields) {
            let dropped: Vec<_> = headers.keys().filter(|name| self.drops(name)).cloned().collect();
            for name in dropped {
                headers.remove(name);
            }
        }
    }
    use proptest::prelude::*;

    fn headers(fields: &[(&str, &str)]) -> Fields {
        let mut headers = Fields::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    /// The names that are left.
    fn passed(fields: &[(&str, &str)]) -> Vec<String> {
        let mut headers = headers(fields);
        HopByHop::of(&headers).unwrap().remove_from(&mut headers);
        let mut names: Vec<_> = headers.keys().map(|name| name.as_str().to_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_about_one_connection_ends_here() {
        let left = passed(&[
            ("Host", "a"),
            ("Connection", "keep-alive, Upgrade, HTTP2-Settings"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("TE", "trailers"),
            ("Trailer", "x"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "x"),
            ("Proxy-Authorization", "Basic x"),
            ("Proxy", "http://evil"),
            ("Accept", "*/*"),
        ]);
        assert_eq!(left, ["accept", "host"]);
    }

    #[test]
    fn what_connection_names_ends_here_in_every_spelling_and_field() {
        let left = passed(&[
            ("Connection", "close,X-One , ,"),
            ("connection", "\tx-two"),
            ("X-One", "1"),
            ("x-one", "2"),
            ("X-TWO", "3"),
            ("X-Three", "4"),
        ]);
        assert_eq!(left, ["x-three"]);
    }

    #[test]
    fn the_framing_stays_with_who_writes_the_body() {
        let left = passed(&[("Transfer-Encoding", "chunked"), ("Connection", "close")]);
        assert_eq!(left, ["transfer-encoding"]);
    }

    #[test]
    fn a_field_that_has_to_pass_cannot_be_nominated_away() {
        for name in [
            "Host",
            "Content-Length",
            "content-type",
            "Transfer-Encoding",
            "Authorization",
            "Cookie",
            "Cache-Control",
            "X-Forwarded-For",
            "x-forwarded-anything",
            "X_Forwarded_For",
            "Forwarded",
            "X-Real-IP",
            "X-Request-ID",
            "traceparent",
            "Origin",
            "If-None-Match",
            "Accept-Encoding",
            "Sec-Fetch-Site",
            "X-Amzn-Trace-Id",
            "Last-Event-ID",
            "Set-Cookie",
        ] {
            // Whether it is there or not: a proxy behind may obey as well.
            let refused = HopByHop::of(&headers(&[("Connection", &format!("close, {name}"))]));
            assert_eq!(
                refused.unwrap_err().0,
                "the Connection field names a field that has to pass"
            );
        }
    }

    #[test]
    fn what_is_no_list_of_names_is_refused() {
        for value in ["a b", "close; x", "\"close\"", "é", "close, (x)", "x:y"] {
            let mut fields = Fields::new();
            fields.insert(CONNECTION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            assert!(HopByHop::of(&fields).is_err(), "{value}");
        }
    }

    #[test]
    fn options_are_counted_over_all_fields() {
        let of = |count| HopByHop::of(&headers(&vec![("Connection", "x"); count]));
        assert!(of(MOST_OPTIONS).is_ok());
        assert!(of(MOST_OPTIONS + 1).is_err());
    }

    fn stripped(status: StatusCode, text: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut fields = Fields::new();
        for (name, value) in text {
            fields.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        strip(&mut fields, status);
        fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn an_answer_loses_what_is_about_the_connection() {
        let fields = [
            ("connection", "close, x-own"),
            ("x-own", "1"),
            ("keep-alive", "5"),
            ("content-type", "text/plain"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
        ];
        assert_eq!(stripped(StatusCode::OK, &fields), ["content-type: text/plain"]);
    }

    #[test]
    fn a_length_stays_where_there_may_be_a_body() {
        let fields = [("content-length", "5")];
        assert_eq!(stripped(StatusCode::OK, &fields), ["content-length: 5"]);
        assert_eq!(stripped(StatusCode::NOT_MODIFIED, &fields), ["content-length: 5"]);
        assert!(stripped(StatusCode::NO_CONTENT, &fields).is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_what_is_needed_stays(
            value in proptest::collection::vec(32..=255_u8, 0..80),
        ) {
            let mut fields = headers(&[("Host", "a"), ("X-Forwarded-For", "b"), ("Cookie", "c")]);
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                fields.insert(CONNECTION, value);
                if let Ok(hop) = HopByHop::of(&fields) {
                    hop.remove_from(&mut fields);
                    prop_assert_eq!(fields.len(), 3);
                }
            }
        }
    }
}
