//! Fleet as a reducer over merged events, without browser and clock. Times are parameters.

use std::cmp::Ordering;

use super::block::Metric;
use super::member::{MINUTE, Member, STATUSES, Status, UNKNOWN_POINT};
use super::query::{BY_STATE, COLUMNS, Query, value};
use crate::number::push_integer;
use crate::state::Link;
use crate::unit::Unit;

/// Maximum number of members: those of one gateway, and some that are gone.
const MAX_MEMBERS: usize = 1_100;

/// Maximum number of groups with a name; further members share one more group.
const MAX_GROUPS: usize = 200;

/// Silence after which the stream counts as lost: the gateway writes every second.
const STALE_AFTER_MS: f64 = 5_000.0;

/// Interval at which the order follows the values. Rows that move every second are not readable.
const SORT_INTERVAL_MS: f64 = 3_000.0;

/// Time for which the order is fixed after the pointer moved or the focus changed in the table, so
/// that a click hits the intended row.
const HOLD_ORDER_MS: f64 = 2_000.0;

/// Line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Index of a group.
    Group(usize),
    /// Index of a member.
    Member(usize),
}

/// Members with the same value of a label.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    /// Value of the label; empty if a member does not have it.
    pub(crate) name: String,
    /// Number of members in each of the [`STATUSES`].
    pub(crate) counts: [usize; STATUSES.len()],
    /// Per column: the sum of rates, the percentage of all processors or memory, the largest
    /// pressure.
    pub(crate) values: [f64; COLUMNS.len()],
    /// Used and total amounts of CPU and memory, for the percentages.
    shares: [[f64; 2]; 2],
    worst: Status,
}

/// State of the fleet page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fleet {
    /// State of the stream.
    pub(crate) link: Link,
    /// Members, in the order of their first event.
    pub(crate) members: Vec<Member>,
    /// Query of the viewer.
    pub(crate) query: Query,
    /// Lines of the table.
    pub(crate) lines: Vec<Line>,
    /// Groups; empty unless the query groups the table.
    pub(crate) groups: Vec<Group>,
    /// Number of members in each of the [`STATUSES`].
    pub(crate) counts: [usize; STATUSES.len()],
    /// Thresholds of the viewer, for services that do not send a state.
    pub(crate) thresholds: Vec<[f64; 2]>,
    /// Labels that can be selected, as `key=value`, and their keys.
    pub(crate) labels: Vec<String>,
    pub(crate) keys: Vec<String>,
    /// Last change of state: index of the last changed member, and number of changed members.
    pub(crate) change: Option<(usize, usize)>,
    /// Time of the last event by the monotonic clock, and by the wall clock.
    pub(crate) now_ms: f64,
    pub(crate) now_unix_ms: f64,
    next_key: u64,
    /// Index of the member that the next line is expected for: all ticks have the same order.
    cursor: usize,
    received_ms: f64,
    sorted_ms: f64,
    order_held_until_ms: f64,
    needs_sort: bool,
    /// Whether a member's labels have changed.
    pub(super) labels_changed: bool,
}

impl Fleet {
    /// Applies a merged event.
    pub(crate) fn merge(&mut self, data: &str, now_ms: f64, now_unix_ms: f64) {
        self.received_ms = now_ms;
        self.link = Link::Live;
        self.merge_lines(data, now_ms, now_unix_ms);
        self.refresh(now_ms, now_unix_ms);
    }

    /// Advances the time. Returns whether the page must be drawn again.
    pub(crate) fn tick(&mut self, now_ms: f64, now_unix_ms: f64) -> bool {
        if self.link == Link::Live {
            // While events arrive, they drive the clock.
            if now_ms - self.received_ms <= STALE_AFTER_MS {
                return false;
            }
            self.link = Link::Reconnecting;
        }
        self.refresh(now_ms, now_unix_ms);
        true
    }

    /// Sets the state of the stream after its connection failed.
    pub(crate) fn set_disconnected(&mut self) {
        self.link = Link::Reconnecting;
    }

    /// Age of the latest event.
    pub(crate) fn age_ms(&self) -> f64 {
        (self.now_ms - self.received_ms).max(0.0)
    }

    /// Most severe state of all members.
    pub(crate) fn worst(&self) -> Status {
        let known = |status: &&Status| self.counts[**status as usize] > 0;
        STATUSES.iter().rfind(known).copied().unwrap_or_default()
    }

    /// Applies another query.
    pub(crate) fn set_query(&mut self, query: Query) {
        self.query = query;
        self.sort_lines();
    }

    /// Keeps the order while the pointer or the focus is in the table.
    pub(crate) fn hold_order(&mut self, now_ms: f64) {
        self.order_held_until_ms = now_ms + HOLD_ORDER_MS;
    }

