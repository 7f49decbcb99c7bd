//! The fleet as a reducer over merged events: no browser, no clock. Times are parameters.

use super::block::Metric;
use super::member::{MINUTE, Member, STATUSES, Status, UNKNOWN_POINT};
use super::query::{BY_STATE, COLUMNS, Query, value};
use crate::number::push_whole;
use crate::state::Link;
use crate::unit::Unit;

/// Members that are kept: what one gateway merges, and some that are gone.
const MAX_MEMBERS: usize = 1_100;

/// Groups that are shown; members beyond share the last.
const MAX_GROUPS: usize = 200;

/// Silence after which the stream counts as lost: the gateway writes every second.
const STALE_AFTER_MS: f64 = 5_000.0;

/// How often the order follows the figures: rows that move each second cannot be read.
const ORDER_MS: f64 = 3_000.0;

/// How long the order stays after the pointer or a key was used in the table, so that a click hits
/// the row that was aimed at.
const HELD_MS: f64 = 2_000.0;

/// A line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Place of a group.
    Group(usize),
    /// Place of a member.
    Member(usize),
}

/// Members with the same value of a label.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    /// The value; empty where the label is absent.
    pub(crate) name: String,
    /// Number of members in each of the [`STATUSES`].
    pub(crate) counts: [usize; STATUSES.len()],
    /// Per column the sum of rates, the share of all processors or memory, the largest pressure.
    pub(crate) values: [f64; COLUMNS.len()],
    /// The parts of the shares: used and total, of CPU and memory.
    shares: [[f64; 2]; 2],
    worst: Status,
}

/// Everything that the fleet page shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fleet {
    /// State of the stream.
    pub(crate) link: Link,
    /// The members in the order of their first event.
    pub(crate) members: Vec<Member>,
    /// What the viewer wants to see.
    pub(crate) query: Query,
    /// The lines of the table.
    pub(crate) lines: Vec<Line>,
    /// The groups, empty unless the query groups.
    pub(crate) groups: Vec<Group>,
    /// Number of members in each of the [`STATUSES`].
    pub(crate) counts: [usize; STATUSES.len()],
    /// Thresholds of the viewer, for services that do not send a state.
    pub(crate) thresholds: Vec<[f64; 2]>,
    /// The labels that can be chosen, as `key=value`, and their keys.
    pub(crate) labels: Vec<String>,
    pub(crate) keys: Vec<String>,
    /// Last change of state: place of the member, and how many changed with it.
    pub(crate) change: Option<(usize, usize)>,
    /// Time of the last event, and the time of day.
    pub(crate) now_ms: f64,
    pub(crate) now_unix_ms: f64,
    next_key: u64,
    /// Place where the next line's member is expected: blocks come in the same order each tick.
    cursor: usize,
    received_ms: f64,
    ordered_ms: f64,
    held_ms: f64,
    must_order: bool,
    /// Whether a label is new.
    must_choose: bool,
}

impl Fleet {
    /// Takes a merged event in.
    pub(crate) fn merge(&mut self, data: &str, now_ms: f64, now_unix_ms: f64) {
        self.received_ms = now_ms;
        self.link = Link::Live;
        self.merge_lines(data, now_ms);
        self.refresh(now_ms, now_unix_ms);
    }

    /// Lets time go by. Returns whether there is something new to see.
    pub(crate) fn tick(&mut self, now_ms: f64, now_unix_ms: f64) -> bool {
        if self.link == Link::Live {
            // While events come in, they are the clock.
            if now_ms - self.received_ms <= STALE_AFTER_MS {
                return false;
            }
            self.link = Link::Reconnecting;
        }
        self.refresh(now_ms, now_unix_ms);
        true
    }

    /// Notes that the connection failed.
    pub(crate) fn lose(&mut self) {
        self.link = Link::Reconnecting;
    }

    /// Age of the newest event.
    pub(crate) fn age_ms(&self) -> f64 {
        (self.now_ms - self.received_ms).max(0.0)
    }

    /// The most severe state of all members.
    pub(crate) fn worst(&self) -> Status {
        let known = |status: &&Status| self.counts[**status as usize] > 0;
        STATUSES.iter().rfind(known).copied().unwrap_or_default()
    }

