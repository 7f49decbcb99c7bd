//! Texts of the page: scope, tiles, container, uptime, states and title.

use wire::ScopeKind;

use crate::alerts::Level;
use crate::decode::Reading;
use crate::fetch::Failure;
use crate::metrics::Metric;
use crate::number::{Format, UNKNOWN, decimals, push_integer, push_name, scaled, short, trimmed};
use crate::panels::Tile;
use crate::state::{Dashboard, Link};
use crate::unit::Unit;

/// Describes the scope of the values in a sentence.
pub(crate) fn scope_text(latest: &Reading, format: Format) -> String {
    let (subject, cores, memory) = match latest.scope {
        ScopeKind::Host => ("The host", Metric::Cores, Metric::MemoryTotal),
        ScopeKind::Container => {
            ("This container", Metric::ContainerCpuLimit, Metric::ContainerMemoryLimit)
        }
        ScopeKind::Task => ("This ECS task", Metric::TaskCpuLimit, Metric::TaskMemoryLimit),
    };
    let (cores, memory) = (latest.metric(cores), latest.metric(memory));
    let is_host = latest.scope == ScopeKind::Host;
    let mut text = subject.to_owned();
    if !latest.hostname.is_empty() {
        text.push_str(" on ");
        push_name(&mut text, &latest.hostname);
    }
    let mut link = if is_host { ", " } else { ", limited to " };
    if !cores.is_nan() {
        text.push_str(link);
        text.push_str(&short(cores, format.point));
        text.push_str(match (is_host, cores < 1.5) {
            (false, _) => "\u{a0}CPU",
            (true, true) => "\u{a0}core",
            (true, false) => "\u{a0}cores",
        });
        link = if is_host { ", " } else { " and " };
    }
    if !memory.is_nan() {
        text.push_str(link);
        let (number, unit) = format.parts(memory, Unit::Bytes);
        text.push_str(&trimmed(number, format.point));
        text.push('\u{a0}');
        text.push_str(unit);
    }
    text
}

/// Details below the value of a tile. Each part stays on one line.
pub(crate) fn tile_details(dashboard: &Dashboard, tile: &Tile, format: Format) -> Vec<String> {
    let Some(latest) = &dashboard.latest else { return Vec::new() };
    let metric = |name: &str, metric: Metric, unit: Unit| {
        let value = latest.metric(metric);
        if value.is_nan() { None } else { Some([name, &format.text(value, unit)].concat()) }
    };
    let is_host = latest.scope == ScopeKind::Host;
    let details = match tile.id {
        // The breakdown of the host's CPU time does not apply to the container.
        "cpu" if is_host => [
            metric("system\u{a0}", Metric::CpuSystem, Unit::Percent),
            metric("I/O\u{a0}wait\u{a0}", Metric::CpuIowait, Unit::Percent),
        ],
        "cpu" => [
            metric("cores\u{a0}used\u{a0}", Metric::ContainerCpu, Unit::Number),
            metric("throttled\u{a0}", Metric::Throttled, Unit::Percent),
        ],
        "ram" => {
            let (used, total) = memory_in_scope(latest);
            let (of, total) = (format.text(used, Unit::Bytes), format.text(total, Unit::Bytes));
            let of = [&of, " of ", &total].concat();
            [(!used.is_nan()).then_some(of), None]
        }
        "load" => [
            metric("5\u{a0}min\u{a0}", Metric::Load5, Unit::Number),
            metric("15\u{a0}min\u{a0}", Metric::Load15, Unit::Number),
        ],
        "network" => [
            metric("in\u{a0}", Metric::Receive, Unit::Rate),
            metric("out\u{a0}", Metric::Transmit, Unit::Rate),
        ],
        "disk" => [
            metric("read\u{a0}", Metric::Read, Unit::Rate),
            metric("write\u{a0}", Metric::Write, Unit::Rate),
        ],
        _ => [
            metric("memory\u{a0}", Metric::PressureMemory, Unit::Percent),
            metric("disk\u{a0}", Metric::PressureIo, Unit::Percent),
        ],
    };
    let scope = latest.scope_of(tile.id);
    let scope = match (is_host, scope) {
        (true, ScopeKind::Container) => Some("of the\u{a0}container".to_owned()),
        (false, scope) => Some(["of the\u{a0}", &scope_label(scope).to_ascii_lowercase()].concat()),
        _ => None,
    };
    let mut parts = Vec::new();
    for part in details {
        parts.extend(part);
    }
    parts.extend(scope);
    parts
}

