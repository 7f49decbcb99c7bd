//! Fields that a route sets or removes in requests to its upstreams and in their responses. Pure.

use http::HeaderValue;
use http::header::{
    ACCEPT_ENCODING, AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, EXPECT,
    FORWARDED, HOST, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, MAX_FORWARDS, RANGE, TRANSFER_ENCODING, VARY, VIA,
};

use crate::fields::Fields;
use crate::request::forwarded::{FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, REQUEST_ID};
use crate::request::hop_by_hop::is_hop_by_hop;
use crate::request::name_matches;
use crate::request::trace_context::TRACEPARENT;
use crate::request::trace_state::TRACESTATE;

/// Maximum number of fields that one route may set and remove, in each direction.
const MAX_FIELDS: usize = 32;

/// Maximum size of a value in bytes: a content security policy has one or two thousand.
const MAX_VALUE_BYTES: usize = 4096;

/// Request fields that the gateway computes, or that determine how the cache handles the response.
const RESERVED_IN_REQUESTS: [HeaderName; 20] = [
    ACCEPT_ENCODING,
    CONTENT_LENGTH,
    EXPECT,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    MAX_FORWARDS,
    RANGE,
    TRANSFER_ENCODING,
    VIA,
    HOST,
    FORWARDED,
    FORWARDED_FOR,
    FORWARDED_HOST,
    FORWARDED_PROTO,
    REQUEST_ID,
    TRACEPARENT,
    TRACESTATE,
];

/// Response fields that frame or describe the content, or that the gateway generates.
const RESERVED_IN_RESPONSES: [HeaderName; 10] = [
    AGE,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    TRANSFER_ENCODING,
    VARY,
    HeaderName::from_static("cache-status"),
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
    REQUEST_ID,
];

/// Fields that differ between responses, so a fixed value is wrong.
const PER_RESPONSE: [HeaderName; 3] = [DATE, ETAG, LAST_MODIFIED];

/// Fields to set and to remove.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FieldRules {
    /// Fields to set, each name once.
    pub(crate) set: Vec<(HeaderName, HeaderValue)>,
    pub(crate) removed: Vec<HeaderName>,
}

impl FieldRules {
    /// Whether there are no rules.
    pub(crate) fn is_empty(&self) -> bool {
        self.set.is_empty() && self.removed.is_empty()
    }

    /// Whether the rules replace or remove the field, under any name that is equivalent for programs
    /// that receive fields as environment variables (CGI, WSGI).
    pub(crate) fn covers(&self, name: &HeaderName) -> bool {
        let names = self.set.iter().map(|(name, _)| name).chain(&self.removed);
        names.into_iter().any(|known| name_matches(known.as_str(), name.as_str()))
    }

    /// Applies the rules to a message.
    pub(crate) fn apply(&self, fields: &mut Fields) {
        self.remove(fields);
        for (name, value) in &self.set {
            fields.insert(name.clone(), value.clone());
        }
    }

    /// Applies only the removals.
    pub(crate) fn remove(&self, fields: &mut Fields) {
        for name in &self.removed {
            fields.remove(name);
        }
    }

    /// Adds a request rule `NAME:VALUE`; an empty value removes the field.
    pub(crate) fn add_to_request(&mut self, text: &str) -> Result<(), String> {
        let (name, value) = parse(text)?;
        let named = name.as_str();
        if name == HOST {
            return Err("Host is set with host=".to_owned());
        }
        if is_hop_by_hop(&name)
            || RESERVED_IN_REQUESTS.iter().any(|own| name_matches(own.as_str(), named))
        {
            return Err(format!("{name} of a request is set by the gateway alone"));
        }
        self.check(&name)?;
        if value.is_empty() {
            self.removed.push(name);
        } else {
            self.set.push((name, value));
        }
        Ok(())
    }

    /// Adds a response rule `NAME:VALUE`.
    pub(crate) fn add_to_response(&mut self, text: &str) -> Result<(), String> {
        let (name, value) = parse(text)?;
        if PER_RESPONSE.contains(&name) {
            return Err(format!("{name} cannot be the same in all responses"));
        }
        self.check_response(&name)?;
        if value.is_empty() {
            return Err(format!("{name} has no value; hide={name} removes a field"));
        }
        self.set.push((name, value));
        Ok(())
    }

    /// Adds comma-separated names of fields to remove from responses.
    pub(crate) fn hide(&mut self, names: &str) -> Result<(), String> {
        for text in names.split(',') {
            let name = name_of(text)?;
            self.check_response(&name)?;
            self.removed.push(name);
        }
        Ok(())
    }

    fn check_response(&self, name: &HeaderName) -> Result<(), String> {
        if is_hop_by_hop(name) || RESERVED_IN_RESPONSES.contains(name) {
            return Err(format!("{name} of a response is set by the gateway alone"));
        }
        self.check(name)
    }

    fn check(&self, name: &HeaderName) -> Result<(), String> {
        if self.covers(name) {
            return Err(format!("{name} is given twice"));
        }
        if self.set.len() + self.removed.len() >= MAX_FIELDS {
            return Err(format!("there are more than {MAX_FIELDS} fields"));
        }
        Ok(())
    }
}

