//! Hop-by-hop fields (RFC 9110, section 7.6.1).

use http::StatusCode;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, COOKIE, DATE, EXPECT, FORWARDED,
    HOST, HeaderName, MAX_FORWARDS, ORIGIN, PRAGMA, RANGE, REFERER, TRANSFER_ENCODING, USER_AGENT,
    VIA,
};

use super::{name_has_prefix, name_matches};
use crate::fields::Fields;

/// Maximum connection options of one message. Each one is compared with all fields, so without a
/// limit the cost is quadratic; legitimate clients send up to three.
const MAX_OPTIONS: usize = 16;

/// Hop-by-hop fields of one message. Transfer-Encoding is excluded: the code that frames the body
/// again replaces it together with Content-Length, because a head with only one of them removed
/// would have another meaning.
#[derive(Debug, Default)]
pub(crate) struct HopByHop {
    /// Fields of the message that Connection lists, in addition to those that are never forwarded.
    pub(crate) nominated: Vec<HeaderName>,
}

impl HopByHop {
    /// Determines the hop-by-hop fields of a message.
    ///
    /// # Errors
    /// Returns the reason for a 400 if Connection is malformed, or lists an end-to-end field:
    /// otherwise a client could remove fields that the gateway, or a proxy in front of it, has set
    /// or evaluated.
    pub(crate) fn of(headers: &Fields) -> Result<Self, &'static str> {
        let mut nominated = Vec::new();
        let mut options = 0;
        for option in headers.members(CONNECTION).filter(|option| !option.is_empty()) {
            let Ok(name) = HeaderName::from_bytes(option) else {
                return Err("the Connection field is not a list of names");
            };
            options += 1;
            if options > MAX_OPTIONS {
                return Err("the Connection field has too many options");
            }
            if is_needed(&name) {
                return Err("the Connection field names a field that must reach the upstream");
            }
            if !is_hop_by_hop(&name) && headers.contains_key(&name) {
                nominated.push(name);
            }
        }
        Ok(Self { nominated })
    }

    /// Whether the field is not forwarded.
    pub(crate) fn removes(&self, name: &HeaderName) -> bool {
        is_hop_by_hop(name) || self.nominated.contains(name)
    }
}

/// Fields that are never forwarded, even if Connection does not list them. `Proxy` is not
/// standardized: a CGI program would receive it as `HTTP_PROXY` (httpoxy).
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
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

/// End-to-end fields that Connection must not list.
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
            .any(|prefix| name_has_prefix(name.as_str(), prefix))
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
        .any(|needed| name_matches(name.as_str(), needed))
}

/// Removes connection-specific fields, and the upstream's framing of the body.
pub(crate) fn strip(fields: &mut Fields, status: StatusCode) {
    // An invalid Connection field is ignored; the other fields are handled as usual.
    let hop = HopByHop::of(fields).unwrap_or_default();
    fields.retain(|name| !hop.removes(name));
    // RFC 9112, section 6.3: Transfer-Encoding overrides Content-Length. RFC 9110, section 8.6: no
    // length with 1xx and 204.
    let has_no_length = status.is_informational() || status == StatusCode::NO_CONTENT;
    if fields.remove(TRANSFER_ENCODING).is_some() || has_no_length {
        fields.remove(CONTENT_LENGTH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl HopByHop {
        fn remove_from(&self, headers: &mut Fields) {
            let dropped: Vec<_> =
                headers.keys().filter(|name| self.removes(name)).cloned().collect();
            for name in dropped {
                headers.remove(name);
            }
        }
    }
    use http::HeaderValue;
    use proptest::prelude::*;

    /// Names of the remaining fields.
    fn passed(fields: &[(&str, &str)]) -> Vec<String> {
        let mut headers = Fields::of(fields);
        HopByHop::of(&headers).unwrap().remove_from(&mut headers);
        let mut names: Vec<_> = headers.keys().map(|name| name.as_str().to_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn hop_by_hop_fields_are_removed() {
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
    fn fields_listed_in_connection_are_removed_in_any_spelling() {
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
    fn framing_fields_are_left_to_the_body_writer() {
        let left = passed(&[("Transfer-Encoding", "chunked"), ("Connection", "close")]);
        assert_eq!(left, ["transfer-encoding"]);
    }

    #[test]
    fn an_end_to_end_field_cannot_be_removed_by_connection() {
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
            // Regardless of its presence: a proxy closer to the origin may comply as well.
            let refused = HopByHop::of(&Fields::of(&[("Connection", &format!("close, {name}"))]));
            assert_eq!(
                refused.unwrap_err(),
                "the Connection field names a field that must reach the upstream"
            );
        }
    }

    #[test]
    fn a_malformed_connection_field_is_rejected() {
        for value in ["a b", "close; x", "\"close\"", "é", "close, (x)", "x:y"] {
            let fields = Fields::of(&[("connection", value)]);
            assert!(HopByHop::of(&fields).is_err(), "{value}");
        }
    }

    #[test]
    fn options_are_counted_over_all_fields() {
        let of = |count| HopByHop::of(&Fields::of(&vec![("Connection", "x"); count]));
        assert!(of(MAX_OPTIONS).is_ok());
        assert!(of(MAX_OPTIONS + 1).is_err());
    }

    fn stripped(status: StatusCode, text: &[(&str, &str)]) -> Vec<String> {
        let mut fields = Fields::of(text);
        strip(&mut fields, status);
        fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn connection_specific_fields_of_a_response_are_removed() {
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
    fn content_length_is_kept_where_a_body_is_possible() {
        let fields = [("content-length", "5")];
        assert_eq!(stripped(StatusCode::OK, &fields), ["content-length: 5"]);
        assert_eq!(stripped(StatusCode::NOT_MODIFIED, &fields), ["content-length: 5"]);
        for status in
            [StatusCode::NO_CONTENT, StatusCode::SWITCHING_PROTOCOLS, StatusCode::PROCESSING]
        {
            assert!(stripped(status, &fields).is_empty(), "{status}");
        }
    }

    proptest! {
        #[test]
        fn no_input_causes_a_panic_and_end_to_end_fields_stay(
            value in proptest::collection::vec(32..=255_u8, 0..80),
        ) {
            let mut fields = Fields::of(&[("Host", "a"), ("X-Forwarded-For", "b"), ("Cookie", "c")]);
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
