//! Kernel counters: interrupts, scheduling, open files, entropy, connection tracking, and IRQ
//! pressure.

use super::{Collector, Kind, Source, Texts, Value, Writer, per_item, single};

/// Interrupts in `/proc/stat` (`proc_stat(5)`).
pub(super) const STAT: Collector =
    Collector { name: "stat", source: Source::Proc(&["stat"]), write: stat };

/// Scheduler statistics: `/proc/schedstat` (Documentation/scheduler/sched-stats.rst).
pub(super) const SCHEDSTAT: Collector =
    Collector { name: "schedstat", source: Source::Proc(&["schedstat"]), write: schedstat };

/// File handles: `/proc/sys/fs/file-nr` (`proc_sys_fs(5)`).
pub(super) const FILEFD: Collector =
    Collector { name: "filefd", source: Source::Proc(&["sys/fs/file-nr"]), write: filefd };

/// Entropy pool: `/proc/sys/kernel/random` (`random(4)`).
pub(super) const ENTROPY: Collector = Collector {
    name: "entropy",
    source: Source::Proc(&["sys/kernel/random/entropy_avail", "sys/kernel/random/poolsize"]),
    write: entropy,
};

/// Connection tracking: `/proc/sys/net/netfilter`
/// (Documentation/networking/nf_conntrack-sysctl.rst).
pub(super) const CONNTRACK: Collector = Collector {
    name: "conntrack",
    source: Source::Proc(&[CONNTRACK_COUNT, CONNTRACK_MAX]),
    write: conntrack,
};

/// Number of connections in the reader's network namespace.
pub(crate) const CONNTRACK_COUNT: &str = "sys/net/netfilter/nf_conntrack_count";

/// Maximum of that number: of all namespaces if it is read-only here, else of the reader's.
pub(crate) const CONNTRACK_MAX: &str = "sys/net/netfilter/nf_conntrack_max";

/// File of another network namespace, relative to the folder of its `net/dev`.
pub(crate) const CONNTRACK_STAT: &str = "stat/nf_conntrack";

/// IRQ pressure: `/proc/pressure/irq` (Documentation/accounting/psi.rst).
pub(super) const PRESSURE: Collector =
    Collector { name: "pressure", source: Source::Proc(&["pressure/irq"]), write: pressure };

/// Task limits: `/proc/sys/kernel/pid_max` and `threads-max` (`proc_sys_kernel(5)`).
pub(super) const LIMITS: Collector = Collector {
    name: "processes",
    source: Source::Proc(&["sys/kernel/pid_max", "sys/kernel/threads-max"]),
    write: limits,
};

const NANO: u32 = 1_000_000_000;
const MICRO: u32 = 1_000_000;

fn stat(texts: &Texts, writer: &mut Writer) {
    let mut lines = texts.get("stat").into_iter().flat_map(str::lines);
    // The line has thousands of columns; the first one is the total.
    let sum = lines.find_map(|line| line.strip_prefix("intr "));
    let sum = sum.and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    single(writer, "node_intr_total", Kind::Counter, "Interrupts serviced.", sum.into());
}

fn schedstat(texts: &Texts, writer: &mut Writer) {
    let rows: Vec<_> = texts
        .get("schedstat")
        .into_iter()
        .flat_map(str::lines)
        .filter_map(|line| {
            let mut columns = line.strip_prefix("cpu")?.split_ascii_whitespace();
            let cpu = columns.next().filter(|cpu| cpu.bytes().all(|byte| byte.is_ascii_digit()))?;
            let values: Vec<u64> =
                columns.skip(6).take(3).filter_map(|value| value.parse().ok()).collect();
            Some((cpu, values)).filter(|(_, values)| values.len() == 3)
        })
        .collect();
    for (index, (name, help)) in [
        ("running_seconds_total", "Time that the processor ran threads."),
        ("waiting_seconds_total", "Time that threads waited for the processor."),
        ("timeslices_total", "Time slices that the processor ran."),
    ]
    .into_iter()
    .enumerate()
    {
        let scale = if name == "timeslices_total" { 1 } else { NANO };
        let value = |values: &Vec<u64>| Value::seconds(values.get(index).copied(), scale);
        let items = rows.iter().map(|(cpu, values)| ([("cpu", *cpu)], value(values)));
        per_item(writer, &format!("node_schedstat_{name}"), Kind::Counter, help, items);
    }
}

