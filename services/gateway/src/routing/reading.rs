//! Detection of paths that an upstream server could interpret as a path of a protected route.
//!
//! Servers normalize more than the RFCs require: letter case (IIS, Express), path parameters
//! (Tomcat, Jetty), trailing characters of a segment (Windows), alternate data streams and short names
//! (NTFS), double decoding, and compatibility characters of Unicode, also of delimiters. If the table
//! has protected routes, the gateway rejects a path that belongs to an open route, but would belong to
//! a protected one after any of these normalizations.

use percent_encoding::percent_decode;

/// Rounds of percent-decoding that a chain of servers could apply.
const DECODINGS: usize = 4;

/// A path after the most aggressive normalization.
#[derive(Debug)]
pub(crate) struct Reading {
    segments: Vec<Vec<char>>,
    /// A dot segment appears after decoding.
    pub(crate) has_dots: bool,
}

impl Reading {
    /// Normalizes a plain path (see `route::plain`) or a route's prefix.
    pub(crate) fn of(path: &str) -> Self {
        let mut bytes = path.as_bytes().to_vec();
        for _ in 0..DECODINGS {
            // Invalid escapes stay as they are.
            let next = folded(&percent_decode(&bytes).collect::<Vec<_>>());
            if next == bytes {
                break;
            }
            bytes = next;
        }
        let text = String::from_utf8_lossy(&bytes);
        let mut reading = Self { segments: Vec::new(), has_dots: false };
        for segment in text.split(['/', '\\']) {
            // Path parameters, alternate data streams, and the query: some servers decode the path
            // before they split it off, and others have split it off before.
            let name = segment.split([';', ':', '?', '#']).next().unwrap_or_default();
            let blank = |c: char| c.is_whitespace() || c.is_control() || c == '+';
            let name = name.trim_matches(blank);
            if name == ".." {
                reading.has_dots = true;
            }
            let name = name.trim_end_matches(|c: char| blank(c) || c == '.');
            if !name.is_empty() {
                reading.segments.push(name.chars().flat_map(char::to_lowercase).collect());
            }
        }
        reading
    }

    /// Whether the path could equal `prefix` or be below it.
    pub(crate) fn may_be_below(&self, prefix: &Self) -> bool {
        self.segments.len() >= prefix.segments.len()
            && self
                .segments
                .iter()
                .zip(&prefix.segments)
                .all(|(read, wanted)| matches(read, wanted) || is_short_form(read, wanted))
    }
}

/// Replaces characters that become ASCII delimiters.
fn folded(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match delimiters(c) {
                Some(text) => out.extend_from_slice(text.as_bytes()),
                None => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        out.extend_from_slice(chunk.invalid());
    }
    out
}

/// The delimiters into which NFKC, or the best fit of a code page, converts a character.
const fn delimiters(c: char) -> Option<&'static str> {
    Some(match c {
        '\u{2044}' | '\u{2215}' | '\u{ff0f}' => "/",
        '\u{2216}' | '\u{fe68}' | '\u{ff3c}' => "\\",
        '\u{2024}' | '\u{fe52}' | '\u{ff0e}' => ".",
        '\u{2025}' | '\u{fe30}' => "..",
        '\u{037e}' | '\u{fe14}' | '\u{fe54}' | '\u{ff1b}' => ";",
        '\u{fe13}' | '\u{fe55}' | '\u{ff1a}' => ":",
        '\u{2047}' | '\u{2048}' | '\u{fe16}' | '\u{fe56}' | '\u{ff1f}' => "?",
        '\u{fe5f}' | '\u{ff03}' => "#",
        '\u{fe6a}' | '\u{ff05}' => "%",
        '\u{2100}' => "a/c",
        '\u{2101}' => "a/s",
        '\u{2105}' => "c/o",
        '\u{2106}' => "c/u",
        _ => return None,
    })
}

/// Whether a segment could be the short name that file systems of Windows give to the wanted one:
/// `admini~1` for `administration`, and two of its letters with a checksum if there are several.
fn is_short_form(read: &[char], wanted: &[char]) -> bool {
    let Some(tilde) = read.iter().position(|&c| c == '~') else { return false };
    let is_number = read.get(tilde + 1).is_some_and(char::is_ascii_digit);
    let letters = wanted.iter().filter(|&&c| c != '.').take(2);
    is_number && (1..=6).contains(&tilde) && read.iter().take(tilde.min(2)).eq(letters.take(tilde))
}

