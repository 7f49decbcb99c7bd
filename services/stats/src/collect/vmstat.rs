//! Events of memory management: `/proc/vmstat` (`proc_vmstat(5)`).

use super::ParseError;

/// Parses the text of `/proc/vmstat`: processes killed by the OOM killer since boot. `None` before
/// Linux 4.13, which does not count them.
pub(crate) fn oom_kills(text: &str) -> Result<Option<u64>, ParseError> {
    // Only one of more than a hundred lines is needed every tick, so the other ones are not split.
    let Some(at) = text.find("\noom_kill ") else {
        return if text.is_empty() { Err(ParseError::Missing("oom_kill")) } else { Ok(None) };
    };
    let line = text.get(at + 1..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let number = line.strip_prefix("oom_kill ").and_then(|number| number.trim().parse().ok());
    number.map(Some).ok_or(ParseError::Missing("oom_kill"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_found_by_its_exact_name() {
        let text = "nr_free_pages 1\noom_kill_other 3\noom_kill 7\nnuma_pte_updates 0\n";
        assert_eq!(oom_kills(text), Ok(Some(7)));
        assert_eq!(oom_kills("nr_free_pages 1\n"), Ok(None));
        assert_eq!(oom_kills("a 1\noom_kill x\n"), Err(ParseError::Missing("oom_kill")));
        assert_eq!(oom_kills(""), Err(ParseError::Missing("oom_kill")));
    }
}
