//! Preferences of the viewer. The address contains the time range and the panel; the browser's
//! storage contains theme, units, notifications and thresholds.

use crate::number::{cut, parts, plain};
use crate::panels::{PANELS, TILES};

/// Time ranges of the charts: name in addresses, displayed name, and seconds.
pub(crate) const RANGES: [(&str, &str, u32); 3] =
    [("10m", "10 min", 600), ("1h", "1 hour", 3_600), ("24h", "24 hours", 86_400)];

/// Names of the themes, in the order in which the button switches them.
pub(crate) const THEMES: [&str; 3] = ["system", "light", "dark"];

/// Last word of stored settings if notifications are enabled.
const NOTIFY_SUFFIX: &str = " notify";

/// State of the view in the address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ViewState {
    /// Index in [`RANGES`].
    pub(crate) range: usize,
    /// Index in [`PANELS`] of the panel that is enlarged.
    pub(crate) panel: Option<usize>,
}

/// Settings in the browser's storage.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// Index in [`THEMES`].
    pub(crate) theme: usize,
    /// Whether units are multiples of 1,000 instead of 1,024.
    pub(crate) decimal: bool,
    /// Whether alerts are shown as notifications, if the browser allows it.
    pub(crate) notifies: bool,
    /// Thresholds for warning and critical, for each of the [`TILES`].
    pub(crate) thresholds: [[f64; 2]; TILES.len()],
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            theme: 0,
            decimal: false,
            notifies: false,
            thresholds: TILES.map(|tile| tile.thresholds),
        }
    }
}

impl ViewState {
    /// Parses a fragment such as `#range=1h&panel=cpu`. Missing and unknown values are the
    /// defaults.
    pub(crate) fn parse(hash: &str) -> Self {
        let mut view = Self::default();
        for pair in parts(hash.get(1..).unwrap_or_default(), b'&') {
            match cut(pair, b'=') {
                Some(("range", name)) => {
                    let range = RANGES.iter().position(|range| range.0 == name);
                    view.range = range.unwrap_or_default();
                }
                Some(("panel", name)) => {
                    view.panel = PANELS.iter().position(|panel| panel.id == name);
                }
                _ => {}
            }
        }
        view
    }

    /// Formats the view as a fragment.
    pub(crate) fn hash(self) -> String {
        let range = RANGES.get(self.range).map_or("", |range| range.0);
        match self.panel.and_then(|panel| PANELS.get(panel)) {
            Some(panel) => ["#range=", range, "&panel=", panel.id].concat(),
            None => ["#range=", range].concat(),
        }
    }
}

impl Settings {
    /// Parses stored settings. Malformed values are replaced by the defaults.
    pub(crate) fn parse(text: &str) -> Self {
        let mut settings = Self::default();
        let mut parts = parts(text, b' ');
        let theme = parts.next().and_then(|name| THEMES.iter().position(|theme| *theme == name));
        settings.theme = theme.unwrap_or_default();
        settings.decimal = parts.next() == Some("decimal");
        // The word follows the thresholds because older versions of the page ignore it there.
        settings.notifies = text.ends_with(NOTIFY_SUFFIX);
        for (index, number) in parts.enumerate() {
            settings.set_threshold(index, number);
        }
        settings
    }

    /// Formats the settings for the storage.
    pub(crate) fn text(&self) -> String {
        let mut text =
            [self.theme_name(), if self.decimal { " decimal" } else { " binary" }].concat();
        for &limit in self.thresholds.as_flattened() {
            text.push(' ');
            text.push_str(&plain(limit));
        }
        if self.notifies {
            text.push_str(NOTIFY_SUFFIX);
        }
        text
    }

    /// Name of the theme.
    pub(crate) fn theme_name(&self) -> &'static str {
        THEMES.get(self.theme).copied().unwrap_or_default()
    }

    /// Switches to the next theme.
    pub(crate) fn next_theme(&mut self) {
        self.theme = (self.theme + 1) % THEMES.len();
    }

    /// Sets a threshold by its index in the flattened array. Returns whether the text is a valid
    /// number. A warning threshold never exceeds the critical one; if necessary, the other one is
    /// adjusted.
    pub(crate) fn set_threshold(&mut self, index: usize, number: &str) -> bool {
        let pair = self.thresholds.get_mut(index / 2);
        let (Some(pair), Some(number)) = (pair, crate::number::parse(number)) else {
            return false;
        };
        pair[index % 2] = number;
        let other = &mut pair[1 - index % 2];
        *other = if index.is_multiple_of(2) { other.max(number) } else { other.min(number) };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_contains_the_view() {
        let view = ViewState::parse("#range=1h&panel=cpu");
        assert_eq!(view, ViewState { range: 1, panel: Some(0) });
        assert_eq!(view.hash(), "#range=1h&panel=cpu");
        assert_eq!(ViewState { range: 2, panel: None }.hash(), "#range=24h");
    }

    #[test]
    fn a_malformed_address_is_the_default_view() {
        for hash in ["", "#", "#range=9y&panel=nothing", "#&&=", "#range"] {
            assert_eq!(ViewState::parse(hash), ViewState::default(), "{hash}");
        }
    }

    #[test]
    fn settings_are_read_back_as_they_were_stored() {
        let mut settings =
            Settings { theme: 2, decimal: true, notifies: true, ..Settings::default() };
        settings.set_threshold(1, "95.5");
        assert_eq!(settings.text().split(' ').nth(3), Some("95.5"));
        assert_eq!(Settings::parse(&settings.text()), settings);
    }

    #[test]
    fn malformed_settings_are_the_defaults() {
        for text in ["", "pink", "system binary x y z", "\0 \0", "system binary -1 NaN 1e999"] {
            assert_eq!(Settings::parse(text), Settings::default(), "{text}");
        }
    }
}