/// Whether a segment could match the wanted one, where each compatibility character may stand for
/// several others.
fn matches(read: &[char], wanted: &[char]) -> bool {
    // `ends[n]`: whether the characters so far could match the first `n` of `wanted`.
    let (mut ends, mut next) = (vec![false; wanted.len() + 1], vec![false; wanted.len() + 1]);
    ends[0] = true;
    for &c in read {
        let (least, most) = stands_for(c);
        if (least, most) == (0, 0) && !wanted.contains(&c) {
            // It disappears in each reading.
            continue;
        }
        next.fill(false);
        for (start, _) in ends.iter().enumerate().filter(|(_, reached)| **reached) {
            if wanted.get(start) == Some(&c) {
                next[start + 1] = true;
            }
            for count in least..=most {
                if let Some(end) = next.get_mut(start + count) {
                    *end = true;
                }
            }
        }
        // The path can be a thousand times as long as that of a route.
        if !next.contains(&true) {
            return false;
        }
        std::mem::swap(&mut ends, &mut next);
    }
    ends.last() == Some(&true)
}

/// Minimum and maximum number of ASCII characters into which a normalization (NFKC, NFKD without
/// marks, best fit of a code page) could convert a character; an empty range if none does.
const fn stands_for(c: char) -> (usize, usize) {
    match c as u32 {
        // Combining marks and characters that are ignored by default, such as the soft hyphen and
        // those without width, disappear.
        0x00ad
        | 0x0300..=0x036f
        | 0x061c
        | 0x115f..=0x1160
        | 0x17b4..=0x17b5
        | 0x180b..=0x180f
        | 0x200b..=0x200f
        | 0x202a..=0x202e
        | 0x2060..=0x206f
        | 0x3164
        | 0xfe00..=0xfe0f
        | 0xffa0
        | 0x1bca0..=0x1bca3
        | 0x1d173..=0x1d17a => (0, 0),
        // Latin letters with marks, ligatures, fractions.
        0x00a0..=0x024f | 0x1e00..=0x1eff => (1, 3),
        0xfeff | 0xe0000..=0xe01ef => (0, 1),
        // Phonetic letters, punctuation, superscripts, letterlike symbols, Roman numerals.
        0x1d00..=0x1dbf | 0x2000..=0x218f => (0, 4),
        // Enclosed and squared letters, ligatures, small and full-width forms.
        0x2460..=0x24ff
        | 0x3200..=0x33ff
        | 0xfb00..=0xfb06
        | 0xfe50..=0xfe6f
        | 0xff00..=0xffef
        | 0x1d400..=0x1d7ff
        | 0x1f100..=0x1f1ff
        | 0xfffd => (1, 4),
        _ => (1, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn may_be(path: &str, prefix: &str) -> bool {
        Reading::of(path).may_be_below(&Reading::of(prefix))
    }

    #[test]
    fn every_form_that_some_server_normalizes_is_detected() {
        for path in [
            "/admin",
            "/admin/users",
            "/ADMIN/users",
            "/admin;x=1/users",
            "/admin;/users",
            "/;x/admin",
            "/admin%20/users",
            "/%20admin",
            "/admin+/x",
            "/admin%09",
            "/admin./users",
            "/admin.%20./x",
            "/admin%3B/users",
            "/admin%3Fx",
            "/admin%23x/y",
            "/admin::$DATA",
            "/admin:$i30:$INDEX_ALLOCATION/x",
            "/%61dmin",
            "/%2561dmin",
            "/%25252561dmin",
            "/%2fadmin",
            "/x%2f..%2fadmin/../../admin",
            "/.%2f/admin",
            "/%5cadmin",
            "/%EF%BD%81dmin",
            "/%E2%93%90dmin",
            "/adm%C4%B1n",
            "/a%E2%80%8Bdmin",
            "/ad%C2%ADmin",
            "/%F0%9D%90%9Admin",
            "/%EF%BC%8Fadmin",
            "/x%EF%BC%8F..%EF%BC%8Fadmin",
            "/%E2%81%84admin%E2%88%96x",
            "/admin%EF%BC%9Bx",
            "/admin%CD%BEx/y",
            "/admin%EF%BC%9Ax",
            "/admin%EF%BC%9Fx",
            "/admin%EF%BC%83x",
            "/admin%EF%BC%8E/x",
            "/%EF%BC%8561dmin",
            "/a%E1%85%A0d%F0%9D%85%B3min",
            "/ADMIN~1/x",
            "/ad1f3b~1.x",
        ] {
            let hidden = Reading::of(path).has_dots;
            assert!(hidden || may_be(path, "/admin"), "{path}");
        }
    }

    #[test]
    fn unrelated_paths_do_not_match() {
        for path in [
            "/",
            "/administrator",
            "/admins/x",
            "/a/admin",
            "/admin.js",
            "/admin-x",
            "/users",
            "/x;admin",
            "/caf%C3%A9",
            "/%E6%97%A5%E6%9C%AC",
            "/100%25",
            "/%D0%B0dmin",
            "/~admin",
            "/admin~",
            "/users~1",
            "/administration~1",
        ] {
            let reading = Reading::of(path);
            assert!(!reading.has_dots && !may_be(path, "/admin"), "{path}");
        }
    }

    #[test]
    fn dots_that_appear_after_double_decoding_are_detected() {
        for path in [
            "/public/%252e%252e/x",
            "/public/%3F/%252e%252e/x",
            "/public/%23/%252e%252e/x",
            "/a/%2e%2e;x/b",
            "/a/..%20/b",
            "/a/%252e./b",
            "/a/%EF%BC%8E%EF%BC%8E/b",
            "/a/.%E2%80%A4/b",
            "/a/%E2%80%A5/b",
            "/a%EF%BC%8F..%EF%BC%8Fb",
        ] {
            assert!(Reading::of(path).has_dots, "{path}");
        }
        assert!(!Reading::of("/a/.../b").has_dots);
    }

    /// One way to write a segment that some server normalizes to the segment.
    fn disguised() -> impl Strategy<Value = String> {
        ("[ab]{1,6}", 0..9_u8, any::<u16>()).prop_map(|(segment, way, bits)| {
            let each = |change: fn(char) -> String| -> String {
                let chosen = |(index, c): (usize, char)| {
                    if bits >> (index % 16) & 1 == 1 { change(c) } else { c.to_string() }
                };
                segment.chars().enumerate().map(chosen).collect()
            };
            let odd = match way {
                0 => each(|c| c.to_uppercase().collect()),
                1 => each(|c| format!("%{:02x}", c as u32)),
                2 => each(|c| format!("%25{:02X}", c as u32)),
                3 => each(|c| char::from_u32(c as u32 + 0xfee0).map(String::from).unwrap()),
                4 => format!("{segment};v={bits}"),
                5 => format!("{segment}%20"),
                6 => format!("{segment}.."),
                7 => format!("{segment}%3b"),
                _ => format!("{segment}::$DATA"),
            };
            format!("{segment}|{odd}")
        })
    }

    proptest! {
        #[test]
        fn a_disguised_segment_is_detected_at_any_position(
            segments in proptest::collection::vec(disguised(), 1..4),
            more in "(/[a-z]{1,5}){0,2}",
        ) {
            let pairs = || segments.iter().map(|pair| pair.split_once('|').unwrap());
            let joined = |parts: Vec<&str>| format!("/{}", parts.join("/"));
            let prefix = joined(pairs().map(|(plain, _)| plain).collect());
            let path = joined(pairs().map(|(_, odd)| odd).collect());
            prop_assert!(may_be(&format!("{path}{more}"), &prefix), "{path}{more} {prefix}");
        }

        #[test]
        fn plain_lower_case_paths_match_as_they_are_routed(
            path in "(/[a-c]{1,3}){1,4}",
            prefix in "(/[a-c]{1,3}){1,3}",
        ) {
            let rest = path.strip_prefix(&prefix);
            let below = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            prop_assert_eq!(may_be(&path, &prefix), below);
        }

        #[test]
        fn no_path_causes_a_panic(path in "\\PC{0,60}", prefix in "\\PC{0,20}") {
            let _ = may_be(&path, &prefix);
        }
    }
}
