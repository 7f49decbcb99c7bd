//! What the gateway can be told, beside the settings that every service has.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::path::PathBuf;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use runtime::Settings;

use crate::cache::{CacheSettings, parse_bytes};
use crate::policy::auth::Guard;
use crate::policy::limits::{Bounds, Rate};
use crate::policy::networks::{Access, Networks};
use crate::policy::trust::Trust;
use crate::routes::{self, RouteLine};
use crate::rules::Guarded;
#[cfg(feature = "tls")]
use crate::tls::Tls;
use crate::upstreams::{CheckPath, Origin, PoolSettings};
use semantics::hosts::{HostList, Hosts};

/// The gateway's own settings.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub(crate) struct Config {
    /// Where requests go.
    pub(crate) table: Table,
    /// How addresses are found and given up.
    pub(crate) pools: PoolSettings,
    /// How long each part of an exchange with an upstream may take.
    pub(crate) times: Times,
    /// Client connections at once; more of them wait in the kernel's backlog.
    pub(crate) max_connections: u32,
    /// Bytes of a request's body.
    pub(crate) body_bytes: usize,
    /// Bytes of all requests' bodies that are in memory at once.
    pub(crate) body_memory_bytes: usize,
    /// What one client may have.
    pub(crate) bounds: Bounds,
    /// The bound of connections is the default one, which does not hold for shared addresses.
    is_default_connections: bool,
    /// Whom to believe what they say of others.
    pub(crate) trust: Trust,
    /// Whether upstreams are told of the client in RFC 7239's words as well.
    pub(crate) forwarded: bool,
    /// Who may ask at all.
    pub(crate) access: Access,
    /// The hosts that the gateway answers, as configured; see [`Config::hosts`].
    hosts: HostList,
    /// The address that clients connect to, where that differs from the listening address.
    published: Option<IpAddr>,
    /// The answers that are kept.
    pub(crate) cache: CacheSettings,
    /// Whether answers that came plain are compressed.
    pub(crate) compress: bool,
    /// Of a hundred requests so many are in the access log; those that failed always are.
    pub(crate) log_percent: u8,
    /// Where metrics are told.
    pub(crate) admin: Admin,
    /// Whether clients may speak HTTP/2.
    pub(crate) http2: bool,
    /// Worker threads.
    pub(crate) threads: usize,
    /// What clients are shown before they may speak; clear text where there is none.
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<Tls>>,
}

/// How long each part of an exchange with an upstream may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// Until there is a connection. Upstreams are on the same host or network, where it takes
    /// milliseconds; one that takes a second leads nowhere, and a second try still fits into a
    /// person's patience.
    pub(crate) connect: Duration,
    /// From the request to the head of the answer, and from one piece of the answer to the next.
    /// Longer than the 15 s after which a stream sends something in any case.
    pub(crate) silence: Duration,
    /// For the whole answer, if it is no event stream.
    pub(crate) total: Duration,
}

/// Where metrics are told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Admin {
    /// Here, because somebody wants it.
    At(SocketAddr),
    /// Here, unless the port is taken: nobody asked for it, and another gateway may be on this
    /// machine.
    Unless(SocketAddr),
    /// Nowhere.
    Off,
}

/// Where the table of routes comes from.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    own: Vec<RouteLine>,
    told: Vec<RouteLine>,
    file: Option<PathBuf>,
    secrets: Secrets,
}

#[derive(Clone, Debug, Default)]
struct Secrets {
    text: Option<Hidden>,
    file: Option<PathBuf>,
}

#[derive(Clone)]
struct Hidden(String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("hidden")
    }
}

