//! Figures as text. Numbers are written through integers: the standard library's formatting of
//! floats is some 20 kB of code, which every viewer would load.

use crate::state::{Dashboard, Level, Link, percent};
use wire::{Sample, ScopeKind};

/// A percentage as "12" and ".4", the two parts being set in different sizes.
pub(crate) fn percent_parts(value: f64) -> (String, String) {
    let tenths = scaled(percent(value), 10.0);
    let rest = (tenths % 10).to_string();
    ((tenths / 10).to_string(), ".".to_owned() + &rest)
}

/// A percentage in whole numbers, rounded: "12".
pub(crate) fn percent_whole(value: f64) -> String {
    scaled(percent(value), 1.0).to_string()
}

/// "2 cores, load 0.42 0.30 0.21", as far as it is known; of a container or task its limit.
pub(crate) fn cpu_words(sample: &Sample) -> String {
    let limit = match sample.scope.kind {
        ScopeKind::Host => None,
        ScopeKind::Container => sample.container.as_ref().and_then(|one| one.cpu_limit_cores),
        ScopeKind::Task => sample.task.as_ref().and_then(|one| one.cpu_limit_cores),
    };
    let online = sample.processors.as_ref().map(|processors| u64::from(processors.online));
    let mut text = match (limit, online) {
        (Some(limit), _) => ["limited to ", &hundredths(limit), " cores"].concat(),
        (None, Some(online)) => counted(online, "core", "cores"),
        (None, None) => String::new(),
    };
    if let Some(load) = sample.load {
        text.push_str(if text.is_empty() { "load" } else { ", load" });
        for average in load {
            text.push('\u{2002}');
            text.push_str(&hundredths(average));
        }
    }
    text
}

/// "3.1 of 24 GiB used", or nothing where it is not known.
pub(crate) fn memory_words(sample: &Sample) -> String {
    let Some((used, total)) = memory_in_scope(sample) else {
        return String::new();
    };
    let (unit, shift) = binary_unit(total);
    let amount = |bytes: u64| {
        let value = bytes as f64 / (1_u64 << shift) as f64;
        let tenths = scaled(value, 10.0);
        // Three digits say enough: 3.1, 24, 512.
        if tenths >= 1_000 || tenths.is_multiple_of(10) {
            scaled(value, 1.0).to_string()
        } else {
            point(tenths, 1)
        }
    };
    [&amount(used), " of ", &amount(total), " ", unit, " used"].concat()
}

/// What `ram` is the share of: used and total bytes.
fn memory_in_scope(sample: &Sample) -> Option<(u64, u64)> {
    let host = sample.memory;
    let (used, limit) = match sample.scope.kind {
        ScopeKind::Host => (host.map(|host| host.used_bytes), None),
        ScopeKind::Container => {
            let container = sample.container.as_ref()?;
            (container.memory_used_bytes, container.memory_limit_bytes)
        }
        ScopeKind::Task => {
            let task = sample.task.as_ref()?;
            (task.memory_used_bytes, task.memory_limit_bytes)
        }
    };
    let total = [limit, host.map(|host| host.total_bytes)].into_iter().flatten().min()?;
    Some((used?, total))
}

/// "up 3 h 12 min".
pub(crate) fn uptime_words(seconds: f64) -> String {
    let minutes = scaled(seconds, 1.0) / 60;
    let (days, hours, minutes) = (minutes / 1_440, minutes / 60 % 24, minutes % 60);
    let mut text = String::from("up ");
    if days > 0 {
        text.push_str(&counted(days, "day", "days"));
        text.push(' ');
    }
    if days > 0 || hours > 0 {
        text.push_str(&hours.to_string());
        text.push_str(" h ");
    }
    text.push_str(&minutes.to_string());
    text.push_str(" min");
    text
}

/// "last data 12 s ago".
pub(crate) fn age_words(age_ms: f64) -> String {
    let seconds = scaled(age_ms / 1_000.0, 1.0);
    let age = if seconds < 120 {
        seconds.to_string() + " s"
    } else if seconds < 7_200 {
        (seconds / 60).to_string() + " min"
    } else {
        (seconds / 3_600).to_string() + " h"
    };
    ["last data ", &age, " ago"].concat()
}

/// The name of a state, for attributes.
pub(crate) fn link_name(link: Link) -> &'static str {
    match link {
        Link::Connecting => "connecting",
        Link::Starting => "starting",
        Link::Live => "live",
        Link::Reconnecting => "reconnecting",
    }
}

/// The name of a state, for people.
pub(crate) fn link_words(link: Link) -> &'static str {
    match link {
        Link::Connecting => "Connecting",
        Link::Starting => "Starting",
        Link::Live => "Live",
        Link::Reconnecting => "Reconnecting",
    }
}

/// The name of a level, for attributes.
pub(crate) fn level_name(level: Level) -> &'static str {
    match level {
        Level::Normal => "normal",
        Level::Warning => "warning",
        Level::Critical => "critical",
    }
}

/// The name of a level, for people.
pub(crate) fn level_words(level: Level) -> &'static str {
    match level {
        Level::Normal => "Normal",
        Level::Warning => "Warning",
        Level::Critical => "Critical",
    }
}

