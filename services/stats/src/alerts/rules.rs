//! Parser of `STATS_ALERTS`.
//!
//! ```text
//! rules   = "off" | rule *( ";" rule )
//! rule    = subject [ target ] ( "off" | [ op value [ unit ] ] [ "for" duration ] [ severity ] )
//! op      = ">" | ">=" | "<" | "<="
//! ```
//!
//! A rule replaces the defaults of its subject for the targets that it matches. Of several rules
//! with the same severity, the first matching one applies.

use wire::{State, Subject, Unit};

use super::defaults::DEFAULTS;
use super::{Quantity, unit};

/// Maximum number of rules in a setting, which limits the work per tick.
const MAX_RULES: usize = 64;

/// Maximum duration of a rule, seconds.
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// Active rules, sorted by subject; the operator's rules precede the defaults.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rules(Vec<Rule>);

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rule {
    pub(super) subject: Subject,
    pub(super) quantity: Quantity,
    /// Pattern with `*` and `?`; `None` matches every target.
    target: Option<String>,
    pub(super) is_default: bool,
    /// Condition; `None` disables the subject.
    pub(super) condition: Option<Condition>,
}

/// Condition that raises an alert.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Condition {
    op: Op,
    pub(super) threshold: f64,
    /// Distance from the threshold that the value must reach before the alert can end.
    margin: f64,
    /// Time for which the condition must hold.
    pub(super) duration_ms: u64,
    pub(super) severity: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Above,
    AtLeast,
    Below,
    AtMost,
}

impl Default for Rules {
    fn default() -> Self {
        Self::with_defaults(Vec::new())
    }
}

impl Rules {
    /// Parses the setting.
    ///
    /// # Errors
    /// Returns a message for each fault.
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<String>> {
        if text.trim() == "off" {
            return Ok(Self(Vec::new()));
        }
        let clauses: Vec<&str> = clauses(text).collect();
        if clauses.len() > MAX_RULES {
            return Err(vec![format!(
                "there are {} rules, at most {MAX_RULES} are possible",
                clauses.len()
            )]);
        }
        let parsed = clauses.iter().map(|clause| {
            Rule::parse(clause, false).map_err(|fault| format!("{clause:?}: {fault}"))
        });
        let (mut rules, mut faults) = (Vec::new(), Vec::new());
        parsed.for_each(|result| match result {
            Ok(rule) => rules.push(rule),
            Err(fault) => faults.push(fault),
        });
        if faults.is_empty() { Ok(Self::with_defaults(rules)) } else { Err(faults) }
    }

    fn with_defaults(mut rules: Vec<Rule>) -> Self {
        // The tests parse all of them.
        rules.extend(clauses(DEFAULTS).filter_map(|clause| Rule::parse(clause, true).ok()));
        rules.sort_by_key(|rule| rule.subject);
        Self(rules)
    }

    /// Whether there are no rules, so alerts are off.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Rule with this index.
    pub(super) fn get(&self, number: usize) -> Option<&Rule> {
        self.0.get(number)
    }

    /// Rules of a subject, and the index of the first one.
    pub(super) fn of(&self, subject: Subject) -> (usize, &[Rule]) {
        let start = self.0.partition_point(|rule| rule.subject < subject);
        let rest = self.0.get(start..).unwrap_or_default();
        let count = rest.partition_point(|rule| rule.subject == subject);
        (start, rest.get(..count).unwrap_or_default())
    }
}

fn clauses(text: &str) -> impl Iterator<Item = &str> {
    text.split(';').map(str::trim).filter(|clause| !clause.is_empty())
}

