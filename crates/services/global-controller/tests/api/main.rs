//! The API over a real loopback connection.

mod access;
mod documents;
mod house;
mod meetings;
mod refusals;
