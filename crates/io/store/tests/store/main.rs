//! Every backend of this crate against the conformance suite, on real servers.

#![allow(clippy::unwrap_used)]

mod memory;
mod misbehaving;
mod postgres;
mod proxy;
mod redis;
mod redis_gone;
mod redis_refusals;
mod sqlite;
