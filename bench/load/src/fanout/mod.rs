//! What forwarding costs: a real handler in a process of its own, its gRPC interface spoken as a meeting controller
//! does, tokens signed by a key of the bench, and many participants on one thread.
//!
//! A handler cannot tell a sealed payload from any other bytes, so frames carry what counting needs instead
//! ([`stamp`]). What the server is believed to have sent counts for nothing: CPU is divided by the frames that
//! subscribers got whole ([`tally`]), and compared with a [`floor`] measured in the same minute.
//!
//! Start with [`rows`]: what is run; [`stage`] is how it is measured, [`engine`] the load.

pub mod abuse;
pub mod controller;
pub mod engine;
pub mod floor;
mod participant;
mod port;
pub mod process;
pub mod quota;
pub mod row;
pub mod rows;
pub mod scene;
pub mod stage;
pub mod stamp;
pub mod tally;
pub mod usage;
