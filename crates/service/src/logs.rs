//! Logs: JSON lines for machines, colored lines on a terminal.

use std::io::{self, IsTerminal, Write, stdout};
use std::str::FromStr;
use std::sync::OnceLock;
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::Settings;

/// Time that a line waits for a reader that is only slow. A pipe that accepts a line has room for
/// 4 KiB (`pipe(7)`).
const READER_TIME: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// Consumer of log lines; returns false if it does not take the line.
static CONSUMER: OnceLock<fn(&[u8]) -> bool> = OnceLock::new();

/// Passes log lines to `consumer` instead of standard output, which loses lines while its reader
/// has stopped. Those of a panic are still written at once: the process may end with it.
pub fn redirect_logs(consumer: fn(&[u8]) -> bool) {
    // A second consumer in one process (tests) has no effect.
    let _ = CONSUMER.set(consumer);
}

/// Writer of log lines, each with one call.
struct Output;

impl Output {
    const fn new() -> Self {
        Self
    }
}

impl Write for Output {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match CONSUMER.get() {
            Some(consumer) if !thread::panicking() && consumer(line) => Ok(line.len()),
            // The reader has stopped, as that of a container on a disk that hangs. Waiting for it
            // would stop the service.
            _ if !accepts_line() => Ok(line.len()),
            _ => stdout().write_all(line).map(|()| line.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        stdout().flush()
    }
}

/// Whether standard output accepts a line in time. The writer reports errors.
fn accepts_line() -> bool {
    let stdout = stdout();
    let mut files = [PollFd::new(&stdout, PollFlags::OUT)];
    poll(&mut files, Some(&READER_TIME)) != Ok(0)
}

/// Format of a log line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Format {
    /// One JSON object per line.
    Json,
    /// Colored text for a terminal.
    Text,
}

impl FromStr for Format {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            "auto" => Ok(Self::of_stdout()),
            _ => Err(()),
        }
    }
}

impl Format {
    fn of_stdout() -> Self {
        if stdout().is_terminal() { Self::Text } else { Self::Json }
    }
}

/// Filter and format of the log.
pub(crate) struct Logs {
    format: Format,
    filter: Targets,
}

impl Logs {
    pub(crate) fn read(settings: &mut Settings) -> Self {
        Self {
            format: settings.get("LOG_FORMAT", "auto, json or text", Format::of_stdout()),
            filter: settings.get_with(
                "LOG_LEVEL",
                "off, error, warn, info, debug or trace, or a list such as info,hyper=debug",
                Targets::new().with_default(LevelFilter::INFO),
                filter_of,
            ),
        }
    }

    pub(crate) fn are_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Logs all events, and panics, from now on, so that the last message of a process is also a
    /// log line.
    pub(crate) fn start(self) {
        let registry = tracing_subscriber::registry().with(self.filter);
        // A second start in one process (tests) keeps the first subscriber, which has no
        // disadvantage.
        let _ = match self.format {
            Format::Json => registry
                .with(fmt::layer().json().flatten_event(true).with_writer(Output::new))
                .try_init(),
            Format::Text => registry
                .with(
                    fmt::layer()
                        .with_ansi(stdout().is_terminal())
                        .with_target(false)
                        .with_writer(Output::new),
                )
                .try_init(),
        };
        std::panic::set_hook(Box::new(|panic| {
            tracing::error!(at = panic.location().map(ToString::to_string), "panic: {}", {
                let payload = panic.payload();
                payload
                    .downcast_ref::<&str>()
                    .copied()
                    .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
                    .unwrap_or("no message")
            });
        }));
    }
}

/// Parses a log filter. A bare word is a level here; the parser of `Targets` would accept "loud" as
/// a target and log all of its events.
fn filter_of(text: &str) -> Option<Targets> {
    text.split(',').try_fold(Targets::new(), |filter, directive| {
        Some(match directive.split_once('=') {
            Some((target, level)) if !target.is_empty() => {
                filter.with_target(target, level_of(level)?)
            }
            Some(_) => return None,
            None => filter.with_default(level_of(directive)?),
        })
    })
}

/// Parses a level. The parser of `LevelFilter` alone would accept an empty text as "error".
fn level_of(text: &str) -> Option<LevelFilter> {
    if text.is_empty() { None } else { text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_have_names_and_others_are_refused() {
        assert_eq!("json".parse(), Ok(Format::Json));
        assert_eq!("text".parse(), Ok(Format::Text));
        assert_eq!("yaml".parse::<Format>(), Err(()));
    }

    #[test]
    fn a_wrong_level_is_a_fault_with_the_name_of_the_variable() {
        for wrong in ["loud", ",,", "info,", "info,=debug", "hyper=", "hyper=loud"] {
            let variables = [("LOG_LEVEL".to_owned(), wrong.to_owned())];
            let mut settings = Settings::new("STATS", variables);
            Logs::read(&mut settings);
            let faults = settings.finish().unwrap_err().faults;
            assert!(faults[0].starts_with(&format!("LOG_LEVEL is {wrong:?}")), "{faults:?}");
        }
    }
}
