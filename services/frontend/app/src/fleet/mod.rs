//! Fleet: all members of the gateway's merged stream in one table, with links to their pages.
//!
//! An event passes through [`controller`], [`merge`], [`block`] (with the scanner [`json`]) and
//! [`state`] to [`view`]. All modules except [`controller`], [`tabs`], [`template`] and [`view`]
//! are pure.

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
