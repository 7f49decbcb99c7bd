//! Rendering: state in, markup out. Only the page as a whole is a component. Its parts are
//! functions, because each component takes several kilobytes of code.

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

/// Source and presentation of the values.
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct AppProps {
    /// Address of the service, empty for the page's own origin.
    pub(crate) backend: String,
    /// Kiosk mode for wall displays: only the tiles.
    pub(crate) kiosk: bool,
}
