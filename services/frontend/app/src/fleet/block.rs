//! Decoding of a member's blocks.

use super::json::{Scalar, scan};

macro_rules! metrics {
    ($($metric:ident $parent:literal $name:literal,)*) => {
        /// Metric of a member. Its number is its index in [`Block::metrics`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Metric {
            $(
                #[doc = concat!("`", $parent, " ", $name, "`")]
                $metric,
            )*
        }

        /// Path of each metric in a block.
        pub(crate) const METRICS: &[[&str; 2]] = &[$([$parent, $name],)*];
    };
}

// The order of a block: the search for a path begins after the last match.
metrics! {
    Since "since_unix_ms" "",
    AlertValue "alert" "value",
    Time "time_unix_ms" "",
    Sequence "sequence" "",
    Cpu "cpu" "",
    Ram "ram" "",
    PressureCpu "pressure" "cpu",
    PressureMemory "pressure" "memory",
    PressureIo "pressure" "io",
    Received "network" "received",
    Sent "network" "sent",
    Read "disk" "read",
    Written "disk" "written",
    Cpus "limits" "cpus",
    MemoryBytes "limits" "memory_bytes",
    Uptime "uptime_seconds" "",
}

/// Maximum number of labels of a member.
const MAX_LABELS: usize = 16;

/// State of the gateway's connection to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Blocks arrive.
    Up,
    /// No block for several seconds.
    Silent,
    /// The connection was refused or has ended.
    Gone,
}

/// Decoded block of a member. Its texts still contain escapes.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    pub(crate) instance: &'a str,
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    pub(crate) state: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) target: &'a str,
    pub(crate) unit: &'a str,
    pub(crate) metrics: [f64; METRICS.len()],
    labels: [(&'a str, &'a str); MAX_LABELS],
    count: usize,
}

impl<'a> Block<'a> {
    /// Decodes a block; `None` if the text is not JSON. A field that is missing or of another type
    /// stays unknown.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut block = Self {
            instance: "",
            name: "",
            version: "",
            state: "",
            subject: "",
            target: "",
            unit: "",
            metrics: [f64::NAN; METRICS.len()],
            labels: [("", ""); MAX_LABELS],
            count: 0,
        };
        let mut next = 0;
        let is_complete = scan(text, &mut |path, scalar| match scalar {
            Scalar::Text(text) => block.set_text(path, text),
            Scalar::Number(value) => {
                let all = METRICS.len();
                let index = (next..next + all).map(|index| index % all);
                let index = index.into_iter().find(|&index| METRICS[index] == path);
                if let Some(index) = index {
                    next = index + 1;
                    // Negative and infinite values count as unknown.
                    let is_known = (0.0..f64::INFINITY).contains(&value);
                    block.metrics[index] = if is_known { value } else { f64::NAN };
                }
            }
            Scalar::Other => {}
        });
        is_complete.then_some(block)
    }

    fn set_text(&mut self, path: [&'a str; 2], text: &'a str) {
        let field = match path {
            ["instance", ""] => &mut self.instance,
            ["name", ""] => &mut self.name,
            ["version", ""] => &mut self.version,
            ["state", ""] => &mut self.state,
            ["alert", "subject"] => &mut self.subject,
            ["alert", "target"] => &mut self.target,
            ["alert", "unit"] => &mut self.unit,
            ["labels", key] => {
                if let Some(label) = self.labels.get_mut(self.count) {
                    *label = (key, text);
                    self.count += 1;
                }
                return;
            }
            _ => return,
        };
        *field = text;
    }

    pub(crate) fn metric(&self, metric: Metric) -> f64 {
        self.metrics[metric as usize]
    }

    pub(crate) fn labels(&self) -> &[(&'a str, &'a str)] {
        self.labels.get(..self.count).unwrap_or_default()
    }
}
