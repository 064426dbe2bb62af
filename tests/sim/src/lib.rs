//! Whole meetings in virtual time, from one seed: the real participant, meeting
//! and forwarder cores in one thread, with nothing but a queue of events between
//! them. What is proved here is proved about the code in the browser and in the
//! services.
//!
//! It must not hold rules of its own: it is the shells' part, done without
//! sockets. [`World`] is one meeting with one of each; [`Cluster`] is many nodes with
//! faults, judged by a reference model.

mod cluster;
mod handler;
mod network;
mod world;

pub use cluster::{Cluster, Plant, Report};
pub use network::Queue;
pub use world::{End, Plot, World};
