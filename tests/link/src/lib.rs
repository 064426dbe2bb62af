//! The network the tests control.
//!
//! Two parts. The **model** is one direction of a link as a pure state machine: delay, jitter, loss,
//! rate with a bounded queue, blackout, duplication and reordering, all from one seed, time passed in
//! as an argument. The **relay** (feature `relay`) puts that model between real sockets on loopback,
//! so that real services and real browsers meet over a path whose properties a test chose.
//!
//! It must not know any protocol above UDP and TCP, and the model must not touch a clock, a socket or a
//! source of randomness other than its seed: the same seed and the same calls give the same outcome.
//!
//! Start at [`Conditions`] (what a link is like), then [`Link`] (what it does to packets), then
//! [`relay::Relay`] (the same for sockets). The program `darktower-link` is a thin shell around the last.

mod conditions;
mod model;
mod random;

#[cfg(feature = "relay")]
pub mod control;
#[cfg(feature = "relay")]
pub mod relay;

pub use conditions::{
    Conditions, Loss, ParseError, Queue, parse_chance, parse_duration, parse_rate,
};
pub use model::{Counters, Discipline, Link};
pub use random::Random;
