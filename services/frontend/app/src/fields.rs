//! Access to JSON values, independent of their parser.

use crate::number::parts;

/// JSON value.
pub(crate) trait Fields: Sized {
    /// Value of a field, or of an element of a list by its index.
    fn get(&self, name: &str) -> Option<Self>;
    /// The value as a number.
    fn number(&self) -> Option<f64>;
    /// The value as a text.
    fn text(&self) -> Option<String>;
    /// Elements of a list; empty if the value is not a list.
    fn list(&self) -> Vec<Self>;

    /// Value at the end of a path.
    fn at(&self, path: &str) -> Option<Self> {
        let mut names = parts(path, b'.');
        let first = self.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))
    }

    /// Number at the end of a path.
    fn number_at(&self, path: &str) -> Option<f64> {
        self.at(path)?.number()
    }

    /// Text at the end of a path; empty if there is none.
    fn text_at(&self, path: &str) -> String {
        self.at(path).and_then(|value| value.text()).unwrap_or_default()
    }
}
