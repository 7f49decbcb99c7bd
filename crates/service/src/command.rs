//! The command line: `serve` (the default), `healthcheck`, `--help`, `--version`.

/// A command of the program.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    /// Runs the service.
    Serve,
    /// Checks the health of the running service at this path.
    HealthCheck { path: String },
    /// Checks the configuration and prints the effective settings.
    Check,
    /// Prints the usage.
    Help,
    /// Prints the name and the version.
    Version,
}

impl Command {
    /// Parses the arguments that follow the program's name. An error is a message for the user.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let command = match arguments.next().as_deref() {
            None | Some("serve") => Self::Serve,
            Some("healthcheck") => {
                let path = arguments.next().unwrap_or_else(|| "/healthz".to_owned());
                if !path.starts_with('/') || path.contains(|c: char| c <= ' ' || c == '\x7f') {
                    return Err(format!("{path:?} is not a path to check: it must begin with /"));
                }
                Self::HealthCheck { path }
            }
            Some("check") => Self::Check,
            Some("--help" | "-h" | "help") => Self::Help,
            Some("--version" | "-V") => Self::Version,
            Some(other) => return Err(format!("{other:?} is not a command; try --help")),
        };
        match arguments.next() {
            Some(extra) => Err(format!("{extra:?} is one argument too many; try --help")),
            None => Ok(command),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        Command::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn no_argument_means_serve() {
        assert_eq!(parse(""), Ok(Command::Serve));
        assert_eq!(parse("serve"), Ok(Command::Serve));
    }

    #[test]
    fn the_health_check_requests_healthz_unless_a_path_is_given() {
        assert_eq!(parse("healthcheck"), Ok(Command::HealthCheck { path: "/healthz".into() }));
        assert_eq!(
            parse("healthcheck /readyz"),
            Ok(Command::HealthCheck { path: "/readyz".into() })
        );
        assert!(parse("healthcheck readyz").is_err());
    }

    #[test]
    fn a_wrong_or_surplus_argument_is_named() {
        assert!(parse("sevre").unwrap_err().contains("\"sevre\""));
        assert!(parse("serve now").unwrap_err().contains("\"now\""));
    }
}