impl Rule {
    fn parse(clause: &str, is_default: bool) -> Result<Self, String> {
        let (left, comparison) = match clause.find(['<', '>']) {
            Some(at) => {
                let (op, rest) = op(clause.get(at..).unwrap_or_default());
                (clause.get(..at).unwrap_or_default(), Some((op, rest)))
            }
            None => (clause, None),
        };
        let mut words = left.split_whitespace();
        let name = words.next().ok_or("a subject is missing")?;
        let subject = subject(name)?;
        let mut words: Vec<&str> = words.collect();
        let target = match words.first() {
            Some(&first) if !is_keyword(first) => {
                words.remove(0);
                Some(first.to_owned())
            }
            _ => None,
        };
        if let Some(target) = &target
            && !has_targets(subject)
            && !crate::glob::matches(target, "")
        {
            return Err(format!("{target:?} matches nothing: {} has no targets", subject.name()));
        }
        if words == ["off"] && comparison.is_none() {
            let quantity = Quantity::Main;
            return Ok(Self { subject, quantity, target, is_default, condition: None });
        }
        let is_boolean = unit(subject, Quantity::Main) == Unit::Boolean;
        let (op, value, quantity) = match comparison {
            Some((op, rest)) => {
                if let Some(word) = words.first() {
                    return Err(format!("{word:?} is not expected before the comparison"));
                }
                words = rest.split_whitespace().collect();
                let (value, quantity, used) = value(subject, &words)?;
                words.drain(..used);
                (op, value, quantity)
            }
            None if is_boolean => (Op::AtLeast, 1.0, Quantity::Main),
            None => return Err("a comparison such as \"> 90\" is missing".to_owned()),
        };
        let mut words = words.into_iter().peekable();
        let duration_ms = match words.next_if_eq(&"for") {
            Some(_) => duration_ms(words.next().ok_or("a duration such as 2m is missing")?)?,
            None => 0,
        };
        let severity = match words.next() {
            None | Some("warning") => State::Warning,
            Some("critical") => State::Critical,
            Some(word) => {
                return Err(format!(
                    "{word:?} is not expected; a rule ends with warning or critical"
                ));
            }
        };
        if let Some(word) = words.next() {
            return Err(format!("{word:?} is not expected at the end"));
        }
        let margin = margin(subject, quantity, value);
        let condition = Some(Condition { op, threshold: value, margin, duration_ms, severity });
        Ok(Self { subject, quantity, target, is_default, condition })
    }

    /// Whether the rule matches this target.
    pub(super) fn matches(&self, target: &str) -> bool {
        self.target.as_deref().is_none_or(|pattern| crate::glob::matches(pattern, target))
    }
}

impl Condition {
    /// Whether the value exceeds the limit.
    pub(super) fn holds(&self, value: f64) -> bool {
        self.op.compare(value, self.threshold)
    }

    /// Whether the value is back, including the margin that prevents flapping.
    pub(super) fn is_released(&self, value: f64) -> bool {
        let limit = match self.op {
            Op::Above | Op::AtLeast => self.threshold - self.margin,
            Op::Below | Op::AtMost => self.threshold + self.margin,
        };
        !self.op.compare(value, limit)
    }
}

impl Op {
    fn compare(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Above => value > limit,
            Self::AtLeast => value >= limit,
            Self::Below => value < limit,
            Self::AtMost => value <= limit,
        }
    }
}

/// Comparison operator at the start of a text, and the rest.
fn op(text: &str) -> (Op, &str) {
    for (sign, op) in [(">=", Op::AtLeast), ("<=", Op::AtMost), (">", Op::Above), ("<", Op::Below)]
    {
        if let Some(rest) = text.strip_prefix(sign) {
            return (op, rest);
        }
    }
    (Op::Above, text)
}

/// Whether the values of the subject belong to devices, mount points, containers or sources.
fn has_targets(subject: Subject) -> bool {
    use Subject as S;
    matches!(
        subject,
        S::Core
            | S::Filesystem
            | S::Inodes
            | S::Readonly
            | S::Disk
            | S::Interface
            | S::ContainerMemory
            | S::Source
    )
}

fn is_keyword(word: &str) -> bool {
    ["off", "for", "warning", "critical"].contains(&word)
}

fn subject(name: &str) -> Result<Subject, String> {
    let name = match name {
        "ram" => "memory",
        "down" => "source",
        name => name,
    };
    let found = Subject::ALL.into_iter().find(|(_, known)| *known == name);
    found.map(|(subject, _)| subject).ok_or_else(|| {
        let known: Vec<_> = Subject::ALL.iter().map(|(_, name)| *name).collect();
        format!("{name:?} is not a subject; there are {}", known.join(", "))
    })
}

