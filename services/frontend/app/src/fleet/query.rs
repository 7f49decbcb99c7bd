//! Query of the viewer, stored in the entry of the browser's history.

use crate::unit::Unit;

use super::block::Metric;
use super::member::{Member, STATUSES};

/// Maximum length of a search text, in bytes.
const MAX_SEARCH: usize = 200;

/// Column of the table.
pub(crate) struct Column {
    /// Identifier.
    pub(crate) id: &'static str,
    /// Displayed name.
    pub(crate) title: &'static str,
    /// Unit of the values; [`Unit::Text`] if the column is not numeric.
    pub(crate) unit: Unit,
}

/// Columns, in the order of the table.
pub(crate) const COLUMNS: [Column; 10] = [
    Column { id: "name", title: "Name", unit: Unit::Text },
    Column { id: "state", title: "State", unit: Unit::Text },
    Column { id: "since", title: "Since", unit: Unit::Text },
    Column { id: "cpu", title: "CPU", unit: Unit::Percent },
    Column { id: "memory", title: "Memory", unit: Unit::Percent },
    Column { id: "pressure", title: "Pressure", unit: Unit::Percent },
    Column { id: "network", title: "Network", unit: Unit::Rate },
    Column { id: "disk", title: "Disk", unit: Unit::Rate },
    Column { id: "uptime", title: "Uptime", unit: Unit::Count },
    Column { id: "version", title: "Version", unit: Unit::Text },
];

/// Index of the state column, by which the table is sorted by default.
pub(crate) const BY_STATE: usize = 1;

/// Filter and order of the table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Query {
    /// Index of the column that sorts the table.
    pub(crate) sort: usize,
    /// Whether the order is reversed.
    pub(crate) reversed: bool,
    /// Whether each of the [`STATUSES`] is shown; if none is selected, all are shown.
    pub(crate) states: [bool; STATUSES.len()],
    /// Label as `key=value`, or empty.
    pub(crate) label: String,
    /// Key of the label that groups the table, or empty.
    pub(crate) group: String,
    /// Part of a name, address, label, version or alert's target, or empty.
    pub(crate) search: String,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            sort: BY_STATE,
            reversed: false,
            states: [false; STATUSES.len()],
            label: String::new(),
            group: String::new(),
            search: String::new(),
        }
    }
}

impl Query {
    /// Parses a query. Missing and unknown values are the defaults.
    pub(crate) fn parse(text: &str) -> Self {
        let mut query = Self::default();
        let mut lines = text.split('\n');
        let mut next = || lines.next().unwrap_or_default();
        let sort = next();
        let id = sort.strip_prefix('-').unwrap_or(sort);
        if let Some(index) = COLUMNS.iter().position(|column| column.id == id) {
            query.sort = index;
            query.reversed = id.len() < sort.len();
        }
        for (index, byte) in next().bytes().enumerate() {
            if let Some(state) = query.states.get_mut(index) {
                *state = byte == b'1';
            }
        }
        next().clone_into(&mut query.label);
        next().clone_into(&mut query.group);
        query.set_search(next());
        query
    }

    /// Formats the query as a text.
    pub(crate) fn text(&self) -> String {
        let sign = if self.reversed { "-" } else { "" };
        let states: String =
            self.states.iter().map(|&is_on| if is_on { '1' } else { '0' }).collect();
        let sort = COLUMNS.get(self.sort).map_or("", |column| column.id);
        [sign, sort, "\n", &states, "\n", &self.label, "\n", &self.group, "\n", &self.search]
            .concat()
    }

    /// Sorts by a column. A second call reverses the order.
    pub(crate) fn sort_by(&mut self, id: &str) {
        if let Some(index) = COLUMNS.iter().position(|column| column.id == id) {
            self.reversed = self.sort == index && !self.reversed;
            self.sort = index;
        }
    }

    /// Shows or hides the rows in a state.
    pub(crate) fn toggle(&mut self, index: usize) {
        if let Some(state) = self.states.get_mut(index) {
            *state = !*state;
        }
    }

    /// Sets the search text. A text that is too long is discarded.
    pub(crate) fn set_search(&mut self, text: &str) {
        self.search = if text.len() > MAX_SEARCH { String::new() } else { text.replace('\n', " ") };
    }

    /// Whether a member matches the query.
    pub(crate) fn matches(&self, member: &Member) -> bool {
        let is_chosen = self.states.get(member.shown as usize).copied().unwrap_or_default();
        if !is_chosen && self.states.contains(&true) {
            return false;
        }
        if let Some((key, value)) = self.label.split_once('=')
            && !member.labels.iter().any(|label| label.0 == key && label.1 == value)
        {
            return false;
        }
        let search = self.search.trim();
        let finds = |text: &str| contains(text, search);
        finds(member.title())
            || finds(&member.address)
            || finds(&member.version)
            || finds(&member.alert.target)
            || member.labels.iter().any(|(key, value)| finds(key) || finds(value))
    }
}

/// Value of a numeric column; NaN if it is unknown or the column is not numeric.
pub(crate) fn value(member: &Member, column: usize) -> f64 {
    let sum = |one: Metric, other: Metric| {
        let (one, other) = (member.metric(one), member.metric(other));
        if one.is_nan() { other } else { one + if other.is_nan() { 0.0 } else { other } }
    };
    match COLUMNS.get(column).map_or("", |column| column.id) {
        "cpu" => member.metric(Metric::Cpu),
        "memory" => member.metric(Metric::Ram),
        "pressure" => member.pressure(),
        "network" => sum(Metric::Received, Metric::Sent),
        "disk" => sum(Metric::Read, Metric::Written),
        "uptime" => member.metric(Metric::Uptime),
        _ => f64::NAN,
    }
}

/// Whether the text contains the part, ignoring the case of ASCII letters. The tables of all
/// alphabets are larger than this page.
fn contains(text: &str, part: &str) -> bool {
    part.is_empty()
        || text.as_bytes().windows(part.len()).any(|at| at.eq_ignore_ascii_case(part.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::member::Status;

    #[test]
    fn a_query_is_read_back_as_it_was_written() {
        let mut query = Query::default();
        query.sort_by("cpu");
        query.sort_by("cpu");
        query.toggle(Status::Warning as usize);
        query.label = "team=web".to_owned();
        query.group = "az".to_owned();
        query.set_search("10.0.\n7");
        assert_eq!(Query::parse(&query.text()), query);
        assert_eq!((query.sort, query.reversed), (3, true));
        assert_eq!(query.search, "10.0. 7");
    }

    #[test]
    fn a_malformed_text_is_the_default_query() {
        for text in ["", "\n\n\n\n\n\n", "nothing", "-", "-x\n2222222222"] {
            assert_eq!(Query::parse(text), Query::default(), "{text:?}");
        }
        let long = ["state\n\n\n\n", &"x".repeat(MAX_SEARCH + 1)].concat();
        assert_eq!(Query::parse(&long), Query::default());
    }

    #[test]
    fn a_search_ignores_the_case_of_letters() {
        assert!(contains("Web-3", "wEB") && contains("x", "") && contains("Zürich", "ürich"));
        assert!(!contains("web", "webs") && !contains("", "x"));
    }
}
