//! One large figure with everything that belongs to it.

use yew::{AttrValue, Html, Properties, component, html};

use super::level::LevelMark;
use super::meter::Meter;
use super::sparkline::Sparkline;
use crate::chart::Paths;
use crate::state::Level;
use crate::words::{level_name, percent_parts};

/// A figure and its surroundings.
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct FigureProps {
    /// The figure's name for machines: `cpu`.
    pub(crate) id: AttrValue,
    /// The figure's name for people.
    pub(crate) name: AttrValue,
    /// The figure, percent: absent before the first sample, or where the machine does not tell.
    pub(crate) percent: Option<f64>,
    /// What it is of, in words; absent before the first sample.
    pub(crate) words: Option<String>,
    /// Where it came from.
    pub(crate) trend: Paths,
}

/// One large figure with name, level, meter, words and trend.
#[component]
pub(crate) fn Figure(props: &FigureProps) -> Html {
    let level = props.percent.map(Level::of);
    let heading = [&props.id, "-name"].concat();
    html! {
        <section class="card" data-level={level.map(level_name)} aria-labelledby={heading.clone()}>
            <div class="head">
                <h2 id={heading.clone()}>{ props.name.clone() }</h2>
                if let Some(level) = level {
                    <LevelMark {level} />
                }
            </div>
            // The keys keep one span from becoming another: it would be seen to move.
            <p class="figure">
                if let Some(percent) = props.percent {
                    { number(percent, props.id.clone()) }
                    <span key="unit" class="unit">{ "%" }</span>
                } else if props.words.is_some() {
                    <span key="unknown" class="unknown">{ "\u{2013}" }</span>
                } else {
                    <span key="blank" class="blank">{ "00" }</span>
                }
            </p>
            <Meter percent={props.percent} labelled_by={heading} />
            <p class="words">
                if let Some(words) = &props.words {
                    if words.is_empty() && props.percent.is_none() {
                        { "This machine does not tell" }
                    } else {
                        { in_parts(words) }
                    }
                } else {
                    <span class="blank">{ "0 cores, load 0.00 0.00" }</span>
                }
            </p>
            <Sparkline name={props.name.clone()} trend={props.trend.clone()} />
        </section>
    }
}

/// The words with each part of their list in one piece, so that a narrow page breaks between them.
fn in_parts(words: &str) -> Html {
    let mut parts = words.split(", ");
    let first = parts.next();
    html! {
        <>
            <span class="part">{ first }</span>
            for part in parts {
                { ", " }<span class="part">{ part }</span>
            }
        </>
    }
}

fn number(percent: f64, id: AttrValue) -> Html {
    let (whole, tenth) = percent_parts(percent);
    html! {
        <span key="number" class="number" data-testid={id}>{ whole }<span class="tenth">{ tenth }</span></span>
    }
}
