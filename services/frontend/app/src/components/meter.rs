//! A bar from 0 to 100 with the two thresholds marked.

use yew::{Html, Properties, component, html};

use crate::state::Level;
use crate::words::{level_name, percent_parts, percent_whole};

/// How full, and of what.
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct MeterProps {
    /// How full; `None` is "not known yet".
    pub(crate) percent: Option<f64>,
    /// The id of the element that names it.
    pub(crate) labelled_by: String,
}

/// The bar. Its size is an attribute of SVG: the page's policy allows no inline style.
#[component]
pub(crate) fn Meter(props: &MeterProps) -> Html {
    let width = props.percent.map(|percent| {
        let (whole, tenth) = percent_parts(percent);
        [whole, tenth, "%".to_owned()].concat()
    });
    let now = props.percent.map(percent_whole);
    let text = now
        .as_ref()
        .zip(props.percent)
        .map(|(now, percent)| [now, " percent, ", level_name(Level::of(percent))].concat());
    html! {
        <svg
            class="meter"
            // Before the first sample there is no value, and a meter must have one.
            role={if now.is_some() { "meter" } else { "presentation" }}
            aria-labelledby={now.is_some().then(|| props.labelled_by.clone())}
            aria-valuemin={now.is_some().then_some("0")}
            aria-valuemax={now.is_some().then_some("100")}
            aria-valuenow={now}
            aria-valuetext={text}
        >
            <rect class="track" width="100%" height="100%" />
            <rect class="fill" width={width.unwrap_or_else(|| "0%".to_owned())} height="100%" />
            <rect class="notch" x="75%" width="2" height="100%" />
            <rect class="notch" x="90%" width="2" height="100%" />
        </svg>
    }
}
