//! Figures as text. Numbers are written through integers: the standard library's formatting of
//! floats is some 20 kB of code, which every viewer would load.

use wire::ScopeKind;

use crate::figures::Figure;
use crate::panels::{Tile, Unit};
use crate::reading::{Cell, Reading};
use crate::state::{Dashboard, Level, Link};

/// What stands for a figure that is not known.
pub(crate) const UNKNOWN: &str = "\u{2013}";

/// How the viewer reads numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    /// What stands before the decimals.
    pub(crate) point: char,
    /// Units of 1,000 instead of 1,024.
    pub(crate) decimal: bool,
}

impl Format {
    /// A value as number and unit, to be set in different sizes: "3.1" and "GiB".
    pub(crate) fn parts(self, value: f64, unit: Unit) -> (String, &'static str) {
        if value.is_nan() {
            return (UNKNOWN.to_owned(), "");
        }
        match unit {
            Unit::Percent | Unit::Bar => (self.number(value, 1), "%"),
            Unit::Bytes | Unit::Rate => self.bytes(value, unit == Unit::Rate),
            Unit::Number => (self.number(value, 2), ""),
            Unit::Count | Unit::Text => (self.number(value, 0), ""),
        }
    }

    /// A value with its unit: "3.1 GiB".
    pub(crate) fn text(self, value: f64, unit: Unit) -> String {
        let (number, unit) = self.parts(value, unit);
        if unit.is_empty() { number } else { [&number, "\u{a0}", unit].concat() }
    }

    /// The text of a table's cell.
    pub(crate) fn cell(self, cell: &Cell, unit: Unit) -> String {
        match cell {
            Cell::Text(text) => text.clone(),
            Cell::Number(value) => self.text(*value, unit),
        }
    }

    fn number(self, value: f64, digits: u32) -> String {
        decimals(value, digits, self.point)
    }

    fn bytes(self, mut value: f64, rate: bool) -> (String, &'static str) {
        const UNITS: [[&str; 6]; 4] = [
            ["B", "KiB", "MiB", "GiB", "TiB", "PiB"],
            ["B/s", "KiB/s", "MiB/s", "GiB/s", "TiB/s", "PiB/s"],
            ["B", "kB", "MB", "GB", "TB", "PB"],
            ["B/s", "kB/s", "MB/s", "GB/s", "TB/s", "PB/s"],
        ];
        let names = UNITS[usize::from(self.decimal) * 2 + usize::from(rate)];
        let step = if self.decimal { 1_000.0 } else { 1_024.0 };
        let mut place = 0;
        // At 999.5 three digits would become four.
        while value >= 999.5 && place + 1 < names.len() {
            value /= step;
            place += 1;
        }
        // Three digits say enough: 3.1, 24.0, 512.
        (self.number(value, u32::from(place > 0 && value < 99.95)), names[place])
    }
}

/// What the figures are of, as a sentence.
pub(crate) fn scope_words(latest: &Reading, format: Format) -> String {
    let (who, cores, memory) = match latest.scope {
        ScopeKind::Host => ("The host", Figure::Cores, Figure::MemoryTotal),
        ScopeKind::Container => {
            ("This container", Figure::ContainerCpuLimit, Figure::ContainerMemoryLimit)
        }
        ScopeKind::Task => ("This ECS task", Figure::TaskCpuLimit, Figure::TaskMemoryLimit),
    };
    let (cores, memory) = (latest.figure(cores), latest.figure(memory));
    let is_host = latest.scope == ScopeKind::Host;
    let mut text = who.to_owned();
    if !latest.hostname.is_empty() {
        text.push_str(" on ");
        text.push_str(&latest.hostname);
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
        text.push_str(
            number.strip_suffix("0").and_then(|n| n.strip_suffix(format.point)).unwrap_or(&number),
        );
        text.push('\u{a0}');
        text.push_str(unit);
    }
    text
}

