//! Scan of all processes at long intervals: it takes tens of microseconds per process.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::collect::process::{self, Process};
use crate::reading::Scan;

/// Interval between scans.
const INTERVAL: Duration = Duration::from_secs(5);

/// Maximum number of processes; on a machine with more, none are reported.
const MAX_PROCESSES: usize = 20_000;

/// Newest scan, and the time of its end.
type Newest = Mutex<Option<(Instant, Arc<Scan>)>>;

/// Maximum age of a reported scan; an older one means that scanning hangs.
const MAX_SCAN_AGE: Duration = Duration::from_secs(20);

/// Scans on a separate thread, so that a long scan does not delay a sample.
pub(super) struct Scanner {
    newest: Arc<Newest>,
}

impl Scanner {
    pub(super) fn start(proc_root: &Path) -> Self {
        let newest = Arc::new(Mutex::new(None));
        let weak = Arc::downgrade(&newest);
        let root = proc_root.to_owned();
        let thread = thread::Builder::new().name("processes".to_owned());
        if let Err(error) = thread.spawn(move || scan_until_dropped(&root, &weak)) {
            tracing::error!(%error, "cannot scan the processes, they will not be shown");
        }
        Self { newest }
    }

    /// Newest scan; `None` before the second one, because rates need both.
    pub(super) fn newest(&self) -> Option<Arc<Scan>> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.as_ref().filter(|(at, _)| at.elapsed() <= MAX_SCAN_AGE).map(|(_, scan)| scan.clone())
    }
}

fn scan_until_dropped(root: &Path, newest: &Weak<Newest>) {
    let mut before = (Instant::now(), processes(root, MAX_PROCESSES));
    loop {
        thread::sleep(INTERVAL);
        let Some(newest) = newest.upgrade() else { return };
        let now = (Instant::now(), processes(root, MAX_PROCESSES));
        if !is_complete(&now.1) {
            continue;
        }
        let scan = Scan {
            page_bytes: rustix::param::page_size() as u64,
            processes: now.1.clone(),
            interval_ms: super::milliseconds(now.0 - before.0),
            before: std::mem::replace(&mut before, now).1,
        };
        *newest.lock().unwrap_or_else(PoisonError::into_inner) = Some((before.0, Arc::new(scan)));
    }
}

/// All processes, sorted by ID, or none if there are more than `most`. A process that ends during
/// the scan is left out.
fn processes(root: &Path, most: usize) -> Vec<Process> {
    let stat_of = |entry: io::Result<fs::DirEntry>| -> Option<PathBuf> {
        let entry = entry.ok()?;
        let is_number = entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit);
        is_number.then(|| entry.path().join("stat"))
    };
    let entries = fs::read_dir(root).into_iter().flatten();
    let paths: Vec<_> = entries.filter_map(stat_of).take(most + 1).collect();
    if paths.len() > most {
        return Vec::new();
    }
    // A name may not be UTF-8.
    let parse = |path| process::parse(&String::from_utf8_lossy(&fs::read(path).ok()?)).ok();
    let mut processes: Vec<_> = paths.into_iter().filter_map(parse).collect();
    processes.sort_by_key(|process| process.pid);
    processes
}

/// Whether processes of all users are visible. With `hidepid` (`proc(5)`), only own ones are, which
/// are neither the top ones nor all; the first process belongs to another user then.
fn is_complete(processes: &[Process]) -> bool {
    processes.first().is_some_and(|first| first.pid == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_of_more_processes_than_are_read_is_not_complete() {
        let root = std::env::temp_dir().join(format!("stats-scan-{}", std::process::id()));
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let (_, fields) = stat.split_once(' ').unwrap();
        for pid in 1..=3 {
            fs::create_dir_all(root.join(pid.to_string())).unwrap();
            fs::write(root.join(format!("{pid}/stat")), format!("{pid} {fields}")).unwrap();
        }
        let [all, too_many] = [3, 2].map(|most| processes(&root, most));
        // One that ended during the scan was there.
        fs::remove_file(root.join("2/stat")).unwrap();
        let ended = processes(&root, 2);
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(all.len(), 3);
        assert!(is_complete(&all) && !is_complete(&too_many) && !is_complete(&ended));
    }

    #[test]
    fn a_scan_without_the_first_process_is_not_complete() {
        let process = |pid| Process { pid, ..Process::default() };
        assert!(is_complete(&[process(1), process(7)]));
        assert!(!is_complete(&[process(7)]) && !is_complete(&[]));
    }
}
