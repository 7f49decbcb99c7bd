//! From a request's path to the service behind it. Pure.

use std::borrow::Cow;

/// A service behind the gateway.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Upstream {
    /// The machine's figures.
    Stats,
    /// The page.
    Frontend,
}

impl Upstream {
    /// Its name, as in logs and error answers.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Stats => "stats",
            Self::Frontend => "frontend",
        }
    }
}

/// The upstream of a plain path (see [`plain`]).
pub(crate) fn upstream_for(path: &str) -> Upstream {
    match path.strip_prefix("/stats") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => Upstream::Stats,
        _ => Upstream::Frontend,
    }
}

/// A path that two readers could take for two different resources, and why.
#[derive(Debug, PartialEq)]
pub(crate) struct Ambiguous(pub(crate) &'static str);

/// The path (without query) as every reader must understand it: escaped characters that need no
/// escape are unescaped, which RFC 3986, section 6.2.2.2, calls equivalent. What a server behind
/// could resolve to another resource than the gateway routed is refused, not repaired.
pub(crate) fn plain(path: &str) -> Result<Cow<'_, str>, Ambiguous> {
    let plain = unescaped(path)?;
    let Some(segments) = plain.strip_prefix('/') else {
        return Err(Ambiguous("it does not begin with a slash"));
    };
    if plain.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(Ambiguous("it has a control character"));
    }
    if plain.contains('\\') {
        return Err(Ambiguous("it has a backslash"));
    }
    let mut segments = segments.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => return Err(Ambiguous("it has a dot segment")),
            "" if !last => return Err(Ambiguous("it has an empty segment")),
            _ => {}
        }
    }
    Ok(plain)
}

fn unescaped(path: &str) -> Result<Cow<'_, str>, Ambiguous> {
    let Some(first) = path.find('%') else {
        return Ok(Cow::Borrowed(path));
    };
    let mut plain = path[..first].to_owned();
    for part in path[first + 1..].split('%') {
        let byte = part
            .get(..2)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .ok_or(Ambiguous("it has an incomplete percent escape"))?;
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                plain.push(char::from(byte));
                plain.push_str(&part[2..]);
            }
            b'/' => return Err(Ambiguous("it has an escaped slash")),
            b'\\' => return Err(Ambiguous("it has a backslash")),
            0..0x20 | 0x7f => return Err(Ambiguous("it has a control character")),
            _ => {
                plain.push('%');
                plain.push_str(part);
            }
        }
    }
    Ok(Cow::Owned(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stats_and_what_is_below_it_goes_to_stats() {
        for path in ["/stats", "/stats/", "/stats/stream", "/stats/a/b"] {
            assert_eq!(upstream_for(path), Upstream::Stats, "{path}");
        }
    }

    #[test]
    fn what_only_looks_like_stats_goes_to_the_frontend() {
        for path in ["/", "/statsfoo", "/stats.json", "/stat", "/a/stats", "/Stats", "/stats%20"] {
            assert_eq!(upstream_for(path), Upstream::Frontend, "{path}");
        }
    }

    #[test]
    fn a_needless_escape_changes_nothing() {
        assert_eq!(plain("/%73tats").unwrap(), "/stats");
        assert_eq!(plain("/stats%2Fx").unwrap_err().0, "it has an escaped slash");
        assert_eq!(plain("/a%7Eb").unwrap(), "/a~b");
    }

    #[test]
    fn a_needed_escape_is_kept_as_it_came() {
        for path in ["/a%20b", "/%C3%A9", "/a%25b", "/%3Fx", "/100%25"] {
            assert_eq!(plain(path).unwrap(), path);
        }
    }

    #[test]
    fn an_escaped_percent_is_not_unescaped_twice() {
        assert_eq!(plain("/%252e%252e/stats").unwrap(), "/%252e%252e/stats");
    }

    #[test]
    fn ambiguous_paths_are_refused() {
        for path in [
            "",
            "*",
            "stats",
            "//stats",
            "/a//b",
            "/./stats",
            "/stats/../x",
            "/stats/..",
            "/.",
            "/%2e%2E/stats",
            "/.%2e/stats",
            "/foo%2f..%2fstats",
            "/foo%2Fbar",
            "/a\\b",
            "/a%5cb",
            "/a%00",
            "/a%0d%0ab",
            "/a%7f",
            "/a\u{1}",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%+1",
            "/%é",
        ] {
            assert!(plain(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn dots_inside_a_name_are_only_dots() {
        for path in ["/a.b", "/...", "/.well-known/x", "/a..b/", "/"] {
            assert_eq!(plain(path).unwrap(), path);
        }
    }
}
