//! Patterns with the wildcards `*` and `?`.

/// Whether the pattern matches the whole text: `*` matches any text, `?` one character.
///
/// The time is at most proportional to the product of both lengths.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // Position to resume from after a mismatch: behind the last `*`, one character later.
    let mut retry = None;
    loop {
        let mut rest = pattern.clone();
        match rest.next() {
            Some('*') => {
                pattern = rest;
                retry = Some((pattern.clone(), text.clone()));
                continue;
            }
            Some(expected) => {
                let mut next = text.clone();
                if next.next().is_some_and(|found| expected == '?' || expected == found) {
                    (pattern, text) = (rest, next);
                    continue;
                }
            }
            None if text.clone().next().is_none() => return true,
            None => {}
        }
        let Some((behind, mut later)) = retry.take() else { return false };
        if later.next().is_none() {
            return false;
        }
        (pattern, text) = (behind.clone(), later.clone());
        retry = Some((behind, later));
    }
}

/// Patterns that include and exclude names: `eth*,!eth1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Patterns in their order, each with a flag that is true for an exclusion.
    patterns: Vec<(bool, String)>,
}

/// Devices and mounts that the service reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selections {
    /// Interfaces, by name.
    pub(crate) interfaces: Selection,
    /// Disks, by name.
    pub(crate) disks: Selection,
    /// Filesystems, by mount point.
    pub(crate) mounts: Selection,
}

/// Maximum number of patterns in a setting.
const MAX_PATTERNS: usize = 64;

impl Selection {
    /// Expected syntax of the setting.
    pub(crate) const EXPECTED: &str =
        "at most 64 patterns with * and ?, separated by commas; ! excludes";

    /// Parses the setting.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let pattern = |word: &str| match word.strip_prefix('!') {
            Some(rest) => (true, rest.to_owned()),
            None => (false, word.to_owned()),
        };
        let patterns: Vec<_> = words.map(pattern).collect();
        let is_valid = patterns.len() <= MAX_PATTERNS
            && patterns.iter().all(|(_, pattern)| !pattern.is_empty());
        is_valid.then_some(Self { patterns })
    }

    /// Whether the operator has set no patterns, and the service's defaults apply.
    pub(crate) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether the name is selected. The last matching pattern decides. Without a match, the name
    /// is selected if no pattern includes.
    pub(crate) fn contains(&self, name: &str) -> bool {
        let decides = self.patterns.iter().rev().find(|(_, pattern)| matches(pattern, name));
        match decides {
            Some((excludes, _)) => !excludes,
            None => self.patterns.iter().all(|(excludes, _)| *excludes),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_matches_any_text_and_a_question_mark_one_character() {
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("*", "anything"),
            ("/var/*", "/var/lib/x"),
            ("eth?", "eth0"),
            ("*a*b*", "xxaxxbxx"),
            ("*ab", "aab"),
            ("?", "ü"),
            ("**", "x"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("a", ""),
            ("eth?", "eth"),
            ("/var/*", "/var"),
            ("*ab", "aba"),
            ("a*b", "ac"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn the_last_matching_pattern_decides() {
        let selection = Selection::parse("eth*, !eth1").unwrap();
        assert!(selection.contains("eth0") && !selection.contains("eth1"));
        assert!(!selection.contains("wlan0"));
        let selection = Selection::parse("!veth*").unwrap();
        assert!(selection.contains("eth0") && !selection.contains("veth1"));
        let everything = Selection::parse("").unwrap();
        assert!(everything.is_empty() && everything.contains("x"));
        assert_eq!(Selection::parse("!"), None);
        assert_eq!(Selection::parse(&"a,".repeat(MAX_PATTERNS + 1)), None);
    }

    proptest! {
        #[test]
        fn a_text_matches_itself_its_prefix_and_suffix(text in "[a-c]{0,8}", cut in 0_usize..8) {
            let cut = cut.min(text.len());
            let pattern = format!("{}*", &text[..cut]);
            let end = format!("*{}", &text[cut..]);
            prop_assert!(matches(&text, &text) && matches(&pattern, &text) && matches(&end, &text));
        }

        #[test]
        fn matching_ends_for_every_pattern(pattern in "[ab*?]{0,20}", text in "[ab]{0,40}") {
            let _ = matches(&pattern, &text);
        }
    }
}
