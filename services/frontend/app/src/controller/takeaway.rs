//! Copies and downloads of values and charts.

use super::Controller;
use crate::browser;
use crate::drawing::text_of;
use crate::export::Colors;
use crate::number::plain;

impl Controller {
    /// Copies or saves an export: `json`, `csv`, `html`, or `svg-` and the identifier of a panel.
    pub(super) fn take(&self, action: &str, what: &str) {
        let dashboard = self.dashboard.borrow();
        let (suffix, panel) = what.split_once('-').unwrap_or((what, ""));
        let mut of = panel;
        let mut time_ms = dashboard.window().1;
        let mut text = String::new();
        if suffix != "html" {
            text = self.text_of(what);
        } else if let Some(latest) = &dashboard.latest {
            let host = &latest.hostname;
            of = if host.is_empty() { &latest.instance } else { host };
            // A saved page has the current time, even while its charts are paused.
            time_ms = dashboard.end_ms();
        }
        let texts = [action, &text, of, suffix, &plain(time_ms)];
        let _ = browser::call(&self.window, "take", &texts);
    }

    fn text_of(&self, what: &str) -> String {
        let color = |name: &str| browser::color(&self.window, name);
        let colors = Colors {
            paper: color("--surface"),
            ink: color("--ink"),
            muted: color("--muted"),
            series: ["--s0", "--s1", "--s2", "--s3", "--s4", "--s5"].map(color),
        };
        text_of(&self.dashboard.borrow(), what, &colors)
    }
}
