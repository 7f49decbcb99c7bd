//! The page as a whole. Its markup before the first sample is also written in `index.html`, where
//! it is seen while the program is on its way: whoever changes one changes the other.

use yew::{Html, Properties, component, html};

use super::figure::Figure;
use super::status::Status;
use crate::chart::{Paths, paths};
use crate::state::{Instance, Link, Point, percent};
use crate::stream::use_stream;
use crate::words::{cpu_words, link_name, memory_words, uptime_words};

/// Where the figures come from.
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct AppProps {
    /// The address of the service, empty for the page's own.
    pub(crate) backend: String,
}

/// The page as a whole.
#[component]
pub(crate) fn App(props: &AppProps) -> Html {
    let dashboard = use_stream(&props.backend);
    let instance = dashboard.instance.as_ref();
    let latest = instance.map(|instance| &instance.latest);
    let age = dashboard.age_ms().unwrap_or_default();
    let trend = |value: fn(&Point) -> Option<f64>| match instance {
        Some(instance) => trend_of(instance, age, value),
        None => Paths::default(),
    };
    html! {
        <div
            class="page"
            data-state={link_name(dashboard.link)}
            data-sequence={latest.map(|sample| sample.sequence.to_string())}
        >
            <header class="top">
                <h1>{ "System stats" }</h1>
                <Status
                    link={dashboard.link}
                    age_ms={dashboard.age_ms().filter(|_| dashboard.link != Link::Live)}
                />
            </header>
            <main>
                <Figure
                    id="cpu"
                    name="CPU"
                    percent={latest.and_then(|sample| sample.cpu).map(percent)}
                    words={latest.map(cpu_words)}
                    trend={trend(|point| point.cpu)}
                />
                <Figure
                    id="ram"
                    name="Memory"
                    percent={latest.and_then(|sample| sample.ram).map(percent)}
                    words={latest.map(memory_words)}
                    trend={trend(|point| point.ram)}
                />
            </main>
            <footer>
                <p>
                    if let Some(sample) = latest {
                        { "Instance " }
                        <code data-testid="instance">{ sample.instance.clone() }</code>
                        if let Some(seconds) = sample.uptime_seconds {
                            <span class="uptime">{ uptime_words(seconds) }</span>
                        }
                    } else {
                        <span class="blank">{ "Instance 0000000000000000" }</span>
                    }
                </p>
                <a href={[&props.backend, "/stats"].concat()}>{ "Raw figures" }</a>
            </footer>
        </div>
    }
}

/// The window ends now, by the clock of the machine that is looked at. While samples come in, now
/// is the newest of them, so that the line does not tremble by the time they spend on their way.
fn trend_of(instance: &Instance, age_ms: f64, value: fn(&Point) -> Option<f64>) -> Paths {
    let late = age_ms - instance.latest.interval_ms as f64 * 2.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a negative lateness is none, and the cast saturates"
    )]
    let late = if late > 0.0 { age_ms as u64 } else { 0 };
    paths(instance.history(), value, instance.latest.time_unix_ms.saturating_add(late))
}