/// What stands under a large figure; its parts are kept in one piece each.
pub(crate) fn tile_words(dashboard: &Dashboard, tile: &Tile, format: Format) -> Vec<String> {
    let Some(latest) = &dashboard.latest else { return Vec::new() };
    let figure = |name: &str, figure: Figure, unit: Unit| {
        let value = latest.figure(figure);
        if value.is_nan() { None } else { Some([name, &format.text(value, unit)].concat()) }
    };
    let two = match tile.id {
        "cpu" => [
            figure("system\u{a0}", Figure::CpuSystem, Unit::Percent),
            figure("I/O\u{a0}wait\u{a0}", Figure::CpuIowait, Unit::Percent),
        ],
        "ram" => {
            let (used, total) = memory_in_scope(latest);
            let of = [format.text(used, Unit::Bytes), format.text(total, Unit::Bytes)].join(" of ");
            [(!used.is_nan()).then_some(of), None]
        }
        "load" => [
            figure("5\u{a0}min\u{a0}", Figure::Load5, Unit::Number),
            figure("15\u{a0}min\u{a0}", Figure::Load15, Unit::Number),
        ],
        "network" => [
            figure("in\u{a0}", Figure::Receive, Unit::Rate),
            figure("out\u{a0}", Figure::Transmit, Unit::Rate),
        ],
        "disk" => [
            figure("read\u{a0}", Figure::Read, Unit::Rate),
            figure("write\u{a0}", Figure::Write, Unit::Rate),
        ],
        _ => [
            figure("memory\u{a0}", Figure::PressureMemory, Unit::Percent),
            figure("disk\u{a0}", Figure::PressureIo, Unit::Percent),
        ],
    };
    let is_container = latest.of_container.contains(&tile.id);
    let scope = is_container.then(|| "of the\u{a0}container".to_owned());
    two.into_iter().chain([scope]).flatten().collect()
}

/// What `ram` is the share of: used and total bytes.
fn memory_in_scope(latest: &Reading) -> (f64, f64) {
    let (used, limit) = match latest.scope {
        ScopeKind::Host => (Figure::MemoryUsed, Figure::MemoryTotal),
        ScopeKind::Container => (Figure::ContainerMemory, Figure::ContainerMemoryLimit),
        ScopeKind::Task => (Figure::TaskMemory, Figure::TaskMemoryLimit),
    };
    (latest.figure(used), latest.figure(limit).min(latest.figure(Figure::MemoryTotal)))
}

/// What is known of the container, as names and texts, with the share of a limit where there is one.
pub(crate) fn container_facts(
    latest: &Reading,
    format: Format,
) -> Vec<(&'static str, String, f64)> {
    let of = |figure, limit, unit, name: &str| {
        let (value, limit) = (latest.figure(figure), latest.figure(limit));
        let limit = if limit.is_nan() { "no limit".to_owned() } else { format.text(limit, unit) };
        if value.is_nan() {
            String::new()
        } else {
            [&format.text(value, unit), " of ", &limit, name].concat()
        }
    };
    let one = |figure, unit| {
        let value = latest.figure(figure);
        if value.is_nan() { String::new() } else { format.text(value, unit) }
    };
    let facts = [
        (
            "CPU",
            of(Figure::ContainerCpu, Figure::ContainerCpuLimit, Unit::Number, "\u{a0}cores"),
            latest.figure(Figure::ContainerCpuShare),
        ),
        (
            "Memory",
            of(Figure::ContainerMemory, Figure::ContainerMemoryLimit, Unit::Bytes, ""),
            latest.figure(Figure::ContainerMemoryShare),
        ),
        ("Throttled", one(Figure::Throttled, Unit::Percent), latest.figure(Figure::Throttled)),
        ("Tasks", of(Figure::Pids, Figure::PidsLimit, Unit::Count, ""), f64::NAN),
        ("Killed for memory", one(Figure::OomKills, Unit::Count), f64::NAN),
    ];
    facts.into_iter().filter(|(_, text, _)| !text.is_empty()).collect()
}

/// "up 3 h 12 min".
pub(crate) fn uptime_words(seconds: f64) -> String {
    let minutes = scaled(seconds, 1.0) / 60;
    let mut text = String::from("up ");
    for (count, unit, is_shown) in [
        (minutes / 1_440, " d ", minutes >= 1_440),
        (minutes / 60 % 24, " h ", minutes >= 60),
        (minutes % 60, " min", true),
    ] {
        if is_shown {
            push_whole(&mut text, count.cast_signed());
            text.push_str(unit);
        }
    }
    text
}

