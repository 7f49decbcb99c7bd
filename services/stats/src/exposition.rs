//! Text formats for scrapers: Prometheus 0.0.4 and `OpenMetrics` 1.0.0.

use std::fmt::Write as _;

use http_semantics::negotiation::media_type;

/// Text format of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Prometheus text format, version 0.0.4.
    Text,
    /// `OpenMetrics`, version 1.0.0.
    OpenMetrics,
}

impl Format {
    /// Format with the scraper's highest preference; `None` if it accepts neither. If both are
    /// equal, the more specific media range wins, then plain text.
    pub(crate) fn preferred<'a, I: Iterator<Item = &'a str>>(
        accept: impl Fn() -> I,
    ) -> Option<Self> {
        let text = media_type(accept(), "text/plain");
        let open_metrics = media_type(accept(), "application/openmetrics-text");
        if open_metrics > text { Some(Self::OpenMetrics) } else { text.map(|_| Self::Text) }
    }

    /// Media type of the response.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Type of a metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Increases only. The name must end in `_total`, because `OpenMetrics` requires this suffix.
    Counter,
    Gauge,
    /// Counter or gauge.
    Untyped,
}

/// Value of one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    Integer(u64),
    /// `units` divided by `scale`, a power of ten; written without rounding.
    Scaled {
        units: u64,
        scale: u32,
    },
    Float(f64),
    /// Unknown: the sample is not written.
    Unknown,
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Integer(number)
    }
}

impl From<Option<u64>> for Value {
    fn from(number: Option<u64>) -> Self {
        number.map_or(Self::Unknown, Self::Integer)
    }
}

impl Value {
    /// Converts a count of fractions of a second to seconds.
    pub(crate) fn seconds(units: impl Into<Option<u64>>, scale: u32) -> Self {
        units.into().map_or(Self::Unknown, |units| Self::Scaled { units, scale })
    }

    /// Value that is omitted if it is unknown or not finite.
    pub(crate) fn float(number: Option<f64>) -> Self {
        number.filter(|number| number.is_finite()).map_or(Self::Unknown, Self::Float)
    }

    fn write(self, out: &mut String) {
        // Writing to a string cannot fail.
        let _ = match self {
            Self::Integer(number) => write!(out, "{number}"),
            Self::Scaled { units, scale } => {
                write_scaled(out, units, scale);
                Ok(())
            }
            Self::Float(number) => write!(out, "{number}"),
            Self::Unknown => Ok(()),
        };
    }
}

fn write_scaled(out: &mut String, units: u64, scale: u32) {
    let scale = scale.max(1);
    let _ = write!(out, "{}", units / u64::from(scale));
    let mut rest = u32::try_from(units % u64::from(scale)).unwrap_or(0);
    if rest > 0 {
        out.push('.');
    }
    let mut divisor = scale;
    while rest > 0 {
        divisor = (divisor / 10).max(1);
        out.push(char::from_digit(rest / divisor, 10).unwrap_or('0'));
        rest %= divisor;
    }
}

/// Label name and value.
pub(crate) type Label<'a> = (&'static str, &'a str);

/// Writes metric families one after the other.
pub(crate) struct Writer {
    out: String,
    format: Format,
}

impl Writer {
    pub(crate) fn new(format: Format, capacity: usize) -> Self {
        Self { out: String::with_capacity(capacity), format }
    }

    /// Starts a family. The header is written together with the first sample. No other family can
    /// start while this one is borrowed.
    pub(crate) fn family<'w>(
        &'w mut self,
        name: &'w str,
        kind: Kind,
        help: &'static str,
    ) -> Samples<'w> {
        Samples { writer: self, name, kind, help, has_header: false }
    }

    /// The text so far, without the end marker.
    pub(crate) fn finish(self) -> String {
        self.out
    }
}

/// Appends the end marker to a complete text.
pub(crate) fn end(text: &mut String, format: Format) {
    if format == Format::OpenMetrics {
        text.push_str("# EOF\n");
    }
}

/// Samples of one family.
pub(crate) struct Samples<'w> {
    writer: &'w mut Writer,
    name: &'w str,
    kind: Kind,
    help: &'static str,
    has_header: bool,
}