    /// Member at the address; a new one if there is room.
    pub(crate) fn member(&mut self, address: &str, now_ms: f64) -> Option<&mut Member> {
        let is_at_address = |member: &Member| member.address == address;
        let mut index = self.cursor;
        // A member may have several consecutive lines.
        if !self.members.get(index).is_some_and(is_at_address) {
            index += 1;
        }
        if !self.members.get(index).is_some_and(is_at_address) {
            index = match self.members.iter().position(is_at_address) {
                Some(index) => index,
                None if self.members.len() < MAX_MEMBERS => {
                    self.next_key += 1;
                    self.members.push(Member::new(self.next_key, address, now_ms));
                    self.needs_sort = true;
                    self.members.len() - 1
                }
                None => return None,
            };
        }
        self.cursor = index;
        self.members.get_mut(index)
    }

    /// Lines from `first` on, at most `count`.
    pub(crate) fn window(&self, first: usize, count: usize) -> &[Line] {
        let first = first.min(self.lines.len());
        self.lines.get(first..(first + count).min(self.lines.len())).unwrap_or_default()
    }

    fn refresh(&mut self, now_ms: f64, now_unix_ms: f64) {
        (self.now_ms, self.now_unix_ms) = (now_ms, now_unix_ms);
        let previous_count = self.members.len();
        self.members.retain(|member| !member.is_expired(now_ms));
        if self.members.len() != previous_count {
            self.needs_sort = true;
            self.change = None;
        }
        self.counts = [0; STATUSES.len()];
        let mut changed = 0;
        for (index, member) in self.members.iter_mut().enumerate() {
            let status = member.status(&self.thresholds, now_ms);
            if status != member.shown {
                self.needs_sort = true;
                // The first state of a member is not a change.
                if member.shown != Status::Unknown {
                    changed += 1;
                    self.change = Some((index, changed));
                }
                member.shown = status;
            }
            self.counts[status as usize] += 1;
        }
        if self.labels_changed && now_ms - self.sorted_ms > SORT_INTERVAL_MS
            || self.labels.is_empty()
        {
            self.labels_changed = false;
            self.update_options();
        }
        let is_due = self.needs_sort || now_ms - self.sorted_ms > SORT_INTERVAL_MS;
        // After a member was removed, the indexes in the lines are invalid.
        if self.members.len() != previous_count || (is_due && now_ms >= self.order_held_until_ms) {
            self.sort_lines();
        }
        self.aggregate_groups();
    }

    /// Collects the labels that can be selected.
    fn update_options(&mut self) {
        let (mut labels, mut keys) = (Vec::new(), Vec::new());
        for (key, value) in self.members.iter().flat_map(|member| &member.labels) {
            add_option(&mut keys, &[key]);
            add_option(&mut labels, &[key, "=", value]);
        }
        (self.labels, self.keys) = (labels, keys);
    }

    fn sort_lines(&mut self) {
        self.needs_sort = false;
        self.sorted_ms = self.now_ms;
        self.groups.clear();
        let query = &self.query;
        let mut indexes = Vec::new();
        for (index, member) in self.members.iter_mut().enumerate() {
            if !query.matches(member) {
                continue;
            }
            indexes.push(index);
            if !query.group.is_empty() {
                let name = member.label(&query.group);
                let known = self.groups.iter().position(|group| group.name == name);
                let group = known.unwrap_or(self.groups.len()).min(MAX_GROUPS);
                if group == self.groups.len() {
                    let name = if group < MAX_GROUPS { name } else { "others" };
                    self.groups.push(Group { name: name.to_owned(), ..Group::default() });
                }
                if let Some(group) = self.groups.get_mut(group) {
                    group.worst = group.worst.max(member.shown);
                }
                member.group = group;
            }
        }
        let members = &self.members;
        let precedes_or_equal =
            |&one: &usize, &other: &usize| precedes(query, &members[one], &members[other]);
        indexes = insertion_sorted(indexes, &precedes_or_equal);
        if query.group.is_empty() {
            self.lines = indexes.into_iter().map(Line::Member).collect();
            return;
        }
        let groups = &self.groups;
        let precedes_or_equal = |&one: &usize, &other: &usize| {
            let (one, other) = (&groups[one], &groups[other]);
            if one.worst == other.worst {
                compare_names(&one.name, &other.name) != Ordering::Greater
            } else {
                one.worst > other.worst
            }
        };
        self.lines.clear();
        for group in insertion_sorted((0..groups.len()).collect(), &precedes_or_equal) {
            self.lines.push(Line::Group(group));
            let group_members = indexes.iter().filter(|&&index| members[index].group == group);
            self.lines.extend(group_members.map(|&index| Line::Member(index)));
        }
        self.aggregate_groups();
    }

    /// Combines the values of each group, without stale ones.
    fn aggregate_groups(&mut self) {
        for group in &mut self.groups {
            group.counts = [0; STATUSES.len()];
            group.values = [f64::NAN; COLUMNS.len()];
            group.shares = [[0.0; 2]; 2];
        }
        for line in &self.lines {
            let Line::Member(index) = *line else { continue };
            let member = &self.members[index];
            let Some(group) = self.groups.get_mut(member.group) else { return };
            group.counts[member.shown as usize] += 1;
            if !member.is_live() {
                continue;
            }
            for (column, sum) in group.values.iter_mut().enumerate() {
                let value = value(member, column);
                if value.is_nan() {
                    continue;
                }
                let (index, whole) = match COLUMNS[column].id {
                    "cpu" => (0, Metric::Cpus),
                    "memory" => (1, Metric::MemoryBytes),
                    "network" | "disk" => {
                        *sum = value + if sum.is_nan() { 0.0 } else { *sum };
                        continue;
                    }
                    "pressure" => {
                        *sum = sum.max(value);
                        continue;
                    }
                    _ => continue,
                };
                // Percentages are weighted by the number of processors or the memory, if it is
                // known.
                let size = member.metric(whole);
                let size = if size.is_nan() { 1.0 } else { size };
                let [used, total] = &mut group.shares[index];
                *used += value * size;
                *total += size;
                *sum = *used / *total;
            }
        }
    }
}

