//! Aggregates of all processes in the newest scan.

use std::collections::BTreeMap;

use crate::exposition::{Kind, Writer};
use crate::reading::Scan;

pub(super) fn processes(writer: &mut Writer, scan: &Scan) {
    let mut states: BTreeMap<char, u64> = BTreeMap::new();
    let mut threads = 0_u64;
    for process in &scan.processes {
        *states.entry(process.state).or_default() += 1;
        threads = threads.saturating_add(process.threads);
    }
    let mut samples =
        writer.family("node_processes_state", Kind::Gauge, "Processes in each state.");
    for (state, count) in states {
        samples.add(&[("state", state.encode_utf8(&mut [0; 4]))], count.into());
    }
    writer
        .family("node_processes_threads", Kind::Gauge, "Threads of all processes.")
        .add(&[], threads.into());
    writer
        .family("node_processes_pids", Kind::Gauge, "Processes.")
        .add(&[], (scan.processes.len() as u64).into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::process::Process;
    use crate::metrics::Format;

    #[test]
    fn processes_are_counted_by_their_state() {
        let process = |state, threads| Process { state, threads, ..Process::default() };
        let processes = vec![process('S', 2), process('R', 1), process('S', 4)];
        let scan = Scan { processes, ..Scan::default() };
        let mut writer = Writer::new(Format::Text, 512);
        super::processes(&mut writer, &scan);
        let text = writer.finish();
        for line in [
            "node_processes_state{state=\"R\"} 1\n",
            "node_processes_state{state=\"S\"} 2\n",
            "node_processes_threads 7\n",
            "node_processes_pids 3\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
