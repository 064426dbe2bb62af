//! Meetings on bad networks: what must hold on which link, and what holds.
//!
//! A [`scenario::Scenario`] says who is there and on which links; [`world::run`] plays
//! it in virtual time with the very cores that ship, over real QUIC and the link's
//! model, and gives a [`record::Record`].
//!
//! It must not decide anything that a core decides, and everything comes from one seed.
//!
//! Start with [`scenario`], then [`world::run`].

pub mod measure;
mod quic;
pub mod record;
pub mod rows;
pub mod scenario;
pub mod world;