/// Threshold of a rule, its quantity, and the number of words used: the unit can be a separate
/// word.
fn value(subject: Subject, words: &[&str]) -> Result<(f64, Quantity, usize), String> {
    let first = *words.first().ok_or("a value is missing after the comparison")?;
    let digits = first.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(first.len());
    let (number, attached) = first.split_at(digits);
    let number: f64 = number
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
        .ok_or_else(|| format!("{first:?} is not a number"))?;
    let next = words.get(1).copied().filter(|next| !is_keyword(next) && attached.is_empty());
    let (suffix, used) = next.map_or((attached, 1), |next| (next, 2));
    let own = unit(subject, Quantity::Main);
    let is_device = matches!(subject, Subject::Disk | Subject::Interface);
    let factor = match (suffix, own) {
        ("", _) | ("%", Unit::Percent) | ("s", Unit::Seconds) | ("/s", Unit::Count) => 1.0,
        ("ms", Unit::Seconds) => 0.001,
        ("m", Unit::Seconds) => 60.0,
        (suffix, _) if is_device => {
            let factor = bytes(suffix.strip_suffix("/s").unwrap_or(suffix));
            let factor =
                factor.ok_or_else(|| format!("{suffix:?} is not a unit of {}", subject.name()))?;
            return Ok((number * factor, Quantity::Throughput, used));
        }
        _ => return Err(format!("{suffix:?} is not a unit of {}", subject.name())),
    };
    Ok((number * factor, Quantity::Main, used))
}

fn bytes(suffix: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 7] = [
        ("B", 1.0),
        ("kB", 1e3),
        ("MB", 1e6),
        ("GB", 1e9),
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("GiB", 1_073_741_824.0),
    ];
    UNITS.into_iter().find(|(unit, _)| *unit == suffix).map(|(_, factor)| factor)
}

fn duration_ms(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let seconds = match suffix {
        "s" => Some(1_u64),
        "m" => Some(60),
        "h" => Some(3600),
        _ => None,
    };
    let all = seconds.zip(number.parse::<u64>().ok());
    all.and_then(|(seconds, number)| seconds.checked_mul(number))
        .filter(|&seconds| seconds <= DAY_SECONDS)
        .map(|seconds| seconds * 1000)
        .ok_or_else(|| format!("{text:?} is not a duration such as 30s, 2m or 1h, at most 24h"))
}

