//! Units of values.

/// Unit of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// None: the value is a text.
    Text,
    /// Percent.
    Percent,
    /// Percent, with a bar.
    Bar,
    /// Bytes.
    Bytes,
    /// Bytes per second.
    Rate,
    /// Number with two decimals.
    Number,
    /// Integer.
    Count,
    /// Seconds.
    Seconds,
    /// Number with at most two decimals and no trailing zeros.
    Short,
}
