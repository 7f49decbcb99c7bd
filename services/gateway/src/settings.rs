//! Gateway configuration, besides the settings that every service has.

mod announce;
mod explain;
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
use crate::digits::parse_bytes;
use crate::fleet::FleetMembers;
use crate::request::cidr::{Access, Networks};
use crate::request::rate_limit::{Bounds, Rate};
use crate::request::trusted_proxies::TrustedProxies;
use crate::transport::tls::Tls;
use crate::upstream::PoolSettings;
use semantics::hosts::{HostList, Hosts};

/// The gateway's own settings.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub(crate) struct Config {
    /// Where requests go.
    pub(crate) table: Table,
    /// The members of the fleet.
    pub(crate) fleet: FleetMembers,
    /// Members that name themselves.
    pub(crate) announcing: Announcing,
    /// How addresses are found and given up.
    pub(crate) pools: PoolSettings,
    /// How long each part of an exchange with an upstream may take.
    pub(crate) timeouts: Timeouts,
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
    /// Proxies whose forwarded headers are used.
    pub(crate) trust: TrustedProxies,
    /// Whether upstreams receive `Forwarded` (RFC 7239) as well.
    pub(crate) forwarded: bool,
    /// Networks that are allowed or denied.
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
    /// Address of the metrics endpoint.
    pub(crate) admin: Admin,
    /// Whether clients may speak HTTP/2.
    pub(crate) http2: bool,
    /// Worker threads.
    pub(crate) threads: usize,
    /// What clients are shown before they may speak; clear text where there is none.
    pub(crate) tls: Option<Arc<Tls>>,
    /// Address of the listener that redirects clear text to HTTPS.
    pub(crate) redirect: Option<SocketAddr>,
    /// The port that it names, where clients reach the gateway by another one than its own.
    pub(crate) redirect_port: Option<u16>,
}

/// How long each part of an exchange with an upstream may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
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

/// Address of the metrics endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Admin {
    /// At this address, as configured.
    At(SocketAddr),
    /// At this address, unless the port is in use: it is only a default, and another gateway may
    /// run on this machine.
    Unless(SocketAddr),
    /// Nowhere.
    Off,
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
        let Https { http2, tls, redirect, redirect_port } = Https::read(settings);
        let (bounds, is_default_connections) = bounds(settings, max_connections);
        let fleet = fleet(settings);
        Self {
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
                // One body needs that much.
                |text| parse_bytes(text).filter(|n| *n >= 128 << 10),
            ),
            bounds,
            trust: TrustedProxies {
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
            tls,
            redirect,
            redirect_port,
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

/// The settings of TLS and of what comes with it.
struct Https {
    http2: bool,
    tls: Option<Arc<Tls>>,
    redirect: Option<SocketAddr>,
    redirect_port: Option<u16>,
}

impl Https {
    fn read(settings: &mut Settings) -> Self {
        let http2 = settings.get_with("GATEWAY_HTTP2", "on or off", None, |text| match text {
            "on" => Some(Some(true)),
            "off" => Some(Some(false)),
            _ => None,
        });
        let tls = tls(settings, http2.unwrap_or(true));
        let redirect = settings.get_with(
            "GATEWAY_REDIRECT_LISTEN",
            "an address and a port such as 0.0.0.0:8080",
            None,
            |text| text.parse().ok().map(Some),
        );
        let redirect_port =
            settings.get_with("GATEWAY_REDIRECT_PORT", "a port from 1 to 65535", None, |text| {
                text.parse().ok().filter(|port| *port > 0_u16).map(Some)
            });
        if redirect.is_some() && tls.is_none() {
            settings.reject(
                "GATEWAY_REDIRECT_LISTEN needs GATEWAY_TLS_CERTIFICATE and GATEWAY_TLS_KEY"
                    .to_owned(),
            );
        }
        // Every browser speaks HTTP/2 over TLS; in clear text it needs prior knowledge.
        Self { http2: http2.unwrap_or(tls.is_some()), tls, redirect, redirect_port }
    }
}

/// The pair of files; a fault of either stays in `settings`.
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
mod tests;
