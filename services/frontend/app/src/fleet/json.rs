//! Scanner for one line of JSON. A tick of a thousand members has 25,000 fields. A call into the
//! browser's objects for each one takes longer than a frame; a pass over the bytes takes a
//! millisecond.

/// Maximum nesting; a member's line has two levels.
const MAX_DEPTH: usize = 8;

/// Number of names in a path. Values with deeper nesting have the same path.
const PATH: usize = 2;

/// Scalar value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scalar<'a> {
    /// Number; infinite if it exceeds the range.
    Number(f64),
    /// Raw string, with its escapes.
    Text(&'a str),
    /// `null`, `true` or `false`: unknown to all callers.
    Other,
}

/// Calls `on_scalar` with the path and the value of each scalar. Elements of a list have the path
/// of the list. Returns whether the text is one complete JSON value; `on_scalar` may have been
/// called before an error.
pub(crate) fn scan<'a>(
    text: &'a str,
    on_scalar: &mut dyn FnMut([&'a str; PATH], Scalar<'a>),
) -> bool {
    let mut scanner = Scanner { text, at: 0, path: [""; PATH], on_scalar };
    scanner.value(0).is_some() && scanner.peek() == 0
}

struct Scanner<'a, 'f> {
    text: &'a str,
    at: usize,
    path: [&'a str; PATH],
    on_scalar: &'f mut dyn FnMut([&'a str; PATH], Scalar<'a>),
}

