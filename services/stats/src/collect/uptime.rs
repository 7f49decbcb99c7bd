//! Time since boot: `/proc/uptime` (`proc(5)`).

use procfs::{FromRead, Uptime};

use super::ParseError;

/// Parses the text of `/proc/uptime`: seconds since boot, including suspended time.
pub(crate) fn parse(text: &str) -> Result<f64, ParseError> {
    let Uptime { uptime, .. } = Uptime::from_read(text.as_bytes())?;
    if uptime.is_finite() && uptime >= 0.0 {
        Ok(uptime)
    } else {
        Err(ParseError::Invalid(format!("{uptime} is not a time")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_is_the_uptime() {
        assert_eq!(parse("350735.47 234388.90\n"), Ok(350_735.47));
        assert!(parse("").is_err());
        assert!(parse("inf 1.0").is_err());
        assert!(parse("-1.0 1.0").is_err());
    }
}
