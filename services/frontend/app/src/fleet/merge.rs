//! Parsing of a merged event. Its lines are `ADDRESS KIND JSON`.

use super::block::{Block, Metric, Presence};
use super::json::{Scalar, scan};
use super::member::Member;
use super::state::Fleet;

/// Maximum number of points of a minute: ten per second.
const MAX_POINTS: usize = 600;

/// Maximum length of an address: a DNS name with a port.
const MAX_ADDRESS: usize = 261;

impl Fleet {
    /// Applies all lines of an event. Malformed lines are ignored.
    pub(super) fn merge_lines(&mut self, data: &str, now_ms: f64, now_unix_ms: f64) {
        for line in data.split('\n') {
            let mut parts = line.splitn(3, ' ');
            let (Some(address), Some(kind), Some(text)) =
                (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            if address.len() > MAX_ADDRESS {
                continue;
            }
            match kind {
                "member" => {
                    let Some(block) = Block::parse(text) else { continue };
                    let presence = match block.state {
                        "up" => Presence::Up,
                        "silent" => Presence::Silent,
                        "gone" => Presence::Gone,
                        _ => continue,
                    };
                    if let Some(member) = self.member(address, now_ms) {
                        let time = block.metric(Metric::Time);
                        // A name that is removed has no time, and is gone since 1970.
                        let time = if time.is_nan() { now_unix_ms } else { time };
                        let age = (time - block.metric(Metric::Since)).max(0.0);
                        member.set_presence(block.instance, presence, now_ms - age, now_ms);
                    }
                }
                "summary" => {
                    let Some(block) = Block::parse(text) else { continue };
                    let member = self.member(address, now_ms);
                    if member.is_some_and(|member| member.update(&block, now_ms)) {
                        self.labels_changed = true;
                    }
                }
                "minute" => {
                    if let Some(member) = self.member(address, now_ms) {
                        minute(member, text);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Rebuilds the sparkline from the last minute.
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
