//! How the stream is doing.

use yew::{Html, Properties, component, html};

use crate::state::Link;
use crate::words::{age_words, link_words};

/// The state, and the age of the figures where it matters.
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct StatusProps {
    /// The state of the stream.
    pub(crate) link: Link,
    /// How old the figures are, when they are old.
    pub(crate) age_ms: Option<f64>,
}

/// The state is a live region and changes rarely; the age changes every second and is not in it.
#[component]
pub(crate) fn Status(props: &StatusProps) -> Html {
    html! {
        <div class="status">
            <svg class="lamp" viewBox="0 0 12 12" aria-hidden="true"><circle cx="6" cy="6" r="4" /></svg>
            <p role="status" data-testid="status">{ link_words(props.link) }</p>
            if let Some(age) = props.age_ms {
                <p class="age" data-testid="age">{ age_words(age) }</p>
            }
        </div>
    }
}
