//! Settings of the stats service.

use std::net::SocketAddr;
use std::path::PathBuf;

use http_semantics::hosts::HostList;
use http_semantics::signature::Key;
use service::{Secret, Settings};

use crate::alerts::Rules;
use crate::cors::Origins;
use crate::glob::{Selection, Selections};
use crate::labels::{self, Labels};
use crate::rates::Exposure;
use crate::sampler::{Announcing, Endpoint, Roots, Sampling};
use crate::scope::ScopePreference;

/// Settings of this service.
pub(crate) struct Config {
    pub(crate) sampling: Sampling,
    /// Alert rules.
    pub(crate) rules: Rules,
    /// Alertmanager endpoint; none by default.
    pub(crate) alertmanager: Option<Endpoint>,
    /// Gateways that this instance announces itself to; none by default.
    pub(crate) announcing: Option<Announcing>,
    /// Interval between two lines of `CloudWatch` metrics, seconds; none by default.
    pub(crate) emf_seconds: Option<u32>,
    pub(crate) origins: Origins,
    /// Accepted hosts besides loopback.
    pub(crate) hosts: HostList,
    /// File of the history; none by default.
    pub(crate) history_file: Option<PathBuf>,
    /// Task metadata endpoint of the ECS agent, in an ECS task.
    pub(crate) task_metadata: Option<Endpoint>,
}

impl Config {
    pub(crate) fn read(settings: &mut Settings) -> Self {
        let folder = |text: &str| Some(PathBuf::from(text)).filter(|path| path.is_dir());
        let roots = Roots {
            proc: settings.get_with(
                "STATS_PROC",
                "a folder: the mount point of a proc filesystem",
                PathBuf::from("/proc"),
                folder,
            ),
            root: settings.get_with(
                "STATS_ROOT",
                "a folder: what the paths of the mount table begin at",
                PathBuf::from("/"),
                folder,
            ),
        };
        let scope_preference = settings.get_with(
            "STATS_SCOPE",
            ScopePreference::EXPECTED,
            ScopePreference::Auto,
            ScopePreference::parse,
        );
        let exposed =
            settings.get_with("STATS_EXPOSE", EXPOSED, Exposure::default(), parse_exposed);
        let mut selection = |name| {
            settings.get_with(name, Selection::EXPECTED, Selection::default(), Selection::parse)
        };
        let selections = Selections {
            interfaces: selection("STATS_INTERFACES"),
            disks: selection("STATS_DISKS"),
            mounts: selection("STATS_MOUNTS"),
        };
        let labels = settings.get_or_explain("STATS_LABELS", Labels::default(), labels::parse);
        Self {
            sampling: Sampling { roots, scope_preference, exposed, labels, selections },
            rules: settings.get_or_explain("STATS_ALERTS", Rules::default(), Rules::parse),
            alertmanager: settings.get_with(
                "STATS_ALERTMANAGER",
                "an address such as http://alertmanager:9093",
                None,
                |text| text.parse().ok().map(Some),
            ),
            announcing: announcing(settings),
            emf_seconds: settings.get_with(
                "STATS_EMF",
                "a number of seconds from 10 to 3600",
                None,
                |text| text.parse().ok().filter(|seconds| (10..=3600).contains(seconds)).map(Some),
            ),
            origins: settings.get_with(
                "STATS_ALLOWED_ORIGINS",
                Origins::EXPECTED,
                Origins::default(),
                Origins::parse,
            ),
            hosts: settings.get_with(
                "STATS_HOSTS",
                HostList::EXPECTED,
                HostList::default(),
                HostList::parse,
            ),
            history_file: settings.get_with(
                "STATS_HISTORY_FILE",
                "the path of a file in a folder that is there",
                None,
                |text| Some(PathBuf::from(text)).filter(|path| is_file_path(path)).map(Some),
            ),
            task_metadata: settings.get_with(
                "ECS_CONTAINER_METADATA_URI_V4",
                "an address such as http://169.254.170.2/v4/…",
                None,
                |text| text.parse().ok().map(Some),
            ),
        }
    }
}

/// Maximum number of gateways to announce to.
const MAX_GATEWAYS: usize = 8;

fn announcing(settings: &mut Settings) -> Option<Announcing> {
    let gateways = settings.get_with(
        "STATS_ANNOUNCE",
        "at most 8 addresses of gateways without paths such as http://gateway:3050, separated by \
         commas",
        Vec::new(),
        |text| {
            let gateways = text.split(',').map(|part| part.trim().parse::<Endpoint>().ok());
            let gateways: Vec<_> = gateways.collect::<Option<_>>()?;
            let is_valid = gateways.len() <= MAX_GATEWAYS && gateways.iter().all(Endpoint::is_root);
            is_valid.then_some(gateways)
        },
    );
    let (ip, port) = settings.get_with(
        "STATS_ANNOUNCE_ADDRESS",
        "an address of this host such as 10.0.0.7 or 10.0.0.7:8080",
        (None, None),
        |text| {
            let address = text.parse().map(|it: SocketAddr| (Some(it.ip()), Some(it.port())));
            let address = address.ok().filter(|(_, port)| *port != Some(0));
            address
                .or_else(|| text.trim_matches(['[', ']']).parse().ok().map(|ip| (Some(ip), None)))
        },
    );
    let secret = Secret::read(settings, ["STATS_ANNOUNCE_SECRET", "STATS_ANNOUNCE_SECRET_FILE"]);
    if gateways.is_empty() {
        return None;
    }
    let key = secret.text().and_then(|text| {
        let (name, text) = text.ok_or_else(|| {
            "STATS_ANNOUNCE needs STATS_ANNOUNCE_SECRET or STATS_ANNOUNCE_SECRET_FILE".to_owned()
        })?;
        // Gateways accept several keys; the first one signs.
        let keys = Key::parse_all(&text);
        let keys = keys.map_err(|faults| format!("{name}: {}", faults.join("; ")))?;
        keys.into_iter().next().ok_or_else(|| format!("{name}: there is no secret in it"))
    });
    let key = key.map_err(|fault| settings.reject(fault)).ok()?;
    Some(Announcing { gateways, key, ip, port })
}

