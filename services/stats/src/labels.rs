//! Labels of this instance: `STATS_LABELS`.

use std::collections::BTreeMap;

/// Names and values of labels.
pub(crate) type Labels = BTreeMap<String, String>;

/// Maximum number of labels.
const MAX_LABELS: usize = 16;

/// Maximum length of a name, bytes.
const MAX_NAME_BYTES: usize = 32;

/// Maximum length of a value, characters.
const MAX_VALUE_CHARACTERS: usize = 64;

/// Parses `team=web,az=eu-1`.
///
/// # Errors
/// Returns a message for each fault.
pub(crate) fn parse(text: &str) -> Result<Labels, Vec<String>> {
    let mut labels = Labels::new();
    let mut faults = Vec::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            faults.push(format!("{pair:?} has no value; expected NAME=VALUE"));
            continue;
        };
        let (name, value) = (name.trim(), value.trim());
        if !is_name(name) {
            faults.push(format!(
                "the name {name:?} must have 1 to {MAX_NAME_BYTES} of the characters a-z, 0-9, _, . and -"
            ));
        } else if value.chars().count() > MAX_VALUE_CHARACTERS
            || value.chars().any(char::is_control)
        {
            faults.push(format!("the value of {name:?} must have at most 64 printable characters"));
        } else if labels.insert(name.to_owned(), value.to_owned()).is_some() {
            faults.push(format!("{name:?} is given twice"));
        }
    }
    if labels.len() > MAX_LABELS {
        faults
            .push(format!("there are {} labels, at most {MAX_LABELS} are possible", labels.len()));
    }
    if faults.is_empty() { Ok(labels) } else { Err(faults) }
}

/// Adds labels of the ECS task, unless the operator has set a label of the same name.
pub(crate) fn with_task(labels: &Labels, task: &[(&'static str, &str)]) -> Labels {
    let mut all = labels.clone();
    for (name, value) in task.iter().filter(|(_, value)| !value.is_empty()) {
        if all.len() < MAX_LABELS && !all.contains_key(*name) {
            let value = value.chars().filter(|character| !character.is_control());
            all.insert((*name).to_owned(), value.take(MAX_VALUE_CHARACTERS).collect());
        }
    }
    all
}

fn is_name(text: &str) -> bool {
    let is_allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
    (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_pairs() {
        let labels = parse("team=web, az=eu-1,,note=a=b, empty=").unwrap();
        let pairs: Vec<_> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(pairs, [("az", "eu-1"), ("empty", ""), ("note", "a=b"), ("team", "web")]);
    }

    #[test]
    fn every_fault_is_reported() {
        let long = "x".repeat(65);
        for wrong in ["team", "Team=web", "=web", "a b=c", "a=b,a=c", &format!("a={long}")] {
            assert_eq!(parse(wrong).unwrap_err().len(), 1, "{wrong}");
        }
        assert_eq!(parse("one,two,three=3").unwrap_err().len(), 2);
        let many: Vec<_> = (0..17).map(|number| format!("l{number}=x")).collect();
        assert!(parse(&many.join(",")).is_err());
        assert!(parse(&many[..16].join(",")).is_ok());
    }

    #[test]
    fn the_operators_labels_take_precedence_over_those_of_the_task() {
        let own = parse("task=mine").unwrap();
        let all = with_task(&own, &[("task", "theirs"), ("az", "eu-1a"), ("service", "")]);
        assert_eq!(all, parse("task=mine,az=eu-1a").unwrap());
    }
}
