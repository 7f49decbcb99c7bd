//! Texts of the fleet page.

use super::block::Metric;
use super::member::{Alert, Member, STATUSES, Status};
use super::query::COLUMNS;
use super::state::{Fleet, Line};
use crate::alerts;
use crate::alerts::Level;
use crate::labels::link_text;
use crate::number::{Format, plain, push_integer, scaled};
use crate::state::Link;
use crate::unit::Unit;

/// Describes an alert: "/var/log is 99.3 % full"; empty if there is none.
pub(crate) fn alert_text(alert: &Alert, value: f64, format: Format) -> String {
    if alert.subject.is_empty() {
        return String::new();
    }
    let alert = alerts::Alert {
        subject: alert.subject.clone(),
        target: alert.target.clone(),
        level: Level::Normal,
        value,
        unit: match &*alert.unit {
            "percent" => Unit::Percent,
            "bytes_per_second" => Unit::Rate,
            "seconds" => Unit::Seconds,
            _ => Unit::Short,
        },
        since_ms: f64::NAN,
        cause: String::new(),
    };
    alert.sentence(format)
}

/// Formats a duration in its largest unit: "12 s", "4 min", "3 h", "5 d".
pub(crate) fn span_text(ms: f64) -> String {
    let seconds = scaled(ms / 1_000.0, 1.0).min(1 << 40).cast_signed();
    let (count, unit) = match seconds {
        0..120 => (seconds, "\u{a0}s"),
        120..7_200 => (seconds / 60, "\u{a0}min"),
        7_200..172_800 => (seconds / 3_600, "\u{a0}h"),
        _ => (seconds / 86_400, "\u{a0}d"),
    };
    let mut text = String::new();
    push_integer(&mut text, count);
    text + unit
}

/// Name of a state in attributes, its displayed name, and its shape in a box of 12 by 12: a disc, a
/// dash, a triangle, a ring, a cross, a diamond.
pub(crate) fn status_labels(status: Status) -> (&'static str, &'static str, &'static str) {
    match status {
        Status::Normal => ("normal", "Normal", "M6 1.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 0 1 0-9z"),
        Status::Unknown => ("unknown", "Unknown", "M2 5h8v2H2z"),
        Status::Warning => ("warning", "Warning", "M6 .8 11.6 11H.4z"),
        Status::Silent => (
            "silent",
            "Silent",
            "M6 1a5 5 0 1 1 0 10a5 5 0 0 1 0-10zM6 3a3 3 0 1 0 0 6a3 3 0 0 0 0-6z",
        ),
        Status::Gone => {
            ("gone", "Gone", "M2 .6 6 4.6l4-4L11.4 2l-4 4 4 4L10 11.4l-4-4-4 4L.6 10l4-4-4-4z")
        }
        Status::Critical => ("critical", "Critical", "M6 0 12 6 6 12 0 6z"),
    }
}

/// Counts of the states that need attention, most severe first: "3 critical, 5 warning, 1 gone, of
/// 214".
pub(crate) fn summary_text(fleet: &Fleet) -> String {
    let mut text = String::new();
    // `count` reverses this order.
    let shown = [Status::Silent, Status::Gone, Status::Warning, Status::Critical];
    count(&mut text, &fleet.counts, &shown);
    text.push_str(if text.is_empty() { "all normal, of " } else { ", of " });
    push_count(&mut text, fleet.members.len());
    text
}

/// Title of the tab: the summary while the stream is live, otherwise the state of the stream.
pub(crate) fn title(fleet: &Fleet) -> String {
    if fleet.link != Link::Live {
        return [link_text(fleet.link), "\u{2026}"].concat();
    }
    let mark = match fleet.worst() {
        Status::Critical => "\u{25c6} ",
        Status::Warning | Status::Silent | Status::Gone => "\u{25b2} ",
        Status::Normal | Status::Unknown => "",
    };
    [mark, &summary_text(fleet)].concat()
}

/// Last change of state, for a screen reader.
pub(crate) fn change_text(fleet: &Fleet, format: Format) -> String {
    let Some((index, count)) = fleet.change else { return String::new() };
    let Some(member) = fleet.members.get(index) else { return String::new() };
    if count > 1 {
        let mut text = String::new();
        push_count(&mut text, count);
        return text + " members changed state";
    }
    let alert = alert_text(&member.alert, member.metric(Metric::AlertValue), format);
    let colon = if alert.is_empty() || !member.is_live() { "" } else { ": " };
    let alert = if colon.is_empty() { "" } else { &alert };
    [member.title(), " is now ", status_labels(member.shown).0, colon, alert].concat()
}

/// Labels of a member, in one line.
pub(crate) fn labels_text(member: &Member) -> String {
    let mut text = String::new();
    for (key, value) in &member.labels {
        for part in [if text.is_empty() { "" } else { "  " }, key, "=", value] {
            text.push_str(part);
        }
    }
    text
}

/// Formats the rows of the table as comma-separated values with a header. Stale values are omitted.
pub(crate) fn csv(fleet: &Fleet) -> String {
    let mut text = String::from("member,labels,alert,time_unix_ms");
    for column in &COLUMNS {
        text.push(',');
        text.push_str(column.id);
    }
    let format = Format { point: '.', decimal: false };
    for line in &fleet.lines {
        let Line::Member(index) = *line else { continue };
        let Some(member) = fleet.members.get(index) else { continue };
        text.push('\n');
        push_field(&mut text, &member.address);
        push_field(&mut text, &labels_text(member));
        let alert = alert_text(&member.alert, member.metric(Metric::AlertValue), format);
        push_field(&mut text, &alert);
        push_field(&mut text, &number(member.metric(Metric::Time)));
        for (index, column) in COLUMNS.iter().enumerate() {
            let value = super::query::value(member, index);
            let since = member.since_unix_ms(fleet.now_ms, fleet.now_unix_ms);
            let field = match column.id {
                "name" => member.title().to_owned(),
                "state" => status_labels(member.shown).0.to_owned(),
                "since" => number(since),
                "version" => member.version.clone(),
                _ if member.is_live() => number(value),
                _ => String::new(),
            };
            push_field(&mut text, &field);
        }
        // Each field ends with a comma; the last one is removed.
        text.pop();
    }
    text.push('\n');
    text
}

fn number(value: f64) -> String {
    if value.is_nan() { String::new() } else { plain(value) }
}

/// Appends a quoted field. A field that a spreadsheet would interpret as a formula begins with an
/// apostrophe.
fn push_field(text: &mut String, field: &str) {
    text.push('"');
    if field.starts_with(['=', '+', '-', '@']) {
        text.push('\'');
    }
    for char in field.chars() {
        text.push(char);
        if char == '"' {
            text.push('"');
        }
    }
    text.push_str("\",");
}

/// Appends the number of members in each of the states that occur, in reverse order.
pub(crate) fn count(text: &mut String, counts: &[usize; STATUSES.len()], statuses: &[Status]) {
    for &status in statuses.iter().rev() {
        let count = counts[status as usize];
        if count > 0 {
            text.push_str(if text.is_empty() { "" } else { ", " });
            push_count(text, count);
            text.push(' ');
            text.push_str(status_labels(status).0);
        }
    }
}

/// Appends a number.
pub(crate) fn push_count(text: &mut String, count: usize) {
    push_integer(text, i64::try_from(count).unwrap_or(i64::MAX));
}
