//! Patterns with `*` and `?`.

/// Whether the whole text is what the pattern describes: `*` is any text, `?` one character.
///
/// Takes at most the product of both lengths.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // Where to go on when the rest does not match: behind the last `*`, one character later.
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

/// Names that are wanted and names that are not: `eth*,!eth1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// In their order; whether the pattern excludes.
    patterns: Vec<(bool, String)>,
}

/// What of the devices and mounts of a machine is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selections {
    /// Interfaces, by name.
    pub(crate) interfaces: Selection,
    /// Disks, by name.
    pub(crate) disks: Selection,
    /// Filesystems, by the place of their mount.
    pub(crate) mounts: Selection,
}

/// Patterns of a setting.
const PATTERNS: usize = 64;

impl Selection {
    /// What the setting must be.
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
        let is_sound =
            patterns.len() <= PATTERNS && patterns.iter().all(|(_, pattern)| !pattern.is_empty());
        is_sound.then_some(Self { patterns })
    }

    /// Whether nothing was selected: what is shown is the service's choice.
    pub(crate) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether the name is wanted: the last pattern that matches it decides, and without one it is
    /// wanted if no pattern includes.
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
    fn a_star_is_any_text_and_a_question_mark_one_character() {
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
    fn the_last_pattern_that_matches_decides() {
        let selection = Selection::parse("eth*, !eth1").unwrap();
        assert!(selection.contains("eth0") && !selection.contains("eth1"));
        assert!(!selection.contains("wlan0"));
        let selection = Selection::parse("!veth*").unwrap();
        assert!(selection.contains("eth0") && !selection.contains("veth1"));
        let everything = Selection::parse("").unwrap();
        assert!(everything.is_empty() && everything.contains("x"));
        assert_eq!(Selection::parse("!"), None);
        assert_eq!(Selection::parse(&"a,".repeat(PATTERNS + 1)), None);
    }

    proptest! {
        #[test]
        fn a_text_matches_itself_and_its_own_ends(text in "[a-c]{0,8}", cut in 0_usize..8) {
            let cut = cut.min(text.len());
            let pattern = format!("{}*", &text[..cut]);
            let end = format!("*{}", &text[cut..]);
            prop_assert!(matches(&text, &text) && matches(&pattern, &text) && matches(&end, &text));
        }

        #[test]
        fn every_pattern_comes_to_an_end(pattern in "[ab*?]{0,20}", text in "[ab]{0,40}") {
            let _ = matches(&pattern, &text);
        }
    }
}
