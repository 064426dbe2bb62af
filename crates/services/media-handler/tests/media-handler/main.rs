//! A media handler on loopback, with real sessions and a real controller's call.

mod bad;
mod counts;
mod flow;
mod greedy;
mod shards;
mod stage;
mod trunks;
