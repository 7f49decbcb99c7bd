//! Settings from the environment. They are read once and checked completely, and all faults are
//! reported together.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

/// One lookup per setting; all faults are collected until [`Settings::finish`].
///
/// An empty value counts as unset, because `${NAME:-}` in a compose file results in one.
pub struct Settings {
    prefix: &'static str,
    variables: BTreeMap<String, String>,
    known: BTreeSet<&'static str>,
    faults: Vec<String>,
}

/// All faults of the configuration, one sentence per line.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{}", .faults.join("\n"))]
pub struct ConfigError {
    /// A sentence for each fault, in the order in which the settings are read.
    pub faults: Vec<String>,
}

impl Settings {
    /// Settings from the given variables. Names that start with `prefix` and an underscore belong
    /// to the service; an unknown one is a fault.
    pub fn new(
        prefix: &'static str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        Self {
            prefix,
            variables: variables.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
            known: BTreeSet::new(),
            faults: Vec::new(),
        }
    }

    /// The setting `name`, or `default` if it is unset. `expected` completes the sentence "NAME is
    /// "value", but must be …".
    pub fn get<T: FromStr>(&mut self, name: &'static str, expected: &str, default: T) -> T {
        self.get_with(name, expected, default, |text| text.parse().ok())
    }

    /// Like [`Settings::get`], with a custom parser. `None` from the parser is a fault.
    pub fn get_with<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        default: T,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> T {
        match self.text(name).map(parse) {
            Some(Some(value)) => value,
            Some(None) => {
                self.reject_value(name, expected);
                default
            }
            None => default,
        }
    }

    /// Text of a setting, whose name is known from now on.
    fn text(&mut self, name: &'static str) -> Option<&str> {
        self.known.insert(name);
        self.variables.get(name).map(String::as_str)
    }

    /// Adds the fault of a value. It is not generic, so a binary contains it once.
    fn reject_value(&mut self, name: &'static str, expected: &str) {
        let text = self.variables.get(name).map_or("", String::as_str);
        let shown = without_password(text);
        self.faults.push(format!("{name} is {shown:?}, but must be {expected}"));
    }

    /// Like [`Settings::get_with`], with a parser that returns the faults of a list, one clause
    /// each.
    pub fn get_or_explain<T>(
        &mut self,
        name: &'static str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, Vec<String>>,
    ) -> T {
        let Some(parsed) = self.text(name).map(parse) else { return default };
        parsed.unwrap_or_else(|faults| {
            self.reject_list(name, &faults);
            default
        })
    }

    fn reject_list(&mut self, name: &str, faults: &[String]) {
        for fault in faults {
            let words: Vec<_> = fault.split(' ').map(without_password).collect();
            self.faults.push(format!("{name}: {}", words.join(" ")));
        }
    }

    /// Adds a fault of the combination of several settings.
    pub fn reject(&mut self, sentence: String) {
        self.faults.push(sentence);
    }

    /// Checks for unknown names and reports all faults.
    ///
    /// # Errors
    /// Returns all faults together, if there is at least one.
    pub fn finish(mut self) -> Result<(), ConfigError> {
        let own = format!("{}_", self.prefix);
        let ours = |name: &str| name.starts_with(&own);
        let known: Vec<_> = self.known.iter().copied().filter(|name| ours(name)).collect();
        for name in self.variables.keys() {
            let unknown = ours(name) && !self.known.contains(name.as_str());
            if unknown && !is_service_link(&name[own.len()..]) {
                let known = known.join(", ");
                self.faults.push(format!("{name} is not a setting; there are {known}"));
            }
        }
        if self.faults.is_empty() { Ok(()) } else { Err(ConfigError { faults: self.faults }) }
    }
}

/// Whether a name comes from a service link. Kubernetes and Docker links set variables with the
/// addresses of a service of the same name (`STATS_PORT=tcp://…`), which are not typing errors.
fn is_service_link(rest: &str) -> bool {
    ["SERVICE_HOST", "SERVICE_PORT", "PORT"].iter().any(|link| {
        rest.strip_prefix(link).is_some_and(|tail| tail.is_empty() || tail.starts_with('_'))
    })
}

/// The text without the part before an `@`, which can be the user and password of a URL.
fn without_password(text: &str) -> String {
    text.rsplit_once('@').map_or_else(|| text.to_owned(), |(_, host)| format!("…@{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn settings<const N: usize>(variables: [(&str, &str); N]) -> Settings {
        Settings::new("STATS", variables.map(|(name, value)| (name.to_owned(), value.to_owned())))
    }

    #[test]
    fn an_unset_and_an_empty_variable_give_the_default() {
        let mut settings = settings([("STATS_B", "")]);
        assert_eq!(settings.get("STATS_A", "a number", 7), 7);
        assert_eq!(settings.get("STATS_B", "a number", 8), 8);
        assert_eq!(settings.finish(), Ok(()));
    }

    #[test]
    fn every_fault_is_reported_at_once_with_its_name_and_what_was_expected() {
        let mut settings =
            settings([("STATS_LISTEN", "here"), ("STATS_N", "-1"), ("STATS_TYPO", "1")]);
        let fallback: SocketAddr = ([0, 0, 0, 0], 1).into();
        settings.get("STATS_LISTEN", "an address and a port", fallback);
        settings.get("STATS_N", "a whole number", 1_u32);
        let error = settings.finish().unwrap_err();
        assert_eq!(
            error.faults,
            [
                "STATS_LISTEN is \"here\", but must be an address and a port",
                "STATS_N is \"-1\", but must be a whole number",
                "STATS_TYPO is not a setting; there are STATS_LISTEN, STATS_N",
            ]
        );
    }

    #[test]
    fn a_password_in_an_invalid_url_is_not_printed() {
        let mut settings = settings([("STATS_A", "http://me:open@sesame@host:9093/x")]);
        settings.get("STATS_A", "a number", 7);
        let error = settings.finish().unwrap_err();
        assert_eq!(error.faults, [r#"STATS_A is "…@host:9093/x", but must be a number"#]);
    }

    #[test]
    fn a_password_in_an_invalid_list_is_not_printed() {
        let mut settings = settings([("STATS_A", "/a http://me:sesame@host:1")]);
        let parse = |text: &str| Err::<u8, _>(vec![format!("{text:?} is wrong")]);
        settings.get_or_explain("STATS_A", 7, parse);
        let error = settings.finish().unwrap_err();
        assert_eq!(error.faults, [r#"STATS_A: "/a …@host:1" is wrong"#]);
    }

    #[test]
    fn addresses_that_an_orchestrator_injects_are_not_typing_mistakes() {
        let settings = settings([
            ("STATS_PORT", "tcp://10.0.0.1:8080"),
            ("STATS_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("STATS_SERVICE_HOST", "10.0.0.1"),
            ("STATSD_HOST", "elsewhere"),
        ]);
        assert_eq!(settings.finish(), Ok(()));
    }
}
