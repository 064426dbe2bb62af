//! Nodes that find one another, over a real loopback connection.

#![allow(clippy::unwrap_used)]

mod registration;
mod remote;
mod trust;
