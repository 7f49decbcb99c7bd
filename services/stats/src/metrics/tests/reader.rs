//! Reader of both text formats, independent of the writer.

use std::collections::BTreeSet;

use crate::metrics::Format;

/// One sample.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: String,
}

/// Parses the samples of a text.
pub(super) fn series(text: &str) -> Vec<Series> {
    let lines = text.strip_suffix('\n').unwrap().split('\n');
    lines.filter(|line| !line.starts_with('#')).map(read_line).collect()
}

fn read_line(line: &str) -> Series {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap();
            let mut value = String::new();
            let mut characters = after.chars();
            loop {
                match characters.next().unwrap() {
                    '"' => break,
                    '\\' => value.push(match characters.next().unwrap() {
                        'n' => '\n',
                        same @ ('\\' | '"') => same,
                        other => panic!("{other} is escaped in {line}"),
                    }),
                    other => value.push(other),
                }
            }
            labels.push((label.to_owned(), value));
            rest = characters.as_str();
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            rest = rest.strip_prefix(',').unwrap();
        }
    }
    let value = rest.strip_prefix(' ').unwrap().to_owned();
    Series { name: name.to_owned(), labels, value }
}

/// Checks the requirements of both formats on a whole text.
#[track_caller]
pub(crate) fn check_form(text: &str, format: Format) {
    let body = match format {
        Format::Text => text,
        Format::OpenMetrics => text.strip_suffix("# EOF\n").unwrap(),
    };
    let mut families = BTreeSet::new();
    let mut all = BTreeSet::new();
    let mut lines = body.strip_suffix('\n').unwrap().split('\n').peekable();
    while let Some(help) = lines.next() {
        let (family, help) = help.strip_prefix("# HELP ").unwrap().split_once(' ').unwrap();
        assert!(help.ends_with('.') && !help.contains('\\'), "{family}: {help}");
        assert!(families.insert(family), "{family} appears twice");
        let letters = family.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        assert!(letters, "{family}");
        let kind = lines.next().unwrap();
        let (name, kind) = kind.strip_prefix("# TYPE ").unwrap().split_once(' ').unwrap();
        assert_eq!(name, family);
        let sample = match (format, kind) {
            (_, "gauge") => family.to_owned(),
            (Format::Text, "counter") => {
                assert!(family.ends_with("_total"), "{family}");
                family.to_owned()
            }
            (Format::OpenMetrics, "counter") => format!("{family}_total"),
            other => panic!("{family} is {other:?}"),
        };
        assert!(lines.peek().is_some_and(|line| !line.starts_with('#')), "{family} is empty");
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let series = read_line(line);
            assert_eq!(series.name, sample);
            assert!(series.labels.is_sorted(), "{line}");
            assert!(series.value.parse::<f64>().unwrap().is_finite(), "{line}");
            assert!(all.insert((series.name, series.labels)), "{line} appears twice");
        }
    }
}
