//! Query parameters of the paths below `/stats`.

/// Time span and resolution of a history query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Length of the span, seconds.
    pub(crate) seconds: u32,
    /// Length of a row, seconds.
    pub(crate) step: u32,
}

/// Content of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// Whole samples.
    Full,
    /// Summaries.
    Summary,
}

impl View {
    /// Parses the optional parameter `view=summary`; other parameters are ignored.
    ///
    /// # Errors
    /// Returns a sentence with the fault.
    pub(crate) fn parse(query: &str) -> Result<Self, String> {
        let parameters = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let mut views = parameters.filter(|(name, _)| *name == "view").map(|(_, value)| value);
        match (views.next(), views.next()) {
            (None, _) => Ok(Self::Full),
            (Some("summary"), None) => Ok(Self::Summary),
            (Some(_), Some(_)) => Err("view is given twice".to_owned()),
            (Some(other), None) => {
                Err(format!("view is {other:?}, but must be summary or left out"))
            }
        }
    }
}

/// Maximum length of a span, seconds.
const DAY: u32 = 24 * 60 * 60;

/// Maximum length of a span with one row per second, in seconds.
const MAX_FINE_SECONDS: u32 = 10 * 60;

/// Maximum step, seconds.
const HOUR: u32 = 60 * 60;

impl Span {
    /// Parses `seconds=N&step=M`. Both are optional; the defaults are ten minutes and the finest
    /// step that is stored for the span.
    ///
    /// # Errors
    /// Returns a sentence with all faults.
    pub(crate) fn parse(query: &str) -> Result<Self, String> {
        let mut values = [None; 2];
        numbers(query, &[("seconds", DAY), ("step", HOUR)], &mut values)?;
        let [seconds, step] = values;
        let seconds = seconds.unwrap_or(MAX_FINE_SECONDS);
        let finest = if seconds > MAX_FINE_SECONDS { 60 } else { 1 };
        Ok(Self { seconds, step: step.unwrap_or(finest) })
    }
}

/// Parses the optional parameter `seconds=N`; the default is the maximum.
///
/// # Errors
/// Returns a sentence with all faults.
pub(crate) fn seconds(query: &str, maximum: u32) -> Result<u32, String> {
    let mut values = [None];
    numbers(query, &[("seconds", maximum)], &mut values)?;
    let [seconds] = values;
    Ok(seconds.unwrap_or(maximum))
}

/// Parses parameters that are whole numbers from 1 to a maximum. The values have the order of the
/// names.
fn numbers(query: &str, names: &[(&str, u32)], values: &mut [Option<u32>]) -> Result<(), String> {
    let mut faults = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let mut slots = names.iter().zip(&mut *values);
        let Some(((_, maximum), slot)) = slots.find(|((known, _), _)| *known == name) else {
            let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
            faults.push(format!("{name:?} is not a parameter; expected {}", names.join(" or ")));
            continue;
        };
        if slot.is_some() {
            faults.push(format!("{name} is given twice"));
        }
        match parse_digits(value).filter(|value| (1..=*maximum).contains(value)) {
            Some(value) => *slot = Some(value),
            None => faults
                .push(format!("{name} is {value:?}, but must be a whole number of 1 to {maximum}")),
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

/// Accepts digits only; `parse` alone would accept a sign.
fn parse_digits(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_finest_step_of_ten_minutes() {
        assert_eq!(Span::parse(""), Ok(Span { seconds: 600, step: 1 }));
        assert_eq!(Span::parse("seconds=601"), Ok(Span { seconds: 601, step: 60 }));
        assert_eq!(Span::parse("step=5&seconds=60"), Ok(Span { seconds: 60, step: 5 }));
    }

    #[test]
    fn seconds_are_limited_and_exclude_other_parameters() {
        assert_eq!(seconds("", 600), Ok(600));
        assert_eq!(seconds("seconds=60", 600), Ok(60));
        for wrong in ["seconds=601", "seconds=0", "seconds", "step=1", "seconds=1&seconds=1"] {
            assert!(seconds(wrong, 600).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_view_is_optional() {
        assert_eq!(View::parse(""), Ok(View::Full));
        assert_eq!(View::parse("other=1"), Ok(View::Full));
        assert_eq!(View::parse("other=1&view=summary"), Ok(View::Summary));
        for wrong in ["view", "view=", "view=all", "view=summary&view=summary"] {
            assert!(View::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_fault_is_reported() {
        let message = Span::parse("seconds=0&step=x&page=1&step=2").unwrap_err();
        for part in ["seconds is \"0\"", "step is \"x\"", "\"page\" is not a parameter"] {
            assert!(message.contains(part), "{message}");
        }
        let wrong = "seconds seconds= seconds=+5 seconds=86401 step=3601 = step=1&step=1 \
                     step=99999999999";
        for wrong in wrong.split(' ') {
            assert!(Span::parse(wrong).is_err(), "{wrong}");
        }
    }
}
