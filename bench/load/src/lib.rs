//! Load and latency measurements with native participants.
//!
//! Real processes, real sockets: a `darktower` is started, the relays of `darktower-link` stand between it and the
//! participants, and what is measured is what a participant sees.
//!
//! It must not touch a service from inside, or leave out of its numbers what a participant has to wait for.
//!
//! Start with `src/bin/bench-join.rs`; [`system`] is what is measured, [`join`] one measurement, [`rows`] what is said
//! of many, [`spans`] and [`tree`] what explains one. What a forwarded frame costs: `src/bin/bench-fanout.rs` and
//! [`fanout`].

pub mod fanout;
pub mod join;
pub mod rows;
pub mod spans;
pub mod system;
pub mod tree;