/// The bounds of a client, and whether that on its connections is the default: half of all.
fn bounds(settings: &mut Settings, max_connections: u32) -> (Bounds, bool) {
    const NUMBER: &str = "a whole number from 0 to 1000000, 0 for no bound";
    let count = |text: &str| text.parse().ok().filter(|n| *n <= 1_000_000_u32);
    let connections =
        settings.get_with("GATEWAY_CLIENT_CONNECTIONS", NUMBER, None, |text| count(text).map(Some));
    let bounds = Bounds {
        connections: connections.unwrap_or_else(|| max_connections.div_ceil(2)),
        requests: settings.get_with(
            "GATEWAY_CLIENT_RATE",
            "requests a second and perhaps a burst such as \"50\" or \"50 burst 200\"",
            Rate::default(),
            Rate::parse,
        ),
        streams: settings.get_with("GATEWAY_CLIENT_STREAMS", NUMBER, 0, count),
        exempt: networks(settings, "GATEWAY_CLIENT_EXEMPT"),
    };
    (bounds, connections.is_none())
}

impl Config {
    /// Reads them; the faults stay in `settings`.
    pub(crate) fn read(settings: &mut Settings) -> Self {
        let table = Table::read(settings);
        let max_connections = settings.get_with(
            "GATEWAY_MAX_CONNECTIONS",
            "a whole number from 1 to 1000000",
            10_000,
            |text| text.parse().ok().filter(|n| (1..=1_000_000_u32).contains(n)),
        );
        let http2 = switch(settings, "GATEWAY_HTTP2", false);
        let (bounds, is_default_connections) = bounds(settings, max_connections);
        Self {
            table,
            is_default_connections,
            pools: PoolSettings {
                resolve_every: seconds(settings, "GATEWAY_RESOLVE_SECONDS", 2),
                ..PoolSettings::default()
            },
            times: Times {
                connect: seconds(settings, "GATEWAY_CONNECT_TIMEOUT_SECONDS", 1),
                silence: seconds(settings, "GATEWAY_UPSTREAM_TIMEOUT_SECONDS", 30),
                total: seconds(settings, "GATEWAY_TOTAL_TIMEOUT_SECONDS", 300),
            },
            max_connections,
            body_bytes: settings.get_with(
                "GATEWAY_BODY_BYTES",
                "a number of bytes up to 64 MiB such as 65536 or 64 KiB",
                64 << 10,
                |text| parse_bytes(text).filter(|n| *n <= 64 << 20),
            ),
            body_memory_bytes: settings.get_with(
                "GATEWAY_BODY_MEMORY_BYTES",
                "a number of bytes from 128 KiB such as 67108864 or 64 MiB",
                64 << 20,
                // One body needs that much.
                |text| parse_bytes(text).filter(|n| *n >= 128 << 10),
            ),
            bounds,
            trust: Trust {
                proxies: networks(settings, "GATEWAY_TRUSTED_PROXIES"),
                host: switch(settings, "GATEWAY_TRUST_HOST", false),
            },
            forwarded: switch(settings, "GATEWAY_FORWARDED", false),
            access: Access {
                allow: networks(settings, "GATEWAY_ALLOW"),
                deny: networks(settings, "GATEWAY_DENY"),
            },
            hosts: settings.get_with(
                "GATEWAY_HOSTS",
                "host names without ports such as \"example.org, *.example.org\", or * for any",
                HostList::default(),
                HostList::parse,
            ),
            published: settings.get_with(
                "GATEWAY_PUBLISHED_ADDRESS",
                "an address without a port such as 127.0.0.1 or [::1]",
                None,
                |text| text.trim_matches(['[', ']']).parse().ok().map(Some),
            ),
            cache: CacheSettings {
                bytes: settings.get_with(
                    "GATEWAY_CACHE_BYTES",
                    "a number of bytes such as 33554432 or 32 MiB, 0 for no cache",
                    CacheSettings::default().bytes,
                    parse_bytes,
                ),
                ..CacheSettings::default()
            },
            compress: switch(settings, "GATEWAY_COMPRESS", true),
            log_percent: settings.get_with(
                "GATEWAY_LOG_PERCENT",
                "a whole number from 0 to 100",
                100,
                |text| text.parse().ok().filter(|n| *n <= 100),
            ),
            admin: settings.get_with(
                "GATEWAY_ADMIN_LISTEN",
                "an address and a port such as 127.0.0.1:9350, or off",
                Admin::Unless((Ipv4Addr::LOCALHOST, 9350).into()),
                |text| match text {
                    "off" => Some(Admin::Off),
                    text => text.parse().ok().map(Admin::At),
                },
            ),
            http2,
            threads: settings.get_with(
                "GATEWAY_THREADS",
                "a whole number from 1 to 256",
                // Known from the processors this process may use and the cgroup's quota.
                available_parallelism().map_or(1, NonZero::get),
                |text| text.parse().ok().filter(|n| (1..=256).contains(n)),
            ),
            #[cfg(feature = "tls")]
            tls: tls(settings, http2),
        }
    }
}

