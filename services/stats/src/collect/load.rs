//! Load averages: `/proc/loadavg` (`proc(5)`).

use procfs::{FromRead, LoadAverage};

use super::ParseError;

/// Load averages and number of tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Load {
    /// Averages over 1, 5 and 15 minutes.
    pub(crate) averages: [f64; 3],
    /// Existing processes and threads.
    pub(crate) total: u64,
}

/// Parses the text of `/proc/loadavg`.
pub(crate) fn parse(text: &str) -> Result<Load, ParseError> {
    let LoadAverage { one, five, fifteen, max, .. } = LoadAverage::from_read(text.as_bytes())?;
    if ![one, five, fifteen].into_iter().all(|load| load.is_finite() && load >= 0.0) {
        return Err(ParseError::Invalid(format!("{one} {five} {fifteen} are not averages")));
    }
    // The kernel prints two decimals; the conversion from f32 would show rounding errors.
    let averages = [one, five, fifteen].map(|load| (f64::from(load) * 100.0).round() / 100.0);
    Ok(Load { averages, total: max.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_averages_keep_two_decimals_and_all_tasks_are_counted() {
        let load = parse("0.42 1.10 15.03 1/234 5678\n");
        assert_eq!(load, Ok(Load { averages: [0.42, 1.10, 15.03], total: 234 }));
    }

    #[test]
    fn text_that_is_not_loadavg_is_an_error() {
        assert!(parse("").is_err());
        assert!(parse("a b c 1/2 3").is_err());
        assert!(parse("NaN 0.1 0.1 1/2 3").is_err());
        assert!(parse("0.1 -5 0.1 1/2 3").is_err());
    }

    #[test]
    fn an_error_does_not_contain_a_path_of_the_build_machine() {
        let error = parse("a b c 1/2 3").unwrap_err().to_string();
        assert!(!error.contains(".rs") && !error.contains('/'), "{error}");
    }
}