/// Margin of a threshold: a tenth of it. For percentages it is at most 5 points; for filesystems,
/// which fill up slowly, at most 1.
fn margin(subject: Subject, quantity: Quantity, threshold: f64) -> f64 {
    let tenth = threshold.abs() / 10.0;
    match (subject, unit(subject, quantity)) {
        (Subject::Filesystem | Subject::Inodes, _) => tenth.min(1.0),
        (_, Unit::Percent) => tenth.min(5.0),
        (_, Unit::Boolean) => 0.0,
        _ => tenth,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        Rule::parse(text, false).unwrap()
    }

    fn condition(text: &str) -> Condition {
        rule(text).condition.unwrap()
    }

    #[test]
    fn a_rule_has_a_subject_a_comparison_a_duration_and_a_severity() {
        let expected = Rule {
            subject: Subject::Cpu,
            quantity: Quantity::Main,
            target: None,
            is_default: false,
            condition: Some(Condition {
                op: Op::Above,
                threshold: 90.0,
                margin: 5.0,
                duration_ms: 120_000,
                severity: State::Critical,
            }),
        };
        for text in
            ["cpu > 90 for 2m critical", "cpu>90% for 120s critical", "cpu > 90 % for 2m critical"]
        {
            assert_eq!(rule(text), expected, "{text}");
        }
        assert_eq!(condition("ram >= 50").severity, State::Warning);
        assert_eq!(condition("ram >= 50").duration_ms, 0);
        assert_eq!(rule("down for 1m").subject, Subject::Source);
        assert_eq!(condition("down for 1m").duration_ms, 60_000);
        assert_eq!(condition("readonly /data critical").severity, State::Critical);
    }

    #[test]
    fn a_target_is_a_pattern() {
        let rule = rule("filesystem /var/* > 80");
        assert!(rule.matches("/var/log") && !rule.matches("/home"));
        assert!(self::rule("filesystem > 80").matches("/home"));
        assert!(self::rule("cpu * > 80").matches(""));
        assert_eq!(self::rule("core off").condition, None);
        assert_eq!(self::rule("filesystem /mnt/* off").condition, None);
    }

    #[test]
    fn the_unit_selects_the_quantity_of_a_device() {
        let throughput = rule("disk nvme* > 100 MB/s for 1m");
        assert_eq!(throughput.quantity, Quantity::Throughput);
        assert_eq!(throughput.condition.map(|condition| condition.threshold), Some(1e8));
        assert!(condition("interface eth0 > 1MiB").holds(1_048_577.0));
        assert!(!condition("interface eth0 > 1MiB").holds(1_048_576.0));
        assert_eq!(rule("interface > 10/s").quantity, Quantity::Main);
        assert!(condition("clock > 500ms").holds(0.51) && !condition("clock > 500ms").holds(0.5));
    }

    #[test]
    fn a_value_must_return_by_the_margin() {
        let above = condition("cpu > 90");
        assert!(above.holds(90.1) && !above.holds(90.0));
        assert!(!above.is_released(86.0) && above.is_released(85.0));
        let filesystem = condition("filesystem > 95");
        assert!(!filesystem.is_released(94.5) && filesystem.is_released(94.0));
        let below = condition("load < 10");
        assert!(below.holds(9.0) && !below.is_released(10.5) && below.is_released(11.0));
        let none = condition("oom > 0");
        assert!(none.holds(1.0) && none.is_released(0.0));
    }

    #[test]
    fn every_default_is_valid_and_every_subject_has_one() {
        for clause in clauses(DEFAULTS) {
            assert!(Rule::parse(clause, true).is_ok(), "{clause}: {:?}", Rule::parse(clause, true));
        }
        let rules = Rules::default();
        for (subject, name) in Subject::ALL {
            let (first, own) = rules.of(subject);
            assert!(!own.is_empty() && own.iter().all(|rule| rule.subject == subject), "{name}");
            assert_eq!(rules.get(first), own.first());
        }
    }

    #[test]
    fn off_disables_all_rules_and_own_rules_precede_the_defaults() {
        assert!(Rules::parse(" off ").unwrap().is_empty());
        let rules = Rules::parse("cpu > 50; disk sda off;").unwrap();
        let (_, own) = rules.of(Subject::Cpu);
        assert_eq!(own.iter().map(|rule| rule.is_default).collect::<Vec<_>>(), [false, true, true]);
        assert_eq!(Rules::parse(""), Ok(Rules::default()));
    }

    #[test]
    fn every_fault_is_reported_with_its_rule() {
        for (text, part) in [
            ("gpu > 5", "not a subject"),
            ("cpu", "comparison"),
            ("cpu >", "value is missing"),
            ("cpu > x", "not a number"),
            ("cpu > 5 MB/s", "not a unit"),
            ("disk > 5 furlongs", "not a unit"),
            ("cpu > 5 for", "duration"),
            ("cpu > 5 for ever", "not a duration"),
            ("cpu > 5 for 25h", "not a duration"),
            ("cpu > 5 fatal", "not a unit"),
            ("cpu > 5% fatal", "ends with warning or critical"),
            ("cpu > 5 critical now", "at the end"),
            ("disk a b > 5", "before the comparison"),
            ("load 5 > 4", "has no targets"),
            ("oom nginx off", "has no targets"),
            ("> 5", "subject is missing"),
            ("cpu > 1e999", "unit"),
        ] {
            let faults = Rules::parse(text).unwrap_err();
            assert!(faults.len() == 1 && faults[0].contains(part), "{text}: {faults:?}");
        }
        assert_eq!(Rules::parse("cpu; gpu > 1; memory > 5").unwrap_err().len(), 2);
        assert!(Rules::parse(&"cpu > 1;".repeat(MAX_RULES + 1)).is_err());
    }
}
