//! Redaction of table lines in messages: field values may be secrets. Pure.

/// Attributes whose values are shown.
const KNOWN: [&str; 8] = ["check", "auth", "upgrade", "timeout", "total", "body", "host", "hide"];

/// Placeholder for a redacted value.
pub(super) const REDACTED: &str = "...";

/// The words of a line for a message. Field values are redacted, and so is any text that may be
/// part of one: a malformed field, or the text after an unescaped space or semicolon in a value.
/// Of an address, the part before an `@` is, because it can be the user and password of a URL.
/// `is_rest` means that the line may begin with such a part.
pub(super) fn redacted(line: &str, is_rest: bool) -> Vec<String> {
    let mut in_value = is_rest && !line.trim_start().starts_with('/');
    line.split_whitespace()
        .enumerate()
        .map(|(index, word)| {
            let name = word.split(['=', ':']).next().unwrap_or_default();
            if sets_field(index, word) {
                in_value = true;
                return match word.split_once('=').and_then(|(_, field)| field.split_once(':')) {
                    Some((field, _)) if is_field_name(field) => {
                        format!("{name}={field}:{REDACTED}")
                    }
                    _ => format!("{name}{REDACTED}"),
                };
            }
            if in_value && !(word.contains('=') && KNOWN.contains(&name)) {
                return REDACTED.to_owned();
            }
            let is_address = index == 1 && !word.contains('=');
            let is_plain = index == 0 || is_address || name == word || KNOWN.contains(&name);
            match word.rsplit_once('@') {
                Some((_, host)) if is_address => format!("{REDACTED}@{host}"),
                _ if is_plain => word.to_owned(),
                _ => format!("{name}{REDACTED}"),
            }
        })
        .collect()
}

/// Whether a line has a word that sets a field, or probably should.
pub(super) fn has_field(line: &str) -> bool {
    line.split_whitespace().enumerate().any(|(index, word)| sets_field(index, word))
}

/// Also detects a misspelled attribute, or one in the position of the addresses.
fn sets_field(index: usize, word: &str) -> bool {
    let name = word.split(['=', ':']).next().unwrap_or_default().to_ascii_lowercase();
    let is_address = index == 1 && !word.contains('=') && !name.contains("-head");
    let parts = ["request", "response", "head"];
    index > 0 && !is_address && parts.iter().any(|part| name.contains(part))
}

/// Letters, digits, hyphens and underscores only; a word with other characters may be a value.
fn is_field_name(text: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !text.is_empty() && text.bytes().all(is_of_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn possible_values_are_redacted() {
        for (line, expected) in [
            ("/a b:1 request-header=A:secret timeout=x", "/a b:1 request-header=A:... timeout=x"),
            ("/a b:1 request-header=A=secret", "/a b:1 request-header..."),
            ("/a b:1 response-header=secret", "/a b:1 response-header..."),
            ("/a b:1 request-header:A:secret", "/a b:1 request-header..."),
            ("/a b:1 request-headr=A:secret", "/a b:1 request-headr=A:..."),
            ("/a b:1 Request_Header=A:secret fast=secret", "/a b:1 Request_Header=A:... ..."),
            ("/a b:1 request-header=A:Basic secret==", "/a b:1 request-header=A:... ..."),
            ("/a request-header=A:secret", "/a request-header=A:..."),
            ("/a request-headr=A:secret", "/a request-headr=A:..."),
            ("/a request-header:A:secret", "/a request-header..."),
            ("/a fast=secret quick=secret", "/a fast... quick..."),
            ("/a headers:80 fast", "/a headers:80 fast"),
            ("/a http://me:secret@b:1 check=/x@y", "/a ...@b:1 check=/x@y"),
        ] {
            assert_eq!(redacted(line, false).join(" "), expected);
        }
        assert_eq!(redacted("secret hide=x", true), ["...", "hide=x"]);
        assert_eq!(redacted("/b c:1", true), ["/b", "c:1"]);
        assert!(has_field("/a b:1 request-header=A:x") && !has_field("/request-header b:1 hide=x"));
    }
}
