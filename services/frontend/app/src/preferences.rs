//! What the viewer chose: what part of the time, which units, which theme, from where on a figure
//! is too high. The address carries the first, the browser's storage the rest.

use crate::panels::{PANELS, TILES};

/// How far the charts look back: name in addresses, name for people, and seconds.
pub(crate) const RANGES: [(&str, &str, u32); 3] =
    [("10m", "10 min", 600), ("1h", "1 hour", 3_600), ("24h", "24 hours", 86_400)];

/// The names of the themes, in the order in which a click goes through them.
pub(crate) const THEMES: [&str; 3] = ["system", "light", "dark"];

/// The last word of stored settings with notifications.
const NOTIFIES: &str = " notify";

/// What the address says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ViewState {
    /// Which of the [`RANGES`].
    pub(crate) range: usize,
    /// Which of the [`PANELS`] is shown large.
    pub(crate) panel: Option<usize>,
}

/// What the viewer set once and for all.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// Which of the [`THEMES`].
    pub(crate) theme: usize,
    /// Units of 1,000 instead of 1,024.
    pub(crate) decimal: bool,
    /// Whether alerts are shown as notifications, if the browser allows it.
    pub(crate) notifies: bool,
    /// Where warning and critical begin, of each of the [`TILES`].
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
    /// What `#range=1h&panel=cpu` means; what it does not say is as at first.
    pub(crate) fn parse(hash: &str) -> Self {
        let mut view = Self::default();
        for pair in hash.trim_start_matches('#').split('&') {
            match pair.split_once('=') {
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

    /// The address of this view.
    pub(crate) fn hash(self) -> String {
        let range = RANGES.get(self.range).map_or("", |range| range.0);
        match self.panel.and_then(|panel| PANELS.get(panel)) {
            Some(panel) => ["#range=", range, "&panel=", panel.id].concat(),
            None => ["#range=", range].concat(),
        }
    }
}

impl Settings {
    /// The settings that were stored; what cannot be read is as at first.
    pub(crate) fn parse(text: &str) -> Self {
        let mut settings = Self::default();
        let mut parts = text.split(' ');
        let theme = parts.next().and_then(|name| THEMES.iter().position(|theme| *theme == name));
        settings.theme = theme.unwrap_or_default();
        settings.decimal = parts.next() == Some("decimal");
        // Behind the thresholds, where older pages ignore it.
        settings.notifies = text.ends_with(NOTIFIES);
        for (place, number) in parts.enumerate() {
            settings.set_threshold(place, number);
        }
        settings
    }

    /// The settings as they are stored.
    pub(crate) fn text(&self) -> String {
        let mut text =
            [self.theme_name(), if self.decimal { " decimal" } else { " binary" }].concat();
        for &limit in self.thresholds.as_flattened() {
            text.push(' ');
            text.push_str(&crate::number::plain(limit));
        }
        if self.notifies {
            text.push_str(NOTIFIES);
        }
        text
    }

    /// The theme's name.
    pub(crate) fn theme_name(&self) -> &'static str {
        THEMES.get(self.theme).copied().unwrap_or_default()
    }

    /// Takes the theme behind this one.
    pub(crate) fn next_theme(&mut self) {
        self.theme = (self.theme + 1) % THEMES.len();
    }

    /// Sets a threshold by its index in the row of all; returns whether the text is a number. A
    /// warning begins at or below its critical threshold: the other one moves along.
    pub(crate) fn set_threshold(&mut self, place: usize, number: &str) -> bool {
        let pair = self.thresholds.get_mut(place / 2);
        let (Some(pair), Some(number)) = (pair, crate::number::parse(number)) else {
            return false;
        };
        pair[place % 2] = number;
        let other = &mut pair[1 - place % 2];
        *other = if place.is_multiple_of(2) { other.max(number) } else { other.min(number) };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_carries_the_view() {
        let view = ViewState::parse("#range=1h&panel=cpu");
        assert_eq!(view, ViewState { range: 1, panel: Some(0) });
        assert_eq!(view.hash(), "#range=1h&panel=cpu");
        assert_eq!(ViewState { range: 2, panel: None }.hash(), "#range=24h");
    }

    #[test]
    fn a_strange_address_is_the_first_view() {
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
    fn settings_that_make_no_sense_change_nothing() {
        for text in ["", "pink", "system binary x y z", "\0 \0", "system binary -1 NaN 1e999"] {
            assert_eq!(Settings::parse(text), Settings::default(), "{text}");
        }
    }
}
