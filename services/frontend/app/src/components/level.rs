//! What a figure means: a word, and a shape of its own for each, so that colour is never alone.

use yew::{Html, Properties, component, html};

use crate::state::Level;
use crate::words::level_words;

/// The level to show.
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct LevelMarkProps {
    /// The level to show.
    pub(crate) level: Level,
}

/// A shape and a word.
#[component]
pub(crate) fn LevelMark(props: &LevelMarkProps) -> Html {
    let shape = match props.level {
        Level::Normal => "M6 1.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 0 1 0-9z",
        Level::Warning => "M6 .8 11.6 11H.4z",
        Level::Critical => "M6 0 12 6 6 12 0 6z",
    };
    html! {
        <p class="level">
            <svg viewBox="0 0 12 12" aria-hidden="true"><path d={shape} /></svg>
            { level_words(props.level) }
        </p>
    }
}
