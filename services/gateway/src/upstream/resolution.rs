//! How the lookups of a pool's names stand: which names resolve, and when that changes. Pure.

/// A family of addresses, looked up by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Family {
    /// A records.
    V4,
    /// AAAA records.
    V6,
}

impl Family {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::V4, Self::V6];

    const fn place(self) -> usize {
        self as usize
    }

    const fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }
}

/// How a lookup ended.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Outcome {
    /// It has not, yet.
    #[default]
    Pending,
    /// With addresses.
    Found,
    /// Without, or not at all.
    Nothing,
}

/// What follows from the end of a lookup.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Report {
    /// The name has addresses now, or both of its lookups have ended for the first time.
    pub(super) first_ended: bool,
    /// It does not resolve any more, or never did.
    pub(super) fails: bool,
    /// It resolves again.
    pub(super) recovers: bool,
}

/// The names of a pool.
#[derive(Debug)]
pub(super) struct Names(Vec<Name>);

#[derive(Clone, Debug, Default)]
struct Name {
    outcomes: [Outcome; 2],
    is_known: bool,
    is_failing: bool,
}

impl Names {
    /// So many, none of which has been looked up.
    pub(super) fn new(count: usize) -> Self {
        Self(vec![Name::default(); count])
    }

    /// A lookup has ended, or taken too long.
    pub(super) fn note(&mut self, index: usize, family: Family, outcome: Outcome) -> Report {
        let Some(name) = self.0.get_mut(index) else { return Report::default() };
        name.outcomes[family.place()] = outcome;
        let resolves = name.outcomes.contains(&Outcome::Found);
        let fails = name.outcomes == [Outcome::Nothing; 2];
        let first_ended = (resolves || fails) && !std::mem::replace(&mut name.is_known, true);
        let was_failing = name.is_failing;
        name.is_failing = (was_failing || fails) && !resolves;
        Report {
            first_ended,
            fails: name.is_failing && !was_failing,
            recovers: was_failing && !name.is_failing,
        }
    }

    /// Whether the name has addresses of the other family.
    pub(super) fn has_other(&self, index: usize, family: Family) -> bool {
        let other = family.other().place();
        self.0.get(index).is_some_and(|name| name.outcomes[other] == Outcome::Found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_family_is_enough_and_both_must_fail() {
        let mut names = Names::new(1);
        let mut note = |family, outcome| names.note(0, family, outcome);
        assert_eq!(note(Family::V6, Outcome::Nothing), Report::default());
        let ended = Report { first_ended: true, ..Report::default() };
        assert_eq!(note(Family::V4, Outcome::Found), ended);
        assert_eq!(note(Family::V6, Outcome::Nothing), Report::default());
        assert!(note(Family::V4, Outcome::Nothing).fails);
        assert_eq!(note(Family::V4, Outcome::Nothing), Report::default(), "it is said once");
        assert!(note(Family::V6, Outcome::Found).recovers);
        assert_eq!(note(Family::V4, Outcome::Found), Report::default());
        assert_eq!(names.note(7, Family::V4, Outcome::Found), Report::default());
    }

    #[test]
    fn a_name_that_never_resolves_ends_the_wait_once() {
        let mut names = Names::new(1);
        assert!(!names.note(0, Family::V4, Outcome::Nothing).first_ended);
        let both = names.note(0, Family::V6, Outcome::Nothing);
        assert!(both.first_ended && both.fails);
        assert!(!names.note(0, Family::V6, Outcome::Found).first_ended);
    }
}
