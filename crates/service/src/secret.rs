//! Secrets from a setting or from a file, which is read on each use.

use std::fmt;
use std::path::PathBuf;

use crate::Settings;

/// The two settings of a secret: its text, or the path of a file that contains it. The text is
/// never printed.
#[derive(Clone, Debug)]
pub struct Secret {
    names: [&'static str; 2],
    text: Option<Hidden>,
    file: Option<PathBuf>,
}

#[derive(Clone)]
struct Hidden(String);

impl fmt::Debug for Hidden {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("hidden")
    }
}

impl Secret {
    /// Reads the settings with these names: the text and the path.
    pub fn read(settings: &mut Settings, names: [&'static str; 2]) -> Self {
        let [text, file] = names;
        let text =
            settings.get_with(text, "a text", None, |text| Some(Some(Hidden(text.to_owned()))));
        let file = settings.get_with(file, "a path", None, |text| Some(Some(text.into())));
        Self { names, text, file }
    }

    /// The name of the setting and the text, if one of the two is set.
    ///
    /// # Errors
    /// Both settings are set, or the file cannot be read.
    pub fn text(&self) -> Result<Option<(&'static str, String)>, String> {
        let [name, file_name] = self.names;
        match (&self.text, &self.file) {
            (Some(_), Some(_)) => Err(format!("{name} and {file_name} are both set")),
            (Some(Hidden(text)), None) => Ok(Some((name, text.clone()))),
            (None, Some(file)) => std::fs::read_to_string(file)
                .map(|text| Some((file_name, without_byte_order_mark(text))))
                .map_err(|error| format!("{file_name} {}: {error}", file.display())),
            (None, None) => Ok(None),
        }
    }
}

/// The text without a byte order mark, which editors on Windows write and do not show.
fn without_byte_order_mark(text: String) -> String {
    text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Secret {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Secret::read(&mut Settings::new("A", variables), ["A_SECRET", "A_SECRET_FILE"])
    }

    #[test]
    fn it_comes_from_one_of_two_settings_and_is_not_printed() {
        assert_eq!(read(&[]).text(), Ok(None));
        let secret = read(&[("A_SECRET", "open sesame")]);
        assert_eq!(secret.text(), Ok(Some(("A_SECRET", "open sesame".to_owned()))));
        assert!(!format!("{secret:?}").contains("sesame"));
        let missing = read(&[("A_SECRET_FILE", "/no/such/file")]).text().unwrap_err();
        assert!(missing.starts_with("A_SECRET_FILE /no/such/file: "), "{missing}");
        let both = read(&[("A_SECRET", "open sesame"), ("A_SECRET_FILE", "/no/such/file")]);
        assert_eq!(both.text(), Err("A_SECRET and A_SECRET_FILE are both set".to_owned()));
    }

    #[test]
    fn a_byte_order_mark_is_not_a_part_of_it() {
        let file = std::env::temp_dir().join(format!("service-secret-{}", std::process::id()));
        std::fs::write(&file, "\u{feff}open sesame\n").unwrap();
        let text = read(&[("A_SECRET_FILE", file.to_str().unwrap())]).text();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(text, Ok(Some(("A_SECRET_FILE", "open sesame\n".to_owned()))));
    }
}
