//! Load averages: `/proc/loadavg` (`proc(5)`).

use procfs::{FromRead, LoadAverage};

use super::ParseError;

/// Parses the text of `/proc/loadavg`: the averages over 1, 5 and 15 minutes.
pub(crate) fn parse(text: &str) -> Result<[f64; 3], ParseError> {
    let LoadAverage { one, five, fifteen, .. } = LoadAverage::from_read(text.as_bytes())?;
    if ![one, five, fifteen].into_iter().all(|load| load.is_finite() && load >= 0.0) {
        return Err(ParseError::Odd(format!("{:?} are not averages", text.trim_end())));
    }
    // The kernel prints two decimals; widening from f32 would show its rounding.
    Ok([one, five, fifteen].map(|load| (f64::from(load) * 100.0).round() / 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_averages_keep_their_two_decimals() {
        assert_eq!(parse("0.42 1.10 15.03 1/234 5678\n"), Ok([0.42, 1.10, 15.03]));
    }

    #[test]
    fn text_that_is_not_loadavg_is_an_error() {
        assert!(parse("").is_err());
        assert!(parse("a b c 1/2 3").is_err());
        assert!(parse("NaN 0.1 0.1 1/2 3").is_err());
        assert!(parse("0.1 -5 0.1 1/2 3").is_err());
    }
}