impl Config {
    /// The hosts that a gateway with this listening address answers.
    pub(crate) fn hosts(&self, listen: SocketAddr) -> Hosts {
        Hosts::new(&self.hosts, self.published.unwrap_or(listen.ip()))
    }

    /// Whether the connections of this peer are counted. By default those are not that may be many
    /// clients' under one address: a trusted proxy's, and those of this machine.
    pub(crate) fn counts_connections(&self, peer: IpAddr) -> bool {
        let is_shared = || {
            let peer = peer.to_canonical();
            peer.is_loopback() || self.trust.proxies.contains(peer)
        };
        self.bounds.connections > 0 && !(self.is_default_connections && is_shared())
    }

    /// The hosts that the operator's port answers: on loopback its own and those that are named,
    /// elsewhere any, because scrapers use addresses.
    pub(crate) fn admin_hosts(&self, listen: SocketAddr) -> Hosts {
        if listen.ip().to_canonical().is_loopback() {
            return Hosts::new(&self.hosts.named(), listen.ip());
        }
        Hosts::Any
    }

    /// What is in force, for `gateway check`; secrets are not told.
    pub(crate) fn explain(process: &runtime::Process, config: &Self) -> String {
        let mut lines = vec![format!("listens at {}", process.listen)];
        for Guarded { line, guard } in config.table.lines().unwrap_or_default() {
            let origins: Vec<_> = line.origins.iter().map(ToString::to_string).collect();
            let mut route = format!("route {} -> {}", line.prefix, origins.join(", "));
            if let Some(check) = &line.check {
                // Writing to a String cannot fail, here and below.
                let _ = write!(route, ", checked at {check}");
            }
            if let Some(guard) = guard {
                let _ = write!(route, ", {guard:?}");
            }
            if !line.upgrade.is_empty() {
                let _ = write!(route, ", may be upgraded to {}", line.upgrade.join(", "));
            }
            lines.push(route);
        }
        let Self { pools, times, bounds, trust, access, cache, .. } = config;
        let Rate { per_second, burst } = bounds.requests;
        let any = |text: String, otherwise: &str| {
            if text.is_empty() { otherwise.to_owned() } else { text }
        };
        lines.extend([
            format!("names are looked up every {:?}", pools.resolve_every),
            format!(
                "an upstream has {:?} to connect, {:?} of silence and {:?} in all",
                times.connect, times.silence, times.total
            ),
            format!(
                "at most {} connections, {} bytes of body ({} in memory for all requests), \
                 {} worker threads",
                config.max_connections,
                config.body_bytes,
                config.body_memory_bytes,
                config.threads
            ),
            format!(
                "a client has {} connections, {per_second} requests a second ({burst} at once), {} streams; \
                 0 is no bound; exempt: {}",
                bounds.connections, bounds.streams, any(bounds.exempt.to_string(), "nobody"),
            ),
            format!("trusted proxies: {}", any(trust.proxies.to_string(), "none")),
            format!("allowed: {}", any(access.allow.to_string(), "everybody")),
            format!("denied: {}", any(access.deny.to_string(), "nobody")),
            format!("hosts: {}", config.hosts(process.listen)),
            format!("{} bytes of cache", cache.bytes),
            format!(
                "what upstreams send plain is {}",
                if config.compress { "compressed" } else { "left plain" }
            ),
            format!("{} percent of the requests that go well are logged", config.log_percent),
            match config.admin {
                Admin::At(address) => format!("metrics at {address}"),
                Admin::Unless(address) => format!("metrics at {address}, unless it is taken"),
                Admin::Off => "no metrics".to_owned(),
            },
            format!("HTTP/2 is {}", if config.http2 { "on" } else { "off" }),
            format!("{:?} to drain", process.drain),
        ]);
        #[cfg(feature = "tls")]
        lines.push(match &config.tls {
            Some(tls) => format!("TLS by {tls:?}"),
            None => "no TLS".to_owned(),
        });
        lines.join("\n")
    }
}

