//! Formatting and parsing of numbers. Numbers are formatted as integers: the standard library's
//! formatting of floats is about 20 kB of code, which every viewer would download.

use crate::unit::Unit;

/// Cell of a table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    /// Text, such as a name.
    Text(String),
    /// Number, NaN if it is unknown.
    Number(f64),
}

/// Placeholder for an unknown value.
pub(crate) const UNKNOWN: &str = "\u{2013}";

/// Number format of the viewer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    /// Decimal separator.
    pub(crate) point: char,
    /// Whether units are multiples of 1,000 instead of 1,024.
    pub(crate) decimal: bool,
}

impl Format {
    /// Formats a value as number and unit, for display in different sizes: "3.1" and "GiB".
    pub(crate) fn parts(self, value: f64, unit: Unit) -> (String, &'static str) {
        if value.is_nan() {
            return (UNKNOWN.to_owned(), "");
        }
        match unit {
            Unit::Percent | Unit::Bar => (self.number(value, 1), "%"),
            Unit::Bytes | Unit::Rate => self.bytes(value, unit == Unit::Rate),
            Unit::Number => (self.number(value, 2), ""),
            Unit::Count | Unit::Text => (self.number(value, 0), ""),
            Unit::Seconds => (self.number(value, 1), "s"),
            Unit::Short => (short(value, self.point), ""),
        }
    }

    /// Formats a value for an axis, without trailing zeros.
    pub(crate) fn tick(self, value: f64, unit: Unit) -> String {
        let (number, name) = self.parts(value, unit);
        let number = trimmed(number, self.point);
        if name.is_empty() { number } else { [&number, "\u{a0}", name].concat() }
    }

    /// Formats a value with its unit: "3.1 GiB".
    pub(crate) fn text(self, value: f64, unit: Unit) -> String {
        let (number, unit) = self.parts(value, unit);
        if unit.is_empty() { number } else { [&number, "\u{a0}", unit].concat() }
    }

    /// Formats a cell of a table.
    pub(crate) fn cell(self, cell: &Cell, unit: Unit) -> String {
        match cell {
            Cell::Text(text) => text.clone(),
            Cell::Number(value) => self.text(*value, unit),
        }
    }

    fn number(self, value: f64, digits: u32) -> String {
        decimals(value, digits, self.point)
    }

    fn bytes(self, mut value: f64, rate: bool) -> (String, &'static str) {
        const UNITS: [[&str; 6]; 4] = [
            ["B", "KiB", "MiB", "GiB", "TiB", "PiB"],
            ["B/s", "KiB/s", "MiB/s", "GiB/s", "TiB/s", "PiB/s"],
            ["B", "kB", "MB", "GB", "TB", "PB"],
            ["B/s", "kB/s", "MB/s", "GB/s", "TB/s", "PB/s"],
        ];
        let names = UNITS[usize::from(self.decimal) * 2 + usize::from(rate)];
        let step = if self.decimal { 1_000.0 } else { 1_024.0 };
        let mut index = 0;
        // From 999.5 on, rounding would produce four digits.
        while value >= 999.5 && index + 1 < names.len() {
            value /= step;
            index += 1;
        }
        // Three digits are enough: 3.1, 24.0, 512.
        (self.number(value, u32::from(index > 0 && value < 99.95)), names[index])
    }
}

/// Formats a number for programs: at most three decimals, no trailing zeros.
pub(crate) fn plain(value: f64) -> String {
    trimmed(decimals(value, 3, '.'), '.')
}

/// Parses a number that is not negative and has at most six digits before and three after the
/// decimal separator.
pub(crate) fn parse(text: &str) -> Option<f64> {
    let (whole, rest) = text.split_once(['.', ',']).unwrap_or((text, ""));
    let digits = |text: &str| {
        text.bytes().try_fold(0.0, |number, byte| {
            byte.is_ascii_digit().then(|| number * 10.0 + f64::from(byte - b'0'))
        })
    };
    // Thresholds are percentages or counts; a longer number is a typing error.
    if whole.is_empty() || whole.len() > 6 || rest.len() > 3 {
        return None;
    }
    let scale = [1.0, 10.0, 100.0, 1_000.0][rest.len()];
    Some(digits(whole)? + digits(rest)? / scale)
}

/// Whether a text contains another one. The standard library's search is 1 kB of code.
pub(crate) fn contains(text: &str, part: &str) -> bool {
    text.as_bytes().windows(part.len().max(1)).any(|window| window == part.as_bytes())
}

/// Splits a text at the first of these bytes. The standard library's search is 1 kB of code.
pub(crate) fn cut(text: &str, byte: u8) -> Option<(&str, &str)> {
    let place = text.bytes().position(|other| other == byte)?;
    Some((text.get(..place)?, text.get(place + 1..)?))
}