impl<'a> Scanner<'a, '_> {
    /// Next byte, 0 at the end. A NUL in the text is rejected like the end.
    fn byte(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    /// Skips white space and returns the next byte.
    fn peek(&mut self) -> u8 {
        while matches!(self.byte(), b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
        self.byte()
    }

    fn consume(&mut self, expected: u8) -> Option<()> {
        (self.peek() == expected).then(|| self.at += 1)
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        let scalar = match self.peek() {
            open @ (b'{' | b'[') => return self.parts(open, depth),
            b'"' => Scalar::Text(self.string()?),
            b'-' | b'0'..=b'9' => Scalar::Number(self.number()?),
            b'a'..=b'z' => {
                while self.byte().is_ascii_lowercase() {
                    self.at += 1;
                }
                Scalar::Other
            }
            _ => return None,
        };
        (self.on_scalar)(self.path, scalar);
        Some(())
    }

    fn parts(&mut self, open: u8, depth: usize) -> Option<()> {
        if depth == MAX_DEPTH {
            return None;
        }
        self.at += 1;
        // In ASCII, the code of a closing bracket is that of the opening one plus 2.
        let close = open + 2;
        if self.peek() == close {
            self.at += 1;
            return Some(());
        }
        loop {
            if open == b'{' {
                self.peek();
                let name = self.string()?;
                self.consume(b':')?;
                if let Some(slot) = self.path.get_mut(depth) {
                    *slot = name;
                }
            }
            self.value(depth + 1)?;
            if self.peek() != b',' {
                break;
            }
            self.at += 1;
        }
        if let Some(slot) = self.path.get_mut(depth).filter(|_| open == b'{') {
            *slot = "";
        }
        self.consume(close)
    }

    fn string(&mut self) -> Option<&'a str> {
        self.consume(b'"')?;
        let begin = self.at;
        loop {
            match self.byte() {
                0 => return None,
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.text.get(begin..self.at - 1)
    }

    fn number(&mut self) -> Option<f64> {
        let is_negative = self.byte() == b'-';
        self.at += usize::from(is_negative);
        let (mut value, mut exponent, mut is_fraction) = (0.0, 0_i32, false);
        let begin = self.at;
        loop {
            match self.byte() {
                digit @ b'0'..=b'9' => {
                    value = value * 10.0 + f64::from(digit - b'0');
                    exponent -= i32::from(is_fraction);
                }
                b'.' if !is_fraction => is_fraction = true,
                _ => break,
            }
            self.at += 1;
        }
        if self.at == begin {
            return None;
        }
        if self.byte() | 32 == b'e' {
            self.at += 1;
            let is_small = self.byte() == b'-';
            self.at += usize::from(matches!(self.byte(), b'-' | b'+'));
            let mut power = 0_i32;
            while self.byte().is_ascii_digit() {
                power = (power * 10 + i32::from(self.byte() - b'0')).min(999);
                self.at += 1;
            }
            exponent += if is_small { -power } else { power };
        }
        let mut scale = 1.0_f64;
        // A power of ten beyond 400 gives 0 or infinity in any case.
        for _ in 0..exponent.unsigned_abs().min(400) {
            scale *= 10.0;
        }
        value = if exponent < 0 { value / scale } else { value * scale };
        Some(if is_negative { -value } else { value })
    }
}

/// Sets `text` to the content of a raw string: at most `limit` characters, without escapes and
/// control characters. Returns `false`, without a change, if `text` already equals the raw string.
pub(crate) fn set_unescaped(text: &mut String, raw: &str, limit: usize) -> bool {
    if text == raw {
        return false;
    }
    text.clear();
    let mut chars = raw.chars();
    // High surrogate that precedes a low one; 0 if there is none.
    let mut high = 0;
    let mut remaining = limit;
    while let Some(mut char) = chars.next() {
        if remaining == 0 {
            text.push('\u{2026}');
            break;
        }
        if char == '\\' {
            char = match chars.next() {
                Some('u') => {
                    let digits = chars.by_ref().take(4);
                    let code = digits
                        .fold(0, |code, digit| code * 16 + digit.to_digit(16).unwrap_or_default());
                    if code & 0xfc00 == 0xd800 {
                        high = code;
                        continue;
                    }
                    let code = match code & 0xfc00 {
                        0xdc00 if high > 0 => 0x1_0000 + ((high & 0x3ff) << 10) + (code & 0x3ff),
                        _ => code,
                    };
                    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
                }
                Some(escaped @ ('"' | '\\' | '/')) => escaped,
                // Line breaks and tabs become spaces.
                _ => ' ',
            };
        }
        high = 0;
        // Bidirectional control characters would change the direction of the text beside a name.
        let is_hidden = char.is_control()
            || matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        text.push(if is_hidden { ' ' } else { char });
        remaining -= 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(text: &str) -> Option<Vec<(String, String)>> {
        let mut all = Vec::new();
        let is_complete = scan(text, &mut |path, scalar| {
            all.push((path.join("."), format!("{scalar:?}")));
        });
        is_complete.then_some(all)
    }

    fn number(text: &str) -> f64 {
        let mut number = f64::NAN;
        assert!(scan(text, &mut |_, scalar| {
            if let Scalar::Number(value) = scalar {
                number = value;
            }
        }));
        number
    }

    fn text(raw: &str, limit: usize) -> String {
        let mut text = String::new();
        set_unescaped(&mut text, raw, limit);
        text
    }

    #[test]
    fn scalars_are_found_with_their_paths() {
        let found =
            scanned(r#" {"a":1, "b":{"c":"x\"y","d":{"e":[2,null]}},"f":[3,[4]],"g":true} "#);
        let found = found.unwrap();
        let found: Vec<_> = found.iter().map(|(path, value)| (&**path, &**value)).collect();
        assert_eq!(
            found,
            [
                ("a.", "Number(1.0)"),
                ("b.c", "Text(\"x\\\\\\\"y\")"),
                ("b.d", "Number(2.0)"),
                ("b.d", "Other"),
                ("f.", "Number(3.0)"),
                ("f.", "Number(4.0)"),
                ("g.", "Other"),
            ]
        );
    }

    #[test]
    fn numbers_are_parsed() {
        for (text, value) in
            [("0", 0.0), ("-12.5", -12.5), ("99.37", 99.37), ("1e3", 1_000.0), ("25E-1", 2.5)]
        {
            assert!((number(text) - value).abs() < 1e-9, "{text} is {}", number(text));
        }
        assert!((number("1795862883123") - 1_795_862_883_123.0).abs() < 0.5);
        assert!(number("1e999999999999").is_infinite());
        assert!(number(&"9".repeat(1_000)).is_infinite());
        assert!(number("1e-999").abs() < 1e-300);
    }

    #[test]
    fn text_that_is_not_one_complete_value_is_rejected() {
        let deep = "[".repeat(100_000);
        for text in [
            "",
            "{",
            "[",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "[1 2]",
            "1 2",
            "\"",
            "\"\\",
            "\"\\\"",
            "{\"a\":1]",
            "[1}",
            "-",
            "{}x",
            "\u{e4}",
            "\"\0\"",
            "\"\\\u{e4}",
            &deep,
        ] {
            assert_eq!(scanned(text), None, "{text:.20}");
        }
    }

    #[test]
    fn a_truncated_text_is_rejected_without_a_panic() {
        let line = r#"{"name":"\u00e4b\\","labels":{"a":"b"},"cpu":[1.5e2,null],"x":{"y":{}}}"#;
        assert!(scanned(line).is_some());
        for end in 0..line.len() {
            assert_eq!(scanned(&line[..end]), None, "{end}");
        }
    }

    #[test]
    fn strings_are_unescaped_sanitized_and_truncated() {
        assert_eq!(text(r#"a\"b\\c\/d\ne"#, 99), "a\"b\\c/d e");
        assert_eq!(text(r"\u00e4 \ud83d\ude00 \ud83d \ude00 \uzzzz", 99), "ä 😀  \u{fffd}  ");
        assert_eq!(text("<b>\u{202e}evil\u{7}", 99), "<b> evil ");
        assert_eq!(text(&"x".repeat(1_000_000), 3), "xxx\u{2026}");
        let mut known = "same".to_owned();
        set_unescaped(&mut known, "same", 2);
        assert_eq!(known, "same", "what is known is kept");
    }
}
