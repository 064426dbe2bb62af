//! The HTTP API: meetings, tokens and the way to a controller; and the web app that uses it.
//!
//! What it is: the first thing a participant talks to. It creates meetings in the database, gives out tokens, asks the
//! meeting's controller what a newcomer needs, and answers with everything that joining takes.
//!
//! What it must not do: know who is in a meeting, or carry anything of it. When every global controller is gone,
//! running meetings go on.
//!
//! Where to start: [`start`]; the routes are in `api`, the choice of a controller in `controllers`.
//!
//! Invariant: every error answer is a problem made from the one table of codes, whatever went wrong.

mod access;
mod api;
mod assets;
mod clock;
mod config;
mod controllers;
mod edge;
mod journal;
mod keys;
mod known;
mod limits;
mod problem;
mod reports;
mod service;

pub use api::openapi;
pub use config::Config;
pub use service::{Deps, Running, StartError, start};
