//! The only clock and the only reader of files: one tick a second, however many viewers there are.

use std::fmt::Write as _;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::watch;

use crate::proc::{ParseError, cpu, load, memory, uptime};
use crate::rates::{self, Reading};

/// The time between samples.
const INTERVAL: Duration = Duration::from_secs(1);

/// The first sample comes sooner, so that a start is not a second of nothing. A quarter of a second
/// is 25 ticks of each processor: enough to tell busy from idle.
const FIRST_INTERVAL: Duration = Duration::from_millis(250);

/// The longest file that is read: `stat` of 4096 processors has about 400 kB.
const FILE_BYTES: usize = 1024 * 1024;

/// A sample in the forms in which it is handed out, each made once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Published {
    /// The sample as JSON.
    pub(crate) json: Bytes,
    /// The sample as a server-sent event.
    pub(crate) event: Bytes,
}

/// The newest sample; none until two readings were taken, for a rate needs both.
pub(crate) type Latest = watch::Receiver<Option<Published>>;

/// Where samples are put; empty once the sampling was stopped.
type Publisher = Arc<Mutex<Option<watch::Sender<Option<Published>>>>>;

/// The running sampler.
pub(crate) struct Sampler {
    publisher: Publisher,
}

impl Sampler {
    /// Starts sampling the proc filesystem at `root`, on a thread of its own: a file that hangs (a
    /// FUSE mount without its server) then holds up no request and not the end of the process.
    pub(crate) fn start(root: &Path) -> (Latest, Self) {
        let (sender, latest) = watch::channel(None);
        let publisher: Publisher = Arc::new(Mutex::new(Some(sender)));
        let sampler = Self { publisher: publisher.clone() };
        let files = Files::at(root);
        let thread = thread::Builder::new().name("sampler".to_owned());
        if let Err(error) = thread.spawn(move || sample_until_stopped(files, &publisher)) {
            tracing::error!(%error, "cannot start the sampler, there will be no figures");
        }
        (latest, sampler)
    }

    /// Stops sampling. All streams end, because their publisher is gone.
    pub(crate) fn stop(&self) {
        self.publisher.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

fn sample_until_stopped(mut files: Files, publisher: &Publisher) {
    let instance = format!("{:016x}", RandomState::new().build_hasher().finish());
    let mut before = (Instant::now(), files.read());
    let mut due = before.0 + FIRST_INTERVAL;
    let mut sequence = 1;
    loop {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let after = (Instant::now(), files.read());
        // After a stall (a stopped container) one sample covers the gap; there is no catching up.
        due += INTERVAL;
        if due <= after.0 {
            due = after.0 + INTERVAL;
        }
        // A clock before 1970 reads as 1970.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let sample = wire::Sample {
            instance: instance.clone(),
            sequence,
            time_unix_ms: milliseconds(now),
            interval_ms: milliseconds(after.0 - before.0),
            ..rates::sample(&before.1, &after.1)
        };
        before = after;
        // A first sample without either figure would call a service ready that has nothing to say.
        if sequence == 1 && sample.cpu.is_none() && sample.ram.is_none() {
            continue;
        }
        let forms = match forms_of(&sample) {
            Ok(forms) => forms,
            Err(error) => {
                tracing::error!(%error, "cannot write the sample as JSON");
                continue;
            }
        };
        let publisher = publisher.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(publisher) = publisher.as_ref() else { return };
        publisher.send_replace(Some(forms));
        sequence += 1;
    }
}

fn forms_of(sample: &wire::Sample) -> serde_json::Result<Published> {
    let json = serde_json::to_string(sample)?;
    let mut event = String::with_capacity(json.len() + 64);
    // Writing into a string cannot fail.
    let _ = write!(event, "id: {}\nevent: sample\ndata: {json}\n\n", sample.sequence);
    Ok(Published { json: json.into(), event: event.into() })
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The files of one proc filesystem.
struct Files {
    stat: Source,
    meminfo: Source,
    loadavg: Source,
    uptime: Source,
}

impl Files {
    fn at(root: &Path) -> Self {
        let source = |name| Source::at(root.join(name));
        Self {
            stat: source("stat"),
            meminfo: source("meminfo"),
            loadavg: source("loadavg"),
            uptime: source("uptime"),
        }
    }

    fn read(&mut self) -> Reading {
        Reading {
            cpu: self.stat.read(cpu::parse),
            memory: self.meminfo.read(memory::parse),
            load: self.loadavg.read(load::parse),
            uptime_seconds: self.uptime.read(uptime::parse),
        }
    }
}

/// A file of /proc that is read again and again.
///
/// It stays open, and each reading is a `pread` from its start, which makes the kernel write it
/// anew at about half the cost of opening it (10 us of 21 for `stat`).
struct Source {
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
    fn at(path: PathBuf) -> Self {
        Self { path, file: None, buffer: Vec::new(), faulty: false }
    }

    /// The parsed content, or none when the file is missing or odd.
    fn read<T>(&mut self, parse: impl FnOnce(&str) -> Result<T, ParseError>) -> Option<T> {
        let result =
            self.read_buffer().and_then(|()| Ok(parse(std::str::from_utf8(&self.buffer)?)?));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_data_and_ends_with_an_empty_line() {
        let sample = wire::Sample { cpu: Some(1.0), sequence: 7, ..wire::Sample::default() };
        let published = forms_of(&sample).unwrap();
        let json = std::str::from_utf8(&published.json).unwrap();
        assert_eq!(published.event, format!("id: 7\nevent: sample\ndata: {json}\n\n"));
        assert!(!json.contains('\n'));
    }

    #[test]
    fn a_file_that_vanishes_makes_its_figure_absent_and_one_that_comes_back_is_read() {
        let path = std::env::temp_dir().join(format!("stats-source-{}", std::process::id()));
        let mut source = Source::at(path.clone());
        assert_eq!(source.read(uptime::parse), None);
        std::fs::write(&path, "12.5 1.0\n").unwrap();
        assert_eq!(source.read(uptime::parse), Some(12.5));
        std::fs::write(&path, "garbage").unwrap();
        assert_eq!(source.read(uptime::parse), None);
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert_eq!(source.read(uptime::parse), None);
        std::fs::write(&path, "13.5 1.0\n").unwrap();
        assert_eq!(source.read(uptime::parse), Some(13.5));
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
