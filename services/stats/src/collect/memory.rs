//! Memory: `/proc/meminfo` (`proc(5)`), and the cache of ZFS.
//!
//! The procfs crate is not used: its parser requires twenty fields, and would reject the whole file
//! for one that is missing. gVisor and small kernels leave out some of them.

use super::ParseError;
use super::cgroup::UNLIMITED;

/// Memory of the system, bytes.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::struct_field_names, reason = "the unit is in the name")]
pub(crate) struct Memory {
    /// Total usable memory.
    pub(crate) total_bytes: u64,
    /// Memory that processes can allocate without swapping; at most the total.
    pub(crate) available_bytes: u64,
    pub(crate) free_bytes: Option<u64>,
    pub(crate) buffers_bytes: Option<u64>,
    pub(crate) cached_bytes: Option<u64>,
    pub(crate) slab_reclaimable_bytes: Option<u64>,
    pub(crate) swap_total_bytes: Option<u64>,
    pub(crate) swap_free_bytes: Option<u64>,
    pub(crate) shared_bytes: Option<u64>,
    /// Memory of programs that no file backs.
    pub(crate) anonymous_bytes: Option<u64>,
}

/// Parses the text of `/proc/meminfo`.
pub(crate) fn parse(text: &str) -> Result<Memory, ParseError> {
    let mut memory = Memory::default();
    let mut total = None;
    let mut available = None;
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let field = match name {
            "MemTotal" => &mut total,
            "MemAvailable" => &mut available,
            "MemFree" => &mut memory.free_bytes,
            "Buffers" => &mut memory.buffers_bytes,
            "Cached" => &mut memory.cached_bytes,
            "SReclaimable" => &mut memory.slab_reclaimable_bytes,
            "SwapTotal" => &mut memory.swap_total_bytes,
            "SwapFree" => &mut memory.swap_free_bytes,
            "Shmem" => &mut memory.shared_bytes,
            "AnonPages" => &mut memory.anonymous_bytes,
            _ => continue,
        };
        *field = bytes(value);
    }
    memory.total_bytes = total.filter(|&total| total > 0).ok_or(ParseError::Missing("MemTotal"))?;
    // A larger value belongs to another system: some containers see the limit of their control
    // group as the total, and other fields of the host. Some kernels report zero while most of the
    // memory is free; beside little free memory, zero is true.
    let is_free = memory.free_bytes.is_some_and(|free| free > memory.total_bytes / 4);
    let available = available
        .filter(|&available| available <= memory.total_bytes && (available > 0 || !is_free));
    let available = available.or_else(|| estimate(&memory));
    let available = available.ok_or(ParseError::Missing("MemAvailable"))?;
    memory.available_bytes = available.min(memory.total_bytes);
    Ok(memory)
}

/// Parses the text of `/proc/spl/kstat/zfs/arcstats` (`OpenZFS`): bytes of its cache (ARC) that it frees
/// when programs need memory. `MemAvailable` does not include them.
pub(crate) fn zfs_reclaimable(text: &str) -> Result<u64, ParseError> {
    let field = |name: &'static str| {
        let value = text.lines().find_map(|line| {
            let mut columns = line.split_ascii_whitespace();
            // The type of the value is between its name and the value.
            let value = columns.next().filter(|first| *first == name).and(columns.nth(1))?;
            value.parse::<u64>().ok()
        });
        value.ok_or(ParseError::Missing(name))
    };
    Ok(field("size")?.saturating_sub(field("c_min")?))
}

/// Estimates available memory like `free(1)` did, for kernels that do not report it (before 3.14).
fn estimate(memory: &Memory) -> Option<u64> {
    let Memory { buffers_bytes, cached_bytes, slab_reclaimable_bytes, .. } = *memory;
    let reclaimable = [buffers_bytes, cached_bytes, slab_reclaimable_bytes];
    let sum = reclaimable.into_iter().flatten().fold(memory.free_bytes?, u64::saturating_add);
    // Shared memory is part of the cache, but cannot be reclaimed.
    Some(sum.saturating_sub(memory.shared_bytes.unwrap_or(0)))
}