/// Used and total bytes of the `ram` percentage.
fn memory_in_scope(latest: &Reading) -> (f64, f64) {
    let (used, limit) = match latest.scope {
        ScopeKind::Host => (Metric::MemoryUsed, Metric::MemoryTotal),
        ScopeKind::Container => (Metric::ContainerMemory, Metric::ContainerMemoryLimit),
        ScopeKind::Task => (Metric::TaskMemory, Metric::TaskMemoryLimit),
    };
    (latest.metric(used), latest.metric(limit).min(latest.metric(Metric::MemoryTotal)))
}

/// Names and texts of the container's values, each with a percentage for a bar (NaN for no bar).
pub(crate) fn container_facts(
    latest: &Reading,
    format: Format,
) -> Vec<(&'static str, String, f64)> {
    let of = |metric, limit, unit, name: &str| {
        let (value, limit) = (latest.metric(metric), latest.metric(limit));
        let limit = if limit.is_nan() { "no limit".to_owned() } else { format.text(limit, unit) };
        if value.is_nan() {
            String::new()
        } else {
            [&format.text(value, unit), " of ", &limit, name].concat()
        }
    };
    let one = |metric, unit| {
        let value = latest.metric(metric);
        if value.is_nan() { String::new() } else { format.text(value, unit) }
    };
    let mut facts = Vec::new();
    for fact in [
        (
            "CPU",
            of(Metric::ContainerCpu, Metric::ContainerCpuLimit, Unit::Number, "\u{a0}cores"),
            latest.metric(Metric::ContainerCpuShare),
        ),
        (
            "Memory",
            of(Metric::ContainerMemory, Metric::ContainerMemoryLimit, Unit::Bytes, ""),
            latest.metric(Metric::ContainerMemoryShare),
        ),
        ("Throttled", one(Metric::Throttled, Unit::Percent), latest.metric(Metric::Throttled)),
        ("Tasks", of(Metric::Pids, Metric::PidsLimit, Unit::Count, ""), f64::NAN),
        ("Killed for memory", one(Metric::OomKills, Unit::Count), f64::NAN),
    ] {
        if !fact.1.is_empty() {
            facts.push(fact);
        }
    }
    facts
}

/// Formats an uptime: "up 3 h 12 min".
pub(crate) fn uptime_text(seconds: f64) -> String {
    let minutes = scaled(seconds, 1.0) / 60;
    let mut text = String::from("up ");
    for (count, unit, is_shown) in [
        (minutes / 1_440, " d ", minutes >= 1_440),
        (minutes / 60 % 24, " h ", minutes >= 60),
        (minutes % 60, " min", true),
    ] {
        if is_shown {
            push_integer(&mut text, count.cast_signed());
            text.push_str(unit);
        }
    }
    text
}

/// Formats an age: "12 s old".
pub(crate) fn age_text(age_ms: f64) -> String {
    let seconds = scaled(age_ms / 1_000.0, 1.0).cast_signed();
    let (count, unit) = match seconds {
        0..120 => (seconds, " s old"),
        120..7_200 => (seconds / 60, " min old"),
        _ => (seconds / 3_600, " h old"),
    };
    let mut text = String::new();
    push_integer(&mut text, count);
    text + unit
}

/// Name of a connection state in attributes.
pub(crate) fn link_name(link: Link) -> &'static str {
    match link {
        Link::Connecting => "connecting",
        Link::Starting => "starting",
        Link::Live => "live",
        Link::Reconnecting => "reconnecting",
        Link::SignedOut => "signed-out",
    }
}

/// Displayed name of a connection state.
pub(crate) fn link_text(link: Link) -> &'static str {
    match link {
        Link::Connecting => "Connecting",
        Link::Starting => "Starting",
        Link::Live => "Live",
        Link::Reconnecting => "Reconnecting",
        Link::SignedOut => "Signed out",
    }
}

/// Description of a failure.
pub(crate) fn failure_text(failure: Failure) -> String {
    match failure {
        Failure::Network => "no connection".to_owned(),
        Failure::Status(status) => {
            let mut text = String::from("HTTP status ");
            push_integer(&mut text, i64::from(status));
            text
        }
        Failure::SignedOut => "signed out".to_owned(),
        Failure::Unreadable => "unreadable answer".to_owned(),
        Failure::OtherInstance => "another instance answered".to_owned(),
    }
}

/// Displayed name of a scope.
pub(crate) fn scope_label(scope: ScopeKind) -> &'static str {
    match scope {
        ScopeKind::Host => "Host",
        ScopeKind::Container => "Container",
        ScopeKind::Task => "Task",
    }
}

