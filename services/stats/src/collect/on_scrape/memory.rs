//! All fields of `/proc/meminfo`, and the paging counters of `/proc/vmstat`.

use super::{Collector, Kind, Source, Texts, Value, Writer, is_name, single};

/// Memory: `/proc/meminfo` (`proc_meminfo(5)`).
pub(super) const MEMINFO: Collector =
    Collector { name: "meminfo", source: Source::Proc(&["meminfo"]), write: meminfo };

/// Paging: `/proc/vmstat` (`proc_vmstat(5)`).
pub(super) const VMSTAT: Collector =
    Collector { name: "vmstat", source: Source::Proc(&["vmstat"]), write: vmstat };

fn meminfo(texts: &Texts, writer: &mut Writer) {
    let Some(text) = texts.get("meminfo") else { return };
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        // The name of `Active(anon)` is `Active_anon`, as in `node_exporter`.
        let name = name.replace('(', "_").replace(')', "");
        let mut value = value.split_ascii_whitespace();
        let Some(number) = value.next().and_then(|number| number.parse::<u64>().ok()) else {
            continue;
        };
        let (bytes, unit) = match value.next() {
            Some("kB") => (number.checked_mul(1024), "_bytes"),
            Some(_) => continue,
            None => (Some(number), ""),
        };
        if is_name(&name) {
            let family = format!("node_memory_{name}{unit}");
            single(writer, &family, Kind::Gauge, "The field of /proc/meminfo.", bytes.into());
        }
    }
}

fn vmstat(texts: &Texts, writer: &mut Writer) {
    let Some(text) = texts.get("vmstat") else { return };
    for line in text.lines() {
        let Some((name, value)) = line.split_once(' ') else { continue };
        let is_shown = ["oom_kill", "pgpg", "pswp"].iter().any(|start| name.starts_with(start))
            || (name.starts_with("pg") && name.contains("fault"));
        if !is_shown || !is_name(name) {
            continue;
        }
        let value: Value = value.trim().parse::<u64>().ok().into();
        let family = format!("node_vmstat_{name}");
        single(writer, &family, Kind::Untyped, "The field of /proc/vmstat.", value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::written;
    use super::*;

    #[test]
    fn every_field_has_its_node_exporter_name() {
        let text = "MemTotal:       16384 kB\nActive(anon):     12 kB\nHugePages_Total:       3\n\
                    Odd field: 1 kB\nBroken: x kB\n";
        let expected = "node_memory_MemTotal_bytes 16777216\nnode_memory_Active_anon_bytes 12288\n\
                        node_memory_HugePages_Total 3\n";
        assert_eq!(written(&MEMINFO, &[("meminfo", text)]), expected);
    }

    #[test]
    fn paging_faults_and_oom_kills_of_vmstat_are_written() {
        let text = "nr_free_pages 5\npgpgin 1\npswpout 2\npgfault 3\npgmajfault 4\noom_kill 0\n";
        let expected = "node_vmstat_pgpgin 1\nnode_vmstat_pswpout 2\nnode_vmstat_pgfault 3\n\
                        node_vmstat_pgmajfault 4\nnode_vmstat_oom_kill 0\n";
        assert_eq!(written(&VMSTAT, &[("vmstat", text)]), expected);
    }
}
