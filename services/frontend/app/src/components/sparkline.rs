//! The last minute as a line.

use yew::{AttrValue, Html, Properties, component, html};

use crate::chart::{HEIGHT, Paths, WIDTH};

/// A line and its name.
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct SparklineProps {
    /// What the line is of.
    pub(crate) name: AttrValue,
    /// The line.
    pub(crate) trend: Paths,
}

/// The last minute as a line; nothing where nothing is known.
#[component]
pub(crate) fn Sparkline(props: &SparklineProps) -> Html {
    html! {
        <figure class="trend">
            <div class="plot">
                <svg
                    role="img"
                    aria-label={[&props.name, " over the last 60 seconds"].concat()}
                    viewBox={["0 0 ", &WIDTH.to_string(), " ", &HEIGHT.to_string()].concat()}
                    preserveAspectRatio="none"
                >
                    <path class="grid" d="M0 250H6000M0 500H6000M0 750H6000" />
                    <path class="area" d={props.trend.area.clone()} />
                    <path class="line" d={props.trend.line.clone()} />
                </svg>
            </div>
            <figcaption><span>{ "60 s ago" }</span><span>{ "now" }</span></figcaption>
        </figure>
    }
}