impl Table {
    fn read(settings: &mut Settings) -> Self {
        const ORIGIN: &str = "a host and a port such as stats:8080, 127.0.0.1:8080 or [::1]:8080";
        let mut own = |name, prefix: &str, host, port| {
            let origins =
                vec![settings.get_with(name, ORIGIN, Origin::new(host, port), Origin::parse)];
            let check = CheckPath::parse("/healthz");
            RouteLine {
                prefix: prefix.to_owned(),
                origins,
                check,
                guard: None,
                upgrade: Vec::new(),
            }
        };
        let own = vec![
            own("GATEWAY_STATS", "/stats", "stats", 8080),
            own("GATEWAY_FRONTEND", "/", "frontend", 3000),
        ];
        let told = settings.get_or_explain("GATEWAY_ROUTES", Vec::new(), routes::parse);
        let table = Self {
            own,
            told,
            file: path(settings, "GATEWAY_ROUTES_FILE"),
            secrets: Secrets {
                text: settings.get_with("GATEWAY_SECRET", "a text", None, |text| {
                    Some(Some(Hidden(text.to_owned())))
                }),
                file: path(settings, "GATEWAY_SECRET_FILE"),
            },
        };
        if let Err(faults) = table.lines() {
            for fault in faults {
                settings.complain(fault);
            }
        }
        table
    }

    /// The table as it is now: files are read each time. What was told takes the place of the
    /// gateway's own routes of the same prefix, and the file of both.
    ///
    /// # Errors
    /// With a sentence for each fault.
    pub(crate) fn lines(&self) -> Result<Vec<Guarded>, Vec<String>> {
        let mut faults = Vec::new();
        let mut lines = self.own.clone();
        let mut merge = |more: Vec<RouteLine>| {
            for route in more {
                match lines.iter_mut().find(|known| known.prefix == route.prefix) {
                    Some(known) => *known = route,
                    None => lines.push(route),
                }
            }
        };
        merge(self.told.clone());
        if let Some(file) = &self.file {
            let read = std::fs::read_to_string(file).map_err(|error| vec![error.to_string()]);
            match read.and_then(|text| routes::parse(&text)) {
                Ok(more) => merge(more),
                Err(more) => faults.extend(
                    more.iter()
                        .map(|fault| format!("GATEWAY_ROUTES_FILE {}: {fault}", file.display())),
                ),
            }
        }
        let guarded = lines.into_iter().map(|line| {
            let guard = line.guard.map(|scheme| self.secrets.guard(scheme)).transpose();
            guard.map(|guard| Guarded { line, guard })
        });
        let mut table = Vec::new();
        for line in guarded {
            match line {
                Ok(line) => table.push(line),
                Err(fault) => faults.push(fault),
            }
        }
        faults.dedup();
        if faults.is_empty() { Ok(table) } else { Err(faults) }
    }
}