/// Name of a level in attributes, its displayed name, and its shape in a box of 12 by 12: a disc, a
/// triangle, a diamond.
pub(crate) fn level_labels(level: Level) -> (&'static str, &'static str, &'static str) {
    match level {
        Level::Normal => ("normal", "Normal", "M6 1.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 0 1 0-9z"),
        Level::Warning => ("warning", "Warning", "M6 .8 11.6 11H.4z"),
        Level::Critical => ("critical", "Critical", "M6 0 12 6 6 12 0 6z"),
    }
}

/// Title of the tab: the most severe alert, CPU and memory if there is none, or the state of the
/// connection.
pub(crate) fn title(dashboard: &Dashboard, point: char) -> String {
    if dashboard.link != Link::Live || dashboard.latest.is_none() {
        return [link_text(dashboard.link), "\u{2026}"].concat();
    }
    let mark = match dashboard.worst() {
        Level::Normal => "",
        Level::Warning => "\u{25b2} ",
        Level::Critical => "\u{25c6} ",
    };
    if let Some(alert) = dashboard.alerts.first() {
        let format = Format { point, decimal: dashboard.settings.decimal };
        return [mark, &alert.sentence(format)].concat();
    }
    let metric = |metric| {
        let value = dashboard.metric(metric);
        if value.is_nan() { UNKNOWN.to_owned() } else { decimals(value, 0, '.') + "%" }
    };
    [mark, "CPU ", &metric(Metric::Cpu), " RAM ", &metric(Metric::Ram)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::reading;
    use crate::decode::tests::test_sample;
    use crate::panels::TILES;
    use crate::state::Event;
    use wire::{Container, Sample, Scope};

    const BINARY: Format = Format { point: '.', decimal: false };

    fn read(sample: &Sample) -> Reading {
        reading(&serde_json::to_value(sample).unwrap()).unwrap()
    }

    #[test]
    fn the_scope_is_described_in_a_sentence() {
        let mut sample = test_sample("a", 1);
        assert_eq!(scope_text(&read(&sample), BINARY), "The host, 2\u{a0}cores, 24\u{a0}GiB");
        sample.scope = Scope { kind: ScopeKind::Container, reason: String::new() };
        sample.container = Some(Container {
            cpu_limit_cores: Some(0.5),
            memory_limit_bytes: Some(512 << 20),
            ..Container::default()
        });
        assert_eq!(
            scope_text(&read(&sample), BINARY),
            "This container, limited to 0.5\u{a0}CPU and 512\u{a0}MiB"
        );
        sample.container = None;
        assert_eq!(scope_text(&read(&sample), BINARY), "This container");
        sample.scope.kind = ScopeKind::Host;
        sample.processors = None;
        assert_eq!(scope_text(&read(&sample), BINARY), "The host, 24\u{a0}GiB");
    }

    #[test]
    fn container_values_are_shown_with_their_limits() {
        let mut sample = test_sample("a", 1);
        sample.container = Some(Container {
            cpu_limit_cores: Some(0.5),
            cpu_used_cores: Some(0.25),
            pids: Some(3),
            ..Container::default()
        });
        let facts = container_facts(&read(&sample), BINARY);
        assert_eq!(facts.len(), 2);
        assert_eq!(facts[0].1, "0.25 of 0.50\u{a0}cores");
        assert!((facts[0].2 - 50.0).abs() < 1e-9);
        assert_eq!(facts[1].1, "3 of no limit");
    }

    #[test]
    fn uptime_and_age_have_suitable_units() {
        assert_eq!(uptime_text(59.0), "up 0 min");
        assert_eq!(uptime_text(11_520.0), "up 3 h 12 min");
        assert_eq!(uptime_text(90_060.0), "up 1 d 1 h 1 min");
        assert_eq!(age_text(12_300.0), "12 s old");
        assert_eq!(age_text(150_000.0), "2 min old");
        assert_eq!(age_text(8_000_000.0), "2 h old");
    }

    #[test]
    fn the_title_shows_values_only_while_they_are_current() {
        let mut dashboard = Dashboard::default();
        assert_eq!(title(&dashboard, '.'), "Connecting\u{2026}");
        dashboard.apply(Event::Sample(read(&test_sample("a", 1))), 0.0);
        assert_eq!(title(&dashboard, '.'), "CPU 13% RAM 34%");
        assert_eq!(tile_details(&dashboard, &TILES[1], BINARY), ["8.0\u{a0}GiB of 24.0\u{a0}GiB"]);
        dashboard.apply(Event::Threshold(1, "10".to_owned()), 0.0);
        assert_eq!(title(&dashboard, '.'), "\u{25c6} CPU is 12.5\u{a0}% busy");
        dashboard.apply(Event::Lost(Failure::Network), 0.0);
        assert_eq!(title(&dashboard, '.'), "Reconnecting\u{2026}");
    }
}
