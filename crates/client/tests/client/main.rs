//! Native participants in meetings that the three real services hold.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod back;
mod bad;
mod bot;
mod churn;
mod hear;
mod house;
mod relay;
mod secrecy;