impl Secrets {
    fn guard(&self, scheme: crate::policy::auth::Scheme) -> Result<Guard, String> {
        let (name, text) = match (&self.text, &self.file) {
            (Some(_), Some(_)) => {
                return Err("GATEWAY_SECRET and GATEWAY_SECRET_FILE are both set".to_owned());
            }
            (Some(Hidden(text)), None) => ("GATEWAY_SECRET", text.clone()),
            (None, Some(file)) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|error| format!("GATEWAY_SECRET_FILE {}: {error}", file.display()))?;
                ("GATEWAY_SECRET_FILE", text)
            }
            (None, None) => {
                return Err("a route has auth=, but neither GATEWAY_SECRET nor \
                            GATEWAY_SECRET_FILE is set"
                    .to_owned());
            }
        };
        Guard::parse(scheme, &text).map_err(|faults| format!("{name}: {faults}"))
    }
}

fn path(settings: &mut Settings, name: &'static str) -> Option<PathBuf> {
    settings.get_with(name, "a path", None, |text| Some(Some(text.into())))
}

/// The pair of files; a fault of either stays in `settings`.
#[cfg(feature = "tls")]
fn tls(settings: &mut Settings, http2: bool) -> Option<Arc<Tls>> {
    let certificate = path(settings, "GATEWAY_TLS_CERTIFICATE");
    let key = path(settings, "GATEWAY_TLS_KEY");
    let tls = match (certificate, key) {
        (None, None) => return None,
        (Some(certificate), Some(key)) => Tls::read(certificate, key, http2),
        (Some(_), None) => Err("GATEWAY_TLS_KEY is missing beside the certificate".to_owned()),
        (None, Some(_)) => Err("GATEWAY_TLS_CERTIFICATE is missing beside the key".to_owned()),
    };
    tls.map_err(|fault| settings.complain(fault)).ok().map(Arc::new)
}

fn networks(settings: &mut Settings, name: &'static str) -> Networks {
    settings.get_or_explain(name, Networks::default(), |text| {
        Networks::parse(text).map_err(|faults| faults.0)
    })
}

