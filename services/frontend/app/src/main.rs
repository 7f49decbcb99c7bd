//! The dashboard: one machine's processor and memory, live.
//!
//! A sample travels from [`stream`] (the browser's side of it) through [`state`] (pure) to the
//! components, which draw and decide nothing.

mod backoff;
mod chart;
mod components;
mod reading;
mod state;
mod stream;
mod words;

use components::App;

fn main() {
    let document = web_sys::window().and_then(|window| window.document());
    // Without a document there is nobody to tell that there is no document.
    let Some(document) = document else { return };
    let Some(root) = document.get_element_by_id("app") else {
        return;
    };
    let backend = document
        .query_selector("meta[name=backend-service-url]")
        .ok()
        .flatten()
        .and_then(|meta| meta.get_attribute("content"))
        .unwrap_or_default();
    yew::Renderer::<App>::with_root_and_props(root, components::AppProps { backend }).render();
}
