//! Text form of the active configuration, for `gateway check`.

use std::fmt::Write;

use super::{Admin, Config};
use crate::request::rate_limit::{Bounds, Rate};
use crate::routing::table::AuthenticatedRoute;

impl Config {
    /// Active configuration without secrets, for `gateway check`.
    pub(crate) fn explain(process: &service::Process, config: &Self) -> String {
        let mut lines = vec![format!("listens at {}", process.listen)];
        for AuthenticatedRoute { line, auth, tls } in config.table.lines().unwrap_or_default() {
            let origins: Vec<_> = line.origins.iter().map(ToString::to_string).collect();
            let mut route = format!("route {} -> {}", line.prefix, origins.join(", "));
            if let Some(tls) = tls {
                let _ = write!(route, ", verified with {}", tls.roots.file.display());
            }
            if let Some(check) = &line.check {
                // Writing to a String cannot fail, here and below.
                let _ = write!(route, ", checked at {check}");
            }
            if let Some(auth) = auth {
                let _ = write!(route, ", {auth}");
            }
            if !line.upgrade.is_empty() {
                let _ = write!(route, ", may be upgraded to {}", line.upgrade.join(", "));
            }
            for part in line.attributes.describe() {
                let _ = write!(route, ", {part}");
            }
            lines.push(route);
        }
        let Self { pools, timeouts, bounds, trust, access, cache, .. } = config;
        let any = |text: String, otherwise: &str| {
            if text.is_empty() { otherwise.to_owned() } else { text }
        };
        lines.extend([
            format!("fleet: {}", config.fleet),
            match config.announcing.keys().map_or(0, |keys| keys.len()) {
                0 => "announcements are off".to_owned(),
                secrets => format!(
                    "announcements: {secrets} secrets, of the client's own address{}",
                    match config.announcing.allow.to_string().as_str() {
                        "" => String::new(),
                        networks => format!(" and of {networks}"),
                    }
                ),
            },
            format!("DNS lookups every {:?}", pools.resolve_every),
            format!(
                "upstream timeouts: {:?} to connect, {:?} of silence, {:?} in total",
                timeouts.connect, timeouts.silence, timeouts.total
            ),
            format!(
                "at most {} connections, {} bytes of body ({} in memory for all requests), \
                 {} worker threads",
                config.max_connections, config.body_bytes, config.body_memory_bytes, config.threads
            ),
            format!(
                "per-client limits: {}; exempt: {}",
                limits_text(bounds),
                any(bounds.exempt.to_string(), "none"),
            ),
            format!("trusted proxies: {}", any(trust.proxies.to_string(), "none")),
            format!("allowed networks: {}", any(access.allow.to_string(), "any")),
            format!("denied networks: {}", any(access.deny.to_string(), "none")),
            format!("hosts: {}", config.hosts(process.listen)),
            format!("cache: {} bytes", cache.bytes),
            format!("compression is {}", if config.compress { "on" } else { "off" }),
            format!(
                "access log: all failed requests, {} percent of the others",
                config.log_percent
            ),
            match config.admin {
                Admin::At(address) => format!("metrics at {address}"),
                Admin::AtIfFree(address) => {
                    format!("metrics at {address}, unless the port is in use")
                }
                Admin::Off => "no metrics".to_owned(),
            },
            format!("HTTP/2 is {}", if config.http2 { "on" } else { "off" }),
            format!("drain time: {:?}", process.drain),
        ]);
        lines.push(match &config.tls {
            Some(tls) => format!("TLS by {tls:?}"),
            None => "no TLS".to_owned(),
        });
        lines.extend(config.redirect.map(|address| format!("redirects {address} to HTTPS")));
        lines.join("\n")
    }
}

/// The limits of one client, as text.
fn limits_text(bounds: &Bounds) -> String {
    let Rate { per_second, burst } = bounds.requests;
    let mut limits = Vec::new();
    if bounds.connections > 0 {
        limits.push(format!("{} connections", bounds.connections));
    }
    if per_second > 0 {
        limits.push(format!("{per_second} requests a second (burst {burst})"));
    }
    if bounds.streams > 0 {
        limits.push(format!("{} streams", bounds.streams));
    }
    if limits.is_empty() { "none".to_owned() } else { limits.join(", ") }
}