    /// Shows what another query asks for.
    pub(crate) fn ask(&mut self, query: Query) {
        self.query = query;
        self.order();
    }

    /// Keeps the order while the viewer's hand is in the table.
    pub(crate) fn hold(&mut self, now_ms: f64) {
        self.held_ms = now_ms + HELD_MS;
    }

    /// The member at the address, a new one if there is room.
    pub(crate) fn member(&mut self, address: &str, now_ms: f64) -> Option<&mut Member> {
        let is_there = |member: &Member| member.address == address;
        let mut place = self.cursor;
        // A member may have several lines in a row.
        if !self.members.get(place).is_some_and(is_there) {
            place += 1;
        }
        if !self.members.get(place).is_some_and(is_there) {
            place = match self.members.iter().position(is_there) {
                Some(place) => place,
                None if self.members.len() < MAX_MEMBERS => {
                    self.next_key += 1;
                    self.members.push(Member::new(self.next_key, address, now_ms));
                    self.must_order = true;
                    self.members.len() - 1
                }
                None => return None,
            };
        }
        self.cursor = place;
        self.members.get_mut(place)
    }

    /// The lines from `first` on, at most `count`.
    pub(crate) fn window(&self, first: usize, count: usize) -> &[Line] {
        let first = first.min(self.lines.len());
        self.lines.get(first..(first + count).min(self.lines.len())).unwrap_or_default()
    }

    /// Notes that a member's labels are others.
    pub(crate) fn relabel(&mut self) {
        self.must_choose = true;
    }

    fn refresh(&mut self, now_ms: f64, now_unix_ms: f64) {
        (self.now_ms, self.now_unix_ms) = (now_ms, now_unix_ms);
        let before = self.members.len();
        self.members.retain(|member| !member.is_over(now_ms, now_unix_ms));
        if self.members.len() != before {
            self.must_order = true;
            self.change = None;
        }
        self.counts = [0; STATUSES.len()];
        let mut changed = 0;
        for (place, member) in self.members.iter_mut().enumerate() {
            let status = member.status(&self.thresholds, now_ms);
            if status != member.shown {
                self.must_order = true;
                // What appears is no change.
                if member.shown != Status::Unknown {
                    changed += 1;
                    self.change = Some((place, changed));
                }
                member.shown = status;
            }
            self.counts[status as usize] += 1;
        }
        if self.must_choose && now_ms - self.ordered_ms > ORDER_MS || self.labels.is_empty() {
            self.must_choose = false;
            self.choose();
        }
        let is_due = self.must_order || now_ms - self.ordered_ms > ORDER_MS;
        // Places are no longer those of the lines where a member went away.
        if self.members.len() != before || (is_due && now_ms >= self.held_ms) {
            self.order();
        }
        self.sum_up();
    }

    /// Collects the labels that can be chosen.
    fn choose(&mut self) {
        let (mut labels, mut keys) = (Vec::new(), Vec::new());
        for (key, value) in self.members.iter().flat_map(|member| &member.labels) {
            add_choice(&mut keys, &[key]);
            add_choice(&mut labels, &[key, "=", value]);
        }
        (self.labels, self.keys) = (labels, keys);
    }