/// "12 s old".
pub(crate) fn age_words(age_ms: f64) -> String {
    let seconds = scaled(age_ms / 1_000.0, 1.0).cast_signed();
    let (count, unit) = match seconds {
        0..120 => (seconds, " s old"),
        120..7_200 => (seconds / 60, " min old"),
        _ => (seconds / 3_600, " h old"),
    };
    let mut text = String::new();
    push_whole(&mut text, count);
    text + unit
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

/// The name of a level, for attributes and for people, and the shape that stands for it in a box of
/// twelve: a disc, a triangle, a diamond.
pub(crate) fn level_words(level: Level) -> (&'static str, &'static str, &'static str) {
    match level {
        Level::Normal => ("normal", "Normal", "M6 1.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 0 1 0-9z"),
        Level::Warning => ("warning", "Warning", "M6 .8 11.6 11H.4z"),
        Level::Critical => ("critical", "Critical", "M6 0 12 6 6 12 0 6z"),
    }
}

/// The title of the tab: the figures while they are true, else what is wrong.
pub(crate) fn title(dashboard: &Dashboard) -> String {
    if dashboard.link != Link::Live || dashboard.latest.is_none() {
        return [link_words(dashboard.link), "\u{2026}"].concat();
    }
    let mark = match dashboard.worst() {
        Level::Normal => "",
        Level::Warning => "\u{25b2} ",
        Level::Critical => "\u{25c6} ",
    };
    let figure = |figure| {
        let value = dashboard.figure(figure);
        if value.is_nan() { UNKNOWN.to_owned() } else { decimals(value, 0, '.') + "%" }
    };
    [mark, "CPU ", &figure(Figure::Cpu), " RAM ", &figure(Figure::Ram)].concat()
}

/// A number as programs read it: at most three decimals, none that say nothing.
pub(crate) fn plain(value: f64) -> String {
    let text = decimals(value, 3, '.');
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The number that a text is, with at most three decimals; none where it is no such number.
pub(crate) fn number_of(text: &str) -> Option<f64> {
    let (whole, rest) = text.split_once(['.', ',']).unwrap_or((text, ""));
    let digits = |text: &str| {
        text.bytes().try_fold(0.0, |number, byte| {
            byte.is_ascii_digit().then(|| number * 10.0 + f64::from(byte - b'0'))
        })
    };
    // Thresholds are percentages or counts: what has more digits is a slip.
    if whole.is_empty() || whole.len() > 6 || rest.len() > 3 {
        return None;
    }
    let scale = [1.0, 10.0, 100.0, 1_000.0][rest.len()];
    Some(digits(whole)? + digits(rest)? / scale)
}

/// Adds a whole number to a text.
pub(crate) fn push_whole(text: &mut String, value: i64) {
    if value < 0 {
        text.push('-');
    }
    let mut rest = value.unsigned_abs();
    let mut unit = 1;
    while rest / unit >= 10 {
        unit *= 10;
    }
    while unit > 0 {
        text.push(char::from(b'0' + u8::try_from(rest / unit).unwrap_or_default()));
        rest %= unit;
        unit /= 10;
    }
}

/// A number with so many decimals.
pub(crate) fn decimals(value: f64, digits: u32, point: char) -> String {
    let unit = 10_u64.pow(digits);
    let value = scaled(value, unit as f64).min(u64::MAX / 4);
    let mut text = String::new();
    push_whole(&mut text, (value / unit).cast_signed());
    if digits > 0 {
        text.push(point);
        // The one in front keeps the zeros behind the point, and is taken away again.
        let mut rest = String::new();
        push_whole(&mut rest, (unit + value % unit).cast_signed());
        text.push_str(rest.get(1..).unwrap_or_default());
    }
    text
}

/// A number with the decimals that it needs, at most two: "2", "0.5".
fn short(value: f64, point: char) -> String {
    let text = decimals(value, 2, point);
    text.trim_end_matches('0').trim_end_matches(point).to_owned()
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
    use crate::panels::TILES;
    use crate::reading::reading;
    use crate::reading::tests::a_sample;
    use crate::state::Event;
    use wire::{Container, Sample, Scope};

    const BINARY: Format = Format { point: '.', decimal: false };

    fn read(sample: &Sample) -> Reading {
        reading(&serde_json::to_value(sample).unwrap()).unwrap()
    }

    #[test]
    fn amounts_have_three_digits_in_the_unit_that_fits() {
        let text = |value| BINARY.text(value, Unit::Bytes);
        assert_eq!(text(0.0), "0\u{a0}B");
        assert_eq!(text(999.0), "999\u{a0}B");
        assert_eq!(text(1_000.0), "1.0\u{a0}KiB");
        assert_eq!(text(100.0 * 1_048_576.0), "100\u{a0}MiB");
        assert_eq!(text(25_769_803_776.0), "24.0\u{a0}GiB");
        assert_eq!(text(f64::NAN), UNKNOWN);
        let decimal = Format { point: ',', decimal: true };
        assert_eq!(decimal.text(1_500.0, Unit::Rate), "1,5\u{a0}kB/s");
        assert!(text(1e300).ends_with("PiB"), "the absurd stays harmless");
    }

    #[test]
    fn numbers_are_rounded() {
        assert_eq!(decimals(12.449, 1, '.'), "12.4");
        assert_eq!(decimals(9.96, 1, '.'), "10.0");
        assert_eq!(decimals(0.05, 2, '.'), "0.05");
        assert_eq!(decimals(-3.0, 0, '.'), "0");
        assert_eq!(plain(1_700_000_000_123.0), "1700000000123");
        assert_eq!((plain(0.0), plain(95.5)), ("0".to_owned(), "95.5".to_owned()));
        let mut text = String::new();
        push_whole(&mut text, -1_020);
        assert_eq!(text, "-1020");
    }

    #[test]
    fn a_number_is_read_back_and_nothing_else() {
        assert_eq!(number_of("95.5"), Some(95.5));
        assert_eq!(number_of("0"), Some(0.0));
        for text in ["", "-1", "1e3", "NaN", ".", "1.2.3", "99999999", "\u{664}"] {
            assert_eq!(number_of(text), None, "{text}");
        }
    }

    #[test]
    fn it_is_said_what_the_figures_are_of() {
        let mut sample = a_sample("a", 1);
        assert_eq!(scope_words(&read(&sample), BINARY), "The host, 2\u{a0}cores, 24\u{a0}GiB");
        sample.scope = Scope { kind: ScopeKind::Container, reason: String::new() };
        sample.container = Some(Container {
            cpu_limit_cores: Some(0.5),
            memory_limit_bytes: Some(512 << 20),
            ..Container::default()
        });
        assert_eq!(
            scope_words(&read(&sample), BINARY),
            "This container, limited to 0.5\u{a0}CPU and 512\u{a0}MiB"
        );
        sample.container = None;
        assert_eq!(scope_words(&read(&sample), BINARY), "This container");
        sample.scope.kind = ScopeKind::Host;
        sample.processors = None;
        assert_eq!(scope_words(&read(&sample), BINARY), "The host, 24\u{a0}GiB");
    }

    #[test]
    fn a_container_is_told_against_its_limits() {
        let mut sample = a_sample("a", 1);
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
    fn uptime_and_age_are_said_in_their_units() {
        assert_eq!(uptime_words(59.0), "up 0 min");
        assert_eq!(uptime_words(11_520.0), "up 3 h 12 min");
        assert_eq!(uptime_words(90_060.0), "up 1 d 1 h 1 min");
        assert_eq!(age_words(12_300.0), "12 s old");
        assert_eq!(age_words(150_000.0), "2 min old");
        assert_eq!(age_words(8_000_000.0), "2 h old");
    }

    #[test]
    fn the_title_shows_figures_only_while_they_are_true() {
        let mut dashboard = Dashboard::default();
        assert_eq!(title(&dashboard), "Connecting\u{2026}");
        dashboard.apply(Event::Sample(read(&a_sample("a", 1))), 0.0);
        assert_eq!(title(&dashboard), "CPU 13% RAM 34%");
        assert_eq!(tile_words(&dashboard, &TILES[1], BINARY), ["8.0\u{a0}GiB of 24.0\u{a0}GiB"]);
        dashboard.apply(Event::Threshold(1, "10".to_owned()), 0.0);
        assert_eq!(title(&dashboard), "\u{25c6} CPU 13% RAM 34%");
        dashboard.apply(Event::Lost, 0.0);
        assert_eq!(title(&dashboard), "Reconnecting\u{2026}");
    }
}
