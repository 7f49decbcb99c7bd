//! Persistence of the history in a file.
//!
//! Each save writes a new file beside the current one, and then renames it, so that the path always
//! refers to a complete file. No fault ends the service: a history that cannot be saved is a
//! warning.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::history::History;
use crate::history::format::{HistoryFileError, MAX_FILE_BYTES, from_bytes, to_bytes};

/// Interval between saves, and the maximum loss after a crash. A full file has 600 kB, so the disk
/// writes 10 kB/s.
const INTERVAL: Duration = Duration::from_mins(1);

/// Maximum time that the shutdown waits for the last save. A disk needs milliseconds; one that
/// hangs must not use up the shutdown time.
const FINAL_SAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Saves the history every minute on a separate thread, so that the sampler never waits for the
/// disk.
pub(crate) struct Persistence {
    /// Dropped to request the last save.
    stop: Sender<()>,
    /// Disconnected after the last save.
    done: Receiver<()>,
}

/// Reason why a file has no usable history.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error(transparent)]
    Damaged(#[from] HistoryFileError),
}

impl Persistence {
    /// Starts to save the history to this path every minute.
    pub(crate) fn start(path: PathBuf, history: Arc<Mutex<History>>) -> Self {
        Self::start_every(INTERVAL, path, history)
    }

    fn start_every(interval: Duration, path: PathBuf, history: Arc<Mutex<History>>) -> Self {
        let (stop, stopped) = channel();
        let (finished, done) = channel();
        let thread = thread::Builder::new().name("history".to_owned());
        let result = thread.spawn(move || {
            let mut target = Target { path, faulty: false };
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                target.save(&history);
            }
            target.save(&history);
            drop::<Sender<()>>(finished);
        });
        if let Err(error) = result {
            tracing::error!(%error, "cannot start the history thread; the history will not be saved");
        }
        Self { stop, done }
    }

    /// Saves a last time; waits for at most 2 seconds.
    pub(crate) fn finish(self) {
        self.finish_within(FINAL_SAVE_TIMEOUT);
    }

    fn finish_within(self, bound: Duration) {
        drop(self.stop);
        if self.done.recv_timeout(bound) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the disk does not respond; the end of the history is not saved");
        }
    }
}

/// Loads the history from a file, or creates a new one.
///
/// A missing file is normal at the first start. A damaged file is renamed to `<name>.damaged` for
/// analysis. An unreadable file stays until the next save replaces it.
pub(crate) fn load(path: &Path) -> History {
    let shown = path.display();
    match read(path) {
        Ok(history) => {
            tracing::info!(path = %shown, "continuing the history");
            return history;
        }
        Err(LoadError::Read(error)) if error.kind() == io::ErrorKind::NotFound => {
            tracing::info!(path = %shown, "no history yet");
        }
        Err(LoadError::Read(error)) => {
            tracing::warn!(path = %shown, %error, "cannot read the history, starting a new one");
        }
        Err(LoadError::Damaged(damage)) => {
            tracing::warn!(path = %shown, %damage, "the history is damaged, starting a new one");
            if let Err(error) = fs::rename(path, with_suffix(path, ".damaged")) {
                tracing::warn!(path = %shown, %error, "cannot rename the damaged history");
            }
        }
    }
    History::new()
}

fn read(path: &Path) -> Result<History, LoadError> {
    // Opening a pipe or a device can block forever.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file").into());
    }
    let mut bytes = Vec::new();
    // One byte above the maximum shows that the file is too long.
    File::open(path)?.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(from_bytes(&bytes)?)
}

/// Destination of the saves.
struct Target {
    path: PathBuf,
    /// Whether the last save failed, so that a fault is logged when it begins and when it ends.
    faulty: bool,
}

impl Target {
    fn save(&mut self, history: &Mutex<History>) {
        // The lock is released before the disk is used.
        let bytes = to_bytes(&history.lock().unwrap_or_else(PoisonError::into_inner));
        let path = self.path.display();
        match save(&self.path, &bytes) {
            Ok(()) if std::mem::take(&mut self.faulty) => {
                tracing::info!(%path, "the history is saved again");
            }
            Ok(()) => {}
            Err(error) => {
                if !std::mem::replace(&mut self.faulty, true) {
                    tracing::warn!(%path, %error, "cannot save the history");
                }
            }
        }
    }
}

