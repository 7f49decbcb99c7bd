//! Gateway configuration, in addition to the settings common to all services.

mod announce;
mod explain;
mod listeners;
mod table;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use service::Settings;

pub(crate) use self::announce::Announcing;
use self::table::Table;

use crate::cache::CacheSettings;
use crate::digits::{parse_bytes, parse_seconds, within};
use crate::fleet::FleetMembers;
use crate::request::cidr::{Access, Networks};
use crate::request::rate_limit::{Bounds, Rate};
use crate::request::trusted_proxies::TrustedProxies;
use crate::transport::tls::Tls;
use crate::upstream::PoolSettings;
use http_semantics::hosts::{HostList, Hosts};

/// Gateway configuration.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub(crate) struct Config {
    /// Route table.
    pub(crate) table: Table,
    /// Members of the fleet.
    pub(crate) fleet: FleetMembers,
    /// Settings for members that announce themselves.
    pub(crate) announcing: Announcing,
    /// Discovery and ejection of upstream addresses.
    pub(crate) pools: PoolSettings,
    /// Timeouts for upstream requests.
    pub(crate) timeouts: Timeouts,
    /// Maximum concurrent client connections; further ones wait in the kernel's backlog.
    pub(crate) max_connections: u32,
    /// Maximum size of a request body in bytes.
    pub(crate) body_bytes: usize,
    /// Maximum memory of all request bodies in bytes.
    pub(crate) body_memory_bytes: usize,
    /// Limits of one client.
    pub(crate) bounds: Bounds,
    /// Whether the connection limit is the default, which does not apply to shared addresses.
    is_default_connections: bool,
    /// Proxies whose forwarded headers are used.
    pub(crate) trust: TrustedProxies,
    /// Whether upstreams receive `Forwarded` (RFC 7239) as well.
    pub(crate) forwarded: bool,
    /// Networks that are allowed or denied.
    pub(crate) access: Access,
    /// Configured host names; see [`Config::hosts`].
    hosts: HostList,
    /// Address that clients connect to, if it differs from the listening address.
    published: Option<IpAddr>,
    /// Response cache.
    pub(crate) cache: CacheSettings,
    /// Whether uncompressed responses are compressed.
    pub(crate) compress: bool,
    /// Percentage of successful requests in the access log; failed ones are always logged.
    pub(crate) log_percent: u8,
    /// Address of the metrics endpoint.
    pub(crate) admin: Admin,
    /// Whether HTTP/2 is enabled for clients.
    pub(crate) http2: bool,
    /// Worker threads.
    pub(crate) threads: usize,
    /// TLS for clients; plaintext if absent.
    pub(crate) tls: Option<Arc<Tls>>,
    /// Address of the listener that redirects plaintext to HTTPS.
    pub(crate) redirect: Option<SocketAddr>,
    /// Port in the redirect, if clients reach the gateway by another port than its own.
    pub(crate) redirect_port: Option<u16>,
}

/// Timeouts for upstream requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// Connect timeout. Upstreams are on the same host or network, where a connection takes
    /// milliseconds. After one second a retry is more useful, and still acceptable for a user.
    pub(crate) connect: Duration,
    /// Timeout for the response head, and between two reads of the response. Longer than the 15 s
    /// after which a stream sends a keepalive.
    pub(crate) silence: Duration,
    /// Timeout for the whole response, except for event streams.
    pub(crate) total: Duration,
}

/// Address of the metrics endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Admin {
    /// Configured address.
    At(SocketAddr),
    /// Default address, unless the port is in use: another gateway may run on this machine.
    AtIfFree(SocketAddr),
    /// Disabled.
    Off,
}

