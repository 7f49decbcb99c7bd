//! What the gateway can be told, beside the settings that every service has.

use std::num::NonZero;
use std::thread::available_parallelism;
use std::time::Duration;

use runtime::Settings;

use crate::upstreams::Origin;

/// The gateway's own settings.
#[derive(Debug, PartialEq)]
pub(crate) struct Config {
    /// Where stats is.
    pub(crate) stats: Origin,
    /// Where the frontend is.
    pub(crate) frontend: Origin,
    /// How often the names of both are looked up.
    pub(crate) resolve_every: Duration,
    /// How long an upstream may be silent, before its answer and inside it. Longer than the 15 s
    /// after which a stream sends something in any case.
    pub(crate) upstream_timeout: Duration,
    /// Client connections at once; more of them wait in the kernel's backlog.
    pub(crate) max_connections: u32,
    /// Worker threads.
    pub(crate) threads: usize,
}

impl Config {
    /// Reads them; the faults stay in `settings`.
    pub(crate) fn read(settings: &mut Settings) -> Self {
        const ORIGIN: &str = "a host and a port such as stats:8080, 127.0.0.1:8080 or [::1]:8080";
        Self {
            stats: settings.get_with(
                "GATEWAY_STATS",
                ORIGIN,
                Origin::new("stats", 8080),
                Origin::parse,
            ),
            frontend: settings.get_with(
                "GATEWAY_FRONTEND",
                ORIGIN,
                Origin::new("frontend", 3000),
                Origin::parse,
            ),
            resolve_every: seconds(settings, "GATEWAY_RESOLVE_SECONDS", 2),
            upstream_timeout: seconds(settings, "GATEWAY_UPSTREAM_TIMEOUT_SECONDS", 30),
            max_connections: settings.get_with(
                "GATEWAY_MAX_CONNECTIONS",
                "a whole number from 1 to 1000000",
                10_000,
                |text| text.parse().ok().filter(|n| (1..=1_000_000).contains(n)),
            ),
            threads: settings.get_with(
                "GATEWAY_THREADS",
                "a whole number from 1 to 256",
                // Known from the processors this process may use and the cgroup's quota.
                available_parallelism().map_or(1, NonZero::get),
                |text| text.parse().ok().filter(|n| (1..=256).contains(n)),
            ),
        }
    }
}

fn seconds(settings: &mut Settings, name: &'static str, default: u64) -> Duration {
    settings.get_with(
        name,
        "a whole number of seconds from 1 to 3600",
        Duration::from_secs(default),
        |text| {
            let seconds = text.parse().ok().filter(|n| (1..=3600).contains(n))?;
            Some(Duration::from_secs(seconds))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> (Config, Vec<String>) {
        let variables = variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let mut settings = Settings::new("GATEWAY", variables);
        let config = Config::read(&mut settings);
        let faults = settings.finish().map_or_else(|e| e.faults, |()| Vec::new());
        (config, faults)
    }

    #[test]
    fn without_settings_the_upstreams_are_the_names_of_the_compose_file() {
        let (config, faults) = read(&[]);
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(config.stats.to_string(), "stats:8080");
        assert_eq!(config.frontend.to_string(), "frontend:3000");
        assert_eq!(config.resolve_every, Duration::from_secs(2));
        assert!(config.threads >= 1);
    }

    #[test]
    fn every_wrong_setting_is_named() {
        let wrong = [
            ("GATEWAY_STATS", "stats"),
            ("GATEWAY_FRONTEND", "http://frontend:3000"),
            ("GATEWAY_RESOLVE_SECONDS", "0"),
            ("GATEWAY_UPSTREAM_TIMEOUT_SECONDS", "never"),
            ("GATEWAY_MAX_CONNECTIONS", "-1"),
            ("GATEWAY_THREADS", "0"),
        ];
        let (_, faults) = read(&wrong);
        assert_eq!(faults.len(), wrong.len(), "{faults:?}");
        for (fault, (name, _)) in faults.iter().zip(wrong) {
            assert!(fault.starts_with(name), "{fault}");
        }
    }
}
