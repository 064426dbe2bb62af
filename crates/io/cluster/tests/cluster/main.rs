//! Nodes that find one another, over a real loopback connection.

mod registration;
mod remote;
