//! The fleet: every member of the gateway's merged stream in one table, and the way to each
//! member's own page.
//!
//! An event travels from [`controller`] through [`merge`] and [`block`] (a scanner of its own, [`json`]) and
//! [`state`] to [`view`]. Everything but the controller and the view is pure.

mod block;
mod controller;
mod json;
mod member;
mod merge;
mod query;
mod state;
mod tabs;
mod template;
#[cfg(test)]
mod tests;
mod text;
mod view;

pub(crate) use controller::FleetController;
