//! A file that is read repeatedly.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::bounded_reader::SourceState;
use super::fault_log::FaultLog;
use crate::collect::ParseError;

/// Maximum length of a file: the mount table of a host with 10,000 containers has 8 MB.
const MAX_FILE_BYTES: usize = 16 * 1024 * 1024;

/// Maximum size of a buffer that is kept after a read.
const MAX_RETAINED_BYTES: usize = 256 * 1024;

/// A file of /proc that is read repeatedly.
///
/// It stays open, and each reading is a `pread` from its start. The kernel then generates the
/// content again at about half the cost of opening the file (10 us instead of 21 for `stat`).
pub(crate) struct Source {
    path: PathBuf,
    /// Whether its absence is a fault.
    is_required: bool,
    file: Option<File>,
    buffer: Vec<u8>,
    state: SourceState,
    log: FaultLog,
}

/// Reason for a missing value.
#[derive(Debug, thiserror::Error)]
enum SourceError {
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error("it has more than {MAX_FILE_BYTES} bytes")]
    TooLong,
    #[error(transparent)]
    Parse(#[from] ParseError),
}

impl Source {
    /// Source for a file that not every system has. It is opened at the first read.
    pub(crate) fn at(path: PathBuf) -> Self {
        let (buffer, state) = (Vec::new(), SourceState::Absent);
        Self { path, is_required: false, file: None, buffer, state, log: FaultLog::default() }
    }

    /// Source for a file whose absence is a fault.
    pub(crate) fn required(path: PathBuf) -> Self {
        Self { is_required: true, ..Self::at(path) }
    }

    /// Path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// State after the last read.
    pub(crate) fn state(&self) -> SourceState {
        self.state
    }

    /// Whether the kernel has signaled a change of the open file since the last call, as it does
    /// for mount tables (`proc_pid_mountinfo(5)`).
    pub(crate) fn has_changed(&self) -> bool {
        self.file.as_ref().is_some_and(|file| {
            let mut files = [PollFd::new(file, PollFlags::PRI)];
            poll(&mut files, Some(&Timespec::default())).is_ok_and(|changed| changed > 0)
        })
    }

    /// Parsed content; `None` if the file is missing or cannot be parsed. Bytes that are not UTF-8
    /// become U+FFFD, so they affect one name instead of the whole file.
    pub(crate) fn read<T>(&mut self, parse: fn(&str) -> Result<T, ParseError>) -> Option<T> {
        self.read_bytes(|bytes| parse(&String::from_utf8_lossy(bytes)))
    }

    /// Like [`Source::read`], for a parser of bytes.
    pub(crate) fn read_bytes<T>(
        &mut self,
        parse: impl FnOnce(&[u8]) -> Result<T, ParseError>,
    ) -> Option<T> {
        let result = self.read_buffer().and_then(|()| Ok(parse(&self.buffer)?));
        let (value, fault) = match result {
            Ok(value) => (Some(value), None),
            Err(fault) => (None, Some(fault)),
        };
        self.record(fault);
        value
    }

    /// Records the outcome of a read. It is not generic, so the binary contains it once.
    fn record(&mut self, fault: Option<SourceError>) {
        if self.buffer.capacity() > MAX_RETAINED_BYTES {
            self.buffer = Vec::new();
        }
        let Some(error) = fault else {
            self.state = SourceState::Up;
            if self.log.has_ended() {
                tracing::info!(path = %self.path.display(), "readable again");
            }
            return;
        };
        self.file = None;
        if !self.is_required && matches!(&error, SourceError::Read(error) if is_absence(error)) {
            self.state = SourceState::Absent;
            return;
        }
        self.state = SourceState::Down;
        if self.log.is_due() {
            let path = self.path.display();
            tracing::warn!(%path, %error, "values absent");
        }
    }

    fn read_buffer(&mut self) -> Result<(), SourceError> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::open(&self.path)?),
        };
        let mut length = 0;
        loop {
            if length > MAX_FILE_BYTES {
                self.buffer = Vec::new();
                return Err(SourceError::TooLong);
            }
            if self.buffer.len() - length < 1024 {
                self.buffer.resize(length + 4096, 0);
            }
            match file.read_at(&mut self.buffer[length..], length as u64) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.buffer.truncate(length);
        Ok(())
    }
}

/// Whether the file does not exist, or no longer exists. The open files of a removed control group
/// return `ENODEV`. A kernel with the parameter `psi=0` has the pressure files, but opening them
/// fails with `EOPNOTSUPP`.
fn is_absence(error: &io::Error) -> bool {
    const ENODEV: i32 = 19;
    const EOPNOTSUPP: i32 = 95;
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error().is_some_and(|code| [ENODEV, EOPNOTSUPP].contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Result<u64, ParseError> {
        text.parse().map_err(|_| ParseError::Missing("number"))
    }

    #[test]
    fn a_missing_optional_file_is_valid_and_an_invalid_or_required_one_is_a_fault() {
        let mut source = Source::at(PathBuf::from("/nonexistent/file"));
        assert_eq!(source.read(number), None);
        assert!(!source.log.is_faulty());
        assert_eq!(source.state(), SourceState::Absent);
        for mut source in [Source::at("/".into()), Source::required("/nonexistent/file".into())] {
            assert_eq!(source.read(number), None);
            assert!(source.log.is_faulty());
            assert_eq!(source.state(), SourceState::Down);
        }
    }

    #[test]
    fn a_removed_file_has_no_value_and_a_restored_one_is_read() {
        let path = std::env::temp_dir().join(format!("stats-source-{}", std::process::id()));
        let mut source = Source::at(path.clone());
        assert_eq!(source.read(number), None);
        std::fs::write(&path, "12").unwrap();
        assert_eq!(source.read(number), Some(12));
        std::fs::write(&path, "garbage").unwrap();
        assert_eq!(source.read(number), None);
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert_eq!(source.read(number), None);
        // A parser that does not use these bytes can still read the file.
        std::fs::write(&path, b"12 \xff").unwrap();
        assert_eq!(source.read(|text| number(text.split(' ').next().unwrap())), Some(12));
        std::fs::write(&path, "13").unwrap();
        assert_eq!(source.read(number), Some(13));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_file_longer_than_the_buffer_is_read_completely() {
        let path = std::env::temp_dir().join(format!("stats-long-{}", std::process::id()));
        let text = "x".repeat(100_000);
        std::fs::write(&path, &text).unwrap();
        let mut source = Source::at(path.clone());
        let length = source.read(|read| Ok(read.len()));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(length, Some(text.len()));
    }

    #[test]
    fn a_file_without_an_end_is_limited() {
        let mut source = Source::at(PathBuf::from("/dev/zero"));
        assert_eq!(source.read(|text| Ok(text.len())), None);
        assert!(source.buffer.capacity() == 0);
    }
}