/// Parses a name and its percent-encoded value.
fn parse(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) =
        text.split_once(':').ok_or("a field must be NAME:VALUE such as X-Team:web")?;
    // The text may contain part of a value, so the message omits it.
    let name = name_of(name).map_err(|_| "the name in NAME:VALUE is not a field name")?;
    let value = unescaped(value)
        .filter(|value| value.len() <= MAX_VALUE_BYTES)
        .filter(|value| value.iter().all(|byte| matches!(byte, b' '..=b'~')))
        .filter(|value| value.trim_ascii().len() == value.len())
        .and_then(|value| HeaderValue::from_bytes(&value).ok());
    let value = value.ok_or_else(|| {
        format!(
            "the value of {name} must be up to {MAX_VALUE_BYTES} visible ASCII characters, \
             with %20 for a space, %3B for a semicolon, %23 for # and %25 for %"
        )
    })?;
    Ok((name, value))
}

fn name_of(text: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("{text:?} is not a field name"))
}

/// Percent-decodes a text; `None` on an invalid escape.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.as_bytes().split_first_chunk::<2>()?;
        let value = digits
            .iter()
            .try_fold(0, |value, &digit| Some(value * 16 + char::from(digit).to_digit(16)?))?;
        bytes.push(u8::try_from(value).ok()?);
        bytes.extend_from_slice(rest);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(texts: &[&str]) -> Result<FieldRules, String> {
        let mut rules = FieldRules::default();
        texts.iter().try_for_each(|text| rules.add_to_request(text)).map(|()| rules)
    }

    fn response(texts: &[&str]) -> Result<FieldRules, String> {
        let mut rules = FieldRules::default();
        texts.iter().try_for_each(|text| rules.add_to_response(text)).map(|()| rules)
    }

    fn hidden(names: &str) -> Result<FieldRules, String> {
        let mut rules = FieldRules::default();
        rules.hide(names).map(|()| rules)
    }

    #[test]
    fn values_are_percent_decoded() {
        let rules = request(&["X-A:a%20b%3B%23%25:c", "X-B:"]).unwrap();
        assert_eq!(rules.set, [("x-a".parse().unwrap(), HeaderValue::from_static("a b;#%:c"))]);
        assert_eq!(rules.removed, [HeaderName::from_static("x-b")]);
        for text in ["X-A:%", "X-A:%2", "X-A:%zz", "X-A:%+1", "X-A:a%0d%0ab", "X-A:%20a", "X-A:%e4"]
        {
            assert!(request(&[text]).unwrap_err().contains("x-a"), "{text}");
        }
        for text in ["X-A", "", ":x", "X A:b", "X\u{e4}:b"] {
            assert!(request(&[text]).is_err(), "{text}");
        }
        let long = format!("X-A:{}", "a".repeat(MAX_VALUE_BYTES + 1));
        assert!(request(&[&long]).is_err());
    }

    #[test]
    fn fields_of_the_connection_and_of_the_gateway_cannot_be_set() {
        for name in [
            "Connection",
            "Keep-Alive",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Transfer_Encoding",
            "Upgrade",
            "Content-Length",
            "Proxy-Authorization",
            "Host",
            "Expect",
            "Via",
            "X-Forwarded-For",
            "X_Forwarded_Proto",
            "Forwarded",
            "X-Request-ID",
            "traceparent",
            "Accept-Encoding",
            "If-None-Match",
            "Range",
        ] {
            assert!(request(&[&format!("{name}:x")]).is_err(), "{name}");
        }
        for name in [
            "Connection",
            "Transfer-Encoding",
            "Content-Length",
            "Content-Encoding",
            "Vary",
            "Age",
            "X-Request-ID",
            "Cache-Status",
            "RateLimit",
        ] {
            assert!(response(&[&format!("{name}:x")]).is_err(), "{name}");
            assert!(hidden(name).is_err(), "{name}");
        }
        assert!(response(&["ETag:x"]).is_err());
        assert!(hidden("ETag,Server").is_ok());
        assert!(response(&["X-A:"]).unwrap_err().contains("hide="));
        assert!(hidden("Server,,X").is_err());
    }

    #[test]
    fn a_field_is_changed_once_and_the_number_of_fields_is_limited() {
        assert!(request(&["X-A:1", "x_a:2"]).unwrap_err().contains("twice"));
        let many: Vec<String> = (0..=MAX_FIELDS).map(|n| format!("X-{n}:1")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(request(&many).is_err());
        assert!(request(&many[1..]).is_ok());
    }

    #[test]
    fn fields_are_replaced_and_removed() {
        let mut rules = response(&["X-A:new"]).unwrap();
        rules.hide("Server").unwrap();
        let mut fields = Fields::of(&[("x-a", "1"), ("x-a", "2"), ("server", "x"), ("x-b", "3")]);
        let mut informational = fields.clone();
        rules.apply(&mut fields);
        assert_eq!(fields.get_all("x-a").collect::<Vec<_>>(), ["new"]);
        assert_eq!((fields.len(), fields.contains_key("server")), (2, false));
        rules.remove(&mut informational);
        assert_eq!(informational.len(), 3);
        assert!(rules.covers(&HeaderName::from_static("x_a")));
        assert!(!rules.covers(&HeaderName::from_static("x-b")));
    }

    proptest! {
        #[test]
        fn no_text_causes_a_panic(text in "[A-Za-z-]{0,4}:?[%0-9a-f\\PC]{0,12}") {
            let _ = (request(&[&text]), response(&[&text]), hidden(&text));
        }
    }
}