fn switch(settings: &mut Settings, name: &'static str, default: bool) -> bool {
    settings.get_with(name, "on or off", default, |text| match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    })
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

    fn prefixes(config: &Config) -> Vec<String> {
        config.table.lines().unwrap().into_iter().map(|route| route.line.prefix).collect()
    }

    #[test]
    fn without_settings_the_upstreams_are_the_names_of_the_compose_file() {
        let (config, faults) = read(&[]);
        assert!(faults.is_empty(), "{faults:?}");
        let table = config.table.lines().unwrap();
        let told: Vec<_> = table
            .iter()
            .map(|route| format!("{} {}", route.line.prefix, route.line.origins[0]))
            .collect();
        assert_eq!(told, ["/stats stats:8080", "/ frontend:3000"]);
        assert!(config.threads >= 1);
    }

    #[test]
    fn what_is_told_is_added_or_takes_the_place_of_the_own_routes() {
        let (config, faults) = read(&[("GATEWAY_ROUTES", "/api api:1; / page:2")]);
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(prefixes(&config), ["/stats", "/", "/api"]);
    }

    #[test]
    fn a_guarded_route_wants_a_secret() {
        let routes = ("GATEWAY_ROUTES", "/api api:1 auth=bearer");
        let (_, faults) = read(&[routes]);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].contains("GATEWAY_SECRET"), "{faults:?}");
        let (config, faults) = read(&[routes, ("GATEWAY_SECRET", "0123456789abcdef")]);
        assert!(faults.is_empty(), "{faults:?}");
        assert!(!format!("{config:?}").contains("0123456789"), "it is told");
        let (_, faults) = read(&[routes, ("GATEWAY_SECRET_FILE", "/nonexistent")]);
        assert!(faults[0].contains("/nonexistent"), "{faults:?}");
    }

    #[test]
    fn the_published_address_decides_which_hosts_are_answered() {
        let hosts = |variables: &[(&str, &str)], listen: &str| {
            let (config, faults) = read(variables);
            assert!(faults.is_empty(), "{faults:?}");
            config.hosts(listen.parse().unwrap())
        };
        let foreign = |hosts: &Hosts| hosts.contain("evil.test");
        assert!(foreign(&hosts(&[], "0.0.0.0:3050")));
        assert!(!foreign(&hosts(&[], "127.0.0.1:3050")));
        for (published, answered) in
            [("127.0.0.1", false), ("[::1]", false), ("::1", false), ("0.0.0.0", true)]
        {
            let hosts = hosts(&[("GATEWAY_PUBLISHED_ADDRESS", published)], "0.0.0.0:3050");
            assert_eq!(foreign(&hosts), answered, "{published}");
            assert!(hosts.contain("localhost:3050"), "{published}");
        }
    }

    #[test]
    fn by_default_one_client_has_half_of_the_connections_unless_it_is_many() {
        let proxies = ("GATEWAY_TRUSTED_PROXIES", "10.0.0.0/8");
        let counts = |config: &Config, peer: &str| config.counts_connections(peer.parse().unwrap());
        let (config, _) = read(&[proxies, ("GATEWAY_MAX_CONNECTIONS", "1001")]);
        assert_eq!(config.bounds.connections, 501);
        assert!(counts(&config, "192.0.2.1") && counts(&config, "::ffff:192.0.2.1"));
        assert!(!counts(&config, "10.0.0.1") && !counts(&config, "::1"));
        let (config, _) = read(&[proxies, ("GATEWAY_CLIENT_CONNECTIONS", "5")]);
        assert!(counts(&config, "10.0.0.1") && counts(&config, "127.0.0.1"));
        let (config, _) = read(&[("GATEWAY_CLIENT_CONNECTIONS", "0")]);
        assert!(!counts(&config, "192.0.2.1"));
    }

    #[test]
    fn every_wrong_setting_is_named() {
        let wrong = [
            ("GATEWAY_STATS", "stats"),
            ("GATEWAY_FRONTEND", "http://frontend:3000"),
            ("GATEWAY_ROUTES", "/api"),
            ("GATEWAY_RESOLVE_SECONDS", "0"),
            ("GATEWAY_CONNECT_TIMEOUT_SECONDS", "0"),
            ("GATEWAY_UPSTREAM_TIMEOUT_SECONDS", "never"),
            ("GATEWAY_TOTAL_TIMEOUT_SECONDS", "1h"),
            ("GATEWAY_MAX_CONNECTIONS", "-1"),
            ("GATEWAY_BODY_BYTES", "1 TiB"),
            ("GATEWAY_BODY_MEMORY_BYTES", "64 KiB"),
            ("GATEWAY_CLIENT_CONNECTIONS", "many"),
            ("GATEWAY_CLIENT_RATE", "fast"),
            ("GATEWAY_CLIENT_STREAMS", "-1"),
            ("GATEWAY_CLIENT_EXEMPT", "10.0.0.0/33"),
            ("GATEWAY_TRUSTED_PROXIES", "10.0.0.1/8"),
            ("GATEWAY_TRUST_HOST", "maybe"),
            ("GATEWAY_FORWARDED", "yes"),
            ("GATEWAY_ALLOW", "lan"),
            ("GATEWAY_DENY", ","),
            ("GATEWAY_HOSTS", "example.org:80"),
            ("GATEWAY_PUBLISHED_ADDRESS", "localhost"),
            ("GATEWAY_CACHE_BYTES", "much"),
            ("GATEWAY_COMPRESS", "maybe"),
            ("GATEWAY_LOG_PERCENT", "101"),
            ("GATEWAY_ADMIN_LISTEN", "3051"),
            ("GATEWAY_HTTP2", "h2c"),
            ("GATEWAY_THREADS", "0"),
        ];
        let (_, faults) = read(&wrong);
        for (name, _) in wrong {
            assert!(faults.iter().any(|fault| fault.starts_with(name)), "{name}: {faults:#?}");
        }
    }
}
