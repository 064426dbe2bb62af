//! Whole meetings in virtual time, from one seed: the real participant, meeting
//! and forwarder cores in one thread, with nothing but a queue of events between
//! them. What is proved here is proved about the code in the browser and in the
//! services.
//!
//! It must not hold rules of its own: it is the shells' part, done without
//! sockets. Start with [`World`].

mod handler;
mod network;
mod world;

pub use network::Queue;
pub use world::{End, Plot, World};
