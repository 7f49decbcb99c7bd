//! This process, with the metrics of Prometheus client libraries.

use super::{Collector, Source, Texts, Value, Writer, kind, single};

/// Own process: `/proc/self` (`proc_pid_stat(5)`, `proc_pid_limits(5)`, `proc_pid_status(5)`,
/// `proc_pid_fd(5)`).
pub(super) const PROCESS: Collector = Collector {
    name: "process",
    source: Source::Proc(&["self/stat", "self/status", "self/limits", "self/fd/", "stat"]),
    write: process,
};

const CENTI: u32 = 100;

fn process(texts: &Texts, writer: &mut Writer) {
    let stat = texts.get("self/stat").and_then(|stat| stat.rsplit_once(") "));
    let columns: Vec<&str> =
        stat.map(|(_, columns)| columns.split(' ').collect()).unwrap_or_default();
    let column = |index: usize| columns.get(index).and_then(|text| text.parse::<u64>().ok());
    let used = column(11).zip(column(12)).map(|(user, system)| user.saturating_add(system));
    let resident = texts.get("self/status").into_iter().flat_map(str::lines).find_map(|line| {
        let kibibytes = line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim();
        kibibytes.parse::<u64>().ok()?.checked_mul(1024)
    });
    let booted = texts
        .get("stat")
        .into_iter()
        .flat_map(str::lines)
        .find_map(|line| line.strip_prefix("btime ")?.trim().parse::<u64>().ok());
    let started = booted
        .zip(column(19))
        .and_then(|(booted, ticks)| booted.checked_mul(u64::from(CENTI))?.checked_add(ticks));
    let limit = |name: &str| {
        let line = texts.get("self/limits")?.lines().find_map(|line| line.strip_prefix(name))?;
        match line.split_ascii_whitespace().next()? {
            // The value that client libraries use.
            "unlimited" => Some(u64::MAX),
            limit => limit.parse::<u64>().ok(),
        }
    };
    // The list includes the descriptor that was used to read it.
    let open = texts.get("self/fd/").map(|names| (names.lines().count() as u64).saturating_sub(1));
    let (files, memory) = (limit("Max open files"), limit("Max address space"));
    for (name, help, value) in [
        ("cpu_seconds_total", "Processor time used by this process.", Value::seconds(used, CENTI)),
        ("virtual_memory_bytes", "Virtual memory of this process.", column(20).into()),
        ("resident_memory_bytes", "Resident memory of this process.", resident.into()),
        (
            "start_time_seconds",
            "When this process started, Unix time.",
            Value::seconds(started, CENTI),
        ),
        ("open_fds", "Files that this process has open.", open.into()),
        ("max_fds", "Files that this process may have open.", files.into()),
        (
            "virtual_memory_max_bytes",
            "Virtual memory that this process may have; the highest number without a limit.",
            memory.into(),
        ),
    ] {
        single(writer, &format!("process_{name}"), kind(name), help, value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::written;
    use super::*;

    #[test]
    fn the_process_has_its_cpu_time_memory_and_limits() {
        let stat = "42 (st) S ) S 1 42 42 0 -1 4194560 100 200 3 4 150 50 7 8 20 0 5 0 1050 \
                    12345678 321 18446744073709551615";
        let files = [
            ("self/stat", stat),
            ("self/status", "Name: x\nVmRSS:\t  2048 kB\n"),
            (
                "self/limits",
                "Limit Soft Hard Units\nMax open files   1024  4096 files\n\
                             Max address space  unlimited unlimited bytes\n",
            ),
            ("self/fd/", "0\n1\n2\n7\n"),
            ("stat", "cpu 1\nbtime 1000\n"),
        ];
        let expected = "process_cpu_seconds_total 2\nprocess_virtual_memory_bytes 12345678\n\
                        process_resident_memory_bytes 2097152\nprocess_start_time_seconds 1010.5\n\
                        process_open_fds 3\nprocess_max_fds 1024\n\
                        process_virtual_memory_max_bytes 18446744073709551615\n";
        assert_eq!(written(&PROCESS, &files), expected);
    }
}
