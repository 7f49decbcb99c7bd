//! The `Cache-Status` field (RFC 9211).

use std::io::Write;

use http::{HeaderValue, StatusCode};

/// The name of this cache.
const NAME: &str = "gateway";

/// Why a request went to the upstream (RFC 9211, section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    /// The cache was not asked.
    Bypass,
    /// The method cannot be answered from a cache.
    Method,
    /// Nothing was there for this target.
    UriMiss,
    /// Something was there, but for other requests.
    VaryMiss,
    /// What was there is too old.
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

/// A request that went to the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forwarded {
    /// Why.
    pub(crate) why: Forward,
    /// Whether it waited for another request's answer, in vain.
    pub(crate) waited: bool,
    /// Whether the answer is being stored.
    pub(crate) stored: bool,
}

impl Forwarded {
    /// The value of the field, to be added to those of the caches behind.
    pub(crate) fn field(self) -> HeaderValue {
        let mut text = Vec::with_capacity(48);
        push(&mut text, &[NAME, "; fwd=", self.why.name()]);
        if self.waited {
            push(&mut text, &["; collapsed=?0"]);
        }
        if self.stored {
            push(&mut text, &["; stored"]);
        }
        HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static(NAME))
    }
}

/// How an answer came out of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// It was there.
    Hit,
    /// Another request brought it.
    Collapsed(Forward),
    /// It is old, but the upstream was asked and failed with this, or did not answer.
    Asked(Option<StatusCode>),
}

impl How {
    /// Writes the value of the field.
    pub(super) fn write(self, text: &mut Vec<u8>, seconds_left: i64) {
        push(text, &[NAME]);
        match self {
            Self::Hit => push(text, &["; hit"]),
            Self::Collapsed(why) => push(text, &["; fwd=", why.name(), "; collapsed"]),
            Self::Asked(None) => push(text, &["; fwd=stale"]),
            Self::Asked(Some(status)) => {
                push(text, &["; fwd=stale; fwd-status=", status.as_str()]);
            }
        }
        push(text, &["; ttl="]);
        if seconds_left < 0 {
            text.push(b'-');
        }
        push_number(text, seconds_left.unsigned_abs());
    }
}

/// Writes a number in decimal digits; a third of the time that `write!` takes.
pub(super) fn push_number(text: &mut Vec<u8>, number: u64) {
    if let Ok(digit @ 0..10) = u8::try_from(number) {
        text.push(b'0' + digit);
    } else {
        // Writing to a Vec cannot fail.
        let _ = write!(text, "{number}");
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
    fn what_was_forwarded_says_why() {
        let field = |why, waited, stored| Forwarded { why, waited, stored }.field();
        assert_eq!(field(Forward::UriMiss, false, true), "gateway; fwd=uri-miss; stored");
        assert_eq!(field(Forward::VaryMiss, false, false), "gateway; fwd=vary-miss");
        assert_eq!(field(Forward::Stale, true, true), "gateway; fwd=stale; collapsed=?0; stored");
        assert_eq!(field(Forward::Bypass, false, false), "gateway; fwd=bypass");
        assert_eq!(field(Forward::Method, false, false), "gateway; fwd=method");
    }

    #[test]
    fn what_came_from_memory_says_how_long_it_is_fresh() {
        let written = |how: How, seconds_left| {
            let mut text = Vec::new();
            how.write(&mut text, seconds_left);
            String::from_utf8(text).unwrap()
        };
        assert_eq!(written(How::Hit, 31_536_000), "gateway; hit; ttl=31536000");
        assert_eq!(written(How::Hit, -3), "gateway; hit; ttl=-3");
        let collapsed = How::Collapsed(Forward::Stale);
        assert_eq!(written(collapsed, 0), "gateway; fwd=stale; collapsed; ttl=0");
        let asked = How::Asked(Some(StatusCode::BAD_GATEWAY));
        assert_eq!(written(asked, -10), "gateway; fwd=stale; fwd-status=502; ttl=-10");
        assert_eq!(written(How::Asked(None), -10), "gateway; fwd=stale; ttl=-10");
    }
}
