//! Copies and downloads of values and charts.

use super::Controller;
use crate::browser;
use crate::drawing::export_text;
use crate::export::Colors;
use crate::number::{cut, plain};

impl Controller {
    /// Copies or saves an export: `json`, `csv`, `html`, or `svg-` and the identifier of a panel.
    pub(super) fn export(&self, action: &str, format_name: &str) {
        let dashboard = self.dashboard.borrow();
        let (suffix, panel) = cut(format_name, b'-').unwrap_or((format_name, ""));
        let mut name = panel;
        let mut time_ms = dashboard.window().1;
        let mut text = String::new();
        if suffix != "html" {
            text = self.export_text(format_name);
        } else if let Some(latest) = &dashboard.latest {
            let host = &latest.hostname;
            name = if host.is_empty() { &latest.instance } else { host };
            // A saved page has the current time, even while its charts are paused.
            time_ms = dashboard.end_ms();
        }
        let texts = [action, &text, name, suffix, &plain(time_ms)];
        let _ = browser::call("take", &texts);
    }

    fn export_text(&self, format_name: &str) -> String {
        // Free memory is gray, as on the page.
        let third = if format_name == "svg-memory" { "--muted" } else { "--s2" };
        let colors = Colors {
            paper: browser::color("--surface"),
            ink: browser::color("--ink"),
            muted: browser::color("--muted"),
            series: ["--s0", "--s1", third, "--s3", "--s4", "--s5"].map(browser::color),
        };
        export_text(&self.dashboard.borrow(), format_name, &colors)
    }
}