/// The title of the tab: the figures while they are true, else what is wrong.
pub(crate) fn title(dashboard: &Dashboard) -> String {
    match (&dashboard.instance, dashboard.link) {
        (Some(instance), Link::Live) => {
            let figure = |value: Option<f64>| match value {
                Some(value) => [&percent_whole(value), "%"].concat(),
                None => "\u{2013}".to_owned(),
            };
            let Sample { cpu, ram, .. } = instance.latest;
            ["CPU ", &figure(cpu), " RAM ", &figure(ram)].concat()
        }
        (_, link) => [link_words(link), "\u{2026}"].concat(),
    }
}

/// "1 core", "2 cores".
fn counted(count: u64, one: &str, many: &str) -> String {
    let unit = if count == 1 { one } else { many };
    [&count.to_string(), " ", unit].concat()
}

fn hundredths(value: f64) -> String {
    point(scaled(value, 100.0), 2)
}

/// An integer with a decimal point before its last `digits` digits.
fn point(value: u64, digits: u32) -> String {
    let unit = 10_u64.pow(digits);
    let rest = (value % unit).to_string();
    let mut text = (value / unit).to_string();
    text.push('.');
    for _ in rest.len()..digits as usize {
        text.push('0');
    }
    text.push_str(&rest);
    text
}

/// The unit in which an amount has one to four digits, and its power of two.
fn binary_unit(bytes: u64) -> (&'static str, u32) {
    match bytes {
        0..0x4000_0000 => ("MiB", 20),
        0x4000_0000..0x100_0000_0000 => ("GiB", 30),
        _ => ("TiB", 40),
    }
}

/// `value` times `scale`, rounded; what is negative or no number is 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and NaN becomes 0: the absurd stays harmless"
)]
fn scaled(value: f64, scale: f64) -> u64 {
    (value * scale).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Event;
    use crate::state::tests::sample;
    use wire::{Container, Memory, Processors};

    #[test]
    fn a_percentage_has_one_decimal_and_stays_in_its_range() {
        let parts = |value| {
            let (whole, tenth) = percent_parts(value);
            whole + &tenth
        };
        assert_eq!(parts(0.0), "0.0");
        assert_eq!(parts(12.449), "12.4");
        assert_eq!(parts(9.96), "10.0");
        assert_eq!(parts(100.0), "100.0");
        assert_eq!(parts(1e9), "100.0");
        assert_eq!(parts(f64::NAN), "0.0");
    }

    #[test]
    fn cores_and_load_are_said_in_words() {
        let mut sample = sample("a", 1);
        assert_eq!(cpu_words(&sample), "2 cores, load\u{2002}0.42\u{2002}0.30\u{2002}0.21");
        sample.processors = None;
        assert!(cpu_words(&sample).starts_with("load\u{2002}0.42"));
        sample.processors = Some(Processors { online: 1, ..Processors::default() });
        sample.load = None;
        assert_eq!(cpu_words(&sample), "1 core");
    }

    #[test]
    fn memory_is_said_in_the_unit_that_fits() {
        let words = |used_bytes, total_bytes| {
            let memory = Some(Memory { total_bytes, used_bytes, ..Memory::default() });
            memory_words(&Sample { memory, ..Sample::default() })
        };
        assert_eq!(words(3_328_599_654, 24 << 30), "3.1 of 24 GiB used");
        assert_eq!(words(100 << 20, 512 << 20), "100 of 512 MiB used");
        assert_eq!(words(1 << 40, 3 << 39), "1 of 1.5 TiB used");
        assert_eq!(words(1 << 40, 0), "1048576 of 0 MiB used");
        assert_eq!(memory_words(&Sample::default()), "");
    }

    #[test]
    fn in_a_container_the_words_are_of_its_limits() {
        let mut sample = sample("a", 1);
        sample.scope.kind = ScopeKind::Container;
        sample.container = Some(Container {
            cpu_limit_cores: Some(0.5),
            memory_limit_bytes: Some(512 << 20),
            memory_used_bytes: Some(100 << 20),
            ..Container::default()
        });
        assert!(cpu_words(&sample).starts_with("limited to 0.50 cores, load"));
        assert_eq!(memory_words(&sample), "100 of 512 MiB used");
        sample.scope.kind = ScopeKind::Task;
        assert_eq!(memory_words(&sample), "");
    }

    #[test]
    fn uptime_is_said_in_days_hours_and_minutes() {
        assert_eq!(uptime_words(59.0), "up 0 min");
        assert_eq!(uptime_words(11_520.0), "up 3 h 12 min");
        assert_eq!(uptime_words(90_060.0), "up 1 day 1 h 1 min");
        assert_eq!(uptime_words(-1.0), "up 0 min");
    }

    #[test]
    fn age_grows_in_seconds_then_minutes_then_hours() {
        assert_eq!(age_words(12_300.0), "last data 12 s ago");
        assert_eq!(age_words(119_000.0), "last data 119 s ago");
        assert_eq!(age_words(150_000.0), "last data 2 min ago");
        assert_eq!(age_words(8_000_000.0), "last data 2 h ago");
    }

    #[test]
    fn the_title_shows_figures_only_while_they_are_true() {
        let mut dashboard = Dashboard::default();
        assert_eq!(title(&dashboard), "Connecting\u{2026}");
        dashboard.apply(Event::Sample(sample("a", 1)), 0.0);
        assert_eq!(title(&dashboard), "CPU 13% RAM 34%");
        dashboard.apply(Event::Lost, 0.0);
        assert_eq!(title(&dashboard), "Reconnecting\u{2026}");
    }
}