/// Writes a file atomically, even if the power fails.
fn save(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = with_suffix(path, ".new");
    let result = write_new(&new, bytes).and_then(|()| fs::rename(&new, path));
    if result.is_err() {
        // A partial file can be the one that fills the disk. If it cannot be removed, the next save
        // removes it.
        let _ = fs::remove_file(&new);
    }
    result?;
    // The new name is durable only after the folder is synchronized.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Writes a file that only its owner can read, and synchronizes it to the disk.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A leftover file can have another owner or mode, or be a link.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Appends a suffix to the file name.
fn with_suffix(path: &Path, suffix: impl AsRef<OsStr>) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    use super::*;

    /// Limit of each wait.
    const BOUND: Duration = Duration::from_secs(10);

    /// Empty folder that is removed with its content at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Self {
            let name = format!("stats-keeper-{test}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let _ = fs::remove_dir_all(&path);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
            let mut names: Vec<_> =
                entries.map(|entry| name(entry).into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn history(samples: u64) -> Arc<Mutex<History>> {
        let mut history = History::new();
        (1..=samples).for_each(|number| history.push(&sample(number)));
        Arc::new(Mutex::new(history))
    }

    fn sample(sequence: u64) -> wire::Sample {
        let time_unix_ms = 1_700_000_000_000 + sequence * 1000;
        wire::Sample { cpu: Some(1.0), sequence, time_unix_ms, ..wire::Sample::default() }
    }

    fn count(history: &History) -> usize {
        history.rows(600, 1).time_unix_ms.len()
    }

    /// Waits for a condition.
    fn wait_until(condition: impl Fn() -> bool) {
        let deadline = Instant::now() + BOUND;
        while !condition() {
            assert!(Instant::now() < deadline, "it does not happen");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_saved_history_is_loaded_and_only_its_owner_can_read_it() {
        let folder = Folder::new("kept");
        let path = folder.0.join("history");
        assert_eq!(count(&load(&path)), 0);
        Persistence::start(path.clone(), history(5)).finish();
        assert_eq!(folder.names(), ["history"]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(count(&load(&path)), 5);
        assert_eq!(folder.names(), ["history"]);
    }

    #[test]
    fn the_history_is_saved_repeatedly_until_the_end() {
        let folder = Folder::new("again");
        let path = folder.0.join("history");
        let history = history(1);
        let persistence =
            Persistence::start_every(Duration::from_millis(5), path.clone(), Arc::clone(&history));
        wait_until(|| count(&load(&path)) == 1);
        history.lock().unwrap().push(&sample(2));
        wait_until(|| count(&load(&path)) == 2);
        history.lock().unwrap().push(&sample(3));
        persistence.finish();
        assert_eq!(count(&load(&path)), 3);
    }

    #[test]
    fn a_damaged_file_is_renamed_and_replaces_an_older_one() {
        let folder = Folder::new("damaged");
        let path = folder.0.join("history");
        for content in ["first", "second"] {
            fs::write(&path, content).unwrap();
            assert_eq!(count(&load(&path)), 0);
            assert_eq!(folder.names(), ["history.damaged"]);
            assert_eq!(fs::read_to_string(folder.0.join("history.damaged")).unwrap(), content);
        }
    }

    #[test]
    fn a_file_that_is_too_long_is_damaged_and_not_read_completely() {
        let folder = Folder::new("endless");
        let path = folder.0.join("history");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(matches!(read(&path), Err(LoadError::Damaged(HistoryFileError::TooLong))));
        assert_eq!(count(&load(&path)), 0);
        assert_eq!(folder.names(), ["history.damaged"]);
    }

    #[test]
    fn a_path_that_is_not_a_regular_file_stays_in_place() {
        let folder = Folder::new("folder");
        let path = folder.0.join("history");
        fs::create_dir(&path).unwrap();
        assert_eq!(count(&load(&path)), 0);
        assert!(save(&path, b"bytes").is_err());
        assert_eq!(folder.names(), ["history"]);
        assert!(matches!(read(Path::new("/dev/zero")), Err(LoadError::Read(_))));
    }

    #[test]
    fn a_failed_save_is_retried_until_it_succeeds() {
        let folder = Folder::new("fails");
        let inner = folder.0.join("inner");
        let mut target = Target { path: inner.join("history"), faulty: false };
        let history = history(5);
        target.save(&history);
        target.save(&history);
        assert!(target.faulty);
        assert!(folder.names().is_empty());
        fs::create_dir(&inner).unwrap();
        target.save(&history);
        assert!(!target.faulty);
        assert_eq!(count(&load(&target.path)), 5);
    }

    #[test]
    fn a_failed_save_keeps_the_old_file() {
        let folder = Folder::new("old");
        let path = folder.0.join("history");
        save(&path, &to_bytes(&history(5).lock().unwrap())).unwrap();
        // A folder in place of the new file makes the write fail.
        let new = folder.0.join("history.new");
        fs::create_dir(&new).unwrap();
        assert!(save(&path, b"bytes").is_err());
        fs::remove_dir(&new).unwrap();
        assert_eq!(folder.names(), ["history"]);
        assert_eq!(count(&load(&path)), 5);
    }

    #[test]
    fn a_leftover_file_is_replaced_and_a_link_is_not_followed() {
        let folder = Folder::new("left");
        let path = folder.0.join("history");
        let other = folder.0.join("other");
        fs::write(&other, "precious").unwrap();
        std::os::unix::fs::symlink(&other, folder.0.join("history.new")).unwrap();
        save(&path, &to_bytes(&history(5).lock().unwrap())).unwrap();
        assert_eq!(folder.names(), ["history", "other"]);
        assert_eq!(fs::read_to_string(&other).unwrap(), "precious");
        assert_eq!(count(&load(&path)), 5);
    }

    #[test]
    fn a_hanging_save_does_not_delay_the_shutdown() {
        let folder = Folder::new("hangs");
        let history = history(5);
        // The thread waits for this lock as it would for a disk.
        let lock = history.lock().unwrap();
        let persistence = Persistence::start(folder.0.join("history"), Arc::clone(&history));
        let start = Instant::now();
        persistence.finish_within(Duration::from_millis(50));
        assert!(start.elapsed() < BOUND);
        drop(lock);
        wait_until(|| folder.names() == ["history"]);
    }
}
