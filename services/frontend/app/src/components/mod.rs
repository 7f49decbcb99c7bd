//! What is on the screen: what is known in, markup out. Only the page as a whole is a component of
//! its own; the parts are functions, because each component is some kilobytes of its own code.

mod app;
mod controls;
mod fleet;
mod markup;
mod panel;
mod summary;
mod table;
mod tile;

use yew::Properties;

pub(crate) use app::App;

/// Where the figures come from, and how they are shown.
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct AppProps {
    /// The address of the service, empty for the page's own.
    pub(crate) backend: String,
    /// Only the large figures, for a wall.
    pub(crate) kiosk: bool,
}
