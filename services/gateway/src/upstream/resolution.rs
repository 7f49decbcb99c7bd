//! State of the lookups of a pool's names: which names resolve, and when that changes. Pure.

/// Address family; each one is looked up separately.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Family {
    /// A records.
    V4,
    /// AAAA records.
    V6,
}

impl Family {
    /// Both families.
    pub(super) const ALL: [Self; 2] = [Self::V4, Self::V6];

    const fn index(self) -> usize {
        self as usize
    }

    const fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }
}

/// Outcome of a lookup.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Outcome {
    /// Not ended yet.
    #[default]
    Pending,
    /// At least one address.
    Found,
    /// Empty, failed, or timed out.
    Nothing,
}

/// State changes caused by the end of a lookup.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Report {
    /// The name has addresses now, or both of its lookups have ended for the first time.
    pub(super) first_ended: bool,
    /// The name no longer resolves, or never has.
    pub(super) fails: bool,
    /// The name resolves again.
    pub(super) recovers: bool,
}

/// Names of a pool.
#[derive(Debug)]
pub(super) struct Names(Vec<Name>);

#[derive(Clone, Debug, Default)]
struct Name {
    outcomes: [Outcome; 2],
    is_known: bool,
    is_failing: bool,
}

impl Names {
    /// Creates this number of names without lookups.
    pub(super) fn new(count: usize) -> Self {
        Self(vec![Name::default(); count])
    }

    /// Records a lookup that has ended or is slow.
    pub(super) fn record(&mut self, index: usize, family: Family, outcome: Outcome) -> Report {
        let Some(name) = self.0.get_mut(index) else { return Report::default() };
        name.outcomes[family.index()] = outcome;
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
        let other = family.other().index();
        self.0.get(index).is_some_and(|name| name.outcomes[other] == Outcome::Found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_family_is_enough_and_both_must_fail() {
        let mut names = Names::new(1);
        let mut record = |family, outcome| names.record(0, family, outcome);
        assert_eq!(record(Family::V6, Outcome::Nothing), Report::default());
        let ended = Report { first_ended: true, ..Report::default() };
        assert_eq!(record(Family::V4, Outcome::Found), ended);
        assert_eq!(record(Family::V6, Outcome::Nothing), Report::default());
        assert!(record(Family::V4, Outcome::Nothing).fails);
        assert_eq!(record(Family::V4, Outcome::Nothing), Report::default(), "it is said once");
        assert!(record(Family::V6, Outcome::Found).recovers);
        assert_eq!(record(Family::V4, Outcome::Found), Report::default());
        assert_eq!(names.record(7, Family::V4, Outcome::Found), Report::default());
    }

    #[test]
    fn a_name_that_never_resolves_ends_the_wait_once() {
        let mut names = Names::new(1);
        assert!(!names.record(0, Family::V4, Outcome::Nothing).first_ended);
        let both = names.record(0, Family::V6, Outcome::Nothing);
        assert!(both.first_ended && both.fails);
        assert!(!names.record(0, Family::V6, Outcome::Found).first_ended);
    }
}