/// Parts of a text between these bytes.
pub(crate) fn parts(text: &str, byte: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (part, after) = cut(text, byte).map_or((text, None), |(part, rest)| (part, Some(rest)));
        rest = after;
        Some(part)
    })
}

/// Appends a name. One that may run from right to left is isolated, because it would turn the text
/// around it.
pub(crate) fn push_name(text: &mut String, name: &str) {
    if name.is_ascii() {
        return text.push_str(name);
    }
    for part in ["\u{2068}", name, "\u{2069}"] {
        text.push_str(part);
    }
}

/// Appends an integer to a text.
pub(crate) fn push_integer(text: &mut String, value: i64) {
    if value < 0 {
        text.push('-');
    }
    let mut rest = value.unsigned_abs();
    let mut unit = 1;
    while rest / unit >= 10 {
        unit *= 10;
    }
    while unit > 0 {
        text.push(char::from(b'0' + u8::try_from(rest / unit).unwrap_or_default()));
        rest %= unit;
        unit /= 10;
    }
}

/// Formats a number with a fixed number of decimals.
pub(crate) fn decimals(value: f64, digits: u32, point: char) -> String {
    let unit = 10_u64.pow(digits);
    let value = scaled(value, unit as f64).min(u64::MAX / 4);
    let mut text = String::new();
    push_integer(&mut text, (value / unit).cast_signed());
    if digits > 0 {
        text.push(point);
        // A leading 1 keeps the zeros after the decimal separator and is removed again.
        let mut rest = String::new();
        push_integer(&mut rest, (unit + value % unit).cast_signed());
        text.push_str(rest.get(1..).unwrap_or_default());
    }
    text
}

/// Formats a number with at most two decimals and no trailing zeros: "2", "0.5".
pub(crate) fn short(value: f64, point: char) -> String {
    trimmed(decimals(value, 2, point), point)
}

/// Removes trailing zeros after the decimal separator.
pub(crate) fn trimmed(mut number: String, point: char) -> String {
    // `contains` with a character is 1 kB of code.
    if number.chars().any(|letter| letter == point) {
        let length = number.trim_end_matches('0').trim_end_matches(point).len();
        number.truncate(length);
    }
    number
}

/// Returns `value` times `scale`, rounded. Negative values and NaN become 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and NaN becomes 0: the absurd stays harmless"
)]
pub(crate) fn scaled(value: f64, scale: f64) -> u64 {
    (value * scale).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINARY: Format = Format { point: '.', decimal: false };

    #[test]
    fn byte_values_have_three_digits_and_a_fitting_unit() {
        let text = |value| BINARY.text(value, Unit::Bytes);
        assert_eq!(text(0.0), "0\u{a0}B");
        assert_eq!(text(999.0), "999\u{a0}B");
        assert_eq!(text(1_000.0), "1.0\u{a0}KiB");
        assert_eq!(text(100.0 * 1_048_576.0), "100\u{a0}MiB");
        assert_eq!(text(25_769_803_776.0), "24.0\u{a0}GiB");
        assert_eq!(text(f64::NAN), UNKNOWN);
        let decimal = Format { point: ',', decimal: true };
        assert_eq!(decimal.text(1_500.0, Unit::Rate), "1,5\u{a0}kB/s");
        assert!(text(1e300).ends_with("PiB"), "the absurd stays harmless");
    }

    #[test]
    fn numbers_are_rounded() {
        assert_eq!(decimals(12.449, 1, '.'), "12.4");
        assert_eq!(decimals(9.96, 1, '.'), "10.0");
        assert_eq!(decimals(0.05, 2, '.'), "0.05");
        assert_eq!(decimals(-3.0, 0, '.'), "0");
        assert_eq!(plain(1_700_000_000_123.0), "1700000000123");
        assert_eq!((plain(0.0), plain(95.5)), ("0".to_owned(), "95.5".to_owned()));
        let mut text = String::new();
        push_integer(&mut text, -1_020);
        assert_eq!(text, "-1020");
    }

    #[test]
    fn a_name_that_may_run_from_right_to_left_is_isolated() {
        let mut text = String::new();
        push_name(&mut text, "/var");
        push_name(&mut text, "\u{202e}x");
        assert_eq!(text, "/var\u{2068}\u{202e}x\u{2069}");
    }

    #[test]
    fn only_decimal_numbers_are_parsed() {
        assert_eq!(parse("95.5"), Some(95.5));
        assert_eq!(parse("0"), Some(0.0));
        for text in ["", "-1", "1e3", "NaN", ".", "1.2.3", "99999999", "\u{664}"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_text_is_split_as_the_standard_library_splits_it() {
        for text in ["", ".", "a", "a.b", "a..b.", "\u{e9}.x"] {
            assert!(parts(text, b'.').eq(text.split('.')), "{text}");
            assert_eq!(cut(text, b'.'), text.split_once('.'), "{text}");
        }
    }
}