/// Limits of one client, and whether the connection limit is the default: half of all connections.
fn bounds(settings: &mut Settings, max_connections: u32) -> (Bounds, bool) {
    const NUMBER: &str = "a whole number from 0 to 1000000, 0 for no bound";
    let count = |text: &str| within(text, 0..=1_000_000);
    let connections =
        settings.get_with("GATEWAY_CLIENT_CONNECTIONS", NUMBER, None, |text| count(text).map(Some));
    let bounds = Bounds {
        connections: connections.unwrap_or_else(|| max_connections.div_ceil(2)),
        requests: settings.get_with(
            "GATEWAY_CLIENT_RATE",
            "requests per second and an optional burst such as \"50\" or \"50 burst 200\"",
            Rate::default(),
            Rate::parse,
        ),
        streams: settings.get_with("GATEWAY_CLIENT_STREAMS", NUMBER, 0, count),
        exempt: networks(settings, "GATEWAY_CLIENT_EXEMPT"),
    };
    (bounds, connections.is_none())
}

impl Config {
    /// Reads the configuration; faults are collected in `settings`.
    pub(crate) fn read(settings: &mut Settings) -> Self {
        let table = Table::read(settings);
        let max_connections = settings.get_with(
            "GATEWAY_MAX_CONNECTIONS",
            "a whole number from 1 to 1000000",
            10_000,
            |text| within(text, 1..=1_000_000),
        );
        let Https { http2, tls, redirect, redirect_port } = Https::read(settings);
        let (bounds, is_default_connections) = bounds(settings, max_connections);
        let fleet = fleet(settings);
        let config = Self {
            table,
            is_default_connections,
            announcing: Announcing::read(settings, &fleet),
            fleet,
            pools: PoolSettings {
                resolve_every: seconds(settings, "GATEWAY_RESOLVE_SECONDS", 2),
                ..PoolSettings::default()
            },
            timeouts: Timeouts {
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
                // Minimum for one body.
                |text| parse_bytes(text).filter(|n| *n >= 128 << 10),
            ),
            bounds,
            trust: trust(settings),
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
                |text| within(text, 0..=100),
            ),
            admin: settings.get_with(
                "GATEWAY_ADMIN_LISTEN",
                "an address and a port such as 127.0.0.1:9350, or off",
                Admin::AtIfFree((Ipv4Addr::LOCALHOST, 9350).into()),
                |text| match text {
                    "off" => Some(Admin::Off),
                    text => text.parse().ok().map(Admin::At),
                },
            ),
            http2,
            threads: settings.get_with(
                "GATEWAY_THREADS",
                "a whole number from 1 to 256",
                // Based on the CPU affinity of the process and the cgroup's CPU quota.
                available_parallelism().map_or(1, NonZero::get),
                |text| within(text, 1..=256),
            ),
            tls,
            redirect,
            redirect_port,
        };
        listeners::check(settings, config.redirect, config.admin);
        config
    }
}

impl Config {
    /// Host names that a gateway with this listening address accepts.
    pub(crate) fn hosts(&self, listen: SocketAddr) -> Hosts {
        Hosts::new(&self.hosts, self.published.unwrap_or(listen.ip()))
    }

    /// Whether the connection limit applies to this peer. The default limit does not apply to
    /// addresses that many clients may share: trusted proxies and loopback.
    pub(crate) fn limits_connections(&self, peer: IpAddr) -> bool {
        let is_shared = || {
            let peer = peer.to_canonical();
            peer.is_loopback() || self.trust.proxies.contains(peer)
        };
        self.bounds.connections > 0 && !(self.is_default_connections && is_shared())
    }

    /// Host names that the admin port accepts: on loopback its own and the configured ones,
    /// elsewhere any, because scrapers use addresses.
    pub(crate) fn admin_hosts(&self, listen: SocketAddr) -> Hosts {
        if listen.ip().to_canonical().is_loopback() {
            return Hosts::new(&self.hosts.named(), listen.ip());
        }
        Hosts::Any
    }
}