    fn order(&mut self) {
        self.must_order = false;
        self.ordered_ms = self.now_ms;
        self.groups.clear();
        let query = &self.query;
        let mut places = Vec::new();
        for (place, member) in self.members.iter_mut().enumerate() {
            if !query.matches(member) {
                continue;
            }
            places.push(place);
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
        let before = |&one: &usize, &other: &usize| precedes(query, &members[one], &members[other]);
        places = insertion_sorted(places, &before);
        if query.group.is_empty() {
            self.lines = places.into_iter().map(Line::Member).collect();
            return;
        }
        let groups = &self.groups;
        let before = |&one: &usize, &other: &usize| {
            let (one, other) = (&groups[one], &groups[other]);
            if one.worst == other.worst { one.name <= other.name } else { one.worst > other.worst }
        };
        self.lines.clear();
        for group in insertion_sorted((0..groups.len()).collect(), &before) {
            self.lines.push(Line::Group(group));
            let own = places.iter().filter(|&&place| members[place].group == group);
            self.lines.extend(own.map(|&place| Line::Member(place)));
        }
        self.sum_up();
    }

    /// Adds up the figures of each group; old ones do not count.
    fn sum_up(&mut self) {
        for group in &mut self.groups {
            group.counts = [0; STATUSES.len()];
            group.values = [f64::NAN; COLUMNS.len()];
            group.shares = [[0.0; 2]; 2];
        }
        for line in &self.lines {
            let Line::Member(place) = *line else { continue };
            let member = &self.members[place];
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
                let (place, whole) = match COLUMNS[column].id {
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
                // A share counts by the size of its whole, where that is known.
                let size = member.metric(whole);
                let size = if size.is_nan() { 1.0 } else { size };
                let [used, total] = &mut group.shares[place];
                *used += value * size;
                *total += size;
                *sum = *used / *total;
            }
        }
    }
}

/// Adds a choice that is not there yet, up to what can be chosen from a list.
fn add_choice(choices: &mut Vec<String>, parts: &[&str]) {
    const MAX_CHOICES: usize = 100;
    let is_known = |choice: &String| {
        let mut rest = choice.as_str();
        let is_prefix = parts.iter().all(|part| {
            rest.strip_prefix(part).is_some_and(|tail| {
                rest = tail;
                true
            })
        });
        is_prefix && rest.is_empty()
    };
    if choices.len() < MAX_CHOICES && !choices.iter().any(is_known) {
        let choice = parts.concat();
        let place = choices.iter().take_while(|known| **known < choice).count();
        choices.insert(place, choice);
    }
}

/// Whether a member's row stands before the other's, or is equal to it.
fn precedes(query: &Query, one: &Member, other: &Member) -> bool {
    use std::cmp::Ordering;
    let column = &COLUMNS[query.sort.min(COLUMNS.len() - 1)];
    let since = |member: &Member| member.metric(Metric::Since);
    let ascending = |one: f64, other: f64| one.partial_cmp(&other).unwrap_or(Ordering::Equal);
    let mut order = match column.id {
        "name" => one.title().cmp(other.title()),
        "version" => one.version.cmp(&other.version),
        "state" => other.shown.cmp(&one.shown).then(ascending(since(one), since(other))),
        "since" => ascending(since(other), since(one)),
        _ => {
            let (one, other) = (value(one, query.sort), value(other, query.sort));
            // What is not known stands last, whichever way the others are sorted.
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
    order.then_with(|| one.address.cmp(&other.address)) != Ordering::Greater
}

/// The list in the order that `before` says. Most lists were sorted a moment ago: this is quick for
/// them, and a tenth of the code of the standard library's sort.
fn insertion_sorted(places: Vec<usize>, before: &dyn Fn(&usize, &usize) -> bool) -> Vec<usize> {
    let mut sorted: Vec<usize> = Vec::with_capacity(places.len());
    for place in places {
        let index = match sorted.last() {
            Some(end) if !before(end, &place) => {
                sorted.partition_point(|known| before(known, &place))
            }
            _ => sorted.len(),
        };
        sorted.insert(index, place);
    }
    sorted
}

/// The small line as the path of a picture of 600 by 180 units.
pub(crate) fn line(minute: &[u8; MINUTE]) -> String {
    let mut path = String::with_capacity(256);
    let mut command = 'M';
    for (second, &point) in minute.iter().enumerate() {
        if point == UNKNOWN_POINT {
            command = 'M';
            continue;
        }
        path.push(command);
        push_whole(&mut path, i64::try_from(second * 10).unwrap_or_default());
        path.push(' ');
        push_whole(&mut path, 180 - i64::from(point) * 9 / 5);
        if command == 'M' {
            // A point alone becomes a dot under round caps.
            path.push_str("h0");
        }
        command = 'L';
    }
    path
}

/// Whether a column is sorted from the largest value down at first.
pub(crate) fn is_descending(column: usize) -> bool {
    column == BY_STATE || COLUMNS.get(column).is_some_and(|column| column.unit != Unit::Text)
}
