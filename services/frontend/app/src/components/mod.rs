//! What is on the screen: properties in, markup out.

mod app;
mod figure;
mod level;
mod meter;
mod sparkline;
mod status;

pub(crate) use app::{App, AppProps};
