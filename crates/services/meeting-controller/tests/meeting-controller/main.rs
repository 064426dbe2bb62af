//! A real controller with real sessions over loopback.

mod bad;
mod flow;
mod plane;
mod stage;
