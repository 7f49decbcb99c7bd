//! W3C Trace Context (<https://www.w3.org/TR/trace-context/>): continues the client's trace with a
//! span of the gateway.

use http::header::HeaderName;

use super::trace_state;
use crate::digits::{hexadecimal, hexadecimal_128};
use crate::fields::Fields;
use crate::request::identifier::new_bits;

/// Trace id and parent id of a request.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Length of a `traceparent` of version 00, and of the prefix of later versions.
const LENGTH: usize = 55;

/// Defined flags: sampled, and (level 2) random trace id. The standard requires all others to be
/// zero ("MUST"), because their meaning is not defined yet.
const FLAGS: u8 = 0b11;

/// Trace context of the gateway's span.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trace {
    id: u128,
    /// Parent id for the upstream.
    span_id: u64,
    flags: u8,
    /// The client's trace continues, and its `tracestate` is valid, so it is forwarded.
    pub(crate) keeps_state: bool,
}

impl Trace {
    /// Continues the trace in the fields, or starts a new one. A new trace is not sampled, as the
    /// standard requires of a component that defers this decision.
    pub(crate) fn of(headers: &Fields) -> Self {
        let [span_id, _] = new_bits();
        // Zero is not a valid id.
        let span_id = span_id.max(1);
        if let Some((id, flags)) = received(headers) {
            let keeps_state = trace_state::is_valid(headers);
            return Self { id, span_id, flags, keeps_state };
        }
        let [left, right] = new_bits();
        let id = (u128::from(left) << 64 | u128::from(right)).max(1);
        Self { id, span_id, flags: 0, keeps_state: false }
    }

    /// `traceparent` for the upstream.
    pub(crate) fn traceparent(&self) -> [u8; LENGTH] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        text[3..35].copy_from_slice(&hexadecimal_128(self.id));
        text[36..52].copy_from_slice(&hexadecimal(self.span_id));
        text[54] = b'0' + self.flags;
        text
    }

    /// Trace id, for logs.
    pub(crate) fn id(&self) -> [u8; 32] {
        hexadecimal_128(self.id)
    }
}

/// Trace id and flags, if there is exactly one valid field.
fn received(headers: &Fields) -> Option<(u128, u8)> {
    parse(headers.only(TRACEPARENT)?.to_str().ok()?)
}

fn parse(text: &str) -> Option<(u128, u8)> {
    let (known, rest) = text.split_at_checked(LENGTH)?;
    let mut parts = known.split('-');
    let version = parts.next().and_then(|digits| number(digits, 2))?;
    let id = parts.next().and_then(|digits| number(digits, 32))?;
    let parent = parts.next().and_then(|digits| number(digits, 16))?;
    let flags = parts.next().and_then(|digits| number(digits, 2))?;
    // A later version may append parts after another hyphen.
    let whole = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    let valid = whole && parts.next().is_none() && id != 0 && parent != 0;
    valid.then_some((id, u8::try_from(flags).ok()? & FLAGS))
}

/// Parses this number of hexadecimal digits, in lower case as the standard requires.
fn number(digits: &str, count: usize) -> Option<u128> {
    let plain = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if plain && digits.len() == count { u128::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;
    use std::collections::HashSet;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(parents: &[&str]) -> Fields {
        Fields::of_values("traceparent", parents)
    }

    fn said(trace: &Trace) -> String {
        String::from_utf8(trace.traceparent().to_vec()).unwrap()
    }

    #[test]
    fn a_trace_continues_with_a_span_of_the_gateway() {
        let trace = Trace::of(&headers(&[EXAMPLE]));
        assert!(trace.keeps_state);
        assert_eq!(trace.id(), *b"4bf92f3577b34da6a3ce929d0e0e4736");
        let parent = said(&trace);
        assert!(parent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{parent}");
        assert!(parent.ends_with("-01"), "{parent}");
        assert!(!parent.contains("00f067aa0ba902b7"), "{parent}");
        assert!(parse(&parent).is_some());
    }

    #[test]
    fn an_invalid_trace_is_replaced() {
        let zeros = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        let no_parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01";
        let upper = EXAMPLE.to_uppercase();
        let longer = format!("{EXAMPLE}-x");
        let forbidden = EXAMPLE.replacen("00", "ff", 1);
        let odd = EXAMPLE.replacen("00-", "cc-", 1) + ".what";
        let shifted = "00-4bf92f3577b34da6a3ce929d0e0e47360-0f067aa0ba902b7-01";
        for parent in [
            "",
            "00",
            "é",
            zeros,
            no_parent,
            &upper,
            &longer,
            &forbidden,
            &odd,
            shifted,
            &EXAMPLE[..54],
            &EXAMPLE.replace("-01", "-0g"),
            &EXAMPLE.replace("00-", "+0-"),
        ] {
            let trace = Trace::of(&headers(&[parent]));
            assert!(!trace.keeps_state, "{parent}");
            assert!(said(&trace).ends_with("-00"));
        }
        assert!(!Trace::of(&headers(&[])).keeps_state);
        assert!(!Trace::of(&headers(&[EXAMPLE, EXAMPLE])).keeps_state, "two are none");
    }

    #[test]
    fn the_known_part_of_a_later_version_is_parsed() {
        for later in [EXAMPLE.replacen("00-", "01-", 1), EXAMPLE.replacen("00-", "cc-", 1) + "-x"] {
            let trace = Trace::of(&headers(&[&later]));
            assert!(trace.keeps_state, "{later}");
            assert!(said(&trace).starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        }
    }

    #[test]
    fn undefined_flags_are_not_forwarded() {
        let trace = Trace::of(&headers(&[&EXAMPLE.replace("-01", "-ff")]));
        assert!(said(&trace).ends_with("-03"));
    }

    #[test]
    fn every_span_and_every_new_trace_has_a_unique_id() {
        let none = headers(&[]);
        let traces: Vec<_> = (0..1000).map(|_| Trace::of(&none)).collect();
        let of = |id: fn(&Trace) -> u128| traces.iter().map(id).collect::<HashSet<_>>().len();
        assert_eq!(of(|trace| trace.id), 1000);
        assert_eq!(of(|trace| trace.span_id.into()), 1000);
    }

    proptest! {
        #[test]
        fn no_text_causes_a_panic_and_the_output_is_valid(text in "\\PC{0,70}") {
            if let Ok(parent) = HeaderValue::from_str(&text) {
                let headers = Fields::from_iter([(TRACEPARENT, parent)]);
                prop_assert!(parse(&said(&Trace::of(&headers))).is_some());
            }
        }

        #[test]
        fn a_valid_trace_is_kept(id in 1..=u128::MAX, span_id in 1..=u64::MAX, flags in 0..4_u8) {
            let text = format!("00-{id:032x}-{span_id:016x}-{flags:02x}");
            let trace = Trace::of(&headers(&[&text]));
            prop_assert_eq!(parse(&said(&trace)), Some((id, flags)));
        }
    }
}
