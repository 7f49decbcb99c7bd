//! One process: `/proc/PID/stat` (`proc_pid_stat(5)`).

use super::ParseError;

/// Identity and resource use of one process.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Process {
    /// Process ID.
    pub(crate) pid: u32,
    /// File name of its program, truncated to 15 bytes; it may contain any byte, even parentheses.
    pub(crate) name: String,
    /// State as one letter: R is running, S sleeping, D blocked on I/O, Z a zombie.
    pub(crate) state: char,
    /// Number of threads.
    pub(crate) threads: u64,
    /// User and system CPU time, ticks of 1/100 s.
    pub(crate) ticks: u64,
    /// Start time, ticks of 1/100 s since boot; distinguishes processes that reuse an ID.
    pub(crate) started: u64,
    /// Resident memory, pages.
    pub(crate) resident_pages: u64,
}

/// Parses the text of `/proc/PID/stat`.
pub(crate) fn parse(text: &str) -> Result<Process, ParseError> {
    let (pid, rest) = text.split_once(" (").ok_or(ParseError::Missing("comm"))?;
    let pid = pid.parse().map_err(|_| ParseError::Invalid("pid is not a number".to_owned()))?;
    // No column after the name contains a parenthesis.
    let (name, columns) = rest.rsplit_once(')').ok_or(ParseError::Missing("comm"))?;
    let mut columns = columns.split_ascii_whitespace();
    let state = columns.next().and_then(|state| state.chars().next());
    let user = number(columns.nth(10), "utime")?;
    let system = number(columns.next(), "stime")?;
    let threads = number(columns.nth(4), "num_threads")?;
    let started = number(columns.nth(1), "starttime")?;
    let resident = columns.nth(1).ok_or(ParseError::Missing("rss"))?;
    // The kernel's sum over processors can be negative for a short time.
    let resident_pages = if resident.starts_with('-') { 0 } else { number(Some(resident), "rss")? };
    Ok(Process {
        pid,
        name: printable(name),
        state: state.filter(char::is_ascii_alphabetic).ok_or(ParseError::Missing("state"))?,
        threads,
        ticks: user.saturating_add(system),
        started,
        resident_pages,
    })
}

fn number(column: Option<&str>, name: &'static str) -> Result<u64, ParseError> {
    let column = column.ok_or(ParseError::Missing(name))?;
    column.parse().map_err(|_| ParseError::Invalid(format!("{name} is not a number")))
}

/// Replaces control characters, because a process chooses its name: it must not control a terminal
/// or break a line.
fn printable(name: &str) -> String {
    name.replace(char::is_control, "\u{FFFD}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "S 1 42 42 0 -1 4194560 100 200 3 4 150 50 7 8 20 0 5 0 987654 12345678 \
                        321 18446744073709551615 1 2 3 4 5";

    #[test]
    fn the_parsed_columns_are_assigned_to_their_fields() {
        let expected = Process {
            pid: 42,
            name: "nginx".to_owned(),
            state: 'S',
            threads: 5,
            ticks: 200,
            started: 987_654,
            resident_pages: 321,
        };
        assert_eq!(parse(&format!("42 (nginx) {REST}\n")), Ok(expected));
    }

    #[test]
    fn a_name_may_contain_spaces_and_parentheses() {
        for name in ["a b", ") S 1 (", "((", "))", "", " ", "(sd-pam)", "42 (x)"] {
            let process = parse(&format!("42 ({name}) {REST}\n")).unwrap();
            assert_eq!((process.name.as_str(), process.ticks), (name, 200));
        }
    }

    #[test]
    fn control_characters_in_a_name_are_replaced() {
        let process = parse(&format!("42 (a\u{1b}[2J\tb\nc) {REST}\n")).unwrap();
        assert_eq!(process.name, "a\u{FFFD}[2J\u{FFFD}b\u{FFFD}c");
    }

    #[test]
    fn negative_resident_memory_is_zero() {
        let text = format!("42 (x) {REST}").replace(" 321 ", " -3 ");
        assert_eq!(parse(&text).unwrap().resident_pages, 0);
    }

    #[test]
    fn text_that_is_not_a_process_is_an_error() {
        assert_eq!(parse(""), Err(ParseError::Missing("comm")));
        assert_eq!(parse("42 (x"), Err(ParseError::Missing("comm")));
        assert_eq!(parse("42 (x)"), Err(ParseError::Missing("utime")));
        assert_eq!(parse("42 (x) S 1 42"), Err(ParseError::Missing("utime")));
        assert!(parse(&format!("-1 (x) {REST}")).is_err());
        assert!(parse(&format!("42 (x) {REST}").replace(" 150 ", " many ")).is_err());
        let cut: String = format!("42 (x) {REST}").split(" 321").take(1).collect();
        assert_eq!(parse(&cut), Err(ParseError::Missing("rss")));
    }
}
