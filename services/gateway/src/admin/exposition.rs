//! Metrics and their exposition in Prometheus's text format, version 0.0.4. Requests by route
//! with their rate, errors and duration; upstreams, cache, limits, connections.

use std::fmt::Write;

use crate::cache;
use crate::fleet::{Fleet, FleetCounts, State};
use crate::routing::table::RouteTable;
use crate::state::Gateway;
use crate::telemetry::counters::{BUCKETS_US, Metrics, RouteMetrics};
use crate::upstream;

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail, here and below.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = match labels {
            "" => writeln!(self.0, "{name} {value}"),
            labels => writeln!(self.0, "{name}{{{labels}}} {value}"),
        };
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.line(name, "", value);
    }
}

/// Everything, as one text.
pub(crate) fn exposition(gateway: &Gateway) -> String {
    let mut text = Text(String::with_capacity(8 * 1024));
    let rules = gateway.rules();
    write_routes(&mut text, &rules, &gateway.metrics.own);
    write_upstreams(&mut text, &rules);
    write_cache(&mut text, &gateway.cache.snapshot());
    write_clients(&mut text, gateway);
    if let Some(fleet) = &gateway.fleet {
        write_fleet(&mut text, fleet, &gateway.metrics);
    }
    text.0
}

/// Viewers and members of the fleet.
fn write_fleet(text: &mut Text, fleet: &Fleet, metrics: &Metrics) {
    let FleetCounts { viewers, members, not_shown } = fleet.counts();
    let help = "Viewers of the merged stream of the fleet.";
    text.single("gateway_fleet_viewers", "gauge", help, viewers);
    let help = "Fleet members by state, while there are viewers.";
    text.family("gateway_fleet_members", "gauge", help);
    for (state, count) in [State::Up, State::Silent, State::Gone].into_iter().zip(members) {
        let labels = format!("state=\"{}\"", state.name());
        text.line("gateway_fleet_members", &labels, count);
    }
    let help = "Addresses beyond the members that a fleet may have, while there are viewers.";
    text.single("gateway_fleet_members_not_shown", "gauge", help, not_shown);
    let name = "gateway_fleet_announcements_total";
    text.family(name, "counter", "Announcements of fleet members, and their withdrawals.");
    for (result, count) in [("accepted", &metrics.announced), ("rejected", &metrics.unannounced)] {
        text.line(name, &format!("result=\"{result}\""), count.get());
    }
}

/// Rate, errors and duration by route; the gateway's own answers count as one.
fn write_routes(text: &mut Text, rules: &RouteTable, own: &RouteMetrics) {
    let routes = || {
        let own = ("gateway", own);
        rules.routes().iter().map(|route| (route.name.as_str(), &*route.metrics)).chain([own])
    };
    text.family("gateway_requests_total", "counter", "Requests by route and class of status.");
    for (route, metrics) in routes() {
        for (class, count) in metrics.classes.iter().enumerate() {
            let code = if class == 0 { "none".to_owned() } else { format!("{class}xx") };
            text.line(
                "gateway_requests_total",
                &format!("route=\"{route}\",code=\"{code}\""),
                count.get(),
            );
        }
    }
    let name = "gateway_request_duration_seconds";
    text.family(name, "histogram", "From a request's first byte to the end of its answer.");
    for (route, metrics) in routes() {
        let mut sum = 0;
        let ends = BUCKETS_US.iter().map(|&end| (end as f64 / 1e6).to_string());
        for (end, count) in ends.chain(["+Inf".to_owned()]).zip(&metrics.buckets) {
            sum += count.get();
            text.line(&format!("{name}_bucket"), &format!("route=\"{route}\",le=\"{end}\""), sum);
        }
        let labels = format!("route=\"{route}\"");
        text.line(&format!("{name}_sum"), &labels, metrics.microseconds.get() as f64 / 1e6);
        text.line(&format!("{name}_count"), &labels, sum);
    }
    for (name, kind, help, value) in [
        (
            "gateway_sent_bytes_total",
            "counter",
            "Bytes of answers, heads left out.",
            (|m| m.sent_bytes.get()) as fn(&RouteMetrics) -> u64,
        ),
        (
            "gateway_streams",
            "gauge",
            "Event streams and upgraded connections that are open.",
            |m| m.streams.get(),
        ),
        ("gateway_upstream_failures_total", "counter", "Tries at an address that failed.", |m| {
            m.upstream_failures.get()
        }),
    ] {
        text.family(name, kind, help);
        for (route, metrics) in routes() {
            text.line(name, &format!("route=\"{route}\""), value(metrics));
        }
    }
}

