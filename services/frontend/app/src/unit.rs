//! Units of values.

/// In what a figure is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A name.
    Text,
    /// Of a hundred.
    Percent,
    /// Of a hundred, with a bar.
    Bar,
    /// Bytes.
    Bytes,
    /// Bytes a second.
    Rate,
    /// Things, with two decimals.
    Number,
    /// Things, whole.
    Count,
    /// Seconds.
    Seconds,
    /// Things, with the decimals that they have.
    Short,
}