fn bytes(value: &str) -> Option<u64> {
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    // Some versions of lxcfs report 2^53 kB for swap without a limit.
    kibibytes.checked_mul(1024).filter(|&bytes| bytes < UNLIMITED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_the_kernels_value() {
        let text = "MemTotal:       16384 kB\nMemFree:         100 kB\nMemAvailable:    4096 kB\n";
        let expected = Memory {
            total_bytes: 16384 * 1024,
            available_bytes: 4096 * 1024,
            free_bytes: Some(100 * 1024),
            ..Memory::default()
        };
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn on_an_old_kernel_free_and_reclaimable_memory_is_available() {
        let text = "MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 10 kB\nCached: 200 kB\n\
                    SwapCached: 5000 kB\nShmem: 50 kB\nSReclaimable: 40 kB\n";
        assert_eq!(parse(text).unwrap().available_bytes, 300 * 1024);
    }

    #[test]
    fn every_field_is_parsed() {
        let named = "MemTotal: 1 kB\nMemAvailable: 1 kB\nMemFree: 2 kB\nBuffers: 3 kB\n\
                     Cached: 4 kB\nSReclaimable: 5 kB\nSwapTotal: 6 kB\nSwapFree: 7 kB\nShmem: 8 kB\n\
                     AnonPages: 9 kB\n";
        let expected = Memory {
            total_bytes: 1024,
            available_bytes: 1024,
            free_bytes: Some(2 * 1024),
            buffers_bytes: Some(3 * 1024),
            cached_bytes: Some(4 * 1024),
            slab_reclaimable_bytes: Some(5 * 1024),
            swap_total_bytes: Some(6 * 1024),
            swap_free_bytes: Some(7 * 1024),
            shared_bytes: Some(8 * 1024),
            anonymous_bytes: Some(9 * 1024),
        };
        assert_eq!(parse(named), Ok(expected));
    }

    #[test]
    fn an_available_value_above_the_total_is_ignored() {
        let text = "MemTotal: 2097152 kB\nMemFree: 262144 kB\nMemAvailable: 104857600 kB\n";
        assert_eq!(parse(text).unwrap().available_bytes, 262_144 * 1024);
        let unknown = parse("MemTotal: 10 kB\nMemAvailable: 20 kB\n");
        assert_eq!(unknown, Err(ParseError::Missing("MemAvailable")));
    }

    #[test]
    fn an_available_value_of_zero_beside_free_memory_is_ignored() {
        // https://github.com/giampaolo/psutil/issues/1915
        let text = "MemTotal: 1000 kB\nMemFree: 600 kB\nMemAvailable: 0 kB\nCached: 100 kB\n";
        assert_eq!(parse(text).unwrap().available_bytes, 700 * 1024);
    }

    #[test]
    fn an_available_value_of_zero_beside_the_reserve_of_the_kernel_is_true() {
        let text = "MemTotal: 1000 kB\nMemFree: 54 kB\nMemAvailable: 0 kB\nCached: 50 kB\n";
        assert_eq!(parse(text).unwrap().available_bytes, 0);
    }

    #[test]
    fn sizes_that_no_machine_has_are_unknown() {
        // https://github.com/lxc/lxcfs/issues/60 and 389
        let huge = 9_007_199_254_740_991_u64;
        let text = format!("MemTotal: 9 kB\nMemAvailable: 5 kB\nSwapTotal: {huge} kB\n");
        assert_eq!(parse(&text).unwrap().swap_total_bytes, None);
        for total in [0, huge] {
            let text = format!("MemTotal: {total} kB\nMemAvailable: 5 kB\n");
            assert_eq!(parse(&text), Err(ParseError::Missing("MemTotal")));
        }
    }

    #[test]
    fn a_field_without_a_unit_or_with_another_name_is_ignored() {
        let text = "MemTotal: 10 kB\nMemAvailable: 5 kB\nCached: 7\nShmem(x): 3 kB\n";
        let memory = parse(text).unwrap();
        assert_eq!((memory.cached_bytes, memory.shared_bytes), (None, None));
    }

    #[test]
    fn the_cache_of_zfs_can_be_freed_down_to_its_minimum() {
        let text = |size: &str, minimum: &str| {
            format!(
                "13 1 0x01 147 39984 4403 97695\nname                            type data\n\
                 hits                            4    9\nc_min                           4    {minimum}\n\
                 size                            4    {size}\ncompressed_size                 4    7\n"
            )
        };
        assert_eq!(zfs_reclaimable(&text("500", "30")), Ok(470));
        assert_eq!(zfs_reclaimable(&text("20", "30")), Ok(0));
        assert_eq!(zfs_reclaimable(&text("-1", "30")), Err(ParseError::Missing("size")));
        assert_eq!(zfs_reclaimable(&text("20", "")), Err(ParseError::Missing("c_min")));
        assert_eq!(zfs_reclaimable("size\nsize 4\n"), Err(ParseError::Missing("size")));
        assert_eq!(zfs_reclaimable(""), Err(ParseError::Missing("size")));
    }

    #[test]
    fn a_missing_or_invalid_field_is_reported() {
        assert_eq!(parse(""), Err(ParseError::Missing("MemTotal")));
        assert_eq!(parse("MemTotal: 1 kB"), Err(ParseError::Missing("MemAvailable")));
        assert_eq!(parse("MemTotal: many kB"), Err(ParseError::Missing("MemTotal")));
        let too_large = format!("MemTotal: {} kB", u64::MAX);
        assert_eq!(parse(&too_large), Err(ParseError::Missing("MemTotal")));
    }
}
