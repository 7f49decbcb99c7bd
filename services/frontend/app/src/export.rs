//! Exports of the current view: JSON, CSV, and a chart as SVG.

use crate::chart::{Drawing, HEIGHT};
use crate::decode::Row;
use crate::metrics::{CHARTED, METRICS};
use crate::number::{plain, push_integer};
use crate::panels::Shape;

/// Colors of an image, as on the page.
pub(crate) struct Colors {
    /// Background.
    pub(crate) paper: String,
    /// Titles.
    pub(crate) ink: String,
    /// Axes.
    pub(crate) muted: String,
    /// Series, in their order.
    pub(crate) series: [String; 6],
}

/// Formats the rows as comma-separated values with a header.
pub(crate) fn csv(rows: &[Row]) -> String {
    let mut text = String::from("time_unix_ms");
    for (name, _) in METRICS.iter().take(CHARTED) {
        text.push(',');
        text.push_str(name);
    }
    for row in rows {
        text.push('\n');
        push_row(&mut text, row, "");
    }
    text.push('\n');
    text
}

/// Formats the rows as JSON: the names of the columns, and rows of numbers and nulls.
pub(crate) fn json(instance: &str, rows: &[Row]) -> String {
    // An instance consists of hexadecimal digits. Other characters could break the JSON text.
    let instance: String = instance.chars().filter(char::is_ascii_alphanumeric).collect();
    let mut text = ["{\"instance\":\"", &instance, "\",\"columns\":[\"time_unix_ms\""].concat();
    for (name, _) in METRICS.iter().take(CHARTED) {
        text.push_str(",\"");
        text.push_str(name);
        text.push('"');
    }
    let mut before = "],\"rows\":[[";
    for row in rows {
        text.push_str(before);
        push_row(&mut text, row, "null");
        before = "],[";
    }
    text.push_str(if rows.is_empty() { "],\"rows\":[]}" } else { "]]}" });
    text
}

/// Renders a chart as a standalone image: title, time, scale and the names of its series.
pub(crate) fn svg(
    shape: &Shape,
    drawing: &Drawing,
    title: &str,
    ticks: &[(f64, String)],
    colors: &Colors,
) -> String {
    let mut text = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"-80 -280 6160 1480\" \
         font-family=\"sans-serif\" font-size=\"80\"><path d=\"M-80 -280H6080V1200H-80z\" fill=\"",
    );
    for part in
        [&colors.paper, "\"/><text y=\"-150\" fill=\"", &colors.ink, "\">", title, "</text>"]
    {
        text.push_str(part);
    }
    for (index, path) in drawing.paths.iter().enumerate().rev() {
        let kind =
            if shape.stacked { " fill=\"" } else { " fill=\"none\" stroke-width=\"8\" stroke=\"" };
        let color = &colors.series[index % colors.series.len()];
        for part in ["<path", kind, color, "\" d=\"", path, "\"/>"] {
            text.push_str(part);
        }
    }
    for (value, label) in ticks {
        let y = plain(HEIGHT as f64 * (1.0 - value / drawing.top));
        for part in
            ["<path stroke=\"", &colors.muted, "\" stroke-width=\"2\" d=\"M0 ", &y, "H6000\"/>"]
        {
            text.push_str(part);
        }
        // The edge keeps a label readable over any series.
        for part in [
            "<text y=\"",
            &y,
            "\" dy=\"-10\" font-size=\"60\" paint-order=\"stroke\" stroke-width=\"12\" stroke=\"",
            &colors.paper,
            "\" fill=\"",
            &colors.ink,
        ] {
            text.push_str(part);
        }
        for part in ["\">", label, "</text>"] {
            text.push_str(part);
        }
    }
    for (index, (_, name)) in shape.series.iter().enumerate() {
        text.push_str("<text y=\"1120\" x=\"");
        push_integer(&mut text, i64::try_from(index).unwrap_or_default() * 800);
        let color = &colors.series[index % colors.series.len()];
        for part in ["\" fill=\"", color, "\">", name, "</text>"] {
            text.push_str(part);
        }
    }
    text.push_str("</svg>");
    text
}

fn push_row(text: &mut String, row: &Row, unknown: &str) {
    text.push_str(&plain(row.time_ms));
    for &value in &row.values {
        text.push(',');
        if value.is_nan() {
            text.push_str(unknown);
        } else {
            text.push_str(&plain(f64::from(value)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panels::PANELS;
    use crate::state::tests::row;

    #[test]
    fn json_has_null_for_unknown_values() {
        let text = json("ab\"c", &[row(60, 1.5), row(61, 2.0)]);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["instance"], "abc");
        assert_eq!(value["columns"].as_array().unwrap().len(), CHARTED + 1);
        assert_eq!(value["rows"][1][0], 61_000);
        assert_eq!(value["rows"][0][3], 1.5);
        assert!(value["rows"][0][1].is_null());
        let empty: serde_json::Value = serde_json::from_str(&json("a", &[])).unwrap();
        assert_eq!(empty["rows"], serde_json::json!([]));
    }

    #[test]
    fn csv_has_a_header_and_a_line_for_each_row() {
        let text = csv(&[row(60, 1.5)]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("time_unix_ms,cpu,ram,"));
        assert!(lines[1].starts_with("60000,,,1.5,"), "{}", lines[1]);
    }

    #[test]
    fn an_image_needs_no_style_sheet() {
        let drawing = Drawing { paths: vec!["M0 0".to_owned()], top: 100.0, ..Drawing::default() };
        let color = || "rgb(1, 2, 3)".to_owned();
        let colors = Colors {
            paper: color(),
            ink: color(),
            muted: color(),
            series: std::array::from_fn(|_| color()),
        };
        let ticks = [(50.0, "50 %".to_owned())];
        let text = svg(
            &PANELS[0].shape(wire::ScopeKind::Host),
            &drawing,
            "Processor time, 12:41",
            &ticks,
            &colors,
        );
        assert!(text.starts_with("<svg xmlns=") && text.ends_with("</svg>"));
        assert!(text.contains("d=\"M0 0\"") && text.contains(">Processor time, 12:41<"));
        assert!(text.contains("M0 500H6000") && text.contains(">50 %<"));
        assert!(text.contains("stroke-width=\"12\" stroke=\"rgb(1, 2, 3)\" fill="));
    }
}