/// Adds an option that does not exist yet, up to the maximum length of a list.
fn add_option(options: &mut Vec<String>, parts: &[&str]) {
    const MAX_OPTIONS: usize = 100;
    let is_known = |option: &String| {
        let mut rest = option.as_str();
        let is_prefix = parts.iter().all(|part| {
            rest.strip_prefix(part).is_some_and(|tail| {
                rest = tail;
                true
            })
        });
        is_prefix && rest.is_empty()
    };
    if options.len() < MAX_OPTIONS && !options.iter().any(is_known) {
        let option = parts.concat();
        let index = options.iter().take_while(|known| **known < option).count();
        options.insert(index, option);
    }
}

/// Whether a member's row precedes the other's, or is equal to it.
fn precedes(query: &Query, one: &Member, other: &Member) -> bool {
    let column = &COLUMNS[query.sort.min(COLUMNS.len() - 1)];
    let since = |member: &Member| member.metric(Metric::Since);
    let ascending = |one: f64, other: f64| one.partial_cmp(&other).unwrap_or(Ordering::Equal);
    let mut order = match column.id {
        "name" => compare_names(one.title(), other.title()),
        "version" => compare_names(&one.version, &other.version),
        "state" => other.shown.cmp(&one.shown).then(ascending(since(one), since(other))),
        "since" => ascending(since(other), since(one)),
        _ => {
            let (one, other) = (value(one, query.sort), value(other, query.sort));
            // Unknown values come last, in either direction.
            if one.is_nan() || other.is_nan() {
                let order = one.is_nan().cmp(&other.is_nan());
                if query.reversed { order.reverse() } else { order }
            } else {
                ascending(other, one)
            }
        }
    };
    if query.reversed {
        order = order.reverse();
    }
    order.then_with(|| compare_names(&one.address, &other.address)) != Ordering::Greater
}

/// Compares names by their letters, without case, and by their numbers: `web-9` precedes `Web-10`.
pub(crate) fn compare_names(one: &str, other: &str) -> Ordering {
    let (mut left, mut right) = (one.as_bytes(), other.as_bytes());
    loop {
        let (length, other_length) = (digits(left), digits(right));
        let (order, steps) = if length > 0 && other_length > 0 {
            let number = [&left[..length], &right[..other_length]].map(without_zeros);
            (
                number[0].len().cmp(&number[1].len()).then(number[0].cmp(number[1])),
                (length, other_length),
            )
        } else if let ([letter, ..], [other_letter, ..]) = (left, right) {
            (letter.to_ascii_lowercase().cmp(&other_letter.to_ascii_lowercase()), (1, 1))
        } else {
            return left.len().cmp(&right.len()).then_with(|| one.cmp(other));
        };
        if order != Ordering::Equal {
            return order;
        }
        (left, right) = (&left[steps.0..], &right[steps.1..]);
    }
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    &digits[zeros..]
}

/// Sorts a list by `precedes_or_equal`. Most lists were sorted a moment ago: an insertion sort is
/// fast for them, and takes a tenth of the code of the standard library's sort.
fn insertion_sorted(
    items: Vec<usize>,
    precedes_or_equal: &dyn Fn(&usize, &usize) -> bool,
) -> Vec<usize> {
    let mut sorted: Vec<usize> = Vec::with_capacity(items.len());
    for item in items {
        let index = match sorted.last() {
            Some(end) if !precedes_or_equal(end, &item) => {
                sorted.partition_point(|known| precedes_or_equal(known, &item))
            }
            _ => sorted.len(),
        };
        sorted.insert(index, item);
    }
    sorted
}

/// Path of the sparkline in a box of 600 by 180 units.
pub(crate) fn line(minute: &[u8; MINUTE]) -> String {
    let mut path = String::with_capacity(256);
    let mut command = 'M';
    for (second, &point) in minute.iter().enumerate() {
        if point == UNKNOWN_POINT {
            command = 'M';
            continue;
        }
        path.push(command);
        push_integer(&mut path, i64::try_from(second * 10).unwrap_or_default());
        path.push(' ');
        push_integer(&mut path, 180 - i64::from(point) * 9 / 5);
        if command == 'M' {
            // A single point becomes a dot because of round line caps.
            path.push_str("h0");
        }
        command = 'L';
    }
    path
}

/// Whether the default order of a column begins with the largest value.
pub(crate) fn is_descending(column: usize) -> bool {
    column == BY_STATE || COLUMNS.get(column).is_some_and(|column| column.unit != Unit::Text)
}
