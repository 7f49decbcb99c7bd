//! Values of JSON, whatever parsed them.

/// A value as JSON has them.
pub(crate) trait Fields: Sized {
    /// The value of that name, or at that place of a list.
    fn get(&self, name: &str) -> Option<Self>;
    /// The number that it is.
    fn number(&self) -> Option<f64>;
    /// The text that it is.
    fn text(&self) -> Option<String>;
    /// The values of the list that it is; none where it is no list.
    fn list(&self) -> Vec<Self>;

    /// The value at the end of a path.
    fn at(&self, path: &str) -> Option<Self> {
        let mut names = path.split('.');
        let first = self.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))
    }

    /// The number at the end of a path.
    fn number_at(&self, path: &str) -> Option<f64> {
        self.at(path)?.number()
    }

    /// The text at the end of a path, empty where there is none.
    fn text_at(&self, path: &str) -> String {
        self.at(path).and_then(|value| value.text()).unwrap_or_default()
    }
}