const EXPOSED: &str = "some of hostname, mounts, processes, separated by commas";

fn parse_exposed(text: &str) -> Option<Exposure> {
    let mut exposed = Exposure::default();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match word {
            "hostname" => exposed.hostname = true,
            "mounts" => exposed.mounts = true,
            "processes" => exposed.processes = true,
            _ => return None,
        }
    }
    Some(exposed)
}

fn is_file_path(path: &std::path::Path) -> bool {
    path.file_name().is_some()
        && !path.is_dir()
        && path.parent().is_some_and(|folder| folder.as_os_str().is_empty() || folder.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> (Config, Result<(), service::ConfigError>) {
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut settings = Settings::new("STATS", variables);
        let config = Config::read(&mut settings);
        (config, settings.finish())
    }

    #[test]
    fn all_settings_are_optional() {
        let (config, faults) = read(&[]);
        assert_eq!(faults, Ok(()));
        assert_eq!(config.sampling.exposed, Exposure::default());
        assert_eq!(config.sampling.scope_preference, ScopePreference::Auto);
        assert!(config.history_file.is_none() && config.task_metadata.is_none());
    }

    #[test]
    fn exposed_content_is_listed_by_name() {
        let (config, faults) = read(&[("STATS_EXPOSE", "hostname, processes")]);
        assert_eq!(faults, Ok(()));
        let exposed = Exposure { hostname: true, mounts: false, processes: true };
        assert_eq!(config.sampling.exposed, exposed);
    }

    #[test]
    fn every_invalid_setting_is_reported() {
        let (_, faults) = read(&[
            ("STATS_EXPOSE", "everything"),
            ("STATS_SCOPE", "galaxy"),
            ("STATS_ALLOWED_ORIGINS", "*"),
            ("STATS_HISTORY_FILE", "/no/such/folder/file"),
            ("STATS_ROOT", "/no/such/folder"),
            ("ECS_CONTAINER_METADATA_URI_V4", "gopher"),
            ("STATS_LABELS", "Team=web"),
            ("STATS_ALERTS", "cpu > 90 for ever; gpu > 1"),
            ("STATS_ALERTMANAGER", "https://alertmanager"),
            ("STATS_EMF", "9"),
            ("STATS_HOSTS", "http://a"),
            ("STATS_DISKS", "sd*,!"),
        ]);
        assert_eq!(faults.unwrap_err().faults.len(), 13);
    }

    #[test]
    fn announcements_need_gateways_without_paths_and_a_secret_that_is_not_printed() {
        let secret = ("STATS_ANNOUNCE_SECRET", "0123456789abcdef");
        let announcing = |address| {
            let gateways = ("STATS_ANNOUNCE", "http://a:3050, http://[::1]");
            let (config, faults) = read(&[gateways, secret, ("STATS_ANNOUNCE_ADDRESS", address)]);
            assert_eq!(faults, Ok(()));
            config.announcing.unwrap()
        };
        assert_eq!(announcing("").gateways.len(), 2);
        assert_eq!(announcing("10.0.0.7:9").ip, Some([10, 0, 0, 7].into()));
        assert_eq!(announcing("[fd00::7]:9").port, Some(9));
        let found = announcing("fd00::7");
        assert_eq!((found.ip, found.port), ("fd00::7".parse().ok(), None));
        assert!(!format!("{found:?}").contains("0123456789abcdef"));
        for wrong in [
            &[("STATS_ANNOUNCE", "http://a")][..],
            &[("STATS_ANNOUNCE", "http://a"), ("STATS_ANNOUNCE_SECRET", "short")],
            &[("STATS_ANNOUNCE", "http://a"), ("STATS_ANNOUNCE_SECRET_FILE", "/no/such/file")],
            &[("STATS_ANNOUNCE", "https://a"), secret],
            &[("STATS_ANNOUNCE", "http://a/path"), secret],
            &[("STATS_ANNOUNCE", "http://a,"), secret],
            &[("STATS_ANNOUNCE_ADDRESS", "name:8080")],
            &[("STATS_ANNOUNCE_ADDRESS", "10.0.0.7:0")],
        ] {
            let (config, faults) = read(wrong);
            assert!(faults.is_err() && config.announcing.is_none(), "{wrong:?}");
        }
        let (config, faults) = read(&[secret]);
        assert!(faults.is_ok() && config.announcing.is_none());
    }
}
