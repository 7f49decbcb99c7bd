//! Memory: `/proc/meminfo` (`proc(5)`).
//!
//! Parsed here and not by procfs: its parser wants twenty fields to be there, some of which gVisor
//! and small kernels leave out, and would lose all of memory for one of them.

use super::ParseError;

/// Memory of the system, bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Memory {
    /// Usable memory in all.
    pub(crate) total_bytes: u64,
    /// What programs could still get without swapping.
    pub(crate) available_bytes: u64,
}

/// Parses the text of `/proc/meminfo`.
pub(crate) fn parse(text: &str) -> Result<Memory, ParseError> {
    let field = |name| bytes_of(text, name);
    let total_bytes = field("MemTotal").ok_or(ParseError::Missing("MemTotal"))?;
    // Kernels before 3.14 do not say what is available; this is what `free(1)` took then.
    let available_bytes = field("MemAvailable").or_else(|| {
        let reclaimable = [field("Buffers"), field("Cached"), field("SReclaimable")];
        let sum = reclaimable.into_iter().flatten().fold(field("MemFree")?, u64::saturating_add);
        Some(sum.saturating_sub(field("Shmem").unwrap_or(0)))
    });
    let available_bytes = available_bytes.ok_or(ParseError::Missing("MemAvailable"))?;
    // Kernels have been seen to call more available than there is (memory hot-unplug).
    Ok(Memory { total_bytes, available_bytes: available_bytes.min(total_bytes) })
}

fn bytes_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_what_the_kernel_says() {
        let text = "MemTotal:       16384 kB\nMemFree:         100 kB\nMemAvailable:    4096 kB\n";
        let expected = Memory { total_bytes: 16384 * 1024, available_bytes: 4096 * 1024 };
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn an_old_kernel_counts_free_and_reclaimable_memory_as_available() {
        let text = "MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 10 kB\nCached: 200 kB\n\
                    SwapCached: 5000 kB\nShmem: 50 kB\nSReclaimable: 40 kB\n";
        assert_eq!(parse(text).unwrap().available_bytes, 300 * 1024);
    }

    #[test]
    fn more_available_than_total_is_cut_to_total() {
        let memory = parse("MemTotal: 10 kB\nMemAvailable: 20 kB\n").unwrap();
        assert_eq!(memory.available_bytes, memory.total_bytes);
    }

    #[test]
    fn a_missing_or_odd_field_is_named() {
        assert_eq!(parse(""), Err(ParseError::Missing("MemTotal")));
        assert_eq!(parse("MemTotal: 1 kB"), Err(ParseError::Missing("MemAvailable")));
        assert_eq!(parse("MemTotal: many kB"), Err(ParseError::Missing("MemTotal")));
        let too_large = format!("MemTotal: {} kB", u64::MAX);
        assert_eq!(parse(&too_large), Err(ParseError::Missing("MemTotal")));
    }
}
