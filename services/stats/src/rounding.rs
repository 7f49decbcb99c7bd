//! Values with two decimals, which is finer than the kernel's ticks, and processors with four: the
//! limit of a small container is a quarter of one.

/// Share in percent with two decimals. It is at most 100, because the two clocks of a rate can
/// differ slightly. `None` if the whole is zero.
pub(crate) fn percent(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| hundredths(part / whole * 100.0).clamp(0.0, 100.0))
}

/// A value with two decimals.
pub(crate) fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// A value with four decimals.
pub(crate) fn ten_thousandths(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_between_0_and_100_and_absent_if_the_whole_is_zero() {
        assert_eq!(percent(1.0, 3.0), Some(33.33));
        assert_eq!(percent(3.1, 3.0), Some(100.0));
        assert_eq!(percent(0.0, 0.0), None);
    }
}
