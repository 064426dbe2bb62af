//! The API over a real loopback connection.

#![allow(clippy::unwrap_used)]

mod access;
mod documents;
mod house;
mod meetings;
mod refusals;
mod reports;