impl Samples<'_> {
    /// Writes one sample, unless its value is unknown.
    pub(crate) fn add(&mut self, labels: &[Label], value: Value) {
        if value == Value::Unknown {
            return;
        }
        if !self.has_header {
            self.has_header = true;
            self.write_header();
        }
        let out = &mut self.writer.out;
        out.push_str(self.name);
        let mut separator = '{';
        for (name, text) in labels {
            out.push(separator);
            separator = ',';
            out.push_str(name);
            out.push_str("=\"");
            escape(out, text);
            out.push('"');
        }
        if !labels.is_empty() {
            out.push('}');
        }
        out.push(' ');
        value.write(out);
        out.push('\n');
    }

    fn write_header(&mut self) {
        let (kind, suffix) = match self.kind {
            Kind::Counter => ("counter", "_total"),
            Kind::Gauge => ("gauge", ""),
            Kind::Untyped if self.writer.format == Format::OpenMetrics => ("unknown", ""),
            Kind::Untyped => ("untyped", ""),
        };
        let name = match self.writer.format {
            Format::Text => self.name,
            // In `OpenMetrics`, the family name is the sample name without the suffix.
            Format::OpenMetrics => self.name.strip_suffix(suffix).unwrap_or(self.name),
        };
        let out = &mut self.writer.out;
        for part in ["# HELP ", name, " ", self.help, "\n# TYPE ", name, " ", kind, "\n"] {
            out.push_str(part);
        }
    }
}

fn escape(out: &mut String, text: &str) {
    if !text.bytes().any(|byte| matches!(byte, b'\\' | b'"' | b'\n')) {
        out.push_str(text);
        return;
    }
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: Value) -> String {
        let mut out = String::new();
        value.write(&mut out);
        out
    }

    #[test]
    fn fractions_of_a_second_are_written_without_rounding() {
        assert_eq!(written(Value::seconds(1234, 100)), "12.34");
        assert_eq!(written(Value::seconds(1205, 100)), "12.05");
        assert_eq!(written(Value::seconds(1250, 100)), "12.5");
        assert_eq!(written(Value::seconds(1200, 100)), "12");
        assert_eq!(written(Value::seconds(7, 1_000_000_000)), "0.000000007");
        assert_eq!(written(Value::seconds(0, 1000)), "0");
        assert_eq!(written(Value::seconds(u64::MAX, 1_000_000)), "18446744073709.551615");
        assert_eq!(written(Value::Scaled { units: 5, scale: 0 }), "5");
    }

    #[test]
    fn integers_are_exact_and_reals_have_no_exponent() {
        assert_eq!(written(Value::from(u64::MAX)), "18446744073709551615");
        assert_eq!(written(Value::float(Some(0.25))), "0.25");
        assert_eq!(written(Value::float(Some(1e-7))), "0.0000001");
        assert_eq!(written(Value::float(Some(3.0))), "3");
    }

    #[test]
    fn a_value_that_is_not_a_number_is_unknown() {
        for odd in [None, Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY)] {
            assert_eq!(Value::float(odd), Value::Unknown);
        }
        assert_eq!(Value::from(None), Value::Unknown);
        assert_eq!(Value::seconds(None, 100), Value::Unknown);
    }

    #[test]
    fn a_family_without_a_known_value_is_not_written() {
        let mut writer = Writer::new(Format::Text, 0);
        writer.family("a_total", Kind::Counter, "A.").add(&[("b", "c")], Value::Unknown);
        assert_eq!(writer.finish(), "");
    }

    #[test]
    fn label_values_are_escaped() {
        let mut writer = Writer::new(Format::Text, 0);
        writer.family("a", Kind::Gauge, "A.").add(&[("b", "\\ \" \n"), ("c", "ü")], 1.into());
        let text = writer.finish();
        assert_eq!(text, "# HELP a A.\n# TYPE a gauge\na{b=\"\\\\ \\\" \\n\",c=\"ü\"} 1\n");
    }

    #[test]
    fn an_openmetrics_counter_family_has_no_suffix() {
        let mut writer = Writer::new(Format::OpenMetrics, 0);
        writer.family("a_total", Kind::Counter, "A.").add(&[], 1.into());
        writer.family("b_total", Kind::Gauge, "B.").add(&[], 2.into());
        writer.family("c", Kind::Untyped, "C.").add(&[], 3.into());
        let mut text = writer.finish();
        end(&mut text, Format::OpenMetrics);
        assert_eq!(
            text,
            "# HELP a A.\n# TYPE a counter\na_total 1\n\
             # HELP b_total B.\n# TYPE b_total gauge\nb_total 2\n\
             # HELP c C.\n# TYPE c unknown\nc 3\n# EOF\n"
        );
    }

    #[test]
    fn a_scraper_receives_its_preferred_format() {
        let preferred = |accept: &'static str| Format::preferred(|| [accept].into_iter());
        assert_eq!(preferred(""), Some(Format::Text));
        assert_eq!(preferred("*/*"), Some(Format::Text));
        // `Accept` of Prometheus 2 and 3.
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(preferred(prometheus), Some(Format::OpenMetrics));
        assert_eq!(preferred("application/openmetrics-text, */*"), Some(Format::OpenMetrics));
        assert_eq!(preferred("text/plain, application/openmetrics-text"), Some(Format::Text));
        assert_eq!(preferred("application/json"), None);
    }
}
