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

pub(crate) use app::App;
