//! The `Cache-Status` field (RFC 9211).

use http::{HeaderValue, StatusCode};

use crate::digits::push_decimal;

/// Name of this cache.
const NAME: &str = "gateway";

/// Reason why a request was forwarded to the upstream (RFC 9211, section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    /// The cache was bypassed.
    Bypass,
    /// The method is not cacheable.
    Method,
    /// No entry exists for the target.
    UriMiss,
    /// Entries exist for the target, but none matches the request.
    VaryMiss,
    /// The stored response is stale.
    Stale,
}

impl Forward {
    fn name(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
        }
    }
}

/// Cache status of a request that was forwarded to the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forwarded {
    /// Reason for forwarding.
    pub(crate) fwd: Forward,
    /// Whether it waited for another request's fetch without getting a response.
    pub(crate) waited: bool,
    /// Whether the response is being stored.
    pub(crate) stored: bool,
}

impl Forwarded {
    /// Field value, for the caller to append to those of caches closer to the origin.
    pub(crate) fn field(self) -> HeaderValue {
        let mut text = Vec::with_capacity(48);
        push(&mut text, &[NAME, "; fwd=", self.fwd.name()]);
        if self.waited {
            push(&mut text, &["; collapsed=?0"]);
        }
        if self.stored {
            push(&mut text, &["; stored"]);
        }
        HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static(NAME))
    }
}

/// Origin of a response that the cache served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseSource {
    /// It was stored.
    Hit,
    /// Another request fetched it.
    Collapsed(Forward),
    /// It is stale; the upstream failed with this status, or did not respond.
    Forwarded(Option<StatusCode>),
}

impl ResponseSource {
    /// Writes the field value.
    pub(super) fn write(self, text: &mut Vec<u8>, seconds_left: i64) {
        push(text, &[NAME]);
        match self {
            Self::Hit => push(text, &["; hit"]),
            Self::Collapsed(fwd) => push(text, &["; fwd=", fwd.name(), "; collapsed"]),
            Self::Forwarded(None) => push(text, &["; fwd=stale"]),
            Self::Forwarded(Some(status)) => {
                push(text, &["; fwd=stale; fwd-status=", status.as_str()]);
            }
        }
        push(text, &["; ttl="]);
        if seconds_left < 0 {
            text.push(b'-');
        }
        push_decimal(text, seconds_left.unsigned_abs());
    }
}

fn push(text: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        text.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forwarded_request_states_the_reason() {
        let field = |fwd, waited, stored| Forwarded { fwd, waited, stored }.field();
        assert_eq!(field(Forward::UriMiss, false, true), "gateway; fwd=uri-miss; stored");
        assert_eq!(field(Forward::VaryMiss, false, false), "gateway; fwd=vary-miss");
        assert_eq!(field(Forward::Stale, true, true), "gateway; fwd=stale; collapsed=?0; stored");
        assert_eq!(field(Forward::Bypass, false, false), "gateway; fwd=bypass");
        assert_eq!(field(Forward::Method, false, false), "gateway; fwd=method");
    }

    #[test]
    fn a_cached_response_states_its_remaining_lifetime() {
        let written = |source: ResponseSource, seconds_left| {
            let mut text = Vec::new();
            source.write(&mut text, seconds_left);
            String::from_utf8(text).unwrap()
        };
        assert_eq!(written(ResponseSource::Hit, 31_536_000), "gateway; hit; ttl=31536000");
        assert_eq!(written(ResponseSource::Hit, -3), "gateway; hit; ttl=-3");
        let collapsed = ResponseSource::Collapsed(Forward::Stale);
        assert_eq!(written(collapsed, 0), "gateway; fwd=stale; collapsed; ttl=0");
        let forwarded = ResponseSource::Forwarded(Some(StatusCode::BAD_GATEWAY));
        assert_eq!(written(forwarded, -10), "gateway; fwd=stale; fwd-status=502; ttl=-10");
        assert_eq!(written(ResponseSource::Forwarded(None), -10), "gateway; fwd=stale; ttl=-10");
    }
}
