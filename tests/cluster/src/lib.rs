//! Real `darktower` processes on free ports of loopback, each in the test's
//! own directory, gone when the test is.
//!
//! What it is: [`Process`] starts one and waits for what it says, with a
//! deadline; [`http`] asks its API; [`Bot`] is in one of its meetings.
//!
//! What it must not do: know how a service works. It sees what an operator
//! sees: standard output, the log, HTTP, the exit code.
//!
//! Where to start: [`Place::all`] and [`Place::apart`].

mod bot;
pub mod http;
mod place;
mod process;

pub use bot::Bot;
pub use place::{Apart, Place};
pub use process::{Process, WITHIN, address, program};
