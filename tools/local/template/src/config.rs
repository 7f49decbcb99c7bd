//! Settings of this service, beside those of every service.

use service::Settings;

/// Longest greeting, in bytes.
const GREETING_BYTES: usize = 200;

/// The configuration of the service.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    /// Text that the route returns.
    pub(crate) greeting: String,
}

impl Config {
    /// Reads the settings.
    pub(crate) fn read(settings: &mut Settings) -> Self {
        Self {
            greeting: settings.get_with(
                "HELLO_GREETING",
                "a text of at most 200 bytes",
                "hello".to_owned(),
                |text| (text.len() <= GREETING_BYTES).then(|| text.to_owned()),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(greeting: &str) -> (Config, bool) {
        let variables = [("HELLO_GREETING".to_owned(), greeting.to_owned())];
        let mut settings = Settings::new("HELLO", variables);
        let config = Config::read(&mut settings);
        (config, settings.finish().is_ok())
    }

    #[test]
    fn an_unset_greeting_has_a_default() {
        assert_eq!(read(""), (Config { greeting: "hello".to_owned() }, true));
    }

    #[test]
    fn a_greeting_has_a_limit() {
        let longest = "x".repeat(GREETING_BYTES);
        assert_eq!(read(&longest), (Config { greeting: longest.clone() }, true));
        assert!(!read(&format!("{longest}x")).1);
    }
}