fn trust(settings: &mut Settings) -> TrustedProxies {
    let trust = TrustedProxies {
        proxies: networks(settings, "GATEWAY_TRUSTED_PROXIES"),
        host: switch(settings, "GATEWAY_TRUST_HOST", false),
    };
    if trust.host && trust.proxies.is_empty() {
        settings.reject("GATEWAY_TRUST_HOST needs GATEWAY_TRUSTED_PROXIES".to_owned());
    }
    trust
}

fn fleet(settings: &mut Settings) -> FleetMembers {
    settings.get_with(
        "GATEWAY_FLEET",
        "off, or at most 1000 hosts and ports such as stats:8080, 10.0.0.7:8080, edge-1:3050/fleet",
        FleetMembers::default(),
        FleetMembers::parse,
    )
}

fn path(settings: &mut Settings, name: &'static str) -> Option<PathBuf> {
    settings.get_with(name, "a path", None, |text| Some(Some(text.into())))
}

/// Settings for TLS and HTTP/2.
struct Https {
    http2: bool,
    tls: Option<Arc<Tls>>,
    redirect: Option<SocketAddr>,
    redirect_port: Option<u16>,
}

impl Https {
    fn read(settings: &mut Settings) -> Self {
        let http2 =
            settings.get_with("GATEWAY_HTTP2", "on or off", None, |text| on_or_off(text).map(Some));
        let tls = tls(settings, http2.unwrap_or(true));
        let redirect = settings.get_with(
            "GATEWAY_REDIRECT_LISTEN",
            "an address and a port such as 0.0.0.0:8080",
            None,
            |text| text.parse().ok().map(Some),
        );
        let redirect_port =
            settings.get_with("GATEWAY_REDIRECT_PORT", "a port from 1 to 65535", None, |text| {
                within(text, 1..=u16::MAX).map(Some)
            });
        if redirect.is_some() && tls.is_none() {
            settings.reject(
                "GATEWAY_REDIRECT_LISTEN needs GATEWAY_TLS_CERTIFICATE and GATEWAY_TLS_KEY"
                    .to_owned(),
            );
        }
        if redirect_port.is_some() && redirect.is_none() {
            settings.reject("GATEWAY_REDIRECT_PORT needs GATEWAY_REDIRECT_LISTEN".to_owned());
        }
        // Every browser supports HTTP/2 over TLS; in plaintext it requires prior knowledge.
        Self { http2: http2.unwrap_or(tls.is_some()), tls, redirect, redirect_port }
    }
}

/// Loads certificate and key; faults are collected in `settings`.
fn tls(settings: &mut Settings, http2: bool) -> Option<Arc<Tls>> {
    let certificate = path(settings, "GATEWAY_TLS_CERTIFICATE");
    let key = path(settings, "GATEWAY_TLS_KEY");
    let tls = match (certificate, key) {
        (None, None) => return None,
        (Some(certificate), Some(key)) => Tls::read(certificate, key, http2),
        (Some(_), None) => Err("GATEWAY_TLS_KEY is missing beside the certificate".to_owned()),
        (None, Some(_)) => Err("GATEWAY_TLS_CERTIFICATE is missing beside the key".to_owned()),
    };
    tls.map_err(|fault| settings.reject(fault)).ok().map(Arc::new)
}

fn networks(settings: &mut Settings, name: &'static str) -> Networks {
    settings.get_or_explain(name, Networks::default(), |text| {
        Networks::parse(text).map_err(|faults| faults.0)
    })
}

fn switch(settings: &mut Settings, name: &'static str, default: bool) -> bool {
    settings.get_with(name, "on or off", default, on_or_off)
}

fn on_or_off(text: &str) -> Option<bool> {
    match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

fn seconds(settings: &mut Settings, name: &'static str, default: u64) -> Duration {
    settings.get_with(
        name,
        "a whole number of seconds from 1 to 3600",
        Duration::from_secs(default),
        parse_seconds,
    )
}

#[cfg(test)]
mod tests;