/// What the gateway thinks of the addresses of each route.
fn write_upstreams(text: &mut Text, rules: &RouteTable) {
    let snapshots: Vec<_> =
        rules.routes().iter().map(|route| (&route.name, route.pool.snapshot())).collect();
    let name = "gateway_upstream_up";
    text.family(
        name,
        "gauge",
        "Whether an address is used, with the state of its circuit breaker.",
    );
    for (route, snapshot) in &snapshots {
        for one in &snapshot.addresses {
            let (address, state) = (one.address, one.state.name());
            let labels = format!("route=\"{route}\",address=\"{address}\",state=\"{state}\"");
            text.line(name, &labels, u8::from(one.state == upstream::State::Healthy));
        }
    }
    for (name, help, value) in [
        (
            "gateway_upstream_in_flight",
            "Requests that an address is busy with.",
            (|one| one.in_flight) as fn(&upstream::AddressSnapshot) -> usize,
        ),
        ("gateway_upstream_waiting", "Open connections that wait there for a request.", |one| {
            one.waiting
        }),
    ] {
        text.family(name, "gauge", help);
        for (route, snapshot) in &snapshots {
            for one in &snapshot.addresses {
                let labels = format!("route=\"{route}\",address=\"{}\"", one.address);
                text.line(name, &labels, value(one));
            }
        }
    }
    for (name, kind, help, value) in [
        (
            "gateway_upstream_panic",
            "gauge",
            "1 while so few addresses are well that all are used.",
            (|s| u64::from(s.panic)) as fn(&upstream::Snapshot) -> u64,
        ),
        ("gateway_upstream_ejections_total", "counter", "Addresses given up by requests.", |s| {
            s.opened_total
        }),
        ("gateway_upstream_retries_total", "counter", "Requests that were tried again.", |s| {
            s.retries_total
        }),
        (
            "gateway_upstream_retries_refused_total",
            "counter",
            "Retries that the budget did not allow.",
            |s| s.retries_refused_total,
        ),
    ] {
        text.family(name, kind, help);
        for (route, snapshot) in &snapshots {
            text.line(name, &format!("route=\"{route}\""), value(snapshot));
        }
    }
}

fn write_cache(text: &mut Text, cache: &cache::Snapshot) {
    text.family("gateway_cache_requests_total", "counter", "Requests by what the cache did.");
    for (result, count) in [("hit", cache.hits), ("miss", cache.misses), ("pass", cache.passes)] {
        text.line("gateway_cache_requests_total", &format!("result=\"{result}\""), count);
    }
    for (name, kind, help, value) in [
        (
            "gateway_cache_collapsed_total",
            "counter",
            "Requests answered by another's fetch.",
            cache.collapsed,
        ),
        (
            "gateway_cache_waited_too_long_total",
            "counter",
            "Requests that waited for another's fetch in vain.",
            cache.waited_too_long,
        ),
        ("gateway_cache_stale_total", "counter", "Answers older than they should be.", cache.stale),
        ("gateway_cache_stored_total", "counter", "Answers stored.", cache.stored),
        (
            "gateway_cache_revalidated_total",
            "counter",
            "Stale responses that the upstream confirmed with 304.",
            cache.revalidated,
        ),
        ("gateway_cache_refused_total", "counter", "Answers not stored.", cache.refused),
        ("gateway_cache_evicted_total", "counter", "Targets dropped to make room.", cache.evicted),
        ("gateway_cache_bytes", "gauge", "Bytes that the cache holds.", cache.bytes as u64),
        (
            "gateway_cache_limit_bytes",
            "gauge",
            "Bytes that the cache may hold.",
            cache.most_bytes as u64,
        ),
        ("gateway_cache_entries", "gauge", "Answers that the cache holds.", cache.entries as u64),
    ] {
        text.single(name, kind, help, value);
    }
}

/// Connections, and what was refused to whom.
fn write_clients(text: &mut Text, gateway: &Gateway) {
    let metrics = &gateway.metrics;
    for (name, kind, help, value) in [
        (
            "gateway_connections",
            "gauge",
            "Client connections that are open.",
            metrics.connections.get(),
        ),
        (
            "gateway_connections_total",
            "counter",
            "Client connections accepted.",
            metrics.accepted.get(),
        ),
        (
            "gateway_denied_total",
            "counter",
            "Requests refused by address, host or secret.",
            metrics.denied.get(),
        ),
        (
            "gateway_malformed_total",
            "counter",
            "Requests that were not read: malformed, too large or too slow.",
            metrics.malformed.get(),
        ),
        (
            "gateway_clients",
            "gauge",
            "Clients whose limits are remembered.",
            gateway.clients.remembered() as u64,
        ),
        (
            "gateway_clients_crowded_total",
            "counter",
            "Times that a client shared its limits with others for want of room.",
            gateway.clients.crowded(),
        ),
        (
            "gateway_unlogged_total",
            "counter",
            "Lines of the access log that were dropped.",
            metrics.unlogged.get(),
        ),
    ] {
        text.single(name, kind, help, value);
    }
    text.family("gateway_limited_total", "counter", "What was refused by a limit for each client.");
    for (limit, counter) in [
        ("connections", &metrics.over_connections),
        ("requests", &metrics.over_rate),
        ("streams", &metrics.over_streams),
    ] {
        text.line("gateway_limited_total", &format!("limit=\"{limit}\""), counter.get());
    }
}
