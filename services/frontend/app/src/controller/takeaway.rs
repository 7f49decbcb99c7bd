//! Figures and charts to copy or download.

use super::Controller;
use crate::browser;
use crate::components::text_of;
use crate::export::{Colors, file_time};

impl Controller {
    /// Copies the rows that are shown.
    pub(super) fn copy(&self) {
        let navigator = self.window.navigator();
        // Browsers have a clipboard for pages over HTTPS alone.
        if js_sys::Reflect::has(&navigator, &"clipboard".into()).unwrap_or_default() {
            let _ = navigator.clipboard().write_text(&self.text_of("json"));
        } else {
            self.download("json");
        }
    }

    pub(super) fn download(&self, what: &str) {
        let (panel, suffix) = match what.strip_prefix("svg-") {
            Some(panel) => (panel, ".svg"),
            None => ("", if what == "csv" { ".csv" } else { ".json" }),
        };
        let time = file_time(self.dashboard.borrow().window().1);
        let dash = if panel.is_empty() { "" } else { "-" };
        let name = ["system-stats-", panel, dash, &time, suffix].concat();
        browser::download(&self.document, &name, &self.text_of(what));
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
