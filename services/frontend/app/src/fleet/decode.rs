//! The lines of a merged event: `ADDRESS KIND JSON`.

use super::json::{Scalar, scan};
use super::member::{METRICS, Member, Metric};
use super::state::Fleet;

/// Labels of a member that are kept.
const MAX_LABELS: usize = 16;

/// Points of a minute that are read: ten a second.
const MAX_POINTS: usize = 600;

/// Longest address: a name of DNS with a port.
const MAX_ADDRESS: usize = 261;

/// What the gateway says about its connection to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Blocks come in.
    Up,
    /// No block for some seconds.
    Silent,
    /// The connection was refused or has ended.
    Gone,
}

/// A member's block as it was read; texts with their escapes.
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
    /// The block, or `None` where the text is not JSON. A field that is absent or of another type
    /// stays unknown.
    fn read(text: &'a str) -> Option<Self> {
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
        let is_whole = scan(text, &mut |path, scalar| match scalar {
            Scalar::Text(text) => block.set_text(path, text),
            Scalar::Number(value) => {
                let all = METRICS.len();
                let place = (next..next + all).map(|place| place % all);
                let place = place.into_iter().find(|&place| METRICS[place] == path);
                if let Some(place) = place {
                    next = place + 1;
                    // No metric is negative, and the absurd is not known.
                    let is_known = (0.0..f64::INFINITY).contains(&value);
                    block.metrics[place] = if is_known { value } else { f64::NAN };
                }
            }
            Scalar::Other => {}
        });
        is_whole.then_some(block)
    }

    fn set_text(&mut self, path: [&'a str; 2], text: &'a str) {
        let place = match path {
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
        *place = text;
    }

    pub(crate) fn metric(&self, metric: Metric) -> f64 {
        self.metrics[metric as usize]
    }

    pub(crate) fn labels(&self) -> &[(&'a str, &'a str)] {
        self.labels.get(..self.count).unwrap_or_default()
    }
}

/// Takes in all lines of an event. What cannot be read changes nothing.
pub(crate) fn merge(fleet: &mut Fleet, data: &str, now_ms: f64) {
    for line in data.split('\n') {
        let mut parts = line.splitn(3, ' ');
        let (Some(address), Some(kind), Some(text)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        if address.len() > MAX_ADDRESS {
            continue;
        }
        match kind {
            "member" => {
                let Some(block) = Block::read(text) else { continue };
                let presence = match block.state {
                    "up" => Presence::Up,
                    "silent" => Presence::Silent,
                    "gone" => Presence::Gone,
                    _ => continue,
                };
                if let Some(member) = fleet.member(address, now_ms) {
                    let since = block.metric(Metric::Since);
                    member.set_presence(block.instance, presence, since, now_ms);
                }
            }
            "summary" => {
                let Some(block) = Block::read(text) else { continue };
                let member = fleet.member(address, now_ms);
                if member.is_some_and(|member| member.update(&block, now_ms)) {
                    fleet.relabel();
                }
            }
            "minute" => {
                if let Some(member) = fleet.member(address, now_ms) {
                    minute(member, text);
                }
            }
            _ => {}
        }
    }
}

/// Draws the small line anew from the last minute.
fn minute(member: &mut Member, text: &str) {
    let (mut times, mut values) = (Vec::new(), Vec::new());
    scan(text, &mut |path, scalar| {
        let list = match path[0] {
            "times_unix_ms" => &mut times,
            "cpu" => &mut values,
            _ => return,
        };
        if list.len() < MAX_POINTS {
            list.push(if let Scalar::Number(value) = scalar { value } else { f64::NAN });
        }
    });
    for (time, value) in times.into_iter().zip(values) {
        member.push_point(time, value);
    }
}
