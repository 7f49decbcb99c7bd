//! Formatting of numbers and addresses without the overhead of `format!`: every request formats
//! about twenty.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// Length of `255.255.255.255`.
const LONGEST_IPV4: usize = 15;

const HEXADECIMAL: &[u8; 16] = b"0123456789abcdef";

/// Appends a decimal number.
pub(crate) fn push_decimal(text: &mut Vec<u8>, number: u64) {
    text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// The last `N` decimal digits of a number, zero-padded.
pub(crate) fn padded<const N: usize>(number: u64) -> [u8; N] {
    let mut digits = [b'0'; N];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit += low_byte(rest % 10);
        rest /= 10;
    }
    digits
}

/// All digits of a number in lower-case hexadecimal.
pub(crate) fn hexadecimal(number: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(number.to_be_bytes()) {
        *pair = [HEXADECIMAL[usize::from(byte >> 4)], HEXADECIMAL[usize::from(byte & 15)]];
    }
    digits
}

/// All digits of a 128-bit number in lower-case hexadecimal.
pub(crate) fn hexadecimal_128(number: u128) -> [u8; 32] {
    let mut digits = [0; 32];
    digits[..16].copy_from_slice(&hexadecimal(low_word(number >> 64)));
    digits[16..].copy_from_slice(&hexadecimal(low_word(number)));
    digits
}

/// Appends an address.
pub(crate) fn push_ip(text: &mut Vec<u8>, address: IpAddr) {
    let IpAddr::V4(address) = address else {
        // Writing to a Vec cannot fail.
        let _ = write!(text, "{address}");
        return;
    };
    text.reserve(LONGEST_IPV4);
    for (index, byte) in address.octets().into_iter().enumerate() {
        if index > 0 {
            text.push(b'.');
        }
        if byte >= 100 {
            text.push(b'0' + byte / 100);
        }
        if byte >= 10 {
            text.push(b'0' + byte / 10 % 10);
        }
        text.push(b'0' + byte % 10);
    }
}

/// Appends an address with a port.
pub(crate) fn push_socket(text: &mut Vec<u8>, address: SocketAddr) {
    if address.is_ipv6() {
        let _ = write!(text, "{address}");
        return;
    }
    push_ip(text, address.ip());
    text.push(b':');
    push_decimal(text, address.port().into());
}

#[expect(clippy::cast_possible_truncation, reason = "it is less than ten")]
const fn low_byte(number: u64) -> u8 {
    number as u8
}

#[expect(clippy::cast_possible_truncation, reason = "the upper half is written separately")]
const fn low_word(number: u128) -> u64 {
    number as u64
}

/// Parses digits only, unlike `parse`, which accepts a plus sign.
pub(crate) fn number<T: FromStr>(digits: &str) -> Option<T> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// Parses a number within these limits.
pub(crate) fn within<T: FromStr + PartialOrd>(text: &str, limits: RangeInclusive<T>) -> Option<T> {
    text.parse().ok().filter(|number| limits.contains(number))
}

/// Parses a time of 1 to 3600 whole seconds.
pub(crate) fn parse_seconds(text: &str) -> Option<Duration> {
    within(text, 1..=3600).map(Duration::from_secs)
}

/// Parses a number of bytes, plain or with the unit KiB, MiB or GiB.
pub(crate) fn parse_bytes(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text.get(digits.len()..)?.trim_start() {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number::<usize>(digits)?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn decimal(number: u64) -> String {
        let mut digits = Vec::new();
        push_decimal(&mut digits, number);
        text(&digits)
    }

    #[test]
    fn the_limits_of_each_range_are_formatted() {
        assert_eq!(decimal(0), "0");
        assert_eq!(decimal(u64::MAX), u64::MAX.to_string());
        assert_eq!(padded::<2>(0), *b"00");
        assert_eq!(hexadecimal_128(1), *b"00000000000000000000000000000001");
    }

    proptest! {
        #[test]
        fn the_output_equals_that_of_the_standard_library(
            number: u64,
            wide: u128,
            address: SocketAddr,
        ) {
            prop_assert_eq!(decimal(number), number.to_string());
            prop_assert_eq!(text(&padded::<6>(number)), format!("{:06}", number % 1_000_000));
            prop_assert_eq!(text(&hexadecimal(number)), format!("{number:016x}"));
            prop_assert_eq!(text(&hexadecimal_128(wide)), format!("{wide:032x}"));
            let (mut ip, mut socket) = (Vec::new(), Vec::new());
            push_ip(&mut ip, address.ip());
            push_socket(&mut socket, address);
            prop_assert_eq!(text(&ip), address.ip().to_string());
            prop_assert_eq!(text(&socket), address.to_string());
        }
    }

    #[test]
    fn sizes_are_parsed_with_their_units() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("1048576", Some(1 << 20)),
            ("512KiB", Some(512 << 10)),
            ("32 MiB", Some(32 << 20)),
            ("1GiB", Some(1 << 30)),
            ("", None),
            ("MiB", None),
            ("1MB", None),
            ("-1", None),
            ("+1", None),
            ("1.5MiB", None),
            ("99999999999999999999", None),
            ("17179869184GiB", None),
        ] {
            assert_eq!(parse_bytes(text), bytes, "{text}");
        }
    }
}
