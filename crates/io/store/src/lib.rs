//! What outlives a request: the durable [`Database`] and the live [`StateStore`].
//!
//! What it is: two traits that speak the domain (meetings, leases, fences), and their backends. SQLite or
//! PostgreSQL keeps what must be there tomorrow; memory or Redis keeps what must be there now. Another backend is
//! another implementation of the same trait, held to it by the same suite (`conformance`, a feature for tests).
//!
//! What it must not do: decide. It knows nothing of roles, rates or placement; a fence is compared here only because
//! comparing and writing have to be one step.
//!
//! Where to start: [`StateStore`] with [`MemoryState`] and [`RedisState`], [`Database`] with [`SqliteDatabase`] and
//! [`PostgresDatabase`].
//!
//! Invariant: fences of a meeting only grow, whatever expires, is released or forgotten in between.

#[cfg(feature = "conformance")]
#[allow(clippy::unwrap_used)] // It is test code, compiled where tests of other crates reach it.
pub mod conformance;
pub mod database;
mod error;
pub mod state;
mod unusable;

pub use database::{Database, PostgresDatabase, PostgresOptions, SqliteDatabase};
pub use error::Error;
pub use state::{
    Lease, MeetingLog, MemoryState, Node, RedisOptions, RedisState, Service, StateStore, Topic,
    Wakes, Written,
};
pub use unusable::Unusable;
