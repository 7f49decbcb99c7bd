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

pub(crate) use app::{App, AppProps};
pub(crate) use controls::text_of;
