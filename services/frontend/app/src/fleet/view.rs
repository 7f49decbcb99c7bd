//! Table of the fleet in the document. Only the rows in the viewport are elements; two rows take
//! the space of those above and below.

use web_sys::{Document, Element};

use super::block::Metric;
use super::member::{Member, STATUSES, Status};
use super::query::{COLUMNS, value};
use super::state::{Fleet, Group, Line, is_descending, line};
use super::template::Instance;
use super::text::{
    alert_text, change_text, count, labels_text, push_count, span_text, status_labels,
};
use crate::browser::time_text;
use crate::labels::{age_text, link_name, link_text};
use crate::number::{Format, plain};
use crate::state::Link;
use crate::unit::Unit;

const PAGE: [&str; 4] = [
    r#"<div v="data-state data-theme data-kiosk" class="page fleet"><header class="top"><h1>Fleet</h1><div class="counts" role="group" aria-label="State">"#,
    r#"<span class="of" v="."></span></div><div class="status"><svg class="lamp" viewBox="0 0 12 12" aria-hidden="true"><circle cx="6" cy="6" r="4"/></svg><p role="status" data-testid="status" v="."></p><p class="age" v="hidden ."></p><a class="new" href="">New version: reload</a></div></header><main><div class="controls"><input type="search" data-field="search" maxlength="200" placeholder="Search" aria-label="Search names, addresses, labels"><select data-field="label" aria-label="Label"></select><select data-field="group" aria-label="Group"></select><span class="small" role="status" data-testid="shown" v="."></span><div class="row end"><button type="button" data-action="theme" v="."></button><button type="button" data-action="download-csv">CSV</button></div></div><table class="members" aria-label="Members" v="aria-rowcount"><thead><tr aria-rowindex="1">"#,
    r#"</tr></thead><tbody><tr class="space" aria-hidden="true"><td v="height"></td></tr><tr class="space" aria-hidden="true"><td v="height"></td></tr></tbody></table><p class="missing" v="."></p>"#,
    // A screen reader announces changes of state, not values.
    r#"<p class="hidden" role="status" data-testid="change" v="."></p></main></div>"#,
];

/// `data-title` labels a cell when rows are displayed as cards.
const ROW: &str = r#"<tr data-key v="class data-status data-old aria-rowindex"><th scope="row" class="m-name"><a data-place v="href title ."></a><span class="sub" v="title ."></span></th><td class="m-state"><span class="level"><svg class="mark" viewBox="0 0 12 12" aria-hidden="true"><path v="d"/></svg><span v="."></span></span><span class="sub" v="title ."></span></td><td class="m-since" v="."></td><td class="m-cpu" data-title="CPU"><span class="value" v="."></span><svg class="minute" viewBox="0 0 600 180" aria-hidden="true"><path class="line" v="d"/></svg></td><td class="m-memory" data-title="Memory"><span class="value" v="."></span><svg class="bar" aria-hidden="true"><rect class="track" width="100%" height="100%"/><rect class="fill" v="width" height="100%"/></svg></td><td class="m-pressure" data-title="Pressure"><span class="value" v="."></span></td><td class="m-network" data-title="Network"><span class="value" v="."></span></td><td class="m-disk" data-title="Disk"><span class="value" v="."></span></td><td class="m-uptime"><span class="value" v="."></span></td><td class="m-version"><span class="value" v="."></span></td></tr>"#;

/// Presentation of the page.
#[derive(Clone, Copy)]
pub(crate) struct Presentation {
    pub(crate) format: Format,
    pub(crate) theme: &'static str,
    pub(crate) is_kiosk: bool,
    /// First row in the viewport, number of rows, and height of a row in pixels.
    pub(crate) rows: (usize, usize, f64),
}

/// Elements of the table. Dropping it removes them.
pub(crate) struct View {
    document: Document,
    page: Instance,
    body: Element,
    rows: Vec<(u64, Instance)>,
    options: [(Element, Vec<String>); 2],
}

