//! Parser for HTTP dates (RFC 9110, section 5.6.7).

use std::time::SystemTime;

const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Length of the longest form in bytes.
const LONGEST: usize = "Wednesday, 06-Nov-94 08:49:37 GMT".len();

/// Parses a date in one of the three forms, in any case (RFC 9111, section 4.2). The day of the
/// week is redundant, so a wrong one is not an error.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    let text = text.trim();
    if text.len() > LONGEST {
        return None;
    }
    httpdate::parse_http_date(text).ok().or_else(|| parse_loosely(text))
}

fn parse_loosely(text: &str) -> Option<SystemTime> {
    let text = capitalized(text);
    let (named, rest) = text.split_at(text.find([',', ' '])?);
    let is_full = DAYS.contains(&named);
    if !is_full && !DAYS.iter().any(|day| day.get(..3) == Some(named)) {
        return None;
    }
    // Exactly one of the seven days is correct.
    DAYS.iter().find_map(|day| {
        let day = if is_full { day } else { day.get(..3)? };
        httpdate::parse_http_date(&format!("{day}{rest}")).ok()
    })
}

/// Capitalizes words as dates require: `Nov`, `GMT`.
fn capitalized(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut is_first = true;
    for letter in text.chars() {
        let letter =
            if is_first { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
        is_first = !letter.is_ascii_alphabetic();
        out.push(letter);
    }
    match out.strip_suffix("Gmt") {
        Some(rest) => format!("{rest}GMT"),
        None => out,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_yields_the_same_date_in_any_case_and_with_any_day() {
        let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "SUN, 06 nov 1994 08:49:37 gmt",
            "sunday, 06-NOV-94 08:49:37 GmT",
            "sUN nOV  6 08:49:37 1994",
            "Thu, 06 Nov 1994 08:49:37 GMT",
            "Monday, 06-Nov-94 08:49:37 GMT",
            "Wed Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn invalid_dates_are_rejected() {
        for text in [
            "",
            "0",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 AEST",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Son, 06 Nov 1994 08:49:37 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_causes_a_panic(text in "\\PC{0,40}") {
            let _ = parse(&text);
        }
    }
}