fn filefd(texts: &Texts, writer: &mut Writer) {
    let Some(text) = texts.get("sys/fs/file-nr") else { return };
    let values: Vec<&str> = text.split_ascii_whitespace().collect();
    let &[allocated, _, maximum] = values.as_slice() else { return };
    // The maximum can be 2^63 - 1, which is not exact as a float.
    let float = |text: &str| Value::float(text.parse::<f64>().ok());
    let help = "File handles allocated.";
    single(writer, "node_filefd_allocated", Kind::Gauge, help, float(allocated));
    let help = "File handles that there may be.";
    single(writer, "node_filefd_maximum", Kind::Gauge, help, float(maximum));
}

fn entropy(texts: &Texts, writer: &mut Writer) {
    let available = texts.number("sys/kernel/random/entropy_avail");
    let help = "Entropy available.";
    single(writer, "node_entropy_available_bits", Kind::Gauge, help, available.into());
    let size = texts.number("sys/kernel/random/poolsize");
    single(writer, "node_entropy_pool_size_bits", Kind::Gauge, "Entropy that fits.", size.into());
}

fn conntrack(texts: &Texts, writer: &mut Writer) {
    // The first column of each processor has the hexadecimal number of the namespace.
    let of_namespace = || {
        let line = texts.get(CONNTRACK_STAT)?.lines().nth(1)?;
        u64::from_str_radix(line.split_ascii_whitespace().next()?, 16).ok()
    };
    let entries = texts.number(CONNTRACK_COUNT).or_else(of_namespace);
    let help = "Connections tracked.";
    single(writer, "node_nf_conntrack_entries", Kind::Gauge, help, entries.into());
    let limit = texts.number(CONNTRACK_MAX);
    let help = "Connections that can be tracked.";
    single(writer, "node_nf_conntrack_entries_limit", Kind::Gauge, help, limit.into());
}

fn limits(texts: &Texts, writer: &mut Writer) {
    let processes = texts.number("sys/kernel/pid_max");
    let help = "Processes and threads that there may be, by their numbers.";
    single(writer, "node_processes_max_processes", Kind::Gauge, help, processes.into());
    let threads = texts.number("sys/kernel/threads-max");
    let help = "Threads that there may be.";
    single(writer, "node_processes_max_threads", Kind::Gauge, help, threads.into());
}

fn pressure(texts: &Texts, writer: &mut Writer) {
    let Some(text) = texts.get("pressure/irq") else { return };
    let full = text.lines().find_map(|line| line.strip_prefix("full "));
    let total = full.and_then(|full| full.rsplit_once("total=")?.1.parse::<u64>().ok());
    single(
        writer,
        "node_pressure_irq_stalled_seconds_total",
        Kind::Counter,
        "Time in which interrupts held everything up.",
        Value::seconds(total, MICRO),
    );
}

#[cfg(test)]
mod tests {
    use super::super::tests::written;
    use super::*;

    #[test]
    fn each_file_yields_its_families() {
        assert_eq!(written(&STAT, &[("stat", "cpu 1\nintr 77 0 1\n")]), "node_intr_total 77\n");
        let schedstat = "version 17\ntimestamp 1\ncpu0 0 0 0 0 0 0 1500000000 250 9\n\
                         domain0 0\ncpu1 0 0 0 0 0 0 x 1 2\n";
        assert_eq!(
            written(&SCHEDSTAT, &[("schedstat", schedstat)]),
            "node_schedstat_running_seconds_total{cpu=\"0\"} 1.5\n\
             node_schedstat_waiting_seconds_total{cpu=\"0\"} 0.00000025\n\
             node_schedstat_timeslices_total{cpu=\"0\"} 9\n"
        );
        assert_eq!(
            written(&FILEFD, &[("sys/fs/file-nr", "1024\t0\t2048\n")]),
            "node_filefd_allocated 1024\nnode_filefd_maximum 2048\n"
        );
        assert_eq!(
            written(&CONNTRACK, &[("sys/net/netfilter/nf_conntrack_count", "5\n")]),
            "node_nf_conntrack_entries 5\n"
        );
        let irq = "full avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n";
        assert_eq!(
            written(&PRESSURE, &[("pressure/irq", irq)]),
            "node_pressure_irq_stalled_seconds_total 2.5\n"
        );
    }
}
