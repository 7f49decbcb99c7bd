//! Alerts as browser notifications.

use super::Controller;
use crate::browser;
use crate::labels::{level_labels, scope_text};
use crate::number::Format;

impl Controller {
    /// Passes the alerts to the script, which compares them with the previous ones: their names,
    /// levels and sentences. A name may contain any other character than the separator.
    pub(super) fn notify(&self) {
        let dashboard = self.dashboard.borrow();
        let Some(latest) = &dashboard.latest else { return };
        // The early sample may be that of another instance.
        if !dashboard.settings.notifies || dashboard.instance().is_none() {
            return;
        }
        let format = Format { point: self.point, decimal: dashboard.settings.decimal };
        let mut text = String::new();
        for alert in &dashboard.alerts {
            let level = level_labels(alert.level).1;
            let sentence = alert.sentence(format);
            for part in [&alert.subject, " ", &alert.target, "\0", level, "\0", &sentence, "\0\0"] {
                text.push_str(part);
            }
        }
        let _ = browser::call("notify", &[&text, &scope_text(latest, format)]);
    }
}
