//! Start of a service up to the listening socket: arguments, settings, logs.

use std::future::Future;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use crate::build::Build;
use crate::command::Command;
use crate::config::{ConfigError, Settings};
use crate::exit;
use crate::logs::Logs;
use crate::probe::probe;
use crate::signal::termination;

/// Identity of a service: its name, version and the names of its settings.
pub struct ServiceInfo {
    /// The program's name, as in its image: `stats`.
    pub name: &'static str,
    /// The program's version, commit and date: `service::build!()`.
    pub build: Build,
    /// The prefix of its settings: `STATS`.
    pub prefix: &'static str,
    /// The name of the setting for the listening address: `STATS_LISTEN`.
    pub listen_name: &'static str,
    /// The default port.
    pub port: u16,
}

/// The settings of every service.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// Time for requests in flight to complete after SIGTERM. The default is below the 10 s after
    /// which Docker kills the process.
    pub drain: Duration,
    /// Whether log lines are JSON, for lines that a service writes without `tracing`.
    pub json_logs: bool,
}

/// Result of a launch.
pub enum Launch<C> {
    /// Serve with this configuration.
    Serve(Process, C),
    /// Exit with this code, because there is nothing to serve.
    Exit(ExitCode),
}

/// Reads arguments and environment. Handles the commands that do not serve (`--help`, `--version`,
/// `check`, `healthcheck`), and reports an invalid configuration (exit code 64).
pub fn launch<C>(info: &ServiceInfo, read: impl FnOnce(&mut Settings) -> C) -> Launch<C> {
    launch_or_explain(info, read, |_, _| "the configuration is valid".to_owned())
}

/// Like [`launch`], with a custom output of `check` for a valid configuration.
pub fn launch_or_explain<C>(
    info: &ServiceInfo,
    read: impl FnOnce(&mut Settings) -> C,
    explain: impl FnOnce(&Process, &C) -> String,
) -> Launch<C> {
    let arguments = std::env::args_os().skip(1).map(|text| text.to_string_lossy().into_owned());
    let command = match Command::parse(arguments) {
        Ok(command) => command,
        Err(sentence) => {
            report(info, &sentence);
            return Launch::Exit(exit::USAGE.into());
        }
    };
    match command {
        Command::Help => return Launch::Exit(say(&help(info))),
        Command::Version => {
            return Launch::Exit(say(&format!("{} {}", info.name, info.build)));
        }
        Command::Serve | Command::Check | Command::HealthCheck { .. } => {}
    }
    let variables = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into(), value.to_string_lossy().into()));
    let (process, logs, config) = match configure(info, variables, read) {
        Ok(configured) => configured,
        Err(error) => {
            for fault in error.faults {
                report(info, &fault);
            }
            return Launch::Exit(exit::USAGE.into());
        }
    };
    if command == Command::Check {
        return Launch::Exit(say(&explain(&process, &config)));
    }
    if let Command::HealthCheck { path } = command {
        return Launch::Exit(match probe(process.listen, &path) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                report(info, &error.to_string());
                exit::FAILURE.into()
            }
        });
    }
    logs.start();
    crate::rlimit::raise_limit();
    Launch::Serve(process, config)
}

/// Runs `service` until it ends, and returns the exit code. The service receives a future that
/// resolves at SIGTERM or SIGINT, and then drains.
pub async fn serve_until_terminated<F, S, E>(info: &ServiceInfo, service: S) -> ExitCode
where
    S: FnOnce(std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) -> F,
    F: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let signal = match termination() {
        Ok(signal) => signal,
        Err(error) => {
            report(info, &format!("cannot listen for signals: {error}"));
            return exit::FAILURE.into();
        }
    };
    let shutdown = Box::pin(async move {
        let signal = signal.await;
        tracing::info!(%signal, "draining");
    });
    match service(shutdown).await {
        Ok(()) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            report(info, &error.to_string());
            exit::FAILURE.into()
        }
    }
}

fn configure<C>(
    info: &ServiceInfo,
    variables: impl IntoIterator<Item = (String, String)>,
    read: impl FnOnce(&mut Settings) -> C,
) -> Result<(Process, Logs, C), ConfigError> {
    let mut settings = Settings::new(info.prefix, variables);
    let logs = Logs::read(&mut settings);
    let process = Process {
        json_logs: logs.are_json(),
        listen: settings.get(
            info.listen_name,
            "an address and a port such as 0.0.0.0:8080 or [::]:8080",
            (Ipv4Addr::UNSPECIFIED, info.port).into(),
        ),
        drain: settings.get_with(
            "DRAIN_SECONDS",
            "a whole number of seconds from 0 to 3600",
            Duration::from_secs(5),
            |text| text.parse().ok().filter(|&n| n <= 3600).map(Duration::from_secs),
        ),
    };
    let config = read(&mut settings);
    settings.finish()?;
    Ok((process, logs, config))
}

fn help(info: &ServiceInfo) -> String {
    let ServiceInfo { name, build, .. } = info;
    format!(
        "{name} {build}\n\n\
         {name} [serve]             listen and serve, until SIGTERM or SIGINT\n\
         {name} check               validate the settings without starting the service\n\
         {name} healthcheck [PATH]  exit 0 if the running service answers 200 at PATH (/healthz)\n\
         {name} --version\n\n\
         Settings come from the environment; docs/settings.md lists them."
    )
}

fn say(text: &str) -> ExitCode {
    // A closed pipe needs no more output.
    let _ = writeln!(io::stdout(), "{text}");
    ExitCode::SUCCESS
}

fn report(info: &ServiceInfo, sentence: &str) {
    let _ = writeln!(io::stderr(), "{}: {sentence}", info.name);
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: ServiceInfo = ServiceInfo {
        name: "stats",
        build: Build::new("0", None),
        prefix: "STATS",
        listen_name: "STATS_LISTEN",
        port: 8080,
    };

    fn configured(variables: &[(&str, &str)]) -> Result<Process, ConfigError> {
        let variables = variables.iter().map(|&(name, value)| (name.into(), value.into()));
        configure(&INFO, variables, |_| ()).map(|(process, ..)| process)
    }

    #[test]
    fn without_settings_a_service_listens_on_its_port_on_every_address() {
        let process = configured(&[]).unwrap();
        assert_eq!(process.listen, "0.0.0.0:8080".parse().unwrap());
        assert_eq!(process.drain, Duration::from_secs(5));
    }

    #[test]
    fn the_faults_of_all_layers_come_together() {
        let faults = configured(&[
            ("STATS_LISTEN", "8080"),
            ("DRAIN_SECONDS", "soon"),
            ("LOG_FORMAT", "xml"),
            ("STATS_LISTN", "x"),
        ])
        .unwrap_err()
        .faults;
        assert_eq!(faults.len(), 4);
        for (fault, name) in
            faults.iter().zip(["LOG_FORMAT", "STATS_LISTEN", "DRAIN_SECONDS", "STATS_LISTN"])
        {
            assert!(fault.starts_with(name), "{fault}");
        }
    }
}
