//! The fleet: every member of the gateway's merged stream in one table, and the way to each
//! member's own page.
//!
//! An event travels from [`controller`] through [`decode`] (a scanner of its own, [`json`]) and
//! [`state`] to [`view`]. Everything but the controller and the view is pure.

mod controller;
mod decode;
mod json;
mod member;
mod query;
mod state;
mod tabs;
mod template;
#[cfg(test)]
mod tests;
mod text;
mod view;

pub(crate) use controller::FleetController;
