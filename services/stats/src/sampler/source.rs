//! One file that is read again and again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::collect::ParseError;

/// The longest file that is read: `stat` of 4096 processors has about 400 kB.
const FILE_BYTES: usize = 1024 * 1024;

/// A file of /proc that is read again and again.
///
/// It stays open, and each reading is a `pread` from its start, which makes the kernel write it
/// anew at about half the cost of opening it (10 us of 21 for `stat`).
pub(crate) struct Source {
    path: PathBuf,
    file: Option<File>,
    buffer: Vec<u8>,
    /// Whether the last reading failed, so that a fault is logged when it comes and when it goes.
    faulty: bool,
}

/// Why a source has no value.
#[derive(Debug, thiserror::Error)]
enum SourceError {
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error("it has more than {FILE_BYTES} bytes")]
    TooLong,
    #[error("not UTF-8: {0}")]
    Text(#[from] std::str::Utf8Error),
    #[error(transparent)]
    Parse(#[from] ParseError),
}

impl Source {
    /// The file at `path`; it is opened when it is read.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path, file: None, buffer: Vec::new(), faulty: false }
    }

    /// The parsed content, or none when the file is missing or odd.
    pub(crate) fn read<T>(
        &mut self,
        parse: impl FnOnce(&str) -> Result<T, ParseError>,
    ) -> Option<T> {
        let result = self.read_parsed(parse);
        self.log_change(result)
    }

    /// The same for a file that may rightly be missing: that is no fault.
    pub(crate) fn read_optional<T>(
        &mut self,
        parse: impl FnOnce(&str) -> Result<T, ParseError>,
    ) -> Option<T> {
        match self.read_parsed(parse) {
            Err(SourceError::Read(error)) if is_absence(&error) => {
                self.file = None;
                None
            }
            result => self.log_change(result),
        }
    }

    fn read_parsed<T>(
        &mut self,
        parse: impl FnOnce(&str) -> Result<T, ParseError>,
    ) -> Result<T, SourceError> {
        self.read_buffer()?;
        Ok(parse(std::str::from_utf8(&self.buffer)?)?)
    }

    fn log_change<T>(&mut self, result: Result<T, SourceError>) -> Option<T> {
        match result {
            Ok(value) => {
                if std::mem::take(&mut self.faulty) {
                    tracing::info!(path = %self.path.display(), "readable again");
                }
                Some(value)
            }
            Err(error) => {
                self.file = None;
                if !std::mem::replace(&mut self.faulty, true) {
                    let path = self.path.display();
                    tracing::warn!(%path, %error, "its figures are left out");
                }
                None
            }
        }
    }

    fn read_buffer(&mut self) -> Result<(), SourceError> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::open(&self.path)?),
        };
        let mut length = 0;
        loop {
            if length > FILE_BYTES {
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

/// Whether the file is not there, or not any more: a control group's files are gone, even while
/// open, once it was removed (`ENODEV`). A kernel started with `psi=0` has the files of pressure and
/// refuses to open them (`EOPNOTSUPP`).
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
    fn a_missing_optional_file_is_no_fault_and_an_odd_one_is() {
        let mut source = Source::at(PathBuf::from("/nonexistent/file"));
        assert_eq!(source.read_optional(number), None);
        assert!(!source.faulty);
        let mut source = Source::at(PathBuf::from("/"));
        assert_eq!(source.read_optional(number), None);
        assert!(source.faulty);
    }

    #[test]
    fn a_file_that_vanishes_makes_its_figure_absent_and_one_that_comes_back_is_read() {
        let path = std::env::temp_dir().join(format!("stats-source-{}", std::process::id()));
        let mut source = Source::at(path.clone());
        assert_eq!(source.read(number), None);
        std::fs::write(&path, "12").unwrap();
        assert_eq!(source.read(number), Some(12));
        std::fs::write(&path, "garbage").unwrap();
        assert_eq!(source.read(number), None);
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert_eq!(source.read(number), None);
        std::fs::write(&path, "13").unwrap();
        assert_eq!(source.read(number), Some(13));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_file_longer_than_the_buffer_is_read_to_its_end() {
        let path = std::env::temp_dir().join(format!("stats-long-{}", std::process::id()));
        let text = "x".repeat(100_000);
        std::fs::write(&path, &text).unwrap();
        let mut source = Source::at(path.clone());
        let length = source.read(|read| Ok(read.len()));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(length, Some(text.len()));
    }

    #[test]
    fn a_file_without_an_end_is_given_up() {
        let mut source = Source::at(PathBuf::from("/dev/zero"));
        assert_eq!(source.read(|text| Ok(text.len())), None);
        assert!(source.buffer.capacity() == 0);
    }
}