impl View {
    /// Writes the page without rows.
    pub(crate) fn new(document: &Document, fleet: &Fleet) -> Option<Self> {
        let mut markup = PAGE[0].to_owned();
        for status in STATUSES.iter().rev() {
            let (id, _, shape) = status_labels(*status);
            for part in [
                r#"<button type="button" class="chip" v="hidden aria-pressed" data-status=""#,
                id,
                r#"" data-action="state-"#,
                id,
                r#""><svg class="mark" viewBox="0 0 12 12" aria-hidden="true"><path d=""#,
                shape,
                r#""/></svg><span v="."></span>&nbsp;"#,
                id,
                "</button>",
            ] {
                markup.push_str(part);
            }
        }
        markup.push_str(PAGE[1]);
        for column in &COLUMNS {
            for part in [
                r#"<th scope="col" v="aria-sort" class="m-"#,
                column.id,
                r#""><button type="button" data-action="sort-"#,
                column.id,
                r#"">"#,
                column.title,
                "</button></th>",
            ] {
                markup.push_str(part);
            }
        }
        markup.push_str(PAGE[2]);
        markup.push_str(PAGE[3]);
        let page = Instance::new(document, "div", &markup)?;
        let find = |selector: &str| page.root.query_selector(selector).ok()?;
        let body = find("tbody")?;
        let options =
            [(find("[data-field=label]")?, Vec::new()), (find("[data-field=group]")?, Vec::new())];
        let search = find("[data-field=search]")?;
        let _ = search.set_attribute("value", &fleet.query.search);
        document.body()?.append_child(&page.root).ok()?;
        Some(Self { document: document.clone(), page, body, rows: Vec::new(), options })
    }

    /// Updates the page.
    pub(crate) fn update(&mut self, fleet: &Fleet, presentation: Presentation) {
        let (first, count, height) = presentation.rows;
        let lines = fleet.window(first, count);
        let first = first.min(fleet.lines.len());
        let behind = fleet.lines.len() - first - lines.len();
        self.page.set(page_values(
            fleet,
            presentation,
            first as f64 * height,
            behind as f64 * height,
        ));
        for (index, none, labels, selected) in [
            (0, "All labels", &fleet.labels, &fleet.query.label),
            (1, "No groups", &fleet.keys, &fleet.query.group),
        ] {
            let (select, known) = &mut self.options[index];
            if known != labels || select.first_element_child().is_none() {
                set_options(&self.document, select, none, labels, selected);
                known.clone_from(labels);
            }
        }
        self.draw(fleet, presentation, first, lines);
    }

    fn draw(&mut self, fleet: &Fleet, presentation: Presentation, first: usize, lines: &[Line]) {
        let mut rows = Vec::with_capacity(lines.len());
        let mut next =
            self.body.first_element_child().and_then(|space| space.next_element_sibling());
        let mut before = std::mem::take(&mut self.rows);
        let key = |line: &Line| match *line {
            Line::Group(index) => u64::MAX - index as u64,
            Line::Member(index) => fleet.members[index].key,
        };
        // Rows outside of the viewport are removed first, so that the others need not be moved.
        before.retain(|(known, row)| {
            let stays = lines.iter().any(|line| key(line) == *known);
            if !stays {
                if next.as_ref() == Some(&row.root) {
                    next = row.root.next_element_sibling();
                }
                row.root.remove();
            }
            stays
        });
        for (index, line) in lines.iter().enumerate() {
            let key = key(line);
            let known = before.iter().position(|(known, _)| *known == key);
            let row = match known {
                Some(known) => Some(before.swap_remove(known).1),
                None => Instance::new(&self.document, "tbody", ROW),
            };
            let Some(mut row) = row else { continue };
            let (mut values, row_index) = (Values(Vec::new()), first + index + 2);
            match *line {
                Line::Group(index) => {
                    group_values(&mut values, fleet, &fleet.groups[index], presentation, row_index);
                }
                Line::Member(index) => {
                    member_values(
                        &mut values,
                        fleet,
                        &fleet.members[index],
                        presentation,
                        row_index,
                    );
                }
            }
            row.set(values.0);
            if next.as_ref() == Some(&row.root) {
                next = row.root.next_element_sibling();
            } else {
                let _ = self.body.insert_before(&row.root, next.as_deref());
            }
            rows.push((key, row));
        }
        self.rows = rows;
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.page.root.remove();
    }
}

/// Values of an instance's bindings. Every viewer downloads the code of each call, so it is not
/// inlined.
struct Values(Vec<String>);

impl Values {
    #[inline(never)]
    fn add(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }

    #[inline(never)]
    fn put(&mut self, text: String) {
        self.0.push(text);
    }

    /// Adds a title and its text, which a narrow column cuts.
    #[inline(never)]
    fn twice(&mut self, text: &str) {
        self.add(text);
        self.add(text);
    }

    fn flag(&mut self, is_on: bool) {
        self.add(if is_on { "true" } else { "" });
    }

    fn count(&mut self, before: &str, count: usize) {
        let mut text = before.to_owned();
        push_count(&mut text, count);
        self.put(text);
    }
}

