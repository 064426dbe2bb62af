//! A media handler on loopback, with real sessions and a real controller's call.

mod bad;
mod flow;
mod stage;
