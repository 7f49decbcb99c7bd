//! Pressure stall information: `/proc/pressure/*` (Documentation/accounting/psi.rst).

use super::ParseError;

/// Pressure on one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Stalls {
    /// At least one task waited.
    pub(crate) some: Stall,
    /// All tasks waited at the same time; kernels before 5.13 do not report it for CPU.
    pub(crate) full: Option<Stall>,
}

/// Share of lost time, percent, and total lost time since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Stall {
    pub(crate) avg10: f64,
    pub(crate) avg60: f64,
    pub(crate) avg300: f64,
    pub(crate) total_us: u64,
}

/// Parses the text of one file of `/proc/pressure`.
pub(crate) fn parse(text: &str) -> Result<Stalls, ParseError> {
    let line = |start| text.lines().find_map(|line| line.strip_prefix(start));
    let some = stall(line("some ").ok_or(ParseError::Missing("some"))?)?;
    // An invalid line affects only its own values.
    let full = line("full ").and_then(|line| stall(line).ok());
    Ok(Stalls { some, full })
}

fn stall(line: &str) -> Result<Stall, ParseError> {
    Ok(Stall {
        avg10: average(line, "avg10")?,
        avg60: average(line, "avg60")?,
        avg300: average(line, "avg300")?,
        total_us: value(line, "total")?
            .parse()
            .map_err(|_| ParseError::Invalid("total is not a number".to_owned()))?,
    })
}

fn average(line: &str, name: &'static str) -> Result<f64, ParseError> {
    let percent = value(line, name)?.parse().ok();
    percent
        .filter(|percent: &f64| percent.is_finite() && *percent >= 0.0)
        .ok_or_else(|| ParseError::Invalid(format!("{name} is not a share")))
}

fn value<'line>(line: &'line str, name: &'static str) -> Result<&'line str, ParseError> {
    let mut pairs = line.split_ascii_whitespace();
    pairs
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
        .ok_or(ParseError::Missing(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lines_are_parsed() {
        let text = "some avg10=1.25 avg60=0.50 avg300=0.07 total=123456789\n\
                    full avg10=0.75 avg60=0.25 avg300=0.00 total=98765\n";
        let some = Stall { avg10: 1.25, avg60: 0.5, avg300: 0.07, total_us: 123_456_789 };
        let full = Stall { avg10: 0.75, avg60: 0.25, avg300: 0.0, total_us: 98765 };
        assert_eq!(parse(text), Ok(Stalls { some, full: Some(full) }));
    }

    #[test]
    fn kernels_before_5_13_have_no_full_line_for_cpu() {
        let stalls = parse("some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n").unwrap();
        assert_eq!(stalls.full, None);
    }

    #[test]
    fn an_invalid_full_line_affects_only_itself() {
        let text = "some avg10=1.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=x\n";
        assert_eq!(parse(text).unwrap().full, None);
    }

    #[test]
    fn text_that_is_not_pressure_is_an_error() {
        assert_eq!(parse(""), Err(ParseError::Missing("some")));
        assert_eq!(parse("some avg10=0.00\n"), Err(ParseError::Missing("avg60")));
        for odd in ["NaN", "inf", "-1.00", ""] {
            let text = format!("some avg10={odd} avg60=0.00 avg300=0.00 total=1\n");
            assert!(parse(&text).is_err(), "{odd}");
        }
        assert!(parse("some avg10=0.00 avg60=0.00 avg300=0.00 total=-1\n").is_err());
    }
}