fn page_values(fleet: &Fleet, presentation: Presentation, above: f64, below: f64) -> Vec<String> {
    let mut values = Values(Vec::new());
    values.add(link_name(fleet.link));
    values.add(presentation.theme);
    values.flag(presentation.is_kiosk);
    for &status in STATUSES.iter().rev() {
        let (count, is_on) = (fleet.counts[status as usize], fleet.query.states[status as usize]);
        values.flag(count == 0 && !is_on);
        values.add(if is_on { "true" } else { "false" });
        values.count("", count);
    }
    values.count("of ", fleet.members.len());
    values.add(link_text(fleet.link));
    let is_live = fleet.link == Link::Live || fleet.members.is_empty();
    values.flag(is_live);
    values.put(age_text(fleet.age_ms()));
    let shown = fleet.lines.len() - fleet.groups.len();
    if shown == fleet.members.len() {
        values.add("");
    } else {
        values.count("Shows ", shown);
    }
    values.put(["Theme: ", presentation.theme].concat());
    values.count("", fleet.lines.len() + 1);
    for index in 0..COLUMNS.len() {
        let is_down = is_descending(index) != fleet.query.reversed;
        let order = if is_down { "descending" } else { "ascending" };
        values.add(if index == fleet.query.sort { order } else { "" });
    }
    values.put(plain(above.round()));
    values.put(plain(below.round()));
    values.add(match (fleet.lines.is_empty(), fleet.members.is_empty()) {
        (true, true) => "Waiting for the first members\u{2026}",
        (true, false) => "No member matches.",
        _ => "",
    });
    values.put(change_text(fleet, presentation.format));
    values.0
}

fn member_values(
    values: &mut Values,
    fleet: &Fleet,
    member: &Member,
    presentation: Presentation,
    row_index: usize,
) {
    let (id, name, shape) = status_labels(member.shown);
    let since = member.since_unix_ms(fleet.now_ms, fleet.now_unix_ms);
    let span = if since.is_nan() { String::new() } else { span_text(fleet.now_unix_ms - since) };
    values.add("");
    values.add(id);
    values.flag(!member.is_live());
    values.count("", row_index);
    let kiosk = if presentation.is_kiosk { "&kiosk=1" } else { "" };
    values.put(["/?member=", &member.address, kiosk].concat());
    values.twice(member.title());
    values.twice(&labels_text(member));
    values.add(shape);
    values.add(name);
    values.twice(&match member.shown {
        Status::Silent => ["no data for ", &span].concat(),
        Status::Gone if !since.is_nan() => ["since ", &time_text(since)].concat(),
        Status::Gone | Status::Unknown => String::new(),
        _ => alert_text(&member.alert, member.metric(Metric::AlertValue), presentation.format),
    });
    values.put(span);
    add_metric_cells(values, presentation.format, &|index| value(member, index), Some(member));
}

fn group_values(
    values: &mut Values,
    fleet: &Fleet,
    group: &Group,
    presentation: Presentation,
    row_index: usize,
) {
    let name = if group.name.is_empty() { "without" } else { &group.name };
    let members = group.counts.iter().sum();
    let mut states = String::new();
    count(&mut states, &group.counts, &STATUSES);
    values.add("group");
    values.add("");
    values.add("");
    values.count("", row_index);
    values.add("");
    values.twice(&[&fleet.query.group, " ", name].concat());
    let mut size = String::new();
    push_count(&mut size, members);
    size.push_str(if members == 1 { " member" } else { " members" });
    values.twice(&size);
    values.add("");
    values.add("");
    values.twice(&states);
    values.add("");
    add_metric_cells(values, presentation.format, &|index| group.values[index], None);
}

/// Adds the cells from CPU on, for a member or a group.
fn add_metric_cells(
    values: &mut Values,
    format: Format,
    value: &dyn Fn(usize) -> f64,
    member: Option<&Member>,
) {
    for (index, column) in COLUMNS.iter().enumerate().skip(3) {
        let value = value(index);
        match column.unit {
            Unit::Count if value.is_nan() => values.add(""),
            Unit::Count => values.put(span_text(value * 1_000.0)),
            Unit::Text => values.add(member.map_or("", |member| &member.version)),
            unit => values.put(format.text(value, unit)),
        }
        if index == 3 {
            values.put(member.map(|member| line(&member.minute)).unwrap_or_default());
        } else if index == 4 {
            values.put(plain(value.clamp(0.0, 100.0)) + "%");
        }
    }
}

/// Replaces the options of a list.
fn set_options(
    document: &Document,
    select: &Element,
    none: &str,
    options: &[String],
    selected: &str,
) {
    select.set_inner_html("");
    let add = |text: &str, value: Option<&str>| {
        let Ok(option) = document.create_element("option") else { return };
        option.set_text_content(Some(text));
        let value = value.unwrap_or(text);
        let _ = option.set_attribute("value", value);
        if value == selected {
            let _ = option.set_attribute("selected", "");
        }
        let _ = select.append_child(&option);
    };
    add(none, Some(""));
    // An option from before the labels arrived is kept.
    if !selected.is_empty() && !options.iter().any(|option| option == selected) {
        add(selected, None);
    }
    for option in options {
        add(option, None);
    }
}
